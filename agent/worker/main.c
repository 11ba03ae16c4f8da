#include <signal.h>
#include <stdlib.h>

#include "agent/job/channel.h"
#include "agent/worker/enroll.h"
#include "agent/worker/poll.h"
#include "agent/worker/refresh.h"
#include "agent/worker/retire.h"
#include "agent/worker/tokens.h"
#include "protocol/base/printable.h"
#include "protocol/base/secret.h"

/* The result of a job, by its kind. */
union output {
    struct job_refreshed refreshed;
    struct job_enrolled enrolled;
    struct job_retired retired;
    struct job_token_list tokens;
};

static int run(
    enum job_kind kind, union job_input *input, struct channel *daemon, union output *output, struct err **errp)
{
    switch (kind) {
    case JOB_REFRESH:
        return refresh(&input->refresh, daemon, &output->refreshed, errp);
    case JOB_ENROLL:
        return enroll(&input->enroll, daemon, &output->enrolled, errp);
    case JOB_POLL:
        return poll_pending(&input->enroll, daemon, &output->enrolled, errp);
    case JOB_RETIRE:
        return retire(&input->retire, daemon, &output->retired, errp);
    case JOB_TOKENS:
        return tokens(&input->tokens, daemon, &output->tokens, errp);
    case JOB__MAX:
        break;
    }
    return err_set(errp, ERR_INTERNAL, "a job of no kind");
}

static void clear(enum job_kind kind, union job_input *input, union output *output)
{
    switch (kind) {
    case JOB_REFRESH:
        job_refresh_clear(&input->refresh);
        job_refreshed_clear(&output->refreshed);
        break;
    case JOB_ENROLL:
    case JOB_POLL:
        job_enroll_clear(&input->enroll);
        job_enrolled_clear(&output->enrolled);
        break;
    case JOB_RETIRE:
        job_retire_clear(&input->retire);
        break;
    case JOB_TOKENS:
        job_tokens_clear(&input->tokens);
        job_token_list_clear(&output->tokens);
        break;
    case JOB__MAX:
        break;
    }
}

/* What came from outside stands in the texts too; nothing of it may reach a terminal as anything but text. */
static struct err *harmless(const struct err *failure)
{
    CLEANUP(mem_freep) char *text = printable_text(err_text(failure));
    CLEANUP(mem_freep) char *hint = err_hint_text(failure) ? printable_text(err_hint_text(failure)) : NULL;

    return err_new(err_kind(failure), text, hint, err_code(failure));
}

static int report(enum job_kind kind, const union output *output, const struct err *failure, struct channel *daemon,
    struct err **errp)
{
    bool tries = kind == JOB_ENROLL || kind == JOB_POLL;
    CLEANUP(err_freep) struct err *shown = NULL;

    if (!failure)
        return channel_result(daemon, kind, output, errp);
    shown = harmless(failure);
    return channel_failed(
        daemon, shown, tries ? output->enrolled.endpoints : NULL, tries ? output->enrolled.n_endpoints : 0, errp);
}

/* One job from the daemon that started us, then the end. Status 1 means that the daemon could not be told. */
int main(void)
{
    CLEANUP(channel_freep) struct channel *daemon = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    union job_input input = {0};
    union output output = {0};
    enum job_kind kind;

    secret_harden_process();
    (void)signal(SIGPIPE, SIG_IGN); /* a module in another process may end under us, and so may the daemon */
    daemon = channel_new(CHANNEL_FD);
    if (channel_read_job(daemon, &kind, &input, &err) < 0) {
        err_print("autoenroll-worker", err);
        return EXIT_FAILURE;
    }
    (void)run(kind, &input, daemon, &output, &failure);
    if (report(kind, &output, failure, daemon, &err) < 0)
        err_print("autoenroll-worker", err);
    clear(kind, &input, &output);
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
