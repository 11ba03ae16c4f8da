/* engine_plan.h - what would be decided, without doing it. */
#pragma once

#include "agent/daemon/group.h"
#include "policy/decide.h"

/* What would be decided at @at (0: now), for every template and everything held; the list borrows from the agent until
 * it returns to the loop. One list for each group. */
struct plan {
    const struct group *group;
    struct decision_list decisions;
    void *inside; /* what the decisions borrow from */
};
void engine_plan(const struct agent *agent, int64_t at, struct plan **plans, size_t *n); /* owned: engine_plan_free */
void engine_plan_free(struct plan *plans, size_t n);
