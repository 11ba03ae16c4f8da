#include "agent/submit/submit.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/pki/cmc_response.h"
#include "protocol/pki/hresult.h"

void submit_answer_clear(struct submit_answer *answer)
{
    free(answer->request_id);
    free(answer->message);
    bytes_clear(&answer->cms);
    bytes_clear(&answer->certificate);
    *answer = (struct submit_answer){0};
}

static int write_request(const struct soap_header *header, const struct wsse_security *security, const void *message,
    struct bytes *out, struct err **errp)
{
    return wstep_request_write(header, security, message, out, errp);
}

/* What a refusal is to the one who must act, by the actions of hresult.h. */
static enum err_kind kind_of(const struct wstep_fault_detail *detail, const struct hresult *meaning)
{
    if (meaning->actions & HRESULT_CRED)
        return ERR_AUTH;
    if (meaning->actions & HRESULT_FORGET)
        return ERR_MISSING;
    if (detail->invalid_request.set && detail->invalid_request.value)
        return ERR_DENIED;
    return meaning->actions & HRESULT_LATER ? ERR_NETWORK : ERR_DENIED;
}

/* The reason, or where it is empty what the CA's own response says. Returns owned. */
static char *reason_of(const struct soap_fault *fault, const struct wstep_fault_detail *detail)
{
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;

    if (fault->reason && *fault->reason)
        return printable_text(fault->reason);
    if (detail->binary_response.len &&
        cmc_response_parse(detail->binary_response.data, detail->binary_response.len, &response, NULL) == 0)
        return printable_text(response->text);
    return mem_strdup("");
}

static int explain_detail(const struct soap_fault *fault, const struct wstep_fault_detail *detail, struct err **errp)
{
    CLEANUP(mem_freep) char *reason = reason_of(fault, detail);
    CLEANUP(mem_freep) char *id = detail->request_id ? printable_text(detail->request_id) : mem_strdup("none");
    CLEANUP(mem_freep) char *described = NULL;
    const struct hresult *meaning;

    if (!detail->has_error_code)
        return call_fault(fault, errp);
    meaning = hresult_find(detail->error_code);
    described = hresult_describe(detail->error_code);
    err_set(errp, kind_of(detail, meaning), "%s (the CA says '%s', request id %s)", described, reason, id);
    if (errp && *errp)
        err_set_code(*errp, detail->error_code);
    return err_hint(errp, "%s", meaning->todo);
}

static int explain_fault(const struct soap_message *message, struct err **errp)
{
    CLEANUP(wstep_fault_detail_clear) struct wstep_fault_detail detail = {0};

    if (wstep_fault_detail_parse(message, &detail, NULL) == 1)
        return explain_detail(soap_message_fault(message), &detail, errp);
    return call_fault(soap_message_fault(message), errp);
}

/* Neither certificate nor reference in the answer: the CA's own response decides. */
static int outcome_of_cms(const struct wstep_response *response, struct err **errp)
{
    CLEANUP(cmc_response_freep) struct cmc_response *cmc = NULL;
    CLEANUP(mem_freep) char *text = NULL;

    if (!response->cms.len) {
        err_set(errp, ERR_PROTOCOL, "the answer says neither issued nor pending");
        return err_hint(errp, "the enrollment service breaks the protocol; 'autoenroll decode' shows its answer");
    }
    if (cmc_response_parse(response->cms.data, response->cms.len, &cmc, errp) < 0) {
        err_wrap(errp, "reading the CA's response");
        return err_hint(errp, "the enrollment service breaks the protocol; 'autoenroll decode' shows its answer");
    }
    switch (cmc->status) {
    case CMC_ISSUED:
        return SUBMIT_ISSUED;
    case CMC_PENDING:
        if (response->request_id)
            return SUBMIT_PENDING;
        return err_set(errp, ERR_PROTOCOL, "the request is pending, but has no id to ask for it");
    case CMC_FAILED:
        break;
    }
    text = printable_text(cmc->text);
    err_set(errp, ERR_DENIED, "the CA refused the request: '%s'", text);
    return err_hint(errp, "the CA's administrator finds the reason among its failed requests");
}

static int outcome_of(const struct wstep_response *response, struct err **errp)
{
    switch (response->outcome) {
    case WSTEP_ISSUED:
        return SUBMIT_ISSUED;
    case WSTEP_PENDING:
        return SUBMIT_PENDING;
    case WSTEP_UNDECIDED:
        return outcome_of_cms(response, errp);
    case WSTEP_EXCHANGE:
        break;
    }
    err_set(errp, ERR_PROTOCOL, "the answer is an exchange certificate, which nobody asked for");
    return err_hint(errp, "the enrollment service or a cache before it answers somebody else's question");
}

static int ask(
    const struct call_peer *peer, const struct wstep_request *request, struct submit_answer *answer, struct err **errp)
{
    const struct call what = {.action = wstep_request_action(request->kind),
        .write = write_request,
        .message = request,
        .answer_limit = SUBMIT_ANSWER_LIMIT};
    CLEANUP(call_answer_clear) struct call_answer got = {0};
    CLEANUP(wstep_response_clear) struct wstep_response response = {0};
    int outcome;

    if (call(peer, &what, &got, errp) < 0)
        return -1;
    if (soap_message_fault(got.message))
        return explain_fault(got.message, errp);
    if (wstep_response_parse(got.message, &response, errp) < 0) {
        err_wrap(errp, "reading the answer");
        return err_hint(errp, "the enrollment service breaks the protocol; 'autoenroll decode' shows its answer");
    }
    outcome = outcome_of(&response, errp);
    if (outcome < 0)
        return -1;
    *answer = (struct submit_answer){.request_id = TAKE(response.request_id),
        .cms = response.cms,
        .certificate = response.certificate,
        .message = response.disposition_message ? printable_text(response.disposition_message) : NULL,
        .unrelated = got.unrelated};
    response.cms = response.certificate = (struct bytes){0};
    return outcome;
}

int submit_request(
    const struct call_peer *peer, const struct submit_request *request, struct submit_answer *answer, struct err **errp)
{
    CLEANUP(wstep_request_clear)
    struct wstep_request message = {.kind = WSTEP_ISSUE, .language = mem_strdup("en-US"), .token_type = request->token};

    bytes_copy(&message.token, request->bytes);
    if (request->machine) {
        wstep_request_add_context(&message, "ccm", request->machine); /* where we run */
        wstep_request_add_context(&message, "rmd", request->machine); /* whom it is for */
    }
    return ask(peer, &message, answer, errp);
}

int submit_query(const struct call_peer *peer, const char *request_id, struct submit_answer *answer, struct err **errp)
{
    CLEANUP(wstep_request_clear)
    struct wstep_request message = {
        .kind = WSTEP_QUERY, .language = mem_strdup("en-US"), .request_id = mem_strdup(request_id)};

    return ask(peer, &message, answer, errp);
}
