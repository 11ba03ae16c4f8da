/* ca.h - takes requests, decides, signs, numbers and remembers. */
#pragma once

#include "protocol/pki/cert.h"
#include "server-ref/auth.h"
#include "server-ref/config.h"
#include "server-ref/store.h"

struct ca {
    const struct config *config; /* borrowed, outlives this */
    struct store *store;         /* borrowed, outlives this */
    struct cert_list chain;      /* the issuing CA first, the root last */
    EVP_PKEY *key;               /* owned; of the issuing CA */
};

/* Reads the CA's certificates and key in the directory of @config. Returns owned in @ca. 0 or -1. */
int ca_open(const struct config *config, struct store *store, struct ca **ca, struct err **errp);
void ca_free(struct ca *ca); /* takes; NULL is fine */
DEFINE_FREEP(struct ca, ca_free)

/* What a service hands on, [MS-WSTEP notes] 6.1 (11). Borrowed throughout. */
struct submission {
    const struct bytes *payload;
    const struct name_values *attributes;
    const struct caller *caller;
    bool renewal_only;
    const struct misbehave *misbehave;
};

/* What the CA says. Everything owned. */
struct ca_answer {
    enum request_state state;
    uint32_t hresult;  /* of a denied or failed one */
    char *message;     /* for a person */
    int64_t request;   /* 0: there is no row for it */
    struct cert *leaf; /* of an issued one */
    struct bytes cms;  /* the full CMC response */
};
void ca_answer_clear(struct ca_answer *answer);

/*
 * Decides about a request, [MS-WSTEP notes] 5.4.3 and 6.2; what is answered is on disk.
 *
 * @answer  overwritten on success, which a refusal is too
 * Return 0 or -1 (ERR_STORE, ERR_INTERNAL, ERR_BUSY).
 */
int ca_submit(
    struct ca *ca, const struct submission *submission, int64_t now, struct ca_answer *answer, struct err **errp);

/*
 * How an earlier request stands. One that is unknown and one of somebody else are the same to the caller.
 * Return as ca_submit.
 */
int ca_query(
    struct ca *ca, const char *request_id, const struct caller *caller, struct ca_answer *answer, struct err **errp);

/* The exchange certificate, made when there is none that holds for another day. @certificate: DER, overwritten. */
int ca_exchange(struct ca *ca, int64_t now, struct bytes *certificate, struct err **errp);

/* What a person decides about a pending request. 0 or -1 (ERR_MISSING, ERR_DENIED: it is not pending, or cannot be). */
int ca_approve(struct ca *ca, int64_t request, int64_t now, struct err **errp);
int ca_deny(struct ca *ca, int64_t request, int64_t now, struct err **errp);
