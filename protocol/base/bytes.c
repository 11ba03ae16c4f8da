#include "protocol/base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

static size_t limit_of(const struct bytes *b)
{
    return b->limit ? b->limit : BYTES_LIMIT_DEFAULT;
}

static void make_room(struct bytes *b, size_t len)
{
    size_t room = b->room ? b->room : 64;

    if (b->data && len <= b->room)
        return;
    while (room < len)
        room *= 2;
    if (b->secret && b->data) {
        uint8_t *moved = mem_alloc(room + 1);

        memcpy(moved, b->data, b->len);
        OPENSSL_cleanse(b->data, b->room);
        free(b->data);
        b->data = moved;
    } else {
        b->data = mem_realloc(b->data, room + 1, 1);
    }
    b->room = room;
}

int bytes_append(struct bytes *b, const void *data, size_t len, struct err **errp)
{
    if (len > limit_of(b) || b->len > limit_of(b) - len)
        return err_set(errp, ERR_INVALID, "more than %zu bytes", limit_of(b));
    make_room(b, b->len + len);
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return 0;
}

int bytes_append_text(struct bytes *b, const char *text, struct err **errp)
{
    return bytes_append(b, text, strlen(text), errp);
}

int bytes_printf(struct bytes *b, struct err **errp, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    return bytes_append_text(b, text, errp);
}

void bytes_set(struct bytes *b, const void *data, size_t len)
{
    if (len > BYTES_LIMIT_DEFAULT)
        abort();
    make_room(b, len);
    if (len)
        memmove(b->data, data, len);
    b->len = len;
    b->data[len] = 0;
}

void bytes_copy(struct bytes *to, const struct bytes *from)
{
    *to = (struct bytes){.limit = from->limit};
    if (from->data)
        bytes_set(to, from->data, from->len);
}

bool bytes_equal(const struct bytes *a, const struct bytes *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

void bytes_clear(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

void bytes_wipe(struct bytes *b)
{
    if (b->data)
        OPENSSL_cleanse(b->data, b->room);
    bytes_clear(b);
}

const char *bytes_text(const struct bytes *b)
{
    return b->data ? (const char *)b->data : "";
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_value(char c)
{
    const char *at = c ? strchr(base64_digits, c) : NULL;

    return at ? (int)(at - base64_digits) : -1;
}

int bytes_from_base64(struct bytes *out, const char *text, size_t len, size_t max, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes decoded = {.limit = max ? max : 1};
    uint32_t group = 0;
    unsigned digits = 0, padding = 0;

    for (size_t i = 0; i < len; i++) {
        int value;

        if (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n')
            continue;
        if (text[i] == '=' && digits >= 2 && digits + padding < 4) {
            padding++;
            continue;
        }
        value = base64_value(text[i]);
        if (value < 0 || padding)
            return err_set(errp, ERR_INVALID, "not base64 at character %zu", i + 1);
        group = group << 6 | (uint32_t)value;
        if (++digits == 4) {
            uint8_t three[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};

            if (bytes_append(&decoded, three, 3, errp) < 0)
                return -1;
            group = 0;
            digits = 0;
        }
    }
    if (digits) {
        uint8_t last[2];

        if (digits + padding != 4)
            return err_set(errp, ERR_INVALID, "base64 ends in the middle of a group");
        group <<= 6 * padding;
        if (padding == 2 ? (group & 0xffff) != 0 : (group & 0xff) != 0)
            return err_set(errp, ERR_INVALID, "base64 has bits behind its last byte");
        last[0] = (uint8_t)(group >> 16);
        last[1] = (uint8_t)(group >> 8);
        if (bytes_append(&decoded, last, 3 - padding, errp) < 0)
            return -1;
    }
    bytes_clear(out);
    *out = decoded;
    out->limit = 0;
    decoded = (struct bytes){0};
    return 0;
}

char *bytes_to_base64(const void *data, size_t len, size_t line)
{
    const uint8_t *in = data;
    size_t digits = (len + 2) / 3 * 4;
    char *text = mem_alloc(digits + (line ? digits / line + 1 : 0) + 1);
    char *out = text;
    size_t column = 0;

    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t group =
            (uint32_t)in[i] << 16 | (have > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (have > 2 ? in[i + 2] : 0u);

        for (size_t digit = 0; digit < 4; digit++) {
            *out++ = digit <= have ? base64_digits[group >> (18 - 6 * digit) & 63] : '=';
            if (line && ++column == line) {
                *out++ = '\n';
                column = 0;
            }
        }
    }
    if (line && column)
        *out++ = '\n';
    *out = 0;
    return text;
}

char *bytes_to_hex(const void *data, size_t len)
{
    const uint8_t *in = data;
    char *text = mem_alloc(2 * len + 1);

    for (size_t i = 0; i < len; i++) {
        text[2 * i] = "0123456789abcdef"[in[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[in[i] & 15];
    }
    return text;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int bytes_from_hex(struct bytes *out, const char *text, size_t max, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes decoded = {.limit = max ? max : 1};

    for (size_t i = 0; text[i]; i += 2) {
        int high = hex_value(text[i]), low = high < 0 ? -1 : hex_value(text[i + 1]);
        uint8_t byte;

        if (low < 0)
            return err_set(errp, ERR_INVALID, "not hexadecimal at character %zu", i + 1);
        byte = (uint8_t)(high << 4 | low);
        if (bytes_append(&decoded, &byte, 1, errp) < 0)
            return -1;
    }
    bytes_clear(out);
    *out = decoded;
    out->limit = 0;
    decoded = (struct bytes){0};
    return 0;
}
