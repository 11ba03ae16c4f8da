#include "agent/ctl/health.h"

#include <string.h>

#include "agent/ctl/model.h"
#include "protocol/base/mem.h"

static const struct {
    int status;
    const char *word;
    enum table_style style;
    const char *meaning;
} healths[] = {
#define X(name, status, word, style, meaning) [HEALTH_##name] = {status, word, style, meaning},
    HEALTHS(X)
#undef X
};

static bool has_text(const json_t *enrollment, const char *key)
{
    return *model_text(enrollment, key) != 0;
}

static bool in_state(const json_t *enrollment, const char *state)
{
    return strcmp(model_text(enrollment, "state"), state) == 0;
}

static bool has_verdict(const json_t *enrollment, const char *verdict)
{
    return strcmp(model_text(enrollment, "verdict"), verdict) == 0;
}

static bool mismatch(const json_t *e, int64_t now)
{
    (void)now;
    return has_verdict(e, "key mismatch");
}

static bool missing(const json_t *e, int64_t now)
{
    (void)now;
    return model_number(e, "not-after") == 0 || has_verdict(e, "missing");
}

static bool expired(const json_t *e, int64_t now)
{
    return model_number(e, "not-after") && model_number(e, "not-after") <= now;
}

static bool not_yet(const json_t *e, int64_t now)
{
    return model_number(e, "not-before") > now;
}

static bool error(const json_t *e, int64_t now)
{
    (void)now;
    return has_text(e, "last-error") || has_text(e, "problem") || in_state(e, "blocked") || in_state(e, "cloned") ||
           in_state(e, "names-differ");
}

static bool due(const json_t *e, int64_t now)
{
    int64_t after = model_number(e, "renew-after");

    return in_state(e, "due") || (after && after <= now);
}

static const struct {
    enum health health;
    bool (*is)(const json_t *enrollment, int64_t now);
} tests[] = {
    {HEALTH_MISMATCH, mismatch},
    {HEALTH_EXPIRED, expired},
    {HEALTH_NOT_YET, not_yet},
    {HEALTH_MISSING, missing},
    {HEALTH_ERROR, error},
    {HEALTH_DUE, due},
};

enum health health_of(const json_t *enrollment, int64_t now)
{
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        if (tests[i].is(enrollment, now))
            return tests[i].health;
    return HEALTH_HEALTHY;
}

enum health health_worse(enum health a, enum health b)
{
    return a > b ? a : b;
}

int health_status(enum health health)
{
    return healths[health].status;
}

const char *health_word(enum health health)
{
    return healths[health].word;
}

enum table_style health_style(enum health health)
{
    return healths[health].style;
}

const char *health_meaning(enum health health)
{
    return healths[health].meaning;
}
