#include "tests/oneshot_fixture.h"
#include "tests/token_fixture.h"

/* tpm2-pkcs11 loses memory of its own in the worker, see token_fixture.c. */
static void suppress_leaks(const struct oneshot *s)
{
    static const char text[] = "leak:libtpm2_pkcs11.so\nleak:ASN1_STRING_set\nleak:libtss2\n";
    CLEANUP(mem_freep) char *path = mem_printf("%s/leaks", s->agent->dir);
    CLEANUP(mem_freep) char *options = mem_printf("suppressions=%s:print_suppressions=0", path);

    testing_write(path, text, strlen(text));
    assert_int_equal(setenv("LSAN_OPTIONS", options, 1), 0);
}

/* An agent whose keys are in the TPM, by its PIN from the credentials. */
static void start_with_tpm(struct oneshot *s, struct token_fixture *tpm)
{
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *pin = NULL;

    token_fixture_start(tpm, TOKEN_BACKEND_TPM);
    oneshot_start(s);
    suppress_leaks(s);
    text = mem_printf(
        "[agent]\ntoken = %s\npkcs11-module = %s\npin-credential = token.pin\n", tpm->place.uri, tpm->module);
    agent_fixture_fragment(s->agent, "token", text);
    pin = mem_printf("%s/token.pin", s->agent->credentials);
    testing_write(pin, secret_peek(tpm->pin), secret_len(tpm->pin));
}

static void list_keys(const struct token_fixture *tpm, struct key_listings *keys)
{
    CLEANUP(token_closep) struct token *token = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(token_open(&tpm->place, tpm->pin, &token, &err) == 0, err);
    assert_ok(key_token_list(token, NULL, keys, &err) == 0, err);
}

static const struct key_listing *find_key(const struct key_listings *keys, const struct bytes *id)
{
    for (size_t i = 0; i < keys->n; i++)
        if (bytes_equal(&keys->items[i].id, id))
            return &keys->items[i];
    return NULL;
}

static void round_trip(const char *template, const char *kind)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    struct token_fixture tpm;
    CLEANUP(key_listings_clear) struct key_listings keys = {0};
    CLEANUP(mem_freep) char *cert = NULL;
    CLEANUP(mem_freep) char *chain = NULL;
    const struct record *record;

    start_with_tpm(&s, &tpm);
    agent_fixture_section(s.agent, "tpm-key", template, "");
    oneshot_json(&s, "", 0);
    assert_string_equal(oneshot_field(&s, "tpm-key", "key-kind"), kind);
    assert_contains(oneshot_field(&s, "tpm-key", "key"), "pkcs11:token=tpm;");
    agent_fixture_password(s.agent, NULL);
    oneshot_run(&s, "--renew tpm-key", 0); /* TLS and CMS signed in the TPM */
    record = oneshot_record(&s, "tpm-key");
    assert_int_equal(record->state, RECORD_INSTALLED);
    assert_int_equal(record->current.generation, 2);
    assert_false(bytes_equal(&record->current.pair.key_id, &record->previous[0].pair.key_id));
    assert_int_equal(oneshot_count(&s, "requests WHERE old_certificate NOT NULL"), 1);
    cert = agent_fixture_file(s.agent, "tpm-key", "cert.pem");
    chain = agent_fixture_file(s.agent, "tpm-key", "chain.pem");
    assert_int_equal(testing_shell(NULL, "openssl verify -CAfile '%s' -untrusted '%s' '%s' >/dev/null", s.server->trust,
                         chain, cert),
        0);
    list_keys(&tpm, &keys);
    assert_int_equal(keys.n, 2);
    assert_non_null(find_key(&keys, &record->current.pair.key_id));
    assert_true(find_key(&keys, &record->current.pair.key_id)->has_private);
    assert_non_null(find_key(&keys, &record->previous[0].pair.key_id));
    assert_int_equal(token_fixture_lockout_counter(&tpm), 0);
    token_fixture_clear(&tpm);
}

TEST(tpm_key_on_p_256_is_enrolled_and_renewed_by_itself)
{
    round_trip("DeviceEC", "EC P-256");
}

TEST(tpm_key_with_rsa_2048_is_enrolled_and_renewed_by_itself)
{
    round_trip("Workstation", "RSA 2048");
}

/* It is in the credentials and is not the TPM's: shown once, and never again by any later run [design 8.9]. */
TEST(tpm_pin_that_is_refused_is_not_presented_again)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    struct token_fixture tpm;
    CLEANUP(mem_freep) char *pin = NULL;
    unsigned counted;

    start_with_tpm(&s, &tpm);
    pin = mem_printf("%s/token.pin", s.agent->credentials);
    testing_write(pin, "99999", 5);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    counted = token_fixture_lockout_counter(&tpm);
    for (int i = 0; i < 3; i++) {
        oneshot_run(&s, "", 77);
        assert_contains(oneshot_said(&s), "hint: ");
        assert_null(strstr(oneshot_said(&s), "99999"));
    }
    assert_int_equal(token_fixture_lockout_counter(&tpm), counted + 1);
    assert_int_equal(oneshot_count(&s, "requests"), 0);
    testing_write(pin, secret_peek(tpm.pin), secret_len(tpm.pin));
    oneshot_run(&s, "", 0);
    assert_int_equal(oneshot_record(&s, "web")->state, RECORD_INSTALLED);
    token_fixture_clear(&tpm);
}

/* The token is gone and comes back: nothing is given up, nothing is enrolled twice. */
TEST(tpm_that_is_away_is_waited_for)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    struct token_fixture tpm;

    start_with_tpm(&s, &tpm);
    oneshot_run(&s, "", 0);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    token_fixture_take_away(&tpm);
    assert_int_not_equal(agent_fixture_run(s.agent, ""), 0);
    assert_int_equal(oneshot_count(&s, "requests"), 0);
    token_fixture_bring_back(&tpm);
    oneshot_run(&s, "", 0);
    assert_int_equal(oneshot_record(&s, "web")->state, RECORD_INSTALLED);
    assert_int_equal(oneshot_count(&s, "certificates"), 1);
    token_fixture_clear(&tpm);
}
