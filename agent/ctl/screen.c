#include "agent/ctl/screen.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "protocol/base/mem.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define LABEL_WIDTH 16
#define BAR_WIDTH   10
#define FULL_BLOCK  "\xe2\x96\x88"
#define LIGHT_BLOCK "\xe2\x96\x91"

static bool is_set(const char *name)
{
    const char *value = getenv(name);

    return value && *value;
}

struct screen screen_of(FILE *out)
{
    const char *term = getenv("TERM");
    struct screen screen = {0};
    struct winsize size;

    screen.terminal = isatty(fileno(out)) && term && strcmp(term, "dumb") != 0;
    if (screen.terminal && ioctl(fileno(out), TIOCGWINSZ, &size) == 0)
        screen.look.width = size.ws_col;
    screen.look.colour = screen.terminal && !is_set("NO_COLOR");
    return screen;
}

char *screen_when(int64_t when, int64_t now)
{
    CLEANUP(mem_freep) char *span = when_format_span(when > now ? when - now : now - when);
    CLEANUP(mem_freep) char *at = when_format(when);

    if (!when)
        return mem_strdup("-");
    return when > now ? mem_printf("in %s (%s)", span, at) : mem_printf("%s ago (%s)", span, at);
}

char *screen_bar(const struct screen *screen, int64_t from, int64_t to, int64_t now)
{
    char *bar = mem_alloc(BAR_WIDTH * strlen(FULL_BLOCK) + 1), *at = bar;
    int64_t left = to > now ? to - (now > from ? now : from) : 0;
    int64_t full;

    if (!screen->terminal || to <= from)
        return bar;
    full = (left * BAR_WIDTH + (to - from) - 1) / (to - from);
    for (int64_t i = 0; i < BAR_WIDTH; i++)
        at = stpcpy(at, i < full ? FULL_BLOCK : LIGHT_BLOCK);
    return bar;
}

/* Calls @print with each line of @text, made harmless. */
static void each_line(const char *text, void (*print)(void *ctx, const char *line, bool first), void *ctx)
{
    const char *at = text;

    while (*at) {
        size_t len = strcspn(at, "\n");
        CLEANUP(mem_freep) char *line = printable(at, len, 0);

        print(ctx, line, at == text);
        at += len + (at[len] == '\n');
    }
}

struct field {
    const struct screen *screen;
    const char *label;
};

static void print_field_line(void *ctx, const char *line, bool first)
{
    const struct field *field = ctx;
    const struct table_look *look = &field->screen->look;

    printf("%s%-*s%s %s\n", table_style_on(look, TABLE_DIM), LABEL_WIDTH, first ? field->label : "",
        table_style_off(look, TABLE_DIM), line);
}

void screen_field(const struct screen *screen, const char *label, const char *text)
{
    struct field field = {screen, label};

    if (text)
        each_line(text, print_field_line, &field);
}

static void print_indented(void *ctx, const char *line, bool first)
{
    (void)first;
    printf("%*s%s\n", *(int *)ctx, "", line);
}

void screen_text(const char *text, int indent)
{
    each_line(text, print_indented, &indent);
}

void screen_json(const json_t *value)
{
    CLEANUP(mem_freep) char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);

    printf("%s\n", text ? text : "null");
}

void screen_problem(const struct screen *screen, const char *text, const char *hint)
{
    CLEANUP(mem_freep) char *safe = printable_text(text);

    printf("%s!!%s %s\n", table_style_on(&screen->look, TABLE_BAD), table_style_off(&screen->look, TABLE_BAD), safe);
    if (hint && *hint)
        screen_text(hint, 3);
}
