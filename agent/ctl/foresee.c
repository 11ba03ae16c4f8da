#include "agent/ctl/foresee.h"

#include <string.h>

#include "agent/ctl/model.h"
#include "protocol/base/when.h"

/* --- explain --- */

int foresee_explain(struct ctl *ctl, struct err **errp)
{
    CLEANUP(mem_freep) char *path = buspath_make(BUS_ENROLLMENTS, ctl->arguments[0]);
    const struct client_call call = {.path = path, .interface = BUS_ENROLLMENT, .method = "Explain"};
    json_t *model, *e, *reply = NULL, *out;
    int r;

    if (model_read(ctl->client, &model, errp) < 0)
        return -1;
    r = model_find_enrollment(model, ctl->arguments[0], &e, errp);
    if (r == 0)
        r = client_call(ctl->client, &call, &reply, errp);
    json_decref(model);
    if (r < 0)
        return -1;
    out = json_pack("{s:s, s:O, s:O}", "name", ctl->arguments[0], "happened", json_array_get(reply, 0), "todo",
        json_array_get(reply, 1));
    if (ctl->json)
        screen_json(out);
    else {
        const struct table_look *look = &ctl->screen.look;

        screen_text(model_text(out, "happened"), 0);
        printf("\n%sWhat to do%s\n", table_style_on(look, TABLE_BOLD), table_style_off(look, TABLE_BOLD));
        screen_text(model_text(out, "todo"), 2);
    }
    json_decref(out);
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
    json_array_foreach(rows, i, row)
    {
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
    struct client_call call = {.method = "Plan", .signature = "x"};
    json_t *list, *rows, *out;
    int64_t at = 0;

    if (ctl->at && parse_at(ctl->at, ctl->now, &at, errp) < 0)
        return -1;
    call.arguments = json_pack("[I]", (json_int_t)at);
    if (client_ask(ctl->client, &call, &list, errp) < 0)
        return -1;
    rows = model_rows(list);
    json_decref(list);
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
    json_array_foreach(rows, i, t)
    {
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

/* Those of one server, or of each; a server of the same policy as another says the same, and is left out. */
static int collect_templates(struct ctl *ctl, json_t *rows, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist policies = {0};
    json_t *model, *list, *server;
    int r = model_read(ctl->client, &model, errp);
    size_t i;

    if (r < 0)
        return -1;
    list = json_object_get(model, "servers");
    json_array_foreach(list, i, server)
    {
        const char *id = model_text(server, "id"), *policy = model_text(server, "policy-id");
        json_t *templates = NULL, *t;
        size_t k;

        if (ctl->n_arguments ? strcmp(id, ctl->arguments[0]) != 0 : *policy && strlist_has(&policies, policy))
            continue;
        strlist_add(&policies, policy);
        r = foresee_list_templates(ctl->client, id, &templates, errp);
        if (r < 0)
            break;
        json_array_foreach(templates, k, t) if (!json_object_get(t, "server"))
            json_object_set_new(t, "server", json_string(id));
        json_array_extend(rows, templates);
        json_decref(templates);
    }
    json_decref(model);
    if (r == 0 && ctl->n_arguments && !policies.n) {
        err_set(errp, ERR_MISSING, "there is no policy server '%s'", ctl->arguments[0]);
        return err_hint(errp, "'" PROGRAM " server list' names those that are configured");
    }
    return r;
}

int foresee_templates(struct ctl *ctl, struct err **errp)
{
    json_t *rows = json_array(), *out = json_pack("{s:o}", "templates", rows);
    int r = collect_templates(ctl, rows, errp);

    if (r == 0 && ctl->json)
        screen_json(out);
    else if (r == 0)
        print_templates(ctl, rows);
    json_decref(out);
    return r;
}
