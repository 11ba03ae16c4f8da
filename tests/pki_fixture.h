/* pki_fixture.h - keys and certificates made on the spot, for tests of what handles them. */
#pragma once

#include <openssl/evp.h>

#include "protocol/pki/cert.h"
#include "protocol/pki/csr.h"

/* A software key: "RSA", "RSA-3072", "RSA-1024", "P-256", "P-384", "P-521". Returns owned (EVP_PKEY_free). */
EVP_PKEY *pki_key(const char *kind);

/* What the next certificate is to be; {0} is a certificate of ten days around PKI_NOW, SHA-256, no extension. */
struct pki_cert_spec {
    const char *subject; /* RFC 4514; NULL: empty */
    EVP_PKEY *key;
    const struct cert *issuer; /* NULL: itself */
    EVP_PKEY *issuer_key;      /* NULL: itself */
    long serial;
    bool ca;
    const char *hash; /* NULL: SHA256 */
    int64_t not_before, not_after;
    const struct csr_extension *extensions;
    size_t n_extensions;
};
#define PKI_NOW 1900000000                               /* 2030-03-17 */
struct cert *pki_cert(const struct pki_cert_spec *spec); /* returns owned; the test fails rather than that this does */

/* A request as the agent would make it: subject, template name, client info; renewal of @old unless that is NULL. */
void pki_csr(EVP_PKEY *key, const char *subject, const struct cert *old, struct bytes *der);

/*
 * A request with the empty subject and exactly these attributes (DER of each, in hex), signed by the EC key @key with
 * SHA-256; @null_hash: "signed" by a bare SHA-256.
 */
void pki_raw_csr(EVP_PKEY *key, const char *const *attributes, size_t n, bool null_hash, struct bytes *out);
/* Appends one value of DER, its length in the shortest form. */
void pki_put(struct bytes *out, uint8_t tag, const void *content, size_t len);

/* Writes the key as PEM, for the openssl command. */
void pki_write_key(EVP_PKEY *key, const char *path);
void pki_write_cert(const struct cert *cert, const char *path);

/* 0 to 9, a to f and white space as bytes. */
void pki_hex(const char *hex, struct bytes *out);
/* Fails unless @der is exactly what @hex says; prints both. */
void pki_assert_hex(const struct bytes *der, const char *hex);
