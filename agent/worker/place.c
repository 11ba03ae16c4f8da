#include "agent/worker/place.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "agent/key/key_file.h"
#include "agent/key/private_file.h"
#include "agent/key/token_softhsm.h"
#include "agent/worker/vault.h"
#include "protocol/pki/cert.h"

#define OWN_TOKEN "autoenroll" /* label of the SoftHSM token that we make */

void place_close(struct place *place)
{
    token_close(place->token);
    place->token = NULL;
}

static int open_own(const struct job_place *job, struct token **token, struct err **errp)
{
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    struct token_place where = {.uri = "pkcs11:token=" OWN_TOKEN, .state_dir = job->token_dir, .is_ours = true};

    if (token_softhsm_create(job->token_dir, OWN_TOKEN, &module, &pin, errp) < 0)
        return err_wrap(errp, "making our own token in %s", job->token_dir);
    where.module = module;
    return token_open(&where, pin, token, errp);
}

/*
 * Left alone, the module of a TPM keeps its store in whatever directory it finds itself in, and believes whoever
 * listens on a local TCP port to be the TPM. What the administrator has set stays.
 */
static void guide_tpm(const struct job_place *job)
{
    CLEANUP(mem_freep) char *store = mem_printf("%s/tpm2_pkcs11", job->token_dir);

    (void)setenv("TPM2_PKCS11_STORE", store, 0);
    (void)setenv("TPM2_PKCS11_TCTI", "device:/dev/tpmrm0", 0);
    (void)setenv("TSS2_LOG", "all+none", 0);
}

static int open_configured(const struct job_place *job, struct token **token, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *pin = NULL;
    struct token_place where = {.uri = job->token_uri, .module = job->module, .state_dir = job->token_dir};
    int found = vault_find(job->pin_credential, &pin, errp);

    guide_tpm(job);
    if (found < 0)
        return err_wrap(errp, "the PIN of %s", job->token_uri);
    if (found == VAULT_NONE && job->pin_credential) {
        err_set(errp, ERR_AUTH, "there is no credential '%s' with the PIN of %s", job->pin_credential, job->token_uri);
        return err_hint(errp, "put the PIN where pin-credential points: LoadCredential= in the unit, or a file of that "
                              "name in $CREDENTIALS_DIRECTORY");
    }
    return token_open(&where, pin, token, errp);
}

int place_token(struct place *place, struct token **token, struct err **errp)
{
    if (!place->token && (place->job->token_uri ? open_configured : open_own)(place->job, &place->token, errp) < 0)
        return err_wrap(errp, "opening the token");
    *token = place->token;
    return 0;
}

int place_open_key(struct place *place, const struct job_pair *pair, struct key **key, struct err **errp)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;
    struct token *token;

    if (pair->key_file)
        return key_file_open(pair->key_file, key, errp);
    if (pair->certificate.len && cert_parse(pair->certificate.data, pair->certificate.len, &cert, errp) < 0)
        return err_wrap(errp, "reading our own certificate");
    if (place_token(place, &token, errp) < 0)
        return -1;
    return key_token_open(token, &pair->key_id, cert ? &cert->key.spki : NULL, key, errp);
}

char *place_key_file(const struct place *place, const struct bytes *id)
{
    CLEANUP(mem_freep) char *hex = bytes_to_hex(id->data, id->len);

    return mem_printf("%s/%s.pem", place->job->key_dir, hex);
}

static int make_key_dir(const char *dir, struct err **errp)
{
    if (mkdir(dir, 0700) < 0)
        return errno == EEXIST ? 0 : err_set(errp, ERR_STORE, "making the folder of key files, %s: %m", dir);
    return private_file_sync_folder(dir) < 0 ? err_set(errp, ERR_STORE, "making %s durable: %m", dir) : 0;
}

int place_make_key(struct place *place, const struct bytes *id, const char *name, bool file, enum key_kind kind,
    struct key **key, struct err **errp)
{
    CLEANUP(mem_freep) char *label = key_waiting_label(name, id);
    struct token *token;

    if (file) {
        CLEANUP(mem_freep) char *path = place_key_file(place, id);

        if (make_key_dir(place->job->key_dir, errp) < 0)
            return -1;
        return key_file_open_or_generate(path, kind, key, errp);
    }
    if (place_token(place, &token, errp) < 0)
        return -1;
    return key_token_open_or_generate(token, id, label, kind, key, errp);
}

int place_destroy(struct place *place, const struct job_pair *pair, struct err **errp)
{
    struct token *token;

    if (pair->key_file)
        return key_file_destroy(pair->key_file, errp);
    if (place_token(place, &token, errp) < 0)
        return -1;
    return key_token_destroy(token, &pair->key_id, errp);
}
