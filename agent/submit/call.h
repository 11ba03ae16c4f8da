/* call.h - one SOAP call: a message out, an answer that belongs to it back. */
#pragma once

#include "agent/submit/auth.h"
#include "protocol/soap/soap.h"

/* Whom to call, and as whom. All borrowed. */
struct call_peer {
    const char *url;
    uint32_t auth; /* enum policy_auth: what of @credentials is shown, and nothing else of it */
    const struct auth_credentials *credentials;
    const struct bytes *anchors; /* PEM: the only trust */
    long limit_ms;               /* 0: HTTP_DEFAULT_LIMIT_MS */
    bool *sent;                  /* as in struct http_request */
    uint32_t *retry_after;       /* set to the seconds for which the server asks to be left alone; NULL: nobody asks */
    int64_t now;                 /* seconds since 1970, UTC: for the Timestamp beside a password */
};

/* What to say. @write is a writer of a codec behind a cast-free wrapper; it gets @message. */
struct call {
    const char *action;
    int (*write)(const struct soap_header *header, const struct wsse_security *security, const void *message,
        struct bytes *out, struct err **errp);
    const void *message;
    size_t answer_limit; /* bytes */
};

struct call_answer {
    struct soap_message *message; /* owned; may hold a fault */
    struct opt_time date;         /* the server's clock */
    bool unrelated;               /* it does not say which message it answers */
};
void call_answer_clear(struct call_answer *answer);

/*
 * Writes, sends, reads, with a fresh MessageID each time. A fault is an answer: ask soap_message_fault, and call_fault
 * for what it means. An answer to another message is ERR_PROTOCOL. What held the password is wiped.
 *
 * Returns 0 with *answer filled, or -1: as http_post; ERR_AUTH (401, 403 or a credential is missing), ERR_MISSING
 * (404), ERR_NETWORK (5xx without SOAP), ERR_PROTOCOL (no SOAP, a redirect). Each with a hint.
 */
int call(const struct call_peer *peer, const struct call *call, struct call_answer *answer, struct err **errp);

/* What a fault without detail means, [MS-WSTEP] 4.1.4.2 is one: sets *errp with a hint. Returns -1. */
int call_fault(const struct soap_fault *fault, struct err **errp);
