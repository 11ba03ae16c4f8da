/* key_token.h - keys and certificates in a PKCS#11 token. */
#pragma once

#include "agent/key/key.h"
#include "agent/key/token.h"

/*
 * Makes a pair that never leaves the token: the attributes are read back and a signature is verified in software. When
 * anything fails the pair is destroyed. Labels may be changed later, ids not.
 *
 * @id     of key_new_id, recorded by the caller before
 * @label  shown by other programs; unique among current pairs, see key_waiting_label
 * Returns 0 with *out owned, or -1 with ERR_TOKEN (or ERR_AUTH: PIN).
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

/* After a crash: uses the pair when it is whole, good and of this kind; else destroys what is there and makes a new
 * one. */
int key_token_open_or_generate(struct token *token, const struct bytes *id, const char *label, enum key_kind kind,
    struct key **out, struct err **errp);

/* Every object with this id: private, public, certificates. Not being there is no error for destroy. */
int key_token_relabel(struct token *token, const struct bytes *id, const char *label, struct err **errp);
int key_token_destroy(struct token *token, const struct bytes *id, struct err **errp);

/* One CKA_ID in the token, with what there is under it. */
struct key_listing {
    struct bytes id; /* owned */
    char *label;     /* owned; of the private key, else of another one of them */
    bool has_private;
    bool has_public;
    bool has_certificate;
};
struct key_listings {
    struct key_listing *items; /* owned */
    size_t n;
};
void key_listings_clear(struct key_listings *list); /* also the CLEANUP form */

/* What is in the token under ids that begin with @prefix; {0} or NULL: everything with an id. *out is overwritten. */
int key_token_list(struct token *token, const struct bytes *prefix, struct key_listings *out, struct err **errp);

/*
 * Destroys what carries an id of ours (AEN1 + @tag) that is not among @known: keys that a crash left without a record.
 * Objects of others are never touched. *removed counts ids, and may be NULL.
 */
int key_token_sweep(struct token *token, const uint8_t tag[KEY_TAG_LEN], const struct bytes *known, size_t n_known,
    size_t *removed, struct err **errp);

/* Puts @cert (DER) beside the key: the new object is made first, then older certificates with this id destroyed. */
int key_token_put_certificate(
    struct token *token, const struct bytes *id, const char *label, const struct bytes *cert, struct err **errp);

/*
 * Asks the token for the private values of a token key and requires that it refuses. *proof, owned, is the text for a
 * person, one attribute a line; it may be NULL. 0, or -1 with ERR_TOKEN: the key can be read.
 */
int key_token_prove_unextractable(struct key *key, char **proof, struct err **errp);
