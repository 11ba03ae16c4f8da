#include "protocol/pki/cert.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "protocol/pki/der.h"
#include "protocol/pki/ext.h"
#include "protocol/pki/oid.h"

DEFINE_FREEP(BIO, BIO_free_all)
DEFINE_FREEP(X509_STORE, X509_STORE_free)
DEFINE_FREEP(X509_STORE_CTX, X509_STORE_CTX_free)

static int read_name(const X509_NAME *name, struct bytes *der, char **text, struct err **errp)
{
    if (der_write(name, ASN1_ITEM_rptr(X509_NAME), der, errp) < 0)
        return -1;
    *text = name_to_text(der->data, der->len, errp);
    return *text ? 0 : -1;
}

static int thumbprint(const struct bytes *der, const EVP_MD *md, char **hex, struct err **errp)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;

    if (!EVP_Digest(der->data, der->len, digest, &len, md, NULL))
        return der_fail(errp, ERR_INTERNAL, "hashing a certificate");
    *hex = bytes_to_hex(digest, len);
    return 0;
}

static int read_extensions(struct cert *cert, struct err **errp)
{
    const struct ext_facts facts = {.ski = &cert->ski,
        .aki = &cert->aki,
        .is_ca = &cert->is_ca,
        .has_key_usage = &cert->has_key_usage,
        .key_usage = &cert->key_usage,
        .has_eku = &cert->has_eku,
        .eku = &cert->eku,
        .application_policies = &cert->application_policies,
        .san = &cert->san,
        .template_name = &cert->template_name,
        .template = &cert->template,
        .sid = &cert->sid,
        .malformed = &cert->malformed};
    CLEANUP(strlist_clear) struct strlist seen = {0};

    for (int i = 0; i < X509_get_ext_count(cert->x509); i++) {
        X509_EXTENSION *extension = X509_get_ext(cert->x509, i);
        CLEANUP(mem_freep) char *oid = der_oid(X509_EXTENSION_get_object(extension), errp);
        CLEANUP(bytes_clear) struct bytes value = {0};

        if (!oid)
            return -1;
        if (strlist_has(&seen, oid))
            return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "extension %s is there twice", oid_name(oid));
        strlist_add(&seen, oid);
        der_octets(X509_EXTENSION_get_data(extension), &value);
        if (ext_read(&facts, oid, &value, errp) < 0)
            return -1;
    }
    return 0;
}

static int read_facts(struct cert *cert, struct err **errp)
{
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *object = NULL;

    cert->serial = der_integer_hex(X509_get0_serialNumber(cert->x509));
    X509_get0_signature(NULL, &algorithm, cert->x509);
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    cert->signature_algorithm = der_oid(object, errp);
    if (!cert->signature_algorithm)
        return -1;
    cert->signature_hash = mem_strdup_opt(der_algorithm_hash(algorithm));
    if (read_name(X509_get_subject_name(cert->x509), &cert->subject_der, &cert->subject, errp) < 0 ||
        read_name(X509_get_issuer_name(cert->x509), &cert->issuer_der, &cert->issuer, errp) < 0 ||
        thumbprint(&cert->der, EVP_sha1(), &cert->sha1, errp) < 0 ||
        thumbprint(&cert->der, EVP_sha256(), &cert->sha256, errp) < 0 ||
        der_time(X509_get0_notBefore(cert->x509), &cert->not_before, errp) < 0 ||
        der_time(X509_get0_notAfter(cert->x509), &cert->not_after, errp) < 0 ||
        pubkey_from_spki(X509_get_X509_PUBKEY(cert->x509), &cert->key, errp) < 0)
        return -1;
    return read_extensions(cert, errp);
}

int cert_parse(const void *der, size_t len, struct cert **out, struct err **errp)
{
    static const char what[] = "a certificate";
    CLEANUP(cert_freep) struct cert *cert = mem_alloc(sizeof(*cert));
    CLEANUP(bytes_clear) struct bytes again = {0};

    if (len > CERT_MAX_DER)
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "%s of more than %u bytes", what, CERT_MAX_DER);
    cert->x509 = der_read(ASN1_ITEM_rptr(X509), der, len, what, errp);
    if (!cert->x509 || der_write(cert->x509, ASN1_ITEM_rptr(X509), &again, errp) < 0)
        return -1;
    bytes_set(&cert->der, der, len);
    if (!bytes_equal(&again, &cert->der))
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "%s: the encoding is not DER", what);
    if (read_facts(cert, errp) < 0)
        return err_wrap(errp, "a certificate%s%s%s", cert->subject ? " of '" : "", cert->subject ? cert->subject : "",
            cert->subject ? "'" : "");
    *out = TAKE(cert);
    return 0;
}

int cert_from_x509(const X509 *x509, struct cert **out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};

    if (der_write(x509, ASN1_ITEM_rptr(X509), &der, errp) < 0)
        return -1;
    return cert_parse(der.data, der.len, out, errp);
}

/* The next block that is a certificate: 1 with *@out owned, 0 at the end, -1. */
static int next_block(BIO *bio, struct cert **out, struct err **errp)
{
    for (;;) {
        char *name = NULL, *header = NULL;
        unsigned char *data = NULL;
        long len = 0;
        int r = 0;

        if (!PEM_read_bio(bio, &name, &header, &data, &len)) {
            bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

            if (!end)
                return der_fail(errp, ERR_INVALID, "reading PEM");
            ERR_clear_error();
            return 0;
        }
        if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0)
            r = cert_parse(data, (size_t)len, out, errp) < 0 ? -1 : 1;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)len); /* another block of the same file may be a key */
        if (r != 0)
            return r;
    }
}

static BIO *open_text(const char *text, size_t len, struct err **errp)
{
    BIO *bio = len <= BYTES_LIMIT_DEFAULT ? BIO_new_mem_buf(text, (int)len) : NULL;

    if (!bio)
        err_set(errp, ERR_INVALID, "PEM text of %zu bytes", len);
    return bio;
}

int cert_from_pem(const char *text, size_t len, struct cert **out, struct err **errp)
{
    CLEANUP(BIO_free_allp) BIO *bio = open_text(text, len, errp);
    int r = bio ? next_block(bio, out, errp) : -1;

    if (r == 0)
        return err_set(errp, ERR_INVALID, "no BEGIN CERTIFICATE in it");
    return r < 0 ? -1 : 0;
}

int cert_list_from_pem(const char *text, size_t len, struct cert_list *out, struct err **errp)
{
    CLEANUP(BIO_free_allp) BIO *bio = open_text(text, len, errp);
    CLEANUP(cert_list_clear) struct cert_list found = {0};
    int r = bio ? 1 : -1;

    while (r > 0) {
        struct cert *cert = NULL;

        r = next_block(bio, &cert, errp);
        if (r < 0)
            return err_wrap(errp, "certificate %zu", found.n + 1);
        if (r > 0)
            cert_list_add(&found, cert);
        if (found.n > CERT_MAX_LIST)
            return err_set(errp, ERR_INVALID, "more than %d certificates", CERT_MAX_LIST);
    }
    if (r == 0 && found.n == 0)
        return err_set(errp, ERR_INVALID, "no BEGIN CERTIFICATE in it");
    if (r < 0)
        return -1;
    *out = found;
    found = (struct cert_list){0};
    return 0;
}

int cert_to_pem(const struct cert *cert, struct bytes *out, struct err **errp)
{
    CLEANUP(mem_freep) char *base64 = bytes_to_base64(cert->der.data, cert->der.len, 64);

    return bytes_printf(out, errp, "-----BEGIN CERTIFICATE-----\n%s%s-----END CERTIFICATE-----\n", base64,
        base64[0] && base64[strlen(base64) - 1] != '\n' ? "\n" : "");
}

int cert_list_to_pem(const struct cert_list *list, struct bytes *out, struct err **errp)
{
    for (size_t i = 0; i < list->n; i++)
        if (cert_to_pem(list->items[i], out, errp) < 0)
            return -1;
    return 0;
}

void cert_free(struct cert *cert)
{
    if (!cert)
        return;
    X509_free(cert->x509);
    bytes_clear(&cert->der);
    free(cert->subject);
    free(cert->issuer);
    bytes_clear(&cert->subject_der);
    bytes_clear(&cert->issuer_der);
    free(cert->serial);
    free(cert->sha1);
    free(cert->sha256);
    pubkey_clear(&cert->key);
    bytes_clear(&cert->ski);
    bytes_clear(&cert->aki);
    strlist_clear(&cert->eku);
    strlist_clear(&cert->application_policies);
    free(cert->signature_algorithm);
    free(cert->signature_hash);
    san_list_clear(&cert->san);
    free(cert->template_name);
    template_info_clear(&cert->template);
    free(cert->sid);
    strlist_clear(&cert->malformed);
    free(cert);
}

void cert_list_add(struct cert_list *list, struct cert *cert)
{
    *MEM_APPEND(list->items, list->n) = cert;
}

const struct cert *cert_list_find(const struct cert_list *list, const struct bytes *der)
{
    for (size_t i = 0; i < list->n; i++)
        if (bytes_equal(&list->items[i]->der, der))
            return list->items[i];
    return NULL;
}

void cert_list_clear(struct cert_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        cert_free(list->items[i]);
    free(list->items);
    *list = (struct cert_list){0};
}

struct cert *cert_dup(const struct cert *cert)
{
    struct cert *copy = NULL;

    if (cert_parse(cert->der.data, cert->der.len, &copy, NULL) < 0)
        abort(); /* it was parsed before: only memory can be what fails */
    return copy;
}

bool cert_equal(const struct cert *a, const struct cert *b)
{
    return bytes_equal(&a->der, &b->der);
}

bool cert_same_key(const struct cert *cert, const struct bytes *spki)
{
    return pubkey_equal(&cert->key.spki, spki);
}

bool cert_has_eku(const struct cert *cert, const char *oid)
{
    return strlist_has(&cert->eku, oid);
}

bool cert_is_self_issued(const struct cert *cert)
{
    return X509_NAME_cmp(X509_get_subject_name(cert->x509), X509_get_issuer_name(cert->x509)) == 0;
}

static int signature_strength_check(const struct cert *cert, struct err **errp)
{
    static const char *const strong[] = {"SHA256", "SHA384", "SHA512"};

    for (size_t i = 0; cert->signature_hash && i < ARRAY_SIZE(strong); i++)
        if (strcmp(cert->signature_hash, strong[i]) == 0)
            return 0;
    err_set(errp, ERR_UNTRUSTED, "signed with %s, which is weaker than SHA-256 or unknown",
        cert->signature_hash ? cert->signature_hash : oid_name(cert->signature_algorithm));
    return err_hint(errp, "ask the CA's administrator for signatures with SHA-256 or better");
}

int cert_strength_check(const struct cert *cert, struct err **errp)
{
    if (pubkey_strength_check(&cert->key, errp) < 0 || signature_strength_check(cert, errp) < 0)
        return err_wrap(errp, "certificate of '%s'", cert->subject);
    return 0;
}

static uint32_t code_of_chain_error(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return CERT_E_EXPIRED;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return CERT_E_UNTRUSTEDROOT;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return CERT_E_WRONG_USAGE;
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
        return CERT_E_INVALID_NAME;
    default:
        return CERT_E_CHAINING;
    }
}

static int chain_error(X509_STORE_CTX *ctx, const struct cert *leaf, struct err **errp)
{
    int error = X509_STORE_CTX_get_error(ctx);
    const X509 *at = X509_STORE_CTX_get_current_cert(ctx);
    CLEANUP(cert_freep) struct cert *failed = NULL;

    ERR_clear_error();
    if (at)
        (void)cert_from_x509(at, &failed, NULL);
    err_set(errp, ERR_UNTRUSTED, "%s, at the certificate of '%s' (serial %s)", X509_verify_cert_error_string(error),
        failed ? failed->subject : leaf->subject, failed ? failed->serial : leaf->serial);
    if (errp)
        err_set_code(*errp, code_of_chain_error(error));
    return -1;
}

static int add_anchors(X509_STORE *store, const struct cert_list *anchors, struct err **errp)
{
    for (size_t i = 0; i < anchors->n; i++)
        if (!X509_STORE_add_cert(store, anchors->items[i]->x509))
            return der_fail(errp, ERR_INTERNAL, "adding a trust anchor");
    return 0;
}

static int check_chain_strength(const struct cert_list *chain, struct err **errp)
{
    for (size_t i = 0; i + 1 < chain->n; i++)
        if (cert_strength_check(chain->items[i], errp) < 0)
            return -1;
    if (chain->n && pubkey_strength_check(&chain->items[chain->n - 1]->key, errp) < 0)
        return err_wrap(errp, "certificate of '%s'", chain->items[chain->n - 1]->subject);
    return 0;
}

/* What @ctx found, as copies of ours. */
static int copy_chain(X509_STORE_CTX *ctx, unsigned flags, struct cert_list *chain_out, struct err **errp)
{
    STACK_OF(X509) *found = X509_STORE_CTX_get0_chain(ctx);
    CLEANUP(cert_list_clear) struct cert_list chain = {0};

    for (int i = 0; i < sk_X509_num(found); i++) {
        struct cert *cert = NULL;

        if (cert_from_x509(sk_X509_value(found, i), &cert, errp) < 0)
            return -1;
        cert_list_add(&chain, cert);
    }
    if (flags & CERT_CHAIN_STRONG && check_chain_strength(&chain, errp) < 0)
        return -1;
    if (chain_out) {
        *chain_out = chain;
        chain = (struct cert_list){0};
    }
    return 0;
}

static void free_stack(STACK_OF(X509) **stack)
{
    sk_X509_free(*stack);
}

int cert_chain_verify(const struct cert *leaf, const struct cert_list *intermediates, const struct cert_list *anchors,
    int64_t now, unsigned flags, struct cert_list *chain_out, struct err **errp)
{
    CLEANUP(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
    CLEANUP(free_stack) STACK_OF(X509) *candidates = sk_X509_new_null();
    CLEANUP(X509_STORE_CTX_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;

    if (!store || !candidates || !ctx)
        return der_fail(errp, ERR_INTERNAL, "making a certificate store");
    if (add_anchors(store, anchors, errp) < 0)
        return -1;
    for (size_t i = 0; intermediates && i < intermediates->n; i++)
        if (!sk_X509_push(candidates, intermediates->items[i]->x509))
            return der_fail(errp, ERR_INTERNAL, "collecting certificates");
    if (!X509_STORE_CTX_init(ctx, store, leaf->x509, candidates))
        return der_fail(errp, ERR_INTERNAL, "starting to verify a chain");
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now);
    if (flags & CERT_CHAIN_PARTIAL)
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_verify_cert(ctx) <= 0)
        return chain_error(ctx, leaf, errp);
    return copy_chain(ctx, flags, chain_out, errp);
}
