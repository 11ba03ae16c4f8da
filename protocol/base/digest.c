#include "protocol/base/digest.h"

#include <stdint.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "protocol/base/bytes.h"

char *digest_sha256_hex(const void *data, size_t len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;

    if (EVP_Digest(data, len, digest, &n, EVP_sha256(), NULL) != 1)
        abort(); /* an OpenSSL without SHA-256 cannot do anything that we need */
    return bytes_to_hex(digest, n);
}
