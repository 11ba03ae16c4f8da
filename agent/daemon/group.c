#include "agent/daemon/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config/file.h"
#include "agent/daemon/run.h"
#include "agent/job/job_fields.h"
#include "policy/merge.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define CACHE_VERSION 1
#define CACHE_MAX     (16u << 20)
#define DEFAULT_HOURS 8              /* [MS-XCEP 3.1.4.1.3.23], product behaviour */
#define MOST_HOURS    (24 * 30)      /* a server that says more is asked all the same */
#define USABLE_AFTER  (7 * WHEN_DAY) /* a policy that cannot be refreshed counts that long */

/* --- which sections belong together --- */

static struct group *find_group(struct group_list *list, const char *policy_id)
{
    for (size_t i = 0; i < list->n && policy_id; i++)
        if (list->items[i].servers[0]->policy_id && strcmp(list->items[i].servers[0]->policy_id, policy_id) == 0)
            return &list->items[i];
    return MEM_APPEND(list->items, list->n);
}

static void add_server(struct group *group, const struct settings_server *server)
{
    size_t i;

    (void)MEM_APPEND(group->servers, group->n_servers);
    for (i = group->n_servers - 1; i > 0 && group->servers[i - 1]->cost > server->cost; i--)
        group->servers[i] = group->servers[i - 1];
    group->servers[i] = server;
}

void group_list_make(const struct settings *settings, struct group_list *out)
{
    *out = (struct group_list){0};
    for (size_t i = 0; i < settings->n_servers; i++)
        add_server(find_group(out, settings->servers[i].policy_id), &settings->servers[i]);
}

void group_list_clear(struct group_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        struct group *group = &list->items[i];

        free(group->servers);
        policy_clear(&group->policy);
        strlist_clear(&group->notes);
        err_free(group->failure);
    }
    free(list->items);
    *list = (struct group_list){0};
}

bool group_has_server(const struct group *group, const char *name)
{
    for (size_t i = 0; i < group->n_servers; i++)
        if (strcmp(group->servers[i]->name, name) == 0)
            return true;
    return false;
}

const struct settings_server *group_account(const struct group *group)
{
    for (size_t i = 0; i < group->n_servers; i++)
        if (group->servers[i]->username)
            return group->servers[i];
    return group->servers[0];
}

const struct settings_server *group_autoenroll(const struct group *group)
{
    for (size_t i = 0; i < group->n_servers; i++)
        if (group->servers[i]->autoenroll)
            return group->servers[i];
    return NULL;
}

static void allow(struct strlist *hosts, const char *host)
{
    if (!strlist_has(hosts, host))
        strlist_add(hosts, host);
}

/* "https://HOST:PORT/..." -> HOST:PORT; the settings have made sure of the beginning. */
static void allow_host_of(struct strlist *hosts, const char *uri)
{
    const char *start = uri + strlen("https://");
    CLEANUP(mem_freep) char *host = mem_strndup(start, strcspn(start, "/?#"));

    allow(hosts, host);
}

void group_job_server(const struct group *group, const struct settings_server *server, struct job_server *out)
{
    *out = (struct job_server){.name = mem_strdup(server->name),
        .uri = mem_strdup(server->uri),
        .auth = server->auth,
        .username = mem_strdup_opt(server->username),
        .credential = server->username ? mem_printf("%s.password", server->name) : NULL,
        .ca_file = mem_strdup(server->ca_file),
        .policy_id = mem_strdup_opt(server->policy_id)};
    for (size_t i = 0; i < group->n_servers; i++) {
        const struct settings_server *other = group->servers[i];

        if (other != server)
            allow_host_of(&out->ces_hosts, other->uri);
        for (size_t j = 0; j < other->ces_hosts.n; j++)
            allow(&out->ces_hosts, other->ces_hosts.items[j]);
    }
}

/* --- what a server said last, in private/policies/SECTION.json --- */

struct cached_policy {
    uint32_t version;
    char *asked; /* whom, and as whom: an answer to another question does not count */
    int64_t received, next_update;
    struct policy policy;
};
LOCAL_FIELDS(cached_fields, cached_policy, FIELD_U32(cached_policy, version),
    FIELD_TEXT_REQ(cached_policy, asked, JOB_MAX_PATH), FIELD_TIME(cached_policy, received),
    FIELD_TIME(cached_policy, next_update), FIELD_OBJECT(cached_policy, policy, policy, policy_fields));

static void cached_clear(struct cached_policy *cached)
{
    fields_clear(&cached_fields, cached);
}

static char *question_of(const struct settings_server *server)
{
    return mem_printf(
        "%s %s %s", policy_auth_name(server->auth), server->username ? server->username : "-", server->uri);
}

static char *cache_path(const struct agent *agent, const struct settings_server *server)
{
    return mem_printf("%s/%s.json", agent->paths.policies, server->name);
}

/* True when there is an answer to the question that we would ask; a damaged one is as good as none. */
static bool load_cached(const struct agent *agent, const struct settings_server *server, struct cached_policy *out)
{
    CLEANUP(mem_freep) char *path = cache_path(agent, server);
    CLEANUP(mem_freep) char *question = question_of(server);
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(cached_clear) struct cached_policy cached = {0};

    if (file_read(path, CACHE_MAX, &text, NULL) != FILE_READ ||
        fields_read(&cached_fields, text.data, text.len, &cached, NULL) < 0 || cached.version != CACHE_VERSION ||
        strcmp(cached.asked, question) != 0 || policy_check(&cached.policy, NULL) < 0)
        return false;
    *out = cached;
    cached = (struct cached_policy){0};
    return true;
}

static int save_cached(const struct agent *agent, const struct settings_server *server,
    const struct cached_policy *cached, struct err **errp)
{
    CLEANUP(mem_freep) char *path = cache_path(agent, server);
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (fields_write(&cached_fields, cached, false, &text, errp) < 0)
        return -1;
    return file_replace(path, text.data, text.len, 0600, errp);
}

static int64_t next_update(const struct policy *policy, int64_t now)
{
    uint32_t hours = policy->next_update_hours.set ? policy->next_update_hours.value : DEFAULT_HOURS;

    return now + (int64_t)(hours < MOST_HOURS ? hours : MOST_HOURS) * WHEN_HOUR;
}

/* --- asking --- */

/* Our certificate of this policy that lives longest; NULL where none is valid. */
static const struct job_pair *identity_for(const struct agent *agent, const struct group *group)
{
    const struct record *best = NULL;

    for (size_t i = 0; i < agent->records.n; i++) {
        const struct record *r = agent->records.items[i];

        if (record_has_certificate(r) && group_has_server(group, r->server) &&
            r->current.facts.not_after > agent->now &&
            (!best || r->current.facts.not_after > best->current.facts.not_after))
            best = r;
    }
    return best ? &best->current.pair : NULL;
}

static void job_refresh_clearp(struct job_refresh *job)
{
    job_refresh_clear(job);
}

/* @cached  what was said last, empty where nothing; updated. 0 or -1 */
static int ask(struct agent *agent, const struct group *group, const struct settings_server *server,
    struct cached_policy *cached, struct err **errp)
{
    CLEANUP(job_refresh_clearp) struct job_refresh job = {0};
    CLEANUP(run_outcome_clear) struct run_outcome outcome = {0};
    const struct job_pair *identity = server->auth == POLICY_AUTH_CERTIFICATE ? identity_for(agent, group) : NULL;
    struct job_refreshed *answer = &outcome.event.refreshed;

    if (server->auth == POLICY_AUTH_CERTIFICATE && !identity) {
        err_set(errp, ERR_AUTH, "there is no certificate yet to authenticate with");
        return err_hint(errp, "it is asked as soon as there is one; a section with auth = username and the same "
                              "policy-id can get the first");
    }
    group_job_server(group, server, &job.server);
    agent_place(agent, &job.place);
    if (identity)
        job_pair_copy(&job.identity, identity);
    if (cached->asked)
        job.last_update = (struct opt_time){.set = true, .value = cached->policy.fetched_at};
    if (run_job(agent, JOB_REFRESH, &job, server->name, NULL, &outcome, errp) < 0)
        return -1;
    if (answer->not_changed && !cached->asked)
        return err_set(errp, ERR_PROTOCOL, "the server says that nothing has changed, and was never asked before");
    if (!answer->not_changed) {
        policy_clear(&cached->policy);
        cached->policy = answer->policy;
        answer->policy = (struct policy){0};
    }
    free(cached->asked);
    cached->asked = question_of(server);
    cached->version = CACHE_VERSION;
    cached->received = agent->now;
    cached->next_update = next_update(&cached->policy, agent->now);
    return save_cached(agent, server, cached, errp);
}

/* A worker's words, which may be a server's: only the line break before the hint is ours. */
static void note_failure(struct group *group, const struct err *why)
{
    CLEANUP(mem_freep) char *text = printable_text(err_text(why));
    CLEANUP(mem_freep) char *hint = printable_text(err_hint_text(why));
    CLEANUP(mem_freep) char *note = mem_printf("%s%s%s", text, *hint ? "\n  hint: " : "", hint);

    strlist_add(&group->notes, note);
}

static void refresh_server(struct agent *agent, struct group *group, const struct settings_server *server)
{
    CLEANUP(cached_clear) struct cached_policy cached = {0};
    CLEANUP(err_freep) struct err *why = NULL;
    bool known = load_cached(agent, server, &cached);
    bool fresh = known && cached.received <= agent->now && agent->now < cached.next_update;

    if (!fresh && ask(agent, group, server, &cached, &why) < 0) {
        err_wrap(&why, "asking policy server '%s'", server->name);
        group->no_password |= err_kind(why) == ERR_AUTH && server->auth == POLICY_AUTH_USERNAME;
        /* A certificate server that waits for the first certificate is as it should be. */
        if (server->auth != POLICY_AUTH_CERTIFICATE || identity_for(agent, group)) {
            note_failure(group, why);
            if (!group->failure)
                group->failure = TAKE(why);
        }
        if (!known || agent->now > cached.received + USABLE_AFTER)
            return;
    }
    policy_merge(&group->policy, &cached.policy);
    group->has_policy = true;
}

void group_refresh(struct agent *agent, struct group *group)
{
    for (size_t i = 0; i < group->n_servers; i++)
        refresh_server(agent, group, group->servers[i]);
    if (group->has_policy) {
        err_free(TAKE(group->failure));
    } else if (!group->failure) {
        err_set(&group->failure, ERR_AUTH, "policy server '%s' wants a certificate, and there is none yet",
            group->servers[0]->name);
        err_hint(&group->failure, "add a section with auth = username and the same policy-id to get the first one");
    }
}
