#include "protocol/pki/cmc_response.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"
#include "protocol/pki/control.h"
#include "protocol/pki/oid.h"

#define TEXT_MAX 1024 /* characters of a status text that we show */

/* RFC 5272 6.1 */
/* clang-format off */
typedef struct {
    ASN1_OCTET_STRING *token;
    ASN1_GENERALIZEDTIME *time;
} PEND_INFO;
ASN1_SEQUENCE(PEND_INFO) = {
    ASN1_SIMPLE(PEND_INFO, token, ASN1_OCTET_STRING),
    ASN1_SIMPLE(PEND_INFO, time, ASN1_GENERALIZEDTIME),
} static_ASN1_SEQUENCE_END(PEND_INFO)

enum { OTHER_FAIL, OTHER_PEND };
typedef struct {
    int type;
    union {
        ASN1_INTEGER *fail;
        PEND_INFO *pend;
    } value;
} OTHER_INFO;
ASN1_CHOICE(OTHER_INFO) = {
    ASN1_SIMPLE(OTHER_INFO, value.fail, ASN1_INTEGER),
    ASN1_SIMPLE(OTHER_INFO, value.pend, PEND_INFO),
} static_ASN1_CHOICE_END(OTHER_INFO)

typedef struct {
    ASN1_INTEGER *status;
    STACK_OF(ASN1_INTEGER) *parts;
    ASN1_UTF8STRING *text;
    OTHER_INFO *other;
} STATUS_INFO;
ASN1_SEQUENCE(STATUS_INFO) = {
    ASN1_SIMPLE(STATUS_INFO, status, ASN1_INTEGER),
    ASN1_SEQUENCE_OF(STATUS_INFO, parts, ASN1_INTEGER),
    ASN1_OPT(STATUS_INFO, text, ASN1_UTF8STRING),
    ASN1_OPT(STATUS_INFO, other, OTHER_INFO),
} static_ASN1_SEQUENCE_END(STATUS_INFO)

typedef struct {
    STACK_OF(TAGGED_ATTRIBUTE) *controls;
    ASN1_SEQUENCE_ANY *messages;
    ASN1_SEQUENCE_ANY *others;
} RESPONSE_BODY;
ASN1_SEQUENCE(RESPONSE_BODY) = {
    ASN1_SEQUENCE_OF(RESPONSE_BODY, controls, TAGGED_ATTRIBUTE),
    ASN1_SEQUENCE_OF(RESPONSE_BODY, messages, ASN1_ANY),
    ASN1_SEQUENCE_OF(RESPONSE_BODY, others, ASN1_ANY),
} static_ASN1_SEQUENCE_END(RESPONSE_BODY)
/* clang-format on */

DER_FREEP(STATUS_INFO)
DER_FREEP(RESPONSE_BODY)
DEFINE_FREEP(ASN1_INTEGER, ASN1_INTEGER_free)

#define NEW(type) ((type *)ASN1_item_new(ASN1_ITEM_rptr(type)))

/* ---- writing ---- */

static int set_pending(STATUS_INFO *info, const struct cmc_response_spec *spec, struct err **errp)
{
    PEND_INFO *pend = NEW(PEND_INFO);

    info->other = NEW(OTHER_INFO);
    if (!pend || !info->other) {
        ASN1_item_free((ASN1_VALUE *)pend, ASN1_ITEM_rptr(PEND_INFO));
        return der_fail(errp, ERR_INTERNAL, "making a pending status");
    }
    info->other->type = OTHER_PEND;
    info->other->value.pend = pend;
    if (!ASN1_GENERALIZEDTIME_set(pend->time, (time_t)spec->pend_time))
        return der_fail(errp, ERR_INTERNAL, "making a pending status");
    return der_set_octets(pend->token, spec->pend_token->data, spec->pend_token->len, errp);
}

static int write_status(const struct cmc_response_spec *spec, struct bytes *out, struct err **errp)
{
    CLEANUP(STATUS_INFO_freep) STATUS_INFO *info = NEW(STATUS_INFO);
    CLEANUP(ASN1_INTEGER_freep) ASN1_INTEGER *part = ASN1_INTEGER_new();

    if (!info || !part || !ASN1_INTEGER_set_uint64(info->status, spec->status) || !ASN1_INTEGER_set_uint64(part, 1) ||
        !sk_ASN1_INTEGER_push(info->parts, part))
        return der_fail(errp, ERR_INTERNAL, "making a status");
    part = NULL;
    if (spec->text) {
        info->text = ASN1_UTF8STRING_new();
        if (der_set_octets(info->text, spec->text, strlen(spec->text), errp) < 0)
            return -1;
    }
    if (spec->status == CMC_PENDING && set_pending(info, spec, errp) < 0)
        return -1;
    return der_write(info, ASN1_ITEM_rptr(STATUS_INFO), out, errp);
}

/* The second control of an issued response: which certificate it is about. */
static int write_issued_hash(const struct cert *leaf, struct bytes *out, struct err **errp)
{
    CLEANUP(csr_attributes_clear) struct csr_attributes attributes = {0};
    CLEANUP(bytes_clear) struct bytes hash = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (bytes_from_hex(&hash, leaf->sha1, EVP_MAX_MD_SIZE, errp) < 0 ||
        msext_octets_write(hash.data, hash.len, &value, errp) < 0)
        return -1;
    csr_attributes_add(&attributes, OID_ISSUED_HASH, &value);
    return control_attributes_write(&attributes, out, errp);
}

static int write_body(const struct cmc_response_spec *spec, struct bytes *out, struct err **errp)
{
    CLEANUP(RESPONSE_BODY_freep) RESPONSE_BODY *body = NEW(RESPONSE_BODY);
    CLEANUP(bytes_clear) struct bytes status = {0};
    CLEANUP(bytes_clear) struct bytes hash = {0};

    if (!body)
        return der_fail(errp, ERR_INTERNAL, "making a response");
    if (write_status(spec, &status, errp) < 0 ||
        control_push(body->controls, 1, OID_CMC_STATUS_INFO, &status, errp) < 0)
        return -1;
    if (spec->status == CMC_ISSUED && (write_issued_hash(spec->leaf, &hash, errp) < 0 ||
                                          control_push(body->controls, 2, OID_CMC_ADD_ATTRIBUTES, &hash, errp) < 0))
        return -1;
    return der_write(body, ASN1_ITEM_rptr(RESPONSE_BODY), out, errp);
}

/* Lends the certificates to enclose: parsing copies of them would cost more than signing does. */
static void lend_certificates(const struct cmc_response_spec *spec, struct cert_list *list)
{
    size_t n = spec->certificates ? spec->certificates->n : 0;

    list->items = mem_calloc(n + 1, sizeof(struct cert *));
    if (n)
        memcpy(list->items, spec->certificates->items, n * sizeof(struct cert *));
    list->n = n;
    if (spec->status == CMC_ISSUED)
        memcpy(&list->items[list->n++], &spec->leaf, sizeof(struct cert *));
}

int cmc_response_build(const struct cmc_response_spec *spec, struct bytes *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes body = {0};
    struct cert_list lent = {0};
    int r;

    if (!spec->ca->cert || (spec->status == CMC_ISSUED && !spec->leaf) ||
        (spec->status == CMC_PENDING && !spec->pend_token))
        return err_set(errp, ERR_INVALID, "a response without CA certificate, issued certificate or pending token");
    if (write_body(spec, &body, errp) < 0)
        return -1;
    lend_certificates(spec, &lent);
    r = cms_sign(OID_PKI_RESPONSE, &body, &lent, spec->ca, 1, out, errp);
    free(lent.items);
    return r;
}

/* ---- reading ---- */

static int read_other(const OTHER_INFO *other, struct cmc_response *response, struct err **errp)
{
    if (!other)
        return 0;
    if (other->type == OTHER_FAIL) {
        response->fail_info.set = true;
        return der_u32(other->value.fail, &response->fail_info.value, "failInfo", errp);
    }
    der_octets(other->value.pend->token, &response->pend_token);
    response->pend_time.set = true;
    return der_time(other->value.pend->time, &response->pend_time.value, errp);
}

/* RFC 5272 6.1.1: 0 success, 2 failed, 3 pending; 4 to 7 are further ways not to get a certificate. */
static int read_status_number(const ASN1_INTEGER *number, struct cmc_response *response, struct err **errp)
{
    if (der_u32(number, &response->raw_status, "cMCStatus", errp) < 0)
        return -1;
    switch (response->raw_status) {
    case 0:
        response->status = CMC_ISSUED;
        return 0;
    case 3:
        response->status = CMC_PENDING;
        return 0;
    case 2:
    case 4:
    case 5:
    case 6:
    case 7:
        response->status = CMC_FAILED;
        return 0;
    default:
        return der_refuse(errp, ERROR_INVALID_DATA, "cMCStatus %u has no meaning", response->raw_status);
    }
}

static int read_status(const struct bytes *value, struct cmc_response *response, struct err **errp)
{
    CLEANUP(STATUS_INFO_freep)
    STATUS_INFO *info = der_read(ASN1_ITEM_rptr(STATUS_INFO), value->data, value->len, "a CMC status", errp);

    if (!info || read_status_number(info->status, response, errp) < 0)
        return -1;
    if (info->text)
        response->text = printable(
            (const char *)ASN1_STRING_get0_data(info->text), (size_t)ASN1_STRING_length(info->text), TEXT_MAX);
    return read_other(info->other, response, errp);
}

static int read_hash(const struct csr_attributes *attributes, const char *oid, struct bytes *out, struct err **errp)
{
    const struct csr_attribute *found = csr_attributes_find(attributes, oid);

    return found ? msext_octets_parse(found->value.data, found->value.len, out, errp) : 0;
}

static int read_controls(const RESPONSE_BODY *body, struct cmc_response *response, struct err **errp)
{
    bool has_status = false;

    if (sk_TAGGED_ATTRIBUTE_num(body->controls) > CONTROL_MAX)
        return der_refuse(errp, ERROR_INVALID_DATA, "more than %d controls", CONTROL_MAX);
    for (int i = 0; i < sk_TAGGED_ATTRIBUTE_num(body->controls); i++) {
        CLEANUP(mem_freep) char *oid = NULL;
        CLEANUP(bytes_clear) struct bytes value = {0};

        if (control_read(sk_TAGGED_ATTRIBUTE_value(body->controls, i), &oid, &value, errp) < 0)
            return -1;
        if (oid_is(oid, OID_CMC_STATUS_INFO)) {
            if (has_status)
                return der_refuse(errp, ERROR_INVALID_DATA, "two statuses");
            has_status = true;
            if (read_status(&value, response, errp) < 0)
                return -1;
        }
        if (oid_is(oid, OID_CMC_ADD_ATTRIBUTES) && control_attributes_parse(&value, 0, &response->attributes, errp) < 0)
            return -1;
    }
    if (!has_status)
        return der_refuse(errp, ERROR_INVALID_DATA, "no status");
    if (read_hash(&response->attributes, OID_ISSUED_HASH, &response->issued_hash, errp) < 0)
        return -1;
    return read_hash(&response->attributes, OID_ENCRYPTED_KEY_HASH, &response->key_hash, errp);
}

int cmc_response_from_cms(struct cms **cms, struct cmc_response **out, struct err **errp)
{
    CLEANUP(cmc_response_freep) struct cmc_response *response = mem_alloc(sizeof(*response));
    CLEANUP(RESPONSE_BODY_freep) RESPONSE_BODY *body = NULL;

    if (oid_is((*cms)->content_type, OID_DATA) && !(*cms)->has_content && (*cms)->n_signers == 0) {
        response->certs_only = true;
    } else {
        if (!oid_is((*cms)->content_type, OID_PKI_RESPONSE))
            return der_refuse(
                errp, CRYPT_E_INVALID_MSG_TYPE, "a CMC response: the content is %s", oid_name((*cms)->content_type));
        body =
            der_read(ASN1_ITEM_rptr(RESPONSE_BODY), (*cms)->content.data, (*cms)->content.len, "a CMC response", errp);
        if (!body)
            return -1;
        if (read_controls(body, response, errp) < 0)
            return err_wrap(errp, "a CMC response");
        response->challenge = csr_attributes_find(&response->attributes, OID_ATTESTATION_CHALLENGE) != NULL;
    }
    response->cms = TAKE(*cms);
    *out = TAKE(response);
    return 0;
}

int cmc_response_parse(const void *der, size_t len, struct cmc_response **out, struct err **errp)
{
    CLEANUP(cms_freep) struct cms *cms = NULL;

    if (cms_parse(der, len, &cms, errp) < 0)
        return -1;
    return cmc_response_from_cms(&cms, out, errp);
}

/* ---- verifying ---- */

/* Real signers are named by issuer and serial number; [MS-WCCE] 2.2.2.8 prints subject and serial number. */
static bool may_have_signed(const struct cert *cert, const struct cms_signer_info *signer)
{
    if (!cert->is_ca)
        return false;
    if (signer->id == CMS_BY_KEY_ID)
        return bytes_equal(&cert->ski, &signer->key_id);
    return strcmp(cert->serial, signer->serial) == 0 &&
           (strcmp(cert->issuer, signer->issuer) == 0 || strcmp(cert->subject, signer->issuer) == 0);
}

/* The first of @list that verifies the signature; *tried counts those that could have been it. */
static const struct cert *find_signer(struct cms *cms, const struct cert_list *list, size_t *tried)
{
    for (size_t i = 0; list && i < list->n; i++) {
        if (!may_have_signed(list->items[i], &cms->signers[0]))
            continue;
        ++*tried;
        if (cms_verify_signer(cms, 0, &list->items[i]->key.spki, NULL) == 0)
            return list->items[i];
    }
    return NULL;
}

int cmc_response_verify(
    struct cmc_response *response, const struct cert_list *candidates, const struct cert **signer, struct err **errp)
{
    struct cms *cms = response->cms;
    const struct cert *found = NULL;
    size_t tried = 0;

    if (!response->certs_only) {
        if (cms->n_signers != 1 || cms->signers[0].no_signature)
            return err_set(
                errp, ERR_UNTRUSTED, "a CMC response with %zu signers, or one that does not sign", cms->n_signers);
        found = find_signer(cms, &cms->certificates, &tried);
        if (!found)
            found = find_signer(cms, candidates, &tried);
        if (!found && tried)
            return err_set(errp, ERR_UNTRUSTED, "the signature of the CMC response: %s", cms->signers[0].reason);
        if (!found)
            return err_set(errp, ERR_UNTRUSTED, "no certificate of the CA that signed the CMC response");
    }
    if (signer)
        *signer = found;
    return 0;
}

static bool hash_is(const struct bytes *hash, const struct cert *cert)
{
    CLEANUP(mem_freep) char *hex = bytes_to_hex(hash->data, hash->len);

    return strcmp(hex, cert->sha1) == 0;
}

const struct cert *cmc_response_leaf(const struct cmc_response *response, const struct bytes *spki, struct err **errp)
{
    const struct cert_list *list = &response->cms->certificates;

    for (size_t i = 0; i < list->n; i++) {
        const struct cert *cert = list->items[i];

        if (response->issued_hash.len ? !hash_is(&response->issued_hash, cert) : !spki || !cert_same_key(cert, spki))
            continue;
        if (!spki || cert_same_key(cert, spki))
            return cert;
        err_set(errp, ERR_UNTRUSTED, "the issued certificate, '%s', has another key than the request", cert->subject);
        return NULL;
    }
    err_set(errp, ERR_UNTRUSTED, "none of the %zu certificates in the answer is the issued one", list->n);
    return NULL;
}

int cmc_response_check_leaf(const struct cmc_response *response, const struct cert *leaf, struct err **errp)
{
    if (response->status != CMC_ISSUED)
        return err_set(errp, ERR_UNTRUSTED, "the CMC response has status %u (%s), which is not issued",
            response->raw_status, response->text ? response->text : "no text");
    if (response->issued_hash.len && !hash_is(&response->issued_hash, leaf))
        return err_set(errp, ERR_UNTRUSTED, "the CMC response is about another certificate than '%s'", leaf->subject);
    return 0;
}

void cmc_response_free(struct cmc_response *response)
{
    if (!response)
        return;
    free(response->text);
    bytes_clear(&response->pend_token);
    csr_attributes_clear(&response->attributes);
    bytes_clear(&response->issued_hash);
    bytes_clear(&response->key_hash);
    cms_free(response->cms);
    free(response);
}
