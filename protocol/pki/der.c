#include "protocol/pki/der.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"
#include "protocol/pki/oid.h"

int der_refuse(struct err **errp, uint32_t code, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    ERR_clear_error();
    if (!errp || *errp)
        return -1;
    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    err_set(errp, ERR_INVALID, "%s", text);
    err_set_code(*errp, code);
    return -1;
}

/* The last entry says most: the first ones are the innards of a decoder. */
static char *openssl_reason(void)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long error = ERR_peek_last_error_all(NULL, NULL, NULL, &data, &flags);
    const char *reason = ERR_reason_error_string(error);
    bool has_data = data && *data && flags & ERR_TXT_STRING;
    char *text = mem_printf("%s%s%s%s", reason ? reason : "OpenSSL does not say why", has_data ? " (" : "",
        has_data ? data : "", has_data ? ")" : "");

    ERR_clear_error();
    return text;
}

int der_fail(struct err **errp, enum err_kind kind, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *reason = openssl_reason();
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    return err_set(errp, kind, "%s: %s", text, reason);
}

int der_check_frame(const void *der, size_t len, const char *what, struct err **errp)
{
    const uint8_t *at = der;
    size_t header;
    long inner = 0;
    int tag, class, flags;

    if (len == 0)
        return der_refuse(errp, CRYPT_E_ASN1_EOD, "%s: empty", what);
    if (len > BYTES_LIMIT_DEFAULT)
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "%s: %zu bytes are too many", what, len);
    flags = ASN1_get_object(&at, &inner, &tag, &class, (long)len);
    if (flags & 0x80) {
        int reason = ERR_GET_REASON(ERR_peek_last_error());
        bool cut = reason == ASN1_R_TOO_LONG || reason == ASN1_R_HEADER_TOO_LONG;

        return der_refuse(errp, cut ? CRYPT_E_ASN1_EOD : CRYPT_E_ASN1_CORRUPT,
            "%s: the DER is cut short or has no valid length", what);
    }
    if (flags & 1)
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "%s: indefinite length, which is not DER", what);
    header = (size_t)(at - (const uint8_t *)der);
    if (header + (size_t)inner != len)
        return der_refuse(
            errp, CRYPT_E_ASN1_CORRUPT, "%s: %zu bytes follow the end of the DER", what, len - header - (size_t)inner);
    return 0;
}

void *der_read(const ASN1_ITEM *it, const void *der, size_t len, const char *what, struct err **errp)
{
    const uint8_t *at = der;
    ASN1_VALUE *value;

    if (der_check_frame(der, len, what, errp) < 0)
        return NULL;
    value = ASN1_item_d2i(NULL, &at, (long)len, it);
    if (value && at == (const uint8_t *)der + len)
        return value;
    if (value)
        ASN1_item_free(value, it);
    if (der_fail(errp, ERR_INVALID, "%s: the DER does not have the right form", what) < 0 && errp)
        err_set_code(*errp, CRYPT_E_ASN1_CORRUPT);
    return NULL;
}

int der_write(const void *value, const ASN1_ITEM *it, struct bytes *out, struct err **errp)
{
    unsigned char *der = NULL;
    int len = ASN1_item_i2d((const ASN1_VALUE *)value, &der, it);

    if (len <= 0 || (size_t)len > BYTES_LIMIT_DEFAULT) {
        OPENSSL_free(der);
        return der_fail(errp, ERR_INTERNAL, "encoding DER");
    }
    bytes_set(out, der, (size_t)len);
    OPENSSL_free(der);
    return 0;
}

/* Nothing hidden in it: what printable() would show is what it is. */
static bool all_visible(const char *text, size_t len)
{
    CLEANUP(mem_freep) char *shown = printable(text, len, len * 10 + 1);

    return strlen(shown) == len && memcmp(shown, text, len) == 0;
}

/* Text in an OCTET STRING, which OpenSSL does not count among the texts. Gives its length, -1 when it is none. */
static int copy_utf8(const ASN1_STRING *string, unsigned char **utf8)
{
    int len = ASN1_STRING_length(string);

    *utf8 = OPENSSL_memdup(ASN1_STRING_get0_data(string), (size_t)len);
    return *utf8 || len == 0 ? len : -1;
}

char *der_text(const ASN1_STRING *string, size_t max, const char *what, struct err **errp)
{
    unsigned char *utf8 = NULL;
    char *text = NULL;
    int len;

    if (!string || ASN1_STRING_length(string) < 0 || (size_t)ASN1_STRING_length(string) > max * 4) {
        der_refuse(errp, ERROR_INVALID_DATA, "%s: the text is too long", what);
        return NULL;
    }
    if (ASN1_STRING_type(string) == V_ASN1_OCTET_STRING)
        len = copy_utf8(string, &utf8);
    else
        len = ASN1_STRING_to_UTF8(&utf8, string);
    if (len < 0)
        der_refuse(errp, ERROR_INVALID_DATA, "%s: the text is not validly encoded", what);
    else if ((size_t)len > max)
        der_refuse(errp, ERROR_INVALID_DATA, "%s: the text is longer than %zu bytes", what, max);
    else if (!all_visible(utf8 ? (const char *)utf8 : "", (size_t)len))
        der_refuse(errp, ERROR_INVALID_DATA, "%s: the text has control or invisible characters", what);
    else
        text = mem_strndup(utf8 ? (const char *)utf8 : "", (size_t)len);
    OPENSSL_free(utf8);
    return text;
}

void der_octets(const ASN1_STRING *string, struct bytes *out)
{
    bytes_set(out, ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

int der_set_octets(ASN1_STRING *string, const void *data, size_t len, struct err **errp)
{
    if (!string || len > BYTES_LIMIT_DEFAULT || !ASN1_STRING_set(string, data, (int)len))
        return der_fail(errp, ERR_INTERNAL, "copying %zu bytes into an ASN.1 string", len);
    return 0;
}

int der_u32(const ASN1_INTEGER *integer, uint32_t *value, const char *what, struct err **errp)
{
    uint64_t wide = 0;

    if (!ASN1_INTEGER_get_uint64(&wide, integer) || wide > UINT32_MAX)
        return der_refuse(errp, ERROR_INVALID_DATA, "%s: the number is not one of 0 to 4294967295", what);
    *value = (uint32_t)wide;
    return 0;
}

char *der_integer_hex(const ASN1_INTEGER *integer)
{
    int len = ASN1_STRING_length(integer);
    CLEANUP(mem_freep) char *hex = bytes_to_hex(ASN1_STRING_get0_data(integer), (size_t)len);
    const char *sign = ASN1_STRING_type(integer) == V_ASN1_NEG_INTEGER ? "-" : "";

    return mem_printf("%s%s", sign, len ? hex : "00");
}

int der_any(const ASN1_TYPE *any, struct bytes *out, struct err **errp)
{
    return der_write(any, ASN1_ITEM_rptr(ASN1_ANY), out, errp);
}

ASN1_TYPE *der_any_read(const struct bytes *der, const char *what, struct err **errp)
{
    return der_read(ASN1_ITEM_rptr(ASN1_ANY), der->data, der->len, what, errp);
}

char *der_oid(const ASN1_OBJECT *object, struct err **errp)
{
    char *dotted = oid_from_asn1(object);

    if (!dotted)
        der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "an object identifier is empty, malformed or too long");
    return dotted;
}

ASN1_OBJECT *der_object(const char *dotted, struct err **errp)
{
    ASN1_OBJECT *object = oid_to_asn1(dotted);

    if (!object)
        err_set(errp, ERR_INVALID, "'%s' is not an object identifier", dotted ? dotted : "");
    return object;
}

int der_time(const ASN1_TIME *time, int64_t *when, struct err **errp)
{
    struct tm tm;

    if (!time || !ASN1_TIME_to_tm(time, &tm))
        return der_refuse(errp, CRYPT_E_ASN1_CORRUPT, "a time is malformed");
    *when = (int64_t)timegm(&tm);
    return 0;
}

EVP_MD *der_digest(const char *hash, struct err **errp)
{
    EVP_MD *md = EVP_MD_fetch(NULL, hash, NULL);

    if (!md)
        der_fail(errp, ERR_INVALID, "hash '%s'", hash);
    return md;
}

const char *der_hash_name(int nid)
{
    int digest = nid, key;

    if (nid == NID_undef)
        return NULL;
    if (OBJ_find_sigid_algs(nid, &digest, &key) && digest == NID_undef)
        return NULL;
    switch (digest) {
    case NID_md5:
        return "MD5";
    case NID_sha1:
        return "SHA1";
    case NID_sha224:
        return "SHA224";
    case NID_sha256:
        return "SHA256";
    case NID_sha384:
        return "SHA384";
    case NID_sha512:
        return "SHA512";
    default:
        return NULL;
    }
}

const char *der_algorithm_hash(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object = NULL;
    const char *hash;
    RSA_PSS_PARAMS *pss;
    int nid;

    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    nid = OBJ_obj2nid(object);
    if (nid != NID_rsassaPss)
        return der_hash_name(nid);
    pss = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter);
    ERR_clear_error();
    if (!pss)
        return NULL;
    hash = pss->hashAlgorithm ? der_hash_name(OBJ_obj2nid(pss->hashAlgorithm->algorithm)) : "SHA1"; /* the DEFAULT */
    RSA_PSS_PARAMS_free(pss);
    return hash;
}

bool der_is_digest(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object = NULL;
    int nid, digest, key;

    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    nid = OBJ_obj2nid(object);
    return der_hash_name(nid) && !OBJ_find_sigid_algs(nid, &digest, &key);
}

enum err_kind der_key_failure(const EVP_PKEY *key)
{
    const OSSL_PROVIDER *provider = EVP_PKEY_get0_provider(key);
    const char *name = provider ? OSSL_PROVIDER_get0_name(provider) : "default";

    return strcmp(name, "default") == 0 || strcmp(name, "fips") == 0 ? ERR_INTERNAL : ERR_TOKEN;
}

EVP_MD_CTX *der_sign_init(EVP_PKEY *key, const char *hash, bool pss, struct err **errp)
{
    CLEANUP(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CLEANUP(EVP_MD_freep) EVP_MD *md = der_digest(hash, errp);
    EVP_PKEY_CTX *key_ctx = NULL;

    if (!md)
        return NULL;
    if (!ctx || EVP_DigestSignInit(ctx, &key_ctx, md, NULL, key) <= 0 ||
        (pss && (EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING) <= 0 ||
                    EVP_PKEY_CTX_set_rsa_pss_saltlen(key_ctx, RSA_PSS_SALTLEN_DIGEST) <= 0))) {
        der_fail(errp, der_key_failure(key), "starting to sign with %s%s", hash, pss ? " and RSASSA-PSS" : "");
        return NULL;
    }
    return TAKE(ctx);
}

bool der_hash_is_known(const char *hash)
{
    static const char *const known[] = {"SHA1", "SHA256", "SHA384", "SHA512"};

    for (size_t i = 0; hash && i < ARRAY_SIZE(known); i++)
        if (strcmp(known[i], hash) == 0)
            return true;
    return false;
}
