#include "agent/daemon/group.h"

#include <stdlib.h>
#include <string.h>

#include "agent/config/file.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/engine_tasks.h"
#include "agent/daemon/run.h"
#include "agent/job/job_fields.h"
#include "policy/merge.h"
#include "policy/schedule.h"
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

struct group *group_of_server(const struct group_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (group_has_server(&list->items[i], name))
            return &list->items[i];
    return NULL;
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

    return schedule_refresh(now, (int64_t)(hours < MOST_HOURS ? hours : MOST_HOURS) * WHEN_HOUR, engine_chance());
}

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

bool group_has_identity(const struct agent *agent, const struct group *group)
{
    return identity_for(agent, group) != NULL;
}

/* Is there one among its servers that can be asked now? */
static bool group_can_ask(const struct agent *agent, const struct group *group)
{
    for (size_t i = 0; i < group->n_servers; i++)
        if (group->servers[i]->auth != POLICY_AUTH_CERTIFICATE || group_has_identity(agent, group))
            return true;
    return false;
}

/* --- what they say together --- */

static void note_failure(struct group *group, const struct server_state *server)
{
    CLEANUP(mem_freep)
    char *note =
        mem_printf("%s%s%s", server->error, server->hint ? "\n  hint: " : "", server->hint ? server->hint : "");

    strlist_add(&group->notes, note);
    if (!group->failure)
        group->failure = err_new((enum err_kind)server->error_kind, server->error, server->hint, 0);
}

static void merge_server(struct agent *agent, struct group *group, const struct settings_server *server)
{
    CLEANUP(cached_clear) struct cached_policy cached = {0};
    struct server_state *state = server_find(&agent->servers, server->name);

    if (state->error)
        note_failure(group, state);
    if (!load_cached(agent, server, &cached)) {
        state->next_update = 0; /* whatever was answered to another question */
        return;
    }
    if (agent->now > cached.received + USABLE_AFTER && agent->now > cached.next_update)
        return;
    policy_merge(&group->policy, &cached.policy);
    group->has_policy = true;
}

void group_merge(struct agent *agent, struct group *group)
{
    policy_clear(&group->policy);
    strlist_clear(&group->notes);
    err_free(TAKE(group->failure));
    group->has_policy = false;
    for (size_t i = 0; i < group->n_servers; i++)
        merge_server(agent, group, group->servers[i]);
    if (group->has_policy) {
        err_free(TAKE(group->failure));
    } else if (!group->failure && !group_can_ask(agent, group)) {
        err_set(&group->failure, ERR_AUTH, "policy server '%s' wants a certificate, and there is none yet",
            group->servers[0]->name);
        err_hint(&group->failure, "add a section with auth = username and the same policy-id to get the first one");
    }
}

/* --- asking --- */

int64_t group_due(const struct agent *agent, const struct group *group, const struct server_state *server)
{
    const struct settings_server *section = settings_find_server(&agent->settings, server->name);
    /* A clock that was put back: what was learnt later than now says nothing of what is due. */
    int64_t due = server->fetched_at > agent->now ? 0 : server->next_update;

    if (section->auth == POLICY_AUTH_CERTIFICATE && !identity_for(agent, group))
        return INT64_MAX; /* as soon as there is one */
    if (server->impatient || server->last_attempt > agent->now)
        return 0;
    if (agent->options->oneshot)
        return INT64_MAX;
    if (section->auth == POLICY_AUTH_USERNAME && server_password(server, agent->now) == SERVER_PASSWORD_REFUSED)
        return server->refused_at + SERVER_REFUSED_FOR;
    return server->error && server->next_attempt > due ? server->next_attempt : due;
}

struct asking {
    struct agent *agent;
    char *server;                /* owned, since a reload may take the section away meanwhile */
    char *question;              /* owned; what was asked, as the cache says it */
    bool password;               /* it was shown */
    struct cached_policy cached; /* what was said last, empty where nothing */
};

static void asking_free(void *ctx)
{
    struct asking *asking = ctx;

    free(asking->server);
    free(asking->question);
    cached_clear(&asking->cached);
    free(asking);
}
DEFINE_FREEP(struct asking, asking_free)

static void job_refresh_clearp(struct job_refresh *job)
{
    job_refresh_clear(job);
}

/* What came takes the place of what was said before. 0 or -1 */
static int take_answer(struct asking *a, struct server_state *state, struct job_refreshed *answer, struct err **errp)
{
    const struct settings_server *server = settings_find_server(&a->agent->settings, a->server);
    struct cached_policy *cached = &a->cached;
    CLEANUP(mem_freep) char *older = NULL;
    int64_t now = a->agent->now;

    if (answer->not_changed && !cached->asked)
        return err_set(errp, ERR_PROTOCOL, "the server says that nothing has changed, and was never asked before");
    if (!answer->not_changed && cached->asked && now <= cached->received + USABLE_AFTER &&
        policy_is_older(&answer->policy, &cached->policy, &older)) {
        err_set(
            errp, ERR_POLICY, "its answer is older than the policy that it gave before, and is not applied: %s", older);
        return err_hint(errp, "if the policy was set back on purpose, wait a week or remove the cached one from "
                              "private/policies; else see to the server's directory and clock");
    }
    if (!answer->not_changed) {
        policy_clear(&cached->policy);
        cached->policy = answer->policy;
        answer->policy = (struct policy){0};
    }
    free(cached->asked);
    cached->asked = TAKE(a->question);
    cached->version = CACHE_VERSION;
    cached->received = now;
    cached->next_update = next_update(&cached->policy, now);
    if (save_cached(a->agent, server, cached, errp) < 0)
        return -1;
    state->fetched_at = now;
    state->next_update = cached->next_update;
    state->templates = (uint32_t)cached->policy.n_templates;
    free(state->policy_id);
    free(state->friendly_name);
    state->policy_id = mem_strdup_opt(cached->policy.id);
    state->friendly_name = mem_strdup_opt(cached->policy.friendly_name);
    return 0;
}

static void took(struct asking *a, struct server_state *state, const struct run_outcome *outcome, const struct err *why)
{
    struct agent *agent = a->agent;

    state->last_attempt = agent->now;
    if (!why) {
        state->failures = 0;
        state->next_attempt = 0;
        state->proven |= a->password;
        server_clear_failure(state);
        return;
    }
    for (size_t i = 0; i < outcome->event.n_endpoints; i++)
        if (a->password && outcome->event.endpoints[i].refused)
            server_password_refused(state, agent->now);
    state->failures++;
    state->next_attempt = schedule_retry(&(struct schedule_failure){.retry = err_kind_retry(err_kind(why)),
        .failures = state->failures,
        .retry_after = engine_retry_after(&outcome->event),
        .not_after = state->fetched_at ? state->fetched_at + USABLE_AFTER : 0,
        .not_before = state->fetched_at,
        .now = agent->now,
        .chance = engine_chance()});
    server_set_failure(state, why);
}

static void told(void *ctx, const char *text)
{
    const struct asking *a = ctx;

    engine_step_server(a->agent, a->server, text);
}

static void asked(void *ctx, struct run_outcome *outcome, struct err *failure)
{
    CLEANUP(asking_freep) struct asking *a = ctx;
    CLEANUP(err_freep) struct err *why = NULL;
    struct agent *agent = a->agent;
    struct server_state *state = server_find(&agent->servers, a->server);
    struct group *group = group_of_server(agent->groups, a->server);

    engine_run_ended(agent);
    if (!state || !group) /* it was taken out of the configuration */
        return;
    state->busy = false;
    if (a->password)
        state->in_use = false;
    if (failure)
        why = err_new(err_kind(failure), err_text(failure), err_hint_text(failure), err_code(failure));
    else
        (void)take_answer(a, state, &outcome->event.refreshed, &why);
    if (why)
        err_wrap(&why, "asking policy server '%s'", a->server);
    took(a, state, outcome, why);
    if (why && !agent->options->oneshot) /* which fails only where no policy is left, and tells of it at its end */
        agent_log_err(AGENT_LOG_WARNING, why);
    if (server_save(agent->paths.servers, state, why ? NULL : &why) < 0 && !failure)
        agent_log_err(AGENT_LOG_ERROR, why);
    group_merge(agent, group);
    agent_tell_server(agent, state);
    engine_asked(agent, state, why);
}

static int make_job(const struct agent *agent, const struct group *group, const struct settings_server *server,
    const struct cached_policy *cached, struct job_refresh *job, struct err **errp)
{
    const struct job_pair *identity = server->auth == POLICY_AUTH_CERTIFICATE ? identity_for(agent, group) : NULL;

    if (server->auth == POLICY_AUTH_CERTIFICATE && !identity) {
        err_set(errp, ERR_AUTH, "there is no certificate yet to authenticate with");
        return err_hint(errp, "it is asked as soon as there is one; a section with auth = username and the same "
                              "policy-id can get the first");
    }
    group_job_server(group, server, &job->server);
    agent_place(agent, &job->place);
    if (identity)
        job_pair_copy(&job->identity, identity);
    if (cached->asked)
        job->last_update = (struct opt_time){.set = true, .value = cached->policy.fetched_at};
    return 0;
}

int group_ask(struct agent *agent, struct group *group, struct server_state *state, struct err **errp)
{
    const struct settings_server *server = settings_find_server(&agent->settings, state->name);
    CLEANUP(job_refresh_clearp) struct job_refresh job = {0};
    CLEANUP(asking_freep) struct asking *a = mem_alloc(sizeof(*a));
    struct run_request request = {.kind = JOB_REFRESH,
        .input = &job,
        .label = state->name,
        .progress = told,
        .done = asked,
        .dropped = asking_free,
        .ctx = a};

    a->agent = agent;
    a->server = mem_strdup(state->name);
    a->question = question_of(server);
    a->password = server->auth == POLICY_AUTH_USERNAME;
    (void)load_cached(agent, server, &a->cached);
    if (make_job(agent, group, server, &a->cached, &job, errp) < 0)
        return -1;
    if (a->password && state->password)
        request.secret = (struct run_secret){.name = job.server.credential, .value = state->password};
    if (run_start(agent, &request, NULL, errp) < 0)
        return -1;
    a = NULL; /* the run's, until asked() */
    state->busy = true;
    state->impatient = false;
    state->in_use |= server->auth == POLICY_AUTH_USERNAME;
    engine_run_began(agent);
    return 0;
}
