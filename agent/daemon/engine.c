#include "agent/daemon/engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/daemon/errand.h"
#include "agent/daemon/group.h"
#include "agent/daemon/monitor.h"
#include "agent/daemon/retire.h"
#include "agent/daemon/run.h"
#include "agent/daemon/tokens.h"
#include "policy/schedule.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define TICK          600 /* seconds: the wall clock may have been set, or the machine have slept */
#define SAVE_TIME     WHEN_HOUR
#define SHORTEST_WAIT 1

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

/* --- time --- */

void engine_at(struct agent *agent, int64_t when)
{
    struct engine *engine = agent->engine;

    if (when < engine->next)
        engine->next = when;
}

int64_t engine_next(const struct agent *agent)
{
    return agent->engine->next;
}

int64_t engine_next_pulse(const struct agent *agent)
{
    return agent->engine->last_pulse + agent->settings.agent.pulse;
}

static void set_timer(struct engine *engine, int64_t seconds, bool at_once)
{
    struct timeval wait = {.tv_sec = seconds};

    engine->woken = at_once;
    (void)event_add(engine->timer, &wait);
}

void engine_wake(struct agent *agent)
{
    struct engine *engine = agent->engine;

    if (engine && !engine->woken && !engine->stopping)
        set_timer(engine, 0, true);
}

static void sleep_until_next(struct agent *agent)
{
    struct engine *engine = agent->engine;
    int64_t wait = engine->next - agent->now;

    if (engine->woken)
        return;
    if (wait > TICK)
        wait = TICK;
    set_timer(engine, wait < SHORTEST_WAIT ? SHORTEST_WAIT : wait, false);
}

uint32_t engine_chance(void)
{
    uint32_t value = 0;

    return getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value) ? value : 0;
}

/* --- workers --- */

bool engine_has_room(const struct agent *agent)
{
    return !agent->engine->stopping && !agent->retiring && !agent->resetting &&
           agent->engine->runs < agent->settings.agent.workers;
}

void engine_run_began(struct agent *agent)
{
    agent->engine->runs++;
}

void engine_run_ended(struct agent *agent)
{
    if (agent->engine->runs)
        agent->engine->runs--;
    engine_wake(agent);
}

uint32_t engine_retry_after(const struct channel_event *event)
{
    uint32_t most = 0;

    for (size_t i = 0; i < event->n_endpoints; i++)
        if (event->endpoints[i].retry_after > most)
            most = event->endpoints[i].retry_after;
    return most;
}

/* --- tasks --- */

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

static bool is_attempt(const struct task *task)
{
    return task->kind == TASK_RENEW || task->kind == TASK_ENROLL || task->kind == TASK_POLL;
}

void engine_attempted(struct agent *agent, struct record *record, const struct err *why)
{
    record->asked = record->asked_same_key = false;
    for (size_t i = 0; i < agent->tasks.n; i++) {
        struct task *task = agent->tasks.items[i];

        if (waits_for(task, false, record->id) && is_attempt(task))
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
static void finish_pulses(struct agent *agent)
{
    for (size_t i = 0; i < agent->tasks.n; i++) {
        struct task *task = agent->tasks.items[i];

        if (task->kind == TASK_PULSE && task->state != TASK_FINISHED)
            task_finish(agent, task, TASK_DONE, NULL);
    }
}

/* --- what is said --- */

void engine_failed(struct agent *agent, const struct err *why)
{
    struct engine_report *report = &agent->engine->report;

    if (!report->failed)
        report->worst = err_kind(why);
    report->failed = true;
    if (!agent->options->oneshot) /* which tells of it at its end */
        agent_log_err(AGENT_LOG_WARNING, why);
}

static void add_line(struct agent *agent, struct record *record, const char *name, const struct decision *d)
{
    struct engine_report *report = &agent->engine->report;
    struct engine_line *line = MEM_APPEND(report->lines, report->n_lines);

    *line = (struct engine_line){
        .record = record, .name = printable_text(name), .action = d->action, .reason = printable_text(d->reason)};
}

void engine_say(struct agent *agent, struct record *record, const struct decision *d)
{
    CLEANUP(mem_freep) char *reason = printable_text(d->reason);

    agent_log(AGENT_LOG_INFO, "%s: %s: %s", record->id, decide_action_name(d->action), reason);
    if (agent->options->oneshot)
        add_line(agent, record, record->id, d);
}

/* --- deciding --- */

/* What a question borrows from. */
struct question {
    struct decide_question ask;
    struct inventory inventory;
    struct decide_wish *wishes; /* owned */
    struct held_cert *held;     /* owned */
};

static void question_clear(struct question *q)
{
    free(q->wishes);
    free(q->held);
    *q = (struct question){0};
}

static void gather_wishes(const struct agent *agent, const struct group *group, struct question *q)
{
    for (size_t i = 0; i < agent->settings.n_certificates; i++) {
        const struct settings_certificate *c = &agent->settings.certificates[i];

        if (group_has_server(group, c->policy_server))
            *MEM_APPEND(q->wishes, q->ask.n_wishes) = (struct decide_wish){.name = c->name,
                .template_name = c->template_name,
                .has_names = c->subject || c->dns.n || c->ip.n || c->uri.n || c->email.n || c->upn.n,
                .file_key = c->file_key};
    }
}

static void ask(const struct agent *agent, const struct group *group, int64_t now, struct question *q)
{
    const struct settings_server *automatic = group_autoenroll(group);

    *q = (struct question){.ask = {.policy = &group->policy, .autoenroll = automatic, .now = now}};
    gather_wishes(agent, group, q);
    for (size_t i = 0; i < agent->records.n; i++)
        if (group_has_server(group, agent->records.items[i]->server))
            *MEM_APPEND(q->held, q->inventory.n) = errand_held(agent, agent->records.items[i]);
    q->inventory.items = q->held;
    q->ask.inventory = &q->inventory;
    q->ask.wishes = q->wishes;
    q->ask.templates = automatic ? &automatic->templates : NULL;
    q->ask.account = group_account(group)->username;
    (void)schedule_hours_parse(agent->settings.agent.maintenance, &q->ask.hours, NULL); /* checked when it was read */
}

/* It is to be left alone; whoever asked for more hears why. */
static int leave(struct agent *agent, const struct decision *d, struct err **errp)
{
    struct record *record = d->held ? record_find(&agent->records, d->held->name) : NULL;
    CLEANUP(err_freep) struct err *why = NULL;
    bool wrong_state;

    if (!record || record->busy)
        return 0;
    if (record->asked) {
        err_set(&why, ERR_POLICY, "%s", d->reason);
        engine_attempted(agent, record, why);
    }
    if (d->renew_at)
        engine_at(agent, d->renew_at);
    wrong_state = record->state == RECORD_DUE || record->state == RECORD_WORKING;
    if (wrong_state)
        record->state = record_has_certificate(record) ? RECORD_INSTALLED : RECORD_IDLE;
    if (!wrong_state && record->renew_at == d->renew_at)
        return 0;
    record->renew_at = d->renew_at;
    return agent_save_record(agent, record, errp);
}

static int carry_out(struct agent *agent, struct group *group, const struct decision *d, struct err **errp)
{
    switch (d->action) {
    case DECIDE_LEAVE:
    case DECIDE_SKIP:
        return leave(agent, d, errp);
    case DECIDE_ENROLL:
    case DECIDE_RENEW:
    case DECIDE_POLL:
    case DECIDE_RESUME:
        break;
    }
    return errand_start(agent, group, d, errp);
}

/* Whoever waits for an enrollment whose policy nobody has must not wait for ever. */
static void without_policy(struct agent *agent, const struct group *group)
{
    for (size_t i = 0; i < agent->records.n; i++) {
        struct record *record = agent->records.items[i];

        if (record->asked && !record->busy && group->failure && group_has_server(group, record->server))
            engine_attempted(agent, record, group->failure);
    }
}

static int decide_group(struct agent *agent, struct group *group, struct err **errp)
{
    CLEANUP(question_clear) struct question question = {0};
    CLEANUP(decision_list_clear) struct decision_list decisions = {0};

    for (size_t i = 0; i < group->n_servers; i++) {
        const struct server_state *server = server_find(&agent->servers, group->servers[i]->name);

        if (server->busy)
            return 0; /* it may say something else in a moment */
    }
    if (!group->has_policy) {
        without_policy(agent, group);
        return 0;
    }
    ask(agent, group, agent->now, &question);
    decisions = decide(&question.ask);
    for (size_t i = 0; i < decisions.n; i++)
        if (carry_out(agent, group, &decisions.items[i], errp) < 0)
            return -1;
    return 0;
}

/* --- asking --- */

static int ask_servers(struct agent *agent, struct group *group, struct err **errp)
{
    for (size_t i = 0; i < group->n_servers; i++) {
        struct server_state *server = server_find(&agent->servers, group->servers[i]->name);
        bool password = group->servers[i]->auth == POLICY_AUTH_USERNAME;
        CLEANUP(err_freep) struct err *why = NULL;
        int64_t due;

        if (server->busy)
            continue;
        due = group_due(agent, group, server);
        if (due > agent->now)
            engine_at(agent, due);
        if (due > agent->now || !engine_has_room(agent) ||
            (password && server_password(server, agent->now) == SERVER_PASSWORD_WAIT))
            continue;
        if (group_ask(agent, group, server, &why) == 0)
            continue;
        server_set_failure(server, why);
        server->impatient = false;
        server->next_attempt = agent->now + TICK;
        engine_failed(agent, why);
        engine_asked(agent, server, why);
        if (server_save(agent->paths.servers, server, errp) < 0)
            return -1;
    }
    return 0;
}

/* --- one look --- */

/* What was cut off goes on without asking the policy again: it is about what was asked for then. */
static int resume_all(struct agent *agent, struct err **errp)
{
    for (size_t i = 0; i < agent->records.n; i++) {
        struct record *record = agent->records.items[i];
        struct group *group = group_of_server(agent->groups, record->server);

        if (group && !record->busy && errand_is_cut_off(record) && errand_resume(agent, group, record, errp) < 0)
            return -1;
    }
    return 0;
}

static int pulse_by_itself(struct agent *agent, struct err **errp)
{
    struct engine *engine = agent->engine;

    if (!agent->clock_is_back && agent->instance.last_seen > engine->time_saved + SAVE_TIME) {
        engine->time_saved = agent->instance.last_seen;
        if (agent_save_instance(agent, errp) < 0)
            return -1;
    }
    if (agent->options->oneshot)
        return 0;
    if (agent->now >= engine->last_pulse && agent->now < engine_next_pulse(agent)) {
        engine_at(agent, engine_next_pulse(agent));
        return 0;
    }
    engine->last_pulse = agent->now;
    engine_at(agent, engine_next_pulse(agent));
    if (!agent->cloned)
        tokens_look(agent);
    if (agent->monitor)
        monitor_pulse(agent);
    agent_tell(agent, &(struct agent_news){.event = AGENT_CHANGED});
    return 0;
}

static int look(struct agent *agent, struct err **errp)
{
    if (pulse_by_itself(agent, errp) < 0 || retire_removed(agent, errp) < 0 || resume_all(agent, errp) < 0)
        return -1;
    for (size_t i = 0; i < agent->groups->n; i++)
        if (ask_servers(agent, &agent->groups->items[i], errp) < 0)
            return -1;
    for (size_t i = 0; i < agent->groups->n; i++)
        if (decide_group(agent, &agent->groups->items[i], errp) < 0)
            return -1;
    return retire_old(agent, errp);
}

bool engine_is_working(const struct agent *agent)
{
    return agent->engine->runs > 0;
}

bool engine_is_idle(const struct agent *agent)
{
    return agent->engine->runs == 0 && !agent->engine->woken;
}

/* Records cannot be written: nothing is begun that could not be remembered. It is tried again at the next tick. */
static void cannot_write(struct agent *agent, struct err *why)
{
    struct engine *engine = agent->engine;

    agent_log_err(AGENT_LOG_ERROR, why);
    if (agent->options->oneshot && !engine->failure)
        engine->failure = TAKE(why);
    err_free(why);
    engine_at(agent, agent->now + TICK / 10);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct agent *agent = ctx;
    struct engine *engine = agent->engine;
    struct err *why = NULL;

    (void)fd;
    (void)what;
    engine->woken = false;
    engine->next = INT64_MAX;
    agent_tell_time(agent);
    task_expire(agent);
    if (!agent->cloned && !agent->resetting && look(agent, &why) < 0)
        cannot_write(agent, why);
    if (engine->runs == 0 && !engine->woken) {
        finish_pulses(agent);
        if (agent->options->oneshot)
            (void)event_base_loopbreak(agent->base);
    }
    agent_tell(agent, &(struct agent_news){.event = AGENT_TICK});
    agent_tell(agent, &(struct agent_news){.event = AGENT_TICK});
    sleep_until_next(agent);
}

/* --- life --- */

/* Everything that waits for another try is tried now. */
static void be_impatient(struct agent *agent)
{
    for (size_t i = 0; i < agent->servers.n; i++) {
        struct server_state *server = agent->servers.items[i];
        const struct group *group = group_of_server(agent->groups, server->name);
        const struct settings_server *section = settings_find_server(&agent->settings, server->name);

        server->refused_at = 0; /* there may be another password by now */
        if (section->auth != POLICY_AUTH_CERTIFICATE || group_has_identity(agent, group))
            server->impatient = server->error || server->next_update <= agent->now || !group->has_policy;
    }
    for (size_t i = 0; i < agent->records.n; i++)
        agent->records.items[i]->impatient = true;
}

int engine_start(struct agent *agent, struct err **errp)
{
    struct engine *engine = mem_alloc(sizeof(*engine));

    agent->engine = engine;
    engine->next = INT64_MAX;
    engine->time_saved = agent->instance.last_seen;
    engine->timer = event_new(agent->base, -1, 0, on_timer, agent);
    if (!engine->timer)
        return err_set(errp, ERR_INTERNAL, "making a timer");
    for (size_t i = 0; i < agent->groups->n; i++)
        group_merge(agent, &agent->groups->items[i]);
    if (agent->options->oneshot)
        be_impatient(agent);
    engine_wake(agent);
    return 0;
}

static void report_clear(struct engine_report *report)
{
    for (size_t i = 0; i < report->n_lines; i++) {
        free(report->lines[i].name);
        free(report->lines[i].reason);
    }
    free(report->lines);
    *report = (struct engine_report){0};
}

void engine_stop(struct agent *agent)
{
    struct engine *engine = agent->engine;

    if (!engine)
        return;
    engine->stopping = true;
    for (size_t i = 0; i < agent->tasks.n; i++)
        task_finish(agent, agent->tasks.items[i], TASK_CANCELLED, NULL);
    event_free(engine->timer);
    report_clear(&engine->report);
    err_free(engine->failure);
    free(engine);
    agent->engine = NULL;
}

/* --- what a person may ask for --- */

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

static bool may_ask(const struct agent *agent, struct err **errp)
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
    task->cancel = is_attempt(task) ? cancel_attempt : kind == TASK_REMOVE ? NULL : cancel_waiting;
    engine_wake(agent);
    return task;
}

struct task *engine_pulse(struct agent *agent, struct err **errp)
{
    if (!may_ask(agent, errp))
        return NULL;
    be_impatient(agent);
    agent->engine->last_pulse = 0;
    return new_task(agent, TASK_PULSE, NULL, errp);
}

struct task *engine_refresh(struct agent *agent, struct server_state *server, bool test, struct err **errp)
{
    const struct group *group = group_of_server(agent->groups, server->name);
    const struct settings_server *section = settings_find_server(&agent->settings, server->name);

    if (!may_ask(agent, errp))
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
    if (!may_ask(agent, errp) || !is_configured(agent, record, errp))
        return NULL;
    if (record->busy) {
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
    if (!may_ask(agent, errp) || !is_configured(agent, record, errp))
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

    if (!may_ask(agent, errp) || check_template(group, server, name, &template, errp) < 0)
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

    if (!may_ask(agent, errp))
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

/* --- for showing --- */

void engine_plan(const struct agent *agent, int64_t at, struct plan **plans, size_t *n)
{
    *plans = NULL;
    *n = 0;
    for (size_t i = 0; i < agent->groups->n; i++) {
        const struct group *group = &agent->groups->items[i];
        struct plan *plan;
        struct question *question;

        if (!group->has_policy)
            continue;
        plan = MEM_APPEND(*plans, *n);
        question = mem_alloc(sizeof(*question));
        ask(agent, group, at ? at : agent->now, question);
        *plan = (struct plan){.group = group, .decisions = decide(&question->ask), .inside = question};
    }
}

void engine_plan_free(struct plan *plans, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        decision_list_clear(&plans[i].decisions);
        question_clear(plans[i].inside);
        free(plans[i].inside);
    }
    free(plans);
}

/* --- one walk --- */

static bool has_line(const struct engine_report *report, const char *name)
{
    for (size_t i = 0; i < report->n_lines; i++)
        if (strcmp(report->lines[i].name, name) == 0)
            return true;
    return false;
}

static void fail_quietly(struct engine_report *report, enum err_kind kind)
{
    if (!report->failed)
        report->worst = kind;
    report->failed = true;
}

/* What was left as it is, and why; what is wanted and cannot be had is a failure. */
static void report_decision(struct agent *agent, const struct decision *d)
{
    struct engine_report *report = &agent->engine->report;
    struct record *record = d->held ? record_find(&agent->records, d->held->name) : NULL;
    const char *name = record ? record->id : d->wish ? d->wish->name : d->template->name;

    if (has_line(report, name))
        return;
    add_line(agent, record, name, d);
    if (d->action == DECIDE_SKIP && d->wish && !record)
        fail_quietly(report, ERR_POLICY);
    else if (d->action == DECIDE_SKIP && record && record->error)
        fail_quietly(report, (enum err_kind)record->error_kind); /* it failed, and is not tried again yet */
    else if (d->action == DECIDE_ENROLL && !record)
        fail_quietly(report, ERR_STORE); /* there is a record that could not be read */
}

static void report_rest(struct agent *agent)
{
    struct plan *plans;
    size_t n;

    engine_plan(agent, 0, &plans, &n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < plans[i].decisions.n; j++)
            report_decision(agent, &plans[i].decisions.items[j]);
    engine_plan_free(plans, n);
    for (size_t i = 0; i < agent->groups->n; i++)
        if (agent->groups->items[i].failure)
            fail_quietly(&agent->engine->report, err_kind(agent->groups->items[i].failure));
}

/* A slip of the finger must not look as if all was well. */
static int ask_for(struct agent *agent, const char *name, struct err **errp)
{
    bool all = strcmp(name, "all") == 0;
    bool found = all;

    for (size_t i = 0; i < agent->records.n; i++) {
        struct record *record = agent->records.items[i];

        if (!all && strcmp(record->id, name) != 0)
            continue;
        record->asked = found = true;
        record->asked_same_key = agent->options->same_key;
    }
    for (size_t i = 0; i < agent->settings.n_certificates; i++)
        found |= strcmp(agent->settings.certificates[i].name, name) == 0;
    if (found)
        return 0;
    err_set(errp, ERR_USAGE, "nothing is enrolled under the name '%s'", name);
    return err_hint(errp, "run it without --renew to see the names, or renew 'all'");
}

int engine_walk(struct agent *agent, const struct engine_report **report, struct err **errp)
{
    struct engine *engine = agent->engine;

    if (!may_ask(agent, errp) || (agent->options->renew && ask_for(agent, agent->options->renew, errp) < 0))
        return -1;
    if (event_base_dispatch(agent->base) < 0)
        return err_set(errp, ERR_INTERNAL, "the event loop failed");
    if (engine->failure) {
        if (errp && !*errp)
            *errp = TAKE(engine->failure);
        return -1;
    }
    report_rest(agent);
    *report = &engine->report;
    agent->instance.clean = !agent->sweep;
    return agent_save_instance(agent, errp);
}
