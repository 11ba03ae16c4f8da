#include "tests/pki_fixture.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "protocol/pki/msext.h"
#include "protocol/pki/oid.h"
#include "tests/testing.h"

EVP_PKEY *pki_key(const char *kind)
{
    EVP_PKEY *key =
        strncmp(kind, "RSA", 3) == 0 ? EVP_RSA_gen(kind[3] ? (unsigned)atoi(kind + 4) : 2048) : EVP_EC_gen(kind);

    assert_non_null(key);
    return key;
}

static void set_name(X509 *x509, const char *subject, bool issuer)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(bytes_clear) struct bytes der = {0};
    const unsigned char *at;
    X509_NAME *name;

    assert_ok(name_parse(subject ? subject : "", &der, &err) == 0, err);
    at = der.data;
    name = d2i_X509_NAME(NULL, &at, (long)der.len);
    assert_non_null(name);
    assert_true(issuer ? X509_set_issuer_name(x509, name) : X509_set_subject_name(x509, name));
    X509_NAME_free(name);
}

static void add_extension(X509 *x509, const char *oid, bool critical, const struct bytes *value)
{
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    ASN1_OBJECT *object = oid_to_asn1(oid);
    X509_EXTENSION *extension;

    assert_non_null(object);
    assert_true(ASN1_OCTET_STRING_set(octets, value->data, (int)value->len));
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, octets);
    assert_true(X509_add_ext(x509, extension, -1));
    X509_EXTENSION_free(extension);
    ASN1_OBJECT_free(object);
    ASN1_OCTET_STRING_free(octets);
}

static void add_ca_extensions(X509 *x509)
{
    static const uint8_t constraints[] = {0x30, 0x03, 0x01, 0x01, 0xff};
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(bytes_clear) struct bytes usage = {0};

    bytes_set(&value, constraints, sizeof(constraints));
    add_extension(x509, OID_BASIC_CONSTRAINTS, true, &value);
    assert_int_equal(msext_key_usage_write(KU_KEY_CERT_SIGN | KU_CRL_SIGN, &usage, NULL), 0);
    add_extension(x509, OID_KEY_USAGE, true, &usage);
}

struct cert *pki_cert(const struct pki_cert_spec *spec)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct cert *cert = NULL;
    X509 *x509 = X509_new();
    EVP_PKEY *signer = spec->issuer_key ? spec->issuer_key : spec->key;
    int64_t from = spec->not_before ? spec->not_before : PKI_NOW - 5 * 86400;
    int64_t until = spec->not_after ? spec->not_after : PKI_NOW + 5 * 86400;

    assert_non_null(x509);
    assert_true(X509_set_version(x509, X509_VERSION_3));
    assert_true(ASN1_INTEGER_set(X509_get_serialNumber(x509), spec->serial ? spec->serial : 1));
    set_name(x509, spec->subject, false);
    set_name(x509, spec->issuer ? spec->issuer->subject : spec->subject, true);
    assert_true(ASN1_TIME_set(X509_getm_notBefore(x509), from) && ASN1_TIME_set(X509_getm_notAfter(x509), until));
    assert_true(X509_set_pubkey(x509, spec->key));
    if (spec->ca)
        add_ca_extensions(x509);
    for (size_t i = 0; i < spec->n_extensions; i++)
        add_extension(x509, spec->extensions[i].oid, spec->extensions[i].critical, &spec->extensions[i].value);
    assert_true(X509_sign(x509, signer, EVP_get_digestbyname(spec->hash ? spec->hash : "SHA256")) > 0);
    assert_ok(cert_from_x509(x509, &cert, &err) == 0, err);
    X509_free(x509);
    return cert;
}

void pki_csr(EVP_PKEY *key, const char *subject, const struct cert *old, struct bytes *der)
{
    const struct client_info info = {.machine = (char[]){"linux01.contoso.test"},
        .user = (char[]){"CONTOSO\\LINUX01$"},
        .process = (char[]){"autoenroll"}};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(csr_spec_clear) struct csr_spec spec = {.hash = "SHA256"};
    CLEANUP(bytes_clear) struct bytes template = {0};
    CLEANUP(bytes_clear) struct bytes client = {0};

    assert_ok(name_parse(subject, &spec.subject, &err) == 0, err);
    assert_ok(msext_template_name_write("Machine", &template, &err) == 0, err);
    csr_extensions_add(&spec.extensions, OID_TEMPLATE_NAME, false, &template);
    assert_ok(msext_client_info_write(&info, &client, &err) == 0, err);
    csr_attributes_add(&spec.attributes, OID_CLIENT_INFO, &client);
    if (old)
        csr_attributes_add(&spec.attributes, OID_RENEWAL_CERTIFICATE, &old->der);
    assert_ok(csr_build(&spec, key, der, &err) == 0, err);
}

void pki_put(struct bytes *out, uint8_t tag, const void *content, size_t len)
{
    uint8_t header[4] = {tag, 0x82, (uint8_t)(len >> 8), (uint8_t)len};

    if (len < 128) {
        header[1] = (uint8_t)len;
        assert_int_equal(bytes_append(out, header, 2, NULL), 0);
    } else if (len < 256) {
        header[1] = 0x81;
        header[2] = (uint8_t)len;
        assert_int_equal(bytes_append(out, header, 3, NULL), 0);
    } else {
        assert_int_equal(bytes_append(out, header, 4, NULL), 0);
    }
    assert_int_equal(bytes_append(out, content, len, NULL), 0);
}

void pki_raw_csr(EVP_PKEY *key, const char *const *attributes, size_t n, bool null_hash, struct bytes *out)
{
    static const uint8_t ecdsa[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
    static const uint8_t sha256[] = {0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01};
    CLEANUP(bytes_clear) struct bytes all = {0};
    CLEANUP(bytes_clear) struct bytes info = {0};
    CLEANUP(bytes_clear) struct bytes body = {0};
    CLEANUP(pubkey_clear) struct pubkey pubkey = {0};
    uint8_t signature[1 + 256] = {0};
    size_t len = sizeof(signature) - 1;
    unsigned digest_len;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    for (size_t i = 0; i < n; i++) {
        CLEANUP(bytes_clear) struct bytes one = {0};

        pki_hex(attributes[i], &one);
        assert_int_equal(bytes_append(&all, one.data, one.len, NULL), 0);
    }
    assert_int_equal(pubkey_from_evp(key, &pubkey, NULL), 0);
    assert_int_equal(bytes_append(&body, "\x02\x01\x00\x30\x00", 5, NULL), 0);
    assert_int_equal(bytes_append(&body, pubkey.spki.data, pubkey.spki.len, NULL), 0);
    pki_put(&body, 0xa0, all.data, all.len);
    pki_put(&info, 0x30, body.data, body.len);
    if (null_hash) {
        assert_true(EVP_Digest(info.data, info.len, signature + 1, &digest_len, EVP_sha256(), NULL));
        len = digest_len;
    } else {
        assert_true(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) > 0);
        assert_true(EVP_DigestSign(ctx, signature + 1, &len, info.data, info.len) > 0);
    }
    EVP_MD_CTX_free(ctx);
    if (null_hash)
        assert_int_equal(bytes_append(&info, sha256, sizeof(sha256), NULL), 0);
    else
        assert_int_equal(bytes_append(&info, ecdsa, sizeof(ecdsa), NULL), 0);
    pki_put(&info, 0x03, signature, len + 1);
    pki_put(out, 0x30, info.data, info.len);
}

void pki_write_key(EVP_PKEY *key, const char *path)
{
    BIO *bio = BIO_new_file(path, "w");

    assert_non_null(bio);
    assert_true(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    BIO_free(bio);
}

void pki_write_cert(const struct cert *cert, const char *path)
{
    CLEANUP(bytes_clear) struct bytes pem = {0};

    assert_int_equal(cert_to_pem(cert, &pem, NULL), 0);
    testing_write(path, pem.data, pem.len);
}

void pki_hex(const char *hex, struct bytes *out)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *solid = mem_alloc(strlen(hex) + 1);
    char *at = solid;

    for (; *hex; hex++)
        if (!strchr(" \n", *hex))
            *at++ = *hex;
    assert_ok(bytes_from_hex(out, solid, 1u << 20, &err) == 0, err);
}

void pki_assert_hex(const struct bytes *der, const char *hex)
{
    CLEANUP(bytes_clear) struct bytes expected = {0};
    CLEANUP(mem_freep) char *is = bytes_to_hex(der->data, der->len);
    CLEANUP(mem_freep) char *should = NULL;

    pki_hex(hex, &expected);
    should = bytes_to_hex(expected.data, expected.len);
    assert_string_equal(is, should);
}
