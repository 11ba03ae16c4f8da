/* token_guard.h - remembers the outcome of presenting a PIN, so that a refused one is never presented again. */
#pragma once

#include <stdbool.h>

#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "protocol/base/secret.h"

/*
 * One small file for each token: a salted digest of the PIN that was last presented and what became of it. While an
 * attempt is under way the file is locked, so that processes wait for each other's outcome.
 *
 * A crash between the attempt and its outcome leaves it open whether the token refused. A PIN that was accepted before,
 * or that we gave the token ourselves, may then be presented once more; any other waits for a person.
 */
struct token_guard_attempt;

/*
 * Records durably that @pin is about to be presented.
 *
 * @path   borrowed until the attempt ends
 * @ours   the PIN was made by us
 * Returns 0 with *out owned; -1: ERR_AUTH (it was refused before: do not present it), ERR_STORE.
 */
int token_guard_begin(
    const char *path, const struct secret *pin, bool ours, struct token_guard_attempt **out, struct err **errp);

enum token_guard_outcome {
    TOKEN_GUARD_ACCEPTED,
    TOKEN_GUARD_REFUSED,
    TOKEN_GUARD_NEITHER /* the token failed before it could say */
};
/* Takes the attempt; NULL is fine. 0, or -1 with ERR_STORE: the outcome could not be recorded. */
int token_guard_end(struct token_guard_attempt *attempt, enum token_guard_outcome outcome, struct err **errp);
