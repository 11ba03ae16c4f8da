/* when.h - instants and durations, from and to xs:dateTime, and for a person. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/err.h"

#define WHEN_MINUTE 60
#define WHEN_HOUR   3600
#define WHEN_DAY    86400

/* The clock, for programs; stages and policy get the time as an argument. Seconds since 1970, UTC. */
int64_t when_now(void);

/*
 * Reads an xs:dateTime, surrounding white space allowed; no zone means UTC [MS-XCEP 2.2.1]; fractions are cut off.
 * Years 1 to 9999. Return 0 or -1 (ERR_INVALID).
 */
int when_parse_xsd(const char *text, int64_t *when, struct err **errp);

/* Writes 2030-01-02T03:04:05.000Z, with milliseconds as the Windows services want them. Returns owned. */
char *when_format_xsd(int64_t when);
/* "2030-01-02 03:04:05 UTC", for a person. Returns owned. */
char *when_format(int64_t when);
/* "42 days", "3 hours", "10 seconds": the largest unit that fits, for a person. Returns owned. */
char *when_format_span(int64_t seconds);

/* Reads "8h", "30d", "10m", "45s", "6w", or several of them in a row. 0 or -1 (ERR_CONFIG); never negative. */
int when_parse_span(const char *text, int64_t *seconds, struct err **errp);
