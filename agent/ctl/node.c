#include "agent/ctl/node.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"

enum node_kind { NODE_GROUP, NODE_LIST, NODE_TEXT, NODE_NUMBER, NODE_BOOL, NODE_TIME, NODE_SPAN, NODE_FLAGS };

#define LINE_WIDTH 100 /* a list of texts that is no longer stands on one line */

struct node {
    enum node_kind kind;
    const char *name;       /* NULL in a list */
    char *text;             /* TEXT */
    uint64_t number;        /* NUMBER, BOOL, SPAN, FLAGS; TIME, as int64_t */
    struct node **children; /* GROUP, LIST; FLAGS: its names */
    size_t n;
};

static struct node *add(struct node *parent, enum node_kind kind, const char *name)
{
    struct node *node = mem_alloc(sizeof(*node));

    node->kind = kind;
    node->name = name;
    if (parent)
        *MEM_APPEND(parent->children, parent->n) = node;
    return node;
}

struct node *node_new(void)
{
    return add(NULL, NODE_GROUP, NULL);
}

void node_free(struct node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->n; i++)
        node_free(node->children[i]);
    free(node->children);
    free(node->text);
    free(node);
}

struct node *node_group(struct node *parent, const char *name)
{
    return add(parent, NODE_GROUP, name);
}

struct node *node_list(struct node *parent, const char *name)
{
    return add(parent, NODE_LIST, name);
}

void node_text(struct node *parent, const char *name, const char *text)
{
    if (text)
        add(parent, NODE_TEXT, name)->text = mem_strdup(text);
}

void node_textf(struct node *parent, const char *name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(parent, NODE_TEXT, name)->text = mem_vprintf(fmt, ap);
    va_end(ap);
}

void node_texts(struct node *parent, const char *name, const struct strlist *texts)
{
    struct node *list;

    if (texts->n == 0)
        return;
    list = node_list(parent, name);
    for (size_t i = 0; i < texts->n; i++)
        node_text(list, NULL, texts->items[i]);
}

void node_number(struct node *parent, const char *name, uint64_t number)
{
    add(parent, NODE_NUMBER, name)->number = number;
}

void node_bool(struct node *parent, const char *name, bool yes)
{
    add(parent, NODE_BOOL, name)->number = yes;
}

void node_time(struct node *parent, const char *name, int64_t when)
{
    add(parent, NODE_TIME, name)->number = (uint64_t)when;
}

void node_span(struct node *parent, const char *name, uint64_t seconds)
{
    add(parent, NODE_SPAN, name)->number = seconds;
}

void node_hex(struct node *parent, const char *name, const struct bytes *bytes)
{
    if (bytes->len)
        add(parent, NODE_TEXT, name)->text = bytes_to_hex(bytes->data, bytes->len);
}

void node_flags(struct node *parent, const char *name, uint32_t value, const struct strlist *names)
{
    struct node *node = add(parent, NODE_FLAGS, name);

    node->number = value;
    for (size_t i = 0; i < names->n; i++)
        node_text(node, NULL, names->items[i]);
}

/* The value of a node that is no group, as a person reads it; harmless. Returns owned. */
static char *value_text(const struct node *node)
{
    switch (node->kind) {
    case NODE_TEXT:
        return printable_text(node->text);
    case NODE_NUMBER:
        return mem_printf("%" PRIu64, node->number);
    case NODE_BOOL:
        return mem_strdup(node->number ? "yes" : "no");
    case NODE_TIME:
        return when_format((int64_t)node->number);
    case NODE_SPAN:
        return node->number > INT64_MAX ? mem_printf("%" PRIu64 " seconds", node->number)
                                        : when_format_span((int64_t)node->number);
    case NODE_FLAGS:
    case NODE_LIST:
    case NODE_GROUP:
        break;
    }
    return mem_strdup("");
}

/* The values of a list, or the names of flags, on one line; NULL when they need more than one. Returns owned. */
static char *one_line(const struct node *node)
{
    CLEANUP(strlist_clear) struct strlist words = {0};
    bool clear = true; /* which comma separates */
    char *line;

    for (size_t i = 0; i < node->n; i++) {
        CLEANUP(mem_freep) char *text = NULL;

        if (node->children[i]->kind == NODE_GROUP || node->children[i]->kind == NODE_LIST)
            return NULL;
        text = value_text(node->children[i]);
        strlist_add(&words, text);
        clear = clear && !strstr(text, ", ");
    }
    line = strlist_join(&words, ", ");
    if (node->kind == NODE_LIST && node->n > 1 && (!clear || strlen(line) > LINE_WIDTH)) {
        free(line);
        return NULL;
    }
    return line;
}

static void print_group(const struct node *group, FILE *out, int indent, bool first_is_indented);

static void print_list(const struct node *list, FILE *out, int indent)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct node *item = list->children[i];
        CLEANUP(mem_freep) char *text = NULL;

        fprintf(out, "%*s- ", indent, "");
        if (item->kind == NODE_GROUP) {
            print_group(item, out, indent + 2, true);
            continue;
        }
        text = value_text(item);
        fprintf(out, "%s\n", text);
    }
}

/* What follows the name of @node on its line, and the lines below that belong to it. */
static void print_value(const struct node *node, FILE *out, int indent, int width)
{
    CLEANUP(mem_freep) char *line = NULL;

    if (node->kind == NODE_GROUP) {
        fprintf(out, "%s\n", node->name);
        print_group(node, out, indent + 4, false);
        return;
    }
    line = node->kind == NODE_LIST || node->kind == NODE_FLAGS ? one_line(node) : value_text(node);
    if (!line) {
        fprintf(out, "%s\n", node->name);
        print_list(node, out, indent + 4);
    } else if (node->kind == NODE_FLAGS) {
        fprintf(out, "%-*s  0x%08" PRIx64 "%s%s\n", width, node->name, node->number, node->n ? "  " : "", line);
    } else if (node->kind == NODE_LIST && node->n == 0) {
        fprintf(out, "%-*s  none\n", width, node->name);
    } else if (!*line) {
        fprintf(out, "%-*s  (empty)\n", width, node->name);
    } else {
        fprintf(out, "%-*s  %s\n", width, node->name, line);
    }
}

static void print_group(const struct node *group, FILE *out, int indent, bool first_is_indented)
{
    size_t width = 0;

    for (size_t i = 0; i < group->n; i++)
        if (group->children[i]->kind != NODE_GROUP && strlen(group->children[i]->name) > width)
            width = strlen(group->children[i]->name);
    for (size_t i = 0; i < group->n; i++) {
        if (i > 0 || !first_is_indented)
            fprintf(out, "%*s", indent, "");
        print_value(group->children[i], out, indent, (int)width);
    }
    if (group->n == 0 && first_is_indented)
        fputc('\n', out);
}

static int flushed(FILE *out, struct err **errp)
{
    if (fflush(out) != 0 || ferror(out))
        return err_set(errp, ERR_STORE, "writing the output: %m");
    return 0;
}

int node_print(const struct node *root, FILE *out, struct err **errp)
{
    print_group(root, out, 0, false);
    return flushed(out, errp);
}

/* Returns owned by the caller; never NULL. */
static json_t *to_json(const struct node *node)
{
    CLEANUP(mem_freep) char *text = NULL;
    json_t *json;

    switch (node->kind) {
    case NODE_NUMBER:
    case NODE_SPAN:
        if (node->number <= INT64_MAX)
            return json_integer((json_int_t)node->number);
        break;
    case NODE_BOOL:
        return json_boolean(node->number);
    case NODE_TIME:
        text = when_format_xsd((int64_t)node->number);
        return json_string(text);
    case NODE_TEXT:
        break;
    case NODE_LIST:
        json = json_array();
        for (size_t i = 0; i < node->n; i++)
            json_array_append_new(json, to_json(node->children[i]));
        return json;
    case NODE_FLAGS:
        json = json_object();
        json_object_set_new(json, "value", json_integer((json_int_t)node->number));
        json_object_set_new(json, "names", json_array());
        for (size_t i = 0; i < node->n; i++)
            json_array_append_new(json_object_get(json, "names"), to_json(node->children[i]));
        return json;
    case NODE_GROUP:
        json = json_object();
        for (size_t i = 0; i < node->n; i++) {
            CLEANUP(mem_freep) char *name = mem_strdup(node->children[i]->name);

            for (char *blank = name; (blank = strchr(blank, ' '));)
                *blank = '_';
            json_object_set_new(json, name, to_json(node->children[i]));
        }
        return json;
    }
    text = value_text(node);
    return json_string(text);
}

int node_print_json(const struct node *root, FILE *out, struct err **errp)
{
    json_t *json = to_json(root);
    int r = json_dumpf(json, out, JSON_INDENT(2));

    json_decref(json);
    if (r < 0)
        return err_set(errp, ERR_STORE, "writing the output: %m");
    fputc('\n', out);
    return flushed(out, errp);
}
