#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/job/buspath.h"
#include "tests/ctl_fixture.h"

#define PATIENCE 60 /* seconds, on a machine with much else to do */

/* A daemon that knows its password from the credential store, before it starts. */
static void prepare(struct ctl_fixture *f)
{
    ctl_fixture_prepare(f);
    agent_fixture_password(f->agent, SERVER_FIXTURE_PASSWORD);
}

static void start(struct ctl_fixture *f)
{
    prepare(f);
    agent_fixture_section(f->agent, "web", "DeviceEC", "");
    ctl_fixture_start(f);
}

/* One property of an object, as busctl prints it. Borrowed until the next look. */
static const char *property(struct ctl_fixture *f, const char *path, const char *interface, const char *name)
{
    if (bus_fixture_as(&f->bus, NULL, "busctl get-property " BUS_NAME " " BUS_ROOT "%s %s %s", path, interface, name))
        return "";
    return bus_fixture_said(&f->bus);
}

static void wait_until(
    struct ctl_fixture *f, const char *path, const char *interface, const char *name, const char *value)
{
    CLEANUP(bytes_clear) struct bytes log = {0};

    for (time_t end = time(NULL) + PATIENCE; time(NULL) < end;) {
        if (strcmp(property(f, path, interface, name), value) == 0)
            return;
        (void)usleep(100000);
    }
    (void)testing_shell(&log, "tail -n 20 '%s/daemon.log'", f->agent->dir);
    print_error("%s\n", bytes_text(&log));
    fail_msg("%s %s does not become %s, it is %s", path, name, value, property(f, path, interface, name));
}

static void wait_installed(struct ctl_fixture *f, const char *id)
{
    CLEANUP(mem_freep) char *path = mem_printf("/enrollments/%s", id);

    wait_until(f, path, BUS_ENROLLMENT, "State", "s \"installed\"\n");
}

/* --- signals --- */

struct listener {
    pid_t pid;
    char *path;
};

/* An ordinary program that listens, as nobody where there are several users. */
static struct listener listen_to(struct ctl_fixture *f)
{
    struct listener l = {.path = mem_printf("%s/signals", f->bus.dir)};

    testing_write(l.path, "", 0);
    l.pid = fork();
    if (l.pid == 0) {
        (void)bus_fixture_as(&f->bus, NULL,
            "exec timeout -s KILL 100 dbus-monitor --system \"type='signal',sender='" BUS_NAME "'\" >>'%s'", l.path);
        _exit(0);
    }
    for (int i = 0; i < 500 && testing_shell(NULL, "grep -q NameAcquired '%s'", l.path) != 0; i++)
        (void)usleep(20000);
    (void)usleep(200000);
    return l;
}

static void heard(const struct listener *l, const char *word)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    for (int i = 0; i < 400 && testing_shell(NULL, "grep -q -- '%s' '%s'", word, l->path) != 0; i++)
        (void)usleep(100000);
    testing_read(l->path, &text);
    assert_contains(bytes_text(&text), word);
}

static void listener_end(struct listener *l)
{
    (void)testing_shell(NULL, "pkill -KILL -P %d; true", (int)l->pid);
    (void)kill(l->pid, SIGKILL);
    (void)waitpid(l->pid, NULL, 0);
    free(l->path);
}

/* --- what it is for --- */

TEST(bus_templates_that_grant_autoenroll_are_enrolled_without_a_word)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    size_t installed = 0;

    prepare(&f);
    agent_fixture_fragment(f.agent, "auto", "[policy-server \"corp\"]\nautoenroll = yes\n");
    ctl_fixture_start(&f);
    for (time_t end = time(NULL) + PATIENCE; time(NULL) < end && installed == 0;) {
        (void)usleep(100000);
        assert_int_equal(
            bus_fixture_as(&f.bus, NULL, "busctl call $R org.freedesktop.DBus.ObjectManager GetManagedObjects"), 0);
        installed = strstr(bus_fixture_said(&f.bus), "\"State\" s \"installed\"") != NULL &&
                    !strstr(bus_fixture_said(&f.bus), "\"State\" s \"working\"");
    }
    assert_contains(bus_fixture_said(&f.bus), "\"Section\" s \"\"");
    assert_contains(bus_fixture_said(&f.bus), "\"State\" s \"installed\"");
    assert_contains(bus_fixture_said(&f.bus), "\"KeyUri\" s \"pkcs11:");
    assert_int_equal(bus_fixture_as(&f.bus, NULL,
                         "busctl call $R org.freedesktop.DBus.ObjectManager "
                         "GetManagedObjects | grep -q pin-"),
        1);
}

TEST(bus_tree_and_introspection_come_to_an_end_and_are_well_formed)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    start(&f);
    wait_installed(&f, "web");
    assert_int_equal(bus_fixture_as(&f.bus, NULL, "timeout 20 busctl tree --list " BUS_NAME), 0);
    assert_contains(bus_fixture_said(&f.bus), BUS_ROOT "/enrollments/web\n");
    assert_contains(bus_fixture_said(&f.bus), BUS_ROOT "/servers/corp_2drenewal\n");
    assert_int_equal(bus_fixture_as(&f.bus, NULL,
                         "for path in $(busctl tree --list " BUS_NAME "); do gdbus introspect --system --dest " BUS_NAME
                         " --object-path $path --xml >$TMPDIR/x.xml && xmllint --noout $TMPDIR/x.xml || exit 1; "
                         "busctl introspect " BUS_NAME " $path >/dev/null || exit 1; done"),
        0);
    assert_int_equal(
        bus_fixture_as(&f.bus, NULL,
            "gdbus introspect --system --dest " BUS_NAME " --object-path " BUS_ROOT "/enrollments/web --xml"),
        0);
    /* Everything has its line of documentation. */
    assert_int_equal(testing_shell(NULL,
                         "DBUS_SYSTEM_BUS_ADDRESS='%s' gdbus introspect --system --dest " BUS_NAME
                         " --object-path " BUS_ROOT "/enrollments/web --xml | xmllint --xpath "
                         "'count(//interface[@name=\"" BUS_ENROLLMENT "\"]/*[not(self::annotation)]"
                         "[not(annotation[@name=\"org.gtk.GDBus.DocString\"])])' - | grep -qx 0",
                         f.bus.address),
        0);
}

TEST(bus_renew_is_followed_by_its_job_and_told_by_signals)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *before = NULL;
    CLEANUP(listener_end) struct listener l = {0};

    start(&f);
    wait_installed(&f, "web");
    before = mem_strdup(property(&f, "/enrollments/web", BUS_ENROLLMENT, "Serial"));
    l = listen_to(&f);
    assert_int_equal(bus_fixture_as(&f.bus, NULL,
                         "gdbus call --system --dest " BUS_NAME " --object-path " BUS_ROOT
                         "/enrollments/web --method " BUS_ENROLLMENT ".Renew '{\"same-key\": <false>}'"),
        0);
    assert_contains(bus_fixture_said(&f.bus), "(objectpath '" BUS_ROOT "/jobs/");
    heard(&l, "member=InterfacesAdded");
    heard(&l, "member=PropertiesChanged");
    heard(&l, "member=Renewed");
    heard(&l, "member=Finished");
    heard(&l, "string \"done\"");
    assert_string_not_equal(property(&f, "/enrollments/web", BUS_ENROLLMENT, "Serial"), before);
    assert_string_equal(property(&f, "/enrollments/web", BUS_ENROLLMENT, "Generation"), "u 2\n");
}

TEST(bus_failure_is_told_with_its_hint)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(listener_end) struct listener l = {0};

    start(&f);
    wait_installed(&f, "web");
    l = listen_to(&f);
    server_fixture_kill(f.server);
    assert_int_equal(bus_fixture_as(&f.bus, NULL,
                         "busctl call " BUS_NAME " " BUS_ROOT "/enrollments/web " BUS_ENROLLMENT " Renew 'a{sv}' 0"),
        0);
    heard(&l, "member=Failed");
    heard(&l, "member=Finished");
    heard(&l, "string \"failed\"");
    assert_string_not_equal(property(&f, "/enrollments/web", BUS_ENROLLMENT, "LastError"), "s \"\"\n");
    assert_string_equal(property(&f, "/enrollments/web", BUS_ENROLLMENT, "ErrorKind"), "s \"Network\"\n");
}

TEST(bus_restart_is_survived_and_work_goes_on_meanwhile)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    prepare(&f);
    agent_fixture_section(f.agent, "web", "DeviceEC", "");
    ctl_fixture_start(&f);
    bus_fixture_kill(&f.bus);
    for (int i = 0; i < 400 && testing_shell(NULL, "test -e '%s/public/certs/web/current'", f.agent->state); i++)
        (void)usleep(100000);
    agent_fixture_assert_published(f.agent, "web"); /* nobody on the bus is needed for that */
    bus_fixture_restart(&f.bus);
    bus_fixture_wait(&f.bus);
    wait_installed(&f, "web");
}

TEST(bus_enroll_and_remove_are_what_a_person_asks_for)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    prepare(&f);
    ctl_fixture_start(&f);
    wait_until(&f, "/servers/corp", BUS_SERVER, "LastError", "s \"\"\n");
    for (int i = 0; i < 200 && strcmp(property(&f, "/servers/corp", BUS_SERVER, "FetchedAt"), "x 0\n") == 0; i++)
        (void)usleep(100000);
    assert_int_equal(bus_fixture_as(&f.bus, NULL, "busctl call $R " BUS_MANAGER " Enroll 'ssa{sv}' corp Machine 0"), 0);
    wait_until(&f, "/jobs/1", BUS_JOB, "State", "s \"finished\"\n");
    assert_string_equal(property(&f, "/jobs/1", BUS_JOB, "Error"), "s \"\"\n");
    assert_string_equal(property(&f, "/jobs/1", BUS_JOB, "Result"), "s \"done\"\n");
    assert_int_equal(bus_fixture_as(&f.bus, NULL, "busctl tree --list " BUS_NAME " | grep enrollments/ | head -n1"), 0);
    assert_contains(bus_fixture_said(&f.bus), "/enrollments/");
    assert_int_equal(bus_fixture_as(&f.bus, NULL,
                         "p=$(busctl tree --list " BUS_NAME " | grep enrollments/ | head -n1); "
                         "busctl call " BUS_NAME " $p " BUS_ENROLLMENT " Remove 'a{sv}' 1 force b true"),
        0);
    wait_until(&f, "/jobs/2", BUS_JOB, "State", "s \"finished\"\n");
    assert_int_equal(bus_fixture_as(&f.bus, NULL, "busctl tree --list " BUS_NAME " | grep -c enrollments/"), 1);
    assert_int_equal(agent_fixture_count_keys(f.agent), 0);
}

/* --- passwords --- */

static char *give(struct ctl_fixture *f, const char *server, const char *secret)
{
    return bus_fixture_call(&f->bus, NULL,
        &(struct bus_fixture_call){.path = BUS_ROOT,
            .interface = BUS_MANAGER,
            .member = "SetCredential",
            .signature = "sha{sv}",
            .text = server,
            .secret = secret});
}

static void assert_given(struct ctl_fixture *f, const char *server, const char *secret, const char *error)
{
    CLEANUP(mem_freep) char *got = give(f, server, secret);

    if (*error)
        assert_contains(got, error);
    else
        assert_string_equal(got, "");
}

TEST(bus_password_is_taken_from_a_pipe_and_used)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *long_one = mem_alloc(5001);

    prepare(&f);
    agent_fixture_password(f.agent, NULL);
    agent_fixture_section(f.agent, "web", "DeviceEC", "");
    ctl_fixture_start(&f);
    memset(long_one, 'x', 5000);
    assert_given(&f, "nowhere", "x", "there is no policy server 'nowhere'");
    assert_given(&f, "corp", "", BUS_ERROR "Usage the password is empty");
    assert_given(&f, "corp", "\n", "the password is empty");
    assert_given(&f, "corp", "\xff", "not valid UTF-8");
    assert_given(&f, "corp", long_one, "at most 4096 bytes");
    assert_string_equal(property(&f, "/servers/corp", BUS_SERVER, "PasswordHeld"), "b false\n");
    assert_given(&f, "corp", SERVER_FIXTURE_PASSWORD "\n", "");
    wait_installed(&f, "web");
    assert_string_equal(property(&f, "/servers/corp", BUS_SERVER, "PasswordHeld"), "b true\n");
    assert_string_equal(property(&f, "/servers/corp", BUS_SERVER, "PasswordProven"), "b true\n");
    assert_int_equal(bus_fixture_as(&f.bus, NULL, "busctl call $R " BUS_MANAGER " ClearCredential s corp"), 0);
    assert_string_equal(property(&f, "/servers/corp", BUS_SERVER, "PasswordHeld"), "b false\n");
    assert_int_equal(
        testing_shell(NULL, "grep -rF '%s' '%s' '%s'", SERVER_FIXTURE_PASSWORD, f.agent->state, f.agent->dir), 1);
}

TEST(bus_password_that_is_for_once_is_forgotten_when_everything_is_issued)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *got = NULL;

    prepare(&f);
    agent_fixture_password(f.agent, NULL);
    agent_fixture_section(f.agent, "web", "DeviceEC", "");
    ctl_fixture_start(&f);
    got = bus_fixture_call(&f.bus, NULL,
        &(struct bus_fixture_call){.path = BUS_ROOT,
            .interface = BUS_MANAGER,
            .member = "SetCredential",
            .signature = "sha{sv}",
            .text = "corp",
            .secret = SERVER_FIXTURE_PASSWORD,
            .flag = "once"});
    assert_string_equal(got, "");
    wait_installed(&f, "web");
    wait_until(&f, "/servers/corp", BUS_SERVER, "PasswordHeld", "b false\n");
}

/* The writing end stays open: the daemon waits for five seconds, and serves others meanwhile. */
TEST(bus_password_that_never_ends_is_given_up)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    int status;
    pid_t pid;

    start(&f);
    wait_installed(&f, "web");
    pid = fork();
    if (pid == 0) {
        int ends[2];
        char *got;

        if (pipe(ends) < 0 || write(ends[1], "x", 1) != 1)
            _exit(2);
        got = bus_fixture_call(&f.bus, NULL,
            &(struct bus_fixture_call){.path = BUS_ROOT,
                .interface = BUS_MANAGER,
                .member = "SetCredential",
                .signature = "sha{sv}",
                .text = "corp",
                .fd = ends[0]});
        _exit(strstr(got, BUS_ERROR "Timeout") ? 0 : 1);
    }
    (void)usleep(500000);
    assert_contains(property(&f, "", BUS_MANAGER, "Version"), AE_VERSION);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}
