#include <sys/wait.h>
#include <unistd.h>

#include "agent/key/key_token.h"
#include "agent/key/token_softhsm.h"
#include "protocol/pki/cert.h"
#include "tests/server_fixture.h"
#include "tests/testing.h"
#include "tests/token_fixture.h"
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
    if (s->server)
        server_fixture_start(s->server);
    else
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
    if (renewal) {
        job_pair_copy(&job->old, &s->pair);
        bytes_copy(&job->replaces, &s->pair.key_id);
    }
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

/* What is in the token, by another look than the worker's. */
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

/* A new key, a new serial number, the old pair still there under another label, and no password anywhere. */
static void renew_by_certificate(struct scene *s, const char *template)
{
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    CLEANUP(job_pair_clear) struct job_pair old = {0};
    CLEANUP(cert_freep) struct cert *before = NULL;
    CLEANUP(cert_freep) struct cert *after = NULL;
    CLEANUP(mem_freep) char *waiting = NULL;

    fetch(s, &s->username);
    enroll(s, template, false);
    assert_enrolled(s);
    job_pair_copy(&old, &s->pair);
    worker_fixture_password(s->worker, "corp", NULL);

    fetch(s, &s->certificate);
    enroll(s, template, true);
    assert_enrolled(s);
    before = parse(&old.certificate);
    after = parse(&s->pair.certificate);
    assert_string_not_equal(before->serial, after->serial);
    assert_false(cert_same_key(after, &before->key.spki));
    assert_string_equal(before->subject, after->subject);
    assert_true(san_equal(&before->san, &after->san));

    list_token(s, &list);
    assert_int_equal(list.n, 2);
    assert_true(bytes_equal(&labelled(&list, "test")->id, &s->pair.key_id));
    waiting = key_waiting_label("test", &old.key_id);
    assert_true(bytes_equal(&labelled(&list, waiting)->id, &old.key_id));
    assert_true(labelled(&list, waiting)->has_certificate);
}

/* The server speaks nothing newer than @version from here on. */
static void speak_at_most(const char *version)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/openssl.cnf", worker_fixture_new()->dir);
    CLEANUP(mem_freep)
    char *text =
        mem_printf("openssl_conf = o\n[o]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nMaxProtocol = %s\n", version);

    testing_write(path, text, strlen(text));
    setenv("OPENSSL_CONF", path, 1);
}

static void renew_over(const char *template, const char *version)
{
    CLEANUP(scene_clear) struct scene s = {0};

    speak_at_most(version);
    scene_start(&s, NULL);
    unsetenv("OPENSSL_CONF");
    assert_int_equal(testing_shell(NULL, "openssl s_client -connect localhost:%u </dev/null 2>&1 | grep -q 'New, %s,'",
                         s.server->port, version),
        0);
    renew_by_certificate(&s, template);
}

TEST(renew_by_the_tokens_own_key_over_tls_1_2_with_ec)
{
    renew_over("DeviceEC", "TLSv1.2");
}

TEST(renew_by_the_tokens_own_key_over_tls_1_3_with_ec)
{
    renew_over("DeviceEC", "TLSv1.3");
}

TEST(renew_by_the_tokens_own_key_over_tls_1_2_with_rsa)
{
    renew_over("Workstation", "TLSv1.2");
}

TEST(renew_by_the_tokens_own_key_over_tls_1_3_with_rsa)
{
    renew_over("Workstation", "TLSv1.3");
}

TEST(renewal_keeps_the_key_where_the_template_says_so)
{
    CLEANUP(scene_clear) struct scene s = {.server = server_fixture_new(NULL)};
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(bytes_clear) struct bytes first = {0};

    server_fixture_set(s.server, "template \"DeviceEC\"", "PrivateKeyFlags", "0x4040080");
    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "DeviceEC", false);
    assert_enrolled(&s);
    bytes_copy(&id, &s.pair.key_id);
    bytes_copy(&first, &s.pair.certificate);
    fetch(&s, &s.certificate);
    enroll(&s, "DeviceEC", true);
    assert_enrolled(&s);
    assert_true(bytes_equal(&id, &s.pair.key_id));
    assert_false(bytes_equal(&first, &s.pair.certificate));
    list_token(&s, &list);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.items[0].label, "test");
}

TEST(schema_1_is_enrolled_by_pkcs10_with_the_names_of_the_account)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(cert_freep) struct cert *cert = NULL;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "Machine", false);
    assert_enrolled(&s);
    cert = parse(&s.pair.certificate);
    assert_string_equal(cert->template_name, "Machine");
    assert_true(san_has(&cert->san, SAN_DNS, "alice.example"));
    assert_int_equal(s.run.attempt.request_token, 0); /* WSTEP_PKCS10 */
}

/* A renewal by password needs the administrator's word. */
TEST(renewal_without_certificate_authentication_needs_password_fallback)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct job_enroll job;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "Machine", false);
    assert_enrolled(&s);
    fetch(&s, &s.username);
    for (int fallback = 0; fallback < 2; fallback++) {
        make_job(&s, "Machine", false, &job);
        job_pair_copy(&job.old, &s.pair);
        bytes_copy(&job.replaces, &s.pair.key_id);
        job.password_fallback = fallback;
        for (size_t i = 0; i < job.n_cas; i++) /* only the address that takes a password is left */
            for (size_t j = 0; j < job.cas[i].n_uris; j++)
                if (job.cas[i].uris[j].auth == POLICY_AUTH_CERTIFICATE)
                    job.cas[i].uris[j].auth = 3;
        worker_run_clear(&s.run);
        worker_fixture_run(s.worker, JOB_ENROLL, &job, WORKER_RUN_THROUGH, &s.run);
        job_enroll_clear(&job);
        if (fallback)
            break;
        assert_false(s.run.done);
        assert_int_equal(err_kind(s.run.failure), ERR_AUTH);
        assert_contains(err_hint_text(s.run.failure), "password-fallback = yes");
        assert_int_equal(server_fixture_number(s.server, "SELECT count(*) FROM requests"), 1);
    }
    assert_enrolled(&s);
    assert_int_equal(server_fixture_number(s.server, "SELECT count(*) FROM certificates"), 2);
}

TEST(pending_request_is_polled_until_it_is_approved)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct job_enroll job;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "Approved", false);
    assert_done(&s.run);
    assert_true(s.run.enrolled.pending);
    assert_true(s.run.attempt.pending);
    assert_non_null(s.run.attempt.request_id);
    assert_string_equal(s.run.attempt.ces_uri, s.server->ces_username);
    for (int approved = 0; approved < 2; approved++) {
        make_job(&s, "Approved", false, &job);
        job.attempt = s.run.attempt;
        s.run.attempt = (struct job_attempt){0};
        if (approved)
            assert_int_equal(server_fixture_run(s.server, NULL, "approve", "%s", job.attempt.request_id), 0);
        worker_run_clear(&s.run);
        worker_fixture_run(s.worker, JOB_POLL, &job, WORKER_RUN_THROUGH, &s.run);
        assert_done(&s.run);
        assert_int_equal(s.run.enrolled.pending, !approved);
        if (!approved) { /* nothing new to remember: the attempt stays the daemon's */
            assert_int_equal(s.run.checkpoints, 0);
            s.run.attempt = job.attempt;
            job.attempt = (struct job_attempt){0};
        }
        job_enroll_clear(&job);
    }
    assert_int_equal(s.run.checkpoints, 1 << CHECKPOINT_ANSWERED | 1 << CHECKPOINT_CHECKED);
    assert_int_equal(server_fixture_number(s.server, "SELECT count(*) FROM requests"), 1);
}

TEST(pending_request_that_was_denied_is_told_as_denied)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct job_enroll job;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "Approved", false);
    assert_done(&s.run);
    make_job(&s, "Approved", false, &job);
    job.attempt = s.run.attempt;
    s.run.attempt = (struct job_attempt){0};
    assert_int_equal(server_fixture_run(s.server, NULL, "deny", "%s", job.attempt.request_id), 0);
    worker_run_clear(&s.run);
    worker_fixture_run(s.worker, JOB_POLL, &job, WORKER_RUN_THROUGH, &s.run);
    job_enroll_clear(&job);
    assert_false(s.run.done);
    assert_int_equal(err_kind(s.run.failure), ERR_DENIED);
    assert_int_equal(err_code(s.run.failure), 0x80094014u);
    assert_contains(err_text(s.run.failure), "CERTSRV_E_ADMIN_DENIED_REQUEST");
    assert_non_null(err_hint_text(s.run.failure));
}

/* Killed before the daemon could acknowledge @step, then started again with what the daemon had. */
static void resume_at(enum job_checkpoint step, bool renewal)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    CLEANUP(bytes_clear) struct bytes request = {0};
    struct job_enroll job;
    int64_t certificates;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    if (renewal) {
        enroll(&s, "DeviceEC", false);
        assert_enrolled(&s);
        fetch(&s, &s.certificate);
    }
    certificates = server_fixture_number(s.server, "SELECT count(*) FROM certificates");
    make_job(&s, "DeviceEC", renewal, &job);
    worker_run_clear(&s.run);
    worker_fixture_run(s.worker, JOB_ENROLL, &job, (int)step, &s.run);
    assert_false(s.run.done);
    assert_true(WIFSIGNALED(s.run.status));
    job.attempt = s.run.attempt;
    s.run.attempt = (struct job_attempt){0};
    bytes_copy(&request, &job.attempt.request);
    worker_run_clear(&s.run);
    worker_fixture_run(s.worker, JOB_ENROLL, &job, WORKER_RUN_THROUGH, &s.run);
    assert_done(&s.run);
    for (unsigned i = 0; i < CHECKPOINT__MAX; i++) /* what was done is not done again, and nothing is left out */
        assert_int_equal(!!(s.run.checkpoints & 1u << i), i > step);
    if (step >= CHECKPOINT_REQUEST_SIGNED && step < CHECKPOINT_CHECKED)
        assert_true(bytes_equal(&request, &s.run.attempt.request));
    assert_int_equal(server_fixture_number(s.server, "SELECT count(*) FROM certificates"), certificates + 1);
    list_token(&s, &list);
    assert_int_equal(list.n, renewal ? 2 : 1); /* no second key */
    assert_true(labelled(&list, "test")->has_certificate);
    job_enroll_clear(&job);
}

TEST(enroll_resumes_after_key_chosen)
{
    resume_at(CHECKPOINT_KEY_CHOSEN, false);
}

TEST(enroll_resumes_after_request_signed)
{
    resume_at(CHECKPOINT_REQUEST_SIGNED, false);
}

TEST(enroll_resumes_after_answered)
{
    resume_at(CHECKPOINT_ANSWERED, false);
}

TEST(enroll_resumes_after_checked)
{
    resume_at(CHECKPOINT_CHECKED, false);
}

TEST(renewal_resumes_after_key_chosen)
{
    resume_at(CHECKPOINT_KEY_CHOSEN, true);
}

TEST(renewal_resumes_after_request_signed)
{
    resume_at(CHECKPOINT_REQUEST_SIGNED, true);
}

TEST(renewal_resumes_after_answered)
{
    resume_at(CHECKPOINT_ANSWERED, true);
}

TEST(renewal_resumes_after_checked)
{
    resume_at(CHECKPOINT_CHECKED, true);
}

TEST(retire_removes_the_old_pair_and_orphans_and_nothing_else)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    CLEANUP(job_pair_clear) struct job_pair old = {0};
    struct job_enroll lost;
    struct job_retire job = {.sweep = true};

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "DeviceEC", false);
    assert_enrolled(&s);
    job_pair_copy(&old, &s.pair);
    make_job(&s, "DeviceEC", false, &lost); /* a key whose record was lost */
    worker_run_clear(&s.run);
    worker_fixture_run(s.worker, JOB_ENROLL, &lost, CHECKPOINT_REQUEST_SIGNED, &s.run);
    job_enroll_clear(&lost);
    fetch(&s, &s.certificate);
    enroll(&s, "DeviceEC", true);
    assert_enrolled(&s);

    worker_fixture_place(s.worker, &job.place);
    job_pair_copy(MEM_APPEND(job.pairs, job.n_pairs), &old);
    bytes_copy(MEM_APPEND(job.known, job.n_known), &s.pair.key_id);
    worker_run_clear(&s.run);
    worker_fixture_run(s.worker, JOB_RETIRE, &job, WORKER_RUN_THROUGH, &s.run);
    job_retire_clear(&job);
    assert_done(&s.run);
    assert_int_equal(s.run.retired.removed, 1);
    assert_int_equal(s.run.retired.orphans, 1);
    list_token(&s, &list);
    assert_int_equal(list.n, 1);
    assert_true(bytes_equal(&list.items[0].id, &s.pair.key_id));
}

TEST(tokens_lists_our_own_token)
{
    CLEANUP(scene_clear) struct scene s = {.worker = worker_fixture_new()};
    struct job_tokens job = {0};

    worker_fixture_place(s.worker, &job.place);
    worker_fixture_run(s.worker, JOB_TOKENS, &job, WORKER_RUN_THROUGH, &s.run);
    job_tokens_clear(&job);
    assert_done(&s.run);
    assert_int_equal(s.run.tokens.n, 1);
    assert_true(s.run.tokens.items[0].ours);
    assert_string_equal(s.run.tokens.items[0].label, "autoenroll");
}

TEST(wrong_password_is_told_as_such_and_shown_once)
{
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    worker_fixture_password(s.worker, "corp", "battery staple");
    enroll(&s, "DeviceEC", false);
    assert_false(s.run.done);
    assert_int_equal(err_kind(s.run.failure), ERR_AUTH);
    assert_contains(err_hint_text(s.run.failure), "user name and password");
    assert_null(strstr(err_text(s.run.failure), "staple"));
    assert_null(strstr(bytes_text(&s.run.progress), "staple"));
}

/*
 * The renewal request as it left, taken apart by openssl alone. The new key's signer is named by its key identifier and
 * has no certificate: it is given one, made of nothing but that public key.
 */
static void openssl_reads_renewal(const char *template)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(bytes_clear) struct bytes enclosed = {0};
    CLEANUP(bytes_clear) struct bytes old = {0};
    CLEANUP(mem_freep) char *request = NULL;
    CLEANUP(mem_freep) char *certificate = NULL;
    CLEANUP(mem_freep) char *wrong = NULL;
    const char *dir;

    scene_start(&s, NULL);
    dir = s.worker->dir;
    fetch(&s, &s.username);
    enroll(&s, template, false);
    assert_enrolled(&s);
    bytes_copy(&old, &s.pair.certificate);
    fetch(&s, &s.certificate);
    enroll(&s, template, true);
    assert_enrolled(&s);
    request = mem_printf("%s/request.der", dir);
    testing_write(request, s.run.attempt.request.data, s.run.attempt.request.len);
    certificate = mem_printf("%s/new.der", dir);
    testing_write(certificate, s.pair.certificate.data, s.pair.certificate.len);

    assert_int_equal(testing_shell(&text, "openssl cms -cmsout -print -noout -inform DER -in '%s'", request), 0);
    assert_contains(bytes_text(&text), "eContentType: id-cct-PKIData (1.3.6.1.5.5.7.12.2)");
    assert_contains(bytes_text(&text), "d.subjectKeyIdentifier");
    assert_contains(bytes_text(&text), "d.issuerAndSerialNumber");
    assert_int_equal(testing_shell(NULL,
                         "test $(openssl cms -cmsout -print -noout -inform DER -in '%s' | "
                         "grep -c 'signatureAlgorithm:') -eq 2",
                         request),
        0);
    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && openssl x509 -inform DER -in new.der -noout -pubkey >new.pub && "
            "openssl ecparam -name prime256v1 -genkey -noout -out any.key && "
            "printf 'subjectKeyIdentifier = hash\\n' >ski.cnf && "
            "openssl x509 -new -force_pubkey new.pub -subj /CN=new -key any.key -extfile ski.cnf -out stand-in.pem",
            dir),
        0);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && openssl cms -verify -inform DER -in request.der -certfile stand-in.pem "
                         "-noverify -binary -out content.der -certsout enclosed.pem 2>/dev/null",
                         dir),
        0);
    assert_int_equal(testing_shell(&enclosed, "openssl x509 -in '%s/enclosed.pem' -outform DER", dir), 0);
    assert_true(bytes_equal(&enclosed, &old));
    s.run.attempt.request.data[s.run.attempt.request.len - 1] ^= 1; /* and it does tell when a signature is wrong */
    wrong = mem_printf("%s/wrong.der", dir);
    testing_write(wrong, s.run.attempt.request.data, s.run.attempt.request.len);
    assert_int_not_equal(testing_shell(NULL,
                             "cd '%s' && openssl cms -verify -inform DER -in wrong.der -certfile stand-in.pem "
                             "-noverify -binary -out /dev/null 2>/dev/null",
                             dir),
        0);
}

TEST(renewal_request_with_ec_is_verified_by_openssl)
{
    openssl_reads_renewal("DeviceEC");
}

TEST(renewal_request_with_rsa_is_verified_by_openssl)
{
    openssl_reads_renewal("Workstation");
}

TEST(renewal_by_a_revoked_certificate_is_refused_and_told)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *serial = NULL;

    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, "DeviceEC", false);
    assert_enrolled(&s);
    serial = mem_strdup(s.run.attempt.facts.serial);
    fetch(&s, &s.certificate);
    assert_int_equal(server_fixture_run(s.server, NULL, "revoke", "%s", serial), 0);
    enroll(&s, "DeviceEC", true);
    assert_false(s.run.done);
    assert_non_null(err_hint_text(s.run.failure));
    assert_true(err_kind(s.run.failure) == ERR_AUTH || err_kind(s.run.failure) == ERR_DENIED);
    assert_int_equal(server_fixture_number(s.server, "SELECT count(*) FROM certificates"), 1);
}

/* key = file: only where the template allows a key outside the token, and then the token stays empty. */
TEST(key_file_needs_a_template_that_allows_it)
{
    CLEANUP(scene_clear) struct scene s = {.server = server_fixture_new(NULL)};
    struct job_enroll job;

    server_fixture_set(s.server, "template \"DeviceEC\"", "PrivateKeyFlags", "0x4040010");
    scene_start(&s, NULL);
    fetch(&s, &s.username);
    for (int allowed = 0; allowed < 2; allowed++) {
        make_job(&s, allowed ? "DeviceEC" : "Workstation", false, &job);
        job.file_key = true;
        worker_run_clear(&s.run);
        worker_fixture_run(s.worker, JOB_ENROLL, &job, WORKER_RUN_THROUGH, &s.run);
        job_enroll_clear(&job);
        assert_int_equal(s.run.done, allowed);
        if (!allowed) {
            assert_int_equal(err_kind(s.run.failure), ERR_POLICY);
            assert_contains(err_hint_text(s.run.failure), "key = token");
        }
    }
    assert_enrolled(&s);
    assert_non_null(s.pair.key_file);
    assert_int_equal(testing_shell(NULL, "openssl pkey -in '%s' -noout && test \"$(stat -c %%a '%s')\" = 600",
                         s.pair.key_file, s.pair.key_file),
        0);
    fetch(&s, &s.certificate); /* it authenticates and renews like one in the token */
    make_job(&s, "DeviceEC", true, &job);
    job.file_key = true;
    worker_run_clear(&s.run);
    worker_fixture_run(s.worker, JOB_ENROLL, &job, WORKER_RUN_THROUGH, &s.run);
    assert_string_not_equal(s.run.attempt.pair.key_file, job.old.key_file);
    job_enroll_clear(&job);
    assert_enrolled(&s);
    assert_int_equal(access(s.worker->token_dir, F_OK), 0);
    assert_int_equal(testing_shell(NULL, "test -z \"$(ls '%s')\"", s.worker->token_dir), 0);
}

/* The same in a TPM, over TLS 1.3, with the PIN as a credential. */
static void round_trip_in_tpm(const char *template)
{
    CLEANUP(token_fixture_clear) struct token_fixture tpm = {0};
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *path = NULL;
    struct worker_fixture *worker = worker_fixture_new();
    unsigned objects;

    token_fixture_start(&tpm, TOKEN_BACKEND_TPM);
    worker->token_uri = mem_strdup(tpm.place.uri);
    worker->module = mem_strdup(tpm.module);
    path = mem_printf("%s/token.pin", worker->credentials);
    testing_write(path, secret_peek(tpm.pin), secret_len(tpm.pin));
    scene_start(&s, NULL);
    fetch(&s, &s.username);
    enroll(&s, template, false);
    assert_enrolled(&s);
    objects = token_fixture_count_objects(&tpm);
    assert_int_equal(objects, 3);
    worker_fixture_password(s.worker, "corp", NULL);
    fetch(&s, &s.certificate);
    enroll(&s, template, true);
    assert_enrolled(&s);
    assert_int_equal(token_fixture_count_objects(&tpm), 6); /* the old pair stays until its time is over */
    assert_int_equal(token_fixture_lockout_counter(&tpm), 0);
}

TEST(enroll_and_renew_with_ec_in_a_tpm)
{
    round_trip_in_tpm("DeviceEC");
}

TEST(enroll_and_renew_with_rsa_in_a_tpm)
{
    round_trip_in_tpm("Workstation");
}

TEST(wrong_pin_is_told_and_never_tried_again)
{
    CLEANUP(token_fixture_clear) struct token_fixture tpm = {0};
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *path = NULL;
    struct worker_fixture *worker = worker_fixture_new();

    token_fixture_start(&tpm, TOKEN_BACKEND_TPM);
    worker->token_uri = mem_strdup(tpm.place.uri);
    worker->module = mem_strdup(tpm.module);
    path = mem_printf("%s/token.pin", worker->credentials);
    testing_write(path, "not it", 6);
    scene_start(&s, NULL);
    fetch(&s, &s.username);
    for (int i = 0; i < 3; i++) {
        enroll(&s, "DeviceEC", false);
        assert_false(s.run.done);
        assert_int_equal(err_kind(s.run.failure), ERR_AUTH);
        assert_non_null(err_hint_text(s.run.failure));
        assert_null(strstr(err_text(s.run.failure), "not it"));
    }
    assert_int_equal(token_fixture_lockout_counter(&tpm), 1);
}
