#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/oneshot_fixture.h"

#define CANARY "xyzzy-plugh-17" /* in the agent's environment */

static size_t count_files_with(const char *dir, const char *text)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    (void)testing_shell(&out, "grep -rlaF -e '%s' '%s' | wc -l", text, dir);
    return (size_t)atoi(bytes_text(&out));
}

static char *read_pin(struct oneshot *s)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/token/pin", s->agent->state);
    CLEANUP(bytes_clear) struct bytes text = {0};

    testing_read(path, &text);
    return mem_strndup(bytes_text(&text), strcspn(bytes_text(&text), "\n"));
}

/* Also where the password is wrong. */
TEST(neither_password_nor_pin_stands_in_a_file_or_in_what_is_printed)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *pin = NULL;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    pin = read_pin(&s);
    assert_true(strlen(pin) >= 16);
    for (int i = 0; i < 3; i++) {
        assert_null(strstr(oneshot_said(&s), SERVER_FIXTURE_PASSWORD));
        assert_null(strstr(oneshot_said(&s), pin));
        assert_int_equal(count_files_with(s.agent->state, SERVER_FIXTURE_PASSWORD), 0);
        assert_int_equal(count_files_with(s.agent->state, pin), 1); /* its own, 0600 */
        if (i == 0)
            oneshot_run(&s, "--renew web", 0);
        else
            oneshot_json(&s, "", 0);
    }
    agent_fixture_password(s.agent, "another " CANARY);
    assert_int_equal(testing_shell(NULL, "rm '%s'/private/policies/*.json", s.agent->state), 0);
    oneshot_run(&s, "", 0); /* the other policy server will do */
    assert_contains(oneshot_said(&s), "asking policy server 'corp'");
    assert_null(strstr(oneshot_said(&s), CANARY));
    assert_int_equal(count_files_with(s.agent->state, CANARY), 0);
}

/* The worker's own first words: what it was started with. */
TEST(worker_gets_nothing_of_the_agents_environment_and_descriptors)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *worker = NULL;
    CLEANUP(mem_freep) char *arguments = NULL;
    CLEANUP(bytes_clear) struct bytes text = {0};

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    worker = oneshot_worker(&s, "curious",
        "d=$(dirname \"$0\"); { env; tr '\\0' ' ' </proc/$$/cmdline; ls -l /proc/$$/fd; } >\"$d/report.$$\"\n"
        "exec \"$worker\"");
    arguments = mem_printf("--worker '%s'", worker);
    assert_int_equal(setenv("AE_CANARY", CANARY, 1), 0);
    assert_int_equal(setenv("LD_PRELOAD_OF_OURS", CANARY, 1), 0);
    assert_int_equal(setenv("https_proxy", "http://" CANARY ":1", 1), 0);
    oneshot_run(&s, arguments, 0);
    oneshot_assert_installed(&s, "web");
    assert_int_equal(testing_shell(&text, "cat '%s'/report.*", s.agent->dir), 0);
    assert_contains(bytes_text(&text), "CREDENTIALS_DIRECTORY=");
    assert_null(strstr(bytes_text(&text), CANARY));
    assert_null(strstr(bytes_text(&text), SERVER_FIXTURE_PASSWORD));
    assert_null(strstr(bytes_text(&text), "private/")); /* the lock, a record */
}

/* While the server takes its time. */
TEST(no_secret_stands_in_the_arguments_of_a_process)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};
    CLEANUP(bytes_clear) struct bytes seen = {0};
    size_t workers = 0;
    pid_t pid;

    server_fixture_set(s.server, "misbehave", "slow", "1s");
    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    pid = agent_fixture_spawn(s.agent);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        CLEANUP(bytes_clear) struct bytes lines = {0};

        assert_int_equal(testing_shell(&lines, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true"), 0);
        workers += strstr(bytes_text(&lines), "autoenroll-worker") != NULL;
        (void)bytes_append(&seen, lines.data, lines.len, NULL);
        (void)usleep(50000);
    }
    assert_true(workers > 0);
    oneshot_assert_installed(&s, "web");
    {
        CLEANUP(mem_freep) char *pin = read_pin(&s);

        assert_null(memmem(seen.data, seen.len, SERVER_FIXTURE_PASSWORD, strlen(SERVER_FIXTURE_PASSWORD)));
        assert_null(memmem(seen.data, seen.len, pin, strlen(pin)));
    }
}
