/* xmap.h - field tables between C structs and elements, both ways. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"
#include "protocol/base/opt.h"
#include "protocol/base/secret.h"
#include "protocol/xml/xmlnode.h"
#include "protocol/xml/xmlout.h"

/*
 * A struct and an element are described by one table, a row a field, in the schema's order. Reading finds elements by
 * name in any order, passes over unknown ones, trims text, takes nil and absent alike, and names the path of what is
 * wrong. A known element that stands there twice is an error. Writing keeps the table's order.
 */

/* What it means for a field to be absent. */
enum xmap_presence {
    XMAP_REQUIRED,  /* an error, both ways; a list must have an item when it is written */
    XMAP_NILLABLE,  /* read: fine; written as xsi:nil="true" */
    XMAP_OPTIONAL,  /* read: fine; not written */
    XMAP_DEFAULTED, /* read as 0, false or ""; always written, as a value */
};

enum xmap_type {
    XMAP_TYPE_BOOL,
    XMAP_TYPE_I32,
    XMAP_TYPE_U32, /* negative numbers of 32 bits are taken as their two's complement, as a directory stores them */
    XMAP_TYPE_U64,
    XMAP_TYPE_OPT_BOOL,
    XMAP_TYPE_OPT_I32,
    XMAP_TYPE_OPT_U32,
    XMAP_TYPE_OPT_TIME, /* xs:dateTime */
    XMAP_TYPE_STRING,   /* owned; an empty one reads as absent, but for XMAP_DEFAULTED */
    XMAP_TYPE_BYTES,    /* base64; an empty one reads as absent */
    XMAP_TYPE_SECRET,   /* owned; not trimmed; wiped in the document; never in an error */
    XMAP_TYPE_STRINGS,  /* struct strlist: an element with an element for each */
    XMAP_TYPE_I32S,     /* the same for a struct with int32_t *items, size_t n */
    XMAP_TYPE_LIST,     /* the same for an owned array of structs with a map */
    XMAP_TYPE_STRUCT,   /* an element with a map, into an owned struct; NULL: absent */
    XMAP_TYPE_NEST,     /* an element whose fields are members of the same struct */
    XMAP_TYPE_MARK,     /* bool: the element is there; what is inside does not matter */
};

/* Where a field is found. */
enum xmap_place { XMAP_CHILD, XMAP_ATTRIBUTE, XMAP_CONTENT };

struct xmap_field {
    enum xmap_type type;
    enum xmap_place place;
    enum xmap_presence presence;
    bool skip_bad;  /* list: an item that cannot be read is left out, and the reason kept */
    bool has_mark;  /* nest: the bool at @offset says whether the element is there, with anything in it */
    bool not_empty; /* nest: an element without children counts as absent */
    const char *ns; /* NULL: that of the map; of an attribute: none */
    const char *name;
    const char *item; /* strings, numbers: name of each */
    size_t offset;
    size_t n_offset;  /* lists: of the counter */
    size_t max;       /* most bytes of a value */
    size_t max_items; /* lists */
    const struct xmap *map;
};

struct xmap {
    const char *ns, *name;
    size_t size; /* of the struct */
    const struct xmap_field *fields;
    size_t n_fields; /* at most 64 */
};

#define XMAP(ns_, name_, struct_, fields_)                                                                             \
    {                                                                                                                  \
        .ns = (ns_), .name = (name_), .size = sizeof(struct struct_), .fields = (fields_),                             \
        .n_fields = ARRAY_SIZE(fields_),                                                                               \
    }

/* The offset of a member, which does not compile when the member has another type than @type_. */
#define XMAP_OFFSET(type_, struct_, member_)                                                                           \
    _Generic(((struct struct_ *)0)->member_, type_ : offsetof(struct struct_, member_))

#define XMAP_VALUE_(type_, ctype_, struct_, member_, name_, presence_, ...)                                            \
    {                                                                                                                  \
        .type = XMAP_TYPE_##type_, .name = (name_), .presence = (presence_),                                           \
        .offset = XMAP_OFFSET(ctype_, struct_, member_), __VA_ARGS__                                                   \
    }

/* (struct, member, name, presence, ...); what follows may set .ns, .place, .not_empty, .skip_bad */
#define XMAP_BOOL(s, m, name, presence, ...) XMAP_VALUE_(BOOL, bool, s, m, name, presence, __VA_ARGS__)
#define XMAP_I32(s, m, name, presence, ...)  XMAP_VALUE_(I32, int32_t, s, m, name, presence, __VA_ARGS__)
#define XMAP_U32(s, m, name, presence, ...)  XMAP_VALUE_(U32, uint32_t, s, m, name, presence, __VA_ARGS__)
#define XMAP_U64(s, m, name, presence, ...)  XMAP_VALUE_(U64, uint64_t, s, m, name, presence, __VA_ARGS__)
#define XMAP_OPT_BOOL(s, m, name, presence, ...)                                                                       \
    XMAP_VALUE_(OPT_BOOL, struct opt_bool, s, m, name, presence, __VA_ARGS__)
#define XMAP_OPT_I32(s, m, name, presence, ...) XMAP_VALUE_(OPT_I32, struct opt_i32, s, m, name, presence, __VA_ARGS__)
#define XMAP_OPT_U32(s, m, name, presence, ...) XMAP_VALUE_(OPT_U32, struct opt_u32, s, m, name, presence, __VA_ARGS__)
#define XMAP_OPT_TIME(s, m, name, presence, ...)                                                                       \
    XMAP_VALUE_(OPT_TIME, struct opt_time, s, m, name, presence, __VA_ARGS__)
#define XMAP_MARK(s, m, name, presence, ...) XMAP_VALUE_(MARK, bool, s, m, name, presence, __VA_ARGS__)

/* These have a limit in bytes. */
#define XMAP_STRING(s, m, name, presence, max_, ...)                                                                   \
    XMAP_VALUE_(STRING, char *, s, m, name, presence, .max = (max_), __VA_ARGS__)
#define XMAP_BYTES(s, m, name, presence, max_, ...)                                                                    \
    XMAP_VALUE_(BYTES, struct bytes, s, m, name, presence, .max = (max_), __VA_ARGS__)
#define XMAP_SECRET(s, m, name, presence, max_, ...)                                                                   \
    XMAP_VALUE_(SECRET, struct secret *, s, m, name, presence, .max = (max_), __VA_ARGS__)

/* An attribute, and the text of the element itself. */
#define XMAP_ATTRIBUTE_STRING(s, m, ns_, name, presence, max)                                                          \
    XMAP_STRING(s, m, name, presence, max, .place = XMAP_ATTRIBUTE, .ns = (ns_))
#define XMAP_CONTENT_STRING(s, m, presence, max) XMAP_STRING(s, m, "", presence, max, .place = XMAP_CONTENT)
#define XMAP_CONTENT_BYTES(s, m, presence, max)  XMAP_BYTES(s, m, "", presence, max, .place = XMAP_CONTENT)
#define XMAP_CONTENT_SECRET(s, m, presence, max) XMAP_SECRET(s, m, "", presence, max, .place = XMAP_CONTENT)

/* <name><item/><item/></name>, at most @max_items_ of them, each of at most @max_ bytes. */
#define XMAP_STRINGS(s, m, name, item_, presence, max_items_, max_)                                                    \
    XMAP_VALUE_(                                                                                                       \
        STRINGS, struct strlist, s, m, name, presence, .item = (item_), .max_items = (max_items_), .max = (max_))
/* @m is a struct { int32_t *items; size_t n; }. */
#define XMAP_I32S(s, m, name, item_, presence, max_items_)                                                             \
    XMAP_VALUE_(I32S, int32_t *, s, m.items, name, presence, .item = (item_), .max_items = (max_items_),               \
        .n_offset = XMAP_OFFSET(size_t, s, m.n))
/* @m is a struct @item_ *, counted by n_@m; each item is an element of @map_. */
#define XMAP_LIST(s, m, item_, name, presence, max_items_, map_, ...)                                                  \
    XMAP_VALUE_(LIST, struct item_ *, s, m, name, presence, .max_items = (max_items_),                                 \
        .n_offset = XMAP_OFFSET(size_t, s, n_##m), .map = (map_), __VA_ARGS__)

/* @m is a struct @item_ *, NULL when absent. */
#define XMAP_STRUCT(s, m, item_, name, presence, map_, ...)                                                            \
    XMAP_VALUE_(STRUCT, struct item_ *, s, m, name, presence, .map = (map_), __VA_ARGS__)
/* The fields inside <name> belong to the same struct; the namespace of the inner fields is @map_'s. */
#define XMAP_NEST(name_, presence_, map_, ...)                                                                         \
    {                                                                                                                  \
        .type = XMAP_TYPE_NEST, .name = (name_), .presence = (presence_), .map = (map_), __VA_ARGS__                   \
    }
/* The same, and a bool says whether it was there and not empty. */
#define XMAP_NEST_IF(s, m, name, presence, map_)                                                                       \
    XMAP_VALUE_(NEST, bool, s, m, name, presence, .map = (map_), .has_mark = true)

/*
 * Reads @element, whose name is not looked at.
 *
 * @out      written only on success; what it held is not freed
 * @skipped  takes the reasons of what was left out by .skip_bad; NULL where the map has no such list
 * Returns 0, or -1 with ERR_INVALID.
 */
int xmap_parse(
    const struct xmap *map, const struct _xmlNode *element, void *out, struct strlist *skipped, struct err **errp);

/* Writes the element of @map from @in; a failure is kept in @x. */
void xmap_write(struct xmlout *x, const struct xmap *map, const void *in);
/* The same for what is inside an element that is already open. */
void xmap_write_fields(struct xmlout *x, const struct xmap *map, const void *in);

/* Frees what the fields own and sets every field to 0. */
void xmap_clear(const struct xmap *map, void *in);
