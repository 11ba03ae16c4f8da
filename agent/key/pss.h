/* pss.h - the padding of RSA-PSS in software, for tokens that offer only the bare RSA operation. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "protocol/base/err.h"

/*
 * EMSA-PSS-ENCODE, RFC 8017 9.1.1, for a digest that is made already.
 *
 * @bits      of the modulus; @block has (bits + 7) / 8 bytes
 * @salt_len  bytes
 * 0, or -1 with ERR_INVALID: the key is too short for this hash and salt.
 */
int pss_encode(unsigned bits, const EVP_MD *md, const EVP_MD *mgf1_md, size_t salt_len, const uint8_t *digest,
    uint8_t *block, struct err **errp);
