#include "agent/key/token_find.h"

#include "protocol/base/mem.h"

CK_ATTRIBUTE token_attribute(CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    /* The member is not const, though it is only read where we give a value. */
    return (CK_ATTRIBUTE){type, (void *)(uintptr_t)value, len};
}

int token_find_class(struct token_session *s, CK_OBJECT_CLASS class, const struct bytes *id, CK_OBJECT_HANDLE *handles,
    CK_ULONG max, struct err **errp)
{
    CK_ATTRIBUTE match[] = {
        token_attribute(CKA_CLASS, &class, sizeof(class)), token_attribute(CKA_ID, id->data, id->len)};

    return token_session_find(s, match, ARRAY_SIZE(match), handles, max, errp);
}

int token_find_id(struct token_session *s, const struct bytes *id, CK_OBJECT_HANDLE *handles, struct err **errp)
{
    CK_ATTRIBUTE match[] = {token_attribute(CKA_ID, id->data, id->len)};

    return token_session_find(s, match, ARRAY_SIZE(match), handles, TOKEN_MAX_SAME_ID, errp);
}

int token_find_private(struct token_session *s, const struct bytes *id, CK_OBJECT_HANDLE *handle, struct err **errp)
{
    CK_OBJECT_HANDLE handles[2];
    int n = token_find_class(s, CKO_PRIVATE_KEY, id, handles, ARRAY_SIZE(handles), errp);
    CLEANUP(mem_freep) char *hex = NULL;

    if (n < 0)
        return -1;
    hex = bytes_to_hex(id->data, id->len);
    if (n > 1)
        return err_set(errp, ERR_TOKEN, "two private keys have the id %s", hex);
    if (n == 0) {
        s->look_again = true;
        err_set(errp, ERR_MISSING, "the private key with the id %s is not in the token", hex);
        return err_hint(errp, "if it was deleted, it cannot be brought back; a new pair is asked for by 'autoenroll "
                              "renew NAME', or --oneshot --renew NAME");
    }
    *handle = handles[0];
    return 0;
}
