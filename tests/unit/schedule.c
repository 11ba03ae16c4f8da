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
