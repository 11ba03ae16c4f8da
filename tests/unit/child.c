#include "agent/daemon/child.h"

#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/daemon/run.h"
#include "agent/job/job_fields.h"
#include "tests/testing.h"

/* --- workers that are not ours: a few lines of shell, with the channel as descriptor 3 --- */

/* One frame, for printf: length of the body, type, subject. */
#define PROGRESS_HM "printf '\\0\\0\\0\\015\\003\\0{\"text\":\"hm\"}' >&3\n"
#define RESULT      "printf '\\0\\0\\0\\002\\005\\003{}' >&3\n" /* of RETIRE */
#define READ_JOB    "head -c 30 <&3 >/dev/null\n"
#define SLEEP       "trap '' TERM INT HUP\nexec sleep 1000\n"
#define SIDE_BY_SIDE                                                                                                   \
    "touch $CREDENTIALS_DIRECTORY/here.$$\n"                                                                           \
    "while [ $(ls -d $CREDENTIALS_DIRECTORY/here.* | wc -l) -lt 8 ]; do sleep 0.01; done\n"

struct stage {
    char *dir, *worker, *socket;
    pid_t acceptor; /* plays systemd; 0: none */
    struct children_place place;
    struct children *children;
    struct agent agent;
    struct agent_options options;
};

/* What one run came to. */
struct told {
    bool done, dropped;
    struct err *why;
    struct strlist steps;
};

static void told_clear(struct told *told)
{
    err_free(told->why);
    strlist_clear(&told->steps);
}

static void stage_shut(struct stage *s)
{
    children_close(TAKE(s->children));
    if (s->agent.base)
        event_base_free(TAKE(s->agent.base));
    s->agent.children = NULL;
}

static void stage_close(struct stage *s)
{
    stage_shut(s);
    if (s->acceptor > 0) {
        assert_int_equal(kill(s->acceptor, SIGKILL), 0);
        (void)waitpid(s->acceptor, NULL, 0);
    }
    libevent_global_shutdown();
    free(s->dir);
    free(s->worker);
    free(s->socket);
}

static int stage_try(struct stage *s, struct err **errp)
{
    if (children_open(&s->place, &s->children, errp) < 0)
        return -1;
    s->agent.children = s->children;
    s->agent.base = event_base_new();
    return children_attach(s->children, s->agent.base, errp);
}

/* A worker program that does what @script says, and an agent as far as a job needs one; not yet with children. */
static void stage_prepare(struct stage *s, const char *script)
{
    CLEANUP(mem_freep) char *text = mem_printf("#!/bin/sh\n%s", script);

    *s = (struct stage){.dir = testing_tmpdir()};
    s->worker = mem_printf("%s/worker", s->dir);
    testing_write(s->worker, text, strlen(text));
    assert_int_equal(chmod(s->dir, 0755), 0);
    assert_int_equal(chmod(s->worker, 0755), 0);
    setenv("CREDENTIALS_DIRECTORY", s->dir, 1);
    s->place.program = s->worker;
    s->options.json = true;
    s->agent = (struct agent){.options = &s->options, .settings.agent.job_limit = 60};
}

static void stage_open(struct stage *s, const char *script)
{
    CLEANUP(err_freep) struct err *err = NULL;

    stage_prepare(s, script);
    assert_ok(stage_try(s, &err) == 0, err);
}

/* For each connection the worker program with it as CHANNEL_FD, as systemd does for Accept=yes. */
static __attribute__((noreturn)) void accept_for_ever(const struct stage *s, int listening)
{
    char *argv[] = {s->worker, NULL};

    (void)signal(SIGCHLD, SIG_IGN);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int connection = accept(listening, NULL, NULL);

        if (connection >= 0 && fork() == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (connection != CHANNEL_FD)
                (void)dup2(connection, CHANNEL_FD);
            (void)close_range(CHANNEL_FD + 1, ~0u, 0);
            (void)signal(SIGCHLD, SIG_DFL);
            (void)execv(s->worker, argv);
            _exit(127);
        }
        if (connection >= 0)
            (void)close(connection);
    }
}

static void stage_listen(struct stage *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(err_freep) struct err *err = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    s->socket = mem_printf("%s/socket", s->dir);
    assert_true(strlen(s->socket) < sizeof(address.sun_path));
    memcpy(address.sun_path, s->socket, strlen(s->socket));
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 8), 0);
    s->acceptor = fork();
    if (s->acceptor == 0)
        accept_for_ever(s, fd);
    (void)close(fd);
    s->place.socket = s->socket;
    assert_ok(stage_try(s, &err) == 0, err);
}

/* --- jobs --- */

static void on_step(void *ctx, const char *text)
{
    struct told *told = ctx;

    strlist_add(&told->steps, text);
}

static void on_done(void *ctx, struct run_outcome *outcome, struct err *why)
{
    struct told *told = ctx;

    told->done = true;
    if (why)
        told->why = err_new(err_kind(why), err_text(why), err_hint_text(why), err_code(why));
    else if (outcome->event.type != CHANNEL_RESULT)
        err_set(&told->why, ERR_INTERNAL, "no result");
}

static void on_dropped(void *ctx)
{
    struct told *told = ctx;

    told->dropped = true;
}

/* A job that has no record. @told must outlive it. */
static struct run *begin(struct stage *s, const struct job_retire *job, struct told *told)
{
    struct run_request request = {
        .kind = JOB_RETIRE, .input = job, .label = "token", .progress = on_step, .done = on_done, .ctx = told};
    CLEANUP(err_freep) struct err *err = NULL;
    struct run *run = NULL;

    request.dropped = on_dropped;
    assert_ok(run_start(&s->agent, &request, &run, &err) == 0, err);
    assert_false(told->done);
    return run;
}

static void await(struct stage *s, const struct told *told)
{
    while (!told->done)
        assert_true(event_base_loop(s->agent.base, EVLOOP_ONCE) >= 0);
}

static uint8_t tag[] = {1, 2, 3, 4};
static const struct job_retire small_job = {.place.tag = {.data = tag, .len = sizeof(tag)}};

static int run(struct stage *s, struct err **errp)
{
    struct told told = {0};

    (void)begin(s, &small_job, &told);
    await(s, &told);
    strlist_clear(&told.steps);
    if (told.why && errp)
        *errp = told.why;
    else
        err_free(told.why);
    return told.why ? -1 : 0;
}

static void expect(struct stage *s, enum err_kind kind, const char *why)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(run(s, &err), -1);
    if (err_kind(err) != kind)
        fail_msg("%s: %s", err_kind_name(err_kind(err)), err_text(err));
    assert_contains(err_text(err), why);
    assert_non_null(err_hint_text(err));
}

/* The job fails, in these words. */
static void fails(const char *script, int64_t limit, enum err_kind kind, const char *why)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, script);
    s.agent.settings.agent.job_limit = limit;
    expect(&s, kind, why);
}

TEST(child_that_is_missing_is_told_with_its_path)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *worker = mem_printf("%s/worker", dir);

    for (int i = 0; i < 2; i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        struct children *children = NULL;

        assert_int_equal(children_open(&(struct children_place){.program = worker}, &children, &err), -1);
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

    stage_open(&s, "");
    testing_write(s.worker, "#!/nonexistent/interpreter\n", 27);
    assert_int_equal(chmod(s.worker, 0755), 0);
    expect(&s, ERR_INTERNAL, "the worker program could not be executed");
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
    fails(READ_JOB "echo nonsense >&3\n" SLEEP, 60, ERR_PROTOCOL, "breaks the rules of the channel");
    fails(READ_JOB "printf '\\0\\0\\0\\002\\005\\001{}' >&3\n" SLEEP, 60, ERR_PROTOCOL,
        "the result of another job than 'retire'");
    fails(READ_JOB "printf '\\0\\0\\0\\017\\005\\003{\"removed\":\"1\"}' >&3\n" SLEEP, 60, ERR_PROTOCOL, "removed: ");
    fails(READ_JOB "printf '\\377\\0\\0\\0\\003\\0' >&3\n" SLEEP, 60, ERR_PROTOCOL, "more than the");
    fails(READ_JOB "printf '\\0\\0\\0\\002\\004\\0{}' >&3\n" SLEEP, 60, ERR_PROTOCOL, "a checkpoint in a job 'retire'");
}

TEST(child_that_never_stops_talking_is_ended)
{
    fails(READ_JOB "while :; do\n" PROGRESS_HM "done", 60, ERR_PROTOCOL, "tells more than 1000 steps");
}

TEST(child_tells_its_steps)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(told_clear) struct told told = {0};

    stage_open(&s, READ_JOB PROGRESS_HM PROGRESS_HM RESULT);
    (void)begin(&s, &small_job, &told);
    await(&s, &told);
    assert_ok(!told.why, told.why);
    assert_int_equal(told.steps.n, 2);
    assert_string_equal(told.steps.items[1], "hm");
}

TEST(child_may_be_followed_by_another)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, READ_JOB RESULT);
    for (int i = 0; i < 3; i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_ok(run(&s, &err) == 0, err);
        assert_int_equal(children_running(s.children), 0);
    }
}

TEST(child_is_ended_when_its_job_is_cancelled)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(told_clear) struct told told = {0};
    struct run *run;

    stage_open(&s, READ_JOB PROGRESS_HM SLEEP);
    run = begin(&s, &small_job, &told);
    while (!told.steps.n)
        assert_true(event_base_loop(s.agent.base, EVLOOP_ONCE) >= 0);
    run_cancel(run);
    assert_false(told.done); /* not before it has gone */
    await(&s, &told);
    assert_int_equal(err_kind(told.why), ERR_BUSY);
    assert_contains(err_text(told.why), "cancelled while hm");
}

/* --- side by side --- */

/* Eight that wait for each other: they never end unless all are there at once. */
static bool all_eight(struct stage *s)
{
    struct told told[8] = {0};
    bool good = true;

    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
        (void)begin(s, &small_job, &told[i]);
    good = children_running(s->children) == ARRAY_SIZE(told);
    for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
        await(s, &told[i]);
        good = good && !told[i].why;
        told_clear(&told[i]);
    }
    return good && children_running(s->children) == 0;
}

TEST(child_runs_beside_others)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, READ_JOB SIDE_BY_SIDE RESULT);
    assert_true(all_eight(&s));
}

/* Key ids that are longer, in their frame, than what a socket takes at once. */
static void fill_big(struct job_retire *job)
{
    *job = (struct job_retire){0};
    bytes_set(&job->place.tag, tag, sizeof(tag));
    for (int i = 0; i < JOB_MAX_PAIRS; i++)
        bytes_set(MEM_APPEND(job->known, job->n_known), (uint8_t[JOB_MAX_KEY_ID]){1}, JOB_MAX_KEY_ID);
}

TEST(child_that_never_reads_its_job_keeps_nobody_waiting)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(told_clear) struct told deaf = {0}, other = {0};
    CLEANUP(job_retire_clear) struct job_retire job;
    CLEANUP(mem_freep) char *first = NULL;

    stage_open(&s, "mkdir $CREDENTIALS_DIRECTORY/first 2>/dev/null && exec sleep 1000\n"
                   "cat <&3 >/dev/null &\n" RESULT "wait\n");
    fill_big(&job);
    s.agent.settings.agent.job_limit = 1;
    (void)begin(&s, &job, &deaf);
    s.agent.settings.agent.job_limit = 60;
    first = mem_printf("%s/first", s.dir);
    while (access(first, F_OK) < 0)
        assert_int_equal(usleep(1000), 0);
    (void)begin(&s, &job, &other);
    await(&s, &other);
    assert_ok(!other.why, other.why);
    await(&s, &deaf);
    assert_int_equal(err_kind(deaf.why), ERR_TIMEOUT);
    assert_contains(err_text(deaf.why), "was last starting");
}

TEST(child_that_reads_its_job_late_gets_all_of_it)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(told_clear) struct told told = {0};
    CLEANUP(job_retire_clear) struct job_retire job;
    CLEANUP(bytes_clear) struct bytes expected = {0}, got = {0};
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    fill_big(&job);
    assert_ok(fields_write(job_kind_info(JOB_RETIRE)->input, &job, false, &expected, &err) == 0, err);
    {
        CLEANUP(mem_freep)
        char *script = mem_printf(
            PROGRESS_HM "head -c %zu <&3 | tail -c +7 >$CREDENTIALS_DIRECTORY/job\n" RESULT, expected.len + 6);

        stage_open(&s, script);
    }
    (void)begin(&s, &job, &told);
    await(&s, &told);
    assert_ok(!told.why, told.why);
    path = mem_printf("%s/job", s.dir);
    testing_read(path, &got);
    assert_true(bytes_equal(&expected, &got));
}

/* As at the end of the daemon: nobody acts on a job that did not end, but what it holds is freed. */
TEST(child_is_ended_and_reaped_when_all_are_closed)
{
    CLEANUP(stage_close) struct stage s;
    struct told told[3] = {0};

    stage_open(&s, SLEEP);
    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
        (void)begin(&s, &small_job, &told[i]);
    assert_int_equal(children_running(s.children), 3);
    stage_shut(&s);
    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
        assert_true(told[i].dropped && !told[i].done);
    assert_int_equal(waitpid(-1, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
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

/* Nor the channel of another worker. */
TEST(child_inherits_no_other_descriptor)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, READ_JOB SIDE_BY_SIDE "ls /proc/$$/fd | tr '\\n' ' ' >$CREDENTIALS_DIRECTORY/fds.$$\n" RESULT);
    assert_int_equal(dup2(0, 77), 77);
    assert_true(all_eight(&s));
    /* The shell itself holds its script as 10 or 255. */
    assert_int_equal(
        testing_shell(
            NULL, "test $(ls %s/fds.* | wc -l) = 8 && ! grep -vhE '^0 1 (10 )?2 (255 )?3 $' %s/fds.*", s.dir, s.dir),
        0);
}

/* kill -9 of the daemon: a worker that went on would have nobody to make its checkpoints durable. */
static void dies_with_the_daemon(struct stage *s, const struct account *daemon)
{
    int status, workers = 0;
    pid_t pid, worker;
    int ready[2];

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0); /* so that we hear of the worker's end */
    pid = fork();
    if (pid == 0) {
        struct child *child;
        struct channel *channel;

        if (stage_try(s, NULL) < 0 || (daemon && account_become(daemon, NULL) < 0) ||
            child_start(s->children, NULL, NULL, &child, &channel, NULL) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &status, 1), 1);
    usleep(200000); /* until the worker has arranged for it; too short a time only hides a fault */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    while ((worker = waitpid(-1, &status, 0)) > 0) /* a keeper reaps its workers, and ends well */
        workers += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    assert_int_equal(workers, daemon ? 0 : 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

TEST(child_dies_with_the_daemon)
{
    CLEANUP(stage_close) struct stage s;

    stage_prepare(&s, SLEEP);
    dies_with_the_daemon(&s, NULL);
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

/* --- behind a socket, as systemd starts them --- */

TEST(child_behind_a_socket_does_its_job)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_prepare(&s, READ_JOB RESULT);
    stage_listen(&s);
    assert_ok(run(&s, &err) == 0, err);
    assert_int_equal(children_running(s.children), 0);
}

TEST(child_behind_a_socket_runs_beside_others)
{
    CLEANUP(stage_close) struct stage s;

    stage_prepare(&s, READ_JOB SIDE_BY_SIDE RESULT);
    stage_listen(&s);
    assert_true(all_eight(&s));
}

TEST(child_behind_a_socket_that_dies_is_told_with_where_to_look)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_prepare(&s, READ_JOB PROGRESS_HM "kill -SEGV $$");
    stage_listen(&s);
    assert_int_equal(run(&s, &err), -1);
    assert_int_equal(err_kind(err), ERR_INTERNAL);
    assert_string_equal(err_text(err), "the worker ended without a result while hm");
    assert_contains(err_hint_text(err), "journalctl -u 'autoenroll-worker@*'");
}

/* One that does not even look at its channel: what it does then is nobody's business any more. */
TEST(child_behind_a_socket_that_hangs_is_given_up)
{
    CLEANUP(stage_close) struct stage s;

    stage_prepare(&s, READ_JOB PROGRESS_HM SLEEP);
    stage_listen(&s);
    s.agent.settings.agent.job_limit = 1;
    expect(&s, ERR_TIMEOUT, "was last hm");
    assert_int_equal(children_running(s.children), 0);
}

TEST(child_behind_a_socket_that_is_not_there_does_not_start)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;
    struct run_request request = {.kind = JOB_RETIRE, .input = &small_job, .label = "token", .done = on_done};

    stage_prepare(&s, "");
    s.socket = mem_printf("%s/none", s.dir);
    s.place.socket = s.socket;
    assert_ok(stage_try(&s, &err) == 0, err);
    assert_int_equal(run_start(&s.agent, &request, NULL, &err), -1);
    assert_int_equal(err_kind(err), ERR_INTERNAL);
    assert_contains(err_text(err), s.socket);
    assert_contains(err_hint_text(err), "autoenroll-worker.socket");
}

/* Waits until the worker reads the FIFO @path, and holds its other end. */
static int hold(struct stage *s, const char *path, const struct told *told)
{
    int fd;

    while ((fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0 && errno == ENXIO) {
        assert_int_equal(usleep(1000), 0);
        assert_true(event_base_loop(s->agent.base, EVLOOP_NONBLOCK) >= 0);
        assert_ok(!told->done, told->why);
    }
    assert_true(fd >= 0);
    return fd;
}

/* The worker itself, with a file that does not end: it hangs in read(), for good. */
TEST(child_behind_a_socket_that_is_ours_ends_when_it_is_cancelled)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(told_clear) struct told told = {0};
    CLEANUP(job_refresh_clear) struct job_refresh job = {0};
    CLEANUP(mem_freep) char *worker = testing_bin("autoenroll-worker");
    CLEANUP(mem_freep) char *script = mem_printf("exec %s\n", worker);
    CLEANUP(mem_freep) char *fifo = NULL;
    struct run_request request = {
        .kind = JOB_REFRESH, .input = &job, .label = "corp", .progress = on_step, .done = on_done, .ctx = &told};
    CLEANUP(err_freep) struct err *err = NULL;
    struct pollfd reader = {0};
    struct run *run;

    stage_prepare(&s, script);
    job.server.uri = mem_strdup("https://pki.example/");
    bytes_set(&job.place.tag, tag, sizeof(tag));
    fifo = mem_printf("%s/ca.pem", s.dir);
    job.server.ca_file = mem_strdup(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    stage_listen(&s);
    assert_ok(run_start(&s.agent, &request, &run, &err) == 0, err);
    reader.fd = hold(&s, fifo, &told);
    run_cancel(run);
    await(&s, &told);
    assert_int_equal(err_kind(told.why), ERR_BUSY);
    assert_int_equal(poll(&reader, 1, -1), 1); /* it has gone */
    assert_true(reader.revents & POLLERR);
    (void)close(reader.fd);
}

/* --- as root: the daemon becomes one user, its workers another --- */

static void prepare_as_root(struct stage *s, struct account *daemon, struct account *worker, const char *script)
{
    CLEANUP(err_freep) struct err *err = NULL;

    if (geteuid() != 0) {
        print_message("only root can become somebody else\n");
        skip();
    }
    stage_prepare(s, script);
    assert_int_equal(chmod(s->dir, 0777), 0);
    assert_ok(account_find("daemon", daemon, &err) == 0, err);
    assert_ok(account_find("nobody", worker, &err) == 0, err);
    s->place.as = worker;
}

/* In a process of its own, which has changed its user. */
static void as_daemon(struct stage *s, const struct account *daemon, int (*play)(struct stage *s))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        CLEANUP(err_freep) struct err *err = NULL;

        if (stage_try(s, &err) < 0 || account_become(daemon, &err) < 0) {
            err_print("daemon", err);
            _exit(1);
        }
        status = play(s);
        stage_shut(s);
        _exit(status);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int two_jobs(struct stage *s)
{
    if (setuid(0) == 0)
        return 2; /* for good */
    return run(s, NULL) == 0 && run(s, NULL) == 0 ? 0 : 3;
}

PRIVILEGED_TEST(child_runs_as_another_user_than_the_daemon)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(mem_freep) char *ids = NULL;

    prepare_as_root(&s, &daemon, &worker,
        READ_JOB "echo $(id -u) $(id -g) $(id -G) >$CREDENTIALS_DIRECTORY/ids\n"
                 "grep CapEff /proc/$$/status >$CREDENTIALS_DIRECTORY/caps\n"
                 "ls /proc/$$/fd | tr '\\n' ' ' >$CREDENTIALS_DIRECTORY/fds\n" RESULT);
    as_daemon(&s, &daemon, two_jobs);
    ids = mem_printf("%u %u %u\n", worker.uid, worker.gid, worker.gid);
    wrote(&s, "ids", &text);
    assert_string_equal(bytes_text(&text), ids);
    wrote(&s, "caps", &text);
    assert_contains(bytes_text(&text), "0000000000000000");
    assert_int_equal(testing_shell(NULL, "grep -qE '^0 1 (10 )?2 (255 )?3 $' %s/fds", s.dir), 0);
}

static int eight_jobs(struct stage *s)
{
    return all_eight(s) && all_eight(s) ? 0 : 3;
}

PRIVILEGED_TEST(child_of_another_user_runs_beside_others)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};

    prepare_as_root(&s, &daemon, &worker, READ_JOB SIDE_BY_SIDE RESULT);
    as_daemon(&s, &daemon, eight_jobs);
}

/* One of several is ended, and the others are not: the keeper knows which. */
static int one_is_cancelled(struct stage *s)
{
    struct told told[3] = {0};
    struct run *run[3];

    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
        run[i] = begin(s, &small_job, &told[i]);
    run_cancel(run[1]);
    await(s, &told[1]);
    if (told[0].done || told[2].done || err_kind(told[1].why) != ERR_BUSY || children_running(s->children) != 2)
        return 3;
    testing_write("go", "", 0);
    await(s, &told[0]);
    await(s, &told[2]);
    return told[0].why || told[2].why ? 4 : 0;
}

PRIVILEGED_TEST(child_of_another_user_is_ended_alone)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};

    prepare_as_root(
        &s, &daemon, &worker, READ_JOB "while ! [ -e $CREDENTIALS_DIRECTORY/go ]; do sleep 0.01; done\n" RESULT);
    assert_int_equal(chdir(s.dir), 0);
    as_daemon(&s, &daemon, one_is_cancelled);
    assert_int_equal(chdir("/"), 0);
}

static int hanging_job(struct stage *s)
{
    CLEANUP(err_freep) struct err *err = NULL;

    s->agent.settings.agent.job_limit = 1;
    return run(s, &err) < 0 && err_kind(err) == ERR_TIMEOUT && strstr(err_text(err), "was last hm") ? 0 : 2;
}

PRIVILEGED_TEST(child_of_another_user_that_hangs_is_ended)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};

    prepare_as_root(&s, &daemon, &worker, READ_JOB PROGRESS_HM SLEEP);
    as_daemon(&s, &daemon, hanging_job);
}

PRIVILEGED_TEST(child_of_another_user_dies_with_the_daemon)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};

    prepare_as_root(&s, &daemon, &worker, SLEEP);
    dies_with_the_daemon(&s, &daemon);
}

/* Its pid is the only child's of the daemon. */
static int keeper_is_killed(struct stage *s)
{
    CLEANUP(mem_freep) char *command = mem_printf("kill -KILL $(cat /proc/%d/task/%d/children)", getpid(), getpid());
    struct run_request request = {.kind = JOB_RETIRE, .input = &small_job, .label = "token", .done = on_done};
    struct err *err = NULL;
    struct told told = {0};

    (void)begin(s, &small_job, &told);
    testing_write("go", command, strlen(command));
    await(s, &told);
    if (!told.why || !strstr(err_text(told.why), "ended without a result"))
        return 3;
    if (run_start(&s->agent, &request, NULL, &err) == 0 || !strstr(err_text(err), "is gone"))
        return 4;
    return strstr(err_hint_text(err), "restart autoenrolld") ? 0 : 5;
}

PRIVILEGED_TEST(child_of_another_user_is_told_as_ended_when_its_keeper_dies)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(account_clear) struct account daemon = {0}, worker = {0};
    CLEANUP(mem_freep) char *go = NULL;
    CLEANUP(bytes_clear) struct bytes command = {0};
    pid_t killer;

    prepare_as_root(&s, &daemon, &worker, SLEEP);
    go = mem_printf("%s/go", s.dir);
    assert_int_equal(chdir(s.dir), 0);
    killer = fork(); /* the daemon itself has no right to */
    if (killer == 0) {
        while (access(go, F_OK) < 0)
            usleep(1000);
        do
            testing_read(go, &command);
        while (!command.len);
        _exit(system(bytes_text(&command)) ? 1 : 0);
    }
    as_daemon(&s, &daemon, keeper_is_killed);
    assert_int_equal(waitpid(killer, NULL, 0), killer);
    assert_int_equal(chdir("/"), 0);
}
