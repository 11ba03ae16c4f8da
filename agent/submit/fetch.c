#include "agent/submit/fetch.h"

#include <string.h>
#include <strings.h>

#include "agent/submit/policy_read.h"
#include "protocol/base/printable.h"
#include "protocol/xcep/xcep.h"

static int write_request(const struct soap_header *header, const struct wsse_security *security, const void *message,
    struct bytes *out, struct err **errp)
{
    return xcep_request_write(header, security, message, out, errp);
}

static int check_id(const char *wanted, const char *got, struct err **errp)
{
    CLEANUP(mem_freep) char *shown = printable_text(got);

    if (!wanted || (got && strcasecmp(wanted, got) == 0))
        return 0;
    err_set(errp, ERR_POLICY, "the server serves policy '%s', not '%s'", shown, wanted);
    return err_hint(errp,
        "two addresses are one policy only where both serve the same policy-id: correct policy-id, or "
        "the address");
}

int fetch_policy(const struct call_peer *peer, const char *policy_id, const struct opt_time *last_update,
    struct policy *out, struct err **errp)
{
    /* Without a filter, or with versions absent, newer templates stay hidden [MS-XCEP] 3.1.4.1.3.22. */
    struct xcep_request request = {.last_update = *last_update,
        .has_filter = true,
        .client_version = {.set = true},
        .server_version = {.set = true}};
    const struct call what = {
        .action = XCEP_ACTION_REQUEST, .write = write_request, .message = &request, .answer_limit = FETCH_ANSWER_LIMIT};
    CLEANUP(call_answer_clear) struct call_answer answer = {0};
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};

    if (call(peer, &what, &answer, errp) < 0)
        return -1;
    if (soap_message_fault(answer.message))
        return call_fault(soap_message_fault(answer.message), errp);
    if (xcep_response_parse(answer.message, &response, errp) < 0) {
        err_wrap(errp, "reading the policy");
        return err_hint(errp, "the policy server's answer breaks the protocol; 'autoenroll decode' shows where");
    }
    if (check_id(policy_id, response.policy_id, errp) < 0)
        return -1;
    if (response.policies_not_changed.set && response.policies_not_changed.value) {
        if (last_update->set)
            return FETCH_NOT_CHANGED;
        err_set(errp, ERR_PROTOCOL, "the server says 'not changed' to a first question");
        return err_hint(errp, "the policy server or a cache before it answers somebody else's question");
    }
    policy_read(&response, answer.date.set ? answer.date.value : peer->now, out);
    return FETCH_DONE;
}
