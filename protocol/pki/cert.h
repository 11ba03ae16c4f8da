/* cert.h - the facts we use about a certificate. */
#pragma once

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/opt.h"
#include "protocol/pki/msext.h"
#include "protocol/pki/name.h"
#include "protocol/pki/pubkey.h"
#include "protocol/pki/san.h"

#define CERT_MAX_DER  (64u << 10) /* longest certificate that we take */
#define CERT_MAX_LIST 256         /* most certificates in one file */

/* Plain facts; everything owned. Fill only by cert_parse and its kin. */
struct cert {
    X509 *x509;
    struct bytes der;
    char *subject; /* RFC 4514, "" for an empty one; safe to print */
    char *issuer;
    struct bytes subject_der;
    struct bytes issuer_der;
    char *serial; /* lower-case hexadecimal, even number of digits, "-" in front of a negative one */
    char *sha1;   /* thumbprints of the DER, lower-case hexadecimal */
    char *sha256;
    int64_t not_before; /* seconds since 1970, UTC */
    int64_t not_after;
    struct pubkey key;
    struct bytes ski; /* subject key identifier, empty where absent */
    struct bytes aki; /* key identifier of the authority key identifier, empty where absent */
    bool is_ca;
    bool has_key_usage;
    uint32_t key_usage; /* bits as in msext_key_usage_parse */
    bool has_eku;       /* false: good for every purpose */
    struct strlist eku; /* dotted */
    struct strlist application_policies;
    char *signature_algorithm; /* dotted OID */
    char *signature_hash;      /* "SHA256", "SHA1", ...; NULL where unknown */
    struct san_list san;
    char *template_name;           /* 1.3.6.1.4.1.311.20.2, or NULL */
    struct template_info template; /* 1.3.6.1.4.1.311.21.7; oid is NULL where absent */
    char *sid;                     /* 1.3.6.1.4.1.311.25.2, or NULL */
    struct strlist malformed;      /* of the Microsoft extensions above, those that do not decode, dotted */
};

struct cert_list {
    struct cert **items; /* each owned */
    size_t n;
};

/*
 * Reads one certificate. Bytes behind it, more than CERT_MAX_DER, an extension twice, and any of the extensions above
 * that does not decode are refused; but for the Microsoft ones, which are noted as malformed.
 *
 * @out  written on success: returns owned
 * Return 0 or -1 (ERR_INVALID, code CRYPT_E_ASN1_CORRUPT).
 */
int cert_parse(const void *der, size_t len, struct cert **out, struct err **errp);
int cert_from_x509(const X509 *x509, struct cert **out, struct err **errp); /* the same, from a copy of @x509 */
/* The first "CERTIFICATE" block of @text; text around it is skipped. */
int cert_from_pem(const char *text, size_t len, struct cert **out, struct err **errp);
/* Appends the PEM block of @cert, with subject and dates in no comment. 0 or -1 (@out is full). */
int cert_to_pem(const struct cert *cert, struct bytes *out, struct err **errp);
void cert_free(struct cert *cert); /* takes; NULL is fine */
DEFINE_FREEP(struct cert, cert_free)

/* Every "CERTIFICATE" block of @text, at least one; @out is overwritten. 0 or -1 (says which block is wrong). */
int cert_list_from_pem(const char *text, size_t len, struct cert_list *out, struct err **errp);
int cert_list_to_pem(const struct cert_list *list, struct bytes *out, struct err **errp); /* appends */
void cert_list_add(struct cert_list *list, struct cert *cert);                            /* takes @cert */
/* The one with exactly these bytes; borrowed, or NULL. */
const struct cert *cert_list_find(const struct cert_list *list, const struct bytes *der);
void cert_list_clear(struct cert_list *list); /* frees, leaves {0}; also the CLEANUP form */

struct cert *cert_dup(const struct cert *cert);                        /* returns owned, never NULL */
bool cert_equal(const struct cert *a, const struct cert *b);           /* byte for byte */
bool cert_same_key(const struct cert *cert, const struct bytes *spki); /* as pubkey_equal */
bool cert_has_eku(const struct cert *cert, const char *oid);           /* explicitly there */
bool cert_is_self_issued(const struct cert *cert);                     /* subject and issuer are the same name */

/* RSA >= 2048 or P-256/384/521, signed with SHA-256 or better. 0 or -1 (ERR_UNTRUSTED). */
int cert_strength_check(const struct cert *cert, struct err **errp);

enum cert_chain_flags {
    CERT_CHAIN_PARTIAL = 1 << 0, /* an anchor may be an intermediate CA */
    CERT_CHAIN_STRONG = 1 << 1,  /* every certificate of the chain passes cert_strength_check, but for the
                                    signature of the anchor, which nobody relies on */
};

/*
 * Verifies that @leaf was issued under one of @anchors, for any purpose, at @now. The system's own trust and revocation
 * take no part.
 *
 * @intermediates  candidates, untrusted, in any order; may be NULL
 * @now            seconds since 1970, UTC
 * @flags          enum cert_chain_flags
 * @chain_out      overwritten with copies, @leaf first and the anchor last; may be NULL
 * Return 0 or -1 (ERR_UNTRUSTED, in OpenSSL's words, with the certificate at which it failed; code CERT_E_*).
 */
int cert_chain_verify(const struct cert *leaf, const struct cert_list *intermediates, const struct cert_list *anchors,
    int64_t now, unsigned flags, struct cert_list *chain_out, struct err **errp);
