/* cep.h - the policy server: GetPolicies, for whoever asks. */
#pragma once

#include "protocol/xcep/xcep.h"
#include "server-ref/server.h"

/* Answers GetPolicies, [MS-XCEP] 3.1.4.1. 0, FAULT or -1. */
int cep_handle(const struct server_call *call, struct bytes *body, struct fault *fault, struct err **errp);

/* What a policy is made for. Borrowed throughout. */
struct cep_view {
    const struct config *config;
    const struct bytes *ca_certificate; /* DER */
    const char *const *addresses;       /* of config->services, in their order */
    const char *account;
    bool by_key; /* only templates that renew by their key */
};

/* The policy of one caller. Pure. @response is overwritten. 0 or -1 (ERR_INVALID). */
int cep_policy(
    const struct cep_view *view, const struct xcep_request *request, struct xcep_response *response, struct err **errp);

/*
 * Whether a request may see a template with these privateKeyFlags, by the two version numbers of their
 * compatibility, [MS-XCEP] 3.1.4.1.3.22. Pure.
 *
 * @maximum  this server's
 */
bool cep_version_fits(const struct xcep_request *request, uint32_t private_key_flags, uint32_t maximum);
