#include "agent/worker/refresh.h"

#include <string.h>

#include "agent/submit/fetch.h"
#include "agent/worker/identity.h"
#include "agent/worker/trust.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

static int open_identity(struct job_refresh *job, struct place *place, struct identity *identity, struct err **errp)
{
    if (job->server.auth == POLICY_AUTH_CERTIFICATE)
        return identity_use_pair(identity, place, &job->identity, NULL, errp);
    if (job->server.auth == POLICY_AUTH_USERNAME)
        return identity_use_password(identity, &job->server, errp);
    return 0;
}

/* What the policy server came to, for the daemon to remember. */
static void tried(
    const struct job_refresh *job, struct job_refreshed *result, struct job_endpoint what, const struct err *why)
{
    what.uri = mem_strdup(job->server.uri);
    what.auth = job->server.auth;
    what.refused = what.sent && why && err_kind(why) == ERR_AUTH;
    what.sent = false; /* nothing that a CA acts on */
    what.error = why ? printable(err_text(why), strlen(err_text(why)), POLICY_MAX_TEXT / 4) : NULL;
    *MEM_APPEND(result->endpoints, result->n_endpoints) = what;
}

int refresh(struct job_refresh *job, struct channel *daemon, struct job_refreshed *result, struct err **errp)
{
    CLEANUP(trust_clear) struct trust trust = {0};
    CLEANUP(place_close) struct place place = {.job = &job->place};
    CLEANUP(identity_clear) struct identity identity = {0};
    CLEANUP(mem_freep) char *shown = printable_text(job->server.uri);
    CLEANUP(err_freep) struct err *why = NULL;
    struct job_endpoint what = {0};
    struct call_peer peer = {.url = job->server.uri,
        .auth = job->server.auth,
        .credentials = &identity.shown,
        .anchors = &trust.pem,
        .sent = &what.sent,
        .retry_after = &what.retry_after,
        .now = when_now()};
    int outcome;

    if (trust_read(job->server.ca_file, &trust, errp) < 0 || open_identity(job, &place, &identity, errp) < 0)
        return -1;
    channel_progress(daemon, "fetching the policy from %s (%s)", shown, policy_auth_name(job->server.auth));
    outcome = fetch_policy(&peer, job->server.policy_id, &job->last_update, &result->policy, &why);
    tried(job, result, what, why);
    if (outcome < 0) {
        err_wrap(&why, "fetching the policy from %s", shown);
        if (errp && !*errp)
            *errp = TAKE(why);
        return -1;
    }
    result->not_changed = outcome == FETCH_NOT_CHANGED;
    for (size_t i = 0; i < result->policy.skipped.n; i++)
        channel_progress(daemon, "warning: %s", result->policy.skipped.items[i]);
    return 0;
}
