#include "agent/install/place_token.h"

int place_token_put(struct token *token, const char *name, const struct bytes *id, const struct bytes *certificate,
    const struct bytes *old_id, struct err **errp)
{
    CLEANUP(mem_freep) char *waiting = NULL;
    CLEANUP(err_freep) struct err *why = NULL;

    if (key_token_put_certificate(token, id, name, certificate, errp) < 0)
        return err_wrap(errp, "putting the certificate into the token");
    if (key_token_relabel(token, id, name, errp) < 0)
        return err_wrap(errp, "giving the new pair the label '%s'", name);
    if (!old_id->len || bytes_equal(old_id, id))
        return 0;
    waiting = key_waiting_label(name, old_id);
    /* It may be in a file, or have been in a token that is no more: then it has no label to give up. */
    if (key_token_relabel(token, old_id, waiting, &why) == 0 || err_kind(why) == ERR_MISSING)
        return 0;
    err_wrap(&why, "giving the old pair the label '%s'", waiting);
    if (errp && !*errp)
        *errp = TAKE(why);
    return -1;
}
