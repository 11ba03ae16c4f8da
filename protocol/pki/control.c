#include "protocol/pki/control.h"

#include "protocol/pki/attr.h"
#include "protocol/pki/oid.h"

/* clang-format off */
ASN1_SEQUENCE(TAGGED_ATTRIBUTE) = {
    ASN1_SIMPLE(TAGGED_ATTRIBUTE, id, ASN1_INTEGER),
    ASN1_SIMPLE(TAGGED_ATTRIBUTE, type, ASN1_OBJECT),
    ASN1_SET_OF(TAGGED_ATTRIBUTE, values, ASN1_ANY),
} ASN1_SEQUENCE_END(TAGGED_ATTRIBUTE)

/* Which message (0 is this one), which parts of it, what to add to them. */
typedef struct {
    ASN1_INTEGER *reference;
    STACK_OF(ASN1_INTEGER) *parts;
    STACK_OF(X509_ATTRIBUTE) *attributes;
} ADD_ATTRIBUTES;
ASN1_SEQUENCE(ADD_ATTRIBUTES) = {
    ASN1_SIMPLE(ADD_ATTRIBUTES, reference, ASN1_INTEGER),
    ASN1_SEQUENCE_OF(ADD_ATTRIBUTES, parts, ASN1_INTEGER),
    ASN1_SET_OF(ADD_ATTRIBUTES, attributes, X509_ATTRIBUTE),
} static_ASN1_SEQUENCE_END(ADD_ATTRIBUTES)

typedef struct {
    ASN1_INTEGER *reference;
    STACK_OF(ASN1_INTEGER) *parts;
    STACK_OF(X509_EXTENSION) *extensions;
} ADD_EXTENSIONS;
ASN1_SEQUENCE(ADD_EXTENSIONS) = {
    ASN1_SIMPLE(ADD_EXTENSIONS, reference, ASN1_INTEGER),
    ASN1_SEQUENCE_OF(ADD_EXTENSIONS, parts, ASN1_INTEGER),
    ASN1_SEQUENCE_OF(ADD_EXTENSIONS, extensions, X509_EXTENSION),
} static_ASN1_SEQUENCE_END(ADD_EXTENSIONS)
/* clang-format on */

DER_FREEP(ADD_ATTRIBUTES)
DER_FREEP(ADD_EXTENSIONS)
DEFINE_FREEP(ASN1_INTEGER, ASN1_INTEGER_free)

int control_push(
    STACK_OF(TAGGED_ATTRIBUTE) *list, uint32_t id, const char *oid, const struct bytes *value, struct err **errp)
{
    CLEANUP(TAGGED_ATTRIBUTE_freep)
    TAGGED_ATTRIBUTE *control = (TAGGED_ATTRIBUTE *)ASN1_item_new(ASN1_ITEM_rptr(TAGGED_ATTRIBUTE));
    CLEANUP(ASN1_TYPE_freep) ASN1_TYPE *any = der_any_read(value, "a control", errp);

    if (!any)
        return -1;
    if (!control || !ASN1_INTEGER_set_uint64(control->id, id) || !sk_ASN1_TYPE_push(control->values, any))
        return der_fail(errp, ERR_INTERNAL, "making a control");
    any = NULL;
    ASN1_OBJECT_free(control->type);
    control->type = der_object(oid, errp);
    if (!control->type)
        return -1;
    if (!sk_TAGGED_ATTRIBUTE_push(list, control))
        return der_fail(errp, ERR_INTERNAL, "collecting controls");
    control = NULL;
    return 0;
}

int control_read(const TAGGED_ATTRIBUTE *control, char **oid, struct bytes *value, struct err **errp)
{
    CLEANUP(mem_freep) char *type = der_oid(control->type, errp);

    if (!type)
        return -1;
    if (sk_ASN1_TYPE_num(control->values) != 1)
        return der_refuse(
            errp, ERROR_INVALID_DATA, "control %s has %d values", oid_name(type), sk_ASN1_TYPE_num(control->values));
    if (der_any(sk_ASN1_TYPE_value(control->values, 0), value, errp) < 0)
        return -1;
    *oid = TAKE(type);
    return 0;
}

/* This message, body part 1. */
static int set_parts(ASN1_INTEGER *reference, STACK_OF(ASN1_INTEGER) *parts, struct err **errp)
{
    CLEANUP(ASN1_INTEGER_freep) ASN1_INTEGER *one = ASN1_INTEGER_new();

    if (!one || !ASN1_INTEGER_set_uint64(one, 1) || !ASN1_INTEGER_set_uint64(reference, 0) ||
        !sk_ASN1_INTEGER_push(parts, one))
        return der_fail(errp, ERR_INTERNAL, "making a control");
    one = NULL;
    return 0;
}

static int check_parts(
    const ASN1_INTEGER *reference, const STACK_OF(ASN1_INTEGER) *parts, uint32_t part, struct err **errp)
{
    static const char what[] = "a body part of a control";
    uint32_t number;

    if (part == 0)
        return 0;
    if (der_u32(reference, &number, what, errp) < 0)
        return -1;
    if (number != 0 || sk_ASN1_INTEGER_num(parts) != 1)
        return der_refuse(errp, ERROR_INVALID_DATA, "a control is not for exactly one part of this message");
    if (der_u32(sk_ASN1_INTEGER_value(parts, 0), &number, what, errp) < 0)
        return -1;
    if (number != part)
        return der_refuse(
            errp, ERROR_INVALID_DATA, "a control is for body part %u, and the request is %u", number, part);
    return 0;
}

int control_attributes_write(const struct csr_attributes *attributes, struct bytes *out, struct err **errp)
{
    CLEANUP(ADD_ATTRIBUTES_freep)
    ADD_ATTRIBUTES *asn1 = (ADD_ATTRIBUTES *)ASN1_item_new(ASN1_ITEM_rptr(ADD_ATTRIBUTES));

    if (!asn1 || set_parts(asn1->reference, asn1->parts, errp) < 0)
        return der_fail(errp, ERR_INTERNAL, "making a control");
    for (size_t i = 0; i < attributes->n; i++) {
        CLEANUP(X509_ATTRIBUTE_freep) X509_ATTRIBUTE *attribute = attr_to_asn1(&attributes->items[i], errp);

        if (!attribute)
            return -1;
        if (!sk_X509_ATTRIBUTE_push(asn1->attributes, attribute))
            return der_fail(errp, ERR_INTERNAL, "collecting attributes");
        attribute = NULL;
    }
    return der_write(asn1, ASN1_ITEM_rptr(ADD_ATTRIBUTES), out, errp);
}

int control_attributes_parse(
    const struct bytes *value, uint32_t part, struct csr_attributes *attributes, struct err **errp)
{
    CLEANUP(ADD_ATTRIBUTES_freep)
    ADD_ATTRIBUTES *asn1 =
        der_read(ASN1_ITEM_rptr(ADD_ATTRIBUTES), value->data, value->len, "attributes in a control", errp);

    if (!asn1 || check_parts(asn1->reference, asn1->parts, part, errp) < 0)
        return -1;
    for (int i = 0; i < sk_X509_ATTRIBUTE_num(asn1->attributes); i++)
        if (attr_from_asn1(sk_X509_ATTRIBUTE_value(asn1->attributes, i), attributes, errp) < 0)
            return -1;
    return 0;
}

int control_extensions_write(const struct csr_extensions *extensions, struct bytes *out, struct err **errp)
{
    CLEANUP(ADD_EXTENSIONS_freep)
    ADD_EXTENSIONS *asn1 = (ADD_EXTENSIONS *)ASN1_item_new(ASN1_ITEM_rptr(ADD_EXTENSIONS));

    if (!asn1 || set_parts(asn1->reference, asn1->parts, errp) < 0)
        return der_fail(errp, ERR_INTERNAL, "making a control");
    for (size_t i = 0; i < extensions->n; i++) {
        const struct csr_extension *item = &extensions->items[i];

        if (attr_push_extension(asn1->extensions, item->oid, item->critical, &item->value, errp) < 0)
            return -1;
    }
    return der_write(asn1, ASN1_ITEM_rptr(ADD_EXTENSIONS), out, errp);
}

int control_extensions_parse(
    const struct bytes *value, uint32_t part, struct csr_extensions *extensions, struct err **errp)
{
    CLEANUP(ADD_EXTENSIONS_freep)
    ADD_EXTENSIONS *asn1 =
        der_read(ASN1_ITEM_rptr(ADD_EXTENSIONS), value->data, value->len, "extensions in a control", errp);

    if (!asn1 || check_parts(asn1->reference, asn1->parts, part, errp) < 0)
        return -1;
    return attr_extensions_from_asn1(asn1->extensions, extensions, errp);
}
