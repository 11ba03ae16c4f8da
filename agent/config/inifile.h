/* inifile.h - the sections, keys and values of an INI text, and the line of the first mistake. */
#pragma once

#include "protocol/base/bytes.h"

#define INIFILE_MAX_LINE 197 /* of inih's buffer, less what ends it: it would cut a longer line in two */

/*
 * What is told of a text, in its order: each section once it begins, empty ones too, then its values. @section is what
 * stands between the brackets. Each returns 0, or -1 and why.
 */
struct inifile_reader {
    int (*section)(void *arg, const char *section, struct err **errp);
    int (*value)(void *arg, const char *section, const char *key, const char *text, struct err **errp);
};

/*
 * Reads @text. Stricter than inih by itself: an indented line is no continuation, nothing but a comment may follow a
 * section's bracket, a section's text may be as long as its line, and a key must be in a section.
 *
 * @path  for errors
 * 0, or -1 with the reader's err or ERR_CONFIG, "PATH:LINE" in front.
 */
int inifile_read(
    const struct bytes *text, const char *path, const struct inifile_reader *reader, void *arg, struct err **errp);
