#include "agent/daemon/engine_tasks.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/engine_inside.h"

static bool is_about_server(const struct task *task)
{
    return task->kind == TASK_REFRESH || task->kind == TASK_TEST;
}

static bool waits_for(const struct task *task, bool server, const char *target)
{
    return task->state != TASK_FINISHED && task->target && is_about_server(task) == server &&
           strcmp(task->target, target) == 0;
}

static bool is_pulse(const struct task *task)
{
    return task->state != TASK_FINISHED && (task->kind == TASK_PULSE || !task->target);
}

static void step(struct agent *agent, bool server, const char *target, const char *text)
{
    CLEANUP(mem_freep) char *named = mem_printf("%s: %s", target, text);

    for (size_t i = 0; i < agent->tasks.n; i++) {
        struct task *task = agent->tasks.items[i];

        if (waits_for(task, server, target))
            task_step(agent, task, text);
        else if (is_pulse(task))
            task_step(agent, task, named);
    }
}

void engine_step_server(struct agent *agent, const char *server, const char *text)
{
    step(agent, true, server, text);
}

void engine_step_record(struct agent *agent, const char *id, const char *text)
{
    step(agent, false, id, text);
}

bool engine_is_attempt(const struct task *task)
{
    return task->kind == TASK_RENEW || task->kind == TASK_ENROLL || task->kind == TASK_POLL;
}

void engine_attempted(struct agent *agent, struct record *record, const struct err *why)
{
    record->asked = record->asked_same_key = false;
    for (size_t i = 0; i < agent->tasks.n; i++) {
        struct task *task = agent->tasks.items[i];

        if (waits_for(task, false, record->id) && engine_is_attempt(task))
            task_finish(agent, task,
                why                               ? TASK_FAILED
                : record->state == RECORD_PENDING ? TASK_PENDING
                                                  : TASK_DONE,
                why);
    }
}

void engine_asked(struct agent *agent, struct server_state *server, const struct err *why)
{
    for (size_t i = 0; i < agent->tasks.n; i++) {
        struct task *task = agent->tasks.items[i];

        if (!waits_for(task, true, server->name))
            continue;
        if (task->kind == TASK_TEST && !why)
            task->report = mem_printf("policy server '%s' answered: policy %s, %u templates", server->name,
                server->policy_id ? server->policy_id : "-", server->templates);
        task_finish(agent, task, why ? TASK_FAILED : TASK_DONE, why);
    }
}

void engine_removed(struct agent *agent, struct record *record, const struct err *why)
{
    for (size_t i = 0; i < agent->tasks.n; i++) {
        struct task *task = agent->tasks.items[i];

        if (waits_for(task, false, record->id))
            task_finish(agent, task, why ? TASK_FAILED : task->kind == TASK_REMOVE ? TASK_DONE : TASK_CANCELLED, why);
    }
}

/* Those who wait for everything: it is done when nothing runs and nothing could begin. */
void engine_rested(struct agent *agent)
{
    for (size_t i = 0; i < agent->tasks.n; i++) {
        struct task *task = agent->tasks.items[i];

        if (task->kind == TASK_PULSE && task->state != TASK_FINISHED)
            task_finish(agent, task, TASK_DONE, NULL);
    }
}
