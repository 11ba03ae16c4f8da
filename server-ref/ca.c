#include "server-ref/ca.h"

#include <inttypes.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/base/when.h"
#include "protocol/pki/der.h"
#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "protocol/pki/payload.h"
#include "server-ref/file.h"
#include "server-ref/issue.h"
#include "server-ref/judge.h"
#include "server-ref/mint.h"
#include "server-ref/refusal.h"

#define EXCHANGE_LIFE (7 * WHEN_DAY)

int ca_open(const struct config *config, struct store *store, struct ca **ca, struct err **errp)
{
    CLEANUP(ca_freep) struct ca *opened = mem_alloc(sizeof(*opened));
    CLEANUP(mem_freep) char *chain = mem_printf("%s/chain.pem", config->dir);
    CLEANUP(mem_freep) char *key = mem_printf("%s/ca.key", config->dir);
    CLEANUP(pubkey_clear) struct pubkey public = {0};

    opened->config = config;
    opened->store = store;
    if (file_read_certificates(chain, &opened->chain, errp) < 0)
        return -1;
    opened->key = file_read_key(key, errp);
    if (!opened->key || pubkey_from_evp(opened->key, &public, errp) < 0)
        return -1;
    if (!cert_same_key(opened->chain.items[0], &public.spki))
        return err_set(errp, ERR_CONFIG, "'%s' is not the key of the first certificate in '%s'", key, chain);
    *ca = TAKE(opened);
    return 0;
}

void ca_free(struct ca *ca)
{
    if (!ca)
        return;
    cert_list_clear(&ca->chain);
    EVP_PKEY_free(ca->key);
    free(ca);
}

void ca_answer_clear(struct ca_answer *answer)
{
    free(answer->message);
    cert_free(answer->leaf);
    bytes_clear(&answer->cms);
    *answer = (struct ca_answer){0};
}

/* Big-endian without leading zeros, [MS-WSTEP notes] 5.9.1. */
static void write_token(int64_t id, struct bytes *out)
{
    uint8_t bytes[8];
    size_t len = 0;

    for (int shift = 56; shift >= 0; shift -= 8)
        if (len || id >> shift & 0xff)
            bytes[len++] = (uint8_t)(id >> shift & 0xff);
    bytes_set(out, bytes, len);
}

/* Fills in the CMC response of @answer; @received is when the request came. */
static int respond(struct ca *ca, int64_t received, struct ca_answer *answer, struct err **errp)
{
    struct cms_signer signer = {.key = ca->key, .cert = ca->chain.items[0], .hash = mint_hash(ca->key)};
    struct cmc_response_spec spec = {
        .status = CMC_FAILED, .text = answer->message, .certificates = &ca->chain, .ca = &signer};
    CLEANUP(bytes_clear) struct bytes token = {0};

    if (answer->state == REQUEST_ISSUED) {
        spec.status = CMC_ISSUED;
        spec.leaf = answer->leaf;
    }
    if (answer->state == REQUEST_PENDING) {
        write_token(answer->request, &token);
        spec.status = CMC_PENDING;
        spec.pend_token = &token;
        spec.pend_time = received;
    }
    return cmc_response_build(&spec, &answer->cms, errp);
}

/*
 * Turns a refusal into an answer; any other failure stays one. A refusal by the policy is a denial, anything wrong
 * with the request itself a failure.
 */
static int refuse(struct ca_answer *answer, struct err **refusal, struct err **errp)
{
    CLEANUP(err_freep) struct err *err = TAKE(*refusal);
    uint32_t code = err_code(err);

    if (err_kind(err) != ERR_DENIED && err_kind(err) != ERR_INVALID && err_kind(err) != ERR_UNTRUSTED) {
        *errp = TAKE(err);
        return -1;
    }
    answer->state = err_kind(err) == ERR_DENIED ? REQUEST_DENIED : REQUEST_FAILED;
    answer->hresult = code ? code : (uint32_t)ERROR_INVALID_DATA;
    answer->message = mem_strdup(err_text(err));
    return 0;
}

/* One line per attribute; a line break in one would make two of it. */
static int write_attributes(const struct name_values *attributes, struct bytes *out, struct err **errp)
{
    for (size_t i = 0; i < attributes->n; i++) {
        const struct name_value *item = &attributes->items[i];

        if (strpbrk(item->name, "\r\n:") || strpbrk(item->value, "\r\n"))
            return refusal(errp, E_INVALIDARG, "an attribute of the request holds a line break");
        if (bytes_printf(out, errp, "%s:%s\n", item->name, item->value) < 0)
            return -1;
    }
    return 0;
}

static void read_attributes(const char *lines, struct name_values *attributes)
{
    while (*lines) {
        size_t len = strcspn(lines, "\n");
        size_t colon = strcspn(lines, ":");
        CLEANUP(mem_freep) char *name = mem_strndup(lines, colon < len ? colon : len);
        CLEANUP(mem_freep) char *value = colon < len ? mem_strndup(lines + colon + 1, len - colon - 1) : mem_strdup("");

        name_values_add(attributes, name, value);
        lines += len + (lines[len] == '\n');
    }
}

/* The certificate to renew must be, byte for byte, one that we issued: its serial number alone says nothing. */
static int find_old(
    struct ca *ca, const struct cert *cert, int64_t now, struct stored_certificate *old, struct err **errp)
{
    int r = store_find_certificate(ca->store, &cert->der, old, errp);

    if (r < 0)
        return -1;
    if (r == STORE_NONE) /* CERT_E_UNTRUSTEDROOT would do as well; this code is our choice */
        return refusal(
            errp, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE, "the certificate to renew was not issued by this CA");
    return auth_check_certificate(old, now, errp);
}

/* [MS-WSTEP notes] 5.7: in key-based mode the connection and the request must be of the same key. */
static int check_signer(const struct payload *payload, const struct caller *caller, struct err **errp)
{
    const struct cms_signer_info *signer = payload_cert_signer(payload);

    if (!caller->by_key)
        return 0;
    if (signer && signer->cert && bytes_equal(&signer->cert->der, &caller->certificate.der))
        return 0;
    return refusal(errp, E_ACCESSDENIED, "the request is not signed by the certificate of the connection");
}

static int check_on_behalf(const struct payload *payload, struct err **errp)
{
    if (!payload->requester)
        return 0;
    return refusal(errp, CERTSRV_E_RESTRICTEDOFFICER, "nobody may enroll on behalf of others here");
}

/* Steps 2 to 5 of 6.2 and 1 to 5 of 5.4.3: what is wrong before there is a row. */
static int examine(struct ca *ca, const struct submission *submission, int64_t now, struct payload **payload,
    struct stored_certificate *old, struct err **errp)
{
    CLEANUP(payload_freep) struct payload *parsed = NULL;

    if (!config_permits(&ca->config->read, submission->caller->account))
        return refusal(errp, CERTSRV_E_ENROLL_DENIED, "this account may not use this CA");
    if (payload_parse(submission->payload->data, submission->payload->len, &parsed, errp) < 0)
        return -1;
    if (submission->renewal_only && (!parsed->csr || !parsed->csr->old_cert))
        return refusal(errp, ERROR_NOT_SUPPORTED, "this address renews only, and the request is no renewal");
    if (payload_verify(parsed, errp) < 0 || check_on_behalf(parsed, errp) < 0)
        return -1;
    if (parsed->csr->old_cert &&
        (find_old(ca, parsed->csr->old_cert, now, old, errp) < 0 || check_signer(parsed, submission->caller, errp) < 0))
        return -1;
    *payload = TAKE(parsed);
    return 0;
}

/* Signs what was decided on, and stores it with the request, which is in the database already. */
static int issue_and_store(struct ca *ca, const struct judgement *judgement, const struct payload *payload,
    const struct misbehave *misbehave, int64_t now, struct stored_request *request, struct cert **leaf,
    struct err **errp)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;
    CLEANUP(stored_certificate_clear) struct stored_certificate row = {0};

    if (issue(ca, judgement, &payload->csr->key.spki, now, misbehave, &cert, errp) < 0)
        return -1;
    row.request = request->id;
    row.serial = mem_strdup(cert->serial);
    bytes_copy(&row.der, &cert->der);
    row.template_name = mem_strdup(judgement->template->name);
    row.requester = mem_strdup(request->requester);
    row.lineage = request->lineage;
    row.not_before = cert->not_before;
    row.not_after = cert->not_after;
    if (store_add_certificate(ca->store, &row, errp) < 0)
        return -1;
    request->state = REQUEST_ISSUED;
    request->resolved = now;
    free(request->message);
    request->message = mem_strdup("Issued");
    *leaf = TAKE(cert);
    return 0;
}

/* What became of a request, in its row. A refusal here is a result, not a failure. */
static int conclude(struct ca *ca, const struct judge_case *the_case, const struct misbehave *misbehave, int64_t now,
    struct stored_request *request, struct cert **leaf, struct err **errp)
{
    CLEANUP(judgement_clear) struct judgement judgement = {0};
    CLEANUP(ca_answer_clear) struct ca_answer no = {0};
    struct err *refusal = NULL;
    int r = judge(the_case, &judgement, &refusal);

    free(request->template_name);
    request->template_name = judgement.template ? mem_strdup(judgement.template->name) : NULL;
    if (r == 0)
        r = issue_and_store(ca, &judgement, the_case->payload, misbehave, now, request, leaf, &refusal);
    if (r < 0) {
        if (refuse(&no, &refusal, errp) < 0)
            return -1;
        request->state = no.state;
        request->hresult = no.hresult;
        request->resolved = now;
        free(request->message);
        request->message = TAKE(no.message);
    }
    return store_update_request(ca->store, request, errp);
}

static void fill_request(const struct submission *submission, const struct stored_certificate *old, int64_t now,
    const struct bytes *attributes, struct stored_request *request)
{
    *request = (struct stored_request){
        .state = REQUEST_PENDING,
        .requester = mem_strdup(submission->caller->account),
        .lineage = old->lineage,
        .old_certificate = old->id,
        .attributes = mem_strdup(bytes_text(attributes)),
        .received = now,
        .message = mem_strdup("Taken Under Submission"),
    };
    bytes_copy(&request->payload, submission->payload);
}

/* From the row on, all in one transaction: a crash leaves either everything or nothing. */
static int decide(struct ca *ca, const struct submission *submission, const struct payload *payload, int64_t now,
    struct stored_request *request, struct cert **leaf, struct err **errp)
{
    struct judge_case the_case = {
        .config = ca->config,
        .payload = payload,
        .attributes = submission->attributes,
        .account = submission->caller->account,
        .by_key = submission->caller->by_key,
    };

    if (store_begin(ca->store, errp) < 0)
        return -1;
    if (store_add_request(ca->store, request, errp) < 0 ||
        conclude(ca, &the_case, submission->misbehave, now, request, leaf, errp) < 0 ||
        store_commit(ca->store, errp) < 0) {
        store_rollback(ca->store);
        return -1;
    }
    return 0;
}

static void copy_outcome(const struct stored_request *request, struct ca_answer *answer)
{
    answer->state = request->state;
    answer->hresult = request->hresult;
    answer->message = mem_strdup_opt(request->message);
    answer->request = request->id;
}

static int submit(
    struct ca *ca, const struct submission *submission, int64_t now, struct ca_answer *answer, struct err **errp)
{
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(stored_certificate_clear) struct stored_certificate old = {0};
    CLEANUP(stored_request_clear) struct stored_request request = {0};
    CLEANUP(bytes_clear) struct bytes attributes = {0};
    struct err *refusal = NULL;

    if (write_attributes(submission->attributes, &attributes, &refusal) < 0 ||
        examine(ca, submission, now, &payload, &old, &refusal) < 0)
        return refuse(answer, &refusal, errp);
    fill_request(submission, &old, now, &attributes, &request);
    if (decide(ca, submission, payload, now, &request, &answer->leaf, errp) < 0)
        return -1;
    copy_outcome(&request, answer);
    return 0;
}

int ca_submit(
    struct ca *ca, const struct submission *submission, int64_t now, struct ca_answer *answer, struct err **errp)
{
    CLEANUP(ca_answer_clear) struct ca_answer made = {0};

    if (submit(ca, submission, now, &made, errp) < 0 || respond(ca, now, &made, errp) < 0)
        return err_wrap(errp, "deciding about a request");
    *answer = made;
    made = (struct ca_answer){0};
    return 0;
}

/* The account that asked, or in key-based mode who holds a descendant of the certificate that was to be renewed. */
static bool is_asker(const struct stored_request *request, const struct caller *caller)
{
    if (caller->by_key)
        return request->lineage && request->lineage == caller->certificate.lineage;
    return strcasecmp(request->requester, caller->account) == 0;
}

/* A decimal number as we gave it out; anything else is an id that does not exist. */
static int64_t parse_id(const char *text)
{
    size_t len = strlen(text);

    return len && len <= 18 && strspn(text, "0123456789") == len && text[0] != '0' ? strtoll(text, NULL, 10) : 0;
}

static int find_asked(
    struct ca *ca, const char *id, const struct caller *caller, struct stored_request *request, struct err **errp)
{
    int r = store_find_request(ca->store, parse_id(id), request, errp);

    if (r < 0)
        return -1;
    if (r == STORE_NONE || !is_asker(request, caller))
        return refusal(errp, CERTSRV_E_PROPERTY_EMPTY, "there is no such request of yours");
    return 0;
}

int ca_query(
    struct ca *ca, const char *request_id, const struct caller *caller, struct ca_answer *answer, struct err **errp)
{
    CLEANUP(ca_answer_clear) struct ca_answer made = {0};
    CLEANUP(stored_request_clear) struct stored_request request = {0};
    CLEANUP(stored_certificate_clear) struct stored_certificate certificate = {0};
    struct err *refusal = NULL;

    if (find_asked(ca, request_id, caller, &request, &refusal) < 0) {
        if (refuse(&made, &refusal, errp) < 0)
            return -1;
    } else {
        copy_outcome(&request, &made);
    }
    if (made.state == REQUEST_ISSUED) {
        if (store_find_certificate_of_request(ca->store, request.id, &certificate, errp) != 0)
            return err_set(errp, ERR_INTERNAL, "request %" PRId64 " has no certificate", request.id);
        if (cert_parse(certificate.der.data, certificate.der.len, &made.leaf, errp) < 0)
            return -1;
    }
    if (respond(ca, request.received, &made, errp) < 0)
        return err_wrap(errp, "answering about a request");
    *answer = made;
    made = (struct ca_answer){0};
    return 0;
}

static int find_pending(struct ca *ca, int64_t id, struct stored_request *request, struct err **errp)
{
    int r = store_find_request(ca->store, id, request, errp);

    if (r < 0)
        return -1;
    if (r == STORE_NONE) {
        err_set(errp, ERR_MISSING, "there is no request %" PRId64, id);
        return err_hint(errp, "'autoenroll-server-ref requests DIR' lists them");
    }
    if (request->state != REQUEST_PENDING)
        return err_set(
            errp, ERR_DENIED, "request %" PRId64 " is not pending but %s", id, request_state_name(request->state));
    return 0;
}

static int approve(struct ca *ca, struct stored_request *request, int64_t now, struct err **errp)
{
    static const struct misbehave behaves;
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(name_values_clear) struct name_values attributes = {0};
    CLEANUP(stored_certificate_clear) struct stored_certificate old = {0};
    CLEANUP(cert_freep) struct cert *leaf = NULL;
    struct judge_case the_case = {
        .config = ca->config, .attributes = &attributes, .account = request->requester, .approved = true};

    read_attributes(request->attributes, &attributes);
    if (payload_parse(request->payload.data, request->payload.len, &payload, errp) < 0 ||
        payload_verify(payload, errp) < 0)
        return -1;
    /* It was in time when it was asked; the time that a person took is not held against it. */
    if (payload->csr->old_cert && find_old(ca, payload->csr->old_cert, request->received, &old, errp) < 0)
        return -1;
    the_case.payload = payload;
    return conclude(ca, &the_case, &behaves, now, request, &leaf, errp);
}

static int deny(struct ca *ca, struct stored_request *request, int64_t now, struct err **errp)
{
    request->state = REQUEST_DENIED;
    request->hresult = (uint32_t)CERTSRV_E_ADMIN_DENIED_REQUEST;
    request->resolved = now;
    free(request->message);
    request->message = mem_strdup("Denied by a CA manager");
    return store_update_request(ca->store, request, errp);
}

static int resolve(struct ca *ca, int64_t id, int64_t now, struct stored_request *request,
    int (*how)(struct ca *, struct stored_request *, int64_t, struct err **), struct err **errp)
{
    if (store_begin(ca->store, errp) < 0)
        return -1;
    if (find_pending(ca, id, request, errp) < 0 || how(ca, request, now, errp) < 0 ||
        store_commit(ca->store, errp) < 0) {
        store_rollback(ca->store);
        return -1;
    }
    return 0;
}

int ca_approve(struct ca *ca, int64_t request, int64_t now, struct err **errp)
{
    CLEANUP(stored_request_clear) struct stored_request row = {0};

    if (resolve(ca, request, now, &row, approve, errp) < 0)
        return err_wrap(errp, "approving request %" PRId64, request);
    if (row.state == REQUEST_ISSUED)
        return 0;
    return err_set(errp, ERR_DENIED, "request %" PRId64 " cannot be issued: %s", request, row.message);
}

int ca_deny(struct ca *ca, int64_t request, int64_t now, struct err **errp)
{
    CLEANUP(stored_request_clear) struct stored_request row = {0};

    return resolve(ca, request, now, &row, deny, errp);
}

static int write_pkcs8(EVP_PKEY *key, struct bytes *out, struct err **errp)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    unsigned char *der = NULL;
    int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;

    PKCS8_PRIV_KEY_INFO_free(info);
    if (len < 0)
        return err_set(errp, ERR_INTERNAL, "encoding a private key");
    bytes_set(out, der, (size_t)len);
    OPENSSL_clear_free(der, (size_t)len);
    return 0;
}

static int add_exchange_extensions(struct csr_extensions *list, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist usage = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};

    strlist_add(&usage, OID_EKU_CA_EXCHANGE);
    if (mint_add_key_usage(list, 0x20, errp) < 0 || mint_add_eku(list, &usage, errp) < 0 ||
        msext_policies_write(&usage, &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_APPLICATION_POLICIES, false, &value);
    if (msext_template_name_write("CAExchange", &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_TEMPLATE_NAME, false, &value);
    return 0;
}

/* [MS-WSTEP notes] 6.4 */
static int make_exchange(struct ca *ca, int64_t now, struct stored_exchange *exchange, struct err **errp)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = mint_key("rsa2048", errp);
    CLEANUP(pubkey_clear) struct pubkey public = {0};
    CLEANUP(mem_freep) char *text = mem_printf("%s-Xchg", ca->config->ca_name);
    CLEANUP(bytes_clear) struct bytes name = {0};
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    struct mint_spec spec = {.subject = &name,
        .spki = &public.spki,
        .not_before = now - 10 * WHEN_MINUTE,
        .not_after = now + EXCHANGE_LIFE,
        .extensions = &extensions};

    if (!key || pubkey_from_evp(key, &public, errp) < 0 || mint_common_name(text, &name, errp) < 0 ||
        add_exchange_extensions(&extensions, errp) < 0 ||
        mint_certificate(&spec, ca->chain.items[0], ca->key, &cert, errp) < 0)
        return -1;
    bytes_copy(&exchange->certificate, &cert->der);
    exchange->not_after = cert->not_after;
    if (write_pkcs8(key, &exchange->key, errp) < 0)
        return -1;
    return store_add_exchange(ca->store, exchange, errp);
}

int ca_exchange(struct ca *ca, int64_t now, struct bytes *certificate, struct err **errp)
{
    CLEANUP(stored_exchange_clear) struct stored_exchange exchange = {0};
    int r = store_find_exchange(ca->store, now + WHEN_DAY, &exchange, errp);

    if (r < 0 || (r == STORE_NONE && make_exchange(ca, now, &exchange, errp) < 0))
        return err_wrap(errp, "making an exchange certificate");
    bytes_copy(certificate, &exchange.certificate);
    return 0;
}
