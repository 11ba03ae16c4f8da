#include "agent/daemon/engine.h"
#include "agent/daemon/monitor_inside.h"
#include "agent/daemon/run.h"

#include <malloc.h>
#include <stdlib.h>

#define MANY 500 /* rows, after which memory goes back to the system */

struct scanning {
    struct monitor *monitor; /* NULL: it is gone */
    bool whole;              /* not only some paths */
    size_t rows;             /* that were sent */
};

void monitor_want_scan(struct monitor *monitor, const struct strlist *only)
{
    if (!only->n)
        monitor->scan_all = true;
    for (size_t i = 0; i < only->n && !monitor->scan_all; i++)
        if (!strlist_has(&monitor->only, only->items[i]))
            strlist_add(&monitor->only, only->items[i]);
    if (monitor->scan_all)
        strlist_clear(&monitor->only);
}

/* --- what comes of it --- */

static void tell(void *ctx, enum watch_change change, struct watched *watched)
{
    static const enum agent_event events[] = {
        [WATCH_ADDED] = AGENT_WATCHED_ADDED,
        [WATCH_CHANGED] = AGENT_WATCHED_CHANGED,
        [WATCH_REMOVED] = AGENT_WATCHED_REMOVED,
    };
    struct monitor *monitor = ctx;

    if (watched->error && change != WATCH_REMOVED)
        agent_log(AGENT_LOG_WARNING, "watched: %s: %s", watched->path, watched->error);
    agent_tell(monitor->agent, &(struct agent_news){.event = events[change], .watched = watched});
}

static void take(struct monitor *monitor, const struct scanning *scan, const struct job_scanned *scanned)
{
    bool was_full = monitor->watched.full;

    watch_apply(&monitor->watched, scanned, tell, monitor);
    if (monitor->watched.full && !was_full)
        agent_log(AGENT_LOG_WARNING,
            "more than %u certificates are to be watched, or their paths are too long: the "
            "rest is left out",
            JOB_MAX_WATCHED);
    if (scanned->more && !monitor->watched.full) {
        monitor->scan_all |= scan->whole;
        return;
    }
    if (scan->whole && !monitor->settled) {
        monitor->settled = true;
        watch_settle(&monitor->watched);
    }
    if (scan->whole)
        monitor_follow(monitor);
}

static void ended(void *ctx, struct run_outcome *outcome, struct err *why)
{
    CLEANUP(mem_freep) struct scanning *scan = ctx;
    struct monitor *monitor = scan->monitor;
    size_t rows;

    if (!monitor)
        return;
    monitor->scan = NULL;
    rows = scan->rows + outcome->event.scanned.n_files;
    if (why)
        agent_log_err(AGENT_LOG_WARNING, why);
    else
        take(monitor, scan, &outcome->event.scanned);
    job_scanned_clear(&outcome->event.scanned);
    if (rows > MANY)
        (void)malloc_trim(0); /* a long answer leaves much behind that is not needed until the next one */
    engine_run_ended(monitor->agent);
}

/* --- when --- */

static bool has_anything_to_watch(const struct monitor *monitor)
{
    const struct settings *settings = &monitor->agent->settings;

    return settings->n_watches || settings->agent.token || monitor->watched.n;
}

static int begin(struct monitor *monitor, struct err **errp)
{
    struct agent *agent = monitor->agent;
    struct scanning *scan = mem_alloc(sizeof(*scan));
    struct job_scan job = {.tokens = agent->settings.agent.token && !agent->cloned};
    struct run_request request = {
        .kind = JOB_SCAN, .input = &job, .label = "watch", .done = ended, .dropped = free, .ctx = scan};
    int r;

    agent_place(agent, &job.place);
    watch_ask(&monitor->watched, &agent->settings, &monitor->only, &job);
    *scan = (struct scanning){.monitor = monitor, .whole = !monitor->only.n, .rows = job.n_known};
    monitor->scan_all = false;
    strlist_clear(&monitor->only);
    r = run_start(agent, &request, NULL, errp);
    job_scan_clear(&job);
    if (r < 0) {
        free(scan);
        return -1;
    }
    monitor->scan = scan;
    engine_run_began(agent);
    return 0;
}

void monitor_start_scan(struct monitor *monitor)
{
    CLEANUP(err_freep) struct err *why = NULL;

    if (monitor->scan || (!monitor->scan_all && !monitor->only.n) || !monitor_has_leisure(monitor))
        return;
    if (!has_anything_to_watch(monitor)) {
        monitor->scan_all = false;
        strlist_clear(&monitor->only);
        return;
    }
    if (begin(monitor, &why) < 0)
        agent_log_err(AGENT_LOG_WARNING, why);
}

void monitor_drop_scan(struct monitor *monitor)
{
    if (monitor->scan)
        monitor->scan->monitor = NULL; /* until its worker has ended */
    monitor->scan = NULL;
}
