/* install.h - checks an answer: ours, trusted, and what the template wants, or nothing is installed. */
#pragma once

#include "agent/job/job.h"
#include "agent/key/key.h"
#include "policy/policy.h"
#include "protocol/pki/cert.h"

#define INSTALL_CLOCK_SKEW 600 /* seconds that notBefore may lie ahead of our clock */

/* The answer as it came, and what it is held against. All borrowed. */
struct install_question {
    const struct bytes *cms;         /* CMC response or certificates only; may be empty */
    const struct bytes *certificate; /* the leaf alone; may be empty: it is in @cms then */
    const struct key *key;           /* the one that was asked for */
    const struct template *template;
    const struct policy_ca *cas; /* those that were asked: the answer must come from one of them */
    size_t n_cas;
    const struct cert_list *anchors; /* the administrator's */
    int64_t now;                     /* seconds since 1970, UTC */
};

/*
 * Exactly one leaf, which carries our public key; the CA's response says issued, names
 * that leaf, and is signed by a CA of its chain; the chain goes through a CA of the policy to an anchor of the
 * administrator's (policy narrows trust, it never widens it); no CA certificate; not weaker than RSA 2048, P-256 and
 * SHA-256; the extended key usages of the template, all of them and no others; its template, where it names one; dates
 * that make sense.
 *
 * @pair   certificate and chain; key_id and key_file are the caller's
 * @facts  but for key_uri, the caller's
 * Both are filled on success; what they held is not freed.
 * Returns 0, or -1 with ERR_UNTRUSTED (ERR_INVALID for what is no certificate at all) and a hint.
 */
int install_check(
    const struct install_question *question, struct job_pair *pair, struct job_facts *facts, struct err **errp);
