#include "tests/oneshot_fixture.h"

/*
 * What kill -9 leaves in cases that a kill at each step of one attempt does not meet: sim/kill.c does that.
 */

static const struct strike {
    enum oneshot_moment moment;
    enum oneshot_victim victim;
} strikes[] = {
    {ONESHOT_NOT_SAVED, ONESHOT_WORKER},
    {ONESHOT_SAVED, ONESHOT_WORKER},
    {ONESHOT_NOT_SAVED, ONESHOT_DAEMON},
    {ONESHOT_SAVED, ONESHOT_DAEMON},
};

/* What is at the CA before and after one attempt. */
struct rows {
    int64_t requests, distinct, certificates;
};

static struct rows count_rows(struct oneshot *s)
{
    return (struct rows){.requests = oneshot_count(s, "requests"),
        .distinct = server_fixture_number(s->server, "SELECT count(DISTINCT payload) FROM requests"),
        .certificates = oneshot_count(s, "certificates")};
}

static void assert_one_more(struct oneshot *s, const struct rows *before)
{
    struct rows after = count_rows(s);

    assert_int_equal(after.distinct, before->distinct + 1); /* one request was signed and sent */
    assert_int_equal(after.requests, before->requests + 1);
    assert_int_equal(after.certificates, before->certificates + 1);
}

/* As if the day was another one: a test renews more often than a day allows. */
static void set_requests(struct oneshot *s, uint32_t n)
{
    (void)oneshot_record(s, "web");
    record_find(&s->records, "web")->requests = n;
    agent_fixture_save(s->agent, record_find(&s->records, "web"));
}

/* One attempt, killed again and again, each time one step further on. */
TEST(renewal_that_is_killed_at_every_step_comes_to_its_end)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    struct rows before;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    before = count_rows(&s);
    for (unsigned step = 0; step <= ONESHOT_RESULT; step++)
        oneshot_run_and_kill(&s, step == 0 ? "--renew web" : "", (enum job_checkpoint)step,
            step == ONESHOT_RESULT ? ONESHOT_NOT_SAVED : ONESHOT_SAVED, step % 2 ? ONESHOT_WORKER : ONESHOT_DAEMON);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_one_more(&s, &before);
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 2);
    oneshot_assert_no_orphans(&s, 2);
}

/* The answer to a poll is lost like any other; asking again is all that it costs. */
TEST(poll_survives_kill_9_around_answered)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};

    oneshot_template(&s, "EnrollmentFlags", "0x2");
    oneshot_start(&s);
    for (size_t i = 0; i < ARRAY_SIZE(strikes); i++) {
        CLEANUP(mem_freep) char *id = mem_printf("web%zu", i);

        agent_fixture_section(s.agent, id, "DeviceEC", "");
        oneshot_run(&s, "", 0);
        assert_int_equal(oneshot_record(&s, id)->state, RECORD_PENDING);
        assert_int_equal(
            server_fixture_run(s.server, NULL, "approve", "%s", oneshot_record(&s, id)->attempt.request_id), 0);
        oneshot_run_and_kill(&s, "", CHECKPOINT_ANSWERED, strikes[i].moment, strikes[i].victim);
        oneshot_run(&s, "", 0);
        oneshot_assert_installed(&s, id);
        oneshot_assert_no_orphans(&s, i + 1);
        assert_int_equal(oneshot_count(&s, "requests"), i + 1);
    }
}

/* What a crash before the first checkpoint of another enrollment leaves is not taken for an orphan of this one. */
TEST(key_of_an_interrupted_attempt_is_no_orphan)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(bytes_clear) struct bytes key = {0};

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run_and_kill(&s, "", CHECKPOINT_REQUEST_SIGNED, ONESHOT_SAVED, ONESHOT_DAEMON);
    bytes_copy(&key, &oneshot_record(&s, "web")->attempt.key_id);
    server_fixture_stop(s.server);
    for (int i = 0; i < 2; i++) /* after a crash the token is looked through */
        oneshot_run(&s, "", 69);
    assert_true(bytes_equal(&key, &oneshot_record(&s, "web")->attempt.key_id));
    oneshot_assert_no_orphans(&s, 1);
    server_fixture_start(s.server);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_true(bytes_equal(&key, &oneshot_record(&s, "web")->current.pair.key_id));
}

/* A request that has its answer is none of those that are too many. */
TEST(answer_on_record_is_installed_when_no_request_is_left_for_the_day)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run_and_kill(&s, "", CHECKPOINT_ANSWERED, ONESHOT_SAVED, ONESHOT_WORKER);
    set_requests(&s, 3);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_int_equal(oneshot_count(&s, "requests"), 1);
}
