#include "agent/daemon/child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/daemon/run.h"
#include "tests/testing.h"

/* --- workers that are not ours: a few lines of shell, with the channel as descriptor 3 --- */

/* One frame, for printf: length of the body, type, subject. */
#define PROGRESS_HM "printf '\\0\\0\\0\\015\\003\\0{\"text\":\"hm\"}' >&3\n"
#define RESULT      "printf '\\0\\0\\0\\002\\005\\003{}' >&3\n" /* of RETIRE */
#define READ_JOB    "head -c 30 <&3 >/dev/null\n"
#define SLEEP       "trap '' TERM INT HUP\nexec sleep 1000\n"

struct stage {
    char *dir, *worker;
    struct children *children;
    struct agent agent;
    struct agent_options options;
};

static void stage_close(struct stage *s)
{
    children_close(s->children);
    free(s->dir);
    free(s->worker);
}

/* A worker program that does what @script says, and an agent as far as a job needs one. */
static void stage_open(struct stage *s, const char *script)
{
    CLEANUP(mem_freep) char *text = mem_printf("#!/bin/sh\n%s", script);
    CLEANUP(err_freep) struct err *err = NULL;

    *s = (struct stage){.dir = testing_tmpdir()};
    s->worker = mem_printf("%s/worker", s->dir);
    testing_write(s->worker, text, strlen(text));
    assert_int_equal(chmod(s->dir, 0755), 0);
    assert_int_equal(chmod(s->worker, 0755), 0);
    assert_ok(children_open(s->worker, NULL, &s->children, &err) == 0, err);
    s->options.json = true;
    s->agent = (struct agent){.options = &s->options, .children = s->children, .settings.agent.job_limit = 60};
}

/* Has the worker do a job that has no record. */
static int run(struct stage *s, struct err **errp)
{
    CLEANUP(run_outcome_clear) struct run_outcome outcome = {0};
    struct job_retire job = {.place.tag = {.data = (uint8_t[]){1, 2, 3, 4}, .len = 4}};

    return run_job(&s->agent, JOB_RETIRE, &job, "token", NULL, &outcome, errp);
}

/* The job fails, in these words. */
static void fails(const char *script, int64_t limit, enum err_kind kind, const char *why)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, script);
    s.agent.settings.agent.job_limit = limit;
    assert_int_equal(run(&s, &err), -1);
    if (err_kind(err) != kind)
        fail_msg("%s: %s", err_kind_name(err_kind(err)), err_text(err));
    assert_contains(err_text(err), why);
    assert_non_null(err_hint_text(err));
}

TEST(child_that_is_missing_is_told_with_its_path)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *worker = mem_printf("%s/worker", dir);

    for (int i = 0; i < 2; i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        struct children *children = NULL;

        assert_int_equal(children_open(worker, NULL, &children, &err), -1);
        assert_int_equal(err_kind(err), ERR_MISSING);
        assert_contains(err_text(err), worker);
        assert_contains(err_hint_text(err), "--worker");
        assert_null(children);
        testing_write(worker, "", 0); /* and one that cannot be executed */
    }
}

TEST(child_that_cannot_be_executed_is_told)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, "");
    testing_write(s.worker, "#!/nonexistent/interpreter\n", 27);
    assert_int_equal(chmod(s.worker, 0755), 0);
    assert_int_equal(run(&s, &err), -1);
    assert_int_equal(err_kind(err), ERR_INTERNAL);
    assert_contains(err_text(err), "the worker program could not be executed");
}

TEST(child_that_dies_of_a_signal_is_told_with_what_it_was_doing)
{
    fails(READ_JOB PROGRESS_HM "kill -SEGV $$", 60, ERR_INTERNAL,
        "the worker died of signal 11 (Segmentation fault) while hm");
    fails(READ_JOB "kill -KILL $$", 60, ERR_INTERNAL, "signal 9 (Killed) while starting");
}

TEST(child_that_dies_before_it_reads_its_job_is_told)
{
    fails("kill -ABRT $$", 60, ERR_INTERNAL, "signal 6 (Aborted) while starting");
    fails("exec 3>&-; sleep 0.2; kill -ABRT $$", 60, ERR_INTERNAL, "signal 6 (Aborted) while starting");
}

TEST(child_that_ends_without_a_result_is_told_with_its_status)
{
    fails(READ_JOB "exit 0", 60, ERR_INTERNAL, "the worker ended with status 0 and no result while starting");
    fails(READ_JOB PROGRESS_HM "exit 3", 60, ERR_INTERNAL, "the worker ended with status 3 and no result while hm");
}

TEST(child_that_hangs_is_ended_and_told_with_its_last_step)
{
    fails(READ_JOB PROGRESS_HM SLEEP, 1, ERR_TIMEOUT, "took more than 1 second");
    fails(READ_JOB PROGRESS_HM SLEEP, 1, ERR_TIMEOUT, "was last hm");
}

TEST(child_that_closes_its_channel_and_stays_is_ended)
{
    fails(READ_JOB "exec 3>&-\n" SLEEP, 60, ERR_INTERNAL, "while starting");
}

/* A module of a token may hang in C_Finalize; what the job came to is known by then. */
TEST(child_that_stays_after_its_result_is_ended_and_the_result_counts)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, READ_JOB RESULT SLEEP);
    assert_ok(run(&s, &err) == 0, err);
}

TEST(child_that_breaks_the_rules_is_ended)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, READ_JOB "echo nonsense >&3\n" SLEEP);
    assert_int_equal(run(&s, &err), -1);
    assert_int_equal(err_kind(err), ERR_PROTOCOL);
    assert_contains(err_text(err), "breaks the rules of the channel");
}

TEST(child_may_be_followed_by_another)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, READ_JOB RESULT);
    for (int i = 0; i < 3; i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_ok(run(&s, &err) == 0, err);
    }
}

TEST(child_runs_alone)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(channel_freep) struct channel *channel = NULL;
    struct channel *second = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, SLEEP);
    assert_ok(child_start(s.children, &channel, &err) == 0, err);
    assert_int_equal(child_start(s.children, &second, &err), -1);
    assert_contains(err_text(err), "running already");
    /* and ends with its children, in stage_close: the test would not end otherwise */
}

/* The first line of what a worker wrote to DIR/NAME. */
static void wrote(const struct stage *s, const char *name, struct bytes *out)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", s->dir, name);

    testing_read(path, out);
}

TEST(child_knows_of_the_environment_only_what_it_needs)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, READ_JOB "env >$CREDENTIALS_DIRECTORY/env\n" RESULT);
    setenv("CREDENTIALS_DIRECTORY", s.dir, 1);
    setenv("SOFTHSM2_CONF", "/somewhere", 1);
    setenv("https_proxy", "http://proxy.example", 1);
    setenv("LD_LIBRARY_PATH", "/tmp", 1);
    assert_ok(run(&s, &err) == 0, err);
    wrote(&s, "env", &text);
    assert_contains(bytes_text(&text), "CREDENTIALS_DIRECTORY=");
    assert_contains(bytes_text(&text), "SOFTHSM2_CONF=/somewhere");
    assert_contains(bytes_text(&text), "PATH=/usr/bin:/bin\n");
    assert_null(strstr(bytes_text(&text), "proxy"));
    assert_null(strstr(bytes_text(&text), "LD_LIBRARY_PATH"));
}

TEST(child_inherits_no_other_descriptor)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, READ_JOB "ls /proc/$$/fd >$CREDENTIALS_DIRECTORY/fds\n" RESULT);
    setenv("CREDENTIALS_DIRECTORY", s.dir, 1);
    assert_int_equal(dup2(0, 77), 77);
    assert_int_equal(dup2(0, 4), 4);
    assert_ok(run(&s, &err) == 0, err);
    wrote(&s, "fds", &text);
    assert_contains(bytes_text(&text), "3\n");
    assert_null(strstr(bytes_text(&text), "77"));
    assert_null(strstr(bytes_text(&text), "4\n"));
}

/* kill -9 of the daemon: a worker that went on would have nobody to make its checkpoints durable. */
TEST(child_dies_with_the_daemon)
{
    CLEANUP(stage_close) struct stage s;
    int ready[2], status;
    pid_t daemon, worker = 0;

    stage_open(&s, SLEEP);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0); /* so that we hear of the worker's end */
    daemon = fork();
    if (daemon == 0) {
        struct channel *channel;

        if (child_start(s.children, &channel, NULL) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &status, 1), 1);
    usleep(200000); /* until the worker has arranged for it; too short a time only hides a fault */
    assert_int_equal(kill(daemon, SIGKILL), 0);
    assert_int_equal(waitpid(daemon, &status, 0), daemon);
    worker = waitpid(-1, &status, 0);
    assert_true(worker > 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

TEST(child_account_that_does_not_exist_is_a_matter_of_configuration)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct account account;

    assert_int_equal(account_find("no-such-user", &account, &err), -1);
    assert_int_equal(err_kind(err), ERR_CONFIG);
    assert_contains(err_text(err), "'no-such-user'");
    assert_non_null(err_hint_text(err));
}

/* --- as root: the daemon becomes one user, its workers another --- */

static void open_as_root(struct stage *s, struct account *daemon, struct account *worker, const char *script)
{
    CLEANUP(err_freep) struct err *err = NULL;

    if (geteuid() != 0) {
        print_message("only root can become somebody else\n");
        skip();
    }
    stage_open(s, script);
    children_close(s->children);
    s->children = NULL;
    assert_int_equal(chmod(s->dir, 0777), 0);
    setenv("CREDENTIALS_DIRECTORY", s->dir, 1);
    assert_ok(account_find("daemon", daemon, &err) == 0, err);
    assert_ok(account_find("nobody", worker, &err) == 0, err);
}

PRIVILEGED_TEST(child_runs_as_another_user_than_the_daemon)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(mem_freep) char *ids = NULL;
    int status;
    pid_t pid;

    open_as_root(&s, &daemon, &worker,
        READ_JOB "echo $(id -u) $(id -g) $(id -G) >$CREDENTIALS_DIRECTORY/ids\n"
                 "grep CapEff /proc/$$/status >$CREDENTIALS_DIRECTORY/caps\n" RESULT);
    pid = fork();
    if (pid == 0) {
        if (children_open(s.worker, &worker, &s.agent.children, NULL) < 0 || account_become(&daemon, NULL) < 0)
            _exit(1);
        if (setuid(0) == 0)
            _exit(2); /* for good */
        _exit(run(&s, NULL) == 0 && run(&s, NULL) == 0 ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    ids = mem_printf("%u %u %u\n", worker.uid, worker.gid, worker.gid);
    wrote(&s, "ids", &text);
    assert_string_equal(bytes_text(&text), ids);
    wrote(&s, "caps", &text);
    assert_contains(bytes_text(&text), "0000000000000000");
}

PRIVILEGED_TEST(child_of_another_user_that_hangs_is_ended)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};
    int status;
    pid_t pid;

    open_as_root(&s, &daemon, &worker, READ_JOB PROGRESS_HM SLEEP);
    pid = fork();
    if (pid == 0) {
        CLEANUP(err_freep) struct err *err = NULL;

        if (children_open(s.worker, &worker, &s.agent.children, NULL) < 0 || account_become(&daemon, NULL) < 0)
            _exit(1);
        s.agent.settings.agent.job_limit = 1;
        if (run(&s, &err) == 0 || err_kind(err) != ERR_TIMEOUT || !strstr(err_text(err), "was last hm"))
            _exit(2);
        children_close(s.agent.children);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}
