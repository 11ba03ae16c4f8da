#include "tests/oneshot_fixture.h"

/*
 * kill -9 of daemon or worker on both sides of each step, then a start: the same end as without, but for the window
 * between the CA's answer and our note of it, where the same request goes out a second time [design 8.2].
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

static void assert_one_more(struct oneshot *s, const struct rows *before, bool window)
{
    struct rows after = count_rows(s);

    assert_int_equal(after.distinct, before->distinct + 1); /* one request was signed and sent */
    assert_int_equal(after.requests, before->requests + (window ? 2 : 1));
    assert_int_equal(after.certificates, before->certificates + (window ? 2 : 1));
}

static bool loses_an_answer(enum job_checkpoint step, const struct strike *strike)
{
    return step == CHECKPOINT_ANSWERED && strike->moment == ONESHOT_NOT_SAVED;
}

/* Nobody acknowledges a result. */
static bool happens(enum job_checkpoint step, const struct strike *strike)
{
    return step != ONESHOT_RESULT || strike->moment == ONESHOT_NOT_SAVED;
}

static void survives_while_enrolling(enum job_checkpoint step)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    size_t n = 0;

    oneshot_start(&s);
    for (size_t i = 0; i < ARRAY_SIZE(strikes); i++) {
        CLEANUP(mem_freep) char *id = mem_printf("web%zu", i);
        struct rows before = count_rows(&s);

        if (!happens(step, &strikes[i]))
            continue;
        agent_fixture_section(s.agent, id, "DeviceEC", "");
        oneshot_run_and_kill(&s, "", step, strikes[i].moment, strikes[i].victim);
        oneshot_run(&s, "", 0);
        oneshot_assert_installed(&s, id);
        assert_int_equal(oneshot_record(&s, id)->current.generation, 1);
        assert_one_more(&s, &before, loses_an_answer(step, &strikes[i]));
        oneshot_assert_no_orphans(&s, ++n);
    }
}

/* As if the day was another one: a test renews more often than a day allows. */
static void set_requests(struct oneshot *s, uint32_t n)
{
    (void)oneshot_record(s, "web");
    record_find(&s->records, "web")->requests = n;
    agent_fixture_save(s->agent, record_find(&s->records, "web"));
}

static void survives_while_renewing(enum job_checkpoint step)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    uint32_t generation = 1;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    agent_fixture_password(s.agent, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(strikes); i++) {
        struct rows before = count_rows(&s);

        if (!happens(step, &strikes[i]))
            continue;
        set_requests(&s, 0);
        oneshot_run_and_kill(&s, "--renew web", step, strikes[i].moment, strikes[i].victim);
        oneshot_run(&s, "", 0);
        oneshot_assert_installed(&s, "web");
        assert_int_equal(oneshot_record(&s, "web")->current.generation, ++generation);
        assert_int_equal(oneshot_record(&s, "web")->n_previous, generation - 1);
        assert_one_more(&s, &before, loses_an_answer(step, &strikes[i]));
        oneshot_assert_no_orphans(&s, generation);
    }
}

TEST(enrollment_survives_kill_9_around_key_chosen)
{
    survives_while_enrolling(CHECKPOINT_KEY_CHOSEN);
}

TEST(enrollment_survives_kill_9_around_request_signed)
{
    survives_while_enrolling(CHECKPOINT_REQUEST_SIGNED);
}

TEST(enrollment_survives_kill_9_around_answered)
{
    survives_while_enrolling(CHECKPOINT_ANSWERED);
}

TEST(enrollment_survives_kill_9_around_checked)
{
    survives_while_enrolling(CHECKPOINT_CHECKED);
}

TEST(enrollment_survives_kill_9_before_its_result)
{
    survives_while_enrolling(ONESHOT_RESULT);
}

TEST(renewal_survives_kill_9_around_key_chosen)
{
    survives_while_renewing(CHECKPOINT_KEY_CHOSEN);
}

TEST(renewal_survives_kill_9_around_request_signed)
{
    survives_while_renewing(CHECKPOINT_REQUEST_SIGNED);
}

TEST(renewal_survives_kill_9_around_answered)
{
    survives_while_renewing(CHECKPOINT_ANSWERED);
}

TEST(renewal_survives_kill_9_around_checked)
{
    survives_while_renewing(CHECKPOINT_CHECKED);
}

TEST(renewal_survives_kill_9_before_its_result)
{
    survives_while_renewing(ONESHOT_RESULT);
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
    assert_one_more(&s, &before, false);
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
