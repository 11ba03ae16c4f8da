/* expiry.h - says which warning about an expiry is due. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/mem.h"

#define EXPIRY_MAX  16 /* thresholds */
#define EXPIRY_OVER 1  /* as a threshold: it has expired */

/* How long before an expiry it is announced: seconds, longest first. */
struct expiry_thresholds {
    uint32_t spans[EXPIRY_MAX];
    size_t n;
};
/* Of `notify`, whose words were checked when it was read; what is no span or shorter than two seconds is left out. */
void expiry_read(const struct strlist *notify, struct expiry_thresholds *out);

struct expiry_question {
    int64_t not_before, not_after; /* seconds since 1970, UTC */
    uint32_t announced;            /* the threshold that was announced last; 0: none */
    int64_t now;
};
/*
 * The threshold that has been passed and was not announced: only the nearest of several, EXPIRY_OVER once it has
 * expired, 0 when there is none. Thresholds longer than half of the certificate's life say nothing and are left out.
 *
 * @next  when the next one is passed; 0: never
 */
uint32_t expiry_due(const struct expiry_thresholds *thresholds, const struct expiry_question *q, int64_t *next);

/* Of a certificate of ours. */
struct expiry_plan {
    int64_t not_before, not_after;
    int64_t renew_at;   /* when its renewal is planned; 0: it is not */
    bool failed;        /* the last attempt did */
    int64_t started_at; /* of the daemon: what became due while it did not run is tried first */
    int64_t now;
};
/*
 * Will it be renewed in time without anybody's help? Then nothing is announced until @until: a twentieth of its life,
 * at most a day, after the moment that is planned, and not in the first ten minutes after the start.
 */
bool expiry_is_prevented(const struct expiry_plan *plan, int64_t *until);
