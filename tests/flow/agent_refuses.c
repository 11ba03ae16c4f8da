#include <unistd.h>

#include "agent/key/key_token.h"
#include "agent/key/token_softhsm.h"
#include "tests/rogue.h"
#include "tests/server_fixture.h"
#include "tests/testing.h"
#include "tests/worker_fixture.h"

/*
 * What the agent must refuse, one test a line of the list. Each ends with nothing installed, nothing lost, and an
 * error whose hint says what to do; and where the attempt can go on, it does, with the same key and the same request.
 */
struct scene {
    struct server_fixture *server;
    struct worker_fixture *worker;
    struct job_server corp;
    struct policy policy;
    struct job_enroll job;
    struct worker_run run;
};

static void scene_clear(struct scene *s)
{
    job_server_clear(&s->corp);
    policy_clear(&s->policy);
    job_enroll_clear(&s->job);
    worker_run_clear(&s->run);
}

static void refresh(struct scene *s)
{
    struct job_refresh job = {0};

    worker_fixture_place(s->worker, &job.place);
    worker_fixture_server(&job.server, s->corp.name, s->corp.uri, s->corp.auth, s->corp.username, s->corp.ca_file);
    job.server.policy_id = mem_strdup_opt(s->corp.policy_id);
    worker_run_clear(&s->run);
    worker_fixture_run(s->worker, JOB_REFRESH, &job, WORKER_RUN_THROUGH, &s->run);
    job_refresh_clear(&job);
}

static void take_policy(struct scene *s)
{
    if (!s->run.done)
        fail_msg("%s", err_text(s->run.failure));
    policy_clear(&s->policy);
    s->policy = s->run.refreshed.policy;
    s->run.refreshed.policy = (struct policy){0};
}

/* A server that behaves, and a job that is ready to be given to a worker. */
static void start(struct scene *s)
{
    s->server = server_fixture_running(NULL);
    s->worker = worker_fixture_new();
    worker_fixture_password(s->worker, "corp", SERVER_FIXTURE_PASSWORD);
    worker_fixture_server(
        &s->corp, "corp", s->server->cep_username, POLICY_AUTH_USERNAME, SERVER_FIXTURE_USER, s->server->trust);
    refresh(s);
    take_policy(s);
    worker_fixture_enroll(s->worker, &s->policy, "DeviceEC", &s->corp, &s->job);
    s->job.names.subject = mem_strdup("CN=web01.example");
}

/* From here on the server is wrong about @key; NULL: it behaves again. */
static void misbehave(struct scene *s, const char *key, const char *value)
{
    server_fixture_stop(s->server);
    server_fixture_set(s->server, "misbehave", key, value);
    server_fixture_start(s->server);
}

static void enroll(struct scene *s)
{
    worker_run_clear(&s->run);
    worker_fixture_run(s->worker, JOB_ENROLL, &s->job, WORKER_RUN_THROUGH, &s->run);
}

static void list_token(struct scene *s, struct key_listings *list)
{
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(token_closep) struct token *token = NULL;
    struct token_place place = {.uri = "pkcs11:token=autoenroll", .state_dir = s->worker->token_dir, .is_ours = true};

    assert_int_equal(token_softhsm_open(s->worker->token_dir, &module, &pin, NULL), 0);
    place.module = module;
    assert_int_equal(token_open(&place, pin, &token, NULL), 0);
    assert_int_equal(key_token_list(token, NULL, list, NULL), 0);
}

static void assert_failure(const struct worker_run *run, enum err_kind kind, const char *text)
{
    assert_false(run->done);
    assert_contains(err_text(run->failure), text);
    assert_string_equal(err_kind_name(err_kind(run->failure)), err_kind_name(kind));
    assert_non_null(err_hint_text(run->failure));
    assert_null(strstr(err_text(run->failure), SERVER_FIXTURE_PASSWORD));
}

/* Nothing installed, and nothing lost: the key waits in the token, the request is with the daemon. */
static void assert_nothing_installed(struct scene *s)
{
    CLEANUP(key_listings_clear) struct key_listings list = {0};

    assert_false(s->run.checkpoints & 1u << CHECKPOINT_CHECKED);
    assert_int_equal(s->run.attempt.pair.certificate.len, 0);
    assert_true(s->run.attempt.request.len > 0);
    list_token(s, &list);
    assert_int_equal(list.n, 1);
    assert_true(list.items[0].has_private);
    assert_false(list.items[0].has_certificate);
    assert_true(bytes_equal(&list.items[0].id, &s->run.attempt.key_id));
}

/* The attempt goes on with the key and the request that it had, and ends well. */
static void assert_goes_on(struct scene *s)
{
    CLEANUP(bytes_clear) struct bytes request = {0};
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(key_listings_clear) struct key_listings list = {0};

    bytes_copy(&request, &s->run.attempt.request);
    bytes_copy(&id, &s->run.attempt.key_id);
    job_attempt_clear(&s->job.attempt);
    s->job.attempt = s->run.attempt;
    s->run.attempt = (struct job_attempt){0};
    enroll(s);
    if (!s->run.done)
        fail_msg("%s\n%s", err_text(s->run.failure), bytes_text(&s->run.progress));
    assert_true(bytes_equal(&request, &s->run.attempt.request));
    assert_true(bytes_equal(&id, &s->run.attempt.pair.key_id));
    list_token(s, &list);
    assert_int_equal(list.n, 1);
    assert_true(list.items[0].has_certificate);
    assert_string_equal(list.items[0].label, "test");
}

/* --- the server itself --- */

/* Sends the job to a rogue enrollment server with such a certificate; the real one takes it afterwards. */
static void refuses_server(const struct rogue_cert *what, bool trusted, const char *text)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct rogue_ca *root = rogue_ca_new("Rogue Root", NULL);
    struct rogue_cert full = *what;
    struct rogue_server rogue = {.ca = root};
    CLEANUP(mem_freep) char *both = NULL;
    CLEANUP(mem_freep) char *pem = NULL;

    start(&s);
    full.key = rogue.key = rogue_key("P-256");
    rogue.cert = rogue_issue(root, &full);
    rogue_start(&rogue);
    pem = rogue_ca_pem(root, s.worker->dir, "rogue.pem");
    both = mem_printf("%s/both.pem", s.worker->dir);
    assert_int_equal(testing_shell(NULL, "cat '%s' '%s' >'%s'", s.server->trust, trusted ? pem : "/dev/null", both), 0);
    free(s.job.server.ca_file);
    s.job.server.ca_file = mem_strdup(both);
    for (size_t i = 0; i < s.job.cas[0].n_uris; i++) {
        free(s.job.cas[0].uris[i].uri);
        s.job.cas[0].uris[i].uri = rogue_url(&rogue, "CES");
    }
    enroll(&s);
    assert_failure(&s.run, ERR_TLS, text);
    assert_int_equal(rogue.seen->connections, 1);
    assert_int_equal(rogue.seen->requests, 0); /* no password went there */
    assert_int_equal(s.run.checkpoints & 1u << CHECKPOINT_ANSWERED, 0);
    assert_nothing_installed(&s);
    policy_ca_clear(&s.job.cas[0]);
    policy_ca_copy(&s.job.cas[0], &s.policy.cas[0]);
    assert_goes_on(&s);
}

TEST(server_certificate_with_the_wrong_name)
{
    refuses_server(&(struct rogue_cert){.san = "DNS:other.example", .ekus = "serverAuth"}, true,
        "is for other.example, not for localhost");
}

TEST(server_certificate_expired)
{
    refuses_server(&(struct rogue_cert){.san = "DNS:localhost", .ekus = "serverAuth", .from = -7200, .to = -60}, true,
        "certificate expired on ");
}

TEST(server_certificate_of_an_unknown_ca)
{
    refuses_server(&(struct rogue_cert){.san = "DNS:localhost", .ekus = "serverAuth"}, false,
        "issued by an unknown CA: CN=Rogue Root");
}

TEST(server_certificate_without_serverauth)
{
    refuses_server(&(struct rogue_cert){.san = "DNS:localhost", .ekus = "clientAuth"}, true, "serverAuth");
}

/* --- what it answers --- */

/* An answer that came and must not be installed. */
static void refuses_issued(const char *wrong, const char *text)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    misbehave(&s, "issue", wrong);
    enroll(&s);
    assert_failure(&s.run, ERR_UNTRUSTED, text);
    assert_true(s.run.checkpoints & 1u << CHECKPOINT_ANSWERED); /* as it came: a person can look at it */
    assert_true(s.run.attempt.answer_cms.len || s.run.attempt.answer_certificate.len);
    assert_nothing_installed(&s);
    misbehave(&s, "issue", NULL);
    assert_goes_on(&s);
}

TEST(answer_with_somebody_elses_key)
{
    refuses_issued("other-key", "somebody else's key");
}

TEST(answer_with_a_ca_certificate)
{
    refuses_issued("ca", "is that of a CA");
}

TEST(answer_with_another_templates_eku)
{
    refuses_issued("wrong-eku", "extended key usage");
}

TEST(answer_with_a_weaker_key)
{
    refuses_issued("weak", "1024");
}

TEST(answer_with_a_weaker_hash)
{
    refuses_issued("sha1", "SHA1");
}

TEST(answer_with_a_chain_to_another_root)
{
    refuses_issued("other-root", "the chain of the certificate");
}

TEST(answer_that_is_expired)
{
    refuses_issued("expired", "");
}

TEST(answer_that_is_not_valid_yet)
{
    refuses_issued("future", "");
}

TEST(answer_that_is_valid_for_too_long)
{
    refuses_issued("long", "longer than template 'DeviceEC' says");
}

TEST(answer_for_another_template)
{
    refuses_issued("other-template", "was made for template");
}

/* An answer that is none: nothing came that could be saved. */
static void refuses_exchange(const char *key, const char *value, enum err_kind kind, const char *text)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    misbehave(&s, key, value);
    enroll(&s);
    assert_failure(&s.run, kind, text);
    assert_false(s.run.checkpoints & 1u << CHECKPOINT_ANSWERED);
    assert_nothing_installed(&s);
    assert_int_equal(s.run.n_endpoints, 2); /* what each address said is told; the other one is for renewals */
    assert_contains(s.run.endpoints[0].error, text);
    misbehave(&s, key, NULL);
    assert_goes_on(&s);
}

TEST(answer_with_a_wrong_relatesto)
{
    refuses_exchange("wrong-relates-to", "yes", ERR_PROTOCOL, "the answer is for another message");
}

TEST(answer_over_the_limit)
{
    refuses_exchange("oversize", "4200000", ERR_PROTOCOL, "longer than 4194304 bytes");
}

TEST(answer_cut_in_the_middle)
{
    refuses_exchange("cut-answer", "yes", ERR_NETWORK, "localhost");
}

TEST(answer_never_coming)
{
    refuses_exchange("never-answer", "yes", ERR_TIMEOUT, "30000 ms went by");
}

TEST(answer_that_is_no_xml)
{
    refuses_exchange("malformed", "yes", ERR_PROTOCOL, "no SOAP message");
}

TEST(answer_with_a_document_type)
{
    refuses_exchange("doctype", "yes", ERR_PROTOCOL, "no SOAP message");
}

TEST(answer_that_does_not_say_what_it_answers_is_taken_with_a_warning)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    misbehave(&s, "no-relates-to", "yes");
    enroll(&s);
    assert_true(s.run.done);
    assert_contains(bytes_text(&s.run.progress), "warning: the answer does not say which message it answers");
}

TEST(redirect)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct rogue_server elsewhere = {.ca = rogue_ca_new("Rogue Root", NULL)};
    CLEANUP(mem_freep) char *to = NULL;

    start(&s);
    rogue_start(&elsewhere);
    to = rogue_url(&elsewhere, "CES");
    misbehave(&s, "redirect", to);
    enroll(&s);
    assert_failure(&s.run, ERR_PROTOCOL, to);
    assert_contains(err_text(s.run.failure), "not followed");
    assert_int_equal(elsewhere.seen->connections, 0);
    assert_nothing_installed(&s);
    misbehave(&s, "redirect", NULL);
    assert_goes_on(&s);
}

/* --- the policy --- */

TEST(policy_whose_ces_is_on_a_host_that_is_not_allowed)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct rogue_server elsewhere = {.ca = rogue_ca_new("Rogue Root", NULL)};
    CLEANUP(mem_freep) char *url = NULL;

    start(&s);
    rogue_start(&elsewhere);
    url = mem_printf("https://127.0.0.1:%u/CES", elsewhere.port); /* another host than localhost */
    for (size_t i = 0; i < s.job.cas[0].n_uris; i++) {
        free(s.job.cas[0].uris[i].uri);
        s.job.cas[0].uris[i].uri = mem_strdup(url);
    }
    enroll(&s);
    assert_failure(&s.run, ERR_POLICY, "the policy names host '127.0.0.1'");
    assert_contains(err_hint_text(s.run.failure), "[policy-server \"corp\"]: ces-hosts = 127.0.0.1");
    assert_int_equal(elsewhere.seen->connections, 0);
    assert_nothing_installed(&s);

    strlist_add(&s.job.server.ces_hosts, "127.0.0.1"); /* the listener counts: now there is one */
    enroll(&s);
    assert_false(s.run.done);
    assert_int_equal(elsewhere.seen->connections, 1);
    assert_int_equal(elsewhere.seen->requests, 0);
}

/* The policy of a server that is wrong about it. */
static void refresh_wrong(struct scene *s, const char *wrong)
{
    start(s);
    misbehave(s, "policy", wrong);
    refresh(s);
}

static bool any_skipped(const struct policy *policy, const char *text)
{
    for (size_t i = 0; i < policy->skipped.n; i++)
        if (strstr(policy->skipped.items[i], text))
            return true;
    return false;
}

TEST(one_template_with_dangling_references)
{
    CLEANUP(scene_clear) struct scene s = {0};

    refresh_wrong(&s, "dangling");
    take_policy(&s);
    assert_int_equal(s.policy.n_templates, 4); /* that one is skipped, the rest is served */
    assert_null(policy_find_template_by_name(&s.policy, "Machine"));
    assert_true(any_skipped(&s.policy, "Machine"));
    assert_contains(bytes_text(&s.run.progress), "warning: ");
    enroll(&s);
    assert_true(s.run.done);
}

TEST(empty_policy)
{
    CLEANUP(scene_clear) struct scene s = {0};

    refresh_wrong(&s, "empty");
    take_policy(&s);
    assert_int_equal(s.policy.n_templates, 0);
    assert_true(any_skipped(&s.policy, "may lack Read or Enroll"));
}

TEST(policy_with_another_id)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    s.corp.policy_id = mem_strdup(s.policy.id);
    refresh(&s);
    take_policy(&s);
    misbehave(&s, "policy", "other-id");
    refresh(&s);
    assert_failure(&s.run, ERR_POLICY, "the server serves policy");
    assert_contains(err_hint_text(s.run.failure), "policy-id");
}

TEST(policy_with_one_reference_number_twice)
{
    CLEANUP(scene_clear) struct scene s = {0};

    refresh_wrong(&s, "duplicate");
    assert_false(s.run.done);
    assert_non_null(err_hint_text(s.run.failure));
}

/* A name from a server is a name and nothing else: no path is made of it, and it is shown without its escapes. */
static const struct template *evil_template(struct scene *s, const char *part)
{
    refresh_wrong(s, "evil-names");
    take_policy(s);
    for (size_t i = 0; i < s->policy.n_templates; i++)
        if (strstr(s->policy.templates[i].name, part))
            return &s->policy.templates[i];
    fail_msg("no template with '%s' in its name", part);
    return NULL;
}

static void enroll_evil(struct scene *s, const struct template *template)
{
    job_enroll_clear(&s->job);
    worker_fixture_enroll(s->worker, &s->policy, template->name, &s->corp, &s->job);
    s->job.names.subject = mem_strdup("CN=web01.example");
    enroll(s);
}

TEST(template_called_dot_dot_slash)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    /* with a number behind it, so that nothing else can have made such a file */
    CLEANUP(mem_freep) char *name = mem_printf("%s%d", evil_template(&s, "../")->name, (int)getpid());
    const char *const places[] = {s.worker->dir, s.worker->token_dir, s.worker->key_dir, s.worker->credentials};

    free(s.job.template.name); /* of DeviceEC, which the CA finds by its OID */
    s.job.template.name = mem_strdup(name);
    enroll(&s);
    assert_true(s.run.done);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        CLEANUP(mem_freep) char *path = mem_printf("%s/%s", places[i], name);

        assert_int_equal(access(path, F_OK), -1);
    }
    list_token(&s, &list);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.items[0].label, "test"); /* the local name */
}

TEST(names_with_control_characters_and_terminal_escapes)
{
    static const char *const escapes[] = {"\x1b", "\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\xa8"};
    CLEANUP(scene_clear) struct scene s = {0};
    const struct template *template = evil_template(&s, "\xc2\x9b");

    for (int broken = 0; broken < 2; broken++) {
        if (broken)
            worker_fixture_password(s.worker, "corp", NULL);
        enroll_evil(&s, template);
        assert_int_equal(s.run.done, !broken);
        for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
            assert_null(strstr(bytes_text(&s.run.progress), escapes[i]));
            assert_null(broken ? strstr(err_text(s.run.failure), escapes[i]) : NULL);
            assert_null(broken ? strstr(err_hint_text(s.run.failure), escapes[i]) : NULL);
        }
    }
    assert_contains(err_text(s.run.failure), "[31mred"); /* it is named all the same */
}
