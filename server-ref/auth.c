#include "server-ref/auth.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/base/when.h"
#include "protocol/pki/hresult.h"
#include "server-ref/refusal.h"

#define METHOD     "$y$" /* yescrypt */
#define MAC_BYTES  32
#define REMEMBERED 64 /* passwords that were right, so that a busy client is not hashed anew each time */

/*
 * A right password is remembered as a keyed hash of the stored hash and itself. The key dies with the process, and
 * a changed password has another stored hash, so that nothing here outlives its truth.
 */
struct auth {
    unsigned char key[MAC_BYTES];
    unsigned char known[REMEMBERED][MAC_BYTES];
    size_t next;
    char *nobody; /* a hash that no password has, for users who do not exist */
};

void caller_clear(struct caller *caller)
{
    free(caller->account);
    stored_certificate_clear(&caller->certificate);
    *caller = (struct caller){0};
}

static void crypt_freep(struct crypt_data **data)
{
    if (*data)
        OPENSSL_cleanse(*data, sizeof(**data));
    free(*data);
}

char *auth_hash(const struct secret *password, struct err **errp)
{
    CLEANUP(crypt_freep) struct crypt_data *data = mem_alloc(sizeof(*data));
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *hash;

    if (!crypt_gensalt_rn(METHOD, 0, NULL, 0, setting, sizeof(setting))) {
        err_set(errp, ERR_INTERNAL, "this libcrypt has no yescrypt: %m");
        return NULL;
    }
    hash = crypt_r(secret_peek(password), setting, data);
    if (!hash || hash[0] == '*') {
        err_set(errp, ERR_INTERNAL, "hashing a password: %m");
        return NULL;
    }
    return mem_strdup(hash);
}

struct auth *auth_new(struct err **errp)
{
    CLEANUP(secret_freep) struct secret *random = secret_random_hex(16);
    CLEANUP(auth_freep) struct auth *auth = mem_alloc(sizeof(*auth));

    auth->nobody = auth_hash(random, errp);
    if (!auth->nobody)
        return NULL;
    if (RAND_bytes(auth->key, sizeof(auth->key)) != 1 || RAND_bytes(auth->known[0], sizeof(auth->known)) != 1) {
        err_set(errp, ERR_INTERNAL, "no random numbers");
        return NULL;
    }
    return TAKE(auth);
}

void auth_free(struct auth *auth)
{
    if (!auth)
        return;
    free(auth->nobody);
    OPENSSL_cleanse(auth, sizeof(*auth));
    free(auth);
}

static bool matches(const char *hash, const struct secret *password)
{
    CLEANUP(crypt_freep) struct crypt_data *data = mem_alloc(sizeof(*data));
    const char *got = crypt_r(secret_peek(password), hash, data);

    return got && strlen(got) == strlen(hash) && CRYPTO_memcmp(got, hash, strlen(hash)) == 0;
}

static bool make_mac(const struct auth *auth, const char *hash, const struct secret *password, unsigned char *mac)
{
    CLEANUP(bytes_wipe) struct bytes text = {0};
    unsigned len = MAC_BYTES;

    return bytes_append(&text, hash, strlen(hash) + 1, NULL) == 0 &&
           bytes_append(&text, secret_peek(password), secret_len(password), NULL) == 0 &&
           HMAC(EVP_sha256(), auth->key, sizeof(auth->key), text.data, text.len, mac, &len) != NULL;
}

static bool is_known(const struct auth *auth, const unsigned char *mac)
{
    int found = 0;

    for (size_t i = 0; i < REMEMBERED; i++)
        found |= CRYPTO_memcmp(auth->known[i], mac, MAC_BYTES) == 0;
    return found;
}

static bool check_password(struct auth *auth, const char *hash, const struct secret *password)
{
    unsigned char mac[MAC_BYTES];
    bool made = make_mac(auth, hash, password, mac);

    if (made && is_known(auth, mac))
        return true;
    if (!matches(hash, password))
        return false;
    if (made) {
        memcpy(auth->known[auth->next], mac, MAC_BYTES);
        auth->next = (auth->next + 1) % REMEMBERED;
    }
    return true;
}

int auth_password(struct auth *auth, struct store *store, const char *name, const struct secret *password,
    struct caller *caller, struct err **errp)
{
    CLEANUP(mem_freep) char *hash = NULL;
    int r = store_find_user(store, name, &hash, errp);

    if (r < 0)
        return -1;
    if (!check_password(auth, r == STORE_NONE ? auth->nobody : hash, password) || r == STORE_NONE)
        return AUTH_REFUSED;
    *caller = (struct caller){.account = mem_strdup(name)};
    return 0;
}

int auth_check_certificate(const struct stored_certificate *certificate, int64_t now, struct err **errp)
{
    CLEANUP(mem_freep) char *from = when_format(certificate->not_before);
    CLEANUP(mem_freep) char *until = when_format(certificate->not_after);

    if (certificate->revoked)
        return refusal(errp, CRYPT_E_REVOKED, "certificate %s is revoked", certificate->serial);
    if (now > certificate->not_after || now < certificate->not_before)
        return refusal(errp, CERT_E_EXPIRED, "certificate %s is valid from %s to %s", certificate->serial, from, until);
    return 0;
}

int auth_certificate(struct store *store, const struct bytes *der, int64_t now, struct caller *caller, struct err **why,
    struct err **errp)
{
    CLEANUP(stored_certificate_clear) struct stored_certificate found = {0};
    int r = store_find_certificate(store, der, &found, errp);

    if (r < 0)
        return -1;
    if (r == STORE_NONE) {
        refusal(why, CERT_E_UNTRUSTEDROOT, "the client certificate was not issued by this CA");
        return AUTH_REFUSED;
    }
    if (auth_check_certificate(&found, now, why) < 0)
        return AUTH_REFUSED;
    *caller = (struct caller){.account = mem_strdup(found.requester), .certificate = found};
    found = (struct stored_certificate){0};
    return 0;
}
