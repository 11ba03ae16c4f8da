#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/oneshot_fixture.h"

/* Accounts that every system has; the agent is to be the one, its workers the other. */
#define DAEMON_USER "daemon"
#define WORKER_USER "nobody"

/* Lets both into the directories of this test, which only root could enter so far. */
static void start_as_users(struct oneshot *s)
{
    if (geteuid() != 0) {
        print_message("this test has to be root\n");
        skip();
    }
    oneshot_start(s);
    free(s->agent->run_as);
    free(s->agent->worker_as);
    s->agent->run_as = mem_strdup(DAEMON_USER);
    s->agent->worker_as = mem_strdup(WORKER_USER);
    assert_int_equal(testing_shell(NULL,
                         "chmod 0711 '%s' '%s' \"$(dirname '%s')\"; chmod 0755 '%s/conf.d'; chmod 0644 '%s' '%s'; "
                         "chown -R " WORKER_USER " '%s'",
                         s->agent->dir, s->server->dir, s->server->dir, s->agent->dir, s->agent->config,
                         s->server->trust, s->agent->credentials),
        0);
    agent_fixture_section(s->agent, "web", "DeviceEC", "");
}

static int may(const char *user, const char *what, const struct oneshot *s, const char *path)
{
    return testing_shell(NULL, "setpriv --reuid=%s --regid=$(id -g %s) --clear-groups %s '%s/%s' >/dev/null 2>&1", user,
        user, what, s->agent->state, path);
}

PRIVILEGED_TEST(neither_user_reads_what_is_the_others)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start_as_users(&s);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_int_equal(may(DAEMON_USER, "cat", &s, "private/enrollments/web/record.json"), 0);
    assert_int_equal(may(WORKER_USER, "cat", &s, "token/pin"), 0);
    assert_int_not_equal(may(WORKER_USER, "ls", &s, "private"), 0);
    assert_int_not_equal(may(WORKER_USER, "cat", &s, "private/enrollments/web/record.json"), 0);
    assert_int_not_equal(may(DAEMON_USER, "ls", &s, "token"), 0);
    assert_int_not_equal(may(DAEMON_USER, "cat", &s, "token/pin"), 0);
    assert_int_equal(may("bin", "cat", &s, "public/certs/web/current/cert.pem"), 0); /* everybody */
    assert_int_not_equal(may(WORKER_USER, "touch", &s, "public/certs/web/1/more"), 0);
    assert_int_not_equal(may("bin", "ls", &s, "private"), 0);
    assert_int_not_equal(may("bin", "ls", &s, "token"), 0);
}

/* "PID comm Uid Gid Groups CapEff" of every process below @pid and of itself, a line each. */
static void look_at_processes(pid_t pid, struct bytes *out)
{
    assert_int_equal(
        testing_shell(out,
            "walk() { for p in \"$@\"; do "
            "echo $p $(cat /proc/$p/comm) $(awk '/^(Uid|Gid|Groups|CapEff):/ {$1 = \"\"; print}' /proc/$p/status); "
            "walk $(cat /proc/$p/task/$p/children); done; }; walk %d 2>/dev/null; true",
            (int)pid),
        0);
}

/* A line of @program with nothing but @user's ids, in its own group only, and no capabilities. */
static bool runs_as(const struct bytes *processes, const struct oneshot *s, const char *program, const char *user)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/processes", s->agent->dir);

    testing_write(path, processes->data, processes->len);
    return testing_shell(NULL,
               "u=$(id -u %s) g=$(id -g %s); grep -q \"^[0-9]* %s $u $u $u $u $g $g $g $g $g 0000000000000000$\" '%s'",
               user, user, program, path) == 0;
}

PRIVILEGED_TEST(processes_are_of_their_users_and_have_no_capabilities)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};
    CLEANUP(bytes_clear) struct bytes last = {0};
    bool daemon = false, worker = false;
    pid_t pid;

    server_fixture_set(s.server, "misbehave", "slow", "1s");
    start_as_users(&s);
    pid = agent_fixture_spawn(s.agent);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        CLEANUP(bytes_clear) struct bytes now = {0};

        look_at_processes(pid, &now);
        daemon |= runs_as(&now, &s, "autoenrolld", DAEMON_USER);
        worker |= runs_as(&now, &s, "autoenroll-work", WORKER_USER);
        if (strstr(bytes_text(&now), "autoenroll-work"))
            bytes_set(&last, now.data, now.len);
        (void)usleep(20000);
    }
    if (!daemon || !worker)
        fail_msg("the last processes:\n%s", bytes_text(&last));
    oneshot_assert_installed(&s, "web");
}

/* Whoever watches the worker's user must not be able to look into its memory, nor into the daemon's. */
PRIVILEGED_TEST(processes_cannot_be_looked_into_by_their_own_users)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};
    unsigned looked = 0, readable = 0;
    pid_t pid;

    server_fixture_set(s.server, "misbehave", "slow", "1s");
    start_as_users(&s);
    pid = agent_fixture_spawn(s.agent);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        CLEANUP(bytes_clear) struct bytes out = {0};

        assert_int_equal(
            testing_shell(&out, "for p in $(pgrep -u " WORKER_USER " -x autoenroll-work); do "
                                "setpriv --reuid=" WORKER_USER " --clear-groups --regid=$(id -g " WORKER_USER ") "
                                "sh -c 'grep -q TracerPid /proc/'$p'/status 2>/dev/null && printf s; "
                                "cat /proc/'$p'/environ >/dev/null 2>&1 && printf r'; done; true"),
            0);
        looked += strchr(bytes_text(&out), 's') != NULL;
        readable += strchr(bytes_text(&out), 'r') != NULL;
        (void)usleep(200000);
    }
    assert_true(looked > 1);
    assert_true(readable < looked); /* the moment before it has hardened itself may be met, once */
    oneshot_assert_installed(&s, "web");
}

PRIVILEGED_TEST(user_that_there_is_not_is_a_configuration_error)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start_as_users(&s);
    free(s.agent->worker_as);
    s.agent->worker_as = mem_strdup("no-such-user");
    oneshot_run(&s, "", 78);
    assert_contains(oneshot_said(&s), "no-such-user");
    assert_contains(oneshot_said(&s), "hint: ");
}

/* As root the keeper of rights must not outlive anybody. */
PRIVILEGED_TEST(nothing_stays_behind_when_the_daemon_is_killed)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};
    CLEANUP(bytes_clear) struct bytes before = {0};
    CLEANUP(mem_freep) char *path = NULL;
    int left = -1;
    pid_t pid;

    server_fixture_set(s.server, "misbehave", "slow", "3s");
    start_as_users(&s);
    pid = agent_fixture_spawn(s.agent);
    do {
        look_at_processes(pid, &before);
    } while (!strstr(bytes_text(&before), "autoenroll-work") && waitpid(pid, NULL, WNOHANG) == 0);
    path = mem_printf("%s/processes", s.agent->dir);
    testing_write(path, before.data, before.len);
    assert_contains(bytes_text(&before), "autoenroll-work");
    assert_int_equal(kill(pid, SIGKILL), 0);
    (void)waitpid(pid, NULL, 0);
    for (int i = 0; i < 100 && left; i++) {
        (void)usleep(20000);
        left = testing_shell(
            NULL, "! while read -r pid comm rest; do test -d /proc/$pid && echo $comm; done <'%s' | grep -q .", path);
    }
    assert_int_equal(left, 0);
}
