#include "protocol/pki/attr.h"

#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

DEFINE_FREEP(X509_EXTENSION, X509_EXTENSION_free)
DEFINE_FREEP(ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)

X509_ATTRIBUTE *attr_to_asn1(const struct csr_attribute *attribute, struct err **errp)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(attribute->oid, errp);
    CLEANUP(ASN1_TYPE_freep) ASN1_TYPE *value = object ? der_any_read(&attribute->value, "its value", errp) : NULL;
    X509_ATTRIBUTE *asn1;

    if (!value) {
        err_wrap(errp, "attribute %s", oid_name(attribute->oid));
        return NULL;
    }
    asn1 = X509_ATTRIBUTE_create_by_OBJ(NULL, object, value->type, value->value.ptr, -1);
    if (!asn1)
        der_fail(errp, ERR_INTERNAL, "making the attribute %s", oid_name(attribute->oid));
    return asn1;
}

int attr_from_asn1(X509_ATTRIBUTE *asn1, struct csr_attributes *out, struct err **errp)
{
    CLEANUP(mem_freep) char *oid = der_oid(X509_ATTRIBUTE_get0_object(asn1), errp);
    int count = X509_ATTRIBUTE_count(asn1);

    if (!oid)
        return -1;
    if (count < 1 || (count > 1 && !oid_is(oid, OID_NAME_VALUE_PAIR)))
        return der_refuse(errp, ERROR_INVALID_DATA, "attribute %s has %d values", oid_name(oid), count);
    for (int i = 0; i < count; i++) {
        CLEANUP(bytes_clear) struct bytes value = {0};

        if (der_any(X509_ATTRIBUTE_get0_type(asn1, i), &value, errp) < 0)
            return -1;
        if (out->n >= CSR_MAX_ATTRIBUTES)
            return der_refuse(errp, ERROR_INVALID_DATA, "more than %d attributes", CSR_MAX_ATTRIBUTES);
        csr_attributes_add(out, oid, &value);
    }
    return 0;
}

int attr_push_extension(
    STACK_OF(X509_EXTENSION) *list, const char *oid, bool critical, const struct bytes *value, struct err **errp)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(oid, errp);
    CLEANUP(ASN1_OCTET_STRING_freep) ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    CLEANUP(X509_EXTENSION_freep) X509_EXTENSION *extension = NULL;

    if (!object || der_set_octets(octets, value->data, value->len, errp) < 0)
        return -1;
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, octets);
    if (!extension || !sk_X509_EXTENSION_push(list, extension))
        return der_fail(errp, ERR_INTERNAL, "collecting extensions");
    extension = NULL;
    return 0;
}

int attr_extensions_from_asn1(const STACK_OF(X509_EXTENSION) *list, struct csr_extensions *out, struct err **errp)
{
    for (int i = 0; i < sk_X509_EXTENSION_num(list); i++) {
        X509_EXTENSION *extension = sk_X509_EXTENSION_value(list, i);
        CLEANUP(mem_freep) char *oid = der_oid(X509_EXTENSION_get_object(extension), errp);
        CLEANUP(bytes_clear) struct bytes value = {0};

        if (!oid)
            return -1;
        if (out->n >= CSR_MAX_EXTENSIONS)
            return der_refuse(errp, ERROR_INVALID_DATA, "more than %d extensions", CSR_MAX_EXTENSIONS);
        der_octets(X509_EXTENSION_get_data(extension), &value);
        csr_extensions_add(out, oid, X509_EXTENSION_get_critical(extension), &value);
    }
    return 0;
}
