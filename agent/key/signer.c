#include "agent/key/signer.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/err.h>

struct signer {
    void *handle;
    signer_sign sign;
    void (*handle_free)(void *handle);
    pthread_mutex_t lock;
    size_t refs;         /* under lock */
    struct err *failure; /* owned; under lock */
};

struct signer *signer_new(void *handle, signer_sign sign, void (*handle_free)(void *handle))
{
    struct signer *s = mem_alloc(sizeof(*s));

    *s = (struct signer){.handle = handle, .sign = sign, .handle_free = handle_free, .refs = 1};
    (void)pthread_mutex_init(&s->lock, NULL);
    return s;
}

struct signer *signer_ref(struct signer *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->refs++;
    (void)pthread_mutex_unlock(&s->lock);
    return s;
}

void signer_unref(struct signer *s)
{
    size_t left;

    if (!s)
        return;
    (void)pthread_mutex_lock(&s->lock);
    left = --s->refs;
    (void)pthread_mutex_unlock(&s->lock);
    if (left > 0)
        return;
    s->handle_free(s->handle);
    err_free(s->failure);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void *signer_handle(const struct signer *s)
{
    return s->handle;
}

struct err *signer_take_failure(struct signer *s)
{
    struct err *failure;

    (void)pthread_mutex_lock(&s->lock);
    failure = TAKE(s->failure);
    (void)pthread_mutex_unlock(&s->lock);
    return failure;
}

bool signer_run(struct signer *s, const struct signer_input *input, uint8_t *signature, size_t *len)
{
    struct err *err = NULL;
    struct err *older;

    if (s->sign(s->handle, input, signature, len, &err) == 0)
        return true;
    ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "%s", err_text(err));
    (void)pthread_mutex_lock(&s->lock);
    older = s->failure;
    s->failure = err;
    (void)pthread_mutex_unlock(&s->lock);
    err_free(older);
    return false;
}
