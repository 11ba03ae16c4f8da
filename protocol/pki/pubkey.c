#include "protocol/pki/pubkey.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

#define RSA_LEAST_BITS 2048

DEFINE_FREEP(X509_PUBKEY, X509_PUBKEY_free)

static X509_PUBKEY *read_spki(const void *der, size_t len, struct err **errp)
{
    return der_read(ASN1_ITEM_rptr(X509_PUBKEY), der, len, "a public key", errp);
}

/* The parameters of an EC key, when they name a curve. Returns owned, or NULL. */
static char *named_curve(const X509_ALGOR *algorithm)
{
    const void *value = NULL;
    int type = V_ASN1_UNDEF;

    X509_ALGOR_get0(NULL, &type, &value, algorithm);
    return type == V_ASN1_OBJECT ? oid_from_asn1(value) : NULL;
}

static int read_facts(const X509_PUBKEY *spki, struct pubkey *facts, struct err **errp)
{
    const unsigned char *bits = NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    ASN1_OBJECT *object = NULL;
    X509_ALGOR *algorithm = NULL;
    const EVP_PKEY *key;
    unsigned digest_len;
    int bits_len;

    if (!X509_PUBKEY_get0_param(&object, &bits, &bits_len, &algorithm, spki))
        return err_set(errp, ERR_INVALID, "a public key without content");
    facts->algorithm = der_oid(object, errp);
    if (!facts->algorithm)
        return -1;
    if (!EVP_Digest(bits, (size_t)bits_len, digest, &digest_len, EVP_sha1(), NULL))
        return der_fail(errp, ERR_INTERNAL, "hashing a public key");
    bytes_set(&facts->key_id, digest, digest_len);
    key = X509_PUBKEY_get0(spki);
    ERR_clear_error();
    if (key) {
        facts->bits = (unsigned)EVP_PKEY_get_bits(key);
        if (oid_is(facts->algorithm, OID_RSA))
            facts->type = PUBKEY_RSA;
        if (oid_is(facts->algorithm, OID_EC)) {
            facts->type = PUBKEY_EC;
            facts->curve = named_curve(algorithm);
        }
    }
    return 0;
}

int pubkey_from_spki(const X509_PUBKEY *spki, struct pubkey *out, struct err **errp)
{
    CLEANUP(pubkey_clear) struct pubkey found = {0};

    if (der_write(spki, ASN1_ITEM_rptr(X509_PUBKEY), &found.spki, errp) < 0 || read_facts(spki, &found, errp) < 0)
        return -1;
    *out = found;
    found = (struct pubkey){0};
    return 0;
}

int pubkey_parse(const void *der, size_t len, struct pubkey *out, struct err **errp)
{
    CLEANUP(X509_PUBKEY_freep) X509_PUBKEY *spki = read_spki(der, len, errp);
    CLEANUP(pubkey_clear) struct pubkey found = {0};

    if (!spki || read_facts(spki, &found, errp) < 0)
        return -1;
    bytes_set(&found.spki, der, len);
    *out = found;
    found = (struct pubkey){0};
    return 0;
}

int pubkey_from_evp(EVP_PKEY *key, struct pubkey *out, struct err **errp)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    int r;

    if (len <= 0)
        return der_fail(errp, ERR_INTERNAL, "taking the public half of a key");
    r = pubkey_parse(der, (size_t)len, out, errp);
    OPENSSL_free(der);
    return r;
}

EVP_PKEY *pubkey_load(const struct bytes *spki, struct err **errp)
{
    CLEANUP(X509_PUBKEY_freep) X509_PUBKEY *parsed = read_spki(spki->data, spki->len, errp);
    EVP_PKEY *key = parsed ? X509_PUBKEY_get(parsed) : NULL;

    if (parsed && !key && der_fail(errp, ERR_INVALID, "loading a public key") < 0 && errp)
        err_set_code(*errp, NTE_BAD_KEY);
    return key;
}

bool pubkey_equal(const struct bytes *spki_a, const struct bytes *spki_b)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *a = NULL;
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *b = NULL;
    bool same;

    if (spki_a->len && bytes_equal(spki_a, spki_b))
        return true;
    a = pubkey_load(spki_a, NULL);
    b = pubkey_load(spki_b, NULL);
    same = a && b && EVP_PKEY_eq(a, b) == 1;
    ERR_clear_error();
    return same;
}

char *pubkey_describe(const struct pubkey *key)
{
    switch (key->type) {
    case PUBKEY_RSA:
        return mem_printf("RSA %u", key->bits);
    case PUBKEY_EC:
        return mem_printf("EC %s", key->curve ? oid_name(key->curve) : "with explicit parameters");
    case PUBKEY_OTHER:
        break;
    }
    return mem_printf("%s %u", key->algorithm ? oid_name(key->algorithm) : "no key", key->bits);
}

int pubkey_strength_check(const struct pubkey *key, struct err **errp)
{
    static const char *const curves[] = {OID_P256, OID_P384, OID_P521};
    CLEANUP(mem_freep) char *text = pubkey_describe(key);

    if (key->type == PUBKEY_RSA && key->bits >= RSA_LEAST_BITS)
        return 0;
    for (size_t i = 0; key->type == PUBKEY_EC && i < ARRAY_SIZE(curves); i++)
        if (oid_is(key->curve, curves[i]))
            return 0;
    err_set(errp, ERR_UNTRUSTED, "the key is %s, which is not RSA of %d bits or more, P-256, P-384 or P-521", text,
        RSA_LEAST_BITS);
    return err_hint(errp, "use a template whose keys are at least RSA %d or P-256", RSA_LEAST_BITS);
}

void pubkey_clear(struct pubkey *key)
{
    free(key->curve);
    free(key->algorithm);
    bytes_clear(&key->spki);
    bytes_clear(&key->key_id);
    *key = (struct pubkey){0};
}
