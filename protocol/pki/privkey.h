/* privkey.h - a private key in a file: held against its certificate, and written anew. */
#pragma once

#include "protocol/base/secret.h"
#include "protocol/pki/cert.h"

/*
 * Reads a private key, PEM without a passphrase, checks that it is @cert's, and writes it as PKCS#8 PEM.
 * @out  owned. 0, or -1: ERR_INVALID (no such key), ERR_UNTRUSTED (another certificate's).
 */
int privkey_read(const void *pem, size_t len, const struct cert *cert, struct secret **out, struct err **errp);

/*
 * PKCS#12 with the key of privkey_read, @cert and @chain, under @name; AES-256 and SHA-256 from @password.
 * @out  overwritten. 0, or -1 with ERR_INTERNAL.
 */
int privkey_to_p12(const struct secret *key, const struct cert *cert, const struct cert_list *chain, const char *name,
    const struct secret *password, struct bytes *out, struct err **errp);
