#include "agent/worker/poll.h"

#include <string.h>

#include "agent/worker/attempt.h"
#include "protocol/base/printable.h"

/* What the one address came to, for the daemon to remember. */
static void tried(
    const struct attempt *a, struct job_enrolled *result, bool sent, uint32_t retry_after, const struct err *why)
{
    bool refused = sent && why && err_kind(why) == ERR_AUTH;

    *MEM_APPEND(result->endpoints, result->n_endpoints) = (struct job_endpoint){.uri = mem_strdup(a->saved.ces_uri),
        .auth = a->saved.ces_auth,
        .refused = refused,
        .retry_after = retry_after,
        .error = why ? printable(err_text(why), strlen(err_text(why)), POLICY_MAX_TEXT / 4) : NULL};
}

static int query(struct attempt *a, struct job_enrolled *result, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;
    bool sent = false;
    uint32_t retry_after = 0;
    CLEANUP(submit_answer_clear) struct submit_answer answer = {0};
    CLEANUP(mem_freep) char *shown = printable_text(a->saved.ces_uri);
    struct call_peer peer = attempt_peer(a, a->saved.ces_uri, a->saved.ces_auth);
    int outcome;

    if (auth_check_host(&a->job->server, a->saved.ces_uri, errp) < 0 || attempt_open_identity(a, errp) < 0)
        return -1;
    channel_progress(a->daemon, "asking %s after the pending request", shown);
    peer.sent = &sent;
    peer.retry_after = &retry_after;
    outcome = submit_query(&peer, a->saved.request_id, &answer, &why); /* [MS-WSTEP] 3.1.4.2.1.2 */
    tried(a, result, sent, retry_after, why);
    if (outcome < 0) {
        err_wrap(&why, "asking %s", shown);
        if (errp && !*errp)
            *errp = TAKE(why);
        return -1;
    }
    if (outcome == SUBMIT_ISSUED)
        attempt_take_answer(a, &answer, false);
    return 0;
}

int poll_pending(struct job_enroll *job, struct channel *daemon, struct job_enrolled *result, struct err **errp)
{
    CLEANUP(attempt_close) struct attempt a = {0};

    if (attempt_open(&a, job, daemon, errp) < 0)
        return -1;
    if (a.saved.pending) {
        if (!a.saved.ces_uri || !a.saved.request_id)
            return err_set(errp, ERR_INTERNAL, "a pending request without its address or its id");
        if (query(&a, result, errp) < 0)
            return -1;
        if (a.saved.pending) {
            channel_progress(daemon, "the request is still pending");
            result->pending = true;
            return 0;
        }
        if (attempt_save(&a, CHECKPOINT_ANSWERED, errp) < 0) /* as it came, before we look */
            return -1;
    }
    if (!attempt_is_checked(&a) && attempt_check(&a, errp) < 0)
        return -1;
    return attempt_put(&a, errp);
}
