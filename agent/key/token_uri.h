/* token_uri.h - reads and writes the pkcs11: URIs of tokens, strictly. */
#pragma once

#include <stdbool.h>

#include <p11-kit/pkcs11.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"

/* A token URI: one or more of token, serial, manufacturer and model. */
struct token_uri;

/* RFC 7512, less its laxity: see token_open. Returns 0 with *out owned, or -1 with ERR_CONFIG. */
int token_uri_parse(const char *text, struct token_uri **out, struct err **errp);
void token_uri_free(struct token_uri *uri); /* takes; NULL is fine */
DEFINE_FREEP(struct token_uri, token_uri_free)

bool token_uri_matches(const struct token_uri *uri, const CK_TOKEN_INFO *info);

/* The URI that names exactly this token. Returns owned, never NULL. */
char *token_uri_write(const CK_TOKEN_INFO *info);

/* The URI of a private key in it: pkcs11:token=..;id=..;type=private. Returns owned, never NULL. */
char *token_uri_write_key(const CK_TOKEN_INFO *info, const struct bytes *id);

/* Of a certificate in it: pkcs11:token=..;id=..;type=cert, by its label where it has no id. Returns owned, never NULL.
 */
char *token_uri_write_certificate(const CK_TOKEN_INFO *info, const struct bytes *id, const char *label);
