/* password.h - reads a password from a person or a file. */
#pragma once

#include "protocol/base/secret.h"

#include "protocol/base/err.h"

/*
 * Reads one line: of @path, of standard input for "-"; for NULL asks on the terminal, twice and without echo.
 * Returns owned, or NULL (ERR_USAGE, ERR_MISSING, ERR_STORE).
 */
struct secret *password_read(const char *path, struct err **errp);
