/* glance.h - the few facts about a certificate that a watcher needs, without decoding its key. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"

/* Everything owned; safe to print. */
struct glance {
    char *subject;                 /* RFC 4514 */
    char *serial;                  /* hex */
    char *sha256;                  /* thumbprint of the DER, hex */
    int64_t not_before, not_after; /* seconds since 1970, UTC */
};
struct glance_list {
    struct glance *items;
    size_t n;
};
void glance_list_clear(struct glance_list *list); /* also the CLEANUP form */

/* Appends what one certificate says, which is a tenth of the work of cert_parse. 0 or -1 (ERR_INVALID). */
int glance_der(const void *der, size_t len, struct glance_list *list, struct err **errp);
/* The same for every "CERTIFICATE" block of @text, at least one and at most @max. 0 or -1 (ERR_INVALID). */
int glance_pem(const char *text, size_t len, size_t max, struct glance_list *list, struct err **errp);
