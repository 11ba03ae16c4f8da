#include <time.h>
#include <unistd.h>

#include "tests/oneshot_fixture.h"

static void assert_renewed(struct oneshot *s, const char *id, uint32_t generation, bool new_key)
{
    const struct record *record = oneshot_record(s, id);
    const struct record_pair *old;

    oneshot_assert_installed(s, id);
    record = oneshot_record(s, id);
    assert_int_equal(record->current.generation, generation);
    assert_true(record->n_previous > 0);
    old = &record->previous[record->n_previous - 1];
    assert_string_not_equal(record->current.facts.serial, old->facts.serial);
    assert_true(bytes_equal(&record->current.pair.key_id, &old->pair.key_id) == !new_key);
    assert_string_equal(record->current.facts.subject, old->facts.subject);
}

/* A certificate whose end is an hour away, as far as the record knows: its planned moment is over. */
TEST(certificate_inside_its_window_is_renewed_by_itself_with_the_password_gone)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    struct record changed;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    agent_fixture_password(s.agent, NULL);
    changed = *oneshot_record(&s, "web");
    changed.current.facts.not_before = time(NULL) - 364 * 86400;
    changed.current.facts.not_after = time(NULL) + 3600;
    agent_fixture_save(s.agent, &changed);
    oneshot_run(&s, "", 0);
    assert_contains(oneshot_said(&s), "inside the renewal period");
    assert_renewed(&s, "web", 2, true);
    assert_int_equal(oneshot_count(&s, "requests WHERE old_certificate NOT NULL"), 1);
    oneshot_assert_no_orphans(&s, 2); /* the old pair stays for its grace */
}

/* Until then a file of the old generation may be open somewhere. */
TEST(old_pair_is_there_until_its_grace_is_over)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *old = NULL;

    oneshot_start(&s);
    agent_fixture_fragment(s.agent, "grace", "[agent]\ngrace = 5s\n");
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    oneshot_run(&s, "--renew web", 0);
    assert_renewed(&s, "web", 2, true);
    old = mem_printf("%s/public/certs/web/1/cert.pem", s.agent->state);
    assert_int_equal(access(old, F_OK), 0);
    sleep(6);
    oneshot_run(&s, "", 0);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(oneshot_record(&s, "web")->n_previous, 0);
    oneshot_assert_installed(&s, "web");
    oneshot_assert_no_orphans(&s, 1);
}

TEST(key_that_was_kept_survives_the_end_of_the_old_certificate)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    agent_fixture_fragment(s.agent, "grace", "[agent]\ngrace = 5s\n");
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    agent_fixture_password(s.agent, NULL);
    oneshot_run(&s, "--renew web --same-key", 0);
    assert_renewed(&s, "web", 2, false);
    sleep(6);
    oneshot_run(&s, "", 0);
    assert_int_equal(oneshot_record(&s, "web")->n_previous, 0);
    oneshot_assert_installed(&s, "web");
    oneshot_run(&s, "--renew web", 0); /* and signs */
    assert_renewed(&s, "web", 3, true);
}

TEST(template_that_requires_the_same_key_is_renewed_with_it)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};

    oneshot_template(&s, "PrivateKeyFlags", "0x4040080");
    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    oneshot_run(&s, "--renew all", 0);
    assert_renewed(&s, "web", 2, false);
    oneshot_assert_no_orphans(&s, 1);
}

/* The CA has no address that takes certificates, so an account has to be shown. */
TEST(schema_1_is_renewed_with_the_password_where_that_is_allowed)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(bytes_clear) struct bytes payload = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    assert_int_equal(testing_shell(NULL, "sed -i '/^\\[ces \"renewal\"\\]/,/^$/d' '%s/server.conf'", s.server->dir), 0);
    oneshot_start(&s);
    agent_fixture_section(s.agent, "host", "Machine", "");
    oneshot_run(&s, "", 0);
    assert_int_not_equal(agent_fixture_run(s.agent, "--renew host"), 0);
    assert_contains(oneshot_said(&s), "password-fallback = yes");
    assert_int_equal(oneshot_record(&s, "host")->current.generation, 1);
    oneshot_assert_no_orphans(&s, oneshot_record(&s, "host")->attempt.key_id.len ? 2 : 1);

    agent_fixture_fragment(s.agent, "fallback", "[policy-server \"corp\"]\npassword-fallback = yes\n");
    oneshot_run(&s, "--renew host", 0);
    assert_renewed(&s, "host", 2, true);
    server_fixture_blob(s.server, "SELECT payload FROM requests ORDER BY id DESC LIMIT 1", &payload);
    path = mem_printf("%s/payload.der", s.agent->dir);
    testing_write(path, payload.data, payload.len);
    assert_int_equal(testing_shell(&text, "openssl cms -cmsout -print -noout -inform DER -in '%s'", path), 0);
    assert_contains(bytes_text(&text), "eContentType: pkcs7-data (1.2.840.113549.1.7.1)");
    assert_int_equal(testing_shell(NULL, /* what is signed by the old key is a PKCS#10 that is signed by the new one */
                         "openssl cms -verify -noverify -binary -inform DER -in '%s' 2>/dev/null | "
                         "openssl req -inform DER -noout -verify 2>/dev/null",
                         path),
        0);
}

/* What the server has received, by the openssl command alone; what it says is shown. */
static void take_renewal_apart(const char *template)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *script = testing_source("tests/golden/take_apart_cmc.sh");
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(mem_freep) char *old = NULL;
    CLEANUP(bytes_clear) struct bytes payload = {0};
    CLEANUP(bytes_clear) struct bytes report = {0};

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", template, "");
    oneshot_run(&s, "", 0);
    agent_fixture_password(s.agent, NULL);
    oneshot_run(&s, "--renew web", 0);
    assert_renewed(&s, "web", 2, true);
    server_fixture_blob(s.server, "SELECT payload FROM requests ORDER BY id DESC LIMIT 1", &payload);
    path = mem_printf("%s/renewal.der", s.agent->dir);
    testing_write(path, payload.data, payload.len);

    dir = testing_tmpdir();
    assert_int_equal(testing_shell(&report, "bash '%s' '%s' '%s' 2>&1", script, path, dir), 0);
    print_message("%s", bytes_text(&report));
    assert_contains(bytes_text(&report), "content type: 1.3.6.1.5.5.7.12.2\n");
    assert_contains(bytes_text(&report), "signers: 2\n");
    assert_contains(bytes_text(&report), "certificates: 1\n");
    assert_contains(bytes_text(&report), "inner signature: good\n");
    assert_contains(bytes_text(&report), "verified: yes\n");
    /* the certificate inside is the old one, and the key of the request is that of the new one */
    old = mem_printf("%s/public/certs/web/1/cert.pem", s.agent->state);
    assert_int_equal(testing_shell(NULL,
                         "openssl cms -cmsout -inform DER -in '%s' -certsout '%s/inside.pem' -noout && "
                         "openssl x509 -in '%s/inside.pem' -outform DER -out '%s/inside.der' && "
                         "openssl x509 -in '%s' -outform DER | cmp - '%s/inside.der'",
                         path, dir, dir, dir, old, dir),
        0);
    assert_int_equal(
        testing_shell(NULL, "openssl x509 -in '%s/public/certs/web/2/cert.pem' -noout -pubkey | cmp - '%s/new.pub'",
            s.agent->state, dir),
        0);
}

TEST(the_renewal_request_taken_apart_by_openssl)
{
    take_renewal_apart("DeviceEC");
}

TEST(the_renewal_request_with_rsa_taken_apart_by_openssl)
{
    take_renewal_apart("Workstation");
}

TEST(person_who_names_no_enrollment_is_told)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    assert_int_not_equal(agent_fixture_run(s.agent, "--renew wbe"), 0);
    assert_contains(oneshot_said(&s), "'wbe'");
    assert_int_equal(oneshot_count(&s, "requests"), 1);
}

/* What was asked for is not what is offered any more: the attempt that failed is begun anew, as the policy is now. */
TEST(attempt_that_failed_is_begun_anew_when_the_template_has_changed)
{
    CLEANUP(oneshot_clear) struct oneshot s = {.server = server_fixture_new(NULL)};
    const struct record *record;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_misbehave(&s, "issue", "wrong-eku");
    oneshot_run(&s, "", 76);
    record = oneshot_record(&s, "web");
    assert_int_equal(record->state, RECORD_BLOCKED);
    server_fixture_stop(s.server);
    server_fixture_set(s.server, "misbehave", "issue", NULL);
    oneshot_template(&s, "MajorRevision", "101");
    oneshot_template(&s, "Algorithm", "ECDSA_P384");
    oneshot_template(&s, "MinimalKeySize", "384");
    server_fixture_start(s.server);
    assert_int_equal(testing_shell(NULL,
                         "sed -i -E 's/\"next_update\": ?[0-9]+/\"next_update\":1/' '%s'/private/policies/*.json "
                         "'%s'/private/servers/*.json",
                         s.agent->state, s.agent->state),
        0);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_string_equal(oneshot_record(&s, "web")->current.facts.key_kind, "EC P-384");
    oneshot_assert_no_orphans(&s, 1);
}
