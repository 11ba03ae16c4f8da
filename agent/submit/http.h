/* http.h - one HTTPS exchange. */
#pragma once

#include "agent/key/key.h"
#include "protocol/base/bytes.h"
#include "protocol/base/err.h"
#include "protocol/base/opt.h"

#define HTTP_MAX_URL          2048
#define HTTP_DEFAULT_LIMIT_MS 30000 /* for all of an exchange, from the name look-up to the last byte */

/* Where a URL leads. Only https, without user name and password in it. */
struct http_url {
    char *text;    /* owned; blanks and other characters that a URL cannot have are escaped */
    char *host;    /* owned; lower case, an IPv6 address in its brackets */
    uint16_t port; /* 443 where none was written */
};
/* Return 0 and *url, or -1 with ERR_INVALID. */
int http_url_parse(const char *text, struct http_url *url, struct err **errp);
void http_url_clear(struct http_url *url);

/* Who we are in the TLS handshake. All borrowed. */
struct http_identity {
    const struct bytes *certificate; /* DER */
    const struct bytes *chain;       /* PEM, sent after it; may be empty */
    struct key *key;
};

/* One POST of a SOAP 1.2 message. All borrowed. */
struct http_request {
    const char *url;
    const struct bytes *anchors;          /* PEM: the only trust */
    const struct http_identity *identity; /* NULL: no client certificate */
    const struct bytes *body;
    size_t answer_limit; /* bytes; a longer answer is an error */
    long limit_ms;       /* 0: HTTP_DEFAULT_LIMIT_MS */
    bool *sent;          /* set when @body has left in part or whole; NULL: nobody asks */
};
struct http_answer {
    long status;
    char *content_type;         /* owned; "" where none came */
    char *location;             /* owned; where a redirect wanted to lead, not followed; NULL where none came */
    struct opt_time date;       /* the server's clock */
    struct opt_u32 retry_after; /* seconds from now; of a date, by the server's own clock where it told it */
    struct bytes body;
};
void http_answer_clear(struct http_answer *answer);

/*
 * Connects, makes sure of the server (name, chain to @anchors, serverAuth), posts, and reads the answer whatever its
 * status is. TLS 1.2 at least, HTTP/1.1, no redirect followed, no proxy, a connection of its own for each exchange, so
 * that no identity leaks into another. The clock that certificates are checked with is the machine's.
 *
 * Returns 0 with *answer filled, or -1: ERR_NETWORK, ERR_TIMEOUT, ERR_TLS (the server is not who it should be, or no
 * handshake came about), ERR_AUTH (our certificate was refused), ERR_PROTOCOL (answer over the limit), ERR_CONFIG
 * (@anchors), ERR_INVALID (@url), ERR_TOKEN (our key could not sign). Each with a hint.
 */
int http_post(const struct http_request *request, struct http_answer *answer, struct err **errp);
