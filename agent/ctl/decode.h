/* decode.h - tells what the bytes of a file are, then describes the message in them as a tree. */
#pragma once

#include "agent/ctl/node.h"

#define DECODE_MAX_FILE (16u << 20)

/*
 * Takes XML (an envelope, or what stands in its body), PEM, base64 and DER for what they look like. What can be read
 * of a broken message is in the tree all the same, with an "error" at the place.
 *
 * @to   a group
 * Return 0 or -1 (ERR_INVALID; names the place).
 */
int decode(struct node *to, const struct bytes *input, struct err **errp);

/* Reads a whole file, at most DECODE_MAX_FILE; "-" is standard input. @out is overwritten. 0 or -1. */
int decode_read(const char *path, struct bytes *out, struct err **errp);
