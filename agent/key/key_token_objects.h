/* key_token_objects.h - what lies in a token under the ids of keys: listed, named, removed, certificates put beside. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/key/key.h"
#include "agent/key/token.h"
#include "protocol/base/bytes.h"

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
