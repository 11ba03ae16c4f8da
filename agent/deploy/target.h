/* target.h - puts files into a directory that services read, as the owner of that directory. */
#pragma once

#include <sys/types.h>

#include "protocol/base/bytes.h"

struct target_file {
    char *name; /* without a slash; owned */
    mode_t mode;
    struct bytes content; /* owned */
};
struct target {
    const char *dir;   /* absolute, without links */
    const char *owner; /* user and group by name; NULL: those of the directory */
    const char *group;
    struct target_file *files; /* owned */
    size_t n;
    struct strlist gone; /* names that must not be there afterwards */
};

/* Adds a file; @content is taken. Borrowed until the next one. */
void target_add(struct target *target, const char *name, mode_t mode, struct bytes *content);
void target_clear(struct target *target); /* wipes; also the CLEANUP form */

/*
 * Every file is written beside its place, whole and durable, with owner, group and mode, before the first takes its
 * name; then all take theirs, each in one step. A reader finds each file whole, old or new; when it fails before,
 * all are the old ones and nothing is left behind.
 *
 * Root becomes the directory's owner meanwhile, so that no link in there leads root astray; it stays root where the
 * directory is root's, and only then can it give files to another owner.
 * 0, or -1: ERR_CONFIG (the directory is not as it should be), ERR_STORE.
 */
int target_put(const struct target *target, struct err **errp);
