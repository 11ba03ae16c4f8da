#include "agent/daemon/bus_right.h"

#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUS_TIMEOUT_MS         10000  /* of the bus itself */
#define POLKIT_TIMEOUT_MS      5000   /* without a person it answers at once */
#define INTERACTION_TIMEOUT_MS 120000 /* a person looks for a password */
#define POLKIT                 "org.freedesktop.PolicyKit1"
#define POLKIT_INTERACTIVE     1u
#define MAX_GROUP_ENTRY        65536

struct bus_right_check {
    DBusConnection *connection; /* referenced */
    DBusPendingCall *pending;   /* owned */
    char *sender;
    char *caller;
    enum bus_right right;
    bool interactive;
    bool in_group;
    bool person_asked;
    bus_right_answer *answer;
    void *ctx;
};

static const struct {
    const char *action, *text;
} rights[] = {
#define X(name, action, text) {action, text},
    BUS_RIGHTS(X)
#undef X
};

const char *bus_right_action(enum bus_right right)
{
    return rights[right].action;
}

static void check_free(struct bus_right_check *check)
{
    if (check->pending) {
        dbus_pending_call_cancel(check->pending);
        dbus_pending_call_unref(check->pending);
    }
    dbus_connection_unref(check->connection);
    free(check->sender);
    free(check->caller);
    free(check);
}

void bus_right_cancel(struct bus_right_check *check)
{
    check_free(check);
}

/* Frees the check. @why: the rest of a sentence. */
static void conclude(struct bus_right_check *check, const char *why)
{
    CLEANUP(mem_freep) char *refused = NULL;
    const char *who = check->caller ? check->caller : check->sender;

    if (why)
        refused = mem_printf("%s may not %s: %s", who, rights[check->right].text, why);
    check->answer(check->ctx, refused, who);
    check_free(check);
}

/* Sends @message, which is taken, and has @then called with the answer. */
static void ask(struct bus_right_check *check, DBusMessage *message, int timeout_ms, DBusPendingCallNotifyFunction then)
{
    DBusPendingCall *pending = NULL;

    if (check->pending)
        dbus_pending_call_unref(check->pending);
    check->pending = NULL;
    if (!message || !dbus_connection_send_with_reply(check->connection, message, &pending, timeout_ms))
        abort(); /* no memory */
    dbus_message_unref(message);
    check->pending = pending;
    /* NULL: the connection is gone, and with it everybody who waits; the owner cancels the check. */
    if (pending && !dbus_pending_call_set_notify(pending, then, check, NULL))
        abort();
}

static DBusMessage *answer_of(DBusPendingCall *pending)
{
    return dbus_pending_call_steal_reply(pending);
}

/* --- polkit --- */

/* True where there is no polkit that could be asked. */
static bool is_absent(const char *error)
{
    static const char *const names[] = {DBUS_ERROR_SERVICE_UNKNOWN, DBUS_ERROR_NAME_HAS_NO_OWNER, DBUS_ERROR_NO_REPLY,
        DBUS_ERROR_TIMEOUT, DBUS_ERROR_TIMED_OUT, DBUS_ERROR_DISCONNECTED, "org.freedesktop.systemd1.NoSuchUnit"};
    static const char activation[] = "org.freedesktop.DBus.Error.Spawn.";

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(error, names[i]) == 0)
            return true;
    return strncmp(error, activation, sizeof(activation) - 1) == 0;
}

static void conclude_by_group(struct bus_right_check *check)
{
    conclude(check, check->in_group
                        ? NULL
                        : "there is no polkit here that answers, so only root and members of the group " BUS_GROUP
                          " may");
}

static void ask_polkit(struct bus_right_check *check, bool person);

/* Whether polkit is there and what it says by itself is found out first; only then may a person be asked. */
static void polkit_answered(DBusPendingCall *pending, void *ctx)
{
    struct bus_right_check *check = ctx;
    DBusMessage *answer = answer_of(pending);
    const char *error = dbus_message_get_error_name(answer);
    CLEANUP(mem_freep) char *why = NULL;
    dbus_bool_t authorized = FALSE, challenge = FALSE;
    DBusMessageIter iter, result;

    if (error) {
        const char *text = NULL;

        (void)dbus_message_get_args(answer, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
        why = is_absent(error) && !check->person_asked ? NULL : mem_printf("polkit says: %s", text ? text : error);
        dbus_message_unref(answer);
        if (why)
            conclude(check, why);
        else
            conclude_by_group(check);
        return;
    }
    if (dbus_message_has_signature(answer, "(bba{ss})")) {
        (void)dbus_message_iter_init(answer, &iter);
        dbus_message_iter_recurse(&iter, &result);
        dbus_message_iter_get_basic(&result, &authorized);
        (void)dbus_message_iter_next(&result);
        dbus_message_iter_get_basic(&result, &challenge);
    }
    dbus_message_unref(answer);
    if (!authorized && challenge && check->interactive) {
        check->interactive = false;
        check->person_asked = true;
        ask_polkit(check, true);
        return;
    }
    if (!authorized)
        why = mem_printf("polkit's action %s is not granted%s", rights[check->right].action,
            challenge ? " without its password, for which there was nobody to ask" : "");
    conclude(check, why);
}

static void add_empty_dictionary(DBusMessageIter *iter)
{
    DBusMessageIter array;

    if (!dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, "{ss}", &array) ||
        !dbus_message_iter_close_container(iter, &array))
        abort();
}

static void ask_polkit(struct bus_right_check *check, bool person)
{
    DBusMessage *message = dbus_message_new_method_call(
        POLKIT, "/org/freedesktop/PolicyKit1/Authority", POLKIT ".Authority", "CheckAuthorization");
    const char *kind = "system-bus-name", *name = "name", *nothing = "";
    const char *action = rights[check->right].action;
    dbus_uint32_t flags = person ? POLKIT_INTERACTIVE : 0;
    DBusMessageIter iter, subject, details, entry, value;

    if (!message)
        abort();
    dbus_message_iter_init_append(message, &iter);
    if (!dbus_message_iter_open_container(&iter, DBUS_TYPE_STRUCT, NULL, &subject) ||
        !dbus_message_iter_append_basic(&subject, DBUS_TYPE_STRING, &kind) ||
        !dbus_message_iter_open_container(&subject, DBUS_TYPE_ARRAY, "{sv}", &details) ||
        !dbus_message_iter_open_container(&details, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
        !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &name) ||
        !dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, "s", &value) ||
        !dbus_message_iter_append_basic(&value, DBUS_TYPE_STRING, &check->sender) ||
        !dbus_message_iter_close_container(&entry, &value) || !dbus_message_iter_close_container(&details, &entry) ||
        !dbus_message_iter_close_container(&subject, &details) || !dbus_message_iter_close_container(&iter, &subject) ||
        !dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &action))
        abort();
    add_empty_dictionary(&iter);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &flags) ||
        !dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &nothing))
        abort();
    ask(check, message, person ? INTERACTION_TIMEOUT_MS : POLKIT_TIMEOUT_MS, polkit_answered);
}

/* --- who it is, by the bus --- */

static bool find_group(gid_t *gid)
{
    CLEANUP(mem_freep) char *buffer = mem_alloc(MAX_GROUP_ENTRY);
    struct group entry, *found = NULL;

    if (getgrnam_r(BUS_GROUP, &entry, buffer, MAX_GROUP_ENTRY, &found) != 0 || !found)
        return false;
    *gid = found->gr_gid;
    return true;
}

static bool has_group(DBusMessageIter *array)
{
    const dbus_uint32_t *gids = NULL;
    gid_t admin;
    int n = 0;

    dbus_message_iter_get_fixed_array(array, &gids, &n);
    if (n == 0 || !find_group(&admin))
        return false;
    for (int i = 0; i < n; i++)
        if (gids[i] == admin)
            return true;
    return false;
}

/* One entry of what the bus says of a connection: UnixUserID u, UnixGroupIDs au, and more. */
static void read_credential(DBusMessageIter *entry, struct bus_right_check *check, bool *known, uid_t *uid)
{
    DBusMessageIter value, array;
    dbus_uint32_t number;
    const char *key;

    dbus_message_iter_get_basic(entry, &key);
    (void)dbus_message_iter_next(entry);
    dbus_message_iter_recurse(entry, &value);
    if (strcmp(key, "UnixUserID") == 0 && dbus_message_iter_get_arg_type(&value) == DBUS_TYPE_UINT32) {
        dbus_message_iter_get_basic(&value, &number);
        *uid = number;
        *known = true;
    } else if (strcmp(key, "UnixGroupIDs") == 0 && dbus_message_iter_get_arg_type(&value) == DBUS_TYPE_ARRAY &&
               dbus_message_iter_get_element_type(&value) == DBUS_TYPE_UINT32) {
        dbus_message_iter_recurse(&value, &array);
        check->in_group = has_group(&array);
    }
}

static void credentials_answered(DBusPendingCall *pending, void *ctx)
{
    struct bus_right_check *check = ctx;
    DBusMessage *answer = answer_of(pending);
    DBusMessageIter iter, entries, entry;
    bool known = false;
    uid_t uid = 0;

    if (dbus_message_has_signature(answer, "a{sv}") && dbus_message_iter_init(answer, &iter)) {
        for (dbus_message_iter_recurse(&iter, &entries);
             dbus_message_iter_get_arg_type(&entries) == DBUS_TYPE_DICT_ENTRY; (void)dbus_message_iter_next(&entries)) {
            dbus_message_iter_recurse(&entries, &entry);
            read_credential(&entry, check, &known, &uid);
        }
    }
    dbus_message_unref(answer);
    if (!known) {
        conclude(check, "the bus does not know any more who it is");
        return;
    }
    check->caller = mem_printf("uid %u", (unsigned)uid);
    if (uid == 0 || uid == geteuid())
        conclude(check, NULL);
    else
        ask_polkit(check, false);
}

struct bus_right_check *bus_right_ask(
    DBusConnection *connection, const struct bus_right_question *question, bus_right_answer *answer, void *ctx)
{
    struct bus_right_check *check = mem_alloc(sizeof(*check));
    DBusMessage *message = dbus_message_new_method_call(
        DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, "GetConnectionCredentials");

    *check = (struct bus_right_check){.connection = dbus_connection_ref(connection),
        .sender = mem_strdup(question->sender),
        .right = question->right,
        .interactive = question->interactive,
        .answer = answer,
        .ctx = ctx};
    if (!message || !dbus_message_append_args(message, DBUS_TYPE_STRING, &check->sender, DBUS_TYPE_INVALID))
        abort();
    ask(check, message, BUS_TIMEOUT_MS, credentials_answered);
    return check;
}
