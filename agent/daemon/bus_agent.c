#include "agent/daemon/bus_agent.h"

#include <string.h>

#include "agent/daemon/bus_inside.h"
#include "agent/daemon/bus_objects.h"
#include "agent/daemon/once.h"
#include "agent/daemon/watch.h"

static void heard_of_record(struct bus *bus, const struct agent_news *news)
{
    const struct record *record = news->record;
    const struct bus_class *class = &bus_enrollment_class;

    switch ((int)news->event) {
    case AGENT_RECORD_ADDED:
        bus_added(bus, class, record->id);
        break;
    case AGENT_RECORD_CHANGED:
        bus_changed(bus, class, record->id);
        break;
    case AGENT_RECORD_REMOVED:
        bus_removed(bus, class, record->id);
        break;
    case AGENT_RENEWED:
        bus_emit(bus, class, record->id, "Renewed");
        break;
    case AGENT_FAILED:
        bus_emit(bus, class, record->id, "Failed", record->error, record->hint);
        break;
    case AGENT_EXPIRING:
        bus_emit(bus, class, record->id, "Expiring", news->days);
        break;
    default:
        break;
    }
}

static void heard_of_watched(struct bus *bus, const struct agent_news *news)
{
    const struct bus_class *class = &bus_watched_class;
    const char *id = news->watched->id;

    switch ((int)news->event) {
    case AGENT_WATCHED_ADDED:
        bus_added(bus, class, id);
        break;
    case AGENT_WATCHED_CHANGED:
        bus_changed(bus, class, id);
        break;
    case AGENT_WATCHED_REMOVED:
        bus_removed(bus, class, id);
        break;
    case AGENT_EXPIRING:
        bus_emit(bus, class, id, "Expiring", news->days);
        break;
    default:
        break;
    }
}

static void heard_of_task(struct bus *bus, const struct agent_news *news)
{
    const struct bus_class *class = &bus_job_class;
    const struct task *task = news->task;
    char id[BUS_JOB_ID_SIZE];

    bus_job_id(task, id);
    switch ((int)news->event) {
    case AGENT_TASK_ADDED:
        bus_added(bus, class, id);
        break;
    case AGENT_TASK_FINISHED:
        bus_emit(bus, class, id, "Finished", task_result_name(task->result), task->error, task->hint);
        break;
    case AGENT_TASK_REMOVED:
        bus_removed(bus, class, id);
        break;
    default:
        bus_changed(bus, class, id);
    }
}

static void heard(void *self, const struct agent_news *news)
{
    struct bus *bus = self;

    if (news->record)
        heard_of_record(bus, news);
    else if (news->watched)
        heard_of_watched(bus, news);
    else if (news->task)
        heard_of_task(bus, news);
    else if (news->server)
        bus_changed(bus, &bus_server_class, news->server->name);
    if (news->event == AGENT_RELOADED) {
        bus_compare(bus, &bus_server_class);
        bus_compare(bus, &bus_enrollment_class);
    }
    if (news->event == AGENT_TICK)
        once_review(bus->config.self);
    bus_changed(bus, &bus_manager_class, "");
}

static void say(void *self, bool wrong, const char *text)
{
    (void)self;
    agent_log(wrong ? AGENT_LOG_WARNING : AGENT_LOG_INFO, "%s", text);
}

int bus_open(struct agent *agent, void (*up)(void *self, bool owned), struct bus **out, struct err **errp)
{
    const char *name = agent->options->bus ? agent->options->bus : "system";
    struct bus_config config = {
        .bus = name, .classes = bus_classes, .self = agent, .base = agent->base, .up = up, .log = say};

    if (strcmp(name, "none") == 0) {
        *out = NULL;
        return 0;
    }
    if (bus_new(&config, out, errp) < 0)
        return -1;
    agent_listen(agent, heard, *out);
    return 0;
}

void bus_close(struct bus *bus)
{
    if (bus)
        agent_unlisten(bus->config.self, bus);
    bus_free(bus);
}
