/* control.h - the controls that CMC requests and responses share, as OpenSSL ASN.1 templates. */
#pragma once

#include <openssl/asn1t.h>
#include <openssl/x509.h>

#include "protocol/pki/csr.h"
#include "protocol/pki/der.h"

#define CONTROL_MAX 64

/* TaggedAttribute, RFC 5272 3.2.1.1. */
typedef struct {
    ASN1_INTEGER *id;
    ASN1_OBJECT *type;
    STACK_OF(ASN1_TYPE) *values;
} TAGGED_ATTRIBUTE;
DECLARE_ASN1_ITEM(TAGGED_ATTRIBUTE)
DEFINE_STACK_OF(TAGGED_ATTRIBUTE)
DER_FREEP(TAGGED_ATTRIBUTE)

/* Appends a control with the one value @value (DER) and body part @id. 0 or -1. */
int control_push(
    STACK_OF(TAGGED_ATTRIBUTE) *list, uint32_t id, const char *oid, const struct bytes *value, struct err **errp);
/* Takes one apart; it must have one value. Outputs are overwritten. 0 or -1 (ERR_INVALID, ERROR_INVALID_DATA). */
int control_read(const TAGGED_ATTRIBUTE *control, char **oid, struct bytes *value, struct err **errp);

/* Value of 1.3.6.1.4.1.311.10.10.1 for body part 1. 0 or -1. */
int control_attributes_write(const struct csr_attributes *attributes, struct bytes *out, struct err **errp);
/*
 * @part  the body part that it must be for, or 0 for any
 * Appends to @attributes. Return 0 or -1 (ERR_INVALID, ERROR_INVALID_DATA).
 */
int control_attributes_parse(
    const struct bytes *value, uint32_t part, struct csr_attributes *attributes, struct err **errp);

/* The same for 1.3.6.1.5.5.7.7.8. */
int control_extensions_write(const struct csr_extensions *extensions, struct bytes *out, struct err **errp);
int control_extensions_parse(
    const struct bytes *value, uint32_t part, struct csr_extensions *extensions, struct err **errp);
