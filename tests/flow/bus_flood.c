#include <dbus/dbus.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/job/buspath.h"
#include "tests/ctl_fixture.h"

#define CALLS  10000
#define GROWTH (5 << 20) /* bytes that the daemon may take meanwhile */
#define LOOKS  40        /* of another client */

/* What is sent, again and again. */
struct flood {
    const char *name, *path, *interface, *member;
    bool no_reply;
};
static const struct flood floods[] = {
    {"none at all, for comparison", NULL, NULL, NULL, true},
    {"all objects", BUS_ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", false},
    {"all objects, no reply wanted", BUS_ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", true},
    {"a right that is asked for, no reply wanted", BUS_ROOT, BUS_MANAGER, "Adopt", true},
    {"introspection", BUS_ROOT, "org.freedesktop.DBus.Introspectable", "Introspect", false},
};

static DBusConnection *connect_to(const char *address)
{
    DBusConnection *connection = dbus_connection_open_private(address, NULL);

    if (!connection || !dbus_bus_register(connection, NULL))
        _exit(2);
    return connection;
}

/* In a child, as a user without rights where there are several: sends, never reads, and then stays. */
static void send_flood(const char *address, const struct flood *flood)
{
    DBusConnection *connection;
    char none;
    int ends[2];

    if (geteuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
        _exit(2);
    connection = connect_to(address);
    if (!flood->path)
        (void)pause();
    dbus_connection_set_max_received_size(connection, 1); /* after one reply it reads nothing more */
    for (int i = 0; i < CALLS; i++) {
        DBusMessage *call = dbus_message_new_method_call(BUS_NAME, flood->path, flood->interface, flood->member);

        dbus_message_set_no_reply(call, flood->no_reply);
        if (!dbus_connection_send(connection, call, NULL))
            _exit(2);
        dbus_message_unref(call);
    }
    dbus_connection_flush(connection);
    if (pipe(ends) == 0)
        (void)read(ends[0], &none, 1);
    _exit(0);
}

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Microseconds until @message is answered, which is taken. */
static int64_t time_answer(DBusConnection *connection, DBusMessage *message)
{
    int64_t begin = now_us();
    DBusMessage *reply = dbus_connection_send_with_reply_and_block(connection, message, 30000, NULL);

    dbus_message_unref(message);
    assert_non_null(reply);
    dbus_message_unref(reply);
    return now_us() - begin;
}

/* Another client asks the daemon for little. */
static int64_t look(DBusConnection *connection)
{
    const char *interface = BUS_MANAGER, *property = "State";
    DBusMessage *call = dbus_message_new_method_call(BUS_NAME, BUS_ROOT, "org.freedesktop.DBus.Properties", "Get");

    dbus_message_append_args(call, DBUS_TYPE_STRING, &interface, DBUS_TYPE_STRING, &property, DBUS_TYPE_INVALID);
    return time_answer(connection, call);
}

/* And the bus itself, which has the flood first. */
static int64_t look_at_bus(DBusConnection *connection)
{
    return time_answer(
        connection, dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, "GetId"));
}

static int64_t memory_of(pid_t pid)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "awk '/^RssAnon/ {print $2}' /proc/%d/status", (int)pid), 0);
    return atoll(bytes_text(&out)) * 1024;
}

static void check_flood(struct ctl_fixture *f, DBusConnection *other, const struct flood *flood)
{
    int64_t before = memory_of(f->daemon), most = before, longest = 0, total = 0, bus = 0;
    pid_t pid = fork();

    if (pid == 0)
        send_flood(f->bus.address, flood);
    for (int i = 0; i < LOOKS; i++) {
        int64_t took = look(other), memory = memory_of(f->daemon);

        longest = took > longest ? took : longest;
        most = memory > most ? memory : most;
        total += took;
        took = look_at_bus(other);
        bus = took > bus ? took : bus;
        (void)usleep(20000);
    }
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it is still there, and has not read */
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    print_message("%d calls (%s): another client waits %.1f ms in the mean, %.1f ms at most, for the bus alone %.1f; "
                  "memory grows by %lld KiB\n",
        CALLS, flood->name, (double)total / LOOKS / 1000, (double)longest / 1000, (double)bus / 1000,
        (long long)(most - before) / 1024);
    assert_true(most - before <= GROWTH);
}

/* What a sanitizer keeps of freed memory is not the daemon's. */
TEST(bus_client_that_sends_ten_thousand_calls_and_reads_nothing_costs_others_nothing)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    DBusConnection *other;

    assert_int_equal(
        setenv("ASAN_OPTIONS", "detect_leaks=1:quarantine_size_mb=0:thread_local_quarantine_size_kb=0", 1), 0);
    ctl_fixture_prepare(&f);
    ctl_fixture_start(&f);
    other = connect_to(f.bus.address);
    (void)look(other);
    for (size_t i = 0; i < ARRAY_SIZE(floods); i++)
        check_flood(&f, other, &floods[i]);
    dbus_connection_close(other);
    dbus_connection_unref(other);
}
