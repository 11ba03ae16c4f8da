#include "agent/ctl/health.h"

#include "agent/ctl/consumer.h"
#include "agent/ctl/screen.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

#define NOW ((int64_t)1893456000) /* 2030-01-01 */

/* What an enrollment is like, and what it is then. */
static const struct {
    const char *json;
    enum health health;
    int status;
} rows[] = {
    {"{'state':'installed','not-before':1,'not-after':1893542400,'renew-after':1893500000}", HEALTH_HEALTHY, 0},
    {"{'state':'installed','not-before':1,'not-after':1893542400,'renew-after':1893456000}", HEALTH_DUE, 4},
    {"{'state':'due','not-before':1,'not-after':1893542400}", HEALTH_DUE, 4},
    {"{'state':'blocked','not-before':1,'not-after':1893542400}", HEALTH_ERROR, 1},
    {"{'state':'working','not-before':1,'not-after':1893542400,'last-error':'no'}", HEALTH_ERROR, 1},
    {"{'state':'names-differ','not-before':1,'not-after':1893542400}", HEALTH_ERROR, 1},
    {"{'state':'cloned','not-before':1,'not-after':1893542400}", HEALTH_ERROR, 1},
    {"{'state':'pending','not-before':0,'not-after':0}", HEALTH_MISSING, 2},
    {"{'state':'blocked','last-error':'no'}", HEALTH_MISSING, 2},
    {"{'state':'installed','not-before':1,'not-after':1893456000,'last-error':'no'}", HEALTH_EXPIRED, 3},
    {"{'state':'installed','not-before':1893456001,'not-after':1893542400}", HEALTH_NOT_YET, 6},
    {"{'state':'installed','not-before':1,'not-after':1893542400,'problem':'changed','verdict':'error'}", HEALTH_ERROR,
        1},
    {"{'state':'installed','not-before':1,'not-after':1893542400,'problem':'gone','verdict':'missing'}", HEALTH_MISSING,
        2},
    {"{'state':'installed','not-before':1,'not-after':1893456000,'problem':'other','verdict':'key mismatch'}",
        HEALTH_MISMATCH, 5},
};

static json_t *object_of(const char *text)
{
    CLEANUP(mem_freep) char *json = mem_strdup(text);
    json_t *object;

    for (char *at = json; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    object = json_loads(json, 0, NULL);
    assert_non_null(object);
    return object;
}

TEST(health_is_the_worst_of_what_is_true)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *object = object_of(rows[i].json);

        if (health_of(object, NOW) != rows[i].health)
            fail_msg("%s is %s", rows[i].json, health_word(health_of(object, NOW)));
        assert_int_equal(health_status(rows[i].health), rows[i].status);
        json_decref(object);
    }
    for (int h = 0; h + 1 < HEALTH__MAX; h++)
        assert_int_equal(health_worse((enum health)h, (enum health)(h + 1)), h + 1);
}

TEST(screen_tells_times_both_ways)
{
    CLEANUP(mem_freep) char *later = screen_when(NOW + 42 * WHEN_DAY, NOW);
    CLEANUP(mem_freep) char *before = screen_when(NOW - 3 * WHEN_HOUR, NOW);
    CLEANUP(mem_freep) char *never = screen_when(0, NOW);

    assert_string_equal(later, "in 42 days (2030-02-12 00:00:00 UTC)");
    assert_string_equal(before, "3 hours ago (2029-12-31 21:00:00 UTC)");
    assert_string_equal(never, "-");
}

TEST(screen_draws_a_bar_on_a_terminal_only)
{
    const struct screen terminal = {.terminal = true}, pipe = {0};
    CLEANUP(mem_freep) char *none = screen_bar(&pipe, NOW - 10, NOW + 90, NOW);
    CLEANUP(mem_freep) char *most = screen_bar(&terminal, NOW - 10, NOW + 90, NOW);
    CLEANUP(mem_freep) char *over = screen_bar(&terminal, NOW - 90, NOW - 10, NOW);
    CLEANUP(mem_freep) char *unknown = screen_bar(&terminal, 0, 0, NOW);

    assert_string_equal(none, "");
    assert_string_equal(most, "\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88"
                              "\xe2\x96\x88\xe2\x96\x88\xe2\x96\x91");
    assert_null(strstr(over, "\xe2\x96\x88"));
    assert_string_equal(unknown, "");
}

/* Every consumer, with a key in a token and in a file: real paths, and nothing that was not filled in. */
TEST(consumer_gets_the_real_paths)
{
    json_t *in_token = object_of("{'id':'web','key-uri':'pkcs11:token=a%20b;id=%41;type=private','key-file':'',"
                                 "'directory':'/certs/web/current'}");
    json_t *in_file = object_of("{'id':'web','key-uri':'','key-file':'/keys/k.pem','directory':'/certs/web/current'}");
    CLEANUP(err_freep) struct err *err = NULL;

    for (size_t i = 0; consumer_name(i); i++) {
        CLEANUP(bytes_clear) struct bytes token = {0};
        CLEANUP(bytes_clear) struct bytes file = {0};

        assert_ok(consumer_write(consumer_name(i), in_token, &token, &err) == 0, err);
        assert_ok(consumer_write(consumer_name(i), in_file, &file, &err) == 0, err);
        assert_contains(bytes_text(&token), "pkcs11:token=a%20b;object=web;type=private");
        assert_contains(bytes_text(&file), "/keys/k.pem");
        assert_null(strchr(bytes_text(&token), '@'));
        assert_null(strchr(bytes_text(&file), '@'));
        assert_null(strstr(bytes_text(&token), "id=%41"));
    }
    json_decref(in_token);
    json_decref(in_file);
}

TEST(consumer_that_is_unknown_or_too_early_is_told_what_to_do)
{
    json_t *nothing = object_of("{'id':'web','key-uri':'','key-file':''}");
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *unknown = NULL;
    CLEANUP(err_freep) struct err *early = NULL;

    assert_int_equal(consumer_write("apache", nothing, &out, &unknown), -1);
    assert_contains(err_hint_text(unknown), "nginx, openssl");
    assert_int_equal(consumer_write("nginx", nothing, &out, &early), -1);
    assert_int_equal(err_kind(early), ERR_MISSING);
    assert_contains(err_hint_text(early), "autoenroll explain web");
    assert_int_equal(out.len, 0);
    json_decref(nothing);
}
