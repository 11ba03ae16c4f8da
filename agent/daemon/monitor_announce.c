#include "agent/daemon/engine.h"
#include "agent/daemon/monitor_inside.h"
#include "protocol/base/when.h"

static uint32_t days_left(int64_t not_after, int64_t now)
{
    return not_after > now ? (uint32_t)((not_after - now) / WHEN_DAY) : 0;
}

static void announce(
    struct agent *agent, const char *name, const char *subject, int64_t not_after, const struct agent_news *news)
{
    CLEANUP(mem_freep) char *when = when_format(not_after);
    CLEANUP(mem_freep) char *left = when_format_span(not_after > agent->now ? not_after - agent->now : 0);

    if (not_after <= agent->now)
        agent_log_event(
            AGENT_LOG_EXPIRING, AGENT_LOG_ERROR, "%s: the certificate %s has expired on %s", name, subject, when);
    else
        agent_log_event(AGENT_LOG_EXPIRING, AGENT_LOG_WARNING, "%s: the certificate %s expires in %s, on %s", name,
            subject, left, when);
    agent_tell(agent, news);
}

/* Asks for the time of the next one. */
static uint32_t due(struct monitor *monitor, const struct expiry_question *q)
{
    int64_t next;
    uint32_t threshold = expiry_due(&monitor->thresholds, q, &next);

    if (next)
        engine_at(monitor->agent, next);
    return threshold;
}

static bool is_prevented(const struct monitor *monitor, const struct record *record)
{
    const struct job_facts *facts = &record->current.facts;
    const struct expiry_plan plan = {.not_before = facts->not_before,
        .not_after = facts->not_after,
        .renew_at = record->renew_at,
        .failed = record->error != NULL,
        .started_at = monitor->opened_at,
        .now = monitor->agent->now};
    int64_t until;

    if (!expiry_is_prevented(&plan, &until))
        return false;
    engine_at(monitor->agent, until);
    return true;
}

static void look_at_record(struct monitor *monitor, struct record *record)
{
    struct agent *agent = monitor->agent;
    const struct job_facts *facts = &record->current.facts;
    const struct expiry_question q = {.not_before = facts->not_before,
        .not_after = facts->not_after,
        .announced = record->notified,
        .now = agent->now};
    CLEANUP(err_freep) struct err *err = NULL;
    uint32_t threshold;

    if (!record_has_certificate(record) || is_prevented(monitor, record))
        return;
    threshold = due(monitor, &q);
    if (!threshold)
        return;
    record->notified = threshold;
    announce(agent, record->id, facts->subject ? facts->subject : "", facts->not_after,
        &(struct agent_news){
            .event = AGENT_EXPIRING, .record = record, .days = days_left(facts->not_after, agent->now)});
    if (agent_save_record(agent, record, &err) < 0)
        agent_log_err(AGENT_LOG_ERROR, err);
}

static bool look_at_watched(struct monitor *monitor, struct watched *watched)
{
    struct agent *agent = monitor->agent;
    const struct expiry_question q = {.not_before = watched->not_before,
        .not_after = watched->not_after,
        .announced = watched->notified,
        .now = agent->now};
    uint32_t threshold = watched->error ? 0 : due(monitor, &q);

    if (!threshold)
        return false;
    watched->notified = threshold;
    announce(agent, watched->path, watched->subject, watched->not_after,
        &(struct agent_news){
            .event = AGENT_EXPIRING, .watched = watched, .days = days_left(watched->not_after, agent->now)});
    return true;
}

void monitor_announce(struct monitor *monitor)
{
    struct agent *agent = monitor->agent;
    CLEANUP(err_freep) struct err *err = NULL;
    bool told = false;

    if (agent->clock_is_back || agent->clock_is_unsure)
        return;
    for (size_t i = 0; i < agent->records.n; i++)
        look_at_record(monitor, agent->records.items[i]);
    for (size_t i = 0; i < monitor->watched.n; i++)
        told |= look_at_watched(monitor, monitor->watched.items[i]);
    if (told && watch_save(&monitor->watched, monitor->memory, &err) < 0)
        agent_log_err(AGENT_LOG_ERROR, err);
}
