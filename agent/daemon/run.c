#include "agent/daemon/run.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/daemon/publish.h"
#include "agent/job/job_fields.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

void run_outcome_clear(struct run_outcome *outcome)
{
    channel_event_clear(&outcome->event);
}

struct conversation {
    struct agent *agent;
    enum job_kind kind;
    const char *label;
    struct record *record; /* or NULL */
    struct channel *channel;
    char *step; /* the last progress; owned */
    bool timed_out;
};

/* --- checkpoints --- */

int run_install(struct agent *agent, struct record *record, struct err **errp)
{
    const struct job_attempt *attempt = &record->attempt;
    struct record_pair next = {.generation = record->current.generation + 1, .installed_at = agent->now};
    int64_t grace_ends = agent->now + agent->settings.agent.grace;

    if (bytes_equal(&attempt->pair.certificate, &record->current.pair.certificate))
        return 0;
    if (publish_generation(agent->paths.certs, record->id, next.generation, &attempt->pair, &attempt->facts, errp) < 0)
        return -1;
    job_pair_copy(&next.pair, &attempt->pair);
    fields_copy(&job_facts_fields, &next.facts, &attempt->facts);
    if (record_has_certificate(record)) {
        struct record_pair *old = MEM_APPEND(record->previous, record->n_previous);

        *old = record->current;
        old->retire_after = grace_ends < old->facts.not_after ? grace_ends : old->facts.not_after;
    }
    record->current = next;
    if (record->n_wanted)
        record->template_major = (struct opt_u32){.set = true, .value = record->wanted->major};
    return agent_save_record(agent, record, errp);
}

/* A worker may be wrong or worse; what it sends must at least be about its own job, and whole. */
static bool is_our_key(const struct agent *agent, const struct bytes *id)
{
    const struct bytes *tag = &agent->instance.tag;

    return id->len == JOB_KEY_ID_LEN && memcmp(id->data + JOB_KEY_TAG_AT, tag->data, tag->len) == 0;
}

/* A new key of ours, or the one that is renewed. */
static bool may_choose(const struct conversation *c, const struct bytes *id)
{
    return is_our_key(c->agent, id) || (c->record->renewal && bytes_equal(id, &c->record->current.pair.key_id));
}

static int check_attempt(
    const struct conversation *c, enum job_checkpoint step, const struct job_attempt *attempt, struct err **errp)
{
    const struct record *record = c->record;
    const struct bytes *expected = &record->attempt.key_id;

    if (expected->len ? !bytes_equal(expected, &attempt->key_id) : !may_choose(c, &attempt->key_id))
        return err_set(errp, ERR_PROTOCOL, "it names a key that is not the attempt's");
    if (attempt->pending && !attempt->request_id)
        return err_set(errp, ERR_PROTOCOL, "a request is pending that has no id");
    if (step == CHECKPOINT_CHECKED && (!attempt->pair.certificate.len || !attempt->facts.serial ||
                                          !bytes_equal(&attempt->pair.key_id, &attempt->key_id)))
        return err_set(errp, ERR_PROTOCOL, "there is no certificate of the attempt's key");
    return 0;
}

static int take_checkpoint(struct conversation *c, const struct channel_event *event, struct err **errp)
{
    struct agent *agent = c->agent;
    struct record *record = c->record;

    if (check_attempt(c, event->step, &event->attempt, errp) < 0)
        return -1;
    job_attempt_clear(&record->attempt);
    fields_copy(&job_attempt_fields, &record->attempt, &event->attempt);
    if (event->step == CHECKPOINT_ANSWERED && c->kind == JOB_ENROLL)
        record_count_request(record, agent->now);
    if (event->step == CHECKPOINT_ANSWERED && event->attempt.pending)
        record->state = RECORD_PENDING;
    if (agent_save_record(agent, record, errp) < 0)
        return -1;
    return event->step == CHECKPOINT_CHECKED ? run_install(agent, record, errp) : 0;
}

/* What a worker says at its end must agree with what it had made durable. */
static int check_result(const struct conversation *c, const struct job_enrolled *result, struct err **errp)
{
    const struct job_attempt *attempt = &c->record->attempt;
    bool installed =
        attempt->pair.certificate.len && bytes_equal(&attempt->pair.certificate, &c->record->current.pair.certificate);

    if (result->pending ? !attempt->pending : !installed)
        return err_set(errp, ERR_PROTOCOL, "the worker says that it %s, and its checkpoints do not",
            result->pending ? "has a request pending" : "is done");
    return 0;
}

/* --- the worker's end --- */

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int died(int status, const char *step, struct err **errp)
{
    if (WIFSIGNALED(status))
        err_set(errp, ERR_INTERNAL, "the worker died of signal %d (%s) while %s", WTERMSIG(status),
            strsignal(WTERMSIG(status)), step);
    else if (WEXITSTATUS(status) == 127)
        err_set(errp, ERR_INTERNAL, "the worker program could not be executed");
    else
        err_set(
            errp, ERR_INTERNAL, "the worker ended with status %d and no result while %s", WEXITSTATUS(status), step);
    return err_hint(errp, "what was reached is on record and is gone on with at the next run; if it happens again, "
                          "report it");
}

static int took_too_long(const struct agent *agent, const char *step, struct err **errp)
{
    CLEANUP(mem_freep) char *limit = when_format_span(agent->settings.agent.job_limit);

    err_set(errp, ERR_TIMEOUT, "the worker was ended: it took more than %s, and was last %s", limit, step);
    return err_hint(errp, "see whether the token or the server hangs; job-limit in [agent] allows more time");
}

/* --- the conversation --- */

static void print_step(struct conversation *c, const char *text)
{
    free(c->step);
    c->step = printable_text(text);
    if (!c->agent->options->json)
        printf("%s: %s\n", c->label, c->step);
    (void)fflush(stdout);
}

/* For a failure of ours to believe the worker; one to store what it said has a hint of its own. */
static int mistrusted(struct err **errp)
{
    if (errp && *errp && err_kind(*errp) == ERR_PROTOCOL)
        err_hint(errp, "see that daemon and worker are of one installation; if they are, report it: what the worker "
                       "read may have misled it");
    return -1;
}

/* Until the job has ended: 0 with its RESULT, -1 with what went wrong. A channel that just closes leaves *errp NULL. */
static int converse(struct conversation *c, struct run_outcome *outcome, struct err **errp)
{
    int64_t deadline = monotonic_ms() + c->agent->settings.agent.job_limit * 1000;

    for (;;) {
        struct channel_event *event = &outcome->event;
        int64_t left = deadline - monotonic_ms();
        int r;

        channel_event_clear(event);
        r = left > 0 ? channel_next(c->channel, c->kind, left < INT_MAX ? (int)left : INT_MAX, event, errp) : 0;
        if (r < 0)
            return mistrusted(errp);
        c->timed_out = r == 0;
        if (r == 0)
            return -1;
        switch (event->type) {
        case CHANNEL_PROGRESS:
            print_step(c, event->text);
            break;
        case CHANNEL_CHECKPOINT:
            if (!c->record || take_checkpoint(c, event, errp) < 0 || channel_ack(c->channel, errp) < 0) {
                err_wrap(errp, "at '%s'", job_checkpoint_name(event->step));
                return mistrusted(errp);
            }
            break;
        case CHANNEL_RESULT:
            return c->record && check_result(c, &event->enrolled, errp) < 0 ? mistrusted(errp) : 0;
        case CHANNEL_FAILED:
            if (errp && !*errp)
                *errp = TAKE(event->failure);
            return -1;
        case CHANNEL_CLOSED:
            return -1;
        }
    }
}

int run_job(struct agent *agent, enum job_kind kind, const void *input, const char *label, struct record *record,
    struct run_outcome *outcome, struct err **errp)
{
    CLEANUP(channel_freep) struct channel *channel = NULL;
    CLEANUP(mem_freep) char *step = NULL;
    CLEANUP(err_freep) struct err *why = NULL;
    struct conversation c = {.agent = agent, .kind = kind, .label = label, .record = record};
    int r, status = 0;

    if (child_start(agent->children, &channel, errp) < 0)
        return -1;
    c.channel = channel;
    c.step = mem_strdup("starting");
    /* One that died before it read its job is known by its end, as one that dies later is. */
    r = channel_send_job(channel, kind, input, &why);
    if (r < 0 && err_kind(why) == ERR_PROTOCOL)
        err_free(TAKE(why));
    if (r == 0)
        r = converse(&c, outcome, &why);
    step = c.step;
    /* A worker that has told its end goes by itself; any other one is of no more use. */
    if (child_end(agent->children, r < 0 && (c.timed_out || why), &status, errp) < 0)
        return -1;
    if (r == 0)
        return 0;
    if (c.timed_out)
        return took_too_long(agent, step, errp);
    if (!why)
        return died(status, step, errp);
    if (errp && !*errp)
        *errp = TAKE(why);
    return -1;
}
