/* provider.h - lets OpenSSL use a private key that we can only ask to sign. */
#pragma once

#include <openssl/evp.h>

#include "agent/key/signer.h"
#include "protocol/base/err.h"

/*
 * Makes the key that OpenSSL's functions accept everywhere, from its public half and somebody who signs. It lives in a
 * library context of our own, and works with objects of the default one.
 *
 * @public  an RSA or EC key of any provider; gets a reference
 * @signer  gets a reference
 * Returns 0 with *out owned, or -1 with ERR_INTERNAL.
 */
int provider_key_new(EVP_PKEY *public, struct signer *signer, EVP_PKEY **out, struct err **errp);
