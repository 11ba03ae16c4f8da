#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/ctl_fixture.h"
#include "tests/oneshot_fixture.h"

static int run(struct bytes *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int run(struct bytes *out, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    CLEANUP(mem_freep) char *arguments = NULL;
    va_list ap;

    va_start(ap, fmt);
    arguments = mem_vprintf(fmt, ap);
    va_end(ap);
    return testing_shell(out, "'%s' %s 2>&1", program, arguments);
}

static bool is_empty(const char *dir, const char *path)
{
    return testing_shell(NULL, "[ -z \"$(find '%s/%s' -type f 2>/dev/null)\" ]", dir, path) == 0;
}

TEST(prepare_image_wipes_what_must_not_be_cloned)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    const char *where;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    where = s.agent->state;
    assert_int_equal(run(&out, "prepare-image --state-dir '%s' </dev/null", where), 64);
    assert_contains(bytes_text(&out), "--yes");
    oneshot_assert_installed(&s, "web");
    assert_int_equal(run(&out, "prepare-image --state-dir '%s' --yes", where), 0);
    assert_contains(bytes_text(&out), "private (records");
    assert_contains(bytes_text(&out), "token (keys and the PIN");
    assert_true(is_empty(where, "private") && is_empty(where, "token") && is_empty(where, "public"));
    assert_int_equal(run(&out, "prepare-image --state-dir '%s' --yes", where), 0);
    assert_contains(bytes_text(&out), "nothing to wipe");
    oneshot_run(&s, "", 0); /* as a machine that was just installed */
    oneshot_assert_installed(&s, "web");
    oneshot_assert_no_orphans(&s, 1);
}

TEST(prepare_image_leaves_a_running_daemon_alone)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *lock = mem_printf("%s/private/lock", dir);
    CLEANUP(bytes_clear) struct bytes out = {0};
    int fd;

    assert_int_equal(testing_shell(NULL, "mkdir '%s/private' && touch '%s/private/record'", dir, dir), 0);
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(run(&out, "prepare-image --state-dir '%s' --yes", dir), 1);
    assert_contains(bytes_text(&out), "a daemon works with this state");
    assert_contains(bytes_text(&out), "systemctl stop autoenrolld");
    assert_false(is_empty(dir, "private"));
    close(fd);
    assert_int_equal(run(&out, "prepare-image --state-dir '%s' --yes", dir), 0);
    assert_true(is_empty(dir, "private"));
}

/* What is outside stays, whatever a link under the state directory says. */
TEST(prepare_image_follows_no_link)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *outside = testing_tmpdir();
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(bytes_clear) struct bytes content = {0};
    CLEANUP(mem_freep) char *precious = mem_printf("%s/precious", outside);

    testing_write(precious, "mine", 4);
    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && mkdir private && ln -s '%s' private/link && ln '%s' private/hard && ln -s '%s' token", dir,
            outside, precious, outside),
        0);
    assert_int_equal(run(&out, "prepare-image --state-dir '%s' --yes", dir), 0);
    testing_read(precious, &content);
    assert_string_equal(bytes_text(&content), "mine");
    assert_int_equal(testing_shell(NULL, "[ ! -e '%s/private' ] && [ ! -L '%s/token' ]", dir, dir), 0);
}

/* Types @text when the prompt is there; what came on the terminal into @out. The exit status. */
static int on_terminal(const char *arguments, const char *text, struct bytes *out)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    CLEANUP(mem_freep) char *line = mem_printf("exec '%s' %s", program, arguments);
    char buffer[1024];
    bool typed = false;
    int master, status;
    ssize_t n;
    pid_t pid = forkpty(&master, NULL, NULL, NULL);

    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    while ((n = read(master, buffer, sizeof(buffer))) > 0) {
        assert_int_equal(bytes_append(out, buffer, (size_t)n, NULL), 0);
        if (!typed && strstr(bytes_text(out), "Password for")) {
            (void)usleep(200000); /* until echo is off */
            assert_int_equal(write(master, text, strlen(text)), (ssize_t)strlen(text));
            typed = true;
        }
    }
    close(master);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST(login_reads_the_password_from_a_terminal_that_shows_nothing)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(bytes_clear) struct bytes out = {0};

    ctl_fixture_prepare(&f);
    agent_fixture_section(f.agent, "web", "DeviceEC", "");
    ctl_fixture_start(&f);
    assert_int_equal(on_terminal("login corp", SERVER_FIXTURE_PASSWORD "\n", &out), 0);
    assert_contains(bytes_text(&out), "Password for policy server 'corp'");
    assert_contains(bytes_text(&out), "in memory only");
    assert_null(strstr(bytes_text(&out), "horse"));
    ctl_expect(&f, 0, "pulse --wait");
    ctl_expect(&f, 0, "show web");
    assert_int_equal(testing_shell(NULL, "! grep -rqF '%s' '%s'", SERVER_FIXTURE_PASSWORD, f.agent->dir), 0);
}

TEST(login_takes_a_password_from_standard_input_and_refuses_an_empty_one)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    ctl_fixture_prepare(&f);
    agent_fixture_section(f.agent, "web", "DeviceEC", "");
    ctl_fixture_start(&f);
    ctl_expect(&f, 65, "login corp --password-file - </dev/null");
    ctl_expect(&f, 66, "login corp --password-file /nonexistent");
    ctl_expect(&f, 66, "login corb --password-file - </dev/null");
    ctl_expect(&f, 0, "login corp --password-file - <'%s'", f.server->password_file);
    ctl_json(&f, 0, "server list");
    assert_true(json_is_true(json_object_get(json_array_get(json_object_get(f.json, "servers"), 0), "password-held")));
    ctl_expect(&f, 0, "logout corp");
    ctl_json(&f, 0, "server list");
    assert_false(json_is_true(json_object_get(json_array_get(json_object_get(f.json, "servers"), 0), "password-held")));
}

TEST(a_terminal_gets_colour_and_bars_and_a_pipe_none)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(bytes_clear) struct bytes colour = {0};
    CLEANUP(bytes_clear) struct bytes plain = {0};
    CLEANUP(bytes_clear) struct bytes dumb = {0};

    ctl_fixture_prepare(&f);
    agent_fixture_section(f.agent, "web", "DeviceEC", "");
    ctl_fixture_start(&f);
    ctl_login(&f);
    assert_int_equal(setenv("TERM", "xterm", 1), 0);
    assert_int_equal(on_terminal("list", "", &colour), 0);
    assert_contains(bytes_text(&colour), "\033[32m");
    assert_contains(bytes_text(&colour), "\xe2\x96\x88");
    assert_int_equal(setenv("NO_COLOR", "1", 1), 0);
    assert_int_equal(on_terminal("list", "", &plain), 0);
    assert_null(strchr(bytes_text(&plain), '\033'));
    assert_contains(bytes_text(&plain), "\xe2\x96\x88");
    assert_int_equal(setenv("TERM", "dumb", 1), 0);
    assert_int_equal(on_terminal("list", "", &dumb), 0);
    assert_null(strstr(bytes_text(&dumb), "\xe2\x96\x88"));
    ctl_expect(&f, 0, "list");
    assert_null(strpbrk(ctl_said(&f), "\033\xe2"));
}
