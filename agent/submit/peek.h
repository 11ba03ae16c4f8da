/* peek.h - connects to a TLS service to see which certificate it presents. */
#pragma once

#include "protocol/pki/cert.h"

/* Services that begin in the clear, and how they are asked for TLS: the word in front of the target. */
#define PEEK_PRELUDES(X)                                                                                               \
    X(SMTP, "smtp", "220", "EHLO localhost\r\n", "250", "STARTTLS\r\n", "220")                                         \
    X(IMAP, "imap", "* OK", NULL, NULL, "a STARTTLS\r\n", "a OK")

/*
 * "HOST:PORT", "[2001:db8::1]:PORT", or either with "smtp:" or "imap:" in front. It shows nothing of ours, and
 * believes nothing: whatever is presented is only looked at, and the connection is closed after the handshake.
 *
 * @limit_ms  for connecting, the prelude and the handshake together; looking up the name is the resolver's
 * Returns 0 with *out owned, or -1: ERR_CONFIG (the target), ERR_NETWORK, ERR_TIMEOUT, ERR_TLS (no certificate came).
 */
int peek_certificate(const char *target, int limit_ms, struct cert **out, struct err **errp);
