#include "agent/daemon/bus_plan.h"

#include <string.h>

#include "agent/daemon/engine.h"
#include "agent/daemon/engine_plan.h"
#include "agent/daemon/group.h"

/* --- the plan --- */

static const char *name_of(const struct decision *d)
{
    if (d->held)
        return d->held->name;
    return d->wish ? d->wish->name : "";
}

static const char *template_of(const struct decision *d)
{
    if (d->template)
        return d->template->name;
    return d->held ? d->held->template_name : d->wish->template_name;
}

/* When that is going to happen; 0: never by itself. */
static int64_t time_of(const struct agent *agent, const struct decision *d, int64_t at)
{
    const struct record *record = record_find(&agent->records, name_of(d));

    if (d->action == DECIDE_SKIP)
        return 0;
    if (d->action == DECIDE_LEAVE)
        return d->renew_at;
    return record && record->next_attempt > at ? record->next_attempt : at;
}

/* A first certificate is asked for with the account; what comes after it by its own key. */
static bool needs_password(const struct group *group, const struct decision *d)
{
    return d->action == DECIDE_ENROLL && group_account(group)->auth == POLICY_AUTH_USERNAME;
}

static void put_decision(
    struct bus_out *out, const struct agent *agent, const struct group *group, const struct decision *d, int64_t at)
{
    bus_begin_array(out, "{sv}");
    bus_entry_text(out, "Name", name_of(d));
    bus_entry_text(out, "Template", template_of(d));
    bus_entry_text(out, "Server", group_account(group)->name);
    bus_entry_text(out, "Action", decide_action_name(d->action));
    bus_entry_text(out, "Reason", d->reason);
    bus_entry_time(out, "At", time_of(agent, d, at));
    bus_entry_bool(out, "NeedsPassword", needs_password(group, d));
    bus_end(out);
}

void bus_put_plan(struct bus_out *out, const struct agent *agent, int64_t at)
{
    struct plan *plans;
    size_t n;

    engine_plan(agent, at, &plans, &n);
    bus_begin_array(out, "a{sv}");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < plans[i].decisions.n; k++)
            put_decision(out, agent, plans[i].group, &plans[i].decisions.items[k], at ? at : agent->now);
    bus_end(out);
    engine_plan_free(plans, n);
}

/* --- the templates --- */

static char *key_of(const struct template *t)
{
    static const struct {
        const char *oid, *name;
    } curves[] = {
        {"1.2.840.10045.3.1.7", "P-256"},
        {"1.3.132.0.34", "P-384"},
        {"1.3.132.0.35", "P-521"},
    };

    if (!t->key_algorithm || strcmp(t->key_algorithm, "1.2.840.113549.1.1.1") == 0)
        return mem_printf("RSA %u", t->key_length);
    for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
        if (strcmp(t->key_algorithm, curves[i].oid) == 0)
            return mem_strdup(curves[i].name);
    if (strcmp(t->key_algorithm, "1.2.840.10045.2.1") == 0)
        return mem_printf("EC %u", t->key_length);
    return mem_printf("%s, %u bits", t->key_algorithm, t->key_length);
}

/* What was decided about @t; NULL: nobody wants it. */
static const struct decision *decision_of(const struct plan *plan, const struct template *t)
{
    for (size_t i = 0; i < plan->decisions.n; i++) {
        const struct decision *d = &plan->decisions.items[i];

        if (d->template && strcmp(d->template->oid, t->oid) == 0)
            return d;
    }
    return NULL;
}

static void put_template(struct bus_out *out, const struct plan *plan, const struct template *t)
{
    const struct decision *d = decision_of(plan, t);
    CLEANUP(mem_freep) char *key = key_of(t);
    CLEANUP(mem_freep) char *version = mem_printf("%u.%u", t->major, t->minor);

    bus_begin_array(out, "{sv}");
    bus_entry_text(out, "Name", t->name);
    bus_entry_text(out, "Oid", t->oid);
    bus_entry_text(out, "Server", group_account(plan->group)->name);
    bus_entry_u32(out, "Schema", t->schema);
    bus_entry_text(out, "Version", version);
    bus_entry_bool(out, "Enroll", t->enroll);
    bus_entry_bool(out, "AutoEnroll", t->autoenroll);
    bus_entry_text(out, "Key", key);
    bus_entry_time(out, "Validity", t->validity < INT64_MAX ? (int64_t)t->validity : INT64_MAX);
    bus_entry_time(out, "Renewal", t->renewal < INT64_MAX ? (int64_t)t->renewal : INT64_MAX);
    bus_entry_text(out, "Enrollment", d ? name_of(d) : "");
    bus_entry_text(out, "Action", decide_action_name(d ? d->action : DECIDE_SKIP));
    bus_entry_text(out, "Reason", d ? d->reason : "no section asks for it, and the policy is not taken as a whole");
    bus_end(out);
}

void bus_put_templates(struct bus_out *out, const struct agent *agent, const char *server)
{
    struct plan *plans;
    size_t n;

    engine_plan(agent, 0, &plans, &n);
    bus_begin_array(out, "a{sv}");
    for (size_t i = 0; i < n; i++) {
        const struct group *group = plans[i].group;

        if (*server && !group_has_server(group, server))
            continue;
        for (size_t k = 0; k < group->policy.n_templates; k++)
            put_template(out, &plans[i], &group->policy.templates[k]);
    }
    bus_end(out);
    engine_plan_free(plans, n);
}
