/* cmc.h - the CMC requests: new, renewal, on behalf of. */
#pragma once

#include <stddef.h>

#include "protocol/base/bytes.h"
#include "protocol/pki/cms.h"
#include "protocol/pki/csr.h"
#include "protocol/pki/msext.h"

#define CMC_MAX_CONTROLS 64

/* What goes beside the PKCS#10, [MS-WCCE] 2.2.2.7 and RFC 5272 6. {0} is none. */
struct cmc_controls {
    struct csr_attributes attributes; /* 1.3.6.1.4.1.311.10.10.1: client info, encrypted key hash */
    struct csr_extensions extensions; /* 1.3.6.1.5.5.7.7.8 */
    struct name_values reg_info;      /* 1.3.6.1.5.5.7.7.18; no "&", "=" or "%" in names and values */
    struct strlist unknown;           /* read only: object identifiers of controls that we do not know */
};
void cmc_controls_clear(struct cmc_controls *controls);

/*
 * Each makes a signed CMC request around @csr, verified in software before it is given out.
 *
 * @csr       DER of a PKCS#10; must have a subject key identifier extension, since the new key's signer refers to it
 * @controls  borrowed, may be NULL
 * @new_key   the key in @csr; its `cert` is NULL
 * @out       overwritten
 * Return 0 or -1.
 */
int cmc_build_new(const struct bytes *csr, const struct cmc_controls *controls, const struct cms_signer *new_key,
    struct bytes *out, struct err **errp);
/*
 * Renewal for a schema 2 template or later: two signers, the new key by key identifier and the old one by issuer and
 * serial number of @old->cert, which is enclosed and must be the certificate in attribute 1.3.6.1.4.1.311.13.1 of
 * @csr. The signers are a SET OF: the encoder puts the shorter first, which is the new key's unless the old key is EC
 * and the new RSA.
 */
int cmc_build_renewal(const struct bytes *csr, const struct cmc_controls *controls, const struct cms_signer *new_key,
    const struct cms_signer *old, struct bytes *out, struct err **errp);
/* On behalf of @requester (DOMAIN\account): regInfo, and the agent as second signer. */
int cmc_build_on_behalf(const struct bytes *csr, const char *requester, const struct cms_signer *new_key,
    const struct cms_signer *agent, struct bytes *out, struct err **errp);

/* The PKIData alone. */
int cmc_data_write(const struct bytes *csr, const struct cmc_controls *controls, struct bytes *out, struct err **errp);
/*
 * Reads a PKIData; exactly one PKCS#10. Outputs are overwritten.
 * Return 0 or -1 (ERR_INVALID, code ERROR_INVALID_DATA or CRYPT_E_ASN1_CORRUPT).
 */
int cmc_data_parse(const void *der, size_t len, struct bytes *csr, struct cmc_controls *controls, struct err **errp);
