#include "agent/key/key_file.h"
#include "agent/request/request.h"
#include "protocol/pki/oid.h"
#include "protocol/pki/payload.h"
#include "tests/rogue.h"
#include "tests/testing.h"

static struct machine machine = {
    .hostname = (char[]){"web01"}, .fqdn = (char[]){"web01.example"}, .os_version = (char[]){"6.1.0.2"}};

struct scene {
    char *dir;
    struct template template;
    struct subject subject;
    struct key *key, *old_key;
    const struct cert *old;
    struct bytes request;
    enum wstep_token token;
    struct payload *payload;
    struct err *err;
};

static void scene_clear(struct scene *s)
{
    free(s->dir);
    template_clear(&s->template);
    subject_clear(&s->subject);
    key_free(s->key);
    key_free(s->old_key);
    bytes_clear(&s->request);
    payload_free(s->payload);
    err_free(s->err);
}

static struct key *new_key(struct scene *s, const char *name, enum key_kind kind)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s.pem", s->dir, name);
    struct key *key = NULL;

    assert_ok(key_file_generate(path, kind, &key, &s->err) == 0, s->err);
    return key;
}

static void start(struct scene *s, uint32_t schema, enum key_kind kind, bool renewal)
{
    struct policy_extension *eku;

    s->dir = testing_tmpdir();
    s->template.name = mem_strdup("Machine");
    s->template.oid = mem_strdup("1.3.6.1.4.1.311.21.8.1.2.3");
    s->template.schema = schema;
    s->template.major = 100;
    s->template.minor = 7;
    eku = MEM_APPEND(s->template.extensions, s->template.n_extensions);
    eku->oid = mem_strdup(OID_EXTENDED_KEY_USAGE);
    eku->critical = true;
    bytes_set(&eku->value, "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02", 12);
    s->key = new_key(s, "new", kind);
    if (!renewal)
        return;
    s->old_key = new_key(s, "old", kind);
    s->old = rogue_issue(rogue_ca_new("CA", NULL), &(struct rogue_cert){.spki = key_spki(s->old_key)});
}

/* Builds, and reads back what was built with every signature verified. */
static void build(struct scene *s)
{
    const struct request_spec spec = {.template = &s->template,
        .subject = &s->subject,
        .machine = &machine,
        .key = s->key,
        .old = s->old,
        .old_key = s->old_key};

    assert_ok(request_build(&spec, &s->request, &s->token, &s->err) == 0, s->err);
    assert_ok(payload_parse(s->request.data, s->request.len, &s->payload, &s->err) == 0, s->err);
    assert_ok(payload_verify(s->payload, &s->err) == 0, s->err);
}

static void assert_common(const struct scene *s)
{
    const struct csr *csr = s->payload->csr;
    const struct csr_extension *eku = csr_extensions_find(&csr->extensions, OID_EXTENDED_KEY_USAGE);

    assert_true(pubkey_equal(&csr->key.spki, key_spki(s->key)));
    assert_true(eku->critical); /* as the policy has it */
    assert_true(bytes_equal(&eku->value, &s->template.extensions[0].value));
    assert_int_equal(csr->client_info.client_id, 0);
    assert_string_equal(csr->client_info.machine, "web01.example");
    assert_string_equal(csr->client_info.process, "autoenroll-worker");
    assert_string_equal(csr->os_version, "6.1.0.2");
    assert_string_equal(csr->signature_hash, "SHA256");
}

TEST(request_for_schema_1_is_a_pkcs10_that_names_the_template)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s, 1, KEY_EC_P256, false);
    build(&s);
    assert_int_equal(s.token, WSTEP_PKCS10);
    assert_int_equal(s.payload->kind, PAYLOAD_PKCS10);
    assert_string_equal(s.payload->csr->template_name, "Machine");
    assert_null(s.payload->csr->template.oid);
    assert_string_equal(s.payload->csr->subject, "");
    assert_null(s.payload->csr->old_cert);
    assert_common(&s);
}

TEST(request_for_later_schemas_is_a_cmc_with_the_templates_oid)
{
    for (uint32_t schema = 2; schema <= 4; schema++) {
        CLEANUP(scene_clear) struct scene s = {0};

        start(&s, schema, KEY_RSA_2048, false);
        build(&s);
        assert_int_equal(s.token, WSTEP_PKCS7);
        assert_int_equal(s.payload->kind, PAYLOAD_CMC);
        assert_int_equal(s.payload->cms->n_signers, 1);
        assert_string_equal(s.payload->csr->template.oid, s.template.oid);
        assert_int_equal(s.payload->csr->template.major.value, 100);
        assert_int_equal(s.payload->csr->template.minor.value, 7);
        assert_null(s.payload->csr->template_name);
        assert_non_null(csr_attributes_find(&s.payload->controls.attributes, OID_CLIENT_INFO));
        assert_common(&s);
    }
}

TEST(request_to_renew_schema_1_is_cms_around_a_pkcs10)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s, 1, KEY_EC_P256, true);
    build(&s);
    assert_int_equal(s.token, WSTEP_PKCS7);
    assert_int_equal(s.payload->kind, PAYLOAD_CMS_PKCS10);
    assert_int_equal(s.payload->cms->n_signers, 1);
    assert_true(cert_equal(s.payload->csr->old_cert, s.old));
    assert_true(cert_equal(payload_cert_signer(s.payload)->cert, s.old));
    assert_common(&s);
}

TEST(request_to_renew_later_schemas_has_two_signers)
{
    static const enum key_kind kinds[] = {KEY_EC_P256, KEY_EC_P384, KEY_RSA_2048};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        CLEANUP(scene_clear) struct scene s = {0};

        start(&s, 2, kinds[i], true);
        build(&s);
        assert_int_equal(s.payload->kind, PAYLOAD_CMC);
        assert_int_equal(s.payload->cms->n_signers, 2);
        assert_true(cert_equal(s.payload->csr->old_cert, s.old));
        assert_non_null(cert_list_find(&s.payload->cms->certificates, &s.old->der));
        assert_common(&s);
    }
}

TEST(request_that_keeps_the_key_is_signed_twice_by_it)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct key *new;

    start(&s, 2, KEY_EC_P256, true);
    new = s.key;
    s.key = s.old_key;
    build(&s);
    assert_int_equal(s.payload->cms->n_signers, 2);
    assert_true(pubkey_equal(&s.payload->csr->key.spki, &s.old->key.spki));
    s.key = new;
}

TEST(request_takes_the_templates_hash_but_none_below_sha_256)
{
    static const struct {
        const char *oid, *hash;
    } hashes[] = {{OID_SHA384, "SHA384"}, {OID_SHA512, "SHA512"}, {OID_SHA1, "SHA256"}, {OID_SHA1_RSA_OIW, "SHA256"},
        {"1.2.3", "SHA256"}};

    for (size_t i = 0; i < ARRAY_SIZE(hashes); i++) {
        CLEANUP(scene_clear) struct scene s = {0};

        start(&s, 3, KEY_EC_P256, false);
        s.template.hash = mem_strdup(hashes[i].oid);
        build(&s);
        assert_string_equal(s.payload->csr->signature_hash, hashes[i].hash);
        assert_string_equal(s.payload->cms->signers[0].hash, hashes[i].hash);
    }
}

TEST(request_signs_with_pss_where_the_template_wants_it)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s, 3, KEY_RSA_2048, false);
    s.template.private_key_flags = 0x40;
    build(&s);
    assert_string_equal(s.payload->csr->signature_algorithm, OID_RSASSA_PSS);
}

TEST(request_carries_names_and_what_the_flags_ask_for)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s, 2, KEY_EC_P256, false);
    assert_int_equal(name_parse("CN=web01,O=Example", &s.subject.name, NULL), 0);
    san_add(&s.subject.san, SAN_DNS, "web01.example");
    s.template.enrollment_flags = 0x8001;
    build(&s);
    assert_string_equal(s.payload->csr->subject, "CN=web01,O=Example");
    assert_true(san_has(&s.payload->csr->san, SAN_DNS, "web01.example"));
    assert_non_null(csr_extensions_find(&s.payload->csr->extensions, OID_BASIC_CONSTRAINTS));
    assert_non_null(csr_extensions_find(&s.payload->csr->extensions, OID_SMIME_CAPABILITIES));
}

TEST(request_takes_the_template_extension_of_the_policy_as_it_is)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct template_info info = {.oid = mem_strdup("1.3.6.1.4.1.311.21.8.1.2.3"), .major = {true, 99}};
    struct policy_extension *extension;

    start(&s, 2, KEY_EC_P256, false);
    extension = MEM_APPEND(s.template.extensions, s.template.n_extensions);
    extension->oid = mem_strdup(OID_TEMPLATE_INFO);
    assert_int_equal(msext_template_info_write(&info, &extension->value, NULL), 0);
    template_info_clear(&info);
    build(&s);
    assert_int_equal(s.payload->csr->template.major.value, 99);
}

static void kind_is(const char *algorithm, uint32_t bits, const char *expected)
{
    CLEANUP(template_clear)
    struct template template = {
        .name = mem_strdup("T"), .key_algorithm = mem_strdup_opt(algorithm), .key_length = bits};
    CLEANUP(err_freep) struct err *err = NULL;
    enum key_kind kind;

    if (!expected) {
        assert_int_equal(request_key_kind(&template, &kind, &err), -1);
        assert_int_equal(err_kind(err), ERR_POLICY);
        assert_non_null(err_hint_text(err));
        return;
    }
    assert_ok(request_key_kind(&template, &kind, &err) == 0, err);
    assert_string_equal(key_kind_name(kind), expected);
}

TEST(request_key_is_of_the_templates_kind_and_never_weaker_than_ours)
{
    kind_is(NULL, 0, "RSA-2048");
    kind_is(NULL, 1024, "RSA-2048");
    kind_is(OID_RSA, 2049, "RSA-3072");
    kind_is(OID_RSA, 4096, "RSA-4096");
    kind_is(OID_RSA, 4097, NULL);
    kind_is(OID_P256, 256, "P-256");
    kind_is(OID_P384, 256, "P-384");
    kind_is(OID_P521, 521, "P-521");
    kind_is(OID_EC, 384, "P-384");
    kind_is(OID_DSA, 2048, NULL);
    kind_is("1.2.3.4", 2048, NULL);
}
