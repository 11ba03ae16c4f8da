/* judge.h - decides by the template whether the CA may issue what a request asks for. */
#pragma once

#include "protocol/pki/payload.h"
#include "server-ref/config.h"

/* JUDGE_PEND: a person has to approve it. */
#define JUDGE_PEND 1

/* What there is to know. Borrowed throughout. */
struct judge_case {
    const struct config *config;
    const struct payload *payload; /* verified, and the old certificate is one of ours, in time and not revoked */
    const struct name_values *attributes; /* AdditionalContext */
    const char *account;                  /* of the caller, or of whom the renewed certificate was issued to */
    bool by_key;                          /* renewed on behalf of, by the old key alone: no account takes part */
    bool approved;                        /* a person said yes to a pending one */
};

struct judgement {
    const struct cert_template *template; /* borrowed from the configuration; set as soon as it is known */
    struct bytes subject;                 /* DER of a Name */
    struct san_list san;
    char *sid; /* owned; NULL: none */
};
void judgement_clear(struct judgement *judgement);

/*
 * Goes through [MS-WSTEP notes] 5.4.3 (6 to 8) and 6.2 (7, 8) in their order. Pure.
 *
 * @judgement  overwritten, also on failure as far as it came
 * Return 0: issue; JUDGE_PEND; -1 (ERR_DENIED with the HRESULT).
 */
int judge(const struct judge_case *the_case, struct judgement *judgement, struct err **errp);

/* The template that a certificate says it is of; borrowed from @config; NULL when it is none of those. */
const struct cert_template *judge_template_of(const struct config *config, const struct cert *cert);
