/* san.h - subject alternative names, typed, between text and DER. */
#pragma once

#include <stddef.h>

#include "protocol/base/bytes.h"

#define SAN_MAX      256  /* most alternative names in one extension */
#define SAN_MAX_TEXT 4096 /* longest text of one */

/* name, its word in text, [RFC 5280] 4.2.1.6 */
#define SAN_TYPES(X)                                                                                                   \
    X(DNS, "dns")     /* a host name, IA5 */                                                                           \
    X(IP, "ip")       /* 192.0.2.1 or 2001:db8::1 */                                                                   \
    X(URI, "uri")     /* IA5 */                                                                                        \
    X(EMAIL, "email") /* IA5 */                                                                                        \
    X(UPN, "upn")     /* UTF-8; otherName 1.3.6.1.4.1.311.20.2.3 */                                                    \
    X(DIRNAME, "dir") /* RFC 4514 text */                                                                              \
    X(OTHER, "other") /* "OID:HEX", an otherName with the DER of its value; read only: "tag[N]:HEX" for other kinds */
#define X(name, word) SAN_##name,
enum san_type { SAN_TYPES(X) SAN__MAX };
#undef X

struct san {
    enum san_type type;
    char *value; /* owned; text without control characters as the table says; never empty */
};
struct san_list {
    struct san *items;
    size_t n;
};

void san_add(struct san_list *list, enum san_type type, const char *value); /* copies */
/* Same type and value, host names and e-mail domains without regard to ASCII case. */
bool san_has(const struct san_list *list, enum san_type type, const char *value);
bool san_equal(const struct san_list *a, const struct san_list *b); /* as sets */
const char *san_type_name(enum san_type type);                      /* "dns", ... */

/* The value of extension 2.5.29.17; @der is overwritten. 0 or -1 (ERR_INVALID: empty list, a value of wrong form). */
int san_encode(const struct san_list *list, struct bytes *der, struct err **errp);
/* Reads that value; embedded zeros, control characters and trailing bytes are refused. @list is overwritten. */
int san_decode(const void *der, size_t len, struct san_list *list, struct err **errp);
void san_list_copy(struct san_list *to, const struct san_list *from); /* @to is overwritten, not freed first */
void san_list_clear(struct san_list *list);
