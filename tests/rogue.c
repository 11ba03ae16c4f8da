#include "tests/rogue.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/pki/msext.h"
#include "protocol/pki/name.h"
#include "protocol/pki/oid.h"
#include "tests/testing.h"

#define LIVES_SECONDS 90

/* What lives as long as the process stays reachable, or it would count as lost. */
static void *kept[256];
static size_t n_kept;

static void *keep(void *thing)
{
    assert_true(n_kept < ARRAY_SIZE(kept));
    return kept[n_kept++] = thing;
}

EVP_PKEY *rogue_key(const char *kind)
{
    unsigned bits = 0;

    if (sscanf(kind, "RSA-%u", &bits) == 1)
        return keep(EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits));
    return keep(EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind));
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void add_template(X509 *cert, const char *oid)
{
    struct template_info info = {.oid = mem_strdup(oid), .major = {true, 100}, .minor = {true, 0}};
    CLEANUP(bytes_clear) struct bytes der = {0};
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OBJECT *object = oid_to_asn1(OID_TEMPLATE_INFO);
    X509_EXTENSION *extension;

    assert_int_equal(msext_template_info_write(&info, &der, NULL), 0);
    ASN1_OCTET_STRING_set(value, der.data, (int)der.len);
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, 0, value);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
    ASN1_OBJECT_free(object);
    ASN1_OCTET_STRING_free(value);
    template_info_clear(&info);
}

static void set_subject(X509 *cert, const char *text)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    const uint8_t *at;
    X509_NAME *name;

    assert_int_equal(name_parse(text, &der, NULL), 0);
    at = der.data;
    name = d2i_X509_NAME(NULL, &at, (long)der.len);
    assert_int_equal(X509_set_subject_name(cert, name), 1);
    X509_NAME_free(name);
}

static void set_key(X509 *cert, EVP_PKEY *key, const struct bytes *spki)
{
    EVP_PKEY *public_key = key;

    if (spki)
        public_key = pubkey_load(spki, NULL);
    assert_non_null(public_key);
    assert_int_equal(X509_set_pubkey(cert, public_key), 1);
    if (spki)
        EVP_PKEY_free(public_key);
}

static struct cert *sign(X509 *cert, EVP_PKEY *key, const char *hash)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct cert *out = NULL;

    assert_true(X509_sign(cert, key, EVP_get_digestbyname(hash ? hash : "SHA256")) > 0);
    assert_ok(cert_from_x509(cert, &out, &err) == 0, err);
    X509_free(cert);
    return out;
}

static X509 *new_cert(const char *subject, int64_t from, int64_t to)
{
    X509 *cert = X509_new();
    BIGNUM *number = BN_new();

    assert_true(BN_rand(number, 62, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1);
    X509_set_version(cert, X509_VERSION_3);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    X509_gmtime_adj(X509_getm_notBefore(cert), (long)from);
    X509_gmtime_adj(X509_getm_notAfter(cert), (long)to);
    set_subject(cert, subject);
    return cert;
}

struct rogue_ca *rogue_ca_new(const char *common_name, const struct rogue_ca *issuer)
{
    struct rogue_ca *ca = keep(mem_alloc(sizeof(*ca)));
    CLEANUP(mem_freep) char *subject = mem_printf("CN=%s", common_name);
    X509 *cert = new_cert(subject, -86400, 864000);

    ca->key = rogue_key("P-256");
    set_key(cert, ca->key, NULL);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer->cert->x509) : X509_get_subject_name(cert));
    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature");
    add_extension(cert, cert, NID_subject_key_identifier, "hash");
    ca->cert = sign(cert, issuer ? issuer->key : ca->key, NULL);
    return ca;
}

char *rogue_ca_pem(const struct rogue_ca *ca, const char *dir, const char *name)
{
    CLEANUP(bytes_clear) struct bytes pem = {0};
    char *path = mem_printf("%s/%s", dir, name);

    assert_int_equal(cert_to_pem(ca->cert, &pem, NULL), 0);
    testing_write(path, pem.data, pem.len);
    return path;
}

const struct cert *rogue_issue(const struct rogue_ca *ca, const struct rogue_cert *what)
{
    X509 *cert = new_cert(what->subject ? what->subject : "CN=client", what->from || what->to ? what->from : -3600,
        what->from || what->to ? what->to : 86400);

    set_key(cert, what->key, what->spki);
    X509_set_issuer_name(cert, X509_get_subject_name(ca->cert->x509));
    if (what->ca)
        add_extension(cert, ca->cert->x509, NID_basic_constraints, "critical,CA:TRUE");
    if (!what->ekus || *what->ekus)
        add_extension(cert, ca->cert->x509, NID_ext_key_usage, what->ekus ? what->ekus : "clientAuth");
    if (what->san)
        add_extension(cert, ca->cert->x509, NID_subject_alt_name, what->san);
    if (what->template_oid)
        add_template(cert, what->template_oid);
    return keep(sign(cert, ca->key, what->hash));
}

/* --- the server; all of this runs in a process of its own --- */

/* Reads a request to its end; false when the peer went away. */
static bool read_request(SSL *ssl, struct bytes *body)
{
    CLEANUP(bytes_clear) struct bytes all = {0};
    char buffer[4096];
    size_t want = SIZE_MAX;

    while (all.len < want) {
        int n = SSL_read(ssl, buffer, sizeof(buffer));
        const char *end;
        const char *length;

        if (n <= 0 || bytes_append(&all, buffer, (size_t)n, NULL) < 0)
            return false;
        end = strstr(bytes_text(&all), "\r\n\r\n");
        length = strcasestr(bytes_text(&all), "\r\nContent-Length:");
        if (end && length)
            want = (size_t)(end + 4 - bytes_text(&all)) + strtoul(length + 17, NULL, 10);
    }
    bytes_set(body, strstr(bytes_text(&all), "\r\n\r\n") + 4,
        all.len - (size_t)(strstr(bytes_text(&all), "\r\n\r\n") + 4 - bytes_text(&all)));
    return true;
}

static void send_answer(const struct rogue_server *server, SSL *ssl, const struct bytes *http)
{
    switch (server->manner) {
    case ROGUE_PROPER:
        for (size_t sent = 0; sent < http->len;) {
            int n = SSL_write(ssl, http->data + sent, (int)(http->len - sent));

            if (n <= 0)
                return;
            sent += (size_t)n;
        }
        break;
    case ROGUE_SILENT:
        pause();
        break;
    case ROGUE_DRIP:
        for (size_t i = 0; i < http->len && SSL_write(ssl, http->data + i, 1) == 1; i++)
            sleep(1);
        break;
    case ROGUE_CUT:
        (void)SSL_write(ssl, http->data, (int)(http->len / 2));
        break;
    }
}

static void serve_one(const struct rogue_server *server, SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);
    CLEANUP(bytes_clear) struct bytes body = {0};
    CLEANUP(bytes_clear) struct bytes http = {0};

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && read_request(ssl, &body)) {
        struct rogue_seen *seen = server->seen;

        seen->last_len = body.len < sizeof(seen->last) ? body.len : sizeof(seen->last);
        memcpy(seen->last, body.data, seen->last_len);
        seen->requests++;
        if (server->answer)
            server->answer(&body, &http, server->arg);
        else
            rogue_http(&http, "204 No Content", "", NULL);
        send_answer(server, ssl, &http);
        if (server->manner != ROGUE_CUT)
            (void)SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    (void)close(fd);
}

static void serve(const struct rogue_server *server, const struct cert *cert, EVP_PKEY *key, int listener)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(LIVES_SECONDS);
    SSL_CTX_set_security_level(ctx, 0);
    if (SSL_CTX_use_certificate(ctx, cert->x509) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        _exit(1);
    if (server->ca)
        SSL_CTX_add1_chain_cert(ctx, server->ca->cert->x509);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            _exit(1);
        server->seen->connections++;
        serve_one(server, ctx, fd);
    }
}

static pid_t started[64];
static size_t n_started;

static void stop_all(void)
{
    for (size_t i = 0; i < n_started; i++)
        (void)kill(started[i], SIGKILL);
}

void rogue_start(struct rogue_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EVP_PKEY *key = server->cert ? server->key : rogue_key("P-256");
    const struct rogue_cert usual = {
        .subject = "CN=localhost", .key = key, .san = "DNS:localhost", .ekus = "serverAuth"};
    const struct cert *cert = server->cert ? server->cert : rogue_issue(server->ca, &usual);

    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    server->port = ntohs(address.sin_port);
    server->seen = mmap(NULL, sizeof(*server->seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(server->seen != MAP_FAILED);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        serve(server, cert, key, listener);
        _exit(0);
    }
    (void)close(listener);
    assert_true(n_started < ARRAY_SIZE(started));
    started[n_started++] = server->pid;
    if (n_started == 1)
        atexit(stop_all);
}

char *rogue_url(const struct rogue_server *server, const char *path)
{
    return mem_printf("https://localhost:%u/%s", server->port, path);
}

void rogue_http(struct bytes *http, const char *status, const char *more_headers, const struct bytes *body)
{
    size_t len = body ? body->len : 0;

    assert_int_equal(bytes_printf(http, NULL,
                         "HTTP/1.1 %s\r\nContent-Type: application/soap+xml; charset=utf-8\r\n%sContent-Length: "
                         "%zu\r\n\r\n",
                         status, more_headers, len),
        0);
    if (len)
        assert_int_equal(bytes_append(http, body->data, len, NULL), 0);
}
