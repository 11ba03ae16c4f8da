#include "agent/daemon/bus_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/daemon/bus_loop.h"

#define RETRY_MIN_MS 250
#define NAME_TIMEOUT 25000     /* ms */
#define MAX_RECEIVED (4 << 20) /* bytes of messages that we hold: then the bus keeps the rest */
/* The bus reads slowly when it is busy: what waits here, waits in front of all that comes later. */
#define SEND_BUFFER    (8 << 10)
#define MAX_FDS        64
#define FAREWELL_TRIES 20
#define FAREWELL_MS    10

struct bus_link {
    struct bus_link_config config;
    char *bus;
    DBusConnection *connection;
    struct bus_loop *loop;
    DBusPendingCall *pending; /* Hello, then RequestName */
    struct event *retry;
    int delay_ms;
    bool up, lost;
    char *complaint; /* told last; NULL: all is well */
};

DBusConnection *bus_link_connection(const struct bus_link *link)
{
    return link->connection;
}

bool bus_link_is_up(const struct bus_link *link)
{
    return link->up;
}

/* --- down --- */

static void forget_pending(struct bus_link *link)
{
    if (!link->pending)
        return;
    dbus_pending_call_cancel(link->pending);
    dbus_pending_call_unref(link->pending);
    link->pending = NULL;
}

static void close_connection(struct bus_link *link)
{
    forget_pending(link);
    if (!link->connection)
        return;
    bus_loop_detach(link->loop);
    dbus_connection_close(link->connection);
    dbus_connection_unref(link->connection);
    link->connection = NULL;
    link->loop = NULL;
}

/* Takes @why, and says it unless that was the last thing said. */
static void complain(struct bus_link *link, char *why)
{
    if (!link->complaint || strcmp(link->complaint, why) != 0)
        link->config.log(link->config.ctx, true, why);
    free(link->complaint);
    link->complaint = why;
}

static void go_down(struct bus_link *link)
{
    struct timeval delay = {link->delay_ms / 1000, (suseconds_t)(link->delay_ms % 1000) * 1000};

    link->up = false;
    link->lost = false;
    link->config.changed(link->config.ctx, false);
    close_connection(link);
    (void)event_add(link->retry, &delay);
    link->delay_ms =
        2 * link->delay_ms < 1000 * link->config.retry_max ? 2 * link->delay_ms : 1000 * link->config.retry_max;
}

/* The connection ends once we are out of its callbacks. @why is taken. */
static void fail(struct bus_link *link, char *why)
{
    complain(link, why);
    link->lost = true;
    link->config.wake(link->config.ctx);
}

/* --- up --- */

/* Takes @message. false: the connection is gone. */
static bool ask(struct bus_link *link, DBusMessage *message, int timeout_ms, DBusPendingCallNotifyFunction then)
{
    DBusPendingCall *pending = NULL;

    forget_pending(link);
    if (!message || !dbus_connection_send_with_reply(link->connection, message, &pending, timeout_ms))
        abort(); /* no memory */
    dbus_message_unref(message);
    if (pending && !dbus_pending_call_set_notify(pending, then, link, NULL))
        abort();
    link->pending = pending;
    return pending != NULL;
}

static DBusMessage *call_of_the_bus(const char *member)
{
    return dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, member);
}

/* What an error says, for a person; NULL when @answer is none. Returns owned. */
static char *error_of(DBusMessage *answer)
{
    const char *text = NULL;

    if (dbus_message_get_type(answer) != DBUS_MESSAGE_TYPE_ERROR)
        return NULL;
    (void)dbus_message_get_args(answer, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    return mem_strdup(text ? text : dbus_message_get_error_name(answer));
}

static void name_answered(DBusPendingCall *pending, void *ctx)
{
    struct bus_link *link = ctx;
    DBusMessage *answer = dbus_pending_call_steal_reply(pending);
    CLEANUP(mem_freep) char *error = error_of(answer);
    dbus_uint32_t result = 0;

    (void)dbus_message_get_args(answer, NULL, DBUS_TYPE_UINT32, &result, DBUS_TYPE_INVALID);
    dbus_message_unref(answer);
    if (error) {
        fail(link, mem_printf("the bus does not let us be %s: %s", link->config.name, error));
        return;
    }
    if (result != DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER && result != DBUS_REQUEST_NAME_REPLY_ALREADY_OWNER) {
        fail(link, mem_printf("another program on the bus is %s already", link->config.name));
        return;
    }
    link->up = true;
    link->delay_ms = RETRY_MIN_MS;
    if (link->complaint)
        link->config.log(link->config.ctx, false, "the bus is there, and we are on it");
    free(TAKE(link->complaint));
    link->config.changed(link->config.ctx, true);
}

static void hello_answered(DBusPendingCall *pending, void *ctx)
{
    struct bus_link *link = ctx;
    DBusMessage *answer = dbus_pending_call_steal_reply(pending);
    CLEANUP(mem_freep) char *error = error_of(answer);
    dbus_uint32_t flags = DBUS_NAME_FLAG_DO_NOT_QUEUE;
    const char *unique = NULL;
    DBusMessage *message;

    if (!error && dbus_message_get_args(answer, NULL, DBUS_TYPE_STRING, &unique, DBUS_TYPE_INVALID) &&
        !dbus_bus_set_unique_name(link->connection, unique))
        abort();
    dbus_message_unref(answer);
    if (error) {
        fail(link, mem_printf("the bus does not take us: %s", error));
        return;
    }
    message = call_of_the_bus("RequestName");
    if (!message || !dbus_message_append_args(
                        message, DBUS_TYPE_STRING, &link->config.name, DBUS_TYPE_UINT32, &flags, DBUS_TYPE_INVALID))
        abort();
    (void)ask(link, message, NAME_TIMEOUT, name_answered);
}

static DBusHandlerResult filter(DBusConnection *connection, DBusMessage *message, void *ctx)
{
    struct bus_link *link = ctx;

    (void)connection;
    if (dbus_message_get_type(message) == DBUS_MESSAGE_TYPE_METHOD_CALL) {
        link->config.received(link->config.ctx, message);
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    if (dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected"))
        fail(link, mem_strdup("the bus has gone"));
    else if (link->up && dbus_message_has_sender(message, DBUS_SERVICE_DBUS) &&
             dbus_message_is_signal(message, DBUS_INTERFACE_DBUS, "NameLost"))
        fail(link, mem_strdup("the bus has taken our name away"));
    return DBUS_HANDLER_RESULT_HANDLED;
}

static char *address_of(const char *bus)
{
    const char *said, *runtime;

    if (strcmp(bus, "system") == 0) {
        said = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
        return mem_strdup(said ? said : "unix:path=/run/dbus/system_bus_socket");
    }
    if (strcmp(bus, "session") != 0)
        return mem_strdup(bus);
    said = secure_getenv("DBUS_SESSION_BUS_ADDRESS");
    runtime = secure_getenv("XDG_RUNTIME_DIR");
    return said ? mem_strdup(said) : mem_printf("unix:path=%s/bus", runtime ? runtime : "/run");
}

static void keep_short(DBusConnection *connection)
{
    int fd, size = SEND_BUFFER;

    if (dbus_connection_get_unix_fd(connection, &fd))
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* 0 or -1; the loop has the connection then. */
static int connect_to(struct bus_link *link, struct err **errp)
{
    CLEANUP(mem_freep) char *address = address_of(link->bus);
    DBusError error = DBUS_ERROR_INIT;

    link->connection = dbus_connection_open_private(address, &error);
    if (!link->connection) {
        (void)err_set(errp, ERR_NETWORK, "the %s bus cannot be reached: %s", link->bus, error.message);
        dbus_error_free(&error);
        return -1;
    }
    dbus_connection_set_exit_on_disconnect(link->connection, FALSE);
    dbus_connection_set_max_received_size(link->connection, MAX_RECEIVED);
    keep_short(link->connection);
    dbus_connection_set_max_received_unix_fds(link->connection, MAX_FDS);
    if (!dbus_connection_add_filter(link->connection, filter, link, NULL))
        abort();
    if (bus_loop_attach(link->connection, link->config.base, link->config.wake, link->config.ctx, &link->loop, errp) <
        0) {
        dbus_connection_close(link->connection);
        dbus_connection_unref(link->connection);
        link->connection = NULL;
        return -1;
    }
    return 0;
}

/* A bus that takes the connection and is silent is waited for: another connection would not be better off. */
static void try_to_connect(evutil_socket_t fd, short what, void *ctx)
{
    struct bus_link *link = ctx;
    CLEANUP(err_freep) struct err *err = NULL;

    (void)fd;
    (void)what;
    if (connect_to(link, &err) < 0) {
        complain(link, mem_strdup(err_text(err)));
        go_down(link);
    } else if (!ask(link, call_of_the_bus("Hello"), DBUS_TIMEOUT_INFINITE, hello_answered)) {
        fail(link, mem_strdup("the bus has gone"));
    }
    link->config.wake(link->config.ctx);
}

bool bus_link_dispatch(struct bus_link *link, unsigned most)
{
    DBusDispatchStatus status = DBUS_DISPATCH_COMPLETE;

    if (!link->connection)
        return false;
    status = dbus_connection_get_dispatch_status(link->connection);
    while (most-- && status == DBUS_DISPATCH_DATA_REMAINS && !link->lost)
        status = dbus_connection_dispatch(link->connection);
    if (link->lost) {
        go_down(link);
        return false;
    }
    return status != DBUS_DISPATCH_COMPLETE;
}

int bus_link_open(const struct bus_link_config *config, struct bus_link **out, struct err **errp)
{
    struct bus_link *link = mem_alloc(sizeof(*link));

    link->config = *config;
    link->bus = mem_strdup(config->bus);
    link->delay_ms = RETRY_MIN_MS;
    link->retry = event_new(config->base, -1, 0, try_to_connect, link);
    if (!link->retry || event_add(link->retry, &(struct timeval){0, 0}) < 0) {
        bus_link_close(link);
        return err_set(errp, ERR_INTERNAL, "the event loop takes no timer for the bus");
    }
    *out = link;
    return 0;
}

void bus_link_close(struct bus_link *link)
{
    if (!link)
        return;
    if (link->up)
        for (int i = 0; i < FAREWELL_TRIES && dbus_connection_has_messages_to_send(link->connection); i++)
            (void)dbus_connection_read_write(link->connection, FAREWELL_MS);
    if (link->connection)
        dbus_connection_remove_filter(link->connection, filter, link);
    close_connection(link);
    if (link->retry)
        event_free(link->retry);
    free(link->complaint);
    free(link->bus);
    free(link);
}
