/* key_token_certificates.h - lists the certificates that lie in a token, whoever put them there. */
#pragma once

#include "agent/key/token.h"
#include "protocol/base/bytes.h"

/* One certificate object; everything owned. */
struct token_certificate {
    struct bytes id;  /* may be empty */
    struct bytes der; /* as it lies there: not looked at */
    char *label;      /* as it lies there; "" where it has none */
    char *uri;        /* pkcs11:token=..;id=..;type=cert; by its label where it has no id */
};
struct token_certificates {
    struct token_certificate *items;
    size_t n;
};
void token_certificates_clear(struct token_certificates *list); /* also the CLEANUP form */

/* Those under @id, or all with NULL; objects without a value are left out. 0 with *out overwritten, or -1. */
int key_token_certificates(
    struct token *token, const struct bytes *id, struct token_certificates *out, struct err **errp);
