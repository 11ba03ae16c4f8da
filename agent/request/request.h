/* request.h - template, names and key to the bytes to submit. */
#pragma once

#include "agent/key/key.h"
#include "agent/request/machine.h"
#include "agent/request/subject.h"
#include "policy/policy.h"
#include "protocol/pki/cert.h"
#include "protocol/wstep/wstep.h"

/* All borrowed. */
struct request_spec {
    const struct template *template;
    const struct subject *subject;
    const struct machine *machine;
    struct key *key;
    const struct cert *old; /* renewal: the certificate that is renewed; NULL for a first enrollment */
    struct key *old_key;    /* and its key, which signs too; may be @key */
};

/* The kind of key that @template wants and that we would use. 0, or -1 with ERR_POLICY: none of ours fits. */
int request_key_kind(const struct template *template, enum key_kind *kind, struct err **errp);

/*
 * Builds and signs, [MS-WCCE] 3.1.2.4.2.1. New: PKCS#10 for schema 1, CMC from schema 2 on. Renewal: CMS around
 * PKCS#10 for schema 1, CMC with two signers from schema 2 on. The extensions of the policy are copied unchanged.
 *
 * @request  overwritten
 * @token    what to label it
 * Returns 0, or -1: ERR_POLICY, ERR_INVALID, ERR_TOKEN.
 */
int request_build(const struct request_spec *spec, struct bytes *request, enum wstep_token *token, struct err **errp);
