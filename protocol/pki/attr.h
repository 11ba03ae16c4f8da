/* attr.h - attributes and extensions between our lists and OpenSSL's. */
#pragma once

#include <openssl/x509.h>

#include "protocol/pki/csr.h"

static inline void attr_extensions_freep(STACK_OF(X509_EXTENSION) **list)
{
    sk_X509_EXTENSION_pop_free(*list, X509_EXTENSION_free);
}
DEFINE_FREEP(X509_ATTRIBUTE, X509_ATTRIBUTE_free)

/* An Attribute with its one value; returns owned, NULL (ERR_INVALID). */
X509_ATTRIBUTE *attr_to_asn1(const struct csr_attribute *attribute, struct err **errp);
/*
 * Appends each value of @asn1 as an attribute of its own. Only a name/value pair may have more than one.
 * Return 0 or -1 (ERR_INVALID, ERROR_INVALID_DATA).
 */
int attr_from_asn1(X509_ATTRIBUTE *asn1, struct csr_attributes *out, struct err **errp);

/* Appends a copy to OpenSSL's list. 0 or -1. */
int attr_push_extension(
    STACK_OF(X509_EXTENSION) *list, const char *oid, bool critical, const struct bytes *value, struct err **errp);
/* Appends copies of all of OpenSSL's to ours, at most CSR_MAX_EXTENSIONS. 0 or -1. */
int attr_extensions_from_asn1(const STACK_OF(X509_EXTENSION) *list, struct csr_extensions *out, struct err **errp);
