/* vault.h - secrets at rest: the credentials that this worker was started with. */
#pragma once

#include "agent/job/channel.h"

#define VAULT_MAX_SECRET CHANNEL_MAX_SECRET /* bytes of one credential */

/* What came over @daemon with the job goes before what is at rest. Borrowed for as long as secrets are looked for. */
void vault_use(const struct channel *daemon);

enum vault_outcome { VAULT_FOUND, VAULT_NONE };

/*
 * Gives the secret that the daemon handed over as @name, or reads $CREDENTIALS_DIRECTORY/@name; one line end behind
 * that is cut off.
 *
 * @name    a file name: no "/" in it; NULL: there is none
 * @secret  owned, on VAULT_FOUND
 * Returns VAULT_FOUND, VAULT_NONE (no directory, or no such file in it), or -1 with ERR_AUTH.
 */
int vault_find(const char *name, struct secret **secret, struct err **errp);
