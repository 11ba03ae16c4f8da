#include "agent/key/provider_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define MAX_SIGNATURE 1024 /* RSA-8192 */
#define MAX_NAME      64
#define DEFAULT_HASH  "SHA256"

struct sign_ctx {
    const struct key_data *key; /* borrowed: the EVP_PKEY_CTX holds the key */
    EVP_MD *md;                 /* owned; NULL: the input is signed as it is */
    EVP_MD *mgf1_md;            /* owned; NULL: as md */
    EVP_MD_CTX *hash;           /* owned; while digest_... runs */
    int padding;                /* RSA_PKCS1_PADDING or RSA_PKCS1_PSS_PADDING */
    int salt_len;               /* bytes, or an RSA_PSS_SALTLEN_... */
};

static bool is_ec(const struct sign_ctx *ctx)
{
    return strcmp(ctx->key->algorithm, "EC") == 0;
}

static void *sign_newctx(void *provider, const char *properties)
{
    struct sign_ctx *ctx = mem_alloc(sizeof(*ctx));

    (void)provider;
    (void)properties;
    ctx->padding = RSA_PKCS1_PADDING;
    ctx->salt_len = RSA_PSS_SALTLEN_AUTO;
    return ctx;
}

static void sign_freectx(void *data)
{
    struct sign_ctx *ctx = data;

    if (!ctx)
        return;
    EVP_MD_free(ctx->md);
    EVP_MD_free(ctx->mgf1_md);
    EVP_MD_CTX_free(ctx->hash);
    free(ctx);
}

static void *sign_dupctx(void *data)
{
    const struct sign_ctx *from = data;
    struct sign_ctx *to = mem_dup(from, sizeof(*from));

    if (to->md)
        (void)EVP_MD_up_ref(to->md);
    if (to->mgf1_md)
        (void)EVP_MD_up_ref(to->mgf1_md);
    to->hash = from->hash ? EVP_MD_CTX_new() : NULL;
    if (from->hash && (!to->hash || EVP_MD_CTX_copy_ex(to->hash, from->hash) != 1)) {
        sign_freectx(to);
        return NULL;
    }
    return to;
}

static bool set_md(EVP_MD **md, const char *name)
{
    EVP_MD *found = EVP_MD_fetch(NULL, name, NULL);

    if (!found)
        return false;
    EVP_MD_free(*md);
    *md = found;
    return true;
}

/* Names and numbers: callers use both. */
struct word {
    const char *name;
    int value;
};
static const struct word paddings[] = {
    {OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING},
    {OSSL_PKEY_RSA_PAD_MODE_PSS, RSA_PKCS1_PSS_PADDING},
};
static const struct word salts[] = {
    {OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST, RSA_PSS_SALTLEN_DIGEST},
    {OSSL_PKEY_RSA_PSS_SALT_LEN_MAX, RSA_PSS_SALTLEN_MAX},
    {OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO, RSA_PSS_SALTLEN_AUTO},
};

static bool read_word(const OSSL_PARAM *p, const struct word *words, size_t n, int *value)
{
    const char *text;
    char *end;
    long number;

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, value) == 1;
    if (OSSL_PARAM_get_utf8_string_ptr(p, &text) != 1)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i].name, text) == 0) {
            *value = words[i].value;
            return true;
        }
    number = strtol(text, &end, 10);
    *value = (int)number;
    return end != text && !*end && number >= 0 && number <= MAX_SIGNATURE;
}

static bool write_word(OSSL_PARAM *p, const struct word *words, size_t n, int value)
{
    char text[16];

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_set_int(p, value) == 1;
    for (size_t i = 0; i < n; i++)
        if (words[i].value == value)
            return OSSL_PARAM_set_utf8_string(p, words[i].name) == 1;
    (void)snprintf(text, sizeof(text), "%d", value);
    return OSSL_PARAM_set_utf8_string(p, text) == 1;
}

static bool read_md(const OSSL_PARAM *p, EVP_MD **md)
{
    char name[MAX_NAME] = "";
    char *to = name;

    return OSSL_PARAM_get_utf8_string(p, &to, sizeof(name)) == 1 && set_md(md, name);
}

static int sign_set_params(void *data, const OSSL_PARAM params[])
{
    struct sign_ctx *ctx = data;
    const OSSL_PARAM *p;

    if (!params)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p && !read_md(p, &ctx->md))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
    if (p && !read_md(p, &ctx->mgf1_md))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (p && (!read_word(p, paddings, ARRAY_SIZE(paddings), &ctx->padding) ||
                 (ctx->padding != RSA_PKCS1_PADDING && ctx->padding != RSA_PKCS1_PSS_PADDING)))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    return !p || read_word(p, salts, ARRAY_SIZE(salts), &ctx->salt_len);
}

/* The bytes of salt of a signature that we make. AUTO is the hash's length: a TPM can do no other. 0 or positive. */
static size_t salt_bytes(const struct sign_ctx *ctx)
{
    size_t hash = (size_t)EVP_MD_get_size(ctx->md);
    size_t most = ((size_t)EVP_PKEY_get_bits(ctx->key->public) + 6) / 8 - hash - 2;

    if (ctx->salt_len >= 0)
        return (size_t)ctx->salt_len;
    return ctx->salt_len == RSA_PSS_SALTLEN_MAX ? most : hash;
}

static const EVP_MD *mgf1_md(const struct sign_ctx *ctx)
{
    return ctx->mgf1_md ? ctx->mgf1_md : ctx->md;
}

/* RFC 4055 3.1. SHA-1 and a salt of 20 bytes are the defaults, which DER leaves out. */
static ASN1_STRING *pss_parameters(const struct sign_ctx *ctx)
{
    RSA_PSS_PARAMS *pss = RSA_PSS_PARAMS_new();
    X509_ALGOR *mgf1_hash = X509_ALGOR_new();
    ASN1_STRING *packed = NULL, *whole = NULL;

    if (!pss || !mgf1_hash)
        goto out;
    if (!EVP_MD_is_a(ctx->md, "SHA1")) {
        pss->hashAlgorithm = X509_ALGOR_new();
        if (!pss->hashAlgorithm)
            goto out;
        X509_ALGOR_set_md(pss->hashAlgorithm, ctx->md);
    }
    if (!EVP_MD_is_a(mgf1_md(ctx), "SHA1")) {
        X509_ALGOR_set_md(mgf1_hash, mgf1_md(ctx));
        packed = ASN1_item_pack(mgf1_hash, ASN1_ITEM_rptr(X509_ALGOR), NULL);
        pss->maskGenAlgorithm = X509_ALGOR_new();
        if (!packed || !pss->maskGenAlgorithm ||
            X509_ALGOR_set0(pss->maskGenAlgorithm, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE, packed) != 1)
            goto out;
        packed = NULL;
    }
    if (salt_bytes(ctx) != 20) {
        pss->saltLength = ASN1_INTEGER_new();
        if (!pss->saltLength || ASN1_INTEGER_set_uint64(pss->saltLength, salt_bytes(ctx)) != 1)
            goto out;
    }
    whole = ASN1_item_pack(pss, ASN1_ITEM_rptr(RSA_PSS_PARAMS), NULL);
out:
    ASN1_STRING_free(packed);
    X509_ALGOR_free(mgf1_hash);
    RSA_PSS_PARAMS_free(pss);
    return whole;
}

static bool fill_algorithm(const struct sign_ctx *ctx, X509_ALGOR *algorithm)
{
    int key = is_ec(ctx) ? NID_X9_62_id_ecPublicKey : NID_rsaEncryption;
    ASN1_STRING *parameters;
    int nid;

    if (!is_ec(ctx) && ctx->padding == RSA_PKCS1_PSS_PADDING) {
        parameters = pss_parameters(ctx);
        if (parameters && X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE, parameters) == 1)
            return true;
        ASN1_STRING_free(parameters);
        return false;
    }
    return OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(ctx->md), key) == 1 &&
           X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), is_ec(ctx) ? V_ASN1_UNDEF : V_ASN1_NULL, NULL) == 1;
}

static bool write_algorithm(const struct sign_ctx *ctx, OSSL_PARAM *p)
{
    X509_ALGOR *algorithm = X509_ALGOR_new();
    unsigned char *der = NULL;
    int len = algorithm && ctx->md && fill_algorithm(ctx, algorithm) ? i2d_X509_ALGOR(algorithm, &der) : -1;
    bool ok = len > 0 && OSSL_PARAM_set_octet_string(p, der, (size_t)len) == 1;

    OPENSSL_free(der);
    X509_ALGOR_free(algorithm);
    return ok;
}

static int sign_get_params(void *data, OSSL_PARAM params[])
{
    const struct sign_ctx *ctx = data;
    OSSL_PARAM *p;

    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
    if (p && !write_algorithm(ctx, p))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p && OSSL_PARAM_set_utf8_string(p, ctx->md ? EVP_MD_get0_name(ctx->md) : "") != 1)
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
    if (p && OSSL_PARAM_set_utf8_string(p, mgf1_md(ctx) ? EVP_MD_get0_name(mgf1_md(ctx)) : "") != 1)
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (p && !write_word(p, paddings, ARRAY_SIZE(paddings), ctx->padding))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    return !p || write_word(p, salts, ARRAY_SIZE(salts), ctx->salt_len);
}

static const OSSL_PARAM *sign_settable(void *data, void *provider)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_PROPERTIES, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return settable;
}

static const OSSL_PARAM *sign_gettable(void *data, void *provider)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return gettable;
}

static int verify_init(void *data, void *key, const OSSL_PARAM params[])
{
    struct sign_ctx *ctx = data;

    if (key)
        ctx->key = key;
    return ctx->key && sign_set_params(ctx, params);
}

static int sign_init(void *data, void *key, const OSSL_PARAM params[])
{
    struct sign_ctx *ctx = data;

    return verify_init(data, key, params) && ctx->key->signer;
}

/* DigestInfo of RFC 8017 9.2, or the input itself when no hash was named. @out is owned by the caller. */
static int digest_info(const struct sign_ctx *ctx, const uint8_t *digest, size_t len, unsigned char **out)
{
    X509_SIG *info = X509_SIG_new();
    X509_ALGOR *algorithm;
    ASN1_OCTET_STRING *octets;
    int r = -1;

    if (!info)
        return -1;
    X509_SIG_getm(info, &algorithm, &octets);
    if (X509_ALGOR_set0(algorithm, OBJ_nid2obj(EVP_MD_get_type(ctx->md)), V_ASN1_NULL, NULL) == 1 &&
        ASN1_OCTET_STRING_set(octets, digest, (int)len) == 1)
        r = i2d_X509_SIG(info, out);
    X509_SIG_free(info);
    return r;
}

static bool sign_rsa(const struct sign_ctx *ctx, const uint8_t *data, size_t len, uint8_t *signature, size_t *out_len)
{
    struct signer_input input = {.scheme = SIGNER_RSA_PKCS1, .data = data, .len = len};
    unsigned char *info = NULL;
    bool ok = true;

    if (ctx->padding == RSA_PKCS1_PSS_PADDING) {
        if (!ctx->md)
            return false;
        input.scheme = SIGNER_RSA_PSS;
        input.md = ctx->md;
        input.mgf1_md = mgf1_md(ctx);
        input.salt_len = salt_bytes(ctx);
    } else if (ctx->md) {
        int info_len = digest_info(ctx, data, len, &info);

        ok = info_len > 0;
        input.data = info;
        input.len = ok ? (size_t)info_len : 0;
    }
    ok = ok && signer_run(ctx->key->signer, &input, signature, out_len);
    OPENSSL_free(info);
    return ok;
}

/* A token gives r and s one after the other; the world wants them in DER, RFC 3279 2.2.3. */
static bool sign_ec(const struct sign_ctx *ctx, const uint8_t *data, size_t len, uint8_t *signature, size_t *out_len)
{
    struct signer_input input = {.scheme = SIGNER_ECDSA, .data = data, .len = len};
    uint8_t raw[MAX_SIGNATURE];
    size_t raw_len = sizeof(raw);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = NULL, *s = NULL;
    int der_len = -1;

    if (sig && signer_run(ctx->key->signer, &input, raw, &raw_len) && raw_len > 0 && raw_len % 2 == 0) {
        r = BN_bin2bn(raw, (int)(raw_len / 2), NULL);
        s = BN_bin2bn(raw + raw_len / 2, (int)(raw_len / 2), NULL);
        if (r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
            r = s = NULL;
            if (i2d_ECDSA_SIG(sig, NULL) <= (int)*out_len)
                der_len = i2d_ECDSA_SIG(sig, &signature);
        }
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    if (der_len <= 0)
        return false;
    *out_len = (size_t)der_len;
    return true;
}

static int sign_run(
    void *data, unsigned char *signature, size_t *len, size_t room, const unsigned char *input, size_t input_len)
{
    const struct sign_ctx *ctx = data;
    size_t most = (size_t)EVP_PKEY_get_size(ctx->key->public);

    if (!signature) {
        *len = most;
        return 1;
    }
    if (room < most || (ctx->md && input_len != (size_t)EVP_MD_get_size(ctx->md)))
        return 0;
    *len = room;
    return is_ec(ctx) ? sign_ec(ctx, input, input_len, signature, len)
                      : sign_rsa(ctx, input, input_len, signature, len);
}

static int verify_run(
    void *data, const unsigned char *signature, size_t len, const unsigned char *input, size_t input_len)
{
    const struct sign_ctx *ctx = data;
    EVP_PKEY_CTX *soft = EVP_PKEY_CTX_new_from_pkey(NULL, ctx->key->public, NULL);
    bool pss = !is_ec(ctx) && ctx->padding == RSA_PKCS1_PSS_PADDING;
    bool ok = soft && EVP_PKEY_verify_init(soft) == 1;

    if (ok && !is_ec(ctx))
        ok = EVP_PKEY_CTX_set_rsa_padding(soft, ctx->padding) == 1;
    if (ok && ctx->md)
        ok = EVP_PKEY_CTX_set_signature_md(soft, ctx->md) == 1;
    if (ok && pss)
        ok = EVP_PKEY_CTX_set_rsa_pss_saltlen(soft, ctx->salt_len) == 1 && mgf1_md(ctx) &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(soft, mgf1_md(ctx)) == 1;
    ok = ok && EVP_PKEY_verify(soft, signature, len, input, input_len) == 1;
    EVP_PKEY_CTX_free(soft);
    return ok;
}

static int digest_verify_init(void *data, const char *md, void *key, const OSSL_PARAM params[])
{
    struct sign_ctx *ctx = data;

    if (!set_md(&ctx->md, md && *md ? md : DEFAULT_HASH) || !verify_init(ctx, key, params))
        return 0;
    EVP_MD_CTX_free(ctx->hash);
    ctx->hash = EVP_MD_CTX_new();
    return ctx->hash && EVP_DigestInit_ex(ctx->hash, ctx->md, NULL) == 1;
}

static int digest_sign_init(void *data, const char *md, void *key, const OSSL_PARAM params[])
{
    struct sign_ctx *ctx = data;

    return digest_verify_init(data, md, key, params) && ctx->key->signer;
}

static int digest_update(void *data, const unsigned char *input, size_t len)
{
    struct sign_ctx *ctx = data;

    return ctx->hash && EVP_DigestUpdate(ctx->hash, input, len) == 1;
}

static int digest_sign_final(void *data, unsigned char *signature, size_t *len, size_t room)
{
    struct sign_ctx *ctx = data;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;

    if (!signature) /* only the length is wanted; the hash goes on */
        return sign_run(ctx, NULL, len, 0, NULL, 0);
    return ctx->hash && EVP_DigestFinal_ex(ctx->hash, digest, &digest_len) == 1 &&
           sign_run(ctx, signature, len, room, digest, digest_len);
}

static int digest_verify_final(void *data, const unsigned char *signature, size_t len)
{
    struct sign_ctx *ctx = data;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;

    return ctx->hash && EVP_DigestFinal_ex(ctx->hash, digest, &digest_len) == 1 &&
           verify_run(ctx, signature, len, digest, digest_len);
}

const OSSL_DISPATCH provider_sign_table[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, FN(sign_newctx)},
    {OSSL_FUNC_SIGNATURE_FREECTX, FN(sign_freectx)},
    {OSSL_FUNC_SIGNATURE_DUPCTX, FN(sign_dupctx)},
    {OSSL_FUNC_SIGNATURE_SIGN_INIT, FN(sign_init)},
    {OSSL_FUNC_SIGNATURE_SIGN, FN(sign_run)},
    {OSSL_FUNC_SIGNATURE_VERIFY_INIT, FN(verify_init)},
    {OSSL_FUNC_SIGNATURE_VERIFY, FN(verify_run)},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, FN(digest_sign_init)},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, FN(digest_update)},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, FN(digest_sign_final)},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, FN(digest_verify_init)},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, FN(digest_update)},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, FN(digest_verify_final)},
    {OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, FN(sign_get_params)},
    {OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, FN(sign_gettable)},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, FN(sign_set_params)},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, FN(sign_settable)},
    {0, NULL},
};
