#include "protocol/xml/xmap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"

static void *member(void *in, size_t offset)
{
    return (char *)in + offset;
}

static const void *const_member(const void *in, size_t offset)
{
    return (const char *)in + offset;
}

/* Pointers of any type, read and written without breaking the rules of aliasing. */
static void *pointer_at(const void *at)
{
    void *pointer;

    memcpy(&pointer, at, sizeof(pointer));
    return pointer;
}

static void set_pointer(void *at, void *pointer)
{
    memcpy(at, &pointer, sizeof(pointer));
}

static size_t count_of(const struct xmap_field *field, const void *in)
{
    if (field->type == XMAP_TYPE_STRINGS)
        return ((const struct strlist *)const_member(in, field->offset))->n;
    return *(const size_t *)const_member(in, field->n_offset);
}

/* Values: what the text of an element or attribute says. */

static int wrong_value(struct xmltext text, const char *expected, struct err **errp)
{
    CLEANUP(mem_freep) char *shown = printable(text.at, text.len, 40);

    return err_set(errp, ERR_INVALID, "'%s' is not %s", shown, expected);
}

static bool text_is(struct xmltext text, const char *what)
{
    return text.len == strlen(what) && memcmp(text.at, what, text.len) == 0;
}

/* A decimal number; false when it is none or its magnitude needs more than 64 bits. */
static bool parse_number(struct xmltext text, bool *negative, uint64_t *magnitude)
{
    *magnitude = 0;
    *negative = text.len && text.at[0] == '-';
    if (text.len && (text.at[0] == '-' || text.at[0] == '+')) {
        text.at++;
        text.len--;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(text.at[i] - '0');

        if (digit > 9 || *magnitude > (UINT64_MAX - digit) / 10)
            return false;
        *magnitude = *magnitude * 10 + digit;
    }
    return text.len > 0;
}

static int read_bool(struct xmltext text, bool *out, struct err **errp)
{
    bool yes = text_is(text, "true") || text_is(text, "1");

    if (!yes && !text_is(text, "false") && !text_is(text, "0"))
        return wrong_value(text, "true or false", errp);
    *out = yes;
    return 0;
}

static int read_i32(struct xmltext text, int32_t *out, struct err **errp)
{
    bool negative;
    uint64_t magnitude;

    if (!parse_number(text, &negative, &magnitude) || magnitude > (uint64_t)INT32_MAX + negative)
        return wrong_value(text, "a number of 32 bits", errp);
    *out = (int32_t)(negative ? -(int64_t)magnitude : (int64_t)magnitude);
    return 0;
}

static int read_u32(struct xmltext text, uint32_t *out, struct err **errp)
{
    bool negative;
    uint64_t magnitude;

    if (!parse_number(text, &negative, &magnitude) || magnitude > (negative ? (uint64_t)INT32_MAX + 1 : UINT32_MAX))
        return wrong_value(text, "a number of 32 bits", errp);
    *out = (uint32_t)(negative ? -magnitude : magnitude);
    return 0;
}

static int read_u64(struct xmltext text, uint64_t *out, struct err **errp)
{
    bool negative;

    if (!parse_number(text, &negative, out) || (negative && *out))
        return wrong_value(text, "a number of 64 bits", errp);
    return 0;
}

static int read_time(struct xmltext text, int64_t *out, struct err **errp)
{
    CLEANUP(mem_freep) char *copy = NULL;

    if (text.len > 64)
        return wrong_value(text, "a date and time", errp);
    copy = mem_strndup(text.at, text.len);
    return when_parse_xsd(copy, out, errp);
}

static int read_bytes(const struct xmap_field *field, struct xmltext text, struct bytes *out, struct err **errp)
{
    struct bytes value = {0};

    if (bytes_from_base64(&value, text.at, text.len, field->max, errp) < 0)
        return -1;
    *out = value;
    return 0;
}

static int check_length(const struct xmap_field *field, struct xmltext text, struct err **errp)
{
    if (text.len > field->max)
        return err_set(errp, ERR_INVALID, "%zu bytes, and %zu are the most", text.len, field->max);
    return 0;
}

static int read_string(const struct xmap_field *field, struct xmltext text, char **out, struct err **errp)
{
    if (check_length(field, text, errp) < 0)
        return -1;
    *out = text.len || field->presence == XMAP_DEFAULTED ? mem_strndup(text.at, text.len) : NULL;
    return 0;
}

static int read_secret(const struct xmap_field *field, struct xmltext text, struct secret **out, struct err **errp)
{
    if (check_length(field, text, errp) < 0)
        return -1;
    *out = secret_copy(text.at, text.len);
    return 0;
}

static int read_value(const struct xmap_field *field, struct xmltext text, void *at, struct err **errp)
{
    switch (field->type) {
    case XMAP_TYPE_BOOL:
        return read_bool(text, at, errp);
    case XMAP_TYPE_I32:
        return read_i32(text, at, errp);
    case XMAP_TYPE_U32:
        return read_u32(text, at, errp);
    case XMAP_TYPE_U64:
        return read_u64(text, at, errp);
    case XMAP_TYPE_OPT_BOOL:
        ((struct opt_bool *)at)->set = true;
        return read_bool(text, &((struct opt_bool *)at)->value, errp);
    case XMAP_TYPE_OPT_I32:
        ((struct opt_i32 *)at)->set = true;
        return read_i32(text, &((struct opt_i32 *)at)->value, errp);
    case XMAP_TYPE_OPT_U32:
        ((struct opt_u32 *)at)->set = true;
        return read_u32(text, &((struct opt_u32 *)at)->value, errp);
    case XMAP_TYPE_OPT_TIME:
        ((struct opt_time *)at)->set = true;
        return read_time(text, &((struct opt_time *)at)->value, errp);
    case XMAP_TYPE_STRING:
        return read_string(field, text, at, errp);
    case XMAP_TYPE_BYTES:
        return read_bytes(field, text, at, errp);
    case XMAP_TYPE_SECRET:
        return read_secret(field, text, at, errp);
    case XMAP_TYPE_STRINGS:
    case XMAP_TYPE_I32S:
    case XMAP_TYPE_LIST:
    case XMAP_TYPE_STRUCT:
    case XMAP_TYPE_NEST:
    case XMAP_TYPE_MARK:
        break;
    }
    return err_set(errp, ERR_INTERNAL, "a field of this type has no text");
}

/* Whether the field in @in has something to say; plain numbers always have. */
static bool has_value(const struct xmap_field *field, const void *in)
{
    const void *at = const_member(in, field->offset);

    switch (field->type) {
    case XMAP_TYPE_BOOL:
    case XMAP_TYPE_I32:
    case XMAP_TYPE_U32:
    case XMAP_TYPE_U64:
        return true;
    case XMAP_TYPE_OPT_BOOL:
    case XMAP_TYPE_OPT_I32:
    case XMAP_TYPE_OPT_U32:
    case XMAP_TYPE_OPT_TIME:
    case XMAP_TYPE_MARK:
        return *(const bool *)at; /* of the opt_ types the first member */
    case XMAP_TYPE_STRING:
    case XMAP_TYPE_SECRET:
    case XMAP_TYPE_STRUCT:
        return pointer_at(at) != NULL;
    case XMAP_TYPE_BYTES:
        return ((const struct bytes *)at)->len > 0;
    case XMAP_TYPE_STRINGS:
    case XMAP_TYPE_I32S:
    case XMAP_TYPE_LIST:
        return count_of(field, in) > 0;
    case XMAP_TYPE_NEST:
        if (field->has_mark)
            return *(const bool *)at;
        if (field->presence != XMAP_OPTIONAL)
            return true;
        for (size_t i = 0; i < field->map->n_fields; i++)
            if (field->map->fields[i].type >= XMAP_TYPE_OPT_BOOL && has_value(&field->map->fields[i], in))
                return true;
        return false;
    }
    return false;
}

/* Reading. */

struct reader {
    struct strlist *skipped;
};

static int read_fields(
    struct reader *reader, const struct xmap *map, const struct _xmlNode *element, void *out, struct err **errp);

static int read_text(const struct xmap_field *field, const struct _xmlNode *element, void *out, struct err **errp)
{
    CLEANUP(xmltext_clear) struct xmltext text = {0};
    struct xmltext trimmed;
    int r;

    if (xmlnode_text(element, &text, errp) < 0)
        return -1;
    trimmed = (struct xmltext){.at = text.at, .len = text.len};
    if (field->type != XMAP_TYPE_SECRET)
        xmltext_trim(&trimmed);
    r = read_value(field, trimmed, member(out, field->offset), errp);
    if (field->type == XMAP_TYPE_SECRET) {
        xmlnode_wipe(element);
        if (text.owned)
            OPENSSL_cleanse(text.owned, strlen(text.owned));
    }
    if (r < 0)
        return err_wrap(errp, "line %ld: <%s>", xmlnode_line(element), xmlnode_name(element));
    return 0;
}

/* How many children are items; -1 when there are more than the field allows. */
static int count_items(const struct xmap_field *field, const struct _xmlNode *element, const char *ns, const char *name,
    size_t *n, struct err **errp)
{
    *n = 0;
    for (const struct _xmlNode *child = xmlnode_first(element); child; child = xmlnode_next(child))
        *n += xmlnode_is(child, ns, name);
    if (*n > field->max_items)
        return err_set(errp, ERR_INVALID, "line %ld: <%s> has %zu <%s>, and %zu are the most", xmlnode_line(element),
            xmlnode_name(element), *n, name, field->max_items);
    return 0;
}

static int read_strings(const struct xmap_field *field, const struct _xmlNode *element, const char *ns,
    struct strlist *out, struct err **errp)
{
    size_t n;

    if (count_items(field, element, ns, field->item, &n, errp) < 0)
        return -1;
    out->items = mem_calloc(n, sizeof(*out->items));
    for (const struct _xmlNode *child = xmlnode_first(element); child; child = xmlnode_next(child)) {
        if (!xmlnode_is(child, ns, field->item))
            continue;
        if (xmlnode_string(child, field->max, &out->items[out->n], errp) < 0)
            return -1;
        out->n += out->items[out->n] != NULL;
    }
    return 0;
}

static int read_numbers(
    const struct xmap_field *field, const struct _xmlNode *element, const char *ns, void *out, struct err **errp)
{
    static const struct xmap_field number = {.type = XMAP_TYPE_I32};
    size_t *used = member(out, field->n_offset);
    int32_t *items;
    size_t n;

    if (count_items(field, element, ns, field->item, &n, errp) < 0)
        return -1;
    items = mem_calloc(n, sizeof(*items));
    set_pointer(member(out, field->offset), items);
    for (const struct _xmlNode *child = xmlnode_first(element); child; child = xmlnode_next(child)) {
        if (!xmlnode_is(child, ns, field->item))
            continue;
        if (read_text(&number, child, &items[(*used)++], errp) < 0)
            return -1;
    }
    return 0;
}

/* The first text that a struct has, to call it by; NULL where it has none. */
static const char *name_in(const struct xmap *map, const void *in)
{
    for (size_t i = 0; i < map->n_fields; i++) {
        const struct xmap_field *field = &map->fields[i];
        const char *name = NULL;

        if (field->type == XMAP_TYPE_STRING)
            name = pointer_at(const_member(in, field->offset));
        else if (field->type == XMAP_TYPE_NEST)
            name = name_in(field->map, in);
        if (name)
            return name;
    }
    return NULL;
}

static void keep_reason(struct reader *reader, const struct xmap *map, const void *item, const struct err *why)
{
    const char *name = name_in(map, item);
    CLEANUP(mem_freep) char *shown = printable(name ? name : "", name ? strlen(name) : 0, 80);
    CLEANUP(mem_freep) char *reason = NULL;

    if (!reader->skipped)
        return;
    reason = name ? mem_printf("<%s> '%s': %s", map->name, shown, err_text(why))
                  : mem_printf("<%s>: %s", map->name, err_text(why));
    strlist_add(reader->skipped, reason);
}

static int read_list(
    struct reader *reader, const struct xmap_field *field, const struct _xmlNode *element, void *out, struct err **errp)
{
    const struct xmap *map = field->map;
    size_t *used = member(out, field->n_offset);
    char *items;
    size_t n;

    if (count_items(field, element, map->ns, map->name, &n, errp) < 0)
        return -1;
    items = mem_calloc(n, map->size);
    set_pointer(member(out, field->offset), items);
    for (const struct _xmlNode *child = xmlnode_first(element); child; child = xmlnode_next(child)) {
        CLEANUP(err_freep) struct err *why = NULL;
        void *item = items + *used * map->size;

        if (!xmlnode_is(child, map->ns, map->name))
            continue;
        if (read_fields(reader, map, child, item, &why) == 0) {
            (*used)++;
            continue;
        }
        if (field->skip_bad)
            keep_reason(reader, map, item, why);
        xmap_clear(map, item);
        if (!field->skip_bad)
            return err_set(errp, err_kind(why), "in <%s>: %s", map->name, err_text(why));
    }
    return 0;
}

static int read_struct(
    struct reader *reader, const struct xmap_field *field, const struct _xmlNode *element, void *out, struct err **errp)
{
    void *inner = mem_alloc(field->map->size);

    if (read_fields(reader, field->map, element, inner, errp) < 0) {
        xmap_clear(field->map, inner);
        free(inner);
        return -1;
    }
    set_pointer(member(out, field->offset), inner);
    return 0;
}

static int read_nest(
    struct reader *reader, const struct xmap_field *field, const struct _xmlNode *element, void *out, struct err **errp)
{
    if (field->has_mark && xmlnode_first(element))
        *(bool *)member(out, field->offset) = true;
    return read_fields(reader, field->map, element, out, errp);
}

static const char *namespace_of(const struct xmap *map, const struct xmap_field *field)
{
    return field->ns ? field->ns : map->ns;
}

static int read_child(struct reader *reader, const struct xmap *map, const struct xmap_field *field,
    const struct _xmlNode *child, void *out, struct err **errp)
{
    int r;

    if (field->type == XMAP_TYPE_MARK) {
        *(bool *)member(out, field->offset) = true;
        return 0;
    }
    if (field->type == XMAP_TYPE_STRINGS)
        r = read_strings(field, child, namespace_of(map, field), member(out, field->offset), errp);
    else if (field->type == XMAP_TYPE_I32S)
        r = read_numbers(field, child, namespace_of(map, field), out, errp);
    else if (field->type == XMAP_TYPE_LIST)
        r = read_list(reader, field, child, out, errp);
    else if (field->type == XMAP_TYPE_STRUCT)
        r = read_struct(reader, field, child, out, errp);
    else if (field->type == XMAP_TYPE_NEST)
        r = read_nest(reader, field, child, out, errp);
    else
        return read_text(field, child, out, errp);
    return r < 0 ? err_wrap(errp, "in <%s>", field->name) : 0;
}

static int read_attribute(
    const struct xmap_field *field, const struct _xmlNode *element, void *out, bool *found, struct err **errp)
{
    CLEANUP(mem_freep) char *value = xmlnode_attribute(element, field->ns, field->name);

    *found = value != NULL;
    if (value && read_value(field, xmltext_of(value), member(out, field->offset), errp) < 0)
        return err_wrap(errp, "line %ld: <%s %s>", xmlnode_line(element), xmlnode_name(element), field->name);
    return 0;
}

/* What to do about a field that was not there, or had nothing in it. */
static int read_absent(
    const struct xmap_field *field, const struct _xmlNode *element, bool found, void *out, struct err **errp)
{
    if (field->presence == XMAP_DEFAULTED && field->type == XMAP_TYPE_STRING)
        set_pointer(member(out, field->offset), mem_strdup(""));
    if (field->presence != XMAP_REQUIRED)
        return 0;
    if (field->place == XMAP_CONTENT)
        return err_set(errp, ERR_INVALID, "line %ld: <%s> is empty", xmlnode_line(element), xmlnode_name(element));
    return err_set(errp, ERR_INVALID, "line %ld: <%s>: %s is %s", xmlnode_line(element), xmlnode_name(element),
        field->name, found ? "empty or nil" : "missing");
}

static const struct xmap_field *find_field(const struct xmap *map, const struct _xmlNode *child)
{
    for (size_t i = 0; i < map->n_fields; i++)
        if (map->fields[i].place == XMAP_CHILD &&
            xmlnode_is(child, namespace_of(map, &map->fields[i]), map->fields[i].name))
            return &map->fields[i];
    return NULL;
}

/* The children; a bit of @seen for each field that was there, of @filled for each that was not nil. */
static int read_children(struct reader *reader, const struct xmap *map, const struct _xmlNode *element, void *out,
    uint64_t *seen, uint64_t *filled, struct err **errp)
{
    for (const struct _xmlNode *child = xmlnode_first(element); child; child = xmlnode_next(child)) {
        const struct xmap_field *field = find_field(map, child);
        uint64_t bit = field ? UINT64_C(1) << (field - map->fields) : 0;

        if (!field)
            continue;
        if (*seen & bit)
            return err_set(errp, ERR_INVALID, "line %ld: <%s> is there twice", xmlnode_line(child), field->name);
        *seen |= bit;
        if (xmlnode_is_nil(child) || (field->not_empty && !xmlnode_first(child)))
            continue;
        *filled |= bit;
        if (read_child(reader, map, field, child, out, errp) < 0)
            return -1;
    }
    return 0;
}

static bool is_list(const struct xmap_field *field)
{
    return field->type == XMAP_TYPE_STRINGS || field->type == XMAP_TYPE_I32S || field->type == XMAP_TYPE_LIST;
}

static int read_fields(
    struct reader *reader, const struct xmap *map, const struct _xmlNode *element, void *out, struct err **errp)
{
    uint64_t seen = 0, filled = 0;

    if (read_children(reader, map, element, out, &seen, &filled, errp) < 0)
        return -1;
    for (size_t i = 0; i < map->n_fields; i++) {
        const struct xmap_field *field = &map->fields[i];
        bool found = filled >> i & 1;

        if (field->place == XMAP_ATTRIBUTE && read_attribute(field, element, out, &found, errp) < 0)
            return -1;
        if (field->place == XMAP_CONTENT) {
            found = true;
            if (read_text(field, element, out, errp) < 0)
                return -1;
        }
        if (found && (is_list(field) || field->type == XMAP_TYPE_NEST || has_value(field, out)))
            continue;
        if (read_absent(field, element, found || (seen >> i & 1), out, errp) < 0)
            return -1;
    }
    return 0;
}

int xmap_parse(
    const struct xmap *map, const struct _xmlNode *element, void *out, struct strlist *skipped, struct err **errp)
{
    struct reader reader = {.skipped = skipped};
    void *value = mem_alloc(map->size);

    if (read_fields(&reader, map, element, value, errp) < 0) {
        xmap_clear(map, value);
        free(value);
        return err_wrap(errp, "in <%s>", map->name);
    }
    memcpy(out, value, map->size);
    free(value);
    return 0;
}

/* Writing. */

/* The text of a value; borrowed from @at, or from *owned, which the caller frees. */
static const char *format_value(const struct xmap_field *field, const void *at, char **owned)
{
    switch (field->type) {
    case XMAP_TYPE_BOOL:
        return *(const bool *)at ? "true" : "false";
    case XMAP_TYPE_OPT_BOOL:
        return ((const struct opt_bool *)at)->value ? "true" : "false";
    case XMAP_TYPE_I32:
        return *owned = mem_printf("%" PRId32, *(const int32_t *)at);
    case XMAP_TYPE_OPT_I32:
        return *owned = mem_printf("%" PRId32, ((const struct opt_i32 *)at)->value);
    case XMAP_TYPE_U32:
        return *owned = mem_printf("%" PRIu32, *(const uint32_t *)at);
    case XMAP_TYPE_OPT_U32:
        return *owned = mem_printf("%" PRIu32, ((const struct opt_u32 *)at)->value);
    case XMAP_TYPE_U64:
        return *owned = mem_printf("%" PRIu64, *(const uint64_t *)at);
    case XMAP_TYPE_OPT_TIME:
        return *owned = when_format_xsd(((const struct opt_time *)at)->value);
    case XMAP_TYPE_STRING:
        return pointer_at(at);
    case XMAP_TYPE_BYTES:
        return *owned = bytes_to_base64(((const struct bytes *)at)->data, ((const struct bytes *)at)->len, 0);
    case XMAP_TYPE_SECRET:
        return secret_peek(pointer_at(at));
    case XMAP_TYPE_STRINGS:
    case XMAP_TYPE_I32S:
    case XMAP_TYPE_LIST:
    case XMAP_TYPE_STRUCT:
    case XMAP_TYPE_NEST:
    case XMAP_TYPE_MARK:
        break;
    }
    return "";
}

static void write_value(struct xmlout *x, const struct xmap_field *field, const void *at)
{
    CLEANUP(mem_freep) char *owned = NULL;
    const char *text = format_value(field, at, &owned);

    if (field->max && field->type != XMAP_TYPE_BYTES && strlen(text) > field->max)
        xmlout_fail(x, "<%s> has %zu bytes, and %zu are the most", field->name, strlen(text), field->max);
    if (field->place == XMAP_ATTRIBUTE)
        xmlout_attribute(x, field->ns, field->name, text);
    else
        xmlout_text(x, text);
}

static void write_items(struct xmlout *x, const struct xmap *map, const struct xmap_field *field, const void *in)
{
    const char *ns = namespace_of(map, field);
    const char *items = pointer_at(const_member(in, field->offset));
    size_t n = count_of(field, in);

    if (n > field->max_items)
        xmlout_fail(x, "<%s> has %zu items, and %zu are the most", field->name, n, field->max_items);
    for (size_t i = 0; i < n; i++) {
        if (field->type == XMAP_TYPE_LIST) {
            xmap_write(x, field->map, items + i * field->map->size);
            continue;
        }
        xmlout_open(x, ns, field->item);
        if (field->type == XMAP_TYPE_STRINGS) {
            xmlout_text(x, ((const struct strlist *)const_member(in, field->offset))->items[i]);
        } else {
            char number[16];

            snprintf(number, sizeof(number), "%" PRId32, ((const int32_t *)(const void *)items)[i]);
            xmlout_text(x, number);
        }
        xmlout_close(x);
    }
}

static void write_inside(struct xmlout *x, const struct xmap *map, const struct xmap_field *field, const void *in)
{
    const void *at = const_member(in, field->offset);

    if (is_list(field))
        write_items(x, map, field, in);
    else if (field->type == XMAP_TYPE_STRUCT)
        xmap_write_fields(x, field->map, pointer_at(at));
    else if (field->type == XMAP_TYPE_NEST)
        xmap_write_fields(x, field->map, in);
    else if (field->type != XMAP_TYPE_MARK && has_value(field, in))
        write_value(x, field, at);
}

static void write_child(struct xmlout *x, const struct xmap *map, const struct xmap_field *field, const void *in)
{
    bool absent = !has_value(field, in);

    if (absent && field->presence == XMAP_OPTIONAL)
        return;
    if (absent && field->presence == XMAP_REQUIRED) {
        xmlout_fail(x, "<%s>: %s has no value", map->name, field->name);
        return;
    }
    xmlout_open(x, namespace_of(map, field), field->name);
    if (absent && field->presence == XMAP_NILLABLE)
        xmlout_attribute(x, XMLNODE_XSI_NS, "nil", "true");
    else
        write_inside(x, map, field, in);
    xmlout_close(x);
}

void xmap_write_fields(struct xmlout *x, const struct xmap *map, const void *in)
{
    for (size_t i = 0; i < map->n_fields; i++) {
        const struct xmap_field *field = &map->fields[i];

        if (field->place != XMAP_ATTRIBUTE)
            continue;
        if (has_value(field, in))
            write_value(x, field, const_member(in, field->offset));
        else if (field->presence == XMAP_REQUIRED)
            xmlout_fail(x, "<%s>: %s has no value", map->name, field->name);
    }
    for (size_t i = 0; i < map->n_fields; i++) {
        const struct xmap_field *field = &map->fields[i];

        if (field->place == XMAP_CHILD)
            write_child(x, map, field, in);
        else if (field->place == XMAP_CONTENT && has_value(field, in))
            write_value(x, field, const_member(in, field->offset));
        else if (field->place == XMAP_CONTENT && field->presence == XMAP_REQUIRED)
            xmlout_fail(x, "<%s> has no value", map->name);
    }
}

void xmap_write(struct xmlout *x, const struct xmap *map, const void *in)
{
    xmlout_open(x, map->ns, map->name);
    xmap_write_fields(x, map, in);
    xmlout_close(x);
}

/* Emptying. */

static void clear_list(const struct xmap_field *field, void *in)
{
    char *items = pointer_at(member(in, field->offset));

    for (size_t i = 0; i < count_of(field, in); i++)
        xmap_clear(field->map, items + i * field->map->size);
    free(items);
}

static void clear_field(const struct xmap_field *field, void *in)
{
    void *at = member(in, field->offset);

    switch (field->type) {
    case XMAP_TYPE_STRING:
    case XMAP_TYPE_I32S:
        free(pointer_at(at));
        break;
    case XMAP_TYPE_SECRET:
        secret_free(pointer_at(at));
        break;
    case XMAP_TYPE_STRUCT:
        if (pointer_at(at))
            xmap_clear(field->map, pointer_at(at));
        free(pointer_at(at));
        break;
    case XMAP_TYPE_BYTES:
        bytes_clear(at);
        break;
    case XMAP_TYPE_STRINGS:
        strlist_clear(at);
        break;
    case XMAP_TYPE_LIST:
        clear_list(field, in);
        break;
    case XMAP_TYPE_NEST:
        for (size_t i = 0; i < field->map->n_fields; i++)
            clear_field(&field->map->fields[i], in);
        break;
    case XMAP_TYPE_BOOL:
    case XMAP_TYPE_I32:
    case XMAP_TYPE_U32:
    case XMAP_TYPE_U64:
    case XMAP_TYPE_OPT_BOOL:
    case XMAP_TYPE_OPT_I32:
    case XMAP_TYPE_OPT_U32:
    case XMAP_TYPE_OPT_TIME:
    case XMAP_TYPE_MARK:
        break;
    }
}

void xmap_clear(const struct xmap *map, void *in)
{
    for (size_t i = 0; i < map->n_fields; i++)
        clear_field(&map->fields[i], in);
    memset(in, 0, map->size);
}
