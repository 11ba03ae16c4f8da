/* fields.h - field tables between C structs and JSON, both ways: frames of the channel, records on disk. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"
#include "protocol/base/opt.h"

/*
 * One table describes a struct; reading, writing, clearing and copying walk it. What is read is hostile: a field of
 * another type, over its bound, unknown, given twice, or missing though required is an error that names its path
 * (ERR_INVALID). Bytes travel as base64, 64-bit counts as decimal text, a member that is empty is not written.
 */
enum field_type {
    FIELD_TYPE_BOOL,
    FIELD_TYPE_U32,
    FIELD_TYPE_U64,
    FIELD_TYPE_TIME, /* int64_t, seconds since 1970, UTC */
    FIELD_TYPE_ENUM, /* unsigned or enum, written by name */
    FIELD_TYPE_OPT_U32,
    FIELD_TYPE_OPT_TIME,
    FIELD_TYPE_TEXT,       /* char *, NULL when absent */
    FIELD_TYPE_TEXTS,      /* struct strlist */
    FIELD_TYPE_BYTES,      /* struct bytes */
    FIELD_TYPE_BYTES_LIST, /* struct bytes * and a count */
    FIELD_TYPE_U32_LIST,   /* uint32_t * and a count */
    FIELD_TYPE_OBJECT,     /* a struct within */
    FIELD_TYPE_LIST,       /* struct * and a count */
};

struct fields;
struct field {
    const char *name; /* of the member, and in JSON */
    enum field_type type;
    bool required; /* TEXT and BYTES: present and not empty */
    size_t offset;
    size_t count;              /* offset of the count of a list */
    size_t max;                /* bytes of TEXT and BYTES; items of lists and TEXTS */
    size_t max_each;           /* bytes of one item of TEXTS and BYTES_LIST */
    const struct fields *map;  /* OBJECT and LIST */
    const char *const *values; /* ENUM: names by value; max is how many */
};
struct fields {
    size_t size; /* of the struct */
    const struct field *items;
    size_t n;
};
/* The table that describes a struct: FIELDS(map_name, tag, rows...); LOCAL_FIELDS for one that only this file uses. */
#define FIELDS_ROWS(map_name, ...) static const struct field map_name##_rows[] = {__VA_ARGS__}
#define FIELDS_MAP(map_name, tag)                                                                                      \
    const struct fields map_name = {sizeof(struct tag), map_name##_rows, ARRAY_SIZE(map_name##_rows)}
#define FIELDS(map_name, tag, ...)                                                                                     \
    FIELDS_ROWS(map_name, __VA_ARGS__);                                                                                \
    FIELDS_MAP(map_name, tag)
#define LOCAL_FIELDS(map_name, tag, ...)                                                                               \
    FIELDS_ROWS(map_name, __VA_ARGS__);                                                                                \
    static FIELDS_MAP(map_name, tag)

/* Rows. A member of another type than the row's does not compile. */
#define FIELD_MEMBER(tag, member) (((struct tag *)0)->member)
#define FIELD_ROW(kind, ctype, tag, member)                                                                            \
    .name = #member,                                                                                                   \
    .type = _Generic(FIELD_MEMBER(tag, member), ctype                                                                  \
                     : FIELD_TYPE_##kind),                                                                             \
    .offset = offsetof(struct tag, member)
#define FIELD_BOOL(tag, member)                                                                                        \
    {                                                                                                                  \
        FIELD_ROW(BOOL, bool, tag, member)                                                                             \
    }
#define FIELD_U32(tag, member)                                                                                         \
    {                                                                                                                  \
        FIELD_ROW(U32, uint32_t, tag, member)                                                                          \
    }
#define FIELD_U64(tag, member)                                                                                         \
    {                                                                                                                  \
        FIELD_ROW(U64, uint64_t, tag, member)                                                                          \
    }
#define FIELD_TIME(tag, member)                                                                                        \
    {                                                                                                                  \
        FIELD_ROW(TIME, int64_t, tag, member)                                                                          \
    }
#define FIELD_OPT_U32(tag, member)                                                                                     \
    {                                                                                                                  \
        FIELD_ROW(OPT_U32, struct opt_u32, tag, member)                                                                \
    }
#define FIELD_OPT_TIME(tag, member)                                                                                    \
    {                                                                                                                  \
        FIELD_ROW(OPT_TIME, struct opt_time, tag, member)                                                              \
    }
#define FIELD_ENUM(tag, member, names)                                                                                 \
    {                                                                                                                  \
        FIELD_ROW(ENUM, unsigned, tag, member), .max = ARRAY_SIZE(names), .values = (names)                            \
    }
#define FIELD_TEXT(tag, member, limit)                                                                                 \
    {                                                                                                                  \
        FIELD_ROW(TEXT, char *, tag, member), .max = (limit)                                                           \
    }
#define FIELD_TEXT_REQ(tag, member, limit)                                                                             \
    {                                                                                                                  \
        FIELD_ROW(TEXT, char *, tag, member), .max = (limit), .required = true                                         \
    }
#define FIELD_TEXTS(tag, member, items, each)                                                                          \
    {                                                                                                                  \
        FIELD_ROW(TEXTS, struct strlist, tag, member), .max = (items), .max_each = (each)                              \
    }
#define FIELD_BYTES(tag, member, limit)                                                                                \
    {                                                                                                                  \
        FIELD_ROW(BYTES, struct bytes, tag, member), .max = (limit)                                                    \
    }
#define FIELD_BYTES_REQ(tag, member, limit)                                                                            \
    {                                                                                                                  \
        FIELD_ROW(BYTES, struct bytes, tag, member), .max = (limit), .required = true                                  \
    }
#define FIELD_COUNT(tag, n_member)                                                                                     \
    .count = _Generic(FIELD_MEMBER(tag, n_member), size_t : offsetof(struct tag, n_member))
#define FIELD_BYTES_LIST(tag, member, n_member, items, each)                                                           \
    {                                                                                                                  \
        FIELD_ROW(BYTES_LIST, struct bytes *, tag, member), FIELD_COUNT(tag, n_member), .max = (items),                \
                                                                                        .max_each = (each)             \
    }
#define FIELD_U32_LIST(tag, member, n_member, items)                                                                   \
    {                                                                                                                  \
        FIELD_ROW(U32_LIST, uint32_t *, tag, member), FIELD_COUNT(tag, n_member), .max = (items)                       \
    }
#define FIELD_OBJECT(tag, member, inner, inner_map)                                                                    \
    {                                                                                                                  \
        FIELD_ROW(OBJECT, struct inner, tag, member), .map = &(inner_map)                                              \
    }
#define FIELD_LIST(tag, member, n_member, inner, inner_map, items)                                                     \
    {                                                                                                                  \
        FIELD_ROW(LIST, struct inner *, tag, member), FIELD_COUNT(tag, n_member), .map = &(inner_map), .max = (items)  \
    }

/*
 * Writes @in as one line of JSON, or indented for a person; appended to @out. 0, or -1 when a member is over its bound
 * or no valid UTF-8 (ERR_INVALID); @out is unchanged then.
 */
int fields_write(const struct fields *map, const void *in, bool indent, struct bytes *out, struct err **errp);

/* Reads it back into @out, which is overwritten (not freed first) on success and left alone otherwise. 0 or -1. */
int fields_read(const struct fields *map, const void *text, size_t len, void *out, struct err **errp);

/* The number that the member @name of a JSON object has, for looking at a version before reading; false: none. */
bool fields_peek_u32(const void *text, size_t len, const char *name, uint32_t *value);

void fields_clear(const struct fields *map, void *object);              /* frees every member, leaves {0} */
void fields_copy(const struct fields *map, void *to, const void *from); /* deep; @to is overwritten */
