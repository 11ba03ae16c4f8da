#include "tests/key_uses.h"

#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>

#include "tests/testing.h"

#define SUBJECT "key under test"

/* Fails with what OpenSSL says. */
#define openssl_ok(expression)                                                                                         \
    do {                                                                                                               \
        if (!(expression)) {                                                                                           \
            char text_[256];                                                                                           \
            ERR_error_string_n(ERR_peek_error(), text_, sizeof(text_));                                                \
            fail_msg("%s: %s", #expression, text_);                                                                    \
        }                                                                                                              \
    } while (0)

static bool is_rsa(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "RSA");
}

/* The public half alone, in software. */
static EVP_PKEY *public_half(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    const unsigned char *p = der;
    EVP_PKEY *public = len > 0 ? d2i_PUBKEY(NULL, &p, len) : NULL;

    OPENSSL_free(der);
    openssl_ok(public != NULL);
    return public;
}

static void set_name(X509_NAME *name)
{
    openssl_ok(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)SUBJECT, -1, -1, 0) == 1);
}

X509 *key_uses_certificate(EVP_PKEY *key)
{
    X509 *x = X509_new();

    openssl_ok(X509_set_version(x, X509_VERSION_3) == 1);
    openssl_ok(ASN1_INTEGER_set(X509_get_serialNumber(x), 42) == 1);
    set_name(X509_get_subject_name(x));
    set_name(X509_get_issuer_name(x));
    openssl_ok(X509_gmtime_adj(X509_getm_notBefore(x), -86400) != NULL);
    openssl_ok(X509_gmtime_adj(X509_getm_notAfter(x), 86400) != NULL);
    openssl_ok(X509_set_pubkey(x, key) == 1);
    openssl_ok(X509_sign(x, key, EVP_sha256()) > 0);
    openssl_ok(X509_check_private_key(x, key) == 1);
    return x;
}

static void check_request(X509_REQ *request, EVP_PKEY *key, const char *dir)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/request.pem", dir);
    EVP_PKEY *public = public_half(key);
    FILE *f;

    openssl_ok(X509_REQ_verify(request, key) == 1);
    openssl_ok(X509_REQ_verify(request, public) == 1);
    EVP_PKEY_free(public);
    f = fopen(path, "we");
    assert_non_null(f);
    openssl_ok(PEM_write_X509_REQ(f, request) == 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(testing_shell(NULL, "openssl req -in '%s' -noout -verify 2>/dev/null", path), 0);
}

static void request_with(EVP_PKEY *key, const EVP_MD *md, bool pss, const char *dir)
{
    X509_REQ *request = X509_REQ_new();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;

    openssl_ok(X509_REQ_set_pubkey(request, key) == 1);
    set_name(X509_REQ_get_subject_name(request));
    openssl_ok(EVP_DigestSignInit(ctx, &pkey_ctx, md, NULL, key) == 1);
    if (pss) {
        openssl_ok(EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PSS_PADDING) == 1);
        openssl_ok(EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
    }
    openssl_ok(X509_REQ_sign_ctx(request, ctx) > 0);
    assert_int_equal(X509_REQ_get_signature_nid(request) == NID_rsassaPss, pss);
    check_request(request, key, dir);
    EVP_MD_CTX_free(ctx);
    X509_REQ_free(request);
}

void key_uses_requests(EVP_PKEY *key, const char *dir)
{
    const EVP_MD *const mds[] = {EVP_sha256(), EVP_sha384(), EVP_sha512()};

    for (size_t i = 0; i < ARRAY_SIZE(mds); i++) {
        request_with(key, mds[i], false, dir);
        if (is_rsa(key))
            request_with(key, mds[i], true, dir);
    }
}

static void cms_with(EVP_PKEY *key, bool pss, const char *dir)
{
    static const char text[] = "to be signed";
    CLEANUP(mem_freep) char *path = mem_printf("%s/signed.der", dir);
    CLEANUP(mem_freep) char *cert_path = mem_printf("%s/cert.pem", dir);
    CLEANUP(bytes_clear) struct bytes shown = {0};
    X509 *cert = key_uses_certificate(key);
    BIO *content = BIO_new_mem_buf(text, (int)strlen(text));
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
    CMS_SignerInfo *signer = CMS_add1_signer(cms, cert, key, EVP_sha256(), pss ? CMS_KEY_PARAM : 0);
    BIO *file;
    FILE *f;

    openssl_ok(signer != NULL);
    if (pss) {
        openssl_ok(EVP_PKEY_CTX_set_rsa_padding(CMS_SignerInfo_get0_pkey_ctx(signer), RSA_PKCS1_PSS_PADDING) == 1);
        openssl_ok(EVP_PKEY_CTX_set_rsa_pss_saltlen(CMS_SignerInfo_get0_pkey_ctx(signer), RSA_PSS_SALTLEN_DIGEST) == 1);
    }
    openssl_ok(CMS_final(cms, content, NULL, CMS_BINARY) == 1);
    file = BIO_new_file(path, "w");
    openssl_ok(file && i2d_CMS_bio(file, cms) == 1);
    BIO_free(file);
    f = fopen(cert_path, "we");
    openssl_ok(PEM_write_X509(f, cert) == 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(
        testing_shell(&shown, "openssl cms -verify -binary -inform DER -in '%s' -CAfile '%s' -purpose any 2>/dev/null",
            path, cert_path),
        0);
    assert_string_equal(bytes_text(&shown), text);
    CMS_ContentInfo_free(cms);
    BIO_free(content);
    X509_free(cert);
}

void key_uses_cms(EVP_PKEY *key, const char *dir)
{
    cms_with(key, false, dir);
    if (is_rsa(key))
        cms_with(key, true, dir);
}

static SSL_CTX *server_context(X509 *client, int version)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert = key_uses_certificate(key);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    openssl_ok(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
    openssl_ok(SSL_CTX_set_min_proto_version(ctx, version) == 1 && SSL_CTX_set_max_proto_version(ctx, version) == 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    openssl_ok(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), client) == 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

/* Both ends in turn, until neither has anything left to say. */
static void shake_hands(SSL *client, SSL *server)
{
    for (int i = 0; i < 20 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server)); i++) {
        int r = SSL_do_handshake(client);

        openssl_ok(r == 1 || SSL_get_error(client, r) == SSL_ERROR_WANT_READ);
        r = SSL_do_handshake(server);
        openssl_ok(r == 1 || SSL_get_error(server, r) == SSL_ERROR_WANT_READ);
    }
}

void key_uses_tls(EVP_PKEY *key, int version)
{
    X509 *cert = key_uses_certificate(key);
    SSL_CTX *server_ctx = server_context(cert, version);
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL *server, *client;
    BIO *server_bio, *client_bio;
    X509 *seen;

    openssl_ok(SSL_CTX_use_certificate(client_ctx, cert) == 1 && SSL_CTX_use_PrivateKey(client_ctx, key) == 1);
    openssl_ok(SSL_CTX_check_private_key(client_ctx) == 1);
    openssl_ok(BIO_new_bio_pair(&client_bio, 0, &server_bio, 0) == 1);
    server = SSL_new(server_ctx);
    client = SSL_new(client_ctx);
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(client, client_bio, client_bio);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    shake_hands(client, server);
    openssl_ok(SSL_is_init_finished(server) == 1);
    assert_int_equal(SSL_version(server), version);
    seen = SSL_get1_peer_certificate(server);
    assert_non_null(seen);
    assert_int_equal(X509_cmp(seen, cert), 0);
    assert_int_equal(SSL_get_verify_result(server), X509_V_OK);
    X509_free(seen);
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    X509_free(cert);
}

static bool verifies(EVP_PKEY *key, const void *text, size_t len, const uint8_t *signature, size_t signature_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, "SHA384", NULL, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(ctx, signature, signature_len, text, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* The caller hashes, we sign the digest. */
static void sign_digest(EVP_PKEY *key)
{
    static const uint8_t digest[32] = {1, 2, 3};
    uint8_t signature[1024];
    size_t len = sizeof(signature);
    EVP_PKEY *public = public_half(key);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    openssl_ok(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1);
    openssl_ok(EVP_PKEY_sign(ctx, signature, &len, digest, sizeof(digest)) == 1);
    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, public, NULL);
    openssl_ok(EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1);
    openssl_ok(EVP_PKEY_verify(ctx, signature, len, digest, sizeof(digest)) == 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(public);
}

void key_uses_signatures(EVP_PKEY *key)
{
    static const char text[] = "some text";
    uint8_t signature[1024];
    size_t len = sizeof(signature);
    EVP_PKEY *public = public_half(key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    openssl_ok(EVP_DigestSignInit_ex(ctx, NULL, "SHA384", NULL, NULL, key, NULL) == 1);
    openssl_ok(EVP_DigestSignUpdate(ctx, text, 4) == 1);
    openssl_ok(EVP_DigestSignUpdate(ctx, text + 4, sizeof(text) - 4) == 1);
    openssl_ok(EVP_DigestSignFinal(ctx, signature, &len) == 1);
    EVP_MD_CTX_free(ctx);
    assert_true(verifies(key, text, sizeof(text), signature, len));
    assert_true(verifies(public, text, sizeof(text), signature, len));
    signature[len / 2] ^= 1;
    assert_false(verifies(key, text, sizeof(text), signature, len));
    ERR_clear_error();
    EVP_PKEY_free(public);
    sign_digest(key);
}
