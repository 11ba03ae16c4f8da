/* signer.h - somebody who signs: all that OpenSSL needs to know of a key that it cannot hold. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "protocol/base/err.h"
#include "protocol/base/mem.h"

enum signer_scheme {
    SIGNER_RSA_PKCS1, /* input: DigestInfo; RFC 8017 8.2 */
    SIGNER_RSA_PSS,   /* input: a digest of @md */
    SIGNER_ECDSA,     /* input: a digest; the signature is r and s, each as long as the curve's order */
};

struct signer_input {
    enum signer_scheme scheme;
    const EVP_MD *md;      /* SIGNER_RSA_PSS */
    const EVP_MD *mgf1_md; /* SIGNER_RSA_PSS */
    size_t salt_len;       /* SIGNER_RSA_PSS */
    const uint8_t *data;
    size_t len;
};

struct signer;

/* Signs; *len is the room on entry and the signature's length on success. 0 or -1. May be called from any thread. */
typedef int (*signer_sign)(
    void *handle, const struct signer_input *input, uint8_t *signature, size_t *len, struct err **errp);

/* Takes @handle, which is freed by @handle_free with the last reference. Returns owned, never NULL. */
struct signer *signer_new(void *handle, signer_sign sign, void (*handle_free)(void *handle));
struct signer *signer_ref(struct signer *signer); /* returns @signer */
void signer_unref(struct signer *signer);         /* NULL is fine */
DEFINE_FREEP(struct signer, signer_unref)
void *signer_handle(const struct signer *signer); /* borrowed */

/* Signs, and keeps the err when that fails. *len is the room on entry and the signature's length on success. */
bool signer_run(struct signer *signer, const struct signer_input *input, uint8_t *signature, size_t *len);

/* The err of the signature that failed last, which OpenSSL cannot carry. Returns owned, and forgets it; or NULL. */
struct err *signer_take_failure(struct signer *signer);
