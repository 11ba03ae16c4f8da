#include "server-ref/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <unistd.h>

#include "protocol/base/when.h"
#include "protocol/pki/der.h"
#include "server-ref/file.h"

struct web {
    struct server server;
    struct event_base *base;
    struct evhttp *http;
    SSL_CTX *tls;
    int deadline_index; /* of the ex data of an SSL */
    uint64_t requests;
};

static int tls_failed(const char *doing, struct err **errp)
{
    char text[256];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return err_set(errp, ERR_CONFIG, "%s: %s", doing, text);
}

/*
 * One connection may take so long for a request, however it dribbles: evhttp's own timeout starts anew with each
 * byte. The timer hangs on the SSL, which is freed exactly once, when the connection is.
 */
struct deadline {
    struct event *timer;
    struct bufferevent *connection; /* borrowed, outlives this */
    struct timeval span;
};

static void deadline_free(void *parent __attribute__((unused)), void *ptr, CRYPTO_EX_DATA *data __attribute__((unused)),
    int index __attribute__((unused)), long argl __attribute__((unused)), void *argp __attribute__((unused)))
{
    struct deadline *deadline = ptr;

    if (!deadline)
        return;
    event_free(deadline->timer);
    free(deadline);
}

static void on_deadline(evutil_socket_t fd __attribute__((unused)), short what __attribute__((unused)), void *arg)
{
    struct deadline *deadline = arg;

    shutdown(bufferevent_getfd(deadline->connection), SHUT_RDWR);
}

static struct deadline *deadline_of(const struct web *web, struct evhttp_request *http)
{
    struct bufferevent *connection = evhttp_connection_get_bufferevent(evhttp_request_get_connection(http));

    return SSL_get_ex_data(bufferevent_openssl_get_ssl(connection), web->deadline_index);
}

static void on_complete(struct evhttp_request *http, void *arg)
{
    struct deadline *deadline = deadline_of(arg, http);

    event_add(deadline->timer, &deadline->span);
}

static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    struct web *web = arg;
    struct deadline *deadline = mem_alloc(sizeof(*deadline));
    SSL *ssl = SSL_new(web->tls);
    struct bufferevent *connection =
        ssl ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE) : NULL;

    if (!connection) {
        free(deadline);
        return NULL;
    }
    bufferevent_openssl_set_allow_dirty_shutdown(connection, 1);
    deadline->connection = connection;
    deadline->span.tv_sec = web->server.config->limits.deadline;
    deadline->timer = evtimer_new(base, on_deadline, deadline);
    SSL_set_ex_data(ssl, web->deadline_index, deadline);
    event_add(deadline->timer, &deadline->span);
    return connection;
}

/* Any certificate passes the handshake: the service judges it, so that a refusal has a name. */
static int accept_any(int verified __attribute__((unused)), X509_STORE_CTX *context __attribute__((unused)))
{
    return 1;
}

static int add_client_cas(SSL_CTX *tls, const struct ca *ca)
{
    for (size_t i = 0; i < ca->chain.n; i++)
        if (!SSL_CTX_add_client_CA(tls, ca->chain.items[i]->x509))
            return -1;
    return 0;
}

static int set_up_tls(struct web *web, struct err **errp)
{
    static const unsigned char session[] = "autoenroll-server-ref";
    const char *dir = web->server.config->dir;
    CLEANUP(mem_freep) char *certificate = mem_printf("%s/tls.pem", dir);
    CLEANUP(mem_freep) char *key = mem_printf("%s/tls.key", dir);

    web->tls = SSL_CTX_new(TLS_server_method());
    if (!web->tls || !SSL_CTX_set_min_proto_version(web->tls, TLS1_2_VERSION))
        return tls_failed("setting up TLS", errp);
    if (SSL_CTX_use_certificate_chain_file(web->tls, certificate) != 1)
        return tls_failed(certificate, errp);
    if (SSL_CTX_use_PrivateKey_file(web->tls, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(web->tls) != 1)
        return tls_failed(key, errp);
    SSL_CTX_set_verify(web->tls, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, accept_any);
    SSL_CTX_set_options(web->tls, SSL_OP_NO_RENEGOTIATION);
    if (SSL_CTX_set_session_id_context(web->tls, session, sizeof(session) - 1) != 1 ||
        add_client_cas(web->tls, web->server.ca) < 0)
        return tls_failed("setting up client certificates", errp);
    web->deadline_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, deadline_free);
    return web->deadline_index < 0 ? tls_failed("setting up TLS", errp) : 0;
}

static void reply(struct evhttp_request *http, int status, struct evbuffer *body)
{
    evhttp_send_reply(http, status, NULL, body);
}

/* Refuses without SOAP, and ends the connection: what follows on it cannot be trusted to be a request. */
static void refuse(struct evhttp_request *http, int status)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(http);

    evhttp_add_header(headers, "Connection", "close");
    if (status == 405)
        evhttp_add_header(headers, "Allow", "POST");
    reply(http, status, NULL);
}

static size_t count_headers(struct evhttp_request *http, const char *name)
{
    const struct evkeyval *header;
    size_t n = 0;

    TAILQ_FOREACH(header, evhttp_request_get_input_headers(http), next)
    n += strcasecmp(header->key, name) == 0;
    return n;
}

static bool is_soap(struct evhttp_request *http)
{
    const char *type = evhttp_find_header(evhttp_request_get_input_headers(http), "Content-Type");
    size_t len = strlen(SOAP_MEDIA_TYPE);

    return type && strncasecmp(type, SOAP_MEDIA_TYPE, len) == 0 && strchr("; \t", type[len]);
}

/* Check 1 of [MS-WSTEP notes] 6.1. Returns 0, or the status to refuse with. */
static int check_http(struct web *web, struct evhttp_request *http, const struct service **service)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;

    if (count_headers(http, "Content-Length") > 1 || count_headers(http, "Host") > 1)
        return 400;
    *service = path ? server_find(&web->server, path) : NULL;
    if (!*service)
        return 404;
    if (evhttp_request_get_command(http) != EVHTTP_REQ_POST)
        return 405;
    return is_soap(http) ? 0 : 415;
}

/* The client certificate of the connection as DER; @out stays empty when there is none. */
static void find_peer(struct evhttp_request *http, struct bytes *out)
{
    struct bufferevent *connection = evhttp_connection_get_bufferevent(evhttp_request_get_connection(http));
    CLEANUP(X509_freep) X509 *peer = SSL_get1_peer_certificate(bufferevent_openssl_get_ssl(connection));
    unsigned char *der = NULL;
    int len = peer ? i2d_X509(peer, &der) : 0;

    if (len > 0)
        bytes_set(out, der, (size_t)len);
    OPENSSL_free(der);
}

/* An answer that waits for its moment. */
struct delayed {
    struct evhttp_request *http;
    struct event *timer;
    int status;
    struct evbuffer *body;
};

static void delayed_free(struct delayed *delayed)
{
    event_free(delayed->timer);
    evbuffer_free(delayed->body);
    free(delayed);
}

static void on_delayed(evutil_socket_t fd __attribute__((unused)), short what __attribute__((unused)), void *arg)
{
    struct delayed *delayed = arg;

    evhttp_connection_set_closecb(evhttp_request_get_connection(delayed->http), NULL, NULL);
    reply(delayed->http, delayed->status, delayed->body);
    delayed_free(delayed);
}

static void on_gone(struct evhttp_connection *connection __attribute__((unused)), void *arg)
{
    delayed_free(arg);
}

/* Takes @body. */
static void send_later(struct web *web, struct evhttp_request *http, int status, struct evbuffer *body, int64_t seconds)
{
    struct delayed *delayed = mem_alloc(sizeof(*delayed));
    struct timeval span = {.tv_sec = seconds};

    *delayed = (struct delayed){.http = http, .status = status, .body = body};
    delayed->timer = evtimer_new(web->base, on_delayed, delayed);
    evhttp_connection_set_closecb(evhttp_request_get_connection(http), on_gone, delayed);
    event_add(delayed->timer, &span);
}

static void hang_up(struct evhttp_request *http)
{
    struct bufferevent *connection = evhttp_connection_get_bufferevent(evhttp_request_get_connection(http));

    shutdown(bufferevent_getfd(connection), SHUT_RDWR);
    refuse(http, 500);
}

/* Changes the text of an answer as [misbehave] wants it. */
static void spoil(const struct misbehave *misbehave, struct evbuffer *body)
{
    static const char doctype[] = "<!DOCTYPE x [<!ENTITY e \"boo\">]>\n";
    static const char garbage[] = "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body></s:Header>";

    if (misbehave->malformed) {
        evbuffer_drain(body, evbuffer_get_length(body));
        evbuffer_add(body, garbage, sizeof(garbage) - 1);
    }
    if (misbehave->doctype)
        evbuffer_prepend(body, doctype, sizeof(doctype) - 1);
    for (size_t len = evbuffer_get_length(body); len < misbehave->oversize; len++)
        evbuffer_add(body, " ", 1);
}

static void send_answer(
    struct web *web, struct evhttp_request *http, const struct server_answer *answer, const struct misbehave *misbehave)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(http);
    struct evbuffer *body = evbuffer_new();
    char length[24];

    evbuffer_add(body, bytes_text(&answer->body), answer->body.len);
    spoil(misbehave, body);
    snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
    evhttp_add_header(headers, "Content-Type", SOAP_MEDIA_TYPE "; charset=utf-8");
    evhttp_add_header(headers, "Content-Length", length);
    if (misbehave->cut_answer) {
        CLEANUP(bytes_clear) struct bytes half = {0};

        bytes_set(&half, evbuffer_pullup(body, -1), evbuffer_get_length(body) / 2);
        evbuffer_drain(body, evbuffer_get_length(body));
        evbuffer_add(body, half.data, half.len);
        evhttp_add_header(headers, "Connection", "close");
    }
    if (misbehave->slow) {
        send_later(web, http, answer->status, body, misbehave->slow);
        return;
    }
    reply(http, answer->status, body);
    evbuffer_free(body);
}

/* What [misbehave] does in place of the service. Returns whether it did. */
static bool misbehaves(struct evhttp_request *http, const struct misbehave *misbehave)
{
    if (misbehave->never_answer)
        return true;
    if (misbehave->redirect) {
        evhttp_add_header(evhttp_request_get_output_headers(http), "Location", misbehave->redirect);
        reply(http, 307, NULL);
        return true;
    }
    if (misbehave->status) {
        reply(http, (int)misbehave->status, NULL);
        return true;
    }
    return false;
}

static void answer_soap(struct web *web, struct evhttp_request *http, const struct service *service)
{
    const struct misbehave *misbehave = misbehave_turn(&web->server.config->misbehave, ++web->requests);
    struct evbuffer *input = evhttp_request_get_input_buffer(http);
    CLEANUP(bytes_clear) struct bytes peer = {0};
    CLEANUP(server_answer_clear) struct server_answer answer = {0};
    struct server_request request = {
        .body = evbuffer_pullup(input, -1),
        .len = evbuffer_get_length(input),
        .now = when_now(),
        .misbehave = misbehave,
    };

    if (misbehaves(http, misbehave))
        return;
    find_peer(http, &peer);
    request.peer = peer.len ? &peer : NULL;
    server_answer_request(&web->server, service, &request, &answer);
    if (answer.lost)
        hang_up(http);
    else
        send_answer(web, http, &answer, misbehave);
}

static void on_request(struct evhttp_request *http, void *arg)
{
    struct web *web = arg;
    struct deadline *deadline = deadline_of(web, http);
    const struct service *service = NULL;
    int status = check_http(web, http, &service);

    event_del(deadline->timer); /* it has all of the request; what follows is our time */
    evhttp_request_set_on_complete_cb(http, on_complete, web);
    if (status)
        refuse(http, status);
    else
        answer_soap(web, http, service);
}

static int bind_socket(const struct serve_options *options, struct err **errp)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(options->port)};
    bool is_v4 = inet_pton(AF_INET, options->address, &v4.sin_addr) == 1;
    const int on = 1;
    int fd;

    if (!is_v4 && inet_pton(AF_INET6, options->address, &v6.sin6_addr) != 1)
        return err_set(errp, ERR_USAGE, "'%s' is no IP address", options->address);
    fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(errp, ERR_NETWORK, "making a socket: %m");
    /* Accepted sockets inherit TCP_NODELAY; without it each answer waits 40 ms for the client's ACK. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if ((is_v4 ? bind(fd, (const struct sockaddr *)&v4, sizeof(v4))
               : bind(fd, (const struct sockaddr *)&v6, sizeof(v6))) == 0 &&
        listen(fd, SOMAXCONN) == 0)
        return fd;
    err_set(errp, ERR_NETWORK, "listening on %s port %u: %m", options->address, options->port);
    if (errno == EADDRINUSE)
        err_hint(errp, "another program has this port; choose one with --port, or 0 for any");
    close(fd);
    return -1;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);

    getsockname(fd, (struct sockaddr *)&address, &len);
    return ntohs(address.ss_family == AF_INET ? ((const struct sockaddr_in *)&address)->sin_port
                                              : ((const struct sockaddr_in6 *)&address)->sin6_port);
}

static int set_up_http(struct web *web, const struct serve_options *options, struct err **errp)
{
    const struct limits *limits = &web->server.config->limits;
    struct timeval idle = {.tv_sec = limits->idle};
    int fd;

    web->base = event_base_new();
    web->http = web->base ? evhttp_new(web->base) : NULL;
    if (!web->http)
        return err_set(errp, ERR_INTERNAL, "libevent does not start");
    evhttp_set_bevcb(web->http, on_connection, web);
    evhttp_set_gencb(web->http, on_request, web);
    evhttp_set_default_content_type(web->http, NULL);
    evhttp_set_allowed_methods(web->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                              EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(web->http, limits->header);
    evhttp_set_max_body_size(web->http, limits->body);
    evhttp_set_timeout_tv(web->http, &idle);
    fd = bind_socket(options, errp);
    if (fd < 0)
        return -1;
    web->server.port = port_of(fd);
    if (evhttp_accept_socket(web->http, fd) == 0)
        return 0;
    close(fd);
    return err_set(errp, ERR_INTERNAL, "libevent does not accept connections");
}

static void web_clear(struct web *web)
{
    if (web->http)
        evhttp_free(web->http);
    if (web->base)
        event_base_free(web->base);
    SSL_CTX_free(web->tls);
}

static int write_number(const char *dir, const char *name, long number, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);
    CLEANUP(mem_freep) char *text = mem_printf("%ld\n", number);

    return file_store(path, text, strlen(text), 0644, errp);
}

static void remove_file(const char *dir, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);

    (void)unlink(path);
}

static void on_stop(evutil_socket_t fd __attribute__((unused)), short what __attribute__((unused)), void *arg)
{
    event_base_loopexit(arg, NULL);
}

static void eventp(struct event **event)
{
    if (*event)
        event_free(*event);
}

static int run(struct web *web, const struct serve_options *options, struct err **errp)
{
    const struct config *config = web->server.config;
    CLEANUP(eventp) struct event *term = evsignal_new(web->base, SIGTERM, on_stop, web->base);
    CLEANUP(eventp) struct event *interrupt = evsignal_new(web->base, SIGINT, on_stop, web->base);
    struct timeval span = {.tv_sec = options->exit_after};

    event_add(term, NULL);
    event_add(interrupt, NULL);
    if (options->exit_after)
        event_base_once(web->base, -1, EV_TIMEOUT, on_stop, web->base, &span);
    if (write_number(config->dir, "port", web->server.port, errp) < 0 ||
        write_number(config->dir, "pid", getpid(), errp) < 0)
        return -1;
    printf("READY https://%s:%u\n", config->host, web->server.port);
    fflush(stdout);
    event_base_dispatch(web->base);
    remove_file(config->dir, "port");
    remove_file(config->dir, "pid");
    return 0;
}

int serve(const char *dir, const struct serve_options *options, struct err **errp)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(ca_freep) struct ca *ca = NULL;
    CLEANUP(auth_freep) struct auth *auth = NULL;
    CLEANUP(web_clear) struct web web = {0};

    if (config_load(dir, &config, errp) < 0 || store_open(dir, false, &store, errp) < 0 ||
        ca_open(config, store, &ca, errp) < 0)
        return -1;
    auth = auth_new(errp);
    if (!auth)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    web.server = (struct server){.config = config, .store = store, .ca = ca, .auth = auth, .started = when_now()};
    if (set_up_tls(&web, errp) < 0 || set_up_http(&web, options, errp) < 0)
        return -1;
    return run(&web, options, errp);
}
