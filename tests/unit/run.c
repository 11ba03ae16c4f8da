#include "agent/daemon/run.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/file.h"
#include "tests/testing.h"

/*
 * Jobs with checkpoints, and what the daemon does with them. The daemon starts this program in place of the worker:
 * with the worker's name it plays the part that the file "part" in $CREDENTIALS_DIRECTORY names.
 */

#define TAG "\1\2\3\4"

struct play {
    struct channel *daemon;
    struct job_enroll *job;
    struct job_attempt attempt;
};

static void step(struct play *p, enum job_checkpoint checkpoint)
{
    if (channel_checkpoint(p->daemon, checkpoint, &p->attempt, NULL) < 0)
        _exit(3);
}

/* Leaves a file that only it makes, for the test to see how far it came. */
static void leave(const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", getenv("CREDENTIALS_DIRECTORY"), name);

    testing_write(path, "", 0);
}

/* The record on disk says @what, now that the daemon has acknowledged. */
static void is_on_record(const char *what)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/enrollments/web/record.json", getenv("CREDENTIALS_DIRECTORY"));
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (file_read(path, 1 << 20, &text, NULL) != FILE_READ || !strstr(bytes_text(&text), what))
        _exit(4);
}

static void choose_key(struct play *p)
{
    if (p->job->same_key)
        bytes_copy(&p->attempt.key_id, &p->job->old.key_id);
    else
        bytes_set(&p->attempt.key_id, "AEN1" TAG "twelve bytes", JOB_KEY_ID_LEN);
    step(p, CHECKPOINT_KEY_CHOSEN);
}

static void get_answer(struct play *p)
{
    bytes_set(&p->attempt.request, "request", 7);
    step(p, CHECKPOINT_REQUEST_SIGNED);
    is_on_record("\"request\": \"cmVxdWVzdA==\"");
    p->attempt.request_id = mem_strdup("77");
    step(p, CHECKPOINT_ANSWERED);
    is_on_record("\"request_id\": \"77\"");
}

static void check(struct play *p)
{
    bytes_set(&p->attempt.pair.certificate, "new", 3);
    bytes_copy(&p->attempt.pair.key_id, &p->attempt.key_id);
    p->attempt.facts.serial = mem_strdup("02");
    p->attempt.facts.thumbprint = mem_strdup("abcd");
    p->attempt.facts.not_after = 4000000000;
    step(p, CHECKPOINT_CHECKED);
    is_on_record("\"generation\": 2");
}

static void finish(struct play *p)
{
    struct job_enrolled result = {0};

    (void)channel_result(p->daemon, JOB_ENROLL, &result, NULL);
}

static void enroll(struct play *p)
{
    choose_key(p);
    get_answer(p);
    check(p);
    finish(p);
}

static void die_when_installed(struct play *p)
{
    choose_key(p);
    get_answer(p);
    check(p);
    (void)kill(getpid(), SIGKILL);
}

/* The daemon may learn of its death before it has read this. */
static void die_with_a_checkpoint_on_the_way(struct play *p)
{
    choose_key(p);
    if (fork() == 0)
        _exit(kill(getppid(), SIGKILL));
    bytes_set(&p->attempt.request, "request", 7);
    step(p, CHECKPOINT_REQUEST_SIGNED);
    pause();
}

static void tell_a_failure(struct play *p)
{
    CLEANUP(err_freep) struct err *why = NULL;
    struct job_endpoint endpoint = {.uri = (char[]){"https://a"}, .error = (char[]){"no"}};

    choose_key(p);
    err_set(&why, ERR_DENIED, "the CA says no");
    err_hint(&why, "ask its manager");
    (void)channel_failed(p->daemon, why, &endpoint, 1, NULL);
}

static void reach_a_second_step(struct play *p)
{
    choose_key(p);
    leave("went-on");
}

static const struct {
    const char *name;
    void (*play)(struct play *p);
} parts[] = {
    {"enroll", enroll},
    {"die_when_installed", die_when_installed},
    {"die_with_a_checkpoint_on_the_way", die_with_a_checkpoint_on_the_way},
    {"tell_a_failure", tell_a_failure},
    {"reach_a_second_step", reach_a_second_step},
};

__attribute__((constructor)) static void take_the_workers_place(void)
{
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(bytes_clear) struct bytes part = {0};
    struct play p = {0};
    union job_input input = {0};
    enum job_kind kind;

    if (strcmp(program_invocation_name, "autoenroll-worker") != 0)
        return;
    path = mem_printf("%s/part", getenv("CREDENTIALS_DIRECTORY"));
    testing_read(path, &part);
    p.daemon = channel_new(CHANNEL_FD);
    if (channel_read_job(p.daemon, &kind, &input, NULL) < 0)
        _exit(2);
    p.job = &input.enroll;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (strcmp(parts[i].name, bytes_text(&part)) == 0)
            parts[i].play(&p);
    _exit(0);
}

/* --- the daemon, as far as a job needs it --- */

struct stage {
    struct agent agent;
    struct agent_options options;
    struct record *record; /* borrowed */
    bool done;
    struct err *why;
    size_t endpoints; /* that were told with the failure */
    unsigned renewed; /* how often AGENT_RENEWED came */
};

static void on_news(void *self, const struct agent_news *news)
{
    struct stage *s = self;

    s->renewed += news->event == AGENT_RENEWED;
}

/* A record with an old pair, about which things are known. */
static void fill_record(struct record *record)
{
    record->server = mem_strdup("corp");
    record->template_oid = mem_strdup("1.2.3");
    record->template_name = mem_strdup("WebServer");
    record->renewal = true;
    bytes_set(&record->current.pair.certificate, "old", 3);
    bytes_set(&record->current.pair.key_id, "AEN1" TAG "the old key", JOB_KEY_ID_LEN);
    record->current.facts.serial = mem_strdup("01");
    record->current.facts.not_after = 3000000000;
    record->current.generation = 1;
    record->current.key_made_at = 1000;
    record->notified = 7;
    record->verified_at = 2000;
    record->verify_problem = mem_strdup("the file is not there");
    record->names_differ = mem_strdup("other names");
    record->issuer_not_after = record->anchor_not_after = 3000;
}

static void stage_open(struct stage *s, const char *part)
{
    static char dir[4096];
    CLEANUP(mem_freep) char *made = testing_tmpdir(), *path = mem_printf("%s/part", made);
    CLEANUP(err_freep) struct err *err = NULL;
    struct children_place place = {.program = "/proc/self/exe"};
    struct agent *a = &s->agent;

    assert_true(readlink("/proc/self/exe", dir, sizeof(dir) - 1) > 0);
    place.program = dir;
    setenv("CREDENTIALS_DIRECTORY", made, 1);
    testing_write(path, part, strlen(part));
    *s = (struct stage){.options.json = true};
    *a = (struct agent){.options = &s->options, .settings.agent = {.job_limit = 60, .grace = 100}, .lock = -1};
    bytes_set(&a->instance.tag, TAG, 4);
    a->paths.enrollments = mem_printf("%s/enrollments", made);
    a->paths.certs = mem_printf("%s/certs", made);
    a->paths.changed = mem_printf("%s/changed", made);
    assert_int_equal(mkdir(a->paths.enrollments, 0700), 0);
    assert_int_equal(mkdir(a->paths.certs, 0700), 0);
    s->record = record_add(&a->records, "web");
    fill_record(s->record);
    a->base = event_base_new();
    assert_ok(children_open(&place, &a->children, &err) == 0, err);
    assert_ok(children_attach(a->children, a->base, &err) == 0, err);
    agent_listen(a, on_news, s);
}

static void stage_close(struct stage *s)
{
    struct agent *a = &s->agent;

    children_close(a->children);
    event_base_free(a->base);
    libevent_global_shutdown();
    record_list_clear(&a->records);
    bytes_clear(&a->instance.tag);
    free(a->paths.enrollments);
    free(a->paths.certs);
    free(a->paths.changed);
    free(a->listeners);
    err_free(s->why);
}

static void on_done(void *ctx, struct run_outcome *outcome, struct err *why)
{
    struct stage *s = ctx;

    s->done = true;
    s->endpoints = outcome->event.n_endpoints;
    if (why)
        s->why = err_new(err_kind(why), err_text(why), err_hint_text(why), err_code(why));
}

static void run(struct stage *s, bool same_key)
{
    CLEANUP(job_enroll_clear) struct job_enroll job = {.name = mem_strdup("web"), .same_key = same_key};
    struct run_request request = {
        .kind = JOB_ENROLL, .input = &job, .label = "web", .record = s->record, .done = on_done, .ctx = s};
    CLEANUP(err_freep) struct err *err = NULL;

    job.server.uri = mem_strdup("https://pki.example/CEP");
    job.template.name = mem_strdup("WebServer");
    job.template.oid = mem_strdup("1.2.3");
    bytes_set(&job.place.tag, TAG, 4);
    job_pair_copy(&job.old, &s->record->current.pair);
    assert_ok(run_start(&s->agent, &request, NULL, &err) == 0, err);
    while (!s->done)
        assert_true(event_base_loop(s->agent.base, EVLOOP_ONCE) >= 0);
}

/* The new pair is current, and all that follows from it. */
static void is_installed(const struct stage *s)
{
    const struct record *record = s->record;
    CLEANUP(mem_freep) char *current = mem_printf("%s/web/current", s->agent.paths.certs);
    CLEANUP(bytes_clear) struct bytes changed = {0};
    char target[16] = {0};

    assert_memory_equal(record->current.pair.certificate.data, "new", 3);
    assert_int_equal(record->current.generation, 2);
    assert_int_equal(record->n_previous, 1);
    assert_memory_equal(record->previous[0].pair.certificate.data, "old", 3);
    assert_int_equal(record->previous[0].retire_after, record->current.installed_at + 100);
    assert_int_equal(readlink(current, target, sizeof(target) - 1), 1);
    assert_string_equal(target, "2");
    testing_read(s->agent.paths.changed, &changed);
    assert_string_equal(bytes_text(&changed), "web 2 abcd\n");
    assert_int_equal(s->renewed, 1);
}

TEST(run_makes_each_step_durable_and_installs_what_was_checked)
{
    CLEANUP(stage_close) struct stage s;
    const struct record *record;

    stage_open(&s, "enroll");
    record = s.record;
    run(&s, false);
    assert_ok(!s.why, s.why); /* the worker has looked at the record after each acknowledgement */
    is_installed(&s);
    assert_int_equal(record->requests, 1);
    assert_int_equal(record->current.key_made_at, record->current.installed_at);
    assert_int_equal(record->previous[0].key_made_at, 1000);
}

TEST(run_forgets_what_was_known_of_the_old_pair)
{
    CLEANUP(stage_close) struct stage s;
    const struct record *record;

    stage_open(&s, "enroll");
    record = s.record;
    run(&s, false);
    assert_ok(!s.why, s.why);
    assert_int_equal(record->notified, 0);
    assert_int_equal(record->verified_at, 0);
    assert_null(record->verify_problem);
    assert_null(record->names_differ);
    assert_int_equal(record->issuer_not_after, 0);
    assert_int_equal(record->anchor_not_after, 0);
}

TEST(run_remembers_when_a_key_was_made_that_is_used_again)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, "enroll");
    run(&s, true);
    assert_ok(!s.why, s.why);
    is_installed(&s);
    assert_int_equal(s.record->current.key_made_at, 1000);
}

TEST(run_installs_once)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(err_freep) struct err *err = NULL;

    stage_open(&s, "enroll");
    run(&s, false);
    assert_ok(!s.why, s.why);
    assert_int_equal(unlink(s.agent.paths.changed), 0);
    assert_ok(run_install(&s.agent, s.record, &err) == 0, err);
    assert_int_equal(s.record->current.generation, 2);
    assert_int_equal(s.renewed, 1);
    assert_int_equal(access(s.agent.paths.changed, F_OK), -1);
}

TEST(run_keeps_what_a_worker_had_reached_before_it_died)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, "die_when_installed");
    run(&s, false);
    assert_int_equal(err_kind(s.why), ERR_INTERNAL);
    assert_contains(err_text(s.why), "signal 9 (Killed)");
    is_installed(&s);
}

TEST(run_names_the_signal_when_a_worker_dies_over_its_checkpoint)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, "die_with_a_checkpoint_on_the_way");
    run(&s, false);
    assert_int_equal(err_kind(s.why), ERR_INTERNAL);
    assert_contains(err_text(s.why), "signal 9 (Killed)");
    assert_int_equal(s.record->attempt.key_id.len, JOB_KEY_ID_LEN);
}

TEST(run_tells_the_failure_with_what_was_tried)
{
    CLEANUP(stage_close) struct stage s;

    stage_open(&s, "tell_a_failure");
    run(&s, false);
    assert_int_equal(err_kind(s.why), ERR_DENIED);
    assert_string_equal(err_text(s.why), "the CA says no");
    assert_string_equal(err_hint_text(s.why), "ask its manager");
    assert_int_equal(s.endpoints, 1);
}

/* A worker that went on would use a key that nobody knows. */
TEST(run_ends_the_worker_when_its_checkpoint_cannot_be_stored)
{
    CLEANUP(stage_close) struct stage s;
    CLEANUP(mem_freep) char *went_on = NULL;

    stage_open(&s, "reach_a_second_step");
    assert_int_equal(rmdir(s.agent.paths.enrollments), 0);
    run(&s, false);
    assert_int_equal(err_kind(s.why), ERR_STORE);
    assert_contains(err_text(s.why), "at 'key chosen'");
    went_on = mem_printf("%s/went-on", getenv("CREDENTIALS_DIRECTORY"));
    assert_int_equal(access(went_on, F_OK), -1);
}
