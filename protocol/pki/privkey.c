#include "protocol/pki/privkey.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "protocol/pki/der.h"

#define P12_ITERATIONS 50000 /* of the password, for encryption and MAC */

DEFINE_FREEP(BIO, BIO_free_all)
DEFINE_FREEP(PKCS12, PKCS12_free)

static void stackp(STACK_OF(X509) **stack)
{
    sk_X509_free(*stack);
}

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static EVP_PKEY *load(const void *pem, size_t len, struct err **errp)
{
    CLEANUP(BIO_free_allp) BIO *bio = len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    if (!key)
        (void)der_fail(errp, ERR_INVALID, "no private key that can be read");
    return key;
}

/* A BIO of this kind overwrites what it held when it is freed. */
static struct secret *write_pem(EVP_PKEY *key, struct err **errp)
{
    CLEANUP(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem());
    char *text;
    long len;

    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        (void)der_fail(errp, ERR_INTERNAL, "writing the private key");
        return NULL;
    }
    len = BIO_get_mem_data(bio, &text);
    return secret_copy(text, (size_t)len);
}

int privkey_read(const void *pem, size_t len, const struct cert *cert, struct secret **out, struct err **errp)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = load(pem, len, errp);
    struct secret *text;

    if (!key)
        return -1;
    if (X509_check_private_key(cert->x509, key) != 1)
        return der_fail(errp, ERR_UNTRUSTED, "the private key is not that of the certificate");
    text = write_pem(key, errp);
    if (!text)
        return -1;
    *out = text;
    return 0;
}

int privkey_to_p12(const struct secret *key, const struct cert *cert, const struct cert_list *chain, const char *name,
    const struct secret *password, struct bytes *out, struct err **errp)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *loaded = load(secret_peek(key), secret_len(key), errp);
    CLEANUP(stackp) STACK_OF(X509) *others = sk_X509_new_null();
    CLEANUP(PKCS12_freep) PKCS12 *p12 = NULL;
    bool ok = loaded && others;

    for (size_t i = 0; i < chain->n && ok; i++)
        ok = sk_X509_push(others, chain->items[i]->x509) > 0; /* borrowed, as the stack is freed without them */
    if (ok)
        p12 = PKCS12_create(secret_peek(password), name, loaded, cert->x509, others, NID_aes_256_cbc, NID_aes_256_cbc,
            P12_ITERATIONS, P12_ITERATIONS, 0);
    if (!p12)
        return der_fail(errp, ERR_INTERNAL, "making the PKCS#12 file");
    return der_write(p12, ASN1_ITEM_rptr(PKCS12), out, errp);
}
