/* policy_read.h - turns the answer of a CEP into policy: references resolved, everything bounded. */
#pragma once

#include "policy/policy.h"
#include "protocol/xcep/xcep.h"

/*
 * What cannot be read is left out with a sentence in out->skipped: a template with a reference that leads nowhere, a CA
 * whose certificate is none, text that is too long. The rest is served. An empty policy gets a sentence too, since it
 * mostly means that rights are missing.
 *
 * @fetched_at  seconds since 1970, UTC
 * @out         filled; what it held is not freed
 */
void policy_read(const struct xcep_response *response, int64_t fetched_at, struct policy *out);
