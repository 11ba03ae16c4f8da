#include "protocol/base/printable.h"

#include <stdio.h>
#include <string.h>

size_t utf8_decode(const char *text, size_t len, unsigned *character)
{
    static const struct {
        unsigned mask, lead, least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t more = 0; len && more < ARRAY_SIZE(forms); more++) {
        unsigned first = (unsigned char)text[0];
        unsigned c;

        if ((first & forms[more].mask) != forms[more].lead)
            continue;
        if (more >= len)
            return 0;
        c = first & ~forms[more].mask & 0xff;
        for (size_t i = 1; i <= more; i++) {
            unsigned next = (unsigned char)text[i];

            if ((next & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (next & 0x3f);
        }
        if (c < forms[more].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return 0;
        *character = c;
        return more + 1;
    }
    return 0;
}

bool utf8_valid(const char *text, size_t len)
{
    while (len) {
        unsigned c;
        size_t n = utf8_decode(text, len, &c);

        if (n == 0 || c == 0)
            return false;
        text += n;
        len -= n;
    }
    return true;
}

/* Characters that a terminal obeys or a reader cannot see. */
static bool hidden(unsigned c)
{
    static const struct {
        unsigned first, last;
    } ranges[] = {
        {0x00, 0x1f}, {0x7f, 0x9f},         /* C0, DEL, C1: escapes start here */
        {0xad, 0xad}, {0x61c, 0x61c},       /* soft hyphen, Arabic letter mark */
        {0x180e, 0x180e}, {0x200b, 0x200f}, /* zero width, direction marks */
        {0x2028, 0x202e}, {0x2060, 0x206f}, /* separators, embeddings, isolates */
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, /* byte order mark, interlinear */
        {0xe0000, 0xe007f},                 /* tags */
    };

    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

char *printable(const char *text, size_t len, size_t max)
{
    static const char ellipsis[] = "...";
    size_t left = max ? max : PRINTABLE_MAX;
    /* The longest form of a byte is \u{NNNNNN} for the four bytes of one character, or \xNN for one byte. */
    size_t worst = len < left ? len : left;
    char *out = mem_alloc(worst * 10 + sizeof(ellipsis)), *at = out;

    while (len) {
        unsigned c;
        size_t n = utf8_decode(text, len, &c);
        char shown[16];
        size_t width;

        if (n == 0)
            width = (size_t)snprintf(shown, sizeof(shown), "\\x%02x", (unsigned char)text[0]);
        else if (hidden(c))
            width = (size_t)snprintf(shown, sizeof(shown), c < 0x80 ? "\\x%02x" : "\\u{%x}", c);
        else
            width = 1;
        if (width > left) {
            memcpy(at, ellipsis, sizeof(ellipsis));
            return out;
        }
        if (n == 0 || hidden(c))
            at = mempcpy(at, shown, width);
        else
            at = mempcpy(at, text, n);
        left -= width;
        n = n ? n : 1;
        text += n;
        len -= n;
    }
    *at = 0;
    return out;
}

char *printable_text(const char *text)
{
    return printable(text ? text : "", text ? strlen(text) : 0, 0);
}
