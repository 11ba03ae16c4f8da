#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/key/key_token.h"
#include "agent/key/token_softhsm.h"
#include "tests/key_uses.h"
#include "tests/testing.h"

struct own {
    char *dir;
    char *module;
    struct secret *pin;
};

static void own_clear(struct own *o)
{
    free(o->dir);
    free(o->module);
    secret_free(o->pin);
    *o = (struct own){0};
}

static char *folder(void)
{
    CLEANUP(mem_freep) char *tmp = testing_tmpdir();

    return mem_printf("%s/token", tmp);
}

static void create(struct own *o)
{
    struct err *err = NULL;

    free(o->module);
    o->module = NULL;
    secret_free(o->pin);
    o->pin = NULL;
    if (token_softhsm_create(o->dir, "autoenroll", &o->module, &o->pin, &err) == 0)
        return;
    if (err_kind(err) == ERR_MISSING && strstr(err_text(err), "not installed")) {
        print_message("%s\n", err_text(err));
        skip();
    }
    assert_ok(false, err);
}

static struct token *open_own(const struct own *o)
{
    struct token_place place = {"pkcs11:token=autoenroll", o->module, o->dir, true};
    struct err *err = NULL;
    struct token *token = NULL;

    assert_ok(token_open(&place, o->pin, &token, &err) == 0, err);
    return token;
}

static void works(const struct own *o)
{
    static const uint8_t tag[KEY_TAG_LEN] = {9, 9, 9, 9};
    CLEANUP(bytes_clear) struct bytes id = {0};
    struct token *token = open_own(o);
    struct err *err = NULL;
    struct key *key = NULL;

    key_new_id(tag, &id);
    assert_ok(key_token_generate(token, &id, "first", KEY_EC_P256, &key, &err) == 0, err);
    key_uses_signatures(key_evp(key));
    key_free(key);
    token_close(token);
}

static mode_t mode_of(const char *dir, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static bool exists(const struct own *o, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", o->dir, name);

    return access(path, F_OK) == 0;
}

TEST(first_start_makes_a_private_token)
{
    CLEANUP(own_clear) struct own o = {.dir = folder()};
    CLEANUP(bytes_clear) struct bytes open_files = {0};

    create(&o);
    assert_int_equal(secret_len(o.pin), 30);
    works(&o);
    assert_int_equal(mode_of(o.dir, ""), 0700);
    assert_int_equal(mode_of(o.dir, "tokens"), 0700);
    assert_int_equal(mode_of(o.dir, "pin"), 0600);
    assert_int_equal(mode_of(o.dir, "softhsm2.conf"), 0600);
    assert_int_equal(testing_shell(&open_files, "find '%s' -type f -perm /077 -o -type d -perm /077", o.dir), 0);
    assert_string_equal(bytes_text(&open_files), "");
    assert_false(exists(&o, "tokens.new"));
}

TEST(second_start_finds_the_same_token_and_its_keys)
{
    CLEANUP(own_clear) struct own o = {.dir = folder()};
    CLEANUP(secret_freep) struct secret *first = NULL;
    CLEANUP(key_listings_clear) struct key_listings keys = {0};
    struct err *err = NULL;
    struct token *token;

    create(&o);
    works(&o);
    first = TAKE(o.pin);
    create(&o);
    assert_true(secret_equal(first, o.pin));
    token = open_own(&o);
    assert_ok(key_token_list(token, NULL, &keys, &err) == 0, err);
    assert_int_equal(keys.n, 1);
    token_close(token);
}

TEST(two_tokens_have_different_pins)
{
    CLEANUP(own_clear) struct own a = {.dir = folder()};
    CLEANUP(own_clear) struct own b = {.dir = folder()};

    create(&a);
    create(&b);
    assert_false(secret_equal(a.pin, b.pin));
    works(&b);
}

static useconds_t microseconds(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (useconds_t)(now.tv_sec % 1000) * 1000000u + (useconds_t)(now.tv_nsec / 1000);
}

/* How long a first start takes here and now, so that the kills below are spread over all of it. */
static useconds_t length_of_a_first_start(void)
{
    CLEANUP(own_clear) struct own o = {.dir = folder()};
    useconds_t before = microseconds();

    create(&o);
    return microseconds() - before;
}

TEST(killed_first_start_is_finished_by_the_next)
{
    enum { KILLS = 20 };
    useconds_t length = length_of_a_first_start();

    for (useconds_t i = 0; i < KILLS; i++) {
        CLEANUP(own_clear) struct own o = {.dir = folder()};
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            create(&o);
            _exit(0);
        }
        (void)usleep(length / KILLS * i);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        create(&o);
        works(&o);
        assert_false(exists(&o, "tokens.new"));
        assert_false(exists(&o, "softhsm2.new.conf"));
    }
}

TEST(token_without_its_pin_file_is_not_replaced)
{
    CLEANUP(own_clear) struct own o = {.dir = folder()};
    CLEANUP(mem_freep) char *pin = mem_printf("%s/pin", o.dir);
    CLEANUP(err_freep) struct err *err = NULL;
    struct secret *none = NULL;
    char *module = NULL;

    create(&o);
    works(&o);
    assert_int_equal(unlink(pin), 0);
    assert_int_equal(token_softhsm_create(o.dir, "autoenroll", &module, &none, &err), -1);
    assert_int_equal(err_kind(err), ERR_MISSING);
    assert_contains(err_hint_text(err), "backup");
    assert_false(exists(&o, "pin"));
    assert_true(exists(&o, "tokens"));
}

TEST(pin_file_that_others_can_read_is_refused)
{
    CLEANUP(own_clear) struct own o = {.dir = folder()};
    CLEANUP(mem_freep) char *path = mem_printf("%s/pin", o.dir);
    CLEANUP(err_freep) struct err *err = NULL;
    struct secret *none = NULL;
    char *module = NULL;

    create(&o);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(token_softhsm_create(o.dir, "autoenroll", &module, &none, &err), -1);
    assert_contains(err_text(err), "open to others");
    assert_contains(err_hint_text(err), "chmod 600");
}

TEST(open_makes_nothing)
{
    CLEANUP(own_clear) struct own o = {.dir = folder()};
    CLEANUP(err_freep) struct err *err = NULL;
    struct secret *none = NULL;
    char *module = NULL;

    assert_int_equal(token_softhsm_open(o.dir, &module, &none, &err), -1);
    assert_int_equal(err_kind(err), ERR_MISSING);
    assert_int_equal(access(o.dir, F_OK), -1);
}

TEST(open_finds_what_was_made)
{
    CLEANUP(own_clear) struct own o = {.dir = folder()};
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(mem_freep) char *module = NULL;
    struct err *err = NULL;

    create(&o);
    assert_ok(token_softhsm_open(o.dir, &module, &pin, &err) == 0, err);
    assert_true(secret_equal(pin, o.pin));
    works(&o);
}

TEST(folder_with_a_line_end_in_its_name_is_refused)
{
    CLEANUP(err_freep) struct err *err = NULL;
    char *module = NULL;

    assert_int_equal(token_softhsm_use("/tmp/a\nlog.level = DEBUG", &module, &err), -1);
    assert_int_equal(err_kind(err), ERR_CONFIG);
}

TEST(pin_file_holds_one_line)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/pin", dir);
    static const struct {
        const char *text;
        const char *pin; /* NULL: refused */
    } files[] = {{"1234", "1234"}, {"1234\n", "1234"}, {"", NULL}, {"\n", NULL}, {"1234\n\n", NULL}, {"1\n2\n", NULL}};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        CLEANUP(secret_freep) struct secret *pin = NULL;
        CLEANUP(err_freep) struct err *err = NULL;

        testing_write(path, files[i].text, strlen(files[i].text));
        assert_int_equal(token_pin_read(path, &pin, &err), files[i].pin ? 0 : -1);
        if (files[i].pin)
            assert_string_equal(secret_peek(pin), files[i].pin);
    }
}
