#include "agent/daemon/expiry.h"

#include <stdlib.h>

#include "protocol/base/when.h"

#define SLACK_PART  20  /* of the certificate's life: so long a renewal may take before somebody is told */
#define START_GRACE 600 /* seconds */

static int longest_first(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y) - (x > y);
}

void expiry_read(const struct strlist *notify, struct expiry_thresholds *out)
{
    *out = (struct expiry_thresholds){0};
    for (size_t i = 0; i < notify->n && out->n < EXPIRY_MAX; i++) {
        int64_t span;

        if (when_parse_span(notify->items[i], &span, NULL) == 0 && span > EXPIRY_OVER && span <= UINT32_MAX)
            out->spans[out->n++] = (uint32_t)span;
    }
    qsort(out->spans, out->n, sizeof(*out->spans), longest_first);
}

uint32_t expiry_due(const struct expiry_thresholds *thresholds, const struct expiry_question *q, int64_t *next)
{
    int64_t life = q->not_after - q->not_before;
    int64_t left = q->not_after - q->now;
    uint32_t passed = left <= 0 ? EXPIRY_OVER : 0;

    *next = left > 0 ? q->not_after : 0;
    for (size_t i = 0; i < thresholds->n && left > 0; i++) {
        uint32_t span = thresholds->spans[i];

        if (span > life / 2)
            continue;
        if (left > span) {
            *next = q->not_after - span;
            break;
        }
        passed = span;
    }
    return q->announced && q->announced <= passed ? 0 : passed;
}

bool expiry_is_prevented(const struct expiry_plan *plan, int64_t *until)
{
    int64_t slack = (plan->not_after - plan->not_before) / SLACK_PART;
    int64_t over = plan->started_at + START_GRACE;

    if (plan->failed || plan->not_after <= plan->now || plan->now < plan->started_at)
        return false;
    if (slack > WHEN_DAY)
        slack = WHEN_DAY;
    if (plan->renew_at && plan->renew_at < plan->not_after && plan->renew_at + slack > over)
        over = plan->renew_at + slack;
    *until = over;
    return plan->now < over;
}
