/* schedule.h - when to act: renewal window, spread per machine, back-off, maintenance hours. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/err.h"

/*
 * Pure: the clock is an argument, and so is chance; only the maintenance hours ask for the machine's time zone. Times
 * are seconds since 1970, UTC. Every number may come from a server: any value is taken, and none overflows.
 */

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
    uint8_t days;      /* 1 << tm_wday: on which they begin */
    uint16_t from, to; /* minutes since midnight; to <= from: until the next day */
};
/* NULL or empty text: always. 0, or -1 with ERR_CONFIG that says what is expected. */
int schedule_hours_parse(const char *text, struct schedule_hours *out, struct err **errp);
/* @at when it is inside, else the next moment that is; @at too where the clock of this machine knows none. */
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
 * The moment at which this machine renews this certificate: spread evenly over the window but for its last part, so
 * that a fleet that was imaged in one hour does not renew in one. That part, two days, but at least a thirty-second and
 * at most a quarter of the window, is for those who meet a failure. Where there are maintenance hours it is spread
 * evenly over those. Between schedule_renewal_start and not_after.
 */
int64_t schedule_renewal_moment(const struct schedule_question *q);
/*
 * When what was meant for @planned is done, seen at @at: @at, unless the maintenance hours are over. Then it is a
 * moment in the next ones, another for every machine; but @at when the certificate would be left with less than half
 * of the last part of its window by that.
 */
int64_t schedule_in_hours(const struct schedule_question *q, int64_t planned, int64_t at);
/* Spreads an event that meets a whole fleet at once (a CA replaced, a raised major version): a moment in @span. */
int64_t schedule_spread(int64_t from, int64_t span, uint64_t seed);

#define SCHEDULE_RAISE_SPAN   86400       /* seconds over which a fleet follows a raised major version */
#define SCHEDULE_REPLACE_SPAN (7 * 86400) /* and a CA that takes another's place */

struct schedule_failure {
    bool retry;           /* trying again can help without a person: err_kind_retry, or the CA said "later" */
    bool local;           /* it is about this machine alone: its token, its disk, something that was busy */
    uint32_t failures;    /* in a row, 1 or more */
    uint32_t retry_after; /* seconds that a server asked for, 0: nothing */
    int64_t not_before;   /* of what is to be renewed */
    int64_t not_after;    /* 0: nothing is held. For a policy server: until when its last policy may be used */
    int64_t now;
    uint32_t chance; /* any random number */
};
/*
 * When to try again, after @now.
 *
 * Full jitter, between half a minute and a ceiling. With nothing valid held, and for what is local, the ceiling goes
 * from 5 minutes to 8 hours in doubles. With a valid certificate it is 5 minutes, then 20, then a day: a server that
 * was away for hours is met again by a whole fleet over a day, and not in the minutes after it is back. It is never
 * more than a quarter of what is left of the certificate, which also gives certificates of minutes their tries.
 *
 * What a person must mend is tried once a day all the same, since nobody may tell us that it was mended; more often
 * when the certificate has only hours left.
 *
 * Retry-After is obeyed, up to a day and up to half of what is left of the certificate.
 */
int64_t schedule_retry(const struct schedule_failure *f);
/* When to ask after a pending request, which was taken at @since: more and more seldom, from a minute to 8 hours. */
int64_t schedule_poll(int64_t since, int64_t now, uint32_t chance);
/*
 * When to ask a policy server again whose answer of @received is good for @seconds: in the last quarter of that time,
 * so that a fleet that was imaged in one hour drifts apart instead of asking in one hour for ever.
 */
int64_t schedule_refresh(int64_t received, int64_t seconds, uint32_t chance);

/*
 * How many requests for one template may go out in one day without a person asking [design 8.12]: three, or for a
 * certificate that lives shorter than a day three for each of its lives.
 *
 * @life  of the certificate that is or was held, seconds; 0: none
 */
uint32_t schedule_requests_allowed(int64_t life);
