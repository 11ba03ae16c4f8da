#include "agent/daemon/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/publish.h"
#include "agent/daemon/run.h"
#include "agent/job/job_fields.h"
#include "policy/schedule.h"
#include "protocol/base/digest.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

/* What one decision needs to be carried out. */
struct errand {
    struct agent *agent;
    struct walk *walk;
    struct group *group; /* NULL: its policy server is not configured any more */
    struct record *record;
};

static void failed(struct walk *walk, enum err_kind kind)
{
    if (!walk->failed)
        walk->worst = kind;
    walk->failed = true;
}

static void add_line(struct walk *walk, struct record *record, const char *name, const struct decision *d)
{
    struct walk_line *line = MEM_APPEND(walk->lines, walk->n_lines);

    *line = (struct walk_line){
        .record = record, .name = printable_text(name), .action = d->action, .reason = printable_text(d->reason)};
}

/* --- one attempt --- */

static const struct settings_certificate *section_of(const struct agent *agent, const struct record *record)
{
    for (size_t i = 0; i < agent->settings.n_certificates && record->certificate; i++)
        if (strcmp(agent->settings.certificates[i].name, record->certificate) == 0)
            return &agent->settings.certificates[i];
    return NULL;
}

static void copy_names(const struct settings_certificate *section, struct job_names *out)
{
    out->subject = mem_strdup_opt(section->subject);
    strlist_copy(&out->dns, &section->dns);
    strlist_copy(&out->ip, &section->ip);
    strlist_copy(&out->uri, &section->uri);
    strlist_copy(&out->email, &section->email);
    strlist_copy(&out->upn, &section->upn);
}

/* The pair that the attempt is to replace: the current one, or, once the new pair has its place, the one before. */
static const struct job_pair *pair_before(const struct record *record)
{
    bool installed = record->attempt.pair.certificate.len &&
                     bytes_equal(&record->attempt.pair.certificate, &record->current.pair.certificate);

    if (!installed)
        return record_has_certificate(record) ? &record->current.pair : NULL;
    return record->n_previous ? &record->previous[record->n_previous - 1].pair : NULL;
}

static void make_job(const struct errand *e, struct job_enroll *job)
{
    const struct record *record = e->record;
    const struct settings_certificate *section = section_of(e->agent, record);
    const struct settings_server *account = group_account(e->group);
    const struct job_pair *before = pair_before(record);
    const struct job_pair *old = record->renewal ? before : NULL; /* its key signs */

    job->name = mem_strdup(record->id);
    group_job_server(e->group, account, &job->server);
    agent_place(e->agent, &job->place);
    template_copy(&job->template, &record->wanted[0]);
    for (size_t i = 0; i < record->n_cas; i++)
        policy_ca_copy(MEM_APPEND(job->cas, job->n_cas), &record->cas[i]);
    if (section)
        copy_names(section, &job->names);
    if (old)
        job_pair_copy(&job->old, old);
    if (before)
        bytes_copy(&job->replaces, &before->key_id);
    job->same_key = old && e->agent->options->same_key;
    job->file_key = section && section->file_key;
    job->password_fallback = account->password_fallback;
    job_attempt_copy(&job->attempt, &record->attempt);
}

/*
 * A request that the CA has refused, or knows no more, is never repeated; its key is of no use any more. Everything
 * else may go on. A code says that it was the CA who spoke: what is missing here may come back.
 */
static void after_failure(struct errand *e, const struct err *why)
{
    if (err_kind(why) != ERR_DENIED && !(err_kind(why) == ERR_MISSING && err_code(why)))
        return;
    record_drop_attempt(e->record);
    e->agent->sweep = true;
}

/* Each address that the request was sent to counts, also where nothing useful came back; an answer has been counted. */
static void count_sent(struct errand *e, const struct job_endpoint *endpoints, size_t n_endpoints)
{
    for (size_t i = 0; i < n_endpoints; i++)
        if (endpoints[i].sent && endpoints[i].error)
            record_count_request(e->record, e->agent->now);
}

static void take_failure(struct errand *e, const struct err *why, const struct job_endpoint *endpoints,
    size_t n_endpoints, struct err **errp)
{
    count_sent(e, endpoints, n_endpoints);
    after_failure(e, why); /* first: a refused request is not pending any more */
    record_set_failure(e->record, e->agent->now, why, endpoints, n_endpoints);
    failed(e->walk, err_kind(why));
    (void)agent_save_record(e->agent, e->record, errp);
}

static void take_success(struct errand *e, const struct job_enrolled *result, struct err **errp)
{
    struct record *record = e->record;

    count_sent(e, result->endpoints, result->n_endpoints);
    record_clear_failure(record);
    if (result->pending) {
        record->state = RECORD_PENDING;
        record_note(record, e->agent->now, "pending, request %s", record->attempt.request_id);
    } else {
        record->state = RECORD_INSTALLED;
        record_note(record, e->agent->now, "%s, serial %s", record->renewal ? "renewed" : "enrolled",
            record->current.facts.serial);
        record_drop_attempt(record);
    }
    (void)agent_save_record(e->agent, record, errp);
}

static void job_enroll_clearp(struct job_enroll *job)
{
    job_enroll_clear(job);
}

static bool needs_password(const struct record *record)
{
    const struct job_attempt *attempt = &record->attempt;

    if (attempt->pending)
        return attempt->ces_auth == POLICY_AUTH_USERNAME;
    return !record->renewal && !attempt->pair.certificate.len;
}

static int without_password(struct errand *e, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;
    const char *account = group_account(e->group)->name;

    err_set(&why, ERR_AUTH, "not tried: the password for policy server '%s' is missing or was refused a moment ago",
        account);
    err_hint(&why, "store the right password as credential '%s.password', then run again", account);
    take_failure(e, why, NULL, 0, errp);
    return errp && *errp ? -1 : 0;
}

/* Goes on with the attempt on record, from wherever it is. -1 only where records cannot be written. */
static int go_on(struct errand *e, struct err **errp)
{
    CLEANUP(job_enroll_clearp) struct job_enroll job = {0};
    CLEANUP(run_outcome_clear) struct run_outcome outcome = {0};
    CLEANUP(err_freep) struct err *why = NULL;
    struct record *record = e->record;
    bool polls = record->attempt.pending;

    if (record->attempt.pair.certificate.len && run_install(e->agent, record, errp) < 0)
        return -1;
    if (e->group->no_password && needs_password(record))
        return without_password(e, errp);
    make_job(e, &job);
    if (run_job(e->agent, polls ? JOB_POLL : JOB_ENROLL, &job, record->id, record, &outcome, &why) == 0)
        take_success(e, &outcome.event.enrolled, errp);
    else
        take_failure(e, why, outcome.event.endpoints, outcome.event.n_endpoints, errp);
    e->group->no_password |= why && err_kind(why) == ERR_AUTH && needs_password(record);
    return errp && *errp ? -1 : 0;
}

/* "CN=Corp CA,DC=example" is of "Corp CA", and "CN=Corp CA 2" is not. */
static bool issued_by(const struct record *record, const struct policy_ca *ca)
{
    CLEANUP(mem_freep) char *name = ca->name ? mem_printf("CN=%s", ca->name) : NULL;
    const char *at = name ? record->current.facts.issuer : NULL;

    for (; at && (at = strstr(at, name)); at++)
        if (!at[strlen(name)] || strchr(",+", at[strlen(name)]))
            return true;
    return false;
}

/* The CAs that may be asked; for a renewal the one that issued the old certificate goes first. */
static void choose_cas(struct record *record, const struct policy *policy, const struct template *t)
{
    record_drop_cas(record);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < t->n_cas; i++) {
            const struct policy_ca *ca = &policy->cas[t->cas[i]];

            if ((ca->enroll_permission || record->renewal) && (pass == 0) == issued_by(record, ca))
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

static int begin(struct errand *e, const struct template *t, bool renewal, struct err **errp)
{
    struct record *record = e->record;

    e->agent->sweep |= record_is_under_way(record);
    record_drop_attempt(record);
    free(record->template_oid);
    free(record->template_name);
    record->template_oid = mem_strdup(t->oid); /* a section may name another template than before */
    record->template_name = mem_strdup(t->name);
    record->renewal = renewal;
    record->attempt_started = e->agent->now;
    record->state = RECORD_WORKING;
    want(record, &e->group->policy, t);
    if (agent_save_record(e->agent, record, errp) < 0)
        return -1;
    return go_on(e, errp);
}

static bool has_begun(const struct record *record)
{
    return record->n_wanted && !record->attempt.pending;
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

static bool is_asked_again(const struct agent *agent, const struct record *record)
{
    const char *renew = agent->options->renew;

    return renew && (strcmp(renew, "all") == 0 || strcmp(renew, record->id) == 0);
}

/*
 * What failed in an earlier walk is tried again as the policy is now. The request goes out once more, unless the
 * template has changed, the certificate of the key that signed it has expired, or its key is missing and a person asks
 * all the same.
 */
static int try_again(struct errand *e, const struct template *t, struct err **errp)
{
    struct record *record = e->record;
    bool expired = record->renewal && record->current.facts.not_after <= e->agent->now;
    bool lost = record->error && record->error_kind == ERR_MISSING && is_asked_again(e->agent, record);

    if (!t || record->attempt.pair.certificate.len)
        return go_on(e, errp);
    if (expired || lost || !is_same_template(&record->wanted[0], t))
        return begin(e, t, record->renewal && !expired, errp);
    choose_cas(record, &e->group->policy, t);
    return go_on(e, errp);
}

/* --- who it is --- */

/* A name of our own for what a server calls @oid. Returns owned. */
static char *local_id(const char *server, const char *oid)
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
                         : local_id(automatic->name, d->template->oid);
    struct record *record = record_find(&agent->records, id);

    if (record || strlist_has(&agent->records.left_alone, id))
        return record;
    record = record_add(&agent->records, id);
    record->certificate = d->wish ? mem_strdup(d->wish->name) : NULL;
    record->server = mem_strdup(d->wish ? group_account(group)->name : automatic->name);
    return record;
}

/* --- one policy --- */

/* Going on with an answer that is on record sends nothing, unless that was refused. */
static bool has_answer(const struct record *r)
{
    bool answered = r->attempt.answer_cms.len || r->attempt.answer_certificate.len;

    return answered && !r->attempt.pending && r->error_kind != ERR_UNTRUSTED && r->error_kind != ERR_INVALID;
}

static struct held_cert held_of(const struct agent *agent, const struct record *r)
{
    const struct job_facts *facts = &r->current.facts;
    /* A section may have named another template since, which the CA did not give: the certificate knows its own. */
    bool says = r->certificate && (facts->template_oid || facts->template_name);

    return (struct held_cert){.name = r->id,
        .certificate = r->certificate,
        .template_oid = says ? facts->template_oid : r->template_oid,
        .template_name = says ? facts->template_name : r->template_name,
        .template_major = facts->template_major.set ? facts->template_major : r->template_major,
        .installed = record_has_certificate(r),
        .not_before = facts->not_before,
        .not_after = facts->not_after,
        .under_way = has_begun(r),
        .pending = r->attempt.pending,
        .again = is_asked_again(agent, r),
        .requests_today = has_answer(r) ? 0 : record_requests_today(r, agent->now)};
}

static int carry_out(struct errand *e, const struct decision *d, struct err **errp)
{
    CLEANUP(mem_freep) char *reason = printable_text(d->reason);

    switch (d->action) {
    case DECIDE_LEAVE:
    case DECIDE_SKIP:
        if (d->held)
            e->record = record_find(&e->agent->records, d->held->name);
        add_line(e->walk, e->record, e->record ? e->record->id : d->wish ? d->wish->name : d->template->name, d);
        if (d->action == DECIDE_SKIP && d->wish && !e->record)
            failed(e->walk, ERR_POLICY);
        else if (d->action == DECIDE_SKIP && e->record && e->record->error)
            failed(e->walk, (enum err_kind)e->record->error_kind); /* it failed, and is not tried again yet */
        return 0;
    case DECIDE_ENROLL:
    case DECIDE_RENEW:
    case DECIDE_POLL:
    case DECIDE_RESUME:
        break;
    }
    e->record = record_for(e->agent, e->group, d);
    if (!e->record) { /* told of among the problems */
        failed(e->walk, ERR_STORE);
        return 0;
    }
    add_line(e->walk, e->record, e->record->id, d);
    if (strlist_has(&e->walk->resumed, e->record->id))
        return 0;
    if (!e->agent->options->json)
        printf("%s: %s: %s\n", e->record->id, decide_action_name(d->action), reason);
    if (d->action == DECIDE_POLL)
        return go_on(e, errp);
    if (d->action == DECIDE_RESUME)
        return try_again(e, d->template, errp);
    return begin(e, d->template, d->action == DECIDE_RENEW, errp);
}

static void gather_wishes(const struct agent *agent, const struct group *group, struct decide_wish **out, size_t *n)
{
    for (size_t i = 0; i < agent->settings.n_certificates; i++) {
        const struct settings_certificate *c = &agent->settings.certificates[i];

        if (group_has_server(group, c->policy_server))
            *MEM_APPEND(*out, *n) = (struct decide_wish){.name = c->name,
                .template_name = c->template_name,
                .has_names = c->subject || c->dns.n || c->ip.n || c->uri.n || c->email.n || c->upn.n,
                .file_key = c->file_key};
    }
}

static void gather_held(const struct agent *agent, const struct group *group, struct held_cert **out, size_t *n)
{
    for (size_t i = 0; i < agent->records.n; i++)
        if (group_has_server(group, agent->records.items[i]->server))
            *MEM_APPEND(*out, *n) = held_of(agent, agent->records.items[i]);
}

static int walk_group(struct agent *agent, struct walk *walk, struct group *group, struct err **errp)
{
    CLEANUP(mem_freep) struct decide_wish *wishes = NULL;
    CLEANUP(mem_freep) struct held_cert *held = NULL;
    CLEANUP(decision_list_clear) struct decision_list decisions = {0};
    struct inventory inventory = {0};
    struct decide_question question = {
        .policy = &group->policy, .inventory = &inventory, .autoenroll = group_autoenroll(group), .now = agent->now};

    group_refresh(agent, group);
    if (!group->has_policy) {
        failed(walk, err_kind(group->failure));
        return 0;
    }
    gather_wishes(agent, group, &wishes, &question.n_wishes);
    gather_held(agent, group, &held, &inventory.n);
    inventory.items = held;
    question.wishes = wishes;
    question.templates = question.autoenroll ? &group_autoenroll(group)->templates : NULL;
    decisions = decide(&question);
    for (size_t i = 0; i < decisions.n; i++) {
        struct errand e = {.agent = agent, .walk = walk, .group = group};

        if (carry_out(&e, &decisions.items[i], errp) < 0)
            return -1;
    }
    return 0;
}

/* --- old pairs --- */

/* An old pair goes when its grace time is over, unless a clock that was set back says so. */
static bool is_retired(const struct agent *agent, const struct record_pair *pair)
{
    return !agent->clock_is_back && pair->retire_after <= agent->now;
}

static void job_retire_clearp(struct job_retire *job)
{
    job_retire_clear(job);
}

static void gather_pairs(const struct agent *agent, struct job_retire *job)
{
    for (size_t i = 0; i < agent->records.n; i++) {
        const struct record *r = agent->records.items[i];

        if (record_has_certificate(r))
            bytes_copy(MEM_APPEND(job->known, job->n_known), &r->current.pair.key_id);
        if (record_is_under_way(r))
            bytes_copy(MEM_APPEND(job->known, job->n_known), &r->attempt.key_id);
        for (size_t k = 0; k < r->n_previous; k++) {
            if (is_retired(agent, &r->previous[k]))
                job_pair_copy(MEM_APPEND(job->pairs, job->n_pairs), &r->previous[k].pair);
            else
                bytes_copy(MEM_APPEND(job->known, job->n_known), &r->previous[k].pair.key_id);
        }
    }
}

static int forget_retired(struct agent *agent, struct record *record, struct err **errp)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->n_previous; i++) {
        struct record_pair *pair = &record->previous[i];

        if (!is_retired(agent, pair)) {
            record->previous[kept++] = *pair;
            continue;
        }
        if (publish_remove(agent->paths.certs, record->id, pair->generation, errp) < 0)
            return -1;
        record_note(record, agent->now, "retired the pair with serial %s", pair->facts.serial);
        job_pair_clear(&pair->pair);
        job_facts_clear(&pair->facts);
    }
    if (kept == record->n_previous)
        return 0;
    record->n_previous = kept;
    return agent_save_record(agent, record, errp);
}

/* The token first, then the record: a pair without its key is named by its record until both are gone. */
static int retire_old(struct agent *agent, struct walk *walk, struct err **errp)
{
    CLEANUP(job_retire_clearp) struct job_retire job = {0};
    CLEANUP(run_outcome_clear) struct run_outcome outcome = {0};
    CLEANUP(err_freep) struct err *why = NULL;

    gather_pairs(agent, &job);
    /* A record that could not be read names keys that only it knows. */
    job.sweep = agent->sweep && !agent->problems.n;
    if (!job.n_pairs && !job.sweep)
        return 0;
    agent_place(agent, &job.place);
    if (run_job(agent, JOB_RETIRE, &job, "token", NULL, &outcome, &why) < 0) {
        err_wrap(&why, "removing old pairs");
        err_print("autoenrolld", why);
        failed(walk, err_kind(why));
        return 0;
    }
    agent->sweep = false;
    for (size_t i = 0; i < agent->records.n; i++)
        if (forget_retired(agent, agent->records.items[i], errp) < 0)
            return -1;
    return 0;
}

/* --- the walk --- */

static struct group *group_of(const struct walk *walk, const struct record *record)
{
    for (size_t i = 0; i < walk->groups.n; i++)
        if (group_has_server(&walk->groups.items[i], record->server))
            return &walk->groups.items[i];
    return NULL;
}

/*
 * What was cut off goes on without asking the policy again: it is about what was asked for then. What failed waits for
 * the policy, which may say something else by now.
 */
static int resume_all(struct agent *agent, struct walk *walk, struct err **errp)
{
    for (size_t i = 0; i < agent->records.n; i++) {
        struct errand e = {.agent = agent, .walk = walk, .record = agent->records.items[i]};

        e.group = group_of(walk, e.record);
        if (!e.group || !has_begun(e.record) || e.record->error)
            continue;
        strlist_add(&walk->resumed, e.record->id);
        if (!agent->options->json)
            printf("%s: going on where it was interrupted\n", e.record->id);
        if (go_on(&e, errp) < 0)
            return -1;
    }
    return 0;
}

/* A slip of the finger must not look as if all was well. */
static int check_name(const struct agent *agent, struct err **errp)
{
    const char *name = agent->options->renew;

    if (!name || strcmp(name, "all") == 0 || record_find(&agent->records, name))
        return 0;
    for (size_t i = 0; i < agent->settings.n_certificates; i++)
        if (strcmp(agent->settings.certificates[i].name, name) == 0)
            return 0;
    err_set(errp, ERR_USAGE, "nothing is enrolled under the name '%s'", name);
    return err_hint(errp, "run it without --renew to see the names, or renew 'all'");
}

int walk_once(struct agent *agent, struct walk *walk, struct err **errp)
{
    *walk = (struct walk){0};
    group_list_make(&agent->settings, &walk->groups);
    if (check_name(agent, errp) < 0 || resume_all(agent, walk, errp) < 0)
        return -1;
    for (size_t i = 0; i < walk->groups.n; i++)
        if (walk_group(agent, walk, &walk->groups.items[i], errp) < 0)
            return -1;
    if (retire_old(agent, walk, errp) < 0)
        return -1;
    agent->instance.clean = !agent->sweep;
    return agent_save_instance(agent, errp);
}

void walk_clear(struct walk *walk)
{
    for (size_t i = 0; i < walk->n_lines; i++) {
        free(walk->lines[i].name);
        free(walk->lines[i].reason);
    }
    free(walk->lines);
    strlist_clear(&walk->resumed);
    group_list_clear(&walk->groups);
    *walk = (struct walk){0};
}
