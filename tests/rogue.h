/* rogue.h - a CA and an HTTPS server of the tests' own, which do wrong when told to. */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <sys/types.h>

#include "protocol/pki/cert.h"

/* A CA with a P-256 key. Lives as long as the test's process. */
struct rogue_ca {
    EVP_PKEY *key;
    struct cert *cert;
};
struct rogue_ca *rogue_ca_new(const char *common_name, const struct rogue_ca *issuer); /* NULL: signs itself */
/* Writes @ca's certificate as PEM; returns the path, owned. */
char *rogue_ca_pem(const struct rogue_ca *ca, const char *dir, const char *name);

EVP_PKEY *rogue_key(const char *kind); /* "P-256", "RSA-2048", "RSA-1024"; lives as long as the process */

/* What to put into a certificate. {0} with a key is a client certificate for a day. */
struct rogue_cert {
    const char *subject; /* RFC 4514; NULL: CN=client */
    EVP_PKEY *key;       /* its public half; or */
    const struct bytes *spki;
    const char *san;  /* as in openssl.cnf, "DNS:localhost"; NULL: none */
    const char *ekus; /* as in openssl.cnf, "clientAuth,1.2.3"; NULL: clientAuth; "": none */
    int64_t from, to; /* seconds from now; 0, 0: an hour ago to a day from now */
    const char *hash; /* NULL: SHA256 */
    bool ca;
    const char *template_oid; /* extension 1.3.6.1.4.1.311.21.7, version 100.0; NULL: none */
};
/* Lives as long as the process. */
const struct cert *rogue_issue(const struct rogue_ca *ca, const struct rogue_cert *what);

/* How an answer is sent. */
enum rogue_manner {
    ROGUE_PROPER,
    ROGUE_SILENT, /* the request is read, and nothing ever said */
    ROGUE_DRIP,   /* a byte a second */
    ROGUE_CUT,    /* half of it, then the end */
};

/* Makes the whole HTTP answer for a request; runs in the server's process. */
typedef void rogue_answer(const struct bytes *body, struct bytes *http, void *arg);

/* What the server has seen; in memory that both processes share. */
struct rogue_seen {
    unsigned connections; /* TCP, also those whose handshake failed */
    unsigned requests;    /* read to their end */
    size_t last_len;      /* of the last body; cut to what fits */
    char last[1u << 16];
};
struct rogue_server {
    const struct rogue_ca *ca; /* issues the server's certificate, unless @cert */
    const struct cert *cert;   /* NULL: one for localhost, serverAuth */
    EVP_PKEY *key;             /* of @cert */
    enum rogue_manner manner;
    rogue_answer *answer; /* NULL: 204 and nothing */
    void *arg;
    uint16_t port;           /* out */
    pid_t pid;               /* out */
    struct rogue_seen *seen; /* out */
};
/* Listens on a free port of the loopback address; ends with the test's process, after a minute at the latest. */
void rogue_start(struct rogue_server *server);
char *rogue_url(const struct rogue_server *server, const char *path); /* https://localhost:PORT/PATH; returns owned */

/* Appends a whole HTTP answer with @status and @body. */
void rogue_http(struct bytes *http, const char *status, const char *more_headers, const struct bytes *body);
