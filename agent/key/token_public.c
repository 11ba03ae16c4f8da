#include "agent/key/token_public.h"

#include <string.h>

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "agent/key/key.h"

#define MAX_RSA_BYTES 1024 /* RSA-8192 */

void token_public_clear(struct token_public *p)
{
    bytes_clear(&p->modulus);
    bytes_clear(&p->exponent);
    bytes_clear(&p->ec_params);
    bytes_clear(&p->ec_point);
    *p = (struct token_public){0};
}

int token_public_read(struct token_session *s, CK_OBJECT_HANDLE object, struct token_public *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes type = {0};
    bool rsa;
    int r;

    token_public_clear(out);
    r = token_session_get(s, object, CKA_KEY_TYPE, &type, errp);
    if (r != 0 || type.len != sizeof(out->type))
        return r < 0 ? -1 : 0;
    memcpy(&out->type, type.data, sizeof(out->type));
    rsa = out->type == CKK_RSA;
    r = token_session_get(s, object, rsa ? CKA_MODULUS : CKA_EC_PARAMS, rsa ? &out->modulus : &out->ec_params, errp);
    if (r == 0)
        r = token_session_get(
            s, object, rsa ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT, rsa ? &out->exponent : &out->ec_point, errp);
    if (r < 0)
        return -1;
    out->found = r == 0 && (rsa ? out->modulus.len && out->exponent.len : out->ec_params.len && out->ec_point.len);
    return 0;
}

static EVP_PKEY *from_builder(const char *algorithm, OSSL_PARAM_BLD *builder)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
    EVP_PKEY *made = NULL;

    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_PUBLIC_KEY, params) != 1)
        made = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return made;
}

static EVP_PKEY *build_rsa(const struct token_public *p)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(p->modulus.data, (int)p->modulus.len, NULL);
    BIGNUM *e = BN_bin2bn(p->exponent.data, (int)p->exponent.len, NULL);
    EVP_PKEY *made = NULL;

    if (builder && n && e && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        made = from_builder("RSA", builder);
    BN_free(n);
    BN_free(e);
    OSSL_PARAM_BLD_free(builder);
    return made;
}

static const char *curve_of(const struct bytes *ec_params)
{
    static const struct {
        const char *oid;
        size_t len;
        const char *curve;
    } curves[] = {
#define X(id, name, algorithm, bits, curve, oid) {oid, sizeof(oid) - 1, curve},
        KEY_KINDS(X)
#undef X
    };

    for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
        if (curves[i].curve && curves[i].len == ec_params->len &&
            memcmp(curves[i].oid, ec_params->data, ec_params->len) == 0)
            return curves[i].curve;
    return NULL;
}

/* PKCS#11 wants the point in an OCTET STRING; some modules leave that out. */
static void unwrap_point(const struct bytes *wrapped, struct bytes *point)
{
    const unsigned char *p = wrapped->data;
    ASN1_OCTET_STRING *octets = d2i_ASN1_OCTET_STRING(NULL, &p, (long)wrapped->len);

    if (octets && p == wrapped->data + wrapped->len)
        bytes_set(point, ASN1_STRING_get0_data(octets), (size_t)ASN1_STRING_length(octets));
    else
        bytes_set(point, wrapped->data, wrapped->len);
    ASN1_OCTET_STRING_free(octets);
}

static EVP_PKEY *build_ec(const struct token_public *p)
{
    CLEANUP(bytes_clear) struct bytes point = {0};
    const char *curve = curve_of(&p->ec_params);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *made = NULL;

    unwrap_point(&p->ec_point, &point);
    if (builder && curve && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len) == 1)
        made = from_builder("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    return made;
}

int token_public_build(const struct token_public *p, EVP_PKEY **out, struct err **errp)
{
    EVP_PKEY *made = NULL;

    if (p->type == CKK_RSA && p->modulus.len <= MAX_RSA_BYTES && p->exponent.len <= MAX_RSA_BYTES)
        made = build_rsa(p);
    else if (p->type == CKK_EC)
        made = build_ec(p);
    if (!made)
        return err_set(errp, ERR_INVALID, "the token describes the public key in a way that is no RSA or EC key");
    *out = made;
    return 0;
}
