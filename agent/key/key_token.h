/* key_token.h - keys in a PKCS#11 token: made there, opened, shown to stay there. */
#pragma once

#include "agent/key/key.h"
#include "agent/key/key_token_objects.h"
#include "agent/key/token.h"

/*
 * Makes a pair that never leaves the token: the attributes are read back and a signature is verified in software. When
 * anything fails the pair is destroyed. Labels may be changed later, ids not.
 *
 * @id     of key_new_id, recorded by the caller before
 * @label  shown by other programs; unique among current pairs, see key_waiting_label
 * Returns 0 with *out owned, or -1: ERR_TOKEN, ERR_INVALID (the token does not keep such keys inside), ERR_AUTH (PIN).
 */
int key_token_generate(struct token *token, const struct bytes *id, const char *label, enum key_kind kind,
    struct key **out, struct err **errp);

/*
 * Opens the key with this id. The token is logged in before "not found" is concluded.
 *
 * @spki   the public key, for a token that keeps no public object; NULL when not known. When the token has one, they
 *         must be the same (ERR_INVALID).
 * Returns 0 with *out owned, or -1: ERR_MISSING (no private key, or no public key to go with it), ERR_TOKEN, ERR_AUTH.
 */
int key_token_open(
    struct token *token, const struct bytes *id, const struct bytes *spki, struct key **out, struct err **errp);

/* After a crash: uses the pair when it is whole, good and of this kind; else destroys what is there and makes another.
 */
int key_token_open_or_generate(struct token *token, const struct bytes *id, const char *label, enum key_kind kind,
    struct key **out, struct err **errp);

/*
 * Asks the token for the private values of a token key and requires that it refuses. *proof, owned, is the text for a
 * person, one attribute a line; it may be NULL. 0, or -1: ERR_INVALID, the key can be read
 * or is only half there; ERR_TOKEN, ERR_AUTH.
 */
int key_token_prove_unextractable(struct key *key, char **proof, struct err **errp);
