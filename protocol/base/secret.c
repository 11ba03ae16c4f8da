#include "protocol/base/secret.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

/* Whole pages of its own, so that locking and excluding from dumps touch nothing else. */
struct secret {
    size_t mapped;
    size_t len;
    char text[];
};

static struct secret *secret_new(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (sizeof(struct secret) + len + 1 + page - 1) / page * page;
    struct secret *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (s == MAP_FAILED)
        abort();
    /* Both may be forbidden by limits of the machine; the secret is still wiped and the process is undumpable. */
    (void)mlock(s, size);
    (void)madvise(s, size, MADV_DONTDUMP);
    s->mapped = size;
    s->len = len;
    return s;
}

struct secret *secret_copy(const void *data, size_t len)
{
    struct secret *s = secret_new(len);

    if (len)
        memcpy(s->text, data, len);
    return s;
}

struct secret *secret_take(char *text, size_t len)
{
    struct secret *s = secret_copy(text, len);

    OPENSSL_cleanse(text, len);
    free(text);
    return s;
}

struct secret *secret_random_hex(size_t len)
{
    struct secret *s = secret_new(2 * len);

    for (size_t i = 0; i < len; i++) {
        uint8_t byte;

        if (RAND_priv_bytes(&byte, 1) != 1)
            abort();
        s->text[2 * i] = "0123456789abcdef"[byte >> 4];
        s->text[2 * i + 1] = "0123456789abcdef"[byte & 15];
    }
    return s;
}

const char *secret_peek(const struct secret *s)
{
    return s->text;
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && CRYPTO_memcmp(a->text, b->text, a->len) == 0;
}

void secret_free(struct secret *s)
{
    size_t mapped;

    if (!s)
        return;
    mapped = s->mapped;
    OPENSSL_cleanse(s, mapped);
    (void)munlock(s, mapped);
    (void)munmap(s, mapped);
}

void secret_harden_process(void)
{
    struct rlimit none = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
