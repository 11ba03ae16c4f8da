#include "agent/ctl/client.h"

#include <dbus/dbus.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ctl/model.h"
#include "tests/bus_fixture.h"

/*
 * A service that only looks like the daemon: it answers each method in the way that its name says. Runs in a process of
 * its own.
 */
static DBusMessage *answer_types(DBusMessage *call)
{
    DBusMessage *reply = dbus_message_new_method_return(call);
    DBusMessageIter to, array, entry, variant, inside;
    const char *text = "a\xc3\xa9", *path = "/a/b", *key = "Key";
    const uint8_t bytes[] = {0xff, 0x00};
    const void *data = bytes;
    dbus_bool_t yes = TRUE;
    dbus_int64_t big = INT64_MAX;
    dbus_uint32_t word = 7;

    dbus_message_iter_init_append(reply, &to);
    dbus_message_iter_append_basic(&to, DBUS_TYPE_STRING, &text);
    dbus_message_iter_append_basic(&to, DBUS_TYPE_OBJECT_PATH, &path);
    dbus_message_iter_append_basic(&to, DBUS_TYPE_BOOLEAN, &yes);
    dbus_message_iter_append_basic(&to, DBUS_TYPE_INT64, &big);
    dbus_message_iter_append_basic(&to, DBUS_TYPE_UINT32, &word);
    dbus_message_iter_open_container(&to, DBUS_TYPE_ARRAY, "y", &array);
    dbus_message_iter_append_fixed_array(&array, DBUS_TYPE_BYTE, &data, sizeof(bytes));
    dbus_message_iter_close_container(&to, &array);
    dbus_message_iter_open_container(&to, DBUS_TYPE_ARRAY, "{sv}", &array);
    dbus_message_iter_open_container(&array, DBUS_TYPE_DICT_ENTRY, NULL, &entry);
    dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &key);
    dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, "as", &variant);
    dbus_message_iter_open_container(&variant, DBUS_TYPE_ARRAY, "s", &inside);
    dbus_message_iter_append_basic(&inside, DBUS_TYPE_STRING, &text);
    dbus_message_iter_close_container(&variant, &inside);
    dbus_message_iter_close_container(&entry, &variant);
    dbus_message_iter_close_container(&array, &entry);
    dbus_message_iter_close_container(&to, &array);
    return reply;
}

/* What came in a{sv}, as text, and what a descriptor holds. */
static DBusMessage *answer_arguments(DBusMessage *call)
{
    DBusMessage *reply = dbus_message_new_method_return(call);
    CLEANUP(mem_freep) char *told = NULL;
    char content[32] = "";
    const char *name = "", *shown;
    DBusMessageIter at, options, entry, variant;
    dbus_bool_t yes = FALSE;
    int fd = -1;

    dbus_message_iter_init(call, &at);
    dbus_message_iter_get_basic(&at, &name);
    dbus_message_iter_next(&at);
    dbus_message_iter_get_basic(&at, &fd);
    dbus_message_iter_next(&at);
    dbus_message_iter_recurse(&at, &options);
    if (dbus_message_iter_get_arg_type(&options) == DBUS_TYPE_DICT_ENTRY) {
        dbus_message_iter_recurse(&options, &entry);
        dbus_message_iter_next(&entry);
        dbus_message_iter_recurse(&entry, &variant);
        dbus_message_iter_get_basic(&variant, &yes);
    }
    (void)!read(fd, content, sizeof(content) - 1);
    close(fd);
    told = mem_printf("%s %s %s", name, content, yes ? "yes" : "no");
    shown = told;
    dbus_message_append_args(reply, DBUS_TYPE_STRING, &shown, DBUS_TYPE_INVALID);
    return reply;
}

static void tell(DBusConnection *bus, const char *member, const char *text)
{
    DBusMessage *signal = dbus_message_new_signal(BUS_ROOT, BUS_MANAGER, member);

    dbus_message_append_args(signal, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    dbus_connection_send(bus, signal, NULL);
    dbus_message_unref(signal);
}

static DBusMessage *answer(DBusConnection *bus, DBusMessage *call)
{
    const char *method = dbus_message_get_member(call);

    if (strcmp(method, "Types") == 0)
        return answer_types(call);
    if (strcmp(method, "Arguments") == 0)
        return answer_arguments(call);
    if (strcmp(method, "Fail") == 0)
        return dbus_message_new_error(call, BUS_ERROR "Token", "opening the token: gone\nhint: plug it in");
    if (strcmp(method, "FailOddly") == 0)
        return dbus_message_new_error(call, BUS_ERROR "Nonsense", "what");
    if (strcmp(method, "Deny") == 0)
        return dbus_message_new_error(call, DBUS_ERROR_ACCESS_DENIED, "not you");
    if (strcmp(method, "Tell") == 0)
        tell(bus, "Told", "one"), tell(bus, "Told", "two");
    if (strcmp(method, "Leave") == 0)
        _exit(0);
    return dbus_message_new_method_return(call);
}

static void serve(const char *name)
{
    DBusConnection *bus = dbus_bus_get_private(DBUS_BUS_SYSTEM, NULL);

    if (!bus || dbus_bus_request_name(bus, name, DBUS_NAME_FLAG_DO_NOT_QUEUE, NULL) < 0)
        _exit(1);
    while (dbus_connection_read_write(bus, -1)) {
        DBusMessage *call;

        while ((call = dbus_connection_pop_message(bus))) {
            DBusMessage *reply =
                dbus_message_get_type(call) == DBUS_MESSAGE_TYPE_METHOD_CALL ? answer(bus, call) : NULL;

            if (reply)
                dbus_connection_send(bus, reply, NULL);
            dbus_connection_flush(bus);
        }
    }
    _exit(0);
}

static pid_t begin(struct bus_fixture *bus)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(BUS_NAME);
    }
    bus_fixture_wait(bus);
    return pid;
}

static void end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static struct client *opened(void)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct client *client = NULL;

    assert_ok(client_open(false, &client, &err) == 0, err);
    return client;
}

static int call(struct client *client, const char *method, json_t **reply, struct err **errp)
{
    const struct client_call what = {.method = method};

    return client_call(client, &what, reply, errp);
}

/* The failure of a method: its kind, and what its text and hint hold. */
static void assert_fails(
    struct client *client, const char *method, enum err_kind kind, const char *text, const char *hint)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(call(client, method, NULL, &err), -1);
    if (err_kind(err) != kind)
        fail_msg("%s: %s instead of %s: %s", method, err_kind_name(err_kind(err)), err_kind_name(kind), err_text(err));
    assert_contains(err_text(err), text);
    if (hint)
        assert_contains(err_hint_text(err), hint);
    else
        assert_null(err_hint_text(err));
}

TEST(client_makes_json_of_every_type)
{
    CLEANUP(bus_fixture_clear) struct bus_fixture bus;
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    json_t *reply = NULL;
    pid_t pid;

    bus_fixture_start(&bus, BUS_POLKIT_NONE);
    pid = begin(&bus);
    client = opened();
    assert_ok(call(client, "Types", &reply, &err) == 0, err);
    text = json_dumps(reply, JSON_COMPACT);
    assert_string_equal(text, "[\"a\xc3\xa9\",\"/a/b\",true,9223372036854775807,7,\"/wA=\",{\"Key\":[\"a\xc3\xa9\"]}]");
    json_decref(reply);
    end(pid);
}

TEST(client_hands_over_descriptors_and_options)
{
    CLEANUP(bus_fixture_clear) struct bus_fixture bus;
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct client_call what = {.method = "Arguments", .signature = "sha{sv}"};
    json_t *told = NULL;
    int fds[2];
    pid_t pid;

    bus_fixture_start(&bus, BUS_POLKIT_NONE);
    pid = begin(&bus);
    client = opened();
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "secret", 6), 6);
    close(fds[1]);
    what.arguments = json_pack("[s, i, {s:b}]", "corp", fds[0], "once", 1);
    assert_ok(client_ask(client, &what, &told, &err) == 0, err);
    assert_string_equal(json_string_value(told), "corp secret yes");
    json_decref(told);
    close(fds[0]);
    end(pid);
}

TEST(client_tells_failures_apart_and_what_helps)
{
    CLEANUP(bus_fixture_clear) struct bus_fixture bus;
    CLEANUP(client_freep) struct client *client = NULL;
    pid_t pid;

    bus_fixture_start(&bus, BUS_POLKIT_NONE);
    client = opened();
    assert_fails(client, "Types", ERR_NETWORK, "not running", "systemctl start");
    pid = begin(&bus);
    assert_fails(client, "Fail", ERR_TOKEN, "opening the token: gone", "plug it in");
    assert_fails(client, "FailOddly", ERR_INTERNAL, "what", NULL);
    assert_fails(client, "Deny", ERR_DENIED, "not you", "autoenroll-admin");
    assert_fails(client, "Leave", ERR_TIMEOUT, "does not answer", "try again");
    end(pid);
}

TEST(client_without_a_bus_says_so)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct client *client = NULL;

    assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1), 0);
    assert_int_equal(client_open(false, &client, &err), -1);
    assert_int_equal(err_kind(err), ERR_NETWORK);
    assert_contains(err_text(err), "there is no bus");
    assert_contains(err_hint_text(err), "--oneshot");
}

/* The next signal, skipping nothing; its member and first argument, or what else came. */
static void assert_next(struct client *client, enum client_news wanted, const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;
    json_t *signal = NULL;
    int news = client_next(client, 5000, &signal, &err);

    assert_ok(news >= 0, err);
    assert_int_equal(news, wanted);
    if (text)
        assert_string_equal(json_string_value(json_array_get(json_object_get(signal, "arguments"), 0)), text);
    json_decref(signal);
}

TEST(client_hears_the_daemon_and_nobody_else)
{
    CLEANUP(bus_fixture_clear) struct bus_fixture bus;
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    DBusConnection *stranger;
    pid_t pid;

    bus_fixture_start(&bus, BUS_POLKIT_NONE);
    pid = begin(&bus);
    client = opened();
    assert_ok(client_listen(client, &err) == 0 && client_listen(client, &err) == 0, err);
    stranger = dbus_bus_get_private(DBUS_BUS_SYSTEM, NULL);
    assert_non_null(stranger);
    dbus_connection_set_exit_on_disconnect(stranger, FALSE);
    tell(stranger, "Told", "a lie");
    dbus_connection_flush(stranger);
    assert_ok(call(client, "Tell", NULL, &err) == 0, err);
    assert_next(client, CLIENT_SIGNAL, "one");
    assert_next(client, CLIENT_SIGNAL, "two");
    end(pid);
    assert_next(client, CLIENT_GONE, NULL);
    tell(stranger, "Told", "another lie");
    dbus_connection_flush(stranger);
    pid = begin(&bus);
    assert_next(client, CLIENT_BACK, NULL);
    assert_ok(call(client, "Tell", NULL, &err) == 0, err);
    assert_next(client, CLIENT_SIGNAL, "one");
    end(pid);
    dbus_connection_close(stranger);
    dbus_connection_unref(stranger);
}

TEST(client_next_ends_with_the_bus)
{
    CLEANUP(bus_fixture_clear) struct bus_fixture bus;
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    json_t *signal = NULL;

    bus_fixture_start(&bus, BUS_POLKIT_NONE);
    client = opened();
    assert_ok(client_listen(client, &err) == 0, err);
    assert_int_equal(client_next(client, 0, &signal, &err), CLIENT_NOTHING);
    bus_fixture_kill(&bus);
    assert_int_equal(client_next(client, 5000, &signal, &err), -1);
    assert_contains(err_text(err), "the bus has ended");
}

TEST(model_names_properties_as_words)
{
    static const char *const names[][2] = {{"NotAfter", "not-after"}, {"CA", "ca"}, {"KeyUri", "key-uri"},
        {"Name", "name"}, {"RequestId", "request-id"}, {"already-so", "already-so"}, {"AutoEnroll", "auto-enroll"}};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(mem_freep) char *key = model_key(names[i][0]);

        assert_string_equal(key, names[i][1]);
    }
}
