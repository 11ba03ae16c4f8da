/* refusal.h - a no of the CA, with its HRESULT. */
#pragma once

#include "protocol/base/err.h"

/* Sets *@errp (which may be NULL) to ERR_DENIED with @hresult. Returns -1. */
int refusal(struct err **errp, uint32_t hresult, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
