#include "agent/daemon/record.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/job/job_fields.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

#define NOW ((int64_t)1893456000) /* 2030-01-01 */

static void fill_pair(struct record_pair *pair, const char *key_id, uint32_t generation)
{
    bytes_set(&pair->pair.certificate, "\x30\x00\xff", 3);
    bytes_set(&pair->pair.key_id, key_id, strlen(key_id));
    pair->facts.subject = mem_strdup("CN=web.example,O=J\303\266rg");
    pair->facts.not_before = NOW - WHEN_DAY;
    pair->facts.not_after = NOW + 365 * WHEN_DAY;
    pair->facts.template_major = (struct opt_u32){true, 0};
    pair->generation = generation;
    pair->retire_after = NOW + 7 * WHEN_DAY;
}

/* Something in every member. */
static void fill_record(struct record *r)
{
    CLEANUP(err_freep) struct err *why = NULL;
    struct job_endpoint endpoint = {.uri = (char[]){"https://ca.example/ces"}, .auth = 4, .error = (char[]){"no"}};

    r->certificate = mem_strdup("web");
    r->server = mem_strdup("corp");
    r->template_oid = mem_strdup("1.3.6.1.4.1.311.21.8.99999999999999999999.1");
    r->template_name = mem_strdup("WebServer");
    r->template_major = (struct opt_u32){true, 100};
    fill_pair(&r->current, "AEN1-now", 2);
    fill_pair(MEM_APPEND(r->previous, r->n_previous), "AEN1-old", 1);
    bytes_set(&r->attempt.key_id, "AEN1-next", 9);
    bytes_set(&r->attempt.request, "\x30\x03\x02\x01\x00", 5);
    r->attempt.request_id = mem_strdup("123456789012345678901234567890");
    r->renewal = true;
    r->attempt_started = NOW;
    MEM_APPEND(r->wanted, r->n_wanted)->name = mem_strdup("WebServer");
    r->wanted->oid = mem_strdup("1.2.3");
    bytes_set(&MEM_APPEND(r->cas, r->n_cas)->certificate, "\x30\x00", 2);
    err_set(&why, ERR_DENIED, "the CA said no");
    err_hint(&why, "ask its manager");
    err_set_code(why, 0x80094012);
    record_set_failure(r, NOW, why, &endpoint, 1);
    record_count_request(r, NOW);
}

static void save(const char *dir, const struct record *record)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(record_save(dir, record, &err) == 0, err);
}

static void load(const char *dir, struct record_list *list, struct strlist *problems)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(record_load_all(dir, list, problems, &err) == 0, err);
}

static void read_file(const char *dir, const char *id, const char *name, struct bytes *out)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s/%s", dir, id, name);

    testing_read(path, out);
}

/* A directory with the record of each of @ids. */
static char *store_of(const char *const *ids, size_t n)
{
    char *dir = testing_tmpdir();
    CLEANUP(record_list_clear) struct record_list list = {0};

    for (size_t i = 0; i < n; i++) {
        struct record *r = record_add(&list, ids[i]);

        r->server = mem_strdup("corp");
        save(dir, r);
    }
    return dir;
}

/* Puts @text in the place of the record of @id. */
static void spoil(const char *dir, const char *id, const char *text)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s/record.json", dir, id);

    testing_write(path, text, strlen(text));
}

static size_t name_bytes(const char *text, const char *needle)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, needle)); at++)
        n++;
    return n;
}

TEST(record_comes_back_as_it_was_saved)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(record_list_clear) struct record_list list = {0}, loaded = {0};
    CLEANUP(strlist_clear) struct strlist problems = {0};
    CLEANUP(bytes_clear) struct bytes first = {0}, again = {0};
    const struct record *r;
    struct stat st;

    fill_record(record_add(&list, "web"));
    save(dir, list.items[0]);
    read_file(dir, "web", "record.json", &first);
    load(dir, &loaded, &problems);
    assert_int_equal(problems.n, 0);
    assert_int_equal(loaded.n, 1);
    r = record_find(&loaded, "web");
    assert_non_null(r);
    assert_string_equal(r->attempt.request_id, "123456789012345678901234567890");
    assert_memory_equal(r->previous[0].pair.key_id.data, "AEN1-old", 8);
    assert_string_equal(r->error, "the CA said no");
    assert_int_equal(r->error_kind, ERR_DENIED);
    assert_int_equal(r->error_code, 0x80094012);
    save(dir, r);
    read_file(dir, "web", "record.json", &again);
    assert_string_equal(bytes_text(&again), bytes_text(&first)); /* and every other member */

    assert_int_equal(chdir(dir), 0);
    assert_int_equal(stat("web", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat("web/record.json", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

TEST(record_that_is_damaged_is_set_aside_and_the_others_load)
{
    static const char *const damages[] = {"", "{", "null", "{\"version\":1}", "{\"version\":1,\"id\":\"b\"}",
        "{\"version\":1,\"id\":\"b\",\"server\":\"corp\",\"state\":\"happy\"}",
        "{\"version\":1,\"id\":\"b\",\"server\":\"corp\",\"history\":7}",
        "{\"version\":\"1\",\"id\":\"b\",\"server\":\"corp\"}",
        "{\"version\":1,\"id\":\"b\",\"server\":\"corp\",\"id\":\"b\"}"};
    static const char *const ids[] = {"a", "b", "c"};

    for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
        CLEANUP(mem_freep) char *dir = store_of(ids, 3);
        CLEANUP(record_list_clear) struct record_list list = {0}, again = {0};
        CLEANUP(strlist_clear) struct strlist problems = {0}, later = {0};
        CLEANUP(bytes_clear) struct bytes aside = {0};

        spoil(dir, "b", damages[i]);
        load(dir, &list, &problems);
        assert_int_equal(list.n, 2);
        assert_string_equal(list.items[0]->id, "a");
        assert_string_equal(list.items[1]->id, "c");
        assert_int_equal(problems.n, 1);
        assert_contains(problems.items[0], "record of 'b' is damaged and was set aside as");
        assert_int_equal(list.left_alone.n, 0);
        read_file(dir, "b", "record.json.damaged", &aside);
        assert_string_equal(bytes_text(&aside), damages[i]);
        load(dir, &again, &later);
        assert_int_equal(again.n, 2);
        assert_int_equal(later.n, 1); /* its keys are nobody's orphans as long as it is there */
        assert_contains(later.items[0], "was damaged earlier and is kept as");
    }
}

TEST(record_of_a_later_version_is_left_alone)
{
    static const char *const ids[] = {"a", "b"};
    static const char later[] = "{\"version\":99,\"id\":\"b\",\"something\":{\"new\":true}}";
    CLEANUP(mem_freep) char *dir = store_of(ids, 2);
    CLEANUP(record_list_clear) struct record_list list = {0};
    CLEANUP(strlist_clear) struct strlist problems = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    spoil(dir, "b", later);
    load(dir, &list, &problems);
    assert_int_equal(list.n, 1);
    assert_int_equal(problems.n, 1);
    assert_contains(problems.items[0], "written by a later version of autoenroll (99, this one knows 2)");
    assert_true(strlist_has(&list.left_alone, "b")); /* no new one may take its place */
    read_file(dir, "b", "record.json", &text);
    assert_string_equal(bytes_text(&text), later);
}

/* Two directories that say to be the same enrollment would use one key twice. */
TEST(record_of_another_enrollment_is_set_aside)
{
    static const char *const ids[] = {"a", "b"};
    CLEANUP(mem_freep) char *dir = store_of(ids, 2);
    CLEANUP(record_list_clear) struct record_list list = {0};
    CLEANUP(strlist_clear) struct strlist problems = {0};

    spoil(dir, "b", "{\"version\":1,\"id\":\"a\",\"server\":\"corp\"}");
    load(dir, &list, &problems);
    assert_int_equal(list.n, 1);
    assert_contains(problems.items[0], "it is the record of 'a'");
}

TEST(record_directories_that_hold_none_do_not_hinder)
{
    static const char *const ids[] = {"a"};
    CLEANUP(mem_freep) char *dir = store_of(ids, 1);
    CLEANUP(mem_freep) char *empty = mem_printf("%s/empty", dir), *stray = mem_printf("%s/stray", dir);
    CLEANUP(mem_freep) char *hidden = mem_printf("%s/.new", dir), *left = mem_printf("%s/a/.record.json.1-1.new", dir);
    CLEANUP(record_list_clear) struct record_list list = {0};
    CLEANUP(strlist_clear) struct strlist problems = {0};

    assert_int_equal(mkdir(empty, 0700), 0); /* a crash between directory and record */
    assert_int_equal(mkdir(hidden, 0700), 0);
    testing_write(stray, "", 0);
    testing_write(left, "half", 4);
    load(dir, &list, &problems);
    assert_int_equal(list.n, 1);
    assert_int_equal(problems.n, 0);
}

TEST(record_store_that_is_missing_is_an_error)
{
    CLEANUP(record_list_clear) struct record_list list = {0};
    CLEANUP(strlist_clear) struct strlist problems = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(record_load_all("/nonexistent/enrollments", &list, &problems, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    assert_contains(err_text(err), "/nonexistent/enrollments");
}

TEST(record_history_keeps_the_latest_events)
{
    CLEANUP(record_list_clear) struct record_list list = {0};
    struct record *r = record_add(&list, "web");

    for (int i = 0; i < RECORD_MAX_HISTORY + 5; i++)
        record_note(r, NOW + i, "event %d", i);
    assert_int_equal(r->n_history, RECORD_MAX_HISTORY);
    assert_string_equal(r->history[0].what, "event 5");
    assert_string_equal(r->history[RECORD_MAX_HISTORY - 1].what, "event 24");
    assert_int_equal(r->history[RECORD_MAX_HISTORY - 1].when, NOW + 24);
}

/* Whatever a server made of its texts: a record that cannot be saved would stop the whole enrollment. */
TEST(record_can_be_saved_whatever_the_failure_says)
{
    static const struct {
        const char *what, *unit; /* repeated until it is too long */
    } rows[] = {
        {"plain", "long "},
        {"two bytes", "\303\266"},
        {"three bytes", "\342\202\254"},
        {"four bytes", "\360\237\224\221"},
        {"no UTF-8", "\xff\xfe"},
        {"controls", "\033[31m\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (size_t pad = 0; pad < 4; pad++) {
            CLEANUP(mem_freep) char *dir = testing_tmpdir();
            CLEANUP(record_list_clear) struct record_list list = {0}, loaded = {0};
            CLEANUP(strlist_clear) struct strlist problems = {0};
            CLEANUP(bytes_clear) struct bytes text = {0};
            CLEANUP(err_freep) struct err *why = NULL;
            struct job_endpoint endpoint = {.uri = (char[]){"https://a"}};
            struct record *r = record_add(&list, "web");

            bytes_append(&text, "....", pad, NULL);
            while (text.len < 20000)
                bytes_append_text(&text, rows[i].unit, NULL);
            r->server = mem_strdup("corp");
            err_set(&why, ERR_PROTOCOL, "%s", bytes_text(&text));
            err_hint(&why, "%s", bytes_text(&text));
            record_set_failure(r, NOW, why, &endpoint, 1);
            save(dir, r);
            load(dir, &loaded, &problems);
            assert_int_equal(problems.n, 0);
            assert_int_equal(loaded.n, 1);
            assert_true(strlen(loaded.items[0]->error) > 1000);
        }
    }
}

TEST(record_of_a_failure_replaces_the_one_before)
{
    CLEANUP(record_list_clear) struct record_list list = {0};
    CLEANUP(err_freep) struct err *first = NULL, *second = NULL;
    struct job_endpoint endpoints[] = {{.uri = (char[]){"https://a"}}, {.uri = (char[]){"https://b"}}};
    struct record *r = record_add(&list, "web");

    err_set(&first, ERR_DENIED, "no");
    err_hint(&first, "ask");
    err_set_code(first, 7);
    record_set_failure(r, NOW, first, endpoints, 2);
    assert_int_equal(r->state, RECORD_BLOCKED);
    assert_int_equal(r->n_endpoints, 2);
    err_set(&second, ERR_NETWORK, "nobody there");
    record_set_failure(r, NOW, second, NULL, 0);
    assert_string_equal(r->error, "nobody there");
    assert_null(r->hint);
    assert_int_equal(r->error_code, 0);
    assert_int_equal(r->n_endpoints, 0);
    assert_int_equal(r->n_history, 2);
    record_clear_failure(r);
    assert_null(r->error);
    assert_int_equal(r->error_kind, 0);
}

/* [MS-XCEP notes] 6.7: an error of the network does not end what the CA has under submission. */
TEST(record_stays_pending_when_asking_after_it_fails)
{
    CLEANUP(record_list_clear) struct record_list list = {0};
    CLEANUP(err_freep) struct err *why = NULL;
    struct record *r = record_add(&list, "web");

    r->attempt.pending = true;
    err_set(&why, ERR_NETWORK, "nobody there");
    record_set_failure(r, NOW, why, NULL, 0);
    assert_int_equal(r->state, RECORD_PENDING);
    assert_string_equal(r->error, "nobody there");
}

TEST(record_counts_the_requests_of_one_day) /* design 8.12 */
{
    CLEANUP(record_list_clear) struct record_list list = {0};
    struct record *r = record_add(&list, "web");
    const int64_t midnight = NOW + WHEN_DAY;

    assert_int_equal(record_requests_today(r, NOW), 0);
    record_count_request(r, NOW);
    record_count_request(r, midnight - 1);
    assert_int_equal(record_requests_today(r, midnight - 1), 2);
    assert_int_equal(record_requests_today(r, midnight), 0);
    record_count_request(r, midnight);
    assert_int_equal(record_requests_today(r, midnight), 1);
}

TEST(record_drops_an_attempt_and_keeps_the_rest)
{
    CLEANUP(record_list_clear) struct record_list list = {0};
    struct record *r = record_add(&list, "web");

    fill_record(r);
    assert_true(record_is_under_way(r));
    record_drop_attempt(r);
    assert_false(record_is_under_way(r));
    assert_int_equal(r->attempt.request.len, 0);
    assert_null(r->wanted);
    assert_null(r->cas);
    assert_false(r->renewal);
    assert_true(record_has_certificate(r));
    assert_int_equal(r->n_previous, 1);
    assert_int_equal(record_requests_today(r, NOW), 1);
}

TEST(record_save_keeps_the_old_one_when_it_fails)
{
    static const char *const ids[] = {"a"};
    CLEANUP(mem_freep) char *dir = store_of(ids, 1);
    CLEANUP(record_list_clear) struct record_list list = {0}, loaded = {0};
    CLEANUP(strlist_clear) struct strlist problems = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct record *r = record_add(&list, "a");

    r->server = mem_strdup("corp");
    r->state = RECORD_STATE__MAX; /* there is no name for it */
    assert_int_equal(record_save(dir, r, &err), -1);
    assert_contains(err_text(err), "saving the record of 'a'");
    load(dir, &loaded, &problems);
    assert_int_equal(loaded.n, 1);
    assert_int_equal(loaded.items[0]->state, RECORD_IDLE);
}

TEST(record_states_have_names)
{
    assert_string_equal(record_state_name(RECORD_INSTALLED), "installed");
    assert_string_equal(record_state_name(RECORD_STATE__MAX), "unknown");
}

/* What is on disk names no secret, whatever else it may hold. */
TEST(record_is_readable_for_a_person)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(record_list_clear) struct record_list list = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    fill_record(record_add(&list, "web"));
    save(dir, list.items[0]);
    read_file(dir, "web", "record.json", &text);
    assert_true(name_bytes(bytes_text(&text), "\n") > 20);
    assert_contains(bytes_text(&text), "\"state\": \"blocked\"");
    assert_contains(bytes_text(&text), "\"error_kind\": \"Denied\"");
}
