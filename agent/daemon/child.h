/* child.h - starts, watches and ends workers. */
#pragma once

#include <event2/event.h>
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
 * Starts workers, any number side by side. A worker runs as another user than the daemon where that is possible; since
 * the daemon gives up its rights, a small process that keeps them is left behind: it can do nothing but start the
 * worker program as the worker's user, end it, and wait for it. Under systemd a worker is an instance of
 * autoenroll-worker@.service instead: a connection to its socket starts it.
 */
struct children;

struct children_place {
    const char *program;      /* path of the worker; borrowed for as long as the children live */
    const struct account *as; /* NULL: workers run as we do. Else opened as root, before account_become; borrowed */
    const char *socket;       /* of systemd's autoenroll-worker.socket, borrowed; NULL: fork and exec */
};
/* 0 with *out owned, or -1 with ERR_INTERNAL or ERR_MISSING. Needs no event loop yet: see children_attach. */
int children_open(const struct children_place *place, struct children **out, struct err **errp);
/* From here on the ends of workers are noticed by @base; called once, before the first start. 0 or -1. */
int children_attach(struct children *children, struct event_base *base, struct err **errp);
/*
 * Ends the workers that still run, reaps them, and says so with CHILD_CLOSED. Before the event loop is freed, which
 * need not run any more. NULL is fine.
 */
void children_close(struct children *children);
DEFINE_FREEP(struct children, children_close)

/* One worker; ours until @ended was called. */
struct child;

#define CHILD_LINGER_MS 3000 /* for a worker that has told its end: what it loads may hang while it is unloaded */
#define CHILD_NO_STATUS (-1) /* behind a socket nobody can tell how a worker ended */
#define CHILD_CLOSED    (-2) /* it was ended by children_close */

/*
 * Starts a worker.
 *
 * @ended    called once, from the loop or children_close, when it has ended and was reaped; @status as waitpid gives
 *           it, CHILD_NO_STATUS or CHILD_CLOSED. The child is freed after it returns.
 * @channel  owned by the caller, non-blocking to read
 * 0, or -1 with ERR_INTERNAL.
 */
typedef void child_ended(void *ctx, int status);
int child_start(struct children *children, child_ended *ended, void *ctx, struct child **child,
    struct channel **channel, struct err **errp);
void child_kill(struct child *child);   /* SIGKILL, now; behind a socket: its channel is shut down, which ends it */
void child_linger(struct child *child); /* SIGKILL after CHILD_LINGER_MS unless it ends by itself */
size_t children_running(const struct children *children);
