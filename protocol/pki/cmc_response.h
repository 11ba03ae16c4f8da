/* cmc_response.h - the answer of a CA: full CMC response or certificates only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/opt.h"
#include "protocol/pki/cert.h"
#include "protocol/pki/cms.h"
#include "protocol/pki/csr.h"

enum cmc_status { CMC_ISSUED = 0, CMC_FAILED = 2, CMC_PENDING = 3 };

/* What a CA answers, [MS-WCCE] 2.2.2.8. Borrowed throughout. */
struct cmc_response_spec {
    enum cmc_status status;
    const char *text;                     /* "Issued", "Taken Under Submission", ... or NULL */
    const struct bytes *pend_token;       /* CMC_PENDING */
    int64_t pend_time;                    /* CMC_PENDING: when the request was received */
    const struct cert *leaf;              /* CMC_ISSUED; is enclosed */
    const struct cert_list *certificates; /* the CA's chain; may be NULL */
    const struct cms_signer *ca;          /* by issuer and serial number; its certificate is enclosed */
};
int cmc_response_build(const struct cmc_response_spec *spec, struct bytes *out, struct err **errp);

/* An answer as read. Everything is owned. */
struct cmc_response {
    bool certs_only;        /* degenerate: status is CMC_ISSUED, and there is no signer */
    enum cmc_status status; /* any other number on the wire is refused but for the RFC's noSupport, confirmRequired,
                               popRequired and partial (4 to 7), which read as CMC_FAILED */
    uint32_t raw_status;    /* as it came */
    char *text;             /* statusString, safe to print; or NULL */
    struct opt_u32 fail_info;
    struct bytes pend_token;
    struct opt_time pend_time;
    struct csr_attributes attributes; /* of control 1.3.6.1.4.1.311.10.10.1 */
    struct bytes issued_hash;         /* attribute 1.3.6.1.4.1.311.21.17 */
    struct bytes key_hash;            /* attribute 1.3.6.1.4.1.311.21.21 */
    bool challenge;                   /* attribute 1.3.6.1.4.1.311.21.28 is there */
    struct cms *cms;                  /* certificates and signer */
};

/*
 * Reads an answer; no signature is checked.
 *
 * @out  written on success: returns owned
 * Return 0 or -1 (ERR_INVALID).
 */
int cmc_response_parse(const void *der, size_t len, struct cmc_response **out, struct err **errp);
/* The same, of a SignedData that is parsed already: takes *@cms and leaves NULL there, on success only. */
int cmc_response_from_cms(struct cms **cms, struct cmc_response **out, struct err **errp);

/*
 * Verifies that a CA signed @response. Its certificate is looked for among those enclosed and @candidates, by issuer
 * and serial number, or as the specification prints it, by subject and serial number. Whether that CA is one to trust
 * is the caller's question: it should be in the leaf's chain.
 *
 * @candidates  may be NULL
 * @signer      the certificate of the signer; borrowed from either; may be NULL; set to NULL for certs_only
 * Return 0 (also for certs_only, which has no signature), or -1 (ERR_UNTRUSTED).
 */
int cmc_response_verify(
    struct cmc_response *response, const struct cert_list *candidates, const struct cert **signer, struct err **errp);

/*
 * The issued certificate among those enclosed: whose SHA-1 is the issued hash, else whose key is @spki; never
 * by position. Borrowed; NULL with ERR_UNTRUSTED when there is none, or when what the hash names has another key.
 *
 * @spki  may be NULL: by hash only
 */
const struct cert *cmc_response_leaf(const struct cmc_response *response, const struct bytes *spki, struct err **errp);
/* That the status is issued, and that the issued hash, where there is one, is that of @leaf. 0 or -1 (ERR_UNTRUSTED).
 */
int cmc_response_check_leaf(const struct cmc_response *response, const struct cert *leaf, struct err **errp);

void cmc_response_free(struct cmc_response *response); /* takes; NULL is fine */
DEFINE_FREEP(struct cmc_response, cmc_response_free)
