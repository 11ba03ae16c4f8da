/* fetch.h - asks a CEP for its policy. */
#pragma once

#include "agent/submit/call.h"
#include "policy/policy.h"

#define FETCH_ANSWER_LIMIT (16u << 20) /* bytes; a large forest has some hundred thousand */

enum fetch_outcome { FETCH_DONE, FETCH_NOT_CHANGED };

/*
 * GetPolicies, [MS-XCEP] 3.1.4.1. Every template is asked for, whatever its version; what we cannot serve is for
 * policy/decide to say.
 *
 * @policy_id    what the answer's policyID must be; NULL: any
 * @last_update  absent: the full answer is wanted
 * @out          filled on FETCH_DONE, what it held is not freed: references resolved, out->skipped says what was left
 *               out and why; no template at all is an answer too
 * Returns FETCH_DONE, FETCH_NOT_CHANGED, or -1: as call; ERR_POLICY (another policyID), ERR_PROTOCOL.
 */
int fetch_policy(const struct call_peer *peer, const char *policy_id, const struct opt_time *last_update,
    struct policy *out, struct err **errp);
