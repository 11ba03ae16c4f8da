#include "agent/daemon/run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/config/file.h"
#include "agent/daemon/publish.h"
#include "agent/job/job_fields.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define MAX_STEPS     1000 /* that a worker may tell; each is a line in the log */
#define FRAMES_A_TURN 64   /* before others have theirs */

/* A worker that has told how its job ended goes by itself; any other one is of no more use. */
enum phase {
    TALKING,
    LEAVING, /* it has told, or closed its channel */
    CUT      /* ended by us; run->why says why */
};

struct run {
    struct agent *agent;
    enum job_kind kind;
    char *label;
    struct record *record; /* or NULL */
    void (*progress)(void *ctx, const char *text);
    void (*done)(void *ctx, struct run_outcome *outcome, struct err *why);
    void (*dropped)(void *ctx);
    void *ctx;

    struct child *child;
    struct channel *channel;
    struct event *readable, *writable;
    struct event *more; /* frames were left for the next turn */
    struct event *limit;

    enum phase phase;
    char *step; /* the last progress; owned */
    unsigned steps;
    bool told; /* a result */
    struct run_outcome outcome;
    struct err *why;
};

void run_outcome_clear(struct run_outcome *outcome)
{
    channel_event_clear(&outcome->event);
}

/* --- checkpoints --- */

/* Wakes what puts files in their places, see autoenroll-deploy. */
static int tell_deploy(const struct agent *agent, const struct record *record, uint32_t generation, struct err **errp)
{
    CLEANUP(mem_freep)
    char *line = mem_printf("%s %u %s\n", record->id, generation, record->attempt.facts.thumbprint ?: "-");

    return file_replace(agent->paths.changed, line, strlen(line), 0644, errp);
}

/* The current pair becomes a previous one, and what was found out about it is forgotten. */
static void succeed(struct record *record, const struct record_pair *next, int64_t grace_ends)
{
    if (record_has_certificate(record)) {
        struct record_pair *old = MEM_APPEND(record->previous, record->n_previous);

        *old = record->current;
        old->retire_after = grace_ends < old->facts.not_after ? grace_ends : old->facts.not_after;
    }
    record->current = *next;
    if (record->n_wanted)
        record->template_major = (struct opt_u32){.set = true, .value = record->wanted->major};
    record->notified = 0;
    record->verified_at = 0;
    record->verdict = JOB_VERDICT_OK;
    record->issuer_not_after = record->anchor_not_after = 0;
    free(TAKE(record->verify_problem));
    free(TAKE(record->names_differ));
}

/* Told to deploy before it is on record: after a crash in between both are done again. */
int run_install(struct agent *agent, struct record *record, struct err **errp)
{
    const struct job_attempt *attempt = &record->attempt;
    const struct record_pair *old = &record->current;
    bool same_key = attempt->pair.key_id.len && bytes_equal(&attempt->pair.key_id, &old->pair.key_id);
    struct record_pair next = {.generation = old->generation + 1,
        .installed_at = agent->now,
        .key_made_at = same_key ? old->key_made_at : agent->now};

    if (bytes_equal(&attempt->pair.certificate, &old->pair.certificate))
        return 0;
    if (publish_generation(agent->paths.certs, record->id, next.generation, &attempt->pair, &attempt->facts, errp) <
            0 ||
        tell_deploy(agent, record, next.generation, errp) < 0)
        return -1;
    job_pair_copy(&next.pair, &attempt->pair);
    fields_copy(&job_facts_fields, &next.facts, &attempt->facts);
    succeed(record, &next, agent->now + agent->settings.agent.grace);
    if (agent_save_record(agent, record, errp) < 0)
        return -1;
    agent_tell_record(agent, AGENT_RENEWED, record);
    return 0;
}

/* A worker may be wrong or worse; what it sends must at least be about its own job, and whole. */
static bool is_our_key(const struct agent *agent, const struct bytes *id)
{
    const struct bytes *tag = &agent->instance.tag;

    return id->len == JOB_KEY_ID_LEN && memcmp(id->data + JOB_KEY_TAG_AT, tag->data, tag->len) == 0;
}

/* A new key of ours, or the one that is renewed. */
static bool may_choose(const struct run *run, const struct bytes *id)
{
    return is_our_key(run->agent, id) || (run->record->renewal && bytes_equal(id, &run->record->current.pair.key_id));
}

static int check_attempt(
    const struct run *run, enum job_checkpoint step, const struct job_attempt *attempt, struct err **errp)
{
    const struct record *record = run->record;
    const struct bytes *expected = &record->attempt.key_id;

    if (expected->len ? !bytes_equal(expected, &attempt->key_id) : !may_choose(run, &attempt->key_id))
        return err_set(errp, ERR_PROTOCOL, "it names a key that is not the attempt's");
    if (attempt->pending && !attempt->request_id)
        return err_set(errp, ERR_PROTOCOL, "a request is pending that has no id");
    if (step == CHECKPOINT_CHECKED && (!attempt->pair.certificate.len || !attempt->facts.serial ||
                                          !bytes_equal(&attempt->pair.key_id, &attempt->key_id)))
        return err_set(errp, ERR_PROTOCOL, "there is no certificate of the attempt's key");
    return 0;
}

static int take_checkpoint(struct run *run, const struct channel_event *event, struct err **errp)
{
    struct agent *agent = run->agent;
    struct record *record = run->record;

    if (check_attempt(run, event->step, &event->attempt, errp) < 0)
        return -1;
    job_attempt_clear(&record->attempt);
    fields_copy(&job_attempt_fields, &record->attempt, &event->attempt);
    if (event->step == CHECKPOINT_ANSWERED && run->kind == JOB_ENROLL)
        record_count_request(record, agent->now);
    if (event->step == CHECKPOINT_ANSWERED && event->attempt.pending)
        record->state = RECORD_PENDING;
    if (agent_save_record(agent, record, errp) < 0)
        return -1;
    return event->step == CHECKPOINT_CHECKED ? run_install(agent, record, errp) : 0;
}

/* What a worker says at its end must agree with what it had made durable. */
static int check_result(const struct run *run, const struct job_enrolled *result, struct err **errp)
{
    const struct job_attempt *attempt = &run->record->attempt;
    bool installed = attempt->pair.certificate.len &&
                     bytes_equal(&attempt->pair.certificate, &run->record->current.pair.certificate);

    if (result->pending ? !attempt->pending : !installed)
        return err_set(errp, ERR_PROTOCOL, "the worker says that it %s, and its checkpoints do not",
            result->pending ? "has a request pending" : "is done");
    return 0;
}

/* --- why there is no result --- */

static void died(struct run *run, int status)
{
    struct err **errp = &run->why;

    if (status == CHILD_NO_STATUS) {
        err_set(errp, ERR_INTERNAL, "the worker ended without a result while %s", run->step);
        err_hint(errp, "see journalctl -u 'autoenroll-worker@*'");
        return;
    }
    if (WIFSIGNALED(status))
        err_set(errp, ERR_INTERNAL, "the worker died of signal %d (%s) while %s", WTERMSIG(status),
            strsignal(WTERMSIG(status)), run->step);
    else if (WEXITSTATUS(status) == 127)
        err_set(errp, ERR_INTERNAL, "the worker program could not be executed");
    else
        err_set(errp, ERR_INTERNAL, "the worker ended with status %d and no result while %s", WEXITSTATUS(status),
            run->step);
    err_hint(errp, "what was reached is on record and is gone on with at the next attempt; if it happens again, "
                   "report it");
}

static void took_too_long(struct run *run)
{
    CLEANUP(mem_freep) char *limit = when_format_span(run->agent->settings.agent.job_limit);

    err_set(&run->why, ERR_TIMEOUT, "the worker was ended: it took more than %s, and was last %s", limit, run->step);
    err_hint(&run->why, "see whether the token or the server hangs; job-limit in [agent] allows more time");
}

/* For a failure of ours to believe the worker; one to store what it said has a hint of its own. */
static int mistrusted(struct err **errp)
{
    if (errp && *errp && err_kind(*errp) == ERR_PROTOCOL)
        err_hint(errp, "see that daemon and worker are of one installation; if they are, report it: what the worker "
                       "read may have misled it");
    return -1;
}

/* --- the conversation --- */

static int take_step(struct run *run, const char *text, struct err **errp)
{
    if (++run->steps > MAX_STEPS)
        return err_set(errp, ERR_PROTOCOL, "the worker tells more than %d steps", MAX_STEPS);
    free(run->step);
    run->step = printable_text(text);
    if (!run->agent->options->json)
        agent_log(AGENT_LOG_INFO, "%s: %s", run->label, run->step);
    if (run->progress)
        run->progress(run->ctx, run->step);
    return 0;
}

/* 0 to go on, 1 when the worker has told how its job ended, -1 when it is not to be believed or we cannot store. */
static int take_event(struct run *run, struct err **errp)
{
    struct channel_event *event = &run->outcome.event;

    switch (event->type) {
    case CHANNEL_PROGRESS:
        return take_step(run, event->text, errp);
    case CHANNEL_CHECKPOINT:
        if (!run->record || take_checkpoint(run, event, errp) < 0 || channel_ack(run->channel, errp) < 0)
            return err_wrap(errp, "at '%s'", job_checkpoint_name(event->step));
        return 0;
    case CHANNEL_RESULT:
        if (run->record && check_result(run, &event->enrolled, errp) < 0)
            return -1;
        run->told = true;
        return 1;
    case CHANNEL_FAILED:
        if (!run->why)
            run->why = TAKE(event->failure);
        return 1;
    case CHANNEL_CLOSED:
        return 1;
    }
    return 1;
}

static void stop_listening(struct run *run)
{
    struct event *all[] = {run->readable, run->writable, run->more, run->limit};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i])
            (void)event_del(all[i]);
}

/* The worker is ended by us, for @run->why. */
static void cut(struct run *run)
{
    run->phase = CUT;
    stop_listening(run);
    child_kill(run->child);
}

static void leave(struct run *run)
{
    run->phase = LEAVING;
    stop_listening(run);
    child_linger(run->child);
}

/* Reads what there is, @most frames. True when more may be there. */
static bool listen_to(struct run *run, unsigned most)
{
    struct err **errp = &run->why;

    for (unsigned n = 0; n < most; n++) {
        int r;

        channel_event_clear(&run->outcome.event);
        r = channel_next(run->channel, run->kind, 0, &run->outcome.event, errp);
        if (r == 0)
            return false;
        if (r == 1)
            r = take_event(run, errp);
        if (r < 0) {
            (void)mistrusted(errp);
            cut(run);
            return false;
        }
        if (r == 1) {
            leave(run);
            return false;
        }
    }
    return true;
}

static void say_more(struct run *run)
{
    if (run->phase == TALKING && channel_flush(run->channel) == CHANNEL_WAITS)
        (void)event_add(run->writable, NULL);
}

static void on_readable(int fd, short what, void *arg)
{
    static const struct timeval now = {0};
    struct run *run = arg;

    (void)fd;
    (void)what;
    agent_tell_time(run->agent);
    if (listen_to(run, FRAMES_A_TURN))
        (void)event_add(run->more, &now);
    say_more(run);
}

static void on_writable(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    say_more(arg);
}

static void on_limit(int fd, short what, void *arg)
{
    struct run *run = arg;

    (void)fd;
    (void)what;
    agent_tell_time(run->agent);
    took_too_long(run);
    cut(run);
}

/* --- from beginning to end --- */

static void run_free(struct run *run)
{
    struct event *all[] = {run->readable, run->writable, run->more, run->limit};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i])
            event_free(all[i]);
    channel_free(run->channel);
    run_outcome_clear(&run->outcome);
    err_free(run->why);
    free(run->label);
    free(run->step);
    free(run);
}

/* The worker has gone; what it said before may still be there to be read. */
static void on_ended(void *ctx, int status)
{
    struct run *run = ctx;

    if (status == CHILD_CLOSED) {
        if (run->dropped)
            run->dropped(run->ctx);
        run_free(run);
        return;
    }
    agent_tell_time(run->agent);
    while (run->phase == TALKING && listen_to(run, FRAMES_A_TURN))
        ;
    if (!run->told && !run->why)
        died(run, status);
    run->done(run->ctx, &run->outcome, run->told ? NULL : run->why);
    run_free(run);
}

static int watch(struct run *run, struct err **errp)
{
    struct event_base *base = run->agent->base;
    struct timeval limit = {.tv_sec = run->agent->settings.agent.job_limit};
    int fd = channel_fd(run->channel);

    run->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, run);
    run->writable = event_new(base, fd, EV_WRITE, on_writable, run);
    run->more = evtimer_new(base, on_readable, run);
    run->limit = evtimer_new(base, on_limit, run);
    if (!run->readable || !run->writable || !run->more || !run->limit || event_add(run->readable, NULL) < 0 ||
        evtimer_add(run->limit, &limit) < 0)
        return err_set(errp, ERR_INTERNAL, "watching the worker: %m");
    return 0;
}

/* What cannot be said ends the run, in its time. */
static void say_job(struct run *run, const struct run_request *request)
{
    const struct run_secret *secret = &request->secret;

    if ((secret->name && channel_send_secret(run->channel, secret->name, secret->value, &run->why) < 0) ||
        channel_send_job(run->channel, request->kind, request->input, &run->why) < 0)
        cut(run);
    say_more(run);
}

int run_start(struct agent *agent, const struct run_request *request, struct run **out, struct err **errp)
{
    struct run *run = mem_alloc(sizeof(*run));

    *run = (struct run){.agent = agent,
        .kind = request->kind,
        .label = mem_strdup(request->label),
        .record = request->record,
        .progress = request->progress,
        .done = request->done,
        .dropped = request->dropped,
        .ctx = request->ctx,
        .step = mem_strdup("starting")};
    if (child_start(agent->children, on_ended, run, &run->child, &run->channel, errp) < 0) {
        free(run->label);
        free(run->step);
        free(run);
        return -1;
    }
    if (watch(run, &run->why) < 0)
        cut(run);
    else
        say_job(run, request);
    if (out)
        *out = run;
    return 0;
}

void run_cancel(struct run *run)
{
    if (run->phase == TALKING) {
        err_set(&run->why, ERR_BUSY, "it was cancelled while %s", run->step);
        err_hint(&run->why, "what was reached is on record and is gone on with at the next attempt");
        cut(run);
    }
    child_kill(run->child);
}
