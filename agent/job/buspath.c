#include "agent/job/buspath.h"

#include <string.h>

/* Of ASCII, whatever the locale. */
static int stays(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

char *buspath_escape(const char *id)
{
    static const char digits[] = "0123456789abcdef";
    char *out = mem_alloc(3 * strlen(id) + 2), *to = out;

    if (!*id)
        *to++ = '_';
    for (; *id; id++) {
        unsigned char c = (unsigned char)*id;

        if (stays(*id)) {
            *to++ = *id;
            continue;
        }
        *to++ = '_';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    return out;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *buspath_unescape(const char *element)
{
    CLEANUP(mem_freep) char *out = mem_alloc(strlen(element) + 1);
    char *to = out;

    if (strcmp(element, "_") != 0) {
        for (; *element; element++) {
            int high = -1, low = -1;

            if (stays(*element)) {
                *to++ = *element;
                continue;
            }
            if (*element == '_' && element[1] && element[2]) {
                high = digit_of(element[1]);
                low = digit_of(element[2]);
            }
            /* A byte that need not be escaped is not: each id has one path. */
            if (high < 0 || low < 0 || (high | low) == 0 || stays((char)(high << 4 | low)))
                return NULL;
            *to++ = (char)(high << 4 | low);
            element += 2;
        }
        if (to == out)
            return NULL;
    }
    return TAKE(out);
}

char *buspath_make(const char *kind, const char *id)
{
    CLEANUP(mem_freep) char *element = buspath_escape(id);

    return mem_printf(BUS_ROOT "/%s/%s", kind, element);
}

char *buspath_id(const char *path, const char *kind)
{
    size_t len = strlen(kind);

    if (strncmp(path, BUS_ROOT "/", sizeof(BUS_ROOT)) != 0)
        return NULL;
    path += sizeof(BUS_ROOT);
    if (strncmp(path, kind, len) != 0 || path[len] != '/')
        return NULL;
    return buspath_unescape(path + len + 1);
}
