/* provider_sign.h - the signatures of our provider: RSA, with both paddings, and ECDSA. */
#pragma once

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>

#include "agent/key/signer.h"

/* A key as OpenSSL sees it. */
struct key_data {
    const char *algorithm; /* "RSA" or "EC" */
    EVP_PKEY *public;      /* owned reference, in software: it answers questions and verifies */
    struct signer *signer; /* owned reference; NULL: only a public key, made for a comparison */
};

/* OpenSSL's tables hold every function under one type. */
#define FN(function) ((void (*)(void))(function))

extern const OSSL_DISPATCH provider_sign_table[]; /* for RSA and for EC */
