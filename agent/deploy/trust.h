/* trust.h - whether root may rely on a file: nobody else can change it, nor put another in its place. */
#pragma once

#include "agent/config/settings.h"
#include "protocol/base/err.h"

/*
 * @path and every directory above it belong to root, and nobody else may write to them; a directory like /tmp, in
 * which nobody can replace what is another's, is good enough on the way. Where this program is not root, nothing is
 * asked: it does what its caller could do without it.
 * 0, or -1: ERR_CONFIG, ERR_MISSING.
 */
int trust_path(const char *path, struct err **errp);

/* The same of every file that was read into @settings, and of the directories they came from. */
int trust_settings(const struct settings *settings, struct err **errp);

/* The program @path, links resolved, trusted and executable. *real: owned. 0 or -1, as trust_path. */
int trust_program(const char *path, char **real, struct err **errp);
