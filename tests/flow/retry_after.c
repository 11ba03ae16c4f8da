#include "tests/rogue.h"
#include "tests/server_fixture.h"
#include "tests/testing.h"
#include "tests/worker_fixture.h"

/* A server that is busy and says for how long: that comes to the daemon, from every kind of job that asks one. */
static void busy(const struct bytes *body, struct bytes *http, void *arg)
{
    (void)body;
    rogue_http(http, "503 Service Unavailable", arg, &(struct bytes){0});
}

struct scene {
    struct server_fixture *server;
    struct worker_fixture *worker;
    struct rogue_server rogue;
    char *trust, *url; /* owned */
    struct worker_run run;
};

static void scene_clear(struct scene *s)
{
    free(s->trust);
    free(s->url);
    worker_run_clear(&s->run);
}

static void start(struct scene *s, char *headers)
{
    struct rogue_ca *root = rogue_ca_new("Busy Root", NULL);

    s->worker = worker_fixture_new();
    worker_fixture_password(s->worker, "corp", SERVER_FIXTURE_PASSWORD);
    s->rogue = (struct rogue_server){.ca = root, .answer = busy, .arg = headers};
    rogue_start(&s->rogue);
    s->trust = rogue_ca_pem(root, s->worker->dir, "busy.pem");
    s->url = rogue_url(&s->rogue, "CEP");
}

static void refresh(struct scene *s, const char *uri, const char *trust)
{
    struct job_refresh job = {0};

    worker_fixture_place(s->worker, &job.place);
    worker_fixture_server(&job.server, "corp", uri, POLICY_AUTH_USERNAME, SERVER_FIXTURE_USER, trust);
    worker_run_clear(&s->run);
    worker_fixture_run(s->worker, JOB_REFRESH, &job, WORKER_RUN_THROUGH, &s->run);
    job_refresh_clear(&job);
}

/* The one address that was tried asked for @seconds. */
static void assert_asked_for(const struct scene *s, uint32_t seconds)
{
    assert_false(s->run.done);
    assert_int_equal(err_kind(s->run.failure), ERR_NETWORK);
    assert_true(s->run.n_endpoints >= 1);
    assert_string_equal(s->run.endpoints[0].uri, s->url);
    assert_contains(s->run.endpoints[0].error, "HTTP 503");
    assert_int_equal(s->run.endpoints[0].retry_after, seconds);
}

TEST(policy_server_that_asks_for_time)
{
    CLEANUP(scene_clear) struct scene s = {0};
    char headers[] = "Retry-After: 1234\r\n";

    start(&s, headers);
    refresh(&s, s.url, s.trust);
    assert_asked_for(&s, 1234);
}

TEST(policy_server_that_asks_for_time_until_a_date)
{
    CLEANUP(scene_clear) struct scene s = {0};
    char headers[] = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 10:49:37 GMT\r\n";

    start(&s, headers);
    refresh(&s, s.url, s.trust);
    assert_asked_for(&s, 7200);
}

TEST(policy_server_that_asks_for_an_age)
{
    CLEANUP(scene_clear) struct scene s = {0};
    char headers[] = "Retry-After: 99999999999999999999\r\n";

    start(&s, headers);
    refresh(&s, s.url, s.trust);
    assert_asked_for(&s, UINT32_MAX);
}

TEST(policy_server_that_only_fails)
{
    CLEANUP(scene_clear) struct scene s = {0};
    char headers[] = "";

    start(&s, headers);
    refresh(&s, s.url, s.trust);
    assert_asked_for(&s, 0);
}

/* From here on it is asked what became of a request. */
static void make_pending(const struct scene *s, struct job_attempt *attempt)
{
    attempt->pending = true;
    attempt->ces_uri = mem_strdup(s->url);
    attempt->ces_auth = POLICY_AUTH_USERNAME;
    attempt->request_id = mem_strdup("7");
}

TEST(enrollment_server_that_asks_for_time)
{
    CLEANUP(scene_clear) struct scene s = {0};
    char headers[] = "Retry-After: 600\r\n";
    struct job_server corp = {0};
    struct job_enroll job = {0};
    enum job_kind kinds[] = {JOB_ENROLL, JOB_POLL};

    start(&s, headers);
    s.server = server_fixture_running(NULL);
    refresh(&s, s.server->cep_username, s.server->trust);
    assert_true(s.run.done);
    worker_fixture_server(&corp, "corp", s.server->cep_username, POLICY_AUTH_USERNAME, SERVER_FIXTURE_USER, s.trust);
    worker_fixture_enroll(s.worker, &s.run.refreshed.policy, "DeviceEC", &corp, &job);
    job.names.subject = mem_strdup("CN=web01.example");
    for (size_t i = 0; i < job.cas[0].n_uris; i++) {
        free(job.cas[0].uris[i].uri);
        job.cas[0].uris[i].uri = mem_strdup(s.url);
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        worker_run_clear(&s.run);
        worker_fixture_run(s.worker, kinds[i], &job, WORKER_RUN_THROUGH, &s.run);
        assert_asked_for(&s, 600);
        if (kinds[i] == JOB_ENROLL)
            make_pending(&s, &job.attempt);
    }
    job_enroll_clear(&job);
    job_server_clear(&corp);
}
