#include <sys/stat.h>
#include <unistd.h>

#include "tests/oneshot_fixture.h"

static void assert_mode(struct oneshot *s, const char *path, mode_t mode)
{
    CLEANUP(mem_freep) char *whole = mem_printf("%s/%s", s->agent->state, path);
    struct stat st;

    if (lstat(whole, &st) < 0)
        fail_msg("%s is missing", whole);
    if ((st.st_mode & 07777) != mode)
        fail_msg("%s has mode %o", whole, st.st_mode & 07777);
}

TEST(published_files_are_for_everybody_and_the_rest_for_nobody)
{
    static const char *const open_files[] = {"cert.pem", "chain.pem", "fullchain.pem", "key.uri"};
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *link = NULL;
    char target[16] = "";

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    for (size_t i = 0; i < ARRAY_SIZE(open_files); i++) {
        CLEANUP(mem_freep) char *path = mem_printf("public/certs/web/1/%s", open_files[i]);

        assert_mode(&s, path, 0644);
    }
    assert_mode(&s, "", 0711);
    assert_mode(&s, "public/certs/web/1", 0755);
    assert_mode(&s, "private", 0700);
    assert_mode(&s, "private/enrollments/web", 0700);
    assert_mode(&s, "private/enrollments/web/record.json", 0600);
    assert_mode(&s, "private/policies/corp.json", 0600);
    assert_mode(&s, "token", 0700);
    assert_mode(&s, "token/pin", 0600);
    link = mem_printf("%s/public/certs/web/current", s.agent->state);
    assert_int_equal(readlink(link, target, sizeof(target) - 1), 1); /* relative: the directory may be moved */
    assert_string_equal(target, "1");
}

/* What another program sees of the token, and that key.uri is what opens the key. */
TEST(key_is_found_by_its_published_uri_and_cannot_be_taken_out)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *uri_file = NULL;
    CLEANUP(bytes_clear) struct bytes uri = {0};
    CLEANUP(bytes_clear) struct bytes seen = {0};
    CLEANUP(mem_freep) char *id = NULL;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_json(&s, "", 0);
    uri_file = agent_fixture_file(s.agent, "web", "key.uri");
    testing_read(uri_file, &uri);
    assert_string_equal(oneshot_field(&s, "web", "state"), "installed");
    assert_string_equal(oneshot_field(&s, "web", "key-kind"), "EC P-256");
    assert_memory_equal(oneshot_field(&s, "web", "key"), uri.data, uri.len - 1); /* and a newline */
    assert_null(strstr(bytes_text(&uri), "pin"));
    id = bytes_to_hex(oneshot_record(&s, "web")->current.pair.key_id.data, 20);
    if (testing_shell(NULL, "command -v pkcs11-tool >/dev/null") != 0)
        skip();
    assert_int_equal(
        testing_shell(&seen,
            "SOFTHSM2_CONF='%s/token/softhsm2.conf' pkcs11-tool --module "
            "$(ls /usr/lib/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so 2>/dev/null | head -n 1) "
            "--login --pin \"$(cat '%s/token/pin')\" --list-objects 2>/dev/null",
            s.agent->state, s.agent->state),
        0);
    assert_contains(bytes_text(&seen), id);
    assert_contains(bytes_text(&seen), "label:      web\n");
    assert_contains(bytes_text(&seen), "sensitive, always sensitive, never extractable, local");
    assert_contains(bytes_text(&seen), "Certificate Object; type = X.509 cert");
}

/* Moves the end of every cached policy into the past. */
static void let_policies_age(struct oneshot *s)
{
    assert_int_equal(testing_shell(NULL,
                         "sed -i -E 's/\"next_update\": ?[0-9]+/\"next_update\":1/' '%s'/private/policies/*.json "
                         "'%s'/private/servers/*.json",
                         s->agent->state, s->agent->state),
        0);
}

TEST(policy_is_asked_for_again_when_its_time_is_up_and_not_before)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    size_t asked;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    oneshot_run(&s, "", 0); /* now there is a certificate for the policy server that wants one */
    asked = oneshot_answered(&s);
    oneshot_run(&s, "", 0);
    assert_int_equal(oneshot_answered(&s), asked);
    let_policies_age(&s);
    oneshot_run(&s, "", 0);
    assert_int_equal(oneshot_answered(&s), asked + 2);
    agent_fixture_section(
        s.agent, "mail", "DeviceEC", ""); /* that nothing has changed does not mean nothing is there */
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "mail");
    assert_int_equal(oneshot_answered(&s), asked + 3);
}

TEST(template_that_was_added_to_the_policy_is_found_when_the_policy_is_asked_for_again)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};

    oneshot_template(&s, "Enroll", "nobody");
    oneshot_template(&s, "Read", "nobody");
    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 78);
    assert_contains(oneshot_said(&s), "the policy has no template 'DeviceEC'");
    server_fixture_stop(s.server);
    oneshot_template(&s, "Read", "everyone");
    oneshot_template(&s, "Enroll", "everyone");
    server_fixture_start(s.server);
    let_policies_age(&s);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
}

TEST(autoenrollment_takes_only_the_templates_that_are_configured)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};

    oneshot_template(&s, "NameFlags", "0x18000000"); /* the names come from the account */
    oneshot_start(&s);
    agent_fixture_fragment(s.agent, "auto", "[policy-server \"corp\"]\nautoenroll = yes\ntemplates = DeviceEC\n");
    oneshot_json(&s, "", 0);
    assert_int_equal(oneshot_count(&s, "certificates"), 1);
    assert_int_equal(oneshot_count(&s, "requests WHERE template = 'DeviceEC'"), 1);
    assert_string_equal(oneshot_decision(&s, "Machine", "reason"), "it is not among the configured templates");
    assert_string_equal(oneshot_decision(&s, "Machine", "action"), "skip");
}
