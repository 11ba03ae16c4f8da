#include "agent/key/token_mend.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/key/key_token.h"
#include "agent/key/token_softhsm.h"
#include "tests/testing.h"

/* A token of SoftHSM's with one key, and its files. */
struct scene {
    char *dir, *tokens, *object; /* @object: of the private key */
    char *module;
    struct secret *pin;
    struct token *token;
    struct bytes id;
};

static void scene_clear(struct scene *s)
{
    token_close(s->token);
    secret_free(s->pin);
    free(s->module);
    free(s->object);
    free(s->tokens);
    free(s->dir);
    bytes_clear(&s->id);
}

static char *first(const char *fmt, const char *where)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, fmt, where), 0);
    return mem_strdup(bytes_text(&out));
}

static void open_token(struct scene *s)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct token_place place = {.uri = "pkcs11:token=mend", .state_dir = s->dir, .is_ours = true};

    token_close(TAKE(s->token));
    secret_free(TAKE(s->pin));
    free(TAKE(s->module));
    assert_ok(token_softhsm_create(s->dir, "mend", &s->module, &s->pin, &err) == 0, err);
    place.module = s->module;
    assert_ok(token_open(&place, s->pin, &s->token, &err) == 0, err);
}

static void start(struct scene *s)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(key_freep) struct key *key = NULL;

    s->dir = testing_tmpdir();
    s->tokens = mem_printf("%s/tokens", s->dir);
    open_token(s);
    key_new_id((const uint8_t *)"test", &s->id);
    assert_ok(key_token_open_or_generate(s->token, &s->id, "key", KEY_EC_P256, &key, &err) == 0, err);
    s->object = first("grep -l --null-data . '%s'/*/*.object | grep -v token.object | xargs ls -S | head -1 | "
                      "tr -d '\\n'",
        s->tokens);
}

static size_t count(struct scene *s)
{
    CLEANUP(key_listings_clear) struct key_listings keys = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(key_token_list(s->token, NULL, &keys, &err) == 0, err);
    for (size_t i = 0; i < keys.n; i++)
        assert_true(keys.items[i].has_private && keys.items[i].has_public);
    return keys.n;
}

static size_t files(const char *dir, const char *pattern)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "find '%s' -name '%s' | wc -l", dir, pattern), 0);
    return (size_t)atoi(bytes_text(&out));
}

static void cut(const char *path, off_t len)
{
    assert_int_equal(truncate(path, len), 0);
}

TEST(token_whose_own_object_was_emptied_is_put_back)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *object = NULL;

    start(&s);
    object = first("ls '%s'/*/token.object | tr -d '\\n'", s.tokens);
    cut(object, 0);
    open_token(&s);
    assert_int_equal(count(&s), 1);
}

TEST(key_that_was_cut_short_is_put_back)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(bytes_clear) struct bytes before = {0};
    CLEANUP(bytes_clear) struct bytes after = {0};

    start(&s);
    testing_read(s.object, &before);
    for (off_t len = 0; len < (off_t)before.len; len += 100) {
        cut(s.object, len);
        open_token(&s);
        assert_int_equal(count(&s), 1);
        testing_read(s.object, &after);
        assert_true(bytes_equal(&before, &after));
    }
}

TEST(object_that_was_never_finished_is_removed)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *half = NULL;
    CLEANUP(mem_freep) char *lock = NULL;
    size_t before;

    start(&s);
    before = files(s.tokens, "*.object");
    half = mem_printf("%.*s/half.object", (int)(strrchr(s.object, '/') - s.object), s.object);
    lock = mem_printf("%.*s/half.lock", (int)(strrchr(s.object, '/') - s.object), s.object);
    testing_write(half, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3", 32); /* a class only */
    testing_write(lock, "", 0);
    open_token(&s);
    assert_int_equal(files(s.tokens, "*.object"), before);
    assert_int_equal(files(s.tokens, "half.lock"), 0);
    assert_int_equal(count(&s), 1);
}

TEST(copy_of_a_destroyed_key_goes_with_it)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *kept = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    start(&s);
    kept = mem_printf("%s.kept", s.tokens);
    assert_int_equal(files(kept, "*.object"), 3);
    assert_ok(key_token_destroy(s.token, &s.id, &err) == 0, err);
    assert_int_equal(files(kept, "*.object"), 1); /* the token's own */
    assert_int_equal(testing_shell(NULL, "test \"$(stat -c %%a '%s')\" = 700", kept), 0);
}

/* What is written in a way that we do not know is SoftHSM's business. */
TEST(object_of_an_unknown_format_is_left_alone)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *odd = NULL;

    start(&s);
    odd = mem_printf("%.*s/odd.object", (int)(strrchr(s.object, '/') - s.object), s.object);
    testing_write(odd, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\77", 24);
    open_token(&s);
    assert_int_equal(files(s.tokens, "odd.object"), 1);
}

TEST(folder_without_a_token_needs_nothing)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *tokens = mem_printf("%s/tokens", dir);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(token_mend(tokens, &err) == 0, err);
    assert_int_equal(files(dir, "*"), 1);
}
