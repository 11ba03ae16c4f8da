#include "agent/daemon/engine_plan.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/engine_inside.h"
#include "agent/daemon/errand.h"
#include "policy/schedule.h"

void engine_question_clear(struct engine_question *q)
{
    free(q->wishes);
    free(q->held);
    *q = (struct engine_question){0};
}

static void gather_wishes(const struct agent *agent, const struct group *group, struct engine_question *q)
{
    for (size_t i = 0; i < agent->settings.n_certificates; i++) {
        const struct settings_certificate *c = &agent->settings.certificates[i];

        if (group_has_server(group, c->policy_server))
            *MEM_APPEND(q->wishes, q->ask.n_wishes) = (struct decide_wish){.name = c->name,
                .template_name = c->template_name,
                .has_names = c->subject || c->dns.n || c->ip.n || c->uri.n || c->email.n || c->upn.n,
                .file_key = c->file_key};
    }
}

void engine_question_make(const struct agent *agent, const struct group *group, int64_t now, struct engine_question *q)
{
    const struct settings_server *automatic = group_autoenroll(group);

    *q = (struct engine_question){.ask = {.policy = &group->policy, .autoenroll = automatic, .now = now}};
    gather_wishes(agent, group, q);
    for (size_t i = 0; i < agent->records.n; i++)
        if (group_has_server(group, agent->records.items[i]->server))
            *MEM_APPEND(q->held, q->inventory.n) = errand_held(agent, agent->records.items[i]);
    q->inventory.items = q->held;
    q->ask.inventory = &q->inventory;
    q->ask.wishes = q->wishes;
    q->ask.templates = automatic ? &automatic->templates : NULL;
    q->ask.account = group_account(group)->username;
    (void)schedule_hours_parse(agent->settings.agent.maintenance, &q->ask.hours, NULL); /* checked when it was read */
}

void engine_plan(const struct agent *agent, int64_t at, struct plan **plans, size_t *n)
{
    *plans = NULL;
    *n = 0;
    for (size_t i = 0; i < agent->groups->n; i++) {
        const struct group *group = &agent->groups->items[i];
        struct plan *plan;
        struct engine_question *question;

        if (!group->has_policy)
            continue;
        plan = MEM_APPEND(*plans, *n);
        question = mem_alloc(sizeof(*question));
        engine_question_make(agent, group, at ? at : agent->now, question);
        *plan = (struct plan){.group = group, .decisions = decide(&question->ask), .inside = question};
    }
}

void engine_plan_free(struct plan *plans, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        decision_list_clear(&plans[i].decisions);
        engine_question_clear(plans[i].inside);
        free(plans[i].inside);
    }
    free(plans);
}
