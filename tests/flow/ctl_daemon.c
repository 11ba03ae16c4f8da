#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/ctl_fixture.h"

/* A machine with the quick kind of key: "web" by a section, nothing else. */
static void start(struct ctl_fixture *f)
{
    ctl_fixture_prepare(f);
    agent_fixture_section(f->agent, "web", "DeviceEC", "");
    ctl_fixture_start(f);
}

TEST(ctl_without_a_daemon_says_how_to_start_it)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    ctl_fixture_prepare(&f);
    ctl_expect(&f, 1, "status");
    assert_contains(ctl_said(&f), "autoenrolld is not running");
    assert_contains(ctl_said(&f), "systemctl start autoenrolld");
    ctl_expect(&f, 69, "pulse");
    ctl_expect(&f, 1, "doctor --state-dir '%s'", f.agent->dir);
    assert_contains(ctl_said(&f), "!! daemon: autoenrolld is not running");
    bus_fixture_kill(&f.bus);
    ctl_expect(&f, 1, "list");
    assert_contains(ctl_said(&f), "there is no bus");
}

/* The evening of a newcomer: what is wrong is named, then mended by what was said, until there is a certificate. */
TEST(ctl_leads_from_a_fresh_daemon_to_a_certificate)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *wrong = NULL;

    start(&f);
    wrong = mem_printf("%s/wrong", f.agent->dir);
    testing_write(wrong, "not it", 6);
    assert_int_not_equal(ctl_run(&f, "pulse --wait"), 0);
    ctl_expect(&f, 1, "status");
    assert_contains(ctl_said(&f), "no password is stored");
    assert_contains(ctl_said(&f), "autoenroll login");
    ctl_expect(&f, 0, "explain corp");
    assert_contains(ctl_said(&f), "no password is stored");
    assert_contains(ctl_said(&f), "autoenroll server test corp");

    ctl_expect(&f, 77, "login corp --password-file '%s'", wrong);
    assert_contains(ctl_said(&f), "the password was refused");
    ctl_expect(&f, 1, "status");
    assert_contains(ctl_said(&f), "refused our user name or password");
    ctl_expect(&f, 1, "doctor --state-dir '%s'", f.agent->state);
    assert_contains(ctl_said(&f), "autoenroll login corp");

    ctl_login(&f);
    assert_contains(ctl_said(&f), "pulse: done"); /* what began with the password may be over by then */
    ctl_expect(&f, 0, "status");
    assert_contains(ctl_said(&f), "installed");
    ctl_expect(&f, 0, "explain web");
    assert_contains(ctl_said(&f), "Nothing is wrong with it.");
    ctl_expect(&f, 0, "doctor --state-dir '%s'", f.agent->state);
    agent_fixture_assert_published(f.agent, "web");
}

TEST(ctl_shows_templates_with_the_reason_why_not)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    start(&f);
    ctl_login(&f);
    ctl_expect(&f, 0, "templates");
    assert_contains(ctl_said(&f), "Workstation");
    assert_contains(ctl_said(&f), "autoenroll is off");
    ctl_json(&f, 0, "templates corp");
    assert_int_equal(json_array_size(json_object_get(f.json, "templates")), 5);
    ctl_expect(&f, 66, "templates corb");
    assert_contains(ctl_said(&f), "there are: corp, corp-renewal");
    ctl_json(&f, 0, "plan --at +400d");
    assert_contains(ctl_said(&f), "\"name\": \"web\"");
    assert_contains(ctl_said(&f), "\"needs-password\": true");
    ctl_expect(&f, 64, "plan --at soon");
}

TEST(ctl_renews_with_a_new_key_and_with_the_same_one)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *serial = NULL;
    CLEANUP(mem_freep) char *key = NULL;

    start(&f);
    ctl_login(&f);
    ctl_expect(&f, 0, "logout corp");
    ctl_json(&f, 0, "list");
    serial = mem_strdup(ctl_text(&f, "enrollments", "web", "serial"));
    key = mem_strdup(ctl_text(&f, "enrollments", "web", "key-uri"));
    ctl_json(&f, 0, "renew web --wait");
    assert_contains(ctl_said(&f), "\"result\": \"done\"");
    ctl_json(&f, 0, "list");
    assert_string_not_equal(ctl_text(&f, "enrollments", "web", "serial"), serial);
    assert_string_not_equal(ctl_text(&f, "enrollments", "web", "key-uri"), key);
    free(key);
    key = mem_strdup(ctl_text(&f, "enrollments", "web", "key-uri"));
    ctl_expect(&f, 0, "renew --all --same-key --wait");
    ctl_json(&f, 0, "list");
    assert_string_equal(ctl_text(&f, "enrollments", "web", "key-uri"), key);
    ctl_expect(&f, 66, "renew wbe --wait");
    assert_contains(ctl_said(&f), "there are: web");
    ctl_expect(&f, 64, "renew");
}

TEST(ctl_waits_for_a_person_at_the_ca)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    ctl_fixture_prepare(&f);
    agent_fixture_section(f.agent, "gate", "Approved", "");
    ctl_fixture_start(&f);
    ctl_login(&f);
    ctl_expect(&f, 2, "show gate");
    assert_contains(ctl_said(&f), "pending");
    ctl_expect(&f, 0, "explain gate");
    assert_contains(ctl_said(&f), "approve request 1");
    ctl_expect(&f, 0, "poll gate --wait");
    assert_contains(ctl_said(&f), "gate: pending");
    assert_int_equal(server_fixture_run(f.server, NULL, "approve", "1"), 0);
    ctl_expect(&f, 0, "poll --wait");
    assert_contains(ctl_said(&f), "gate: done");
    ctl_expect(&f, 0, "show gate");
}

TEST(ctl_gives_an_enrollment_up_only_where_nothing_brings_it_back)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    start(&f);
    ctl_login(&f);
    assert_int_not_equal(ctl_run(&f, "remove web --wait"), 0);
    ctl_expect(&f, 0, "show web");
    agent_fixture_fragment(f.agent, "web", NULL);
    ctl_expect(&f, 0, "reload");
    ctl_expect(&f, 0, "remove web --wait");
    ctl_expect(&f, 2, "show web");
    assert_int_equal(agent_fixture_count_keys(f.agent), 0);
}

TEST(ctl_tells_health_by_its_exit_status)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *file = NULL;

    start(&f);
    ctl_login(&f);
    ctl_expect(&f, 0, "verify");
    assert_contains(ctl_said(&f), "web: healthy");
    file = agent_fixture_file(f.agent, "web", "cert.pem");
    testing_write(file, "nothing", 7);
    ctl_expect(&f, 1, "verify web");
    assert_contains(ctl_said(&f), "cert.pem was changed from outside");
    ctl_expect(&f, 1, "status");
    ctl_expect(&f, 1, "list");
    ctl_expect(&f, 2, "show other");
}

TEST(ctl_prints_a_configuration_that_works)
{
    static const char *const consumers[] = {"nginx", "openssl", "curl", "wpa", "nm", "java"};
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    start(&f);
    ctl_expect(&f, 2, "show web --for nginx");
    ctl_login(&f);
    for (size_t i = 0; i < ARRAY_SIZE(consumers); i++) {
        ctl_expect(&f, 0, "show web --for %s", consumers[i]);
        assert_contains(ctl_said(&f), i == 5 ? "alias in the key store is web" : "pkcs11:token=autoenroll;object=web");
    }
    ctl_expect(&f, 64, "show web --for apache");
    assert_contains(ctl_said(&f), "there are: nginx, openssl");
    assert_int_equal(
        testing_shell(NULL,
            "test -r \"$('%s/autoenroll' show web --for nginx | sed -n 's/^ssl_certificate  *\\(.*\\);$/\\1/p')\"",
            getenv("AE_BIN")),
        0);
}

/* Follows in the background; what it printed is read at the end. */
static pid_t follow(const struct ctl_fixture *f, const char *arguments)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    CLEANUP(mem_freep)
    char *line = mem_printf("exec '%s' watch %s >'%s/watched' 2>&1", program, arguments, f->agent->dir);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static bool was_told(const struct ctl_fixture *f, const char *text)
{
    return testing_shell(NULL, "grep -qF -- '%s' '%s/watched'", text, f->agent->dir) == 0;
}

static void wait_told(const struct ctl_fixture *f, const char *text)
{
    for (int i = 0; i < 200 && !was_told(f, text); i++)
        (void)usleep(50000);
    if (!was_told(f, text)) {
        (void)testing_shell(NULL, "cat '%s/watched' >&2", f->agent->dir);
        fail_msg("nothing was told of '%s'", text);
    }
}

static void assert_each_line_is_an_object(const struct ctl_fixture *f)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(mem_freep) char *path = mem_printf("%s/watched", f->agent->dir);
    char *position = NULL;

    testing_read(path, &text);
    for (char *line = strtok_r((char *)text.data, "\n", &position); line; line = strtok_r(NULL, "\n", &position)) {
        json_t *object = json_loads(line, 0, NULL);

        if (!json_is_object(object) || !json_is_integer(json_object_get(object, "at")))
            fail_msg("no object: %s", line);
        json_decref(object);
    }
}

TEST(ctl_watch_tells_events_and_outlives_the_daemon)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    pid_t pid;

    start(&f);
    pid = follow(&f, "--json");
    (void)usleep(500000); /* it says nothing until something happens */
    ctl_login(&f);
    wait_told(&f, "\"member\":\"InterfacesAdded\"");
    wait_told(&f, "\"member\":\"Renewed\"");
    wait_told(&f, "\"member\":\"Finished\"");
    assert_each_line_is_an_object(&f);
    ctl_fixture_stop(&f, SIGKILL);
    wait_told(&f, "\"member\":\"Gone\"");
    ctl_fixture_start(&f);
    wait_told(&f, "\"member\":\"Back\"");
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
}

TEST(ctl_watch_prints_a_line_that_a_person_reads)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    pid_t pid;

    start(&f);
    pid = follow(&f, "");
    (void)usleep(500000);
    ctl_login(&f);
    wait_told(&f, "UTC  web: new: DeviceEC");
    wait_told(&f, "UTC  web: Renewed");
    wait_told(&f, "web: state installed");
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
}

TEST(ctl_that_waits_hears_that_the_daemon_went_away)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    int status;

    start(&f);
    ctl_login(&f);
    server_fixture_set(f.server, "misbehave", "slow", "30s");
    server_fixture_stop(f.server);
    server_fixture_start(f.server);
    status = testing_shell(&f.out,
        "'%s' renew web --wait >'%s/out' 2>&1 & pid=$!; "
        "for i in $(seq 100); do grep -q submitting '%s/out' && break; sleep 0.1; done; "
        "kill -9 %d; wait $pid; r=$?; cat '%s/out'; exit $r",
        program, f.agent->dir, f.agent->dir, (int)f.daemon, f.agent->dir);
    if (status != 69)
        fail_msg("status %d:\n%s", status, ctl_said(&f));
    assert_contains(ctl_said(&f), "autoenrolld ended meanwhile");
    assert_contains(ctl_said(&f), "on record");
    (void)waitpid(f.daemon, NULL, 0);
    f.daemon = 0;
}

TEST(ctl_refuses_what_a_user_may_not_and_says_what_helps)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *dir = NULL;

    bus_fixture_need_root();
    start(&f);
    dir = mem_printf("%s/bin", f.bus.dir);
    assert_int_equal(testing_shell(NULL, "mkdir '%s' && install -m 755 '%s/autoenroll' '%s' && chmod 755 '%s'", dir,
                         getenv("AE_BIN"), dir, dir),
        0);
    assert_int_equal(
        bus_fixture_as(&f.bus, BUS_FIXTURE_NOBODY, "ASAN_OPTIONS=detect_leaks=0 '%s/autoenroll' list", dir), 0);
    assert_int_equal(
        bus_fixture_as(&f.bus, BUS_FIXTURE_NOBODY, "ASAN_OPTIONS=detect_leaks=0 '%s/autoenroll' pulse", dir), 77);
    assert_contains(bus_fixture_said(&f.bus), "autoenroll-admin");
    assert_int_equal(
        bus_fixture_as(&f.bus, BUS_FIXTURE_MEMBER, "ASAN_OPTIONS=detect_leaks=0 '%s/autoenroll' pulse", dir), 0);
}
