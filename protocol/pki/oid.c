#include "protocol/pki/oid.h"

#include <openssl/objects.h>
#include <string.h>
#include <strings.h>

#include "protocol/base/mem.h"

#define X(id, dotted, name) const char OID_##id[] = dotted;
OIDS(X)
#undef X

static const struct {
    const char *dotted;
    const char *name;
} names[] = {
#define X(id, dotted, name) {OID_##id, name},
    OIDS(X)
#undef X
};

const char *oid_name(const char *dotted)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(names[i].dotted, dotted) == 0)
            return names[i].name;
    return dotted;
}

const char *oid_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcasecmp(names[i].name, name) == 0)
            return names[i].dotted;
    return NULL;
}

/* One arc from *at, which moves behind it. Gives its length in digits, 0 when there is none or it begins with 0s. */
static size_t skip_arc(const char **at)
{
    size_t digits = strspn(*at, "0123456789");

    if (digits > 1 && **at == '0')
        return 0;
    *at += digits;
    return digits;
}

bool oid_valid(const char *dotted)
{
    const char *at = dotted;
    size_t digits;

    if (!dotted || strnlen(dotted, OID_MAX_TEXT + 1) > OID_MAX_TEXT || dotted[0] < '0' || dotted[0] > '2' ||
        dotted[1] != '.')
        return false;
    at = dotted + 2;
    digits = skip_arc(&at);
    if (digits == 0 || (dotted[0] < '2' && (digits > 2 || (digits == 2 && dotted[2] > '3'))))
        return false;
    while (*at == '.') {
        at++;
        if (skip_arc(&at) == 0)
            return false;
    }
    return *at == '\0';
}

bool oid_is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

char *oid_from_asn1(const ASN1_OBJECT *object)
{
    char text[OID_MAX_TEXT + 1];
    int len;

    if (!object || OBJ_length(object) == 0 || OBJ_length(object) > OID_MAX_TEXT / 2)
        return NULL;
    len = OBJ_obj2txt(text, sizeof(text), object, 1);
    if (len <= 0 || (size_t)len >= sizeof(text) || !oid_valid(text))
        return NULL;
    return mem_strdup(text);
}

ASN1_OBJECT *oid_to_asn1(const char *dotted)
{
    return oid_valid(dotted) ? OBJ_txt2obj(dotted, 1) : NULL;
}
