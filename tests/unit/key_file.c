#include "agent/key/key_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "agent/key/key_token.h"
#include "tests/key_uses.h"
#include "tests/testing.h"

struct place {
    char *dir;
    char *path;
};

static struct place new_place(void)
{
    char *dir = testing_tmpdir();

    return (struct place){dir, mem_printf("%s/key.pem", dir)};
}

static void place_clear(struct place *p)
{
    free(p->dir);
    free(p->path);
}

TEST(every_kind_is_made_read_and_used)
{
    for (int kind = 0; kind < KEY__MAX; kind++) {
        CLEANUP(place_clear) struct place p = new_place();
        CLEANUP(key_freep) struct key *made = NULL;
        CLEANUP(key_freep) struct key *read = NULL;
        struct err *err = NULL;
        struct stat st;

        assert_ok(key_file_generate(p.path, (enum key_kind)kind, &made, &err) == 0, err);
        assert_ok(key_file_open(p.path, &read, &err) == 0, err);
        assert_int_equal(key_kind(read), kind);
        assert_true(bytes_equal(key_spki(made), key_spki(read)));
        assert_true(bytes_equal(key_id(made), key_id(read)));
        assert_string_equal(key_uri(read), p.path);
        assert_false(key_in_token(read));
        assert_int_equal(stat(p.path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(testing_shell(NULL, "openssl pkey -in '%s' -check -noout >/dev/null 2>&1", p.path), 0);
        key_uses_requests(key_evp(read), p.dir);
        key_uses_tls(key_evp(read), TLS1_3_VERSION);
    }
}

TEST(existing_file_is_never_overwritten)
{
    CLEANUP(place_clear) struct place p = new_place();
    CLEANUP(bytes_clear) struct bytes content = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct key *key = NULL;

    testing_write(p.path, "mine", 4);
    assert_int_equal(key_file_generate(p.path, KEY_EC_P256, &key, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    testing_read(p.path, &content);
    assert_string_equal(bytes_text(&content), "mine");
}

TEST(file_that_others_can_read_is_refused)
{
    CLEANUP(place_clear) struct place p = new_place();
    CLEANUP(key_freep) struct key *key = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct key *again = NULL;

    assert_int_equal(key_file_generate(p.path, KEY_EC_P256, &key, NULL), 0);
    assert_int_equal(chmod(p.path, 0604), 0);
    assert_int_equal(key_file_open(p.path, &again, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    assert_contains(err_hint_text(err), "chmod 600");
}

TEST(link_is_not_followed)
{
    CLEANUP(place_clear) struct place p = new_place();
    CLEANUP(mem_freep) char *link = mem_printf("%s/link.pem", p.dir);
    CLEANUP(key_freep) struct key *key = NULL;
    struct key *again = NULL;

    assert_int_equal(key_file_generate(p.path, KEY_EC_P256, &key, NULL), 0);
    assert_int_equal(symlink(p.path, link), 0);
    assert_int_equal(key_file_open(link, &again, NULL), -1);
}

TEST(what_is_no_key_is_refused_and_stays)
{
    static const char *const wrong[] = {"", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "x"};

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(place_clear) struct place p = new_place();
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(err_freep) struct err *again = NULL;
        struct key *key = NULL;

        testing_write(p.path, wrong[i], strlen(wrong[i]));
        assert_int_equal(key_file_open(p.path, &key, &err), -1);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_int_equal(key_file_open_or_generate(p.path, KEY_EC_P256, &key, &again), -1);
        assert_int_equal(err_kind(again), ERR_INVALID);
    }
}

TEST(key_behind_a_passphrase_asks_nobody)
{
    CLEANUP(place_clear) struct place p = new_place();
    CLEANUP(err_freep) struct err *err = NULL;
    struct key *key = NULL;

    assert_int_equal(testing_shell(NULL,
                         "umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes-256-cbc "
                         "-pass pass:x -out '%s' 2>/dev/null",
                         p.path),
        0);
    assert_int_equal(key_file_open(p.path, &key, &err), -1);
    assert_contains(err_hint_text(err), "without a passphrase");
}

TEST(interrupted_work_takes_up_its_file)
{
    CLEANUP(place_clear) struct place p = new_place();
    CLEANUP(key_freep) struct key *first = NULL;
    CLEANUP(key_freep) struct key *second = NULL;
    CLEANUP(err_freep) struct err *other = NULL;
    CLEANUP(mem_freep) char *half = mem_printf("%s.new", p.path);
    struct err *err = NULL;
    struct key *third = NULL;

    testing_write(half, "half", 4); /* of a write that a crash cut off */
    assert_ok(key_file_open_or_generate(p.path, KEY_EC_P384, &first, &err) == 0, err);
    assert_ok(key_file_open_or_generate(p.path, KEY_EC_P384, &second, &err) == 0, err);
    assert_true(bytes_equal(key_spki(first), key_spki(second)));
    assert_int_equal(key_file_open_or_generate(p.path, KEY_EC_P256, &third, &other), -1);
    assert_contains(err_text(other), "P-384");
}

TEST(destroyed_file_is_gone)
{
    CLEANUP(place_clear) struct place p = new_place();
    CLEANUP(key_freep) struct key *key = NULL;
    CLEANUP(err_freep) struct err *missing = NULL;
    struct err *err = NULL;
    struct key *again = NULL;

    assert_ok(key_file_generate(p.path, KEY_EC_P256, &key, &err) == 0, err);
    assert_ok(key_file_destroy(p.path, &err) == 0, err);
    assert_ok(key_file_destroy(p.path, &err) == 0, err);
    assert_int_equal(key_file_open(p.path, &again, &missing), -1);
    assert_int_equal(err_kind(missing), ERR_MISSING);
}

TEST(file_key_is_no_proof_of_a_token)
{
    CLEANUP(place_clear) struct place p = new_place();
    CLEANUP(key_freep) struct key *key = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    char *proof = NULL;

    assert_int_equal(key_file_generate(p.path, KEY_EC_P256, &key, NULL), 0);
    assert_int_equal(key_token_prove_unextractable(key, &proof, &err), -1);
    assert_contains(err_text(err), "is in a file");
    assert_null(proof);
}
