#include "protocol/base/table.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "protocol/base/mem.h"
#include "protocol/base/printable.h"

#define GAP      2
#define NARROW   8 /* columns are not cut below this */
#define ELLIPSIS "\xe2\x80\xa6"

static const char *const styles[] = {
    [TABLE_PLAIN] = "",
    [TABLE_GOOD] = "\033[32m",
    [TABLE_WARN] = "\033[33m",
    [TABLE_BAD] = "\033[31m",
    [TABLE_DIM] = "\033[2m",
    [TABLE_BOLD] = "\033[1m",
};

const char *table_style_on(const struct table_look *look, enum table_style style)
{
    return look->colour ? styles[style] : "";
}

const char *table_style_off(const struct table_look *look, enum table_style style)
{
    return look->colour && style != TABLE_PLAIN ? "\033[0m" : "";
}

void table_begin(struct table *table, const char *const *headings, size_t n_columns)
{
    *table = (struct table){.headings = headings, .n_columns = n_columns};
}

void table_add(struct table *table, enum table_style style, const char *text)
{
    struct table_cell *cell = MEM_APPEND(table->cells, table->n_cells);

    *cell = (struct table_cell){text && *text ? printable_text(text) : mem_strdup("-"), style};
}

void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i].text);
    free(table->cells);
    *table = (struct table){0};
}

/* The next character of @text and the columns that it takes; one where the locale does not know it. */
static size_t next_character(const char *text, size_t *columns)
{
    unsigned character;
    size_t n = utf8_decode(text, strlen(text), &character);
    int width = n ? wcwidth((wchar_t)character) : 1;

    *columns = width < 0 ? 1 : (size_t)width;
    return n ? n : 1;
}

size_t table_text_width(const char *text)
{
    size_t width = 0, columns;

    while (*text) {
        text += next_character(text, &columns);
        width += columns;
    }
    return width;
}

/* How many bytes of @text fit into @width columns; *@used: the columns that they take. */
static size_t fitting(const char *text, size_t width, size_t *used)
{
    size_t at = 0;

    *used = 0;
    while (text[at]) {
        size_t columns, n = next_character(text + at, &columns);

        if (*used + columns > width)
            break;
        *used += columns;
        at += n;
    }
    return at;
}

static void print_cell(
    const char *text, enum table_style style, size_t width, bool last, const struct table_look *look, FILE *out)
{
    size_t whole = table_text_width(text), used = whole, bytes = strlen(text);
    bool cut = whole > width;

    if (cut) {
        bytes = fitting(text, width - 1, &used);
        used++;
    }
    fprintf(out, "%s%.*s%s%s", table_style_on(look, style), (int)bytes, text, cut ? ELLIPSIS : "",
        table_style_off(look, style));
    if (!last)
        fprintf(out, "%*s", (int)(width - used + GAP), "");
}

/* Takes columns from the widest until a row fits, or all are narrow. */
static void squeeze(size_t *widths, size_t n, size_t room)
{
    for (;;) {
        size_t sum = (n - 1) * GAP, widest = 0;

        for (size_t c = 0; c < n; c++) {
            sum += widths[c];
            if (widths[c] > widths[widest])
                widest = c;
        }
        if (sum <= room || widths[widest] <= NARROW)
            return;
        widths[widest]--;
    }
}

void table_print(const struct table *table, const struct table_look *look, FILE *out)
{
    size_t n = table->n_columns;
    CLEANUP(mem_freep) size_t *widths = mem_calloc(n, sizeof(*widths));

    for (size_t c = 0; c < n; c++)
        widths[c] = table_text_width(table->headings[c]);
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t width = table_text_width(table->cells[i].text);

        if (width > widths[i % n])
            widths[i % n] = width;
    }
    if (look->width)
        squeeze(widths, n, look->width);
    for (size_t c = 0; c < n; c++)
        print_cell(table->headings[c], TABLE_BOLD, widths[c], c + 1 == n, look, out);
    putc('\n', out);
    for (size_t i = 0; i < table->n_cells; i++) {
        print_cell(table->cells[i].text, table->cells[i].style, widths[i % n], i % n + 1 == n, look, out);
        if (i % n + 1 == n)
            putc('\n', out);
    }
}
