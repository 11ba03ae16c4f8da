/* wstep.h - RST, RSTR and its collection. [MS-WSTEP] */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"
#include "protocol/base/opt.h"
#include "protocol/soap/soap.h"

#define WSTEP_NS       "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
#define WSTEP_TRUST_NS "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
#define WSTEP_AUTH_NS  "http://schemas.xmlsoap.org/ws/2006/12/authorization"

#define WSTEP_ACTION_REQUEST      WSTEP_NS "/RST/wstep" /* Issue, QueryTokenStatus */
#define WSTEP_ACTION_RESPONSE     WSTEP_NS "/RSTRC/wstep"
#define WSTEP_ACTION_KET_REQUEST  WSTEP_TRUST_NS "/RST/KET"
#define WSTEP_ACTION_KET_RESPONSE WSTEP_TRUST_NS "/RSTR/KETFinal"
#define WSTEP_ACTION_FAULT        WSTEP_NS "/RequestSecurityTokenCertificateEnrollmentWSDetailFault" /* with detail */

#define WSTEP_MAX_TOKEN         (4u << 20) /* bytes of DER */
#define WSTEP_MAX_URI           4096
#define WSTEP_MAX_MESSAGE       8192 /* bytes of a disposition message */
#define WSTEP_MAX_REQUEST_ID    256
#define WSTEP_MAX_CONTEXT       64 /* items */
#define WSTEP_MAX_CONTEXT_NAME  256
#define WSTEP_MAX_CONTEXT_VALUE 4096

/* What a request is for: RequestType. A renewal is an Issue. */
#define WSTEP_KINDS(X) /* name, URI */                                                                                 \
    X(ISSUE, WSTEP_TRUST_NS "/Issue")                                                                                  \
    X(QUERY, WSTEP_NS "/QueryTokenStatus")                                                                             \
    X(KET, WSTEP_TRUST_NS "/KET")

#define X(name, uri) WSTEP_##name,
enum wstep_kind { WSTEP_KINDS(X) WSTEP_KIND__MAX };
#undef X

/* What a BinarySecurityToken says it holds. A server looks at the DER: PKCS10 is seen labelled PKCS7. */
#define WSTEP_TOKENS(X) /* name, ValueType; where a type has two, the first is sent */                                 \
    X(PKCS10, WSTEP_NS "#PKCS10")                                                                                      \
    X(PKCS7, SOAP_WSSE_NS "#PKCS7")                                                                                    \
    X(X509V3, "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3")                 \
    X(CHALLENGE_RESPONSE, WSTEP_NS "#CHALLENGERESPONSE")

#define X(name, uri) WSTEP_##name,
enum wstep_token { WSTEP_TOKENS(X) WSTEP_OTHER };
#undef X

/* "Name:Value", an attribute of the request for the CA, from AdditionalContext. */
struct wstep_context_item {
    char *name;  /* owned; no control characters, no ':' */
    char *value; /* owned; no control characters; NULL reads and writes as empty */
};

struct wstep_request {
    enum wstep_kind kind;
    char *language;                     /* owned; PreferredLanguage; NULL: none */
    enum wstep_token token_type;        /* of @token; for WSTEP_ISSUE only */
    struct bytes token;                 /* owned; DER */
    char *request_id;                   /* owned; NULL where nil or absent; required for WSTEP_QUERY */
    struct wstep_context_item *context; /* owned */
    size_t n_context;
};
void wstep_request_clear(struct wstep_request *request);
/* Adds a copy of an item; nothing is checked before wstep_request_write. */
void wstep_request_add_context(struct wstep_request *request, const char *name, const char *value);
/* The value of the first item with that name, without regard to case. Borrowed; NULL where there is none. */
const char *wstep_request_context(const struct wstep_request *request, const char *name);

enum wstep_outcome {
    WSTEP_ISSUED,    /* @certificate is there */
    WSTEP_PENDING,   /* @request_id is there; @reference_uri must be to write it */
    WSTEP_EXCHANGE,  /* @exchange_certificate is there */
    WSTEP_UNDECIDED, /* neither certificate nor reference: the status in @cms decides */
};

struct wstep_response {
    enum wstep_outcome outcome;
    char *disposition_message;         /* owned; for a person, localised: never decide by it; NULL: none */
    char *language;                    /* owned; of the message; NULL: none */
    struct bytes cms;                  /* owned; full CMC response or certs-only; empty: none */
    struct bytes certificate;          /* owned; DER of the leaf */
    char *reference_uri;               /* owned; for display: never follow it */
    char *request_id;                  /* owned, opaque; NULL: none */
    struct bytes exchange_certificate; /* owned; DER */
};
void wstep_response_clear(struct wstep_response *response);

/* CertificateEnrollmentWSDetail. {0} is all nil. */
struct wstep_fault_detail {
    struct bytes binary_response; /* owned; the CA's CMC response; empty: none, or not readable */
    bool has_error_code;
    uint32_t error_code;             /* HRESULT */
    struct opt_bool invalid_request; /* true only where the CA denied the request */
    char *request_id;                /* owned; NULL: none */
};
void wstep_fault_detail_clear(struct wstep_fault_detail *detail);

/* Whether a message with this wsa:Action may carry a request of that kind. NULL @action fits nothing. */
bool wstep_action_fits(enum wstep_kind kind, const char *action);
const char *wstep_request_action(enum wstep_kind kind); /* what to send */

/*
 * Writing: the message in an envelope, valid against the schema; what @out held is replaced, and left alone on
 * failure. -1 with ERR_INVALID where something that the kind or outcome needs is missing, a text cannot stand in XML,
 * or a context item would become two lines for the CA.
 * @security  NULL for none. With one, @out holds a password: bytes_wipe it.
 */
int wstep_request_write(const struct soap_header *header, const struct wsse_security *security,
    const struct wstep_request *request, struct bytes *out, struct err **errp);
int wstep_response_write(
    const struct soap_header *header, const struct wstep_response *response, struct bytes *out, struct err **errp);
/* @detail  NULL: a fault without detail */
int wstep_fault_write(const struct soap_header *header, const struct soap_fault *fault,
    const struct wstep_fault_detail *detail, struct bytes *out, struct err **errp);

/*
 * Reading: what @out held is not freed; it is written only on success. Any order, unknown elements passed over. -1
 * with ERR_INVALID and the place; also for a fault.
 *
 * A request must have what its kind needs: a token, an id that is not empty, RequestKET; TokenType X509v3 or none.
 * A pending response must have an id. Of several responses in a collection the first counts.
 */
int wstep_request_parse(const struct soap_message *message, struct wstep_request *out, struct err **errp);
int wstep_response_parse(const struct soap_message *message, struct wstep_response *out, struct err **errp);
/* The same for a document whose root is RequestSecurityTokenResponseCollection, without an envelope. */
int wstep_response_parse_bare(const void *data, size_t len, struct wstep_response *out, struct err **errp);

/*
 * Returns 1 and fills @out when @message is a fault with detail, 0 when it is none or has none, -1 when the detail is
 * not one. The error code is taken signed, unsigned or in hexadecimal; a field that cannot be read counts as absent,
 * so that the rest of a fault is never lost.
 */
int wstep_fault_detail_parse(const struct soap_message *message, struct wstep_fault_detail *out, struct err **errp);
