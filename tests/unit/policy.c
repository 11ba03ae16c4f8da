#include "policy/policy.h"

#include "tests/testing.h"

/* Something in every member that is owned. */
static void fill(struct policy *p)
{
    struct policy_ca *ca = MEM_APPEND(p->cas, p->n_cas);
    struct policy_uri *uri = MEM_APPEND(ca->uris, ca->n_uris);
    struct template *t = MEM_APPEND(p->templates, p->n_templates);
    struct policy_extension *extension = MEM_APPEND(t->extensions, t->n_extensions);

    p->id = mem_strdup("{1}");
    p->friendly_name = mem_strdup("Example");
    strlist_add(&p->skipped, "one was skipped");
    ca->name = mem_strdup("CA 1");
    bytes_set(&ca->certificate, "\x30\x00", 2);
    uri->uri = mem_strdup("https://ca.example/CES");
    uri->auth = POLICY_AUTH_CERTIFICATE;
    t->name = mem_strdup("Machine");
    t->oid = mem_strdup("1.3.6.1.4.1.311.21.8.99999999999999999999");
    t->key_algorithm = mem_strdup("1.2.840.113549.1.1.1");
    t->hash = mem_strdup("2.16.840.1.101.3.4.2.1");
    t->schema = 2;
    strlist_add(&t->ra_ekus, "1.1");
    strlist_add(&t->ra_policies, "1.2");
    strlist_add(&t->superseded, "Old");
    strlist_add(&t->providers, "Microsoft RSA SChannel Cryptographic Provider");
    extension->oid = mem_strdup("2.5.29.15");
    extension->critical = true;
    bytes_set(&extension->value, "\x03\x02\x05\xa0", 4);
    *MEM_APPEND(t->cas, t->n_cas) = 0;
}

TEST(policy_finds_templates_by_exact_oid_and_name)
{
    CLEANUP(policy_clear) struct policy p = {0};

    assert_null(policy_find_template(&p, "1.2"));
    fill(&p);
    assert_ptr_equal(policy_find_template(&p, "1.3.6.1.4.1.311.21.8.99999999999999999999"), &p.templates[0]);
    assert_null(policy_find_template(&p, "1.3.6.1.4.1.311.21.8.9999999999999999999"));
    assert_ptr_equal(policy_find_template_by_name(&p, "Machine"), &p.templates[0]);
    assert_null(policy_find_template_by_name(&p, "machine"));
    assert_null(policy_find_template_by_name(&p, ""));
}

TEST(policy_checks_what_it_refers_to)
{
    CLEANUP(policy_clear) struct policy p = {0};
    CLEANUP(err_freep) struct err *missing_ca = NULL, *no_name = NULL;

    assert_int_equal(policy_check(&p, NULL), 0); /* an empty one is valid, [MS-XCEP notes] 4.2 */
    fill(&p);
    assert_int_equal(policy_check(&p, NULL), 0);
    *MEM_APPEND(p.templates[0].cas, p.templates[0].n_cas) = 1;
    assert_int_equal(policy_check(&p, &missing_ca), -1);
    assert_int_equal(err_kind(missing_ca), ERR_INVALID);
    assert_contains(err_text(missing_ca), "template 1 refers to a CA that is not there");
    p.templates[0].cas[1] = UINT32_MAX;
    assert_int_equal(policy_check(&p, NULL), -1);
    p.templates[0].n_cas = 1;
    free(TAKE(p.templates[0].name));
    assert_int_equal(policy_check(&p, &no_name), -1);
    assert_contains(err_text(no_name), "template 1 has no name or no OID");
}

/* The address sanitizer watches: what was copied is freed, and used, without the original. */
TEST(policy_copies_are_deep)
{
    struct policy p = {0};
    struct template t;
    struct policy_ca ca;

    fill(&p);
    template_copy(&t, &p.templates[0]);
    policy_ca_copy(&ca, &p.cas[0]);
    policy_clear(&p);
    assert_string_equal(t.name, "Machine");
    assert_string_equal(t.ra_ekus.items[0], "1.1");
    assert_string_equal(t.ra_policies.items[0], "1.2");
    assert_string_equal(t.superseded.items[0], "Old");
    assert_string_equal(t.providers.items[0], "Microsoft RSA SChannel Cryptographic Provider");
    assert_string_equal(t.hash, "2.16.840.1.101.3.4.2.1");
    assert_string_equal(t.extensions[0].oid, "2.5.29.15");
    assert_true(t.extensions[0].critical);
    assert_memory_equal(t.extensions[0].value.data, "\x03\x02\x05\xa0", 4);
    assert_int_equal(t.cas[0], 0);
    assert_int_equal(t.schema, 2);
    assert_string_equal(ca.name, "CA 1");
    assert_memory_equal(ca.certificate.data, "\x30\x00", 2);
    assert_string_equal(ca.uris[0].uri, "https://ca.example/CES");
    assert_int_equal(ca.uris[0].auth, POLICY_AUTH_CERTIFICATE);
    template_clear(&t);
    policy_ca_clear(&ca);
    assert_null(t.name); /* and may be cleared again */
    template_clear(&t);
    policy_ca_clear(&ca);
}

TEST(policy_copies_of_what_is_empty_are_empty)
{
    struct template empty = {0}, t;
    struct policy_ca nothing = {0}, ca;

    template_copy(&t, &empty);
    policy_ca_copy(&ca, &nothing);
    assert_null(t.extensions);
    assert_null(t.cas);
    assert_null(ca.uris);
    template_clear(&t);
    policy_ca_clear(&ca);
}

TEST(policy_names_the_four_kinds_of_authentication) /* [MS-XCEP 3.1.4.1.3.5] */
{
    static const struct {
        uint32_t auth;
        const char *name;
    } rows[] = {{1, "anonymous"}, {2, "kerberos"}, {4, "username"}, {8, "certificate"}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint32_t auth = 0;

        assert_string_equal(policy_auth_name(rows[i].auth), rows[i].name);
        assert_true(policy_auth_parse(rows[i].name, &auth));
        assert_int_equal(auth, rows[i].auth);
    }
    assert_string_equal(policy_auth_name(6), "unknown"); /* a value, and no mask */
    assert_string_equal(policy_auth_name(0), "unknown");
    assert_false(policy_auth_parse("unknown", &(uint32_t){0}));
    assert_false(policy_auth_parse("Kerberos", &(uint32_t){0}));
}

/* --- an earlier state of it, design 8.14 --- */

static struct policy answer_of(int64_t fetched_at, uint32_t major, uint32_t minor, struct template *template)
{
    static char name[] = "Machine", oid[] = "1.2.3";

    *template = (struct template){.name = name, .oid = oid, .major = major, .minor = minor};
    return (struct policy){.fetched_at = fetched_at, .templates = template, .n_templates = 1};
}

TEST(policy_tells_an_answer_of_an_earlier_state)
{
    static const struct {
        int64_t later; /* than the one before, which is version 100.5 */
        uint32_t major, minor;
        const char *why; /* NULL: it counts */
    } rows[] = {
        {0, 100, 5, NULL},
        {3600, 100, 6, NULL},
        {3600, 101, 0, NULL},
        {-3600, 101, 0, NULL}, /* the clocks of two servers differ a little */
        {3600, 100, 4, "template 'Machine' has version 100.4, and had 100.5 before"},
        {3600, 99, 9, "template 'Machine' has version 99.9, and had 100.5 before"},
        {-90000, 101, 0, "the server's clock says 2029-12-30 23:00:00 UTC, and its last answer was of 2030-01-01"},
        {INT64_MIN, 100, 5, "the server's clock says"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct template old, new;
        struct policy before = answer_of(1893456000, 100, 5, &old);
        struct policy now = answer_of(
            rows[i].later == INT64_MIN ? INT64_MIN : 1893456000 + rows[i].later, rows[i].major, rows[i].minor, &new);
        CLEANUP(mem_freep) char *why = NULL;

        assert_int_equal(policy_is_older(&now, &before, &why), rows[i].why != NULL);
        if (rows[i].why)
            assert_contains(why, rows[i].why);
        else
            assert_null(why);
    }
}

TEST(policy_takes_an_answer_with_other_templates_as_new)
{
    struct template old, new;
    struct policy before = answer_of(1893456000, 100, 5, &old), now = answer_of(1893456000, 1, 0, &new);
    CLEANUP(mem_freep) char *why = NULL;
    static char oid[] = "1.2.4";

    new.oid = oid; /* of the same name: another template */
    assert_false(policy_is_older(&now, &before, &why));
    now.n_templates = 0; /* nothing is offered any more */
    assert_false(policy_is_older(&now, &before, &why));
    before.n_templates = 0;
    now.n_templates = 1;
    assert_false(policy_is_older(&now, &before, &why));
}

TEST(policy_knows_the_issuer_of_a_certificate)
{
    static const struct {
        const char *ca, *issuer;
        bool same;
    } rows[] = {
        {"Corp CA", "CN=Corp CA", true},
        {"Corp CA", "CN=Corp CA,DC=example", true},
        {"Corp CA", "OU=PKI,CN=Corp CA,DC=example", true},
        {"Corp CA", "CN=Corp CA 2,DC=example", false},
        {"Corp CA", "OU=CN\\=Corp CA,DC=example", false},
        {"Corp CA", "OU=x\\,CN=Corp CA,CN=Other", false},
        {"Corp, CA & S\xc3\xb6hne", "CN=Corp\\, CA & S\xc3\xb6hne,DC=example", true},
        {"O=Nameless", "O=Nameless", true}, /* without a common name all of it is compared */
        {NULL, "CN=Corp CA", false},
        {"Corp CA", NULL, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *name = mem_strdup_opt(rows[i].ca);
        struct policy_ca ca = {.name = name};

        if (policy_ca_issued(&ca, rows[i].issuer) != rows[i].same)
            fail_msg("%s by %s", rows[i].issuer, rows[i].ca);
    }
}
