#include <errno.h>

#include "protocol/base/bytes.h"
#include "protocol/base/digest.h"
#include "protocol/base/secret.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

TEST(err_keeps_the_first_cause_and_the_first_hint)
{
    CLEANUP(err_freep) struct err *err = NULL;

    errno = ELOOP;
    assert_int_equal(err_set(&err, ERR_STORE, "replacing '%s': %m", "x"), -1);
    err_hint(&err, "use its real path");
    err_set(&err, ERR_INTERNAL, "later");
    err_hint(&err, "later");
    err_wrap(&err, "installing '%s'", "web");
    assert_string_equal(err_text(err), "installing 'web': replacing 'x': Too many levels of symbolic links");
    assert_string_equal(err_hint_text(err), "use its real path");
    assert_int_equal(err_kind(err), ERR_STORE);
}

TEST(err_of_a_full_disk_has_its_hint_wherever_it_is_met)
{
    CLEANUP(err_freep) struct err *err = NULL;

    errno = ENOSPC;
    err_set(&err, ERR_STORE, "replacing '%s': %m", "x");
    assert_contains(err_hint_text(err), "the disk is full");
}

TEST(err_kinds_are_found_by_name)
{
    for (int kind = 0; kind < ERR__MAX; kind++)
        assert_int_equal(err_kind_parse(err_kind_name((enum err_kind)kind)), kind);
    assert_int_equal(err_kind_parse("Nonsense"), ERR__MAX);
}

TEST(bytes_refuses_to_pass_its_limit_and_stays_unchanged)
{
    CLEANUP(bytes_clear) struct bytes b = {.limit = 4};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(bytes_append(&b, "abc", 3, &err), 0);
    assert_int_equal(bytes_append(&b, "de", 2, &err), -1);
    assert_string_equal(bytes_text(&b), "abc");
    assert_contains(err_text(err), "more than 4 bytes");
}

TEST(bytes_reads_and_writes_base64_as_rfc_4648_has_it)
{
    static const char *const pairs[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};

    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        CLEANUP(mem_freep) char *text = bytes_to_base64(pairs[i][0], strlen(pairs[i][0]), 0);
        CLEANUP(bytes_clear) struct bytes b = {0};

        assert_string_equal(text, pairs[i][1]);
        assert_int_equal(bytes_from_base64(&b, text, strlen(text), 100, NULL), 0);
        assert_string_equal(bytes_text(&b), pairs[i][0]);
    }
}

TEST(bytes_refuses_base64_that_is_cut_padded_wrongly_or_too_long)
{
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9v=", "Z=g=", "Zm9v!", "Zg==Zg==", "Zm9vYmFyZm9v"};
    static const char wrapped[] = " Zm9v\r\nYmFy\n";
    CLEANUP(bytes_clear) struct bytes b = {0};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(bytes_from_base64(&b, bad[i], strlen(bad[i]), 8, NULL), -1);
    assert_int_equal(bytes_from_base64(&b, wrapped, strlen(wrapped), 8, NULL), 0);
    assert_string_equal(bytes_text(&b), "foobar");
}

TEST(bytes_reads_and_writes_hexadecimal)
{
    CLEANUP(bytes_clear) struct bytes b = {0};
    CLEANUP(mem_freep) char *text = NULL;

    assert_int_equal(bytes_from_hex(&b, "00fFa5", 3, NULL), 0);
    text = bytes_to_hex(b.data, b.len);
    assert_string_equal(text, "00ffa5");
    assert_int_equal(bytes_from_hex(&b, "0", 3, NULL), -1);
    assert_int_equal(bytes_from_hex(&b, "00112233", 3, NULL), -1);
}

TEST(secret_compares_and_wipes)
{
    CLEANUP(secret_freep) struct secret *a = secret_take(mem_strdup("pass"), 4);
    CLEANUP(secret_freep) struct secret *b = secret_copy("pass", 4);
    CLEANUP(secret_freep) struct secret *c = secret_random_hex(16);

    assert_true(secret_equal(a, b));
    assert_false(secret_equal(a, c));
    assert_int_equal(secret_len(c), 32);
    assert_string_equal(secret_peek(a), "pass");
}

TEST(when_reads_xsd_times_with_and_without_zone)
{
    static const struct {
        const char *text;
        int64_t when;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {" 2030-01-02T03:04:05.678Z ", 1893553445},
        {"2030-01-02T03:04:05", 1893553445},
        {"2030-01-02T05:04:05+02:00", 1893553445},
        {"0001-01-01T00:00:00", -62135596800},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t when = 1;

        assert_int_equal(when_parse_xsd(rows[i].text, &when, NULL), 0);
        assert_int_equal(when, rows[i].when);
    }
}

TEST(when_refuses_what_is_no_time)
{
    static const char *const bad[] = {"", "2030-13-01T00:00:00Z", "20090-03-15-T09:38:46", "2030-02-30T00:00:00Z",
        "2030-01-02T24:00:00Z", "2030-01-02", "2030-01-02T03:04:05.Z", "2030-01-02T03:04:05+15:00",
        "0000-01-01T00:00:00"};
    int64_t when;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(when_parse_xsd(bad[i], &when, NULL), -1);
}

TEST(when_writes_years_with_four_digits)
{
    CLEANUP(mem_freep) char *xsd = when_format_xsd(-62135596800);

    assert_string_equal(xsd, "0001-01-01T00:00:00.000Z");
}

TEST(when_writes_what_it_reads)
{
    CLEANUP(mem_freep) char *xsd = when_format_xsd(1893553445);
    int64_t when = 0;

    assert_string_equal(xsd, "2030-01-02T03:04:05.000Z");
    assert_int_equal(when_parse_xsd(xsd, &when, NULL), 0);
    assert_int_equal(when, 1893553445);
}

TEST(when_reads_durations)
{
    int64_t span = 0;
    CLEANUP(mem_freep) char *text = NULL;

    assert_int_equal(when_parse_span("1d12h", &span, NULL), 0);
    assert_int_equal(span, 36 * WHEN_HOUR);
    text = when_format_span(span);
    assert_string_equal(text, "36 hours");
    assert_int_equal(when_parse_span("8", &span, NULL), -1);
    assert_int_equal(when_parse_span("-8h", &span, NULL), -1);
    assert_int_equal(when_parse_span("", &span, NULL), -1);
}

TEST(strlist_joins_and_finds)
{
    CLEANUP(strlist_clear) struct strlist list = {0};
    CLEANUP(mem_freep) char *joined = NULL;

    strlist_add(&list, "a");
    strlist_add(&list, "bc");
    joined = strlist_join(&list, ", ");
    assert_string_equal(joined, "a, bc");
    assert_true(strlist_has(&list, "bc"));
    assert_false(strlist_has(&list, "b"));
}

TEST(digest_is_sha_256)
{
    CLEANUP(mem_freep) char *hex = digest_sha256_hex("abc", 3); /* FIPS 180-4, example 1 */

    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
