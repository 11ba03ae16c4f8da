/* key.h - a private key by handle; key_file and key_token stand behind it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

/* The keys we can make. Name, OpenSSL's algorithm, bits, curve, DER of the curve's OID (CKA_EC_PARAMS). */
#define KEY_KINDS(X)                                                                                                   \
    X(RSA_2048, "RSA-2048", "RSA", 2048, NULL, "")                                                                     \
    X(RSA_3072, "RSA-3072", "RSA", 3072, NULL, "")                                                                     \
    X(RSA_4096, "RSA-4096", "RSA", 4096, NULL, "")                                                                     \
    X(EC_P256, "P-256", "EC", 256, "P-256", "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")                                \
    X(EC_P384, "P-384", "EC", 384, "P-384", "\x06\x05\x2b\x81\x04\x00\x22")                                            \
    X(EC_P521, "P-521", "EC", 521, "P-521", "\x06\x05\x2b\x81\x04\x00\x23")

#define X(id, name, algorithm, bits, curve, oid) KEY_##id,
enum key_kind { KEY_KINDS(X) KEY__MAX };
#undef X

const char *key_kind_name(enum key_kind kind); /* "RSA-2048", "P-256" */
bool key_kind_parse(const char *name, enum key_kind *kind);
bool key_kind_is_ec(enum key_kind kind);
unsigned key_kind_bits(enum key_kind kind);
/* The smallest kind with at least @bits, or false when there is none. */
bool key_kind_for(bool ec, unsigned bits, enum key_kind *kind);
bool key_kind_of(const EVP_PKEY *pkey, enum key_kind *kind); /* false for a key that we would not make */

/*
 * Ids of our keys (CKA_ID): "AEN1", the four bytes of this agent's tag, twelve random bytes. Only keys whose id begins
 * with the first eight are ever destroyed by sweeping.
 */
#define KEY_ID_LEN  20
#define KEY_TAG_LEN 4
void key_new_id(const uint8_t tag[KEY_TAG_LEN], struct bytes *id); /* @id is overwritten */
bool key_id_is_ours(const struct bytes *id, const uint8_t tag[KEY_TAG_LEN]);
bool key_id_is_known(const struct bytes *id, const struct bytes *known, size_t n_known);
/* The label of a pair that is not (yet) the current one: NAME#0123abcd, from the id's random part. Returns owned. */
char *key_waiting_label(const char *name, const struct bytes *id);

struct key;

EVP_PKEY *key_evp(const struct key *key);            /* borrowed; EVP_PKEY_up_ref keeps it beyond key_free */
const struct bytes *key_spki(const struct key *key); /* SubjectPublicKeyInfo, DER; borrowed */
const struct bytes *key_id(const struct key *key);   /* borrowed */
const char *key_uri(const struct key *key);          /* pkcs11:token=..;id=..;type=private, or a file's path; no PIN */
enum key_kind key_kind(const struct key *key);
bool key_in_token(const struct key *key);
void key_free(struct key *key); /* takes; NULL is fine; the key itself stays where it is */
DEFINE_FREEP(struct key, key_free)

/*
 * Why the last signature failed: OpenSSL can only say that it did. Call it when something that signs with key_evp (TLS,
 * a request, CMS) failed, before setting an error of your own. When the key had a failure it becomes *errp and is
 * forgotten here; returns true then.
 */
bool key_failure(struct key *key, struct err **errp);

/* Signs and verifies in software: is this pair usable? 0, or -1 with ERR_TOKEN. */
int key_self_check(struct key *key, struct err **errp);
