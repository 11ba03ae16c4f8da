#include "agent/daemon/once.h"

#include <string.h>

#include "agent/daemon/engine_plan.h"

/* Is there something to be had with the account that nobody has denied yet? */
static bool is_wanted(const struct agent *agent, const struct decision *d)
{
    const char *name = d->held ? d->held->name : d->wish ? d->wish->name : NULL;
    const struct record *record = name ? record_find(&agent->records, name) : NULL;

    if (d->action == DECIDE_LEAVE || d->action == DECIDE_SKIP || d->action == DECIDE_RENEW)
        return false;
    return !record || !record->error || record->error_kind != ERR_DENIED;
}

static bool is_needed(const struct agent *agent, const struct server_state *server)
{
    bool known = false, wanted = false;
    struct plan *plans;
    size_t n;

    engine_plan(agent, 0, &plans, &n);
    for (size_t i = 0; i < n; i++) {
        if (!group_has_server(plans[i].group, server->name))
            continue;
        known = true;
        for (size_t k = 0; k < plans[i].decisions.n && !wanted; k++)
            wanted = is_wanted(agent, &plans[i].decisions.items[k]);
    }
    engine_plan_free(plans, n);
    return !known || wanted;
}

static void review(struct agent *agent, struct server_state *server)
{
    bool late = agent->now >= server->password_at + ONCE_LONGEST;

    if (!server->password || !server->once || server->busy)
        return;
    if (!late && (!server->proven || is_needed(agent, server)))
        return;
    agent_log(AGENT_LOG_NOTICE, "%s: the password that was given for once is forgotten: %s", server->name,
        late ? "14 days are over" : "everything is issued or denied");
    server_set_password(server, NULL, false);
    agent_tell_server(agent, server);
}

void once_review(struct agent *agent)
{
    for (size_t i = 0; i < agent->servers.n; i++)
        review(agent, agent->servers.items[i]);
}
