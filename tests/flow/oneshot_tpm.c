#include "tests/agent_fixture.h"
#include "tests/testing.h"
#include "tests/token_fixture.h"

/* A token that somebody else made, in a TPM; its PIN is a credential. */
static struct agent_fixture *begin(struct token_fixture *tpm)
{
    struct agent_fixture *f;
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *path = NULL;

    token_fixture_start(tpm, TOKEN_BACKEND_TPM);
    f = agent_fixture_new(server_fixture_running(NULL));
    text =
        mem_printf("[agent]\ntoken = pkcs11:token=tpm\npkcs11-module = %s\npin-credential = token.pin\n", tpm->module);
    path = mem_printf("%s/token.pin", f->credentials);
    agent_fixture_fragment(f, "tpm", text);
    testing_write(path, secret_peek(tpm->pin), secret_len(tpm->pin));
    agent_fixture_section(f, "web", "DeviceEC", "");
    return f;
}

TEST(oneshot_enrolls_and_renews_with_keys_in_a_tpm)
{
    CLEANUP(token_fixture_clear) struct token_fixture tpm = {0};
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = begin(&tpm);
    CLEANUP(record_list_clear) struct record_list records = {0};
    CLEANUP(mem_freep) char *serial = NULL;
    const struct record *record;

    agent_fixture_expect(f, "", 0);
    agent_fixture_assert_published(f, "web");
    record = agent_fixture_record(f, "web", &records);
    serial = mem_strdup(record->current.facts.serial);
    assert_contains(record->current.facts.key_uri, "token=tpm");

    agent_fixture_password(f, NULL);
    agent_fixture_expect(f, "--renew web", 0);
    agent_fixture_assert_published(f, "web");
    record = agent_fixture_record(f, "web", &records);
    assert_string_not_equal(record->current.facts.serial, serial);
    assert_int_equal(record->current.generation, 2);
    assert_int_equal(token_fixture_lockout_counter(&tpm), 0);
}

TEST(oneshot_presents_a_refused_pin_once)
{
    CLEANUP(token_fixture_clear) struct token_fixture tpm = {0};
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = begin(&tpm);
    CLEANUP(mem_freep) char *path = mem_printf("%s/token.pin", f->credentials);
    unsigned counted;

    testing_write(path, "not the pin", 11);
    assert_int_not_equal(agent_fixture_run(f, ""), 0);
    assert_null(strstr(bytes_text(&f->out), "not the pin"));
    assert_contains(bytes_text(&f->out), "hint: ");
    counted = token_fixture_lockout_counter(&tpm);
    assert_int_equal(counted, 1);
    for (int i = 0; i < 3; i++)
        assert_int_not_equal(agent_fixture_run(f, ""), 0);
    assert_int_equal(token_fixture_lockout_counter(&tpm), counted);
}
