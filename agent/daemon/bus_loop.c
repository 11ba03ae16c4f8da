#include "agent/daemon/bus_loop.h"

#include <stdlib.h>

struct bus_loop {
    DBusConnection *connection; /* borrowed */
    struct event_base *base;
    void (*wake)(void *ctx);
    void *ctx;
};
/* The data of a watch or a timeout. */
struct source {
    struct bus_loop *loop;
    struct event *event;
};

static void source_free(void *data)
{
    struct source *source = data;

    if (source->event)
        event_free(source->event);
    free(source);
}

/* --- watches: libdbus may have two on one descriptor --- */

static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
    DBusWatch *watch = arg;
    const struct source *source = dbus_watch_get_data(watch);
    struct bus_loop *loop = source->loop;
    unsigned flags = 0;

    (void)fd;
    if (what & EV_READ)
        flags |= DBUS_WATCH_READABLE;
    if (what & EV_WRITE)
        flags |= DBUS_WATCH_WRITABLE;
    (void)dbus_watch_handle(watch, flags); /* false: no memory, it is ready again in the next turn */
    loop->wake(loop->ctx);                 /* the watch may be gone by now */
}

static dbus_bool_t watch_set(DBusWatch *watch, struct source *source)
{
    unsigned flags = dbus_watch_get_flags(watch);
    short what = EV_PERSIST;

    if (source->event) {
        event_free(source->event);
        source->event = NULL;
    }
    if (!dbus_watch_get_enabled(watch))
        return TRUE;
    if (flags & DBUS_WATCH_READABLE)
        what |= EV_READ;
    if (flags & DBUS_WATCH_WRITABLE)
        what |= EV_WRITE;
    source->event = event_new(source->loop->base, dbus_watch_get_unix_fd(watch), what, watch_ready, watch);
    return source->event && event_add(source->event, NULL) == 0;
}

static dbus_bool_t watch_add(DBusWatch *watch, void *data)
{
    struct source *source = mem_alloc(sizeof(*source));

    source->loop = data;
    dbus_watch_set_data(watch, source, source_free);
    return watch_set(watch, source);
}

static void watch_toggled(DBusWatch *watch, void *data)
{
    struct source *source = dbus_watch_get_data(watch);

    (void)data;
    if (source)
        (void)watch_set(watch, source);
}

static void watch_remove(DBusWatch *watch, void *data)
{
    (void)data;
    dbus_watch_set_data(watch, NULL, NULL); /* frees the source */
}

/* --- timeouts --- */

static void timeout_over(evutil_socket_t fd, short what, void *arg)
{
    DBusTimeout *timeout = arg;
    const struct source *source = dbus_timeout_get_data(timeout);
    struct bus_loop *loop = source->loop;

    (void)fd;
    (void)what;
    (void)dbus_timeout_handle(timeout);
    loop->wake(loop->ctx);
}

static dbus_bool_t timeout_set(DBusTimeout *timeout, struct source *source)
{
    int ms = dbus_timeout_get_interval(timeout);
    struct timeval interval = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    if (!source->event)
        source->event = event_new(source->loop->base, -1, EV_PERSIST, timeout_over, timeout);
    if (!source->event)
        return FALSE;
    return (dbus_timeout_get_enabled(timeout) ? event_add(source->event, &interval) : event_del(source->event)) == 0;
}

static dbus_bool_t timeout_add(DBusTimeout *timeout, void *data)
{
    struct source *source = mem_alloc(sizeof(*source));

    source->loop = data;
    dbus_timeout_set_data(timeout, source, source_free);
    return timeout_set(timeout, source);
}

static void timeout_toggled(DBusTimeout *timeout, void *data)
{
    struct source *source = dbus_timeout_get_data(timeout);

    (void)data;
    if (source)
        (void)timeout_set(timeout, source);
}

static void timeout_remove(DBusTimeout *timeout, void *data)
{
    (void)data;
    dbus_timeout_set_data(timeout, NULL, NULL);
}

/* --- dispatching is the owner's --- */

static void dispatch_status(DBusConnection *connection, DBusDispatchStatus status, void *data)
{
    const struct bus_loop *loop = data;

    (void)connection;
    if (status != DBUS_DISPATCH_COMPLETE)
        loop->wake(loop->ctx);
}

int bus_loop_attach(DBusConnection *connection, struct event_base *base, void (*wake)(void *ctx), void *ctx,
    struct bus_loop **out, struct err **errp)
{
    struct bus_loop *loop = mem_alloc(sizeof(*loop));

    *loop = (struct bus_loop){.connection = connection, .base = base, .wake = wake, .ctx = ctx};
    if (!dbus_connection_set_watch_functions(connection, watch_add, watch_remove, watch_toggled, loop, NULL) ||
        !dbus_connection_set_timeout_functions(connection, timeout_add, timeout_remove, timeout_toggled, loop, NULL)) {
        bus_loop_detach(loop);
        return err_set(errp, ERR_INTERNAL, "no memory to watch a connection to the bus");
    }
    dbus_connection_set_dispatch_status_function(connection, dispatch_status, loop, NULL);
    *out = loop;
    return 0;
}

void bus_loop_detach(struct bus_loop *loop)
{
    dbus_connection_set_dispatch_status_function(loop->connection, NULL, NULL, NULL);
    (void)dbus_connection_set_watch_functions(loop->connection, NULL, NULL, NULL, NULL, NULL);
    (void)dbus_connection_set_timeout_functions(loop->connection, NULL, NULL, NULL, NULL, NULL);
    free(loop);
}
