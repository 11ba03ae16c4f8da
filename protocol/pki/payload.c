#include "protocol/pki/payload.h"

#include <string.h>

#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

#define REQUESTER "requestername"

static const char *const kinds[] = {
#define X(name, text) [PAYLOAD_##name] = text,
    PAYLOAD_KINDS(X)
#undef X
};

const char *payload_kind_name(enum payload_kind kind)
{
    return kind < PAYLOAD__MAX ? kinds[kind] : "unknown message";
}

/* ---- reading ---- */

static int parse_pkcs10(const struct bytes *der, struct payload *payload, struct err **errp)
{
    payload->kind = PAYLOAD_PKCS10;
    return csr_parse(der->data, der->len, &payload->csr, errp);
}

static int parse_certificate(const struct bytes *der, struct payload *payload, struct err **errp)
{
    payload->kind = PAYLOAD_CERTIFICATE;
    return cert_parse(der->data, der->len, &payload->cert, errp);
}

static int parse_enveloped(const struct bytes *der, struct payload *payload, struct err **errp)
{
    int recipients = cms_count_recipients(der->data, der->len, errp);

    if (recipients < 0)
        return -1;
    payload->kind = PAYLOAD_ENVELOPED;
    payload->recipients = (size_t)recipients;
    return 0;
}

/* What the controls say becomes part of the request. */
static int apply_controls(struct csr *csr, const struct cmc_controls *controls, struct err **errp)
{
    for (size_t i = 0; i < controls->attributes.n; i++)
        if (csr_add_attribute(csr, &controls->attributes.items[i], errp) < 0)
            return err_wrap(errp, "added by control");
    for (size_t i = 0; i < controls->extensions.n; i++)
        if (csr_add_extension(csr, &controls->extensions.items[i], errp) < 0)
            return err_wrap(errp, "added by control");
    for (size_t i = 0; i < controls->reg_info.n; i++)
        name_values_add(&csr->name_values, controls->reg_info.items[i].name, controls->reg_info.items[i].value);
    return 0;
}

static int parse_cmc(struct payload *payload, struct err **errp)
{
    const struct bytes *content = &payload->cms->content;
    CLEANUP(bytes_clear) struct bytes request = {0};

    if (cmc_data_parse(content->data, content->len, &request, &payload->controls, errp) < 0 ||
        csr_parse(request.data, request.len, &payload->csr, errp) < 0)
        return -1;
    return apply_controls(payload->csr, &payload->controls, errp);
}

static int parse_signed(const struct bytes *der, struct payload *payload, struct err **errp)
{
    const struct cms *cms;

    if (cms_parse(der->data, der->len, &payload->cms, errp) < 0)
        return -1;
    cms = payload->cms;
    if (oid_is(cms->content_type, OID_PKI_DATA)) {
        payload->kind = PAYLOAD_CMC;
        return parse_cmc(payload, errp);
    }
    if (oid_is(cms->content_type, OID_DATA) && cms->has_content) {
        payload->kind = PAYLOAD_CMS_PKCS10;
        return csr_parse(cms->content.data, cms->content.len, &payload->csr, errp);
    }
    if (cmc_response_from_cms(&payload->cms, &payload->response, errp) < 0)
        return -1;
    payload->kind = payload->response->certs_only ? PAYLOAD_CERTS_ONLY : PAYLOAD_CMC_RESPONSE;
    return 0;
}

/* The type of a ContentInfo. */
static int parse_content_info(
    const struct bytes *der, const uint8_t *oid, size_t len, struct payload *payload, struct err **errp)
{
    const unsigned char *at = oid;
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &at, (long)len);
    CLEANUP(mem_freep) char *type = object ? oid_from_asn1(object) : NULL;

    if (oid_is(type, OID_SIGNED_DATA))
        return parse_signed(der, payload, errp);
    if (oid_is(type, OID_ENVELOPED_DATA))
        return parse_enveloped(der, payload, errp);
    return der_refuse(errp, CRYPT_E_INVALID_MSG_TYPE, "the content is %s, neither signed nor enveloped data",
        type ? oid_name(type) : "of no valid type");
}

/* What stands first says what it is. */
static int parse_by_content(const struct bytes *der, struct payload *payload, struct err **errp)
{
    const uint8_t *at = der->data, *end = der->data + der->len, *first;
    long len;
    int tag, class, outer;

    outer = ASN1_get_object(&at, &len, &tag, &class, (long)der->len);
    if (outer != V_ASN1_CONSTRUCTED || tag != V_ASN1_SEQUENCE || class != V_ASN1_UNIVERSAL)
        return der_refuse(errp, CRYPT_E_ASN1_BADTAG, "the DER is no SEQUENCE");
    first = at;
    if (ASN1_get_object(&at, &len, &tag, &class, (long)(end - at)) & 0x80)
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "the DER has no content");
    if (class == V_ASN1_UNIVERSAL && tag == V_ASN1_OBJECT)
        return parse_content_info(der, first, (size_t)(end - first), payload, errp);
    if (class == V_ASN1_UNIVERSAL && tag == V_ASN1_SEQUENCE && len > 0 && *at == V_ASN1_INTEGER)
        return parse_pkcs10(der, payload, errp);
    if (class == V_ASN1_UNIVERSAL && tag == V_ASN1_SEQUENCE && len > 0 &&
        *at == (V_ASN1_CONTEXT_SPECIFIC | V_ASN1_CONSTRUCTED))
        return parse_certificate(der, payload, errp);
    return der_refuse(errp, CRYPT_E_INVALID_MSG_TYPE, "neither a request, nor a signed message, nor a certificate");
}

static const char *find_requester(const struct payload *payload)
{
    const char *found = payload->csr ? name_values_find(&payload->controls.reg_info, REQUESTER) : NULL;

    for (size_t i = 0; !found && payload->cms && i < payload->cms->n_signers; i++)
        found = payload->cms->signers[i].requester;
    return found;
}

int payload_parse(const void *der, size_t len, struct payload **out, struct err **errp)
{
    CLEANUP(payload_freep) struct payload *payload = mem_alloc(sizeof(*payload));
    CLEANUP(bytes_clear) struct bytes copy = {0};

    if (len > PAYLOAD_MAX_DER)
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "a message of more than %u bytes", PAYLOAD_MAX_DER);
    if (der_check_frame(der, len, "a message", errp) < 0)
        return -1;
    bytes_set(&copy, der, len);
    if (parse_by_content(&copy, payload, errp) < 0)
        return -1;
    payload->requester = find_requester(payload);
    *out = TAKE(payload);
    return 0;
}

/* ---- verifying ---- */

static int verify_key_signer(struct payload *payload, size_t i, struct err **errp)
{
    const struct csr *csr = payload->csr;

    if (csr->ski.len == 0 || !bytes_equal(&csr->ski, &payload->cms->signers[i].key_id))
        return der_refuse(errp, CRYPT_E_SIGNER_NOT_FOUND,
            "signer %zu: its key identifier is not the one in the PKCS#10 request", i + 1);
    return cms_verify_signer(payload->cms, i, &csr->key.spki, errp);
}

static int verify_signer(struct payload *payload, size_t i, struct err **errp)
{
    const struct cms_signer_info *signer = &payload->cms->signers[i];

    if (signer->no_signature)
        return cms_verify_signer(payload->cms, i, NULL, errp);
    if (signer->id == CMS_BY_KEY_ID)
        return verify_key_signer(payload, i, errp);
    if (!signer->cert)
        return der_refuse(errp, CRYPT_E_SIGNER_NOT_FOUND,
            "signer %zu: its certificate (issuer '%s', serial number %s) is not in the message", i + 1, signer->issuer,
            signer->serial);
    return cms_verify_signer(payload->cms, i, &signer->cert->key.spki, errp);
}

/* Tries all, so that each tells what became of it; the first failure is the one that is reported. */
static int verify_signers(struct payload *payload, struct err **errp)
{
    int r = 0;

    for (size_t i = 0; i < payload->cms->n_signers; i++) {
        struct cms_signer_info *signer = &payload->cms->signers[i];
        struct err *err = NULL;

        if (verify_signer(payload, i, &err) == 0)
            continue;
        if (!signer->reason)
            signer->reason = mem_strdup(err_text(err));
        err_set(errp, err_kind(err), "%s", err_text(err));
        if (r == 0 && errp)
            err_set_code(*errp, err_code(err));
        r = -1;
        err_free(err);
    }
    return r;
}

static bool signed_by_new_key(const struct payload *payload)
{
    for (size_t i = 0; i < payload->cms->n_signers; i++) {
        const struct cms_signer_info *signer = &payload->cms->signers[i];

        if (signer->id == CMS_BY_KEY_ID && signer->verified && !signer->no_signature)
            return true;
    }
    return false;
}

/*
 * The old certificate is enclosed, byte for byte, and it is a signer's. A signer named by a key identifier was verified
 * by the new key, whatever certificate has the same identifier: it says nothing about the old one.
 */
static int check_renewal(const struct payload *payload, struct err **errp)
{
    const struct cert *old = payload->csr->old_cert;

    if (!cert_list_find(&payload->cms->certificates, &old->der))
        return der_refuse(errp, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE,
            "the certificate to renew (serial number %s) is not enclosed", old->serial);
    for (size_t i = 0; i < payload->cms->n_signers; i++) {
        const struct cms_signer_info *signer = &payload->cms->signers[i];

        if (signer->id == CMS_BY_ISSUER_SERIAL && signer->cert && cert_equal(signer->cert, old) && signer->verified &&
            !signer->no_signature)
            return 0;
    }
    return der_refuse(errp, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE,
        "the certificate to renew (serial number %s) has not signed", old->serial);
}

static int verify_enclosed(struct payload *payload, struct err **errp)
{
    if (payload->cms->n_signers == 0)
        return der_refuse(errp, CRYPT_E_NO_SIGNER, "the request is not signed");
    if (csr_verify(payload->csr, true, errp) < 0 || verify_signers(payload, errp) < 0)
        return -1;
    if (payload->csr->null_signature && !signed_by_new_key(payload))
        return der_refuse(errp, NTE_BAD_SIGNATURE, "nothing proves possession of the new key");
    return payload->csr->old_cert ? check_renewal(payload, errp) : 0;
}

int payload_verify(struct payload *payload, struct err **errp)
{
    switch (payload->kind) {
    case PAYLOAD_PKCS10:
        if (payload->csr->old_cert)
            return der_refuse(errp, CRYPT_E_INVALID_MSG_TYPE,
                "a renewal in a bare PKCS#10 request, which the old key has not signed");
        return csr_verify(payload->csr, false, errp);
    case PAYLOAD_CMS_PKCS10:
    case PAYLOAD_CMC:
        return verify_enclosed(payload, errp);
    case PAYLOAD_CMC_RESPONSE:
    case PAYLOAD_CERTS_ONLY:
    case PAYLOAD_ENVELOPED:
    case PAYLOAD_CERTIFICATE:
    case PAYLOAD__MAX:
        break;
    }
    return der_refuse(errp, CRYPT_E_INVALID_MSG_TYPE, "a %s is not a request", payload_kind_name(payload->kind));
}

const struct cms_signer_info *payload_cert_signer(const struct payload *payload)
{
    const struct cert *old = payload->csr ? payload->csr->old_cert : NULL;
    const struct cms_signer_info *found = NULL;

    for (size_t i = 0; payload->cms && i < payload->cms->n_signers; i++) {
        const struct cms_signer_info *signer = &payload->cms->signers[i];

        if (!signer->cert || signer->id != CMS_BY_ISSUER_SERIAL)
            continue;
        if (old && cert_equal(old, signer->cert))
            return signer;
        if (!found && !old)
            found = signer;
    }
    return found;
}

void payload_free(struct payload *payload)
{
    if (!payload)
        return;
    csr_free(payload->csr);
    cmc_controls_clear(&payload->controls);
    cms_free(payload->cms);
    cmc_response_free(payload->response);
    cert_free(payload->cert);
    free(payload);
}
