#include "agent/daemon/expiry.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

#define BEGIN   1000000000
#define YEAR    (365 * WHEN_DAY)
#define EXPIRES (BEGIN + YEAR)

static void read_spans(const char *const *spans, size_t n, struct expiry_thresholds *out)
{
    CLEANUP(strlist_clear) struct strlist notify = {0};

    for (size_t i = 0; i < n; i++)
        strlist_add(&notify, spans[i]);
    expiry_read(&notify, out);
}

static void read_usual(struct expiry_thresholds *out)
{
    static const char *const spans[] = {"3d", "30d", "1d", "14d", "7d"};

    read_spans(spans, ARRAY_SIZE(spans), out);
}

static uint32_t due(const struct expiry_thresholds *thresholds, int64_t left, uint32_t announced, int64_t *next)
{
    const struct expiry_question q = {
        .not_before = BEGIN, .not_after = EXPIRES, .announced = announced, .now = EXPIRES - left};

    return expiry_due(thresholds, &q, next);
}

TEST(expiry_names_the_nearest_threshold_that_was_passed_and_when_the_next_is)
{
    static const struct {
        int64_t left;
        uint32_t announced, due;
        int64_t next_left; /* -1: never */
    } rows[] = {
        {31 * WHEN_DAY, 0, 0, 30 * WHEN_DAY},
        {30 * WHEN_DAY, 0, 30 * WHEN_DAY, 14 * WHEN_DAY},
        {30 * WHEN_DAY, 30 * WHEN_DAY, 0, 14 * WHEN_DAY},
        {14 * WHEN_DAY + 1, 30 * WHEN_DAY, 0, 14 * WHEN_DAY},
        {2 * WHEN_DAY, 30 * WHEN_DAY, 3 * WHEN_DAY, 1 * WHEN_DAY},
        {2 * WHEN_DAY, 0, 3 * WHEN_DAY, 1 * WHEN_DAY},
        {WHEN_HOUR, 1 * WHEN_DAY, 0, 0},
        {0, 1 * WHEN_DAY, EXPIRY_OVER, -1},
        {-40 * WHEN_DAY, 0, EXPIRY_OVER, -1},
        {-40 * WHEN_DAY, EXPIRY_OVER, 0, -1},
    };
    struct expiry_thresholds thresholds;

    read_usual(&thresholds);
    assert_int_equal(thresholds.n, 5);
    assert_int_equal(thresholds.spans[0], 30 * WHEN_DAY);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t next = -1;

        print_message("%ld s left, %u announced\n", (long)rows[i].left, rows[i].announced);
        assert_int_equal(due(&thresholds, rows[i].left, rows[i].announced, &next), rows[i].due);
        assert_int_equal(next, rows[i].next_left < 0 ? 0 : EXPIRES - rows[i].next_left);
    }
}

TEST(expiry_leaves_out_thresholds_longer_than_half_of_the_life)
{
    struct expiry_thresholds thresholds;
    struct expiry_question q = {.not_before = BEGIN, .not_after = BEGIN + 10 * WHEN_DAY, .now = BEGIN};
    int64_t next;

    read_usual(&thresholds);
    assert_int_equal(expiry_due(&thresholds, &q, &next), 0);
    assert_int_equal(next, q.not_after - 3 * WHEN_DAY);
    q.now = q.not_after - 4 * WHEN_DAY;
    assert_int_equal(expiry_due(&thresholds, &q, &next), 0);
    q.not_after = BEGIN + 600; /* a certificate of ten minutes has its expiry alone to announce */
    q.now = BEGIN + 599;
    assert_int_equal(expiry_due(&thresholds, &q, &next), 0);
    assert_int_equal(next, q.not_after);
    q.now = q.not_after;
    assert_int_equal(expiry_due(&thresholds, &q, &next), EXPIRY_OVER);
}

TEST(expiry_is_announced_alone_where_no_threshold_is_configured)
{
    struct expiry_thresholds thresholds;
    int64_t next;

    read_spans(NULL, 0, &thresholds);
    assert_int_equal(due(&thresholds, 1, 0, &next), 0);
    assert_int_equal(next, EXPIRES);
    assert_int_equal(due(&thresholds, 0, 0, &next), EXPIRY_OVER);
}

TEST(expiry_is_prevented_while_its_renewal_is_planned_or_has_just_begun)
{
    const struct expiry_plan usual = {.not_before = BEGIN,
        .not_after = EXPIRES,
        .renew_at = EXPIRES - 20 * WHEN_DAY,
        .started_at = BEGIN,
        .now = EXPIRES - 25 * WHEN_DAY};
    struct expiry_plan plan = usual;
    int64_t until = 0;

    assert_true(expiry_is_prevented(&plan, &until));
    assert_int_equal(until, EXPIRES - 19 * WHEN_DAY);
    plan.now = until - 1;
    assert_true(expiry_is_prevented(&plan, &until));
    plan.now = until; /* it is overdue by a day */
    assert_false(expiry_is_prevented(&plan, &until));
    plan = usual;
    plan.failed = true;
    assert_false(expiry_is_prevented(&plan, &until));
    plan = usual;
    plan.renew_at = 0; /* nobody will renew it */
    assert_false(expiry_is_prevented(&plan, &until));
    plan = usual;
    plan.now = EXPIRES;
    plan.renew_at = EXPIRES - 1;
    assert_false(expiry_is_prevented(&plan, &until));
}

TEST(expiry_that_came_near_while_the_daemon_did_not_run_waits_for_the_first_attempt)
{
    struct expiry_plan plan = {.not_before = BEGIN,
        .not_after = EXPIRES,
        .renew_at = EXPIRES - 20 * WHEN_DAY,
        .started_at = EXPIRES - 2 * WHEN_DAY,
        .now = EXPIRES - 2 * WHEN_DAY + 5};
    int64_t until = 0;

    assert_true(expiry_is_prevented(&plan, &until));
    assert_int_equal(until, plan.started_at + 600);
    plan.now = until;
    assert_false(expiry_is_prevented(&plan, &until));
    plan.now = plan.started_at - 1; /* the clock was set back */
    assert_false(expiry_is_prevented(&plan, &until));
}
