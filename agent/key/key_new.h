/* key_new.h - how key_file and key_token make a struct key. */
#pragma once

#include "agent/key/key.h"
#include "agent/key/provider.h"

/*
 * Takes @evp, @uri and the reference @signer (NULL: @evp holds the private key itself), also on failure; copies @id.
 * Returns 0 with *out owned, or -1 with ERR_INVALID: a kind of key that we do not use.
 */
int key_new(
    EVP_PKEY *evp, const struct bytes *id, char *uri, struct signer *signer, struct key **out, struct err **errp);

struct signer *key_signer(const struct key *key); /* borrowed; NULL for a key in a file */
