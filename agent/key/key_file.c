#include "agent/key/key_file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "agent/key/key_new.h"
#include "agent/key/private_file.h"

#define MAX_FILE 16384

static EVP_PKEY *make(enum key_kind kind)
{
    if (key_kind_is_ec(kind))
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", key_kind_name(kind));
    return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)key_kind_bits(kind));
}

/* Takes @evp. */
static int wrap(EVP_PKEY *evp, const char *path, struct key **out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes id = {0};
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(evp, &der);
    bool ok = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1;

    OPENSSL_free(der);
    if (!ok) {
        EVP_PKEY_free(evp);
        return err_set(errp, ERR_INTERNAL, "OpenSSL cannot write the public key of %s", path);
    }
    bytes_set(&id, digest, KEY_ID_LEN);
    return key_new(evp, &id, mem_strdup(path), NULL, out, errp);
}

static int write_pem(EVP_PKEY *evp, const char *path, struct err **errp)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *text;
    long len;
    int r;

    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, evp, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(bio);
        return err_set(errp, ERR_INTERNAL, "OpenSSL cannot write the private key for %s", path);
    }
    len = BIO_get_mem_data(bio, &text);
    r = private_file_write(path, text, (size_t)len, false, errp);
    BIO_free(bio); /* overwrites it: that is what the BIO of this kind is for */
    return r;
}

int key_file_generate(const char *path, enum key_kind kind, struct key **out, struct err **errp)
{
    CLEANUP(key_freep) struct key *key = NULL;
    EVP_PKEY *evp = make(kind);

    if (!evp)
        return err_set(errp, ERR_INTERNAL, "OpenSSL cannot make a key of kind %s", key_kind_name(kind));
    if (wrap(evp, path, &key, errp) < 0 || key_self_check(key, errp) < 0 || write_pem(evp, path, errp) < 0)
        return -1;
    *out = TAKE(key);
    return 0;
}

/* A key behind a passphrase is none that we wrote; nobody is asked. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

int key_file_open(const char *path, struct key **out, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *text = NULL;
    EVP_PKEY *evp = NULL;
    BIO *bio;

    if (private_file_read(path, MAX_FILE, &text, errp) < 0)
        return -1;
    bio = BIO_new_mem_buf(secret_peek(text), (int)secret_len(text));
    if (bio)
        evp = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!evp) {
        err_set(errp, ERR_INVALID, "%s holds no private key that can be read", path);
        return err_hint(errp, "it should be PKCS#8 PEM without a passphrase");
    }
    return wrap(evp, path, out, errp);
}

int key_file_open_or_generate(const char *path, enum key_kind kind, struct key **out, struct err **errp)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(key_freep) struct key *key = NULL;

    if (key_file_open(path, &key, &err) < 0) {
        if (err_kind(err) == ERR_MISSING)
            return key_file_generate(path, kind, out, errp);
        if (errp && !*errp)
            *errp = TAKE(err);
        return -1;
    }
    if (key_kind(key) != kind) {
        err_set(errp, ERR_INVALID, "%s holds a key of kind %s, wanted is %s", path, key_kind_name(key_kind(key)),
            key_kind_name(kind));
        return err_hint(errp, "move it away if nobody uses it");
    }
    if (key_self_check(key, errp) < 0)
        return -1;
    *out = TAKE(key);
    return 0;
}

int key_file_destroy(const char *path, struct err **errp)
{
    return private_file_destroy(path, errp);
}

/* The id of its key, ".pem", and ".new" while it is written. */
static bool is_orphan(const char *name, const uint8_t tag[KEY_TAG_LEN], const struct bytes *known, size_t n_known)
{
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(mem_freep) char *hex = mem_strndup(name, 2 * KEY_ID_LEN);
    const char *rest = name + strlen(hex);

    if (bytes_from_hex(&id, hex, KEY_ID_LEN, NULL) < 0 || (strcmp(rest, ".pem") != 0 && strcmp(rest, ".pem.new") != 0))
        return false;
    return key_id_is_ours(&id, tag) && !key_id_is_known(&id, known, n_known);
}

int key_file_sweep(const char *dir, const uint8_t tag[KEY_TAG_LEN], const struct bytes *known, size_t n_known,
    size_t *removed, struct err **errp)
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    int r = 0;

    *removed = 0;
    if (!entries)
        return errno == ENOENT ? 0 : err_set(errp, ERR_STORE, "reading %s: %m", dir);
    while (r == 0 && (entry = readdir(entries))) {
        CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, entry->d_name);

        if (!is_orphan(entry->d_name, tag, known, n_known))
            continue;
        r = key_file_destroy(path, errp);
        *removed += r == 0;
    }
    (void)closedir(entries);
    return r;
}
