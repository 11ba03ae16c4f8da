#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/job/channel.h"
#include "agent/job/job_fields.h"
#include "agent/worker/enroll.h"
#include "agent/worker/poll.h"
#include "agent/worker/probe.h"
#include "agent/worker/refresh.h"
#include "agent/worker/retire.h"
#include "agent/worker/scan.h"
#include "agent/worker/tokens.h"
#include "agent/worker/vault.h"
#include "agent/worker/verify.h"
#include "protocol/base/printable.h"
#include "protocol/base/secret.h"

/* kind, member of its input, member of its output, what does it */
#define WORKER_JOBS(X)                                                                                                 \
    X(REFRESH, refresh, refreshed, refresh)                                                                            \
    X(ENROLL, enroll, enrolled, enroll)                                                                                \
    X(POLL, enroll, enrolled, poll_pending)                                                                            \
    X(RETIRE, retire, retired, retire)                                                                                 \
    X(TOKENS, tokens, tokens, tokens)                                                                                  \
    X(VERIFY, verify, verified, verify)                                                                                \
    X(SCAN, scan, scanned, scan)                                                                                       \
    X(PROBE, probe, probed, probe)

static int run(
    enum job_kind kind, union job_input *input, struct channel *daemon, union job_output *output, struct err **errp)
{
    switch (kind) {
#define X(name, in, out, function)                                                                                     \
    case JOB_##name:                                                                                                   \
        return function(&input->in, daemon, &output->out, errp);
        WORKER_JOBS(X)
#undef X
    case JOB__MAX:
        break;
    }
    return err_set(errp, ERR_INTERNAL, "a job of no kind");
}

/* What came from outside stands in the texts too; nothing of it may reach a terminal as anything but text. */
static struct err *harmless(const struct err *failure)
{
    CLEANUP(mem_freep) char *text = printable_text(err_text(failure));
    CLEANUP(mem_freep) char *hint = err_hint_text(failure) ? printable_text(err_hint_text(failure)) : NULL;

    return err_new(err_kind(failure), text, hint, err_code(failure));
}

/* What was tried, for a job that tries addresses; borrowed. */
static const struct job_endpoint *tried(enum job_kind kind, const union job_output *output, size_t *n)
{
    *n = 0;
    if (kind == JOB_REFRESH) {
        *n = output->refreshed.n_endpoints;
        return output->refreshed.endpoints;
    }
    if (kind == JOB_ENROLL || kind == JOB_POLL) {
        *n = output->enrolled.n_endpoints;
        return output->enrolled.endpoints;
    }
    return NULL;
}

static int report(enum job_kind kind, const union job_output *output, const struct err *failure, struct channel *daemon,
    struct err **errp)
{
    CLEANUP(err_freep) struct err *shown = NULL;
    const struct job_endpoint *endpoints;
    size_t n;

    if (!failure)
        return channel_result(daemon, kind, output, errp);
    shown = harmless(failure);
    endpoints = tried(kind, output, &n);
    return channel_failed(daemon, shown, endpoints, n, errp);
}

/*
 * The daemon says no more: it has gone, or it wants us to end. It cannot kill a worker that systemd started, and one
 * that hangs in a token or in the network does not look at its channel; what was checkpointed is safe.
 */
static void *end_with_the_daemon(void *arg)
{
    struct pollfd *channel = arg;

    while (poll(channel, 1, -1) <= 0)
        ;
    _exit(EXIT_FAILURE);
}

/* By a descriptor of its own: that of the channel is closed when the job is done. */
static int watch_the_daemon(struct err **errp)
{
    static struct pollfd channel = {.events = POLLRDHUP};
    pthread_t thread;
    int r;

    channel.fd = fcntl(CHANNEL_FD, F_DUPFD_CLOEXEC, 0);
    if (channel.fd < 0)
        return err_set(
            errp, ERR_USAGE, "only autoenrolld starts this program, with a job as descriptor %d", CHANNEL_FD);
    r = pthread_create(&thread, NULL, end_with_the_daemon, &channel);
    return r ? err_set(errp, ERR_INTERNAL, "starting a thread: %s", strerror(r)) : 0;
}

/* One job from the daemon that started us, then the end. Status 1 means that the daemon could not be told. */
int main(void)
{
    CLEANUP(channel_freep) struct channel *daemon = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    union job_input input = {0};
    union job_output output = {0};
    enum job_kind kind;

    secret_harden_process();
    (void)signal(SIGPIPE, SIG_IGN); /* a module in another process may end under us, and so may the daemon */
    daemon = channel_new(CHANNEL_FD);
    vault_use(daemon);
    if (watch_the_daemon(&err) < 0 || channel_read_job(daemon, &kind, &input, &err) < 0) {
        err_print("autoenroll-worker", err);
        return EXIT_FAILURE;
    }
    (void)run(kind, &input, daemon, &output, &failure);
    if (report(kind, &output, failure, daemon, &err) < 0)
        err_print("autoenroll-worker", err);
    fields_clear(job_kind_info(kind)->input, &input);
    fields_clear(job_kind_info(kind)->result, &output);
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
