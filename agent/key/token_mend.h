/* token_mend.h - puts back what a crash cut short in the files of a SoftHSM token. */
#pragma once

#include "protocol/base/err.h"

/*
 * SoftHSM writes an object anew by emptying its file first; at each login the one with the PIN's key. Who is killed
 * then, or finds the disk full, leaves a token without its keys. So a copy of each object is kept beside the token, as
 * it is encrypted there. This puts those back that are cut short, removes what was never made to its end, and renews
 * the copies.
 *
 * @tokens  SoftHSM's folder of tokens, of which there is one; copies are in "TOKENS.kept". Nobody else works in it.
 * Returns 0, TOKEN_MENDED when something was put back or removed, or -1 with ERR_STORE.
 */
enum { TOKEN_MENDED = 1 };
int token_mend(const char *tokens, struct err **errp);
