#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/daemon/bus_inside.h"
#include "protocol/base/printable.h"

/* --- reading --- */

static void read_value(DBusMessageIter *iter, struct bus_value *out)
{
    dbus_bool_t truth;
    dbus_uint32_t number;
    dbus_int64_t time;

    switch (dbus_message_iter_get_arg_type(iter)) {
    case DBUS_TYPE_STRING:
        dbus_message_iter_get_basic(iter, &out->text);
        break;
    case DBUS_TYPE_INT64:
        dbus_message_iter_get_basic(iter, &time);
        out->number = time;
        break;
    case DBUS_TYPE_UINT32:
        dbus_message_iter_get_basic(iter, &number);
        out->number = number;
        break;
    case DBUS_TYPE_BOOLEAN:
        dbus_message_iter_get_basic(iter, &truth);
        out->number = truth;
        break;
    case DBUS_TYPE_UNIX_FD:
        dbus_message_iter_get_basic(iter, &out->fd); /* a duplicate, which is ours */
        break;
    default:
        break;
    }
}

static char *names_of(const struct bus_option *options)
{
    CLEANUP(strlist_clear) struct strlist names = {0};

    for (const struct bus_option *o = options; o && o->name; o++)
        strlist_add(&names, o->name);
    return strlist_join(&names, ", ");
}

static int unknown_option(const struct bus_call *call, const char *name, struct err **errp)
{
    CLEANUP(mem_freep) char *safe = printable(name, strlen(name), 64);
    CLEANUP(mem_freep) char *names = names_of(call->method->options);

    (void)err_set(errp, ERR_USAGE, "%s has no option '%s'", call->method->name, safe);
    return *names ? err_hint(errp, "its options are: %s", names) : err_hint(errp, "it takes no options");
}

static int read_option(struct bus_call *call, DBusMessageIter *entry, struct err **errp)
{
    const struct bus_option *option = call->method->options;
    DBusMessageIter value;
    const char *name;

    dbus_message_iter_get_basic(entry, &name);
    (void)dbus_message_iter_next(entry);
    dbus_message_iter_recurse(entry, &value);
    while (option && option->name && strcmp(option->name, name) != 0)
        option++;
    if (!option || !option->name)
        return unknown_option(call, name, errp);
    if (dbus_message_iter_get_arg_type(&value) != option->type)
        return err_set(errp, ERR_USAGE, "option '%s' of %s has type '%c'", name, call->method->name, option->type);
    for (size_t i = 0; i < call->n_options; i++)
        if (call->options[i].option == option)
            return err_set(errp, ERR_USAGE, "option '%s' of %s stands twice", name, call->method->name);
    call->options[call->n_options].option = option;
    read_value(&value, &call->options[call->n_options++].value);
    return 0;
}

static int read_options(struct bus_call *call, DBusMessageIter *array, struct err **errp)
{
    DBusMessageIter entry;

    for (; dbus_message_iter_get_arg_type(array) == DBUS_TYPE_DICT_ENTRY; (void)dbus_message_iter_next(array)) {
        dbus_message_iter_recurse(array, &entry);
        if (read_option(call, &entry, errp) < 0)
            return -1;
    }
    return 0;
}

int bus_call_read(struct bus_call *call, struct err **errp)
{
    DBusMessageIter iter, array;
    size_t n = 0;

    if (!dbus_message_iter_init(call->message, &iter))
        return 0;
    do {
        if (dbus_message_iter_get_arg_type(&iter) == DBUS_TYPE_ARRAY) {
            dbus_message_iter_recurse(&iter, &array);
            if (read_options(call, &array, errp) < 0)
                return -1;
        } else {
            read_value(&iter, &call->args[n++]);
        }
    } while (n < BUS_MAX_ARGS && dbus_message_iter_next(&iter));
    return 0;
}

/* --- for handlers --- */

const char *bus_arg_text(const struct bus_call *call, size_t i)
{
    return call->args[i].text;
}

int64_t bus_arg_time(const struct bus_call *call, size_t i)
{
    return call->args[i].number;
}

int bus_arg_take_fd(struct bus_call *call, size_t i)
{
    int fd = call->args[i].fd;

    call->args[i].fd = -1;
    return fd;
}

static const struct bus_value *option_of(const struct bus_call *call, const char *name)
{
    for (size_t i = 0; i < call->n_options; i++)
        if (strcmp(call->options[i].option->name, name) == 0)
            return &call->options[i].value;
    return NULL;
}

bool bus_option_has(const struct bus_call *call, const char *name)
{
    return option_of(call, name) != NULL;
}

const char *bus_option_text(const struct bus_call *call, const char *name)
{
    const struct bus_value *value = option_of(call, name);

    return value ? value->text : NULL;
}

bool bus_option_bool(const struct bus_call *call, const char *name)
{
    const struct bus_value *value = option_of(call, name);

    return value && value->number;
}

const char *bus_call_caller(const struct bus_call *call)
{
    return call->caller ? call->caller : dbus_message_get_sender(call->message);
}

void bus_call_hold(struct bus_call *call, void (*dropped)(void *ctx), void *ctx)
{
    call->held = true;
    call->dropped = dropped;
    call->ctx = ctx;
}

void bus_call_done(struct bus_call *call, const struct err *why)
{
    call->dropped = NULL;
    bus_send(call->bus, why ? bus_error_of(call->message, why) : bus_reply(call->message));
    bus_call_free(call);
}

void bus_call_free(struct bus_call *call)
{
    LIST_REMOVE(call, link);
    if (call->check)
        bus_right_cancel(call->check);
    if (call->dropped)
        call->dropped(call->ctx);
    for (size_t i = 0; i < BUS_MAX_ARGS; i++)
        if (call->args[i].fd >= 0)
            (void)close(call->args[i].fd);
    dbus_message_unref(call->message);
    free(call->caller);
    free(call->id);
    free(call);
}

/* --- answers --- */

static DBusMessage *must(DBusMessage *message)
{
    if (!message)
        abort(); /* no memory */
    return message;
}

DBusMessage *bus_error(DBusMessage *call, const char *name, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    DBusMessage *message;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    if (!utf8_valid(text, strlen(text))) {
        char *safe = printable_text(text);

        free(text);
        text = safe;
    }
    message = must(dbus_message_new_error(call, name, text));
    return message;
}

DBusMessage *bus_error_of(DBusMessage *call, const struct err *err)
{
    CLEANUP(mem_freep) char *name = mem_printf(BUS_ERROR "%s", err_kind_name(err_kind(err)));
    CLEANUP(mem_freep) char *text = printable_text(err_text(err));
    CLEANUP(mem_freep) char *hint = printable_text(err_hint_text(err));

    return bus_error(call, name, "%s%s%s", text, *hint ? "\nhint: " : "", hint);
}

DBusMessage *bus_reply(DBusMessage *call)
{
    return must(dbus_message_new_method_return(call));
}

DBusMessage *bus_signal_of(const struct bus_class *class, const char *id, const char *interface, const char *member)
{
    CLEANUP(mem_freep) char *path = class->kind ? buspath_make(class->kind, id) : mem_strdup(BUS_ROOT);

    return must(dbus_message_new_signal(path, interface, member));
}
