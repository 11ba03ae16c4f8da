/* engine_inside.h - what the parts of the engine share. */
#pragma once

#include "agent/daemon/engine.h"
#include "agent/daemon/engine_walk.h"
#include "agent/daemon/group.h"

struct engine {
    struct event *timer;
    bool woken;         /* the timer is set to go off at once */
    int64_t next;       /* the timer's moment */
    int64_t last_pulse; /* 0: none yet */
    int64_t time_saved; /* last_seen as it is on disk */
    size_t runs;        /* workers at work */
    bool stopping;
    struct err *failure; /* that ended a walk; owned */
    struct engine_report report;
};

/* What a question borrows from. */
struct engine_question {
    struct decide_question ask;
    struct inventory inventory;
    struct decide_wish *wishes; /* owned */
    struct held_cert *held;     /* owned */
};
void engine_question_make(const struct agent *agent, const struct group *group, int64_t now, struct engine_question *q);
void engine_question_clear(struct engine_question *q);

void engine_report_clear(struct engine_report *report);
/* Everything that waits for another try is tried now. */
void engine_be_impatient(struct agent *agent);
/* May anything be done at all? False, and why not, with a state that is another machine's. */
bool engine_may_ask(const struct agent *agent, struct err **errp);
/* Nothing runs and nothing could begin: those who wait for everything have what they waited for. */
void engine_rested(struct agent *agent);
bool engine_is_attempt(const struct task *task); /* at one enrollment, for which a CA is asked */
