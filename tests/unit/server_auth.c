#include "server-ref/auth.h"

#include "protocol/pki/hresult.h"
#include "tests/testing.h"

static struct store *open_with_user(const char *name, const char *password)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(secret_freep) struct secret *secret = secret_copy(password, strlen(password));
    CLEANUP(mem_freep) char *hash = auth_hash(secret, NULL);
    struct store *store = NULL;

    assert_int_equal(store_open(dir, true, &store, NULL), 0);
    assert_int_equal(store_put_user(store, name, hash, 1, NULL), 0);
    return store;
}

static int log_in(struct auth *auth, struct store *store, const char *name, const char *password)
{
    CLEANUP(secret_freep) struct secret *secret = secret_copy(password, strlen(password));
    CLEANUP(caller_clear) struct caller caller = {0};
    int r = auth_password(auth, store, name, secret, &caller, NULL);

    if (r == 0)
        assert_string_equal(caller.account, name);
    return r;
}

TEST(auth_hashes_with_yescrypt_and_new_salt)
{
    CLEANUP(secret_freep) struct secret *secret = secret_copy("x", 1);
    CLEANUP(mem_freep) char *first = auth_hash(secret, NULL);
    CLEANUP(mem_freep) char *second = auth_hash(secret, NULL);

    assert_int_equal(strncmp(first, "$y$", 3), 0);
    assert_string_not_equal(first, second);
}

TEST(auth_takes_the_right_password_only)
{
    CLEANUP(store_closep) struct store *store = open_with_user("alice", "right");
    CLEANUP(auth_freep) struct auth *auth = auth_new(NULL);

    assert_int_equal(log_in(auth, store, "alice", "wrong"), AUTH_REFUSED);
    assert_int_equal(log_in(auth, store, "alice", "right"), 0);
    assert_int_equal(log_in(auth, store, "alice", "right"), 0); /* remembered */
    assert_int_equal(log_in(auth, store, "alice", "wrong"), AUTH_REFUSED);
    assert_int_equal(log_in(auth, store, "alice", ""), AUTH_REFUSED);
    assert_int_equal(log_in(auth, store, "bob", "right"), AUTH_REFUSED);
}

TEST(auth_forgets_a_password_that_was_changed)
{
    CLEANUP(store_closep) struct store *store = open_with_user("alice", "old");
    CLEANUP(auth_freep) struct auth *auth = auth_new(NULL);
    CLEANUP(secret_freep) struct secret *secret = secret_copy("new", 3);
    CLEANUP(mem_freep) char *hash = auth_hash(secret, NULL);

    assert_int_equal(log_in(auth, store, "alice", "old"), 0);
    assert_int_equal(store_put_user(store, "alice", hash, 2, NULL), 0);
    assert_int_equal(log_in(auth, store, "alice", "old"), AUTH_REFUSED);
    assert_int_equal(log_in(auth, store, "alice", "new"), 0);
    assert_int_equal(store_delete_user(store, "alice", NULL), 0);
    assert_int_equal(log_in(auth, store, "alice", "new"), AUTH_REFUSED);
}

TEST(auth_judges_a_certificate_by_dates_and_revocation)
{
    char serial[] = "0a";
    struct stored_certificate certificate = {.serial = serial, .not_before = 100, .not_after = 200};
    CLEANUP(err_freep) struct err *early = NULL;
    CLEANUP(err_freep) struct err *late = NULL;
    CLEANUP(err_freep) struct err *revoked = NULL;

    assert_int_equal(auth_check_certificate(&certificate, 150, NULL), 0);
    assert_int_equal(auth_check_certificate(&certificate, 200, NULL), 0);
    assert_int_equal(auth_check_certificate(&certificate, 99, &early), -1);
    assert_int_equal(err_code(early), (uint32_t)CERT_E_EXPIRED);
    assert_int_equal(auth_check_certificate(&certificate, 201, &late), -1);
    assert_int_equal(err_code(late), (uint32_t)CERT_E_EXPIRED);
    certificate.revoked = 120;
    assert_int_equal(auth_check_certificate(&certificate, 150, &revoked), -1);
    assert_int_equal(err_code(revoked), (uint32_t)CRYPT_E_REVOKED);
}
