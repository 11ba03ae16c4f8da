#include "tests/testing.h"

#include <inttypes.h>

#include "protocol/xcep/xcep.h"

#define N(name) "*[local-name()='" name "']" /* an element by its local name, for XPath */

static void load(const char *name, struct bytes *out)
{
    CLEANUP(mem_freep) char *relative = mem_printf("samples/xcep/%s", name);
    CLEANUP(mem_freep) char *path = testing_shared(relative);

    testing_read(path, out);
}

static struct soap_message *load_message(const char *name)
{
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    load(name, &data);
    assert_ok(soap_parse(data.data, data.len, &message, &err) == 0, err);
    assert_null(soap_message_not_understood(message));
    assert_null(soap_message_fault(message));
    return message;
}

static struct xcep_request load_request(const char *name)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load_message(name);
    CLEANUP(err_freep) struct err *err = NULL;
    struct xcep_request request = {0};

    assert_string_equal(soap_message_header(message)->action, XCEP_ACTION_REQUEST);
    assert_ok(xcep_request_parse(message, &request, &err) == 0, err);
    return request;
}

static struct xcep_response load_response(const char *name)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load_message(name);
    CLEANUP(err_freep) struct err *err = NULL;
    struct xcep_response response = {0};

    assert_string_equal(soap_message_header(message)->action, XCEP_ACTION_RESPONSE);
    assert_ok(xcep_response_parse(message, &response, &err) == 0, err);
    return response;
}

static struct xcep_response load_bare(const char *name)
{
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct xcep_response response = {0};

    load(name, &data);
    assert_ok(xcep_response_parse_bare(data.data, data.len, &response, &err) == 0, err);
    return response;
}

/* What xmllint makes of an XPath expression; returns owned. */
static char *xpath(const char *name, const char *expression)
{
    CLEANUP(mem_freep) char *relative = mem_printf("samples/xcep/%s", name);
    CLEANUP(mem_freep) char *path = testing_shared(relative);
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "xmllint --xpath \"%s\" '%s'", expression, path), 0);
    while (out.len && out.data[out.len - 1] == '\n')
        out.data[--out.len] = 0;
    return mem_strdup(bytes_text(&out));
}

static void agrees(const char *name, const char *expression, const char *ours)
{
    CLEANUP(mem_freep) char *theirs = xpath(name, expression);

    assert_string_equal(ours, theirs);
}

static const char *text(const char *text_or_null)
{
    return text_or_null ? text_or_null : "";
}

/* Text as xmllint's string() gives it: nothing for what is nil. */
static char *opt_u32(struct opt_u32 value)
{
    return value.set ? mem_printf("%" PRIu32, value.value) : mem_strdup("");
}

static char *opt_i32(struct opt_i32 value)
{
    return value.set ? mem_printf("%" PRId32, value.value) : mem_strdup("");
}

static const char *yes_no(bool value)
{
    return value ? "true" : "false";
}

static void policy_agrees(const char *name, const struct xcep_policy *policy)
{
    CLEANUP(mem_freep) char *key_spec = opt_u32(policy->key_spec);
    CLEANUP(mem_freep) char *key_usage = opt_u32(policy->key_usage);
    CLEANUP(mem_freep) char *algorithm = opt_i32(policy->key_algorithm);
    CLEANUP(mem_freep) char *hash = opt_i32(policy->hash_algorithm);
    CLEANUP(mem_freep) char *key_flags = opt_u32(policy->private_key_flags);
    CLEANUP(mem_freep) char *name_flags = opt_u32(policy->subject_name_flags);
    CLEANUP(mem_freep) char *enroll_flags = opt_u32(policy->enrollment_flags);
    CLEANUP(mem_freep) char *general_flags = opt_u32(policy->general_flags);
    CLEANUP(mem_freep)
    char *base = mem_printf("//" N("policy") "[" N("attributes") "/" N("commonName") "='%s']", policy->common_name);
    CLEANUP(mem_freep)
    char *numbers =
        mem_printf("%" PRId32 "|%" PRIu32 "|%" PRIu64 "|%" PRIu64 "|%s|%s|%" PRIu32 "|%s|%s|%s|%s|%" PRIu32 "|%" PRIu32,
            policy->oid, policy->schema, policy->validity_seconds, policy->renewal_seconds, yes_no(policy->enroll),
            yes_no(policy->auto_enroll), policy->minimal_key_length, key_spec, key_usage, text(policy->key_permissions),
            algorithm, policy->major_revision, policy->minor_revision);
    CLEANUP(mem_freep)
    char *numbers_xpath = mem_printf(
        "concat(%s/" N("policyOIDReference") ",'|',%s//" N("policySchema") ",'|',%s//" N("validityPeriodSeconds") ",'|',%s//" N("renewalPeriodSeconds") ",'|',%s//" N("enroll") ",'|',%s//" N("autoEnroll") ",'|',%s//" N(
            "minimalKeyLength") ",'|',%s//" N("keySpec") ",'|',%s//" N("keyUsageProperty") ",'|',%s//" N("permissions") ",'|',%s//" N("algorithmOIDReference") ",'|',%s//" N("majorRevision") ",'|',%s//" N("minorRevision") ")",
        base, base, base, base, base, base, base, base, base, base, base, base, base);
    CLEANUP(mem_freep)
    char *flags = mem_printf("%s|%s|%s|%s|%s|%zu|%zu|%zu|%zu", key_flags, name_flags, enroll_flags, general_flags, hash,
        policy->superseded.n, policy->crypto_providers.n, policy->n_extensions, policy->cas.n);
    CLEANUP(mem_freep)
    char *flags_xpath = mem_printf(
        "concat(%s//" N("privateKeyFlags") ",'|',%s//" N("subjectNameFlags") ",'|',%s//" N("enrollmentFlags") ",'|',%s//" N("generalFlags") ",'|',%s//" N("hashAlgorithmOIDReference") ",'|',count(%s//" N(
            "supersededPolicies") "/*),'|',count(%s//" N("provider") "),'|',count(%s//" N("extension") "),'|',count(%s//" N("cAReference") "))",
        base, base, base, base, base, base, base, base, base);

    agrees(name, numbers_xpath, numbers);
    agrees(name, flags_xpath, flags);
    for (size_t i = 0; i < policy->n_extensions; i++) {
        const struct xcep_extension *extension = &policy->extensions[i];
        CLEANUP(mem_freep) char *value = bytes_to_base64(extension->value.data, extension->value.len, 0);
        CLEANUP(mem_freep)
        char *ours = mem_printf("%" PRId32 "|%s|%s", extension->oid, yes_no(extension->critical), value);
        CLEANUP(mem_freep) char *at = mem_printf("(%s//" N("extension") ")[%zu]", base, i + 1);
        CLEANUP(mem_freep)
        char *expression = mem_printf(
            "concat(%s/" N("oIDReference") ",'|',%s/" N("critical") ",'|',normalize-space(%s/" N("value") "))", at, at,
            at);

        agrees(name, expression, ours);
    }
}

static void ca_agrees(const char *name, const struct xcep_ca *ca)
{
    CLEANUP(mem_freep) char *base = mem_printf("//" N("cA") "[" N("cAReferenceID") "=%" PRId32 "]", ca->id);
    CLEANUP(mem_freep) char *certificate = bytes_to_base64(ca->certificate.data, ca->certificate.len, 0);
    CLEANUP(mem_freep) char *ours = mem_printf("%zu|%s|%s", ca->n_uris, yes_no(ca->enroll_permission), certificate);
    CLEANUP(mem_freep)
    char *expression = mem_printf("concat(count(%s//" N("cAURI") "),'|',%s/" N(
                                      "enrollPermission") ",'|',normalize-space(%s/" N("certificate") "))",
        base, base, base);

    agrees(name, expression, ours);
    for (size_t i = 0; i < ca->n_uris; i++) {
        const struct xcep_ca_uri *uri = &ca->uris[i];
        CLEANUP(mem_freep) char *priority = opt_u32(uri->priority);
        CLEANUP(mem_freep) char *at = mem_printf("(%s//" N("cAURI") ")[%zu]", base, i + 1);
        CLEANUP(mem_freep)
        char *one = mem_printf("%" PRIu32 "|%s|%s|%s", uri->auth, uri->uri, priority,
            uri->renewal_only.set ? yes_no(uri->renewal_only.value) : "");
        CLEANUP(mem_freep)
        char *one_xpath = mem_printf("concat(%s/" N("clientAuthentication") ",'|',%s/" N("uri") ",'|',%s/" N(
                                         "priority") ",'|',%s/" N("renewalOnly") ")",
            at, at, at, at);

        agrees(name, one_xpath, one);
    }
}

/* Every value of @response is what xmllint finds in the file, but for the policies that were left out. */
static void response_agrees(const char *name, const struct xcep_response *response, size_t n_skipped)
{
    CLEANUP(mem_freep) char *hours = opt_u32(response->next_update_hours);
    CLEANUP(mem_freep)
    char *ours = mem_printf("%s|%s|%s|%s|%zu|%zu|%zu", text(response->policy_id), text(response->friendly_name), hours,
        response->policies_not_changed.set ? yes_no(response->policies_not_changed.value) : "",
        response->n_policies + n_skipped, response->n_cas, response->n_oids);

    assert_int_equal(response->skipped.n, n_skipped);
    agrees(name,
        "concat(//" N("policyID") ",'|',//" N("policyFriendlyName") ",'|',//" N("nextUpdateHours") ",'|',//" N(
            "policiesNotChanged") ",'|',count(//" N("policy") "),'|',count(//" N("cA") "),'|',count(//" N("oID") "))",
        ours);
    for (size_t i = 0; i < response->n_policies; i++)
        policy_agrees(name, &response->policies[i]);
    for (size_t i = 0; i < response->n_cas; i++)
        ca_agrees(name, &response->cas[i]);
    for (size_t i = 0; i < response->n_oids; i++) {
        const struct xcep_oid *oid = &response->oids[i];
        CLEANUP(mem_freep) char *one = mem_printf("%s|%" PRIu32 "|%s", oid->value, oid->group, text(oid->default_name));
        CLEANUP(mem_freep) char *base = mem_printf("//" N("oID") "[" N("oIDReferenceID") "=%" PRId32 "]", oid->id);
        CLEANUP(mem_freep)
        char *expression = mem_printf("concat(normalize-space(%s/" N("value") "),'|',%s/" N(
                                          "group") ",'|',normalize-space(%s/" N("defaultName") "))",
            base, base, base);

        agrees(name, expression, one);
        assert_ptr_equal(xcep_find_oid(response, oid->id), oid);
    }
}

TEST(xcep_sample_01_asks_for_everything_for_the_first_time)
{
    static const char name[] = "01-spec-4.1.1.1-request.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load_message(name);
    CLEANUP(xcep_request_clear) struct xcep_request request = load_request(name);
    const struct wsse_security *security = soap_message_security(message);
    const struct soap_header *header = soap_message_header(message);

    assert_string_equal(header->message_id, "urn:uuid:5fb5f6fd-4709-414b-8afa-0c05f6686d1c");
    assert_string_equal(header->to, "https://9-1351c1223a.dom9-1351c1223a.nttest.microsoft.com/"
                                    "ADPolicyProvider_cep_usernamepassword/service.svc/cep");
    assert_true(security->created.set && security->created.value == 1238029131);
    assert_int_equal(security->expires.value - security->created.value, 300);
    assert_string_equal(security->username, ""); /* a comment stands there */
    assert_false(security->digest);
    assert_false(request.last_update.set || request.bad_last_update || request.has_filter);
    assert_null(request.preferred_language);
}

TEST(xcep_sample_02_as_printed_is_refused)
{
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    load("02-spec-4.1.1.2-response.as-printed.txt", &data);
    assert_int_equal(soap_parse(data.data, data.len, &message, &err), -1);
    assert_contains(err_text(err), "line 40, column 30"); /* the "=" of a name that lost its blank */
}

TEST(xcep_sample_02_repaired_is_the_efs_template)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = load_response("02-spec-4.1.1.2-response.repaired.xml");
    const struct xcep_policy *policy = response.policies;

    response_agrees("02-spec-4.1.1.2-response.repaired.xml", &response, 0);
    assert_int_equal(response.n_policies, 1);
    assert_string_equal(policy->common_name, "EFS");
    assert_string_equal(policy->crypto_providers.items[0], "Microsoft Enhanced Cryptographic Provider v1.0");
    assert_int_equal(policy->n_extensions, 3);
    assert_int_equal(policy->extensions[0].value.len, 0);
    assert_int_equal(policy->extensions[1].value.len, 34);
    assert_string_equal(xcep_find_oid(&response, policy->oid)->value,
        "1.3.6.1.4.1.311.21.8.3800100.3166153.13323660.9808540.8334961.78.1.6");
    assert_false(policy->private_key_flags.set);
}

TEST(xcep_sample_03_has_a_last_update_that_is_none)
{
    CLEANUP(xcep_request_clear) struct xcep_request request = load_request("03-spec-4.1.2.1-request-lastupdate.xml");

    assert_true(request.bad_last_update);
    assert_false(request.last_update.set);
}

TEST(xcep_sample_04_as_printed_is_refused)
{
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    load("04-spec-4.1.2.2-response-notchanged.as-printed.txt", &data);
    assert_int_equal(soap_parse(data.data, data.len, &message, &err), -1);
    assert_contains(err_text(err), "line ");
    assert_contains(err_text(err), "oIDs");
}

TEST(xcep_sample_04_repaired_is_not_changed)
{
    static const char name[] = "04-spec-4.1.2.2-response-notchanged.repaired.xml";
    CLEANUP(xcep_response_clear) struct xcep_response response = load_response(name);

    response_agrees(name, &response, 0);
    assert_true(response.policies_not_changed.set && response.policies_not_changed.value);
    assert_int_equal(response.n_policies + response.n_cas + response.n_oids, 0);
}

TEST(xcep_sample_05_is_what_ad_cs_really_says)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = load_bare("05-adcs-capture-machine-template.xml");
    const struct xcep_policy *policy = response.policies;

    response_agrees("05-adcs-capture-machine-template.xml", &response, 0);
    assert_int_equal(response.n_policies, 1);
    assert_string_equal(policy->common_name, "Machine");
    assert_null(response.friendly_name);
    assert_true(policy->enrollment_flags.set && policy->enrollment_flags.value == 0);
    assert_true(policy->general_flags.value & XCEP_GENERAL_MACHINE_TYPE);
    assert_string_equal(xcep_find_oid(&response, 13)->default_name, "Computer");
    assert_int_equal(response.oids[0].id, 4); /* sorted, not from 0 */
    assert_null(xcep_find_oid(&response, 0));
    assert_int_equal(xcep_find_ca(&response, 0)->uris[0].auth, XCEP_AUTH_KERBEROS);
}

TEST(xcep_sample_06_loses_the_policy_with_dangling_references)
{
    CLEANUP(xcep_response_clear)
    struct xcep_response response = load_bare("06-adcs-capture-machine-template-trimmed.xml");

    response_agrees("06-adcs-capture-machine-template-trimmed.xml", &response, 1);
    assert_int_equal(response.n_policies, 0);
    assert_contains(response.skipped.items[0], "<policy> 'Machine'");
    assert_contains(response.skipped.items[0], "which is not there");
    assert_int_equal(response.n_cas, 1);
}

TEST(xcep_sample_07_has_nothing_for_the_asker)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = load_bare("07-adcs-capture-nil-policies.xml");

    response_agrees("07-adcs-capture-nil-policies.xml", &response, 0);
    assert_false(response.policies_not_changed.set);
    assert_int_equal(response.n_policies + response.n_cas + response.n_oids, 0);
}

TEST(xcep_sample_08_has_a_qualified_password_type_and_no_timestamp)
{
    static const char name[] = "08-mde2-4.2.1.3-request-usernametoken.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load_message(name);
    CLEANUP(xcep_request_clear) struct xcep_request request = load_request(name);
    const struct wsse_security *security = soap_message_security(message);

    assert_string_equal(security->username, "user@contoso.com");
    assert_string_equal(secret_peek(security->password), "mypassword");
    assert_false(security->digest || security->created.set);
    assert_false(request.last_update.set || request.has_filter);
}

TEST(xcep_sample_09_has_a_signature_and_no_username)
{
    static const char name[] = "09-mde2-4.2.1.2-request-certificate.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load_message(name);
    CLEANUP(xcep_request_clear) struct xcep_request request = load_request(name);

    assert_null(soap_message_security(message)->username);
    assert_int_equal(soap_message_security(message)->created.value, 1434230017);
    assert_false(request.last_update.set);
}

TEST(xcep_sample_10_has_elements_where_none_should_be)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load_message("10-mde2-4.2.2-response.xml");
    CLEANUP(xcep_response_clear) struct xcep_response response = load_response("10-mde2-4.2.2-response.xml");

    response_agrees("10-mde2-4.2.2-response.xml", &response, 0);
    assert_int_equal(response.policies[0].crypto_providers.n, 2);
    assert_string_equal(response.policy_id, "");
    assert_string_equal(response.oids[0].default_name, "szOID_NIST_sha256");
    assert_int_equal(response.oids[0].group, XCEP_GROUP_SIGNATURE); /* wrong, and of no consequence */
    assert_string_equal(
        xcep_find_oid(&response, response.policies[0].hash_algorithm.value)->value, "2.16.840.1.101.3.4.2.1");
    assert_int_equal(soap_relates_to(soap_message_header(message), "urn:uuid:69960163-adad-4a72-82d2-bb0e5cff5598"), 1);
}

TEST(xcep_sample_11_names_a_signature_as_hash)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = load_response("11-mdm-docs-onpremise-response.xml");

    response_agrees("11-mdm-docs-onpremise-response.xml", &response, 0);
    assert_int_equal(response.n_policies, 1);
    assert_int_equal(response.policies[0].cas.n, 0);
    assert_string_equal(xcep_find_oid(&response, 0)->value, "1.3.14.3.2.29");
}

/* Each of these has policies that lack what they must have: they are left out, and the rest is served. */
static void loses_its_policies(const char *name, size_t n_policies, const char *missing)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = load_response(name);

    response_agrees(name, &response, n_policies);
    assert_int_equal(response.n_policies, 0);
    assert_contains(response.skipped.items[0], missing);
    assert_contains(response.skipped.items[0], "line ");
}

TEST(xcep_sample_12_has_nil_in_three_prefixes_and_no_common_name)
{
    loses_its_policies("12-mdm-prototype-attestation-response.xml", 1, "<attributes>: commonName is missing");
}

TEST(xcep_sample_13_has_a_policy_without_common_name)
{
    loses_its_policies("13-mdm-docs-federated-response.bad-missing-elements.xml", 1, "commonName is missing");
}

TEST(xcep_sample_14_has_names_in_the_wrong_case)
{
    loses_its_policies("14-mdm-prototype-response.bad-cAS-case.xml", 1, "commonName is missing");
}

TEST(xcep_sample_15_has_oids_without_oid)
{
    loses_its_policies("15-mdm-prototype-response.bad-flat-oIDs.xml", 1, "commonName is missing");
}

TEST(xcep_sample_16_has_policies_without_key_attributes)
{
    loses_its_policies("16-test-fixture-response.bad-missing-oids.xml", 2, "<policy> 'WebServer'");
}

TEST(xcep_sample_17_is_refused)
{
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    load("17-mdm-prototype-response.malformed.txt", &data);
    assert_int_equal(soap_parse(data.data, data.len, &message, &err), -1);
    assert_contains(err_text(err), "line ");
    assert_int_equal(err_kind(err), ERR_INVALID);
}

TEST(xcep_sample_20_asks_for_the_newest_templates)
{
    static const char name[] = "20-composed-request-kerberos.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load_message(name);
    CLEANUP(xcep_request_clear) struct xcep_request request = load_request(name);

    assert_null(soap_message_security(message));
    assert_true(request.has_filter);
    assert_int_equal(request.policy_oids.n, 0);
    assert_true(request.client_version.set && request.client_version.value == 0);
    assert_true(request.server_version.set && request.server_version.value == 0);
}

TEST(xcep_sample_21_has_a_filter_and_an_escaped_password)
{
    static const char name[] = "21-composed-request-usernametoken-filter.xml";
    CLEANUP(soap_message_freep) struct soap_message *message = load_message(name);
    CLEANUP(xcep_request_clear) struct xcep_request request = load_request(name);
    const struct wsse_security *security = soap_message_security(message);

    assert_string_equal(security->username, "EXAMPLE\\host01-svc");
    assert_string_equal(secret_peek(security->password), "correct horse & <battery>");
    assert_int_equal(security->created.value, 1893553445);
    assert_true(request.last_update.set && request.last_update.value == 1893456000);
    assert_string_equal(request.preferred_language, "en-US");
    assert_int_equal(request.policy_oids.n, 2);
    assert_string_equal(request.policy_oids.items[1],
        "1.3.6.1.4.1.311.21.8.1000001.2000002.3000003.4000004.5000005.60.7000007.8000009");
    assert_int_equal(request.client_version.value, 6);
}

TEST(xcep_sample_22_has_everything)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = load_response("22-composed-response-rich.xml");
    const struct xcep_policy *ec = &response.policies[0], *ra = &response.policies[1],
                             *archived = &response.policies[2];

    response_agrees("22-composed-response-rich.xml", &response, 0);
    assert_int_equal(response.n_policies, 3);
    assert_string_equal(ec->superseded.items[0], "WorkstationOld");
    assert_true(ra->subject_name_flags.value & XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT);
    assert_int_equal(ra->ra_requirements->signatures, 1);
    assert_int_equal(ra->ra_requirements->ekus.n, 1);
    assert_string_equal(xcep_find_oid(&response, ra->ra_requirements->ekus.items[0])->value, "1.3.6.1.4.1.311.20.2.1");
    assert_int_equal(ra->ra_requirements->policies.n, 0);
    assert_null(ec->ra_requirements);
    assert_int_equal(archived->key_archival->symmetric_key_length, 256);
    assert_string_equal(
        xcep_find_oid(&response, archived->key_archival->symmetric_algorithm)->value, "2.16.840.1.101.3.4.1.42");
    assert_int_equal(archived->cas.items[1], 1);
    assert_int_equal(response.cas[0].n_uris, 3);
    assert_true(response.cas[0].uris[2].renewal_only.value);
}
