#include "tests/bus_fixture.h"

#include <dbus/dbus.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/buspath.h"

#define POLKIT  "org.freedesktop.PolicyKit1"
#define POLKITD "/usr/lib/polkit-1/polkitd"

/* For all of them, since a test that fails does not come back. */
static pid_t running[16];

static void end_all(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(running); i++)
        if (running[i]) {
            (void)kill(running[i], SIGKILL);
            (void)waitpid(running[i], NULL, 0);
        }
}

static void end(pid_t *pid)
{
    if (!*pid)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(running); i++)
        if (running[i] == *pid)
            running[i] = 0;
    (void)kill(*pid, SIGKILL);
    (void)waitpid(*pid, NULL, 0);
    *pid = 0;
}

/* Forks; the child ends with us. */
static pid_t begin(void)
{
    static bool registered;
    pid_t pid = fork();
    size_t i = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        return 0;
    }
    if (!registered)
        atexit(end_all);
    registered = true;
    while (i < ARRAY_SIZE(running) && running[i])
        i++;
    assert_true(i < ARRAY_SIZE(running));
    running[i] = pid;
    return pid;
}

static pid_t spawn(const char *const *argv, const char *log)
{
    pid_t pid = begin();

    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

void bus_fixture_need_root(void)
{
    if (geteuid() == 0)
        return;
    print_message("this test has to be root\n");
    skip();
}

static void need_program(const char *path)
{
    if (testing_shell(NULL, "command -v '%s' >/dev/null", path) == 0)
        return;
    print_message("%s is not installed\n", path);
    skip();
}

/* --- the place --- */

static void write_text(const struct bus_fixture *f, const char *name, const char *text)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", f->dir, name);

    testing_write(path, text, strlen(text));
    assert_int_equal(chmod(path, 0644), 0);
}

/* The real file, with whoever runs this test in the place of the user that an installation makes. */
static void write_policy(const struct bus_fixture *f)
{
    CLEANUP(mem_freep) char *real = testing_source("packaging/dbus/" BUS_NAME ".conf");

    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && mkdir -p system.d actions rules && chmod 0755 . system.d actions rules && "
                         "sed 's/user=\"autoenroll\"/user=\"'$(id -un)'\"/' '%s' >system.d/" BUS_NAME ".conf",
                         f->dir, real),
        0);
}

static void write_config(struct bus_fixture *f)
{
    static const char form[] =
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n"
        " \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
        "<busconfig><type>system</type><listen>unix:path=%s/bus.sock</listen><auth>EXTERNAL</auth>\n"
        "<policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/><deny send_type=\"method_call\"/>\n"
        "<allow send_type=\"signal\"/><allow send_requested_reply=\"true\" send_type=\"method_return\"/>\n"
        "<allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"method_call\"/>\n"
        "<allow receive_type=\"method_return\"/><allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\n"
        "<allow send_destination=\"org.freedesktop.DBus\"/></policy>\n"
        "<policy user=\"root\"><allow send_destination=\"org.freedesktop.DBus\" "
        "send_interface=\"org.freedesktop.DBus.Monitoring\"/></policy>\n"
        "<includedir>system.d</includedir></busconfig>\n";
    CLEANUP(mem_freep) char *text = mem_printf(form, f->dir);

    write_text(f, "bus.conf", text);
}

/* A group that only this process and its children see. */
static void make_group(const struct bus_fixture *f)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/group", f->dir);

    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(testing_shell(NULL,
                         "{ grep -v '^autoenroll-admin:' /etc/group; echo 'autoenroll-admin:x:64999:%s'; } >'%s' && "
                         "chmod 0644 '%s'",
                         BUS_FIXTURE_MEMBER, path, path),
        0);
    assert_int_equal(mount(path, "/etc/group", NULL, MS_BIND, NULL), 0);
}

/* --- the bus --- */

static bool has_name(const struct bus_fixture *f, const char *name)
{
    return testing_shell(NULL,
               "dbus-send --bus='%s' --print-reply --dest=org.freedesktop.DBus / "
               "org.freedesktop.DBus.NameHasOwner string:%s 2>/dev/null | grep -q true",
               f->address, name) == 0;
}

static void wait_for(const struct bus_fixture *f, const char *name)
{
    for (int i = 0; i < 500 && !has_name(f, name); i++)
        (void)usleep(20000);
    if (!has_name(f, name))
        fail_msg("%s does not come to the bus", name);
}

void bus_fixture_wait(struct bus_fixture *f)
{
    wait_for(f, BUS_NAME);
}

void bus_fixture_restart(struct bus_fixture *f)
{
    CLEANUP(mem_freep) char *config = mem_printf("--config-file=%s", f->config);
    CLEANUP(mem_freep) char *log = mem_printf("%s/bus.log", f->dir);
    const char *const argv[] = {"dbus-daemon", config, "--nofork", "--nopidfile", NULL};

    f->pid = spawn(argv, log);
    wait_for(f, "org.freedesktop.DBus");
    /* A policy that it does not like is only a warning, and everything is denied later. */
    if (testing_shell(NULL, "! grep -F '%s' '%s'", BUS_NAME, log) != 0)
        fail_msg("dbus-daemon has complained about our policy file");
}

void bus_fixture_kill(struct bus_fixture *f)
{
    CLEANUP(mem_freep) char *socket = mem_printf("%s/bus.sock", f->dir);

    end(&f->pid);
    (void)unlink(socket); /* the next one would not take its place */
}

/* --- polkit --- */

static void bind_over(const struct bus_fixture *f, const char *name, const char *pattern, const char *place)
{
    CLEANUP(mem_freep) char *from = mem_printf("%s/%s", f->dir, name);
    CLEANUP(mem_freep) char *source = testing_source("packaging/polkit");

    assert_int_equal(testing_shell(NULL, "cp '%s'/%s '%s/' && chmod 0644 '%s'/*", source, pattern, from, from), 0);
    assert_int_equal(mount(from, place, NULL, MS_BIND, NULL), 0);
}

static void start_polkitd(struct bus_fixture *f)
{
    CLEANUP(mem_freep) char *log = mem_printf("%s/polkit.log", f->dir);
    const char *const argv[] = {POLKITD, "--no-debug", NULL};

    bind_over(f, "actions", "*.policy", "/usr/share/polkit-1/actions");
    bind_over(f, "rules", "*.rules", "/usr/share/polkit-1/rules.d");
    f->polkit = spawn(argv, log);
}

/* In the child: has the name, reads what comes, and says nothing. */
static void be_silent(const char *address)
{
    DBusConnection *connection = dbus_connection_open_private(address, NULL);
    DBusMessage *message;

    if (!connection || !dbus_bus_register(connection, NULL) ||
        dbus_bus_request_name(connection, POLKIT, DBUS_NAME_FLAG_DO_NOT_QUEUE, NULL) < 0)
        _exit(1);
    while (dbus_connection_read_write(connection, -1))
        while ((message = dbus_connection_pop_message(connection)))
            dbus_message_unref(message);
    _exit(0);
}

static void start_silent(struct bus_fixture *f)
{
    f->polkit = begin();
    if (f->polkit == 0)
        be_silent(f->address);
}

static void write_polkit_policy(const struct bus_fixture *f, enum bus_polkit polkit)
{
    if (polkit == BUS_POLKIT_REAL)
        assert_int_equal(
            testing_shell(NULL, "cp /usr/share/dbus-1/system.d/" POLKIT ".conf '%s/system.d/'", f->dir), 0);
    else if (polkit == BUS_POLKIT_SILENT)
        write_text(f, "system.d/" POLKIT ".conf",
            "<busconfig><policy context=\"default\"><allow own=\"" POLKIT "\"/><allow send_destination=\"" POLKIT
            "\"/></policy></busconfig>");
}

void bus_fixture_add_polkit(struct bus_fixture *f, enum bus_polkit polkit)
{
    if (polkit == BUS_POLKIT_NONE)
        return;
    if (polkit == BUS_POLKIT_REAL)
        need_program(POLKITD);
    write_polkit_policy(f, polkit);
    assert_int_equal(testing_shell(NULL,
                         "dbus-send --bus='%s' --print-reply --dest=org.freedesktop.DBus / "
                         "org.freedesktop.DBus.ReloadConfig >/dev/null",
                         f->address),
        0);
    (polkit == BUS_POLKIT_REAL ? start_polkitd : start_silent)(f);
    wait_for(f, POLKIT);
}

/* --- all of it --- */

void bus_fixture_start(struct bus_fixture *f, enum bus_polkit polkit)
{
    need_program("dbus-daemon");
    *f = (struct bus_fixture){.dir = testing_tmpdir()};
    f->config = mem_printf("%s/bus.conf", f->dir);
    f->address = mem_printf("unix:path=%s/bus.sock", f->dir);
    write_policy(f);
    write_config(f);
    if (geteuid() == 0)
        make_group(f);
    assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", f->address, 1), 0);
    bus_fixture_restart(f);
    bus_fixture_add_polkit(f, polkit);
}

void bus_fixture_clear(struct bus_fixture *f)
{
    end(&f->polkit);
    end(&f->pid);
    bytes_clear(&f->out);
    free(f->dir);
    free(f->config);
    free(f->address);
    *f = (struct bus_fixture){0};
}

int bus_fixture_as(struct bus_fixture *f, const char *user, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *command = NULL;
    CLEANUP(mem_freep) char *script = NULL;
    CLEANUP(mem_freep) char *become = NULL;
    va_list ap;

    va_start(ap, fmt);
    command = mem_vprintf(fmt, ap);
    va_end(ap);
    script = mem_printf("R='" BUS_NAME " " BUS_ROOT "'\n%s\n", command);
    write_text(f, "command", script);
    if (user)
        become = mem_printf("setpriv --reuid %s --regid $(id -g %s) --init-groups", user, user);
    return testing_shell(&f->out, "%s timeout -s KILL 60 sh '%s/command' 2>&1", become ? become : "", f->dir);
}

const char *bus_fixture_said(const struct bus_fixture *f)
{
    return bytes_text(&f->out);
}

/* --- calls of our own --- */

static void become(const char *user)
{
    const struct passwd *entry = user ? getpwnam(user) : NULL;

    if (user &&
        (!entry || initgroups(user, entry->pw_gid) < 0 || setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) < 0 ||
            setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) < 0))
        _exit(2);
}

static void append_secret(DBusMessageIter *iter, const char *secret)
{
    int ends[2];

    if (pipe(ends) < 0 || write(ends[1], secret, strlen(secret)) < 0)
        _exit(2);
    (void)close(ends[1]);
    dbus_message_iter_append_basic(iter, DBUS_TYPE_UNIX_FD, &ends[0]);
    (void)close(ends[0]);
}

static void append_flag(DBusMessageIter *array, const char *name)
{
    DBusMessageIter entry, value;
    dbus_bool_t yes = TRUE;

    dbus_message_iter_open_container(array, DBUS_TYPE_DICT_ENTRY, NULL, &entry);
    dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &name);
    dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, "b", &value);
    dbus_message_iter_append_basic(&value, DBUS_TYPE_BOOLEAN, &yes);
    dbus_message_iter_close_container(&entry, &value);
    dbus_message_iter_close_container(array, &entry);
}

static DBusMessage *message_of(const struct bus_fixture_call *call)
{
    DBusMessage *message = dbus_message_new_method_call(BUS_NAME, call->path, call->interface, call->member);
    dbus_int64_t now = 0;
    DBusMessageIter iter, array;

    dbus_message_iter_init_append(message, &iter);
    for (const char *type = call->signature; *type; type++) {
        if (*type == 's') {
            dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &call->text);
        } else if (*type == 'x') {
            dbus_message_iter_append_basic(&iter, DBUS_TYPE_INT64, &now);
        } else if (*type == 'h' && call->fd) {
            dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &call->fd);
        } else if (*type == 'h') {
            append_secret(&iter, call->secret ? call->secret : "secret");
        } else if (*type == 'a') {
            dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &array);
            if (call->flag)
                append_flag(&array, call->flag);
            dbus_message_iter_close_container(&iter, &array);
            type += strlen("{sv}");
        }
    }
    return message;
}

/* In the child: what came of it goes to @out. */
static void do_call(const struct bus_fixture *f, const char *user, const struct bus_fixture_call *call, int out)
{
    DBusError error = DBUS_ERROR_INIT;
    DBusConnection *connection;

    become(user);
    connection = dbus_connection_open_private(f->address, &error);
    if (connection && dbus_bus_register(connection, &error))
        (void)dbus_connection_send_with_reply_and_block(connection, message_of(call), 60000, &error);
    if (dbus_error_is_set(&error))
        dprintf(out, "%s %s", error.name, error.message);
    _exit(0);
}

char *bus_fixture_call(struct bus_fixture *f, const char *user, const struct bus_fixture_call *call)
{
    char text[8192];
    size_t len = 0;
    int ends[2], status;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        do_call(f, user, call, ends[1]);
    (void)close(ends[1]);
    while ((n = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return mem_strndup(text, len);
}
