/* token_find.h - finds the objects that belong to one key in an open session. */
#pragma once

#include <stddef.h>

#include "agent/key/token_session.h"

#define TOKEN_MAX_SAME_ID 64 /* objects under one id that we look at */

/* An attribute whose value is borrowed, and only read. */
CK_ATTRIBUTE token_attribute(CK_ATTRIBUTE_TYPE type, const void *value, size_t len);

/* Handles, good for this session, of what has this id: all of a class, or everything (TOKEN_MAX_SAME_ID). Count or -1.
 */
int token_find_class(struct token_session *s, CK_OBJECT_CLASS class, const struct bytes *id, CK_OBJECT_HANDLE *handles,
    CK_ULONG max, struct err **errp);
int token_find_id(struct token_session *s, const struct bytes *id, CK_OBJECT_HANDLE *handles, struct err **errp);

/* The one private key. -1 with ERR_MISSING when there is none, ERR_TOKEN when there are two. */
int token_find_private(struct token_session *s, const struct bytes *id, CK_OBJECT_HANDLE *handle, struct err **errp);
