#include "agent/daemon/engine_wish.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/engine_inside.h"
#include "agent/daemon/errand.h"
#include "agent/daemon/monitor.h"
#include "agent/daemon/run.h"

/* What was checkpointed stays; without a wish it goes on when its time has come. */
static void cancel_attempt(struct agent *agent, struct task *task)
{
    struct record *record = record_find(&agent->records, task->target);

    if (record) {
        record->asked = record->asked_same_key = record->impatient = false;
        if (record->run)
            run_cancel(record->run);
    }
    task_finish(agent, task, TASK_CANCELLED, NULL);
}

/* For a worker that does nothing which could not be left half done. */
static void cancel_waiting(struct agent *agent, struct task *task)
{
    task_finish(agent, task, TASK_CANCELLED, NULL);
}

bool engine_may_ask(const struct agent *agent, struct err **errp)
{
    if (!agent->cloned)
        return true;
    err_set(errp, ERR_POLICY, "this state was made on another machine: nothing is signed and nobody is asked");
    err_hint(errp, "if this is a copy: autoenroll reset; if the machine itself was changed: autoenroll adopt");
    return false;
}

static struct task *new_task(struct agent *agent, enum task_kind kind, const char *target, struct err **errp)
{
    struct task *task = task_new(agent, kind, target);

    if (!task) {
        err_set(errp, ERR_BUSY, "%d requests are under way already", TASK_MAX);
        err_hint(errp, "wait until some have ended");
        return NULL;
    }
    task->cancel = engine_is_attempt(task) ? cancel_attempt : kind == TASK_REMOVE ? NULL : cancel_waiting;
    engine_wake(agent);
    return task;
}

struct task *engine_pulse(struct agent *agent, struct err **errp)
{
    if (!engine_may_ask(agent, errp))
        return NULL;
    engine_be_impatient(agent);
    agent->engine->last_pulse = 0;
    return new_task(agent, TASK_PULSE, NULL, errp);
}

struct task *engine_refresh(struct agent *agent, struct server_state *server, bool test, struct err **errp)
{
    const struct group *group = group_of_server(agent->groups, server->name);
    const struct settings_server *section = settings_find_server(&agent->settings, server->name);

    if (!engine_may_ask(agent, errp))
        return NULL;
    if (section->auth == POLICY_AUTH_CERTIFICATE && !group_has_identity(agent, group)) {
        err_set(errp, ERR_AUTH, "policy server '%s' wants a certificate, and there is none yet", server->name);
        err_hint(errp, "it is asked as soon as there is one; a section with auth = username and the same policy-id "
                       "can get the first");
        return NULL;
    }
    server->refused_at = 0;
    server->impatient = true;
    return new_task(agent, test ? TASK_TEST : TASK_REFRESH, server->name, errp);
}

/* A person asks: neither back-off nor a password that was refused earlier stands in the way. */
static void hurry(struct agent *agent, struct record *record)
{
    const struct group *group = group_of_server(agent->groups, record->server);
    struct server_state *account = group ? server_find(&agent->servers, group_account(group)->name) : NULL;

    record->impatient = true;
    if (account)
        account->refused_at = 0;
}

static bool is_configured(const struct agent *agent, const struct record *record, struct err **errp)
{
    if (group_of_server(agent->groups, record->server))
        return true;
    err_set(errp, ERR_CONFIG, "policy server '%s' is not configured any more", record->server);
    err_hint(errp, "add [policy-server \"%s\"] again, or remove this enrollment", record->server);
    return false;
}

struct task *engine_renew(struct agent *agent, struct record *record, bool same_key, struct err **errp)
{
    if (!engine_may_ask(agent, errp) || !is_configured(agent, record, errp))
        return NULL;
    if (record->run) { /* one that only looks is waited for */
        err_set(errp, ERR_BUSY, "a worker is at '%s' already", record->id);
        err_hint(errp, "follow it with: autoenroll watch");
        return NULL;
    }
    record->asked = true;
    record->asked_same_key = same_key;
    hurry(agent, record);
    return new_task(agent, TASK_RENEW, record->id, errp);
}

struct task *engine_poll(struct agent *agent, struct record *record, struct err **errp)
{
    if (!engine_may_ask(agent, errp) || !is_configured(agent, record, errp))
        return NULL;
    if (!record->attempt.pending) {
        err_set(errp, ERR_POLICY, "no request of '%s' is pending", record->id);
        return NULL;
    }
    hurry(agent, record);
    return new_task(agent, TASK_POLL, record->id, errp);
}

static const struct template *find_template(const struct group *group, const char *name)
{
    const struct template *found = policy_find_template_by_name(&group->policy, name);

    return found ? found : policy_find_template(&group->policy, name);
}

static int check_template(const struct group *group, const struct server_state *server, const char *name,
    const struct template **out, struct err **errp)
{
    if (!group->has_policy) {
        err_set(errp, ERR_POLICY, "there is no policy of '%s' yet: %s", server->name,
            group->failure ? err_text(group->failure) : "it was not asked");
        return err_hint(errp, "autoenroll server test %s", server->name);
    }
    *out = find_template(group, name);
    if (*out)
        return 0;
    err_set(errp, ERR_MISSING, "the policy of '%s' has no template '%s' for this account", server->name, name);
    return err_hint(errp, "autoenroll templates %s", server->name);
}

struct task *engine_enroll(struct agent *agent, struct server_state *server, const char *name, struct err **errp)
{
    const struct group *group = group_of_server(agent->groups, server->name);
    const struct template *template;
    CLEANUP(mem_freep) char *id = NULL;
    struct record *record;

    if (!engine_may_ask(agent, errp) || check_template(group, server, name, &template, errp) < 0)
        return NULL;
    id = errand_local_id(server->name, template->oid);
    record = record_find(&agent->records, id);
    if (record)
        return engine_renew(agent, record, false, errp);
    if (strlist_has(&agent->records.left_alone, id)) {
        err_set(errp, ERR_STORE, "the record of '%s' could not be read and must not be replaced", id);
        return NULL;
    }
    record = record_add(&agent->records, id);
    record->server = mem_strdup(server->name);
    record->template_oid = mem_strdup(template->oid);
    record->template_name = mem_strdup(template->name);
    record->by_person = true;
    record->asked = true;
    hurry(agent, record);
    if (agent_save_record(agent, record, errp) < 0)
        return NULL;
    agent_tell_record(agent, AGENT_RECORD_ADDED, record);
    return new_task(agent, TASK_ENROLL, record->id, errp);
}

/* --- looking --- */

/* One task may be about every enrollment; its report has a line for each. */
struct verifying {
    struct agent *agent;
    uint32_t task;
};

static void add_report(struct task *task, const char *line)
{
    char *report = task->report ? mem_printf("%s\n%s", task->report, line) : mem_strdup(line);

    free(task->report);
    task->report = report;
}

static void verified(void *ctx, struct record *record, const struct job_verified *result, const struct err *why)
{
    CLEANUP(mem_freep) struct verifying *v = ctx;
    struct task *task = task_find(v->agent, v->task);
    CLEANUP(mem_freep) char *line = monitor_report(record, result, why);
    CLEANUP(err_freep) struct err *problem = NULL;

    if (!task || task->state == TASK_FINISHED)
        return;
    add_report(task, line);
    task_step(v->agent, task, line);
    if (why || record->verify_problem)
        task->failed = true;
    if (--task->waits_for)
        return;
    if (task->failed) {
        err_set(&problem, why ? err_kind(why) : ERR_INVALID, "%s", task->report);
        err_hint(&problem, "autoenroll explain NAME says what to do");
    }
    task_finish(v->agent, task, task->failed ? TASK_FAILED : TASK_DONE, problem);
}

static int verify_one(struct agent *agent, struct record *record, struct task *task, struct err **errp)
{
    CLEANUP(mem_freep) struct verifying *v = mem_alloc(sizeof(*v));

    *v = (struct verifying){.agent = agent, .task = task->id};
    if (monitor_verify(agent, record, verified, v, errp) < 0)
        return -1;
    v = NULL; /* until verified() */
    task->waits_for++;
    return 0;
}

struct task *engine_verify(struct agent *agent, struct record *record, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;
    struct task *task;

    if (!engine_may_ask(agent, errp))
        return NULL;
    task = new_task(agent, TASK_VERIFY, record ? record->id : NULL, errp);
    if (!task)
        return NULL;
    for (size_t i = 0; i < agent->records.n; i++) {
        struct record *each = agent->records.items[i];

        if ((record ? each != record : !record_has_certificate(each)) || verify_one(agent, each, task, &why) == 0)
            continue;
        add_report(task, err_text(why));
        task->failed = true;
        err_free(TAKE(why));
    }
    if (!task->waits_for) {
        if (task->failed)
            err_set(&why, ERR_BUSY, "%s", task->report);
        task_finish(agent, task, task->failed ? TASK_FAILED : TASK_DONE, why);
    }
    return task;
}

/* Would the next look bring it back? */
static int stays_away(const struct agent *agent, const struct record *record, struct err **errp)
{
    const struct group *group = group_of_server(agent->groups, record->server);
    const struct settings_server *automatic = group ? group_autoenroll(group) : NULL;

    for (size_t i = 0; i < agent->settings.n_certificates && record->certificate; i++) {
        if (strcmp(agent->settings.certificates[i].name, record->certificate) != 0)
            continue;
        err_set(errp, ERR_POLICY, "section [certificate \"%s\"] would bring it back", record->certificate);
        return err_hint(errp, "remove the section and reload, or use --force to start it anew");
    }
    if (record->certificate || record->by_person || !automatic)
        return 0;
    if (automatic->templates.n && !strlist_has(&automatic->templates, record->template_name))
        return 0;
    err_set(errp, ERR_POLICY, "autoenrollment of policy server '%s' would bring it back", automatic->name);
    return err_hint(errp,
        "leave '%s' out of templates = in [policy-server \"%s\"] and reload, or use --force to start "
        "it anew",
        record->template_name, automatic->name);
}

struct task *engine_remove(struct agent *agent, struct record *record, bool force, struct err **errp)
{
    struct task *task;

    if (!force && stays_away(agent, record, errp) < 0)
        return NULL;
    task = new_task(agent, TASK_REMOVE, record->id, errp);
    if (task) {
        record->removed = true;
        record->forced = force;
    }
    return task;
}
