/* token_softhsm.h - our private SoftHSM token, made on first start. */
#pragma once

#include "agent/key/token.h"

/*
 * Tells the SoftHSM library to use the token in @dir (sets SOFTHSM2_CONF for this process) and finds the library.
 * Call it before the first token is opened; no other thread may be running.
 *
 * Returns 0 with *module, owned, the library's path, or -1 with ERR_MISSING and the package to install.
 */
int token_softhsm_use(const char *dir, char **module, struct err **errp);

/*
 * Makes the token, or finishes what a crash left of it, or finds it complete: the outcome is the same. In @dir, made
 * 0700 when missing: softhsm2.conf, tokens/ (0700) and pin (0600). The PIN is random and never leaves that file; nobody
 * keeps the security officer's. Needs no other program. Calls token_softhsm_use.
 *
 * @label   at most 32 bytes of UTF-8
 * Returns 0 with *module and *pin owned, or -1: ERR_STORE, ERR_TOKEN, ERR_MISSING (no SoftHSM; or a token whose PIN
 * file is gone), ERR_BUSY.
 */
int token_softhsm_create(const char *dir, const char *label, char **module, struct secret **pin, struct err **errp);

/*
 * The same for what exists already: nothing is made. -1 with ERR_MISSING when there is no token yet.
 */
int token_softhsm_open(const char *dir, char **module, struct secret **pin, struct err **errp);

/* The PIN out of a file that only its owner can read; one line end behind it is cut off. 0, or -1 with ERR_STORE. */
int token_pin_read(const char *path, struct secret **pin, struct err **errp);
