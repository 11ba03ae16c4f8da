#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/rsa.h>
#include <openssl/ssl.h>

#include "agent/key/key_token.h"
#include "tests/key_uses.h"
#include "tests/testing.h"
#include "tests/token_fixture.h"

static const uint8_t tag[KEY_TAG_LEN] = {1, 2, 3, 4};
static const uint8_t other_tag[KEY_TAG_LEN] = {1, 2, 3, 5};

static struct token *open_token(const struct token_fixture *f)
{
    struct err *err = NULL;
    struct token *token = NULL;

    assert_ok(token_open(&f->place, f->pin, &token, &err) == 0, err);
    return token;
}

static struct key *generate(struct token *token, const char *label, enum key_kind kind)
{
    CLEANUP(bytes_clear) struct bytes id = {0};
    struct err *err = NULL;
    struct key *key = NULL;

    key_new_id(tag, &id);
    assert_ok(key_token_generate(token, &id, label, kind, &key, &err) == 0, err);
    return key;
}

static void use_everywhere(EVP_PKEY *evp, const char *dir)
{
    key_uses_signatures(evp);
    key_uses_requests(evp, dir);
    key_uses_cms(evp, dir);
    key_uses_tls(evp, TLS1_2_VERSION);
    key_uses_tls(evp, TLS1_3_VERSION);
}

/* Made, proven, opened again, used for everything, destroyed. */
static void whole_life(enum token_backend backend, enum key_kind kind)
{
    struct token_fixture f;
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(mem_freep) char *proof = NULL;
    struct err *err = NULL;
    struct token *token;
    struct key *key, *again = NULL;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    key = generate(token, "life", kind);
    assert_int_equal(key_kind(key), kind);
    assert_true(key_in_token(key));
    assert_ok(key_token_prove_unextractable(key, &proof, &err) == 0, err);
    assert_contains(proof, "CKA_EXTRACTABLE: 0");
    assert_contains(proof, key_kind_is_ec(kind) ? "CKA_VALUE: not given" : "CKA_PRIVATE_EXPONENT: not given");
    assert_contains(key_uri(key), ";type=private");

    bytes_copy(&id, key_id(key));
    assert_ok(key_token_open(token, &id, key_spki(key), &again, &err) == 0, err);
    assert_true(bytes_equal(key_spki(key), key_spki(again)));
    key_free(key);
    token_close(token); /* the key keeps what it needs */
    use_everywhere(key_evp(again), f.dir);
    key_free(again);

    token = open_token(&f);
    assert_int_equal(token_fixture_count_objects(&f), 2);
    assert_ok(key_token_destroy(token, &id, &err) == 0, err);
    assert_int_equal(token_fixture_count_objects(&f), 0);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_rsa_2048_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_SOFTHSM, KEY_RSA_2048);
}

TEST(softhsm_rsa_3072_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_SOFTHSM, KEY_RSA_3072);
}

TEST(softhsm_rsa_4096_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_SOFTHSM, KEY_RSA_4096);
}

TEST(softhsm_p256_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_SOFTHSM, KEY_EC_P256);
}

TEST(softhsm_p384_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_SOFTHSM, KEY_EC_P384);
}

TEST(softhsm_p521_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_SOFTHSM, KEY_EC_P521);
}

TEST(tpm_rsa_2048_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_TPM, KEY_RSA_2048);
}

TEST(tpm_rsa_3072_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_TPM, KEY_RSA_3072);
}

TEST(tpm_p256_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_TPM, KEY_EC_P256);
}

TEST(tpm_p384_lives_and_signs_everywhere)
{
    whole_life(TOKEN_BACKEND_TPM, KEY_EC_P384);
}

/* Another salt than a TPM makes itself: the padding is ours then, and the bare RSA operation the token's. */
static void pads_pss_itself(enum token_backend backend)
{
    static const char text[] = "text";
    static const int salts[] = {0, 20, RSA_PSS_SALTLEN_MAX};
    struct token_fixture f;
    struct err *err = NULL;
    struct token *token;
    struct key *key;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    key = generate(token, "pss", KEY_RSA_2048);
    for (size_t i = 0; i < ARRAY_SIZE(salts); i++) {
        const unsigned char *p = key_spki(key)->data;
        EVP_PKEY *public = d2i_PUBKEY(NULL, &p, (long)key_spki(key)->len);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pkey_ctx = NULL;
        uint8_t signature[512];
        size_t len = sizeof(signature);

        assert_int_equal(EVP_DigestSignInit(ctx, &pkey_ctx, EVP_sha256(), NULL, key_evp(key)), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_ctx, salts[i]), 1);
        if (EVP_DigestSign(ctx, signature, &len, (const uint8_t *)text, sizeof(text)) != 1)
            assert_ok(!key_failure(key, &err), err);
        EVP_MD_CTX_free(ctx);
        ctx = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestVerifyInit(ctx, &pkey_ctx, EVP_sha256(), NULL, public), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_ctx, salts[i]), 1);
        assert_int_equal(EVP_DigestVerify(ctx, signature, len, (const uint8_t *)text, sizeof(text)), 1);
        EVP_MD_CTX_free(ctx);
        EVP_PKEY_free(public);
    }
    key_free(key);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_pss_with_any_salt_verifies)
{
    pads_pss_itself(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_pss_with_any_salt_verifies)
{
    pads_pss_itself(TOKEN_BACKEND_TPM);
}

TEST(softhsm_key_may_sign_and_nothing_else)
{
    struct token_fixture f;
    CLEANUP(bytes_clear) struct bytes shown = {0};
    struct token *token;
    struct key *key;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    key = generate(token, "only", KEY_RSA_2048);
    assert_int_equal(testing_shell(&shown,
                         "pkcs11-tool --module '%s' --token-label soft --login --pin 1234 --list-objects "
                         "--type privkey 2>/dev/null",
                         f.module),
        0);
    assert_contains(bytes_text(&shown), "Usage:      sign\n");
    assert_contains(bytes_text(&shown), "sensitive, always sensitive, never extractable, local");
    key_free(key);
    token_close(token);
    token_fixture_clear(&f);
}

static void *sign_many(void *key)
{
    for (int i = 0; i < 10; i++) {
        struct err *err = NULL;

        if (key_self_check(key, &err) < 0)
            return err;
    }
    return NULL;
}

static void serves_threads(enum token_backend backend)
{
    struct token_fixture f;
    struct token *token;
    struct key *keys[4];
    pthread_t threads[ARRAY_SIZE(keys)];

    token_fixture_start(&f, backend);
    token = open_token(&f);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        keys[i] = generate(token, "thread", KEY_EC_P256);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_many, keys[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        void *err = NULL;

        assert_int_equal(pthread_join(threads[i], &err), 0);
        assert_ok(err == NULL, err);
        key_free(keys[i]);
    }
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_serves_four_threads)
{
    serves_threads(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_serves_four_threads)
{
    serves_threads(TOKEN_BACKEND_TPM);
}

/* A kind that the token cannot serve: refused with what to do, and nothing is left of it. */
static void refused_kind(enum key_kind kind, const char *why)
{
    struct token_fixture f;
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct token *token;
    struct key *key = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_TPM);
    token = open_token(&f);
    key_new_id(tag, &id);
    assert_int_equal(key_token_generate(token, &id, "no", kind, &key, &err), -1);
    assert_null(key);
    assert_contains(err_text(err), why);
    assert_contains(err_text(err), key_kind_name(kind));
    assert_contains(err_hint_text(err), "another key kind");
    assert_int_equal(token_fixture_count_objects(&f), 0);
    key_free(generate(token, "works", KEY_EC_P256)); /* and the token is none the worse */
    token_close(token);
    token_fixture_clear(&f);
}

TEST(tpm_p521_fails_its_check_and_is_destroyed)
{
    refused_kind(KEY_EC_P521, "is not usable");
}

TEST(tpm_rsa_4096_is_refused)
{
    refused_kind(KEY_RSA_4096, "C_GenerateKeyPair: CKR_ATTRIBUTE_VALUE_INVALID");
}

/* A TPM has room for three objects: more keys than that are made and used in turn. */
TEST(tpm_serves_more_keys_than_it_has_slots)
{
    struct token_fixture f;
    struct token *token;
    struct key *keys[5];

    token_fixture_start(&f, TOKEN_BACKEND_TPM);
    token = open_token(&f);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        keys[i] = generate(token, "many", KEY_EC_P256);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(keys); i++)
        key_uses_signatures(key_evp(keys[i % ARRAY_SIZE(keys)]));
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        key_free(keys[i]);
    token_close(token);
    token_fixture_clear(&f);
}

static char *label_of(struct token *token, const struct bytes *id)
{
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    struct err *err = NULL;

    assert_ok(key_token_list(token, id, &list, &err) == 0, err);
    assert_int_equal(list.n, 1);
    assert_true(list.items[0].has_private && list.items[0].has_public);
    return mem_strdup(list.items[0].label);
}

static void relabels(enum token_backend backend)
{
    struct token_fixture f;
    CLEANUP(mem_freep) char *waiting = NULL;
    CLEANUP(mem_freep) char *before = NULL;
    CLEANUP(mem_freep) char *after = NULL;
    CLEANUP(bytes_clear) struct bytes id = {0};
    struct err *err = NULL;
    struct token *token;
    struct key *key = NULL;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    key_new_id(tag, &id);
    waiting = key_waiting_label("web", &id);
    assert_ok(key_token_generate(token, &id, waiting, KEY_EC_P256, &key, &err) == 0, err);
    before = label_of(token, &id);
    assert_string_equal(before, waiting);
    assert_ok(key_token_relabel(token, &id, "web", &err) == 0, err);
    after = label_of(token, &id);
    assert_string_equal(after, "web");
    key_uses_signatures(key_evp(key));
    key_free(key);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_label_follows_the_current_pair)
{
    relabels(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_label_follows_the_current_pair)
{
    relabels(TOKEN_BACKEND_TPM);
}

static void put_certificate(struct token *token, struct key *key)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    X509 *cert = key_uses_certificate(key_evp(key));
    unsigned char *p = NULL;
    struct err *err = NULL;
    int len = i2d_X509(cert, &p);

    bytes_set(&der, p, (size_t)len);
    OPENSSL_free(p);
    X509_free(cert);
    assert_ok(key_token_put_certificate(token, key_id(key), "cert", &der, &err) == 0, err);
}

static void replaces_certificate(enum token_backend backend)
{
    struct token_fixture f;
    struct token *token;
    struct key *key;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    key = generate(token, "cert", KEY_EC_P256);
    put_certificate(token, key);
    assert_int_equal(token_fixture_count_objects(&f), 3);
    put_certificate(token, key); /* the same serial, another signature: a new one */
    assert_int_equal(token_fixture_count_objects(&f), 3);
    key_free(key);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_certificate_object_is_replaced)
{
    replaces_certificate(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_certificate_object_is_replaced)
{
    replaces_certificate(TOKEN_BACKEND_TPM);
}

TEST(certificate_object_wants_a_certificate)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *err = NULL;
    struct bytes wrong = {.data = (uint8_t[]){0x30, 0x03, 0x02, 0x01, 0x00}, .len = 5};
    struct token *token;
    struct key *key;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    key = generate(token, "x", KEY_EC_P256);
    assert_int_equal(key_token_put_certificate(token, key_id(key), "x", &wrong, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
    key_free(key);
    token_close(token);
    token_fixture_clear(&f);
}

static void sweeps(enum token_backend backend)
{
    struct token_fixture f;
    CLEANUP(bytes_clear) struct bytes foreign = {0};
    CLEANUP(key_listings_clear) struct key_listings left = {0};
    struct err *err = NULL;
    struct token *token;
    struct key *known, *orphan, *others = NULL;
    size_t removed = 0;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    known = generate(token, "known", KEY_EC_P256);
    orphan = generate(token, "orphan", KEY_EC_P256);
    key_new_id(other_tag, &foreign);
    assert_ok(key_token_generate(token, &foreign, "others", KEY_EC_P256, &others, &err) == 0, err);
    assert_ok(key_token_sweep(token, tag, key_id(known), 1, &removed, &err) == 0, err);
    assert_int_equal(removed, 1);
    assert_ok(key_token_list(token, NULL, &left, &err) == 0, err);
    assert_int_equal(left.n, 2);
    for (size_t i = 0; i < left.n; i++)
        assert_false(bytes_equal(&left.items[i].id, key_id(orphan)));
    key_free(known);
    key_free(orphan);
    key_free(others);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_sweep_removes_orphans_and_only_ours)
{
    sweeps(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_sweep_removes_orphans_and_only_ours)
{
    sweeps(TOKEN_BACKEND_TPM);
}

/* After a crash the caller asks again with the id that it recorded. */
static void takes_up_a_pair(enum token_backend backend)
{
    struct token_fixture f;
    CLEANUP(bytes_clear) struct bytes id = {0};
    struct err *err = NULL;
    struct token *token;
    struct key *first = NULL, *second = NULL;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    key_new_id(tag, &id);
    assert_ok(key_token_open_or_generate(token, &id, "x", KEY_EC_P256, &first, &err) == 0, err);
    assert_ok(key_token_open_or_generate(token, &id, "x", KEY_EC_P256, &second, &err) == 0, err);
    assert_true(bytes_equal(key_spki(first), key_spki(second)));
    assert_int_equal(token_fixture_count_objects(&f), 2);
    key_free(first);
    key_free(second);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_pair_made_before_a_crash_is_taken_up)
{
    takes_up_a_pair(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_pair_made_before_a_crash_is_taken_up)
{
    takes_up_a_pair(TOKEN_BACKEND_TPM);
}

TEST(half_a_pair_is_replaced)
{
    struct token_fixture f;
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(mem_freep) char *hex = NULL;
    struct err *err = NULL;
    struct token *token;
    struct key *first = NULL, *second = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    first = generate(token, "half", KEY_EC_P256);
    bytes_copy(&id, key_id(first));
    hex = bytes_to_hex(id.data, id.len);
    assert_int_equal(testing_shell(NULL,
                         "pkcs11-tool --module '%s' --token-label soft --login --pin 1234 --delete-object "
                         "--type privkey --id %s >/dev/null 2>&1",
                         f.module, hex),
        0);
    assert_ok(key_token_open_or_generate(token, &id, "half", KEY_EC_P256, &second, &err) == 0, err);
    assert_false(bytes_equal(key_spki(first), key_spki(second)));
    assert_int_equal(token_fixture_count_objects(&f), 2);
    key_uses_signatures(key_evp(second));
    key_free(first);
    key_free(second);
    token_close(token);
    token_fixture_clear(&f);
}

/* The private key alone, as some smart cards have it: the recorded public key completes it. */
TEST(key_without_a_public_object_opens_with_the_recorded_one)
{
    struct token_fixture f;
    CLEANUP(mem_freep) char *hex = NULL;
    CLEANUP(err_freep) struct err *none = NULL;
    struct err *err = NULL;
    struct token *token;
    struct key *first, *second = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    first = generate(token, "alone", KEY_EC_P256);
    hex = bytes_to_hex(key_id(first)->data, key_id(first)->len);
    assert_int_equal(testing_shell(NULL,
                         "pkcs11-tool --module '%s' --token-label soft --login --pin 1234 --delete-object "
                         "--type pubkey --id %s >/dev/null 2>&1",
                         f.module, hex),
        0);
    assert_int_equal(key_token_open(token, key_id(first), NULL, &second, &none), -1);
    assert_int_equal(err_kind(none), ERR_MISSING);
    assert_ok(key_token_open(token, key_id(first), key_spki(first), &second, &err) == 0, err);
    key_uses_signatures(key_evp(second));
    key_free(first);
    key_free(second);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(key_with_another_public_key_than_recorded_is_refused)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *err = NULL;
    struct token *token;
    struct key *one, *two, *opened = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    one = generate(token, "one", KEY_EC_P256);
    two = generate(token, "two", KEY_EC_P256);
    assert_int_equal(key_token_open(token, key_id(one), key_spki(two), &opened, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
    key_free(one);
    key_free(two);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(missing_key_says_so)
{
    struct token_fixture f;
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct token *token;
    struct key *key = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    key_new_id(tag, &id);
    assert_int_equal(key_token_open(token, &id, NULL, &key, &err), -1);
    assert_int_equal(err_kind(err), ERR_MISSING);
    assert_contains(err_text(err), "not in the token");
    token_close(token);
    token_fixture_clear(&f);
}

/* OpenSSL's own error cannot say why a token failed; ours is kept for whoever asks. */
TEST(key_destroyed_by_another_process_is_reported)
{
    struct token_fixture f;
    CLEANUP(mem_freep) char *hex = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct token *token;
    struct key *key;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    key = generate(token, "short", KEY_EC_P256);
    hex = bytes_to_hex(key_id(key)->data, key_id(key)->len);
    assert_int_equal(testing_shell(NULL,
                         "for t in privkey pubkey; do pkcs11-tool --module '%s' --token-label soft --login --pin 1234 "
                         "--delete-object --type $t --id %s >/dev/null 2>&1 || exit 1; done",
                         f.module, hex),
        0);
    assert_int_equal(key_self_check(key, &err), -1);
    assert_contains(err_text(err), "is not in the token");
    assert_false(key_failure(key, NULL));
    key_free(key);
    token_close(token);
    token_fixture_clear(&f);
}

static void comes_and_goes(enum token_backend backend)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *gone = NULL;
    CLEANUP(err_freep) struct err *no_key = NULL;
    CLEANUP(bytes_clear) struct bytes id = {0};
    struct err *err = NULL;
    struct token *token;
    struct key *key, *other = NULL;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    key = generate(token, "stays", KEY_EC_P256);
    token_fixture_take_away(&f);
    assert_int_equal(key_self_check(key, &gone), -1);
    assert_int_equal(err_kind(gone), ERR_TOKEN);
    assert_non_null(err_hint_text(gone));
    key_new_id(tag, &id);
    assert_int_equal(key_token_generate(token, &id, "x", KEY_EC_P256, &other, &no_key), -1);
    token_fixture_bring_back(&f);
    assert_ok(key_self_check(key, &err) == 0, err);
    assert_ok(key_token_generate(token, &id, "x", KEY_EC_P256, &other, &err) == 0, err);
    key_free(key);
    key_free(other);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_that_was_gone_works_again)
{
    comes_and_goes(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_that_was_gone_works_again)
{
    comes_and_goes(TOKEN_BACKEND_TPM);
}

/* A program of its own for each: a module must not be used on both sides of a fork. */
static pid_t start_self(const struct token_fixture *f, const char *test)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)setenv("KEY_TOKEN_MODULE", f->module, 1);
    (void)setenv("KEY_TOKEN_URI", f->place.uri, 1);
    (void)setenv("KEY_TOKEN_STATE", f->state_dir, 1);
    (void)execl("/proc/self/exe", "key_token", test, NULL);
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status = -1;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static struct token *open_from_environment(void)
{
    struct token_place place = {getenv("KEY_TOKEN_URI"), getenv("KEY_TOKEN_MODULE"), getenv("KEY_TOKEN_STATE"), false};
    struct secret *pin = secret_copy("1234", 4);
    struct err *err = NULL;
    struct token *token = NULL;

    assert_ok(token_open(&place, pin, &token, &err) == 0, err);
    secret_free(pin);
    return token;
}

/* One of the processes below; alone it has a token of its own. */
TEST(process_makes_signs_and_destroys)
{
    struct token_fixture f = {0};
    struct token *token;
    struct err *err = NULL;

    if (!getenv("KEY_TOKEN_URI"))
        token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = getenv("KEY_TOKEN_URI") ? open_from_environment() : open_token(&f);
    for (int i = 0; i < 4; i++) {
        struct key *key = generate(token, "turn", KEY_EC_P256);

        key_uses_signatures(key_evp(key));
        assert_ok(key_token_destroy(token, key_id(key), &err) == 0, err);
        key_free(key);
    }
    token_close(token);
    token_fixture_clear(&f);
}

static void several_processes(enum token_backend backend)
{
    struct token_fixture f;
    pid_t pids[3];

    token_fixture_start(&f, backend);
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        pids[i] = start_self(&f, "process_makes_signs_and_destroys");
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        assert_int_equal(wait_for(pids[i]), 0);
    assert_int_equal(token_fixture_count_objects(&f), 0);
    token_fixture_clear(&f);
}

TEST(softhsm_serves_three_processes_at_once)
{
    several_processes(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_serves_three_processes_at_once)
{
    several_processes(TOKEN_BACKEND_TPM);
}

TEST(process_makes_one_key)
{
    struct token_fixture f = {0};
    struct token *token;

    if (!getenv("KEY_TOKEN_URI"))
        token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = getenv("KEY_TOKEN_URI") ? open_from_environment() : open_token(&f);
    key_free(generate(token, "new", KEY_EC_P256));
    token_close(token);
    token_fixture_clear(&f);
}

/* A TPM's module shows what others made only after it was started again. */
static void sees_what_others_made(enum token_backend backend)
{
    struct token_fixture f;
    CLEANUP(key_listings_clear) struct key_listings before = {0};
    CLEANUP(key_listings_clear) struct key_listings after = {0};
    struct err *err = NULL;
    struct token *token, *fresh;
    struct key *mine, *theirs = NULL;

    token_fixture_start(&f, backend);
    token = open_token(&f);
    mine = generate(token, "mine", KEY_EC_P256);
    assert_ok(key_token_list(token, NULL, &before, &err) == 0, err);
    assert_int_equal(before.n, 1);
    assert_int_equal(wait_for(start_self(&f, "process_makes_one_key")), 0);

    key_free(mine);
    token_close(token);
    fresh = open_token(&f); /* the module was unloaded, so this one reads the token anew: gives us the id to ask for */
    assert_ok(key_token_list(fresh, NULL, &after, &err) == 0, err);
    assert_int_equal(after.n, 2);
    for (size_t i = 0; i < after.n; i++) {
        if (bytes_equal(&after.items[i].id, &before.items[0].id))
            continue;
        assert_ok(key_token_open(fresh, &after.items[i].id, NULL, &theirs, &err) == 0, err);
        key_uses_signatures(key_evp(theirs));
    }
    key_free(theirs);
    token_close(fresh);
    token_fixture_clear(&f);
}

TEST(softhsm_key_of_another_process_is_seen)
{
    sees_what_others_made(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_key_of_another_process_is_seen)
{
    sees_what_others_made(TOKEN_BACKEND_TPM);
}

TEST(forked_child_may_not_use_the_token)
{
    struct token_fixture f;
    struct token *token;
    struct key *key;
    pid_t pid;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    token = open_token(&f);
    key = generate(token, "parent", KEY_EC_P256);
    pid = fork();
    if (pid == 0) {
        CLEANUP(err_freep) struct err *err = NULL;
        int r = key_self_check(key, &err);

        _exit(r == -1 && err_kind(err) == ERR_INTERNAL ? 0 : 1);
    }
    assert_int_equal(wait_for(pid), 0);
    key_uses_signatures(key_evp(key));
    key_free(key);
    token_close(token);
    token_fixture_clear(&f);
}
