/* schedule.h - when to act: renewal window, back-off. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The first moment at which a certificate may be renewed: renewalPeriodSeconds before it expires, but never before
 * four fifths of its own life are over [MS-XCEP notes] 6.5. Seconds since 1970; between @not_before and @not_after.
 *
 * @renewal_period  seconds, from the template; larger than any life is fine
 */
int64_t schedule_renewal_start(int64_t not_before, int64_t not_after, uint64_t renewal_period);

/*
 * Seconds to wait after the @failures-th failure in a row, 1 or more: from 5 minutes doubling to 8 hours, of which
 * @chance (any random number) picks a moment in the second half, so that a fleet does not come back at once.
 */
int64_t schedule_back_off(unsigned failures, uint32_t chance);

/* How many requests for one template may go out in one day without a person asking [design 8.12]. */
#define SCHEDULE_REQUESTS_PER_DAY 3
