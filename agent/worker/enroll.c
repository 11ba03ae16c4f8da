#include "agent/worker/enroll.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/request/request.h"
#include "agent/submit/endpoint.h"
#include "agent/worker/attempt.h"
#include "protocol/base/printable.h"
#include "protocol/pki/hresult.h"
#include "protocol/xcep/flags.h"

_Static_assert(JOB_KEY_ID_LEN == KEY_ID_LEN, "the daemon and the token mean the same by a key id");

static void choose_key(struct attempt *a)
{
    const struct job_enroll *job = a->job;
    bool same = job->same_key || (job->template.private_key_flags & XCEP_KEY_REQUIRE_SAME_KEY_RENEWAL);

    if (attempt_is_renewal(a) && same)
        bytes_copy(&a->saved.key_id, &job->old.key_id);
    else
        key_new_id(job->place.tag.data, &a->saved.key_id);
}

/* With a signed request the key must be there; before that one may be made, under the id that is on record. */
static int make_key(struct attempt *a, struct err **errp)
{
    const struct job_enroll *job = a->job;
    enum key_kind kind;

    if (attempt_keeps_key(a) || a->saved.request.len)
        return attempt_open_key(a, errp);
    if (request_key_kind(&job->template, &kind, errp) < 0)
        return -1;
    if (job->file_key && !(job->template.private_key_flags & XCEP_KEY_EXPORTABLE_KEY)) {
        err_set(errp, ERR_POLICY, "template '%s' does not allow a key outside the token", job->template.name);
        return err_hint(errp, "use key = token, or have the template say that private keys may be exported");
    }
    channel_progress(a->daemon, "making a key (%s) in %s", key_kind_name(kind), job->file_key ? "a file" : "the token");
    return place_make_key(&a->place, &a->saved.key_id, job->name, job->file_key, kind, &a->new_key, errp);
}

static int sign_request(struct attempt *a, struct err **errp)
{
    const struct job_enroll *job = a->job;
    CLEANUP(subject_clear) struct subject subject = {0};
    struct request_spec spec = {.template = &job->template, .subject = &subject, .machine = &a->machine, .old = a->old};
    enum wstep_token token;

    if (attempt_open_old_key(a, errp) < 0)
        return -1;
    channel_progress(a->daemon, "signing the request");
    if (subject_build(&job->template, &job->names, &a->machine, a->old, &subject, errp) < 0)
        return -1;
    spec.key = attempt_key(a);
    spec.old_key = a->old_key;
    if (request_build(&spec, &a->saved.request, &token, errp) < 0)
        return -1;
    a->saved.request_token = token;
    return 0;
}

/* --- where to --- */

static uint32_t chance(void)
{
    uint32_t value = 0;

    return getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value) ? value : 0;
}

/* @what came of it, but for the texts; @error NULL: it answered. */
static void tried(
    struct job_enrolled *result, const struct endpoint *endpoint, struct job_endpoint what, const char *error)
{
    if (result->n_endpoints == POLICY_MAX_URIS)
        return;
    what.uri = mem_strdup(endpoint->uri->uri);
    what.auth = endpoint->uri->auth;
    what.error = error ? printable(error, strlen(error), POLICY_MAX_TEXT / 4) : NULL;
    *MEM_APPEND(result->endpoints, result->n_endpoints) = what;
}

/* Another address may do better, unless the CA has decided, or it is us who failed. */
static bool another_may_do(const struct err *why)
{
    if (err_code(why))
        return (hresult_find(err_code(why))->actions & (HRESULT_OTHER_CA | HRESULT_LATER)) && err_kind(why) != ERR_AUTH;
    switch (err_kind(why)) {
    case ERR_NETWORK:
    case ERR_TIMEOUT:
    case ERR_TLS:
    case ERR_AUTH:
    case ERR_PROTOCOL:
    case ERR_POLICY:
    case ERR_MISSING:
    case ERR_INVALID:
    case ERR_CONFIG:
        return true;
    case ERR_INTERNAL:
    case ERR_USAGE:
    case ERR_DENIED:
    case ERR_UNTRUSTED:
    case ERR_TOKEN:
    case ERR_STORE:
    case ERR_BUSY:
    case ERR__MAX:
        return false;
    }
    return false;
}

/* @what  sent: set when the request has left; retry_after */
static int submit_to(struct attempt *a, const struct policy_uri *to, struct job_endpoint *what, struct err **errp)
{
    CLEANUP(submit_answer_clear) struct submit_answer answer = {0};
    CLEANUP(mem_freep) char *shown = printable_text(to->uri);
    struct call_peer peer = attempt_peer(a, to->uri, to->auth);
    const struct submit_request request = {
        .token = a->saved.request_token, .bytes = &a->saved.request, .machine = a->machine.fqdn};
    int outcome;

    if (auth_check_host(&a->job->server, to->uri, errp) < 0)
        return -1;
    peer.sent = &what->sent;
    peer.retry_after = &what->retry_after;
    channel_progress(a->daemon, "submitting to %s (%s)", shown, policy_auth_name(to->auth));
    outcome = submit_request(&peer, &request, &answer, errp); /* [MS-WSTEP] 3.1.4.2.1.1 */
    if (outcome < 0)
        return err_wrap(errp, "submitting to %s", shown);
    attempt_take_answer(a, &answer, outcome == SUBMIT_PENDING);
    free(a->saved.ces_uri);
    a->saved.ces_uri = mem_strdup(to->uri);
    a->saved.ces_auth = to->auth;
    return 0;
}

static int nowhere_to_go(const struct attempt *a, const struct endpoint_list *list, struct err **errp)
{
    CLEANUP(mem_freep) char *shown = list->n ? printable_text(list->items[0].uri->uri) : NULL;
    const char *name = a->job->template.name;

    if (!list->n)
        err_set(errp, ERR_POLICY, "the policy names no enrollment server for template '%s'", name);
    else
        err_set(errp, ERR_AUTH, "none of %zu addresses in the policy can be used for template '%s'; the first, %s: %s",
            list->n, name, shown, list->items[0].refused);
    return err_hint(errp, "%s",
        attempt_is_renewal(a) ? "see that a renewal address with certificate authentication is offered, or set "
                                "password-fallback = yes"
                              : "see that the policy server's section has a username and a stored password, and that "
                                "the CA has an enrollment server that takes them");
}

/* Each address in turn; what each said is kept. A password that was refused once is not shown again. */
static int submit_in_turn(
    struct attempt *a, const struct endpoint_list *list, struct job_enrolled *result, struct err **errp)
{
    CLEANUP(err_freep) struct err *first = NULL;
    uint32_t refused = 0;

    for (size_t i = 0; i < list->n_usable; i++) {
        const struct endpoint *endpoint = &list->items[i];
        CLEANUP(err_freep) struct err *why = NULL;
        struct job_endpoint what = {0};
        bool more, auth;

        if (endpoint->uri->auth == refused) {
            tried(result, endpoint, what, "not tried: the password was refused at another address");
            continue;
        }
        if (submit_to(a, endpoint->uri, &what, &why) == 0) {
            tried(result, endpoint, what, NULL);
            return 0;
        }
        auth = err_kind(why) == ERR_AUTH; /* who is not let in has asked the CA for nothing */
        what.refused = what.sent && auth;
        what.sent = what.sent && !auth;
        tried(result, endpoint, what, err_text(why));
        more = another_may_do(why);
        if (auth && endpoint->uri->auth == POLICY_AUTH_USERNAME)
            refused = POLICY_AUTH_USERNAME;
        if (!more)
            err_free(TAKE(first)); /* a decision outweighs what went wrong before */
        if (!first)
            first = TAKE(why);
        if (!more)
            break;
    }
    if (errp && !*errp)
        *errp = TAKE(first);
    return -1;
}

static int submit(struct attempt *a, struct job_enrolled *result, struct err **errp)
{
    CLEANUP(endpoint_list_clear) struct endpoint_list list = {0};
    struct endpoint_question question = {.cas = a->job->cas,
        .n_cas = a->job->n_cas,
        .renewal = attempt_is_renewal(a),
        .password_fallback = a->job->password_fallback};
    int r;

    if (attempt_open_identity(a, errp) < 0)
        return -1;
    question.auths = identity_auths(&a->identity);
    endpoint_order(&question, chance, &list);
    r = list.n_usable ? submit_in_turn(a, &list, result, errp) : nowhere_to_go(a, &list, errp);
    for (size_t i = list.n_usable; i < list.n; i++)
        tried(result, &list.items[i], (struct job_endpoint){0}, list.items[i].refused);
    return r;
}

/*
 * An answer that was saved and must not be installed was refused before, and somebody wants us to try again: it is
 * dropped, and the same request goes out once more. 0 when it is good or dropped, or -1.
 */
static int check_saved(struct attempt *a, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;

    if (attempt_check(a, &why) == 0)
        return 0;
    if (err_kind(why) == ERR_UNTRUSTED || err_kind(why) == ERR_INVALID) {
        CLEANUP(mem_freep) char *shown = printable_text(err_text(why));

        channel_progress(a->daemon, "the answer that was saved is of no use: %s", shown);
        attempt_drop_answer(a);
        return 0;
    }
    if (errp && !*errp)
        *errp = TAKE(why);
    return -1;
}

/* From nothing, or from where an earlier worker ended, to an answer that is checked or a request that is pending. */
static int obtain(struct attempt *a, struct job_enrolled *result, struct err **errp)
{
    const char *template = a->job->template.name;

    if (!a->saved.key_id.len) {
        choose_key(a);
        if (attempt_save(a, CHECKPOINT_KEY_CHOSEN, errp) < 0) /* no key without a record */
            return -1;
    }
    if (make_key(a, errp) < 0)
        return err_wrap(errp, "making a key for template '%s'", template);
    if (!a->saved.request.len) {
        if (sign_request(a, errp) < 0)
            return err_wrap(errp, "making the request for template '%s'", template);
        if (attempt_save(a, CHECKPOINT_REQUEST_SIGNED, errp) < 0) /* durable before it leaves */
            return -1;
    }
    if (attempt_is_answered(a) && check_saved(a, errp) < 0)
        return -1;
    if (attempt_is_checked(a) || a->saved.pending)
        return 0;
    if (submit(a, result, errp) < 0)
        return -1;
    if (attempt_save(a, CHECKPOINT_ANSWERED, errp) < 0) /* as it came, before we look */
        return -1;
    return a->saved.pending ? 0 : attempt_check(a, errp); /* our key, our template, a trusted CA */
}

int enroll(struct job_enroll *job, struct channel *daemon, struct job_enrolled *result, struct err **errp)
{
    CLEANUP(attempt_close) struct attempt a = {0};

    if (attempt_open(&a, job, daemon, errp) < 0)
        return -1;
    if (!attempt_is_checked(&a) && obtain(&a, result, errp) < 0)
        return -1;
    if (a.saved.pending) {
        channel_progress(daemon, "the CA has taken the request under submission");
        result->pending = true;
        return 0;
    }
    return attempt_put(&a, errp);
}
