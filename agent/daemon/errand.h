/* errand.h - carries one enrollment on: a first certificate, a renewal, a pending request. */
#pragma once

#include "agent/daemon/group.h"
#include "policy/decide.h"

enum errand_start {
    ERRAND_STARTED,
    ERRAND_WAITS,   /* for a password that another job is trying, or for its time: engine_at was told */
    ERRAND_NO_ROOM, /* for a worker */
};

/* What is in a record, as a decision needs it; borrows. */
struct held_cert errand_held(const struct agent *agent, const struct record *record);
/* An attempt was cut off and has not failed: it goes on without a policy. */
bool errand_is_cut_off(const struct record *record);

/* When @record, whose attempt has failed with @kind at @now, is tried again; pure, with @chance any random number. */
int64_t errand_next_try(
    const struct record *record, enum err_kind kind, uint32_t retry_after, int64_t now, uint32_t chance);

/*
 * Goes on with an attempt that was cut off, from wherever it is. A positive outcome, or -1 where records cannot be
 * written.
 */
int errand_resume(struct agent *agent, struct group *group, struct record *record, struct err **errp);
/* Carries out @decision, which is one to enroll, renew, poll or resume. The same. */
int errand_start(struct agent *agent, struct group *group, const struct decision *decision, struct err **errp);

/* Our own name for what a server calls @oid. Returns owned. */
char *errand_local_id(const char *server, const char *oid);
