/* auth.h - finds out who is calling, by password or by client certificate. */
#pragma once

#include <stdbool.h>

#include "protocol/base/secret.h"
#include "protocol/pki/cert.h"
#include "server-ref/store.h"

/* The caller could not prove what it says: the positive outcome. */
#define AUTH_REFUSED 1

struct caller {
    char *account;                         /* owned; for a certificate: whom it was issued to */
    struct stored_certificate certificate; /* id 0: it came with a password */
    bool by_key;                           /* the service takes the key alone for its identity */
};
void caller_clear(struct caller *caller);

/* What auth_password keeps between calls. */
struct auth;
struct auth *auth_new(struct err **errp); /* returns owned, or NULL */
void auth_free(struct auth *auth);
DEFINE_FREEP(struct auth, auth_free)

/*
 * Compares a password with the stored hash. A wrong one and an unknown user take the same time and look the same.
 * Return 0, AUTH_REFUSED, or -1 (ERR_STORE).
 */
int auth_password(struct auth *auth, struct store *store, const char *name, const struct secret *password,
    struct caller *caller, struct err **errp);

/*
 * Looks for the certificate with which the caller opened the connection among those that we issued; the connection
 * proved that it has the key.
 *
 * @why   AUTH_REFUSED: what is wrong with it, with the HRESULT; returns owned
 * Return 0, AUTH_REFUSED, or -1 (ERR_STORE).
 */
int auth_certificate(struct store *store, const struct bytes *der, int64_t now, struct caller *caller, struct err **why,
    struct err **errp);
/* The dates and the revocation of one of our certificates. 0 or -1 (ERR_DENIED with the HRESULT). */
int auth_check_certificate(const struct stored_certificate *certificate, int64_t now, struct err **errp);

/* Hashes a password for the store. Returns owned, or NULL. */
char *auth_hash(const struct secret *password, struct err **errp);
