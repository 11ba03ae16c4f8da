/* bytes.h - a growable byte buffer with a hard limit. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/err.h"

#define BYTES_LIMIT_DEFAULT (16u << 20) /* nothing that we exchange or keep is larger */

/* {0} is empty and has the default limit. Between calls, data[len] is 0 when data is not NULL. */
struct bytes {
    uint8_t *data; /* owned */
    size_t len;
    size_t room;  /* allocated, without the byte for the 0 */
    size_t limit; /* 0: the default */
    bool secret;  /* set it before the first byte: what growing leaves behind is overwritten */
};

/* Appends a copy. Return 0, or -1 when the buffer would pass its limit; it is unchanged then. */
int bytes_append(struct bytes *b, const void *data, size_t len, struct err **errp);
int bytes_append_text(struct bytes *b, const char *text, struct err **errp);
int bytes_printf(struct bytes *b, struct err **errp, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Replaces the content by a copy. For data of ours: ends the process over BYTES_LIMIT_DEFAULT. */
void bytes_set(struct bytes *b, const void *data, size_t len);
void bytes_copy(struct bytes *to, const struct bytes *from); /* @to is overwritten, not freed first */
bool bytes_equal(const struct bytes *a, const struct bytes *b);
void bytes_clear(struct bytes *b);             /* frees, leaves {0}; also the CLEANUP form */
void bytes_wipe(struct bytes *b);              /* the same, and overwrites what it held */
const char *bytes_text(const struct bytes *b); /* borrowed, 0-terminated, "" when empty */

/*
 * Base64, RFC 4648 section 4. Reading skips white space (lines end in CR LF on the wire), insists on padding
 * and on zero bits behind the last byte.
 *
 * @max   most bytes that may result
 * Return 0, or -1 with ERR_INVALID.
 */
int bytes_from_base64(struct bytes *out, const char *text, size_t len, size_t max, struct err **errp);
char *bytes_to_base64(const void *data, size_t len, size_t line); /* returns owned; @line 0: one line, else LF each */
char *bytes_to_hex(const void *data, size_t len);                 /* lower case; returns owned */
int bytes_from_hex(struct bytes *out, const char *text, size_t max, struct err **errp);
