/* printable.h - makes text that came from outside safe to show to a person. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "protocol/base/mem.h"

#define PRINTABLE_MAX 4096 /* characters; longer text ends in an ellipsis */
/* Most bytes of a result of @max characters: four each, and the ellipsis. */
#define PRINTABLE_BYTES(max) (4 * (max) + 3)

/*
 * Returns @len bytes of text as valid UTF-8 without control characters, line breaks, terminal escapes, or characters
 * that change the direction of writing or hide (bidirectional controls, zero-width, line separators, byte order
 * mark). What is not allowed is shown as \xNN or \u{NNNN}, so that a reader sees that it was there.
 *
 * @max  most characters before the ellipsis, 0 for PRINTABLE_MAX
 * Returns owned, never NULL.
 */
char *printable(const char *text, size_t len, size_t max);
/* The same for a 0-terminated text; NULL gives "". Returns owned, never NULL. */
char *printable_text(const char *text);

/* Reads one UTF-8 character; 0 when the bytes are no valid UTF-8 (overlong, surrogate, cut). Else its length, 1 to 4.
 */
size_t utf8_decode(const char *text, size_t len, unsigned *character);
/* True when all of it is valid UTF-8 without NUL. */
bool utf8_valid(const char *text, size_t len);
