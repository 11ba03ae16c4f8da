/* wsse.h - the security header: user name token, timestamp. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/err.h"
#include "protocol/base/opt.h"
#include "protocol/base/secret.h"

#define WSSE_SKEW         (5 * 60) /* seconds that two clocks may differ */
#define WSSE_MAX_LIFETIME (5 * 60) /* seconds between created and expires */
#define WSSE_MAX_USERNAME 512      /* bytes */
#define WSSE_MAX_PASSWORD 1024     /* bytes */

/* {0} is empty: written, it is a Security header with nothing in it. */
struct wsse_security {
    char *username;          /* owned; trimmed; NULL: no user name token */
    struct secret *password; /* owned; exactly as it was sent, not trimmed; NULL where the token has none */
    bool digest;             /* the password is of another type than PasswordText, which we do not accept */
    struct opt_time created; /* both set: a Timestamp */
    struct opt_time expires;
};

void wsse_security_clear(struct wsse_security *security); /* also the CLEANUP form */

/*
 * Fills in a user name token for one message at @now: copies @username and @password, five minutes long. What
 * @out held before is not freed.
 */
void wsse_security_init(struct wsse_security *out, const char *username, const struct secret *password, int64_t now);

struct _xmlNode;
struct xmlout;

/* From and to the element Security. -1 with ERR_INVALID; @out is written only on success, its old content not freed. */
int wsse_security_parse(const struct _xmlNode *element, struct wsse_security *out, struct err **errp);
/* mustUnderstand is of @soap_ns, which must be declared. A failure is kept in @x. */
void wsse_security_write(struct xmlout *x, const struct wsse_security *security, const char *soap_ns);

/*
 * Says whether the Timestamp of @security holds at @now (seconds since 1970, UTC): there at all, at most five minutes
 * long, not expired and not from the future by more than five minutes. Pure.
 *
 * Returns 0, or -1 with ERR_AUTH and a hint about the clocks.
 */
int wsse_timestamp_check(const struct wsse_security *security, int64_t now, struct err **errp);
