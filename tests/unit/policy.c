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
