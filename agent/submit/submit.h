/* submit.h - hands a request to a CES: issued, pending or denied. */
#pragma once

#include "agent/submit/call.h"
#include "protocol/wstep/wstep.h"

#define SUBMIT_ANSWER_LIMIT (4u << 20) /* bytes; answers have 3 to 20 KiB */

enum submit_outcome { SUBMIT_ISSUED, SUBMIT_PENDING };

/* What goes along with the signed bytes. All borrowed. */
struct submit_request {
    enum wstep_token token;    /* what @request is */
    const struct bytes *bytes; /* PKCS#10, CMS or CMC */
    const char *machine;       /* DNS name for the CA's records, or NULL */
};

/* The answer as it came: nothing of it is checked yet but that it answers this message. */
struct submit_answer {
    char *request_id; /* owned; opaque; NULL where none was given */
    struct bytes cms;
    struct bytes certificate; /* may be empty: it is in @cms then */
    char *message;            /* owned; for a person, safe to print; NULL where none */
    bool unrelated;           /* it does not say which message it answers: worth a warning */
};
void submit_answer_clear(struct submit_answer *answer);

/*
 * RequestSecurityToken with Issue, [MS-WSTEP] 3.1.4.2.1.1; a renewal is one too.
 *
 * Returns SUBMIT_ISSUED, SUBMIT_PENDING (with a request id), or -1: as call; ERR_DENIED, ERR_AUTH, ERR_NETWORK or
 * ERR_MISSING by what the CA's HRESULT means, which err_code gives, with its hint; ERR_PROTOCOL.
 */
int submit_request(const struct call_peer *peer, const struct submit_request *request, struct submit_answer *answer,
    struct err **errp);

/* QueryTokenStatus, [MS-WSTEP] 3.1.4.2.1.2: what became of the pending request with @request_id. As above. */
int submit_query(const struct call_peer *peer, const char *request_id, struct submit_answer *answer, struct err **errp);
