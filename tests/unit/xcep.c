#include "tests/testing.h"

#include "protocol/xcep/xcep.h"

#define ENVELOPE(body)                                                                                                 \
    "<s:Envelope xmlns:s='" SOAP_NS "' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'><s:Body>" body              \
    "</s:Body></s:Envelope>"
#define GET(inside) ENVELOPE("<GetPolicies xmlns='" XCEP_NS "'>" inside "</GetPolicies>")

static int parse_request(const char *text, struct xcep_request *out, struct err **errp)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;

    if (soap_parse(text, strlen(text), &message, errp) < 0)
        return -1;
    return xcep_request_parse(message, out, errp);
}

static struct xcep_request request_ok(const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct xcep_request request = {0};

    assert_ok(parse_request(text, &request, &err) == 0, err);
    return request;
}

static void request_refused(const char *text, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct xcep_request request = {0};

    assert_int_equal(parse_request(text, &request, &err), -1);
    assert_contains(err_text(err), expected);
}

TEST(xcep_request_without_client_is_refused)
{
    request_refused(GET(""), "client is missing");
    request_refused(GET("<client i:nil='true'/>"), "client is empty or nil");
    request_refused(GET("<client/>"), "client is empty or nil");
    request_refused(ENVELOPE("<Other xmlns='" XCEP_NS "'/>"), "<Other> where <GetPolicies> should be");
    request_refused(ENVELOPE("<GetPolicies xmlns='urn:other'/>"), "<GetPolicies> where <GetPolicies> should be");
}

TEST(xcep_request_tells_no_filter_from_an_empty_one_and_nil_from_zero)
{
    CLEANUP(xcep_request_clear) struct xcep_request none = request_ok(GET("<client><lastUpdate/></client>"));
    CLEANUP(xcep_request_clear)
    struct xcep_request nil = request_ok(GET("<client><lastUpdate/></client><requestFilter i:nil='1'/>"));
    CLEANUP(xcep_request_clear)
    struct xcep_request zero = request_ok(
        GET("<client><lastUpdate/></client><requestFilter><policyOIDs i:nil='true'/><clientVersion>0</clientVersion>"
            "<serverVersion i:nil='true'/></requestFilter>"));

    assert_false(none.has_filter || nil.has_filter);
    assert_true(zero.has_filter);
    assert_true(zero.client_version.set && zero.client_version.value == 0);
    assert_false(zero.server_version.set);
}

TEST(xcep_request_of_year_one_and_of_no_date_mean_never)
{
    CLEANUP(xcep_request_clear)
    struct xcep_request first = request_ok(GET("<client><lastUpdate> 0001-01-01T00:00:00 </lastUpdate></client>"));
    CLEANUP(xcep_request_clear)
    struct xcep_request bad = request_ok(GET("<client><lastUpdate>20090-03-15-T09:38:46</lastUpdate></client>"));
    CLEANUP(xcep_request_clear)
    struct xcep_request good = request_ok(GET("<client><lastUpdate>2030-01-02T03:04:05</lastUpdate></client>"));

    assert_false(first.last_update.set || first.bad_last_update);
    assert_true(!bad.last_update.set && bad.bad_last_update);
    assert_true(good.last_update.set && good.last_update.value == 1893553445); /* no zone is UTC */
}

TEST(xcep_request_is_given_back_as_it_was_written)
{
    char language[] = "de-AT", action[] = XCEP_ACTION_REQUEST, to[] = "https://cep.example/a b?x=1&y=<2>";
    CLEANUP(mem_freep) char *id = soap_new_message_id();
    CLEANUP(secret_freep) struct secret *password = secret_copy(" p&<>\"'\t", 8);
    CLEANUP(wsse_security_clear) struct wsse_security security = {0};
    CLEANUP(bytes_wipe) struct bytes out = {0};
    CLEANUP(xcep_request_clear) struct xcep_request again = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(strlist_clear) struct strlist oids = {0};
    struct soap_header header = {.action = action, .message_id = id, .to = to};
    struct xcep_request request = {
        .last_update = {true, 1893553445},
        .preferred_language = language,
        .has_filter = true,
        .client_version = {true, 6},
        .server_version = {true, 0},
    };

    strlist_add(&oids, "1.3.6.1.4.1.311.21.8.99999999999999999999.1");
    strlist_add(&oids, "1.2.3");
    request.policy_oids = oids;
    wsse_security_init(&security, "EXAMPLE\\alice", password, 1893553445);
    assert_ok(xcep_request_write(&header, &security, &request, &out, &err) == 0, err);
    assert_ok(soap_parse(out.data, out.len, &message, &err) == 0, err);
    assert_ok(xcep_request_parse(message, &again, &err) == 0, err);
    assert_string_equal(soap_message_header(message)->to, to);
    assert_string_equal(soap_message_header(message)->message_id, id);
    assert_true(secret_equal(soap_message_security(message)->password, password));
    assert_string_equal(soap_message_security(message)->username, "EXAMPLE\\alice");
    assert_int_equal(soap_message_security(message)->created.value, 1893553445);
    assert_int_equal(again.last_update.value, 1893553445);
    assert_string_equal(again.preferred_language, "de-AT");
    assert_true(again.has_filter && again.client_version.value == 6);
    assert_true(again.server_version.set && again.server_version.value == 0);
    assert_int_equal(again.policy_oids.n, 2);
    assert_string_equal(again.policy_oids.items[0], "1.3.6.1.4.1.311.21.8.99999999999999999999.1");
}

/* Responses are put together of these. */
#define POLICY(oid, name, more)                                                                                        \
    "<policy><policyOIDReference>" oid "</policyOIDReference><cAs><cAReference>7</cAReference></cAs><attributes>"      \
    "<commonName>" name "</commonName><policySchema>2</policySchema><certificateValidity><validityPeriodSeconds>2"     \
    "</validityPeriodSeconds><renewalPeriodSeconds>1</renewalPeriodSeconds></certificateValidity><permission><enroll>" \
    "true</enroll><autoEnroll>0</autoEnroll></permission><privateKeyAttributes><minimalKeyLength>2048"                 \
    "</minimalKeyLength></privateKeyAttributes><revision><majorRevision>1</majorRevision></revision>" more             \
    "</attributes></policy>"
#define OID(id, value) "<oID><value>" value "</value><group>9</group><oIDReferenceID>" id "</oIDReferenceID></oID>"
#define CA(id)                                                                                                          \
    "<cA><uris><cAURI><clientAuthentication>4</clientAuthentication><uri>https://ces</uri></cAURI></uris><certificate>" \
    "AAAA</certificate><enrollPermission>1</enrollPermission><cAReferenceID>" id "</cAReferenceID></cA>"
#define RESPONSE(policies, cas, oids)                                                                                  \
    "<GetPoliciesResponse xmlns='" XCEP_NS "'><response><policyID>id</policyID><policies>" policies                    \
    "</policies></response><cAs>" cas "</cAs><oIDs>" oids "</oIDs></GetPoliciesResponse>"

static struct xcep_response response_ok(const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct xcep_response response = {0};

    assert_ok(xcep_response_parse_bare(text, strlen(text), &response, &err) == 0, err);
    return response;
}

static void response_refused(const char *text, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct xcep_response response = {0};

    assert_int_equal(xcep_response_parse_bare(text, strlen(text), &response, &err), -1);
    assert_contains(err_text(err), expected);
}

/* One policy is left out for this reason, and the one called "good" is served. */
static void one_skipped(const char *text, const char *expected)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = response_ok(text);

    assert_int_equal(response.n_policies, 1);
    assert_string_equal(response.policies[0].common_name, "good");
    assert_int_equal(response.skipped.n, 1);
    assert_contains(response.skipped.items[0], expected);
}

TEST(xcep_response_finds_by_id_in_any_order)
{
    CLEANUP(xcep_response_clear)
    struct xcep_response response = response_ok(RESPONSE(
        "", CA("5") CA("-1") CA("0"), OID("9", "1.9") OID("0", "1.0") OID("2147483647", "1.1") OID("3", "1.3")));

    assert_string_equal(xcep_find_oid(&response, 0)->value, "1.0");
    assert_string_equal(xcep_find_oid(&response, INT32_MAX)->value, "1.1");
    assert_string_equal(xcep_find_oid(&response, 9)->value, "1.9");
    assert_null(xcep_find_oid(&response, 4));
    assert_int_equal(xcep_find_ca(&response, -1)->id, -1);
    assert_null(xcep_find_ca(&response, 1));
}

TEST(xcep_response_leaves_out_a_policy_with_a_dangling_reference)
{
#define GOOD POLICY("1", "good", "")
#define BOTH OID("1", "1.1") OID("2", "1.2")
    one_skipped(RESPONSE(GOOD POLICY("3", "bad", ""), CA("7"), BOTH),
        "<policy> 'bad': policyOIDReference refers to oID 3, which is not there");
    one_skipped(
        RESPONSE(GOOD POLICY("2", "bad", "<hashAlgorithmOIDReference>8</hashAlgorithmOIDReference>"), CA("7"), BOTH),
        "hashAlgorithmOIDReference refers to oID 8");
    one_skipped(RESPONSE(GOOD POLICY("2", "bad",
                             "<extensions><extension><oIDReference>8</oIDReference><critical>1</critical></extension>"
                             "</extensions>"),
                    CA("7"), BOTH),
        "an extension refers to oID 8");
    one_skipped(
        RESPONSE(GOOD POLICY("2", "bad",
                     "<rARequirements><rASignatures>1</rASignatures><rAEKUs><oIDReference>8</oIDReference></rAEKUs>"
                     "</rARequirements>"),
            CA("7"), BOTH),
        "rAEKUs refers to oID 8");
    one_skipped(RESPONSE(GOOD POLICY("2", "bad",
                             "<rARequirements><rASignatures>1</rASignatures><rAPolicies><oIDReference>8</oIDReference>"
                             "</rAPolicies></rARequirements>"),
                    CA("7"), BOTH),
        "rAPolicies refers to oID 8");
    one_skipped(RESPONSE(GOOD POLICY("2", "bad",
                             "<keyArchivalAttributes><symmetricAlgorithmOIDReference>8</symmetricAlgorithmOIDReference>"
                             "<symmetricAlgorithmKeyLength>1</symmetricAlgorithmKeyLength></keyArchivalAttributes>"),
                    CA("7"), BOTH),
        "symmetricAlgorithmOIDReference refers to oID 8");
}

TEST(xcep_response_leaves_out_a_policy_with_a_broken_value)
{
    one_skipped(RESPONSE(GOOD POLICY("2", "bad", "<generalFlags>many</generalFlags>"), CA("7"), BOTH),
        "<policy> 'bad': in <attributes>: line 1: <generalFlags>: 'many' is not a number");
    one_skipped(RESPONSE(GOOD "<policy/>", CA("7"), BOTH), "<policy>: line 1: <policy>: policyOIDReference is missing");
}

TEST(xcep_response_leaves_out_the_second_policy_of_one_name)
{
    CLEANUP(xcep_response_clear)
    struct xcep_response response =
        response_ok(RESPONSE(POLICY("2", "good", "") POLICY("1", "good", ""), CA("7"), BOTH));

    assert_int_equal(response.n_policies, 1);
    assert_int_equal(response.policies[0].oid, 2);
    assert_contains(response.skipped.items[0], "another policy has this name");
    one_skipped(RESPONSE(POLICY("3", "good", "") GOOD, CA("7"), BOTH), "refers to oID 3");
}

TEST(xcep_response_with_a_broken_ca_loses_the_policies_that_need_it)
{
    CLEANUP(xcep_response_clear)
    struct xcep_response response = response_ok(
        RESPONSE(GOOD, "<cA><uris/><enrollPermission>1</enrollPermission><cAReferenceID>7</cAReferenceID></cA>", BOTH));

    assert_int_equal(response.n_cas + response.n_policies, 0);
    assert_int_equal(response.skipped.n, 2);
    assert_contains(response.skipped.items[0], "certificate is missing");
    assert_contains(response.skipped.items[1], "refers to cA 7");
}

TEST(xcep_response_with_an_id_twice_is_refused)
{
    response_refused(RESPONSE(GOOD, CA("7"), OID("1", "1.1") OID("1", "1.2")), "the oIDReferenceID 1 is there twice");
    response_refused(RESPONSE(GOOD, CA("7") CA("7"), BOTH), "the cAReferenceID 7 is there twice");
    response_refused(RESPONSE(GOOD POLICY("1", "other", ""), CA("7"), BOTH), "the policyOIDReference 1 is there twice");
}

TEST(xcep_response_keeps_an_unknown_authentication_for_others_to_ignore)
{
    CLEANUP(xcep_response_clear)
    struct xcep_response response = response_ok(RESPONSE("",
        "<cA><uris><cAURI><clientAuthentication>16</clientAuthentication><uri> https://ces/a b </uri>"
        "</cAURI></uris><certificate>AAAA</certificate><enrollPermission>0</enrollPermission>"
        "<cAReferenceID>0</cAReferenceID></cA>",
        ""));

    assert_int_equal(response.cas[0].uris[0].auth, 16);
    assert_string_equal(response.cas[0].uris[0].uri, "https://ces/a b");
    assert_false(response.cas[0].uris[0].priority.set || response.cas[0].uris[0].renewal_only.set);
    assert_string_equal(xcep_auth_name(16), "unknown");
    assert_string_equal(xcep_auth_name(XCEP_AUTH_USERNAME), "username");
    assert_string_equal(xcep_group_name(XCEP_GROUP_EKU), "extended key usage");
}

TEST(xcep_response_refuses_another_root_and_a_fault)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(soap_fault_clear) struct soap_fault fault = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = {0};
    struct xcep_response response = {0};

    response_refused("<GetPoliciesResponse/>", "<GetPoliciesResponse> where <GetPoliciesResponse> should be");
    soap_fault_init(&fault, SOAP_SENDER, SOAP_SUBCODE_FAILED_AUTHENTICATION, "no");
    assert_ok(soap_fault_write(&header, &fault, &out, &err) == 0, err);
    assert_ok(soap_parse(out.data, out.len, &message, &err) == 0, err);
    assert_int_equal(xcep_response_parse(message, &response, &err), -1);
    assert_contains(err_text(err), "the message is a fault, not a <GetPoliciesResponse>");
}

/* 5000 templates, each with an OID of its own, references and extensions: linear, and under the limits. */
TEST(xcep_response_of_5000_templates_is_read_whole)
{
    CLEANUP(bytes_clear) struct bytes policies = {0};
    CLEANUP(bytes_clear) struct bytes oids = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    for (int i = 5000; i > 0; i--) {
        CLEANUP(mem_freep)
        char *policy = mem_printf(
            POLICY("%d", "Template%d",
                "<extensions><extension><oIDReference>0</oIDReference><critical>1</critical><value>AwIFoA==</value>"
                "</extension><extension><oIDReference>%d</oIDReference><critical>1</critical>"
                "<value>AwIFoA==</value></extension></extensions>"),
            i, i, i);

        assert_int_equal(bytes_append_text(&policies, policy, NULL), 0);
        assert_int_equal(bytes_printf(&oids, NULL, OID("%d", "1.2.%d"), i, i), 0);
    }
    assert_int_equal(bytes_printf(&text, NULL, RESPONSE("%s", CA("7"), OID("0", "2.5.29.15") "%s"),
                         bytes_text(&policies), bytes_text(&oids)),
        0);
    assert_ok(xcep_response_parse_bare(text.data, text.len, &response, &err) == 0, err);
    assert_int_equal(response.n_policies, 5000);
    assert_int_equal(response.skipped.n, 0);
    assert_string_equal(xcep_find_oid(&response, response.policies[0].oid)->value, "1.2.5000");
}

static void described(const struct flag_name *table, uint32_t value, const char *expected)
{
    CLEANUP(mem_freep) char *text = flags_describe(table, value);

    assert_string_equal(text, expected);
}

TEST(flags_are_described_by_name)
{
    described(flags_general, 0, "0");
    described(flags_general, 66144, "AUTO_ENROLLMENT | MACHINE_TYPE | ADD_TEMPLATE_NAME | IS_DEFAULT");
    described(flags_subject_name, 0xa6000000,
        "SUBJECT_ALT_REQUIRE_UPN | SUBJECT_ALT_REQUIRE_EMAIL | SUBJECT_REQUIRE_EMAIL | SUBJECT_REQUIRE_DIRECTORY_PATH");
    described(flags_enrollment, 0x40000021, "INCLUDE_SYMMETRIC_ALGORITHMS | AUTO_ENROLLMENT | 0x40000000");
    described(flags_private_key, 67371136, "REQUIRE_SAME_KEY_RENEWAL | CLIENT_VERSION_4 | CA_VERSION_4");
    described(flags_private_key, 0x05060010, "EXPORTABLE_KEY | CLIENT_VERSION_5 | CA_VERSION_6");
}
