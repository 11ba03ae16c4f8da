/* secret.h - memory that is locked, never dumped, and wiped when freed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "protocol/base/mem.h"

struct secret;

/* Takes @text, which came from malloc: copies it into locked memory, wipes it, frees it. Returns owned, never NULL. */
struct secret *secret_take(char *text, size_t len);
/* For bytes that stay the caller's, on the stack or in a library. Returns owned, never NULL. */
struct secret *secret_copy(const void *data, size_t len);
/* @len random bytes as twice as many hexadecimal digits: a PIN. Returns owned, never NULL. */
struct secret *secret_random_hex(size_t len);

const char *secret_peek(const struct secret *s); /* borrowed, 0-terminated; every use is worth a review */
size_t secret_len(const struct secret *s);
bool secret_equal(const struct secret *a, const struct secret *b); /* constant time for equal lengths */
void secret_free(struct secret *s);                                /* takes; NULL is fine */
DEFINE_FREEP(struct secret, secret_free)

/* Makes this process undumpable and without core files; called first in every program that may hold a secret. */
void secret_harden_process(void);
