/* pubkey.h - the facts we use about a public key. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>

#include "protocol/base/bytes.h"

enum pubkey_type { PUBKEY_OTHER, PUBKEY_RSA, PUBKEY_EC };

struct pubkey {
    enum pubkey_type type;
    unsigned bits;       /* of the modulus, or of the curve; 0 where unknown */
    char *curve;         /* owned; dotted OID of a named curve, NULL for all else */
    char *algorithm;     /* owned; dotted OID */
    struct bytes spki;   /* DER of SubjectPublicKeyInfo, as it came */
    struct bytes key_id; /* SHA-1 of the BIT STRING's content: what a subject key identifier usually is */
};

/*
 * Reads a SubjectPublicKeyInfo; bytes behind it are refused. An algorithm that OpenSSL does not know, or a key that it
 * cannot load, is PUBKEY_OTHER and no error. @out is overwritten. Return 0 or -1 (ERR_INVALID).
 */
int pubkey_parse(const void *der, size_t len, struct pubkey *out, struct err **errp);
/* The same of what OpenSSL has read already, as part of a certificate or request; decoding a key twice is slow. */
int pubkey_from_spki(const X509_PUBKEY *spki, struct pubkey *out, struct err **errp);
/* The public half of any EVP_PKEY, a token's too: never asks for the private one. 0 or -1 (ERR_INTERNAL). */
int pubkey_from_evp(EVP_PKEY *key, struct pubkey *out, struct err **errp);
/* A key that verifies in software, whatever made the original. Returns owned (EVP_PKEY_free), NULL on failure. */
EVP_PKEY *pubkey_load(const struct bytes *spki, struct err **errp);
/* The same key: modulus and exponent, or point and curve, however they are encoded. */
bool pubkey_equal(const struct bytes *spki_a, const struct bytes *spki_b);

char *pubkey_describe(const struct pubkey *key); /* "RSA 2048", "EC P-256"; returns owned */
/* RSA of 2048 bits or more, or P-256, P-384, P-521. 0 or -1 (ERR_UNTRUSTED). */
int pubkey_strength_check(const struct pubkey *key, struct err **errp);
void pubkey_clear(struct pubkey *key); /* frees, leaves {0}; also the CLEANUP form */
