#include "agent/daemon/engine_walk.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/engine_inside.h"
#include "agent/daemon/engine_plan.h"
#include "protocol/base/printable.h"

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

void engine_report_clear(struct engine_report *report)
{
    for (size_t i = 0; i < report->n_lines; i++) {
        free(report->lines[i].name);
        free(report->lines[i].reason);
    }
    free(report->lines);
    *report = (struct engine_report){0};
}

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

    if (!engine_may_ask(agent, errp) || (agent->options->renew && ask_for(agent, agent->options->renew, errp) < 0))
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
