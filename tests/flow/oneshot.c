#include <fcntl.h>
#include <jansson.h>
#include <sys/file.h>
#include <unistd.h>

#include "protocol/base/when.h"
#include "tests/agent_fixture.h"
#include "tests/testing.h"

/* A server and an agent that knows it. */
struct scene {
    struct server_fixture *server;
    struct agent_fixture *agent;
    struct record_list records;
};

static struct scene scene_new(void)
{
    struct server_fixture *server = server_fixture_running(NULL);

    return (struct scene){.server = server, .agent = agent_fixture_new(server)};
}

static void scene_clear(struct scene *s)
{
    record_list_clear(&s->records);
    agent_fixture_free(s->agent);
}

static const struct record *record_of(struct scene *s, const char *id)
{
    return agent_fixture_record(s->agent, id, &s->records);
}

static int64_t count(struct scene *s, const char *table)
{
    CLEANUP(mem_freep) char *sql = mem_printf("SELECT count(*) FROM %s", table);

    return server_fixture_number(s->server, sql);
}

/* Makes the certificate of @id look as if it began @days ago. */
static void age(struct scene *s, const char *id, int days)
{
    struct record *record;

    (void)record_of(s, id);
    record = record_find(&s->records, id);
    record->current.facts.not_before -= days * WHEN_DAY;
    record->current.facts.not_after -= days * WHEN_DAY;
    agent_fixture_save(s->agent, record);
}

static const char *said(struct scene *s)
{
    return bytes_text(&s->agent->out);
}

/* How many lines of the server's log hold @what. */
static size_t logged(struct scene *s, const char *what)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    (void)testing_shell(&out, "grep -c '%s' '%s.log'", what, s->server->dir);
    return (size_t)atoi(bytes_text(&out));
}

TEST(oneshot_enrolls_what_the_policy_grants_and_what_sections_name)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    agent_fixture_fragment(s.agent, "auto", "[policy-server \"corp\"]\nautoenroll = yes\n");
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    agent_fixture_assert_published(s.agent, "web");
    assert_int_equal(record_of(&s, "web")->state, RECORD_INSTALLED);
    assert_string_equal(record_of(&s, "web")->current.facts.subject, "CN=web.example");
    assert_int_equal(s.records.n, 2); /* the other is Machine, under a name of ours */
    for (size_t i = 0; i < s.records.n; i++)
        agent_fixture_assert_published(s.agent, s.records.items[i]->id);
    assert_int_equal(count(&s, "certificates"), 2);
    assert_int_equal(agent_fixture_count_keys(s.agent), 2);
    assert_contains(said(&s), "web: making a key (P-256) in the token");
    assert_contains(said(&s), "CN=web.example");
    assert_contains(said(&s), "Workstation: skipped: it wants the subject in the request");
    assert_contains(said(&s), "NoAuto: skipped: the policy gives no Autoenroll permission");
}

TEST(oneshot_does_nothing_the_second_time)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    size_t asked;

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    agent_fixture_expect(s.agent, "", 0); /* asks the policy server that wanted a certificate */
    asked = logged(&s, "answered");
    agent_fixture_password(s.agent, NULL);
    agent_fixture_expect(s.agent, "", 0);
    assert_int_equal(logged(&s, "answered"), asked);
    assert_int_equal(count(&s, "requests"), 1);
    assert_int_equal(agent_fixture_count_keys(s.agent), 1);
    assert_contains(said(&s), "valid for");
}

/* Everything of the record's current pair that must change or stay with a renewal. */
TEST(oneshot_renews_inside_the_window_by_the_old_key_with_the_password_gone)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    CLEANUP(mem_freep) char *serial = NULL, *uri = NULL;
    CLEANUP(key_listings_clear) struct key_listings keys = {0};
    const struct record *record;
    size_t current = 0;

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    serial = mem_strdup(record_of(&s, "web")->current.facts.serial);
    uri = mem_strdup(s.records.items[0]->current.facts.key_uri);
    agent_fixture_password(s.agent, NULL);
    age(&s, "web", 364);
    agent_fixture_expect(s.agent, "", 0);

    record = record_of(&s, "web");
    assert_int_equal(record->state, RECORD_INSTALLED);
    assert_string_not_equal(record->current.facts.serial, serial);
    assert_string_not_equal(record->current.facts.key_uri, uri);
    assert_int_equal(record->current.generation, 2);
    assert_int_equal(record->n_previous, 1);
    assert_string_equal(record->previous[0].facts.serial, serial);
    agent_fixture_assert_published(s.agent, "web");
    assert_true(logged(&s, "ces \"renewal\"") == 1);
    assert_int_equal(
        server_fixture_number(s.server, "SELECT count(*) FROM requests WHERE old_certificate NOT NULL"), 1);

    agent_fixture_keys(s.agent, &keys); /* the old pair stays for its grace, under another label */
    assert_int_equal(keys.n, 2);
    for (size_t i = 0; i < keys.n; i++) {
        if (strcmp(keys.items[i].label, "web") != 0)
            continue;
        current++;
        assert_true(bytes_equal(&keys.items[i].id, &record->current.pair.key_id));
    }
    assert_int_equal(current, 1);
}

TEST(oneshot_renews_when_a_person_asks)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    CLEANUP(bytes_clear) struct bytes key = {0};

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    agent_fixture_password(s.agent, NULL);
    agent_fixture_expect(s.agent, "--renew web", 0);
    assert_int_equal(record_of(&s, "web")->current.generation, 2);
    bytes_copy(&key, &s.records.items[0]->current.pair.key_id);
    agent_fixture_expect(s.agent, "--renew all --same-key", 0);
    assert_int_equal(record_of(&s, "web")->current.generation, 3);
    assert_true(bytes_equal(&key, &s.records.items[0]->current.pair.key_id));
    agent_fixture_assert_published(s.agent, "web");
    assert_int_equal(count(&s, "certificates"), 3);
}

TEST(oneshot_retires_the_old_pair_when_its_grace_is_over)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    CLEANUP(mem_freep) char *old = NULL;
    struct record *record;

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    agent_fixture_expect(s.agent, "--renew web", 0);
    old = mem_printf("%s/public/certs/web/1", s.agent->state);
    assert_int_equal(access(old, F_OK), 0);
    assert_int_equal(agent_fixture_count_keys(s.agent), 2);

    (void)record_of(&s, "web");
    record = record_find(&s.records, "web");
    assert_true(record->previous[0].retire_after > when_now() + 6 * WHEN_DAY);
    record->previous[0].retire_after = when_now() - 1;
    agent_fixture_save(s.agent, record);
    agent_fixture_expect(s.agent, "", 0);
    assert_int_equal(record_of(&s, "web")->n_previous, 0);
    assert_int_equal(agent_fixture_count_keys(s.agent), 1);
    assert_int_equal(access(old, F_OK), -1);
    agent_fixture_assert_published(s.agent, "web");
}

TEST(oneshot_retires_nothing_while_the_clock_is_behind)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    struct record *record;

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    agent_fixture_expect(s.agent, "--renew web", 0);
    (void)record_of(&s, "web");
    record = record_find(&s.records, "web");
    record->previous[0].retire_after = when_now() - 1;
    agent_fixture_save(s.agent, record);
    /* the agent saw a later time before: its clock was set back since */
    assert_int_equal(
        testing_shell(NULL, "sed -i 's/\"last_seen\": [0-9]*/\"last_seen\": %lld/' '%s/private/instance.json'",
            (long long)when_now() + WHEN_DAY, s.agent->state),
        0);
    agent_fixture_expect(s.agent, "", 0);
    assert_int_equal(record_of(&s, "web")->n_previous, 1);
    assert_int_equal(agent_fixture_count_keys(s.agent), 2);
}

TEST(oneshot_polls_what_is_pending_until_it_is_issued)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    CLEANUP(mem_freep) char *id = NULL;

    agent_fixture_section(s.agent, "slow", "Approved", "");
    agent_fixture_expect(s.agent, "", 0); /* pending is no failure */
    assert_int_equal(record_of(&s, "slow")->state, RECORD_PENDING);
    id = mem_strdup(s.records.items[0]->attempt.request_id);
    assert_contains(said(&s), "pending");
    agent_fixture_expect(s.agent, "", 0);
    assert_int_equal(record_of(&s, "slow")->state, RECORD_PENDING);
    assert_int_equal(count(&s, "requests"), 1); /* no second request */

    assert_int_equal(server_fixture_run(s.server, NULL, "approve", "%s", id), 0);
    agent_fixture_expect(s.agent, "", 0);
    assert_int_equal(record_of(&s, "slow")->state, RECORD_INSTALLED);
    agent_fixture_assert_published(s.agent, "slow");
    assert_int_equal(count(&s, "requests"), 1);
    assert_int_equal(agent_fixture_count_keys(s.agent), 1);
}

TEST(oneshot_tells_that_a_pending_request_was_denied_and_destroys_its_key)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    agent_fixture_section(s.agent, "slow", "Approved", "");
    agent_fixture_expect(s.agent, "", 0);
    assert_int_equal(server_fixture_run(s.server, NULL, "deny", "%s", record_of(&s, "slow")->attempt.request_id), 0);
    agent_fixture_expect(s.agent, "", 77);
    assert_int_equal(record_of(&s, "slow")->state, RECORD_BLOCKED);
    assert_int_equal(s.records.items[0]->error_kind, ERR_DENIED);
    assert_non_null(s.records.items[0]->hint);
    assert_contains(said(&s), "hint: ");
    assert_int_equal(agent_fixture_count_keys(s.agent), 0);
}

TEST(oneshot_stops_after_one_try_with_a_wrong_password)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_password(s.agent, "not the password");
    agent_fixture_expect(s.agent, "", 77);
    assert_contains(said(&s), "hint: ");
    assert_null(strstr(said(&s), "not the password"));
    assert_int_equal(logged(&s, "username"), 1); /* shown once, at the policy server */
    assert_int_equal(count(&s, "requests"), 0);
}

TEST(oneshot_says_where_a_missing_password_belongs)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_password(s.agent, NULL);
    agent_fixture_expect(s.agent, "", 77);
    assert_contains(said(&s), "corp.password");
}

TEST(oneshot_loses_nothing_while_the_server_is_down)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    CLEANUP(mem_freep) char *serial = NULL;
    const struct record *record;

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    agent_fixture_expect(s.agent, "", 0);
    serial = mem_strdup(record_of(&s, "web")->current.facts.serial);
    server_fixture_stop(s.server);
    age(&s, "web", 364);
    agent_fixture_expect(s.agent, "", 69); /* decided with the policy that is known, but not carried out */
    record = record_of(&s, "web");
    assert_string_equal(record->current.facts.serial, serial);
    assert_int_equal(record->error_kind, ERR_NETWORK);
    assert_contains(said(&s), "hint: ");
    agent_fixture_assert_published(s.agent, "web");

    server_fixture_start(s.server);
    agent_fixture_expect(s.agent, "", 0); /* goes on with the same key and the same request */
    record = record_of(&s, "web");
    assert_string_not_equal(record->current.facts.serial, serial);
    assert_null(record->error);
    assert_int_equal(count(&s, "certificates"), 2);
    assert_int_equal(agent_fixture_count_keys(s.agent), 2);
}

TEST(oneshot_ends_with_75_while_another_one_works)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    CLEANUP(mem_freep) char *lock = mem_printf("%s/private/lock", s.agent->state);
    int fd;

    agent_fixture_expect(s.agent, "", 0);
    fd = open(lock, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 75);
    assert_contains(said(&s), "another autoenrolld works");
    assert_int_equal(count(&s, "requests"), 0);
    close(fd);
    agent_fixture_expect(s.agent, "", 0);
}

TEST(oneshot_sets_a_damaged_record_aside_and_serves_the_others)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    CLEANUP(mem_freep) char *path = NULL, *aside = NULL;

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_section(s.agent, "mail", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    path = mem_printf("%s/private/enrollments/web/record.json", s.agent->state);
    aside = mem_printf("%s.damaged", path);
    testing_write(path, "{\"version\":1,\"id\":", 18);
    (void)agent_fixture_run(s.agent, "");
    assert_contains(said(&s), "damaged and was set aside");
    assert_int_equal(access(aside, F_OK), 0);
    assert_int_equal(record_of(&s, "mail")->current.generation, 1);
    assert_int_equal(record_of(&s, "web")->state, RECORD_INSTALLED); /* anew */
    agent_fixture_assert_published(s.agent, "web");
    assert_int_equal(count(&s, "certificates"), 3);
}

TEST(oneshot_sends_no_more_than_three_requests_a_day)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    agent_fixture_expect(s.agent, "", 0); /* the policy is known, and grants it */
    server_fixture_stop(s.server);
    server_fixture_set(s.server, "template \"DeviceEC\"", "Enroll", "nobody");
    server_fixture_start(s.server);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    for (int i = 0; i < 3; i++)
        agent_fixture_expect(s.agent, "", 77);
    assert_contains(said(&s), "hint: ");
    assert_int_equal(logged(&s, "ces \"username\""), 3);
    (void)agent_fixture_run(s.agent, "");
    assert_contains(said(&s), "3 requests for it went out today");
    assert_int_equal(logged(&s, "ces \"username\""), 3);
    assert_int_equal(agent_fixture_count_keys(s.agent), 0);
}

/* Each request makes a certificate at the CA, and no answer comes: the same request may go out three times a day. */
TEST(oneshot_sends_no_more_than_three_requests_a_day_where_answers_are_lost)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    server_fixture_stop(s.server);
    server_fixture_set(s.server, "misbehave", "lose-after-issue", "yes");
    server_fixture_start(s.server);
    for (int i = 0; i < 3; i++)
        agent_fixture_expect(s.agent, "", 69);
    assert_int_not_equal(agent_fixture_run(s.agent, ""), 0);
    assert_int_equal(count(&s, "certificates"), 3);
    assert_int_equal(agent_fixture_count_keys(s.agent), 1);

    server_fixture_stop(s.server);
    server_fixture_set(s.server, "misbehave", "lose-after-issue", "no");
    server_fixture_start(s.server);
    agent_fixture_expect(s.agent, "--renew web", 0); /* a person asks */
    agent_fixture_assert_published(s.agent, "web");
    assert_int_equal(agent_fixture_count_keys(s.agent), 1);
}

TEST(oneshot_says_why_a_section_cannot_be_served)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    agent_fixture_section(s.agent, "web", "Nonesuch", "");
    agent_fixture_expect(s.agent, "", 78);
    assert_contains(said(&s), "the policy has no template 'Nonesuch'");
    assert_int_equal(count(&s, "requests"), 0);
}

TEST(oneshot_prints_json_for_programs)
{
    CLEANUP(scene_clear) struct scene s = scene_new();
    json_t *json, *first;

    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "--json", 0);
    json = json_loadb(bytes_text(&s.agent->out), s.agent->out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    first = json_array_get(json_object_get(json, "enrollments"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "web");
    assert_string_equal(json_string_value(json_object_get(first, "state")), "installed");
    assert_string_equal(json_string_value(json_object_get(first, "subject")), "CN=web.example");
    json_decref(json);
}

/* --- users --- */

static void assert_owner(struct scene *s, const char *path, const char *user, int mode)
{
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(mem_freep) char *expected = mem_printf("%s %o\n", user, mode);

    assert_int_equal(testing_shell(&out, "stat -c '%%U %%a' '%s/%s'", s->agent->state, path), 0);
    assert_string_equal(bytes_text(&out), expected);
}

PRIVILEGED_TEST(oneshot_as_root_becomes_its_users)
{
    CLEANUP(scene_clear) struct scene s = scene_new();

    if (geteuid() != 0)
        skip();
    free(s.agent->run_as);
    free(s.agent->worker_as);
    s.agent->run_as = mem_strdup("daemon");
    s.agent->worker_as = mem_strdup("nobody");
    /* every user may come to the files of this test, which only root could so far */
    assert_int_equal(testing_shell(NULL,
                         "chmod 0711 '%s' '%s' \"$(dirname '%s')\"; chmod 0755 '%s/conf.d'; "
                         "chmod 0644 '%s' '%s'; chown -R nobody '%s'",
                         s.agent->dir, s.server->dir, s.server->dir, s.agent->dir, s.agent->config, s.server->trust,
                         s.agent->credentials),
        0);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_expect(s.agent, "", 0);
    assert_owner(&s, "private", "daemon", 0700);
    assert_owner(&s, "private/enrollments/web/record.json", "daemon", 0600);
    assert_owner(&s, "token", "nobody", 0700);
    assert_owner(&s, "token/pin", "nobody", 0600);
    assert_owner(&s, "public", "daemon", 0755);
    assert_owner(&s, "public/certs/web/1/cert.pem", "daemon", 0644);
    agent_fixture_assert_published(s.agent, "web");
    assert_int_equal(agent_fixture_count_keys(s.agent), 1);
}
