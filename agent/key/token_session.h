/* token_session.h - what an operation on a token may use while it is logged in. */
#pragma once

#include <stdbool.h>

#include <p11-kit/pkcs11.h>

#include "agent/key/token.h"
#include "protocol/base/bytes.h"

struct token_session {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE handle;
    CK_RV rv;        /* of the call that failed last; decides whether the operation is run again */
    bool look_again; /* set by an operation that missed an object: another process may have made it */
};

/* Sets the err of a failed call and notes its answer. Returns -1. */
int token_session_fail(struct token_session *s, const char *function, CK_RV rv, struct err **errp);

/*
 * Object handles, at most @max of them, that match @n attributes; they are good for this session only. Returns how
 * many, or -1.
 */
#define TOKEN_MAX_OBJECTS 4096
int token_session_find(struct token_session *s, const CK_ATTRIBUTE *match, CK_ULONG n, CK_OBJECT_HANDLE *handles,
    CK_ULONG max, struct err **errp);

/* One attribute, at most 64 KiB. 0 with @out overwritten, 1 when the object has none that may be read, or -1. */
int token_session_get(
    struct token_session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, struct bytes *out, struct err **errp);

enum token_access {
    TOKEN_READ, /* a read-only session */
    TOKEN_WRITE /* a read-write session; what it wrote is durable afterwards */
};

/*
 * What is done in one login. It may be run a second time after the module was restarted, so it undoes what it half did
 * and keeps no handle. Returns as the rest: 0 or positive done, -1 failed.
 */
typedef int (*token_operation)(struct token_session *s, void *arg, struct err **errp);

/*
 * Login, one operation, logout, under the module's lock. A lost device or session is opened again once; a busy token
 * database is tried a few times; a PIN is never presented again after it was refused.
 */
int token_run(struct token *token, enum token_access access, token_operation operation, void *arg, struct err **errp);

struct token *token_ref(struct token *token); /* returns @token; give the reference back by token_close */
const CK_TOKEN_INFO *token_raw_info(const struct token *token); /* borrowed; its texts are padded */

/*
 * Makes durable what changed in a folder of SoftHSM's, which leaves its files to the system's leisure.
 *
 * @since_ns  nanoseconds since 1970, by the clock of file times; older changes are passed over
 * 0, or -1 with ERR_STORE.
 */
int token_flush_folder(const char *path, int64_t since_ns, struct err **errp);
