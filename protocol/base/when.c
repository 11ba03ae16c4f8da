#include "protocol/base/when.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t when_now(void)
{
    return (int64_t)time(NULL);
}

struct calendar {
    int year, month, day, hour, minute, second;
};

static bool leap_year(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool valid_calendar(const struct calendar *c)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int last;

    if (c->year < 1 || c->month < 1 || c->month > 12)
        return false;
    last = days[c->month - 1] + (c->month == 2 && leap_year(c->year));
    return c->day >= 1 && c->day <= last && c->hour >= 0 && c->hour <= 23 && c->minute >= 0 && c->minute <= 59 &&
           c->second >= 0 && c->second <= 59;
}

/* Days since 1970 of a proleptic Gregorian date, counting years from March so that the leap day comes last. */
static int64_t seconds_of(const struct calendar *c)
{
    int64_t y = c->month <= 2 ? c->year - 1 : c->year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (c->month + (c->month > 2 ? -3 : 9)) + 2) / 5 + c->day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return (era * 146097 + day_of_era - 719468) * WHEN_DAY + c->hour * WHEN_HOUR + c->minute * WHEN_MINUTE + c->second;
}

/* Reads exactly @n digits at *@at and steps over them; -1 where there are fewer. */
static int digits(const char **at, int n)
{
    int value = 0;

    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)**at))
            return -1;
        value = value * 10 + (*(*at)++ - '0');
    }
    return value;
}

static bool literal(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static bool parse_zone(const char **at, int64_t *offset)
{
    int sign, hour, minute;

    *offset = 0;
    if (**at == 'Z') {
        (*at)++;
        return true;
    }
    if (**at != '+' && **at != '-')
        return true;
    sign = *(*at)++ == '-' ? -1 : 1;
    hour = digits(at, 2);
    if (hour < 0 || hour > 14 || !literal(at, ':'))
        return false;
    minute = digits(at, 2);
    if (minute < 0 || minute > 59)
        return false;
    *offset = sign * (hour * (int64_t)WHEN_HOUR + minute * WHEN_MINUTE);
    return true;
}

static bool parse_xsd(const char *at, int64_t *when)
{
    struct calendar c;
    int64_t offset;

    at += strspn(at, " \t\r\n");
    c.year = digits(&at, 4);
    if (!literal(&at, '-'))
        return false;
    c.month = digits(&at, 2);
    if (!literal(&at, '-'))
        return false;
    c.day = digits(&at, 2);
    if (!literal(&at, 'T'))
        return false;
    c.hour = digits(&at, 2);
    if (!literal(&at, ':'))
        return false;
    c.minute = digits(&at, 2);
    if (!literal(&at, ':'))
        return false;
    c.second = digits(&at, 2);
    if (!valid_calendar(&c))
        return false;
    if (literal(&at, '.')) {
        if (!isdigit((unsigned char)*at))
            return false;
        at += strspn(at, "0123456789");
    }
    if (!parse_zone(&at, &offset))
        return false;
    at += strspn(at, " \t\r\n");
    if (*at)
        return false;
    *when = seconds_of(&c) - offset;
    return true;
}

int when_parse_xsd(const char *text, int64_t *when, struct err **errp)
{
    if (!parse_xsd(text, when))
        return err_set(errp, ERR_INVALID, "'%.40s' is not a date and time (xs:dateTime)", text);
    return 0;
}

static struct tm broken_down(int64_t when)
{
    time_t t = (time_t)when;
    struct tm tm = {0};

    if (!gmtime_r(&t, &tm))
        tm = (struct tm){.tm_year = 70, .tm_mday = 1};
    return tm;
}

static char *format(int64_t when, const char *fmt)
{
    struct tm tm = broken_down(when);
    char text[64];

    if (strftime(text, sizeof(text), fmt, &tm) == 0)
        text[0] = 0;
    return mem_strdup(text);
}

char *when_format_xsd(int64_t when)
{
    return format(when, "%04Y-%m-%dT%H:%M:%S.000Z");
}

char *when_format(int64_t when)
{
    return format(when, "%04Y-%m-%d %H:%M:%S UTC");
}

char *when_format_span(int64_t seconds)
{
    static const struct {
        int64_t unit;
        const char *name;
    } units[] = {{WHEN_DAY, "day"}, {WHEN_HOUR, "hour"}, {WHEN_MINUTE, "minute"}, {1, "second"}};
    const char *sign = seconds < 0 ? "-" : "";
    int64_t n = seconds < 0 ? -seconds : seconds;
    size_t i = 0;

    /* Two of a unit before it is used: "36 hours" says more than "1 day". */
    while (i + 1 < ARRAY_SIZE(units) && n < 2 * units[i].unit)
        i++;
    n /= units[i].unit;
    return mem_printf("%s%" PRId64 " %s%s", sign, n, units[i].name, n == 1 ? "" : "s");
}

int when_parse_span(const char *text, int64_t *seconds, struct err **errp)
{
    static const char letters[] = "smhdw";
    static const int64_t units[] = {1, WHEN_MINUTE, WHEN_HOUR, WHEN_DAY, 7 * WHEN_DAY};
    int64_t sum = 0;
    const char *at = text;

    do {
        const char *unit;
        char *end;
        long n;

        errno = 0;
        n = strtol(at, &end, 10);
        unit = *end ? strchr(letters, *end) : NULL;
        if (end == at || !isdigit((unsigned char)*at) || errno || n > 1000000 || !unit)
            return err_set(errp, ERR_CONFIG, "'%s' is not a duration; write for example 8h, 30d or 1d12h", text);
        sum += n * units[unit - letters];
        at = end + 1;
    } while (*at);
    *seconds = sum;
    return 0;
}
