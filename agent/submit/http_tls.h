/* http_tls.h - who the server must be, and who we are, in the TLS handshake of http. */
#pragma once

#include "agent/submit/http.h"

/* What one handshake needs, and what it found. Plain; http fills the first two. */
struct http_tls {
    const char *host;                     /* borrowed; as in struct http_url */
    const struct http_identity *identity; /* borrowed; NULL: none */
    struct err *failure;                  /* owned; why the server was not accepted, or our key not usable */
    int alert;                            /* the fatal alert that came from the server, or 0 */
};

/*
 * Sets up an SSL_CTX of libcurl's: our certificate and key, and a verification that looks at chain, name, dates and
 * serverAuth before anything of ours is shown to the server. 0, or -1 with session->failure.
 *
 * @session  borrowed until the connection is closed
 */
int http_tls_prepare(struct http_tls *session, void *ssl_ctx);

/* When the handshake says why the exchange failed, moves that to *errp with a hint and returns true. */
bool http_tls_explain(struct http_tls *session, const char *where, struct err **errp);

void http_tls_clear(struct http_tls *session);
