#include "agent/key/key.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "agent/key/key_new.h"

struct key {
    EVP_PKEY *evp; /* owned, as is the rest */
    struct bytes spki;
    struct bytes id;
    char *uri;
    enum key_kind kind;
    struct signer *signer; /* NULL: the key is in memory */
};

static const struct {
    const char *name;
    const char *algorithm;
    unsigned bits;
    const char *curve;
} kinds[] = {
#define X(id, name, algorithm, bits, curve, oid) [KEY_##id] = {name, algorithm, bits, curve},
    KEY_KINDS(X)
#undef X
};

const char *key_kind_name(enum key_kind kind)
{
    return kinds[kind].name;
}

bool key_kind_parse(const char *name, enum key_kind *kind)
{
    for (size_t i = 0; i < KEY__MAX; i++)
        if (strcmp(kinds[i].name, name) == 0) {
            *kind = (enum key_kind)i;
            return true;
        }
    return false;
}

bool key_kind_is_ec(enum key_kind kind)
{
    return kinds[kind].curve != NULL;
}

unsigned key_kind_bits(enum key_kind kind)
{
    return kinds[kind].bits;
}

bool key_kind_for(bool ec, unsigned bits, enum key_kind *kind)
{
    for (size_t i = 0; i < KEY__MAX; i++) /* the table goes from small to large */
        if (key_kind_is_ec((enum key_kind)i) == ec && kinds[i].bits >= bits) {
            *kind = (enum key_kind)i;
            return true;
        }
    return false;
}

/* OpenSSL names a curve as it pleases: P-256 or prime256v1. */
static bool same_curve(const char *group, const char *curve)
{
    int nid = EC_curve_nist2nid(curve);

    return strcmp(group, curve) == 0 || OBJ_txt2nid(group) == nid;
}

bool key_kind_of(const EVP_PKEY *pkey, enum key_kind *kind)
{
    char group[64] = "";

    for (size_t i = 0; i < KEY__MAX; i++) {
        if (!EVP_PKEY_is_a(pkey, kinds[i].algorithm) || EVP_PKEY_get_bits(pkey) != (int)kinds[i].bits)
            continue;
        if (kinds[i].curve &&
            (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1 || !same_curve(group, kinds[i].curve)))
            continue;
        *kind = (enum key_kind)i;
        return true;
    }
    return false;
}

static void id_prefix(const uint8_t tag[KEY_TAG_LEN], uint8_t prefix[static 8])
{
    memcpy(prefix, "AEN1", 4);
    memcpy(prefix + 4, tag, KEY_TAG_LEN);
}

void key_new_id(const uint8_t tag[KEY_TAG_LEN], struct bytes *id)
{
    uint8_t whole[KEY_ID_LEN];

    id_prefix(tag, whole);
    if (RAND_bytes(whole + 8, KEY_ID_LEN - 8) != 1)
        abort(); /* without random numbers there is no key either */
    *id = (struct bytes){0};
    bytes_set(id, whole, sizeof(whole));
}

bool key_id_is_ours(const struct bytes *id, const uint8_t tag[KEY_TAG_LEN])
{
    uint8_t prefix[8];

    id_prefix(tag, prefix);
    return id->len == KEY_ID_LEN && memcmp(id->data, prefix, sizeof(prefix)) == 0;
}

bool key_id_is_known(const struct bytes *id, const struct bytes *known, size_t n_known)
{
    for (size_t i = 0; i < n_known; i++)
        if (bytes_equal(id, &known[i]))
            return true;
    return false;
}

char *key_waiting_label(const char *name, const struct bytes *id)
{
    CLEANUP(mem_freep) char *hex = id->len > 8 ? bytes_to_hex(id->data + 8, id->len - 8) : mem_strdup("");

    return mem_printf("%s#%.8s", name, hex);
}

int key_new(
    EVP_PKEY *evp, const struct bytes *id, char *uri, struct signer *signer, struct key **out, struct err **errp)
{
    CLEANUP(key_freep) struct key *key = mem_alloc(sizeof(*key));
    unsigned char *der = NULL;
    int len;

    key->evp = evp;
    key->uri = uri;
    key->signer = signer;
    bytes_copy(&key->id, id);
    if (!key_kind_of(evp, &key->kind))
        return err_set(errp, ERR_INVALID, "the key %s is of a kind that we do not use", uri);
    len = i2d_PUBKEY(evp, &der);
    if (len <= 0)
        return err_set(errp, ERR_INTERNAL, "OpenSSL cannot write the public key of %s", uri);
    bytes_set(&key->spki, der, (size_t)len);
    OPENSSL_free(der);
    *out = TAKE(key);
    return 0;
}

void key_free(struct key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->evp);
    bytes_clear(&key->spki);
    bytes_clear(&key->id);
    free(key->uri);
    signer_unref(key->signer);
    free(key);
}

EVP_PKEY *key_evp(const struct key *key)
{
    return key->evp;
}

const struct bytes *key_spki(const struct key *key)
{
    return &key->spki;
}

const struct bytes *key_id(const struct key *key)
{
    return &key->id;
}

const char *key_uri(const struct key *key)
{
    return key->uri;
}

enum key_kind key_kind(const struct key *key)
{
    return key->kind;
}

bool key_in_token(const struct key *key)
{
    return key->signer != NULL;
}

struct signer *key_signer(const struct key *key)
{
    return key->signer;
}

bool key_failure(struct key *key, struct err **errp)
{
    struct err *err = key->signer ? signer_take_failure(key->signer) : NULL;

    if (!err)
        return false;
    if (errp && !*errp)
        *errp = TAKE(err);
    err_free(err);
    return true;
}

static bool sign(EVP_PKEY *pkey, const void *data, size_t len, uint8_t *signature, size_t *signature_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1 &&
              EVP_DigestSign(ctx, signature, signature_len, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(
    const struct bytes *spki, const void *data, size_t len, const uint8_t *signature, size_t signature_len)
{
    const unsigned char *p = spki->data;
    EVP_PKEY *public = d2i_PUBKEY(NULL, &p, (long)spki->len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = public && ctx && EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, public, NULL) == 1 &&
              EVP_DigestVerify(ctx, signature, signature_len, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public);
    return ok;
}

int key_self_check(struct key *key, struct err **errp)
{
    uint8_t data[32];
    uint8_t signature[1024];
    size_t len = sizeof(signature);

    if (RAND_bytes(data, sizeof(data)) != 1)
        return err_set(errp, ERR_INTERNAL, "no random bytes");
    if (!sign(key->evp, data, sizeof(data), signature, &len)) {
        if (!key_failure(key, errp))
            err_set(errp, ERR_TOKEN, "OpenSSL cannot sign with it");
        return err_wrap(errp, "the key %s does not sign", key->uri);
    }
    if (!verify(&key->spki, data, sizeof(data), signature, len)) {
        err_set(errp, ERR_TOKEN, "the key %s signs, but its public key does not verify that", key->uri);
        return err_hint(errp, "the token makes keys of this kind wrongly: choose another kind in the template");
    }
    return 0;
}
