#include "agent/worker/verify.h"

#include <string.h>

#include "agent/config/file.h"
#include "agent/job/job_fields.h"
#include "agent/key/key_file.h"
#include "agent/key/key_token_certificates.h"
#include "agent/request/differ.h"
#include "agent/worker/place.h"
#include "agent/worker/trust.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define MAX_TEXT   (JOB_MAX_REPORT / 4 - 1) /* characters of one text of the result */
#define MAX_FILE   (JOB_MAX_CHAIN + 2 * CERT_MAX_DER)
#define CLOCK_SKEW 600 /* seconds that notBefore may lie ahead of our clock */

struct look {
    const struct job_verify *job;
    struct job_verified *result;
    struct place place;
    struct cert *cert;       /* owned */
    struct cert_list chain;  /* on record, from the issuer on */
    struct strlist problems; /* so far */
    int64_t now;
};

static void look_clear(struct look *look)
{
    place_close(&look->place);
    cert_free(look->cert);
    cert_list_clear(&look->chain);
    strlist_clear(&look->problems);
}

/* --- what was found --- */

static void note(struct look *look, const char *what, const char *text)
{
    CLEANUP(mem_freep) char *line = mem_printf("%s: %s", what, text);
    CLEANUP(mem_freep) char *shown = printable(line, strlen(line), MAX_TEXT);

    strlist_add(&look->result->checked, shown);
}

static void wrong(struct look *look, enum job_verdict verdict, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void wrong(struct look *look, enum job_verdict verdict, const char *what, const char *fmt, ...)
{
    struct job_verified *result = look->result;
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    note(look, what, text);
    strlist_add(&look->problems, text);
    if (result->verdict == JOB_VERDICT_OK || verdict < result->verdict)
        result->verdict = verdict;
}

/* --- the certificate --- */

static int read_record(struct look *look, struct err **errp)
{
    const struct job_pair *pair = &look->job->pair;

    if (cert_parse(pair->certificate.data, pair->certificate.len, &look->cert, errp) < 0 ||
        (pair->chain.len && cert_list_from_pem(bytes_text(&pair->chain), pair->chain.len, &look->chain, errp) < 0))
        return err_wrap(errp, "reading the certificate on record");
    return 0;
}

static void look_at_dates(struct look *look)
{
    bool expired = look->cert->not_after <= look->now;
    bool early = look->cert->not_before > look->now + CLOCK_SKEW;
    CLEANUP(mem_freep) char *when = when_format(early ? look->cert->not_before : look->cert->not_after);
    CLEANUP(mem_freep) char *fine = mem_printf("valid until %s", when);

    if (expired)
        wrong(look, JOB_VERDICT_EXPIRED, "dates", "the certificate has expired on %s", when);
    else if (early)
        wrong(look, JOB_VERDICT_NOT_YET_VALID, "dates", "the certificate is not valid before %s", when);
    else
        note(look, "dates", fine);
}

/* --- the key --- */

/* Signs with it, and holds that against the certificate's own public key. */
static void look_at_pair(struct look *look, struct key *key)
{
    CLEANUP(err_freep) struct err *err = NULL;

    if (!pubkey_equal(key_spki(key), &look->cert->key.spki))
        wrong(look, JOB_VERDICT_KEY_MISMATCH, "key", "the certificate is of another key than the one at %s",
            key_uri(key));
    else if (key_self_check(key, &err) < 0)
        wrong(look, JOB_VERDICT_ERROR, "key", "%s", err_text(err));
    else
        note(look, "key", "there, and it signs for the certificate");
}

static void look_at_key_file(struct look *look)
{
    const char *path = look->job->pair.key_file;
    CLEANUP(key_freep) struct key *key = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    if (key_file_open(path, &key, &err) == 0)
        look_at_pair(look, key);
    else if (err_kind(err) == ERR_MISSING)
        wrong(look, JOB_VERDICT_MISSING, "key", "the key file %s is not there any more", path);
    else
        wrong(look, JOB_VERDICT_ERROR, "key", "the key file: %s", err_text(err));
}

static const struct key_listing *find_listing(const struct key_listings *list, const struct bytes *id)
{
    for (size_t i = 0; i < list->n; i++)
        if (bytes_equal(&list->items[i].id, id))
            return &list->items[i];
    return NULL;
}

static int look_at_token_key(struct look *look, struct token *token, const struct key_listings *list, struct err **errp)
{
    const struct bytes *id = &look->job->pair.key_id;
    const struct key_listing *here = find_listing(list, id);
    CLEANUP(key_freep) struct key *key = NULL;
    CLEANUP(err_freep) struct err *why = NULL;

    if (!here || !here->has_private) {
        wrong(look, JOB_VERDICT_MISSING, "key", "the key is not in the token any more");
        return 0;
    }
    if (key_token_open(token, id, &look->cert->key.spki, &key, &why) == 0) {
        look_at_pair(look, key);
        return 0;
    }
    if (err_kind(why) == ERR_INVALID) {
        wrong(
            look, JOB_VERDICT_KEY_MISMATCH, "key", "the key in the token is not the certificate's: %s", err_text(why));
        return 0;
    }
    if (errp && !*errp)
        *errp = TAKE(why);
    return -1;
}

/* pkcs11:token=...;object=NAME must lead to the current pair, and to nothing else. */
static void look_at_label(struct look *look, const struct key_listings *list)
{
    const char *name = look->job->name;
    const struct bytes *id = &look->job->pair.key_id;
    const struct key_listing *here = find_listing(list, id);

    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].label, name) == 0 && !bytes_equal(&list->items[i].id, id)) {
            wrong(look, JOB_VERDICT_ERROR, "label", "another object in the token has the label '%s' too", name);
            return;
        }
    if (!here)
        return;
    if (strcmp(here->label, name) == 0)
        note(look, "label", name);
    else
        wrong(look, JOB_VERDICT_ERROR, "label", "the key's label in the token is '%s' and should be '%s'", here->label,
            name);
}

static int look_at_token_certificate(struct look *look, struct token *token, struct err **errp)
{
    const struct job_pair *pair = &look->job->pair;
    CLEANUP(token_certificates_clear) struct token_certificates list = {0};

    if (key_token_certificates(token, &pair->key_id, &list, errp) < 0)
        return -1;
    if (!list.n) {
        wrong(look, JOB_VERDICT_MISSING, "token", "the certificate is not in the token any more");
        return 0;
    }
    for (size_t i = 0; i < list.n; i++) {
        const struct token_certificate *item = &list.items[i];

        if (bytes_equal(&item->der, &pair->certificate) && strcmp(item->label, look->job->name) == 0)
            continue;
        if (bytes_equal(&item->der, &pair->certificate))
            wrong(look, JOB_VERDICT_ERROR, "token", "the certificate's label in the token is '%s' and should be '%s'",
                item->label, look->job->name);
        else
            wrong(look, JOB_VERDICT_ERROR, "token", "another certificate lies beside the key in the token");
        return 0;
    }
    note(look, "token", "the certificate lies beside its key");
    return 0;
}

static int look_at_token(struct look *look, struct err **errp)
{
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    struct token *token;

    if (place_token(&look->place, &token, errp) < 0 || key_token_list(token, NULL, &list, errp) < 0 ||
        look_at_token_key(look, token, &list, errp) < 0)
        return -1;
    look_at_label(look, &list);
    return look_at_token_certificate(look, token, errp);
}

/* --- what is published --- */

static void look_at_file(struct look *look, const char *name, const struct bytes *expected)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", look->job->published, name);
    CLEANUP(bytes_clear) struct bytes found = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    int r = file_read(path, MAX_FILE, &found, &err);

    if (r == FILE_MISSING)
        wrong(look, JOB_VERDICT_MISSING, "files", "%s is not there any more", path);
    else if (r < 0 && err_kind(err) == ERR_STORE)
        wrong(look, JOB_VERDICT_ERROR, "files", "%s", err_text(err));
    else if (r < 0 || !bytes_equal(&found, expected))
        wrong(look, JOB_VERDICT_ERROR, "files", "%s was changed from outside", path);
}

static int look_at_files(struct look *look, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes leaf = {0};
    CLEANUP(bytes_clear) struct bytes full = {0};
    CLEANUP(bytes_clear) struct bytes uri = {0};
    const struct job_pair *pair = &look->job->pair;
    const struct {
        const char *name;
        const struct bytes *expected;
    } files[] = {{"cert.pem", &leaf}, {"chain.pem", &pair->chain}, {"fullchain.pem", &full}, {"key.uri", &uri}};
    size_t before = look->problems.n;

    if (!look->job->published)
        return 0;
    if (cert_to_pem(look->cert, &leaf, errp) < 0 || bytes_append(&full, leaf.data, leaf.len, errp) < 0 ||
        bytes_append(&full, pair->chain.data, pair->chain.len, errp) < 0 ||
        bytes_printf(&uri, errp, "%s\n", look->job->key_uri ? look->job->key_uri : "") < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        look_at_file(look, files[i].name, files[i].expected);
    if (look->problems.n == before)
        note(look, "files", look->job->published);
    return 0;
}

/* --- the chain --- */

/* Of a certificate that is out of date we say that, and judge its chain by a time at which it was not. */
static int64_t moment_for_chain(const struct look *look)
{
    const struct cert *cert = look->cert;

    if (look->now < cert->not_before)
        return cert->not_before;
    return look->now < cert->not_after ? look->now : cert->not_after - 1;
}

static void look_at_chain(struct look *look)
{
    CLEANUP(trust_clear) struct trust trust = {0};
    CLEANUP(cert_list_clear) struct cert_list chain = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct job_verified *result = look->result;

    if (look->chain.n)
        result->issuer_not_after = look->chain.items[0]->not_after;
    if (!look->job->ca_file)
        return;
    if (trust_read(look->job->ca_file, &trust, &err) < 0) {
        wrong(look, JOB_VERDICT_ERROR, "chain", "%s", err_text(err));
        return;
    }
    if (cert_chain_verify(
            look->cert, &look->chain, &trust.anchors, moment_for_chain(look), CERT_CHAIN_PARTIAL, &chain, &err) < 0) {
        wrong(look, JOB_VERDICT_ERROR, "chain", "the certificate leads to no CA of %s any more: %s", look->job->ca_file,
            err_text(err));
        return;
    }
    if (chain.n > 1)
        result->issuer_not_after = chain.items[1]->not_after;
    result->anchor_not_after = chain.items[chain.n - 1]->not_after;
    note(look, "chain", chain.items[chain.n - 1]->subject);
}

/* --- the names --- */

static void look_at_names(struct look *look)
{
    const struct job_verify *job = look->job;
    CLEANUP(machine_clear) struct machine machine = {0};
    CLEANUP(mem_freep) char *differ = NULL;

    if (!job->n_template)
        return;
    machine_read("", &machine);
    differ = differ_names(&job->template[0], &job -> names, &machine, look -> cert);
    if (differ)
        look->result->names_differ = printable(differ, strlen(differ), MAX_TEXT);
    note(look, "names", differ ? differ : "as configured");
}

int verify(struct job_verify *job, struct channel *daemon, struct job_verified *result, struct err **errp)
{
    CLEANUP(look_clear)
    struct look look = {.job = job, .result = result, .place = {.job = &job->place}, .now = when_now()};

    channel_progress(daemon, "looking at key, certificate and files");
    if (read_record(&look, errp) < 0)
        return -1;
    look_at_dates(&look);
    if (job->pair.key_file)
        look_at_key_file(&look);
    else if (look_at_token(&look, errp) < 0)
        return -1;
    if (look_at_files(&look, errp) < 0)
        return -1;
    look_at_chain(&look);
    look_at_names(&look);
    if (look.problems.n) {
        CLEANUP(mem_freep) char *text = strlist_join(&look.problems, "; ");

        result->problem = printable(text, strlen(text), MAX_TEXT);
    }
    return 0;
}
