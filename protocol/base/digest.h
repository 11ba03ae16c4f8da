/* digest.h - SHA-256, to name things by what they are. */
#pragma once

#include <stddef.h>

#include "protocol/base/mem.h"

/* The SHA-256 of @data in lower-case hexadecimal, 64 digits. Returns owned, never NULL. */
char *digest_sha256_hex(const void *data, size_t len) __attribute__((returns_nonnull, warn_unused_result));
