#include "tests/oneshot_fixture.h"

/* DeviceEC waits for a person, at the first request and at each renewal. */
static void start_pending(struct oneshot *s)
{
    s->server = server_fixture_new(NULL);
    oneshot_template(s, "EnrollmentFlags", "0x10022");
    oneshot_start(s);
    agent_fixture_section(s->agent, "web", "DeviceEC", "");
}

static void resolve(struct oneshot *s, const char *verb)
{
    CLEANUP(mem_freep) char *id = mem_strdup(oneshot_record(s, "web")->attempt.request_id);

    assert_int_equal(server_fixture_run(s->server, NULL, verb, "%s", id), 0);
}

TEST(pending_request_with_a_number_beyond_32_bits_is_polled_and_installed)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start_pending(&s);
    (void)server_fixture_number(
        s.server, "INSERT INTO sqlite_sequence(name, seq) VALUES('requests', 9007199254740992) RETURNING seq");
    oneshot_json(&s, "", 0);
    assert_string_equal(oneshot_field(&s, "web", "state"), "pending");
    assert_string_equal(oneshot_field(&s, "web", "request-id"), "9007199254740993");
    assert_string_equal(oneshot_record(&s, "web")->attempt.request_id, "9007199254740993");
    resolve(&s, "approve");
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_int_equal(oneshot_count(&s, "requests"), 1);
    oneshot_assert_no_orphans(&s, 1);
}

TEST(pending_request_that_is_denied_says_so_and_leaves_no_key)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start_pending(&s);
    oneshot_run(&s, "", 0);
    oneshot_assert_no_orphans(&s, 1);
    resolve(&s, "deny");
    oneshot_json(&s, "", 77);
    assert_string_equal(oneshot_field(&s, "web", "state"), "blocked");
    assert_string_equal(oneshot_field(&s, "web", "error-kind"), "Denied");
    assert_contains(oneshot_field(&s, "web", "error"), "denied");
    assert_non_null(oneshot_field(&s, "web", "hint"));
    oneshot_assert_no_orphans(&s, 0);
    assert_int_equal(oneshot_count(&s, "certificates"), 0);
}

TEST(pending_renewal_is_polled_with_the_old_certificate_and_no_password)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start_pending(&s);
    oneshot_run(&s, "", 0);
    resolve(&s, "approve");
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    agent_fixture_password(s.agent, NULL);
    oneshot_run(&s, "--renew web", 0);
    assert_int_equal(oneshot_record(&s, "web")->state, RECORD_PENDING);
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 1); /* which stays in use */
    resolve(&s, "approve");
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 2);
}

/* Asking is not what is pending: it may fail, and goes on later. */
TEST(pending_request_stays_pending_while_the_server_is_down)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start_pending(&s);
    oneshot_run(&s, "", 0);
    resolve(&s, "approve");
    server_fixture_stop(s.server);
    oneshot_json(&s, "", 69);
    assert_string_equal(oneshot_field(&s, "web", "state"), "pending");
    assert_non_null(oneshot_field(&s, "web", "hint"));
    server_fixture_start(s.server);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_int_equal(oneshot_count(&s, "requests"), 1);
}

/* A section names another template, and the CA says no: what is held is still of the old one, and no renewal of it. */
TEST(template_that_was_denied_is_asked_for_again_and_not_taken_for_held)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    agent_fixture_section(s.agent, "web", "Approved", "");
    oneshot_run(&s, "", 0);
    resolve(&s, "deny");
    oneshot_run(&s, "", 77);
    oneshot_json(&s, "", 0);
    assert_string_equal(oneshot_decision(&s, "web", "action"), "enroll");
    assert_int_equal(oneshot_count(&s, "requests WHERE old_certificate NOT NULL"), 0);
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 1); /* which stays in use */
}
