#include "agent/job/job_fields.h"
#include "tests/testing.h"

struct inner {
    char *name;
    uint32_t number;
};
static const char *const colours[] = {"red", "green", "blue"};

struct outer {
    bool flag;
    uint32_t u32;
    uint64_t u64;
    int64_t when;
    unsigned colour;
    struct opt_u32 maybe;
    struct opt_time maybe_when;
    char *text;
    struct strlist texts;
    struct bytes blob;
    struct bytes *blobs;
    size_t n_blobs;
    uint32_t *numbers;
    size_t n_numbers;
    struct inner within;
    struct inner *items;
    size_t n_items;
};

LOCAL_FIELDS(inner_fields, inner, FIELD_TEXT_REQ(inner, name, 8), FIELD_U32(inner, number));
LOCAL_FIELDS(outer_fields, outer, FIELD_BOOL(outer, flag), FIELD_U32(outer, u32), FIELD_U64(outer, u64),
    FIELD_TIME(outer, when), FIELD_ENUM(outer, colour, colours), FIELD_OPT_U32(outer, maybe),
    FIELD_OPT_TIME(outer, maybe_when), FIELD_TEXT(outer, text, 16), FIELD_TEXTS(outer, texts, 2, 4),
    FIELD_BYTES(outer, blob, 4), FIELD_BYTES_LIST(outer, blobs, n_blobs, 2, 4),
    FIELD_U32_LIST(outer, numbers, n_numbers, 3), FIELD_OBJECT(outer, within, inner, inner_fields),
    FIELD_LIST(outer, items, n_items, inner, inner_fields, 2));

static void outer_clear(struct outer *outer)
{
    fields_clear(&outer_fields, outer);
}

#define WITHIN "\"within\":{\"name\":\"w\"}"

/* Reads @text; the error must hold @why. */
static void refused(const char *text, const char *why)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct outer out = {.u32 = 42};

    assert_int_equal(fields_read(&outer_fields, text, strlen(text), &out, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
    assert_contains(err_text(err), why);
    assert_int_equal(out.u32, 42); /* outputs only on success */
}

static const char everything[] =
    "{\"flag\":true,\"u32\":4294967295,\"u64\":\"18446744073709551615\",\"when\":-5,\"colour\":\"blue\",\"maybe\":0,"
    "\"maybe_when\":0,\"text\":\"caf\303\251\",\"texts\":[\"a\",\"b\"],\"blob\":\"AAEC\",\"blobs\":[\"/w==\",\"\"],"
    "\"numbers\":[0,7],\"within\":{\"name\":\"w\",\"number\":1},\"items\":[{\"name\":\"x\"},{\"name\":\"y\"}]}";

TEST(fields_read_every_type_and_write_it_the_same)
{
    CLEANUP(outer_clear) struct outer out = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(fields_read(&outer_fields, everything, strlen(everything), &out, &err) == 0, err);
    assert_true(out.flag);
    assert_int_equal(out.u32, UINT32_MAX);
    assert_true(out.u64 == UINT64_MAX);
    assert_int_equal(out.when, -5);
    assert_int_equal(out.colour, 2);
    assert_true(out.maybe.set && out.maybe.value == 0);
    assert_true(out.maybe_when.set && out.maybe_when.value == 0);
    assert_int_equal(out.texts.n, 2);
    assert_memory_equal(out.blob.data, "\0\1\2", 3);
    assert_int_equal(out.n_blobs, 2);
    assert_int_equal(out.blobs[1].len, 0);
    assert_int_equal(out.numbers[1], 7);
    assert_string_equal(out.items[1].name, "y");
    assert_ok(fields_write(&outer_fields, &out, false, &text, &err) == 0, err);
    assert_string_equal(bytes_text(&text), everything);
}

TEST(fields_copy_is_deep)
{
    CLEANUP(outer_clear) struct outer out = {0}, copy = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(fields_read(&outer_fields, everything, strlen(everything), &out, &err) == 0, err);
    fields_copy(&outer_fields, &copy, &out);
    outer_clear(&out);
    assert_ok(fields_write(&outer_fields, &copy, false, &text, &err) == 0, err);
    assert_string_equal(bytes_text(&text), everything);
}

TEST(fields_leave_out_what_is_empty)
{
    struct outer out = {.within.name = (char[]){"w"}};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(fields_write(&outer_fields, &out, false, &text, &err) == 0, err);
    assert_string_equal(bytes_text(&text), "{" WITHIN "}");
}

TEST(fields_refuse_another_type)
{
    static const struct {
        const char *member, *why;
    } rows[] = {
        {"\"flag\":1", "flag: not true or false"},
        {"\"u32\":\"1\"", "u32: not a whole number"},
        {"\"u32\":1.5", "u32: not a whole number"},
        {"\"u64\":1", "u64: not a text"},
        {"\"u64\":\"-1\"", "u64: not a decimal number"},
        {"\"u64\":\"\"", "u64: not a decimal number"},
        {"\"colour\":2", "colour: not a text"},
        {"\"text\":null", "text: not a text"},
        {"\"texts\":\"a\"", "texts: not a list"},
        {"\"texts\":[1]", "texts: item 1: not a text"},
        {"\"blob\":[]", "blob: not a text of base64"},
        {"\"blob\":\"====\"", "blob: not base64"},
        {"\"numbers\":[{}]", "numbers: item 1: not a whole number"},
        {"\"items\":{}", "items: not a list"},
        {"\"items\":[3]", "items: item 1: not an object"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *text = mem_printf("{%s," WITHIN "}", rows[i].member);

        refused(text, rows[i].why);
    }
}

TEST(fields_refuse_what_is_over_its_bound)
{
    static const struct {
        const char *member, *why;
    } rows[] = {
        {"\"u32\":4294967296", "u32: 4294967296 is out of range"},
        {"\"u32\":-1", "u32: -1 is out of range"},
        {"\"u64\":\"18446744073709551616\"", "u64: out of range"},
        {"\"when\":9223372036854775807", "when: 9223372036854775807 is out of range"},
        {"\"colour\":\"mauve\"", "colour: unknown value"},
        {"\"text\":\"12345678901234567\"", "text: 17 bytes, more than the 16 allowed"},
        {"\"texts\":[\"a\",\"b\",\"c\"]", "texts: 3 items, more than the 2 allowed"},
        {"\"texts\":[\"12345\"]", "texts: item 1: 5 bytes"},
        {"\"blob\":\"AAECAwQ=\"", "blob: more than 4 bytes"},
        {"\"blobs\":[\"\",\"AAECAwQ=\"]", "blobs: item 2: more than 4 bytes"},
        {"\"numbers\":[1,2,3,4]", "numbers: 4 items"},
        {"\"items\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]", "items: 3 items"},
        {"\"items\":[{\"name\":\"123456789\"}]", "items: item 1: name: 9 bytes"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *text = mem_printf("{%s," WITHIN "}", rows[i].member);

        refused(text, rows[i].why);
    }
}

TEST(fields_refuse_what_is_unknown_given_twice_or_no_json)
{
    refused("{" WITHIN ",\"zeal\":1}", "unknown field 'zeal'");
    refused("{" WITHIN ",\"a\\u001b[31m\":1}", "unknown field 'a\\x1b[31m'");
    refused("{" WITHIN "," WITHIN "}", "duplicate");
    refused("{" WITHIN "} x", "not JSON");
    refused("{" WITHIN, "not JSON");
    refused("[]", "not an object");
    refused("", "not JSON");
    refused("{" WITHIN ",\"text\":\"\xff\"}", "not JSON");
    refused("{" WITHIN ",\"text\":\"a\\u0000b\"}", "not JSON");
}

TEST(fields_refuse_a_required_member_that_is_missing_or_empty)
{
    refused("{}", "within: name: missing");
    refused("{\"within\":{}}", "within: name: missing");
    refused("{\"within\":{\"name\":\"\"}}", "within: name: empty");
}

TEST(fields_refuse_deep_nesting)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    bytes_append_text(&text, "{" WITHIN ",\"items\":", NULL);
    for (int i = 0; i < 100000; i++)
        bytes_append_text(&text, "[", NULL);
    refused(bytes_text(&text), "not JSON");
}

TEST(fields_hold_the_writer_to_the_same_bounds)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL, *err_utf8 = NULL;
    struct outer out = {.within.name = (char[]){"123456789"}};

    assert_int_equal(fields_write(&outer_fields, &out, false, &text, &err), -1);
    assert_contains(err_text(err), "within: name: 9 bytes, more than the 8 allowed");
    out.within.name = (char[]){"\xc3"};
    assert_int_equal(fields_write(&outer_fields, &out, false, &text, &err_utf8), -1);
    assert_contains(err_text(err_utf8), "within: name: not valid UTF-8");
    assert_int_equal(text.len, 0);
}

TEST(fields_free_what_was_read_before_an_error)
{
    refused(
        "{\"text\":\"kept\",\"texts\":[\"a\"],\"blobs\":[\"AA==\"],\"items\":[{\"name\":\"x\"},{\"name\":5}]," WITHIN
        "}",
        "items: item 2: name: not a text"); /* the leak checker watches */
}

static bool peek(const char *text, uint32_t *version)
{
    return fields_peek_u32(text, strlen(text), "version", version);
}

TEST(fields_peek_at_a_version_only_where_it_is_a_number)
{
    uint32_t version = 7;

    assert_true(peek("{\"version\":3,\"unknown\":[]}", &version));
    assert_int_equal(version, 3);
    assert_false(peek("{\"version\":\"3\"}", &version));
    assert_false(peek("{}", &version));
    assert_false(peek("nonsense", &version));
    assert_int_equal(version, 3);
}

TEST(fields_of_a_policy_survive_the_way_through_a_file)
{
    struct policy_uri uri = {.auth = POLICY_AUTH_CERTIFICATE, .uri = (char[]){"https://a/"}, .priority = {true, 0}};
    struct policy_ca ca = {.certificate = {.data = (uint8_t[]){1, 2, 0}, .len = 2}, .uris = &uri, .n_uris = 1};
    uint32_t index = 0;
    struct template template = {.name = (char[]){"../../x"},
        .oid = (char[]){"1.3.6.1.4.1.311.21.8.99999999999999999999"},
        .renewal = UINT64_MAX,
        .private_key_flags = 0xffffffff,
        .cas = &index,
        .n_cas = 1};
    struct policy policy = {.templates = &template, .n_templates = 1, .cas = &ca, .n_cas = 1}, read = {0};
    CLEANUP(bytes_clear) struct bytes text = {0}, again = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(fields_write(&policy_fields, &policy, true, &text, &err) == 0, err);
    assert_ok(fields_read(&policy_fields, text.data, text.len, &read, &err) == 0, err);
    assert_ok(fields_write(&policy_fields, &read, true, &again, &err) == 0, err);
    assert_string_equal(bytes_text(&again), bytes_text(&text));
    assert_string_equal(read.templates[0].oid, template.oid);
    assert_true(read.templates[0].renewal == UINT64_MAX);
    policy_clear(&read);
}

/* --- what is read is what was written, for whatever the tables can hold --- */

static uint32_t seed;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static char *any_text(size_t max)
{
    static const char *const units[] = {
        "a", "\303\266", "\342\202\254", "\360\237\224\221", "\"", "\\", "\n", "\x7f", "/"};
    CLEANUP(bytes_clear) struct bytes text = {0};

    for (uint32_t n = 1 + chance(12); n && text.len + 4 <= max; n--)
        bytes_append_text(&text, units[chance(ARRAY_SIZE(units))], NULL);
    return mem_strdup(bytes_text(&text));
}

static void any_bytes(size_t max, struct bytes *out)
{
    uint8_t data[40];
    size_t len = 1 + chance(max < sizeof(data) ? (uint32_t)max : sizeof(data));

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)chance(256);
    bytes_set(out, data, len < max ? len : max);
}

static void fill_any(const struct fields *map, void *object);

static void fill_list(const struct field *row, void *at, size_t *n)
{
    size_t size = row->type == FIELD_TYPE_LIST       ? row->map->size
                  : row->type == FIELD_TYPE_U32_LIST ? sizeof(uint32_t)
                                                     : sizeof(struct bytes);
    size_t count = 1 + chance(row->max < 3 ? (uint32_t)row->max : 3);
    char *items = mem_calloc(count, size);

    for (size_t i = 0; i < count; i++) {
        if (row->type == FIELD_TYPE_LIST)
            fill_any(row->map, items + i * size);
        else if (row->type == FIELD_TYPE_U32_LIST)
            ((uint32_t *)(void *)items)[i] = chance(1u << 24);
        else
            any_bytes(row->max_each, (struct bytes *)(void *)items + i);
    }
    *(char **)at = items;
    *n = count;
}

/* Puts something into the members of a zeroed struct; some that are not required stay empty. */
static void fill_any(const struct fields *map, void *object)
{
    for (size_t i = 0; i < map->n; i++) {
        const struct field *row = &map->items[i];
        void *at = (char *)object + row->offset;

        if (!row->required && row->type != FIELD_TYPE_OBJECT && chance(4) == 0)
            continue;
        switch (row->type) {
        case FIELD_TYPE_BOOL:
            *(bool *)at = true;
            break;
        case FIELD_TYPE_U32:
            *(uint32_t *)at = UINT32_MAX - chance(1000);
            break;
        case FIELD_TYPE_U64:
            *(uint64_t *)at = UINT64_MAX - chance(1000);
            break;
        case FIELD_TYPE_TIME:
            *(int64_t *)at = (int64_t)chance(1u << 24) * 100000 - 62135596800;
            break;
        case FIELD_TYPE_ENUM:
            *(unsigned *)at = chance((uint32_t)row->max);
            break;
        case FIELD_TYPE_OPT_U32:
            *(struct opt_u32 *)at = (struct opt_u32){true, chance(3)};
            break;
        case FIELD_TYPE_OPT_TIME:
            *(struct opt_time *)at = (struct opt_time){true, chance(3)};
            break;
        case FIELD_TYPE_TEXT:
            *(char **)at = any_text(row->max);
            break;
        case FIELD_TYPE_TEXTS:
            for (uint32_t n = 1 + chance(row->max < 3 ? (uint32_t)row->max : 3); n; n--) {
                CLEANUP(mem_freep) char *text = any_text(row->max_each);

                strlist_add(at, text);
            }
            break;
        case FIELD_TYPE_BYTES:
            any_bytes(row->max, at);
            break;
        case FIELD_TYPE_OBJECT:
            fill_any(row->map, at);
            break;
        case FIELD_TYPE_BYTES_LIST:
        case FIELD_TYPE_U32_LIST:
        case FIELD_TYPE_LIST:
            fill_list(row, at, (size_t *)(void *)((char *)object + row->count));
            break;
        }
    }
}

/* Writes, reads, copies, and writes again: the text is the same, and so is every member that is in it. */
static void survives(const struct fields *map, bool indent)
{
    CLEANUP(mem_freep) void *first = mem_alloc(map->size), *second = mem_alloc(map->size), *copy = mem_alloc(map->size);
    CLEANUP(bytes_clear) struct bytes text = {0}, again = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    fill_any(map, first);
    assert_ok(fields_write(map, first, indent, &text, &err) == 0, err);
    assert_ok(fields_read(map, text.data, text.len, second, &err) == 0, err);
    fields_copy(map, copy, second);
    fields_clear(map, second);
    assert_ok(fields_write(map, copy, indent, &again, &err) == 0, err);
    assert_string_equal(bytes_text(&again), bytes_text(&text));
    fields_clear(map, copy);
    fields_clear(map, first);
}

TEST(fields_of_every_job_survive_the_way_there_and_back)
{
    const struct fields *maps[2 * JOB__MAX + 3] = {&policy_fields, &job_attempt_fields, &outer_fields};

    for (int kind = 0; kind < JOB__MAX; kind++) {
        maps[3 + 2 * kind] = job_kind_info((enum job_kind)kind)->input;
        maps[4 + 2 * kind] = job_kind_info((enum job_kind)kind)->result;
    }
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        for (uint32_t start = 1; start <= 50; start++) {
            seed = start;
            survives(maps[i], start & 1);
        }
    }
}

/* Each cut of a good text, and each with one byte changed: an error or a value, never more than the tables allow. */
TEST(fields_stand_any_damage_to_a_text)
{
    struct outer first = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    seed = 5;
    fill_any(&outer_fields, &first);
    assert_int_equal(fields_write(&outer_fields, &first, false, &text, NULL), 0);
    outer_clear(&first);
    for (size_t i = 0; i < text.len; i++) {
        struct outer out = {0};
        uint8_t old = text.data[i];

        assert_int_equal(fields_read(&outer_fields, text.data, i, &out, NULL), -1);
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] = old ^ (uint8_t)(1 << bit);
            if (fields_read(&outer_fields, text.data, text.len, &out, NULL) == 0) {
                assert_true(out.n_items <= 2 && out.texts.n <= 2 && out.blob.len <= 4);
                outer_clear(&out);
            }
        }
        text.data[i] = old;
    }
}
