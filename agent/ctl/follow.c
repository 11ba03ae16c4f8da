#include "agent/ctl/follow.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/ctl/model.h"
#include "protocol/base/printable.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"
#define FINISHED   "finished"
#define FAILED     "failed"
#define PATIENCE   20 /* times that something is asked for */

void follow_clear(struct follow *follow)
{
    for (size_t i = 0; i < follow->n; i++) {
        struct follow_task *t = &follow->tasks[i];

        free(t->path);
        free(t->label);
        free(t->step);
        free(t->result);
        free(t->error);
        free(t->hint);
    }
    free(follow->tasks);
    *follow = (struct follow){0};
}

/* A worker that happens to look at the same enrollment is soon done. */
static int ask_patiently(struct ctl *ctl, const struct client_call *call, json_t **path, struct err **errp)
{
    const struct timespec pause = {.tv_nsec = 250 * 1000 * 1000};
    int r = -1;

    for (int i = 0; i < PATIENCE && r < 0; i++) {
        CLEANUP(err_freep) struct err *why = NULL;
        bool again;

        json_incref(call->arguments); /* it is taken each time */
        r = client_ask(ctl->client, call, path, &why);
        again = r < 0 && err_kind(why) == ERR_BUSY && i + 1 < PATIENCE;
        if (again)
            (void)nanosleep(&pause, NULL);
        else if (r < 0) {
            *errp = TAKE(why);
            break;
        }
    }
    json_decref(call->arguments);
    return r;
}

int follow_ask(
    struct ctl *ctl, struct follow *follow, const char *label, const struct client_call *call, struct err **errp)
{
    struct follow_task *task;
    json_t *path = NULL;

    if (!follow->n && client_listen(ctl->client, errp) < 0) {
        json_decref(call->arguments);
        return -1;
    }
    if (ask_patiently(ctl, call, &path, errp) < 0)
        return -1;
    task = MEM_APPEND(follow->tasks, follow->n);
    task->path = mem_strdup(json_string_value(path) ? json_string_value(path) : "");
    task->label = mem_strdup(label);
    json_decref(path);
    return 0;
}

int follow_read(struct ctl *ctl, const struct follow_task *task, json_t **out, struct err **errp)
{
    struct client_call call = {.path = task->path, .interface = PROPERTIES, .method = "GetAll", .signature = "s"};
    json_t *properties, *value;
    const char *name;

    call.arguments = json_pack("[s]", BUS_JOB);
    if (client_ask(ctl->client, &call, &properties, errp) < 0)
        return -1;
    *out = json_object();
    json_object_foreach (properties, name, value) {
        CLEANUP(mem_freep) char *key = model_key(name);

        json_object_set(*out, key, value);
    }
    json_decref(properties);
    return 0;
}

/* --- what is told --- */

static void tell_step(const struct ctl *ctl, struct follow *follow, struct follow_task *task, const char *step)
{
    CLEANUP(mem_freep) char *label = printable_text(task->label);
    CLEANUP(mem_freep) char *text = printable_text(step);

    if (!*step || (task->step && strcmp(task->step, step) == 0))
        return;
    free(task->step);
    task->step = mem_strdup(step);
    if (follow->quiet || ctl->json)
        return;
    if (ctl->screen.terminal)
        printf("\r\033[K%s: %s", label, text);
    else
        printf("%s: %s\n", label, text);
    fflush(stdout);
}

static void tell_end(const struct ctl *ctl, const struct follow *follow, const struct follow_task *task)
{
    CLEANUP(mem_freep) char *label = printable_text(task->label);
    bool failed = strcmp(task->result, FAILED) == 0;
    enum table_style style = failed ? TABLE_BAD : TABLE_GOOD;

    if (follow->quiet || ctl->json)
        return;
    printf("%s%s: %s%s%s\n", ctl->screen.terminal ? "\r\033[K" : "", label, table_style_on(&ctl->screen.look, style),
        task->result, table_style_off(&ctl->screen.look, style));
    fflush(stdout);
}

static void finish(const struct ctl *ctl, struct follow *follow, struct follow_task *task, const char *result,
    const char *error, const char *hint)
{
    if (task->finished)
        return;
    task->finished = true;
    task->result = mem_strdup(result);
    task->error = mem_strdup(error);
    task->hint = mem_strdup(hint);
    tell_end(ctl, follow, task);
}

static const char *text_at(const json_t *array, size_t i)
{
    const char *text = json_string_value(json_array_get(array, i));

    return text ? text : "";
}

static void take_signal(const struct ctl *ctl, struct follow *follow, const json_t *signal)
{
    const json_t *arguments = json_object_get(signal, "arguments");
    const char *member = model_text(signal, "member");

    for (size_t i = 0; i < follow->n; i++) {
        struct follow_task *task = &follow->tasks[i];

        if (strcmp(task->path, model_text(signal, "path")) != 0)
            continue;
        if (strcmp(member, "PropertiesChanged") == 0)
            tell_step(ctl, follow, task, model_text(json_array_get(arguments, 1), "Step"));
        else if (strcmp(member, "Finished") == 0)
            finish(ctl, follow, task, text_at(arguments, 0), text_at(arguments, 1), text_at(arguments, 2));
    }
}

/* A task may have ended before its path came back, and its signal before ours was asked for. */
static void look_once(struct ctl *ctl, struct follow *follow)
{
    for (size_t i = 0; i < follow->n; i++) {
        struct follow_task *task = &follow->tasks[i];
        json_t *now = NULL;

        if (follow_read(ctl, task, &now, NULL) < 0)
            continue;
        tell_step(ctl, follow, task, model_text(now, "step"));
        if (strcmp(model_text(now, "state"), FINISHED) == 0)
            finish(ctl, follow, task, model_text(now, "result"), model_text(now, "error"), model_text(now, "hint"));
        json_decref(now);
    }
}

static bool all_finished(const struct follow *follow)
{
    for (size_t i = 0; i < follow->n; i++)
        if (!follow->tasks[i].finished)
            return false;
    return true;
}

/* The kind of a task's failure, for the exit status. */
static enum err_kind kind_of(struct ctl *ctl, const struct follow_task *task)
{
    enum err_kind kind = ERR_INTERNAL;
    json_t *now = NULL;

    if (follow_read(ctl, task, &now, NULL) < 0)
        return kind;
    kind = err_kind_parse(model_text(now, "error-kind"));
    json_decref(now);
    return kind == ERR__MAX ? ERR_INTERNAL : kind;
}

static int first_failure(struct ctl *ctl, const struct follow *follow, struct err **errp)
{
    for (size_t i = 0; i < follow->n; i++) {
        const struct follow_task *task = &follow->tasks[i];

        if (strcmp(task->result, FAILED) != 0)
            continue;
        err_set(errp, kind_of(ctl, task), "%s%s%s", task->label, *task->label ? ": " : "", task->error);
        return *task->hint ? err_hint(errp, "%s", task->hint) : -1;
    }
    return 0;
}

int follow_wait(struct ctl *ctl, struct follow *follow, struct err **errp)
{
    look_once(ctl, follow);
    while (!all_finished(follow)) {
        json_t *signal;
        int news = client_next(ctl->client, -1, &signal, errp);

        if (news < 0)
            return -1;
        if (news == CLIENT_SIGNAL)
            take_signal(ctl, follow, signal);
        json_decref(signal);
        if (news != CLIENT_GONE)
            continue;
        err_set(errp, ERR_NETWORK, "autoenrolld ended meanwhile");
        return err_hint(errp, "what was reached is on record and is gone on with when it runs again; "
                              "'autoenroll watch' or 'autoenroll status' shows it");
    }
    return first_failure(ctl, follow, errp);
}

/* --- the end of a verb --- */

static json_t *json_of(struct ctl *ctl, const struct follow *follow)
{
    json_t *list = json_array();

    for (size_t i = 0; i < follow->n; i++) {
        const struct follow_task *task = &follow->tasks[i];
        CLEANUP(mem_freep) char *id = buspath_id(task->path, BUS_JOBS);
        json_t *one = NULL;

        if (!ctl->wait || follow_read(ctl, task, &one, NULL) < 0)
            one = json_object();
        json_object_set_new(one, "job", json_string(id ? id : ""));
        json_object_set_new(one, "target", json_string(task->label));
        if (task->finished) { /* one that is long over cannot be read any more */
            json_object_set_new(one, "result", json_string(task->result));
            json_object_set_new(one, "error", json_string(task->error));
            json_object_set_new(one, "hint", json_string(task->hint));
        }
        json_array_append_new(list, one);
    }
    return json_pack("{s:o}", "jobs", list);
}

int follow_finish(struct ctl *ctl, struct follow *follow, struct err **errp)
{
    int r = ctl->wait ? follow_wait(ctl, follow, errp) : 0;

    if (ctl->json) {
        json_t *out = json_of(ctl, follow);

        screen_json(out);
        json_decref(out);
        return r;
    }
    for (size_t i = 0; i < follow->n && !ctl->wait; i++) {
        CLEANUP(mem_freep) char *id = buspath_id(follow->tasks[i].path, BUS_JOBS);
        CLEANUP(mem_freep) char *label = printable_text(follow->tasks[i].label);

        printf("%s: begun as job %s\n", label, id ? id : "?");
    }
    return r;
}
