/* payload.h - tells what a security token carries, and takes it apart whatever it is. */
#pragma once

#include <stddef.h>

#include "protocol/base/bytes.h"
#include "protocol/pki/cert.h"
#include "protocol/pki/cmc.h"
#include "protocol/pki/cmc_response.h"
#include "protocol/pki/cms.h"
#include "protocol/pki/csr.h"

#define PAYLOAD_MAX_DER (1u << 20)

/* By the DER alone, since senders label it in several ways: kind, and what it is for a person. */
#define PAYLOAD_KINDS(X)                                                                                               \
    X(PKCS10, "PKCS#10 request")                                                                                       \
    X(CMS_PKCS10, "CMS around a PKCS#10 request")                                                                      \
    X(CMC, "CMC request")                                                                                              \
    X(CMC_RESPONSE, "CMC response")                                                                                    \
    X(CERTS_ONLY, "certificates only")                                                                                 \
    X(ENVELOPED, "enveloped data")                                                                                     \
    X(CERTIFICATE, "certificate")
#define X(name, text) PAYLOAD_##name,
enum payload_kind { PAYLOAD_KINDS(X) PAYLOAD__MAX };
#undef X

/* Everything is owned; what does not belong to the kind is NULL or empty. */
struct payload {
    enum payload_kind kind;
    struct csr *csr;              /* PKCS10, CMS_PKCS10, CMC: of exactly the signed bytes, with what the controls add */
    struct cmc_controls controls; /* CMC: as they came */
    struct cms *cms;              /* CMS_PKCS10, CMC: signers and certificates */
    struct cmc_response *response; /* CMC_RESPONSE, CERTS_ONLY */
    struct cert *cert;             /* CERTIFICATE */
    size_t recipients;             /* ENVELOPED */
    const char *requester;         /* on behalf of whom: of the regInfo or a signed attribute; borrowed; or NULL */
};

/*
 * Reads @der; verifies nothing.
 *
 * @out  written on success: returns owned
 * Return 0 or -1 (ERR_INVALID with the code that a CA gives, see csr_parse, cms_parse, cmc_data_parse;
 * CRYPT_E_INVALID_MSG_TYPE when it is nothing of the kinds above).
 */
int payload_parse(const void *der, size_t len, struct payload **out, struct err **errp);

/*
 * Verifies a request as far as the message itself goes, [MS-WCCE] 3.2.2.6.2.1: the inner signature;
 * every outer one, by the key of the PKCS#10 where the signer is named by its key identifier, by the enclosed
 * certificate otherwise; for a renewal, that the old certificate is enclosed and signed. Whether the signers'
 * certificates are to be trusted is the caller's question. A kind that is not a request: CRYPT_E_INVALID_MSG_TYPE.
 *
 * Return 0, or -1 (ERR_INVALID with one of NTE_BAD_SIGNATURE, CRYPT_E_NO_SIGNER, CRYPT_E_SIGNER_NOT_FOUND,
 * CRYPT_E_HASH_VALUE, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE, ERROR_INVALID_DATA, CRYPT_E_INVALID_MSG_TYPE); every
 * signer that was reached says in `verified` and `reason` what became of it.
 */
int payload_verify(struct payload *payload, struct err **errp);

/* The signer made with the old certificate of a renewal, or with an agent's; borrowed, or NULL. */
const struct cms_signer_info *payload_cert_signer(const struct payload *payload);

const char *payload_kind_name(enum payload_kind kind); /* for a person */
void payload_free(struct payload *payload);            /* takes; NULL is fine */
DEFINE_FREEP(struct payload, payload_free)
