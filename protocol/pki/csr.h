/* csr.h - builds and reads a PKCS#10 request. */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>

#include "protocol/base/bytes.h"
#include "protocol/pki/cert.h"
#include "protocol/pki/msext.h"
#include "protocol/pki/name.h"
#include "protocol/pki/pubkey.h"
#include "protocol/pki/san.h"

#define CSR_MAX_DER        (1u << 20)
#define CSR_MAX_ATTRIBUTES 64
#define CSR_MAX_EXTENSIONS 64

struct csr_extension {
    char *oid; /* owned, dotted */
    bool critical;
    struct bytes value; /* content of extnValue */
};
struct csr_extensions {
    struct csr_extension *items;
    size_t n;
};
struct csr_attribute {
    char *oid;          /* owned, dotted */
    struct bytes value; /* DER of the one value */
};
struct csr_attributes {
    struct csr_attribute *items;
    size_t n;
};

/* Each copies what it is given. */
void csr_extensions_add(struct csr_extensions *list, const char *oid, bool critical, const struct bytes *value);
const struct csr_extension *csr_extensions_find(const struct csr_extensions *list, const char *oid); /* or NULL */
void csr_extensions_clear(struct csr_extensions *list);
void csr_attributes_add(struct csr_attributes *list, const char *oid, const struct bytes *value);
const struct csr_attribute *csr_attributes_find(const struct csr_attributes *list, const char *oid); /* or NULL */
void csr_attributes_clear(struct csr_attributes *list);

/* What to ask for. */
struct csr_spec {
    struct bytes subject;             /* DER of a Name (name_parse); empty: the empty name */
    struct csr_extensions extensions; /* without a subject key identifier: it is added, the SHA-1 of the key's bits */
    struct csr_attributes attributes; /* without extensionRequest: it is made of the extensions */
    const char *hash;                 /* "SHA256", "SHA384", "SHA512"; borrowed */
    bool pss;                         /* RSA only: RSASSA-PSS, salt as long as the hash */
};
void csr_spec_clear(struct csr_spec *spec);

/*
 * Builds and signs; then reads the result back, verifies it in software, and only then gives it out.
 *
 * @key  borrowed; may be a token's, which is only asked to sign
 * @der  overwritten
 * Return 0 or -1 (ERR_INVALID: the spec; ERR_INTERNAL or ERR_TOKEN: signing failed or does not verify).
 */
int csr_build(const struct csr_spec *spec, EVP_PKEY *key, struct bytes *der, struct err **errp);

/* A request as read. Everything is owned; what is absent is NULL, empty or false. */
struct csr {
    struct bytes der;
    struct bytes subject_der;
    char *subject; /* RFC 4514, "" for an empty one; safe to print */
    struct pubkey key;
    char *signature_algorithm; /* dotted OID */
    char *signature_hash;      /* "SHA256", ...; NULL where unknown */
    bool null_signature;       /* "signed" with a bare hash of the content */

    struct csr_attributes attributes; /* all of them, in the order of the DER; without the requests for extensions */
    struct csr_extensions extensions; /* of both attributes that request extensions */

    struct bytes ski;              /* from the extension */
    char *template_name;           /* extension 1.3.6.1.4.1.311.20.2 */
    struct template_info template; /* extension 1.3.6.1.4.1.311.21.7; oid is NULL where absent */
    struct san_list san;
    bool has_eku;
    struct strlist eku;
    struct strlist application_policies;
    bool has_key_usage;
    uint32_t key_usage;
    char *sid;

    bool has_client_info;
    struct client_info client_info;
    char *os_version;
    bool has_csp;
    struct enrollment_csp csp;
    struct name_values name_values;
    struct cert *old_cert; /* 1.3.6.1.4.1.311.13.1: this is a renewal */
    bool attestation;      /* any of 1.3.6.1.4.1.311.21.23, .24, .33, .39 */
};

/*
 * Reads a request; no signature is checked. Refused, as ERR_INVALID with the code that a CA gives: wrong DER, bytes
 * behind it (CRYPT_E_ASN1_CORRUPT), more than one value in an attribute, an attribute or an extension twice, the two
 * requests for extensions contradicting each other (ERROR_INVALID_DATA), a renewal attribute that is no certificate
 * (CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE), values that do not decode (ERROR_INVALID_DATA).
 *
 * @out  written on success: returns owned
 */
int csr_parse(const void *der, size_t len, struct csr **out, struct err **errp);

/*
 * Adds what came outside of the PKCS#10, in controls of CMC. An extension that is there already is refused
 * (ERROR_INVALID_DATA); so is an attribute with another value, but for client info, where the inner one stays.
 */
int csr_add_extension(struct csr *csr, const struct csr_extension *extension, struct err **errp);
int csr_add_attribute(struct csr *csr, const struct csr_attribute *attribute, struct err **errp);

/*
 * Verifies the proof of possession: the signature by the key in the request. A null signature verifies only where
 * @allow_null, and then proves nothing: an outer signature must.
 * Return 0 or -1 (ERR_INVALID, code NTE_BAD_SIGNATURE).
 */
int csr_verify(const struct csr *csr, bool allow_null, struct err **errp);

void csr_free(struct csr *csr); /* takes; NULL is fine */
DEFINE_FREEP(struct csr, csr_free)
