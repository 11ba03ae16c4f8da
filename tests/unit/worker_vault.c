#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/trust.h"
#include "agent/worker/vault.h"
#include "tests/rogue.h"
#include "tests/testing.h"

static char *credentials(void)
{
    char *dir = testing_tmpdir();

    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    return dir;
}

static void store(const char *dir, const char *name, const void *data, size_t len)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);

    testing_write(path, data, len);
}

TEST(vault_gives_a_credential_without_the_line_end_behind_it)
{
    static const struct {
        const char *text, *secret;
    } cases[] = {{"word", "word"}, {"word\n", "word"}, {"word\r\n", "word"}, {"two words\n\n", "two words\n"},
        {" \xc3\xa4 ", " \xc3\xa4 "}};
    CLEANUP(mem_freep) char *dir = credentials();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(secret_freep) struct secret *secret = NULL;
        CLEANUP(err_freep) struct err *err = NULL;

        store(dir, "corp.password", cases[i].text, strlen(cases[i].text));
        assert_ok(vault_find("corp.password", &secret, &err) == VAULT_FOUND, err);
        assert_string_equal(secret_peek(secret), cases[i].secret);
    }
}

TEST(vault_tells_missing_from_wrong)
{
    CLEANUP(mem_freep) char *dir = credentials();
    CLEANUP(secret_freep) struct secret *secret = NULL;
    char long_text[VAULT_MAX_SECRET + 1];
    static const char *const wrong[] = {"empty", "newline", "zero", "long", "../x", "a/b", ".", ""};

    memset(long_text, 'x', sizeof(long_text));
    store(dir, "empty", "", 0);
    store(dir, "newline", "\n", 1);
    store(dir, "zero", "a\0b", 3);
    store(dir, "long", long_text, sizeof(long_text));
    assert_int_equal(vault_find("none", &secret, NULL), VAULT_NONE);
    assert_int_equal(vault_find(NULL, &secret, NULL), VAULT_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        if (vault_find(wrong[i], &secret, &err) != -1)
            fail_msg("'%s' was taken", wrong[i]);
        assert_int_equal(err_kind(err), ERR_AUTH);
        assert_null(strstr(err_text(err), "xxx"));
    }
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_int_equal(vault_find("empty", &secret, NULL), VAULT_NONE);
}

TEST(trust_reads_every_anchor_of_the_file)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/both.pem", dir);
    CLEANUP(bytes_clear) struct bytes pem = {0};
    CLEANUP(trust_clear) struct trust trust = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct rogue_ca *first = rogue_ca_new("First", NULL);
    struct rogue_ca *second = rogue_ca_new("Second", NULL);

    assert_int_equal(bytes_append_text(&pem, "# first\n", NULL), 0);
    assert_int_equal(cert_to_pem(first->cert, &pem, NULL), 0);
    assert_int_equal(cert_to_pem(second->cert, &pem, NULL), 0);
    testing_write(path, pem.data, pem.len);
    assert_ok(trust_read(path, &trust, &err) == 0, err);
    assert_int_equal(trust.anchors.n, 2);
    assert_true(cert_equal(trust.anchors.items[1], second->cert));
}

TEST(trust_names_the_file_that_is_wrong)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *missing = mem_printf("%s/missing.pem", dir);
    CLEANUP(mem_freep) char *empty = mem_printf("%s/empty.pem", dir);
    const char *const paths[] = {NULL, missing, empty, dir};

    testing_write(empty, "no certificate\n", 15);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(trust_clear) struct trust trust = {0};

        assert_int_equal(trust_read(paths[i], &trust, &err), -1);
        assert_int_equal(err_kind(err), ERR_CONFIG);
        assert_contains(err_text(err), paths[i] ? paths[i] : "no ca-file");
        assert_non_null(err_hint_text(err));
    }
}
