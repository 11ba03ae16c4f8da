/* vault.h - secrets at rest: the credentials that this worker was started with. */
#pragma once

#include "protocol/base/err.h"
#include "protocol/base/secret.h"

#define VAULT_MAX_SECRET 4096 /* bytes of one credential */

enum vault_outcome { VAULT_FOUND, VAULT_NONE };

/*
 * Reads $CREDENTIALS_DIRECTORY/@name; one line end behind it is cut off.
 *
 * @name    a file name: no "/" in it; NULL: there is none
 * @secret  owned, on VAULT_FOUND
 * Returns VAULT_FOUND, VAULT_NONE (no directory, or no such file in it), or -1 with ERR_AUTH.
 */
int vault_find(const char *name, struct secret **secret, struct err **errp);
