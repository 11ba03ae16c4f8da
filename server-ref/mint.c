#include "server-ref/mint.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

#define SERIAL_BYTES 16

DEFINE_FREEP(ASN1_INTEGER, ASN1_INTEGER_free)
DEFINE_FREEP(ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)
DEFINE_FREEP(BIGNUM, BN_free)

static const struct {
    const char *kind;
    unsigned bits;     /* RSA */
    const char *curve; /* EC */
} kinds[] = {
    {"rsa1024", 1024, NULL},
    {"rsa2048", 2048, NULL},
    {"rsa3072", 3072, NULL},
    {"rsa4096", 4096, NULL},
    {"p256", 0, "P-256"},
    {"p384", 0, "P-384"},
    {"p521", 0, "P-521"},
};

EVP_PKEY *mint_key(const char *kind, struct err **errp)
{
    EVP_PKEY *key;

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].kind, kind) != 0)
            continue;
        key = kinds[i].curve ? EVP_EC_gen(kinds[i].curve) : EVP_RSA_gen(kinds[i].bits);
        if (!key)
            der_fail(errp, ERR_INTERNAL, "making a key");
        return key;
    }
    err_set(errp, ERR_USAGE, "'%s' is no kind of key", kind);
    err_hint(errp, "the kinds are rsa2048, rsa3072, rsa4096, p256, p384 and p521");
    return NULL;
}

const char *mint_hash(EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);

    if (!EVP_PKEY_is_a(key, "EC") || bits <= 256)
        return "SHA256";
    return bits <= 384 ? "SHA384" : "SHA512";
}

/* Positive, and always of the same length. */
static int set_serial(X509 *x509)
{
    unsigned char random[SERIAL_BYTES];
    CLEANUP(BN_freep) BIGNUM *number = NULL;
    CLEANUP(ASN1_INTEGER_freep) ASN1_INTEGER *serial = NULL;

    if (RAND_bytes(random, sizeof(random)) != 1)
        return 0;
    random[0] = (unsigned char)((random[0] & 0x3f) | 0x40);
    number = BN_bin2bn(random, sizeof(random), NULL);
    serial = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
    return serial && X509_set_serialNumber(x509, serial);
}

static int set_name(X509 *x509, const struct bytes *der, int (*put)(X509 *, const X509_NAME *))
{
    const unsigned char *at = der->data;
    CLEANUP(X509_NAME_freep) X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)der->len);

    return name && at == der->data + der->len && put(x509, name);
}

static int set_times(X509 *x509, int64_t not_before, int64_t not_after)
{
    return ASN1_TIME_set(X509_getm_notBefore(x509), not_before) && ASN1_TIME_set(X509_getm_notAfter(x509), not_after);
}

static int add_extension(X509 *x509, const char *oid, bool critical, const struct bytes *value)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = oid_to_asn1(oid);
    CLEANUP(ASN1_OCTET_STRING_freep) ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;
    int r;

    if (!object || !octets || !ASN1_OCTET_STRING_set(octets, value->data, (int)value->len))
        return 0;
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, octets);
    r = extension && X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
    return r;
}

/* SEQUENCE { [0] keyIdentifier }, both short enough for one byte of length. */
static void write_authority_key_id(const struct bytes *id, struct bytes *out)
{
    uint8_t der[4 + 64] = {0x30, (uint8_t)(id->len + 2), 0x80, (uint8_t)id->len};

    memcpy(der + 4, id->data, id->len);
    bytes_set(out, der, id->len + 4);
}

static int add_key_ids(X509 *x509, const struct pubkey *own, const struct bytes *issuer_id, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes subject = {0};
    CLEANUP(bytes_clear) struct bytes authority = {0};

    if (msext_octets_write(own->key_id.data, own->key_id.len, &subject, errp) < 0)
        return -1;
    if (issuer_id->len == 0 || issuer_id->len > 64)
        return err_set(errp, ERR_INTERNAL, "the issuer has no usable key identifier");
    write_authority_key_id(issuer_id, &authority);
    if (!add_extension(x509, OID_SUBJECT_KEY_ID, false, &subject) ||
        !add_extension(x509, OID_AUTHORITY_KEY_ID, false, &authority))
        return der_fail(errp, ERR_INTERNAL, "adding key identifiers");
    return 0;
}

static int fill(X509 *x509, const struct mint_spec *spec, const struct cert *issuer, struct err **errp)
{
    const struct bytes *issuer_name = issuer ? &issuer->subject_der : spec->subject;
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = pubkey_load(spec->spki, errp);
    CLEANUP(pubkey_clear) struct pubkey own = {0};

    if (!key || pubkey_parse(spec->spki->data, spec->spki->len, &own, errp) < 0)
        return -1;
    if (!X509_set_version(x509, X509_VERSION_3) || !set_serial(x509) ||
        !set_name(x509, spec->subject, X509_set_subject_name) || !set_name(x509, issuer_name, X509_set_issuer_name) ||
        !set_times(x509, spec->not_before, spec->not_after) || !X509_set_pubkey(x509, key))
        return der_fail(errp, ERR_INTERNAL, "filling in a certificate");
    if (add_key_ids(x509, &own, issuer ? &issuer->ski : &own.key_id, errp) < 0)
        return -1;
    for (size_t i = 0; i < spec->extensions->n; i++) {
        const struct csr_extension *extension = &spec->extensions->items[i];

        if (!add_extension(x509, extension->oid, extension->critical, &extension->value))
            return der_fail(errp, ERR_INTERNAL, "adding an extension");
    }
    return 0;
}

int mint_certificate(
    const struct mint_spec *spec, const struct cert *issuer, EVP_PKEY *key, struct cert **out, struct err **errp)
{
    CLEANUP(X509_freep) X509 *x509 = X509_new();
    const char *hash = spec->hash ? spec->hash : mint_hash(key);

    if (!x509)
        return der_fail(errp, ERR_INTERNAL, "making a certificate");
    if (fill(x509, spec, issuer, errp) < 0)
        return -1;
    if (!X509_sign(x509, key, EVP_get_digestbyname(hash)))
        return der_fail(errp, ERR_INTERNAL, "signing a certificate");
    return cert_from_x509(x509, out, errp);
}

int mint_common_name(const char *common_name, struct bytes *der, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (bytes_append_text(&text, "CN=", errp) < 0)
        return -1;
    for (const char *at = common_name; *at; at++)
        if ((strchr(",+\"\\<>;=# ", *at) && bytes_append_text(&text, "\\", errp) < 0) ||
            bytes_append(&text, at, 1, errp) < 0)
            return -1;
    return name_parse(bytes_text(&text), der, errp);
}

int mint_add_key_usage(struct csr_extensions *list, uint32_t bits, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (msext_key_usage_write(bits, &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_KEY_USAGE, true, &value);
    return 0;
}

int mint_add_eku(struct csr_extensions *list, const struct strlist *oids, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (msext_eku_write(oids, &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_EXTENDED_KEY_USAGE, false, &value);
    return 0;
}

int mint_add_san(struct csr_extensions *list, const struct san_list *san, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (san_encode(san, &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_SUBJECT_ALT_NAME, false, &value);
    return 0;
}

static void add_constraints(struct csr_extensions *list, const uint8_t *der, size_t len)
{
    CLEANUP(bytes_clear) struct bytes value = {0};

    bytes_set(&value, der, len);
    csr_extensions_add(list, OID_BASIC_CONSTRAINTS, true, &value);
}

void mint_add_ca(struct csr_extensions *list, bool intermediates)
{
    static const uint8_t any[] = {0x30, 0x03, 0x01, 0x01, 0xff};
    static const uint8_t last[] = {0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00};

    if (intermediates)
        add_constraints(list, any, sizeof(any));
    else
        add_constraints(list, last, sizeof(last));
}

void mint_add_end_entity(struct csr_extensions *list)
{
    static const uint8_t none[] = {0x30, 0x00};

    add_constraints(list, none, sizeof(none));
}
