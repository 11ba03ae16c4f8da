/* channel.h - frames, checkpoints and progress between daemon and worker. */
#pragma once

#include "agent/job/job.h"
#include "protocol/base/secret.h"

/*
 * One stream socket, one job. A frame is a 32-bit length, a type and a body written by a field map; over its limit,
 * of an unknown type, out of turn or with a field of another type it ends the channel with an error that says so.
 *
 *   daemon -> worker   up to four SECRET, then JOB, then ACK for each checkpoint
 *   worker -> daemon   any number of PROGRESS and CHECKPOINT, then RESULT or FAILED, and nothing after it
 *
 * A SECRET is raw bytes, and every buffer that held one is overwritten.
 */
#define CHANNEL_MAX_FRAME   (16u << 20)
#define CHANNEL_MAX_SECRET  4096 /* bytes of one */
#define CHANNEL_MAX_SECRETS 4
#define CHANNEL_FD          3 /* where the worker finds it; also what systemd gives to an instance for a connection */

/* What a job comes to, by its kind; the fields are those of job_kind_info(kind)->result. */
#define JOB_OUTPUTS(X)                                                                                                 \
    X(job_refreshed, refreshed)                                                                                        \
    X(job_enrolled, enrolled) /* also POLL */                                                                          \
    X(job_retired, retired)                                                                                            \
    X(job_token_list, tokens)                                                                                          \
    X(job_verified, verified)                                                                                          \
    X(job_scanned, scanned)                                                                                            \
    X(job_probed, probed)
#define X(tag, member) struct tag member;
union job_output {
    JOB_OUTPUTS(X)
};

struct channel;
struct channel *channel_new(int fd);        /* takes the descriptor; returns owned */
void channel_free(struct channel *channel); /* takes, closes; NULL is fine */
DEFINE_FREEP(struct channel, channel_free)

/* --- the worker's side; all of it blocks --- */

/* Reads the job into @input, which is zeroed before; its fields are those of job_kind_info(kind)->input. 0 or -1. */
union job_input {
    struct job_refresh refresh;
    struct job_enroll enroll; /* also POLL */
    struct job_retire retire;
    struct job_tokens tokens;
    struct job_verify verify;
    struct job_scan scan;
    struct job_probe probe;
};
int channel_read_job(struct channel *channel, enum job_kind *kind, union job_input *input, struct err **errp);
/* A secret that came before the job; borrowed from the channel. NULL: none of that name. */
const struct secret *channel_secret(const struct channel *channel, const char *name);

/* Tells what is being done, for a person; never fails: a daemon that has gone is noticed at the next checkpoint. */
void channel_progress(struct channel *channel, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sends @attempt as it is after this step, and waits until the daemon has made it durable. 0 or -1. */
int channel_checkpoint(
    struct channel *channel, enum job_checkpoint step, const struct job_attempt *attempt, struct err **errp);

/* Ends the job. @result is the result struct of the job's kind. */
int channel_result(struct channel *channel, enum job_kind kind, const void *result, struct err **errp);
/* @endpoints: what was tried, NULL and 0 where nothing was */
int channel_failed(struct channel *channel, const struct err *failure, const struct job_endpoint *endpoints,
    size_t n_endpoints, struct err **errp);

/* --- the daemon's side; it never waits for a worker to read: what it says is queued, for channel_flush or channel_next
 * to write --- */

/* For the worker's vault under @name, of at most 255 bytes; before the job. 0, or -1 (ERR_INVALID). */
int channel_send_secret(struct channel *channel, const char *name, const struct secret *value, struct err **errp);
/* 0, or -1 with ERR_INVALID when the job is over its bounds. */
int channel_send_job(struct channel *channel, enum job_kind kind, const void *input, struct err **errp);
/* 0, or -1 with ERR_PROTOCOL when the worker did not wait for it. */
int channel_ack(struct channel *channel, struct err **errp);

/* CHANNEL_GONE: nobody reads any more. What the worker said before can still be read. */
enum channel_flush { CHANNEL_FLUSHED, CHANNEL_WAITS, CHANNEL_GONE };
/* Writes as much as the socket takes now. CHANNEL_WAITS: more, as soon as it is writable. */
enum channel_flush channel_flush(struct channel *channel);

enum channel_event_type { CHANNEL_PROGRESS, CHANNEL_CHECKPOINT, CHANNEL_RESULT, CHANNEL_FAILED, CHANNEL_CLOSED };
struct channel_event {
    enum channel_event_type type;
    char *text;                 /* PROGRESS */
    enum job_checkpoint step;   /* CHECKPOINT */
    struct job_attempt attempt; /* CHECKPOINT */
    enum job_kind kind;         /* RESULT */
    union {
        union job_output output; /* RESULT; one of the members of JOB_OUTPUTS */
        JOB_OUTPUTS(X)
    };
    struct err *failure;            /* FAILED; owned */
    struct job_endpoint *endpoints; /* FAILED; owned */
    size_t n_endpoints;
};
#undef X
void channel_event_clear(struct channel_event *event);

/*
 * Waits for the next frame of a worker that does @kind, and writes what is queued meanwhile. What it sends is hostile
 * until it fits the maps.
 *
 * @timeout_ms   0 returns at once when there is no whole frame, -1 waits for ever
 * Returns 1 and an event (clear it), 0 when the time is over, -1 when the worker broke the rules (ERR_PROTOCOL).
 */
int channel_next(
    struct channel *channel, enum job_kind kind, int timeout_ms, struct channel_event *event, struct err **errp);
int channel_fd(const struct channel *channel); /* for polling; stays the channel's */
