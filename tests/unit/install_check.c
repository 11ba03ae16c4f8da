#include "agent/install/install.h"
#include "agent/key/key_file.h"
#include "protocol/base/when.h"
#include "protocol/pki/cmc_response.h"
#include "protocol/pki/oid.h"
#include "tests/rogue.h"
#include "tests/testing.h"

#define TEMPLATE "1.3.6.1.4.1.311.21.8.1.2.3"

/* A root, an issuing CA that the policy names, a key, and an answer that is good until the test changes it. */
struct scene {
    struct rogue_ca *root, *issuing;
    struct key *key;
    struct template template;
    struct policy_ca ca;
    struct cert_list anchors;
    struct bytes cms, certificate;
    struct job_pair pair;
    struct job_facts facts;
    struct err *err;
};

static void scene_clear(struct scene *s)
{
    key_free(s->key);
    template_clear(&s->template);
    policy_ca_clear(&s->ca);
    cert_list_clear(&s->anchors);
    bytes_clear(&s->cms);
    bytes_clear(&s->certificate);
    job_pair_clear(&s->pair);
    job_facts_clear(&s->facts);
    err_free(s->err);
}

static void set_ekus(struct scene *s, const char *oid, const char *der, size_t len)
{
    struct policy_extension *extension = MEM_APPEND(s->template.extensions, s->template.n_extensions);

    extension->oid = mem_strdup(oid);
    bytes_set(&extension->value, der, len);
}

static void start(struct scene *s)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/key.pem", dir);

    s->root = rogue_ca_new("Root", NULL);
    s->issuing = rogue_ca_new("Issuing CA", s->root);
    assert_int_equal(key_file_generate(path, KEY_EC_P256, &s->key, NULL), 0);
    s->template.name = mem_strdup("Machine");
    s->template.oid = mem_strdup(TEMPLATE);
    s->template.validity = 86400;
    set_ekus(s, OID_EXTENDED_KEY_USAGE, "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02", 12); /* clientAuth */
    s->ca.name = mem_strdup("Issuing CA");
    bytes_copy(&s->ca.certificate, &s->issuing->cert->der);
    cert_list_add(&s->anchors, cert_dup(s->root->cert));
}

/* The CA's response for @leaf, signed by @signer. */
static void respond(struct scene *s, const struct cert *leaf, enum cmc_status status, const struct rogue_ca *signer)
{
    CLEANUP(cert_list_clear) struct cert_list chain = {0};
    CLEANUP(bytes_clear) struct bytes token = {0};
    const struct cms_signer ca = {.key = signer->key, .cert = signer->cert, .hash = "SHA256"};
    const struct cmc_response_spec spec = {.status = status,
        .text = "text",
        .pend_token = status == CMC_PENDING ? &token : NULL,
        .leaf = status == CMC_ISSUED ? leaf : NULL,
        .certificates = &chain,
        .ca = &ca};

    cert_list_add(&chain, cert_dup(s->issuing->cert));
    cert_list_add(&chain, cert_dup(s->root->cert));
    bytes_set(&token, "1", 1);
    bytes_clear(&s->cms);
    err_free(TAKE(s->err));
    assert_ok(cmc_response_build(&spec, &s->cms, &s->err) == 0, s->err);
}

/* Issues @what for our key (unless it has one) by @ca, and answers with it. */
static const struct cert *answer(struct scene *s, const struct rogue_ca *ca, struct rogue_cert what)
{
    const struct cert *leaf;

    if (!what.key && !what.spki)
        what.spki = key_spki(s->key);
    leaf = rogue_issue(ca, &what);
    bytes_clear(&s->certificate);
    bytes_copy(&s->certificate, &leaf->der);
    respond(s, leaf, CMC_ISSUED, ca);
    return leaf;
}

static int check(struct scene *s)
{
    const struct install_question question = {.cms = &s->cms,
        .certificate = &s->certificate,
        .key = s->key,
        .template = &s->template,
        .cas = &s->ca,
        .n_cas = 1,
        .anchors = &s->anchors,
        .now = when_now()};

    job_pair_clear(&s->pair);
    job_facts_clear(&s->facts);
    err_free(TAKE(s->err));
    return install_check(&question, &s->pair, &s->facts, &s->err);
}

static void accepts(struct scene *s)
{
    assert_ok(check(s) == 0, s->err);
}

static void refuses(struct scene *s, const char *text)
{
    assert_int_equal(check(s), -1);
    assert_contains(err_text(s->err), text);
    assert_int_equal(err_kind(s->err), ERR_UNTRUSTED);
    assert_non_null(err_hint_text(s->err));
    assert_int_equal(s->pair.certificate.len, 0);
    assert_null(s->facts.subject);
}

TEST(install_takes_a_good_answer_with_chain_and_facts)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(cert_list_clear) struct cert_list chain = {0};
    const struct cert *leaf;

    start(&s);
    leaf = answer(&s, s.issuing,
        (struct rogue_cert){.subject = "CN=web01", .san = "DNS:web01.example", .template_oid = TEMPLATE});
    accepts(&s);
    assert_true(bytes_equal(&s.pair.certificate, &leaf->der));
    assert_int_equal(cert_list_from_pem(bytes_text(&s.pair.chain), s.pair.chain.len, &chain, NULL), 0);
    assert_int_equal(chain.n, 1); /* the issuing CA; the root is for those who trust it to have */
    assert_true(cert_equal(chain.items[0], s.issuing->cert));
    assert_string_equal(s.facts.subject, "CN=web01");
    assert_string_equal(s.facts.issuer, "CN=Issuing CA");
    assert_string_equal(s.facts.serial, leaf->serial);
    assert_string_equal(s.facts.thumbprint, leaf->sha256);
    assert_string_equal(s.facts.template_oid, TEMPLATE);
    assert_int_equal(s.facts.template_major.value, 100);
    assert_string_equal(s.facts.key_kind, "EC P-256");
    assert_contains(s.facts.sans, "web01.example");
    assert_int_equal(s.facts.not_after, leaf->not_after);
}

TEST(install_takes_the_leaf_out_of_the_response_or_without_a_response)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(cert_list_clear) struct cert_list list = {0};
    const struct cert *leaf;

    start(&s);
    leaf = answer(&s, s.issuing, (struct rogue_cert){0});
    bytes_clear(&s.certificate);
    accepts(&s);
    assert_true(bytes_equal(&s.pair.certificate, &leaf->der));

    cert_list_add(&list, cert_dup(s.issuing->cert)); /* certificates only */
    cert_list_add(&list, cert_dup(leaf));
    bytes_clear(&s.cms);
    assert_int_equal(certs_only_build(&list, &s.cms, NULL), 0);
    accepts(&s);
    assert_true(bytes_equal(&s.pair.certificate, &leaf->der));

    bytes_clear(&s.cms); /* and the leaf alone */
    bytes_copy(&s.certificate, &leaf->der);
    accepts(&s);
}

TEST(install_takes_an_issuing_ca_that_is_itself_the_anchor)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){0});
    cert_list_clear(&s.anchors);
    cert_list_add(&s.anchors, cert_dup(s.issuing->cert));
    accepts(&s);
    assert_true(s.pair.chain.len > 0);
}

TEST(install_refuses_a_ca_certificate)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){.ca = true});
    refuses(&s, "is that of a CA");
}

TEST(install_refuses_another_key)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){.key = rogue_key("P-256")});
    refuses(&s, "somebody else's key");
    bytes_clear(&s.certificate);
    refuses(&s, ""); /* also when it is only in the response */
}

TEST(install_refuses_weak_keys_and_hashes)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){.key = rogue_key("RSA-1024")});
    refuses(&s, "1024");
    answer(&s, s.issuing, (struct rogue_cert){.hash = "SHA1"});
    refuses(&s, "SHA1");
}

TEST(install_refuses_a_chain_to_another_root)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct rogue_ca *other;

    start(&s);
    other = rogue_ca_new("Issuing CA", rogue_ca_new("Root", NULL)); /* with the same names */
    answer(&s, other, (struct rogue_cert){0});
    refuses(&s, "the chain of the certificate");
    bytes_clear(&s.ca.certificate); /* nor when the policy vouches for it: a policy never widens trust */
    bytes_copy(&s.ca.certificate, &other->cert->der);
    refuses(&s, "the chain of the certificate");
}

TEST(install_refuses_another_ca_under_the_same_root)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, rogue_ca_new("Sister CA", s.root), (struct rogue_cert){0});
    refuses(&s, "comes from 'CN=Sister CA', not from the CA that the policy names ('Issuing CA')");
    answer(&s, s.root, (struct rogue_cert){0}); /* the root issues past the CA that the policy names */
    refuses(&s, "not from the CA that the policy names ('Issuing CA')");
}

TEST(install_refuses_a_response_that_does_not_belong_to_the_leaf)
{
    CLEANUP(scene_clear) struct scene s = {0};
    const struct cert *other;

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){0});
    other = rogue_issue(s.issuing, &(struct rogue_cert){.spki = key_spki(s.key)});
    respond(&s, other, CMC_ISSUED, s.issuing);
    refuses(&s, "the CA's response");
    respond(&s, other, CMC_FAILED, s.issuing);
    refuses(&s, "the CA's response");
    respond(&s, other, CMC_PENDING, s.issuing);
    refuses(&s, "the CA's response");
}

TEST(install_refuses_a_response_that_another_ca_signed)
{
    CLEANUP(scene_clear) struct scene s = {0};
    const struct cert *leaf;

    start(&s);
    leaf = answer(&s, s.issuing, (struct rogue_cert){0});
    respond(&s, leaf, CMC_ISSUED, rogue_ca_new("Stranger", NULL));
    refuses(&s, "is signed by 'CN=Stranger', which is not in the chain");
}

TEST(install_refuses_a_response_whose_signature_is_wrong)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){0});
    s.cms.data[s.cms.len - 1] ^= 1; /* the signature is the last thing in it */
    assert_int_equal(check(&s), -1);
    assert_contains(err_text(s.err), "the CA's response");
}

TEST(install_wants_the_extended_key_usages_of_the_template_and_no_others)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){.ekus = "serverAuth"});
    refuses(&s, "extended key usage");
    answer(&s, s.issuing, (struct rogue_cert){.ekus = "clientAuth,serverAuth"});
    refuses(&s, "has the extended key usage 'server authentication'");
    answer(&s, s.issuing, (struct rogue_cert){.ekus = ""});
    refuses(&s, "lacks the extended key usage 'client authentication'");
    answer(&s, s.issuing, (struct rogue_cert){.ekus = "clientAuth,anyExtendedKeyUsage"});
    refuses(&s, "has the extended key usage");
    template_clear(&s.template);
    s.template = (struct template){.name = mem_strdup("T"), .oid = mem_strdup(TEMPLATE)}; /* a template without any */
    accepts(&s);
}

TEST(install_takes_the_application_policies_where_a_template_has_no_usages)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    free(s.template.extensions[0].oid);
    s.template.extensions[0].oid = mem_strdup(OID_APPLICATION_POLICIES);
    bytes_set(&s.template.extensions[0].value, "\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02", 14);
    answer(&s, s.issuing, (struct rogue_cert){0});
    accepts(&s);
    answer(&s, s.issuing, (struct rogue_cert){.ekus = "serverAuth"});
    refuses(&s, "extended key usage");
}

TEST(install_refuses_another_template)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){.template_oid = "1.3.6.1.4.1.311.21.8.9.9.9"});
    refuses(&s, "was made for template '1.3.6.1.4.1.311.21.8.9.9.9', not for 'Machine'");
}

TEST(install_refuses_dates_that_make_no_sense)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){.from = -7200, .to = -60});
    refuses(&s, "which is over");
    answer(&s, s.issuing, (struct rogue_cert){.from = 7200, .to = 14400});
    refuses(&s, "is not valid before");
    answer(&s, s.issuing, (struct rogue_cert){.from = -600, .to = 2 * 86400});
    refuses(&s, "longer than template 'Machine' says");
    answer(&s, s.issuing, (struct rogue_cert){.from = -600, .to = 86400}); /* the CA's allowance for clocks */
    accepts(&s);
    answer(&s, s.issuing, (struct rogue_cert){.from = -600, .to = 3600}); /* the CA may give less */
    accepts(&s);
    answer(&s, s.issuing, (struct rogue_cert){.from = 300, .to = 3600}); /* our clock may be a little behind */
    accepts(&s);
}

TEST(install_refuses_what_is_no_certificate)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    answer(&s, s.issuing, (struct rogue_cert){0});
    assert_int_equal(bytes_append(&s.certificate, "x", 1, NULL), 0); /* exactly one, and nothing behind it */
    assert_int_equal(check(&s), -1);
    assert_contains(err_text(s.err), "reading the issued certificate");
    assert_non_null(err_hint_text(s.err));
    bytes_clear(&s.certificate);
    bytes_clear(&s.cms);
    assert_int_equal(check(&s), -1);
    assert_contains(err_text(s.err), "holds no certificate");
}
