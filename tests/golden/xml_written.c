#include "tests/testing.h"

#include "protocol/wstep/wstep.h"
#include "protocol/xcep/xcep.h"

#define XCEP_SCHEMA  "samples/xcep/soap12-envelope.xsd"
#define WSTEP_SCHEMA "spec/wstep-soap12.xsd"
#define WHEN         1893553445 /* 2030-01-02 03:04:05 UTC */

/* xmllint finds @message valid against a schema of the shared folder. */
static void is_valid(const struct bytes *message, const char *schema)
{
    CLEANUP(mem_freep) char *schema_path = testing_shared(schema);
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/message.xml", dir);
    CLEANUP(bytes_clear) struct bytes said = {0};

    testing_write(path, message->data, message->len);
    if (testing_shell(&said, "xmllint --noout --nonet --schema '%s' '%s' 2>&1", schema_path, path) != 0)
        fail_msg("%s\n%s", bytes_text(&said), bytes_text(message));
}

static char *sample(const char *name)
{
    CLEANUP(mem_freep) char *relative = mem_printf("samples/%s", name);

    return testing_shared(relative);
}

static struct soap_message *load(const char *name)
{
    CLEANUP(mem_freep) char *path = sample(name);
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    testing_read(path, &data);
    assert_ok(soap_parse(data.data, data.len, &message, &err) == 0, err);
    return message;
}

/* In canonical form, without blanks between elements, @message is the same document as the sample. */
static void is_the_same_as(const struct bytes *message, const char *name)
{
    CLEANUP(mem_freep) char *original = sample(name);
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/message.xml", dir);

    testing_write(path, message->data, message->len);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && xmllint --noblanks '%s' | xmllint --c14n - >a && "
                         "xmllint --noblanks message.xml | xmllint --c14n - >b && cmp a b",
                         dir, original),
        0);
}

static struct soap_header header_of(char *action, char *id)
{
    static char to[] = "https://host.example.test/CA%20%26%20more/service.svc/CES?a=1&b=2";

    return (struct soap_header){.action = action, .message_id = id, .to = to};
}

static struct wsse_security security(void)
{
    CLEANUP(secret_freep) struct secret *password = secret_copy("a&b<c>\"d'", 9);
    struct wsse_security made;

    wsse_security_init(&made, "EXAMPLE\\alice & bob", password, WHEN);
    return made;
}

static void request_is_valid(const struct xcep_request *request)
{
    char action[] = XCEP_ACTION_REQUEST;
    CLEANUP(mem_freep) char *id = soap_new_message_id();
    CLEANUP(wsse_security_clear) struct wsse_security with = security();
    CLEANUP(bytes_clear) struct bytes plain = {0};
    CLEANUP(bytes_wipe) struct bytes secured = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = header_of(action, id);

    assert_ok(xcep_request_write(&header, NULL, request, &plain, &err) == 0, err);
    is_valid(&plain, XCEP_SCHEMA);
    assert_ok(xcep_request_write(&header, &with, request, &secured, &err) == 0, err);
    is_valid(&secured, XCEP_SCHEMA);
}

TEST(written_policy_requests_are_valid)
{
    char language[] = "en-US";
    CLEANUP(strlist_clear) struct strlist oids = {0};
    struct xcep_request minimal = {0};
    struct xcep_request newest = {.has_filter = true, .client_version = {true, 0}, .server_version = {true, 0}};
    struct xcep_request rich = newest;

    strlist_add(&oids, "1.2.3");
    strlist_add(&oids, "1.2.4");
    rich.last_update = (struct opt_time){true, WHEN};
    rich.preferred_language = language;
    rich.policy_oids = oids;
    rich.client_version.value = 6;
    request_is_valid(&minimal);
    request_is_valid(&newest);
    request_is_valid(&rich);
}

TEST(written_policy_request_is_the_composed_one)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load("xcep/20-composed-request-kerberos.xml");
    CLEANUP(xcep_request_clear) struct xcep_request request = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(xcep_request_parse(message, &request, &err) == 0, err);
    assert_ok(xcep_request_write(soap_message_header(message), NULL, &request, &out, &err) == 0, err);
    is_the_same_as(&out, "xcep/20-composed-request-kerberos.xml");
}

TEST(written_policy_is_the_composed_one)
{
    CLEANUP(soap_message_freep) struct soap_message *message = load("xcep/22-composed-response-rich.xml");
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(xcep_response_parse(message, &response, &err) == 0, err);
    assert_ok(xcep_response_write(soap_message_header(message), &response, &out, &err) == 0, err);
    is_valid(&out, XCEP_SCHEMA);
    is_the_same_as(&out, "xcep/22-composed-response-rich.xml");
}

TEST(written_policies_of_all_samples_are_valid)
{
    static const char *const names[] = {
        "xcep/02-spec-4.1.1.2-response.repaired.xml",
        "xcep/04-spec-4.1.2.2-response-notchanged.repaired.xml",
        "xcep/10-mde2-4.2.2-response.xml",
        "xcep/11-mdm-docs-onpremise-response.xml",
        "xcep/12-mdm-prototype-attestation-response.xml",
        "xcep/13-mdm-docs-federated-response.bad-missing-elements.xml",
        "xcep/14-mdm-prototype-response.bad-cAS-case.xml",
        "xcep/15-mdm-prototype-response.bad-flat-oIDs.xml",
        "xcep/16-test-fixture-response.bad-missing-oids.xml",
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(soap_message_freep) struct soap_message *message = load(names[i]);
        CLEANUP(xcep_response_clear) struct xcep_response response = {0};
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        assert_ok(xcep_response_parse(message, &response, &err) == 0, err);
        assert_ok(xcep_response_write(soap_message_header(message), &response, &out, &err) == 0, err);
        is_valid(&out, XCEP_SCHEMA);
    }
}

/* A template with a value in every field, made here and not read from anywhere. */
static struct xcep_policy *add_full_policy(struct xcep_response *response)
{
    struct xcep_policy *policy = MEM_APPEND(response->policies, response->n_policies);
    struct xcep_extension *extension = MEM_APPEND(policy->extensions, policy->n_extensions);

    *policy = (struct xcep_policy){
        .oid = 0,
        .cas = {.items = mem_dup(&(int32_t){0}, sizeof(int32_t)), .n = 1},
        .common_name = mem_strdup("R&D <Maschine> \xc3\xa4"),
        .schema = 4,
        .validity_seconds = UINT64_MAX,
        .renewal_seconds = 1,
        .enroll = true,
        .auto_enroll = true,
        .minimal_key_length = 521,
        .key_spec = {true, 2},
        .key_usage = {true, 0x00ffffff},
        .key_permissions = mem_strdup("D:P(A;;GA;;;SY)"),
        .key_algorithm = {true, 1},
        .major_revision = 100,
        .minor_revision = 4294967295,
        .private_key_flags = {true, 0xffffffff},
        .subject_name_flags = {true, 0x80000000},
        .enrollment_flags = {true, 0},
        .general_flags = {true, 64},
        .hash_algorithm = {true, 2},
        .ra_requirements = mem_alloc(sizeof(struct xcep_ra_requirements)),
        .key_archival = mem_alloc(sizeof(struct xcep_key_archival)),
        .extensions = extension,
        .n_extensions = 1,
    };
    strlist_add(&policy->crypto_providers, "Microsoft Software Key Storage Provider");
    strlist_add(&policy->superseded, "Old1");
    strlist_add(&policy->superseded, "Old2");
    *policy->ra_requirements = (struct xcep_ra_requirements){
        .signatures = 1,
        .ekus = {.items = mem_dup((int32_t[]){3, 2}, 2 * sizeof(int32_t)), .n = 2},
        .policies = {.items = mem_dup(&(int32_t){3}, sizeof(int32_t)), .n = 1},
    };
    *policy->key_archival = (struct xcep_key_archival){.symmetric_algorithm = 3, .symmetric_key_length = 168};
    *extension = (struct xcep_extension){.oid = 3, .critical = true};
    bytes_set(&extension->value, "\3\2\5\240", 4);
    return policy;
}

static void add_full_ca(struct xcep_response *response)
{
    static const uint32_t auths[] = {
        XCEP_AUTH_ANONYMOUS, XCEP_AUTH_KERBEROS, XCEP_AUTH_USERNAME, XCEP_AUTH_CERTIFICATE};
    struct xcep_ca *ca = MEM_APPEND(response->cas, response->n_cas);

    for (size_t i = 0; i < ARRAY_SIZE(auths); i++)
        *MEM_APPEND(ca->uris, ca->n_uris) = (struct xcep_ca_uri){
            .auth = auths[i],
            .uri = mem_printf("https://ces.example.test/CA%zu/service.svc/CES?a=1&b=2", i),
            .priority = {i > 0, (uint32_t)i},
            .renewal_only = {i > 1, i > 2},
        };
    bytes_set(&ca->certificate, "0\1\0", 3);
    ca->enroll_permission = true;
}

static struct xcep_response full_response(void)
{
    struct xcep_response response = {
        .policy_id = mem_strdup("{5B1D9D0E-7C59-4B9E-9D0B-1C6E3C1C2D3E}"),
        .friendly_name = mem_strdup("Richtlinie"),
        .next_update_hours = {true, 8},
        .policies_not_changed = {true, false},
    };

    add_full_policy(&response);
    add_full_ca(&response);
    for (int32_t id = 0; id < 4; id++)
        *MEM_APPEND(response.oids, response.n_oids) = (struct xcep_oid){
            .value = mem_printf("1.3.6.1.4.1.311.21.8.99999999999999999999.%d", id),
            .group = (uint32_t)(9 - id),
            .id = id,
            .default_name = id ? mem_strdup("name") : NULL,
        };
    return response;
}

static void is_full_policy(const struct xcep_policy *policy)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    const struct xcep_policy *full = add_full_policy(&response);

    assert_int_equal(policy->oid, full->oid);
    assert_int_equal(policy->cas.n, 1);
    assert_string_equal(policy->common_name, full->common_name);
    assert_int_equal(policy->schema, 4);
    assert_true(policy->validity_seconds == UINT64_MAX && policy->renewal_seconds == 1);
    assert_true(policy->enroll && policy->auto_enroll);
    assert_int_equal(policy->minimal_key_length, 521);
    assert_true(policy->key_spec.set && policy->key_spec.value == 2);
    assert_true(policy->key_usage.set && policy->key_usage.value == 0x00ffffff);
    assert_string_equal(policy->key_permissions, full->key_permissions);
    assert_true(policy->key_algorithm.set && policy->key_algorithm.value == 1);
    assert_string_equal(policy->crypto_providers.items[0], full->crypto_providers.items[0]);
    assert_int_equal(policy->major_revision, 100);
    assert_int_equal(policy->minor_revision, UINT32_MAX);
    assert_int_equal(policy->superseded.n, 2);
    assert_string_equal(policy->superseded.items[1], "Old2");
    assert_true(policy->private_key_flags.set && policy->private_key_flags.value == UINT32_MAX);
    assert_true(policy->subject_name_flags.set && policy->subject_name_flags.value == 0x80000000);
    assert_true(policy->enrollment_flags.set && policy->enrollment_flags.value == 0);
    assert_true(policy->general_flags.set && policy->general_flags.value == 64);
    assert_true(policy->hash_algorithm.set && policy->hash_algorithm.value == 2);
    assert_int_equal(policy->ra_requirements->signatures, 1);
    assert_int_equal(policy->ra_requirements->ekus.items[1], 2);
    assert_int_equal(policy->ra_requirements->policies.items[0], 3);
    assert_int_equal(policy->key_archival->symmetric_algorithm, 3);
    assert_int_equal(policy->key_archival->symmetric_key_length, 168);
    assert_int_equal(policy->n_extensions, 1);
    assert_true(policy->extensions[0].critical && policy->extensions[0].oid == 3);
    assert_true(bytes_equal(&policy->extensions[0].value, &full->extensions[0].value));
}

TEST(written_policy_with_everything_is_valid_and_comes_back_equal)
{
    char action[] = XCEP_ACTION_RESPONSE;
    CLEANUP(xcep_response_clear) struct xcep_response response = full_response();
    CLEANUP(xcep_response_clear) struct xcep_response again = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(bytes_clear) struct bytes rewritten = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = header_of(action, NULL);

    assert_ok(xcep_response_write(&header, &response, &out, &err) == 0, err);
    is_valid(&out, XCEP_SCHEMA);
    assert_ok(soap_parse(out.data, out.len, &message, &err) == 0, err);
    assert_ok(xcep_response_parse(message, &again, &err) == 0, err);
    assert_int_equal(again.skipped.n, 0);
    assert_int_equal(again.n_policies, 1);
    is_full_policy(again.policies);
    assert_string_equal(again.policy_id, response.policy_id);
    assert_string_equal(again.friendly_name, "Richtlinie");
    assert_true(again.policies_not_changed.set && !again.policies_not_changed.value);
    assert_int_equal(again.cas[0].n_uris, 4);
    assert_true(again.cas[0].uris[3].renewal_only.value && again.cas[0].uris[3].priority.value == 3);
    assert_false(again.cas[0].uris[0].priority.set || again.cas[0].uris[1].renewal_only.set);
    assert_int_equal(again.n_oids, 4);
    assert_string_equal(again.oids[3].value, response.oids[3].value);
    assert_ok(xcep_response_write(&header, &again, &rewritten, &err) == 0, err);
    assert_string_equal(bytes_text(&out), bytes_text(&rewritten));
}

TEST(written_policy_with_nothing_is_valid)
{
    char action[] = XCEP_ACTION_RESPONSE;
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = header_of(action, NULL);
    struct xcep_response empty = {0};

    assert_ok(xcep_response_write(&header, &empty, &out, &err) == 0, err);
    is_valid(&out, XCEP_SCHEMA);
}

static void enrollment_is_valid(const struct wstep_request *request)
{
    CLEANUP(mem_freep) char *action = mem_strdup(wstep_request_action(request->kind));
    CLEANUP(mem_freep) char *id = soap_new_message_id();
    CLEANUP(wsse_security_clear) struct wsse_security with = security();
    CLEANUP(bytes_clear) struct bytes plain = {0};
    CLEANUP(bytes_wipe) struct bytes secured = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = header_of(action, id);

    assert_ok(wstep_request_write(&header, NULL, request, &plain, &err) == 0, err);
    is_valid(&plain, WSTEP_SCHEMA);
    assert_ok(wstep_request_write(&header, &with, request, &secured, &err) == 0, err);
    is_valid(&secured, WSTEP_SCHEMA);
}

TEST(written_enrollment_requests_are_valid)
{
    static const enum wstep_token types[] = {WSTEP_PKCS10, WSTEP_PKCS7, WSTEP_CHALLENGE_RESPONSE};
    char id[] = "1043", language[] = "en-US";
    struct wstep_request query = {.kind = WSTEP_QUERY, .request_id = id, .language = language};
    struct wstep_request ket = {.kind = WSTEP_KET};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        CLEANUP(wstep_request_clear) struct wstep_request issue = {.kind = WSTEP_ISSUE, .token_type = types[i]};

        bytes_set(&issue.token, "0\0", 2);
        if (i) {
            issue.language = mem_strdup("de-AT");
            wstep_request_add_context(&issue, "ccm", "linux01 & <co>");
            wstep_request_add_context(&issue, "rmd", "");
        }
        enrollment_is_valid(&issue);
    }
    enrollment_is_valid(&query);
    enrollment_is_valid(&ket);
}

TEST(written_enrollment_responses_are_valid)
{
    static const enum wstep_outcome outcomes[] = {WSTEP_ISSUED, WSTEP_PENDING, WSTEP_EXCHANGE, WSTEP_UNDECIDED};
    char action[] = WSTEP_ACTION_RESPONSE, id[] = "urn:uuid:1", message[] = "Issued", language[] = "en-US",
         request_id[] = "7", uri[] = "https://ces/a?b=1&c=2";

    for (size_t i = 0; i < 2 * ARRAY_SIZE(outcomes); i++) {
        CLEANUP(wstep_response_clear) struct wstep_response response = {.outcome = outcomes[i / 2]};
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(err_freep) struct err *err = NULL;
        struct soap_header header = {.action = action, .relates_to = id};

        bytes_set(&response.cms, "0\0", 2);
        bytes_set(&response.certificate, "0\0", 2);
        bytes_set(&response.exchange_certificate, "0\0", 2);
        response.request_id = mem_strdup(request_id);
        response.reference_uri = mem_strdup(uri);
        if (i % 2) {
            response.disposition_message = mem_strdup(message);
            response.language = mem_strdup(language);
        }
        assert_ok(wstep_response_write(&header, &response, &out, &err) == 0, err);
        is_valid(&out, WSTEP_SCHEMA);
    }
}

TEST(written_faults_are_valid)
{
    char action[] = WSTEP_ACTION_FAULT, id[] = "urn:uuid:1", request_id[] = "7", data[] = "0";
    struct soap_header header = {.action = action, .relates_to = id};
    struct wstep_fault_detail nil = {0};
    struct wstep_fault_detail rich = {
        .binary_response = {.data = (uint8_t *)data, .len = 1},
        .has_error_code = true,
        .error_code = 0x80094012,
        .invalid_request = {true, true},
        .request_id = request_id,
    };
    const struct wstep_fault_detail *const details[] = {NULL, &nil, &rich};

    for (size_t i = 0; i < ARRAY_SIZE(details); i++) {
        for (int subcode = SOAP_SUBCODE_NONE; subcode < SOAP_SUBCODE__MAX; subcode++) {
            CLEANUP(soap_fault_clear) struct soap_fault fault = {0};
            CLEANUP(bytes_clear) struct bytes out = {0};
            CLEANUP(err_freep) struct err *err = NULL;

            soap_fault_init(&fault, i ? SOAP_RECEIVER : SOAP_SENDER, (enum soap_subcode)subcode, "no & why");
            assert_ok(wstep_fault_write(&header, &fault, details[i], &out, &err) == 0, err);
            is_valid(&out, WSTEP_SCHEMA);
        }
    }
}
