/* soap.h - SOAP 1.2 envelope, WS-Addressing headers, faults. */
#pragma once

#include <stddef.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"
#include "protocol/soap/wsse.h"

#define SOAP_MEDIA_TYPE "application/soap+xml" /* sent with "; charset=utf-8" behind it */

#define SOAP_NS      "http://www.w3.org/2003/05/soap-envelope"
#define SOAP_WSA_NS  "http://www.w3.org/2005/08/addressing"
#define SOAP_WSSE_NS "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
#define SOAP_WSU_NS  "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
#define SOAP_WCF_NS  "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher"

/* Actions of faults that no protocol of its own names. */
#define SOAP_ACTION_FAULT        SOAP_WSA_NS "/soap/fault" /* addressing, security */
#define SOAP_ACTION_SERVER_FAULT SOAP_WCF_NS "/fault"      /* the service failed */

#define SOAP_MAX_URI    4096 /* bytes of an address or an id in a header */
#define SOAP_MAX_REASON 8192 /* bytes; a longer one is cut */

/* All owned, trimmed, NULL where absent. {0} is empty. */
struct soap_header {
    char *action;
    char *message_id;
    char *relates_to;
    char *to;
};
void soap_header_clear(struct soap_header *header);

/* A new random "urn:uuid:...". Returns owned, never NULL. */
char *soap_new_message_id(void);

/*
 * Says whether an answer with @header belongs to the request with @message_id: 1 when its RelatesTo is equal but for
 * blanks (Microsoft's own samples have one inside), 0 when it is another, 1 when there is none: not all services send
 * it.
 */
int soap_relates_to(const struct soap_header *header, const char *message_id);

#define SOAP_FAULT_CODES(X) /* name, its local name in SOAP_NS */                                                      \
    X(SENDER, "Sender")                                                                                                \
    X(RECEIVER, "Receiver")                                                                                            \
    X(MUST_UNDERSTAND, "MustUnderstand")                                                                               \
    X(VERSION_MISMATCH, "VersionMismatch")                                                                             \
    X(DATA_ENCODING, "DataEncodingUnknown")

#define X(name, text) SOAP_##name,
enum soap_fault_code { SOAP_FAULT_CODES(X) SOAP_FAULT_CODE__MAX };
#undef X

/* Subcodes that these services use. Compare with soap_fault_is: others put the same name in another namespace. */
#define SOAP_SUBCODES(X) /* name, namespace, local name */                                                             \
    X(INTERNAL_SERVICE_FAULT, SOAP_WCF_NS, "InternalServiceFault")                                                     \
    X(DESERIALIZATION_FAILED, SOAP_WCF_NS, "DeserializationFailed")                                                    \
    X(ACTION_NOT_SUPPORTED, SOAP_WSA_NS, "ActionNotSupported")                                                         \
    X(DESTINATION_UNREACHABLE, SOAP_WSA_NS, "DestinationUnreachable")                                                  \
    X(INVALID_SECURITY, SOAP_WSSE_NS, "InvalidSecurity")                                                               \
    X(INVALID_SECURITY_TOKEN, SOAP_WSSE_NS, "InvalidSecurityToken")                                                    \
    X(FAILED_AUTHENTICATION, SOAP_WSSE_NS, "FailedAuthentication")

#define X(name, ns, text) SOAP_SUBCODE_##name,
enum soap_subcode { SOAP_SUBCODE_NONE, SOAP_SUBCODES(X) SOAP_SUBCODE__MAX };
#undef X

struct soap_fault {
    enum soap_fault_code code;
    char *subcode_ns; /* owned; NULL where the subcode has none, or there is no subcode */
    char *subcode;    /* owned, local name; NULL where there is none */
    char *reason;     /* owned, trimmed; NULL where the sender gave none */
    char *language;   /* owned; xml:lang of @reason; NULL writes en-US */
};
void soap_fault_clear(struct soap_fault *fault);
/* Fills @out with copies. What it held is not freed. @subcode may be SOAP_SUBCODE_NONE. */
void soap_fault_init(struct soap_fault *out, enum soap_fault_code code, enum soap_subcode subcode, const char *reason);
/* The known subcode with the local name of @fault's; SOAP_SUBCODE_NONE where it has none or an unknown one. */
enum soap_subcode soap_fault_subcode(const struct soap_fault *fault);
const char *soap_fault_code_name(enum soap_fault_code code); /* "Sender", ... */

struct soap_message;

/*
 * Takes a message apart: an envelope with at most one Header and one Body, which has exactly one child. Header blocks
 * of addressing and security are read, those for another role and unknown ones are passed over. A known block that is
 * there twice, or a ReplyTo other than anonymous, is an error.
 *
 * @data  borrowed for the call
 * @out   returns owned
 * Returns 0, or -1: ERR_PROTOCOL for an envelope of another SOAP version (answer SOAP_VERSION_MISMATCH), ERR_INVALID
 * for everything else.
 */
int soap_parse(const void *data, size_t len, struct soap_message **out, struct err **errp);
void soap_message_free(struct soap_message *message); /* takes; NULL is fine; wipes the password */
DEFINE_FREEP(struct soap_message, soap_message_free)

/* All borrowed until soap_message_free. */
const struct soap_header *soap_message_header(const struct soap_message *message);
const struct wsse_security *soap_message_security(const struct soap_message *message); /* NULL: no Security header */
const struct soap_fault *soap_message_fault(const struct soap_message *message);       /* NULL: the body is no fault */
/* NULL, or the local name of a header block with mustUnderstand that we do not know: answer SOAP_MUST_UNDERSTAND. */
const char *soap_message_not_understood(const struct soap_message *message);

/*
 * Writes a fault without detail.
 *
 * @out  what it held is replaced; left alone on failure
 * Returns 0, or -1 with ERR_INVALID where a text cannot stand in XML.
 */
int soap_fault_write(
    const struct soap_header *header, const struct soap_fault *fault, struct bytes *out, struct err **errp);
