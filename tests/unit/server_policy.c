#include "server-ref/cep.h"

#include "tests/testing.h"

static bool fits(bool filter, struct opt_i32 client, struct opt_i32 server, uint32_t flags)
{
    struct xcep_request request = {.has_filter = filter, .client_version = client, .server_version = server};

    return cep_version_fits(&request, flags, 6);
}

#define ABSENT    ((struct opt_i32){0})
#define NUMBER(n) ((struct opt_i32){true, (n)})

TEST(policy_without_a_filter_hides_what_is_for_newer_clients)
{
    assert_true(fits(false, ABSENT, ABSENT, 0x03030000));
    assert_false(fits(false, ABSENT, ABSENT, 0x04030000));
    assert_true(fits(false, ABSENT, ABSENT, 0x03060000)); /* the server's own version is not limited then */
}

TEST(policy_with_absent_versions_means_three)
{
    assert_true(fits(true, ABSENT, ABSENT, 0x03030000));
    assert_false(fits(true, ABSENT, ABSENT, 0x04000000));
    assert_false(fits(true, ABSENT, ABSENT, 0x00040000));
}

TEST(policy_with_zero_means_the_maximum)
{
    assert_true(fits(true, NUMBER(0), NUMBER(0), 0x06060000));
    assert_false(fits(true, NUMBER(0), NUMBER(0), 0x07000000));
}

TEST(policy_with_a_version_above_the_maximum_means_the_maximum)
{
    assert_true(fits(true, NUMBER(15), NUMBER(15), 0x06060000));
    assert_false(fits(true, NUMBER(15), NUMBER(15), 0x07000000));
    assert_false(fits(true, NUMBER(2), NUMBER(6), 0x03000000));
}

/* Two templates, "Open" and "Closed", with nobody's permissions yet. */
static void fill(struct config *config, struct cert_template templates[2])
{
    static char names[][8] = {"Open", "Closed"};
    static char oids[][8] = {"1.2.3.1", "1.2.3.2"};
    static char id[] = "{id}";

    for (int i = 0; i < 2; i++)
        templates[i] = (struct cert_template){
            .name = names[i], .oid = oids[i], .schema = 2, .validity = 10, .renewal = 1, .key_usage = 0xA0};
    *config = (struct config){.policy_id = id, .templates = templates, .n_templates = 2, .maximum_version = 6};
}

TEST(policy_shows_each_caller_its_own_permissions)
{
    static const struct xcep_request request = {.has_filter = true, .client_version = {true, 0}};
    static const struct bytes certificate;
    char everyone[] = "everyone";
    char bob[] = "bob";
    char *all[] = {everyone};
    char *only_bob[] = {bob};
    struct cert_template templates[2];
    struct config config;
    struct cep_view view = {.config = &config, .ca_certificate = &certificate, .account = "alice"};
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    struct err *err = NULL;

    fill(&config, templates);
    templates[0].read = (struct strlist){all, 1};
    templates[0].enroll = (struct strlist){only_bob, 1};
    templates[1].read = (struct strlist){only_bob, 1};
    assert_ok(cep_policy(&view, &request, &response, &err) == 0, err);
    assert_int_equal(response.n_policies, 1);
    assert_string_equal(response.policies[0].common_name, "Open");
    assert_false(response.policies[0].enroll);
    xcep_response_clear(&response);
    view.account = "bob";
    assert_ok(cep_policy(&view, &request, &response, &err) == 0, err);
    assert_int_equal(response.n_policies, 2);
    assert_true(response.policies[0].enroll);
}
