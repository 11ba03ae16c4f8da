/* table.h - rows of text in aligned columns, as wide as a terminal shows them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What a cell says at a glance; colours where the reader has them. */
enum table_style { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD, TABLE_DIM, TABLE_BOLD };

struct table_look {
    size_t width; /* columns of the terminal; the widest cells are cut until a row fits. 0: nothing is cut */
    bool colour;
};

struct table_cell {
    char *text; /* owned */
    enum table_style style;
};
struct table {
    const char *const *headings; /* borrowed; n_columns of them */
    size_t n_columns;
    struct table_cell *cells; /* owned; row by row */
    size_t n_cells;
};

/* @headings  borrowed until table_clear */
void table_begin(struct table *table, const char *const *headings, size_t n_columns);
/* The next cell, from left to right, then of the next row. @text may come from anywhere; NULL or "" is shown as "-". */
void table_add(struct table *table, enum table_style style, const char *text);
/* One line for the headings and one for each row, two blanks between columns and none at the end. */
void table_print(const struct table *table, const struct table_look *look, FILE *out);
void table_clear(struct table *table);

/* What begins and ends a style on a terminal; "" without colour. Borrowed for ever. */
const char *table_style_on(const struct table_look *look, enum table_style style);
const char *table_style_off(const struct table_look *look, enum table_style style);

/* Columns that @text takes on a terminal; it is printable already. */
size_t table_text_width(const char *text);
