#include "agent/submit/peek.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/base/printable.h"

#define MAX_LINE  1000
#define MAX_LINES 100 /* of one answer before TLS begins */

DEFINE_FREEP(SSL, SSL_free)
DEFINE_FREEP(SSL_CTX, SSL_CTX_free)
DEFINE_FREEP(struct addrinfo, freeaddrinfo)

/* Said before TLS begins: what the service says first, then what is asked and answered, twice. */
struct prelude {
    const char *word, *greeting, *hello, *hello_answer, *start, *start_answer;
};
static const struct prelude preludes[] = {
#define X(name, word, greeting, hello, hello_answer, start, start_answer)                                              \
    {word, greeting, hello, hello_answer, start, start_answer},
    PEEK_PRELUDES(X)
#undef X
};

struct peek {
    const struct prelude *prelude; /* NULL: TLS from the first byte */
    char *host, *port;             /* owned */
    int fd;
    int64_t deadline; /* of the monotonic clock, ms */
    X509 *presented;  /* owned */
};

static void peek_clear(struct peek *peek)
{
    free(peek->host);
    free(peek->port);
    X509_free(peek->presented);
    if (peek->fd >= 0)
        (void)close(peek->fd);
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the target --- */

static int read_target(const char *target, struct peek *peek, struct err **errp)
{
    const char *rest = target, *colon, *end;

    for (size_t i = 0; i < ARRAY_SIZE(preludes); i++) {
        size_t len = strlen(preludes[i].word);

        if (strncmp(target, preludes[i].word, len) == 0 && target[len] == ':' && strchr(target + len + 1, ':')) {
            peek->prelude = &preludes[i];
            rest = target + len + 1;
        }
    }
    colon = strrchr(rest, ':');
    end = colon;
    if (*rest == '[' && colon && colon > rest && colon[-1] == ']') {
        rest++;
        end = colon - 1;
    } else if (colon && memchr(rest, ':', (size_t)(colon - rest))) {
        colon = NULL;
    }
    if (!colon || end == rest || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        err_set(errp, ERR_CONFIG, "'%s' is no address to look at", target);
        return err_hint(errp, "write HOST:PORT, as in localhost:443, or smtp:HOST:PORT");
    }
    peek->host = mem_strndup(rest, (size_t)(end - rest));
    peek->port = mem_strdup(colon + 1);
    return 0;
}

static bool is_address(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* --- the connection --- */

static int wait_for(const struct peek *peek, short events, struct err **errp)
{
    struct pollfd wait = {.fd = peek->fd, .events = events};

    for (;;) {
        int64_t left = peek->deadline - monotonic_ms();
        int r = poll(&wait, 1, left > 0 ? (int)left : 0);

        if (r > 0)
            return 0;
        if (r == 0)
            return err_set(errp, ERR_TIMEOUT, "nothing came in time");
        if (errno != EINTR)
            return err_set(errp, ERR_NETWORK, "waiting for the service: %m");
    }
}

static int connect_to(struct peek *peek, const struct addrinfo *to, struct err **errp)
{
    int failure = 0;
    socklen_t len = sizeof(failure);

    peek->fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
    if (peek->fd < 0)
        return err_set(errp, ERR_NETWORK, "making a socket: %m");
    if (connect(peek->fd, to->ai_addr, to->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return err_set(errp, ERR_NETWORK, "%m");
    if (wait_for(peek, POLLOUT, errp) < 0)
        return -1;
    if (getsockopt(peek->fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0 || failure)
        return err_set(errp, ERR_NETWORK, "%s", strerror(failure ? failure : errno));
    return 0;
}

static int open_connection(struct peek *peek, struct err **errp)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    CLEANUP(freeaddrinfop) struct addrinfo *all = NULL;
    CLEANUP(err_freep) struct err *last = NULL;
    int r = getaddrinfo(peek->host, peek->port, &hints, &all);

    if (r != 0)
        return err_set(errp, ERR_NETWORK, "'%s': %s", peek->host, gai_strerror(r));
    for (const struct addrinfo *to = all; to; to = to->ai_next) {
        err_free(TAKE(last));
        if (connect_to(peek, to, &last) == 0)
            return 0;
        if (peek->fd >= 0)
            (void)close(peek->fd);
        peek->fd = -1;
    }
    err_wrap(&last, "connecting");
    if (errp && !*errp)
        *errp = TAKE(last);
    return -1;
}

/* --- before TLS --- */

static int say(struct peek *peek, const char *text, struct err **errp)
{
    size_t len = strlen(text);

    if (wait_for(peek, POLLOUT, errp) < 0)
        return -1;
    if (send(peek->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
        return err_set(errp, ERR_NETWORK, "asking for TLS: the service does not listen");
    return 0;
}

/* Byte by byte: what follows the line belongs to TLS. */
static int read_line(struct peek *peek, char line[MAX_LINE + 1], struct err **errp)
{
    size_t len = 0;

    for (;;) {
        ssize_t n;

        if (wait_for(peek, POLLIN, errp) < 0)
            return -1;
        n = recv(peek->fd, line + len, 1, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return err_set(errp, ERR_NETWORK, "the service closed the connection before TLS began");
        if (line[len] == '\n')
            break;
        if (++len == MAX_LINE)
            return err_set(errp, ERR_NETWORK, "the service said a line that is too long before TLS began");
    }
    line[len] = 0;
    return 0;
}

/* Lines that go on ("250-...", "* ...") until the one that was hoped for: "250 ...", "a OK". */
static int expect(struct peek *peek, const char *hoped, struct err **errp)
{
    char line[MAX_LINE + 1];
    size_t len = strlen(hoped);
    CLEANUP(mem_freep) char *shown = NULL;

    for (int i = 0; i < MAX_LINES; i++) {
        if (read_line(peek, line, errp) < 0)
            return -1;
        if (strncmp(line, hoped, len) == 0 && line[len] != '-')
            return 0;
        if (strncmp(line, "* ", 2) != 0 && !(strlen(line) > 3 && line[3] == '-'))
            break;
    }
    shown = printable(line, strlen(line), 100);
    return err_set(errp, ERR_TLS, "the service does not begin TLS; it said '%s'", shown);
}

static int say_prelude(struct peek *peek, struct err **errp)
{
    const struct prelude *p = peek->prelude;

    if (!p)
        return 0;
    if (expect(peek, p->greeting, errp) < 0)
        return -1;
    if (p->hello && (say(peek, p->hello, errp) < 0 || expect(peek, p->hello_answer, errp) < 0))
        return -1;
    return say(peek, p->start, errp) < 0 ? -1 : expect(peek, p->start_answer, errp);
}

/* --- TLS --- */

/* Keeps what is presented. It is accepted, so that the service has nothing to complain of in its log. */
static int look(X509_STORE_CTX *store, void *arg)
{
    struct peek *peek = arg;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);

    if (leaf && !peek->presented && X509_up_ref(leaf))
        peek->presented = leaf;
    return 1;
}

static int shake_hands(struct peek *peek, SSL *ssl, struct err **errp)
{
    for (;;) {
        int r = SSL_connect(ssl);
        int why = SSL_get_error(ssl, r);
        unsigned long code;

        if (r == 1)
            return 0;
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
            if (wait_for(peek, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, errp) < 0)
                return err_wrap(errp, "in the TLS handshake");
            continue;
        }
        code = ERR_peek_last_error();
        return err_set(errp, ERR_TLS, "the TLS handshake failed: %s",
            code ? ERR_reason_error_string(code) : "the service closed the connection");
    }
}

/* A handshake that fails behind the certificate, such as for want of one of ours, has shown what we came for. */
static int see_certificate(struct peek *peek, SSL *ssl, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;
    int r = shake_hands(peek, ssl, &why);

    if (r == 0)
        (void)SSL_shutdown(ssl);
    ERR_clear_error();
    if (peek->presented)
        return 0;
    if (r == 0)
        return err_set(errp, ERR_TLS, "the service presented no certificate");
    if (errp && !*errp)
        *errp = TAKE(why);
    return -1;
}

static int do_tls(struct peek *peek, struct err **errp)
{
    CLEANUP(SSL_CTX_freep) SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CLEANUP(SSL_freep) SSL *ssl = NULL;

    if (!ctx)
        return err_set(errp, ERR_INTERNAL, "TLS cannot be set up");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, look, peek);
    SSL_CTX_set_security_level(ctx, 0); /* a weak certificate is to be seen, too */
    ssl = SSL_new(ctx);
    if (!ssl || SSL_set_fd(ssl, peek->fd) != 1)
        return err_set(errp, ERR_INTERNAL, "TLS cannot be set up");
    if (!is_address(peek->host) && SSL_set_tlsext_host_name(ssl, peek->host) != 1)
        return err_set(errp, ERR_CONFIG, "'%s' is no host name", peek->host);
    return see_certificate(peek, ssl, errp);
}

int peek_certificate(const char *target, int limit_ms, struct cert **out, struct err **errp)
{
    CLEANUP(peek_clear) struct peek peek = {.fd = -1, .deadline = monotonic_ms() + limit_ms};

    if (read_target(target, &peek, errp) < 0)
        return -1;
    if (open_connection(&peek, errp) < 0 || say_prelude(&peek, errp) < 0 || do_tls(&peek, errp) < 0)
        return err_wrap(errp, "%s", target);
    return cert_from_x509(peek.presented, out, errp);
}
