#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/oneshot_fixture.h"

/* These need no server: one that would be asked is one too many. */
static int run(struct bytes *out, const char *arguments)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenrolld");

    return testing_shell(out, "'%s' %s 2>&1", program, arguments);
}

static char *write_config(const char *dir, const char *text)
{
    char *path = mem_printf("%s/autoenroll.conf", dir);

    testing_write(path, text, strlen(text));
    return path;
}

#define SERVER                                                                                                         \
    "[policy-server \"corp\"]\nuri = https://localhost:1/CEP\nauth = username\nusername = alice\nca-file = /root.pem\n"

TEST(help_names_every_option_and_ends_with_0)
{
    static const char *const options[] = {
        "--oneshot", "--check", "--config", "--state-dir", "--worker", "--run-as", "--renew", "--same-key", "--json"};
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(run(&out, "--help"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        assert_contains(bytes_text(&out), options[i]);
    assert_int_equal(run(&out, "--version"), 0);
    assert_contains(bytes_text(&out), "autoenrolld ");
}

TEST(command_line_that_is_wrong_ends_with_64_and_says_how_to_get_help)
{
    static const char *const wrong[] = {"--oneshot --nonsense", "--oneshot something", "--renew", "--renew web", "enroll"};

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(bytes_clear) struct bytes out = {0};

        assert_int_equal(run(&out, wrong[i]), 64);
        assert_contains(bytes_text(&out), "--help");
    }
}

/* What is wrong, what the error must name, and where it is; what only the whole shows has no line. */
TEST(configuration_that_is_wrong_ends_with_78_and_names_file_and_line)
{
    static const struct {
        const char *text, *named, *place;
    } rows[] = {
        {"[agent]\ngrase = 7d\n", "did you mean 'grace'", ":2"},
        {"[agnet]\n", "agent", ":1"},
        {"[agent]\ngrace = soon\n", "soon", ":2"},
        {"[agent]\nworkers = 0\n" SERVER, "workers must be from 1 to 64", NULL},
        {SERVER "autoenroll = perhaps\n", "perhaps", ":6"},
        {"[policy-server \"corp\"]\nuri = http://localhost/CEP\nauth = username\nusername = a\nca-file = /r\n",
            "[policy-server \"corp\"]: uri must be https", NULL},
        {SERVER "[certificate \"../web\"]\npolicy-server = corp\ntemplate = T\n", "../web", ":6"},
        {SERVER "[certificate \"web\"]\npolicy-server = corb\ntemplate = T\n", "corb", NULL},
        {SERVER "[certificate \"web\"]\npolicy-server = corp\n", "template", NULL},
        {"[agent]\ntoken = pkcs11:token=x?pin-value=1234\n", "pin-credential", NULL},
        {"[agent]\ntoken = tpm\n", "pkcs11:", NULL},
    };
    CLEANUP(mem_freep) char *dir = testing_tmpdir();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(mem_freep) char *path = write_config(dir, rows[i].text);
        CLEANUP(mem_freep) char *place = mem_printf("%s%s", path, rows[i].place ? rows[i].place : "");
        CLEANUP(mem_freep) char *checks = mem_printf("--check --config '%s'", path);
        CLEANUP(mem_freep) char *walks = mem_printf("--oneshot --config '%s' --state-dir '%s/state'", path, dir);
        CLEANUP(mem_freep) char *made = mem_printf("%s/state", dir);

        if (run(&out, checks) != 78)
            fail_msg("row %zu: %s", i, bytes_text(&out));
        if (rows[i].place)
            assert_contains(bytes_text(&out), place);
        assert_contains(bytes_text(&out), rows[i].named);
        assert_null(strstr(bytes_text(&out), "1234"));
        assert_int_equal(run(&out, walks), 78);
        assert_contains(bytes_text(&out), rows[i].named);
        assert_int_equal(access(made, F_OK), -1); /* nothing was begun */
    }
}

TEST(check_says_what_it_read_and_later_files_win)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = write_config(dir, "[agent]\ngrace = 7d\n" SERVER);
    CLEANUP(mem_freep) char *fragments = mem_printf("%s/conf.d", dir);
    CLEANUP(mem_freep) char *fragment = mem_printf("%s/10-grace.conf", fragments);
    CLEANUP(mem_freep) char *arguments = mem_printf("--check --config '%s'", path);
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(mkdir(fragments, 0700), 0);
    testing_write(fragment, "[agent]\ngrace = 3d\n", 19);
    assert_int_equal(run(&out, arguments), 0);
    assert_contains(bytes_text(&out), "[policy-server \"corp\"]");
    assert_contains(bytes_text(&out), "https://localhost:1/CEP");
    assert_contains(bytes_text(&out), "3d");
    assert_null(strstr(bytes_text(&out), "7d\n"));
}

TEST(configuration_that_is_missing_is_told_by_its_path)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_not_equal(run(&out, "--oneshot --config /nonexistent/autoenroll.conf --state-dir /nonexistent/s"), 0);
    assert_contains(bytes_text(&out), "/nonexistent/autoenroll.conf");
}

/* The second one finds the first at work, says so and touches nothing. */
TEST(second_agent_in_the_same_place_ends_with_75)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *lock = NULL;
    int fd;

    oneshot_start(&s);
    oneshot_run(&s, "", 0);
    lock = mem_printf("%s/private/lock", s.agent->state);
    fd = open(lock, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "--json", 75); /* not half an object either */
    assert_null(strchr(oneshot_said(&s), '{'));
    assert_contains(oneshot_said(&s), "hint: ");
    assert_int_equal(oneshot_count(&s, "requests"), 0);
    (void)close(fd);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
}

TEST(worker_that_is_missing_or_broken_is_told_and_nothing_is_lost)
{
    static const struct {
        const char *script, *said;
    } rows[] = {
        {"exit 0", "ended with status 0 and no result"},
        {"exit 3", "ended with status 3"},
        {"kill -SEGV $$; exec sleep 1", "died of signal 11"},
        {"printf 'this is no frame at all, and much too long for one' >&3; exit 0", "worker"},
        {"exec cat <&3 >/dev/null", "took more than 2 seconds"},
    };
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    agent_fixture_fragment(s.agent, "limit", "[agent]\njob-limit = 2s\n");
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *worker = oneshot_worker(&s, "broken", rows[i].script);
        CLEANUP(mem_freep) char *arguments = mem_printf("--worker '%s'", worker);

        assert_int_not_equal(agent_fixture_run(s.agent, arguments), 0);
        assert_contains(oneshot_said(&s), rows[i].said);
    }
    assert_int_not_equal(agent_fixture_run(s.agent, "--worker /nonexistent/worker"), 0);
    assert_contains(oneshot_said(&s), "/nonexistent/worker");
    agent_fixture_fragment(s.agent, "limit", NULL);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
}
