#include "agent/ctl/client.h"

#include <dbus/dbus.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/base/bytes.h"

#define CALL_TIMEOUT_MS (60 * 1000) /* a person may be asked for a password by polkit meanwhile */
#define HINT_MARK       "\nhint: "  /* between text and hint of an error on the bus */

struct client {
    DBusConnection *bus;
    bool listening;
    char *owner; /* of BUS_NAME, its unique name; NULL: nobody, or not listening */
};

/* --- values from the bus --- */

static json_t *value_of(DBusMessageIter *at);

static json_t *bytes_of(DBusMessageIter *at)
{
    CLEANUP(mem_freep) char *text = NULL;
    DBusMessageIter inside;
    const void *data = NULL;
    int n = 0;

    dbus_message_iter_recurse(at, &inside);
    dbus_message_iter_get_fixed_array(&inside, &data, &n);
    text = bytes_to_base64(n ? data : "", (size_t)n, 0);
    return json_string(text);
}

static json_t *dictionary_of(DBusMessageIter *at)
{
    json_t *object = json_object();
    DBusMessageIter entries;

    dbus_message_iter_recurse(at, &entries);
    for (; dbus_message_iter_get_arg_type(&entries) == DBUS_TYPE_DICT_ENTRY; dbus_message_iter_next(&entries)) {
        DBusMessageIter entry;
        json_t *key;

        dbus_message_iter_recurse(&entries, &entry);
        key = value_of(&entry);
        dbus_message_iter_next(&entry);
        if (json_is_string(key))
            json_object_set_new(object, json_string_value(key), value_of(&entry));
        json_decref(key);
    }
    return object;
}

static json_t *list_of(DBusMessageIter *at)
{
    json_t *array = json_array();
    DBusMessageIter items;

    dbus_message_iter_recurse(at, &items);
    for (; dbus_message_iter_get_arg_type(&items) != DBUS_TYPE_INVALID; dbus_message_iter_next(&items))
        json_array_append_new(array, value_of(&items));
    return array;
}

static json_t *array_of(DBusMessageIter *at)
{
    switch (dbus_message_iter_get_element_type(at)) {
    case DBUS_TYPE_BYTE:
        return bytes_of(at);
    case DBUS_TYPE_DICT_ENTRY:
        return dictionary_of(at);
    default:
        return list_of(at);
    }
}

static json_t *variant_of(DBusMessageIter *at)
{
    DBusMessageIter inside;

    dbus_message_iter_recurse(at, &inside);
    return value_of(&inside);
}

static json_t *number_of(DBusMessageIter *at)
{
    DBusBasicValue value = {0};

    dbus_message_iter_get_basic(at, &value);
    switch (dbus_message_iter_get_arg_type(at)) {
    case DBUS_TYPE_BYTE:
        return json_integer(value.byt);
    case DBUS_TYPE_INT16:
        return json_integer(value.i16);
    case DBUS_TYPE_UINT16:
        return json_integer(value.u16);
    case DBUS_TYPE_INT32:
        return json_integer(value.i32);
    case DBUS_TYPE_UINT32:
        return json_integer(value.u32);
    case DBUS_TYPE_INT64:
        return json_integer(value.i64);
    case DBUS_TYPE_UINT64:
        return json_integer((json_int_t)value.u64);
    case DBUS_TYPE_DOUBLE:
        return json_real(value.dbl);
    case DBUS_TYPE_BOOLEAN:
        return json_boolean(value.bool_val);
    case DBUS_TYPE_STRING:
    case DBUS_TYPE_OBJECT_PATH:
    case DBUS_TYPE_SIGNATURE:
        return json_string(value.str);
    default:
        return json_null();
    }
}

static json_t *value_of(DBusMessageIter *at)
{
    switch (dbus_message_iter_get_arg_type(at)) {
    case DBUS_TYPE_ARRAY:
        return array_of(at);
    case DBUS_TYPE_STRUCT:
        return list_of(at);
    case DBUS_TYPE_VARIANT:
        return variant_of(at);
    case DBUS_TYPE_UNIX_FD: /* none is ever given to us, and reading one would open it */
    case DBUS_TYPE_INVALID:
        return json_null();
    default:
        return number_of(at);
    }
}

static json_t *arguments_of(DBusMessage *message)
{
    json_t *array = json_array();
    DBusMessageIter at;

    if (dbus_message_iter_init(message, &at))
        for (; dbus_message_iter_get_arg_type(&at) != DBUS_TYPE_INVALID; dbus_message_iter_next(&at))
            json_array_append_new(array, value_of(&at));
    return array;
}

/* --- values for the bus. What cannot be appended is memory that ran out. --- */

static void must(dbus_bool_t worked)
{
    if (!worked)
        abort();
}

static void append_text(DBusMessageIter *to, int type, const json_t *value)
{
    const char *text = json_string_value(value);

    must(dbus_message_iter_append_basic(to, type, &text));
}

static void append_variant(DBusMessageIter *to, const json_t *value)
{
    DBusMessageIter inside;
    dbus_bool_t yes = json_is_true(value);
    dbus_int64_t number = json_integer_value(value);
    bool is_text = json_is_string(value), is_bool = json_is_boolean(value);

    must(dbus_message_iter_open_container(to, DBUS_TYPE_VARIANT, is_text ? "s" : is_bool ? "b" : "x", &inside));
    if (is_text)
        append_text(&inside, DBUS_TYPE_STRING, value);
    else if (is_bool)
        must(dbus_message_iter_append_basic(&inside, DBUS_TYPE_BOOLEAN, &yes));
    else
        must(dbus_message_iter_append_basic(&inside, DBUS_TYPE_INT64, &number));
    must(dbus_message_iter_close_container(to, &inside));
}

static void append_options(DBusMessageIter *to, json_t *object)
{
    DBusMessageIter entries, entry;
    const char *key;
    json_t *value;

    must(dbus_message_iter_open_container(to, DBUS_TYPE_ARRAY, "{sv}", &entries));
    json_object_foreach (object, key, value) {
        must(dbus_message_iter_open_container(&entries, DBUS_TYPE_DICT_ENTRY, NULL, &entry));
        must(dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &key));
        append_variant(&entry, value);
        must(dbus_message_iter_close_container(&entries, &entry));
    }
    must(dbus_message_iter_close_container(to, &entries));
}

static void append_texts(DBusMessageIter *to, const json_t *array)
{
    DBusMessageIter items;

    must(dbus_message_iter_open_container(to, DBUS_TYPE_ARRAY, "s", &items));
    for (size_t i = 0; i < json_array_size(array); i++)
        append_text(&items, DBUS_TYPE_STRING, json_array_get(array, i));
    must(dbus_message_iter_close_container(to, &items));
}

/* One value; @type is the first character of its signature, @more the one behind it. */
static void append_value(DBusMessageIter *to, char type, char more, json_t *value)
{
    dbus_bool_t yes = json_is_true(value);
    dbus_int64_t number = json_integer_value(value);
    dbus_uint32_t word = (dbus_uint32_t)number;
    int fd = (int)number;

    switch (type) {
    case DBUS_TYPE_BOOLEAN:
        must(dbus_message_iter_append_basic(to, type, &yes));
        break;
    case DBUS_TYPE_INT64:
        must(dbus_message_iter_append_basic(to, type, &number));
        break;
    case DBUS_TYPE_UINT32:
        must(dbus_message_iter_append_basic(to, type, &word));
        break;
    case DBUS_TYPE_UNIX_FD:
        must(dbus_message_iter_append_basic(to, type, &fd));
        break;
    case DBUS_TYPE_ARRAY:
        more == DBUS_TYPE_STRING ? append_texts(to, value) : append_options(to, value);
        break;
    default:
        append_text(to, type, value);
        break;
    }
}

static void append_arguments(DBusMessage *message, const char *signature, const json_t *arguments)
{
    DBusSignatureIter type;
    DBusMessageIter to;
    size_t i = 0;

    dbus_message_iter_init_append(message, &to);
    dbus_signature_iter_init(&type, signature);
    do {
        char *one = dbus_signature_iter_get_signature(&type);

        must(one != NULL);
        append_value(&to, one[0], one[1], json_array_get(arguments, i++));
        dbus_free(one);
    } while (dbus_signature_iter_next(&type));
}

/* --- failures --- */

#define NO_BUS_HINT                                                                                                    \
    "start dbus (systemctl start dbus), or say --bus session; in a container without one: autoenrolld --oneshot"

/* Errors that the bus itself gives, and what they mean here. */
static const struct {
    const char *name;
    enum err_kind kind;
    const char *text; /* NULL: as it came */
    const char *hint;
} bus_errors[] = {
    {DBUS_ERROR_SERVICE_UNKNOWN, ERR_NETWORK, "autoenrolld is not running",
        "start it: systemctl start autoenrolld; why it ended: journalctl -u autoenrolld"},
    {DBUS_ERROR_NAME_HAS_NO_OWNER, ERR_NETWORK, "autoenrolld is not running",
        "start it: systemctl start autoenrolld; why it ended: journalctl -u autoenrolld"},
    {"org.freedesktop.systemd1.", ERR_NETWORK, NULL, "see why it does not start: journalctl -u autoenrolld"},
    {DBUS_ERROR_SPAWN_FAILED, ERR_NETWORK, NULL, "see why it does not start: journalctl -u autoenrolld"},
    {"org.freedesktop.DBus.Error.Spawn.", ERR_NETWORK, NULL, "see why it does not start: journalctl -u autoenrolld"},
    {DBUS_ERROR_ACCESS_DENIED, ERR_DENIED, NULL,
        "this is for root and the group autoenroll-admin: use sudo, or have yourself added to the group"},
    {DBUS_ERROR_AUTH_FAILED, ERR_DENIED, NULL, "the bus itself turned this user away"},
    {DBUS_ERROR_NO_REPLY, ERR_TIMEOUT, "autoenrolld does not answer",
        "it may be starting or ending: try again; if it stays so: systemctl restart autoenrolld"},
    {DBUS_ERROR_TIMEOUT, ERR_TIMEOUT, "autoenrolld does not answer",
        "it may be starting or ending: try again; if it stays so: systemctl restart autoenrolld"},
    {DBUS_ERROR_UNKNOWN_OBJECT, ERR_MISSING, NULL, NULL},
    {DBUS_ERROR_UNKNOWN_METHOD, ERR_PROTOCOL, NULL,
        "daemon and command line are of different versions: restart autoenrolld after an upgrade"},
    {DBUS_ERROR_INVALID_ARGS, ERR_USAGE, NULL, NULL},
    {DBUS_ERROR_LIMITS_EXCEEDED, ERR_BUSY, NULL, "try again in a moment"},
    {DBUS_ERROR_FILE_NOT_FOUND, ERR_NETWORK, "there is no bus: %s", NO_BUS_HINT},
    {DBUS_ERROR_NO_SERVER, ERR_NETWORK, "there is no bus: %s", NO_BUS_HINT},
    {"", ERR_NETWORK, NULL, NULL},
};

/* "text" or "text\nhint: ..." */
static int failure_of_daemon(enum err_kind kind, const char *message, struct err **errp)
{
    const char *mark = strstr(message, HINT_MARK);
    int len = mark ? (int)(mark - message) : (int)strlen(message);

    err_set(errp, kind, "%.*s", len, message);
    return mark ? err_hint(errp, "%s", mark + strlen(HINT_MARK)) : -1;
}

static int failure_of(const DBusError *e, struct err **errp)
{
    size_t i = 0;

    if (strncmp(e->name, BUS_ERROR, strlen(BUS_ERROR)) == 0) {
        enum err_kind kind = err_kind_parse(e->name + strlen(BUS_ERROR));

        return failure_of_daemon(kind == ERR__MAX ? ERR_INTERNAL : kind, e->message, errp);
    }
    while (strncmp(e->name, bus_errors[i].name, strlen(bus_errors[i].name)) != 0)
        i++;
    if (!bus_errors[i].text)
        failure_of_daemon(bus_errors[i].kind, e->message, errp);
    else if (strchr(bus_errors[i].text, '%'))
        err_set(errp, bus_errors[i].kind, "there is no bus: %s", e->message);
    else
        err_set(errp, bus_errors[i].kind, "%s", bus_errors[i].text);
    return bus_errors[i].hint ? err_hint(errp, "%s", bus_errors[i].hint) : -1;
}

/* --- the connection --- */

int client_open(bool session, struct client **out, struct err **errp)
{
    DBusError e = DBUS_ERROR_INIT;
    DBusConnection *bus = dbus_bus_get_private(session ? DBUS_BUS_SESSION : DBUS_BUS_SYSTEM, &e);

    if (!bus) {
        failure_of(&e, errp);
        dbus_error_free(&e);
        return -1;
    }
    dbus_connection_set_exit_on_disconnect(bus, FALSE);
    *out = mem_alloc(sizeof(**out));
    (*out)->bus = bus;
    return 0;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    dbus_connection_close(client->bus);
    dbus_connection_unref(client->bus);
    free(client->owner);
    free(client);
}

static DBusMessage *message_of(const struct client_call *call)
{
    DBusMessage *message = dbus_message_new_method_call(
        BUS_NAME, call->path ? call->path : BUS_ROOT, call->interface ? call->interface : BUS_MANAGER, call->method);

    must(message != NULL);
    dbus_message_set_allow_interactive_authorization(message, isatty(STDIN_FILENO) ? TRUE : FALSE);
    if (call->signature)
        append_arguments(message, call->signature, call->arguments);
    json_decref(call->arguments);
    return message;
}

int client_call(struct client *client, const struct client_call *call, json_t **reply, struct err **errp)
{
    DBusError e = DBUS_ERROR_INIT;
    DBusMessage *message = message_of(call);
    DBusMessage *answer = dbus_connection_send_with_reply_and_block(client->bus, message, CALL_TIMEOUT_MS, &e);

    dbus_message_unref(message);
    if (!answer) {
        failure_of(&e, errp);
        dbus_error_free(&e);
        return -1;
    }
    if (reply)
        *reply = arguments_of(answer);
    dbus_message_unref(answer);
    return 0;
}

int client_ask(struct client *client, const struct client_call *call, json_t **value, struct err **errp)
{
    json_t *reply;

    if (client_call(client, call, &reply, errp) < 0)
        return -1;
    *value = json_incref(json_array_get(reply, 0));
    json_decref(reply);
    if (*value)
        return 0;
    err_set(errp, ERR_PROTOCOL, "%s answered without a value", call->method);
    return err_hint(errp, "daemon and command line are of different versions: restart autoenrolld after an upgrade");
}

/* --- what the daemon tells --- */

#define OWNER_RULE                                                                                                     \
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"       \
    "member='NameOwnerChanged',arg0='" BUS_NAME "'"

static int ask_owner(struct client *client, struct err **errp)
{
    DBusError e = DBUS_ERROR_INIT;
    DBusMessage *message =
        dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, "GetNameOwner");
    DBusMessage *answer;
    const char *name = BUS_NAME, *owner = NULL;

    must(message && dbus_message_append_args(message, DBUS_TYPE_STRING, &name, DBUS_TYPE_INVALID));
    answer = dbus_connection_send_with_reply_and_block(client->bus, message, CALL_TIMEOUT_MS, &e);
    dbus_message_unref(message);
    if (!answer && !dbus_error_has_name(&e, DBUS_ERROR_NAME_HAS_NO_OWNER)) {
        failure_of(&e, errp);
        dbus_error_free(&e);
        return -1;
    }
    dbus_error_free(&e);
    if (answer && dbus_message_get_args(answer, NULL, DBUS_TYPE_STRING, &owner, DBUS_TYPE_INVALID))
        client->owner = mem_strdup(owner);
    if (answer)
        dbus_message_unref(answer);
    return 0;
}

int client_listen(struct client *client, struct err **errp)
{
    static const char *const rules[] = {"type='signal',sender='" BUS_NAME "'", OWNER_RULE};

    if (client->listening)
        return 0;
    client->listening = true;
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        DBusError e = DBUS_ERROR_INIT;

        dbus_bus_add_match(client->bus, rules[i], &e);
        if (dbus_error_is_set(&e)) {
            failure_of(&e, errp);
            dbus_error_free(&e);
            return -1;
        }
    }
    return ask_owner(client, errp);
}

/* CLIENT_GONE or CLIENT_BACK when @message tells that the name has another owner; else CLIENT_NOTHING. */
static enum client_news take_owner(struct client *client, DBusMessage *message)
{
    const char *name, *before, *after;

    if (!dbus_message_has_sender(message, DBUS_SERVICE_DBUS) ||
        !dbus_message_is_signal(message, DBUS_INTERFACE_DBUS, "NameOwnerChanged") ||
        !dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &before, DBUS_TYPE_STRING,
            &after, DBUS_TYPE_INVALID) ||
        strcmp(name, BUS_NAME) != 0)
        return CLIENT_NOTHING;
    free(TAKE(client->owner));
    if (!*after)
        return CLIENT_GONE;
    client->owner = mem_strdup(after);
    return CLIENT_BACK;
}

static enum client_news take_message(struct client *client, DBusMessage *message, json_t **signal)
{
    enum client_news news = take_owner(client, message);

    if (news != CLIENT_NOTHING || dbus_message_get_type(message) != DBUS_MESSAGE_TYPE_SIGNAL || !client->owner ||
        !dbus_message_has_sender(message, client->owner))
        return news;
    *signal = json_pack("{s:s, s:s, s:s, s:o}", "path", dbus_message_get_path(message), "interface",
        dbus_message_get_interface(message), "member", dbus_message_get_member(message), "arguments",
        arguments_of(message));
    return CLIENT_SIGNAL;
}

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int client_next(struct client *client, int timeout_ms, json_t **signal, struct err **errp)
{
    int64_t end = clock_ms() + timeout_ms;

    *signal = NULL;
    for (;;) {
        DBusMessage *message = dbus_connection_pop_message(client->bus);
        int64_t left = end - clock_ms();

        if (message) {
            enum client_news news = take_message(client, message, signal);

            dbus_message_unref(message);
            if (news != CLIENT_NOTHING)
                return (int)news;
            continue;
        }
        if (!dbus_connection_get_is_connected(client->bus))
            return err_set(errp, ERR_NETWORK, "the bus has ended");
        if (timeout_ms >= 0 && left <= 0)
            return CLIENT_NOTHING;
        dbus_connection_read_write(client->bus, timeout_ms < 0 ? -1 : (int)left);
    }
}
