#include "policy/schedule.h"

#include <inttypes.h>
#include <time.h>

#include "protocol/base/when.h"
#include "tests/testing.h"

/* How long before the expiry of a certificate of @life seconds its renewal may start. */
static int64_t window(int64_t life, uint64_t renewal_period)
{
    int64_t now = 1893456000; /* 2030-01-01 */

    return now + life - schedule_renewal_start(now, now + life, renewal_period);
}

/* [MS-XCEP notes] 6.5, the table of examples. */
TEST(schedule_renews_inside_the_renewal_period)
{
    assert_int_equal(window(365 * WHEN_DAY, 3628800), 42 * WHEN_DAY);     /* 1 year, 6 weeks: 20 % would be 73 days */
    assert_int_equal(window(14 * WHEN_DAY, 2 * WHEN_DAY), 2 * WHEN_DAY);  /* 20 % would be 2.8 days */
    assert_int_equal(window(2 * WHEN_DAY, 8 * WHEN_HOUR), 8 * WHEN_HOUR); /* 20 % would be 9.6 hours */
}

TEST(schedule_never_renews_before_four_fifths_of_the_life_are_over)
{
    assert_int_equal(window(30 * WHEN_DAY, 3628800), 6 * WHEN_DAY); /* the period is longer than the certificate */
    assert_int_equal(window(30 * WHEN_DAY, UINT64_MAX), 6 * WHEN_DAY);
}

TEST(schedule_waits_for_the_expiry_where_the_template_gives_no_period)
{
    assert_int_equal(window(30 * WHEN_DAY, 0), 0);
}

TEST(schedule_takes_a_certificate_that_ends_before_it_begins_as_expired)
{
    assert_int_equal(schedule_renewal_start(2000, 1000, 500), 1000);
}

/* Test servers issue for minutes: the window is a fifth of them, and never outside the certificate's life. */
TEST(schedule_has_a_window_for_certificates_of_minutes_and_seconds)
{
    assert_int_equal(window(10 * WHEN_MINUTE, 3628800), 2 * WHEN_MINUTE);
    assert_int_equal(window(60, 3628800), 12);
    assert_int_equal(window(4, 3628800), 0); /* less than a second: at its end */
    assert_int_equal(window(0, 3628800), 0);
}

TEST(schedule_stays_inside_the_life_of_any_certificate)
{
    static const int64_t dates[] = {
        -62135596800 /* year 1 */, -1, 0, 1, 1893456000, 253402300799 /* year 9999 */, INT64_MAX / 2, INT64_MIN / 2};
    static const uint64_t periods[] = {0, 1, 3628800, INT64_MAX, UINT64_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(dates); j++) {
            for (size_t k = 0; k < ARRAY_SIZE(periods); k++) {
                int64_t start = schedule_renewal_start(dates[i], dates[j], periods[k]);

                assert_true(start <= dates[j]);
                assert_true(dates[i] > dates[j] ? start == dates[j] : start >= dates[i]);
            }
        }
    }
}

/* --- the moment --- */

#define YEAR ((int64_t)365 * WHEN_DAY)
#define NOW  ((int64_t)1893456000) /* 2030-01-01 00:00 UTC, a Tuesday */

static struct schedule_question question(int64_t life, int64_t period, uint64_t seed)
{
    return (struct schedule_question){
        .not_before = NOW, .not_after = NOW + life, .renewal_period = (uint64_t)period, .seed = seed};
}

TEST(schedule_plans_inside_the_window_and_leaves_its_last_part_free)
{
    static const struct {
        int64_t life, period, reserve;
    } rows[] = {
        {YEAR, 42 * WHEN_DAY, 2 * WHEN_DAY},
        {20 * YEAR, YEAR, YEAR / 32},
        {YEAR, 20 * WHEN_DAY, 2 * WHEN_DAY},
        {10 * WHEN_DAY, 42 * WHEN_DAY, 12 * WHEN_HOUR},
        {10 * WHEN_MINUTE, YEAR, 30},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (uint64_t seed = 0; seed < 10000; seed++) {
            struct schedule_question q = question(rows[i].life, rows[i].period, seed);
            int64_t moment = schedule_renewal_moment(&q);

            assert_true(moment >= schedule_renewal_start(q.not_before, q.not_after, q.renewal_period));
            assert_true(moment < q.not_after - rows[i].reserve);
            assert_int_equal(moment, schedule_renewal_moment(&q));
        }
    }
}

TEST(schedule_spreads_machines_evenly_over_the_window)
{
    unsigned tenths[10] = {0};

    for (uint64_t machine = 0; machine < 100000; machine++) {
        struct schedule_question q = question(YEAR, 42 * WHEN_DAY, schedule_seed(machine, "AEN1key", 7));
        int64_t window = 42 * WHEN_DAY, span = window - 2 * WHEN_DAY;

        tenths[(schedule_renewal_moment(&q) - (q.not_after - window)) * 10 / span]++;
    }
    for (size_t i = 0; i < ARRAY_SIZE(tenths); i++)
        assert_in_range(tenths[i], 9500, 10500);
}

TEST(schedule_gives_each_key_of_a_machine_its_own_seed)
{
    assert_true(schedule_seed(1, "a", 1) != schedule_seed(1, "b", 1));
    assert_true(schedule_seed(1, "a", 1) != schedule_seed(2, "a", 1));
    assert_true(schedule_seed(1, "ab", 2) != schedule_seed(1, "ba", 2));
    assert_true(schedule_seed(1, NULL, 0) == schedule_seed(1, "", 0));
}

TEST(schedule_takes_any_dates_from_a_server)
{
    static const int64_t dates[] = {
        INT64_MIN, INT64_MIN / 2, -62135596800, -1, 0, 1, NOW, 253402300799, INT64_MAX / 2, INT64_MAX - 1, INT64_MAX};
    static const uint64_t periods[] = {0, 1, 3628800, INT64_MAX, UINT64_MAX};
    struct schedule_hours hours;

    assert_int_equal(schedule_hours_parse("Sun 02:00-03:00", &hours, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(dates) * ARRAY_SIZE(dates) * ARRAY_SIZE(periods) * 2; i++) {
        int64_t from = dates[i % 11], to = dates[i / 11 % 11];
        struct schedule_question q = {from, to, periods[i / 121 % 5], i, i / 605 ? hours : (struct schedule_hours){0}};
        int64_t moment = schedule_renewal_moment(&q);

        assert_true(moment <= to && moment >= schedule_renewal_start(from, to, q.renewal_period));
        for (size_t j = 0; j < ARRAY_SIZE(dates); j++) {
            struct schedule_failure f = {
                .retry = j % 2, .failures = UINT32_MAX, .not_before = from, .not_after = to, .now = dates[j]};

            assert_true(schedule_in_hours(&q, moment, dates[j]) >= dates[j]);
            assert_true(schedule_retry(&f) >= f.now);
            assert_true(schedule_poll(from, dates[j], UINT32_MAX) >= dates[j]);
            assert_true(schedule_refresh(dates[j], from, UINT32_MAX) >= dates[j]);
            assert_true(schedule_spread(dates[j], from, i) >= dates[j]);
        }
    }
}

/* --- maintenance hours --- */

static struct schedule_hours hours_of(const char *text)
{
    struct schedule_hours hours;
    struct err *err = NULL;

    assert_ok(schedule_hours_parse(text, &hours, &err) == 0, err);
    return hours;
}

/* "2030-01-05 01:00" in the zone of the test. */
static int64_t local(const char *text)
{
    struct tm tm = {.tm_isdst = -1};

    assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
    return mktime(&tm);
}

static void zone(const char *name)
{
    setenv("TZ", name, 1);
    tzset();
}

TEST(schedule_reads_maintenance_hours)
{
    static const struct {
        const char *text;
        unsigned days, from, to;
    } rows[] = {
        {"Sat,Sun 01:00-05:00", 0x41, 60, 300},
        {"01:00-05:00", 0, 60, 300},
        {"Mon-Fri 22:00-04:00", 0x3e, 1320, 240},
        {" fri-mon,WED\t9:30 - 24:00 ", 0x6b, 570, 1440},
        {"Tue 00:00-00:00", 0x04, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct schedule_hours h = hours_of(rows[i].text);

        assert_true(h.set);
        assert_int_equal(h.days, rows[i].days);
        assert_int_equal(h.from, rows[i].from);
        assert_int_equal(h.to, rows[i].to);
    }
    assert_false(hours_of(NULL).set);
    assert_false(hours_of("  ").set);
}

TEST(schedule_says_how_maintenance_hours_are_written)
{
    static const char *const wrong[] = {"Sat", "Sat,", "Sat 01:00", "Sat 01:00-", "Sat 1-5", "Sat 01:00-25:00",
        "Sat 01:60-02:00", "Sat 01:00-05:00x", "Sat 01:00-05:00, Sun", "Caturday 01:00-05:00", "Sat-01:00-05:00",
        "24:01-05:00", "001:00-05:00", "-1:00-05:00", "01:00+05:00", "Sat;Sun 01:00-05:00", "01:00-05:0"};

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        struct schedule_hours h = {.from = 7};

        if (schedule_hours_parse(wrong[i], &h, &err) == 0)
            fail_msg("'%s' was taken", wrong[i]);
        assert_int_equal(err_kind(err), ERR_CONFIG);
        assert_contains(err_text(err), wrong[i]);
        assert_contains(err_hint_text(err), "Sat,Sun 01:00-05:00");
        assert_int_equal(h.from, 7); /* untouched */
    }
}

TEST(schedule_finds_the_next_maintenance_hours)
{
    static const struct {
        const char *hours, *at, *next;
    } rows[] = {
        {"Sat,Sun 01:00-05:00", "2030-01-01 12:00", "2030-01-05 01:00"},
        {"Sat,Sun 01:00-05:00", "2030-01-05 01:00", "2030-01-05 01:00"},
        {"Sat,Sun 01:00-05:00", "2030-01-05 04:59", "2030-01-05 04:59"},
        {"Sat,Sun 01:00-05:00", "2030-01-05 05:00", "2030-01-06 01:00"},
        {"Sat,Sun 01:00-05:00", "2030-01-06 05:00", "2030-01-12 01:00"},
        {"01:00-05:00", "2030-01-01 00:00", "2030-01-01 01:00"},
        {"Mon-Fri 22:00-04:00", "2030-01-05 03:00", "2030-01-05 03:00"}, /* of Friday */
        {"Mon-Fri 22:00-04:00", "2030-01-07 03:00", "2030-01-07 22:00"}, /* Sunday has none */
        {"00:00-00:00", "2030-01-07 03:00", "2030-01-07 03:00"},
        {"Sun 00:00-24:00", "2030-01-07 03:00", "2030-01-13 00:00"},
        /* In the night to 31 March two o'clock becomes three, in that to 27 October three becomes two. */
        {"Sun 02:00-03:00", "2030-03-30 12:00", "2030-04-07 02:00"},
        {"Sun 01:00-05:00", "2030-03-31 03:00", "2030-03-31 03:00"},
        {"Sun 01:00-05:00", "2030-03-30 12:00", "2030-03-31 01:00"},
        {"Sun 04:00-05:00", "2030-10-26 12:00", "2030-10-27 04:00"},
    };

    zone("Europe/Berlin");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct schedule_hours h = hours_of(rows[i].hours);
        int64_t next = schedule_hours_next(&h, local(rows[i].at));

        if (next != local(rows[i].next))
            fail_msg("%s at %s: %" PRId64 " s from what it should be", rows[i].hours, rows[i].at,
                next - local(rows[i].next));
    }
}

static bool is_open(const struct schedule_hours *hours, int64_t at)
{
    return schedule_hours_next(hours, at) == at;
}

TEST(schedule_spreads_machines_evenly_over_the_maintenance_hours)
{
    unsigned quarters[4] = {0}, weekends[6] = {0};

    zone("Europe/Berlin");
    for (uint64_t machine = 0; machine < 4000; machine++) {
        struct schedule_question q = question(YEAR, 42 * WHEN_DAY, schedule_seed(machine, "k", 1));
        int64_t moment;
        struct tm tm;

        q.hours = hours_of("Sun 01:00-05:00");
        moment = schedule_renewal_moment(&q);
        assert_true(is_open(&q.hours, moment));
        assert_int_equal(schedule_in_hours(&q, moment, moment), moment);
        localtime_r(&moment, &tm);
        assert_int_equal(tm.tm_wday, 0);
        quarters[tm.tm_hour - 1]++;
        weekends[(moment - (q.not_after - 42 * WHEN_DAY)) / (7 * WHEN_DAY)]++;
    }
    for (size_t i = 0; i < ARRAY_SIZE(quarters); i++)
        assert_in_range(quarters[i], 900, 1100);
    for (size_t i = 0; i < ARRAY_SIZE(weekends); i++)
        assert_in_range(weekends[i], 600, 900);
}

TEST(schedule_does_without_maintenance_hours_where_none_come_in_time)
{
    unsigned outside = 0;

    zone("UTC");
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct schedule_question q = question(10 * WHEN_DAY, YEAR, seed); /* from 2030-01-09, a Wednesday, to Friday */

        q.hours = hours_of("Sun 01:00-05:00");
        assert_true(schedule_renewal_moment(&q) < q.not_after - 12 * WHEN_HOUR);
        outside += !is_open(&q.hours, schedule_renewal_moment(&q));
        q.hours = hours_of("Thu 01:00-05:00"); /* there is one, and it is taken */
        assert_true(is_open(&q.hours, schedule_renewal_moment(&q)));
    }
    assert_int_equal(outside, 1000);
}

TEST(schedule_moves_what_was_missed_into_the_next_hours_and_spreads_it)
{
    int64_t first = INT64_MAX, last = 0;

    zone("UTC");
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct schedule_question q = question(YEAR, 42 * WHEN_DAY, seed);
        int64_t at = q.not_after - 30 * WHEN_DAY, own;

        q.hours = hours_of("Sun 01:00-05:00");
        own = schedule_in_hours(&q, at, at);
        assert_true(is_open(&q.hours, own) && own - at < 8 * WHEN_DAY);
        assert_int_equal(schedule_in_hours(&q, at, own), own);         /* its turn has come */
        assert_int_equal(schedule_in_hours(&q, at, own + 1), own + 1); /* or a moment later */
        assert_true(schedule_in_hours(&q, at, own + 5 * WHEN_HOUR) > own + 6 * WHEN_DAY);
        first = own < first ? own : first;
        last = own > last ? own : last;
    }
    assert_true(last - first > 3 * WHEN_HOUR);
}

/* --- after a failure --- */

static struct schedule_failure failure(uint32_t failures, int64_t left, uint32_t chance)
{
    return (struct schedule_failure){.retry = true,
        .failures = failures,
        .not_before = left ? NOW + left - YEAR : 0,
        .not_after = left ? NOW + left : 0,
        .now = NOW,
        .chance = chance};
}

/* The shortest and the longest wait over many chances. */
static void waits(struct schedule_failure f, int64_t *shortest, int64_t *longest)
{
    *shortest = INT64_MAX;
    *longest = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        int64_t wait;

        f.chance = i * 2654435761u;
        wait = schedule_retry(&f) - f.now;
        *shortest = wait < *shortest ? wait : *shortest;
        *longest = wait > *longest ? wait : *longest;
    }
}

/* @longest: the ceiling, which chance comes close to. */
static void assert_waits(struct schedule_failure f, int64_t shortest, int64_t longest)
{
    int64_t least, most;

    waits(f, &least, &most);
    assert_in_range(least, (uint64_t)shortest, (uint64_t)(shortest + longest / 100 + 1));
    assert_in_range(most, (uint64_t)(longest - longest / 100 - 1), (uint64_t)longest);
}

TEST(schedule_doubles_the_wait_for_a_first_certificate_up_to_eight_hours)
{
    int64_t ceiling = 5 * WHEN_MINUTE;

    for (uint32_t failures = 1; failures < 20; failures++) {
        assert_waits(failure(failures, 0, 0), 30, ceiling);
        ceiling = ceiling * 2 > 8 * WHEN_HOUR ? 8 * WHEN_HOUR : ceiling * 2;
    }
    assert_waits(failure(0, 0, 0), 30, 5 * WHEN_MINUTE);
    assert_waits(failure(UINT32_MAX, 0, 0), 30, 8 * WHEN_HOUR);
}

TEST(schedule_lets_a_fleet_come_back_over_a_day_while_there_is_time)
{
    assert_waits(failure(1, 20 * WHEN_DAY, 0), 30, 5 * WHEN_MINUTE);
    assert_waits(failure(2, 20 * WHEN_DAY, 0), 30, 20 * WHEN_MINUTE);
    assert_waits(failure(3, 20 * WHEN_DAY, 0), 30, WHEN_DAY);
    assert_waits(failure(99, 20 * WHEN_DAY, 0), 30, WHEN_DAY);
}

TEST(schedule_does_not_wait_long_for_what_is_wrong_on_this_machine_alone)
{
    struct schedule_failure f = failure(2, 20 * WHEN_DAY, 0);

    f.local = true;
    assert_waits(f, 30, 10 * WHEN_MINUTE);
}

TEST(schedule_tries_more_often_the_less_life_is_left)
{
    assert_waits(failure(9, WHEN_DAY, 0), 30, 6 * WHEN_HOUR);
    assert_waits(failure(9, 10 * WHEN_MINUTE, 0), 30, 150);
    assert_waits(failure(9, 40, 0), 5, 10);
    assert_waits(failure(9, 3, 0), 1, 1); /* never at once */
    for (int64_t left = 100; left > 4;) { /* a certificate of minutes is tried many times before it ends */
        struct schedule_failure f = failure(3, left, UINT32_MAX);
        int64_t wait = schedule_retry(&f) - NOW;

        assert_true(wait <= left / 4);
        left -= wait;
    }
}

TEST(schedule_tries_a_short_lived_certificate_that_has_expired_as_often_as_its_life_says)
{
    struct schedule_failure f = failure(99, 0, 0);

    f.not_before = NOW - 2 * WHEN_DAY;
    f.not_after = NOW - WHEN_DAY;
    assert_waits(f, 30, 6 * WHEN_HOUR);
    f.not_before = f.not_after - 10 * WHEN_MINUTE;
    assert_waits(f, 30, 5 * WHEN_MINUTE);
}

TEST(schedule_tries_what_a_person_must_mend_once_a_day)
{
    struct schedule_failure f = failure(1, 0, 0);

    f.retry = false;
    for (f.failures = 1; f.failures < 1000; f.failures = f.failures * 3 + 1)
        assert_waits(f, 20 * WHEN_HOUR, 28 * WHEN_HOUR);
    f.not_after = NOW + 20 * WHEN_DAY;
    f.not_before = f.not_after - YEAR;
    assert_waits(f, 20 * WHEN_HOUR, 28 * WHEN_HOUR);
    f.not_after = NOW + 12 * WHEN_HOUR; /* the end is near */
    assert_waits(f, 5 * WHEN_HOUR, 7 * WHEN_HOUR);
    f.not_after = NOW + 60; /* but it is no hail */
    assert_waits(f, 50 * WHEN_MINUTE, 70 * WHEN_MINUTE);
}

TEST(schedule_obeys_a_server_that_asks_for_time)
{
    struct schedule_failure f = failure(1, 20 * WHEN_DAY, 0);

    f.retry_after = 3600;
    assert_waits(f, 3600, 4500);
    f.retry_after = UINT32_MAX; /* up to a day */
    assert_waits(f, WHEN_DAY, 30 * WHEN_HOUR);
    f.not_after = NOW + 4 * WHEN_HOUR; /* and to half of what is left */
    assert_waits(f, 2 * WHEN_HOUR, 150 * WHEN_MINUTE);
    f.retry = false;
    f.retry_after = 120; /* it shortens nothing */
    f.not_after = 0;
    assert_waits(f, 20 * WHEN_HOUR, 28 * WHEN_HOUR);
}

TEST(schedule_asks_after_a_pending_request_more_and_more_seldom)
{
    assert_int_equal(schedule_poll(NOW, NOW, 5), NOW + 60);
    assert_int_equal(schedule_poll(NOW + 100, NOW, 5), NOW + 60); /* the clock was set back */
    for (uint32_t chance = 0; chance < 10000; chance++) {
        assert_in_range(schedule_poll(NOW - WHEN_HOUR, NOW, chance), NOW + 900, NOW + 1800);
        assert_in_range(
            schedule_poll(NOW - 60 * WHEN_DAY, NOW, chance * 77777), NOW + 4 * WHEN_HOUR, NOW + 8 * WHEN_HOUR);
    }
}

TEST(schedule_asks_a_policy_server_in_the_last_quarter_of_its_time)
{
    for (uint32_t chance = 0; chance < 100000; chance++)
        assert_in_range(schedule_refresh(NOW, 8 * WHEN_HOUR, chance), NOW + 6 * WHEN_HOUR, NOW + 8 * WHEN_HOUR);
    assert_int_equal(schedule_refresh(NOW, 0, 7), NOW);
}

TEST(schedule_allows_three_requests_a_day_or_three_a_life) /* design 8.12 */
{
    assert_int_equal(schedule_requests_allowed(0), 3);
    assert_int_equal(schedule_requests_allowed(-5), 3);
    assert_int_equal(schedule_requests_allowed(YEAR), 3);
    assert_int_equal(schedule_requests_allowed(WHEN_DAY), 3);
    assert_int_equal(schedule_requests_allowed(WHEN_DAY - 1), 6);
    assert_int_equal(schedule_requests_allowed(WHEN_HOUR), 72);
    assert_int_equal(schedule_requests_allowed(1), 3 * WHEN_DAY);
}
