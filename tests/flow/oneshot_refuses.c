#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/oneshot_fixture.h"

static size_t logged(struct oneshot *s, const char *what)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    (void)testing_shell(&out, "grep -c '%s' '%s.log'", what, s->server->dir);
    return (size_t)atoi(bytes_text(&out));
}

/* A password that the CES refuses is shown to it once a run, also when an earlier attempt is gone on with. */
TEST(password_that_is_refused_is_shown_once_a_run)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    oneshot_run(&s, "", 0); /* the policy is known by now */
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    agent_fixture_password(s.agent, "not the password");
    for (size_t i = 1; i <= 2; i++) {
        oneshot_run(&s, "", 77);
        assert_contains(oneshot_said(&s), "hint: ");
        assert_null(strstr(oneshot_said(&s), "not the password"));
        assert_int_equal(logged(&s, "ces \"username\""), i);
    }
    assert_int_equal(oneshot_count(&s, "requests"), 0);
    agent_fixture_password(s.agent, SERVER_FIXTURE_PASSWORD);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    oneshot_assert_no_orphans(&s, 1);
}

TEST(template_that_wants_names_is_skipped_and_named_where_no_section_gives_them)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    agent_fixture_fragment(s.agent, "auto", "[policy-server \"corp\"]\nautoenroll = yes\ntemplates = DeviceEC\n");
    oneshot_json(&s, "", 0);
    assert_string_equal(oneshot_decision(&s, "DeviceEC", "action"), "skip");
    assert_contains(oneshot_decision(&s, "DeviceEC", "reason"), "write a [certificate] section");
    assert_int_equal(oneshot_count(&s, "requests"), 0);
}

TEST(empty_policy_is_told_and_nothing_is_given_up)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    oneshot_misbehave(&s, "policy", "empty");
    assert_int_equal(testing_shell(NULL, "rm '%s'/private/policies/*.json", s.agent->state), 0);
    (void)agent_fixture_run(s.agent, "");
    assert_contains(oneshot_said(&s), "may lack Read or Enroll");
    oneshot_assert_installed(&s, "web");
    oneshot_assert_no_orphans(&s, 1);
    assert_int_equal(oneshot_count(&s, "requests"), 1);
}

TEST(enrollment_server_on_a_host_that_is_not_allowed_is_not_asked)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};

    server_fixture_set(s.server, "misbehave", "policy", "foreign-ces");
    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_json(&s, "", 78);
    assert_string_equal(oneshot_field(&s, "web", "error-kind"), "Policy");
    assert_contains(oneshot_field(&s, "web", "error"), "ces.attacker.example");
    assert_contains(oneshot_field(&s, "web", "hint"), "ces-hosts = ");
    assert_int_equal(oneshot_count(&s, "requests"), 0);
    oneshot_misbehave(&s, "policy", NULL); /* the server says what is right: goes on with the policy as it is now */
    assert_int_equal(testing_shell(NULL, "rm '%s'/private/policies/*.json", s.agent->state), 0);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
}

/* Every path below @dir, one a line. */
static void list_paths(const char *dir, struct bytes *out)
{
    assert_int_equal(testing_shell(out, "cd '%s' && find . -mindepth 1 | LC_ALL=C sort", dir), 0);
}

/*
 * The server's names are those of MISBEHAVE_POLICY_EVIL_NAMES. Only Machine takes its subject from the account; it is
 * made one whose certificates name their template by its OID.
 */
static void start_evil(struct oneshot *s)
{
    s->server = server_fixture_new(NULL);
    server_fixture_set(s->server, "misbehave", "policy", "evil-names");
    server_fixture_set(s->server, "template \"Machine\"", "SchemaVersion", "2");
    oneshot_start(s);
    agent_fixture_fragment(s->agent, "auto", "[policy-server \"corp\"]\nautoenroll = yes\n");
}

TEST(template_called_dot_dot_slash_becomes_no_path)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(bytes_clear) struct bytes paths = {0};
    CLEANUP(mem_freep) char *id = NULL;

    start_evil(&s);
    oneshot_json(&s, "", 0);
    list_paths(s.agent->dir, &paths);
    assert_null(strstr(bytes_text(&paths), "/x\n"));
    assert_null(strstr(bytes_text(&paths), "[31m"));
    assert_null(strstr(bytes_text(&paths), "reboot"));
    assert_int_equal(json_array_size(json_object_get(s.status, "enrollments")), 1);
    id = mem_strdup(
        json_string_value(json_object_get(json_array_get(json_object_get(s.status, "enrollments"), 0), "name")));
    assert_string_equal(oneshot_record(&s, id)->template_name, "../../x");
    assert_int_equal(strlen(id), strlen("corp-") + 8);
    assert_int_equal(strspn(id + strlen("corp-"), "0123456789abcdef"), 8);
    oneshot_assert_installed(&s, id);
}

TEST(names_with_escapes_are_printed_as_harmless_text)
{
    static const char *const escapes[] = {"\x1b", "\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\xa8"};
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start_evil(&s);
    for (int json = 0; json < 2; json++) {
        json ? oneshot_json(&s, "", 0) : oneshot_run(&s, "", 0);
        for (size_t i = 0; i < ARRAY_SIZE(escapes); i++)
            assert_null(strstr(oneshot_said(&s), escapes[i]));
        assert_contains(oneshot_said(&s), "[31mred");
    }
}

/* One is wrong about its CA; the other has nothing to do with it. */
TEST(failure_of_one_policy_server_does_not_hold_up_another)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *text = NULL;

    oneshot_start(&s);
    text = mem_printf("[policy-server \"broken\"]\nuri = https://localhost:1/CEP\nauth = username\nusername = bob\n"
                      "ca-file = %s\n",
        s.server->trust);
    agent_fixture_fragment(s.agent, "00-broken", text);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    assert_int_not_equal(agent_fixture_run(s.agent, ""), 0);
    assert_contains(oneshot_said(&s), "policy server 'broken'");
    oneshot_assert_installed(&s, "web");
}

/* What was issued and must not be installed changes nothing, and is not asked for again and again. */
TEST(certificate_that_must_not_be_installed_leaves_the_old_one_in_place)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *serial = NULL;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    serial = mem_strdup(oneshot_record(&s, "web")->current.facts.serial);
    oneshot_misbehave(&s, "issue", "other-key");
    oneshot_run(&s, "--renew web", 76);
    for (int i = 0; i < 4; i++)
        assert_int_not_equal(agent_fixture_run(s.agent, ""), 0);
    assert_string_equal(oneshot_record(&s, "web")->current.facts.serial, serial);
    assert_true(oneshot_count(&s, "requests") <= 1 + 3 + 1);
    oneshot_misbehave(&s, "issue", NULL);
    oneshot_run(&s, "--renew web", 0);
    oneshot_assert_installed(&s, "web");
    assert_string_not_equal(oneshot_record(&s, "web")->current.facts.serial, serial);
}

/* Whoever waits for the key's token waits; a person who asks says that it is gone for good. */
TEST(request_whose_key_is_lost_is_made_anew_when_a_person_asks)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};

    server_fixture_set(s.server, "misbehave", "issue", "other-key");
    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 76);
    oneshot_misbehave(&s, "issue", NULL);
    assert_int_equal(testing_shell(NULL, "rm -rf '%s'/token/*", s.agent->state), 0);
    oneshot_run(&s, "", 66);
    assert_contains(oneshot_said(&s), "--oneshot --renew NAME");
    assert_int_equal(oneshot_count(&s, "requests"), 1);
    oneshot_run(&s, "--renew web", 0);
    oneshot_assert_installed(&s, "web");
    oneshot_assert_no_orphans(&s, 1);
}
