#include "tests/testing.h"

#include "protocol/wstep/wstep.h"

#define N(name) "*[local-name()='" name "']" /* an element by its local name, for XPath */

#define SERVICE "https://ces.contoso.test/Contoso%20Issuing%20CA%201_CES_"

static char *path_of(const char *name)
{
    CLEANUP(mem_freep) char *relative = mem_printf("samples/wstep/%s", name);

    return testing_shared(relative);
}

static struct soap_message *load(const char *name)
{
    CLEANUP(mem_freep) char *path = path_of(name);
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    testing_read(path, &data);
    assert_ok(soap_parse(data.data, data.len, &message, &err) == 0, err);
    assert_null(soap_message_not_understood(message));
    return message;
}

/* What xmllint makes of an XPath expression; returns owned. */
static char *xpath(const char *name, const char *expression)
{
    CLEANUP(mem_freep) char *path = path_of(name);
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "xmllint --xpath \"%s\" '%s'", expression, path), 0);
    while (out.len && out.data[out.len - 1] == '\n')
        out.data[--out.len] = 0;
    return mem_strdup(bytes_text(&out));
}

/* @ours is the text of the element that @expression finds; nothing there is NULL. */
static void agrees(const char *name, const char *expression, const char *ours)
{
    CLEANUP(mem_freep) char *whole = mem_printf("normalize-space(%s)", expression);
    CLEANUP(mem_freep) char *theirs = xpath(name, whole);

    assert_string_equal(ours ? ours : "", theirs);
}

/* @ours is what base64(1) finds in that element. */
static void bytes_agree(const char *name, const char *expression, const struct bytes *ours)
{
    CLEANUP(mem_freep) char *path = path_of(name);
    CLEANUP(bytes_clear) struct bytes theirs = {0};

    assert_int_equal(
        testing_shell(&theirs, "xmllint --xpath \"string(%s)\" '%s' | tr -d ' \\r\\n' | base64 -d", expression, path),
        0);
    assert_true(bytes_equal(ours, &theirs));
}

/* openssl can read @der as what @command says. */
static void openssl_reads(const struct bytes *der, const char *command)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/der", dir);

    testing_write(path, der->data, der->len);
    assert_int_equal(testing_shell(NULL, "openssl %s -inform DER -in '%s' >'%s/out' 2>&1", command, path, dir), 0);
}

static struct wstep_request load_request(const char *name, enum wstep_kind kind)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load(name);
    CLEANUP(err_freep) struct err *err = NULL;
    const struct soap_header *header = soap_message_header(message);
    struct wstep_request request = {0};
    CLEANUP(mem_freep) char *count = NULL;

    assert_ok(wstep_request_parse(message, &request, &err) == 0, err);
    assert_int_equal(request.kind, kind);
    assert_true(wstep_action_fits(kind, header->action));
    agrees(name, "//" N("MessageID"), header->message_id);
    agrees(name, "//" N("To"), header->to);
    agrees(name, "//@PreferredLanguage", request.language);
    agrees(name, "//" N("RequestSecurityToken") "/" N("RequestID"), request.request_id);
    bytes_agree(name, "//" N("BinarySecurityToken"), &request.token);
    count = mem_printf("%zu", request.n_context);
    agrees(name, "count(//" N("ContextItem") ")", count);
    return request;
}

static struct wstep_response load_response(const char *name, enum wstep_outcome outcome, const char *action)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load(name);
    CLEANUP(err_freep) struct err *err = NULL;
    struct wstep_response response = {0};

    assert_string_equal(soap_message_header(message)->action, action);
    assert_ok(wstep_response_parse(message, &response, &err) == 0, err);
    assert_int_equal(response.outcome, outcome);
    agrees(name, "//" N("RelatesTo"), soap_message_header(message)->relates_to);
    agrees(name, "//" N("DispositionMessage"), response.disposition_message);
    agrees(name, "//" N("DispositionMessage") "/@*[local-name()='lang']", response.language);
    agrees(name, "//" N("RequestSecurityTokenResponse") "/" N("RequestID"), response.request_id);
    agrees(name, "//" N("Reference") "/@URI", response.reference_uri);
    bytes_agree(name, "//" N("RequestSecurityTokenResponse") "/" N("BinarySecurityToken"), &response.cms);
    bytes_agree(name, "//" N("RequestedSecurityToken") "/" N("BinarySecurityToken"), &response.certificate);
    bytes_agree(name, "//" N("KeyExchangeToken") "/" N("BinarySecurityToken"), &response.exchange_certificate);
    return response;
}

/* An Issue with this type of token that openssl can read so. */
static void is_issue(const char *name, enum wstep_token type, const char *command)
{
    CLEANUP(wstep_request_clear) struct wstep_request request = load_request(name, WSTEP_ISSUE);

    assert_int_equal(request.token_type, type);
    assert_null(request.request_id);
    openssl_reads(&request.token, command);
}

#define AS_PKCS10      "req -verify -noout"
#define AS_CMS         "cms -cmsout -noout"
#define AS_CERTIFICATE "x509 -noout"

TEST(wstep_sample_mswstep_issue_request_labels_pkcs10_as_pkcs7)
{
    is_issue("mswstep-4.1.1.1-issue-request.xml", WSTEP_PKCS7, AS_PKCS10);
}

TEST(wstep_sample_mswstep_renewal_request)
{
    is_issue("mswstep-4.1.5.1-renewal-request.xml", WSTEP_PKCS7, AS_CMS);
}

TEST(wstep_sample_issue_cmc_request_has_two_context_items)
{
    CLEANUP(wstep_request_clear)
    struct wstep_request request = load_request("composed-issue-cmc-request.xml", WSTEP_ISSUE);

    is_issue("composed-issue-cmc-request.xml", WSTEP_PKCS7, AS_CMS);
    assert_string_equal(wstep_request_context(&request, "CCM"), "linux01.contoso.test");
    assert_string_equal(wstep_request_context(&request, "rmd"), "linux01.contoso.test");
    assert_null(wstep_request_context(&request, "cdc"));
    assert_string_equal(request.language, "en-US");
}

TEST(wstep_sample_issue_pkcs10_request_has_a_user_name_token)
{
    static const char name[] = "composed-issue-pkcs10-username-request.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load(name);
    const struct wsse_security *security = soap_message_security(message);

    is_issue(name, WSTEP_PKCS10, AS_PKCS10);
    assert_string_equal(security->username, "CONTOSO\\enrolluser");
    assert_string_equal(secret_peek(security->password), "correct horse battery staple");
    assert_int_equal(security->expires.value - security->created.value, 300);
    assert_string_equal(soap_message_header(message)->to, SERVICE "UsernamePassword/service.svc/CES");
}

TEST(wstep_sample_renewal_requests)
{
    is_issue("composed-renewal-cmc-request.xml", WSTEP_PKCS7, AS_CMS);
    is_issue("composed-renewal-cms-pkcs10-request.xml", WSTEP_PKCS7, AS_CMS);
}

TEST(wstep_sample_requests_of_other_kinds_of_enrollment)
{
    is_issue("composed-key-archival-request.xml", WSTEP_PKCS7, AS_CMS);
    is_issue("composed-enroll-on-behalf-request.xml", WSTEP_PKCS7, AS_CMS);
    is_issue("composed-attestation-request.xml", WSTEP_PKCS7, AS_CMS);
}

TEST(wstep_sample_attestation_answer_names_its_request)
{
    static const char name[] = "composed-attestation-answer-request.xml";
    CLEANUP(wstep_request_clear) struct wstep_request request = load_request(name, WSTEP_ISSUE);

    is_issue(name, WSTEP_CHALLENGE_RESPONSE, AS_CMS);
    assert_string_equal(wstep_request_context(&request, "RequestID"), "1044");
}

TEST(wstep_sample_query_requests_have_an_id)
{
    CLEANUP(wstep_request_clear)
    struct wstep_request composed = load_request("composed-query-token-status-request.xml", WSTEP_QUERY);
    CLEANUP(wstep_request_clear)
    struct wstep_request windows = load_request("mswstep-4.1.3.1-query-token-status-request.xml", WSTEP_QUERY);

    assert_string_equal(composed.request_id, "1043");
    assert_string_equal(windows.request_id, "65");
    assert_int_equal(windows.token.len, 0);
}

TEST(wstep_sample_ket_requests_have_their_own_action)
{
    CLEANUP(wstep_request_clear) struct wstep_request composed = load_request("composed-ket-request.xml", WSTEP_KET);
    CLEANUP(wstep_request_clear)
    struct wstep_request windows = load_request("mswstep-4.1.2.1-ket-request.xml", WSTEP_KET);

    assert_null(composed.request_id);
    assert_null(windows.request_id);
}

static void is_issued(const char *name, const char *id)
{
    CLEANUP(wstep_response_clear)
    struct wstep_response response = load_response(name, WSTEP_ISSUED, WSTEP_ACTION_RESPONSE);

    assert_string_equal(response.request_id, id);
    openssl_reads(&response.certificate, AS_CERTIFICATE);
    openssl_reads(&response.cms, AS_CMS);
    assert_int_equal(response.exchange_certificate.len, 0);
}

TEST(wstep_sample_issued_responses)
{
    is_issued("mswstep-4.1.1.2-issue-response.xml", "61");
    is_issued("mswstep-4.1.5.2-renewal-response.xml", "63");
    is_issued("composed-issued-response.xml", "1043");
}

TEST(wstep_sample_adcs_2025_has_no_envelope)
{
    static const char name[] = "adcs-2025-issued-rstrc-body.xml";
    CLEANUP(mem_freep) char *path = path_of(name);
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(wstep_response_clear) struct wstep_response response = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    testing_read(path, &data);
    assert_ok(wstep_response_parse_bare(data.data, data.len, &response, &err) == 0, err);
    assert_int_equal(response.outcome, WSTEP_ISSUED);
    assert_string_equal(response.request_id, "27");
    assert_string_equal(response.disposition_message, "Issued");
    assert_string_equal(response.language, "en-US");
    assert_int_equal(response.cms.len, 153); /* cut by who logged it */
    bytes_agree(name, "//" N("RequestedSecurityToken") "/" N("BinarySecurityToken"), &response.certificate);
    openssl_reads(&response.certificate, AS_CERTIFICATE);
}

static void is_pending(const char *name, const char *id)
{
    CLEANUP(wstep_response_clear)
    struct wstep_response response = load_response(name, WSTEP_PENDING, WSTEP_ACTION_RESPONSE);

    assert_string_equal(response.request_id, id);
    assert_string_equal(response.reference_uri, SERVICE "Kerberos/service.svc/CES");
    assert_string_equal(response.disposition_message, "Taken Under Submission");
    assert_int_equal(response.certificate.len, 0);
    openssl_reads(&response.cms, AS_CMS);
}

TEST(wstep_sample_pending_responses)
{
    is_pending("composed-pending-response.xml", "1043");
    is_pending("composed-attestation-challenge-response.xml", "1044");
}

static void is_exchange(const char *name)
{
    CLEANUP(wstep_response_clear)
    struct wstep_response response = load_response(name, WSTEP_EXCHANGE, WSTEP_ACTION_KET_RESPONSE);

    assert_null(response.request_id);
    assert_int_equal(response.cms.len + response.certificate.len, 0);
    openssl_reads(&response.exchange_certificate, AS_CERTIFICATE);
}

TEST(wstep_sample_ket_responses)
{
    is_exchange("mswstep-4.1.2.2-ket-response.xml");
    is_exchange("composed-ket-response.xml");
}

TEST(wstep_sample_denied_fault_has_everything)
{
    static const char name[] = "composed-denied-fault.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load(name);
    CLEANUP(wstep_fault_detail_clear) struct wstep_fault_detail detail = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    const struct soap_fault *fault = soap_message_fault(message);

    assert_string_equal(soap_message_header(message)->action, WSTEP_ACTION_FAULT);
    assert_int_equal(fault->code, SOAP_RECEIVER);
    assert_null(fault->subcode);
    agrees(name, "//" N("Text"), fault->reason);
    assert_string_equal(fault->language, "en-US");
    assert_ok(wstep_fault_detail_parse(message, &detail, &err) == 1, err);
    assert_true(detail.has_error_code && detail.error_code == 0x80094012);
    assert_true(detail.invalid_request.set && detail.invalid_request.value);
    assert_string_equal(detail.request_id, "1045");
    bytes_agree(name, "//" N("BinaryResponse"), &detail.binary_response);
    openssl_reads(&detail.binary_response, AS_CMS);
}

TEST(wstep_sample_rpc_fault_is_mostly_nil)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load("composed-rpc-unavailable-fault.xml");
    CLEANUP(wstep_fault_detail_clear) struct wstep_fault_detail detail = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(wstep_fault_detail_parse(message, &detail, &err) == 1, err);
    assert_true(detail.has_error_code && detail.error_code == 0x800706ba);
    assert_true(detail.invalid_request.set && !detail.invalid_request.value);
    assert_null(detail.request_id);
    assert_int_equal(detail.binary_response.len, 0);
}

TEST(wstep_sample_mswstep_fault_has_a_subcode_and_no_detail)
{
    static const char name[] = "mswstep-4.1.4.2-fault-response.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load(name);
    CLEANUP(err_freep) struct err *err = NULL;
    const struct soap_fault *fault = soap_message_fault(message);
    struct wstep_fault_detail detail = {0};
    struct wstep_response response = {0};

    assert_string_equal(soap_message_header(message)->action, SOAP_ACTION_SERVER_FAULT);
    assert_int_equal(fault->code, SOAP_RECEIVER);
    assert_int_equal(soap_fault_subcode(fault), SOAP_SUBCODE_INTERNAL_SERVICE_FAULT);
    assert_string_equal(fault->subcode_ns, SOAP_WCF_NS);
    assert_contains(fault->reason, "due to an internal error");
    assert_int_equal(wstep_fault_detail_parse(message, &detail, &err), 0);
    assert_null(err);
    assert_int_equal(wstep_response_parse(message, &response, &err), -1);
    assert_contains(err_text(err), "the message is a fault");
}
