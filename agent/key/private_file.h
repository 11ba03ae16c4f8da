/* private_file.h - files that only their owner may read: written whole and durably, or not at all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "protocol/base/err.h"
#include "protocol/base/secret.h"

/*
 * Writes a file, 0600. With @replace it takes the place of an older one; without, an existing one stays and the call
 * fails with ERR_STORE. After a crash there is the old file, the new one, or none, and perhaps PATH.new, which the next
 * call removes. 0 or -1.
 */
int private_file_write(const char *path, const void *data, size_t len, bool replace, struct err **errp);

/*
 * Reads one that is a regular file of at most @max bytes and closed to everybody else. *out owned.
 * 0, or -1: ERR_MISSING (there is none), ERR_STORE.
 */
int private_file_read(const char *path, size_t max, struct secret **out, struct err **errp);

/* Overwrites and removes it. Not being there is no error. */
int private_file_destroy(const char *path, struct err **errp);

/* Makes the names in the folder of @path durable. 0, or -1 with errno. */
int private_file_sync_folder(const char *path);
