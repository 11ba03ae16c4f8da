#include "agent/daemon/retire.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/engine.h"
#include "agent/daemon/engine_tasks.h"
#include "agent/daemon/publish.h"
#include "agent/daemon/run.h"
#include "agent/job/job_fields.h"
#include "protocol/base/when.h"

#define AGAIN WHEN_HOUR /* after a failure: the token may be back by then */

static void job_retire_clearp(struct job_retire *job)
{
    job_retire_clear(job);
}

/* An old pair goes when its grace time is over, unless a clock that is wrong says so [design 8.11]. */
static bool is_retired(const struct agent *agent, const struct record_pair *pair)
{
    return !agent->clock_is_back && !agent->clock_is_unsure && pair->retire_after <= agent->now;
}

static void gather_record(struct agent *agent, const struct record *r, struct job_retire *job)
{
    if (record_has_certificate(r))
        bytes_copy(MEM_APPEND(job->known, job->n_known), &r->current.pair.key_id);
    if (record_is_under_way(r))
        bytes_copy(MEM_APPEND(job->known, job->n_known), &r->attempt.key_id);
    for (size_t k = 0; k < r->n_previous; k++) {
        const struct record_pair *pair = &r->previous[k];

        if (is_retired(agent, pair)) {
            job_pair_copy(MEM_APPEND(job->pairs, job->n_pairs), &pair->pair);
        } else {
            bytes_copy(MEM_APPEND(job->known, job->n_known), &pair->pair.key_id);
            engine_at(agent, pair->retire_after);
        }
    }
}

/* Was @pair among those that the worker was given? Time went on since, and others may be retired by now. */
static bool was_given(const struct job_retire *job, const struct record_pair *pair)
{
    for (size_t i = 0; i < job->n_pairs; i++)
        if (bytes_equal(&job->pairs[i].certificate, &pair->pair.certificate))
            return true;
    return false;
}

static int forget(struct agent *agent, struct record *record, const struct job_retire *job, struct err **errp)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->n_previous; i++) {
        struct record_pair *pair = &record->previous[i];

        if (!was_given(job, pair)) {
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

/* --- old pairs and orphans --- */

struct retiring {
    struct agent *agent;
    struct job_retire job;
};

static void retiring_free(void *ctx)
{
    struct retiring *retiring = ctx;

    job_retire_clear(&retiring->job);
    free(retiring);
}
DEFINE_FREEP(struct retiring, retiring_free)

/* The token first, then the record: a pair without its key is named by its record until both are gone. */
static void retired(void *ctx, struct run_outcome *outcome, struct err *why)
{
    CLEANUP(retiring_freep) struct retiring *r = ctx;
    CLEANUP(err_freep) struct err *trouble = NULL;
    struct agent *agent = r->agent;

    (void)outcome;
    agent->retiring = false;
    if (why) {
        err_wrap(&why, "removing old pairs");
        engine_failed_untold(agent, why);
        agent->retire_next = agent->now + AGAIN;
    } else {
        if (r->job.sweep)
            agent->sweep = false;
        for (size_t i = 0; i < agent->records.n && !trouble; i++)
            (void)forget(agent, agent->records.items[i], &r->job, &trouble);
        if (trouble) {
            engine_failed_untold(agent, trouble);
            agent->retire_next = agent->now + AGAIN;
        }
    }
    engine_run_ended(agent);
}

int retire_old(struct agent *agent, struct err **errp)
{
    CLEANUP(retiring_freep) struct retiring *r = mem_alloc(sizeof(*r));
    struct run_request request = {
        .kind = JOB_RETIRE, .input = &r->job, .label = "token", .done = retired, .dropped = retiring_free, .ctx = r};

    r->agent = agent;
    for (size_t i = 0; i < agent->records.n; i++)
        gather_record(agent, agent->records.items[i], &r->job);
    /* A record that could not be read names keys that only it knows. */
    r->job.sweep = agent->sweep && !agent->problems.n;
    if (!r->job.n_pairs && !r->job.sweep)
        return 0;
    if (agent->now < agent->retire_next) {
        engine_at(agent, agent->retire_next);
        return 0;
    }
    if (agent->retiring || !engine_is_idle(agent))
        return 0; /* a key that is made meanwhile would have no record in this job */
    agent_place(agent, &r->job.place);
    if (run_start(agent, &request, NULL, errp) < 0)
        return -1;
    r = NULL; /* the run's, until retired() */
    agent->retiring = true;
    engine_run_began(agent);
    return 0;
}

/* --- one that is given up --- */

struct removing {
    struct agent *agent;
    struct record *record;
};

static void removed(void *ctx, struct run_outcome *outcome, struct err *why)
{
    CLEANUP(mem_freep) struct removing *r = ctx;
    CLEANUP(err_freep) struct err *trouble = NULL;
    struct agent *agent = r->agent;
    struct record *record = r->record;

    (void)outcome;
    record->busy = false;
    record->removed = false;
    if (why && !record->forced)
        trouble = err_new(err_kind(why), err_text(why), err_hint_text(why), 0);
    else if (publish_remove_all(agent->paths.certs, record->id, &trouble) == 0)
        engine_removed(agent, record, NULL);
    if (!trouble) {
        agent->sweep |= why != NULL; /* its keys are there still, and have no record any more */
        agent_tell_record(agent, AGENT_RECORD_REMOVED, record);
        (void)record_remove(&agent->records, agent->paths.enrollments, record, &trouble);
        if (trouble)
            engine_failed_untold(agent, trouble);
    } else {
        err_wrap(&trouble, "removing '%s'", record->id);
        engine_failed_untold(agent, trouble);
        engine_removed(agent, record, trouble);
    }
    engine_run_ended(agent);
}

static void add_key(struct job_retire *job, const struct job_pair *pair, const struct bytes *tag)
{
    if (pair->key_id.len == JOB_KEY_ID_LEN && memcmp(pair->key_id.data + JOB_KEY_TAG_AT, tag->data, tag->len) == 0)
        job_pair_copy(MEM_APPEND(job->pairs, job->n_pairs), pair);
}

static int remove_one(struct agent *agent, struct record *record, struct err **errp)
{
    CLEANUP(job_retire_clearp) struct job_retire job = {0};
    CLEANUP(mem_freep) struct removing *r = mem_alloc(sizeof(*r));
    struct job_pair attempt = {.key_id = record->attempt.key_id};
    struct run_request request = {
        .kind = JOB_RETIRE, .input = &job, .label = record->id, .done = removed, .dropped = free, .ctx = r};

    *r = (struct removing){.agent = agent, .record = record};
    agent_place(agent, &job.place);
    add_key(&job, &record->current.pair, &agent->instance.tag);
    add_key(&job, &attempt, &agent->instance.tag);
    for (size_t i = 0; i < record->n_previous; i++)
        add_key(&job, &record->previous[i].pair, &agent->instance.tag);
    if (run_start(agent, &request, NULL, errp) < 0)
        return -1;
    r = NULL; /* the run's, until removed() */
    record->busy = true;
    engine_run_began(agent);
    return 0;
}

int retire_removed(struct agent *agent, struct err **errp)
{
    for (size_t i = 0; i < agent->records.n; i++) {
        struct record *record = agent->records.items[i];

        if (record->removed && !record->busy && engine_has_room(agent) && remove_one(agent, record, errp) < 0)
            return -1;
    }
    return 0;
}

/* --- all of it --- */

struct forgetting {
    struct agent *agent;
    void (*done)(struct agent *agent, const struct err *why);
};

static void forgotten(void *ctx, struct run_outcome *outcome, struct err *why)
{
    CLEANUP(mem_freep) struct forgetting *f = ctx;
    CLEANUP(err_freep) struct err *trouble = NULL;
    struct agent *agent = f->agent;

    (void)outcome;
    while (!why && !trouble && agent->records.n) {
        struct record *record = agent->records.items[0];

        if (publish_remove_all(agent->paths.certs, record->id, &trouble) < 0)
            break;
        agent_tell_record(agent, AGENT_RECORD_REMOVED, record);
        (void)record_remove(&agent->records, agent->paths.enrollments, record, &trouble);
    }
    f->done(agent, why ? why : trouble);
    engine_run_ended(agent);
}

int retire_everything(struct agent *agent, void (*done)(struct agent *agent, const struct err *why), struct err **errp)
{
    CLEANUP(job_retire_clearp) struct job_retire job = {.sweep = true};
    CLEANUP(mem_freep) struct forgetting *f = mem_alloc(sizeof(*f));
    struct run_request request = {
        .kind = JOB_RETIRE, .input = &job, .label = "token", .done = forgotten, .dropped = free, .ctx = f};

    *f = (struct forgetting){.agent = agent, .done = done};
    agent_place(agent, &job.place);
    if (run_start(agent, &request, NULL, errp) < 0)
        return -1;
    f = NULL; /* the run's, until forgotten() */
    engine_run_began(agent);
    return 0;
}
