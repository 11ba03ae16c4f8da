#include "server-ref/field.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/base/when.h"
#include "protocol/pki/oid.h"

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* How many letters must change; for the hint only, so that long words may count as far away. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 48 };
    size_t row[LONGEST + 1];
    size_t len = strlen(b);

    if (len > LONGEST)
        return SIZE_MAX;
    for (size_t j = 0; j <= len; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            size_t above = row[j];
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);

            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + !same);
            diagonal = above;
        }
    }
    return row[len];
}

static int unknown_key(const struct field *fields, size_t n, const char *key, struct err **errp)
{
    const char *nearest = fields[0].key;

    for (size_t i = 1; i < n; i++)
        if (distance(key, fields[i].key) < distance(key, nearest))
            nearest = fields[i].key;
    err_set(errp, ERR_CONFIG, "unknown key '%s'", key);
    return err_hint(errp, "the nearest known key is '%s'", nearest);
}

static int set_bool(bool *out, const char *value, struct err **errp)
{
    if (strcasecmp(value, "yes") != 0 && strcasecmp(value, "no") != 0)
        return err_set(errp, ERR_CONFIG, "'%s' is neither yes nor no", value);
    *out = strcasecmp(value, "yes") == 0;
    return 0;
}

static int set_u32(uint32_t *out, const char *value, struct err **errp)
{
    unsigned long long number;
    char *end;

    errno = 0;
    number = strtoull(value, &end, 0);
    if (!isdigit((unsigned char)value[0]) || *end || errno || number > UINT32_MAX)
        return err_set(errp, ERR_CONFIG, "'%s' is no number from 0 to 4294967295", value);
    *out = (uint32_t)number;
    return 0;
}

static int set_word(const struct field_word *words, uint32_t *out, const char *value, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist known = {0};
    CLEANUP(mem_freep) char *all = NULL;

    for (const struct field_word *w = words; w->word; w++) {
        if (strcasecmp(w->word, value) == 0) {
            *out = w->value;
            return 0;
        }
        strlist_add(&known, w->word);
    }
    all = strlist_join(&known, ", ");
    err_set(errp, ERR_CONFIG, "'%s' is no value for it", value);
    return err_hint(errp, "the values are: %s", all);
}

static int set_oid(char **out, const char *value, struct err **errp)
{
    const char *known = oid_by_name(value);

    if (!known && !oid_valid(value)) {
        err_set(errp, ERR_CONFIG, "'%s' is no object identifier", value);
        return err_hint(errp, "write it in numbers, as 1.3.6.1.5.5.7.3.2, or as 'client authentication'");
    }
    free(*out);
    *out = mem_strdup(known ? known : value);
    return 0;
}

/* Appends each part between commas, without the white space around it. */
static void split(struct strlist *out, const char *value)
{
    const char *at = value;

    while (*at) {
        size_t len = strcspn(at, ",");
        CLEANUP(mem_freep) char *part = NULL;
        const char *next = at + len + (at[len] == ',');

        while (len && isspace((unsigned char)*at)) {
            at++;
            len--;
        }
        while (len && isspace((unsigned char)at[len - 1]))
            len--;
        part = mem_strndup(at, len);
        if (len)
            strlist_add(out, part);
        at = next;
    }
}

static int set_oids(struct strlist *out, const char *value, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist parts = {0};

    split(&parts, value);
    strlist_clear(out);
    for (size_t i = 0; i < parts.n; i++) {
        CLEANUP(mem_freep) char *oid = NULL;

        if (set_oid(&oid, parts.items[i], errp) < 0)
            return -1;
        strlist_add(out, oid);
    }
    return 0;
}

static int set(const struct field *field, void *member, const char *value, struct err **errp)
{
    char **text = member;

    switch (field->type) {
    case FIELD_TEXT:
        free(*text);
        *text = mem_strdup(value);
        return 0;
    case FIELD_LIST:
        strlist_clear(member);
        split(member, value);
        return 0;
    case FIELD_OID:
        return set_oid(text, value, errp);
    case FIELD_OIDS:
        return set_oids(member, value, errp);
    case FIELD_BOOL:
        return set_bool(member, value, errp);
    case FIELD_U32:
        return set_u32(member, value, errp);
    case FIELD_SPAN:
        return when_parse_span(value, member, errp);
    case FIELD_WORD:
        return set_word(field->words, member, value, errp);
    }
    return -1;
}

int field_set(const struct field *fields, size_t n, void *object, const char *key, const char *value, struct err **errp)
{
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(fields[i].key, key) != 0)
            continue;
        if (set(&fields[i], (char *)object + fields[i].offset, value, errp) < 0)
            return err_wrap(errp, "%s", fields[i].key);
        return 0;
    }
    return unknown_key(fields, n, key, errp);
}

void field_clear(const struct field *fields, size_t n, void *object)
{
    for (size_t i = 0; i < n; i++) {
        void *member = (char *)object + fields[i].offset;

        switch (fields[i].type) {
        case FIELD_TEXT:
        case FIELD_OID:
            free(*(char **)member);
            *(char **)member = NULL;
            break;
        case FIELD_LIST:
        case FIELD_OIDS:
            strlist_clear(member);
            break;
        case FIELD_BOOL:
        case FIELD_U32:
        case FIELD_SPAN:
        case FIELD_WORD:
            break;
        }
    }
}
