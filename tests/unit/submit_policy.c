#include "agent/submit/policy_read.h"
#include "protocol/base/printable.h"
#include "tests/testing.h"

/* The policy in a sample, by way of the codec. */
static void read_sample(const char *name, bool bare, struct policy *policy)
{
    CLEANUP(mem_freep) char *path = testing_shared(name);
    CLEANUP(bytes_clear) struct bytes xml = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    testing_read(path, &xml);
    if (bare) {
        assert_ok(xcep_response_parse_bare(xml.data, xml.len, &response, &err) == 0, err);
    } else {
        assert_ok(soap_parse(xml.data, xml.len, &message, &err) == 0, err);
        assert_ok(xcep_response_parse(message, &response, &err) == 0, err);
    }
    policy_read(&response, 1234, policy);
}

TEST(policy_resolves_every_reference_of_a_rich_answer)
{
    CLEANUP(policy_clear) struct policy policy = {0};
    const struct template *t;

    read_sample("samples/xcep/22-composed-response-rich.xml", false, &policy);
    assert_int_equal(policy.fetched_at, 1234);
    assert_int_equal(policy.next_update_hours.value, 8);
    assert_string_equal(policy.id, "{5B1D9D0E-7C59-4B9E-9D0B-1C6E3C1C2D3E}");
    assert_int_equal(policy.n_templates, 3);
    assert_int_equal(policy.n_cas, 2);
    assert_int_equal(policy.skipped.n, 0);
    t = policy_find_template_by_name(&policy, "LinuxMachineEC");
    assert_non_null(t);
    assert_string_equal(t->key_algorithm, "1.2.840.10045.3.1.7");
    assert_string_equal(t->hash, "2.16.840.1.101.3.4.2.1");
    assert_int_equal(t->n_extensions, 4);
    assert_string_equal(t->extensions[2].oid, "2.5.29.15");
    assert_true(t->extensions[2].critical);
    assert_int_equal(t->superseded.n, 1);
    assert_string_equal(t->superseded.items[0], "WorkstationOld");
    assert_true(t->autoenroll);
    assert_int_equal(t->n_cas, 1);
    assert_true(t->cas[0] < policy.n_cas);
    t = policy_find_template_by_name(&policy, "LinuxAgentSigned");
    assert_int_equal(t->ra_signatures, 1);
    assert_int_equal(t->ra_ekus.n, 1);
    assert_int_equal(t->enrollment_flags, 65600);
}

TEST(policy_of_a_real_capture_is_read)
{
    CLEANUP(policy_clear) struct policy policy = {0};

    read_sample("samples/xcep/05-adcs-capture-machine-template.xml", true, &policy);
    assert_int_equal(policy.n_templates, 1);
    assert_string_equal(policy.templates[0].name, "Machine");
    assert_int_equal(policy.templates[0].schema, 1);
    assert_int_equal(policy.n_cas, 1);
    assert_true(policy.cas[0].n_uris > 0);
}

TEST(policy_without_a_template_says_why_that_may_be)
{
    CLEANUP(policy_clear) struct policy policy = {0};

    read_sample("samples/xcep/07-adcs-capture-nil-policies.xml", true, &policy);
    assert_int_equal(policy.n_templates, 0);
    assert_int_equal(policy.skipped.n, 1);
    assert_contains(policy.skipped.items[0], "may lack Read or Enroll");
}

/* One good template and one that is altered by the test; both with the same CA. */
static void one_and(struct xcep_response *response, void (*alter)(struct xcep_response *, struct xcep_policy *))
{
    static const char *const oids[] = {"1.2.3.1", "1.2.3.2", "2.5.29.37"};

    *response = (struct xcep_response){.policy_id = mem_strdup("{ID}")};
    for (int i = 0; i < 3; i++)
        *MEM_APPEND(response->oids, response->n_oids) =
            (struct xcep_oid){.value = mem_strdup(oids[i]), .group = 9, .id = i};
    for (int i = 0; i < 2; i++)
        *MEM_APPEND(response->policies, response->n_policies) = (struct xcep_policy){.oid = i,
            .common_name = mem_strdup(i ? "Altered" : "Good"),
            .schema = 2,
            .minimal_key_length = 2048,
            .major_revision = 100};
    alter(response, &response->policies[1]);
}

static void altered_is_skipped(
    void (*alter)(struct xcep_response *, struct xcep_policy *), const char *name, const char *reason)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(policy_clear) struct policy policy = {0};

    one_and(&response, alter);
    policy_read(&response, 0, &policy);
    assert_int_equal(policy.n_templates, 1);
    assert_string_equal(policy.templates[0].name, "Good");
    assert_int_equal(policy.skipped.n, 1);
    assert_contains(policy.skipped.items[0], name);
    assert_contains(policy.skipped.items[0], reason);
    assert_true(utf8_valid(policy.skipped.items[0], strlen(policy.skipped.items[0])));
    assert_true(strlen(policy.skipped.items[0]) <= POLICY_MAX_TEXT);
}

static void dangling_oid(struct xcep_response *response, struct xcep_policy *policy)
{
    (void)response;
    policy->oid = 77;
}

static void dangling_extension(struct xcep_response *response, struct xcep_policy *policy)
{
    struct xcep_extension *extension = MEM_APPEND(policy->extensions, policy->n_extensions);

    (void)response;
    extension->oid = 78;
    bytes_set(&extension->value, "\x30\x00", 2);
}

static void bad_oid(struct xcep_response *response, struct xcep_policy *policy)
{
    (void)policy;
    free(response->oids[1].value);
    response->oids[1].value = mem_strdup("1.2.x");
}

static void long_name(struct xcep_response *response, struct xcep_policy *policy)
{
    (void)response;
    policy->common_name = mem_realloc(policy->common_name, POLICY_MAX_TEXT + 2, 1);
    memset(policy->common_name, 'n', POLICY_MAX_TEXT + 1);
    policy->common_name[POLICY_MAX_TEXT + 1] = '\0';
}

static void many_extensions(struct xcep_response *response, struct xcep_policy *policy)
{
    (void)response;
    for (int i = 0; i <= POLICY_MAX_EXTENSIONS; i++) {
        struct xcep_extension *extension = MEM_APPEND(policy->extensions, policy->n_extensions);

        extension->oid = 2;
        bytes_set(&extension->value, "\x30\x00", 2);
    }
}

TEST(policy_skips_one_bad_template_and_serves_the_rest)
{
    altered_is_skipped(dangling_oid, "Altered", "refers to OID 77");
    altered_is_skipped(dangling_extension, "Altered", "an extension refers to OID 78");
    altered_is_skipped(bad_oid, "Altered", "no object identifier");
    altered_is_skipped(long_name, "nnnn", "longer than");
    altered_is_skipped(many_extensions, "Altered", "too many");
}

static void bad_ca(struct xcep_response *response, struct xcep_policy *policy)
{
    struct xcep_ca *ca = MEM_APPEND(response->cas, response->n_cas);

    bytes_set(&ca->certificate, "nothing", 7);
    ca->id = 4;
    *MEM_APPEND(policy->cas.items, policy->cas.n) = 4;
}

TEST(policy_leaves_out_a_ca_whose_certificate_is_none)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(policy_clear) struct policy policy = {0};

    one_and(&response, bad_ca);
    policy_read(&response, 0, &policy);
    assert_int_equal(policy.n_templates, 2);
    assert_int_equal(policy.n_cas, 0);
    assert_int_equal(policy.templates[1].n_cas, 0);
    assert_int_equal(policy.skipped.n, 1);
    assert_contains(policy.skipped.items[0], "CA '4' is left out");
}

static void escapes(struct xcep_response *response, struct xcep_policy *policy)
{
    (void)response;
    free(policy->common_name);
    policy->common_name = mem_strdup("\x1b[31mred\xe2\x80\xae");
    policy->oid = 77;
}

TEST(policy_shows_names_in_its_sentences_without_escapes)
{
    altered_is_skipped(escapes, "red", "refers to OID 77");
    {
        CLEANUP(xcep_response_clear) struct xcep_response response = {0};
        CLEANUP(policy_clear) struct policy policy = {0};

        one_and(&response, escapes);
        policy_read(&response, 0, &policy);
        assert_null(strchr(policy.skipped.items[0], '\x1b'));
        assert_null(strstr(policy.skipped.items[0], "\xe2\x80\xae"));
    }
}
