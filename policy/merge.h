/* merge.h - makes one policy of the answers of several CEPs that serve the same one. */
#pragma once

#include "policy/policy.h"

/*
 * Adds what @from has and @to has not: CAs (the same when their certificates are), addresses of a CA, templates (the
 * same when their OIDs are). Of a template that both have, the attributes of @to stay and the permissions add up:
 * each CEP answered for the identity that asked it [MS-XCEP 3.1.4.1.3.11]. So the cheapest goes first.
 */
void policy_merge(struct policy *to, const struct policy *from);
