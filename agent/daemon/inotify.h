/* inotify.h - tells in which directories something has changed, a burst of changes at once. */
#pragma once

#include <event2/event.h>

#include "protocol/base/err.h"

#define INOTIFY_SETTLE_MS 500 /* without a change before it is told; at most four times as long after the first */
#define INOTIFY_MAX_PATHS 256 /* of one burst; more are told as "everything" */

struct inotify;

/*
 * @changed  called from the loop. @paths: the files that came, went, were written or renamed, DIR/NAME; empty: too many
 *           to tell, look at everything. Borrowed during the call.
 */
typedef void inotify_changed(void *ctx, const struct strlist *paths);
/* Returns owned, or NULL with ERR_INTERNAL. */
struct inotify *inotify_open(struct event_base *base, inotify_changed *changed, void *ctx, struct err **errp);
void inotify_close(struct inotify *inotify); /* takes; NULL is fine */

/* From here on exactly these directories. One that cannot be watched is left out. */
void inotify_follow(struct inotify *inotify, const struct strlist *directories);
