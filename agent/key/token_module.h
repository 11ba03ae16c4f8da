/* token_module.h - PKCS#11 modules through p11-kit, one lock each, and what their answers mean. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <p11-kit/pkcs11.h>

#include "protocol/base/err.h"

/* A loaded module. Shared by all who open it in this process; every call into it is made with its lock held. */
struct token_module;

struct token_modules {
    struct token_module **items; /* owned, a reference each */
    size_t n;
    char *failures; /* owned; modules that could not be loaded or started, for a person; NULL: none */
};

/*
 * Loads and starts one module (@path) or, with NULL, all of p11-kit's but for the trust module; those that fail are
 * named in @out->failures. Ignores SIGPIPE when nobody handles it: a module in a process of its own may die.
 *
 * Returns 0 with *out overwritten, or -1 (ERR_TOKEN, ERR_CONFIG): not even one works.
 */
int token_modules_load(const char *path, struct token_modules *out, struct err **errp);
void token_modules_clear(struct token_modules *modules); /* also the CLEANUP form */

struct token_module *token_module_ref(struct token_module *module); /* returns @module */
void token_module_unref(struct token_module *module);               /* the last one finalizes and unloads it */

const char *token_module_path(const struct token_module *module); /* borrowed */

void token_module_lock(struct token_module *module);
void token_module_unlock(struct token_module *module);

/*
 * The functions of a started module; starts it when an earlier restart failed. With the lock held. In a forked child
 * this fails: the token's state is the parent's (tpm2-pkcs11 breaks the parent's sessions otherwise).
 */
int token_module_functions(struct token_module *module, CK_FUNCTION_LIST **f, struct err **errp);

/* Finalizes and starts again; what was open in it is gone. With the lock held. 0 or -1, and a later call may work. */
int token_module_restart(struct token_module *module, struct err **errp);

/* "CKR_PIN_INCORRECT (0xa0)". Returns owned. */
char *token_rv_text(CK_RV rv);

/* Sets the err of a failed PKCS#11 call: the function, the code's name, and what to do. Returns -1. */
int token_rv_set(struct err **errp, const char *function, CK_RV rv);
