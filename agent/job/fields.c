#include "agent/job/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "protocol/base/printable.h"

/*
 * What can be done with a member of one type. "write" gives NULL and success for an empty member, which is then left
 * out; "read" is only called for a field that is there, and fills a member that was zero.
 */
struct type {
    int (*write)(const struct field *row, const void *object, json_t **value, struct err **errp);
    int (*read)(const struct field *row, json_t *value, void *object, struct err **errp);
    void (*clear)(const struct field *row, void *object);
    void (*copy)(const struct field *row, void *to, const void *from);
};
static const struct type types[];

static int write_object(const struct fields *map, const void *in, json_t **value, struct err **errp);
static int read_object(const struct fields *map, json_t *value, void *out, struct err **errp);

static void *at(const struct field *row, void *object)
{
    return (char *)object + row->offset;
}

static const void *at_const(const struct field *row, const void *object)
{
    return (const char *)object + row->offset;
}

static void json_freep(json_t **value)
{
    json_decref(*value);
}

static int wrong_type(const char *wanted, struct err **errp)
{
    return err_set(errp, ERR_INVALID, "not %s", wanted);
}

/* The bounds hold for whoever writes as well: better an error here than one at the other end. */
static int check_max(size_t have, size_t max, const char *unit, struct err **errp)
{
    if (have > max)
        return err_set(errp, ERR_INVALID, "%zu %s, more than the %zu allowed", have, unit, max);
    return 0;
}

static int text_value(const char *text, size_t max, json_t **value, struct err **errp)
{
    if (check_max(strlen(text), max, "bytes", errp) < 0)
        return -1;
    *value = json_string(text);
    return *value ? 0 : err_set(errp, ERR_INVALID, "not valid UTF-8");
}

static int text_of(json_t *value, size_t max, const char **text, struct err **errp)
{
    if (!json_is_string(value))
        return wrong_type("a text", errp);
    *text = json_string_value(value);
    return check_max(json_string_length(value), max, "bytes", errp);
}

static int bytes_value(const struct bytes *bytes, size_t max, json_t **value, struct err **errp)
{
    CLEANUP(mem_freep) char *text = NULL;

    if (check_max(bytes->len, max, "bytes", errp) < 0)
        return -1;
    text = bytes_to_base64(bytes->data, bytes->len, 0);
    *value = json_string(text);
    return 0;
}

static int bytes_of(json_t *value, size_t max, struct bytes *bytes, struct err **errp)
{
    if (!json_is_string(value))
        return wrong_type("a text of base64", errp);
    return bytes_from_base64(bytes, json_string_value(value), json_string_length(value), max, errp);
}

static int whole_number(json_t *value, int64_t min, int64_t max, int64_t *number, struct err **errp)
{
    if (!json_is_integer(value))
        return wrong_type("a whole number", errp);
    *number = json_integer_value(value);
    if (*number < min || *number > max)
        return err_set(errp, ERR_INVALID, "%" PRId64 " is out of range", *number);
    return 0;
}

static void append(json_t *array, json_t *item)
{
    json_array_append_new(array, item);
}

/* --- plain values --- */

static int write_bool(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    (void)errp;
    *value = *(const bool *)at_const(row, object) ? json_true() : NULL;
    return 0;
}

static int read_bool(const struct field *row, json_t *value, void *object, struct err **errp)
{
    if (!json_is_boolean(value))
        return wrong_type("true or false", errp);
    *(bool *)at(row, object) = json_is_true(value);
    return 0;
}

static int write_u32(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    uint32_t number = *(const uint32_t *)at_const(row, object);

    (void)errp;
    *value = number ? json_integer(number) : NULL;
    return 0;
}

static int read_u32(const struct field *row, json_t *value, void *object, struct err **errp)
{
    int64_t number = 0;

    if (whole_number(value, 0, UINT32_MAX, &number, errp) < 0)
        return -1;
    *(uint32_t *)at(row, object) = (uint32_t)number;
    return 0;
}

/* JSON numbers end at 2^63 in the library, and at 2^53 in others: text. */
static int write_u64(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    uint64_t number = *(const uint64_t *)at_const(row, object);

    (void)errp;
    *value = number ? json_sprintf("%" PRIu64, number) : NULL;
    return 0;
}

static int read_u64(const struct field *row, json_t *value, void *object, struct err **errp)
{
    const char *text;
    uint64_t number = 0;

    if (text_of(value, 20, &text, errp) < 0)
        return -1;
    if (!*text)
        return wrong_type("a decimal number", errp);
    for (; *text; text++) {
        unsigned digit = (unsigned)(*text - '0');

        if (*text < '0' || *text > '9')
            return wrong_type("a decimal number", errp);
        if (__builtin_mul_overflow(number, 10u, &number) || __builtin_add_overflow(number, digit, &number))
            return err_set(errp, ERR_INVALID, "out of range");
    }
    *(uint64_t *)at(row, object) = number;
    return 0;
}

static int write_time(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    int64_t number = *(const int64_t *)at_const(row, object);

    (void)errp;
    *value = number ? json_integer(number) : NULL;
    return 0;
}

static int read_time(const struct field *row, json_t *value, void *object, struct err **errp)
{
    return whole_number(value, INT64_MIN / 2, INT64_MAX / 2, at(row, object), errp);
}

static int write_enum(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    unsigned number = *(const unsigned *)at_const(row, object);

    if (number >= row->max)
        return err_set(errp, ERR_INVALID, "%u has no name", number);
    *value = number ? json_string(row->values[number]) : NULL;
    return 0;
}

static int read_enum(const struct field *row, json_t *value, void *object, struct err **errp)
{
    const char *text;

    if (text_of(value, 64, &text, errp) < 0)
        return -1;
    for (unsigned i = 0; i < row->max; i++)
        if (strcmp(row->values[i], text) == 0) {
            *(unsigned *)at(row, object) = i;
            return 0;
        }
    return err_set(errp, ERR_INVALID, "unknown value");
}

static int write_opt_u32(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    const struct opt_u32 *opt = at_const(row, object);

    (void)errp;
    *value = opt->set ? json_integer(opt->value) : NULL;
    return 0;
}

static int read_opt_u32(const struct field *row, json_t *value, void *object, struct err **errp)
{
    int64_t number = 0;

    if (whole_number(value, 0, UINT32_MAX, &number, errp) < 0)
        return -1;
    *(struct opt_u32 *)at(row, object) = (struct opt_u32){true, (uint32_t)number};
    return 0;
}

static int write_opt_time(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    const struct opt_time *opt = at_const(row, object);

    (void)errp;
    *value = opt->set ? json_integer(opt->value) : NULL;
    return 0;
}

static int read_opt_time(const struct field *row, json_t *value, void *object, struct err **errp)
{
    struct opt_time *opt = at(row, object);

    if (whole_number(value, INT64_MIN / 2, INT64_MAX / 2, &opt->value, errp) < 0)
        return -1;
    opt->set = true;
    return 0;
}

static void clear_nothing(const struct field *row, void *object)
{
    (void)row;
    (void)object;
}

static void copy_nothing(const struct field *row, void *to, const void *from)
{
    (void)row;
    (void)to;
    (void)from;
}

/* --- texts and bytes --- */

static int write_text(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    const char *const *text = at_const(row, object);

    return *text ? text_value(*text, row->max, value, errp) : 0;
}

static int read_text(const struct field *row, json_t *value, void *object, struct err **errp)
{
    const char *text;

    if (text_of(value, row->max, &text, errp) < 0)
        return -1;
    if (row->required && !*text)
        return err_set(errp, ERR_INVALID, "empty");
    *(char **)at(row, object) = mem_strdup(text);
    return 0;
}

static void clear_text(const struct field *row, void *object)
{
    free(*(char **)at(row, object));
}

static void copy_text(const struct field *row, void *to, const void *from)
{
    *(char **)at(row, to) = mem_strdup_opt(*(char *const *)at_const(row, from));
}

static int write_texts(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    CLEANUP(json_freep) json_t *array = NULL;
    const struct strlist *list = at_const(row, object);

    if (list->n == 0)
        return 0;
    if (check_max(list->n, row->max, "items", errp) < 0)
        return -1;
    array = json_array();
    for (size_t i = 0; i < list->n; i++) {
        json_t *item = NULL;

        if (text_value(list->items[i], row->max_each, &item, errp) < 0)
            return err_wrap(errp, "item %zu", i + 1);
        append(array, item);
    }
    *value = TAKE(array);
    return 0;
}

static int read_texts(const struct field *row, json_t *value, void *object, struct err **errp)
{
    if (!json_is_array(value))
        return wrong_type("a list", errp);
    if (check_max(json_array_size(value), row->max, "items", errp) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *text;

        if (text_of(json_array_get(value, i), row->max_each, &text, errp) < 0)
            return err_wrap(errp, "item %zu", i + 1);
        strlist_add(at(row, object), text);
    }
    return 0;
}

static void clear_texts(const struct field *row, void *object)
{
    strlist_clear(at(row, object));
}

static void copy_texts(const struct field *row, void *to, const void *from)
{
    strlist_copy(at(row, to), at_const(row, from));
}

static int write_bytes(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    const struct bytes *bytes = at_const(row, object);

    return bytes->len ? bytes_value(bytes, row->max, value, errp) : 0;
}

static int read_bytes(const struct field *row, json_t *value, void *object, struct err **errp)
{
    struct bytes *bytes = at(row, object);

    if (bytes_of(value, row->max, bytes, errp) < 0)
        return -1;
    if (row->required && bytes->len == 0)
        return err_set(errp, ERR_INVALID, "empty");
    return 0;
}

static void clear_bytes(const struct field *row, void *object)
{
    bytes_clear(at(row, object));
}

static void copy_bytes(const struct field *row, void *to, const void *from)
{
    bytes_copy(at(row, to), at_const(row, from));
}

/* --- lists: a pointer and, elsewhere in the struct, a count --- */

static size_t list_count(const struct field *row, const void *object)
{
    return *(const size_t *)(const void *)((const char *)object + row->count);
}

static char *list_items(const struct field *row, const void *object)
{
    return *(char *const *)at_const(row, object);
}

/* Makes the list of a zero member; it is whole for x_clear at any time, as its items are zero. */
static char *list_make(const struct field *row, void *object, size_t n, size_t size)
{
    char *items = n ? mem_calloc(n, size) : NULL;

    *(char **)at(row, object) = items;
    *(size_t *)(void *)((char *)object + row->count) = n;
    return items;
}

/* The size of what is in @value, which must be a list within the bound of @row. 0 or -1. */
static int list_size(const struct field *row, json_t *value, size_t *n, struct err **errp)
{
    if (!json_is_array(value))
        return wrong_type("a list", errp);
    *n = json_array_size(value);
    return check_max(*n, row->max, "items", errp);
}

static int write_bytes_list(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    CLEANUP(json_freep) json_t *array = NULL;
    const struct bytes *items = (const void *)list_items(row, object);
    size_t n = list_count(row, object);

    if (n == 0)
        return 0;
    if (check_max(n, row->max, "items", errp) < 0)
        return -1;
    array = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *item = NULL;

        if (bytes_value(&items[i], row->max_each, &item, errp) < 0)
            return err_wrap(errp, "item %zu", i + 1);
        append(array, item);
    }
    *value = TAKE(array);
    return 0;
}

static int read_bytes_list(const struct field *row, json_t *value, void *object, struct err **errp)
{
    struct bytes *items;
    size_t n;

    if (list_size(row, value, &n, errp) < 0)
        return -1;
    items = (void *)list_make(row, object, n, sizeof(*items));
    for (size_t i = 0; i < n; i++)
        if (bytes_of(json_array_get(value, i), row->max_each, &items[i], errp) < 0)
            return err_wrap(errp, "item %zu", i + 1);
    return 0;
}

static void clear_bytes_list(const struct field *row, void *object)
{
    struct bytes *items = (void *)list_items(row, object);

    for (size_t i = 0; i < list_count(row, object); i++)
        bytes_clear(&items[i]);
    free(items);
}

static void copy_bytes_list(const struct field *row, void *to, const void *from)
{
    const struct bytes *old = (const void *)list_items(row, from);
    size_t n = list_count(row, from);
    struct bytes *items = (void *)list_make(row, to, n, sizeof(*items));

    for (size_t i = 0; i < n; i++)
        bytes_copy(&items[i], &old[i]);
}

static int write_u32_list(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    const uint32_t *items = (const void *)list_items(row, object);
    size_t n = list_count(row, object);

    if (n == 0)
        return 0;
    if (check_max(n, row->max, "items", errp) < 0)
        return -1;
    *value = json_array();
    for (size_t i = 0; i < n; i++)
        append(*value, json_integer(items[i]));
    return 0;
}

static int read_u32_list(const struct field *row, json_t *value, void *object, struct err **errp)
{
    uint32_t *items;
    size_t n;

    if (list_size(row, value, &n, errp) < 0)
        return -1;
    items = (void *)list_make(row, object, n, sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        int64_t number = 0;

        if (whole_number(json_array_get(value, i), 0, UINT32_MAX, &number, errp) < 0)
            return err_wrap(errp, "item %zu", i + 1);
        items[i] = (uint32_t)number;
    }
    return 0;
}

static void clear_u32_list(const struct field *row, void *object)
{
    free(list_items(row, object));
}

static void copy_u32_list(const struct field *row, void *to, const void *from)
{
    size_t n = list_count(row, from);
    char *items = list_make(row, to, n, sizeof(uint32_t));

    if (n)
        memcpy(items, list_items(row, from), n * sizeof(uint32_t));
}

static int write_list(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    CLEANUP(json_freep) json_t *array = NULL;
    const char *items = list_items(row, object);
    size_t n = list_count(row, object);

    if (n == 0)
        return 0;
    if (check_max(n, row->max, "items", errp) < 0)
        return -1;
    array = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *item = NULL;

        if (write_object(row->map, items + i * row->map->size, &item, errp) < 0)
            return err_wrap(errp, "item %zu", i + 1);
        append(array, item);
    }
    *value = TAKE(array);
    return 0;
}

static int read_list(const struct field *row, json_t *value, void *object, struct err **errp)
{
    char *items;
    size_t n;

    if (list_size(row, value, &n, errp) < 0)
        return -1;
    items = list_make(row, object, n, row->map->size);
    for (size_t i = 0; i < n; i++)
        if (read_object(row->map, json_array_get(value, i), items + i * row->map->size, errp) < 0)
            return err_wrap(errp, "item %zu", i + 1);
    return 0;
}

static void clear_list(const struct field *row, void *object)
{
    char *items = list_items(row, object);

    for (size_t i = 0; i < list_count(row, object); i++)
        fields_clear(row->map, items + i * row->map->size);
    free(items);
}

static void copy_list(const struct field *row, void *to, const void *from)
{
    size_t n = list_count(row, from);
    char *items = list_make(row, to, n, row->map->size);

    for (size_t i = 0; i < n; i++)
        fields_copy(row->map, items + i * row->map->size, list_items(row, from) + i * row->map->size);
}

/* --- a struct within --- */

static int write_inner(const struct field *row, const void *object, json_t **value, struct err **errp)
{
    CLEANUP(json_freep) json_t *inner = NULL;

    if (write_object(row->map, at_const(row, object), &inner, errp) < 0)
        return -1;
    if (json_object_size(inner))
        *value = TAKE(inner);
    return 0;
}

static int read_inner(const struct field *row, json_t *value, void *object, struct err **errp)
{
    return read_object(row->map, value, at(row, object), errp);
}

static void clear_inner(const struct field *row, void *object)
{
    fields_clear(row->map, at(row, object));
}

static void copy_inner(const struct field *row, void *to, const void *from)
{
    fields_copy(row->map, at(row, to), at_const(row, from));
}

static const struct type types[] = {
    [FIELD_TYPE_BOOL] = {write_bool, read_bool, clear_nothing, copy_nothing},
    [FIELD_TYPE_U32] = {write_u32, read_u32, clear_nothing, copy_nothing},
    [FIELD_TYPE_U64] = {write_u64, read_u64, clear_nothing, copy_nothing},
    [FIELD_TYPE_TIME] = {write_time, read_time, clear_nothing, copy_nothing},
    [FIELD_TYPE_ENUM] = {write_enum, read_enum, clear_nothing, copy_nothing},
    [FIELD_TYPE_OPT_U32] = {write_opt_u32, read_opt_u32, clear_nothing, copy_nothing},
    [FIELD_TYPE_OPT_TIME] = {write_opt_time, read_opt_time, clear_nothing, copy_nothing},
    [FIELD_TYPE_TEXT] = {write_text, read_text, clear_text, copy_text},
    [FIELD_TYPE_TEXTS] = {write_texts, read_texts, clear_texts, copy_texts},
    [FIELD_TYPE_BYTES] = {write_bytes, read_bytes, clear_bytes, copy_bytes},
    [FIELD_TYPE_BYTES_LIST] = {write_bytes_list, read_bytes_list, clear_bytes_list, copy_bytes_list},
    [FIELD_TYPE_U32_LIST] = {write_u32_list, read_u32_list, clear_u32_list, copy_u32_list},
    [FIELD_TYPE_OBJECT] = {write_inner, read_inner, clear_inner, copy_inner},
    [FIELD_TYPE_LIST] = {write_list, read_list, clear_list, copy_list},
};

static int write_object(const struct fields *map, const void *in, json_t **value, struct err **errp)
{
    CLEANUP(json_freep) json_t *object = json_object();

    for (size_t i = 0; i < map->n; i++) {
        const struct field *row = &map->items[i];
        json_t *member = NULL;

        if (types[row->type].write(row, in, &member, errp) < 0)
            return err_wrap(errp, "%s", row->name);
        if (!member && row->required)
            return err_set(errp, ERR_INVALID, "%s: missing", row->name);
        if (member)
            json_object_set_new(object, row->name, member);
    }
    *value = TAKE(object);
    return 0;
}

static bool is_known(const struct fields *map, const char *name)
{
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->items[i].name, name) == 0)
            return true;
    return false;
}

static int refuse_unknown(const struct fields *map, json_t *object, struct err **errp)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value) if (!is_known(map, name))
    {
        CLEANUP(mem_freep) char *shown = printable(name, strlen(name), 40);

        return err_set(errp, ERR_INVALID, "unknown field '%s'", shown);
    }
    return 0;
}

/* A struct within that is not there is one whose members are all absent, and may lack one that is required. */
static int read_absent(const struct field *row, void *out, struct err **errp)
{
    CLEANUP(json_freep) json_t *nothing = NULL;

    if (row->required)
        return err_set(errp, ERR_INVALID, "missing");
    if (row->type != FIELD_TYPE_OBJECT)
        return 0;
    nothing = json_object();
    return read_inner(row, nothing, out, errp);
}

/* Fills @out, which is zero; on failure it holds what was read so far, for the caller to clear. */
static int read_object(const struct fields *map, json_t *object, void *out, struct err **errp)
{
    if (!json_is_object(object))
        return wrong_type("an object", errp);
    for (size_t i = 0; i < map->n; i++) {
        const struct field *row = &map->items[i];
        json_t *value = json_object_get(object, row->name);
        int r = value ? types[row->type].read(row, value, out, errp) : read_absent(row, out, errp);

        if (r < 0)
            return err_wrap(errp, "%s", row->name);
    }
    return refuse_unknown(map, object, errp);
}

int fields_write(const struct fields *map, const void *in, bool indent, struct bytes *out, struct err **errp)
{
    CLEANUP(json_freep) json_t *object = NULL;
    CLEANUP(mem_freep) char *text = NULL;

    if (write_object(map, in, &object, errp) < 0)
        return -1;
    text = json_dumps(object, JSON_PRESERVE_ORDER | (indent ? JSON_INDENT(2) : JSON_COMPACT));
    if (!text)
        return err_set(errp, ERR_INTERNAL, "the JSON library cannot write this object");
    return bytes_append_text(out, text, errp);
}

int fields_read(const struct fields *map, const void *text, size_t len, void *out, struct err **errp)
{
    CLEANUP(json_freep) json_t *object = NULL;
    CLEANUP(mem_freep) void *read = NULL;
    json_error_t error;

    object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!object) {
        CLEANUP(mem_freep) char *why = printable_text(error.text);

        return err_set(errp, ERR_INVALID, "not JSON: line %d: %s", error.line, why);
    }
    read = mem_alloc(map->size);
    if (read_object(map, object, read, errp) < 0) {
        fields_clear(map, read);
        return -1;
    }
    memcpy(out, read, map->size);
    return 0;
}

bool fields_peek_u32(const void *text, size_t len, const char *name, uint32_t *value)
{
    CLEANUP(json_freep) json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    json_int_t number = json_integer_value(json_object_get(object, name));

    if (number <= 0 || number > UINT32_MAX)
        return false;
    *value = (uint32_t)number;
    return true;
}

void fields_clear(const struct fields *map, void *object)
{
    for (size_t i = 0; i < map->n; i++)
        types[map->items[i].type].clear(&map->items[i], object);
    memset(object, 0, map->size);
}

void fields_copy(const struct fields *map, void *to, const void *from)
{
    memcpy(to, from, map->size);
    for (size_t i = 0; i < map->n; i++)
        types[map->items[i].type].copy(&map->items[i], to, from);
}
