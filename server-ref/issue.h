/* issue.h - makes the certificate that was decided on. */
#pragma once

#include "server-ref/ca.h"
#include "server-ref/judge.h"

/*
 * Signs with all the extensions of [MS-WSTEP notes] 5.10.
 *
 * @spki  the key it is for
 * @out   returns owned
 * Return 0 or -1 (ERR_INTERNAL; ERR_DENIED where the CA's own end leaves no time).
 */
int issue(const struct ca *ca, const struct judgement *judgement, const struct bytes *spki, int64_t now,
    const struct misbehave *misbehave, struct cert **out, struct err **errp);
