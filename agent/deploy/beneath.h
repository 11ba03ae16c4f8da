/* beneath.h - opens what lies beneath a directory of somebody else's, following no link and trusting no name. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"

enum beneath_outcome { BENEATH_OPEN, BENEATH_MISSING };

void beneath_close(int *fd); /* CLEANUP form; -1 is fine */

/* A directory that the caller trusts by its name: links are followed. *out: owned. BENEATH_*, or -1. */
int beneath_root(const char *path, int *out, struct err **errp);
/*
 * The directory @path (a relative one, several names deep) beneath @dir, by openat2: no link at any step, nothing
 * outside of @dir. *out: owned. BENEATH_*, or -1 with ERR_UNTRUSTED for a link, else ERR_STORE.
 */
int beneath_directory(int dir, const char *path, int *out, struct err **errp);

/*
 * Reads the file @name in @dir: a regular file of the directory's owner, with one name only (a second one may be
 * another's secret), of at most @max bytes. What @out held is freed; out->secret stays as it is. BENEATH_*, or -1:
 * ERR_UNTRUSTED, ERR_STORE.
 */
int beneath_read(int dir, const char *name, size_t max, struct bytes *out, struct err **errp);

/* The number that the link @name in @dir points to, as "installed" does. BENEATH_*, or -1 with ERR_UNTRUSTED. */
int beneath_number(int dir, const char *name, uint32_t *number, struct err **errp);
