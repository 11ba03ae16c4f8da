#include "agent/worker/identity.h"

#include "agent/worker/vault.h"

void identity_clear(struct identity *identity)
{
    key_free(identity->key);
    secret_free(identity->password);
    *identity = (struct identity){0};
}

int identity_use_pair(
    struct identity *identity, struct place *place, const struct job_pair *pair, struct key *key, struct err **errp)
{
    if (!pair->certificate.len)
        return 0;
    if (!key) {
        if (place_open_key(place, pair, &identity->key, errp) < 0)
            return err_wrap(errp, "opening the key of the certificate to authenticate with");
        key = identity->key;
    }
    identity->tls = (struct http_identity){.certificate = &pair->certificate, .chain = &pair->chain, .key = key};
    identity->shown.identity = &identity->tls;
    return 0;
}

int identity_use_password(struct identity *identity, const struct job_server *server, struct err **errp)
{
    if (!server->username)
        return 0;
    identity->shown.username = server->username;
    identity->shown.credential = server->credential;
    if (vault_find(server->credential, &identity->password, errp) < 0)
        return err_wrap(errp, "the password of '%s'", server->username);
    identity->shown.password = identity->password;
    return 0;
}

uint32_t identity_auths(const struct identity *identity)
{
    uint32_t auths = POLICY_AUTH_ANONYMOUS;

    if (identity->shown.identity)
        auths |= POLICY_AUTH_CERTIFICATE;
    if (identity->shown.username && identity->shown.password)
        auths |= POLICY_AUTH_USERNAME;
    return auths;
}
