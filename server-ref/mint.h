/* mint.h - makes keys and signs certificates. */
#pragma once

#include <openssl/evp.h>

#include "protocol/pki/cert.h"
#include "protocol/pki/csr.h"

/* A certificate to be. Borrowed throughout. */
struct mint_spec {
    const struct bytes *subject; /* DER of a Name */
    const struct bytes *spki;    /* DER of SubjectPublicKeyInfo */
    int64_t not_before;
    int64_t not_after;
    const struct csr_extensions *extensions; /* without key identifiers: those are added */
    const char *hash;                        /* NULL: what suits the issuer's key */
};

/* "rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521". Returns owned (EVP_PKEY_free), or NULL. */
EVP_PKEY *mint_key(const char *kind, struct err **errp);

/*
 * Signs @spec with a random serial number of 128 bits.
 *
 * @issuer  NULL: the subject itself, and @key is its own
 * @key     of the issuer
 * @out     returns owned
 * Return 0 or -1 (ERR_INTERNAL, ERR_INVALID).
 */
int mint_certificate(
    const struct mint_spec *spec, const struct cert *issuer, EVP_PKEY *key, struct cert **out, struct err **errp);

/* The hash that suits @key: SHA384 for P-384, SHA512 for P-521, else SHA256. */
const char *mint_hash(EVP_PKEY *key);

/* The Name "CN=@common_name", whatever characters that has; @der is overwritten. 0 or -1 (ERR_INVALID). */
int mint_common_name(const char *common_name, struct bytes *der, struct err **errp);

/* Each appends one extension. 0 or -1 (ERR_INTERNAL). */
int mint_add_key_usage(struct csr_extensions *list, uint32_t bits, struct err **errp);
int mint_add_eku(struct csr_extensions *list, const struct strlist *oids, struct err **errp);
int mint_add_san(struct csr_extensions *list, const struct san_list *san, struct err **errp);
void mint_add_ca(struct csr_extensions *list, bool intermediates); /* basic constraints; may it have CAs below it */
void mint_add_end_entity(struct csr_extensions *list);             /* basic constraints of what is no CA */
