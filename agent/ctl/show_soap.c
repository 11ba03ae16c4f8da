#include "agent/ctl/show_soap.h"

#include <string.h>

#include "agent/ctl/show_pki.h"
#include "protocol/base/when.h"
#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "protocol/wstep/wstep.h"
#include "protocol/xcep/xcep.h"
#include "protocol/xml/xmldoc.h"
#include "protocol/xml/xmlnode.h"

/* --- XCEP --- */

static const char *oid_of(const struct xcep_response *response, int32_t id)
{
    const struct xcep_oid *oid = xcep_find_oid(response, id);

    return oid ? oid->value : NULL;
}

static void show_reference(struct node *to, const char *name, const struct xcep_response *response, struct opt_i32 id)
{
    if (id.set)
        show_oid(to, name, oid_of(response, id.value));
}

static void show_references(
    struct node *to, const char *name, const struct xcep_response *response, const struct xcep_references *ids)
{
    CLEANUP(strlist_clear) struct strlist oids = {0};

    for (size_t i = 0; i < ids->n; i++) {
        const char *oid = oid_of(response, ids->items[i]);

        if (oid)
            strlist_add(&oids, oid);
    }
    show_oids(to, name, &oids);
}

static void show_flags(struct node *to, const char *name, const struct flag_name *table, struct opt_u32 flags)
{
    CLEANUP(strlist_clear) struct strlist names = {0};
    CLEANUP(mem_freep) char *described = NULL;
    char *position = NULL;

    if (!flags.set)
        return;
    described = flags_describe(table, flags.value);
    for (char *word = strtok_r(described, " |", &position); word && flags.value; word = strtok_r(NULL, " |", &position))
        strlist_add(&names, word);
    node_flags(to, name, flags.value, &names);
}

static void show_policy_key(struct node *to, const struct xcep_response *response, const struct xcep_policy *policy)
{
    static const char *const key_specs[] = {"0", "exchange", "signature"};
    const char *algorithm = policy->key_algorithm.set ? oid_of(response, policy->key_algorithm.value) : NULL;

    node_textf(to, "key", "%s, at least %u bits", algorithm ? oid_name(algorithm) : "RSA", policy->minimal_key_length);
    if (policy->key_spec.set && policy->key_spec.value < ARRAY_SIZE(key_specs))
        node_text(to, "key spec", key_specs[policy->key_spec.value]);
    if (policy->key_usage.set)
        node_textf(to, "key usage property", "0x%x", policy->key_usage.value);
    node_text(to, "key permissions", policy->key_permissions);
    node_texts(to, "providers", &policy->crypto_providers);
    show_reference(to, "hash", response, policy->hash_algorithm);
    show_flags(to, "private key flags", flags_private_key, policy->private_key_flags);
    if (policy->key_archival) {
        const char *cipher = oid_of(response, policy->key_archival->symmetric_algorithm);

        node_textf(to, "key archival", "%s, %u bits", cipher ? oid_name(cipher) : "unknown algorithm",
            policy->key_archival->symmetric_key_length);
    }
}

static char *ca_name(const struct xcep_ca *ca)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;

    if (cert_parse(ca->certificate.data, ca->certificate.len, &cert, NULL) < 0)
        return mem_printf("CA %d", ca->id);
    return mem_strdup(cert->subject);
}

static void show_issuers(struct node *to, const struct xcep_response *response, const struct xcep_references *ids)
{
    struct node *list = node_list(to, "issued by");

    for (size_t i = 0; i < ids->n; i++) {
        const struct xcep_ca *ca = xcep_find_ca(response, ids->items[i]);
        CLEANUP(mem_freep) char *name = ca ? ca_name(ca) : NULL;

        node_text(list, NULL, name);
    }
}

static void show_policy(struct node *to, const struct xcep_response *response, const struct xcep_policy *policy)
{
    struct node *extensions;

    node_text(to, "name", policy->common_name);
    show_oid(to, "oid", oid_of(response, policy->oid));
    node_number(to, "schema", policy->schema);
    node_textf(to, "revision", "%u.%u", policy->major_revision, policy->minor_revision);
    node_bool(to, "enroll", policy->enroll);
    node_bool(to, "autoenroll", policy->auto_enroll);
    node_span(to, "validity", policy->validity_seconds);
    node_span(to, "renewal period", policy->renewal_seconds);
    show_policy_key(to, response, policy);
    show_flags(to, "subject name flags", flags_subject_name, policy->subject_name_flags);
    show_flags(to, "enrollment flags", flags_enrollment, policy->enrollment_flags);
    show_flags(to, "general flags", flags_general, policy->general_flags);
    if (policy->ra_requirements) {
        node_number(to, "ra signatures", policy->ra_requirements->signatures);
        show_references(to, "ra key usages", response, &policy->ra_requirements->ekus);
        show_references(to, "ra policies", response, &policy->ra_requirements->policies);
    }
    node_texts(to, "supersedes", &policy->superseded);
    show_issuers(to, response, &policy->cas);
    extensions = policy->n_extensions ? node_list(to, "extensions") : NULL;
    for (size_t i = 0; i < policy->n_extensions; i++) {
        const char *oid = oid_of(response, policy->extensions[i].oid);

        if (oid)
            show_extension(extensions, NULL, oid, policy->extensions[i].critical, &policy->extensions[i].value);
    }
}

static int show_ca(struct node *to, const struct xcep_ca *ca, struct err **errp)
{
    CLEANUP(mem_freep) char *place = mem_printf("the certificate of CA %d", ca->id);
    struct node *uris;
    int r = show_cert_der(node_group(to, "certificate"), &ca->certificate, place, errp);

    node_bool(to, "enroll", ca->enroll_permission);
    uris = node_list(to, "uris");
    for (size_t i = 0; i < ca->n_uris; i++) {
        const struct xcep_ca_uri *uri = &ca->uris[i];
        struct node *group = node_group(uris, NULL);

        node_text(group, "uri", uri->uri);
        node_textf(group, "authentication", "%s (%u)", xcep_auth_name(uri->auth), uri->auth);
        if (uri->priority.set)
            node_number(group, "priority", uri->priority.value);
        node_bool(group, "renewal only", uri->renewal_only.value);
    }
    return r;
}

static int show_policies(struct node *to, const struct xcep_response *response, struct err **errp)
{
    struct node *list;
    int r = 0;

    node_text(to, "policy id", response->policy_id);
    node_text(to, "friendly name", response->friendly_name);
    if (response->next_update_hours.set)
        node_span(to, "next update in", (uint64_t)response->next_update_hours.value * WHEN_HOUR);
    node_bool(to, "not changed", response->policies_not_changed.value);
    list = node_list(to, "templates");
    for (size_t i = 0; i < response->n_policies; i++)
        show_policy(node_group(list, NULL), response, &response->policies[i]);
    node_texts(to, "skipped", &response->skipped);
    list = node_list(to, "cas");
    for (size_t i = 0; i < response->n_cas; i++)
        if (show_ca(node_group(list, NULL), &response->cas[i], errp) < 0)
            r = -1;
    list = node_list(to, "oids");
    for (size_t i = 0; i < response->n_oids; i++) {
        const struct xcep_oid *oid = &response->oids[i];

        node_textf(list, NULL, "%s %s (%s)", oid->value, oid->default_name ? oid->default_name : "without a name",
            xcep_group_name(oid->group));
    }
    return r;
}

static int show_xcep_response(struct node *to, const struct soap_message *message, struct err **errp)
{
    struct xcep_response response = {0};
    int r = xcep_response_parse(message, &response, errp);

    if (r >= 0)
        r = show_policies(to, &response, errp);
    xcep_response_clear(&response);
    return r;
}

static int show_xcep_response_bare(struct node *to, const struct bytes *xml, struct err **errp)
{
    struct xcep_response response = {0};
    int r = xcep_response_parse_bare(xml->data, xml->len, &response, errp);

    if (r >= 0)
        r = show_policies(to, &response, errp);
    xcep_response_clear(&response);
    return r;
}

static int show_xcep_request(struct node *to, const struct soap_message *message, struct err **errp)
{
    struct xcep_request request = {0};
    struct node *filter;

    if (xcep_request_parse(message, &request, errp) < 0)
        return -1;
    if (request.last_update.set)
        node_time(to, "last update", request.last_update.value);
    else
        node_text(to, "last update", request.bad_last_update ? "is no date: counts as never" : "never");
    node_text(to, "language", request.preferred_language);
    if (request.has_filter) {
        filter = node_group(to, "filter");
        show_oids(filter, "templates", &request.policy_oids);
        if (request.client_version.set)
            node_textf(filter, "client version", "%d", request.client_version.value);
        if (request.server_version.set)
            node_textf(filter, "server version", "%d", request.server_version.value);
    }
    xcep_request_clear(&request);
    return 0;
}

/* --- WSTEP --- */

static int show_wstep_request(struct node *to, const struct soap_message *message, struct err **errp)
{
    static const char *const kinds[] = {[WSTEP_ISSUE] = "issue or renew",
        [WSTEP_QUERY] = "ask after a pending request",
        [WSTEP_KET] = "fetch the exchange certificate"};
    static const char *const tokens[] = {[WSTEP_PKCS10] = "PKCS10",
        [WSTEP_PKCS7] = "PKCS7",
        [WSTEP_X509V3] = "X509v3",
        [WSTEP_CHALLENGE_RESPONSE] = "CHALLENGERESPONSE",
        [WSTEP_OTHER] = "another"};
    struct wstep_request request = {0};
    struct node *list;
    int r = 0;

    if (wstep_request_parse(message, &request, errp) < 0)
        return -1;
    node_text(to, "asks to", kinds[request.kind]);
    node_text(to, "request id", request.request_id);
    node_text(to, "language", request.language);
    list = request.n_context ? node_list(to, "context") : NULL;
    for (size_t i = 0; i < request.n_context; i++)
        node_textf(
            list, NULL, "%s: %s", request.context[i].name, request.context[i].value ? request.context[i].value : "");
    if (request.kind == WSTEP_ISSUE) {
        node_text(to, "token type", tokens[request.token_type]);
        r = show_payload(node_group(to, "token"), &request.token, "in BinarySecurityToken", errp);
    }
    wstep_request_clear(&request);
    return r;
}

static int show_tokens(struct node *to, const struct wstep_response *response, struct err **errp)
{
    static const char *const outcomes[] = {[WSTEP_ISSUED] = "issued",
        [WSTEP_PENDING] = "pending",
        [WSTEP_EXCHANGE] = "exchange certificate",
        [WSTEP_UNDECIDED] = "as the answer of the CA says"};
    const struct {
        const char *name, *place;
        const struct bytes *der;
        int (*show)(struct node *to, const struct bytes *der, const char *place, struct err **errp);
    } tokens[] = {
        {"certificate", "in RequestedSecurityToken", &response->certificate, show_cert_der},
        {"exchange certificate", "in KeyExchangeToken", &response->exchange_certificate, show_cert_der},
        {"answer of the ca", "in BinarySecurityToken", &response->cms, show_payload},
    };
    int r = 0;

    node_text(to, "outcome", outcomes[response->outcome]);
    node_text(to, "disposition message", response->disposition_message);
    node_text(to, "request id", response->request_id);
    node_text(to, "reference", response->reference_uri);
    for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
        if (tokens[i].der->len &&
            tokens[i].show(node_group(to, tokens[i].name), tokens[i].der, tokens[i].place, errp) < 0)
            r = -1;
    return r;
}

static int show_wstep_response(struct node *to, const struct soap_message *message, struct err **errp)
{
    struct wstep_response response = {0};
    int r = wstep_response_parse(message, &response, errp);

    if (r >= 0)
        r = show_tokens(to, &response, errp);
    wstep_response_clear(&response);
    return r;
}

static int show_wstep_response_bare(struct node *to, const struct bytes *xml, struct err **errp)
{
    struct wstep_response response = {0};
    int r = wstep_response_parse_bare(xml->data, xml->len, &response, errp);

    if (r >= 0)
        r = show_tokens(to, &response, errp);
    wstep_response_clear(&response);
    return r;
}

/* --- faults --- */

static void show_hresult(struct node *to, uint32_t code)
{
    const struct hresult *known = hresult_find(code);
    struct node *group = node_group(to, "error");

    node_textf(group, "code", "0x%08x", code);
    node_text(group, "name", *known->name ? known->name : "unknown");
    node_text(group, "meaning", known->meaning);
    node_text(group, "what to do", known->todo);
}

/* What can help where a fault has no detail, [MS-WSTEP notes] 4.2. */
static const char *subcode_advice(enum soap_subcode subcode)
{
    switch (subcode) {
    case SOAP_SUBCODE_INTERNAL_SERVICE_FAULT:
        return "the service failed: try later; if it stays, its administrator should look at delegation to the CA";
    case SOAP_SUBCODE_DESERIALIZATION_FAILED:
        return "the service did not understand the body: the request is wrong, or this is another service";
    case SOAP_SUBCODE_ACTION_NOT_SUPPORTED:
        return "the action does not belong to this address: check whether it is a CEP or a CES";
    case SOAP_SUBCODE_DESTINATION_UNREACHABLE:
        return "the address in To is not the service's own: use the host name of the policy";
    case SOAP_SUBCODE_INVALID_SECURITY:
    case SOAP_SUBCODE_INVALID_SECURITY_TOKEN:
    case SOAP_SUBCODE_FAILED_AUTHENTICATION:
        return "user name or password are wrong, or the clock is: do not try again before both are checked";
    case SOAP_SUBCODE_NONE:
    case SOAP_SUBCODE__MAX:
        break;
    }
    return NULL;
}

static int show_fault(struct node *to, const struct soap_message *message, struct err **errp)
{
    const struct soap_fault *fault = soap_message_fault(message);
    struct wstep_fault_detail detail = {0};
    int r;

    node_text(to, "code", soap_fault_code_name(fault->code));
    node_text(to, "subcode", fault->subcode);
    node_text(to, "reason", fault->reason);
    node_text(to, "language", fault->language);
    node_text(to, "what to do", subcode_advice(soap_fault_subcode(fault)));
    r = wstep_fault_detail_parse(message, &detail, errp);
    if (r == 1) {
        r = 0;
        if (detail.has_error_code)
            show_hresult(to, detail.error_code);
        if (detail.invalid_request.set)
            node_bool(to, "the ca denied the request", detail.invalid_request.value);
        node_text(to, "request id", detail.request_id);
        if (detail.binary_response.len)
            r = show_payload(node_group(to, "answer of the ca"), &detail.binary_response, "in BinaryResponse", errp);
    }
    wstep_fault_detail_clear(&detail);
    return r;
}

/* --- envelopes --- */

static void show_security(struct node *to, const struct wsse_security *security)
{
    struct node *group;

    if (!security)
        return;
    group = node_group(to, "security");
    node_text(group, "user name", security->username);
    if (security->password || security->digest)
        node_text(group, "password", security->digest ? "of another type than text" : "is there, and not shown");
    if (security->created.set)
        node_time(group, "created", security->created.value);
    if (security->expires.set)
        node_time(group, "expires", security->expires.value);
}

static const struct body {
    const char *element, *title;
    int (*show)(struct node *to, const struct soap_message *message, struct err **errp);
    int (*show_bare)(struct node *to, const struct bytes *xml, struct err **errp); /* NULL: only in an envelope */
} bodies[] = {
    {"Fault", "fault", show_fault, NULL},
    {"GetPolicies", "policy request", show_xcep_request, NULL},
    {"GetPoliciesResponse", "policy response", show_xcep_response, show_xcep_response_bare},
    {"RequestSecurityToken", "enrollment request", show_wstep_request, NULL},
    {"RequestSecurityTokenResponseCollection", "enrollment response", show_wstep_response, show_wstep_response_bare},
};

static const struct body *find_body(const char *element)
{
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
        if (strcmp(bodies[i].element, element) == 0)
            return &bodies[i];
    return NULL;
}

/* The local name of the one element in the body of the envelope @root; "" where there is none. */
static const char *body_element(const struct _xmlNode *root)
{
    const struct _xmlNode *body = xmlnode_child(root, SOAP_NS, "Body");
    const struct _xmlNode *content = body ? xmlnode_first(body) : NULL;

    return content ? xmlnode_name(content) : "";
}

static int show_envelope(struct node *to, const struct bytes *xml, const char *element, struct err **errp)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    const struct soap_header *header;
    const struct body *body;
    struct node *headers, *content;

    if (soap_parse(xml->data, xml->len, &message, errp) < 0)
        return -1;
    body = find_body(element);
    node_text(to, "message", body ? body->title : "unknown");
    header = soap_message_header(message);
    headers = node_group(to, "headers");
    node_text(headers, "action", header->action);
    node_text(headers, "message id", header->message_id);
    node_text(headers, "relates to", header->relates_to);
    node_text(headers, "to", header->to);
    if (soap_message_not_understood(message))
        node_textf(headers, "not understood", "%s, which the sender insists on", soap_message_not_understood(message));
    show_security(headers, soap_message_security(message));
    if (!body)
        return err_set(errp, ERR_INVALID, "no message of these protocols has <%s> in its body", element);
    content = node_group(to, "body");
    if (body->show(content, message, errp) < 0)
        return err_wrap(errp, "in <%s>", body->element);
    return 0;
}

int show_soap(struct node *to, const struct bytes *xml, struct err **errp)
{
    CLEANUP(xmldoc_freep) struct xmldoc *doc = NULL;
    const struct body *body;
    const char *name;

    if (xmldoc_parse(xml->data, xml->len, &doc, errp) < 0)
        return -1;
    name = xmlnode_name(xmldoc_root(doc));
    if (strcmp(name, "Envelope") == 0)
        return show_envelope(to, xml, body_element(xmldoc_root(doc)), errp);
    body = find_body(name);
    if (!body || !body->show_bare)
        return err_set(errp, ERR_INVALID, "<%s> is neither an envelope nor what we know in the body of one", name);
    node_text(to, "message", body->title);
    if (body->show_bare(node_group(to, "body"), xml, errp) < 0)
        return err_wrap(errp, "in <%s>", body->element);
    return 0;
}
