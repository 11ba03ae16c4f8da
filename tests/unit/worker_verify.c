#include <sys/stat.h>
#include <unistd.h>

#include "agent/daemon/publish.h"
#include "agent/install/place_token.h"
#include "agent/key/key_token.h"
#include "agent/key/token_softhsm.h"
#include "protocol/base/when.h"
#include "protocol/xcep/flags.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"
#include "tests/worker_fixture.h"

#define OID "1.3.6.1.4.1.311.21.8.1"

/* A pair as the agent would have it, in a SoftHSM token of its own, published, and a job that looks at it. */
struct scene {
    struct worker_fixture *worker;
    struct token *token;
    EVP_PKEY *ca_key;
    struct cert *ca, *leaf;
    struct bytes id;
    struct key *key;
    char *certs; /* where files are published */
    struct job_verify job;
    struct worker_run run;
};

static void open_token(struct scene *s)
{
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct token_place place = {.uri = "pkcs11:token=autoenroll", .state_dir = s->worker->token_dir, .is_ours = true};

    assert_ok(token_softhsm_create(s->worker->token_dir, "autoenroll", &module, &pin, &err) == 0, err);
    place.module = module;
    assert_ok(token_open(&place, pin, &s->token, &err) == 0, err);
}

/* A certificate for @key, "CN=web" unless @subject says otherwise, with these names. */
static struct cert *issue(const struct scene *s, EVP_PKEY *key, int64_t not_before, int64_t not_after)
{
    CLEANUP(san_list_clear) struct san_list san = {0};
    struct csr_extension extension = {.oid = mem_strdup("2.5.29.17")};
    CLEANUP(err_freep) struct err *err = NULL;
    struct cert *cert;

    san_add(&san, SAN_DNS, "web.example");
    assert_ok(san_encode(&san, &extension.value, &err) == 0, err);
    cert = pki_cert(&(struct pki_cert_spec){.subject = "CN=web",
        .key = key,
        .issuer = s->ca,
        .issuer_key = s->ca_key,
        .serial = 7,
        .not_before = not_before,
        .not_after = not_after,
        .extensions = &extension,
        .n_extensions = 1});
    free(extension.oid);
    bytes_clear(&extension.value);
    return cert;
}

/* Takes @leaf: it is in the token, on record and published. */
static void put(struct scene *s, struct cert *leaf)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct job_facts facts = {.key_uri = s->job.key_uri};

    cert_free(s->leaf);
    s->leaf = leaf;
    job_pair_clear(&s->job.pair);
    bytes_copy(&s->job.pair.certificate, &leaf->der);
    bytes_copy(&s->job.pair.key_id, &s->id);
    assert_ok(cert_to_pem(s->ca, &s->job.pair.chain, &err) == 0, err);
    assert_ok(place_token_put(s->token, "web", &s->id, &leaf->der, &(struct bytes){0}, &err) == 0, err);
    assert_ok(publish_generation(s->certs, "web", 1, &s->job.pair, &facts, &err) == 0, err);
}

static void scene_start(struct scene *s)
{
    CLEANUP(err_freep) struct err *err = NULL;
    int64_t now = when_now();

    s->worker = worker_fixture_new();
    open_token(s);
    s->ca_key = pki_key("P-256");
    s->ca = pki_cert(&(struct pki_cert_spec){.subject = "CN=Root",
        .key = s->ca_key,
        .serial = 1,
        .ca = true,
        .not_before = now - WHEN_DAY,
        .not_after = now + 100 * WHEN_DAY});
    key_new_id(s->worker->tag, &s->id);
    assert_ok(key_token_generate(s->token, &s->id, "web", KEY_EC_P256, &s->key, &err) == 0, err);
    s->certs = mem_printf("%s/certs", s->worker->dir);
    assert_int_equal(mkdir(s->certs, 0755), 0);
    s->job = (struct job_verify){.name = mem_strdup("web"),
        .key_uri = mem_strdup(key_uri(s->key)),
        .published = mem_printf("%s/web/current", s->certs),
        .ca_file = mem_printf("%s/root.pem", s->worker->dir)};
    pki_write_cert(s->ca, s->job.ca_file);
    worker_fixture_place(s->worker, &s->job.place);
    put(s, issue(s, key_evp(s->key), now - 100, now + 10 * WHEN_DAY));
}

static void scene_clear(struct scene *s)
{
    worker_run_clear(&s->run);
    job_verify_clear(&s->job);
    bytes_clear(&s->id);
    key_free(s->key);
    cert_free(s->leaf);
    cert_free(s->ca);
    EVP_PKEY_free(s->ca_key);
    token_close(s->token);
    free(s->certs);
}

static const struct job_verified *look(struct scene *s)
{
    worker_run_clear(&s->run);
    worker_fixture_run(s->worker, JOB_VERIFY, &s->job, WORKER_RUN_THROUGH, &s->run);
    if (!s->run.done)
        fail_msg("%s", err_text(s->run.failure));
    return &s->run.verified;
}

static void assert_finds(struct scene *s, enum job_verdict verdict, const char *problem)
{
    const struct job_verified *result = look(s);

    assert_contains(result->problem ? result->problem : "(nothing)", problem);
    assert_string_equal(job_verdict_name((enum job_verdict)result->verdict), job_verdict_name(verdict));
}

TEST(verify_finds_nothing_wrong_with_a_pair_as_it_should_be)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *checked = NULL;
    const struct job_verified *result;

    scene_start(&s);
    result = look(&s);
    assert_null(result->problem);
    assert_null(result->names_differ);
    assert_int_equal(result->verdict, JOB_VERDICT_OK);
    assert_int_equal(result->issuer_not_after, s.ca->not_after);
    assert_int_equal(result->anchor_not_after, s.ca->not_after);
    checked = strlist_join(&result->checked, "\n");
    assert_contains(checked, "dates: valid until ");
    assert_contains(checked, "key: there, and it signs for the certificate");
    assert_contains(checked, "label: web");
    assert_contains(checked, "token: the certificate lies beside its key");
    assert_contains(checked, "files: ");
    assert_contains(checked, "chain: CN=Root");
}

TEST(verify_names_a_key_that_is_not_in_the_token_any_more)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    scene_start(&s);
    assert_ok(key_token_destroy(s.token, &s.id, &err) == 0, err);
    assert_finds(&s, JOB_VERDICT_MISSING, "the key is not in the token any more");
    assert_contains(s.run.verified.problem, "the certificate is not in the token any more");
}

TEST(verify_names_a_certificate_of_another_key)
{
    CLEANUP(scene_clear) struct scene s = {0};
    EVP_PKEY *other = pki_key("P-256");
    int64_t now = when_now();

    scene_start(&s);
    put(&s, issue(&s, other, now - 100, now + 100));
    EVP_PKEY_free(other);
    assert_finds(&s, JOB_VERDICT_KEY_MISMATCH, "the key in the token is not the certificate's");
}

TEST(verify_names_a_label_that_was_changed_and_one_that_something_else_has)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(bytes_clear) struct bytes other = {0};
    CLEANUP(key_freep) struct key *key = NULL;

    scene_start(&s);
    assert_ok(key_token_relabel(s.token, &s.id, "old", &err) == 0, err);
    assert_finds(&s, JOB_VERDICT_ERROR, "the key's label in the token is 'old' and should be 'web'");
    assert_ok(key_token_relabel(s.token, &s.id, "web", &err) == 0, err);
    key_new_id(s.worker->tag, &other);
    assert_ok(key_token_generate(s.token, &other, "web", KEY_EC_P256, &key, &err) == 0, err);
    assert_finds(&s, JOB_VERDICT_ERROR, "another object in the token has the label 'web' too");
}

TEST(verify_names_published_files_that_were_changed_or_removed)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *cert = NULL;
    CLEANUP(mem_freep) char *uri = NULL;

    scene_start(&s);
    cert = mem_printf("%s/cert.pem", s.job.published);
    uri = mem_printf("%s/key.uri", s.job.published);
    testing_write(cert, "mine", 4);
    assert_finds(&s, JOB_VERDICT_ERROR, "cert.pem was changed from outside");
    assert_int_equal(unlink(uri), 0);
    assert_finds(&s, JOB_VERDICT_MISSING, "key.uri is not there any more");
}

TEST(verify_tells_an_expired_certificate_from_one_that_is_not_yet_valid)
{
    CLEANUP(scene_clear) struct scene s = {0};
    int64_t now = when_now();

    scene_start(&s);
    put(&s, issue(&s, key_evp(s.key), now - 2 * WHEN_HOUR, now - WHEN_HOUR));
    assert_finds(&s, JOB_VERDICT_EXPIRED, "the certificate has expired on ");
    assert_null(strstr(s.run.verified.problem, ";")); /* its chain is judged by a time at which it was valid */
    put(&s, issue(&s, key_evp(s.key), now + WHEN_DAY, now + 2 * WHEN_DAY));
    assert_finds(&s, JOB_VERDICT_NOT_YET_VALID, "the certificate is not valid before ");
}

TEST(verify_names_a_chain_that_leads_nowhere_and_anchors_that_cannot_be_read)
{
    CLEANUP(scene_clear) struct scene s = {0};
    EVP_PKEY *key = pki_key("P-256");
    struct cert *other = pki_cert(&(struct pki_cert_spec){.subject = "CN=Other", .key = key, .serial = 1, .ca = true});

    scene_start(&s);
    pki_write_cert(other, s.job.ca_file);
    assert_finds(&s, JOB_VERDICT_ERROR, "the certificate leads to no CA of ");
    assert_int_equal(unlink(s.job.ca_file), 0);
    assert_finds(&s, JOB_VERDICT_ERROR, "No such file");
    cert_free(other);
    EVP_PKEY_free(key);
}

TEST(verify_says_how_the_configured_names_differ_from_those_that_are_held)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct template *template;

    scene_start(&s);
    template = MEM_APPEND(s.job.template, s.job.n_template);
    *template = (struct template){.name = mem_strdup("WebServer"),
        .oid = mem_strdup(OID),
        .subject_name_flags = XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT | XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME};
    s.job.names.subject = mem_strdup("cn = web");
    strlist_add(&s.job.names.dns, "WEB.example");
    assert_null(look(&s)->names_differ);
    strlist_add(&s.job.names.dns, "www.example");
    assert_contains(look(&s)->names_differ, "dns www.example is configured and not in the certificate");
    assert_null(s.run.verified.problem); /* the certificate is good all the same */
    strlist_clear(&s.job.names.dns);
    strlist_add(&s.job.names.dns, "www.example");
    assert_contains(look(&s)->names_differ, "dns web.example is in the certificate and not configured");
    free(s.job.names.subject);
    s.job.names.subject = mem_strdup("CN=other");
    assert_contains(
        look(&s)->names_differ, "the configured subject is 'CN=other' and that of the certificate 'CN=web'");
    s.job.template[0].subject_name_flags = 0; /* the CA builds the names: it knows them better */
    assert_null(look(&s)->names_differ);
}

TEST(verify_looks_at_a_key_file)
{
    CLEANUP(scene_clear) struct scene s = {0};
    EVP_PKEY *key = pki_key("P-256");
    CLEANUP(mem_freep) char *path = NULL;
    int64_t now = when_now();

    scene_start(&s);
    path = mem_printf("%s/web.key", s.worker->dir);
    pki_write_key(key, path);
    assert_int_equal(chmod(path, 0600), 0);
    put(&s, issue(&s, key, now - 100, now + 100));
    s.job.pair.key_file = mem_strdup(path);
    assert_null(look(&s)->problem);
    assert_int_equal(unlink(path), 0);
    assert_finds(&s, JOB_VERDICT_MISSING, "web.key is not there any more");
    EVP_PKEY_free(key);
}

TEST(verify_fails_where_the_token_cannot_be_opened)
{
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    free(s.job.place.token_uri);
    s.job.place.token_uri = mem_strdup("pkcs11:token=elsewhere");
    worker_fixture_run(s.worker, JOB_VERIFY, &s.job, WORKER_RUN_THROUGH, &s.run);
    assert_false(s.run.done);
    assert_int_equal(err_kind(s.run.failure), ERR_MISSING);
}
