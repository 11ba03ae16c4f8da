/* auth.h - says whether an address may see a credential of ours, and which one it wants. */
#pragma once

#include "agent/job/job.h"
#include "agent/submit/http.h"
#include "protocol/base/secret.h"

/* What we can show to a CEP or CES. All borrowed; what we do not have is NULL. */
struct auth_credentials {
    const char *username;
    const struct secret *password;
    const char *credential; /* where the password was looked for: a name in $CREDENTIALS_DIRECTORY */
    const struct http_identity *identity;
};

/*
 * Is @uri on the CEP's own host, or on one that the administrator listed in ces-hosts? An entry without a port allows
 * every port of that host. Nothing is looked up or connected to. Returns 0, or -1 with ERR_POLICY and the line of
 * configuration that would allow it, or ERR_INVALID for what is no https URL.
 */
int auth_check_host(const struct job_server *server, const char *uri, struct err **errp);

/* Can @credentials satisfy @auth (enum policy_auth)? 0, or -1 with ERR_AUTH and what is missing. */
int auth_check_credential(const struct auth_credentials *credentials, uint32_t auth, struct err **errp);
