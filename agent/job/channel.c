#include "agent/job/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/job/job_fields.h"
#include "protocol/base/printable.h"

#define HEADER_SIZE      6 /* length of the body, big endian; type; kind of the job or step of the checkpoint */
#define MAX_PROGRESS     500
#define MAX_FAILURE_TEXT 4000 /* characters */
#define READ_AT_ONCE     65536
#define MAX_SECRET_BODY  (1 + UINT8_MAX + CHANNEL_MAX_SECRET) /* length of the name, name, value */
/* A job with its secrets, and an ACK. */
#define MAX_QUEUE (CHANNEL_MAX_FRAME + CHANNEL_MAX_SECRETS * MAX_SECRET_BODY + (CHANNEL_MAX_SECRETS + 2) * HEADER_SIZE)

enum frame_type {
    FRAME_JOB = 1,
    FRAME_ACK,
    FRAME_PROGRESS,
    FRAME_CHECKPOINT,
    FRAME_RESULT,
    FRAME_FAILED,
    FRAME_SECRET,
    FRAME__END
};

struct frame {
    enum frame_type type;
    unsigned subject;    /* enum job_kind or enum job_checkpoint, unchecked */
    const uint8_t *body; /* borrowed from the channel, until the next read */
    size_t len;
};

struct named_secret {
    char *name;
    struct secret *value;
};

struct channel {
    int fd;
    struct bytes in;  /* read, and not yet taken as a frame */
    struct bytes out; /* queued; from @written on it is still to be written */
    size_t written;
    bool gone; /* nobody reads what is written */
    struct named_secret secrets[CHANNEL_MAX_SECRETS];
    size_t n_secrets; /* that were sent, or came */
    bool ended;       /* RESULT or FAILED has passed */
    bool asked;       /* a checkpoint waits for its ACK */
    bool stepped;     /* @step is valid */
    enum job_checkpoint step;
};

/* The bodies that are no struct of job.h. */
struct body_progress {
    char *text;
};
struct body_failed {
    unsigned kind;
    char *text, *hint;
    uint32_t code;
    struct job_endpoint *endpoints;
    size_t n_endpoints;
};

static const char *const err_names[] = {
#define X(name, bus, status, retry) bus,
    ERR_KINDS(X)
#undef X
};
LOCAL_FIELDS(body_progress_fields, body_progress, FIELD_TEXT(body_progress, text, PRINTABLE_BYTES(MAX_PROGRESS)));
LOCAL_FIELDS(body_failed_fields, body_failed, FIELD_ENUM(body_failed, kind, err_names),
    FIELD_TEXT(body_failed, text, PRINTABLE_BYTES(MAX_FAILURE_TEXT)),
    FIELD_TEXT(body_failed, hint, PRINTABLE_BYTES(MAX_FAILURE_TEXT)), FIELD_U32(body_failed, code),
    FIELD_LIST(body_failed, endpoints, n_endpoints, job_endpoint, job_endpoint_fields, POLICY_MAX_URIS));

static void empty_queue(struct channel *channel)
{
    bytes_wipe(&channel->out);
    channel->out = (struct bytes){.limit = MAX_QUEUE, .secret = true};
    channel->written = 0;
}

struct channel *channel_new(int fd)
{
    struct channel *channel = mem_alloc(sizeof(*channel));

    channel->fd = fd;
    channel->in = (struct bytes){.limit = HEADER_SIZE + CHANNEL_MAX_FRAME + READ_AT_ONCE, .secret = true};
    empty_queue(channel);
    return channel;
}

void channel_free(struct channel *channel)
{
    if (!channel)
        return;
    for (size_t i = 0; i < channel->n_secrets; i++) {
        free(channel->secrets[i].name);
        secret_free(channel->secrets[i].value);
    }
    bytes_wipe(&channel->in);
    bytes_wipe(&channel->out);
    close(channel->fd);
    free(channel);
}

int channel_fd(const struct channel *channel)
{
    return channel->fd;
}

/* --- frames --- */

/* Until the descriptor is ready for one of @events or @timeout_ms (-1: for ever) has passed. What it is ready for. */
static int wait_ready(int fd, short events, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = events};

    return poll(&wait, 1, timeout_ms) > 0 ? wait.revents : 0;
}

/* MSG_NOSIGNAL: no SIGPIPE. */
enum channel_flush channel_flush(struct channel *channel)
{
    while (!channel->gone && channel->written < channel->out.len) {
        ssize_t n = send(channel->fd, channel->out.data + channel->written, channel->out.len - channel->written,
            MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            return CHANNEL_WAITS;
        if (n < 0 && errno != EINTR)
            channel->gone = true;
        if (n > 0)
            channel->written += (size_t)n;
    }
    empty_queue(channel);
    return channel->gone ? CHANNEL_GONE : CHANNEL_FLUSHED;
}

/* The worker's way: blocks until all of it is written. */
static int flush_all(struct channel *channel, struct err **errp)
{
    enum channel_flush r;

    while ((r = channel_flush(channel)) == CHANNEL_WAITS)
        (void)wait_ready(channel->fd, POLLOUT, -1);
    return r == CHANNEL_GONE ? err_set(errp, ERR_PROTOCOL, "the other end of the channel is gone") : 0;
}

static int queue_raw(
    struct channel *channel, enum frame_type type, unsigned subject, const struct bytes *body, struct err **errp)
{
    size_t len = body->len;
    uint8_t header[HEADER_SIZE] = {
        (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)type, (uint8_t)subject};

    if (bytes_append(&channel->out, header, sizeof(header), errp) < 0)
        return -1;
    return bytes_append(&channel->out, body->data, len, errp);
}

/* @map NULL: no body */
static int queue_frame(struct channel *channel, enum frame_type type, unsigned subject, const struct fields *map,
    const void *body, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {.limit = CHANNEL_MAX_FRAME};

    if ((map && fields_write(map, body, false, &text, errp) < 0) || queue_raw(channel, type, subject, &text, errp) < 0)
        return err_wrap(errp, "writing to the channel");
    return 0;
}

static int send_frame(struct channel *channel, enum frame_type type, unsigned subject, const struct fields *map,
    const void *body, struct err **errp)
{
    if (queue_frame(channel, type, subject, map, body, errp) < 0)
        return -1;
    return flush_all(channel, errp);
}

/* Looks at what was read. 1 and the frame, 0 when it is not whole yet, -1 when it never can be. */
static int whole_frame(const struct channel *channel, struct frame *frame, struct err **errp)
{
    const uint8_t *in = channel->in.data;
    size_t len;

    if (channel->in.len < HEADER_SIZE)
        return 0;
    len = (size_t)in[0] << 24 | (size_t)in[1] << 16 | (size_t)in[2] << 8 | in[3];
    if (len > CHANNEL_MAX_FRAME)
        return err_set(errp, ERR_PROTOCOL, "a frame of %zu bytes, more than the %u allowed", len, CHANNEL_MAX_FRAME);
    if (in[4] < FRAME_JOB || in[4] >= FRAME__END)
        return err_set(errp, ERR_PROTOCOL, "a frame of unknown type %u", in[4]);
    if (channel->in.len < HEADER_SIZE + len)
        return 0;
    *frame = (struct frame){(enum frame_type)in[4], in[5], in + HEADER_SIZE, len};
    return 1;
}

static void drop_frame(struct channel *channel, const struct frame *frame)
{
    size_t whole = HEADER_SIZE + frame->len;

    memmove(channel->in.data, channel->in.data + whole, channel->in.len - whole);
    channel->in.len -= whole;
    explicit_bzero(channel->in.data + channel->in.len, whole);
}

/* Reads once. 1 when something came, 0 at the end of the stream, -1 on failure, 2 when a signal or nothing came. */
static int read_some(struct channel *channel, struct err **errp)
{
    CLEANUP(mem_freep) uint8_t *data = mem_alloc(READ_AT_ONCE);
    ssize_t n = recv(channel->fd, data, READ_AT_ONCE, 0);
    int r;

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 2;
    if (n < 0 && errno == ECONNRESET)
        return 0;
    if (n < 0)
        return err_set(errp, ERR_PROTOCOL, "reading from the channel: %m");
    if (n == 0)
        return 0;
    r = bytes_append(&channel->in, data, (size_t)n, errp) < 0 ? -1 : 1;
    explicit_bzero(data, (size_t)n);
    return r;
}

/* The worker's way: blocks until a frame is there. */
static int await_frame(struct channel *channel, struct frame *frame, struct err **errp)
{
    int r;

    while ((r = whole_frame(channel, frame, errp)) == 0) {
        (void)wait_ready(channel->fd, POLLIN, -1);
        r = read_some(channel, errp);
        if (r == 0)
            return err_set(errp, ERR_PROTOCOL, "the daemon has closed the channel");
        if (r < 0)
            return -1;
    }
    return r;
}

/* --- the worker's side --- */

static int take_secret(struct channel *channel, const struct frame *frame, struct err **errp)
{
    size_t name_len = frame->len ? frame->body[0] : 0;
    const char *name = (const char *)frame->body + 1;

    if (!name_len || frame->len <= 1 + name_len || frame->len - 1 - name_len > CHANNEL_MAX_SECRET ||
        memchr(name, '\0', name_len))
        return err_set(errp, ERR_PROTOCOL, "a secret of the wrong form");
    if (channel->n_secrets == CHANNEL_MAX_SECRETS)
        return err_set(errp, ERR_PROTOCOL, "more than %d secrets", CHANNEL_MAX_SECRETS);
    channel->secrets[channel->n_secrets++] = (struct named_secret){
        .name = mem_strndup(name, name_len), .value = secret_copy(name + name_len, frame->len - 1 - name_len)};
    return 0;
}

const struct secret *channel_secret(const struct channel *channel, const char *name)
{
    for (size_t i = 0; i < channel->n_secrets; i++)
        if (channel->secrets[i].name && strcmp(channel->secrets[i].name, name) == 0)
            return channel->secrets[i].value;
    return NULL;
}

int channel_read_job(struct channel *channel, enum job_kind *kind, union job_input *input, struct err **errp)
{
    struct frame frame;

    for (;;) {
        if (await_frame(channel, &frame, errp) < 0)
            return err_wrap(errp, "waiting for a job");
        if (frame.type != FRAME_SECRET)
            break;
        if (take_secret(channel, &frame, errp) < 0)
            return -1;
        drop_frame(channel, &frame);
    }
    if (frame.type != FRAME_JOB || frame.subject >= JOB__MAX)
        return err_set(errp, ERR_PROTOCOL, "the first frame is no job that we know");
    if (fields_read(job_kind_info((enum job_kind)frame.subject)->input, frame.body, frame.len, input, errp) < 0)
        return err_wrap(errp, "reading the job '%s'", job_kind_name((enum job_kind)frame.subject));
    *kind = (enum job_kind)frame.subject;
    drop_frame(channel, &frame);
    return 0;
}

void channel_progress(struct channel *channel, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    struct body_progress body = {0};
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    body.text = printable(text, strlen(text), MAX_PROGRESS);
    (void)send_frame(channel, FRAME_PROGRESS, 0, &body_progress_fields, &body, NULL);
    free(body.text);
}

int channel_checkpoint(
    struct channel *channel, enum job_checkpoint step, const struct job_attempt *attempt, struct err **errp)
{
    struct frame frame;

    if (send_frame(channel, FRAME_CHECKPOINT, step, &job_attempt_fields, attempt, errp) < 0 ||
        await_frame(channel, &frame, errp) < 0)
        return err_wrap(errp, "checkpoint '%s'", job_checkpoint_name(step));
    if (frame.type != FRAME_ACK)
        return err_set(
            errp, ERR_PROTOCOL, "the daemon did not acknowledge the checkpoint '%s'", job_checkpoint_name(step));
    drop_frame(channel, &frame);
    return 0;
}

int channel_result(struct channel *channel, enum job_kind kind, const void *result, struct err **errp)
{
    return send_frame(channel, FRAME_RESULT, kind, job_kind_info(kind)->result, result, errp);
}

int channel_failed(struct channel *channel, const struct err *failure, const struct job_endpoint *endpoints,
    size_t n_endpoints, struct err **errp)
{
    const char *hint = err_hint_text(failure);
    struct body_failed body = {.kind = err_kind(failure), .code = err_code(failure)};
    int r;

    body.text = printable(err_text(failure), strlen(err_text(failure)), MAX_FAILURE_TEXT);
    body.hint = hint ? printable(hint, strlen(hint), MAX_FAILURE_TEXT) : NULL;
    body.n_endpoints = n_endpoints < POLICY_MAX_URIS ? n_endpoints : POLICY_MAX_URIS;
    body.endpoints = body.n_endpoints ? mem_calloc(body.n_endpoints, sizeof(*body.endpoints)) : NULL;
    for (size_t i = 0; i < body.n_endpoints; i++)
        fields_copy(&job_endpoint_fields, &body.endpoints[i], &endpoints[i]);
    r = send_frame(channel, FRAME_FAILED, 0, &body_failed_fields, &body, errp);
    fields_clear(&body_failed_fields, &body);
    return r;
}

/* --- the daemon's side --- */

int channel_send_secret(struct channel *channel, const char *name, const struct secret *value, struct err **errp)
{
    CLEANUP(bytes_wipe) struct bytes body = {.limit = MAX_SECRET_BODY, .secret = true};
    uint8_t len = (uint8_t)strlen(name);

    if (!len || strlen(name) > UINT8_MAX || channel->n_secrets == CHANNEL_MAX_SECRETS)
        return err_set(errp, ERR_INVALID, "'%s' is no name of a secret, or there are too many", name);
    if (!secret_len(value) || secret_len(value) > CHANNEL_MAX_SECRET)
        return err_set(errp, ERR_INVALID, "secret '%s' does not have 1 to %d bytes", name, CHANNEL_MAX_SECRET);
    if (bytes_append(&body, &len, 1, errp) < 0 || bytes_append(&body, name, len, errp) < 0 ||
        bytes_append(&body, secret_peek(value), secret_len(value), errp) < 0)
        return -1;
    channel->n_secrets++;
    return queue_raw(channel, FRAME_SECRET, 0, &body, errp);
}

int channel_send_job(struct channel *channel, enum job_kind kind, const void *input, struct err **errp)
{
    return queue_frame(channel, FRAME_JOB, kind, job_kind_info(kind)->input, input, errp);
}

/* A worker waits for the ACK and says nothing meanwhile; one that has is no longer believed. */
int channel_ack(struct channel *channel, struct err **errp)
{
    uint8_t byte;

    if (!channel->asked)
        return err_set(errp, ERR_INTERNAL, "there is no checkpoint to acknowledge");
    if (channel->in.len || recv(channel->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return err_set(errp, ERR_PROTOCOL, "the worker went on without waiting for its checkpoint");
    if (queue_frame(channel, FRAME_ACK, 0, NULL, NULL, errp) < 0)
        return -1;
    channel->asked = false;
    return 0;
}

static int read_progress(const struct frame *frame, struct channel_event *event, struct err **errp)
{
    struct body_progress body = {0};

    if (fields_read(&body_progress_fields, frame->body, frame->len, &body, errp) < 0)
        return err_wrap(errp, "progress");
    event->type = CHANNEL_PROGRESS;
    event->text = body.text ? body.text : mem_strdup("");
    return 0;
}

static int read_checkpoint(struct channel *channel, enum job_kind kind, const struct frame *frame,
    struct channel_event *event, struct err **errp)
{
    enum job_checkpoint step = (enum job_checkpoint)frame->subject;

    if (!job_kind_info(kind)->checkpoints)
        return err_set(errp, ERR_PROTOCOL, "a checkpoint in a job '%s', which has none", job_kind_name(kind));
    if (frame->subject >= CHECKPOINT__MAX || (channel->stepped && step < channel->step))
        return err_set(errp, ERR_PROTOCOL, "checkpoint %u is out of turn", frame->subject);
    if (fields_read(&job_attempt_fields, frame->body, frame->len, &event->attempt, errp) < 0)
        return err_wrap(errp, "checkpoint '%s'", job_checkpoint_name(step));
    event->type = CHANNEL_CHECKPOINT;
    event->step = step;
    channel->stepped = true;
    channel->step = step;
    channel->asked = true;
    return 0;
}

static int read_result(struct channel *channel, enum job_kind kind, const struct frame *frame,
    struct channel_event *event, struct err **errp)
{
    if (frame->subject != kind)
        return err_set(errp, ERR_PROTOCOL, "the result of another job than '%s'", job_kind_name(kind));
    if (fields_read(job_kind_info(kind)->result, frame->body, frame->len, &event->output, errp) < 0)
        return err_wrap(errp, "result of '%s'", job_kind_name(kind));
    event->type = CHANNEL_RESULT;
    event->kind = kind;
    if (kind == JOB_REFRESH && policy_check(&event->refreshed.policy, errp) < 0)
        return -1;
    channel->ended = true;
    return 0;
}

static int read_failed(
    struct channel *channel, const struct frame *frame, struct channel_event *event, struct err **errp)
{
    struct body_failed body = {0};

    if (fields_read(&body_failed_fields, frame->body, frame->len, &body, errp) < 0)
        return err_wrap(errp, "failure");
    event->type = CHANNEL_FAILED;
    event->failure = err_new((enum err_kind)body.kind, body.text ? body.text : "failed", body.hint, body.code);
    event->endpoints = TAKE(body.endpoints);
    event->n_endpoints = body.n_endpoints;
    body.n_endpoints = 0;
    fields_clear(&body_failed_fields, &body);
    channel->ended = true;
    return 0;
}

static int read_event(struct channel *channel, enum job_kind kind, const struct frame *frame,
    struct channel_event *event, struct err **errp)
{
    if (channel->ended)
        return err_set(errp, ERR_PROTOCOL, "a frame behind the last one");
    if (channel->asked)
        return err_set(errp, ERR_PROTOCOL, "a frame before the checkpoint was acknowledged");
    switch (frame->type) {
    case FRAME_PROGRESS:
        return read_progress(frame, event, errp);
    case FRAME_CHECKPOINT:
        return read_checkpoint(channel, kind, frame, event, errp);
    case FRAME_RESULT:
        return read_result(channel, kind, frame, event, errp);
    case FRAME_FAILED:
        return read_failed(channel, frame, event, errp);
    case FRAME_JOB:
    case FRAME_ACK:
    case FRAME_SECRET:
    case FRAME__END:
        break;
    }
    return err_set(errp, ERR_PROTOCOL, "a frame that only the daemon sends");
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Writes what is queued until there is something to read or @deadline (-1: for ever) has passed: 1, or 0. */
static int wait_readable(struct channel *channel, int64_t deadline)
{
    for (;;) {
        short events = channel_flush(channel) == CHANNEL_WAITS ? POLLIN | POLLOUT : POLLIN;
        int64_t left = deadline < 0 ? -1 : deadline - monotonic_ms();
        int ready = wait_ready(channel->fd, events, left < 0 && deadline >= 0 ? 0 : (int)left);

        if (ready & ~POLLOUT)
            return 1;
        if (!ready && deadline >= 0 && left <= 0)
            return 0;
    }
}

/* The stream has ended: fine between two frames, and no more than that. */
static int at_end(const struct channel *channel, struct channel_event *event, struct err **errp)
{
    if (channel->in.len)
        return err_set(errp, ERR_PROTOCOL, "cut in the middle of a frame");
    event->type = CHANNEL_CLOSED;
    return 1;
}

/* Whatever is wrong with a frame: it is the worker that broke the rules. */
static int broken(struct err **errp)
{
    CLEANUP(err_freep) struct err *why = errp ? TAKE(*errp) : NULL;

    return err_set(errp, ERR_PROTOCOL, "the worker breaks the rules of the channel: %s", err_text(why));
}

int channel_next(
    struct channel *channel, enum job_kind kind, int timeout_ms, struct channel_event *event, struct err **errp)
{
    int64_t deadline = timeout_ms < 0 ? -1 : monotonic_ms() + timeout_ms;
    struct channel_event next = {0};
    struct frame frame;
    int r;

    while ((r = whole_frame(channel, &frame, errp)) == 0) {
        if (!wait_readable(channel, deadline))
            return 0;
        r = read_some(channel, errp);
        if (r == 0) {
            *event = (struct channel_event){0};
            return at_end(channel, event, errp) < 0 ? broken(errp) : 1;
        }
        if (r < 0)
            return broken(errp);
    }
    if (r < 0 || read_event(channel, kind, &frame, &next, errp) < 0) {
        channel_event_clear(&next);
        return broken(errp);
    }
    drop_frame(channel, &frame);
    *event = next;
    return 1;
}

void channel_event_clear(struct channel_event *event)
{
    free(event->text);
    job_attempt_clear(&event->attempt);
    if (event->type == CHANNEL_RESULT)
        fields_clear(job_kind_info(event->kind)->result, &event->output);
    err_free(event->failure);
    for (size_t i = 0; i < event->n_endpoints; i++)
        fields_clear(&job_endpoint_fields, &event->endpoints[i]);
    free(event->endpoints);
    *event = (struct channel_event){0};
}
