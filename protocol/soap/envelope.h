/* envelope.h - what a codec needs of an envelope: the body that was read, and writing around its own. */
#pragma once

#include "protocol/soap/soap.h"
#include "protocol/xml/xmap.h"
#include "protocol/xml/xmlout.h"

/*
 * The child of Body, when it is that element. Returns 0, or -1 with ERR_INVALID; for a fault the text says so.
 *
 * @out  borrowed until soap_message_free
 */
int soap_message_body(const struct soap_message *message, const char *ns, const char *name, const struct _xmlNode **out,
    struct err **errp);

/* The element inside the Detail of a fault that has this name; borrowed, NULL where there is none. */
const struct _xmlNode *soap_message_detail(const struct soap_message *message, const char *ns, const char *name);

/*
 * Writes a whole message: the element of @map, made from @body. Failures as in soap_fault_write.
 *
 * @security  NULL for none
 */
int soap_write(const struct soap_header *header, const struct wsse_security *security, const struct xmap *map,
    const void *body, struct bytes *out, struct err **errp);

/* The same for a fault; @map and @detail are the element in Detail, NULL for none. */
int soap_write_fault(const struct soap_header *header, const struct soap_fault *fault, const struct xmap *map,
    const void *detail, struct bytes *out, struct err **errp);
