/* server_client.h - a client of the reference server that can do everything right, or one thing wrong. */
#pragma once

#include <openssl/evp.h>

#include "protocol/pki/cert.h"
#include "protocol/pki/csr.h"
#include "protocol/pki/der.h"
#include "protocol/wstep/wstep.h"
#include "protocol/xcep/xcep.h"
#include "server-ref/config.h"
#include "tests/server_fixture.h"
#include "tests/testing.h"

/* A certificate and its key. Both owned by whoever declared it; CLEANUP(identity_clear). */
struct identity {
    struct cert *cert;
    EVP_PKEY *key;
};
void identity_clear(struct identity *identity);

/* A server and what a test says about it. Filled by client_start, freed by client_clear. */
struct client {
    struct server_fixture *server; /* owned by the fixture */
    struct config *config;         /* owned; for the OIDs of templates */
    int64_t certificates;          /* how many there were at client_mark */
    const char *password;          /* NULL: SERVER_FIXTURE_PASSWORD */
    const char *user;              /* NULL: SERVER_FIXTURE_USER */
    int64_t clock_offset;          /* seconds that our Timestamp is off */
    const struct identity *tls;    /* client certificate of connections; NULL: none */
    bool tls_1_2;                  /* offers nothing newer */
    const char *action;            /* NULL: the right one */
    const char *to;                /* NULL: the address posted to */
};
void client_start(struct client *client, const char *init);
void client_clear(struct client *client); /* and ends the server, which must end well */
/* Stops the server, makes it read server.conf again, starts it on the same port. */
void client_restart(struct client *client);
/* Reads server.conf again. */
void client_reload(struct client *client);
/* What client_assert_no_certificate compares with. */
void client_mark(struct client *client);
void client_assert_no_certificate(struct client *client);

/* What came back. Everything owned; CLEANUP(reply_clear). */
struct reply {
    long status; /* 0: the connection ended without an answer */
    struct bytes body;
    struct soap_message *message; /* NULL: it is no SOAP */
    struct wstep_response wstep;  /* of an answer with status 200 to client_submit and client_query */
};
void reply_clear(struct reply *reply);

/* Posts @body as it is. */
void client_post(struct client *client, const char *url, const void *body, size_t len, struct reply *reply);
/*
 * A connection of its own for what no HTTP client would send. client_raw_write gives false when the server has ended
 * it; client_raw_read gives all that comes until it does so.
 */
struct raw;
struct raw *client_raw_open(struct client *client);
bool client_raw_write(struct raw *raw, const void *data, size_t len);
void client_raw_read(struct raw *raw, struct bytes *out);
void client_raw_close(struct raw *raw);
DEFINE_FREEP(struct raw, client_raw_close)

/* The envelope that client_request would post. @out may hold a password: bytes_wipe it. */
void client_write(struct client *client, const char *url, const struct wstep_request *request, struct bytes *out);
/* Replaces every @from in a text by @to; the test fails when there is none. */
void client_replace(struct bytes *text, const char *from, const char *to);
/* Signs in as the client says and sends a RST. Fails the test only when the message cannot be written. */
void client_request(struct client *client, const char *url, const struct wstep_request *request, struct reply *reply);
/* Issue of @payload with the outcome read. */
void client_submit(struct client *client, const char *url, const struct bytes *payload, struct reply *reply);
void client_query(struct client *client, const char *url, const char *id, struct reply *reply);
/* GetPolicies, with everything visible. */
void client_policy(struct client *client, const char *url, struct reply *reply, struct xcep_response *response);

/* Fails unless @reply is this fault. @hresult 0: no detail. */
#define assert_fault(reply, status, code, subcode, hresult)                                                            \
    client_assert_fault((reply), (status), (code), SOAP_SUBCODE_##subcode, (hresult), __FILE__, __LINE__)
void client_assert_fault(const struct reply *reply, long status, enum soap_fault_code code, enum soap_subcode subcode,
    uint32_t hresult, const char *file, int line);
/* Fails unless @reply holds an issued certificate. */
#define assert_issued(reply)  client_assert_outcome((reply), WSTEP_ISSUED, __FILE__, __LINE__)
#define assert_pending(reply) client_assert_outcome((reply), WSTEP_PENDING, __FILE__, __LINE__)
void client_assert_outcome(const struct reply *reply, enum wstep_outcome outcome, const char *file, int line);

/* What a request asks for; what is NULL is left out. */
struct ask {
    const char *template_name; /* extension 1.3.6.1.4.1.311.20.2 */
    const char *template_oid;  /* extension 1.3.6.1.4.1.311.21.7: of the template of this name */
    uint32_t major;            /* with it; 0: the template's own */
    const char *subject;
    const char *dns;
    const struct cert *old; /* renewal attribute */
    const char *hash;       /* NULL: SHA256 */
};
/* A PKCS#10 by @key. */
void client_csr(struct client *client, const struct ask *ask, EVP_PKEY *key, struct bytes *der);
/* A renewal as CMC, and as CMS around PKCS#10. */
void client_renewal(const struct bytes *csr, EVP_PKEY *key, const struct identity *old, struct bytes *der);
void client_cms_renewal(const struct bytes *csr, const struct identity *old, struct bytes *der);
/* A CMC request for something new. */
void client_cmc(const struct bytes *csr, EVP_PKEY *key, struct bytes *der);

EVP_PKEY *client_key(const char *kind); /* as mint_key; returns owned */
/* Enrolls with the password for @template (DeviceEC is the fastest); fails the test unless it is issued. */
void client_enroll(struct client *client, const char *template, const char *subject, struct identity *out);
/*
 * A certificate for @template with these dates, signed with the CA's own key but not by the CA: it is not in its
 * database until somebody imports it.
 */
void client_forge(struct client *client, const char *template, const char *subject, int64_t not_before,
    int64_t not_after, struct identity *out);
/* Imports a certificate for the fixture's user. */
void client_import(struct client *client, const struct cert *cert);
/* A self-signed certificate with everything of @like but its key and signature. */
void client_lookalike(const struct cert *like, struct identity *out);
