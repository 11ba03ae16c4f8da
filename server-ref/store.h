/* store.h - what the server must not lose: users, requests, certificates, exchange keys. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/bytes.h"

/* A search that found nothing: the positive outcome of the store_find_ functions. */
#define STORE_NONE 1

/*
 * One SQLite database in the server's directory. Several processes may have it open: each change that spans more than
 * one statement stands between store_begin and store_commit, and what was committed survives a power cut.
 */
struct store;

#define REQUEST_STATES(X)                                                                                              \
    X(PENDING, "pending")                                                                                              \
    X(ISSUED, "issued")                                                                                                \
    X(DENIED, "denied")                                                                                                \
    X(FAILED, "failed")

#define X(name, text) REQUEST_##name,
enum request_state { REQUEST_STATES(X) REQUEST__MAX };
#undef X

struct stored_request {
    int64_t id; /* 0 until it is in the database */
    enum request_state state;
    char *template_name;     /* owned; NULL when none could be found out */
    char *requester;         /* owned; the account */
    int64_t lineage;         /* of the certificate that is renewed; 0 for a new request */
    int64_t old_certificate; /* id of the certificate that is renewed; 0 for a new request */
    struct bytes payload;    /* as it came */
    char *attributes;        /* owned; "Name:Value" lines, never NULL */
    int64_t received;
    int64_t resolved; /* 0 while pending */
    uint32_t hresult; /* of a denied or failed one */
    char *message;    /* owned; the disposition, for a person */
};
void stored_request_clear(struct stored_request *request);

struct stored_request_list {
    struct stored_request *items;
    size_t n;
};
void stored_request_list_clear(struct stored_request_list *list);

struct stored_certificate {
    int64_t id;      /* 0 until it is in the database */
    int64_t request; /* 0 for one that was imported */
    char *serial;    /* owned; lower-case hexadecimal digits */
    struct bytes der;
    char *template_name; /* owned; NULL when unknown */
    char *requester;     /* owned */
    int64_t lineage;     /* id of the first certificate in a row of renewals; 0 when adding: itself */
    int64_t not_before;
    int64_t not_after;
    int64_t revoked; /* when; 0: it is not */
    uint32_t reason; /* CRLReason of RFC 5280 */
};
void stored_certificate_clear(struct stored_certificate *certificate);

struct stored_exchange {
    struct bytes certificate; /* DER */
    struct bytes key;         /* PKCS#8, DER */
    int64_t not_after;
};
void stored_exchange_clear(struct stored_exchange *exchange);

/* Opens server.db under @dir, with @create makes it. Returns owned in @store; 0 or -1 (ERR_STORE, ERR_MISSING). */
int store_open(const char *dir, bool create, struct store **store, struct err **errp);
void store_close(struct store *store); /* takes; NULL is fine; rolls back what was not committed */
DEFINE_FREEP(struct store, store_close)

/* Waits up to five seconds for another writer. Return 0 or -1. */
int store_begin(struct store *store, struct err **errp);
int store_commit(struct store *store, struct err **errp);
void store_rollback(struct store *store); /* no effect outside a transaction */

/* Users; names are compared without regard to the case of ASCII letters. @hash is what crypt(3) made. The hash found is
 * owned by the caller. */
int store_put_user(struct store *store, const char *name, const char *hash, int64_t now, struct err **errp);
int store_find_user(struct store *store, const char *name, char **hash, struct err **errp);
int store_delete_user(struct store *store, const char *name, struct err **errp); /* STORE_NONE: there is none */
int store_list_users(struct store *store, struct strlist *names, struct err **errp);

/* Requests. Adding sets the id, which is never used again; updating writes what became of it. */
int store_add_request(struct store *store, struct stored_request *request, struct err **errp);
int store_update_request(struct store *store, const struct stored_request *request, struct err **errp);
int store_find_request(struct store *store, int64_t id, struct stored_request *request, struct err **errp);
int store_list_requests(struct store *store, struct stored_request_list *list, struct err **errp); /* oldest first */

/* Certificates. Adding sets the id, and the lineage where it was 0. Comparing is byte for byte. */
int store_add_certificate(struct store *store, struct stored_certificate *certificate, struct err **errp);
int store_find_certificate(
    struct store *store, const struct bytes *der, struct stored_certificate *certificate, struct err **errp);
int store_find_certificate_of_request(
    struct store *store, int64_t request, struct stored_certificate *certificate, struct err **errp);
/* STORE_NONE when no certificate has this serial number or it is revoked already. */
int store_revoke(struct store *store, const char *serial, uint32_t reason, int64_t now, struct err **errp);

/* Exchange certificates; the newest that is valid at @now is found. Older ones are kept: answers may still need them.
 */
int store_add_exchange(struct store *store, const struct stored_exchange *exchange, struct err **errp);
int store_find_exchange(struct store *store, int64_t now, struct stored_exchange *exchange, struct err **errp);

const char *request_state_name(enum request_state state); /* borrowed */
