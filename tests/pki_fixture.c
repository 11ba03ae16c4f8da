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
