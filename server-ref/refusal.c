#include "server-ref/refusal.h"

int refusal(struct err **errp, uint32_t hresult, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    if (!errp)
        return -1;
    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    err_set(errp, ERR_DENIED, "%s", text);
    err_set_code(*errp, hresult);
    return -1;
}
