#include "agent/daemon/deployed.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/file.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

#define THUMBPRINT "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER      "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

#define DEPLOY_LARGE 100000 /* bytes: more than a result may have */

/* An agent that holds one certificate, of a section that exports it; nobody deploys but the test. */
struct deployed_test {
    char *dir, *config, *state;
    struct agent_options options;
    struct agent agent;
    struct record *record;
};

static void test_clear(struct deployed_test *t)
{
    deployed_close(&t->agent);
    agent_close(&t->agent);
    free(t->dir);
    free(t->config);
    free(t->state);
}

static void start(struct deployed_test *t)
{
    static const char text[] = "[policy-server \"corp\"]\nuri = https://pki.example/CEP\nauth = certificate\n"
                               "ca-file = /dev/null\n[certificate \"web\"]\npolicy-server = corp\n"
                               "template = WebServer\nexport = /nowhere\n";
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *home = NULL;

    t->dir = testing_tmpdir();
    t->config = mem_printf("%s/autoenroll.conf", t->dir);
    t->state = mem_printf("%s/state", t->dir);
    testing_write(t->config, text, strlen(text));
    t->options = (struct agent_options){.config = t->config, .state_dir = t->state, .worker = "/bin/false"};
    if (geteuid() == 0)
        t->options.run_as = t->options.worker_as = "root";
    assert_ok(agent_open(&t->agent, &t->options, &err) == 0, err);
    assert_int_equal(mkdir(t->agent.paths.deploy, 0755), 0);
    home = mem_printf("%s/web", t->agent.paths.certs);
    assert_int_equal(mkdir(home, 0755), 0);
    t->record = record_add(&t->agent.records, "web");
    t->record->certificate = mem_strdup("web");
    t->record->server = mem_strdup("corp");
    t->record->current.generation = 3;
    t->record->current.facts.thumbprint = mem_strdup(THUMBPRINT);
    t->record->current.facts.not_before = when_now() - WHEN_DAY;
    t->record->current.facts.not_after = when_now() + 365 * (int64_t)WHEN_DAY;
    t->record->current.installed_at = when_now();
    bytes_set(&t->record->current.pair.certificate, "certificate", 11);
    agent_log_use(AGENT_LOG_QUIET);
}

static void open_it(struct deployed_test *t)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(deployed_open(&t->agent, &err) == 0, err);
}

static void leave(struct deployed_test *t, const char *name, const char *text)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", t->agent.paths.deploy, name);

    assert_int_equal(file_replace(path, text, strlen(text), 0644, NULL), 0);
}

static char *result_text(const char *thumbprint, int64_t when, bool ok, unsigned tries)
{
    return mem_printf("{\"version\":1,\"name\":\"web\",\"thumbprint\":\"%s\",\"when\":%lld,\"ok\":%s,\"tries\":%u,"
                      "\"steps\":[\"one\",\"two\"]%s}",
        thumbprint, (long long)when, ok ? "true" : "false", tries,
        ok ? "" : ",\"error\":\"no\",\"output\":[\"a\",\"b\"]");
}

/* Was "changed" replaced since the last time that this was asked? */
static bool was_woken(const struct deployed_test *t)
{
    return unlink(t->agent.paths.changed) == 0;
}

static int installed(const struct deployed_test *t)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/web/installed", t->agent.paths.certs);
    char text[16] = {0};

    return readlink(path, text, sizeof(text) - 1) > 0 ? atoi(text) : 0;
}

/* Lets the loop turn until @condition; the test's own limit ends it. */
#define TURN_UNTIL(t, condition)                                                                                       \
    while (!(condition)) {                                                                                             \
        assert_int_equal(event_base_loop((t)->agent.base, EVLOOP_ONCE | EVLOOP_NONBLOCK), 0);                          \
        (void)usleep(10000);                                                                                           \
    }

TEST(deployed_wakes_deploy_when_a_pair_has_come_to_its_place)
{
    CLEANUP(test_clear) struct deployed_test t = {0};

    start(&t);
    bytes_set(&t.record->attempt.key_id, "k", 1); /* its worker has not moved the label yet */
    open_it(&t);
    assert_int_equal(installed(&t), 0);
    assert_false(was_woken(&t));
    agent_tell_record(&t.agent, AGENT_RENEWED, t.record);
    assert_int_equal(installed(&t), 0);
    record_drop_attempt(t.record);
    agent_tell_record(&t.agent, AGENT_RECORD_CHANGED, t.record);
    assert_int_equal(installed(&t), 3);
    assert_true(was_woken(&t));
    agent_tell_record(&t.agent, AGENT_RECORD_CHANGED, t.record);
    assert_false(was_woken(&t)); /* once */
}

TEST(deployed_leaves_sections_alone_that_want_nothing)
{
    CLEANUP(test_clear) struct deployed_test t = {0};

    start(&t);
    free(TAKE(t.agent.settings.certificates[0].export));
    open_it(&t);
    assert_int_equal(installed(&t), 0);
    assert_false(was_woken(&t));
}

TEST(deployed_makes_up_for_a_change_that_nobody_has_answered)
{
    CLEANUP(test_clear) struct deployed_test t = {0};
    CLEANUP(mem_freep) char *old = result_text(OTHER, 1000, true, 1), *new = result_text(THUMBPRINT, 2000, true, 1);

    start(&t);
    leave(&t, "web.json", old);
    open_it(&t);
    assert_true(was_woken(&t));
    deployed_close(&t.agent);
    open_it(&t); /* the link is there by now, and still there is no result */
    assert_true(was_woken(&t));
    deployed_close(&t.agent);
    leave(&t, "web.json", new);
    open_it(&t);
    assert_false(was_woken(&t));
}

TEST(deployed_takes_over_what_deploy_came_to)
{
    CLEANUP(test_clear) struct deployed_test t = {0};
    CLEANUP(mem_freep)
    char *bad = result_text(THUMBPRINT, 1000, false, 2),
         *good = result_text(THUMBPRINT, 2000, true, 3);
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(bytes_clear) struct bytes saved = {0};

    start(&t);
    open_it(&t);
    leave(&t, "web.json", bad);
    TURN_UNTIL(&t, t.record->hook.when == 1000);
    assert_false(t.record->hook.ok);
    assert_int_equal(t.record->hook.tries, 2);
    assert_string_equal(t.record->hook.thumbprint, THUMBPRINT);
    assert_string_equal(t.record->hook.text, "one; two; then no. It printed: a | b");
    leave(&t, "web.json", good);
    TURN_UNTIL(&t, t.record->hook.when == 2000);
    assert_true(t.record->hook.ok);
    assert_string_equal(t.record->hook.text, "one; two");
    path = mem_printf("%s/web/record.json", t.agent.paths.enrollments);
    testing_read(path, &saved); /* on disk as well */
    assert_contains(bytes_text(&saved), "one; two");
}

TEST(deployed_has_what_failed_tried_again)
{
    CLEANUP(test_clear) struct deployed_test t = {0};
    CLEANUP(mem_freep) char *bad = result_text(THUMBPRINT, when_now() - WHEN_DAY, false, 2);

    start(&t);
    leave(&t, "web.json", bad);
    open_it(&t);
    (void)was_woken(&t); /* for the link */
    deployed_close(&t.agent);
    open_it(&t); /* a day has passed, and nobody has asked since the start */
    assert_false(was_woken(&t));
    TURN_UNTIL(&t, was_woken(&t));
}

TEST(deployed_believes_no_result_that_is_not_one)
{
    static const char *const texts[] = {"", "{", "[]", "{\"version\":1}", "{\"version\":2,\"name\":\"web\",\"when\":5}",
        "{\"version\":1,\"name\":\"other\",\"when\":5}", "{\"version\":1,\"name\":\"web\",\"when\":\"5\"}",
        "{\"version\":1,\"name\":\"web\",\"when\":5,\"more\":1}",
        "{\"version\":1,\"name\":\"web\",\"when\":5,\"steps\":5}",
        "{\"version\":1,\"name\":\"web\",\"when\":5,\"when\":6}"};
    CLEANUP(test_clear) struct deployed_test t = {0};
    CLEANUP(mem_freep) char *large = mem_alloc(DEPLOY_LARGE);
    CLEANUP(mem_freep) char *good = result_text(THUMBPRINT, 2000, true, 3), *path = NULL;

    start(&t);
    open_it(&t);
    path = mem_printf("%s/web.json", t.agent.paths.deploy);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        leave(&t, "web.json", texts[i]);
        deployed_check(&t.agent);
        assert_null(t.record->hook.thumbprint);
    }
    memset(large, ' ', DEPLOY_LARGE - 1);
    leave(&t, "web.json", large);
    deployed_check(&t.agent);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0644), 0);
    deployed_check(&t.agent); /* and it does not wait for anybody */
    assert_null(t.record->hook.thumbprint);
    leave(&t, "web.json", good);
    deployed_check(&t.agent);
    assert_int_equal(t.record->hook.when, 2000);
}

TEST(deployed_starts_the_program_where_nothing_else_does)
{
    CLEANUP(test_clear) struct deployed_test t = {0};
    CLEANUP(mem_freep) char *program = NULL, *script = NULL, *expected = NULL, *said = NULL;
    CLEANUP(bytes_clear) struct bytes text = {0};

    start(&t);
    program = mem_printf("%s/program", t.dir);
    said = mem_printf("%s/said", t.dir);
    script = mem_printf("#!/bin/sh\necho \"$@\" >'%s.new' && mv '%s.new' '%s'\n", said, said, said);
    testing_write(program, script, strlen(script));
    assert_int_equal(chmod(program, 0755), 0);
    t.options.deploy = program;
    open_it(&t);
    TURN_UNTIL(&t, access(said, F_OK) == 0);
    expected = mem_printf("--config %s --state-dir %s --results %s\n", t.config, t.state, t.agent.paths.deploy);
    testing_read(said, &text);
    assert_string_equal(bytes_text(&text), expected);
}
