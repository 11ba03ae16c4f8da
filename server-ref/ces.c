#include "server-ref/ces.h"

#include <inttypes.h>

#include "protocol/pki/hresult.h"

/* Turns what the CA refused into a fault, [MS-WSTEP notes] 4.1. */
static int ca_fault(struct ca_answer *answer, struct fault *fault)
{
    fault_set(fault, 500, SOAP_RECEIVER, SOAP_SUBCODE_NONE, "%s", answer->message);
    fault->has_detail = true;
    fault->detail.has_error_code = true;
    fault->detail.error_code = answer->hresult;
    fault->detail.invalid_request = (struct opt_bool){true, answer->state == REQUEST_DENIED};
    fault->detail.request_id = answer->request ? mem_printf("%" PRId64, answer->request) : NULL;
    fault->detail.binary_response = answer->cms;
    answer->cms = (struct bytes){0};
    return FAULT;
}

static int write_answer(const struct server_call *call, struct ca_answer *answer, struct bytes *body, struct err **errp)
{
    CLEANUP(wstep_response_clear)
    struct wstep_response response = {
        .outcome = answer->state == REQUEST_ISSUED ? WSTEP_ISSUED : WSTEP_PENDING,
        .disposition_message = mem_strdup(answer->message),
        .language = mem_strdup("en-US"),
        .request_id = mem_printf("%" PRId64, answer->request),
        .cms = answer->cms,
    };
    struct soap_header header = *call->header; /* borrows; only the action is added */
    static char action[] = WSTEP_ACTION_RESPONSE;

    answer->cms = (struct bytes){0};
    if (answer->leaf)
        bytes_copy(&response.certificate, &answer->leaf->der);
    if (response.outcome == WSTEP_PENDING)
        response.reference_uri = server_address(call->server, call->service);
    header.action = action;
    return wstep_response_write(&header, &response, body, errp);
}

static int tell(const struct server_call *call, struct ca_answer *answer, struct bytes *body, struct fault *fault,
    struct err **errp)
{
    if (answer->state == REQUEST_DENIED || answer->state == REQUEST_FAILED)
        return ca_fault(answer, fault);
    return write_answer(call, answer, body, errp);
}

static int handle_issue(const struct server_call *call, const struct wstep_request *request, struct bytes *body,
    struct fault *fault, struct err **errp)
{
    CLEANUP(name_values_clear) struct name_values attributes = {0};
    CLEANUP(ca_answer_clear) struct ca_answer answer = {0};
    struct submission submission = {
        .payload = &request->token,
        .attributes = &attributes,
        .caller = call->caller,
        .renewal_only = call->service->renewal_only,
        .misbehave = call->request->misbehave,
    };

    for (size_t i = 0; i < request->n_context; i++)
        name_values_add(
            &attributes, request->context[i].name, request->context[i].value ? request->context[i].value : "");
    if (request->token_type == WSTEP_CHALLENGE_RESPONSE)
        return fault_set_hresult(fault, 500, SOAP_SUBCODE_NONE, CERTSRV_E_INVALID_RESPONSE, "no challenge was made");
    if (ca_submit(call->server->ca, &submission, call->request->now, &answer, errp) < 0)
        return -1;
    return tell(call, &answer, body, fault, errp);
}

static int handle_query(const struct server_call *call, const struct wstep_request *request, struct bytes *body,
    struct fault *fault, struct err **errp)
{
    CLEANUP(ca_answer_clear) struct ca_answer answer = {0};

    if (ca_query(call->server->ca, request->request_id, call->caller, &answer, errp) < 0)
        return -1;
    return tell(call, &answer, body, fault, errp);
}

static int handle_ket(const struct server_call *call, const struct wstep_request *request __attribute__((unused)),
    struct bytes *body, struct fault *fault __attribute__((unused)), struct err **errp)
{
    CLEANUP(wstep_response_clear) struct wstep_response response = {.outcome = WSTEP_EXCHANGE};
    struct soap_header header = *call->header; /* borrows; only the action is added */
    static char action[] = WSTEP_ACTION_KET_RESPONSE;

    if (ca_exchange(call->server->ca, call->request->now, &response.exchange_certificate, errp) < 0)
        return -1;
    header.action = action;
    return wstep_response_write(&header, &response, body, errp);
}

static int (*const handlers[])(const struct server_call *call, const struct wstep_request *request, struct bytes *body,
    struct fault *fault, struct err **errp) = {
    [WSTEP_ISSUE] = handle_issue,
    [WSTEP_QUERY] = handle_query,
    [WSTEP_KET] = handle_ket,
};

int ces_handle(const struct server_call *call, struct bytes *body, struct fault *fault, struct err **errp)
{
    CLEANUP(wstep_request_clear) struct wstep_request request = {0};
    CLEANUP(err_freep) struct err *why = NULL;

    if (wstep_request_parse(call->message, &request, &why) < 0)
        return fault_set(fault, 500, SOAP_SENDER, SOAP_SUBCODE_DESERIALIZATION_FAILED, "%s", err_text(why));
    if (!wstep_action_fits(request.kind, soap_message_header(call->message)->action))
        return fault_set(fault, 500, SOAP_SENDER, SOAP_SUBCODE_ACTION_NOT_SUPPORTED,
            "the action does not fit the type of the request");
    return handlers[request.kind](call, &request, body, fault, errp);
}
