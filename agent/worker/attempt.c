#include "agent/worker/attempt.h"

#include <stdlib.h>
#include <string.h>

#include "agent/install/install.h"
#include "agent/install/place_token.h"
#include "protocol/base/when.h"

void attempt_close(struct attempt *a)
{
    job_attempt_clear(&a->saved);
    trust_clear(&a->trust);
    machine_clear(&a->machine);
    identity_clear(&a->identity);
    cert_free(a->old);
    key_free(a->old_key);
    key_free(a->new_key);
    place_close(&a->place);
}

int attempt_open(struct attempt *a, struct job_enroll *job, struct channel *daemon, struct err **errp)
{
    const struct bytes *old = &job->old.certificate;

    a->job = job;
    a->daemon = daemon;
    a->saved = job->attempt;
    job->attempt = (struct job_attempt){0};
    a->place.job = &job->place;
    machine_read("", &a->machine);
    if (trust_read(job->server.ca_file, &a->trust, errp) < 0)
        return -1;
    if (old->len && cert_parse(old->data, old->len, &a->old, errp) < 0)
        return err_wrap(errp, "reading the certificate to renew");
    return 0;
}

bool attempt_is_renewal(const struct attempt *a)
{
    return a->old != NULL;
}

bool attempt_keeps_key(const struct attempt *a)
{
    return a->old && bytes_equal(&a->saved.key_id, &a->job->old.key_id);
}

bool attempt_is_answered(const struct attempt *a)
{
    return !a->saved.pending && (a->saved.answer_cms.len || a->saved.answer_certificate.len);
}

bool attempt_is_checked(const struct attempt *a)
{
    return a->saved.pair.certificate.len > 0;
}

struct key *attempt_key(const struct attempt *a)
{
    return attempt_keeps_key(a) ? a->old_key : a->new_key;
}

int attempt_open_old_key(struct attempt *a, struct err **errp)
{
    if (!a->old || a->old_key)
        return 0;
    if (place_open_key(&a->place, &a->job->old, &a->old_key, errp) < 0)
        return err_wrap(errp, "opening the key of the certificate to renew");
    return 0;
}

/* The pair that is being made, as far as it is one yet; its strings are owned. */
static void pair_under_way(const struct attempt *a, struct job_pair *pair)
{
    *pair = (struct job_pair){0};
    if (attempt_keeps_key(a))
        pair->key_file = mem_strdup_opt(a->job->old.key_file);
    else if (a->job->file_key)
        pair->key_file = place_key_file(&a->place, &a->saved.key_id);
    bytes_copy(&pair->key_id, &a->saved.key_id);
}

int attempt_open_key(struct attempt *a, struct err **errp)
{
    CLEANUP(job_pair_clear) struct job_pair pair = {0};

    if (attempt_keeps_key(a))
        return attempt_open_old_key(a, errp);
    if (a->new_key)
        return 0;
    pair_under_way(a, &pair);
    if (place_open_key(&a->place, &pair, &a->new_key, errp) < 0) {
        err_wrap(errp, "opening the key of the request that was signed");
        return err_hint(errp, "if the key is gone for good, --renew %s makes another and a new request", a->job->name);
    }
    return 0;
}

int attempt_open_identity(struct attempt *a, struct err **errp)
{
    const struct job_enroll *job = a->job;
    bool own = job->identity.certificate.len > 0;

    if (attempt_open_old_key(a, errp) < 0)
        return -1;
    if (identity_use_pair(&a->identity, &a->place, own ? &job->identity : &job->old, own ? NULL : a->old_key, errp) < 0)
        return -1;
    if (attempt_is_renewal(a) && !job->password_fallback)
        return 0;
    return identity_use_password(&a->identity, &job->server, errp);
}

struct call_peer attempt_peer(const struct attempt *a, const char *uri, uint32_t auth)
{
    return (struct call_peer){
        .url = uri, .auth = auth, .credentials = &a->identity.shown, .anchors = &a->trust.pem, .now = when_now()};
}

int attempt_save(struct attempt *a, enum job_checkpoint step, struct err **errp)
{
    return channel_checkpoint(a->daemon, step, &a->saved, errp);
}

void attempt_take_answer(struct attempt *a, struct submit_answer *answer, bool pending)
{
    struct job_attempt *saved = &a->saved;

    if (answer->unrelated)
        channel_progress(a->daemon, "warning: the answer does not say which message it answers");
    if (answer->request_id) {
        free(saved->request_id);
        saved->request_id = TAKE(answer->request_id);
    }
    bytes_clear(&saved->answer_cms);
    bytes_clear(&saved->answer_certificate);
    saved->answer_cms = answer->cms;
    saved->answer_certificate = answer->certificate;
    answer->cms = answer->certificate = (struct bytes){0};
    saved->pending = pending;
}

/* Of the CAs that may be asked, those that are reached at the address that answered; all of them where it is gone. */
static size_t answering_cas(const struct attempt *a, struct policy_ca *cas)
{
    const struct job_enroll *job = a->job;
    size_t n = 0;

    for (size_t i = 0; i < job->n_cas; i++)
        for (size_t j = 0; j < job->cas[i].n_uris; j++)
            if (a->saved.ces_uri && strcmp(job->cas[i].uris[j].uri, a->saved.ces_uri) == 0) {
                cas[n++] = job->cas[i];
                break;
            }
    for (size_t i = 0; !n && i < job->n_cas; i++)
        cas[i] = job->cas[i];
    return n ? n : job->n_cas;
}

static int check_answer(struct attempt *a, struct err **errp)
{
    CLEANUP(mem_freep) struct policy_ca *cas = mem_calloc(a->job->n_cas + 1, sizeof(*cas)); /* items borrowed */
    const struct install_question question = {.cms = &a->saved.answer_cms,
        .certificate = &a->saved.answer_certificate,
        .key = attempt_key(a),
        .template = &a->job->template,
        .cas = cas,
        .n_cas = answering_cas(a, cas),
        .anchors = &a->trust.anchors,
        .now = when_now()};
    CLEANUP(job_pair_clear) struct job_pair pair = {0};

    if (install_check(&question, &pair, &a->saved.facts, errp) < 0)
        return -1;
    pair_under_way(a, &a->saved.pair);
    a->saved.pair.certificate = pair.certificate;
    a->saved.pair.chain = pair.chain;
    pair.certificate = pair.chain = (struct bytes){0};
    a->saved.facts.key_uri = mem_strdup(key_uri(attempt_key(a)));
    return 0;
}

void attempt_drop_answer(struct attempt *a)
{
    job_attempt_drop_answer(&a->saved);
}

int attempt_check(struct attempt *a, struct err **errp)
{
    channel_progress(a->daemon, "checking the answer");
    if (attempt_open_key(a, errp) < 0)
        return -1;
    if (check_answer(a, errp) < 0)
        return err_wrap(errp, "checking the answer of %s", a->saved.ces_uri ? a->saved.ces_uri : "the CA");
    return attempt_save(a, CHECKPOINT_CHECKED, errp);
}

int attempt_put(struct attempt *a, struct err **errp)
{
    const struct job_pair *pair = &a->saved.pair;
    struct token *token;

    if (pair->key_file)
        return 0;
    channel_progress(a->daemon, "putting the certificate into the token");
    if (place_token(&a->place, &token, errp) < 0)
        return -1;
    return place_token_put(token, a->job->name, &pair->key_id, &pair->certificate, &a->job->replaces, errp);
}
