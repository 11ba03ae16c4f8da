#include "agent/daemon/engine.h"
#include "agent/daemon/monitor_inside.h"

#include <stdlib.h>
#include <string.h>

#define MOST_DIRECTORIES 512 /* of watched files; the system limits them too */

const struct watch_list *monitor_watched(const struct agent *agent)
{
    static const struct watch_list none;

    return agent->monitor ? &agent->monitor->watched : &none;
}

enum monitor_token monitor_token(const struct agent *agent, int64_t *since)
{
    *since = agent->monitor ? agent->monitor->token_seen : 0;
    return agent->monitor ? agent->monitor->token : MONITOR_TOKEN_UNKNOWN;
}

bool monitor_has_leisure(const struct monitor *monitor)
{
    const struct agent *agent = monitor->agent;

    return engine_has_room(agent) && children_running(agent->children) == 0;
}

bool monitor_is_busy(const struct agent *agent)
{
    const struct monitor *m = agent->monitor;

    return m && (m->n_checks || m->scan || m->scan_all || m->only.n || m->probe);
}

/* --- changes from outside --- */

static void add_published(const struct agent *agent, struct strlist *directories)
{
    for (size_t i = 0; i < agent->records.n; i++) {
        const struct record *record = agent->records.items[i];
        CLEANUP(mem_freep) char *home = mem_printf("%s/%s", agent->paths.certs, record->id);
        CLEANUP(mem_freep) char *generation = mem_printf("%s/%u", home, record->current.generation);

        if (!record_has_certificate(record))
            continue;
        strlist_add(directories, home);
        strlist_add(directories, generation);
    }
}

void monitor_follow(struct monitor *monitor)
{
    CLEANUP(strlist_clear) struct strlist directories = {0};

    watch_directories(&monitor->watched, &monitor->agent->settings, MOST_DIRECTORIES, &directories);
    add_published(monitor->agent, &directories);
    inotify_follow(monitor->inotify, &directories);
}

/* "CERTS/ID/..." is about that enrollment. */
static struct record *record_of_path(const struct agent *agent, const char *path)
{
    size_t len = strlen(agent->paths.certs);
    CLEANUP(mem_freep) char *id = NULL;

    if (strncmp(path, agent->paths.certs, len) != 0 || path[len] != '/')
        return NULL;
    id = mem_strndup(path + len + 1, strcspn(path + len + 1, "/"));
    return record_find(&agent->records, id);
}

static void want_all_checks(struct monitor *monitor)
{
    for (size_t i = 0; i < monitor->agent->records.n; i++)
        monitor_want_check(monitor, monitor->agent->records.items[i]);
}

static void on_changed(void *ctx, const struct strlist *paths)
{
    struct monitor *monitor = ctx;
    CLEANUP(strlist_clear) struct strlist watched = {0};

    for (size_t i = 0; i < paths->n; i++) {
        struct record *record = record_of_path(monitor->agent, paths->items[i]);

        if (record)
            monitor_want_check(monitor, record);
        else
            strlist_add(&watched, paths->items[i]);
    }
    if (!paths->n)
        want_all_checks(monitor);
    if (!paths->n || watched.n)
        monitor_want_scan(monitor, &watched);
    engine_wake(monitor->agent);
}

/* --- time --- */

static void turn(struct monitor *monitor)
{
    monitor_announce(monitor);
    monitor_start_checks(monitor);
    monitor_start_probe(monitor);
    monitor_start_scan(monitor);
}

void monitor_pulse(struct agent *agent)
{
    struct monitor *monitor = agent->monitor;

    want_all_checks(monitor);
    monitor_want_scan(monitor, &(struct strlist){0});
    monitor_allow_probes(monitor);
}

static void on_news(void *self, const struct agent_news *news)
{
    struct agent *agent = self;
    struct monitor *monitor = agent->monitor;

    if (!monitor)
        return;
    if (news->event == AGENT_TICK) {
        turn(monitor);
    } else if (news->event == AGENT_RENEWED) {
        monitor_follow(monitor);
        monitor_want_check(monitor, news->record);
    } else if (news->event == AGENT_RECORD_REMOVED) {
        monitor_drop_checks(monitor, news->record);
    } else if (news->event == AGENT_RELOADED) {
        expiry_read(&agent->settings.agent.notify, &monitor->thresholds);
        watch_forget_marks(&monitor->watched);
        monitor_follow(monitor);
        monitor_pulse(agent);
    }
}

int monitor_open(struct agent *agent, struct err **errp)
{
    struct monitor *monitor = mem_alloc(sizeof(*monitor));

    monitor->agent = agent;
    monitor->opened_at = agent->now;
    monitor->inotify = inotify_open(agent->base, on_changed, monitor, errp);
    if (!monitor->inotify) {
        free(monitor);
        return -1;
    }
    monitor->memory = mem_printf("%s/watched.json", agent->paths.private);
    expiry_read(&agent->settings.agent.notify, &monitor->thresholds);
    watch_load(&monitor->watched, monitor->memory);
    agent->monitor = monitor;
    agent_listen(agent, on_news, agent);
    monitor_follow(monitor);
    monitor_want_scan(monitor, &(struct strlist){0});
    return 0;
}

void monitor_close(struct agent *agent)
{
    struct monitor *monitor = agent->monitor;

    if (!monitor)
        return;
    monitor_drop_checks(monitor, NULL);
    monitor_drop_scan(monitor);
    monitor_drop_probe(monitor);
    inotify_close(monitor->inotify);
    watch_list_clear(&monitor->watched);
    strlist_clear(&monitor->only);
    free(monitor->memory);
    free(monitor);
    agent->monitor = NULL;
}
