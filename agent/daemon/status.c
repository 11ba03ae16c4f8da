#include "agent/daemon/status.h"

#include "agent/daemon/engine_walk.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/group.h"
#include "policy/schedule.h"
#include "protocol/base/printable.h"
#include "protocol/base/table.h"
#include "protocol/base/when.h"

/* --- the table --- */

static char *expiry_of(const struct record *record, int64_t now)
{
    CLEANUP(mem_freep) char *left = when_format_span(record->current.facts.not_after - now);
    CLEANUP(mem_freep) char *at = when_format(record->current.facts.not_after);

    if (!record_has_certificate(record))
        return NULL;
    return record->current.facts.not_after > now ? mem_printf("in %s (%s)", left, at) : mem_printf("EXPIRED %s", at);
}

static void print_table(const struct agent *agent)
{
    static const char *const headings[] = {"NAME", "STATE", "TEMPLATE", "SUBJECT", "SERIAL", "EXPIRES"};
    struct table table;

    table_begin(&table, headings, ARRAY_SIZE(headings));
    for (size_t i = 0; i < agent->records.n; i++) {
        const struct record *r = agent->records.items[i];
        const struct job_facts *facts = &r->current.facts;
        CLEANUP(mem_freep) char *expiry = expiry_of(r, agent->now);

        table_add(&table, TABLE_PLAIN, r->id);
        table_add(&table, TABLE_PLAIN, record_state_name((enum record_state)r->state));
        table_add(&table, TABLE_PLAIN, r->template_name);
        table_add(&table, TABLE_PLAIN, facts->subject && *facts->subject ? facts->subject : facts->sans);
        table_add(&table, TABLE_PLAIN, facts->serial);
        table_add(&table, TABLE_PLAIN, expiry);
    }
    table_print(&table, &(struct table_look){0}, stdout);
    table_clear(&table);
}

static void print_failure(const struct record *r)
{
    CLEANUP(mem_freep) char *error = printable_text(r->error);

    printf("\n%s: %s\n", r->id, error);
    for (size_t i = 0; i < r->n_endpoints; i++) {
        CLEANUP(mem_freep) char *uri = printable_text(r->endpoints[i].uri);
        CLEANUP(mem_freep) char *why = printable_text(r->endpoints[i].error ? r->endpoints[i].error : "answered");

        printf("  tried %s: %s\n", uri, why);
    }
    if (r->hint) {
        CLEANUP(mem_freep) char *hint = printable_text(r->hint);

        printf("  hint: %s\n", hint);
    }
}

static void print_keys(const struct agent *agent)
{
    bool any = false;

    for (size_t i = 0; i < agent->records.n; i++) {
        const struct record *r = agent->records.items[i];
        CLEANUP(mem_freep) char *uri = printable_text(r->current.facts.key_uri);
        CLEANUP(mem_freep) char *kind = printable_text(r->current.facts.key_kind);

        if (!record_has_certificate(r))
            continue;
        printf("%s%s: %s key %s\n%s  files in %s/%s/current\n", any ? "" : "\n", r->id, kind, uri, "",
            agent->paths.certs, r->id);
        any = true;
    }
}

static void print_group(const struct group *group)
{
    for (size_t k = 0; k < group->notes.n; k++)
        printf("\n%s\n", group->notes.items[k]);
    if (group->failure && !group->notes.n) {
        printf("\n%s\n", err_text(group->failure));
        if (err_hint_text(group->failure))
            printf("  hint: %s\n", err_hint_text(group->failure));
    }
    for (size_t k = 0; k < group->policy.skipped.n; k++) {
        CLEANUP(mem_freep) char *text = printable_text(group->policy.skipped.items[k]);

        printf("\npolicy: %s\n", text);
    }
}

/* What was done has been told step by step; this is about what was not. */
static void print_decisions(const struct engine_report *report)
{
    const char *gap = "\n";

    for (size_t i = 0; i < report->n_lines; i++) {
        const struct engine_line *line = &report->lines[i];

        if (line->action != DECIDE_LEAVE && line->action != DECIDE_SKIP)
            continue;
        printf("%s%s: %s%s\n", gap, line->name, line->action == DECIDE_SKIP ? "skipped: " : "", line->reason);
        gap = "";
    }
}

void status_print(const struct agent *agent, const struct engine_report *report)
{
    putchar('\n');
    if (agent->records.n)
        print_table(agent);
    else
        printf("nothing is enrolled\n");
    print_keys(agent);
    print_decisions(report);
    for (size_t i = 0; i < agent->records.n; i++)
        if (agent->records.items[i]->error)
            print_failure(agent->records.items[i]);
    for (size_t i = 0; i < agent->groups->n; i++)
        print_group(&agent->groups->items[i]);
    for (size_t i = 0; i < agent->problems.n; i++)
        printf("\n%s\n", agent->problems.items[i]);
}

/* --- JSON --- */

static void set_text(json_t *object, const char *name, const char *text)
{
    CLEANUP(mem_freep) char *safe = text ? printable_text(text) : NULL;

    json_object_set_new(object, name, safe ? json_string(safe) : json_null());
}

static json_t *texts(const struct strlist *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->n; i++) {
        CLEANUP(mem_freep) char *safe = printable_text(list->items[i]);

        json_array_append_new(array, json_string(safe));
    }
    return array;
}

static json_t *endpoints_of(const struct record *r)
{
    json_t *array = json_array();

    for (size_t i = 0; i < r->n_endpoints; i++) {
        json_t *one = json_object();

        set_text(one, "uri", r->endpoints[i].uri);
        set_text(one, "auth", policy_auth_name(r->endpoints[i].auth));
        set_text(one, "error", r->endpoints[i].error);
        json_array_append_new(array, one);
    }
    return array;
}

static json_t *enrollment_of(const struct record *r)
{
    const struct job_facts *facts = &r->current.facts;
    json_t *object = json_object();

    set_text(object, "name", r->id);
    set_text(object, "state", record_state_name((enum record_state)r->state));
    set_text(object, "template", r->template_name);
    set_text(object, "server", r->server);
    if (record_has_certificate(r)) {
        set_text(object, "subject", facts->subject);
        set_text(object, "alternative-names", facts->sans);
        set_text(object, "issuer", facts->issuer);
        set_text(object, "serial", facts->serial);
        set_text(object, "thumbprint", facts->thumbprint);
        set_text(object, "key", facts->key_uri);
        set_text(object, "key-kind", facts->key_kind);
        json_object_set_new(object, "not-before", json_integer(facts->not_before));
        json_object_set_new(object, "not-after", json_integer(facts->not_after));
        json_object_set_new(object, "generation", json_integer(r->current.generation));
    }
    if (r->attempt.request_id)
        set_text(object, "request-id", r->attempt.request_id);
    if (r->error) {
        set_text(object, "error", r->error);
        set_text(object, "error-kind", err_kind_name((enum err_kind)r->error_kind));
        set_text(object, "hint", r->hint);
        json_object_set_new(object, "hresult", json_integer(r->error_code));
        json_object_set_new(object, "endpoints", endpoints_of(r));
    }
    return object;
}

static json_t *decisions_of(const struct engine_report *report)
{
    json_t *array = json_array();

    for (size_t i = 0; i < report->n_lines; i++) {
        json_t *one = json_object();

        set_text(one, "name", report->lines[i].name);
        set_text(one, "action", decide_action_name(report->lines[i].action));
        set_text(one, "reason", report->lines[i].reason);
        json_array_append_new(array, one);
    }
    return array;
}

static json_t *policies_of(const struct agent *agent)
{
    json_t *array = json_array();

    for (size_t i = 0; i < agent->groups->n; i++) {
        const struct group *group = &agent->groups->items[i];
        json_t *one = json_object();

        set_text(one, "policy-id", group->policy.id);
        json_object_set_new(one, "templates", json_integer((json_int_t)group->policy.n_templates));
        json_object_set_new(one, "skipped", texts(&group->policy.skipped));
        json_object_set_new(one, "notes", texts(&group->notes));
        set_text(one, "error", group->failure ? err_text(group->failure) : NULL);
        set_text(one, "hint", group->failure ? err_hint_text(group->failure) : NULL);
        json_array_append_new(array, one);
    }
    return array;
}

void status_print_json(const struct agent *agent, const struct engine_report *report)
{
    json_t *object = json_object(), *enrollments = json_array();
    CLEANUP(mem_freep) char *text = NULL;

    for (size_t i = 0; i < agent->records.n; i++)
        json_array_append_new(enrollments, enrollment_of(agent->records.items[i]));
    json_object_set_new(object, "enrollments", enrollments);
    json_object_set_new(object, "decisions", decisions_of(report));
    json_object_set_new(object, "policies", policies_of(agent));
    json_object_set_new(object, "problems", texts(&agent->problems));
    text = json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    printf("%s\n", text);
    json_decref(object);
}
