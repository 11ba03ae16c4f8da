/* node.h - a tree of named values, printed for a person or as JSON. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "protocol/base/bytes.h"

/*
 * A group holds named values, groups and lists; a list holds values or groups without names. A name is lower-case words
 * for a person, borrowed for ever (a constant); in JSON its blanks become underscores. Values are copied. Text may come
 * from anywhere: both printers make it harmless (printable.h).
 */
struct node;

struct node *node_new(void);       /* a group; returns owned */
void node_free(struct node *node); /* takes, with everything in it; NULL is fine */
DEFINE_FREEP(struct node, node_free)

/* Each adds to @parent; @name is NULL in a list. The two that return a node give a borrowed one, of @parent. */
struct node *node_group(struct node *parent, const char *name);
struct node *node_list(struct node *parent, const char *name);
void node_text(struct node *parent, const char *name, const char *text); /* NULL: nothing is added */
void node_textf(struct node *parent, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void node_texts(struct node *parent, const char *name, const struct strlist *texts); /* a list; empty: nothing */
void node_number(struct node *parent, const char *name, uint64_t number);
void node_bool(struct node *parent, const char *name, bool yes);                 /* "yes" and "no", true and false */
void node_time(struct node *parent, const char *name, int64_t when);             /* seconds since 1970, UTC */
void node_span(struct node *parent, const char *name, uint64_t seconds);         /* a number in JSON */
void node_hex(struct node *parent, const char *name, const struct bytes *bytes); /* empty: nothing is added */

/* A word of flags, with the names of its bits. */
void node_flags(struct node *parent, const char *name, uint32_t value, const struct strlist *names);

/* Prints what is in the group @root: indented and aligned, for a person; or as one JSON object. 0 or -1 (ERR_STORE). */
int node_print(const struct node *root, FILE *out, struct err **errp);
int node_print_json(const struct node *root, FILE *out, struct err **errp);
