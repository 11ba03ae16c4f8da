#include "agent/key/key_token.h"
#include "protocol/pki/cmc.h"
#include "protocol/pki/payload.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"
#include "tests/token_fixture.h"

/* A CMC renewal with both keys in the token, verified by us and by the openssl command alone. */
static void renew_in(enum token_backend backend, enum key_kind old_kind, enum key_kind new_kind, bool pss)
{
    static const uint8_t tag[KEY_TAG_LEN] = {1, 2, 3, 4};
    CLEANUP(mem_freep) char *script = testing_source("tests/golden/take_apart_cmc.sh");
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/message.der", dir);
    CLEANUP(bytes_clear) struct bytes old_id = {0};
    CLEANUP(bytes_clear) struct bytes new_id = {0};
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes message = {0};
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(key_freep) struct key *old_key = NULL;
    CLEANUP(key_freep) struct key *new_key = NULL;
    CLEANUP(token_closep) struct token *token = NULL;
    CLEANUP(cert_freep) struct cert *old = NULL;
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    EVP_PKEY *ca_key = pki_key("P-256");
    struct cms_signer new_signer = {.hash = "SHA256", .pss = pss}, old_signer = {.hash = "SHA256", .pss = pss};
    struct token_fixture f;

    token_fixture_start(&f, backend);
    assert_ok(token_open(&f.place, f.pin, &token, &err) == 0, err);
    key_new_id(tag, &old_id);
    key_new_id(tag, &new_id);
    assert_ok(key_token_generate(token, &old_id, "old", old_kind, &old_key, &err) == 0, err);
    assert_ok(key_token_generate(token, &new_id, "new", new_kind, &new_key, &err) == 0, err);
    old = pki_cert(
        &(struct pki_cert_spec){.subject = "CN=web01", .key = key_evp(old_key), .issuer_key = ca_key, .serial = 42});
    EVP_PKEY_free(ca_key);
    pki_csr(key_evp(new_key), "CN=web01", old, &csr);
    new_signer.key = key_evp(new_key);
    old_signer.key = key_evp(old_key);
    old_signer.cert = old;
    assert_ok(cmc_build_renewal(&csr, NULL, &new_signer, &old_signer, &message, &err) == 0, err);
    assert_ok(payload_parse(message.data, message.len, &payload, &err) == 0, err);
    assert_ok(payload_verify(payload, &err) == 0, err);
    testing_write(path, message.data, message.len);
    assert_int_equal(testing_shell(&said, "'%s' '%s'", script, path), 0);
    assert_contains(bytes_text(&said), "signers: 2\ncertificates: 1\ninner signature: good\n");
    assert_contains(bytes_text(&said), "verified: yes\n");
    token_fixture_clear(&f);
}

TEST(pki_token_renews_rsa_to_rsa_in_softhsm)
{
    renew_in(TOKEN_BACKEND_SOFTHSM, KEY_RSA_2048, KEY_RSA_2048, false);
}

TEST(pki_token_renews_with_pss_in_softhsm)
{
    renew_in(TOKEN_BACKEND_SOFTHSM, KEY_RSA_2048, KEY_RSA_2048, true);
}

TEST(pki_token_renews_rsa_to_elliptic_in_softhsm)
{
    renew_in(TOKEN_BACKEND_SOFTHSM, KEY_RSA_2048, KEY_EC_P384, false);
}

TEST(pki_token_renews_rsa_to_elliptic_in_a_tpm)
{
    renew_in(TOKEN_BACKEND_TPM, KEY_RSA_2048, KEY_EC_P256, false);
}

TEST(pki_token_renews_with_pss_in_a_tpm)
{
    renew_in(TOKEN_BACKEND_TPM, KEY_RSA_2048, KEY_RSA_2048, true);
}
