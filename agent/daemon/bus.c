#include "agent/daemon/bus.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/daemon/bus_inside.h"
#include "agent/daemon/bus_standard.h"

/* What one turn of the loop may cost, so that timers, workers and other callers have theirs. */
#define TURN_MESSAGES 256
#define TURN_NEWS     256
#define TURN_MS       5

void bus_send(struct bus *bus, DBusMessage *message)
{
    DBusConnection *connection = bus_link_connection(bus->link);

    if (connection && !dbus_connection_send(connection, message, NULL))
        abort(); /* no memory */
    dbus_message_unref(message);
}

bool bus_is_throttled(const struct bus *bus)
{
    DBusConnection *connection = bus_link_connection(bus->link);

    return connection && dbus_connection_get_outgoing_size(connection) > BUS_MAX_OUTGOING;
}

void bus_wake(struct bus *bus)
{
    (void)event_add(bus->work, &(struct timeval){0, 0});
}

bool bus_is_up(const struct bus *bus)
{
    return bus_link_is_up(bus->link);
}

/* --- objects --- */

const struct bus_class *bus_find(const struct bus *bus, const char *path, char **id, void **about)
{
    for (size_t i = 0; bus->config.classes[i]; i++) {
        const struct bus_class *class = bus->config.classes[i];
        CLEANUP(mem_freep) char *found = NULL;

        if (class->kind)
            found = buspath_id(path, class->kind);
        else if (strcmp(path, BUS_ROOT) == 0)
            found = mem_strdup("");
        if (!found)
            continue;
        *about = class->find(bus->config.self, found);
        if (!*about)
            return NULL;
        *id = TAKE(found);
        return class;
    }
    return NULL;
}

static const struct bus_method *find_method(const struct bus_class *class, DBusMessage *message)
{
    const char *interface = dbus_message_get_interface(message);

    if (interface && strcmp(interface, class->interface->name) != 0)
        return NULL;
    for (const struct bus_method *m = class->interface->methods; m && m->name; m++)
        if (dbus_message_has_member(message, m->name))
            return m;
    return NULL;
}

/* --- calls --- */

/* Takes @answer; the caller may not want it. */
static void answer(struct bus *bus, DBusMessage *call, DBusMessage *message)
{
    if (dbus_message_get_no_reply(call))
        dbus_message_unref(message);
    else
        bus_send(bus, message);
}

static void tell_log(const struct bus_call *call, const char *what)
{
    const struct bus_config *config = &call->bus->config;
    CLEANUP(mem_freep) char *text = NULL;

    if (!config->log)
        return;
    text = mem_printf("%s of '%s' asked for by %s%s%s", call->method->name, *call->id ? call->id : BUS_NAME,
        bus_call_caller(call), what ? ": " : "", what ? what : "");
    config->log(config->self, what != NULL, text);
}

/* Does it, and answers unless the call is held. The call is freed, or kept where it is held. */
static void run(struct bus_call *call)
{
    struct bus *bus = call->bus;
    void *about = call->class->find(bus->config.self, call->id);
    DBusMessage *reply = bus_reply(call->message);
    CLEANUP(err_freep) struct err *err = NULL;
    struct bus_out out;
    int r = -1;

    bus_out_to(&out, reply);
    if (!about)
        (void)err_set(&err, ERR_MISSING, "'%s' has gone", call->id);
    else if (bus_call_read(call, &err) == 0)
        r = call->method->call(bus->config.self, about, call, &out, &err);
    if (r == 0 && !dbus_message_has_signature(reply, call->method->out))
        r = err_set(&err, ERR_INTERNAL, "%s answers '%s'", call->method->name, dbus_message_get_signature(reply));
    if (r == BUS_LATER) {
        dbus_message_unref(reply);
        return;
    }
    if (r < 0) {
        dbus_message_unref(reply);
        reply = bus_error_of(call->message, err);
    }
    answer(bus, call->message, reply);
    bus_call_free(call);
}

static void right_answered(void *ctx, const char *refused, const char *caller)
{
    struct bus_call *call = ctx;
    struct bus *bus = call->bus;
    struct bus_sender *sender = call->sender;

    call->check = NULL;
    call->sender = NULL;
    call->caller = mem_strdup(caller);
    tell_log(call, refused);
    if (refused) {
        answer(bus, call->message, bus_error(call->message, DBUS_ERROR_ACCESS_DENIED, "%s", refused));
        bus_call_free(call);
    } else {
        run(call);
    }
    sender->checking--;
    bus_inbox_release(&bus->inbox, sender);
    bus_wake(bus);
}

static void begin(struct bus *bus, DBusMessage *message, struct bus_sender *sender, const struct bus_class *class,
    const struct bus_method *method, char *id)
{
    struct bus_call *call = mem_alloc(sizeof(*call));

    *call =
        (struct bus_call){.bus = bus, .message = dbus_message_ref(message), .class = class, .method = method, .id = id};
    for (size_t i = 0; i < BUS_MAX_ARGS; i++)
        call->args[i].fd = -1;
    LIST_INSERT_HEAD(&bus->calls, call, link);
    if (method->right == BUS_ANYONE) {
        run(call);
        return;
    }
    call->sender = sender;
    sender->checking++;
    call->check = bus_right_ask(bus_link_connection(bus->link),
        &(struct bus_right_question){.sender = sender->name,
            .right = method->right,
            .interactive = dbus_message_get_allow_interactive_authorization(message)},
        right_answered, call);
}

static DBusMessage *not_found(DBusMessage *message)
{
    const char *interface = dbus_message_get_interface(message);

    return bus_error(message, DBUS_ERROR_UNKNOWN_METHOD, "%s has no method %s%s%s", dbus_message_get_path(message),
        interface ? interface : "", interface ? "." : "", dbus_message_get_member(message));
}

static void serve(struct bus *bus, DBusMessage *message, struct bus_sender *sender)
{
    CLEANUP(mem_freep) char *id = NULL;
    const struct bus_method *method = NULL;
    const struct bus_class *class;
    DBusMessage *reply;
    void *about;

    class = bus_find(bus, dbus_message_get_path(message), &id, &about);
    if (class)
        method = find_method(class, message);
    /* What only reads is not worth doing for nobody. */
    if (dbus_message_get_no_reply(message) && (!method || method->right == BUS_ANYONE))
        return;
    if (method && dbus_message_has_signature(message, method->in)) {
        begin(bus, message, sender, class, method, TAKE(id));
        return;
    }
    if (method)
        reply = bus_error(message, DBUS_ERROR_INVALID_ARGS, "the arguments of %s are '%s', not '%s'", method->name,
            method->in, dbus_message_get_signature(message));
    else if (!(reply = bus_standard(bus, message)))
        reply = class ? not_found(message)
                      : bus_error(message, DBUS_ERROR_UNKNOWN_OBJECT, "there is no object %s",
                            dbus_message_get_path(message));
    answer(bus, message, reply);
}

/* --- turns of the loop --- */

static void received(void *ctx, DBusMessage *message)
{
    struct bus *bus = ctx;

    if (!bus_inbox_add(&bus->inbox, message))
        answer(bus, message,
            bus_error(message, DBUS_ERROR_LIMITS_EXCEEDED, "%d calls of this caller wait already, or %d of all",
                BUS_INBOX_MAX_SENDER, BUS_INBOX_MAX));
}

static int64_t milliseconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* true: there is more to do, and nothing to wait for. */
static bool serve_some(struct bus *bus)
{
    int64_t end = milliseconds() + TURN_MS;

    do {
        struct bus_sender *sender;
        DBusMessage *message;

        if (bus_is_throttled(bus))
            return false; /* the connection wakes us when the bus has taken some */
        message = bus_inbox_next(&bus->inbox, &sender);
        if (!message)
            return false;
        serve(bus, message, sender);
        dbus_message_unref(message);
        bus_inbox_release(&bus->inbox, sender);
    } while (milliseconds() < end);
    return true;
}

static void turn(evutil_socket_t fd, short what, void *ctx)
{
    struct bus *bus = ctx;
    bool more;

    (void)fd;
    (void)what;
    more = !bus_is_throttled(bus) && bus_link_dispatch(bus->link, TURN_MESSAGES);
    more |= serve_some(bus);
    more |= bus_news_tell(bus, TURN_NEWS) && !bus_is_throttled(bus);
    if (more)
        bus_wake(bus);
}

/* --- its life --- */

static void wake(void *ctx)
{
    bus_wake(ctx);
}

static void drop_calls(struct bus *bus)
{
    struct bus_call *call;

    while ((call = LIST_FIRST(&bus->calls)))
        bus_call_free(call);
    bus_inbox_clear(&bus->inbox);
}

static void changed(void *ctx, bool up)
{
    struct bus *bus = ctx;

    if (!up)
        drop_calls(bus);
    if (bus->config.up)
        bus->config.up(bus->config.self, up);
}

static void forward_log(void *ctx, bool wrong, const char *text)
{
    const struct bus *bus = ctx;

    if (bus->config.log)
        bus->config.log(bus->config.self, wrong, text);
}

int bus_new(const struct bus_config *config, struct bus **out, struct err **errp)
{
    CLEANUP(bus_freep) struct bus *bus = mem_alloc(sizeof(*bus));
    struct bus_link_config link = {.bus = config->bus,
        .name = BUS_NAME,
        .retry_max = BUS_RETRY_MAX,
        .base = config->base,
        .wake = wake,
        .received = received,
        .changed = changed,
        .log = forward_log,
        .ctx = bus};

    bus->config = *config;
    bus_inbox_init(&bus->inbox);
    LIST_INIT(&bus->calls);
    bus_news_init(bus);
    bus->work = event_new(config->base, -1, 0, turn, bus);
    if (!bus->work)
        return err_set(errp, ERR_INTERNAL, "the event loop takes no event for the bus");
    if (bus_link_open(&link, &bus->link, errp) < 0)
        return -1;
    *out = TAKE(bus);
    return 0;
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    drop_calls(bus);
    if (bus->link)
        while (bus_news_tell(bus, TURN_NEWS) && !bus_is_throttled(bus))
            ;
    bus_link_close(bus->link);
    bus_news_clear(bus);
    if (bus->work)
        event_free(bus->work);
    free(bus);
}
