#include "protocol/base/table.h"

#include <locale.h>

#include "tests/testing.h"

static const char *const headings[] = {"NAME", "WHAT"};

/* Rows of two cells, printed; owned. */
static char *printed(const char *const *cells, size_t n, const struct table_look *look)
{
    struct table table;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    table_begin(&table, headings, ARRAY_SIZE(headings));
    for (size_t i = 0; i < n; i++)
        table_add(&table, TABLE_PLAIN, cells[i]);
    table_print(&table, look, out);
    table_clear(&table);
    assert_int_equal(fclose(out), 0);
    return text;
}

TEST(table_aligns_by_the_columns_that_a_terminal_shows)
{
    static const char *const cells[] = {
        "\xe8\xaf\x81\xe4\xb9\xa6", "wide", "e\xcc\x81t\xc3\xa9", "joined", "plain", ""};
    CLEANUP(mem_freep) char *text = printed(cells, ARRAY_SIZE(cells), &(struct table_look){0});

    assert_string_equal(text, "NAME   WHAT\n"
                              "\xe8\xaf\x81\xe4\xb9\xa6   wide\n"
                              "e\xcc\x81t\xc3\xa9    joined\n"
                              "plain  -\n");
}

TEST(table_cuts_the_widest_column_until_a_row_fits)
{
    static const char *const cells[] = {"web", "a sentence that is much longer than the terminal is wide"};
    CLEANUP(mem_freep) char *text = printed(cells, ARRAY_SIZE(cells), &(struct table_look){.width = 24});

    assert_string_equal(text, "NAME  WHAT\nweb   a sentence that i\xe2\x80\xa6\n");
}

TEST(table_makes_what_came_from_outside_harmless)
{
    static const char *const cells[] = {"a\033[31m\nb", "\xe2\x80\xae"};
    CLEANUP(mem_freep) char *text = printed(cells, ARRAY_SIZE(cells), &(struct table_look){0});

    assert_null(strchr(text, '\033'));
    assert_contains(text, "a\\x1b[31m\\x0ab  \\u{202e}\n");
}

TEST(table_colours_only_where_it_is_told_to)
{
    struct table table;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    table_begin(&table, headings, ARRAY_SIZE(headings));
    table_add(&table, TABLE_BAD, "web");
    table_add(&table, TABLE_PLAIN, "gone");
    table_print(&table, &(struct table_look){.colour = true}, out);
    table_clear(&table);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "\033[1mNAME\033[0m  \033[1mWHAT\033[0m\n\033[31mweb\033[0m   gone\n");
    free(text);
}
