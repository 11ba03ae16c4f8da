#include "policy/merge.h"

#include "tests/testing.h"

static void add_ca(struct policy *policy, const char *certificate, const char *uri, uint32_t auth)
{
    struct policy_ca *ca = MEM_APPEND(policy->cas, policy->n_cas);
    struct policy_uri *u = MEM_APPEND(ca->uris, ca->n_uris);

    ca->name = mem_strdup(certificate);
    bytes_set(&ca->certificate, certificate, strlen(certificate));
    u->uri = mem_strdup(uri);
    u->auth = auth;
}

static struct template *add_template(struct policy *policy, const char *name, const char *oid, uint32_t ca)
{
    struct template *t = MEM_APPEND(policy->templates, policy->n_templates);

    t->name = mem_strdup(name);
    t->oid = mem_strdup(oid);
    *MEM_APPEND(t->cas, t->n_cas) = ca;
    return t;
}

TEST(merge_keeps_the_first_answer_and_adds_permissions_and_addresses)
{
    CLEANUP(policy_clear) struct policy to = {0}, from = {0};

    add_ca(&to, "A", "https://a/username", POLICY_AUTH_USERNAME);
    add_template(&to, "T", "1.1", 0)->major = 7;
    add_ca(&from, "B", "https://b", POLICY_AUTH_USERNAME);
    add_ca(&from, "A", "https://a/certificate", POLICY_AUTH_CERTIFICATE);
    add_ca(&from, "A", "https://a/username", POLICY_AUTH_USERNAME);
    add_template(&from, "T", "1.1", 1)->enroll = true;
    from.templates[0].major = 6;
    add_template(&from, "U", "1.2", 0);
    from.id = mem_strdup("policy");
    strlist_add(&from.skipped, "one was skipped");

    policy_merge(&to, &from);
    assert_string_equal(to.id, "policy");
    assert_int_equal(to.n_cas, 2);
    assert_int_equal(to.cas[0].n_uris, 2);
    assert_string_equal(to.cas[0].uris[1].uri, "https://a/certificate");
    assert_int_equal(to.n_templates, 2);
    assert_int_equal(to.templates[0].major, 7);
    assert_true(to.templates[0].enroll);
    assert_int_equal(to.templates[0].n_cas, 1);
    assert_string_equal(to.templates[1].name, "U");
    assert_int_equal(to.templates[1].n_cas, 1);
    assert_string_equal(to.cas[to.templates[1].cas[0]].name, "B"); /* the index was that of the other policy */
    assert_int_equal(to.skipped.n, 1);
    assert_int_equal(policy_check(&to, NULL), 0);
}

TEST(merge_of_the_same_answer_changes_nothing)
{
    CLEANUP(policy_clear) struct policy to = {0}, from = {0};

    add_ca(&to, "A", "https://a", POLICY_AUTH_USERNAME);
    add_template(&to, "T", "1.1", 0);
    add_ca(&from, "A", "https://a", POLICY_AUTH_USERNAME);
    add_template(&from, "T", "1.1", 0);
    policy_merge(&to, &from);
    assert_int_equal(to.n_cas, 1);
    assert_int_equal(to.cas[0].n_uris, 1);
    assert_int_equal(to.n_templates, 1);
    assert_int_equal(to.templates[0].n_cas, 1);
}

TEST(merge_stays_within_the_limits)
{
    CLEANUP(policy_clear) struct policy to = {0}, from = {0};

    for (int i = 0; i < POLICY_MAX_CAS; i++) {
        CLEANUP(mem_freep) char *name = mem_printf("to %d", i);

        add_ca(&to, name, "https://a", POLICY_AUTH_USERNAME);
    }
    add_ca(&from, "one more", "https://a", POLICY_AUTH_USERNAME);
    add_template(&from, "T", "1.1", 0);
    policy_merge(&to, &from);
    assert_int_equal(to.n_cas, POLICY_MAX_CAS);
    assert_int_equal(to.n_templates, 1);
    assert_int_equal(to.templates[0].n_cas, 0); /* not served rather than served by another CA */
    assert_int_equal(policy_check(&to, NULL), 0);
}

/* Each CEP answered for the identity that asked it: a certificate may do what a password may not, and the reverse. */
TEST(merge_adds_up_the_permissions_of_templates_and_cas)
{
    for (int first = 0; first < 4; first++) {
        for (int second = 0; second < 4; second++) {
            CLEANUP(policy_clear) struct policy to = {0}, from = {0};
            struct template *t, *f;

            add_ca(&to, "A", "https://a", POLICY_AUTH_USERNAME);
            add_ca(&from, "A", "https://a", POLICY_AUTH_USERNAME);
            t = add_template(&to, "T", "1.1", 0);
            f = add_template(&from, "T", "1.1", 0);
            t->enroll = to.cas[0].enroll_permission = first & 1;
            t->autoenroll = first & 2;
            f->enroll = from.cas[0].enroll_permission = second & 1;
            f->autoenroll = second & 2;
            policy_merge(&to, &from);
            assert_int_equal(to.templates[0].enroll, ((first | second) & 1) != 0);
            assert_int_equal(to.cas[0].enroll_permission, ((first | second) & 1) != 0);
            assert_int_equal(to.templates[0].autoenroll, ((first | second) & 2) != 0);
        }
    }
}

TEST(merge_keeps_addresses_apart_that_differ_in_authentication)
{
    CLEANUP(policy_clear) struct policy to = {0}, from = {0};

    add_ca(&to, "A", "https://a", POLICY_AUTH_USERNAME);
    add_ca(&from, "A", "https://a", POLICY_AUTH_CERTIFICATE);
    from.cas[0].uris[0].priority = (struct opt_u32){true, 3};
    from.cas[0].uris[0].renewal_only = true;
    policy_merge(&to, &from);
    assert_int_equal(to.cas[0].n_uris, 2);
    assert_int_equal(to.cas[0].uris[1].auth, POLICY_AUTH_CERTIFICATE);
    assert_int_equal(to.cas[0].uris[1].priority.value, 3);
    assert_true(to.cas[0].uris[1].renewal_only);
}

TEST(merge_stays_within_the_limits_of_addresses_and_templates)
{
    CLEANUP(policy_clear) struct policy to = {0}, from = {0};

    add_ca(&to, "A", "https://a", POLICY_AUTH_USERNAME);
    add_ca(&from, "A", "https://b", POLICY_AUTH_USERNAME);
    for (int i = 1; i < POLICY_MAX_URIS; i++)
        MEM_APPEND(to.cas[0].uris, to.cas[0].n_uris)->uri = mem_printf("https://a/%d", i);
    to.n_templates = POLICY_MAX_TEMPLATES;
    to.templates = mem_calloc(to.n_templates, sizeof(*to.templates));
    for (size_t i = 0; i < to.n_templates; i++)
        to.templates[i].oid = mem_printf("1.1.%zu", i);
    add_template(&from, "one more", "1.2", 0);
    policy_merge(&to, &from);
    assert_int_equal(to.cas[0].n_uris, POLICY_MAX_URIS);
    assert_int_equal(to.n_templates, POLICY_MAX_TEMPLATES);
}

TEST(merge_leaves_nothing_of_the_other_policy_behind) /* the address sanitizer watches */
{
    CLEANUP(policy_clear) struct policy to = {0};
    struct policy from = {0};

    add_ca(&from, "A", "https://a", POLICY_AUTH_USERNAME);
    add_template(&from, "T", "1.1", 0);
    from.friendly_name = mem_strdup("Example");
    policy_merge(&to, &from);
    policy_clear(&from);
    assert_string_equal(to.friendly_name, "Example");
    assert_string_equal(to.cas[to.templates[0].cas[0]].uris[0].uri, "https://a");
}
