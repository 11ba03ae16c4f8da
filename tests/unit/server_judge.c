#include "server-ref/judge.h"

#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "server-ref/mint.h"
#include "server-ref/setup.h"
#include "tests/testing.h"

static const struct name_values none;

/* What a test changes before it asks. Everything owned; CLEANUP(bench_clear). */
struct bench {
    struct config *config;
    struct payload *payload;
    struct cert *old;
    struct judgement judgement;
    struct err *err;
};

static void bench_clear(struct bench *bench)
{
    config_free(bench->config);
    payload_free(bench->payload);
    cert_free(bench->old);
    judgement_clear(&bench->judgement);
    err_free(bench->err);
}

static struct cert_template *template_of(struct bench *bench, const char *name)
{
    for (size_t i = 0; i < bench->config->n_templates; i++)
        if (strcmp(bench->config->templates[i].name, name) == 0)
            return &bench->config->templates[i];
    fail_msg("no template '%s'", name);
    return NULL;
}

static void load_config(struct bench *bench)
{
    static const struct setup_options options = {.ca_name = "CA", .key = "p256", .user = "alice"};
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/server.conf", dir);
    CLEANUP(mem_freep) char *text = setup_config_text(&options);

    testing_write(path, text, strlen(text));
    assert_ok(config_load(dir, &bench->config, &bench->err) == 0, bench->err);
}

static void add_template(struct bench *bench, const char *template, struct csr_extensions *extensions)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    struct template_info info = {.oid = template_of(bench, template)->oid, .major = {true, 100}};

    assert_ok(msext_template_info_write(&info, &value, &bench->err) == 0, bench->err);
    csr_extensions_add(extensions, OID_TEMPLATE_INFO, false, &value);
}

/* A certificate of DeviceEC to renew, with a name in it that no request brings. */
static void make_old(struct bench *bench, EVP_PKEY *key, const char *subject)
{
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};
    CLEANUP(pubkey_clear) struct pubkey public = {0};
    CLEANUP(san_list_clear) struct san_list san = {0};
    CLEANUP(bytes_clear) struct bytes name = {0};
    struct mint_spec spec = {
        .subject = &name, .spki = &public.spki, .not_before = 1000, .not_after = 4000000000, .extensions = &extensions};

    san_add(&san, SAN_DNS, "old.example");
    add_template(bench, "DeviceEC", &extensions);
    assert_ok(mint_add_san(&extensions, &san, &bench->err) == 0, bench->err);
    assert_ok(pubkey_from_evp(key, &public, &bench->err) == 0, bench->err);
    assert_ok(name_parse(subject, &name, &bench->err) == 0, bench->err);
    assert_ok(mint_certificate(&spec, NULL, key, &bench->old, &bench->err) == 0, bench->err);
}

/* A request for @template with a key of @kind, a renewal when there is an old certificate. */
static void make_request(struct bench *bench, const char *template, const char *subject, const char *kind)
{
    CLEANUP(csr_spec_clear) struct csr_spec spec = {.hash = "SHA256"};
    CLEANUP(bytes_clear) struct bytes der = {0};
    EVP_PKEY *key = mint_key(kind, &bench->err);

    assert_ok(key, bench->err);
    if (template)
        add_template(bench, template, &spec.extensions);
    assert_ok(name_parse(subject, &spec.subject, &bench->err) == 0, bench->err);
    if (bench->old)
        csr_attributes_add(&spec.attributes, OID_RENEWAL_CERTIFICATE, &bench->old->der);
    assert_ok(csr_build(&spec, key, &der, &bench->err) == 0, bench->err);
    assert_ok(payload_parse(der.data, der.len, &bench->payload, &bench->err) == 0, bench->err);
    EVP_PKEY_free(key);
}

static void start(struct bench *bench, const char *template, const char *subject)
{
    load_config(bench);
    make_request(bench, template, subject, "p256");
}

static void start_renewal(struct bench *bench, const char *template, const char *subject)
{
    EVP_PKEY *key = mint_key("p256", NULL);

    load_config(bench);
    make_old(bench, key, "CN=device1");
    make_request(bench, template, subject, "p256");
    EVP_PKEY_free(key);
}

static int ask(struct bench *bench, bool by_key, bool approved)
{
    struct judge_case the_case = {.config = bench->config,
        .payload = bench->payload,
        .attributes = &none,
        .account = "alice",
        .by_key = by_key,
        .approved = approved};

    judgement_clear(&bench->judgement);
    return judge(&the_case, &bench->judgement, &bench->err);
}

static void assert_denied(struct bench *bench, bool by_key, uint32_t code)
{
    assert_int_equal(ask(bench, by_key, false), -1);
    assert_int_equal(err_code(bench->err), code);
    assert_int_equal(err_kind(bench->err), ERR_DENIED);
}

TEST(judge_takes_the_subject_from_a_request_that_supplies_it)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start(&bench, "DeviceEC", "CN=device1");
    assert_int_equal(ask(&bench, false, false), 0);
    assert_true(bytes_equal(&bench.judgement.subject, &bench.payload->csr->subject_der));
    assert_string_equal(bench.judgement.template->name, "DeviceEC");
}

TEST(judge_takes_the_names_of_the_old_certificate_for_a_renewal)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start_renewal(&bench, "DeviceEC", "CN=device1");
    assert_int_equal(ask(&bench, true, false), 0);
    assert_true(san_has(&bench.judgement.san, SAN_DNS, "old.example"));
}

TEST(judge_finds_the_template_in_the_old_certificate_when_the_request_names_none)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start_renewal(&bench, NULL, "CN=device1");
    assert_int_equal(ask(&bench, true, false), 0);
    assert_string_equal(bench.judgement.template->name, "DeviceEC");
}

TEST(judge_waives_the_permission_only_for_all_three_flags)
{
    CLEANUP(bench_clear) struct bench bench = {0};
    struct cert_template *template;

    start_renewal(&bench, "DeviceEC", "CN=device1");
    template = template_of(&bench, "DeviceEC");
    strlist_clear(&template->enroll);
    assert_int_equal(ask(&bench, true, false), 0);
    template->enrollment_flags = 0x40;
    assert_denied(&bench, true, (uint32_t)CERTSRV_E_TEMPLATE_DENIED);
}

TEST(judge_pends_until_a_person_approves)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start(&bench, "DeviceEC", "CN=device1");
    template_of(&bench, "DeviceEC")->enrollment_flags |= 0x2;
    assert_int_equal(ask(&bench, false, false), JUDGE_PEND);
    assert_int_equal(ask(&bench, false, true), 0);
}

TEST(judge_waives_the_approval_for_what_was_approved_before)
{
    CLEANUP(bench_clear) struct bench bench = {0};
    struct cert_template *template;

    start_renewal(&bench, "DeviceEC", "CN=device1");
    template = template_of(&bench, "DeviceEC");
    template->enrollment_flags |= 0x2;
    assert_int_equal(ask(&bench, true, false), 0);
    template->enrollment_flags = 0x2;
    assert_int_equal(ask(&bench, true, false), JUDGE_PEND);
}

TEST(judge_waives_the_countersignature_for_what_was_approved_before)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start_renewal(&bench, "DeviceEC", "CN=device1");
    template_of(&bench, "DeviceEC")->ra_signatures = 1;
    assert_int_equal(ask(&bench, true, false), 0);
}

TEST(judge_refuses_a_renewal_of_another_template)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start_renewal(&bench, "Workstation", "CN=device1");
    assert_denied(&bench, true, (uint32_t)CERTSRV_E_TEMPLATE_CONFLICT);
}

TEST(judge_refuses_a_renewal_with_another_subject)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start_renewal(&bench, "DeviceEC", "CN=administrator");
    assert_denied(&bench, true, (uint32_t)CERTSRV_E_BAD_RENEWAL_SUBJECT);
}

TEST(judge_refuses_another_key_where_the_template_wants_the_same)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start_renewal(&bench, "DeviceEC", "CN=device1");
    template_of(&bench, "DeviceEC")->private_key_flags |= XCEP_KEY_REQUIRE_SAME_KEY_RENEWAL;
    assert_denied(&bench, true, (uint32_t)CERTSRV_E_RENEWAL_BAD_PUBLIC_KEY);
}

TEST(judge_makes_the_name_of_a_machine_from_its_account)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start(&bench, "DeviceEC", "");
    template_of(&bench, "DeviceEC")->name_flags = XCEP_NAME_SUBJECT_ALT_REQUIRE_DNS;
    assert_int_equal(ask(&bench, false, false), 0);
    assert_int_equal(bench.judgement.subject.len, 2); /* the empty name */
    assert_true(san_has(&bench.judgement.san, SAN_DNS, "alice.example"));
}

TEST(judge_refuses_a_certificate_without_any_name)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start(&bench, "DeviceEC", "");
    template_of(&bench, "DeviceEC")->name_flags = 0;
    assert_denied(&bench, false, (uint32_t)CERTSRV_E_BAD_REQUESTSUBJECT);
}

/* What an old key or an agent signs is an order, and stays one for whoever can forge a hash. */
TEST(judge_takes_sha1_of_the_new_key_only)
{
    struct cms_signer_info signer = {.id = CMS_BY_KEY_ID, .hash = (char[]){"SHA1"}};
    struct cms cms = {.signers = &signer, .n_signers = 1};
    CLEANUP(bench_clear) struct bench bench = {0};

    start(&bench, "DeviceEC", "CN=device1");
    bench.config->allow_sha1 = true;
    bench.payload->cms = &cms;
    assert_int_equal(ask(&bench, false, false), 0);
    signer.id = CMS_BY_ISSUER_SERIAL;
    assert_denied(&bench, false, (uint32_t)CERTSRV_E_WEAK_SIGNATURE_OR_KEY);
    bench.payload->cms = NULL;
}

TEST(judge_refuses_sha1_unless_the_ca_allows_it)
{
    CLEANUP(bench_clear) struct bench bench = {0};

    start(&bench, "DeviceEC", "CN=device1");
    free(bench.payload->csr->signature_hash);
    bench.payload->csr->signature_hash = mem_strdup("SHA1");
    assert_denied(&bench, false, (uint32_t)CERTSRV_E_WEAK_SIGNATURE_OR_KEY);
    err_free(TAKE(bench.err));
    bench.config->allow_sha1 = true;
    assert_int_equal(ask(&bench, false, false), 0);
}
