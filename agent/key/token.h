/* token.h - a PKCS#11 token: found by its URI, used logged in, one operation at a time. */
#pragma once

/* In the directory of our own token: whoever works in the token, or mends it, holds it. */
#define TOKEN_OWN_LOCK "lock-own"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "protocol/base/secret.h"

/* Where a token is and what we keep beside it. Borrowed while token_open runs, copied where it is needed later. */
struct token_place {
    const char *uri;       /* pkcs11:token=LABEL, or any of token, serial, manufacturer, model; never with a PIN */
    const char *module;    /* NULL: every module that p11-kit knows; else the path of one */
    const char *state_dir; /* existing directory for the token's lock and the memory of a refused PIN; NULL: neither
                              is kept, for listing and for tests */
    bool is_ours; /* made by token_softhsm_create, and @state_dir is its directory: a login that was cut off by a crash
                     may be tried again, and what is written is flushed to disk, which SoftHSM leaves out */
};

/* What a person can know of a token. Plain. */
struct token_info {
    char *label; /* owned, as are the others; without the padding */
    char *serial;
    char *manufacturer;
    char *model;
    char *module; /* the module's path */
    char *uri;    /* pkcs11:..., enough to name exactly this token; never a PIN */
    bool write_protected;
    bool login_required;
    bool pin_locked; /* what the token says; a TPM never says it */
};

struct token_list {
    struct token_info *items; /* owned */
    size_t n;
};
void token_list_clear(struct token_list *list); /* also the CLEANUP form */

/*
 * An open token. Keys hold a reference, so that it may be closed before they are freed. Calls from several threads
 * are safe and run one after the other. After fork a child must not use it: fork and exec.
 */
struct token;

/*
 * Finds the one initialised token that @place->uri means, and keeps a copy of @pin for the logins to come. Nothing is
 * presented to the token yet. The URI is read strictly: an unknown or repeated attribute, an empty "pkcs11:" and a PIN
 * in it are refused (ERR_CONFIG); attributes of objects (object, id, type) are refused too.
 *
 * @pin   borrowed; NULL for a token that wants no login
 * Returns 0 with *out owned, or -1: ERR_CONFIG (URI, or several tokens fit; the error lists them), ERR_MISSING (no such
 * token), ERR_TOKEN (a module failed).
 */
int token_open(const struct token_place *place, const struct secret *pin, struct token **out, struct err **errp);
void token_close(struct token *token); /* takes the reference; NULL is fine */
DEFINE_FREEP(struct token, token_close)

const struct token_info *token_info(const struct token *token); /* borrowed until token_close */

/*
 * Logs in and out, so that a wrong PIN is found before a key is made. A refused PIN is presented once and never again
 * by any process that uses the same state_dir (design 8.9). 0, or -1: ERR_AUTH (refused now or earlier), ERR_TOKEN.
 */
int token_check_login(struct token *token, struct err **errp);

/*
 * Lists the initialised tokens of @module (NULL: of every module of p11-kit, but for the trust module). No login.
 * A module that fails is skipped when another one works. Returns 0 with *out overwritten, or -1 with ERR_TOKEN.
 */
int token_list(const char *module, struct token_list *out, struct err **errp);

/* Checks a URI as token_open does, without looking for the token: for reading configuration. 0 or -1, ERR_CONFIG. */
int token_uri_check(const char *uri, struct err **errp);
