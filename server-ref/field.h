/* field.h - reads the values of a configuration section by a table of its keys. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "protocol/base/err.h"
#include "protocol/base/mem.h"

enum field_type {
    FIELD_TEXT, /* char *, owned */
    FIELD_LIST, /* struct strlist, separated by commas */
    FIELD_OID,  /* char *, owned; dotted, or a name that oid.h knows */
    FIELD_OIDS, /* struct strlist of such */
    FIELD_BOOL, /* bool; yes or no */
    FIELD_U32,  /* uint32_t; decimal or 0x... */
    FIELD_SPAN, /* int64_t seconds; "30d", "10s" */
    FIELD_WORD, /* uint32_t; one of a table of words */
};

struct field_word {
    const char *word;
    uint32_t value;
};

struct field {
    const char *key; /* compared without regard to case */
    enum field_type type;
    size_t offset;
    const struct field_word *words; /* FIELD_WORD; ends with a NULL word */
};

/*
 * Sets the member of @object that @key names. Return 0 or -1 (ERR_CONFIG; an unknown key gets the nearest known one
 * as its hint).
 */
int field_set(
    const struct field *fields, size_t n, void *object, const char *key, const char *value, struct err **errp);
/* Frees what field_set made. */
void field_clear(const struct field *fields, size_t n, void *object);
