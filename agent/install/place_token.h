/* place_token.h - puts a checked pair in its place in the token. */
#pragma once

#include "agent/key/key_token.h"

/*
 * The certificate becomes an object beside its key, and the label @name goes to this pair: the new pair has it before
 * the old one loses it, so that pkcs11:...;object=NAME finds a working pair at every moment. May be done again after a
 * crash, with the same outcome.
 *
 * @certificate  DER
 * @old_id       the pair that was current; empty: none; may be the same key, or not in this token
 * Returns 0, or -1 with ERR_TOKEN, ERR_AUTH.
 */
int place_token_put(struct token *token, const char *name, const struct bytes *id, const struct bytes *certificate,
    const struct bytes *old_id, struct err **errp);
