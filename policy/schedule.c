#include "policy/schedule.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "protocol/base/when.h"

#define FLOOR      30                /* seconds that any retry waits, where the certificate leaves time for it */
#define FIRST_WAIT (5 * WHEN_MINUTE) /* ceilings of a retry */
#define LAST_WAIT  (8 * WHEN_HOUR)
#define RESERVE    (2 * WHEN_DAY)
#define STRETCH    (56 * WHEN_DAY) /* of a window whose maintenance hours are looked at */

/* --- numbers from outside never overflow --- */

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return b > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

/* From @from to @to, 0 when that is no time. */
static int64_t between(int64_t from, int64_t to)
{
    int64_t difference;

    if (to <= from)
        return 0;
    return __builtin_sub_overflow(to, from, &difference) ? INT64_MAX : difference;
}

static int64_t at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

static int64_t at_least(int64_t value, int64_t limit)
{
    return value > limit ? value : limit;
}

/* --- chance that is always the same for one machine and key --- */

/* The finalizer of splitmix64: each bit of @x moves half of the result's. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

uint64_t schedule_seed(uint64_t machine, const void *key_id, size_t len)
{
    const uint8_t *byte = key_id;
    uint64_t seed = mix(machine);

    for (size_t i = 0; i < len; i++)
        seed = mix(seed ^ byte[i]);
    return seed;
}

/* A part of @span, less than all of it; each @what is a choice of its own. */
static int64_t part_of(int64_t span, uint64_t seed, uint64_t what)
{
    return span > 0 ? (int64_t)(mix(seed ^ mix(what)) % (uint64_t)span) : 0;
}

int64_t schedule_spread(int64_t from, int64_t span, uint64_t seed)
{
    return plus(from, part_of(span, seed, 0));
}

/* --- maintenance hours --- */

static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
#define N_DAYS  7
#define ALL_DAY (24 * 60)

/* 0 to 6, or -1; moves *text on. */
static int read_day(const char **text)
{
    for (int i = 0; i < N_DAYS; i++) {
        if (strncasecmp(*text, days[i], 3) != 0)
            continue;
        *text += 3;
        return i;
    }
    return -1;
}

/* "Sat,Sun", "Mon-Fri", "Fri-Mon,Wed": moves *text on. */
static bool read_days(const char **text, uint8_t *out)
{
    do {
        int first, last;

        *text += **text == ',';
        first = last = read_day(text);
        if (first >= 0 && **text == '-') {
            (*text)++;
            last = read_day(text);
        }
        if (first < 0 || last < 0)
            return false;
        for (int day = first;; day = (day + 1) % N_DAYS) {
            *out |= (uint8_t)(1 << day);
            if (day == last)
                break;
        }
    } while (**text == ',');
    return true;
}

/* "05:00"; "24:00" is the end of the day. */
static bool read_minutes(const char **text, uint16_t *out)
{
    unsigned hours, minutes;
    int len = 0;

    if (strspn(*text, "0123456789") > 2 || sscanf(*text, "%2u:%2u%n", &hours, &minutes, &len) != 2)
        return false;
    if (len < 4 || (*text)[len - 3] != ':' || minutes > 59 || hours * 60 + minutes > ALL_DAY)
        return false;
    *text += len;
    *out = (uint16_t)(hours * 60 + minutes);
    return true;
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

int schedule_hours_parse(const char *text, struct schedule_hours *out, struct err **errp)
{
    struct schedule_hours hours = {.set = true};
    const char *at = skip_blanks(text ? text : "");
    bool good = true;

    if (!*at) {
        *out = (struct schedule_hours){0};
        return 0;
    }
    if (*at < '0' || *at > '9')
        good = read_days(&at, &hours.days);
    at = skip_blanks(at);
    good = good && read_minutes(&at, &hours.from);
    at = skip_blanks(at);
    good = good && *at == '-';
    at = skip_blanks(at + good);
    good = good && read_minutes(&at, &hours.to);
    if (good && !*skip_blanks(at)) {
        *out = hours;
        return 0;
    }
    err_set(errp, ERR_CONFIG, "'%s' names no hours", text);
    return err_hint(errp,
        "write days and hours in local time, as in \"Sat,Sun 01:00-05:00\", \"Mon-Fri 22:00-04:00\" or "
        "\"01:00-05:00\" for every day");
}

/* When it is open, in one piece. */
struct opening {
    int64_t from, to;
};

/*
 * The opening that begins @on days after the local date of @first. The time zone says which instants these are: where
 * the clock is put forward or back, an opening is longer or shorter, or there is none.
 */
static bool opening_on(const struct schedule_hours *hours, const struct tm *first, int on, struct opening *out)
{
    int weekday = (first->tm_wday + on + N_DAYS) % N_DAYS;
    struct tm from = {.tm_year = first->tm_year,
        .tm_mon = first->tm_mon,
        .tm_mday = first->tm_mday + on,
        .tm_hour = hours->from / 60,
        .tm_min = hours->from % 60,
        .tm_isdst = -1};
    struct tm to = from;

    if (hours->days && !(hours->days >> weekday & 1))
        return false;
    to.tm_mday += hours->to <= hours->from;
    to.tm_hour = hours->to / 60;
    to.tm_min = hours->to % 60;
    *out = (struct opening){mktime(&from), mktime(&to)};
    return out->from != -1 && out->to != -1 && out->from < out->to;
}

/* The first opening that is not over at @at; false where this machine's clock knows none. */
static bool next_opening(const struct schedule_hours *hours, int64_t at, struct opening *out)
{
    time_t when = (time_t)at;
    struct tm local;

    if (!localtime_r(&when, &local))
        return false;
    for (int on = -1; on <= 2 * N_DAYS; on++) /* two weeks: of one the clock may swallow it */
        if (opening_on(hours, &local, on, out) && at < out->to)
            return true;
    return false;
}

int64_t schedule_hours_next(const struct schedule_hours *hours, int64_t at)
{
    struct opening next;

    return hours->set && next_opening(hours, at, &next) ? at_least(next.from, at) : at;
}

/* --- the renewal of one certificate --- */

int64_t schedule_renewal_start(int64_t not_before, int64_t not_after, uint64_t renewal_period)
{
    int64_t window = between(not_before, not_after) / 5;

    if (renewal_period < (uint64_t)window)
        window = (int64_t)renewal_period;
    return not_after - window;
}

/* The part of a window in which nothing is planned. */
static int64_t reserve_of(int64_t window)
{
    return at_most(at_least(RESERVE, window / 32), window / 4);
}

static int64_t window_of(const struct schedule_question *q)
{
    return q->not_after - schedule_renewal_start(q->not_before, q->not_after, q->renewal_period);
}

/* What is open of @in, in seconds; @at: where @skip of them are over, NULL: nobody asks. */
static int64_t open_seconds(const struct schedule_hours *hours, const struct opening *in, int64_t skip, int64_t *at)
{
    int64_t total = 0;
    struct opening next;

    for (int64_t seen = in->from; next_opening(hours, seen, &next) && next.from < in->to; seen = next.to) {
        int64_t begin = at_least(next.from, in->from);
        int64_t length = at_most(next.to, in->to) - begin;

        if (at && skip >= total && skip < total + length)
            *at = begin + (skip - total);
        total += length;
    }
    return total;
}

/* Some weeks of @span around @moment, or all of it where it is not longer: a window may last for centuries. */
static struct opening stretch_around(const struct opening *span, int64_t moment)
{
    int64_t stretches = at_least((span->to - span->from) / STRETCH, 1);
    int64_t stretch = at_most((moment - span->from) / STRETCH, stretches - 1);
    int64_t from = span->from + stretch * STRETCH;

    return (struct opening){from, stretch == stretches - 1 ? span->to : from + STRETCH};
}

int64_t schedule_renewal_moment(const struct schedule_question *q)
{
    int64_t window = window_of(q);
    struct opening span = {q->not_after - window, q->not_after - reserve_of(window)};
    int64_t moment = span.from + part_of(span.to - span.from, q->seed, 1);
    struct opening stretch = stretch_around(&span, moment);
    int64_t open;

    if (!q->hours.set)
        return moment;
    open = open_seconds(&q->hours, &stretch, 0, NULL);
    if (!open)
        return schedule_in_hours(q, moment, moment);
    open_seconds(&q->hours, &stretch, part_of(open, q->seed, 2), &moment);
    return moment;
}

int64_t schedule_in_hours(const struct schedule_question *q, int64_t planned, int64_t at)
{
    int64_t last_call = q->not_after - reserve_of(window_of(q)) / 2;
    struct opening next;
    int64_t own;

    if (!q->hours.set || !next_opening(&q->hours, at, &next) || (next.from <= at && next.from <= planned))
        return at;
    own = next.from + part_of(next.to - next.from, q->seed, (uint64_t)next.from);
    if (own > last_call)
        return at;
    return at_least(own, at);
}

/* --- after a failure --- */

static int64_t doubled(uint32_t failures, int64_t last)
{
    int64_t ceiling = FIRST_WAIT;

    while (failures-- > 1 && ceiling < last)
        ceiling *= 2;
    return at_most(ceiling, last);
}

/* Twice it is tried soon, for what lasts a moment; what lasts longer has met a whole fleet. */
static int64_t of_a_fleet(uint32_t failures)
{
    return failures <= 1 ? FIRST_WAIT : failures == 2 ? 4 * FIRST_WAIT : WHEN_DAY;
}

/* What may be better the next time. */
static int64_t wait_for_better(const struct schedule_failure *f, int64_t life, int64_t left)
{
    int64_t ceiling, floor;

    if (left > 0 && !f->local)
        ceiling = of_a_fleet(f->failures);
    else if (life > 0)
        ceiling = doubled(f->failures, at_least(at_most(life / 4, LAST_WAIT), FIRST_WAIT));
    else
        ceiling = doubled(f->failures, LAST_WAIT);
    if (left > 0)
        ceiling = at_most(ceiling, left / 4);
    floor = at_most(FLOOR, ceiling / 2);
    return floor + (int64_t)(f->chance % (uint64_t)(ceiling - floor + 1));
}

/* What a person must mend. */
static int64_t wait_for_person(const struct schedule_failure *f, int64_t life, int64_t left)
{
    int64_t wait = WHEN_DAY;

    if (left > 0)
        wait = at_most(wait, at_least(left / 2, at_most(life / 100, WHEN_HOUR)));
    else if (life > 0)
        wait = at_most(wait, at_least(life, WHEN_HOUR));
    return wait - wait / 6 + (int64_t)(f->chance % (uint64_t)(wait / 3 + 1));
}

int64_t schedule_retry(const struct schedule_failure *f)
{
    int64_t life = f->not_after ? between(f->not_before, f->not_after) : 0;
    int64_t left = f->not_after ? between(f->now, f->not_after) : 0;
    int64_t wait = f->retry ? wait_for_better(f, life, left) : wait_for_person(f, life, left);
    int64_t asked = at_most(f->retry_after, WHEN_DAY);

    if (left > 0)
        asked = at_most(asked, left / 2);
    asked += (int64_t)(f->chance % (uint64_t)(asked / 4 + 1)); /* all who were asked come back: not in one second */
    return plus(f->now, at_least(at_least(wait, asked), 1));
}

int64_t schedule_poll(int64_t since, int64_t now, uint32_t chance)
{
    int64_t ceiling = at_most(between(since, now) / 2, LAST_WAIT);
    int64_t wait = ceiling / 2 + (int64_t)(chance % (uint64_t)(ceiling / 2 + 1));

    return plus(now, at_least(wait, WHEN_MINUTE));
}

int64_t schedule_refresh(int64_t received, int64_t seconds, uint32_t chance)
{
    int64_t quarter = at_least(seconds, 0) / 4;

    return plus(received, at_least(seconds, 0) - quarter + (int64_t)(chance % (uint64_t)(quarter + 1)));
}

uint32_t schedule_requests_allowed(int64_t life)
{
    if (life <= 0 || life >= WHEN_DAY)
        return 3;
    return 3 * (uint32_t)((WHEN_DAY + life - 1) / life);
}
