#include "protocol/pki/csr.h"

#include <openssl/x509.h>
#include <string.h>

#include "protocol/pki/attr.h"
#include "protocol/pki/der.h"
#include "protocol/pki/ext.h"
#include "protocol/pki/oid.h"

DEFINE_FREEP(X509_REQ, X509_REQ_free)
void csr_extensions_add(struct csr_extensions *list, const char *oid, bool critical, const struct bytes *value)
{
    struct csr_extension *item = MEM_APPEND(list->items, list->n);

    item->oid = mem_strdup(oid);
    item->critical = critical;
    bytes_copy(&item->value, value);
}

const struct csr_extension *csr_extensions_find(const struct csr_extensions *list, const char *oid)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].oid, oid) == 0)
            return &list->items[i];
    return NULL;
}

void csr_extensions_clear(struct csr_extensions *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->items[i].oid);
        bytes_clear(&list->items[i].value);
    }
    free(list->items);
    *list = (struct csr_extensions){0};
}

void csr_attributes_add(struct csr_attributes *list, const char *oid, const struct bytes *value)
{
    struct csr_attribute *item = MEM_APPEND(list->items, list->n);

    item->oid = mem_strdup(oid);
    bytes_copy(&item->value, value);
}

const struct csr_attribute *csr_attributes_find(const struct csr_attributes *list, const char *oid)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].oid, oid) == 0)
            return &list->items[i];
    return NULL;
}

static void csr_attribute_clear(struct csr_attribute *attribute)
{
    free(attribute->oid);
    bytes_clear(&attribute->value);
}

void csr_attributes_clear(struct csr_attributes *list)
{
    for (size_t i = 0; i < list->n; i++)
        csr_attribute_clear(&list->items[i]);
    free(list->items);
    *list = (struct csr_attributes){0};
}

void csr_spec_clear(struct csr_spec *spec)
{
    bytes_clear(&spec->subject);
    csr_extensions_clear(&spec->extensions);
    csr_attributes_clear(&spec->attributes);
    *spec = (struct csr_spec){0};
}

/* ---- building ---- */

static int add_extensions(X509_REQ *req, const struct csr_spec *spec, const struct bytes *key_id, struct err **errp)
{
    CLEANUP(attr_extensions_freep) STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    CLEANUP(bytes_clear) struct bytes ski = {0};

    for (size_t i = 0; i < spec->extensions.n; i++) {
        const struct csr_extension *extension = &spec->extensions.items[i];

        if (csr_extensions_find(&spec->extensions, extension->oid) != extension)
            return err_set(errp, ERR_INVALID, "extension %s is asked for twice", oid_name(extension->oid));
        if (attr_push_extension(list, extension->oid, extension->critical, &extension->value, errp) < 0)
            return -1;
    }
    if (!csr_extensions_find(&spec->extensions, OID_SUBJECT_KEY_ID) &&
        (msext_octets_write(key_id->data, key_id->len, &ski, errp) < 0 ||
            attr_push_extension(list, OID_SUBJECT_KEY_ID, false, &ski, errp) < 0))
        return -1;
    if (!X509_REQ_add_extensions_nid(req, list, NID_ext_req))
        return der_fail(errp, ERR_INTERNAL, "adding the extension request");
    return 0;
}

static int add_attributes(X509_REQ *req, const struct csr_attributes *attributes, struct err **errp)
{
    for (size_t i = 0; i < attributes->n; i++) {
        CLEANUP(X509_ATTRIBUTE_freep) X509_ATTRIBUTE *attribute = attr_to_asn1(&attributes->items[i], errp);

        if (!attribute)
            return -1;
        if (!X509_REQ_add1_attr(req, attribute))
            return der_fail(errp, ERR_INTERNAL, "adding an attribute");
    }
    return 0;
}

static int fill_request(X509_REQ *req, const struct csr_spec *spec, const struct pubkey *pubkey, struct err **errp)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *software = pubkey_load(&pubkey->spki, errp);
    CLEANUP(X509_NAME_freep) X509_NAME *subject = NULL;

    if (!software)
        return -1;
    if (spec->subject.len)
        subject = der_read(ASN1_ITEM_rptr(X509_NAME), spec->subject.data, spec->subject.len, "the subject", errp);
    if (spec->subject.len && !subject)
        return -1;
    if (!X509_REQ_set_version(req, X509_REQ_VERSION_1) || (subject && !X509_REQ_set_subject_name(req, subject)) ||
        !X509_REQ_set_pubkey(req, software))
        return der_fail(errp, ERR_INTERNAL, "filling in a request");
    if (add_attributes(req, &spec->attributes, errp) < 0)
        return -1;
    return add_extensions(req, spec, &pubkey->key_id, errp);
}

/* Reads back what was signed, as a CA would. */
static int check_built(const struct bytes *der, const struct pubkey *key, struct err **errp)
{
    CLEANUP(csr_freep) struct csr *csr = NULL;

    if (csr_parse(der->data, der->len, &csr, errp) < 0 || csr_verify(csr, false, errp) < 0)
        return err_wrap(errp, "checking the request that was just signed");
    if (!pubkey_equal(&csr->key.spki, &key->spki))
        return err_set(errp, ERR_INTERNAL, "the request that was just signed has another key");
    return 0;
}

int csr_build(const struct csr_spec *spec, EVP_PKEY *key, struct bytes *der, struct err **errp)
{
    CLEANUP(X509_REQ_freep) X509_REQ *req = X509_REQ_new();
    CLEANUP(pubkey_clear) struct pubkey pubkey = {0};
    CLEANUP(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = NULL;
    CLEANUP(bytes_clear) struct bytes built = {0};

    if (!req)
        return der_fail(errp, ERR_INTERNAL, "making a request");
    if (pubkey_from_evp(key, &pubkey, errp) < 0 || fill_request(req, spec, &pubkey, errp) < 0)
        return -1;
    ctx = der_sign_init(key, spec->hash, spec->pss, errp);
    if (!ctx)
        return -1;
    if (X509_REQ_sign_ctx(req, ctx) <= 0)
        return der_fail(errp, der_key_failure(key), "signing the request");
    if (der_write(req, ASN1_ITEM_rptr(X509_REQ), &built, errp) < 0 || check_built(&built, &pubkey, errp) < 0)
        return -1;
    bytes_set(der, built.data, built.len);
    return 0;
}

/* ---- reading ---- */

static int read_os_version(struct csr *csr, const struct bytes *value, struct err **errp)
{
    return msext_os_version_parse(value->data, value->len, &csr->os_version, errp);
}

static int read_client_info(struct csr *csr, const struct bytes *value, struct err **errp)
{
    csr->has_client_info = true;
    return msext_client_info_parse(value->data, value->len, &csr->client_info, errp);
}

static int read_csp(struct csr *csr, const struct bytes *value, struct err **errp)
{
    csr->has_csp = true;
    return msext_csp_parse(value->data, value->len, &csr->csp, errp);
}

static int read_name_values(struct csr *csr, const struct bytes *value, struct err **errp)
{
    return msext_name_values_parse(value->data, value->len, &csr->name_values, errp);
}

static int read_old_cert(struct csr *csr, const struct bytes *value, struct err **errp)
{
    if (cert_parse(value->data, value->len, &csr->old_cert, errp) == 0)
        return 0;
    if (errp)
        err_set_code(*errp, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
    return -1;
}

static int read_attestation(
    struct csr *csr, const struct bytes *value __attribute__((unused)), struct err **errp __attribute__((unused)))
{
    csr->attestation = true;
    return 0;
}

/* The attributes of [MS-WCCE] 2.2.2.7 that we use, by identifier. */
static const struct {
    const char *oid;
    int (*read)(struct csr *csr, const struct bytes *value, struct err **errp);
} readers[] = {
    {OID_OS_VERSION, read_os_version},
    {OID_CLIENT_INFO, read_client_info},
    {OID_ENROLLMENT_CSP, read_csp},
    {OID_NAME_VALUE_PAIR, read_name_values},
    {OID_RENEWAL_CERTIFICATE, read_old_cert},
    {OID_EK_INFO, read_attestation},
    {OID_ATTESTATION_STATEMENT, read_attestation},
    {OID_ATTESTATION_STATEMENT_OTHER, read_attestation},
    {OID_AIK_INFO, read_attestation},
};

int csr_add_extension(struct csr *csr, const struct csr_extension *extension, struct err **errp)
{
    const struct ext_facts facts = {.ski = &csr->ski,
        .has_key_usage = &csr->has_key_usage,
        .key_usage = &csr->key_usage,
        .has_eku = &csr->has_eku,
        .eku = &csr->eku,
        .application_policies = &csr->application_policies,
        .san = &csr->san,
        .template_name = &csr->template_name,
        .template = &csr->template,
        .sid = &csr->sid};

    if (csr->extensions.n >= CSR_MAX_EXTENSIONS)
        return der_refuse(errp, ERROR_INVALID_DATA, "more than %d extensions", CSR_MAX_EXTENSIONS);
    if (csr_extensions_find(&csr->extensions, extension->oid))
        return der_refuse(errp, ERROR_INVALID_DATA, "extension %s is there twice", oid_name(extension->oid));
    if (ext_read(&facts, extension->oid, &extension->value, errp) < 0)
        return -1;
    csr_extensions_add(&csr->extensions, extension->oid, extension->critical, &extension->value);
    return 0;
}

static int read_extensions(struct csr *csr, const struct bytes *value, struct err **errp)
{
    CLEANUP(attr_extensions_freep)
    STACK_OF(X509_EXTENSION) *list =
        der_read(ASN1_ITEM_rptr(X509_EXTENSIONS), value->data, value->len, "an extension request", errp);
    CLEANUP(csr_extensions_clear) struct csr_extensions found = {0};

    if (!list || attr_extensions_from_asn1(list, &found, errp) < 0)
        return -1;
    for (size_t i = 0; i < found.n; i++)
        if (csr_add_extension(csr, &found.items[i], errp) < 0)
            return -1;
    return 0;
}

static bool is_extension_request(const char *oid)
{
    return oid_is(oid, OID_EXTENSION_REQUEST) || oid_is(oid, OID_CERT_EXTENSIONS);
}

int csr_add_attribute(struct csr *csr, const struct csr_attribute *attribute, struct err **errp)
{
    const struct csr_attribute *there = csr_attributes_find(&csr->attributes, attribute->oid);

    if (csr->attributes.n >= CSR_MAX_ATTRIBUTES)
        return der_refuse(errp, ERROR_INVALID_DATA, "more than %d attributes", CSR_MAX_ATTRIBUTES);
    if (there && (oid_is(attribute->oid, OID_CLIENT_INFO) || bytes_equal(&there->value, &attribute->value)))
        return 0;
    if (there && !oid_is(attribute->oid, OID_NAME_VALUE_PAIR))
        return der_refuse(errp, ERROR_INVALID_DATA, "attribute %s has two values", oid_name(attribute->oid));
    if (is_extension_request(attribute->oid))
        return read_extensions(csr, &attribute->value, errp);
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
        if (oid_is(readers[i].oid, attribute->oid) && readers[i].read(csr, &attribute->value, errp) < 0)
            return err_wrap(errp, "attribute %s", oid_name(attribute->oid));
    csr_attributes_add(&csr->attributes, attribute->oid, &attribute->value);
    return 0;
}

/* The attributes in order; the requests for extensions are compared before either is believed. */
static int read_attributes(struct csr *csr, X509_REQ *req, struct err **errp)
{
    const struct csr_attribute *new_form, *old_form;
    CLEANUP(csr_attributes_clear) struct csr_attributes found = {0};
    CLEANUP(strlist_clear) struct strlist seen = {0};

    for (int i = 0; i < X509_REQ_get_attr_count(req); i++) {
        X509_ATTRIBUTE *attribute = X509_REQ_get_attr(req, i);
        CLEANUP(mem_freep) char *oid = der_oid(X509_ATTRIBUTE_get0_object(attribute), errp);

        if (!oid || attr_from_asn1(attribute, &found, errp) < 0)
            return -1;
        if (strlist_has(&seen, oid))
            return der_refuse(errp, ERROR_INVALID_DATA, "attribute %s is there twice", oid_name(oid));
        strlist_add(&seen, oid);
    }
    new_form = csr_attributes_find(&found, OID_EXTENSION_REQUEST);
    old_form = csr_attributes_find(&found, OID_CERT_EXTENSIONS);
    if (new_form && old_form && !bytes_equal(&new_form->value, &old_form->value))
        return der_refuse(errp, ERROR_INVALID_DATA, "the two requests for extensions contradict each other");
    for (size_t i = 0; i < found.n; i++) {
        bool repeated = new_form && old_form && &found.items[i] == old_form;

        if (!repeated && csr_add_attribute(csr, &found.items[i], errp) < 0)
            return -1;
    }
    return 0;
}

static int read_facts(struct csr *csr, X509_REQ *req, struct err **errp)
{
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *object = NULL;

    if (X509_REQ_get_version(req) != X509_REQ_VERSION_1)
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "version %ld", X509_REQ_get_version(req) + 1);
    if (der_write(X509_REQ_get_subject_name(req), ASN1_ITEM_rptr(X509_NAME), &csr->subject_der, errp) < 0 ||
        pubkey_from_spki(X509_REQ_get_X509_PUBKEY(req), &csr->key, errp) < 0)
        return -1;
    csr->subject = name_to_text(csr->subject_der.data, csr->subject_der.len, errp);
    if (!csr->subject)
        return -1;
    X509_REQ_get0_signature(req, NULL, &algorithm);
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    csr->signature_algorithm = der_oid(object, errp);
    if (!csr->signature_algorithm)
        return -1;
    csr->signature_hash = mem_strdup_opt(der_algorithm_hash(algorithm));
    csr->null_signature = der_is_digest(algorithm);
    return read_attributes(csr, req, errp);
}

static X509_REQ *read_request(const void *der, size_t len, struct err **errp)
{
    return der_read(ASN1_ITEM_rptr(X509_REQ), der, len, "a PKCS#10 request", errp);
}

int csr_parse(const void *der, size_t len, struct csr **out, struct err **errp)
{
    CLEANUP(csr_freep) struct csr *csr = mem_alloc(sizeof(*csr));
    CLEANUP(X509_REQ_freep) X509_REQ *req = NULL;
    CLEANUP(bytes_clear) struct bytes again = {0};

    if (len > CSR_MAX_DER)
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "a PKCS#10 request of more than %u bytes", CSR_MAX_DER);
    req = read_request(der, len, errp);
    if (!req || der_write(req, ASN1_ITEM_rptr(X509_REQ), &again, errp) < 0)
        return -1;
    bytes_set(&csr->der, der, len);
    if (!bytes_equal(&again, &csr->der))
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "a PKCS#10 request: the encoding is not DER");
    if (read_facts(csr, req, errp) < 0)
        return err_wrap(errp, "a PKCS#10 request");
    *out = TAKE(csr);
    return 0;
}

static int bad_signature(struct err **errp, const char *what)
{
    return der_refuse(errp, NTE_BAD_SIGNATURE, "the PKCS#10 request's own signature: %s", what);
}

/* The first element of the outer SEQUENCE: what is signed. */
static int signed_part(const struct bytes *der, const uint8_t **part, size_t *len, struct err **errp)
{
    const uint8_t *at = der->data, *inner;
    long size;
    int tag, class;

    if (ASN1_get_object(&at, &size, &tag, &class, (long)der->len) & 0x80)
        return bad_signature(errp, "no outer SEQUENCE");
    inner = at;
    if (ASN1_get_object(&at, &size, &tag, &class, size) & 0x80)
        return bad_signature(errp, "nothing that is signed");
    *part = inner;
    *len = (size_t)(at - inner) + (size_t)size;
    return 0;
}

/* The signature is a bare hash of what would be signed, [MS-WCCE] 3.2.2.6.2.1. */
static int verify_null(const struct csr *csr, const X509_REQ *req, struct err **errp)
{
    CLEANUP(EVP_MD_freep) EVP_MD *md = der_digest(csr->signature_hash, errp);
    const ASN1_BIT_STRING *signature = NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;
    const uint8_t *part = NULL;
    size_t len = 0;

    if (!md || signed_part(&csr->der, &part, &len, errp) < 0)
        return -1;
    X509_REQ_get0_signature(req, &signature, NULL);
    if (!EVP_Digest(part, len, digest, &digest_len, md, NULL))
        return der_fail(errp, ERR_INTERNAL, "hashing a request");
    if (ASN1_STRING_length(signature) != (int)digest_len ||
        memcmp(ASN1_STRING_get0_data(signature), digest, digest_len) != 0)
        return bad_signature(errp, "the bare hash is wrong");
    return 0;
}

int csr_verify(const struct csr *csr, bool allow_null, struct err **errp)
{
    CLEANUP(X509_REQ_freep) X509_REQ *req = read_request(csr->der.data, csr->der.len, errp);
    EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;

    if (!req)
        return -1;
    if (csr->null_signature && allow_null)
        return verify_null(csr, req, errp);
    if (csr->null_signature)
        return bad_signature(errp, "a bare hash, which proves nothing here");
    if (!key)
        return bad_signature(errp, "a key of a kind that we do not know");
    if (!der_hash_is_known(csr->signature_hash))
        return der_refuse(errp, NTE_BAD_ALGID, "the PKCS#10 request is signed with %s",
            csr->signature_hash ? csr->signature_hash : oid_name(csr->signature_algorithm));
    if (X509_REQ_verify(req, key) <= 0)
        return bad_signature(errp, "does not verify with the key in it");
    return 0;
}

void csr_free(struct csr *csr)
{
    if (!csr)
        return;
    bytes_clear(&csr->der);
    bytes_clear(&csr->subject_der);
    free(csr->subject);
    pubkey_clear(&csr->key);
    free(csr->signature_algorithm);
    free(csr->signature_hash);
    csr_attributes_clear(&csr->attributes);
    csr_extensions_clear(&csr->extensions);
    bytes_clear(&csr->ski);
    free(csr->template_name);
    template_info_clear(&csr->template);
    san_list_clear(&csr->san);
    strlist_clear(&csr->eku);
    strlist_clear(&csr->application_policies);
    free(csr->sid);
    client_info_clear(&csr->client_info);
    free(csr->os_version);
    enrollment_csp_clear(&csr->csp);
    name_values_clear(&csr->name_values);
    cert_free(csr->old_cert);
    free(csr);
}
