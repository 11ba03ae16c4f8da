#include "tests/testing.h"

#include "protocol/wstep/wstep.h"

#define X509_TYPE "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
#define BASE64    " EncodingType='" SOAP_WSSE_NS "#base64binary'"
#define ENVELOPE(body)                                                                                                 \
    "<s:Envelope xmlns:s='" SOAP_NS "' xmlns:i='http://www.w3.org/2001/XMLSchema-instance' xmlns:w='" SOAP_WSSE_NS     \
    "' xmlns:e='" WSTEP_NS "' xmlns:c='" WSTEP_AUTH_NS "'><s:Body>" body "</s:Body></s:Envelope>"
#define RST(inside)       ENVELOPE("<RequestSecurityToken xmlns='" WSTEP_TRUST_NS "'>" inside "</RequestSecurityToken>")
#define TYPE(uri)         "<RequestType>" uri "</RequestType>"
#define BST(type, text)   "<w:BinarySecurityToken ValueType='" type "'" BASE64 ">" text "</w:BinarySecurityToken>"
#define ISSUE             TYPE(WSTEP_TRUST_NS "/Issue") BST(WSTEP_NS "#PKCS10", "MAA=")
#define CONTEXT(items)    "<c:AdditionalContext>" items "</c:AdditionalContext>"
#define ITEM(name, value) "<c:ContextItem Name='" name "'><c:Value>" value "</c:Value></c:ContextItem>"

static int parse_request(const char *text, struct wstep_request *out, struct err **errp)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;

    if (soap_parse(text, strlen(text), &message, errp) < 0)
        return -1;
    return wstep_request_parse(message, out, errp);
}

static struct wstep_request request_ok(const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct wstep_request request = {0};

    assert_ok(parse_request(text, &request, &err) == 0, err);
    return request;
}

static void request_refused(const char *text, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct wstep_request request = {0};

    assert_int_equal(parse_request(text, &request, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
    assert_contains(err_text(err), expected);
}

TEST(wstep_request_is_read_in_any_order_with_what_is_unknown)
{
    CLEANUP(wstep_request_clear)
    struct wstep_request request = request_ok(
        RST("<e:RequestID> 12 </e:RequestID><New/>" CONTEXT(ITEM("ccm", " host ") "<c:New/>") BST(SOAP_WSSE_NS "#PKCS7",
            "&#xD;\n AQ\r\nID ") TYPE(WSTEP_TRUST_NS "/Issue") "<TokenType>" X509_TYPE "</TokenType>"));

    assert_int_equal(request.kind, WSTEP_ISSUE);
    assert_int_equal(request.token_type, WSTEP_PKCS7);
    assert_int_equal(request.token.len, 3);
    assert_string_equal(request.request_id, "12");
    assert_string_equal(wstep_request_context(&request, "CCM"), "host");
    assert_null(request.language);
}

TEST(wstep_request_must_have_what_its_kind_needs)
{
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/Issue")), "Issue without a BinarySecurityToken");
    request_refused(RST(TYPE(WSTEP_NS "/QueryTokenStatus")), "QueryTokenStatus without a RequestID");
    request_refused(RST(TYPE(WSTEP_NS "/QueryTokenStatus") "<e:RequestID i:nil='true'/>"), "without a RequestID");
    request_refused(RST(TYPE(WSTEP_NS "/QueryTokenStatus") "<e:RequestID>  </e:RequestID>"), "without a RequestID");
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/KET")), "KET without RequestKET");
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/Renew") BST(WSTEP_NS "#PKCS10", "MAA=")), "Renew' is not known");
    request_refused(RST(""), "RequestType is missing");
    request_refused(RST("<RequestType i:nil='true'/>"), "RequestType is empty or nil");
    request_refused(RST("<TokenType>urn:other</TokenType>" ISSUE), "TokenType is not X509v3");
}

TEST(wstep_request_token_must_be_base64_and_say_so)
{
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/Issue") BST(WSTEP_NS "#PKCS10", "M!A=")), "not base64 at character 2");
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/Issue") BST(WSTEP_NS "#PKCS10", "")), "<BinarySecurityToken> is empty");
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/Issue") "<w:BinarySecurityToken ValueType='" WSTEP_NS
                                                      "#PKCS10'>MAA=</w:BinarySecurityToken>"),
        "EncodingType is ''");
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/Issue") "<w:BinarySecurityToken ValueType='" WSTEP_NS
                                                      "#PKCS10' EncodingType='urn:hex'>MAA=</w:BinarySecurityToken>"),
        "EncodingType is 'urn:hex'");
    request_refused(RST(TYPE(WSTEP_TRUST_NS "/Issue") "<w:BinarySecurityToken" BASE64 ">MAA=</w:BinarySecurityToken>"),
        "ValueType is missing");
    request_refused(RST(ISSUE BST(WSTEP_NS "#PKCS10", "MAA=")), "<BinarySecurityToken> is there twice");
}

TEST(wstep_request_takes_the_spellings_of_others)
{
    CLEANUP(wstep_request_clear)
    struct wstep_request pkcs7 = request_ok(RST(TYPE(WSTEP_TRUST_NS "/Issue") BST(WSTEP_NS "#PKCS7", "MAA=")));
    CLEANUP(wstep_request_clear)
    struct wstep_request oasis =
        request_ok(RST(TYPE(WSTEP_TRUST_NS "/Issue") "<w:BinarySecurityToken ValueType='urn:new' EncodingType='"
                                                     "http://docs.oasis-open.org/wss/2004/01/"
                                                     "oasis-200401-wss-soap-message-security-1.0#Base64Binary'>MAA="
                                                     "</w:BinarySecurityToken>"));

    assert_int_equal(pkcs7.token_type, WSTEP_PKCS7);
    assert_int_equal(oasis.token_type, WSTEP_OTHER);
}

TEST(wstep_context_with_a_line_break_or_control_character_is_refused_on_reading)
{
    request_refused(RST(ISSUE CONTEXT(ITEM("ccm", "host&#10;CertificateTemplate:SubCA"))),
        "in <AdditionalContext>: the value of a context item, 'host\\x0aCertificateTemplate:SubCA', has a line break");
    request_refused(RST(ISSUE CONTEXT(ITEM("ccm", "host\nCertificateTemplate:SubCA"))), "has a line break");
    request_refused(RST(ISSUE CONTEXT(ITEM("ccm", "host&#13;x"))), "has a line break");
    request_refused(RST(ISSUE CONTEXT(ITEM("ccm", "a&#x85;b"))), "has a line break");
    request_refused(RST(ISSUE CONTEXT(ITEM("ccm", "a&#x2028;b"))), "has a line break");
    request_refused(RST(ISSUE CONTEXT(ITEM("ccm", "a\tb"))), "has a control character");
    request_refused(RST(ISSUE CONTEXT(ITEM("ccm", "a&#x9b;b"))), "has a control character");
    request_refused(
        RST(ISSUE CONTEXT(ITEM("c&#10;cm", "a"))), "the name of a context item, 'c\\x0acm', has a line break");
    request_refused(RST(ISSUE CONTEXT(ITEM("SAN:dns=x", "a"))), "has a colon");
    request_refused(RST(ISSUE CONTEXT("<c:ContextItem><c:Value>a</c:Value></c:ContextItem>")), "Name is missing");
}

TEST(wstep_context_with_a_line_break_is_refused_on_writing)
{
    static const char *const items[][3] = {
        {"ccm", "host\nCertificateTemplate:SubCA", "has a line break"},
        {"ccm", "host\r", "has a line break"},
        {"ccm", "\x1b[0m", "has a control character"},
        {"c\ncm", "x", "has a line break"},
        {"c:cm", "x", "has a colon"},
        {"ccm", "\xff", "has a control character"},
    };
    struct soap_header header = {0};

    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = WSTEP_PKCS10};
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        bytes_set(&request.token, "0\0", 2);
        wstep_request_add_context(&request, items[i][0], items[i][1]);
        assert_int_equal(wstep_request_write(&header, NULL, &request, &out, &err), -1);
        assert_contains(err_text(err), items[i][2]);
        assert_int_equal(out.len, 0);
    }
}

TEST(wstep_actions_fit_their_kinds_only)
{
    assert_true(wstep_action_fits(WSTEP_ISSUE, WSTEP_ACTION_REQUEST));
    assert_true(wstep_action_fits(WSTEP_QUERY, WSTEP_ACTION_REQUEST));
    assert_true(wstep_action_fits(WSTEP_KET, WSTEP_ACTION_KET_REQUEST));
    assert_false(wstep_action_fits(WSTEP_KET, WSTEP_ACTION_REQUEST));
    assert_false(wstep_action_fits(WSTEP_ISSUE, WSTEP_ACTION_KET_REQUEST));
    assert_false(wstep_action_fits(WSTEP_ISSUE, WSTEP_ACTION_RESPONSE));
    assert_false(wstep_action_fits(WSTEP_ISSUE, NULL));
    assert_string_equal(wstep_request_action(WSTEP_KET), WSTEP_ACTION_KET_REQUEST);
}

/* Writes @request and reads it back. */
static struct wstep_request around(const struct wstep_request *request)
{
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = {0};

    assert_ok(wstep_request_write(&header, NULL, request, &out, &err) == 0, err);
    return request_ok(bytes_text(&out));
}

TEST(wstep_requests_are_given_back_as_they_were_written)
{
    static const enum wstep_token types[] = {WSTEP_PKCS10, WSTEP_PKCS7, WSTEP_X509V3, WSTEP_CHALLENGE_RESPONSE};
    char language[] = "en-US", id[] = "99999999999999999999";

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = types[i]};
        CLEANUP(wstep_request_clear) struct wstep_request again = {0};

        request.language = mem_strdup(language);
        bytes_set(&request.token, "0\1\0 token", 9);
        wstep_request_add_context(&request, "ccm", "linux01 & <co>");
        wstep_request_add_context(&request, "CertificateTemplate", "");
        again = around(&request);
        assert_int_equal(again.kind, WSTEP_ISSUE);
        assert_int_equal(again.token_type, types[i]);
        assert_true(bytes_equal(&again.token, &request.token));
        assert_string_equal(again.language, language);
        assert_null(again.request_id);
        assert_int_equal(again.n_context, 2);
        assert_string_equal(again.context[0].value, "linux01 & <co>");
        assert_string_equal(again.context[1].name, "CertificateTemplate");
        assert_string_equal(again.context[1].value, "");
    }
    for (int kind = WSTEP_QUERY; kind <= WSTEP_KET; kind++) {
        struct wstep_request request = {.kind = (enum wstep_kind)kind, .request_id = kind == WSTEP_QUERY ? id : NULL};
        CLEANUP(wstep_request_clear) struct wstep_request again = around(&request);

        assert_int_equal(again.kind, kind);
        if (kind == WSTEP_QUERY)
            assert_string_equal(again.request_id, id);
        else
            assert_null(again.request_id);
    }
}

TEST(wstep_request_is_not_written_without_what_it_needs)
{
    static const struct wstep_request requests[] = {
        {.kind = WSTEP_ISSUE},
        {.kind = WSTEP_QUERY},
        {.kind = WSTEP_KIND__MAX},
    };
    struct soap_header header = {0};

    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(wstep_request_write(&header, NULL, &requests[i], &out, &err), -1);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_int_equal(out.len, 0);
    }
}

/* Responses. */

#define RSTR(inside)                                                                                                   \
    "<RequestSecurityTokenResponse xmlns='" WSTEP_TRUST_NS "'>" inside "</RequestSecurityTokenResponse>"
#define COLLECTION(inside)                                                                                             \
    "<RequestSecurityTokenResponseCollection xmlns='" WSTEP_TRUST_NS "' xmlns:w='" SOAP_WSSE_NS "' xmlns:e='" WSTEP_NS \
    "'>" inside "</RequestSecurityTokenResponseCollection>"
#define REQUESTED(inside) "<RequestedSecurityToken>" inside "</RequestedSecurityToken>"
#define ID                "<e:RequestID>7</e:RequestID>"

static struct wstep_response response_ok(const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct wstep_response response = {0};

    assert_ok(wstep_response_parse_bare(text, strlen(text), &response, &err) == 0, err);
    return response;
}

static void response_refused(const char *text, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct wstep_response response = {0};

    assert_int_equal(wstep_response_parse_bare(text, strlen(text), &response, &err), -1);
    assert_contains(err_text(err), expected);
}

TEST(wstep_response_is_decided_by_its_tokens)
{
    CLEANUP(wstep_response_clear)
    struct wstep_response issued = response_ok(
        COLLECTION(RSTR("<e:DispositionMessage>Denied</e:DispositionMessage>" REQUESTED(BST(X509_TYPE, "MAA=")))));
    CLEANUP(wstep_response_clear)
    struct wstep_response pending =
        response_ok(COLLECTION(RSTR("<e:DispositionMessage>Issued</e:DispositionMessage>" REQUESTED(
            "<w:SecurityTokenReference><w:Reference URI='https://other'/></w:SecurityTokenReference>") ID)));
    CLEANUP(wstep_response_clear)
    struct wstep_response undecided = response_ok(COLLECTION(RSTR(BST(SOAP_WSSE_NS "#PKCS7", "MAA="))));
    CLEANUP(wstep_response_clear)
    struct wstep_response nested =
        response_ok(COLLECTION(RSTR(REQUESTED("<KeyExchangeToken>" BST(X509_TYPE, "MAA=") "</KeyExchangeToken>"))));
    CLEANUP(wstep_response_clear)
    struct wstep_response direct =
        response_ok(COLLECTION(RSTR("<KeyExchangeToken>" BST(X509_TYPE, "MAA=") "</KeyExchangeToken>")));

    assert_int_equal(issued.outcome, WSTEP_ISSUED);
    assert_int_equal(issued.certificate.len, 2);
    assert_int_equal(pending.outcome, WSTEP_PENDING);
    assert_string_equal(pending.reference_uri, "https://other");
    assert_int_equal(undecided.outcome, WSTEP_UNDECIDED);
    assert_int_equal(undecided.cms.len, 2);
    assert_int_equal(nested.outcome, WSTEP_EXCHANGE);
    assert_int_equal(direct.outcome, WSTEP_EXCHANGE);
    assert_int_equal(direct.exchange_certificate.len, 2);
}

TEST(wstep_response_of_several_is_the_first)
{
    CLEANUP(wstep_response_clear)
    struct wstep_response response =
        response_ok(COLLECTION(RSTR(REQUESTED(BST(X509_TYPE, "MAA=")) ID) RSTR("<e:RequestID>8</e:RequestID>")));

    assert_string_equal(response.request_id, "7");
}

TEST(wstep_response_that_says_nothing_is_refused)
{
    response_refused(COLLECTION(""), "<RequestSecurityTokenResponseCollection> is empty");
    response_refused(COLLECTION(RSTR(ID)), "the response lacks a CMS message");
    response_refused(COLLECTION(RSTR(REQUESTED("<w:SecurityTokenReference/>"))), "the response lacks a RequestID");
    response_refused(COLLECTION(RSTR(REQUESTED(BST("urn:other", "MAA=")) ID)), "the response lacks a CMS message");
    response_refused(COLLECTION(RSTR(REQUESTED(BST(X509_TYPE, "MAA")) ID)),
        "in <RequestedSecurityToken>: in <BinarySecurityToken>: line 1: <BinarySecurityToken>: base64 ends");
    response_refused(RSTR(""), "where <RequestSecurityTokenResponseCollection> should be");
}

static struct wstep_response response_around(const struct wstep_response *response)
{
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = {0};
    struct wstep_response again = {0};

    assert_ok(wstep_response_write(&header, response, &out, &err) == 0, err);
    assert_ok(soap_parse(out.data, out.len, &message, &err) == 0, err);
    assert_ok(wstep_response_parse(message, &again, &err) == 0, err);
    return again;
}

TEST(wstep_responses_are_given_back_as_they_were_written)
{
    static const enum wstep_outcome outcomes[] = {WSTEP_ISSUED, WSTEP_PENDING, WSTEP_EXCHANGE, WSTEP_UNDECIDED};

    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
        CLEANUP(wstep_response_clear) struct wstep_response response = {.outcome = outcomes[i]};
        CLEANUP(wstep_response_clear) struct wstep_response again = {0};

        response.disposition_message = mem_strdup("Issued  & more <text>");
        response.language = mem_strdup("en-US");
        response.request_id = mem_strdup("1043");
        bytes_set(&response.cms, "0\2cms", 5);
        bytes_set(&response.certificate, "0\2leaf", 6);
        bytes_set(&response.exchange_certificate, "0\2xchg", 6);
        response.reference_uri = mem_strdup("https://ces/a?b=1&c=2");
        again = response_around(&response);
        assert_int_equal(again.outcome, outcomes[i]);
        assert_string_equal(again.disposition_message, response.disposition_message);
        assert_string_equal(again.language, "en-US");
        assert_string_equal(again.request_id, "1043");
        assert_true(bytes_equal(&again.cms, &response.cms));
        assert_int_equal(again.certificate.len, outcomes[i] == WSTEP_ISSUED ? 6 : 0);
        assert_int_equal(again.exchange_certificate.len, outcomes[i] == WSTEP_EXCHANGE ? 6 : 0);
        if (outcomes[i] == WSTEP_PENDING)
            assert_string_equal(again.reference_uri, response.reference_uri);
        else
            assert_null(again.reference_uri);
    }
}

TEST(wstep_response_is_not_written_without_what_its_outcome_needs)
{
    char id[] = "1043", uri[] = "https://ces";
    const struct wstep_response responses[] = {
        {.outcome = WSTEP_ISSUED, .request_id = id},
        {.outcome = WSTEP_PENDING, .request_id = id},
        {.outcome = WSTEP_PENDING, .reference_uri = uri},
        {.outcome = WSTEP_EXCHANGE},
        {.outcome = WSTEP_UNDECIDED},
    };
    struct soap_header header = {0};

    for (size_t i = 0; i < ARRAY_SIZE(responses); i++) {
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(wstep_response_write(&header, &responses[i], &out, &err), -1);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_int_equal(out.len, 0);
    }
}

/* Faults. */

static struct wstep_fault_detail detail_ok(const char *inside)
{
    CLEANUP(mem_freep)
    char *text = mem_printf(
        ENVELOPE("<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason/><s:Detail>"
                 "<e:CertificateEnrollmentWSDetail>%s</e:CertificateEnrollmentWSDetail></s:Detail></s:Fault>"),
        inside);
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct wstep_fault_detail detail = {0};

    assert_ok(soap_parse(text, strlen(text), &message, &err) == 0, err);
    assert_ok(wstep_fault_detail_parse(message, &detail, &err) == 1, err);
    return detail;
}

TEST(wstep_fault_code_is_taken_signed_unsigned_and_in_hexadecimal)
{
    static const char *const forms[] = {
        "-2146877422", "2148089874", "0x80094012", " 0X80094012 ", "0xffffffff80094012"};

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        CLEANUP(mem_freep) char *inside = mem_printf("<e:ErrorCode>%s</e:ErrorCode>", forms[i]);
        CLEANUP(wstep_fault_detail_clear) struct wstep_fault_detail detail = detail_ok(inside);

        assert_true(detail.has_error_code);
        assert_int_equal(detail.error_code, 0x80094012);
    }
}

TEST(wstep_fault_survives_fields_that_cannot_be_read)
{
    CLEANUP(wstep_fault_detail_clear)
    struct wstep_fault_detail detail =
        detail_ok("<e:BinaryResponse>not base64!</e:BinaryResponse><e:ErrorCode>0x-1</e:ErrorCode>"
                  "<e:InvalidRequest>perhaps</e:InvalidRequest><e:RequestID>9</e:RequestID>");

    assert_false(detail.has_error_code || detail.invalid_request.set);
    assert_int_equal(detail.binary_response.len, 0);
    assert_string_equal(detail.request_id, "9");
}

TEST(wstep_fault_is_given_back_as_it_was_written)
{
    CLEANUP(wstep_fault_detail_clear)
    struct wstep_fault_detail detail = {
        .has_error_code = true, .error_code = 0x80094012, .invalid_request = {true, true}};
    CLEANUP(wstep_fault_detail_clear) struct wstep_fault_detail again = {0};
    CLEANUP(soap_fault_clear) struct soap_fault fault = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(bytes_clear) struct bytes plain = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(soap_message_freep) struct soap_message *without = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = {0};

    bytes_set(&detail.binary_response, "0\3cmc", 5);
    detail.request_id = mem_strdup("1045");
    soap_fault_init(&fault, SOAP_RECEIVER, SOAP_SUBCODE_NONE, "Denied by Policy Module");
    assert_ok(wstep_fault_write(&header, &fault, &detail, &out, &err) == 0, err);
    assert_contains(bytes_text(&out), "<ErrorCode>-2146877422</ErrorCode>");
    assert_ok(soap_parse(out.data, out.len, &message, &err) == 0, err);
    assert_ok(wstep_fault_detail_parse(message, &again, &err) == 1, err);
    assert_true(again.has_error_code && again.error_code == 0x80094012);
    assert_true(again.invalid_request.set && again.invalid_request.value);
    assert_true(bytes_equal(&again.binary_response, &detail.binary_response));
    assert_string_equal(again.request_id, "1045");
    assert_ok(wstep_fault_write(&header, &fault, NULL, &plain, &err) == 0, err);
    assert_ok(soap_parse(plain.data, plain.len, &without, &err) == 0, err);
    assert_int_equal(wstep_fault_detail_parse(without, &again, &err), 0);
    assert_string_equal(soap_message_fault(without)->reason, "Denied by Policy Module");
}
