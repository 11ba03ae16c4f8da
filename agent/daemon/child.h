/* child.h - starts, watches and ends workers. */
#pragma once

#include <sys/types.h>

#include "agent/job/channel.h"

/* Who somebody runs as. */
struct account {
    char *name; /* owned */
    uid_t uid;
    gid_t gid;
};
/* Looks @name up among the users of this machine. 0, or -1 with ERR_CONFIG. */
int account_find(const char *name, struct account *out, struct err **errp);
/* Becomes @account for good: groups, gid, uid. 0, or -1 with ERR_INTERNAL. */
int account_become(const struct account *account, struct err **errp);
void account_clear(struct account *account);

/*
 * Starts workers, one at a time. A worker runs as another user than the daemon where that is possible; since the
 * daemon gives up its rights, a small process that keeps them is left behind: it can do nothing but start the worker
 * program as the worker's user, end it, and wait for it.
 */
struct children;

/*
 * @program  path of the worker, borrowed for as long as the children live
 * @as       NULL: workers run as we do. Else called as root, before account_become.
 * 0 with *out owned, or -1 with ERR_INTERNAL or ERR_MISSING.
 */
int children_open(const char *program, const struct account *as, struct children **out, struct err **errp);
void children_close(struct children *children); /* ends a worker that still runs; takes, NULL is fine */
DEFINE_FREEP(struct children, children_close)

/* Starts a worker; *channel is owned. 0, or -1 with ERR_INTERNAL. */
int child_start(struct children *children, struct channel **channel, struct err **errp);
/*
 * Waits for its end: after SIGKILL when @kill, else CHILD_LINGER_MS before SIGKILL, since what a worker loads may hang
 * while it is unloaded. *status as waitpid gives it. 0, or -1 with ERR_INTERNAL.
 */
#define CHILD_LINGER_MS 3000
int child_end(struct children *children, bool kill, int *status, struct err **errp);
