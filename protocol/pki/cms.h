/* cms.h - signs CMS messages and takes them apart, with one signer or several. */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>

#include "protocol/base/bytes.h"
#include "protocol/pki/cert.h"
#include "protocol/pki/csr.h"

#define CMS_MAX_DER          (1u << 20)
#define CMS_MAX_CERTIFICATES 64
#define CMS_MAX_SIGNERS      16
#define CMS_MAX_ATTRIBUTES   64

/* Somebody who signs. Borrowed throughout. */
struct cms_signer {
    EVP_PKEY *key;              /* may be a token's, which is only asked to sign */
    const struct cert *cert;    /* named by issuer and serial number; NULL: by subject key identifier */
    const char *hash;           /* "SHA256", "SHA384", "SHA512" */
    bool pss;                   /* RSA only: RSASSA-PSS, salt as long as the hash */
    const struct bytes *key_id; /* by subject key identifier: which; NULL: the SHA-1 of the key's bits */
    const char *requester;      /* NULL, or DOMAIN\account for a signed attribute requestername */
};

/*
 * Signs @content; then reads the result back and verifies every signature in software before it gives it out.
 *
 * @content_type  dotted
 * @certificates  to enclose besides those of the signers; may be NULL
 * @signers       0 of them: a degenerate message, and @content is left out
 * @out           overwritten
 * Return 0 or -1 (ERR_INTERNAL or ERR_TOKEN).
 */
int cms_sign(const char *content_type, const struct bytes *content, const struct cert_list *certificates,
    const struct cms_signer *signers, size_t n, struct bytes *out, struct err **errp);

/*
 * Renewal of a certificate of a schema 1 template: CMS around PKCS#10. @old->cert is the old certificate, and the
 * one in attribute 1.3.6.1.4.1.311.13.1 of @csr.
 */
int cms_build_renewal(const struct bytes *csr, const struct cms_signer *old, struct bytes *out, struct err **errp);
/* On behalf of @agent->requester; @agent->cert is the enrollment agent's. */
int cms_build_on_behalf(const struct bytes *csr, const struct cms_signer *agent, struct bytes *out, struct err **errp);
/* The degenerate answer: certificates, no content, no signer. */
int certs_only_build(const struct cert_list *certificates, struct bytes *out, struct err **errp);

enum cms_signer_id { CMS_BY_KEY_ID, CMS_BY_ISSUER_SERIAL };

/* A SignerInfo as read. Everything is owned, but for @cert. */
struct cms_signer_info {
    enum cms_signer_id id;
    struct bytes key_id;       /* CMS_BY_KEY_ID */
    char *issuer;              /* CMS_BY_ISSUER_SERIAL: RFC 4514, safe to print */
    char *serial;              /* and as in struct cert */
    char *hash;                /* "SHA256", ...; the dotted OID where unknown */
    char *signature_algorithm; /* dotted OID */
    bool no_signature;         /* a bare digest, 1.3.6.1.5.5.7.6.2 */
    bool signed_attributes;
    char *content_type;      /* the signed attribute, or NULL */
    char *requester;         /* the signed name/value pair requestername, or NULL */
    bool archived_key;       /* unsigned attribute 1.3.6.1.4.1.311.21.13 is there */
    const struct cert *cert; /* the one enclosed certificate it names; borrowed from the message; NULL where none */
    bool verified;           /* set by whoever verified it */
    char *reason;            /* why not; NULL while nobody has tried or all is well */
};

struct cms_handle; /* OpenSSL's view of the same message */

/* A SignedData as read. Everything is owned. */
struct cms {
    char *content_type;
    bool has_content;
    struct bytes content; /* the very octets that the signatures cover */
    struct cert_list certificates;
    struct cms_signer_info *signers;
    size_t n_signers;
    struct cms_handle *handle;
};

/*
 * Reads a ContentInfo with SignedData; verifies nothing. Bytes behind it and more than the limits above are refused.
 * Two different enclosed certificates with one issuer and serial number are refused: nobody could tell who signed.
 * Return 0 or -1 (ERR_INVALID, code CRYPT_E_ASN1_CORRUPT, CRYPT_E_INVALID_MSG_TYPE or ERROR_INVALID_DATA).
 */
int cms_parse(const void *der, size_t len, struct cms **out, struct err **errp);

/*
 * Verifies one signer by @spki: its signature, the content type and the message digest among the signed attributes,
 * over exactly cms->content. Where @spki is NULL only a bare digest can be verified. Sets `verified` and `reason`.
 * Return 0 or -1 (ERR_INVALID, code NTE_BAD_SIGNATURE, CRYPT_E_HASH_VALUE or ERROR_INVALID_DATA).
 */
int cms_verify_signer(struct cms *cms, size_t signer, const struct bytes *spki, struct err **errp);

void cms_free(struct cms *cms); /* takes; NULL is fine */
DEFINE_FREEP(struct cms, cms_free)

/* How many recipients an EnvelopedData has; -1 (ERR_INVALID) when @der is none. */
int cms_count_recipients(const void *der, size_t len, struct err **errp);
