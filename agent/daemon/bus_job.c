#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/bus_objects.h"

void bus_job_id(const struct task *task, char id[BUS_JOB_ID_SIZE])
{
    (void)snprintf(id, BUS_JOB_ID_SIZE, "%" PRIu32, task->id);
}

int bus_put_job(struct bus_out *out, const struct task *task, struct err **errp)
{
    char id[BUS_JOB_ID_SIZE];

    if (!task)
        return err_set(errp, ERR_BUSY, "it could not be begun");
    bus_job_id(task, id);
    bus_put_path(out, BUS_JOBS, id);
    return 0;
}

static int cancel(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    struct task *task = about;

    (void)call;
    (void)out;
    if (task->state == TASK_FINISHED)
        return err_set(errp, ERR_MISSING, "the job has ended already");
    if (!task->cancel)
        return err_set(errp, ERR_BUSY, "the job cannot be stopped");
    task->cancel(self, task);
    return 0;
}

static const struct bus_method methods[] = {
    {"Cancel", "", "", "", "", BUS_RENEW, cancel, "Stops the job; what it has reached stays and is gone on with.",
        NULL},
    {0},
};

static void get_kind(void *self, const void *about, struct bus_out *out)
{
    const struct task *task = about;

    (void)self;
    bus_put_text(out, task_kind_name(task->kind));
}

static void get_state(void *self, const void *about, struct bus_out *out)
{
    const struct task *task = about;

    (void)self;
    bus_put_text(out, task_state_name(task->state));
}

static void get_steps(void *self, const void *about, struct bus_out *out)
{
    const struct task *task = about;

    (void)self;
    bus_put_texts(out, &task->steps);
}

static void get_result(void *self, const void *about, struct bus_out *out)
{
    const struct task *task = about;

    (void)self;
    bus_put_text(out, task->state == TASK_FINISHED ? task_result_name(task->result) : "");
}

static void get_error_kind(void *self, const void *about, struct bus_out *out)
{
    const struct task *task = about;

    (void)self;
    bus_put_text(out, task->error ? err_kind_name((enum err_kind)task->error_kind) : "");
}

#define TEXT(member) BUS_MEMBER(struct task, member, "s", char *)
#define TIME(member) BUS_MEMBER(struct task, member, "x", int64_t)

static const struct bus_property properties[] = {
    {"Kind", "s", get_kind, .flags = BUS_CONSTANT,
        .doc = "pulse, renew, enroll, poll, refresh, test, verify or remove"},
    {"Target", TEXT(target), .flags = BUS_CONSTANT, .doc = "The enrollment or the server that it is about, or nothing"},
    {"State", "s", get_state, .doc = "waiting, running or finished"},
    {"Step", TEXT(step), .doc = "What is being done now, for a person"},
    {"Steps", "as", get_steps, .doc = "Everything that was done so far"},
    {"Result", "s", get_result, .doc = "Once finished: done, pending, failed or cancelled"},
    {"Error", TEXT(error), .doc = "Why it failed"},
    {"ErrorKind", "s", get_error_kind, .doc = "What kind of failure that is"},
    {"Hint", TEXT(hint), .doc = "What a person can do about it"},
    {"Report", TEXT(report), .doc = "What a verify or a test has found, a line each"},
    {"FinishedAt", TIME(finished_at), .doc = "Seconds since 1970, UTC; it can be read for ten minutes more"},
    {0},
};

static const struct bus_signal signals[] = {
    {"Finished", "sss", "result error hint", "It has ended: done, pending, failed or cancelled."},
    {0},
};

static const struct bus_interface interface = {
    .name = BUS_JOB,
    .doc = "Something that was asked for, to be followed to its end.",
    .methods = methods,
    .properties = properties,
    .signals = signals,
};

static void *find(void *self, const char *id)
{
    char *end;
    unsigned long number = strtoul(id, &end, 10);
    struct task *task = *id && !*end && number <= UINT32_MAX ? task_find(self, (uint32_t)number) : NULL;
    char its_own[BUS_JOB_ID_SIZE];

    if (!task)
        return NULL;
    bus_job_id(task, its_own);
    return strcmp(id, its_own) == 0 ? task : NULL; /* "07" and " 7" are not "7" */
}

static void each(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx)
{
    const struct agent *agent = self;
    char id[BUS_JOB_ID_SIZE];

    for (size_t i = 0; i < agent->tasks.n; i++) {
        bus_job_id(agent->tasks.items[i], id);
        call(ctx, id, agent->tasks.items[i]);
    }
}

const struct bus_class bus_job_class = {.kind = BUS_JOBS, .interface = &interface, .find = find, .each = each};
