/* token_public.h - the public half of a pair, from the attributes of its objects. */
#pragma once

#include <openssl/evp.h>

#include "agent/key/token_session.h"

/* What the objects say, for building the key when the token is not held any more. {0} is empty. */
struct token_public {
    bool found;
    CK_KEY_TYPE type; /* CKK_RSA or CKK_EC */
    struct bytes modulus;
    struct bytes exponent;
    struct bytes ec_params; /* DER */
    struct bytes ec_point;  /* DER of an OCTET STRING, or the point itself */
};
void token_public_clear(struct token_public *public); /* also the CLEANUP form */

/* Reads @object, a public or private key; found stays false when it does not say enough. 0 or -1. */
int token_public_read(struct token_session *s, CK_OBJECT_HANDLE object, struct token_public *out, struct err **errp);

/* Returns 0 with *out owned, or -1 with ERR_INVALID: no RSA or EC key that OpenSSL takes. */
int token_public_build(const struct token_public *public, EVP_PKEY **out, struct err **errp);
