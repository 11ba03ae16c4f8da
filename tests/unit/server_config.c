#include "server-ref/config.h"

#include "server-ref/setup.h"
#include "tests/testing.h"

static const struct setup_options defaults = {.ca_name = "Example Issuing CA", .key = "p256", .user = "alice"};

/* Loads @text as a server.conf; @why gets the err of a failure. */
static struct config *load(const char *text, struct err **why)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/server.conf", dir);
    struct config *config = NULL;

    testing_write(path, text, strlen(text));
    return config_load(dir, &config, why) == 0 ? config : NULL;
}

static void assert_refused(const char *text, const char *place, const char *hint)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(config_freep) struct config *config = load(text, &err);

    assert_null(config);
    assert_contains(err_text(err), place);
    if (hint)
        assert_contains(err_hint_text(err), hint);
}

TEST(config_that_init_writes_is_read)
{
    CLEANUP(mem_freep) char *text = setup_config_text(&defaults);
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(config_freep) struct config *config = load(text, &err);

    assert_ok(config, err);
    assert_string_equal(config->ca_name, "Example Issuing CA");
    assert_string_equal(config->host, "localhost");
    assert_int_equal(config->n_templates, 5);
    assert_int_equal(config->n_services, 4);
    assert_true(config_has_edit_flag(config, "EDITF_ENABLERENEWONBEHALFOF"));
}

TEST(config_names_services_as_ad_cs_does)
{
    CLEANUP(mem_freep) char *text = setup_config_text(&defaults);
    CLEANUP(config_freep) struct config *config = load(text, NULL);

    assert_string_equal(config->services[0].path, "/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP");
    assert_string_equal(config->services[1].path, "/KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP");
    assert_string_equal(config->services[2].path, "/Example Issuing CA_CES_UsernamePassword/service.svc/CES");
    assert_string_equal(config->services[3].path, "/Example Issuing CA_CES_Certificate/service.svc/CES");
}

TEST(config_makes_other_identifiers_each_time)
{
    CLEANUP(mem_freep) char *first = setup_config_text(&defaults);
    CLEANUP(mem_freep) char *second = setup_config_text(&defaults);
    CLEANUP(config_freep) struct config *a = load(first, NULL);
    CLEANUP(config_freep) struct config *b = load(second, NULL);

    assert_string_not_equal(a->policy_id, b->policy_id);
    assert_string_not_equal(a->templates[0].oid, b->templates[0].oid);
}

TEST(config_names_the_nearest_key)
{
    assert_refused("[ca]\nEditFlag = x\n", "[ca]: unknown key 'EditFlag'", "'EditFlags'");
    assert_refused("[template \"X\"]\nAutoEnrol = everyone\n", "[template \"X\"]", "'Autoenroll'");
    assert_refused("[misbehave]\nslo = 5s\n", "[misbehave]", "'slow'");
}

TEST(config_names_section_and_key_of_a_wrong_value)
{
    assert_refused(
        "[ces \"x\"]\nAuthenticationType = Basic\n", "[ces \"x\"]: AuthenticationType", "UserName, Certificate");
    assert_refused("[template \"X\"]\nMinimalKeySize = many\n", "MinimalKeySize", NULL);
    assert_refused("[template \"X\"]\nOID = 1.2.x\n", "OID", "1.3.6.1.5.5.7.3.2");
    assert_refused("[ces \"x\"]\nRenewalOnly = maybe\n", "RenewalOnly", NULL);
    assert_refused("[nonsense]\na = b\n", "[nonsense]", "[template");
}

TEST(config_refuses_a_line_that_would_be_cut)
{
    CLEANUP(mem_freep) char *text = mem_printf("[ca]\nDomain = %0250d\n", 1);

    assert_refused(text, "line 2", NULL);
}

TEST(config_refuses_what_cannot_be_meant)
{
    static const char whole[] = "[ca]\nCAConfig = h\\CA\n[policy]\nID = {x}\n";
    CLEANUP(mem_freep) char *open = mem_printf("%s[ces \"a\"]\nAllowKeyBasedRenewal = yes\n", whole);
    CLEANUP(mem_freep) char *twice = mem_printf("%s[ces \"a\"]\nPriority = 1\n[ces \"b\"]\nPriority = 2\n", whole);
    CLEANUP(mem_freep)
    char *periods = mem_printf("%s[template \"T\"]\nOID = 1.2.3\nValidityPeriod = 1d\nRenewalPeriod = 2d\n", whole);

    assert_refused(open, "AllowKeyBasedRenewal needs", NULL);
    assert_refused(twice, "would both be", NULL);
    assert_refused(periods, "RenewalPeriod must be shorter", NULL);
    assert_refused("[ca]\nDomain = x\n", "CAConfig", "HOST\\NAME OF THE CA");
}

TEST(config_permits_by_account_without_regard_to_case)
{
    CLEANUP(strlist_clear) struct strlist list = {0};

    assert_false(config_permits(&list, "alice"));
    strlist_add(&list, "EXAMPLE\\Alice");
    assert_true(config_permits(&list, "example\\alice"));
    assert_false(config_permits(&list, "bob"));
    strlist_add(&list, "everyone");
    assert_true(config_permits(&list, "bob"));
}
