#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define P11_KIT_FUTURE_UNSTABLE_API /* p11_kit_override_system_files */
#include <p11-kit/p11-kit.h>

#include "agent/key/token.h"
#include "tests/testing.h"
#include "tests/token_fixture.h"

/* ---- URIs ---- */

static void refuses_uri(const char *uri, const char *why)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(token_uri_check(uri, &err), -1);
    assert_int_equal(err_kind(err), ERR_CONFIG);
    assert_contains(err_text(err), why);
}

TEST(uri_names_a_token_by_label_serial_manufacturer_and_model)
{
    static const char *const good[] = {
        "pkcs11:token=tpm",
        "pkcs11:token=with%20space;serial=0123",
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=1;token=x",
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct err *err = NULL;

        assert_ok(token_uri_check(good[i], &err) == 0, err);
    }
}

TEST(uri_is_read_strictly)
{
    static const struct {
        const char *uri;
        const char *why;
    } bad[] = {
        {"", "does not begin with 'pkcs11:'"},
        {"token=tpm", "does not begin with 'pkcs11:'"},
        {"PKCS11:token=tpm", "does not begin with 'pkcs11:'"},
        {"pkcs11:", "every token"},
        {"pkcs11:token", "has no value"},
        {"pkcs11:token=", "has no value"},
        {"pkcs11:token=a;token=b", "stands twice"},
        {"pkcs11:token=a;", "''"},
        {"pkcs11:token=a b", "white space"},
        {"pkcs11:token=a%2", "cannot be read"},
        {"pkcs11:token=a%zz", "cannot be read"},
        {"pkcs11:tokne=a", "'tokne'"},
        {"pkcs11:token=a;id=%01", "'id'"},
        {"pkcs11:token=a;object=b", "'object'"},
        {"pkcs11:token=a;type=private", "'type'"},
        {"pkcs11:token=a?module-path=/x.so", "'module-path'"},
        {"pkcs11:token=a?pin-value=1234", "'pin-value'"},
        {"pkcs11:token=a?pin-source=/x", "'pin-source'"},
        {"pkcs11:token=a;pin-value=1234", "'pin-value'"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        refuses_uri(bad[i].uri, bad[i].why);
}

TEST(pin_in_a_uri_is_refused_without_repeating_it)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(token_uri_check("pkcs11:token=a?pin-value=geheim", &err), -1);
    assert_null(strstr(err_text(err), "geheim"));
    assert_null(strstr(err_hint_text(err), "geheim"));
    assert_contains(err_hint_text(err), "credential");
}

/* ---- finding ---- */

static int open_uri(const struct token_fixture *f, const char *uri, struct token **out, struct err **errp)
{
    struct token_place place = f->place;

    place.uri = uri;
    return token_open(&place, f->pin, out, errp);
}

static void finds(enum token_backend backend)
{
    struct token_fixture f;
    CLEANUP(token_list_clear) struct token_list list = {0};
    struct err *err = NULL;
    struct token *token = NULL;

    token_fixture_start(&f, backend);
    assert_ok(token_list(f.module, &list, &err) == 0, err);
    assert_int_equal(list.n, 1); /* the spare slot has no token */
    assert_true(list.items[0].login_required);
    assert_false(list.items[0].write_protected);
    assert_ok(open_uri(&f, list.items[0].uri, &token, &err) == 0, err);
    assert_string_equal(token_info(token)->label, strchr(f.place.uri, '=') + 1);
    assert_string_equal(token_info(token)->serial, list.items[0].serial);
    assert_ok(token_check_login(token, &err) == 0, err);
    token_close(token);
    token_fixture_clear(&f);
}

TEST(softhsm_token_is_found_by_its_listed_uri)
{
    finds(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_token_is_found_by_its_listed_uri)
{
    finds(TOKEN_BACKEND_TPM);
}

TEST(token_that_is_not_there_is_missing)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *err = NULL;
    struct token *token = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_int_equal(open_uri(&f, "pkcs11:token=other", &token, &err), -1);
    assert_null(token);
    assert_int_equal(err_kind(err), ERR_MISSING);
    assert_contains(err_text(err), "no token fits pkcs11:token=other");
    assert_contains(err_hint_text(err), "label");
    token_fixture_clear(&f);
}

TEST(uri_that_fits_two_tokens_is_refused_naming_both)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *err = NULL;
    struct token *token = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_int_equal(
        testing_shell(NULL, "softhsm2-util --init-token --free --label soft --so-pin 11112222 --pin 9999 >/dev/null"),
        0);
    assert_int_equal(open_uri(&f, "pkcs11:token=soft", &token, &err), -1);
    assert_int_equal(err_kind(err), ERR_CONFIG);
    assert_contains(err_text(err), "2 tokens fit");
    assert_contains(err_text(err), "serial=");
    assert_contains(err_hint_text(err), "serial=");
    token_fixture_clear(&f);
}

TEST(token_made_while_the_module_is_loaded_is_found)
{
    struct token_fixture f;
    struct err *err = NULL;
    struct token *first = NULL, *second = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_ok(open_uri(&f, "pkcs11:token=soft", &first, &err) == 0, err);
    assert_int_equal(
        testing_shell(NULL, "softhsm2-util --init-token --free --label late --so-pin 11112222 --pin 1234 >/dev/null"),
        0);
    assert_ok(open_uri(&f, "pkcs11:token=late", &second, &err) == 0, err);
    assert_ok(token_check_login(second, &err) == 0, err);
    assert_ok(token_check_login(first, &err) == 0, err);
    token_close(first);
    token_close(second);
    token_fixture_clear(&f);
}

/* p11-kit's own configuration, in a folder of the test: SoftHSM, a TPM that is not there, and the trust module. */
static void configure_p11_kit(const struct token_fixture *f)
{
    static char modules[256], none[256]; /* p11-kit keeps the pointers */

    (void)snprintf(modules, sizeof(modules), "%s/modules", f->dir);
    (void)snprintf(none, sizeof(none), "%s/none", f->dir);
    assert_int_equal(mkdir(modules, 0700), 0);
    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && echo 'module: %s' >soft.module && echo 'module: /nonexistent/x.so' >gone.module && "
            "printf 'module: p11-kit-trust.so\\ntrust-policy: yes\\n' >trust.module",
            modules, f->module),
        0);
    p11_kit_override_system_files(none, none, modules, none, none);
    p11_kit_be_quiet();
}

TEST(every_module_is_asked_but_for_the_trust_module)
{
    struct token_fixture f;
    CLEANUP(token_list_clear) struct token_list list = {0};
    CLEANUP(err_freep) struct err *missing = NULL;
    struct err *err = NULL;
    struct token_place place;
    struct token *token = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    configure_p11_kit(&f);
    assert_ok(token_list(NULL, &list, &err) == 0, err);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.items[0].label, "soft");
    place = f.place;
    place.module = NULL;
    assert_ok(token_open(&place, f.pin, &token, &err) == 0, err);
    assert_ok(token_check_login(token, &err) == 0, err);
    token_close(token);
    token = NULL;
    place.uri = "pkcs11:token=System%20Trust";
    assert_int_equal(token_open(&place, f.pin, &token, &missing), -1);
    assert_int_equal(err_kind(missing), ERR_MISSING);
    token_fixture_clear(&f);
}

TEST(module_that_is_no_module_is_a_configuration_error)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct token_place place = {.uri = "pkcs11:token=x", .module = "/nonexistent/module.so"};
    struct token *token = NULL;

    assert_int_equal(token_open(&place, NULL, &token, &err), -1);
    assert_int_equal(err_kind(err), ERR_CONFIG);
    assert_contains(err_text(err), "/nonexistent/module.so");
}

TEST(token_without_a_pin_says_that_it_wants_one)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *err = NULL;
    struct err *opening = NULL;
    struct token *token = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_ok(token_open(&f.place, NULL, &token, &opening) == 0, opening);
    assert_int_equal(token_check_login(token, &err), -1);
    assert_int_equal(err_kind(err), ERR_AUTH);
    assert_contains(err_hint_text(err), "credential");
    token_close(token);
    token_fixture_clear(&f);
}

/* ---- refused PINs ---- */

static struct secret *secret_of(const char *text)
{
    return secret_copy(text, strlen(text));
}

/* A login with @pin, as a program that was started anew makes it. Returns what token_check_login did. */
static int fresh_login(const struct token_fixture *f, const char *pin, bool ours, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *secret = secret_of(pin);
    struct token_place place = f->place;
    struct err *err = NULL;
    struct token *token = NULL;
    int r;

    place.is_ours = ours;
    assert_ok(token_open(&place, secret, &token, &err) == 0, err);
    r = token_check_login(token, errp);
    token_close(token);
    return r;
}

/* The path of the one file in the state directory that remembers the PIN. Returns owned. */
static char *guard_file(const struct token_fixture *f)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "printf '%%s' '%s'/pin-attempt-*", f->state_dir), 0);
    return mem_strdup(bytes_text(&out));
}

static char guard_state(const struct token_fixture *f)
{
    CLEANUP(mem_freep) char *path = guard_file(f);
    CLEANUP(bytes_clear) struct bytes content = {0};

    testing_read(path, &content);
    return (char)content.data[0];
}

static void set_guard_state(const struct token_fixture *f, char state)
{
    CLEANUP(mem_freep) char *path = guard_file(f);
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_int_equal(pwrite(fd, &state, 1, 0), 1);
    assert_int_equal(close(fd), 0);
}

static void refused_once(enum token_backend backend)
{
    struct token_fixture f;
    CLEANUP(secret_freep) struct secret *wrong = secret_of("4711");
    CLEANUP(err_freep) struct err *first = NULL;
    CLEANUP(err_freep) struct err *second = NULL;
    CLEANUP(err_freep) struct err *later = NULL;
    struct err *err = NULL;
    struct token *token = NULL;

    token_fixture_start(&f, backend);
    assert_ok(token_open(&f.place, wrong, &token, &err) == 0, err);
    assert_int_equal(token_check_login(token, &first), -1);
    assert_int_equal(err_kind(first), ERR_AUTH);
    assert_contains(err_text(first), "C_Login: CKR_PIN_INCORRECT (0xa0)");
    assert_int_equal(token_check_login(token, &second), -1);
    assert_contains(err_text(second), "not presented again");
    token_close(token);

    assert_int_equal(fresh_login(&f, "4711", false, &later), -1);
    assert_int_equal(err_kind(later), ERR_AUTH);
    assert_contains(err_text(later), "refused this PIN earlier");
    assert_contains(err_hint_text(later), "pin-attempt-");
    if (backend == TOKEN_BACKEND_TPM)
        assert_int_equal(token_fixture_lockout_counter(&f), 1);
    assert_ok(fresh_login(&f, "1234", false, &err) == 0, err); /* the right one still works */
    token_fixture_clear(&f);
}

TEST(softhsm_refused_pin_is_presented_once)
{
    refused_once(TOKEN_BACKEND_SOFTHSM);
}

TEST(tpm_refused_pin_is_presented_once_and_counted_once)
{
    refused_once(TOKEN_BACKEND_TPM);
}

TEST(process_with_a_wrong_pin)
{
    struct token_place place = {getenv("TOKEN_URI"), getenv("TOKEN_MODULE"), getenv("TOKEN_STATE"), false};
    struct secret *wrong = secret_of("4711");
    struct token_fixture f = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct err *opening = NULL;
    struct token *token = NULL;

    if (!place.uri) {
        token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
        place = f.place;
    }
    assert_ok(token_open(&place, wrong, &token, &opening) == 0, opening);
    assert_int_equal(token_check_login(token, &err), -1);
    assert_int_equal(err_kind(err), ERR_AUTH);
    token_close(token);
    secret_free(wrong);
    token_fixture_clear(&f);
}

/* All at once: the first one finds out, the others wait for that and do not try. */
TEST(tpm_wrong_pin_of_many_processes_is_counted_once)
{
    struct token_fixture f;
    pid_t pids[4];

    token_fixture_start(&f, TOKEN_BACKEND_TPM);
    (void)setenv("TOKEN_URI", f.place.uri, 1);
    (void)setenv("TOKEN_MODULE", f.module, 1);
    (void)setenv("TOKEN_STATE", f.state_dir, 1);
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            (void)execl("/proc/self/exe", "token", "process_with_a_wrong_pin", NULL);
            _exit(127);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
        int status = -1;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(token_fixture_lockout_counter(&f), 1);
    token_fixture_clear(&f);
}

TEST(attempt_is_recorded_before_the_pin_is_presented)
{
    struct token_fixture f;
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(bytes_clear) struct bytes content = {0};
    struct err *err = NULL;
    struct stat st;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_ok(fresh_login(&f, "1234", false, &err) == 0, err);
    assert_int_equal(guard_state(&f), 'a');
    path = guard_file(&f);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    testing_read(path, &content);
    assert_null(strstr(bytes_text(&content), "1234 "));

    /* Where it cannot be recorded, it is not presented. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(fresh_login(&f, "1234", false, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    err_free(err);
    token_fixture_clear(&f);
}

/* What a kill between the attempt and its outcome leaves. */
TEST(attempt_without_an_outcome_waits_for_a_person)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *open_ended = NULL;
    CLEANUP(mem_freep) char *path = NULL;
    struct err *err = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_ok(fresh_login(&f, "1234", false, &err) == 0, err);
    set_guard_state(&f, 't');
    assert_int_equal(fresh_login(&f, "1234", false, &open_ended), -1);
    assert_int_equal(err_kind(open_ended), ERR_AUTH);
    assert_contains(err_text(open_ended), "the outcome is unknown");
    path = guard_file(&f);
    assert_contains(err_hint_text(open_ended), path);
    assert_int_equal(unlink(path), 0); /* as the hint says */
    assert_ok(fresh_login(&f, "1234", false, &err) == 0, err);
    token_fixture_clear(&f);
}

TEST(attempt_cut_off_with_an_accepted_pin_is_repeated_once)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *refused = NULL;
    struct err *err = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_ok(fresh_login(&f, "1234", false, &err) == 0, err);
    set_guard_state(&f, 'c'); /* it had been accepted before */
    assert_ok(fresh_login(&f, "1234", false, &err) == 0, err);
    assert_int_equal(guard_state(&f), 'a');
    set_guard_state(&f, 'r'); /* and was cut off again */
    assert_int_equal(fresh_login(&f, "1234", false, &refused), -1);
    token_fixture_clear(&f);
}

TEST(attempt_cut_off_with_a_pin_of_ours_is_repeated_once)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *refused = NULL;
    struct err *err = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_ok(fresh_login(&f, "1234", false, &err) == 0, err);
    set_guard_state(&f, 't');
    assert_ok(fresh_login(&f, "1234", true, &err) == 0, err);
    set_guard_state(&f, 'r');
    assert_int_equal(fresh_login(&f, "1234", true, &refused), -1);
    token_fixture_clear(&f);
}

TEST(pin_that_is_no_longer_right_is_remembered_as_refused)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *changed = NULL;
    CLEANUP(err_freep) struct err *later = NULL;
    struct err *err = NULL;
    struct token *token = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_SOFTHSM);
    assert_ok(token_open(&f.place, f.pin, &token, &err) == 0, err);
    assert_ok(token_check_login(token, &err) == 0, err);
    assert_int_equal(testing_shell(NULL,
                         "pkcs11-tool --module '%s' --token-label soft --login --pin 1234 --change-pin --new-pin 5678 "
                         ">/dev/null 2>&1",
                         f.module),
        0);
    token_close(token);
    assert_int_equal(fresh_login(&f, "1234", false, &changed), -1);
    assert_contains(err_text(changed), "CKR_PIN_INCORRECT");
    assert_int_equal(guard_state(&f), 'x');
    assert_int_equal(fresh_login(&f, "1234", false, &later), -1);
    assert_contains(err_text(later), "refused this PIN earlier");
    assert_ok(fresh_login(&f, "5678", false, &err) == 0, err);
    token_fixture_clear(&f);
}

TEST(locked_tpm_says_who_unlocks_it)
{
    struct token_fixture f;
    CLEANUP(err_freep) struct err *err = NULL;

    token_fixture_start(&f, TOKEN_BACKEND_TPM);
    for (int i = 0; i < 3; i++) {
        CLEANUP(mem_freep) char *wrong = mem_printf("wrong%d", i);

        assert_int_equal(fresh_login(&f, wrong, false, NULL), -1);
    }
    assert_int_equal(fresh_login(&f, "1234", false, &err), -1);
    assert_contains(err_text(err), "CKR_PIN_LOCKED (0xa4)");
    assert_contains(err_hint_text(err), "tpm2_dictionarylockout");
    token_fixture_clear(&f);
}
