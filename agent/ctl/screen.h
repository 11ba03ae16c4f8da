/* screen.h - shows times, spans and JSON to a person, as the terminal can. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "protocol/base/table.h"

struct screen {
    bool terminal; /* a person looks: lines may be rewritten, there may be bars */
    struct table_look look;
};

/* What can be done with @out: colour and bars only on a terminal, and none with NO_COLOR or TERM=dumb. */
struct screen screen_of(FILE *out);

/* "in 42 days (2031-01-04 10:00:00 UTC)", "3 hours ago (...)"; 0 gives "-". Returns owned. */
char *screen_when(int64_t when, int64_t now);
/* What is left of a life, as ten blocks; "" where there is nothing to show. Returns owned. */
char *screen_bar(const struct screen *screen, int64_t from, int64_t to, int64_t now);

/* "label   value", labels in a column; @text may come from anywhere and may have several lines; "" prints nothing. */
void screen_field(const struct screen *screen, const char *label, const char *text);
/* Text of several lines, each made harmless and indented by @indent blanks, to standard output. */
void screen_text(const char *text, int indent);
void screen_json(const json_t *value); /* to standard output, indented, in the order in which it was made */
/* "!! text", then "   hint" where there is one. */
void screen_problem(const struct screen *screen, const char *text, const char *hint);
