/* monitor.h - looks after what we hold and what we are told to watch: expiry, changes from outside, probes. */
#pragma once

#include "agent/daemon/agent.h"
#include "agent/daemon/watch.h"

/*
 * Listens to the agent's news and has a timer of its own, so that the engine need not know of it, but for its pulse and
 * for a look that a person asks for. agent->monitor is set while it is open.
 *
 * It announces (AGENT_EXPIRING, one line in the log) each threshold of `notify` once for each certificate: of ours
 * only what is not going to be renewed in time by itself, that is when its renewal is overdue or fails. A threshold
 * that is longer than half of the certificate's life says nothing and is left out. The expiry itself is announced too.
 */
int monitor_open(
    struct agent *agent, struct err **errp); /* after the event loop is there. 0, or -1 with ERR_INTERNAL */
void monitor_close(struct agent *agent);     /* no effect where it is not open */

/* At each pulse, and at the start: looks at every enrollment and at everything watched, one after the other. */
void monitor_pulse(struct agent *agent);
bool monitor_is_busy(const struct agent *agent); /* a worker of its own runs, or will without anybody asking */

/*
 * Has a worker look whether key, certificate, published files and chain of @record are as they should be, as soon as
 * there is room and no other worker is at the record. What comes of it is stored in the record: verified_at,
 * verify_problem, names_differ, issuer_not_after, anchor_not_after. The record is busy meanwhile.
 *
 * @done  called once, from the loop, or when the record is removed or the monitor closed before. @result NULL: there
 *        was no look, and @why says so; a token that cannot be used is the record's problem then. Both are borrowed
 *        during the call. May be NULL.
 * 0, or -1 and @done is never called: ERR_MISSING (no certificate), ERR_POLICY (cloned), ERR_INTERNAL (no monitor).
 */
typedef void monitor_verified(
    void *ctx, struct record *record, const struct job_verified *result, const struct err *why);
int monitor_verify(struct agent *agent, struct record *record, monitor_verified *done, void *ctx, struct err **errp);
/* "web: ok" or "web: PROBLEM", for a report. Returns owned. */
char *monitor_report(const struct record *record, const struct job_verified *result, const struct err *why);

const struct watch_list *monitor_watched(const struct agent *agent); /* never NULL; empty where nothing is open */

/* The token, as far as workers could tell. @since: when that was seen last. */
enum monitor_token { MONITOR_TOKEN_UNKNOWN, MONITOR_TOKEN_REACHABLE, MONITOR_TOKEN_UNREACHABLE };
enum monitor_token monitor_token(const struct agent *agent, int64_t *since);
