#include "agent/daemon/metrics.h"

#include <sys/stat.h>

#include "tests/testing.h"

#define NOW 1900000000

/* An agent with an enrollment that failed, one that has nothing yet, and a policy server. */
static void fill(struct agent *agent)
{
    struct record *web = record_add(&agent->records, "web");
    struct record *other = record_add(&agent->records, "corp-0123");
    struct server_state *server = mem_alloc(sizeof(*server));

    agent->now = NOW;
    web->state = RECORD_BLOCKED;
    bytes_set(&web->current.pair.certificate, "x", 1);
    web->current.facts.subject = mem_strdup("CN=we\\22b\\,\"\n");
    web->current.facts.not_before = NOW - 1000;
    web->current.facts.not_after = NOW + 5000;
    web->renew_at = NOW + 4000;
    web->error = mem_strdup("no connection");
    web->error_kind = ERR_NETWORK;
    web->failures = 3;
    web->attempts = 7;
    web->last_success = NOW - 1000;
    web->verified_at = NOW - 10;
    web->verify_problem = mem_strdup("the key is not in the token any more");
    web->hook.thumbprint = mem_strdup("00");
    web->hook.when = NOW - 900;
    other->state = RECORD_PENDING;
    other->pending_since = NOW - 60;
    server->name = mem_strdup("corp");
    server->fetched_at = NOW - 7200;
    server->error = mem_strdup("no connection");
    server->failures = 2;
    *MEM_APPEND(agent->servers.items, agent->servers.n) = server;
}

static void clear(struct agent *agent)
{
    record_list_clear(&agent->records);
    server_list_clear(&agent->servers);
    free(agent->paths.metrics);
    settings_clear(&agent->settings);
}

static void render(const struct agent *agent, struct bytes *out)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(metrics_write(agent, "c0ffee", out, &err) == 0, err);
}

TEST(metrics_of_a_failure_are_its_numbers_and_all_that_were_there_before)
{
    static const char *const lines[] = {
        "autoenroll_certificate_not_after_timestamp_seconds{name=\"web\"} 1900005000\n",
        "autoenroll_certificate_renewal_timestamp_seconds{name=\"web\"} 1900004000\n",
        "autoenroll_enrollment_state{name=\"web\",state=\"blocked\"} 1\n",
        "autoenroll_enrollment_state{name=\"web\",state=\"installed\"} 0\n",
        "autoenroll_enrollment_error{name=\"web\",kind=\"Network\"} 1\n",
        "autoenroll_enrollment_error{name=\"corp-0123\",kind=\"none\"} 0\n",
        "autoenroll_enrollment_failures{name=\"web\"} 3\n",
        "autoenroll_enrollment_attempts_total{name=\"web\"} 7\n",
        "autoenroll_enrollment_last_success_timestamp_seconds{name=\"web\"} 1899999000\n",
        "autoenroll_enrollment_healthy{name=\"web\"} 0\n",
        "autoenroll_enrollment_pending_since_timestamp_seconds{name=\"corp-0123\"} 1899999940\n",
        "autoenroll_hook_success{name=\"web\"} 0\n",
        "autoenroll_policy_fetched_timestamp_seconds{server=\"corp\"} 1899992800\n",
        "autoenroll_policy_server_up{server=\"corp\"} 0\n",
        "autoenroll_token_reachable NaN\n",
        "autoenroll_state{state=\"degraded\"} 1\n",
        "autoenroll_config_info{sha256=\"c0ffee\"} 1\n",
        "autoenroll_metrics_written_timestamp_seconds 1900000000\n",
    };
    struct agent agent = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    fill(&agent);
    render(&agent, &text);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_contains(bytes_text(&text), lines[i]);
    /* what is not known is left out, rather than being the year 1970 */
    assert_null(strstr(bytes_text(&text), "not_after_timestamp_seconds{name=\"corp-0123\"}"));
    assert_null(strstr(bytes_text(&text), "issuer_not_after_timestamp_seconds{"));
    assert_null(strstr(bytes_text(&text), "probe_success{"));
    clear(&agent);
}

TEST(metrics_escape_what_stands_in_labels)
{
    struct agent agent = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    fill(&agent);
    render(&agent, &text);
    assert_contains(bytes_text(&text), "subject=\"CN=we\\\\22b\\\\,\\\"\\n\"");
    clear(&agent);
}

TEST(metrics_are_text_that_promtool_takes)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/metrics", dir);
    CLEANUP(err_freep) struct err *err = NULL;
    struct agent agent = {0};
    struct stat st;

    fill(&agent);
    agent.paths.metrics = mem_strdup(path);
    assert_ok(metrics_publish(&agent, "c0ffee", &err) == 0, err);
    assert_int_equal(testing_shell(NULL, "promtool check metrics <'%s/autoenroll.prom' >&2", path), 0);
    free(path);
    path = mem_printf("%s/metrics/autoenroll.prom", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    clear(&agent);
}

TEST(metrics_have_another_hash_when_a_word_of_the_configuration_is_another)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/a.conf", dir);
    CLEANUP(mem_freep) char *first = NULL;
    CLEANUP(mem_freep) char *same = NULL;
    CLEANUP(mem_freep) char *other = NULL;
    struct settings settings = {0};

    strlist_add(&settings.files, path);
    testing_write(path, "pulse = 8h\n", 11);
    first = metrics_config_hash(&settings);
    same = metrics_config_hash(&settings);
    testing_write(path, "pulse = 9h\n", 11);
    other = metrics_config_hash(&settings);
    assert_int_equal(strlen(first), 64);
    assert_string_equal(first, same);
    assert_string_not_equal(first, other);
    settings_clear(&settings);
}
