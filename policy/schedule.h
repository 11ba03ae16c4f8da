/* schedule.h - when to act: renewal window, spread per machine, back-off, maintenance hours. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/err.h"

/* Pure: the clock is an argument, and so is chance. Times are seconds since 1970, UTC. */

/*
 * The first moment at which a certificate may be renewed: renewalPeriodSeconds before it expires, but never before
 * four fifths of its own life are over [MS-XCEP notes] 6.5. Between @not_before and @not_after.
 *
 * @renewal_period  seconds, from the template; larger than any life is fine
 */
int64_t schedule_renewal_start(int64_t not_before, int64_t not_after, uint64_t renewal_period);

/* Hours in which renewals may be made: "Sat,Sun 01:00-05:00", local time; no days: every day. */
struct schedule_hours {
    bool set;          /* false: always */
    uint8_t days;      /* 1 << tm_wday */
    uint16_t from, to; /* minutes since midnight; to <= from: past midnight, of the day on which it begins */
};
/* NULL text: always. 0, or -1 with ERR_CONFIG that says what is expected. */
int schedule_hours_parse(const char *text, struct schedule_hours *out, struct err **errp);
/* @at when it is inside, else the next moment that is. */
int64_t schedule_hours_next(const struct schedule_hours *hours, int64_t at);

struct schedule_question {
    int64_t not_before, not_after;
    uint64_t renewal_period;
    uint64_t seed; /* of this machine and key: schedule_seed */
    struct schedule_hours hours;
};
/* Mixes what is the same for a machine (@machine: instance seed) with the key's id. */
uint64_t schedule_seed(uint64_t machine, const void *key_id, size_t len);
/*
 * The moment at which this machine renews this certificate: spread evenly over the first part of the window, so that
 * a fleet that was imaged in one hour does not renew in one; moved into the maintenance hours, unless the certificate
 * would be left with too little life by that. Between schedule_renewal_start and not_after.
 */
int64_t schedule_renewal_moment(const struct schedule_question *q);

struct schedule_failure {
    bool retry;          /* trying again can help without a person: err_kind_retry, or the CA said "later" */
    uint32_t failures;   /* in a row, 1 or more */
    int64_t retry_after; /* seconds that a server asked for, 0: nothing */
    int64_t not_after;   /* of what is to be renewed; 0: nothing is held */
    int64_t now;
    uint32_t chance; /* any random number */
};
/*
 * When to try again: full jitter between a floor and a ceiling that doubles from 5 minutes to 8 hours; what a person
 * must mend is tried once a day all the same, since nobody may tell us that it was mended; a certificate that lives for
 * minutes is tried at intervals that its remaining life allows; Retry-After is obeyed, up to a day.
 */
int64_t schedule_retry(const struct schedule_failure *f);
/* When to ask after a pending request, which was taken at @since: more and more seldom, from a minute to 8 hours. */
int64_t schedule_poll(int64_t since, int64_t now, uint32_t chance);
/* Spreads an event that meets a whole fleet at once (a CA replaced, a raised major version): a moment in @span. */
int64_t schedule_spread(int64_t from, int64_t span, uint64_t seed);

/*
 * How many requests for one template may go out in one day without a person asking [design 8.12]: three, or for a
 * certificate that lives shorter than a day three for each of its lives.
 */
uint32_t schedule_requests_allowed(int64_t life);
