/* task.h - what somebody asked for, to be followed to its end: the Job objects of the bus. */
#pragma once

#include "agent/job/job.h"

#define TASK_KINDS(X)                                                                                                  \
    X(PULSE, "pulse")                                                                                                  \
    X(RENEW, "renew")                                                                                                  \
    X(ENROLL, "enroll")                                                                                                \
    X(POLL, "poll")                                                                                                    \
    X(REFRESH, "refresh")                                                                                              \
    X(TEST, "test")                                                                                                    \
    X(VERIFY, "verify")                                                                                                \
    X(REMOVE, "remove")
#define X(name, text) TASK_##name,
enum task_kind { TASK_KINDS(X) TASK_KIND__MAX };
#undef X

#define TASK_STATES(X)                                                                                                 \
    X(WAITING, "waiting") /* for a worker, for another attempt at the same, for a password that is being tried */      \
    X(RUNNING, "running")                                                                                              \
    X(FINISHED, "finished")
#define X(name, text) TASK_##name,
enum task_state { TASK_STATES(X) TASK_STATE__MAX };
#undef X

#define TASK_RESULTS(X)                                                                                                \
    X(DONE, "done")           /* what was asked for is there */                                                        \
    X(PENDING, "pending")     /* the CA has it under submission */                                                     \
    X(FAILED, "failed")       /* error and hint say why */                                                             \
    X(CANCELLED, "cancelled") /* by Cancel or by the daemon's end */
#define X(name, text) TASK_##name,
enum task_result { TASK_RESULTS(X) TASK_RESULT__MAX };
#undef X

#define TASK_MAX_STEPS 100 /* of its steps are kept */
#define TASK_MAX       512 /* at once; finished ones go first */
#define TASK_KEEP      600 /* seconds that a finished one can still be read */

struct agent;
/* Text is owned. */
struct task {
    uint32_t id; /* 1, 2, 3 ... since the start of the daemon */
    enum task_kind kind;
    char *target; /* id of an enrollment, name of a server, or NULL */
    enum task_state state;
    char *step;              /* what is being done now, for a person; never NULL */
    struct strlist steps;    /* all so far */
    enum task_result result; /* once finished */
    char *error, *hint;      /* FAILED */
    unsigned error_kind;
    char *report; /* VERIFY, TEST: what was found, a line each; else NULL */
    int64_t finished_at;
    bool failed;                                            /* a part of it, so far */
    unsigned waits_for;                                     /* runs that must end before it has */
    void (*cancel)(struct agent *agent, struct task *task); /* NULL: it cannot be stopped */
    void *ctx;
};
struct task_list {
    struct task **items; /* each owned */
    size_t n;
    uint32_t last_id;
};

/* Adds one and tells it (AGENT_TASK_ADDED); borrowed from the agent. NULL when there are too many. */
struct task *task_new(struct agent *agent, enum task_kind kind, const char *target);
struct task *task_find(const struct agent *agent, uint32_t id);           /* or NULL */
void task_step(struct agent *agent, struct task *task, const char *text); /* and RUNNING; tells it */
/* Ends it and tells it; no effect on one that has ended. @why: for FAILED, borrowed; else NULL. */
void task_finish(struct agent *agent, struct task *task, enum task_result result, const struct err *why);
/* Removes those that ended more than TASK_KEEP ago; tells each. */
void task_expire(struct agent *agent);
void task_list_clear(struct task_list *list);

const char *task_kind_name(enum task_kind kind);
const char *task_state_name(enum task_state state);
const char *task_result_name(enum task_result result);
