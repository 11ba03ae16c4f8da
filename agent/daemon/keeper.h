/* keeper.h - a process that keeps root's rights: it starts, ends and awaits workers of another user. */
#pragma once

#include "agent/daemon/child.h"

/*
 * It has one socket, to us, and ends with it; its workers end with it too. It does nothing but what is asked here, so
 * that whoever takes over the daemon wins the worker's user, and no more.
 */
struct keeper;

#define KEEPER_MAX_WORKERS 128 /* at once: what both sides may owe each other fits into the socket */

/* Called as root, with no thread running. 0 with *out owned, or -1 with ERR_INTERNAL. */
int keeper_start(const struct children_place *place, struct keeper **out, struct err **errp);
void keeper_free(struct keeper *keeper);    /* takes; ends it and its workers, and waits for that; NULL is fine */
int keeper_fd(const struct keeper *keeper); /* for polling; stays the keeper's */

/* Each is answered later. @id is the caller's name for a worker. 0, or -1 with ERR_INTERNAL when it is gone. */
int keeper_ask_start(struct keeper *keeper, uint32_t id, int fd, struct err **errp); /* borrows @fd */
int keeper_ask_kill(struct keeper *keeper, uint32_t id, struct err **errp);

enum keeper_event { KEEPER_STARTED, KEEPER_ENDED };
struct keeper_news {
    enum keeper_event event;
    uint32_t id;
    int value; /* STARTED: 0, or why not (errno); ENDED: the status as waitpid gives it */
};
/* @timeout_ms  0 returns at once. Returns 1 and *news, 0 when the time is over, -1 with ERR_INTERNAL: it is gone. */
int keeper_next(struct keeper *keeper, int timeout_ms, struct keeper_news *news, struct err **errp);
