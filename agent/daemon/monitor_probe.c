#include "agent/daemon/engine.h"
#include "agent/daemon/monitor_inside.h"
#include "agent/daemon/run.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define MAX_TEXT 1000 /* characters */
#define TRIES    4    /* in a row; a pulse allows one more */

/* A service may be slow to take up what it was told to read anew. Seconds after the first, second, third try. */
static const int64_t waits[TRIES - 1] = {20, 120, 900};

struct probing {
    struct monitor *monitor;        /* NULL: it is gone */
    char *id, *thumbprint, *target; /* owned; the record may go meanwhile */
};

static void probing_free(struct probing *probing)
{
    free(probing->id);
    free(probing->thumbprint);
    free(probing->target);
    free(probing);
}
DEFINE_FREEP(struct probing, probing_free)

static void dropped(void *ctx)
{
    probing_free(ctx);
}

/* --- what comes of it --- */

static char *describe(const struct probing *p, const struct job_probed *probed, const struct err *why)
{
    CLEANUP(mem_freep) char *when = probed ? when_format(probed->not_after) : NULL;

    if (why)
        return printable(err_text(why), strlen(err_text(why)), MAX_TEXT);
    if (probed->matches)
        return mem_printf("%s presents the certificate", p->target);
    return mem_printf(
        "%s presents another certificate: %s, valid until %s", p->target, probed->subject ? probed->subject : "", when);
}

static void keep(struct agent *agent, struct record *record, const struct probing *p, const struct job_probed *probed,
    const struct err *why)
{
    struct record_outcome *outcome = &record->probe;
    CLEANUP(err_freep) struct err *err = NULL;
    bool again = outcome->thumbprint && strcmp(outcome->thumbprint, p->thumbprint) == 0;

    free(outcome->thumbprint);
    free(outcome->text);
    *outcome = (struct record_outcome){.thumbprint = mem_strdup(p->thumbprint),
        .when = agent->now,
        .ok = probed && probed->matches,
        .text = describe(p, probed, why),
        .tries = again ? outcome->tries + 1 : 1};
    if (agent_save_record(agent, record, &err) < 0)
        agent_log_err(AGENT_LOG_ERROR, err);
    agent_log(outcome->ok ? AGENT_LOG_INFO : AGENT_LOG_WARNING, "%s: %s", record->id, outcome->text);
}

static void ended(void *ctx, struct run_outcome *outcome, struct err *why)
{
    CLEANUP(probing_freep) struct probing *p = ctx;
    struct monitor *monitor = p->monitor;
    struct record *record = monitor ? record_find(&monitor->agent->records, p->id) : NULL;

    if (!monitor)
        return;
    monitor->probe = NULL;
    if (record)
        keep(monitor->agent, record, p, why ? NULL : &outcome->event.probed, why);
    engine_run_ended(monitor->agent);
}

/* --- when --- */

/* Not before autoenroll-deploy has done its part. */
static bool is_deployed(const struct settings_certificate *section, const struct record *record)
{
    const char *deployed = record->hook.thumbprint;

    if (!section->export && !section->reload.n && !section->run)
        return true;
    return deployed && strcmp(deployed, record->current.facts.thumbprint) == 0;
}

/* When it is time for the next look; 0: never. */
static int64_t next_try(const struct record_outcome *last, const char *thumbprint, int64_t deployed_at)
{
    if (!last->thumbprint || strcmp(last->thumbprint, thumbprint) != 0)
        return 1;
    if (last->ok)
        return 0;
    if (deployed_at > last->when)
        return 1;
    return last->tries >= TRIES ? 0 : last->when + waits[last->tries ? last->tries - 1 : 0];
}

static int begin(struct monitor *monitor, const struct record *record, const char *target, struct err **errp)
{
    struct probing *p = mem_alloc(sizeof(*p));
    struct job_probe job = {.target = mem_strdup(target), .thumbprint = mem_strdup(record->current.facts.thumbprint)};
    struct run_request request = {
        .kind = JOB_PROBE, .input = &job, .label = record->id, .done = ended, .dropped = dropped, .ctx = p};
    int r;

    *p = (struct probing){.monitor = monitor,
        .id = mem_strdup(record->id),
        .thumbprint = mem_strdup(job.thumbprint),
        .target = mem_strdup(target)};
    r = run_start(monitor->agent, &request, NULL, errp);
    job_probe_clear(&job);
    if (r < 0) {
        probing_free(p);
        return -1;
    }
    monitor->probe = p;
    engine_run_began(monitor->agent);
    return 0;
}

void monitor_start_probe(struct monitor *monitor)
{
    struct agent *agent = monitor->agent;

    for (size_t i = 0; i < agent->records.n && !monitor->probe && !agent->cloned; i++) {
        const struct record *record = agent->records.items[i];
        const struct settings_certificate *section = agent_section(agent, record);
        CLEANUP(err_freep) struct err *why = NULL;
        int64_t when;

        if (!section || !section->probe || !record_has_certificate(record) || !record->current.facts.thumbprint ||
            !is_deployed(section, record))
            continue;
        when = next_try(&record->probe, record->current.facts.thumbprint, record->hook.when);
        if (when > agent->now)
            engine_at(agent, when);
        else if (when && monitor_has_leisure(monitor) && begin(monitor, record, section->probe, &why) < 0)
            agent_log_err(AGENT_LOG_WARNING, why);
    }
}

/* What a service presents may have been mended meanwhile, or its probe may have been set up only now. */
void monitor_allow_probes(struct monitor *monitor)
{
    struct agent *agent = monitor->agent;

    for (size_t i = 0; i < agent->records.n; i++) {
        struct record_outcome *last = &agent->records.items[i]->probe;

        if (!last->ok && last->tries >= TRIES)
            last->tries = TRIES - 1;
    }
}

void monitor_drop_probe(struct monitor *monitor)
{
    if (monitor->probe)
        monitor->probe->monitor = NULL; /* until its worker has ended */
    monitor->probe = NULL;
}
