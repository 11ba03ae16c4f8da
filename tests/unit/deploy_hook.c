#include "agent/deploy/hook.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"

/* A script to be run, and what it printed. */
struct script {
    char *dir, *path;
    const char *argv[2];
    struct hook hook;
    struct strlist output;
    struct err *err;
};

static void script_clear(struct script *s)
{
    free(s->dir);
    free(s->path);
    strlist_clear(&s->output);
    err_free(s->err);
}

static int script_run(struct script *s, const char *text)
{
    CLEANUP(mem_freep) char *all = mem_printf("#!/bin/sh\n%s\n", text);

    if (!s->dir) {
        s->dir = testing_tmpdir();
        assert_int_equal(chmod(s->dir, 0755), 0);
        s->path = mem_printf("%s/script", s->dir);
    }
    testing_write(s->path, all, strlen(all));
    assert_int_equal(chmod(s->path, 0755), 0);
    s->argv[0] = s->path;
    s->hook.argv = s->argv;
    if (!s->hook.limit)
        s->hook.limit = 60;
    err_free(TAKE(s->err));
    return hook_run(&s->hook, &s->output, &s->err);
}

static void assert_output(const struct script *s, const char *expected)
{
    CLEANUP(mem_freep) char *all = strlist_join(&s->output, "\n");

    assert_string_equal(all, expected);
}

TEST(hook_keeps_what_a_program_prints)
{
    CLEANUP(script_clear) struct script s = {0};

    assert_ok(script_run(&s, "echo one; echo two >&2; printf three") == 0, s.err);
    assert_output(&s, "one\ntwo\nthree");
    assert_ok(script_run(&s, "printf 'a\\033[31mb\\r\\n\\377'") == 0, s.err);
    assert_output(&s, "a\\x1b[31mb\\x0d\n\\xff");
}

TEST(hook_keeps_the_end_of_long_output)
{
    CLEANUP(script_clear) struct script s = {0};

    assert_ok(script_run(&s, "seq 1 200000; echo the end") == 0, s.err);
    assert_int_equal(s.output.n, HOOK_MAX_LINES);
    assert_string_equal(s.output.items[HOOK_MAX_LINES - 1], "the end");
    assert_string_equal(s.output.items[HOOK_MAX_LINES - 2], "200000");
    assert_ok(script_run(&s, "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done") == 0, s.err);
    assert_string_equal(s.output.items[s.output.n - 1], "done");
}

TEST(hook_says_how_a_program_failed)
{
    CLEANUP(script_clear) struct script s = {0};

    assert_int_equal(script_run(&s, "echo why; exit 3"), -1);
    assert_contains(err_text(s.err), "ended with status 3");
    assert_output(&s, "why");
    assert_int_equal(script_run(&s, "kill -SEGV $$"), -1);
    assert_contains(err_text(s.err), "was ended by signal 11");
    s.hook.argv = (const char *const[]){"/nonexistent/program", NULL};
    err_free(TAKE(s.err));
    assert_int_equal(hook_run(&s.hook, &s.output, &s.err), -1);
    assert_int_equal(err_kind(s.err), ERR_CONFIG);
    assert_contains(s.output.items[0], "No such file or directory");
}

TEST(hook_gives_a_program_its_input_and_environment_and_no_more)
{
    static const char *const environment[] = {"AUTOENROLL_NAME=web", "AUTOENROLL_GENERATION=3", NULL};
    CLEANUP(bytes_clear) struct bytes input = {0};
    CLEANUP(script_clear) struct script s = {.hook = {.environment = environment, .input = &input}};
    int leaked = open("/dev/null", O_RDONLY); /* not closed on exec */

    assert_true(leaked > 2);
    bytes_set(&input, "{\"a\":1}\nsecond\n", 15);
    assert_int_equal(setenv("SECRET_OF_OURS", "x", 1), 0);
    assert_ok(script_run(&s, "cat; env | grep -v ^_ | LC_ALL=C sort; pwd; ls /proc/self/fd | wc -l") == 0, s.err);
    assert_output(&s, "{\"a\":1}\nsecond\nAUTOENROLL_GENERATION=3\nAUTOENROLL_NAME=web\nLANG=C.UTF-8\n"
                      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n/\n4");
    (void)close(leaked);
}

/* True while a process with this text in its command line lives. */
static bool lives(const char *mark)
{
    return testing_shell(NULL,
               "for p in /proc/[0-9]*; do grep -qs '%s' $p/cmdline && [ ${p#/proc/} != $$ ] && exit 0; "
               "done; exit 1",
               mark) == 0;
}

TEST(hook_ends_a_program_that_hangs_with_all_that_it_started)
{
    CLEANUP(script_clear) struct script s = {.hook = {.limit = 1}};
    int r = script_run(&s, "trap '' TERM\n"
                           "sleep 987651 &\n"
                           "setsid sleep 987652 &\n"
                           "(setsid sh -c 'sleep 987653 & sleep 987654' &)\n"
                           "echo waiting\nwhile :; do sleep 1; done");

    assert_int_equal(r, -1);
    assert_int_equal(err_kind(s.err), ERR_TIMEOUT);
    assert_contains(err_text(s.err), "took longer than 1 seconds and was ended");
    assert_contains(err_hint_text(s.err), "hook-limit");
    assert_output(&s, "waiting");
    assert_false(lives("98765[1-4]"));
}

TEST(hook_ends_a_program_that_multiplies)
{
    CLEANUP(script_clear) struct script s = {.hook = {.limit = 1}};

    assert_int_equal(
        script_run(&s, "n=$1; again() { while :; do sleep 987655 & i=$((i+1)); [ $i -gt 200 ] && wait; done; }; "
                       "again & again & setsid sh -c 'while :; do sleep 987655 & i=$((i+1)); [ $i -gt 100 ] "
                       "&& wait; done' & wait"),
        -1);
    assert_int_equal(err_kind(s.err), ERR_TIMEOUT);
    assert_false(lives("987655"));
}

TEST(hook_leaves_a_daemon_that_was_started_and_nothing_else)
{
    CLEANUP(script_clear) struct script s = {0};

    assert_ok(
        script_run(&s, "setsid sleep 987656 >/dev/null 2>&1 & sleep 987657 & sleep 0.2; echo started") == 0, s.err);
    assert_output(&s, "started");
    assert_true(lives("987656"));
    assert_false(lives("987657"));
    s.hook.limit = 1; /* another one that is ended does not take the daemon with it */
    assert_int_equal(script_run(&s, "sleep 60"), -1);
    assert_true(lives("987656"));
    assert_int_equal(testing_shell(NULL, "pkill -x -f 'sleep 987656'"), 0);
}

TEST(hook_needs_root_to_be_somebody_else)
{
    CLEANUP(script_clear) struct script s = {.hook = {.user = "no-such-user"}};

    assert_int_equal(script_run(&s, "id -un"), -1);
    assert_contains(err_text(s.err), "there is no user 'no-such-user'");
    assert_contains(err_hint_text(s.err), "run-as");
}

PRIVILEGED_TEST(hook_is_who_it_shall_be_and_stays_it)
{
    CLEANUP(script_clear) struct script s = {.hook = {.user = "nobody"}};

    assert_ok(
        script_run(&s, "id -un; id -gn; id -G | wc -w; grep -E '^(Uid|Gid|NoNewPrivs|CapEff)' /proc/self/status | "
                       "tr '\\t' ' '") == 0,
        s.err);
    assert_output(&s, "nobody\nnogroup\n1\nUid: 65534 65534 65534 65534\nGid: 65534 65534 65534 65534\n"
                      "CapEff: 0000000000000000\nNoNewPrivs: 1");
}
