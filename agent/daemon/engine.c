#include "agent/daemon/engine.h"
#include "agent/daemon/engine_walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/daemon/engine_inside.h"
#include "agent/daemon/engine_tasks.h"
#include "agent/daemon/errand.h"
#include "agent/daemon/group.h"
#include "agent/daemon/monitor.h"
#include "agent/daemon/retire.h"
#include "agent/daemon/tokens.h"
#include "policy/schedule.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define TICK          600 /* seconds: the wall clock may have been set, or the machine have slept */
#define SAVE_TIME     WHEN_HOUR
#define SHORTEST_WAIT 1

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
    const struct engine *engine = agent->engine;

    return engine->last_pulse ? engine->last_pulse + agent->settings.agent.pulse : agent->now;
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

void engine_failed_untold(struct agent *agent, const struct err *why)
{
    engine_failed(agent, why);
    if (agent->options->oneshot) /* else it was logged by now */
        agent_log_err(AGENT_LOG_ERROR, why);
}

/* --- deciding --- */

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
        if (record->by_person && !record->attempts && !record_has_certificate(record)) {
            record->removed = true; /* a wish that cannot be granted leaves nothing behind */
            engine_wake(agent);
            return 0;
        }
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
    CLEANUP(engine_question_clear) struct engine_question question = {0};
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
    engine_question_make(agent, group, agent->now, &question);
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
        engine_rested(agent);
        if (agent->options->oneshot)
            (void)event_base_loopbreak(agent->base);
    }
    agent_tell(agent, &(struct agent_news){.event = AGENT_TICK});
    sleep_until_next(agent);
}

/* --- life --- */

/* Everything that waits for another try is tried now. */
void engine_be_impatient(struct agent *agent)
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
        engine_be_impatient(agent);
    engine_wake(agent);
    return 0;
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
    engine_report_clear(&engine->report);
    err_free(engine->failure);
    free(engine);
    agent->engine = NULL;
}
