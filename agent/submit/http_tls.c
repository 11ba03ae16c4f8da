#include "agent/submit/http_tls.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "protocol/base/when.h"
#include "protocol/pki/cert.h"
#include "protocol/pki/oid.h"

static int session_index(void)
{
    static int index = -1;

    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return index;
}

static bool is_address(const char *host)
{
    size_t n = strlen(host);

    return *host == '[' || (n && strspn(host, "0123456789.") == n);
}

static bool host_matches(X509 *leaf, const char *host)
{
    CLEANUP(mem_freep) char *address = NULL;

    if (!is_address(host))
        return X509_check_host(leaf, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
    address = *host == '[' ? mem_strndup(host + 1, strlen(host) - 2) : mem_strdup(host);
    return X509_check_ip_asc(leaf, address, 0) == 1;
}

/* "ces.example, 192.0.2.7", or the subject where there is no alternative name. Returns owned. */
static char *names_of(const struct cert *cert)
{
    CLEANUP(strlist_clear) struct strlist names = {0};

    for (size_t i = 0; i < cert->san.n; i++)
        if (cert->san.items[i].type == SAN_DNS || cert->san.items[i].type == SAN_IP)
            strlist_add(&names, cert->san.items[i].value);
    if (!names.n)
        strlist_add(&names, *cert->subject ? cert->subject : "nobody");
    return strlist_join(&names, ", ");
}

static int check_server(const struct cert *leaf, X509 *x509, const char *host, struct err **errp)
{
    CLEANUP(mem_freep) char *names = NULL;

    if (!host_matches(x509, host)) {
        names = names_of(leaf);
        err_set(errp, ERR_TLS, "TLS: the server's certificate is for %s, not for %s", names, host);
        return err_hint(
            errp, "use the host name that the certificate carries, or have its administrator issue one for %s", host);
    }
    if (!cert_has_eku(leaf, OID_EKU_SERVER_AUTH)) {
        err_set(errp, ERR_TLS, "TLS: the certificate of %s (%s) is not for server authentication (no serverAuth, %s)",
            host, leaf->subject, OID_EKU_SERVER_AUTH);
        return err_hint(errp, "its administrator must give the service a certificate with the extended key usage "
                              "serverAuth; a certificate for another purpose proves nothing about a server");
    }
    return 0;
}

/* The chain did not verify: which certificate, and what is wrong with it, in plain words. */
static int explain_chain(X509_STORE_CTX *store, const struct cert *leaf, struct err **errp)
{
    CLEANUP(cert_freep) struct cert *at = NULL;
    CLEANUP(mem_freep) char *date = NULL;
    X509 *current = X509_STORE_CTX_get_current_cert(store);
    int code = X509_STORE_CTX_get_error(store);
    const struct cert *who = current && cert_from_x509(current, &at, NULL) == 0 ? at : leaf;

    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        date = when_format(who->not_after);
        err_set(errp, ERR_TLS, "TLS: certificate expired on %s (%s)", date, who->subject);
        return err_hint(errp, "if this machine's clock is right, the administrator of the server must renew it");
    case X509_V_ERR_CERT_NOT_YET_VALID:
        date = when_format(who->not_before);
        err_set(errp, ERR_TLS, "TLS: certificate not valid before %s (%s)", date, who->subject);
        return err_hint(errp, "check this machine's clock first, then the server's");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        err_set(errp, ERR_TLS, "TLS: issued by an unknown CA: %s", who->issuer);
        return err_hint(errp, "if that CA is the right one, put its root certificate into the file named by ca-file; "
                              "if it is not, something answers in the server's place");
    case X509_V_ERR_INVALID_PURPOSE:
        err_set(errp, ERR_TLS, "TLS: the certificate %s is not for server authentication (no serverAuth, %s)",
            who->subject, OID_EKU_SERVER_AUTH);
        return err_hint(errp, "its administrator must give the service a certificate with the extended key usage "
                              "serverAuth");
    default:
        err_set(errp, ERR_TLS, "TLS: %s (%s)", X509_verify_cert_error_string(code), who->subject);
        return err_hint(errp, "compare the server's certificate and its chain with the CA named by ca-file");
    }
}

/* OpenSSL's own verification first, then what it leaves to us. 1 accepts. */
static int verify_server(X509_STORE_CTX *store, void *arg)
{
    struct http_tls *session = arg;
    CLEANUP(cert_freep) struct cert *leaf = NULL;
    X509 *x509 = X509_STORE_CTX_get0_cert(store);
    int ok = X509_verify_cert(store);

    if (!x509 || cert_from_x509(x509, &leaf, &session->failure) < 0) {
        err_wrap(&session->failure, "TLS: reading the server's certificate");
        err_hint(&session->failure, "the server must present a certificate that follows RFC 5280");
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    if (ok != 1) {
        explain_chain(store, leaf, &session->failure);
        return 0;
    }
    if (check_server(leaf, x509, session->host, &session->failure) < 0) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    return 1;
}

static void note_alert(const SSL *ssl, int where, int value)
{
    struct http_tls *session = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), session_index());

    if (where == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL)
        session->alert = value & 0xff;
}

static int use_identity(const struct http_identity *identity, SSL_CTX *ctx, struct err **errp)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;
    CLEANUP(cert_list_clear) struct cert_list chain = {0};

    if (cert_parse(identity->certificate->data, identity->certificate->len, &cert, errp) < 0)
        return err_wrap(errp, "reading our own certificate");
    if (identity->chain && identity->chain->len &&
        cert_list_from_pem(bytes_text(identity->chain), identity->chain->len, &chain, errp) < 0)
        return err_wrap(errp, "reading the chain of our own certificate");
    if (SSL_CTX_use_certificate(ctx, cert->x509) != 1 || SSL_CTX_use_PrivateKey(ctx, key_evp(identity->key)) != 1) {
        err_set(errp, ERR_TOKEN, "TLS: our certificate and its key do not go together");
        return err_hint(
            errp, "the key in the token is not that of the certificate %s; look at the token", cert->subject);
    }
    for (size_t i = 0; i < chain.n; i++)
        if (!cert_is_self_issued(chain.items[i]) && SSL_CTX_add1_chain_cert(ctx, chain.items[i]->x509) != 1)
            return err_set(errp, ERR_INTERNAL, "TLS: OpenSSL does not take our chain");
    return 0;
}

int http_tls_prepare(struct http_tls *session, void *ssl_ctx)
{
    SSL_CTX *ctx = ssl_ctx;

    SSL_CTX_set_ex_data(ctx, session_index(), session);
    SSL_CTX_set_info_callback(ctx, note_alert);
    SSL_CTX_set_cert_verify_callback(ctx, verify_server, session);
    return session->identity ? use_identity(session->identity, ctx, &session->failure) : 0;
}

/* The alerts that are about our certificate, RFC 8446 section 6.2. */
static bool is_about_our_certificate(int alert)
{
    static const int about[] = {SSL_AD_BAD_CERTIFICATE, SSL_AD_UNSUPPORTED_CERTIFICATE, SSL_AD_CERTIFICATE_REVOKED,
        SSL_AD_CERTIFICATE_EXPIRED, SSL_AD_CERTIFICATE_UNKNOWN, SSL_AD_UNKNOWN_CA, SSL_AD_ACCESS_DENIED,
        SSL_AD_CERTIFICATE_REQUIRED};

    for (size_t i = 0; i < ARRAY_SIZE(about); i++)
        if (about[i] == alert)
            return true;
    return false;
}

bool http_tls_explain(struct http_tls *session, const char *where, struct err **errp)
{
    const char *alert = SSL_alert_desc_string_long(session->alert);

    if (session->failure) {
        if (errp && !*errp)
            *errp = TAKE(session->failure);
        err_wrap(errp, "%s", where);
        return true;
    }
    if (session->identity && key_failure(session->identity->key, errp)) {
        err_wrap(errp, "%s: TLS: signing with our key", where);
        return true;
    }
    if (!session->alert)
        return false;
    if (is_about_our_certificate(session->alert)) {
        err_set(errp, ERR_AUTH, "%s: TLS: the server %s (alert: %s)", where,
            session->identity ? "refused our certificate" : "wants a client certificate", alert);
        err_hint(errp, "%s",
            session->identity
                ? "the server must trust the CA that issued our certificate, and the certificate must be valid and "
                  "not revoked there"
                : "use this address with a certificate, or another address with another kind of authentication");
        return true;
    }
    err_set(errp, ERR_TLS, "%s: TLS: the server ended the handshake (alert: %s)", where, alert);
    err_hint(errp, "the server must speak TLS 1.2 or 1.3 with the usual algorithms; look into its log");
    return true;
}

void http_tls_clear(struct http_tls *session)
{
    err_free(session->failure);
    *session = (struct http_tls){0};
}
