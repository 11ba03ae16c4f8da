#include "agent/daemon/engine.h"
#include "agent/daemon/group.h"
#include "agent/daemon/monitor_inside.h"
#include "agent/daemon/run.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"

#define MAX_PROBLEM  1000 /* characters */
#define MOST_AT_ONCE 2    /* of those that somebody waits for: the rest is left to what is due */

/* --- what a worker is asked --- */

static const struct template *template_of(const struct agent *agent, const struct record *record)
{
    const struct group *group = record->server ? group_of_server(agent->groups, record->server) : NULL;

    return group && group->has_policy && record->template_oid
               ? policy_find_template(&group->policy, record->template_oid)
               : NULL;
}

static void make_job(const struct agent *agent, const struct record *record, struct job_verify *job)
{
    const struct settings_certificate *section = agent_section(agent, record);
    const struct settings_server *server =
        record->server ? settings_find_server(&agent->settings, record->server) : NULL;
    const struct template *template = section ? template_of(agent, record) : NULL;

    *job = (struct job_verify){.name = mem_strdup(record->id),
        .key_uri = mem_strdup_opt(record->current.facts.key_uri),
        .published = mem_printf("%s/%s/current", agent->paths.certs, record->id),
        .ca_file = server ? mem_strdup_opt(server->ca_file) : NULL};
    agent_place(agent, &job->place);
    job_pair_copy(&job->pair, &record->current.pair);
    if (!template)
        return;
    agent_names(section, &job->names);
    template_copy(MEM_APPEND(job->template, job->n_template), template);
}

/* --- what comes of it --- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool replace_text(char **text, const char *by)
{
    if (same_text(*text, by))
        return false;
    free(*text);
    *text = mem_strdup_opt(by);
    return true;
}

static bool replace_time(int64_t *when, int64_t by)
{
    if (!by || *when == by)
        return false;
    *when = by;
    return true;
}

static void tell_problem(const struct record *record)
{
    if (record->verify_problem)
        agent_log(AGENT_LOG_WARNING, "%s: %s", record->id, record->verify_problem);
    else
        agent_log(AGENT_LOG_NOTICE, "%s: everything is as it should be again", record->id);
}

/* The disk is spared: it is written when something is new, and not for the time alone. */
static void store(struct agent *agent, struct record *record, const struct job_verified *result, const char *problem)
{
    CLEANUP(err_freep) struct err *err = NULL;
    bool news = replace_text(&record->verify_problem, problem);
    bool differ = result && replace_text(&record->names_differ, result->names_differ);
    bool changed = news || differ || !record->verified_at;

    record->verified_at = agent->now;
    record->verdict = result ? result->verdict : JOB_VERDICT_ERROR;
    if (result) {
        changed |= replace_time(&record->issuer_not_after, result->issuer_not_after);
        changed |= replace_time(&record->anchor_not_after, result->anchor_not_after);
    }
    if (changed && agent_save_record(agent, record, &err) < 0)
        agent_log_err(AGENT_LOG_ERROR, err);
    if (news)
        tell_problem(record);
    if (differ)
        agent_log(AGENT_LOG_WARNING, "%s: %s", record->id,
            record->names_differ ? record->names_differ : "the names are as configured again");
}

/* A look that cannot be had because of the token or what it needs is a finding too; one that we failed at is none. */
static bool is_finding(const struct err *why)
{
    enum err_kind kind = err_kind(why);

    return kind == ERR_TOKEN || kind == ERR_MISSING || kind == ERR_AUTH || kind == ERR_CONFIG || kind == ERR_STORE ||
           kind == ERR_INVALID;
}

static void judge_token(struct monitor *monitor, const struct record *record, const struct err *why)
{
    if (record->current.pair.key_file || (why && !is_finding(why)))
        return;
    monitor->token = why ? MONITOR_TOKEN_UNREACHABLE : MONITOR_TOKEN_REACHABLE;
    monitor->token_seen = monitor->agent->now;
}

static void keep(
    struct monitor *monitor, struct record *record, const struct job_verified *result, const struct err *why)
{
    judge_token(monitor, record, why);
    if (result) {
        store(monitor->agent, record, result, result->problem);
    } else if (is_finding(why)) {
        CLEANUP(mem_freep) char *problem = printable(err_text(why), strlen(err_text(why)), MAX_PROBLEM);

        store(monitor->agent, record, NULL, problem);
    } else {
        agent_log_err(AGENT_LOG_WARNING, why);
    }
}

static void remove_check(struct monitor *monitor, const struct check *check)
{
    size_t kept = 0;

    for (size_t i = 0; i < monitor->n_checks; i++)
        if (monitor->checks[i] != check)
            monitor->checks[kept++] = monitor->checks[i];
    monitor->n_checks = kept;
}

static void ended(void *ctx, struct run_outcome *outcome, struct err *why)
{
    CLEANUP(mem_freep) struct check *check = ctx;
    struct monitor *monitor = check->monitor;
    const struct job_verified *result = why ? NULL : &outcome->event.verified;

    check->record->busy = false;
    if (!monitor)
        return;
    remove_check(monitor, check);
    keep(monitor, check->record, result, why);
    if (check->done)
        check->done(check->ctx, check->record, result, why);
    engine_run_ended(monitor->agent);
}

/* --- when --- */

static int begin(struct check *check, struct err **errp)
{
    struct agent *agent = check->monitor->agent;
    struct job_verify job;
    struct run_request request = {
        .kind = JOB_VERIFY, .input = &job, .label = check->record->id, .done = ended, .dropped = free, .ctx = check};
    int r;

    make_job(agent, check->record, &job);
    r = run_start(agent, &request, NULL, errp);
    job_verify_clear(&job);
    if (r < 0)
        return -1;
    check->running = true;
    check->record->busy = true;
    engine_run_began(agent);
    return 0;
}

static void give_up(struct monitor *monitor, struct check *check, const struct err *why)
{
    remove_check(monitor, check);
    if (check->done)
        check->done(check->ctx, check->record, NULL, why);
    else
        agent_log_err(AGENT_LOG_WARNING, why);
    free(check);
}

/* Current by its files, and not yet in the token: a worker was cut off, and its attempt goes on. */
static bool is_half_put(const struct record *record)
{
    return record->attempt.pair.certificate.len &&
           bytes_equal(&record->attempt.pair.certificate, &record->current.pair.certificate);
}

static bool may_begin(const struct monitor *monitor, const struct check *check)
{
    size_t running = 0;

    if (check->running || check->record->busy || !engine_has_room(monitor->agent) ||
        (!check->done && is_half_put(check->record)))
        return false;
    for (size_t i = 0; i < monitor->n_checks; i++)
        running += monitor->checks[i]->running;
    return check->done ? running < MOST_AT_ONCE : monitor_has_leisure(monitor);
}

void monitor_start_checks(struct monitor *monitor)
{
    for (size_t i = 0; i < monitor->n_checks;) {
        struct check *check = monitor->checks[i];
        CLEANUP(err_freep) struct err *why = NULL;

        if (may_begin(monitor, check) && begin(check, &why) < 0)
            give_up(monitor, check, why);
        else
            i++;
    }
}

static void add_check(struct monitor *monitor, struct record *record, monitor_verified *done, void *ctx)
{
    struct check *check = mem_alloc(sizeof(*check));

    *check =
        (struct check){.monitor = monitor, .record = record, .done = done, .ctx = ctx, .since = monitor->agent->now};
    monitor->checks = mem_realloc(monitor->checks, monitor->n_checks + 1, sizeof(struct check *));
    monitor->checks[monitor->n_checks++] = check;
}

void monitor_want_check(struct monitor *monitor, struct record *record)
{
    if (!record_has_certificate(record) || monitor->agent->cloned)
        return;
    for (size_t i = 0; i < monitor->n_checks; i++)
        if (monitor->checks[i]->record == record && !monitor->checks[i]->running)
            return;
    add_check(monitor, record, NULL, NULL);
}

int monitor_verify(struct agent *agent, struct record *record, monitor_verified *done, void *ctx, struct err **errp)
{
    if (!agent->monitor)
        return err_set(errp, ERR_INTERNAL, "nothing looks after '%s'", record->id);
    if (!record_has_certificate(record)) {
        err_set(errp, ERR_MISSING, "'%s' has no certificate yet", record->id);
        return err_hint(errp, "autoenroll explain %s says why", record->id);
    }
    if (agent->cloned)
        return err_set(errp, ERR_POLICY, "this state was made on another machine: nothing of it is used");
    add_check(agent->monitor, record, done, ctx);
    engine_wake(agent);
    return 0;
}

void monitor_drop_checks(struct monitor *monitor, const struct record *record)
{
    CLEANUP(err_freep) struct err *why = NULL;

    err_set(&why, record ? ERR_MISSING : ERR_BUSY, record ? "it was removed meanwhile" : "the daemon was stopped");
    for (size_t i = monitor->n_checks; i-- > 0;) {
        struct check *check = monitor->checks[i];

        if (record && check->record != record)
            continue;
        if (check->done)
            check->done(check->ctx, check->record, NULL, why);
        remove_check(monitor, check);
        if (check->running)
            check->monitor = NULL; /* until its worker has ended */
        else
            free(check);
    }
    if (!record)
        free(TAKE(monitor->checks));
}

char *monitor_report(const struct record *record, const struct job_verified *result, const struct err *why)
{
    CLEANUP(mem_freep) char *text = NULL;

    if (!result)
        text = printable_text(err_text(why));
    else if (result->problem && result->names_differ)
        text = mem_printf("%s; %s", result->problem, result->names_differ);
    else
        text = mem_strdup(result->problem ? result->problem : result->names_differ ? result->names_differ : "ok");
    return mem_printf("%s: %s", record->id, text);
}
