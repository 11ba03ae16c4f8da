#include "agent/ctl/foresee.h"

#include <string.h>

#include "agent/ctl/model.h"
#include "protocol/base/when.h"

/* --- explain --- */

static void print_explanation(const struct ctl *ctl, const char *happened, const char *todo)
{
    const struct table_look *look = &ctl->screen.look;
    json_t *out;

    if (ctl->json) {
        out = json_pack("{s:s, s:s, s:s}", "name", ctl->arguments[0], "happened", happened, "todo", todo);
        screen_json(out);
        json_decref(out);
        return;
    }
    screen_text(happened, 0);
    printf("\n%sWhat happens next, and what to do%s\n", table_style_on(look, TABLE_BOLD),
        table_style_off(look, TABLE_BOLD));
    screen_text(todo, 2);
}

static int read_plan(struct ctl *ctl, int64_t at, json_t **rows, struct err **errp)
{
    struct client_call call = {.method = "Plan", .signature = "x"};
    json_t *list;

    call.arguments = json_pack("[I]", (json_int_t)at);
    if (client_ask(ctl->client, &call, &list, errp) < 0)
        return -1;
    *rows = model_rows(list);
    json_decref(list);
    return 0;
}

/* A section or a template of which nothing is held: the plan knows why. 1 when it was explained, 0, or -1. */
static int explain_by_plan(struct ctl *ctl, struct err **errp)
{
    const char *name = ctl->arguments[0];
    json_t *rows = NULL, *row;
    int found = 0;
    size_t i;

    if (read_plan(ctl, 0, &rows, errp) < 0)
        return -1;
    json_array_foreach (rows, i, row) {
        bool meant = strcmp(model_text(row, "name"), name) == 0 || strcmp(model_text(row, "template"), name) == 0;
        CLEANUP(mem_freep)
        char *happened = mem_printf("Nothing is held for '%s' of policy server '%s': %s.", name,
            model_text(row, "server"), model_text(row, "reason"));

        if (!meant || found)
            continue;
        print_explanation(ctl, happened,
            "It is looked at again whenever the policy is asked. To look now:\n"
            "  autoenroll pulse --wait\nTo see what the policy offers:\n  autoenroll templates");
        found = 1;
    }
    json_decref(rows);
    return found;
}

/* A policy server is asked about by the same word. */
static void explain_server(const struct ctl *ctl, const json_t *s)
{
    const char *id = model_text(s, "id"), *error = model_text(s, "last-error"), *hint = model_text(s, "hint");
    CLEANUP(mem_freep) char *asked = screen_when(model_number(s, "fetched-at"), ctl->now);
    CLEANUP(mem_freep) char *next = screen_when(model_number(s, *error ? "next-attempt" : "next-update"), ctl->now);
    CLEANUP(mem_freep)
    char *happened =
        mem_printf("'%s' is the policy server at %s.\nIts policy was fetched %s.\n%s", id, model_text(s, "uri"),
            model_number(s, "fetched-at") ? asked : "never", *error ? error : "Nothing is wrong with it.");
    CLEANUP(mem_freep)
    char *todo = mem_printf("It is asked again %s.\n%s%sTo try it now:\n  autoenroll server test %s",
        model_number(s, *error ? "next-attempt" : "next-update") ? next : "as soon as it can be", hint,
        *hint ? "\n" : "", id);

    print_explanation(ctl, happened, todo);
}

int foresee_explain(struct ctl *ctl, struct err **errp)
{
    CLEANUP(mem_freep) char *path = buspath_make(BUS_ENROLLMENTS, ctl->arguments[0]);
    const struct client_call call = {.path = path, .interface = BUS_ENROLLMENT, .method = "Explain"};
    json_t *model, *e, *server, *reply = NULL;
    int r;

    if (model_read(ctl->client, &model, errp) < 0)
        return -1;
    r = model_find(model, "enrollments", ctl->arguments[0]) ? 0 : explain_by_plan(ctl, errp);
    server = model_find(model, "servers", ctl->arguments[0]);
    if (r == 0 && server && !model_find(model, "enrollments", ctl->arguments[0])) {
        explain_server(ctl, server);
        r = 1;
    }
    if (r == 0)
        r = model_find_enrollment(model, ctl->arguments[0], &e, errp);
    if (r == 0)
        r = client_call(ctl->client, &call, &reply, errp);
    json_decref(model);
    if (r != 0)
        return r < 0 ? -1 : 0;
    print_explanation(ctl, json_string_value(json_array_get(reply, 0)), json_string_value(json_array_get(reply, 1)));
    json_decref(reply);
    return 0;
}

/* --- plan --- */

/* "+90d", "2027-03-01", or an xs:dateTime. */
static int parse_at(const char *text, int64_t now, int64_t *at, struct err **errp)
{
    CLEANUP(mem_freep) char *midnight = mem_printf("%sT00:00:00Z", text);
    int64_t span;

    if (text[0] == '+' && when_parse_span(text + 1, &span, NULL) == 0) {
        *at = now + span;
        return 0;
    }
    if (when_parse_xsd(text, at, NULL) == 0 || when_parse_xsd(midnight, at, NULL) == 0)
        return 0;
    err_set(errp, ERR_USAGE, "'%s' is no date", text);
    return err_hint(errp, "write 2027-03-01, 2027-03-01T12:00:00Z, or +90d for 90 days from now");
}

static enum table_style action_style(const char *action)
{
    if (strcmp(action, "skip") == 0)
        return TABLE_WARN;
    return strcmp(action, "leave") == 0 ? TABLE_DIM : TABLE_GOOD;
}

static void print_plan(const struct ctl *ctl, const json_t *rows)
{
    static const char *const headings[] = {"NAME", "WHAT", "WHEN", "WHY"};
    struct table table;
    json_t *row;
    size_t i;

    table_begin(&table, headings, ARRAY_SIZE(headings));
    json_array_foreach (rows, i, row) {
        CLEANUP(mem_freep) char *when = screen_when(model_number(row, "at"), ctl->now);
        const char *name = model_text(row, "name");
        bool password = json_is_true(json_object_get(row, "needs-password"));
        CLEANUP(mem_freep)
        char *why = mem_printf("%s%s", model_text(row, "reason"), password ? " (needs the account's password)" : "");

        table_add(&table, TABLE_PLAIN, *name ? name : model_text(row, "template"));
        table_add(&table, action_style(model_text(row, "action")), model_text(row, "action"));
        table_add(&table, TABLE_PLAIN, when);
        table_add(&table, TABLE_PLAIN, why);
    }
    if (json_array_size(rows))
        table_print(&table, &ctl->screen.look, stdout);
    else
        printf("nothing is known of a policy yet: 'autoenroll status' says why\n");
    table_clear(&table);
}

int foresee_plan(struct ctl *ctl, struct err **errp)
{
    json_t *rows, *out;
    int64_t at = 0;

    if (ctl->at && parse_at(ctl->at, ctl->now, &at, errp) < 0)
        return -1;
    if (read_plan(ctl, at, &rows, errp) < 0)
        return -1;
    out = json_pack("{s:I, s:o}", "at", (json_int_t)(at ? at : ctl->now), "plan", rows);
    if (ctl->json)
        screen_json(out);
    else
        print_plan(ctl, rows);
    json_decref(out);
    return 0;
}

/* --- templates --- */

int foresee_list_templates(struct client *client, const char *server, json_t **out, struct err **errp)
{
    struct client_call call = {.method = "ListTemplates", .signature = "s"};
    json_t *list;

    call.arguments = json_pack("[s]", server);
    if (client_ask(client, &call, &list, errp) < 0)
        return -1;
    *out = model_rows(list);
    json_decref(list);
    return 0;
}

static bool is_taken(const json_t *t)
{
    return strcmp(model_text(t, "action"), "skip") != 0;
}

static void print_templates(const struct ctl *ctl, const json_t *rows)
{
    static const char *const headings[] = {"TEMPLATE", "SERVER", "KEY", "LIFE", "TAKEN", "WHY"};
    struct table table;
    json_t *t;
    size_t i;

    table_begin(&table, headings, ARRAY_SIZE(headings));
    json_array_foreach (rows, i, t) {
        CLEANUP(mem_freep) char *life = when_format_span(model_number(t, "validity"));

        table_add(&table, TABLE_PLAIN, model_text(t, "name"));
        table_add(&table, TABLE_PLAIN, model_text(t, "server"));
        table_add(&table, TABLE_PLAIN, model_text(t, "key"));
        table_add(&table, TABLE_PLAIN, model_number(t, "validity") ? life : "");
        table_add(&table, is_taken(t) ? TABLE_GOOD : TABLE_WARN, is_taken(t) ? "yes" : "no");
        table_add(&table, TABLE_PLAIN, model_text(t, "reason"));
    }
    if (json_array_size(rows))
        table_print(&table, &ctl->screen.look, stdout);
    else
        printf("no policy offers a template: 'autoenroll status' says whether it could be asked\n");
    table_clear(&table);
}

int foresee_templates(struct ctl *ctl, struct err **errp)
{
    json_t *rows = NULL, *out;

    if (foresee_list_templates(ctl->client, ctl->n_arguments ? ctl->arguments[0] : "", &rows, errp) < 0)
        return -1;
    out = json_pack("{s:o}", "templates", rows);
    if (ctl->json)
        screen_json(out);
    else
        print_templates(ctl, rows);
    json_decref(out);
    return 0;
}
