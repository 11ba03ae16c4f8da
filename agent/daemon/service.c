#include "agent/daemon/service.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef AE_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "agent/daemon/bus_agent.h"
#include "agent/daemon/deployed.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/engine_wish.h"
#include "agent/daemon/metrics.h"
#include "agent/daemon/monitor.h"

#define SIGNALS 4

struct service {
    struct agent *agent;
    struct bus *bus;
    struct metrics *metrics;
    struct event *signals[SIGNALS];
    struct event *watchdog; /* NULL: nobody watches */
};

/* --- what systemd is told; nothing where it is not there --- */

static void notify(const char *state)
{
#ifdef AE_HAVE_SYSTEMD
    (void)sd_notify(0, state);
#else
    (void)state;
#endif
}

#ifdef AE_HAVE_SYSTEMD
static void on_watchdog(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
    notify("WATCHDOG=1");
}

/* Twice as often as it must be. */
static void watch(struct service *service)
{
    uint64_t limit_us = 0;
    struct timeval interval;

    if (sd_watchdog_enabled(0, &limit_us) <= 0 || !limit_us)
        return;
    interval =
        (struct timeval){.tv_sec = (time_t)(limit_us / 2000000), .tv_usec = (suseconds_t)(limit_us / 2 % 1000000)};
    service->watchdog = event_new(service->agent->base, -1, EV_PERSIST, on_watchdog, service);
    if (service->watchdog)
        (void)event_add(service->watchdog, &interval);
}
#else
static void watch(struct service *service)
{
    (void)service;
}
#endif

/* --- signals --- */

static void on_stop(evutil_socket_t signal_number, short what, void *ctx)
{
    struct service *service = ctx;

    (void)what;
    agent_log(AGENT_LOG_NOTICE, "stopping: %s", strsignal((int)signal_number));
    notify("STOPPING=1");
    (void)event_base_loopbreak(service->agent->base);
}

static void on_reload(evutil_socket_t signal_number, short what, void *ctx)
{
    struct service *service = ctx;
    CLEANUP(err_freep) struct err *err = NULL;

    (void)signal_number;
    (void)what;
    notify("RELOADING=1");
    if (agent_reload(service->agent, &err) < 0)
        agent_log_err(AGENT_LOG_ERROR, err);
    notify("READY=1");
}

static void on_pulse(evutil_socket_t signal_number, short what, void *ctx)
{
    struct service *service = ctx;
    CLEANUP(err_freep) struct err *err = NULL;

    (void)signal_number;
    (void)what;
    agent_tell_time(service->agent);
    if (!engine_pulse(service->agent, &err))
        agent_log_err(AGENT_LOG_ERROR, err);
}

static int hear_signals(struct service *service, struct err **errp)
{
    static const struct {
        int number;
        event_callback_fn call;
    } rows[SIGNALS] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}, {SIGUSR1, on_pulse}};

    for (size_t i = 0; i < SIGNALS; i++) {
        service->signals[i] =
            event_new(service->agent->base, rows[i].number, EV_SIGNAL | EV_PERSIST, rows[i].call, service);
        if (!service->signals[i] || event_add(service->signals[i], NULL) < 0)
            return err_set(errp, ERR_INTERNAL, "waiting for signal %d", rows[i].number);
    }
    return 0;
}

/* --- together --- */

static int begin(struct service *service, struct err **errp)
{
    struct agent *agent = service->agent;

    if (hear_signals(service, errp) < 0 || monitor_open(agent, errp) < 0 || deployed_open(agent, errp) < 0)
        return -1;
    service->metrics = metrics_open(agent, errp);
    if (!service->metrics || engine_start(agent, errp) < 0)
        return -1;
    if (bus_open(agent, NULL, &service->bus, errp) < 0)
        return -1;
    watch(service);
    return 0;
}

static void end(struct service *service)
{
    bus_close(service->bus);
    engine_stop(service->agent);
    deployed_close(service->agent);
    monitor_close(service->agent);
    metrics_close(service->metrics);
    if (service->watchdog)
        event_free(service->watchdog);
    for (size_t i = 0; i < SIGNALS; i++)
        if (service->signals[i])
            event_free(service->signals[i]);
}

static void greet(const struct agent *agent)
{
    for (size_t i = 0; i < agent->problems.n; i++)
        agent_log(AGENT_LOG_ERROR, "%s", agent->problems.items[i]);
    if (agent->cloned)
        agent_log(AGENT_LOG_ERROR, "this state was made on another machine: nothing is signed and nobody is asked; "
                                   "hint: if this is a copy: autoenroll reset; if the machine itself was changed: "
                                   "autoenroll adopt");
    agent_log(AGENT_LOG_INFO, "ready: %zu enrollments, %zu policy servers", agent->records.n, agent->servers.n);
    notify("READY=1");
}

int service_run(struct agent *agent, struct err **errp)
{
    struct service service = {.agent = agent};
    int r = begin(&service, errp);

    if (r == 0) {
        greet(agent);
        if (event_base_dispatch(agent->base) < 0)
            r = err_set(errp, ERR_INTERNAL, "the event loop failed");
        agent->instance.clean = !agent->sweep;
    }
    end(&service);
    return r < 0 ? r : agent_save_instance(agent, errp);
}
