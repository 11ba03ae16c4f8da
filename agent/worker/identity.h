/* identity.h - who we are towards a server: the credentials of a job, opened. */
#pragma once

#include "agent/submit/auth.h"
#include "agent/worker/place.h"

/* Owned but for what @shown borrows from it and from the job. */
struct identity {
    struct key *key; /* of the certificate; NULL where there is none, or it is somebody else's */
    struct secret *password;
    struct http_identity tls;
    struct auth_credentials shown;
};
void identity_clear(struct identity *identity);

/* A certificate of ours. @key borrowed instead of opened when the caller has it; else NULL. */
int identity_use_pair(
    struct identity *identity, struct place *place, const struct job_pair *pair, struct key *key, struct err **errp);

/* The user name, and its password where the vault has it; none is no error here. 0 or -1 with ERR_AUTH. */
int identity_use_password(struct identity *identity, const struct job_server *server, struct err **errp);

/* The enum policy_auth values that it can satisfy, or-ed. */
uint32_t identity_auths(const struct identity *identity);
