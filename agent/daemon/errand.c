#include "agent/daemon/errand.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/engine.h"
#include "agent/daemon/engine_tasks.h"
#include "agent/daemon/engine_walk.h"
#include "agent/daemon/run.h"
#include "agent/job/job_fields.h"
#include "policy/schedule.h"
#include "protocol/base/digest.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

/* One attempt in a worker. Record and account are looked up again at its end: a reload may take them away. */
struct errand {
    struct agent *agent;
    struct record *record; /* borrowed: a record that is busy stays */
    char *account;         /* owned; whose password it may show, NULL: none */
    bool shows;            /* that password is not proven, and other jobs wait for this one */
    enum job_kind kind;
};

static void errand_free(void *ctx)
{
    struct errand *errand = ctx;

    free(errand->account);
    free(errand);
}
DEFINE_FREEP(struct errand, errand_free)

/* --- the job --- */

/* The pair that the attempt is to replace: the current one, or, once the new pair has its place, the one before. */
static const struct job_pair *pair_before(const struct record *record)
{
    bool installed = record->attempt.pair.certificate.len &&
                     bytes_equal(&record->attempt.pair.certificate, &record->current.pair.certificate);

    if (!installed)
        return record_has_certificate(record) ? &record->current.pair : NULL;
    return record->n_previous ? &record->previous[record->n_previous - 1].pair : NULL;
}

static void make_job(
    const struct agent *agent, const struct group *group, const struct record *record, struct job_enroll *job)
{
    const struct settings_certificate *section = agent_section(agent, record);
    const struct settings_server *account = group_account(group);
    const struct job_pair *before = pair_before(record);
    const struct job_pair *old = record->renewal ? before : NULL; /* its key signs */

    job->name = mem_strdup(record->id);
    group_job_server(group, account, &job->server);
    agent_place(agent, &job->place);
    template_copy(&job->template, &record->wanted[0]);
    for (size_t i = 0; i < record->n_cas; i++)
        policy_ca_copy(MEM_APPEND(job->cas, job->n_cas), &record->cas[i]);
    if (section)
        agent_names(section, &job->names);
    if (old)
        job_pair_copy(&job->old, old);
    if (before)
        bytes_copy(&job->replaces, &before->key_id);
    job->same_key = old && record->asked_same_key;
    job->file_key = section && section->file_key;
    job->password_fallback = account->password_fallback;
    job_attempt_copy(&job->attempt, &record->attempt);
}

static void job_enroll_clearp(struct job_enroll *job)
{
    job_enroll_clear(job);
}

/* --- its end --- */

/*
 * A request that the CA has refused, or knows no more, is never repeated; its key is of no use any more. Everything
 * else may go on. A code says that it was the CA who spoke: what is missing here may come back.
 */
static void after_failure(struct agent *agent, struct record *record, const struct err *why)
{
    if (err_kind(why) != ERR_DENIED && !(err_kind(why) == ERR_MISSING && err_code(why)))
        return;
    record_drop_attempt(record);
    agent->sweep = true;
}

/* Each address that the request was sent to counts, also where nothing useful came back; an answer has been counted. */
static void count_sent(struct agent *agent, struct record *record, const struct job_endpoint *endpoints, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (endpoints[i].sent && endpoints[i].error)
            record_count_request(record, agent->now);
}

/* About this machine alone: nobody else meets it at the same time. */
static bool is_local(enum err_kind kind)
{
    return kind == ERR_TOKEN || kind == ERR_STORE || kind == ERR_BUSY || kind == ERR_INTERNAL;
}

int64_t errand_next_try(
    const struct record *record, enum err_kind kind, uint32_t retry_after, int64_t now, uint32_t chance)
{
    const struct schedule_failure failure = {.retry = err_kind_retry(kind) || kind == ERR_INTERNAL,
        .local = is_local(kind),
        .failures = record->failures,
        .retry_after = retry_after,
        .not_before = record->current.facts.not_before,
        .not_after = record_has_certificate(record) ? record->current.facts.not_after : 0,
        .now = now,
        .chance = chance};

    return schedule_retry(&failure);
}

static void take_failure(struct agent *agent, struct record *record, const struct err *why,
    const struct channel_event *event, struct err **errp)
{
    count_sent(agent, record, event->endpoints, event->n_endpoints);
    after_failure(agent, record, why); /* first: a refused request is not pending any more */
    record->failures++;
    record_set_failure(record, agent->now, why, event->endpoints, event->n_endpoints);
    record->next_attempt =
        errand_next_try(record, err_kind(why), engine_retry_after(event), agent->now, engine_chance());
    if (agent_save_record(agent, record, errp) < 0)
        return;
    agent_tell_record(agent, AGENT_FAILED, record);
}

static void take_success(
    struct agent *agent, struct record *record, const struct job_enrolled *result, struct err **errp)
{
    count_sent(agent, record, result->endpoints, result->n_endpoints);
    record_clear_failure(record);
    record->failures = 0;
    record->next_attempt = 0;
    record->last_success = agent->now;
    if (result->pending) {
        record->state = RECORD_PENDING;
        if (!record->pending_since)
            record_note(record, agent->now, "pending, request %s", record->attempt.request_id);
        if (!record->pending_since)
            record->pending_since = agent->now;
        record->next_attempt = schedule_poll(record->pending_since, agent->now, engine_chance());
    } else {
        record->state = RECORD_INSTALLED;
        record_note(record, agent->now, "%s, serial %s", record->renewal ? "renewed" : "enrolled",
            record->current.facts.serial);
        record_drop_attempt(record);
        record->renew_at = 0;
        record->asked = record->asked_same_key = false;
    }
    (void)agent_save_record(agent, record, errp);
}

/* What the job says about the password that it may have shown. */
static void judge_password(struct errand *e, const struct channel_event *event, const struct err *why)
{
    struct server_state *account = e->account ? server_find(&e->agent->servers, e->account) : NULL;
    const struct record *record = e->record;
    const struct job_endpoint *tried = why ? event->endpoints : event->enrolled.endpoints;
    size_t n = why ? event->n_endpoints : event->enrolled.n_endpoints;
    bool refused = false;

    if (!account)
        return;
    if (e->shows)
        account->in_use = false;
    for (size_t i = 0; i < n; i++) {
        refused |= tried[i].auth == POLICY_AUTH_USERNAME && tried[i].refused;
        account->proven |= tried[i].auth == POLICY_AUTH_USERNAME && tried[i].sent && !tried[i].error;
    }
    if (refused) {
        server_password_refused(account, e->agent->now);
        (void)server_save(e->agent->paths.servers, account, NULL);
        agent_log(AGENT_LOG_WARNING,
            "%s: the password of policy server '%s' was refused; it is not shown again for a "
            "day, or until there is another",
            record->id, account->name);
        agent_tell_server(e->agent, account);
    }
}

static void told(void *ctx, const char *text)
{
    const struct errand *e = ctx;

    engine_step_record(e->agent, e->record->id, text);
}

static void done(void *ctx, struct run_outcome *outcome, struct err *why)
{
    CLEANUP(errand_freep) struct errand *e = ctx;
    CLEANUP(err_freep) struct err *trouble = NULL;
    struct agent *agent = e->agent;
    struct record *record = e->record;

    record->busy = false;
    record->run = NULL;
    record->last_attempt = agent->now;
    record->attempts++;
    judge_password(e, &outcome->event, why);
    if (why)
        take_failure(agent, record, why, &outcome->event, &trouble);
    else
        take_success(agent, record, &outcome->event.enrolled, &trouble);
    if (why)
        engine_failed(agent, why);
    if (trouble)
        engine_failed_untold(agent, trouble);
    engine_attempted(agent, record, why ? why : trouble);
    engine_run_ended(agent);
}

/* --- its beginning --- */

static bool needs_password(const struct record *record)
{
    const struct job_attempt *attempt = &record->attempt;

    if (attempt->pending)
        return attempt->ces_auth == POLICY_AUTH_USERNAME;
    return !record->renewal && !attempt->pair.certificate.len;
}

/* It is on record that a password keeps it from going on; not again at each look. */
static int without_password(
    struct agent *agent, struct record *record, const struct server_state *account, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;
    const struct channel_event nothing = {0};
    int64_t again = account->refused_at + SERVER_REFUSED_FOR;

    if (record->error && record->next_attempt >= again)
        return ERRAND_WAITS;
    err_set(&why, ERR_AUTH, "not tried: the password for policy server '%s' was refused", account->name);
    err_hint(&why, "give the right one: autoenroll login %s, or store it as credential '%s.password' and ask again",
        account->name, account->name);
    take_failure(agent, record, why, &nothing, errp);
    record->next_attempt = again;
    engine_failed(agent, why);
    engine_attempted(agent, record, why);
    return errp && *errp ? -1 : ERRAND_WAITS;
}

/* A failure to start a worker at all: on record as any other, so that it is seen and tried again. */
static int not_started(struct agent *agent, struct record *record, const struct err *why, struct err **errp)
{
    const struct channel_event nothing = {0};

    take_failure(agent, record, why, &nothing, errp);
    engine_failed(agent, why);
    engine_attempted(agent, record, why);
    return errp && *errp ? -1 : ERRAND_WAITS;
}

static int go_on(struct agent *agent, struct group *group, struct record *record, struct err **errp)
{
    CLEANUP(job_enroll_clearp) struct job_enroll job = {0};
    CLEANUP(err_freep) struct err *why = NULL;
    CLEANUP(errand_freep) struct errand *e = mem_alloc(sizeof(*e));
    struct server_state *account = server_find(&agent->servers, group_account(group)->name);
    bool shows = account && group_account(group)->username && needs_password(record);
    struct run_request request = {
        .input = &job, .label = record->id, .record = record, .progress = told, .done = done, .dropped = errand_free};

    if (record->attempt.pair.certificate.len && run_install(agent, record, errp) < 0)
        return -1;
    *e = (struct errand){.agent = agent,
        .record = record,
        .kind = record->attempt.pending ? JOB_POLL : JOB_ENROLL,
        .account = account && group_account(group)->username ? mem_strdup(account->name) : NULL,
        .shows = shows};
    make_job(agent, group, record, &job);
    request.kind = e->kind;
    request.ctx = e;
    if (account && account->password && job.server.credential)
        request.secret = (struct run_secret){.name = job.server.credential, .value = account->password};
    if (run_start(agent, &request, &record->run, &why) < 0)
        return not_started(agent, record, why, errp);
    e = NULL; /* the run's, until done() */
    record->busy = true;
    record->impatient = false;
    if (shows)
        account->in_use = true;
    engine_run_began(agent);
    return ERRAND_STARTED;
}

/* May it start now? ERRAND_STARTED: yes. */
static int may_start(
    struct agent *agent, const struct group *group, struct record *record, bool password, struct err **errp)
{
    const struct server_state *account = server_find(&agent->servers, group_account(group)->name);

    if (!engine_has_room(agent))
        return ERRAND_NO_ROOM;
    if (!password || !account || !group_account(group)->username)
        return ERRAND_STARTED;
    switch (server_password(account, agent->now)) {
    case SERVER_PASSWORD_FREE:
        return ERRAND_STARTED;
    case SERVER_PASSWORD_WAIT:
        return ERRAND_WAITS;
    case SERVER_PASSWORD_REFUSED:
        return without_password(agent, record, account, errp);
    }
    return ERRAND_WAITS;
}

int errand_resume(struct agent *agent, struct group *group, struct record *record, struct err **errp)
{
    int r = may_start(agent, group, record, needs_password(record), errp);

    if (r != ERRAND_STARTED)
        return r;
    agent_log(AGENT_LOG_INFO, "%s: going on where it was interrupted", record->id);
    return go_on(agent, group, record, errp);
}

/* The CAs that may be asked; for a renewal the one that issued the old certificate goes first. */
static void choose_cas(struct record *record, const struct policy *policy, const struct template *t)
{
    record_drop_cas(record);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < t->n_cas; i++) {
            const struct policy_ca *ca = &policy->cas[t->cas[i]];

            if ((ca->enroll_permission || record->renewal) &&
                (pass == 0) == policy_ca_issued(ca, record->current.facts.issuer))
                policy_ca_copy(MEM_APPEND(record->cas, record->n_cas), ca);
        }
    }
}

/* Writes down what is asked for: the template, and who may be asked. */
static void want(struct record *record, const struct policy *policy, const struct template *t)
{
    template_copy(MEM_APPEND(record->wanted, record->n_wanted), t);
    record->wanted[0].n_cas = 0; /* they are indices into the policy; the CAs themselves follow */
    choose_cas(record, policy, t);
}

static int begin(struct agent *agent, struct group *group, struct record *record, const struct template *t,
    bool renewal, struct err **errp)
{
    agent->sweep |= record_is_under_way(record);
    record_drop_attempt(record);
    free(record->template_oid);
    free(record->template_name);
    record->template_oid = mem_strdup(t->oid); /* a section may name another template than before */
    record->template_name = mem_strdup(t->name);
    record->renewal = renewal;
    record->attempt_started = agent->now;
    record->state = RECORD_WORKING;
    want(record, &group->policy, t);
    if (agent_save_record(agent, record, errp) < 0)
        return -1;
    return go_on(agent, group, record, errp);
}

static bool has_begun(const struct record *record)
{
    return record->n_wanted && !record->attempt.pending;
}

bool errand_is_cut_off(const struct record *record)
{
    return has_begun(record) && !record->error;
}

static bool is_same_template(const struct template *a, const struct template *b)
{
    struct template plain[] = {*a, *b}; /* which CAs issue it is another matter */
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(bytes_clear) struct bytes other = {0};

    plain[0].n_cas = plain[1].n_cas = 0;
    return fields_write(&template_fields, &plain[0], false, &text, NULL) == 0 &&
           fields_write(&template_fields, &plain[1], false, &other, NULL) == 0 && bytes_equal(&text, &other);
}

/*
 * What failed is tried again as the policy is now. The request goes out once more, unless the template has changed, the
 * certificate of the key that signed it has expired, or its key is missing and a person asks all the same.
 */
static int try_again(
    struct agent *agent, struct group *group, struct record *record, const struct template *t, struct err **errp)
{
    bool expired = record->renewal && record->current.facts.not_after <= agent->now;
    bool lost = record->error && record->error_kind == ERR_MISSING && record->asked;
    /* The old key has signed, or can; one that was missed twice is given up when a person asks once more. */
    bool signs = !expired && !(lost && record->failures > 1 && !record->attempt.request.len);

    if (!t || record->attempt.pair.certificate.len)
        return go_on(agent, group, record, errp);
    if (expired || lost || !is_same_template(&record->wanted[0], t))
        return begin(agent, group, record, t, record->renewal && signs, errp);
    choose_cas(record, &group->policy, t);
    return go_on(agent, group, record, errp);
}

/* --- who it is --- */

char *errand_local_id(const char *server, const char *oid)
{
    CLEANUP(mem_freep) char *hex = digest_sha256_hex(oid, strlen(oid));

    return mem_printf("%s-%.8s", server, hex);
}

/* NULL: there is one that could not be read, and a new one would replace it. */
static struct record *record_for(struct agent *agent, const struct group *group, const struct decision *d)
{
    const struct settings_server *automatic = group_autoenroll(group);
    CLEANUP(mem_freep)
    char *id = d->held   ? mem_strdup(d->held->name)
               : d->wish ? mem_strdup(d->wish->name)
                         : errand_local_id(automatic->name, d->template->oid);
    struct record *record = record_find(&agent->records, id);

    if (record || strlist_has(&agent->records.left_alone, id))
        return record;
    record = record_add(&agent->records, id);
    record->certificate = d->wish ? mem_strdup(d->wish->name) : NULL;
    record->server = mem_strdup(d->wish ? group_account(group)->name : automatic->name);
    record->template_oid = mem_strdup(d->template->oid);
    record->template_name = mem_strdup(d->template->name);
    record->impatient = true;
    agent_tell_record(agent, AGENT_RECORD_ADDED, record);
    return record;
}

/* --- a decision --- */

/* Going on with an answer that is on record sends nothing, unless that was refused. */
static bool has_answer(const struct record *r)
{
    bool answered = r->attempt.answer_cms.len || r->attempt.answer_certificate.len;

    return answered && !r->attempt.pending && r->error_kind != ERR_UNTRUSTED && r->error_kind != ERR_INVALID;
}

struct held_cert errand_held(const struct agent *agent, const struct record *r)
{
    const struct job_facts *facts = &r->current.facts;
    const struct bytes *key = &r->current.pair.key_id;
    /* A section may have named another template since, which the CA did not give: the certificate knows its own. */
    bool says = r->certificate && (facts->template_oid || facts->template_name);

    return (struct held_cert){.name = r->id,
        .certificate = r->certificate,
        .template_oid = says ? facts->template_oid : r->template_oid,
        .template_name = says ? facts->template_name : r->template_name,
        .template_major = facts->template_major.set ? facts->template_major : r->template_major,
        .installed = record_has_certificate(r),
        .issuer = facts->issuer,
        .renew_at = r->renew_at,
        .not_before = facts->not_before,
        .not_after = facts->not_after,
        .under_way = has_begun(r),
        .pending = r->attempt.pending,
        .again = r->asked,
        .by_person = r->by_person,
        .names_differ = r->names_differ != NULL,
        .seed = schedule_seed(agent->instance.seed, key->data, key->len),
        .requests_today = has_answer(r) ? 0 : record_requests_today(r, agent->now)};
}

static bool is_time(const struct agent *agent, const struct record *record)
{
    return record->impatient || record->asked || agent->now >= record->next_attempt;
}

/* Its time has come and it cannot begin yet: that is a state of its own for what was well until then. */
static int wait_for_it(struct agent *agent, struct record *record, struct err **errp)
{
    if (record->state != RECORD_INSTALLED && record->state != RECORD_IDLE)
        return 0;
    record->state = RECORD_DUE;
    return agent_save_record(agent, record, errp);
}

int errand_start(struct agent *agent, struct group *group, const struct decision *d, struct err **errp)
{
    struct record *record = record_for(agent, group, d);
    bool password = d->action == DECIDE_ENROLL || (record && d->action != DECIDE_RENEW && needs_password(record));
    int r;

    if (!record || record->busy)
        return ERRAND_WAITS; /* told of among the problems; or under way */
    if (!is_time(agent, record)) {
        engine_at(agent, record->next_attempt);
        return ERRAND_WAITS;
    }
    r = may_start(agent, group, record, password, errp);
    if (r < 0 || (r != ERRAND_STARTED && wait_for_it(agent, record, errp) < 0))
        return -1;
    if (r != ERRAND_STARTED)
        return r;
    engine_say(agent, record, d);
    if (d->action == DECIDE_POLL)
        return go_on(agent, group, record, errp);
    if (d->action == DECIDE_RESUME)
        return try_again(agent, group, record, d->template, errp);
    return begin(agent, group, record, d->template, d->action == DECIDE_RENEW, errp);
}
