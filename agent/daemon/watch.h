/* watch.h - the certificates that we do not manage and only watch, as a worker saw them last. */
#pragma once

#include "agent/config/settings.h"
#include "agent/job/job.h"

#define WATCH_ID_LEN    16
#define WATCH_MAX_PATHS (8u << 20) /* bytes of all paths together: what is over it is not watched */

/* What a change of the list is told by; @watched is still readable when it has been removed. */
enum watch_change { WATCH_SAME, WATCH_ADDED, WATCH_CHANGED, WATCH_REMOVED };

/* One certificate, or one file that has none because of @error. There may be 10,000 of them: kept small. */
struct watched {
    char id[WATCH_ID_LEN + 1];     /* of its path and place in it: hex, the same after a restart */
    uint8_t change;                /* enum watch_change; only within watch_apply */
    uint32_t place;                /* of the certificate in its file, from 0 */
    uint32_t notified;             /* as record->notified */
    const char *section;           /* borrowed from the list; NULL: found in the token */
    char *path;                    /* owned, as is all text; or a pkcs11: URI */
    uint64_t mark;                 /* the worker's, of the file as it was read */
    char *subject;                 /* NULL when there is an error */
    char *error;                   /* for a person; NULL: it is a certificate */
    int64_t not_before, not_after; /* seconds since 1970, UTC */
};
/* An expiry that was announced before the daemon was started. */
struct watch_notice {
    char *id;
    int64_t not_after;
    uint32_t notified;
};
struct watch_list {
    struct watched **items; /* each owned, in the order of path and place */
    size_t n;
    struct strlist sections; /* names that the items borrow */
    struct watch_notice *notices;
    size_t n_notices;
    bool full; /* there are more than JOB_MAX_WATCHED, or longer paths than WATCH_MAX_PATHS: those are left out */
};

struct watched *watch_find(const struct watch_list *list, const char *id); /* borrowed, or NULL */

/*
 * Takes over what a scan found, and tells each change when the list is whole again. What a worker says is bounded: at
 * worst the list is @full.
 */
typedef void watch_told(void *ctx, enum watch_change change, struct watched *watched);
void watch_apply(struct watch_list *list, const struct job_scanned *scanned, watch_told *told, void *ctx);
/* Every file is read anew by the next scan: the patterns have changed. */
void watch_forget_marks(struct watch_list *list);

/* The parts of a scan that the configuration and the list give; the rest is the caller's. @only: as in job_scan. */
void watch_ask(
    const struct watch_list *list, const struct settings *settings, const struct strlist *only, struct job_scan *out);
/* The directories in which something may change, each once, at most @max; appended to @out. */
void watch_directories(const struct watch_list *list, const struct settings *settings, size_t max, struct strlist *out);

/*
 * What was announced already, in the file @path, so that a restart does not repeat it: watch_load before the first
 * scan, whose certificates then get it; watch_settle after it, so that what nothing has claimed is forgotten. A file
 * that is not there or damaged counts as empty.
 */
void watch_load(struct watch_list *list, const char *path);
void watch_settle(struct watch_list *list);
int watch_save(const struct watch_list *list, const char *path, struct err **errp); /* 0, or -1 with ERR_STORE */

void watch_list_clear(struct watch_list *list);
