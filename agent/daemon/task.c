#include "agent/daemon/task.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "protocol/base/printable.h"

#define MAX_SENTENCE 4000 /* characters */

#define DEFINE_NAME(kind, table, count)                                                                                \
    const char *task_##kind##_name(enum task_##kind value)                                                             \
    {                                                                                                                  \
        return value < (count) ? table[value] : "unknown";                                                             \
    }
#define X(name, text) text,
static const char *const kinds[] = {TASK_KINDS(X)};
static const char *const states[] = {TASK_STATES(X)};
static const char *const results[] = {TASK_RESULTS(X)};
#undef X
DEFINE_NAME(kind, kinds, TASK_KIND__MAX)
DEFINE_NAME(state, states, TASK_STATE__MAX)
DEFINE_NAME(result, results, TASK_RESULT__MAX)

static void tell(struct agent *agent, enum agent_event event, struct task *task)
{
    agent_tell(agent, &(struct agent_news){.event = event, .task = task});
}

static void task_free(struct task *task)
{
    free(task->target);
    free(task->step);
    strlist_clear(&task->steps);
    free(task->error);
    free(task->hint);
    free(task->report);
    free(task);
}

static void remove_at(struct agent *agent, size_t i)
{
    struct task_list *list = &agent->tasks;
    struct task *task = list->items[i];

    memmove(&list->items[i], &list->items[i + 1], (list->n - i - 1) * sizeof(*list->items));
    list->n--;
    tell(agent, AGENT_TASK_REMOVED, task);
    task_free(task);
}

/* The oldest that has ended makes room. */
static bool make_room(struct agent *agent)
{
    if (agent->tasks.n < TASK_MAX)
        return true;
    for (size_t i = 0; i < agent->tasks.n; i++) {
        if (agent->tasks.items[i]->state != TASK_FINISHED)
            continue;
        remove_at(agent, i);
        return true;
    }
    return false;
}

struct task *task_new(struct agent *agent, enum task_kind kind, const char *target)
{
    struct task *task;

    if (!make_room(agent))
        return NULL;
    task = mem_alloc(sizeof(*task));
    task->id = ++agent->tasks.last_id;
    task->kind = kind;
    task->target = mem_strdup_opt(target);
    task->step = mem_strdup("waiting");
    *MEM_APPEND(agent->tasks.items, agent->tasks.n) = task;
    tell(agent, AGENT_TASK_ADDED, task);
    return task;
}

struct task *task_find(const struct agent *agent, uint32_t id)
{
    for (size_t i = 0; i < agent->tasks.n; i++)
        if (agent->tasks.items[i]->id == id)
            return agent->tasks.items[i];
    return NULL;
}

void task_step(struct agent *agent, struct task *task, const char *text)
{
    if (task->state == TASK_FINISHED)
        return;
    free(task->step);
    task->step = printable_text(text);
    task->state = TASK_RUNNING;
    if (task->steps.n < TASK_MAX_STEPS)
        strlist_add(&task->steps, task->step);
    tell(agent, AGENT_TASK_CHANGED, task);
}

void task_finish(struct agent *agent, struct task *task, enum task_result result, const struct err *why)
{
    if (task->state == TASK_FINISHED)
        return;
    task->state = TASK_FINISHED;
    task->result = result;
    task->finished_at = agent->now;
    task->cancel = NULL;
    if (why) {
        task->error = printable(err_text(why), strlen(err_text(why)), MAX_SENTENCE);
        if (err_hint_text(why))
            task->hint = printable(err_hint_text(why), strlen(err_hint_text(why)), MAX_SENTENCE);
        task->error_kind = err_kind(why);
    }
    tell(agent, AGENT_TASK_FINISHED, task);
}

void task_expire(struct agent *agent)
{
    for (size_t i = agent->tasks.n; i-- > 0;) {
        const struct task *task = agent->tasks.items[i];

        if (task->state == TASK_FINISHED && agent->now >= task->finished_at + TASK_KEEP)
            remove_at(agent, i);
    }
}

void task_list_clear(struct task_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        task_free(list->items[i]);
    free(list->items);
    *list = (struct task_list){0};
}
