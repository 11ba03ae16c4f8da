#include "server-ref/store.h"

#include <sys/stat.h>

#include "tests/testing.h"

static struct store *open_new(char **dir)
{
    struct store *store = NULL;
    struct err *err = NULL;

    *dir = testing_tmpdir();
    assert_ok(store_open(*dir, true, &store, &err) == 0, err);
    return store;
}

static int64_t add_request(struct store *store, const char *requester)
{
    CLEANUP(stored_request_clear)
    struct stored_request request = {.state = REQUEST_PENDING,
        .requester = mem_strdup(requester),
        .attributes = mem_strdup("ccm:x\n"),
        .received = 7};
    struct err *err = NULL;

    bytes_set(&request.payload, "\0\1\2", 3);
    assert_ok(store_add_request(store, &request, &err) == 0, err);
    return request.id;
}

static void fill_certificate(struct stored_certificate *certificate, const char *serial, const char *der)
{
    *certificate = (struct stored_certificate){
        .serial = mem_strdup(serial), .requester = mem_strdup("alice"), .not_before = 1, .not_after = 2};
    bytes_set(&certificate->der, der, strlen(der));
}

TEST(store_gives_back_a_request_as_it_came)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(store_closep) struct store *store = open_new(&dir);
    CLEANUP(stored_request_clear) struct stored_request found = {0};
    int64_t id = add_request(store, "alice");

    assert_int_equal(store_find_request(store, id, &found, NULL), 0);
    assert_int_equal(found.state, REQUEST_PENDING);
    assert_string_equal(found.requester, "alice");
    assert_string_equal(found.attributes, "ccm:x\n");
    assert_null(found.template_name);
    assert_int_equal(found.payload.len, 3);
    assert_memory_equal(found.payload.data, "\0\1\2", 3);
    assert_int_equal(store_find_request(store, id + 1, &found, NULL), STORE_NONE);
}

TEST(store_never_gives_a_request_id_twice)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(store_closep) struct store *store = open_new(&dir);
    int64_t first;

    assert_int_equal(store_begin(store, NULL), 0);
    first = add_request(store, "alice");
    assert_int_equal(store_commit(store, NULL), 0);
    assert_int_equal(add_request(store, "alice"), first + 1);
}

TEST(store_forgets_what_was_rolled_back)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(store_closep) struct store *store = open_new(&dir);
    CLEANUP(stored_request_list_clear) struct stored_request_list list = {0};

    assert_int_equal(store_begin(store, NULL), 0);
    add_request(store, "alice");
    store_rollback(store);
    assert_int_equal(store_list_requests(store, &list, NULL), 0);
    assert_int_equal(list.n, 0);
}

TEST(store_shows_one_process_what_another_wrote)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(store_closep) struct store *store = open_new(&dir);
    CLEANUP(store_closep) struct store *other = NULL;
    CLEANUP(stored_request_clear) struct stored_request found = {0};
    int64_t id;

    assert_int_equal(store_open(dir, false, &other, NULL), 0);
    id = add_request(other, "bob");
    assert_int_equal(store_find_request(store, id, &found, NULL), 0);
    assert_string_equal(found.requester, "bob");
}

TEST(store_finds_a_certificate_by_all_of_its_bytes_only)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(store_closep) struct store *store = open_new(&dir);
    CLEANUP(stored_certificate_clear) struct stored_certificate mine = {0};
    CLEANUP(stored_certificate_clear) struct stored_certificate lookalike = {0};
    CLEANUP(stored_certificate_clear) struct stored_certificate found = {0};

    fill_certificate(&mine, "0a", "the certificate");
    fill_certificate(&lookalike, "0a", "the certificatE");
    assert_int_equal(store_add_certificate(store, &mine, NULL), 0);
    assert_int_equal(store_find_certificate(store, &lookalike.der, &found, NULL), STORE_NONE);
    assert_int_equal(store_find_certificate(store, &mine.der, &found, NULL), 0);
    assert_int_equal(found.id, mine.id);
    assert_int_equal(store_add_certificate(store, &mine, NULL), -1);
}

TEST(store_keeps_the_lineage_of_renewals)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(store_closep) struct store *store = open_new(&dir);
    CLEANUP(stored_certificate_clear) struct stored_certificate first = {0};
    CLEANUP(stored_certificate_clear) struct stored_certificate renewed = {0};
    CLEANUP(stored_certificate_clear) struct stored_certificate found = {0};

    fill_certificate(&first, "0a", "first");
    assert_int_equal(store_add_certificate(store, &first, NULL), 0);
    assert_int_equal(first.lineage, first.id);
    fill_certificate(&renewed, "0b", "renewed");
    renewed.lineage = first.lineage;
    assert_int_equal(store_add_certificate(store, &renewed, NULL), 0);
    assert_int_equal(store_find_certificate(store, &renewed.der, &found, NULL), 0);
    assert_int_equal(found.lineage, first.id);
}

TEST(store_revokes_once)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(store_closep) struct store *store = open_new(&dir);
    CLEANUP(stored_certificate_clear) struct stored_certificate certificate = {0};
    CLEANUP(stored_certificate_clear) struct stored_certificate found = {0};

    fill_certificate(&certificate, "0a", "x");
    assert_int_equal(store_add_certificate(store, &certificate, NULL), 0);
    assert_int_equal(store_revoke(store, "0a", 1, 77, NULL), 0);
    assert_int_equal(store_revoke(store, "0a", 4, 88, NULL), STORE_NONE);
    assert_int_equal(store_revoke(store, "0b", 4, 88, NULL), STORE_NONE);
    assert_int_equal(store_find_certificate(store, &certificate.der, &found, NULL), 0);
    assert_int_equal(found.revoked, 77);
    assert_int_equal(found.reason, 1);
}

TEST(store_is_readable_for_its_owner_only)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(mem_freep) char *path = NULL;
    struct stat st;

    store_close(open_new(&dir));
    path = mem_printf("%s/server.db", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

TEST(store_that_is_missing_says_how_to_make_one)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(err_freep) struct err *err = NULL;
    struct store *store = NULL;

    assert_int_equal(store_open(dir, false, &store, &err), -1);
    assert_int_equal(err_kind(err), ERR_MISSING);
    assert_contains(err_hint_text(err), "init");
}
