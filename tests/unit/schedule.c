#include "policy/schedule.h"

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

TEST(schedule_back_off_doubles_from_five_minutes_to_eight_hours)
{
    int64_t longest = 5 * WHEN_MINUTE;

    for (unsigned failures = 1; failures < 100; failures++) {
        for (uint32_t chance = 0; chance < 100000; chance += 77) {
            int64_t wait = schedule_back_off(failures, chance);

            assert_true(wait >= longest / 2 && wait <= longest);
        }
        longest = longest * 2 > 8 * WHEN_HOUR ? 8 * WHEN_HOUR : longest * 2;
    }
    assert_int_equal(longest, 8 * WHEN_HOUR);
}

TEST(schedule_back_off_spreads_a_fleet)
{
    assert_int_equal(schedule_back_off(1, 0), 150);
    assert_int_equal(schedule_back_off(1, 150), 300);
    assert_int_equal(schedule_back_off(1, UINT32_MAX), 150 + (int64_t)(UINT32_MAX % 151));
    assert_int_not_equal(schedule_back_off(3, 12345), schedule_back_off(3, 54321));
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

TEST(schedule_back_off_of_no_failure_is_that_of_one)
{
    assert_int_equal(schedule_back_off(0, 7), schedule_back_off(1, 7));
    assert_int_equal(schedule_back_off(1000000, 0), 4 * WHEN_HOUR);
}
