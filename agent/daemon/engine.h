/* engine.h - has done what is due, by itself and when it is asked. */
#pragma once

#include "agent/daemon/agent.h"
#include "agent/daemon/task.h"
#include "policy/decide.h"

/*
 * One idea: whenever something may have changed (a timer, the end of a worker, a wish, a reload), the engine compares
 * what is with what should be, starts what is due and has room, and sets the timer to the next moment at which
 * something will be. It keeps no plan: a crash loses nothing.
 */
int engine_start(struct agent *agent, struct err **errp); /* after agent_attach. 0 or -1 */
void engine_stop(struct agent *agent);                    /* ends the workers; their attempts go on at the next start */
void engine_wake(struct agent *agent);                    /* something may have changed; coalesced */
bool engine_is_idle(const struct agent *agent);           /* no worker runs and nothing is due */
bool engine_is_working(const struct agent *agent);        /* a worker runs */
int64_t engine_next(const struct agent *agent);           /* when the engine wakes next at the latest */
int64_t engine_next_pulse(const struct agent *agent);

/* --- what a person may ask for. Each returns the task (borrowed), or NULL with *errp. --- */

/* Asks every policy server whose turn it is, and tries at once what waits for another try. */
struct task *engine_pulse(struct agent *agent, struct err **errp);
struct task *engine_refresh(struct agent *agent, struct server_state *server, bool test, struct err **errp);
/* Renews @record now, although it is not due; with the old key when @same_key. ERR_MISSING, ERR_BUSY, ERR_POLICY. */
struct task *engine_renew(struct agent *agent, struct record *record, bool same_key, struct err **errp);
/* Enrolls for @template (name or OID) of @server, whatever permission autoenrollment needs. */
struct task *engine_enroll(struct agent *agent, struct server_state *server, const char *template, struct err **errp);
struct task *engine_poll(struct agent *agent, struct record *record, struct err **errp);
/* NULL: all. Looks whether key, certificate and published files are as the record says. */
struct task *engine_verify(struct agent *agent, struct record *record, struct err **errp);
/* Gives the enrollment up: token objects, published files, record. Not while its section or policy would bring it
 * back, unless @force. */
struct task *engine_remove(struct agent *agent, struct record *record, bool force, struct err **errp);

/* --- for those who carry it out: group, errand, retire, monitor --- */

bool engine_has_room(const struct agent *agent); /* for one more worker */
void engine_run_began(struct agent *agent);
void engine_run_ended(struct agent *agent);                     /* and wakes it */
void engine_at(struct agent *agent, int64_t when);              /* it must wake then, at the latest */
void engine_failed(struct agent *agent, const struct err *why); /* logs it; the first is oneshot's exit status */
void engine_say(struct agent *agent, struct record *record, const struct decision *decision); /* it is begun now */
/* What is being done now, for the tasks that wait for it. */
void engine_step_server(struct agent *agent, const char *server, const char *text);
void engine_step_record(struct agent *agent, const char *id, const char *text);
/* An end, for the tasks that wait for it. @why: NULL where it went well. */
void engine_asked(struct agent *agent, struct server_state *server, const struct err *why);
void engine_attempted(struct agent *agent, struct record *record, const struct err *why);
void engine_removed(struct agent *agent, struct record *record, const struct err *why);
uint32_t engine_chance(void);
/* Seconds that the servers of a failed job asked to be left alone; 0: nothing said. */
uint32_t engine_retry_after(const struct channel_event *event);

/* --- for showing --- */

/* What was decided and why; for what was done, the record tells what came of it. */
struct engine_line {
    struct record *record; /* borrowed from the agent; NULL for a template that is skipped */
    char *name;            /* owned; of the enrollment or of the template */
    enum decide_action action;
    char *reason; /* owned; one sentence */
};
/* What one walk came to. Borrowed. */
struct engine_report {
    struct engine_line *lines;
    size_t n_lines;
    enum err_kind worst; /* of the first failure; only when `failed` */
    bool failed;
};
/* Only for oneshot: everything is tried once, then the loop ends. 0, or -1 when the walk could not go on (ERR_STORE).
 */
int engine_walk(struct agent *agent, const struct engine_report **report, struct err **errp);

/* What would be decided at @at (0: now), for every template and everything held; the list borrows from the agent until
 * it returns to the loop. One list for each group. */
struct plan {
    const struct group *group;
    struct decision_list decisions;
    void *inside; /* what the decisions borrow from */
};
void engine_plan(const struct agent *agent, int64_t at, struct plan **plans, size_t *n); /* owned: engine_plan_free */
void engine_plan_free(struct plan *plans, size_t n);
