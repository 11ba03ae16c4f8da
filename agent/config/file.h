/* file.h - replaces a file so that a crash leaves the old one or the new one. */
#pragma once

#include <sys/types.h>

#include "protocol/base/bytes.h"

enum file_outcome { FILE_READ, FILE_MISSING };

/*
 * Reads a whole regular file of at most @max bytes; a link at the end of @path is followed.
 * @out  what it held is freed, on success
 * Returns FILE_READ, FILE_MISSING, or -1 with ERR_STORE, ERR_INVALID when it is longer.
 */
int file_read(const char *path, size_t max, struct bytes *out, struct err **errp);

/*
 * Writes @data to a new file beside @path, makes it durable, and only then gives it the name; the old file stays
 * whole until then. The directory must exist. Returns 0, or -1 with ERR_STORE; then it is the old file still, or the
 * whole new one whose name may not survive a power cut.
 */
int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err **errp);

/* Points the link @path at @target in one step, durably. 0, or -1 with ERR_STORE. */
int file_replace_link(const char *path, const char *target, struct err **errp);

/* Makes @path where it is missing, durably; one that is there gets @mode. Parents must exist. 0, or -1 (ERR_STORE). */
int file_make_directory(const char *path, mode_t mode, struct err **errp);

/* Removes a file, or a directory with the files in it (one level); what is not there is fine. 0, or -1 (ERR_STORE). */
int file_remove(const char *path, struct err **errp);
