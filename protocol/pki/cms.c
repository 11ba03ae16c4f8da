#include "protocol/pki/cms.h"

#include <openssl/cms.h>
#include <openssl/rsa.h>
#include <string.h>

#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

#define REQUESTER "requestername"

DEFINE_FREEP(CMS_ContentInfo, CMS_ContentInfo_free)
DEFINE_FREEP(BIO, BIO_free_all)

struct cms_handle {
    CMS_ContentInfo *info; /* owned */
};

/* ---- signing ---- */

/* A certificate that carries no more than a key and its identifier, for OpenSSL to name a signer by. */
static X509 *bare_certificate(const struct pubkey *key, const struct bytes *key_id, struct err **errp)
{
    CLEANUP(X509_freep) X509 *bare = X509_new();
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *software = pubkey_load(&key->spki, errp);
    ASN1_OCTET_STRING *ski = ASN1_OCTET_STRING_new();
    int ok;

    ok = bare && software && der_set_octets(ski, key_id->data, key_id->len, errp) == 0 &&
         X509_set_version(bare, X509_VERSION_3) && X509_set_pubkey(bare, software) &&
         X509_add1_ext_i2d(bare, NID_subject_key_identifier, ski, 0, X509V3_ADD_DEFAULT) == 1;
    ASN1_OCTET_STRING_free(ski);
    if (!ok) {
        der_fail(errp, ERR_INTERNAL, "naming a signer by its key");
        return NULL;
    }
    return TAKE(bare);
}

static int set_pss(CMS_SignerInfo *info, const struct cms_signer *signer, struct err **errp)
{
    EVP_PKEY_CTX *ctx = CMS_SignerInfo_get0_pkey_ctx(info);

    if (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) <= 0)
        return der_fail(errp, der_key_failure(signer->key), "choosing RSASSA-PSS");
    return 0;
}

static int add_requester(CMS_SignerInfo *info, const char *requester, struct err **errp)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(OID_NAME_VALUE_PAIR, errp);
    CLEANUP(bytes_clear) struct bytes pair = {0};

    if (!object || msext_name_value_write(REQUESTER, requester, &pair, errp) < 0)
        return -1;
    if (!CMS_signed_add1_attr_by_OBJ(info, object, V_ASN1_SEQUENCE, pair.data, (int)pair.len))
        return der_fail(errp, ERR_INTERNAL, "adding the attribute %s", REQUESTER);
    return 0;
}

static int add_signer(CMS_ContentInfo *info, const struct cms_signer *signer, struct err **errp)
{
    CLEANUP(pubkey_clear) struct pubkey key = {0};
    CLEANUP(EVP_MD_freep) EVP_MD *md = der_digest(signer->hash, errp);
    CLEANUP(X509_freep) X509 *bare = NULL;
    unsigned flags = CMS_PARTIAL | CMS_BINARY | CMS_NOCERTS | CMS_NOSMIMECAP;
    CMS_SignerInfo *added;

    if (!md)
        return -1;
    if (!signer->cert) {
        if (pubkey_from_evp(signer->key, &key, errp) < 0)
            return -1;
        bare = bare_certificate(&key, signer->key_id ? signer->key_id : &key.key_id, errp);
        if (!bare)
            return -1;
        flags |= CMS_USE_KEYID;
    }
    if (signer->pss)
        flags |= CMS_KEY_PARAM;
    added = CMS_add1_signer(info, bare ? bare : signer->cert->x509, signer->key, md, flags);
    if (!added)
        return der_fail(errp, der_key_failure(signer->key), "preparing a signature");
    if (signer->pss && set_pss(added, signer, errp) < 0)
        return -1;
    return signer->requester ? add_requester(added, signer->requester, errp) : 0;
}

/* Certificates to enclose, each once. */
static int add_certificates(CMS_ContentInfo *info, const struct cert_list *certificates,
    const struct cms_signer *signers, size_t n, struct err **errp)
{
    size_t more = certificates ? certificates->n : 0;
    CLEANUP(strlist_clear) struct strlist seen = {0};

    for (size_t i = 0; i < more + n; i++) {
        const struct cert *cert = i < more ? certificates->items[i] : signers[i - more].cert;

        if (!cert || strlist_has(&seen, cert->sha256))
            continue;
        strlist_add(&seen, cert->sha256);
        if (!CMS_add1_cert(info, cert->x509))
            return der_fail(errp, ERR_INTERNAL, "enclosing a certificate");
    }
    return 0;
}

/* Signs what add_signer has prepared. */
static int finish(
    CMS_ContentInfo *info, const struct bytes *content, const struct cms_signer *signers, size_t n, struct err **errp)
{
    CLEANUP(BIO_free_allp) BIO *bio = NULL;
    enum err_kind kind = ERR_INTERNAL;

    for (size_t i = 0; i < n; i++)
        if (der_key_failure(signers[i].key) == ERR_TOKEN)
            kind = ERR_TOKEN;
    if (content->len > CMS_MAX_DER)
        return err_set(errp, ERR_INVALID, "a message of %zu bytes", content->len);
    bio = BIO_new_mem_buf(content->data, (int)content->len);
    if (!bio || !CMS_final(info, bio, NULL, CMS_BINARY))
        return der_fail(errp, kind, "signing a message");
    return 0;
}

/* Reads back what was signed, as its receiver would. Signers are told apart by how they verify: a SET has no order. */
static int check_signed(const struct bytes *der, const struct cms_signer *signers, size_t n, struct err **errp)
{
    CLEANUP(cms_freep) struct cms *cms = NULL;
    size_t verified = 0;

    if (cms_parse(der->data, der->len, &cms, errp) < 0)
        return err_wrap(errp, "checking the message that was just signed");
    for (size_t i = 0; i < n; i++) {
        CLEANUP(pubkey_clear) struct pubkey key = {0};

        if (pubkey_from_evp(signers[i].key, &key, errp) < 0)
            return -1;
        for (size_t at = 0; at < cms->n_signers; at++)
            if (!cms->signers[at].verified && cms_verify_signer(cms, at, &key.spki, NULL) == 0) {
                verified++;
                break;
            }
    }
    if (verified != n || cms->n_signers != n)
        return err_set(errp, ERR_INTERNAL, "a signature that was just made does not verify");
    return 0;
}

int cms_sign(const char *content_type, const struct bytes *content, const struct cert_list *certificates,
    const struct cms_signer *signers, size_t n, struct bytes *out, struct err **errp)
{
    CLEANUP(CMS_ContentInfo_freep)
    CMS_ContentInfo *info = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY | (n ? 0 : CMS_DETACHED));
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *type = der_object(content_type, errp);
    CLEANUP(bytes_clear) struct bytes built = {0};

    if (!type)
        return -1;
    if (!info || !CMS_set1_eContentType(info, type))
        return der_fail(errp, ERR_INTERNAL, "making a signed message");
    for (size_t i = 0; i < n; i++)
        if (add_signer(info, &signers[i], errp) < 0)
            return err_wrap(errp, "signer %zu", i + 1);
    if (add_certificates(info, certificates, signers, n, errp) < 0 ||
        (n && finish(info, content, signers, n, errp) < 0) ||
        der_write(info, ASN1_ITEM_rptr(CMS_ContentInfo), &built, errp) < 0 ||
        check_signed(&built, signers, n, errp) < 0)
        return -1;
    bytes_set(out, built.data, built.len);
    return 0;
}

static int sign_csr(const struct bytes *csr, const struct cms_signer *signer, struct bytes *out, struct err **errp)
{
    if (!signer->cert)
        return err_set(errp, ERR_INVALID, "the signer of the request has no certificate");
    return cms_sign(OID_DATA, csr, NULL, signer, 1, out, errp);
}

int cms_build_renewal(const struct bytes *csr, const struct cms_signer *old, struct bytes *out, struct err **errp)
{
    CLEANUP(csr_freep) struct csr *parsed = NULL;

    if (csr_parse(csr->data, csr->len, &parsed, errp) < 0)
        return -1;
    if (!old->cert || !parsed->old_cert || !cert_equal(parsed->old_cert, old->cert))
        return err_set(errp, ERR_INVALID, "the PKCS#10 request is not for the renewal of the signer's certificate");
    return sign_csr(csr, old, out, errp);
}

int cms_build_on_behalf(const struct bytes *csr, const struct cms_signer *agent, struct bytes *out, struct err **errp)
{
    if (!agent->requester)
        return err_set(errp, ERR_INVALID, "a request on behalf of nobody");
    return sign_csr(csr, agent, out, errp);
}

int certs_only_build(const struct cert_list *certificates, struct bytes *out, struct err **errp)
{
    static const struct bytes nothing;

    return cms_sign(OID_DATA, &nothing, certificates, NULL, 0, out, errp);
}

/* ---- reading ---- */

static CMS_SignerInfo *signer_at(const struct cms *cms, size_t i)
{
    return sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms->handle->info), (int)i);
}

static int read_signer_id(CMS_SignerInfo *info, struct cms_signer_info *signer, struct err **errp)
{
    ASN1_OCTET_STRING *key_id = NULL;
    X509_NAME *issuer = NULL;
    ASN1_INTEGER *serial = NULL;
    CLEANUP(bytes_clear) struct bytes name = {0};

    if (!CMS_SignerInfo_get0_signer_id(info, &key_id, &issuer, &serial))
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "a signer without a name");
    if (key_id) {
        signer->id = CMS_BY_KEY_ID;
        der_octets(key_id, &signer->key_id);
        return 0;
    }
    signer->id = CMS_BY_ISSUER_SERIAL;
    signer->serial = der_integer_hex(serial);
    if (der_write(issuer, ASN1_ITEM_rptr(X509_NAME), &name, errp) < 0)
        return -1;
    signer->issuer = name_to_text(name.data, name.len, errp);
    return signer->issuer ? 0 : -1;
}

static int read_algorithms(CMS_SignerInfo *info, struct cms_signer_info *signer, struct err **errp)
{
    X509_ALGOR *digest = NULL, *signature = NULL;
    CLEANUP(mem_freep) char *digest_oid = NULL;
    const char *hash;

    CMS_SignerInfo_get0_algs(info, NULL, NULL, &digest, &signature);
    digest_oid = der_oid(digest->algorithm, errp);
    signer->signature_algorithm = der_oid(signature->algorithm, errp);
    if (!digest_oid || !signer->signature_algorithm)
        return -1;
    hash = der_hash_name(OBJ_obj2nid(digest->algorithm));
    signer->hash = mem_strdup(hash ? hash : digest_oid);
    signer->no_signature = oid_is(signer->signature_algorithm, OID_NO_SIGNATURE);
    return 0;
}

/* The signed requestername, among however many name/value pairs. */
static int read_requester(CMS_SignerInfo *info, struct cms_signer_info *signer, struct err **errp)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(OID_NAME_VALUE_PAIR, errp);
    CLEANUP(name_values_clear) struct name_values pairs = {0};
    int at = -1;

    if (!object)
        return -1;
    while ((at = CMS_signed_get_attr_by_OBJ(info, object, at)) >= 0) {
        X509_ATTRIBUTE *attribute = CMS_signed_get_attr(info, at);

        for (int i = 0; i < X509_ATTRIBUTE_count(attribute); i++) {
            CLEANUP(bytes_clear) struct bytes value = {0};

            if (der_any(X509_ATTRIBUTE_get0_type(attribute, i), &value, errp) < 0 ||
                msext_name_values_parse(value.data, value.len, &pairs, errp) < 0)
                return -1;
        }
    }
    signer->requester = mem_strdup_opt(name_values_find(&pairs, REQUESTER));
    return 0;
}

static int read_attributes(CMS_SignerInfo *info, struct cms_signer_info *signer, struct err **errp)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *archived = der_object(OID_ARCHIVED_KEY, errp);
    const ASN1_OBJECT *type;

    if (CMS_signed_get_attr_count(info) > CMS_MAX_ATTRIBUTES || CMS_unsigned_get_attr_count(info) > CMS_MAX_ATTRIBUTES)
        return der_refuse(errp, ERROR_INVALID_DATA, "a signer with more than %d attributes", CMS_MAX_ATTRIBUTES);
    signer->archived_key = archived && CMS_unsigned_get_attr_by_OBJ(info, archived, -1) >= 0;
    signer->signed_attributes = CMS_signed_get_attr_count(info) >= 0;
    if (!signer->signed_attributes)
        return 0;
    /* -3: there once, with one value */
    type = CMS_signed_get0_data_by_OBJ(info, OBJ_nid2obj(NID_pkcs9_contentType), -3, V_ASN1_OBJECT);
    signer->content_type = type ? oid_from_asn1(type) : NULL;
    return read_requester(info, signer, errp);
}

/* The one enclosed certificate that @info names; two that share a key identifier are none. */
static const struct cert *named_certificate(CMS_SignerInfo *info, const struct cert_list *certificates)
{
    const struct cert *found = NULL;

    for (size_t i = 0; i < certificates->n; i++) {
        const struct cert *cert = certificates->items[i];

        if (CMS_SignerInfo_cert_cmp(info, cert->x509) != 0 || (found && cert_equal(found, cert)))
            continue;
        if (found)
            return NULL;
        found = cert;
    }
    return found;
}

static int read_signers(struct cms *cms, struct err **errp)
{
    int n = sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms->handle->info));

    if (n > CMS_MAX_SIGNERS)
        return der_refuse(errp, ERROR_INVALID_DATA, "more than %d signers", CMS_MAX_SIGNERS);
    for (int i = 0; i < n; i++) {
        struct cms_signer_info *signer = MEM_APPEND(cms->signers, cms->n_signers);
        CMS_SignerInfo *info = signer_at(cms, (size_t)i);

        if (read_signer_id(info, signer, errp) < 0 || read_algorithms(info, signer, errp) < 0 ||
            read_attributes(info, signer, errp) < 0)
            return err_wrap(errp, "signer %d", i + 1);
        signer->cert = named_certificate(info, &cms->certificates);
    }
    return 0;
}

static bool same_issuer_and_serial(const struct cert *a, const struct cert *b)
{
    return strcmp(a->serial, b->serial) == 0 &&
           X509_NAME_cmp(X509_get_issuer_name(a->x509), X509_get_issuer_name(b->x509)) == 0;
}

static int check_certificates(const struct cert_list *list, struct err **errp)
{
    for (size_t i = 0; i < list->n; i++)
        for (size_t j = 0; j < i; j++)
            if (!cert_equal(list->items[i], list->items[j]) && same_issuer_and_serial(list->items[i], list->items[j]))
                return der_refuse(errp, ERROR_INVALID_DATA,
                    "two different certificates with issuer '%s' and serial number %s", list->items[i]->issuer,
                    list->items[i]->serial);
    return 0;
}

static int read_certificates(struct cms *cms, struct err **errp)
{
    STACK_OF(X509) *found = CMS_get1_certs(cms->handle->info);
    int n = sk_X509_num(found), r = 0;

    if (n > CMS_MAX_CERTIFICATES)
        r = der_refuse(errp, ERROR_INVALID_DATA, "more than %d certificates", CMS_MAX_CERTIFICATES);
    for (int i = 0; i < n && r == 0; i++) {
        struct cert *cert = NULL;

        r = cert_from_x509(sk_X509_value(found, i), &cert, errp);
        if (r == 0)
            cert_list_add(&cms->certificates, cert);
        else
            err_wrap(errp, "enclosed certificate %d", i + 1);
    }
    sk_X509_pop_free(found, X509_free);
    return r < 0 ? -1 : check_certificates(&cms->certificates, errp);
}

static int read_content(struct cms *cms, struct err **errp)
{
    ASN1_OCTET_STRING **content = CMS_get0_content(cms->handle->info);

    cms->content_type = der_oid(CMS_get0_eContentType(cms->handle->info), errp);
    if (!cms->content_type)
        return -1;
    if (content && *content) {
        cms->has_content = true;
        der_octets(*content, &cms->content);
    }
    return 0;
}

static CMS_ContentInfo *read_info(const void *der, size_t len, int type, const char *what, struct err **errp)
{
    CLEANUP(CMS_ContentInfo_freep) CMS_ContentInfo *info = NULL;
    const uint8_t *at = der;

    if (der_check_frame(der, len, what, errp) < 0)
        return NULL;
    if (len <= CMS_MAX_DER)
        info = d2i_CMS_ContentInfo(NULL, &at, (long)len);
    if (!info) {
        der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "%s: the DER does not have the right form, or is more than %u bytes",
            what, CMS_MAX_DER);
        return NULL;
    }
    if (OBJ_obj2nid(CMS_get0_type(info)) != type) {
        der_refuse(errp, CRYPT_E_INVALID_MSG_TYPE, "%s: the content is of another type", what);
        return NULL;
    }
    return TAKE(info);
}

int cms_parse(const void *der, size_t len, struct cms **out, struct err **errp)
{
    static const char what[] = "a CMS message";
    CLEANUP(cms_freep) struct cms *cms = mem_alloc(sizeof(*cms));

    cms->handle = mem_alloc(sizeof(*cms->handle));
    cms->handle->info = read_info(der, len, NID_pkcs7_signed, what, errp);
    if (!cms->handle->info)
        return -1;
    if (read_content(cms, errp) < 0 || read_certificates(cms, errp) < 0 || read_signers(cms, errp) < 0)
        return err_wrap(errp, "%s", what);
    *out = TAKE(cms);
    return 0;
}

/* ---- verifying ---- */

/* What a bare digest covers when there are signed attributes: their DER, as a SET. */
static int write_signed_attributes(CMS_SignerInfo *info, struct bytes *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes content = {0};
    unsigned char header[16], *at = header;
    int n = CMS_signed_get_attr_count(info);

    for (int i = 0; i < n; i++) {
        CLEANUP(bytes_clear) struct bytes attribute = {0};

        if (der_write(CMS_signed_get_attr(info, i), ASN1_ITEM_rptr(X509_ATTRIBUTE), &attribute, errp) < 0 ||
            bytes_append(&content, attribute.data, attribute.len, errp) < 0)
            return -1;
    }
    ASN1_put_object(&at, 1, (int)content.len, V_ASN1_SET, V_ASN1_UNIVERSAL);
    if (bytes_append(out, header, (size_t)(at - header), errp) < 0)
        return -1;
    return bytes_append(out, content.data, content.len, errp);
}

static int digest_is(const struct bytes *data, const char *hash, const ASN1_STRING *expected, struct err **errp)
{
    CLEANUP(EVP_MD_freep) EVP_MD *md = der_digest(hash, errp);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;

    if (!md)
        return -1;
    if (!EVP_Digest(data->data, data->len, digest, &len, md, NULL))
        return der_fail(errp, ERR_INTERNAL, "hashing a message");
    if (!expected || ASN1_STRING_length(expected) != (int)len ||
        memcmp(ASN1_STRING_get0_data(expected), digest, len) != 0)
        return der_refuse(errp, CRYPT_E_HASH_VALUE, "the digest is not that of the content");
    return 0;
}

static int verify_bare_digest(
    const struct cms *cms, const struct cms_signer_info *signer, CMS_SignerInfo *info, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes attributes = {0};
    const ASN1_OCTET_STRING *digest;

    if (!signer->signed_attributes)
        return digest_is(&cms->content, signer->hash, CMS_SignerInfo_get0_signature(info), errp);
    digest = CMS_signed_get0_data_by_OBJ(info, OBJ_nid2obj(NID_pkcs9_messageDigest), -3, V_ASN1_OCTET_STRING);
    if (write_signed_attributes(info, &attributes, errp) < 0 ||
        digest_is(&cms->content, signer->hash, digest, errp) < 0)
        return -1;
    return digest_is(&attributes, signer->hash, CMS_SignerInfo_get0_signature(info), errp);
}

/*
 * A chain that digests the content while it is read: of exactly the bytes that were parsed, with the one hash that the
 * signer names. CMS_dataInit would run every hash that the message lists, and it may list a great many.
 */
static BIO *digest_content(const struct cms *cms, const char *hash, struct err **errp)
{
    CLEANUP(EVP_MD_freep) EVP_MD *md = der_digest(hash, errp);
    CLEANUP(BIO_free_allp) BIO *digest = BIO_new(BIO_f_md());
    BIO *source = BIO_new_mem_buf(cms->content.data, (int)cms->content.len);
    char buffer[4096];

    if (!md || !digest || !source || BIO_set_md(digest, md) <= 0) {
        BIO_free(source);
        der_fail(errp, ERR_INTERNAL, "digesting the content");
        return NULL;
    }
    BIO_push(digest, source);
    while (BIO_read(digest, buffer, sizeof(buffer)) > 0)
        ;
    return TAKE(digest);
}

/* The digest of the content: as the signed attribute says or, without any, as the signature itself covers it. */
static int verify_content(
    const struct cms *cms, const struct cms_signer_info *signer, CMS_SignerInfo *info, struct err **errp)
{
    CLEANUP(BIO_free_allp) BIO *chain = digest_content(cms, signer->hash, errp);

    if (!chain)
        return -1;
    if (CMS_SignerInfo_verify_content(info, chain) <= 0)
        return der_refuse(errp, signer->signed_attributes ? CRYPT_E_HASH_VALUE : NTE_BAD_SIGNATURE,
            signer->signed_attributes ? "the signed digest is not that of the content"
                                      : "the signature does not verify");
    return 0;
}

static int verify_signature(const struct cms *cms, const struct cms_signer_info *signer, CMS_SignerInfo *info,
    const struct bytes *spki, struct err **errp)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = pubkey_load(spki, errp);
    CLEANUP(X509_freep) X509 *carrier = X509_new();

    if (!key)
        return -1;
    if (!carrier || !X509_set_pubkey(carrier, key))
        return der_fail(errp, ERR_INTERNAL, "handing over a public key");
    CMS_SignerInfo_set1_signer_cert(info, carrier);
    if (signer->signed_attributes && CMS_SignerInfo_verify(info) <= 0)
        return der_refuse(errp, NTE_BAD_SIGNATURE, "the signature does not verify");
    return verify_content(cms, signer, info, errp);
}

static int verify(const struct cms *cms, size_t i, const struct bytes *spki, struct err **errp)
{
    const struct cms_signer_info *signer = &cms->signers[i];
    CMS_SignerInfo *info = signer_at(cms, i);

    if (!cms->has_content)
        return der_refuse(errp, ERROR_INVALID_DATA, "the signed content is not in the message");
    if (!der_hash_is_known(signer->hash))
        return der_refuse(errp, NTE_BAD_ALGID, "signed with the hash %s", signer->hash);
    /* RFC 5652 5.3: only plain data may go without. */
    if (!signer->signed_attributes && !oid_is(cms->content_type, OID_DATA))
        return der_refuse(errp, ERROR_INVALID_DATA, "no signed attributes");
    if (signer->signed_attributes && !oid_is(signer->content_type, cms->content_type))
        return der_refuse(errp, ERROR_INVALID_DATA, "the signed content type is %s and the content is %s",
            signer->content_type ? oid_name(signer->content_type) : "missing", oid_name(cms->content_type));
    if (signer->no_signature)
        return verify_bare_digest(cms, signer, info, errp);
    if (!spki)
        return der_refuse(errp, CRYPT_E_SIGNER_NOT_FOUND, "there is no key to verify it with");
    return verify_signature(cms, signer, info, spki, errp);
}

int cms_verify_signer(struct cms *cms, size_t signer, const struct bytes *spki, struct err **errp)
{
    struct cms_signer_info *info = &cms->signers[signer];
    struct err *err = NULL;

    free(info->reason);
    info->reason = NULL;
    info->verified = verify(cms, signer, spki, &err) == 0;
    if (info->verified)
        return 0;
    info->reason = mem_strdup(err_text(err));
    err_set(errp, err_kind(err), "signer %zu: %s", signer + 1, err_text(err));
    if (errp)
        err_set_code(*errp, err_code(err));
    err_free(err);
    return -1;
}

void cms_free(struct cms *cms)
{
    if (!cms)
        return;
    free(cms->content_type);
    bytes_clear(&cms->content);
    for (size_t i = 0; i < cms->n_signers; i++) {
        struct cms_signer_info *signer = &cms->signers[i];

        bytes_clear(&signer->key_id);
        free(signer->issuer);
        free(signer->serial);
        free(signer->hash);
        free(signer->signature_algorithm);
        free(signer->content_type);
        free(signer->requester);
        free(signer->reason);
    }
    free(cms->signers);
    cert_list_clear(&cms->certificates);
    if (cms->handle)
        CMS_ContentInfo_free(cms->handle->info);
    free(cms->handle);
    free(cms);
}

int cms_count_recipients(const void *der, size_t len, struct err **errp)
{
    CLEANUP(CMS_ContentInfo_freep)
    CMS_ContentInfo *info = read_info(der, len, NID_pkcs7_enveloped, "an enveloped message", errp);

    return info ? sk_CMS_RecipientInfo_num(CMS_get0_RecipientInfos(info)) : -1;
}
