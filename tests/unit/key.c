#include "agent/key/key.h"

#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "agent/key/pss.h"
#include "tests/testing.h"

TEST(kind_is_rounded_up_to_the_next_size_we_make)
{
    static const struct {
        bool ec;
        unsigned bits;
        enum key_kind kind; /* KEY__MAX: none */
    } cases[] = {
        {false, 0, KEY_RSA_2048},
        {false, 1024, KEY_RSA_2048},
        {false, 2048, KEY_RSA_2048},
        {false, 2049, KEY_RSA_3072},
        {false, 4096, KEY_RSA_4096},
        {false, 4097, KEY__MAX},
        {true, 256, KEY_EC_P256},
        {true, 257, KEY_EC_P384},
        {true, 521, KEY_EC_P521},
        {true, 522, KEY__MAX},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum key_kind kind = KEY__MAX;

        assert_int_equal(key_kind_for(cases[i].ec, cases[i].bits, &kind), cases[i].kind != KEY__MAX);
        assert_int_equal(kind, cases[i].kind);
    }
}

TEST(kind_reads_back_its_name)
{
    for (int i = 0; i < KEY__MAX; i++) {
        enum key_kind kind = KEY__MAX;

        assert_true(key_kind_parse(key_kind_name((enum key_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    assert_false(key_kind_parse("RSA-1024", &(enum key_kind){0}));
}

TEST(kind_of_a_key_is_known_for_those_we_make_only)
{
    EVP_PKEY *p256 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "prime256v1");
    EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1");
    EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_PKEY *rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    enum key_kind kind = KEY__MAX;

    assert_true(key_kind_of(p256, &kind));
    assert_int_equal(kind, KEY_EC_P256);
    assert_true(key_kind_of(rsa, &kind));
    assert_int_equal(kind, KEY_RSA_2048);
    assert_false(key_kind_of(other, &kind));
    assert_false(key_kind_of(ed, &kind));
    EVP_PKEY_free(p256);
    EVP_PKEY_free(other);
    EVP_PKEY_free(ed);
    EVP_PKEY_free(rsa);
}

TEST(id_carries_the_tag_and_is_never_the_same)
{
    static const uint8_t tag[KEY_TAG_LEN] = {0xde, 0xad, 0xbe, 0xef};
    static const uint8_t other[KEY_TAG_LEN] = {0xde, 0xad, 0xbe, 0xee};
    CLEANUP(bytes_clear) struct bytes a = {0};
    CLEANUP(bytes_clear) struct bytes b = {0};
    struct bytes longer = {.data = (uint8_t *)(uintptr_t) "AEN1\xde\xad\xbe\xef.............", .len = KEY_ID_LEN + 1};

    key_new_id(tag, &a);
    key_new_id(tag, &b);
    assert_int_equal(a.len, KEY_ID_LEN);
    assert_memory_equal(a.data, "AEN1\xde\xad\xbe\xef", 8);
    assert_false(bytes_equal(&a, &b));
    assert_true(key_id_is_ours(&a, tag));
    assert_false(key_id_is_ours(&a, other));
    assert_false(key_id_is_ours(&longer, tag));
    assert_false(key_id_is_ours(&(struct bytes){0}, tag));
}

TEST(waiting_label_shows_the_random_part)
{
    struct bytes id = {.data = (uint8_t *)(uintptr_t) "AEN1\1\2\3\4\xab\xcd\xef\x01........", .len = KEY_ID_LEN};
    CLEANUP(mem_freep) char *label = key_waiting_label("web", &id);

    assert_string_equal(label, "web#abcdef01");
}

/* Our padding, the bare RSA operation, and OpenSSL's verification of PSS. Also a modulus of 8 n + 1 bits. */
TEST(pss_padding_verifies_in_openssl)
{
    static const size_t sizes[] = {1025, 2048, 2050};
    const EVP_MD *const mds[] = {EVP_sha256(), EVP_sha384(), EVP_sha512()};

    for (size_t i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(mds); i++) {
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", sizes[i / ARRAY_SIZE(mds)]);
        const EVP_MD *md = mds[i % ARRAY_SIZE(mds)];
        size_t hash = (size_t)EVP_MD_get_size(md), len;
        size_t salt = hash > 32 && EVP_PKEY_get_bits(key) < 1100 ? 32 : hash;
        uint8_t digest[64], block[512], signature[512];
        struct err *err = NULL;
        EVP_PKEY_CTX *ctx;

        assert_int_equal(RAND_bytes(digest, sizeof(digest)), 1);
        assert_ok(pss_encode((unsigned)EVP_PKEY_get_bits(key), md, EVP_sha256(), salt, digest, block, &err) == 0, err);
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        len = sizeof(signature);
        assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
        assert_int_equal(EVP_PKEY_sign(ctx, signature, &len, block, (size_t)EVP_PKEY_get_size(key)), 1);
        EVP_PKEY_CTX_free(ctx);
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, md), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)salt), 1);
        assert_int_equal(EVP_PKEY_verify(ctx, signature, len, digest, hash), 1);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(key);
    }
}

TEST(pss_padding_refuses_a_key_that_is_too_short)
{
    static const uint8_t digest[64];
    CLEANUP(err_freep) struct err *err = NULL;
    uint8_t block[128];

    assert_int_equal(pss_encode(1024, EVP_sha512(), EVP_sha512(), 63, digest, block, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
}
