/* health.h - how an enrollment does, as one word and one exit status. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "protocol/base/table.h"

/* Name, exit status, word, style, meaning; the worse, the later: of several the worst counts. */
#define HEALTHS(X)                                                                                                     \
    X(HEALTHY, 0, "healthy", TABLE_GOOD, "all is well")                                                                \
    X(DUE, 4, "due", TABLE_WARN, "the time to renew has come, and it waits")                                           \
    X(ERROR, 1, "error", TABLE_BAD, "something failed; LastError and explain say what")                                \
    X(MISSING, 2, "missing", TABLE_WARN,                                                                               \
        "there is no certificate (yet), its key or its files are gone, or no such name")                               \
    X(NOT_YET, 6, "not-yet-valid", TABLE_BAD, "the certificate is not valid yet: a clock is wrong")                    \
    X(EXPIRED, 3, "expired", TABLE_BAD, "the certificate has expired")                                                 \
    X(MISMATCH, 5, "key-mismatch", TABLE_BAD, "the certificate is of another key")
#define X(name, ...) HEALTH_##name,
enum health { HEALTHS(X) HEALTH__MAX };
#undef X

/* Of one enrollment of a model (model.h) at @now. */
enum health health_of(const json_t *enrollment, int64_t now);
enum health health_worse(enum health a, enum health b);

int health_status(enum health health);       /* the exit status */
const char *health_word(enum health health); /* borrowed, as are the next */
enum table_style health_style(enum health health);
const char *health_meaning(enum health health);
