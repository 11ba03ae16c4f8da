#include "agent/key/key_token.h"
#include "agent/key/token_softhsm.h"
#include "protocol/pki/cert.h"
#include "tests/server_fixture.h"
#include "tests/testing.h"
#include "tests/worker_fixture.h"

/* A reference server, a worker's places, and what both know of each other. */
struct scene {
    struct server_fixture *server;
    struct worker_fixture *worker;
    struct job_server username;    /* the CEP that takes a password */
    struct job_server certificate; /* the one for key-based renewal */
    struct policy policy;          /* as fetched last */
    struct job_pair pair;          /* as enrolled last */
    struct worker_run run;
};

static void scene_start(struct scene *s, const char *init)
{
    s->server = server_fixture_running(init);
    s->worker = worker_fixture_new();
    worker_fixture_password(s->worker, "corp", SERVER_FIXTURE_PASSWORD);
    worker_fixture_server(
        &s->username, "corp", s->server->cep_username, POLICY_AUTH_USERNAME, SERVER_FIXTURE_USER, s->server->trust);
    worker_fixture_server(
        &s->certificate, "corp-renewal", s->server->cep_certificate, POLICY_AUTH_CERTIFICATE, NULL, s->server->trust);
}

static void scene_clear(struct scene *s)
{
    job_server_clear(&s->username);
    job_server_clear(&s->certificate);
    policy_clear(&s->policy);
    job_pair_clear(&s->pair);
    worker_run_clear(&s->run);
}

static void assert_done(const struct worker_run *run)
{
    if (!run->done)
        fail_msg("%s\nhint: %s\nprogress:\n%s", err_text(run->failure), err_hint_text(run->failure),
            bytes_text(&run->progress));
}

/* REFRESH at @server, as the pair of the scene where that is wanted. */
static void fetch(struct scene *s, const struct job_server *server)
{
    struct job_refresh job = {0};

    worker_fixture_place(s->worker, &job.place);
    worker_fixture_server(&job.server, server->name, server->uri, server->auth, server->username, server->ca_file);
    if (server->auth == POLICY_AUTH_CERTIFICATE)
        job_pair_copy(&job.identity, &s->pair);
    worker_run_clear(&s->run);
    worker_fixture_run(s->worker, JOB_REFRESH, &job, WORKER_RUN_THROUGH, &s->run);
    job_refresh_clear(&job);
    assert_done(&s->run);
    policy_clear(&s->policy);
    s->policy = s->run.refreshed.policy;
    s->run.refreshed.policy = (struct policy){0};
}

/* ENROLL, or a renewal of the pair of the scene, by the policy of the scene. */
static void make_job(struct scene *s, const char *template, bool renewal, struct job_enroll *job)
{
    worker_fixture_enroll(s->worker, &s->policy, template, renewal ? &s->certificate : &s->username, job);
    if (renewal)
        job_pair_copy(&job->old, &s->pair);
    job->names.subject = mem_strdup("CN=web01.example,O=Example");
    strlist_add(&job->names.dns, "web01.example");
}

static void keep_pair(struct scene *s)
{
    job_pair_clear(&s->pair);
    job_pair_copy(&s->pair, &s->run.attempt.pair);
}

static void enroll(struct scene *s, const char *template, bool renewal)
{
    struct job_enroll job;

    make_job(s, template, renewal, &job);
    worker_run_clear(&s->run);
    worker_fixture_run(s->worker, JOB_ENROLL, &job, WORKER_RUN_THROUGH, &s->run);
    job_enroll_clear(&job);
}

static void assert_enrolled(struct scene *s)
{
    assert_done(&s->run);
    assert_false(s->run.enrolled.pending);
    assert_int_equal(s->run.checkpoints, 1 << CHECKPOINT_KEY_CHOSEN | 1 << CHECKPOINT_REQUEST_SIGNED |
                                             1 << CHECKPOINT_ANSWERED | 1 << CHECKPOINT_CHECKED);
    keep_pair(s);
}

/* What is in our own token, by another look than the worker's. */
static void list_token(struct scene *s, struct key_listings *list)
{
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(token_closep) struct token *token = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct token_place place = {.uri = "pkcs11:token=autoenroll", .state_dir = s->worker->token_dir, .is_ours = true};

    assert_ok(token_softhsm_open(s->worker->token_dir, &module, &pin, &err) == 0, err);
    place.module = module;
    assert_ok(token_open(&place, pin, &token, &err) == 0, err);
    assert_ok(key_token_list(token, NULL, list, &err) == 0, err);
}

static const struct key_listing *labelled(const struct key_listings *list, const char *label)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].label, label) == 0)
            return &list->items[i];
    return NULL;
}

static struct cert *parse(const struct bytes *der)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct cert *cert = NULL;

    assert_ok(cert_parse(der->data, der->len, &cert, &err) == 0, err);
    return cert;
}

TEST(refresh_gives_the_policy_with_its_templates_and_cas)
{
    CLEANUP(scene_clear) struct scene s = {0};
    const struct template *template;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    assert_int_equal(s.policy.n_templates, 5);
    assert_int_equal(s.policy.n_cas, 1);
    assert_string_equal(s.policy.cas[0].name, "Example Issuing CA");
    template = policy_find_template_by_name(&s.policy, "DeviceEC");
    assert_non_null(template);
    assert_int_equal(template->schema, 4);
    assert_int_equal(template->n_cas, 1);
    assert_string_equal(template->key_algorithm, "1.2.840.10045.3.1.7");
    assert_int_equal(s.policy.skipped.n, 0);
}

TEST(enroll_puts_key_and_certificate_into_the_token)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    const struct key_listing *pair;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "DeviceEC", false);
    assert_enrolled(&s);
    cert = parse(&s.pair.certificate);
    assert_string_equal(cert->subject, "CN=web01.example,O=Example");
    assert_true(san_has(&cert->san, SAN_DNS, "web01.example"));
    assert_string_equal(s.run.attempt.facts.serial, cert->serial);
    assert_string_equal(s.run.attempt.facts.key_kind, "EC P-256");
    assert_contains(s.run.attempt.facts.key_uri, "pkcs11:");
    list_token(&s, &list);
    assert_int_equal(list.n, 1);
    pair = labelled(&list, "test");
    assert_non_null(pair);
    assert_true(pair->has_private && pair->has_public && pair->has_certificate);
    assert_true(bytes_equal(&pair->id, &s.pair.key_id));
    assert_int_equal(server_fixture_number(s.server, "SELECT count(*) FROM certificates"), 1);
}
