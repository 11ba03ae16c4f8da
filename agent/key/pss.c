#include "agent/key/pss.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#define MAX_SALT 1024 /* RSA-8192 */

static bool hash(const EVP_MD *md, const void *a, size_t a_len, const void *b, size_t b_len, const void *c,
    size_t c_len, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, a, a_len) == 1 &&
              EVP_DigestUpdate(ctx, b, b_len) == 1 && EVP_DigestUpdate(ctx, c, c_len) == 1 &&
              EVP_DigestFinal_ex(ctx, out, NULL) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* RFC 8017 B.2.1, exclusive-ored into @data. */
static bool mgf1_xor(const EVP_MD *md, const uint8_t *seed, size_t seed_len, uint8_t *data, size_t len)
{
    uint8_t mask[EVP_MAX_MD_SIZE];
    size_t step = (size_t)EVP_MD_get_size(md);

    for (size_t at = 0, counter = 0; at < len; at += step, counter++) {
        uint8_t number[4] = {
            (uint8_t)(counter >> 24), (uint8_t)(counter >> 16), (uint8_t)(counter >> 8), (uint8_t)counter};

        if (!hash(md, seed, seed_len, number, sizeof(number), NULL, 0, mask))
            return false;
        for (size_t i = 0; i < step && at + i < len; i++)
            data[at + i] ^= mask[i];
    }
    return true;
}

int pss_encode(unsigned bits, const EVP_MD *md, const EVP_MD *mgf1_md, size_t salt_len, const uint8_t *digest,
    uint8_t *block, struct err **errp)
{
    static const uint8_t zeros[8];
    uint8_t salt[MAX_SALT];
    size_t hash_len = (size_t)EVP_MD_get_size(md);
    size_t block_len = (bits + 7) / 8;
    size_t em_len = (bits - 1 + 7) / 8; /* a byte shorter when bits is 8 n + 1 */
    uint8_t *em = block + (block_len - em_len);
    size_t db_len;

    if (salt_len > MAX_SALT || em_len < hash_len + salt_len + 2)
        return err_set(errp, ERR_INVALID, "an RSA key of %u bits is too short for this hash and salt", bits);
    db_len = em_len - hash_len - 1;
    if (RAND_bytes(salt, (int)salt_len) != 1)
        return err_set(errp, ERR_INTERNAL, "no random bytes");
    memset(block, 0, block_len);
    em[db_len - salt_len - 1] = 1;
    memcpy(em + db_len - salt_len, salt, salt_len);
    if (!hash(md, zeros, sizeof(zeros), digest, hash_len, salt, salt_len, em + db_len) ||
        !mgf1_xor(mgf1_md, em + db_len, hash_len, em, db_len))
        return err_set(errp, ERR_INTERNAL, "hashing for RSA-PSS failed");
    em[0] &= (uint8_t)(0xff >> (8 * em_len - (bits - 1)));
    em[em_len - 1] = 0xbc;
    return 0;
}
