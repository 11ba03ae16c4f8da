#include "agent/submit/call.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/base/printable.h"

void call_answer_clear(struct call_answer *answer)
{
    soap_message_free(answer->message);
    *answer = (struct call_answer){0};
}

/* What a status without a SOAP message means. The first row that fits counts. */
static const struct status_meaning {
    long from, to;
    enum err_kind kind;
    const char *text;
    const char *hint;
} status_meanings[] = {
    {401, 401, ERR_AUTH, "it refuses our authentication",
        "this address may want another kind of authentication than the one it is used with: compare auth with the "
        "end of the URL (_Kerberos, _UsernamePassword, _Certificate)"},
    {403, 403, ERR_AUTH, "access is forbidden",
        "look at the service's authentication settings and at who may use it; for certificates: does the server trust "
        "the CA that issued ours?"},
    {404, 404, ERR_MISSING, "there is no such service",
        "compare the path of the address with the one that the server's administrator gave"},
    {408, 408, ERR_TIMEOUT, "it got tired of waiting for our request", "the network is slow; it is tried again later"},
    {413, 413, ERR_PROTOCOL, "it refuses the size of our request",
        "the server's limit on requests is too small for this one; its administrator can raise it"},
    {429, 429, ERR_NETWORK, "it asks to come back later", "it is tried again later"},
    {500, 500, ERR_NETWORK, "the service failed without saying why",
        "look into the server's event log; an empty answer often means that IIS and the service disagree about "
        "extended protection"},
    {503, 503, ERR_NETWORK, "the service is not available now",
        "it is tried again later; if it lasts, see whether its application pool runs"},
    {500, 599, ERR_NETWORK, "the service failed", "it is tried again later; look into the server's log"},
    {100, 599, ERR_PROTOCOL, "that is no answer to a request for certificates",
        "check the address: something else than an enrollment service answers there"},
};

static int explain_redirect(const struct http_answer *http, struct err **errp)
{
    CLEANUP(mem_freep) char *to = printable_text(http->location);

    err_set(errp, ERR_PROTOCOL, "HTTP %ld: a redirect to '%s', which is not followed", http->status, to);
    return err_hint(errp, "a redirect could lead a credential anywhere; if the new address is right, write that one "
                          "into the configuration or into the policy");
}

static int explain_status(const struct http_answer *http, struct err **errp)
{
    if (http->status >= 300 && http->status < 400)
        return explain_redirect(http, errp);
    for (size_t i = 0; i < ARRAY_SIZE(status_meanings); i++) {
        const struct status_meaning *m = &status_meanings[i];

        if (http->status < m->from || http->status > m->to)
            continue;
        if (http->retry_after.set)
            err_set(errp, m->kind, "HTTP %ld: %s, in %u seconds at the earliest", http->status, m->text,
                http->retry_after.value);
        else
            err_set(errp, m->kind, "HTTP %ld: %s", http->status, m->text);
        return err_hint(errp, "%s", m->hint);
    }
    return err_set(errp, ERR_PROTOCOL, "HTTP %ld is no status", http->status);
}

/* A fault comes with 400 or 500; an HTML page of the web server comes with anything. */
static int read_message(const struct http_answer *http, struct soap_message **message, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;

    if (http->status != 200 && (!http->body.len || !strcasestr(http->content_type, "xml")))
        return explain_status(http, errp);
    if (soap_parse(http->body.data, http->body.len, message, &why) == 0)
        return 0;
    if (http->status != 200)
        return explain_status(http, errp);
    err_set(errp, ERR_PROTOCOL, "the answer is no SOAP message: %s", err_text(why));
    return err_hint(errp, "check the address: it must be that of the web service itself, ending in /CEP or /CES; a "
                          "portal or proxy may answer in its place");
}

static int check_relation(struct call_answer *answer, const char *message_id, struct err **errp)
{
    const struct soap_header *header = soap_message_header(answer->message);
    const char *unknown = soap_message_not_understood(answer->message);

    answer->unrelated = !header->relates_to;
    if (!soap_relates_to(header, message_id)) {
        CLEANUP(mem_freep) char *other = printable_text(header->relates_to);

        err_set(
            errp, ERR_PROTOCOL, "the answer is for another message (RelatesTo '%s', ours is '%s')", other, message_id);
        return err_hint(errp, "a proxy or a cache between us and the server mixes answers up; nothing of it was used");
    }
    if (unknown) {
        CLEANUP(mem_freep) char *name = printable_text(unknown);

        err_set(errp, ERR_PROTOCOL, "the answer insists on a header '%s' that is not known here", name);
        return err_hint(errp, "the server speaks an extension of the protocol; look at its configuration");
    }
    return 0;
}

static int exchange(const struct call_peer *peer, const struct call *call, const char *message_id,
    struct http_answer *http, struct err **errp)
{
    CLEANUP(bytes_wipe) struct bytes body = {0};
    CLEANUP(wsse_security_clear) struct wsse_security security = {0};
    CLEANUP(http_url_clear) struct http_url url = {0};
    CLEANUP(soap_header_clear) struct soap_header header = {0};
    struct http_request request = {.anchors = peer->anchors,
        .body = &body,
        .answer_limit = call->answer_limit,
        .limit_ms = peer->limit_ms,
        .sent = peer->sent};
    bool password = peer->auth == POLICY_AUTH_USERNAME;

    if (http_url_parse(peer->url, &url, errp) < 0)
        return -1;
    if (auth_check_credential(peer->credentials, peer->auth, errp) < 0)
        return -1;
    if (password)
        wsse_security_init(&security, peer->credentials->username, peer->credentials->password, peer->now);
    header = (struct soap_header){
        .action = mem_strdup(call->action), .message_id = mem_strdup(message_id), .to = mem_strdup(url.text)};
    if (call->write(&header, password ? &security : NULL, call->message, &body, errp) < 0)
        return err_wrap(errp, "writing the message");
    request.url = url.text;
    if (peer->auth == POLICY_AUTH_CERTIFICATE)
        request.identity = peer->credentials->identity;
    if (http_post(&request, http, errp) < 0)
        return -1;
    if (peer->retry_after && http->retry_after.set)
        *peer->retry_after = http->retry_after.value;
    return 0;
}

int call(const struct call_peer *peer, const struct call *call, struct call_answer *answer, struct err **errp)
{
    CLEANUP(http_answer_clear) struct http_answer http = {0};
    CLEANUP(call_answer_clear) struct call_answer got = {0};
    CLEANUP(mem_freep) char *message_id = soap_new_message_id();

    if (exchange(peer, call, message_id, &http, errp) < 0 || read_message(&http, &got.message, errp) < 0 ||
        check_relation(&got, message_id, errp) < 0)
        return -1;
    got.date = http.date;
    *answer = got;
    got = (struct call_answer){0};
    return 0;
}

static const struct fault_meaning {
    enum soap_subcode subcode;
    enum err_kind kind;
    const char *text;
    const char *hint;
} fault_meanings[] = {
    {SOAP_SUBCODE_INTERNAL_SERVICE_FAULT, ERR_NETWORK, "the service failed",
        "it is tried again later; if it lasts: may the enrollment service delegate to the CA, and does the CA run? The "
        "server's event log says more"},
    {SOAP_SUBCODE_DESERIALIZATION_FAILED, ERR_PROTOCOL, "the service did not understand the message",
        "an error of this program or of the service; 'autoenroll decode' shows a message for a report"},
    {SOAP_SUBCODE_ACTION_NOT_SUPPORTED, ERR_CONFIG, "the service does not know the action",
        "a policy server and an enrollment server were mixed up: the first ends in /CEP, the second in /CES"},
    {SOAP_SUBCODE_DESTINATION_UNREACHABLE, ERR_CONFIG, "the service says that our address for it is not its own",
        "use the host name that the service itself is configured with; a proxy or an alias does not do"},
    {SOAP_SUBCODE_INVALID_SECURITY, ERR_AUTH, "the service refused our user name, password or time",
        "check this machine's clock (five minutes are tolerated), then user name and password; it is not tried again "
        "by itself, so that the account is not locked"},
    {SOAP_SUBCODE_INVALID_SECURITY_TOKEN, ERR_AUTH, "the service refused our user name or password",
        "check user name and password; it is not tried again by itself, so that the account is not locked"},
    {SOAP_SUBCODE_FAILED_AUTHENTICATION, ERR_AUTH, "the service refused our user name or password",
        "check user name and password; it is not tried again by itself, so that the account is not locked"},
};

static void set_fault(const struct soap_fault *fault, enum err_kind kind, const char *text, struct err **errp)
{
    CLEANUP(mem_freep) char *reason = printable_text(fault->reason);
    CLEANUP(mem_freep) char *subcode = printable_text(fault->subcode);

    err_set(errp, kind, "%s: '%s' (fault %s%s%s)", text, reason, soap_fault_code_name(fault->code), *subcode ? "/" : "",
        subcode);
}

int call_fault(const struct soap_fault *fault, struct err **errp)
{
    enum soap_subcode subcode = soap_fault_subcode(fault);

    for (size_t i = 0; i < ARRAY_SIZE(fault_meanings); i++) {
        if (fault_meanings[i].subcode != subcode)
            continue;
        set_fault(fault, fault_meanings[i].kind, fault_meanings[i].text, errp);
        return err_hint(errp, "%s", fault_meanings[i].hint);
    }
    if (fault->code == SOAP_RECEIVER) {
        set_fault(fault, ERR_NETWORK, "the service failed", errp);
        return err_hint(errp, "it is tried again later; the server's event log says more");
    }
    set_fault(fault, ERR_PROTOCOL, "the service refused the message", errp);
    return err_hint(errp, "check the address and the kind of authentication; the server's event log says more");
}
