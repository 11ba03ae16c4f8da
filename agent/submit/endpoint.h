/* endpoint.h - puts the addresses that a request may go to in the order in which to try them. */
#pragma once

#include "policy/policy.h"

/* One address of one CA. Borrowed from the CAs it was made of. */
struct endpoint {
    const struct policy_ca *ca;
    const struct policy_uri *uri;
    const char *refused; /* why it is not tried; NULL: try it */
    uint32_t rank[5];    /* smaller goes first, compared in turn */
};
struct endpoint_list {
    struct endpoint *items; /* owned */
    size_t n;
    size_t n_usable; /* these come first, in order; the refused ones follow */
};
void endpoint_list_clear(struct endpoint_list *list);

struct endpoint_question {
    const struct policy_ca *cas; /* borrowed; for a renewal the issuer first */
    size_t n_cas;
    bool renewal;
    bool password_fallback; /* a renewal may use a password */
    uint32_t auths;         /* the enum policy_auth values that we have a credential for, or-ed */
};

/*
 * The addresses of CAs that we may use and that we can authenticate to, [MS-XCEP] 3.1.4.1.3.5; for a renewal the
 * issuer before other CAs and renewal addresses before general ones; then priority, then kind, then chance.
 * Pure, but for @chance, which is called once for each address.
 */
void endpoint_order(const struct endpoint_question *question, uint32_t (*chance)(void), struct endpoint_list *out);
