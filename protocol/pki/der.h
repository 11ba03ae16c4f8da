/* der.h - reads and writes DER through OpenSSL's templates, its failures as ours. */
#pragma once

#include <openssl/asn1t.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>

#include "protocol/base/bytes.h"
#include "protocol/pki/hresult.h"

/* CLEANUP forms for what OpenSSL gives. */
DEFINE_FREEP(ASN1_OBJECT, ASN1_OBJECT_free)
DEFINE_FREEP(ASN1_TYPE, ASN1_TYPE_free)
DEFINE_FREEP(EVP_MD, EVP_MD_free)
DEFINE_FREEP(EVP_MD_CTX, EVP_MD_CTX_free)
DEFINE_FREEP(EVP_PKEY, EVP_PKEY_free)
DEFINE_FREEP(X509, X509_free)
DEFINE_FREEP(X509_NAME, X509_NAME_free)
/* The same for a type of our own ASN.1 templates. */
#define DER_FREEP(type)                                                                                                \
    static inline void type##_freep(type **p)                                                                          \
    {                                                                                                                  \
        ASN1_item_free((ASN1_VALUE *)*p, ASN1_ITEM_rptr(type));                                                        \
    }

static inline void DER_SEQUENCE_ANY_freep(ASN1_SEQUENCE_ANY **list)
{
    sk_ASN1_TYPE_pop_free(*list, ASN1_TYPE_free);
}

/* Sets an ERR_INVALID that carries the HRESULT @code. Returns -1. */
int der_refuse(struct err **errp, uint32_t code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Sets an err whose text ends in what OpenSSL says, and empties OpenSSL's queue. Returns -1. */
int der_fail(struct err **errp, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* That @der is one value of definite length from end to end. 0 or -1, as der_read. */
int der_check_frame(const void *der, size_t len, const char *what, struct err **errp);
/*
 * Reads exactly one value of type @it that fills @der; @what is its name for the err, as "a certificate".
 * Returns owned (ASN1_item_free), NULL (ERR_INVALID, CRYPT_E_ASN1_EOD or CRYPT_E_ASN1_CORRUPT).
 */
void *der_read(const ASN1_ITEM *it, const void *der, size_t len, const char *what, struct err **errp);
/* Writes @value; @out is overwritten. 0 or -1 (ERR_INTERNAL). */
int der_write(const void *value, const ASN1_ITEM *it, struct bytes *out, struct err **errp);

/*
 * The text of any ASN.1 string type, or of UTF-8 in an OCTET STRING, as UTF-8: not longer than @max bytes, and nothing
 * in it that cannot be seen. Returns owned, NULL (ERR_INVALID, ERROR_INVALID_DATA).
 */
char *der_text(const ASN1_STRING *string, size_t max, const char *what, struct err **errp);
/* The bytes of a string type; @out is overwritten. */
void der_octets(const ASN1_STRING *string, struct bytes *out);
/* A string type with a copy of @data. Return 0 or -1. */
int der_set_octets(ASN1_STRING *string, const void *data, size_t len, struct err **errp);
/* An INTEGER of 0 to 2^32-1. 0 or -1. */
int der_u32(const ASN1_INTEGER *integer, uint32_t *value, const char *what, struct err **errp);
/* An INTEGER of any size in lower-case hexadecimal, two digits a byte, "-" in front. Returns owned. */
char *der_integer_hex(const ASN1_INTEGER *integer);
/* An ANY as the DER it is; @out is overwritten. 0 or -1. */
int der_any(const ASN1_TYPE *any, struct bytes *out, struct err **errp);
/* The reverse; returns owned, NULL (ERR_INVALID). */
ASN1_TYPE *der_any_read(const struct bytes *der, const char *what, struct err **errp);
/* Dotted text of an OBJECT IDENTIFIER; returns owned, NULL (ERR_INVALID) for one over our limit. */
char *der_oid(const ASN1_OBJECT *object, struct err **errp);
/* From dotted text; returns owned, NULL (ERR_INVALID). */
ASN1_OBJECT *der_object(const char *dotted, struct err **errp);
/* Seconds since 1970 of a UTCTime or GeneralizedTime. 0 or -1. */
int der_time(const ASN1_TIME *time, int64_t *when, struct err **errp);

/* A fetched digest by OpenSSL's name, "SHA256"; returns owned, NULL. */
EVP_MD *der_digest(const char *hash, struct err **errp);
/* "SHA256" of the digest, or of the signature algorithm with a digest in its name; borrowed, or NULL. */
const char *der_hash_name(int nid);
/* The hash that a signature algorithm uses, RSASSA-PSS included; as der_hash_name. */
const char *der_algorithm_hash(const X509_ALGOR *algorithm);
/* That @algorithm is a bare digest, which is what a null signature has for its algorithm. */
bool der_is_digest(const X509_ALGOR *algorithm);

/*
 * Starts a signature: @hash, and RSASSA-PSS with a salt as long as the hash where @pss.
 * Returns owned (EVP_MD_CTX_free), NULL on failure.
 */
EVP_MD_CTX *der_sign_init(EVP_PKEY *key, const char *hash, bool pss, struct err **errp);
/* What a failure to sign with @key is: ERR_TOKEN when another provider than OpenSSL's own holds it. */
enum err_kind der_key_failure(const EVP_PKEY *key);
/* SHA-1 or one of SHA-2: what may stand in a signature at all. Whether it is strong enough is another question. */
bool der_hash_is_known(const char *hash);
