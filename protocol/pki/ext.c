#include "protocol/pki/ext.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

DEFINE_FREEP(AUTHORITY_KEYID, AUTHORITY_KEYID_free)
DEFINE_FREEP(BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free)

static int read_ski(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    return msext_octets_parse(value->data, value->len, facts->ski, errp);
}

static int read_aki(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    CLEANUP(AUTHORITY_KEYID_freep)
    AUTHORITY_KEYID *id =
        der_read(ASN1_ITEM_rptr(AUTHORITY_KEYID), value->data, value->len, "an authority key identifier", errp);

    if (!id)
        return -1;
    if (facts->aki && id->keyid)
        der_octets(id->keyid, facts->aki);
    return 0;
}

static int read_basic_constraints(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    CLEANUP(BASIC_CONSTRAINTS_freep)
    BASIC_CONSTRAINTS *constraints =
        der_read(ASN1_ITEM_rptr(BASIC_CONSTRAINTS), value->data, value->len, "basic constraints", errp);

    if (!constraints)
        return -1;
    if (facts->is_ca)
        *facts->is_ca = constraints->ca != 0;
    return 0;
}

static int read_key_usage(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    *facts->has_key_usage = true;
    return msext_key_usage_parse(value->data, value->len, facts->key_usage, errp);
}

static int read_eku(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    *facts->has_eku = true;
    return msext_eku_parse(value->data, value->len, facts->eku, errp);
}

static int read_policies(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    return msext_policies_parse(value->data, value->len, facts->application_policies, errp);
}

static int read_san(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    return san_decode(value->data, value->len, facts->san, errp);
}

static int read_template_name(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    return msext_template_name_parse(value->data, value->len, facts->template_name, errp);
}

static int read_template_info(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    return msext_template_info_parse(value->data, value->len, facts->template, errp);
}

static int read_sid(const struct ext_facts *facts, const struct bytes *value, struct err **errp)
{
    return msext_sid_parse(value->data, value->len, facts->sid, errp);
}

/* Nobody's trust hangs on an informational one: a certificate in which it is malformed is still that certificate. */
static const struct {
    const char *oid;
    bool informational;
    int (*read)(const struct ext_facts *facts, const struct bytes *value, struct err **errp);
} readers[] = {
    {OID_SUBJECT_KEY_ID, false, read_ski},
    {OID_AUTHORITY_KEY_ID, false, read_aki},
    {OID_BASIC_CONSTRAINTS, false, read_basic_constraints},
    {OID_KEY_USAGE, false, read_key_usage},
    {OID_EXTENDED_KEY_USAGE, false, read_eku},
    {OID_APPLICATION_POLICIES, true, read_policies},
    {OID_SUBJECT_ALT_NAME, false, read_san},
    {OID_TEMPLATE_NAME, true, read_template_name},
    {OID_TEMPLATE_INFO, true, read_template_info},
    {OID_SECURITY_EXTENSION, true, read_sid},
};

int ext_read(const struct ext_facts *facts, const char *oid, const struct bytes *value, struct err **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        bool tolerate = readers[i].informational && facts->malformed;

        if (strcmp(readers[i].oid, oid) != 0 || readers[i].read(facts, value, tolerate ? NULL : errp) == 0)
            continue;
        if (!tolerate)
            return err_wrap(errp, "extension %s", oid_name(oid));
        strlist_add(facts->malformed, oid);
    }
    return 0;
}
