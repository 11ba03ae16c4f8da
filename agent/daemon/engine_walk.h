/* engine_walk.h - one walk with an end: everything is tried once, and reported. */
#pragma once

#include "agent/daemon/agent.h"
#include "policy/decide.h"

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
void engine_say(struct agent *agent, struct record *record, const struct decision *decision); /* it is begun now */
