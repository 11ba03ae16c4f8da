#include "protocol/pki/msext.h"

#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

/* OpenSSL's template macros want names that are one word; clang-format does not know them. */
/* clang-format off */
typedef struct {
    ASN1_OBJECT *oid;
    ASN1_INTEGER *major;
    ASN1_INTEGER *minor;
} TEMPLATE_INFO;
ASN1_SEQUENCE(TEMPLATE_INFO) = {
    ASN1_SIMPLE(TEMPLATE_INFO, oid, ASN1_OBJECT),
    ASN1_OPT(TEMPLATE_INFO, major, ASN1_INTEGER),
    ASN1_OPT(TEMPLATE_INFO, minor, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END(TEMPLATE_INFO)

typedef struct {
    ASN1_INTEGER *client_id;
    ASN1_UTF8STRING *machine;
    ASN1_UTF8STRING *user;
    ASN1_UTF8STRING *process;
} CLIENT_INFO;
ASN1_SEQUENCE(CLIENT_INFO) = {
    ASN1_SIMPLE(CLIENT_INFO, client_id, ASN1_INTEGER),
    ASN1_SIMPLE(CLIENT_INFO, machine, ASN1_UTF8STRING),
    ASN1_SIMPLE(CLIENT_INFO, user, ASN1_UTF8STRING),
    ASN1_SIMPLE(CLIENT_INFO, process, ASN1_UTF8STRING),
} static_ASN1_SEQUENCE_END(CLIENT_INFO)

typedef struct {
    ASN1_INTEGER *key_spec;
    ASN1_BMPSTRING *name;
    ASN1_BIT_STRING *signature;
} ENROLLMENT_CSP;
ASN1_SEQUENCE(ENROLLMENT_CSP) = {
    ASN1_SIMPLE(ENROLLMENT_CSP, key_spec, ASN1_INTEGER),
    ASN1_SIMPLE(ENROLLMENT_CSP, name, ASN1_BMPSTRING),
    ASN1_SIMPLE(ENROLLMENT_CSP, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(ENROLLMENT_CSP)

typedef struct {
    ASN1_BMPSTRING *name;
    ASN1_BMPSTRING *value;
} NAME_VALUE;
ASN1_SEQUENCE(NAME_VALUE) = {
    ASN1_SIMPLE(NAME_VALUE, name, ASN1_BMPSTRING),
    ASN1_SIMPLE(NAME_VALUE, value, ASN1_BMPSTRING),
} static_ASN1_SEQUENCE_END(NAME_VALUE)

/* The form that the specification prints for a template name, and nobody sends. */
typedef struct {
    ASN1_UTF8STRING *name;
} PRINTED_TEMPLATE_NAME;
ASN1_SEQUENCE(PRINTED_TEMPLATE_NAME) = {
    ASN1_SIMPLE(PRINTED_TEMPLATE_NAME, name, ASN1_UTF8STRING),
} static_ASN1_SEQUENCE_END(PRINTED_TEMPLATE_NAME)
/* clang-format on */

DER_FREEP(TEMPLATE_INFO)
DER_FREEP(CLIENT_INFO)
DER_FREEP(ENROLLMENT_CSP)
DER_FREEP(NAME_VALUE)
DER_FREEP(PRINTED_TEMPLATE_NAME)
DER_FREEP(ASN1_BIT_STRING)
DEFINE_FREEP(ASN1_STRING, ASN1_STRING_free)
DEFINE_FREEP(CERTIFICATEPOLICIES, CERTIFICATEPOLICIES_free)
DEFINE_FREEP(EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free)
DEFINE_FREEP(GENERAL_NAMES, GENERAL_NAMES_free)

#define READ(type, der, len, what, errp) der_read(ASN1_ITEM_rptr(type), der, len, what, errp)
#define WRITE(type, value, out, errp)    der_write(value, ASN1_ITEM_rptr(type), out, errp)

/* Strings from our own text; -1 also when @text is longer than we would read. */
static int set_text(ASN1_STRING *string, const char *text, struct err **errp)
{
    if (strlen(text) > MSEXT_MAX_TEXT)
        return err_set(errp, ERR_INVALID, "a text of more than %d bytes", MSEXT_MAX_TEXT);
    return der_set_octets(string, text, strlen(text), errp);
}

static int set_bmp(ASN1_STRING *string, const char *text, struct err **errp)
{
    int len = (int)strnlen(text, MSEXT_MAX_TEXT + 1);

    if (len > MSEXT_MAX_TEXT)
        return err_set(errp, ERR_INVALID, "a text of more than %d bytes", MSEXT_MAX_TEXT);
    if (ASN1_mbstring_copy(&string, (const unsigned char *)text, len, MBSTRING_UTF8, B_ASN1_BMPSTRING) < 0)
        return der_fail(errp, ERR_INVALID, "a text that no BMPString can hold");
    return 0;
}

int msext_template_name_write(const char *name, struct bytes *out, struct err **errp)
{
    CLEANUP(ASN1_STRING_freep) ASN1_STRING *string = ASN1_STRING_type_new(V_ASN1_BMPSTRING);

    if (!*name)
        return err_set(errp, ERR_INVALID, "an empty template name");
    if (!string || set_bmp(string, name, errp) < 0)
        return err_wrap(errp, "template name");
    return WRITE(ASN1_BMPSTRING, string, out, errp);
}

int msext_template_name_parse(const void *der, size_t len, char **name, struct err **errp)
{
    static const char what[] = "a template name";
    CLEANUP(ASN1_STRING_freep) ASN1_STRING *string = NULL;
    CLEANUP(PRINTED_TEMPLATE_NAME_freep) PRINTED_TEMPLATE_NAME *printed = NULL;
    char *text;

    if (len && *(const uint8_t *)der == (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED))
        printed = READ(PRINTED_TEMPLATE_NAME, der, len, what, errp);
    else
        string = READ(ASN1_BMPSTRING, der, len, what, errp);
    if (!printed && !string)
        return -1;
    text = der_text(string ? string : printed->name, MSEXT_MAX_TEXT, what, errp);
    if (!text)
        return -1;
    *name = text;
    return 0;
}

/* An optional number. */
static int set_opt(ASN1_INTEGER **integer, const struct opt_u32 *number, struct err **errp)
{
    if (!number->set)
        return 0;
    *integer = ASN1_INTEGER_new();
    if (!*integer || !ASN1_INTEGER_set_uint64(*integer, number->value))
        return der_fail(errp, ERR_INTERNAL, "making an INTEGER");
    return 0;
}

static int get_opt(const ASN1_INTEGER *integer, struct opt_u32 *number, const char *what, struct err **errp)
{
    number->set = integer != NULL;
    return integer ? der_u32(integer, &number->value, what, errp) : 0;
}

int msext_template_info_write(const struct template_info *info, struct bytes *out, struct err **errp)
{
    CLEANUP(TEMPLATE_INFO_freep) TEMPLATE_INFO *asn1 = (TEMPLATE_INFO *)ASN1_item_new(ASN1_ITEM_rptr(TEMPLATE_INFO));

    if (!asn1)
        return der_fail(errp, ERR_INTERNAL, "making template information");
    if (info->minor.set && !info->major.set)
        return err_set(errp, ERR_INVALID, "a template with a minor version and no major one");
    ASN1_OBJECT_free(asn1->oid);
    asn1->oid = der_object(info->oid, errp);
    if (!asn1->oid || set_opt(&asn1->major, &info->major, errp) < 0 || set_opt(&asn1->minor, &info->minor, errp) < 0)
        return -1;
    return WRITE(TEMPLATE_INFO, asn1, out, errp);
}

int msext_template_info_parse(const void *der, size_t len, struct template_info *info, struct err **errp)
{
    CLEANUP(TEMPLATE_INFO_freep) TEMPLATE_INFO *asn1 = READ(TEMPLATE_INFO, der, len, "template information", errp);
    CLEANUP(template_info_clear) struct template_info found = {0};

    if (!asn1 || get_opt(asn1->major, &found.major, "the major version of a template", errp) < 0 ||
        get_opt(asn1->minor, &found.minor, "the minor version of a template", errp) < 0)
        return -1;
    found.oid = der_oid(asn1->oid, errp);
    if (!found.oid)
        return -1;
    *info = found;
    found = (struct template_info){0};
    return 0;
}

void template_info_clear(struct template_info *info)
{
    free(info->oid);
    *info = (struct template_info){0};
}

static int check_count(size_t n, const char *what, struct err **errp)
{
    if (n == 0 || n > MSEXT_MAX_ITEMS)
        return der_refuse(errp, ERROR_INVALID_DATA, "%s: %zu of them, and 1 to %d can be", what, n, MSEXT_MAX_ITEMS);
    return 0;
}

static int add_object(struct strlist *oids, const ASN1_OBJECT *object, struct err **errp)
{
    CLEANUP(mem_freep) char *oid = der_oid(object, errp);

    if (!oid)
        return -1;
    strlist_add(oids, oid);
    return 0;
}

int msext_policies_write(const struct strlist *oids, struct bytes *out, struct err **errp)
{
    CLEANUP(CERTIFICATEPOLICIES_freep) CERTIFICATEPOLICIES *policies = CERTIFICATEPOLICIES_new();

    if (!policies || check_count(oids->n, "policies", errp) < 0)
        return -1;
    for (size_t i = 0; i < oids->n; i++) {
        POLICYINFO *policy = POLICYINFO_new();

        if (!policy || !sk_POLICYINFO_push(policies, policy)) {
            POLICYINFO_free(policy);
            return der_fail(errp, ERR_INTERNAL, "collecting policies");
        }
        ASN1_OBJECT_free(policy->policyid);
        policy->policyid = der_object(oids->items[i], errp);
        if (!policy->policyid)
            return -1;
    }
    return WRITE(CERTIFICATEPOLICIES, policies, out, errp);
}

int msext_policies_parse(const void *der, size_t len, struct strlist *oids, struct err **errp)
{
    CLEANUP(CERTIFICATEPOLICIES_freep)
    CERTIFICATEPOLICIES *policies = READ(CERTIFICATEPOLICIES, der, len, "policies", errp);
    CLEANUP(strlist_clear) struct strlist found = {0};

    if (!policies || check_count((size_t)sk_POLICYINFO_num(policies), "policies", errp) < 0)
        return -1;
    for (int i = 0; i < sk_POLICYINFO_num(policies); i++)
        if (add_object(&found, sk_POLICYINFO_value(policies, i)->policyid, errp) < 0)
            return -1;
    *oids = found;
    found = (struct strlist){0};
    return 0;
}

int msext_eku_write(const struct strlist *oids, struct bytes *out, struct err **errp)
{
    CLEANUP(EXTENDED_KEY_USAGE_freep) EXTENDED_KEY_USAGE *usages = EXTENDED_KEY_USAGE_new();

    if (!usages || check_count(oids->n, "extended key usages", errp) < 0)
        return -1;
    for (size_t i = 0; i < oids->n; i++) {
        CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(oids->items[i], errp);

        if (!object)
            return -1;
        if (!sk_ASN1_OBJECT_push(usages, object))
            return der_fail(errp, ERR_INTERNAL, "collecting extended key usages");
        object = NULL;
    }
    return WRITE(EXTENDED_KEY_USAGE, usages, out, errp);
}

int msext_eku_parse(const void *der, size_t len, struct strlist *oids, struct err **errp)
{
    CLEANUP(EXTENDED_KEY_USAGE_freep)
    EXTENDED_KEY_USAGE *usages = READ(EXTENDED_KEY_USAGE, der, len, "extended key usages", errp);
    CLEANUP(strlist_clear) struct strlist found = {0};

    if (!usages || check_count((size_t)sk_ASN1_OBJECT_num(usages), "extended key usages", errp) < 0)
        return -1;
    for (int i = 0; i < sk_ASN1_OBJECT_num(usages); i++)
        if (add_object(&found, sk_ASN1_OBJECT_value(usages, i), errp) < 0)
            return -1;
    *oids = found;
    found = (struct strlist){0};
    return 0;
}

/* RFC 5280 4.2.1.3: the bit, and KU_* of it in OpenSSL. */
static const struct {
    int bit;
    uint32_t mask;
    const char *name;
} usages[] = {
    {0, KU_DIGITAL_SIGNATURE, "digitalSignature"},
    {1, KU_NON_REPUDIATION, "nonRepudiation"},
    {2, KU_KEY_ENCIPHERMENT, "keyEncipherment"},
    {3, KU_DATA_ENCIPHERMENT, "dataEncipherment"},
    {4, KU_KEY_AGREEMENT, "keyAgreement"},
    {5, KU_KEY_CERT_SIGN, "keyCertSign"},
    {6, KU_CRL_SIGN, "cRLSign"},
    {7, KU_ENCIPHER_ONLY, "encipherOnly"},
    {8, KU_DECIPHER_ONLY, "decipherOnly"},
};

int msext_key_usage_write(uint32_t bits, struct bytes *out, struct err **errp)
{
    CLEANUP(ASN1_BIT_STRING_freep) ASN1_BIT_STRING *string = ASN1_BIT_STRING_new();

    for (size_t i = 0; i < ARRAY_SIZE(usages); i++)
        if (bits & usages[i].mask && !ASN1_BIT_STRING_set_bit(string, usages[i].bit, 1))
            return der_fail(errp, ERR_INTERNAL, "making a key usage");
    return WRITE(ASN1_BIT_STRING, string, out, errp);
}

int msext_key_usage_parse(const void *der, size_t len, uint32_t *bits, struct err **errp)
{
    CLEANUP(ASN1_BIT_STRING_freep) ASN1_BIT_STRING *string = READ(ASN1_BIT_STRING, der, len, "a key usage", errp);
    uint32_t found = 0;

    if (!string)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(usages); i++)
        if (ASN1_BIT_STRING_get_bit(string, usages[i].bit))
            found |= usages[i].mask;
    *bits = found;
    return 0;
}

char *msext_key_usage_text(uint32_t bits)
{
    CLEANUP(strlist_clear) struct strlist names = {0};

    for (size_t i = 0; i < ARRAY_SIZE(usages); i++)
        if (bits & usages[i].mask)
            strlist_add(&names, usages[i].name);
    return strlist_join(&names, " ");
}

int msext_octets_write(const void *data, size_t len, struct bytes *out, struct err **errp)
{
    CLEANUP(ASN1_STRING_freep) ASN1_STRING *string = ASN1_STRING_type_new(V_ASN1_OCTET_STRING);

    if (der_set_octets(string, data, len, errp) < 0)
        return -1;
    return WRITE(ASN1_OCTET_STRING, string, out, errp);
}

int msext_octets_parse(const void *der, size_t len, struct bytes *out, struct err **errp)
{
    CLEANUP(ASN1_STRING_freep) ASN1_STRING *string = READ(ASN1_OCTET_STRING, der, len, "an OCTET STRING", errp);

    if (!string)
        return -1;
    der_octets(string, out);
    return 0;
}

int msext_sid_write(const char *sid, struct bytes *out, struct err **errp)
{
    CLEANUP(GENERAL_NAMES_freep) GENERAL_NAMES *names = GENERAL_NAMES_new();
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(OID_SECURITY_SID, errp);
    CLEANUP(ASN1_TYPE_freep) ASN1_TYPE *value = NULL;
    CLEANUP(bytes_clear) struct bytes octets = {0};
    GENERAL_NAME *name = GENERAL_NAME_new();

    if (!names || !name || !sk_GENERAL_NAME_push(names, name)) {
        GENERAL_NAME_free(name);
        return der_fail(errp, ERR_INTERNAL, "making an account SID");
    }
    if (strncmp(sid, "S-", 2) != 0 || strlen(sid) > MSEXT_MAX_TEXT)
        return err_set(errp, ERR_INVALID, "'%s' is not a SID", sid);
    if (msext_octets_write(sid, strlen(sid), &octets, errp) < 0)
        return -1;
    value = der_any_read(&octets, "an account SID", errp);
    if (!object || !value || !GENERAL_NAME_set0_othername(name, object, value))
        return der_fail(errp, ERR_INTERNAL, "making an account SID");
    object = NULL;
    value = NULL;
    return WRITE(GENERAL_NAMES, names, out, errp);
}

int msext_sid_parse(const void *der, size_t len, char **sid, struct err **errp)
{
    static const char what[] = "an account SID";
    CLEANUP(GENERAL_NAMES_freep) GENERAL_NAMES *names = READ(GENERAL_NAMES, der, len, what, errp);
    CLEANUP(mem_freep) char *oid = NULL;
    const GENERAL_NAME *name;
    char *text;

    if (!names)
        return -1;
    name = sk_GENERAL_NAME_num(names) == 1 ? sk_GENERAL_NAME_value(names, 0) : NULL;
    if (name && name->type == GEN_OTHERNAME)
        oid = oid_from_asn1(name->d.otherName->type_id);
    if (!oid_is(oid, OID_SECURITY_SID) || name->d.otherName->value->type != V_ASN1_OCTET_STRING)
        return der_refuse(
            errp, ERROR_INVALID_DATA, "%s: not one otherName %s with an OCTET STRING", what, OID_SECURITY_SID);
    text = der_text(name->d.otherName->value->value.octet_string, MSEXT_MAX_TEXT, what, errp);
    if (!text)
        return -1;
    *sid = text;
    return 0;
}

int msext_os_version_write(const char *version, struct bytes *out, struct err **errp)
{
    CLEANUP(ASN1_STRING_freep) ASN1_STRING *string = ASN1_STRING_type_new(V_ASN1_IA5STRING);

    if (!string || set_text(string, version, errp) < 0)
        return err_wrap(errp, "OS version");
    return WRITE(ASN1_IA5STRING, string, out, errp);
}

int msext_os_version_parse(const void *der, size_t len, char **version, struct err **errp)
{
    CLEANUP(ASN1_STRING_freep) ASN1_STRING *string = READ(ASN1_IA5STRING, der, len, "an OS version", errp);
    char *text = string ? der_text(string, MSEXT_MAX_TEXT, "an OS version", errp) : NULL;

    if (!text)
        return -1;
    *version = text;
    return 0;
}

int msext_client_info_write(const struct client_info *info, struct bytes *out, struct err **errp)
{
    CLEANUP(CLIENT_INFO_freep) CLIENT_INFO *asn1 = (CLIENT_INFO *)ASN1_item_new(ASN1_ITEM_rptr(CLIENT_INFO));

    if (!asn1 || !ASN1_INTEGER_set_uint64(asn1->client_id, info->client_id))
        return der_fail(errp, ERR_INTERNAL, "making client info");
    if (set_text(asn1->machine, info->machine, errp) < 0 || set_text(asn1->user, info->user, errp) < 0 ||
        set_text(asn1->process, info->process, errp) < 0)
        return err_wrap(errp, "client info");
    return WRITE(CLIENT_INFO, asn1, out, errp);
}

int msext_client_info_parse(const void *der, size_t len, struct client_info *info, struct err **errp)
{
    static const char what[] = "client info";
    CLEANUP(CLIENT_INFO_freep) CLIENT_INFO *asn1 = READ(CLIENT_INFO, der, len, what, errp);
    CLEANUP(client_info_clear) struct client_info found = {0};

    if (!asn1 || der_u32(asn1->client_id, &found.client_id, what, errp) < 0)
        return -1;
    found.machine = der_text(asn1->machine, MSEXT_MAX_TEXT, what, errp);
    found.user = der_text(asn1->user, MSEXT_MAX_TEXT, what, errp);
    found.process = der_text(asn1->process, MSEXT_MAX_TEXT, what, errp);
    if (!found.machine || !found.user || !found.process)
        return -1;
    *info = found;
    found = (struct client_info){0};
    return 0;
}

void client_info_clear(struct client_info *info)
{
    free(info->machine);
    free(info->user);
    free(info->process);
    *info = (struct client_info){0};
}

int msext_csp_write(const struct enrollment_csp *csp, struct bytes *out, struct err **errp)
{
    CLEANUP(ENROLLMENT_CSP_freep)
    ENROLLMENT_CSP *asn1 = (ENROLLMENT_CSP *)ASN1_item_new(ASN1_ITEM_rptr(ENROLLMENT_CSP));

    if (!asn1 || !ASN1_INTEGER_set_uint64(asn1->key_spec, csp->key_spec))
        return der_fail(errp, ERR_INTERNAL, "making an enrollment CSP");
    if (set_bmp(asn1->name, csp->name, errp) < 0)
        return err_wrap(errp, "enrollment CSP");
    return WRITE(ENROLLMENT_CSP, asn1, out, errp);
}

int msext_csp_parse(const void *der, size_t len, struct enrollment_csp *csp, struct err **errp)
{
    static const char what[] = "an enrollment CSP";
    CLEANUP(ENROLLMENT_CSP_freep) ENROLLMENT_CSP *asn1 = READ(ENROLLMENT_CSP, der, len, what, errp);
    struct enrollment_csp found = {0};

    if (!asn1 || der_u32(asn1->key_spec, &found.key_spec, what, errp) < 0)
        return -1;
    found.name = der_text(asn1->name, MSEXT_MAX_TEXT, what, errp);
    if (!found.name)
        return -1;
    *csp = found;
    return 0;
}

void enrollment_csp_clear(struct enrollment_csp *csp)
{
    free(csp->name);
    *csp = (struct enrollment_csp){0};
}

int msext_name_value_write(const char *name, const char *value, struct bytes *out, struct err **errp)
{
    CLEANUP(NAME_VALUE_freep) NAME_VALUE *asn1 = (NAME_VALUE *)ASN1_item_new(ASN1_ITEM_rptr(NAME_VALUE));

    if (!asn1)
        return der_fail(errp, ERR_INTERNAL, "making a name/value pair");
    if (set_bmp(asn1->name, name, errp) < 0 || set_bmp(asn1->value, value, errp) < 0)
        return err_wrap(errp, "name/value pair '%s'", name);
    return WRITE(NAME_VALUE, asn1, out, errp);
}

static int add_pair(const void *der, size_t len, struct name_values *pairs, struct err **errp)
{
    static const char what[] = "a name/value pair";
    CLEANUP(NAME_VALUE_freep) NAME_VALUE *asn1 = READ(NAME_VALUE, der, len, what, errp);
    CLEANUP(mem_freep) char *name = asn1 ? der_text(asn1->name, MSEXT_MAX_TEXT, what, errp) : NULL;
    CLEANUP(mem_freep) char *value = name ? der_text(asn1->value, MSEXT_MAX_TEXT, what, errp) : NULL;

    if (!value)
        return -1;
    if (!*name || pairs->n >= MSEXT_MAX_ITEMS)
        return der_refuse(errp, ERROR_INVALID_DATA, "%s: no name, or more than %d pairs", what, MSEXT_MAX_ITEMS);
    name_values_add(pairs, name, value);
    return 0;
}

/* Whether the first element of the SEQUENCE @der is itself one: then it is a list. */
static bool is_list(const uint8_t *der, size_t len)
{
    const unsigned char *at = der;
    long inner;
    int tag, class;

    return ASN1_get_object(&at, &inner, &tag, &class, (long)len) == V_ASN1_CONSTRUCTED && tag == V_ASN1_SEQUENCE &&
           inner > 0 && *at == (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED);
}

int msext_name_values_parse(const void *der, size_t len, struct name_values *pairs, struct err **errp)
{
    CLEANUP(name_values_clear) struct name_values found = {0};
    CLEANUP(DER_SEQUENCE_ANY_freep) ASN1_SEQUENCE_ANY *list = NULL;

    if (len > BYTES_LIMIT_DEFAULT || !is_list(der, len)) {
        if (add_pair(der, len, &found, errp) < 0)
            return -1;
    } else {
        list = READ(ASN1_SEQUENCE_ANY, der, len, "name/value pairs", errp);
        if (!list)
            return -1;
    }
    for (int i = 0; i < sk_ASN1_TYPE_num(list); i++) {
        CLEANUP(bytes_clear) struct bytes pair = {0};

        if (der_any(sk_ASN1_TYPE_value(list, i), &pair, errp) < 0 || add_pair(pair.data, pair.len, &found, errp) < 0)
            return -1;
    }
    for (size_t i = 0; i < found.n; i++)
        name_values_add(pairs, found.items[i].name, found.items[i].value);
    return 0;
}

void name_values_add(struct name_values *pairs, const char *name, const char *value)
{
    struct name_value *pair = MEM_APPEND(pairs->items, pairs->n);

    pair->name = mem_strdup(name);
    pair->value = mem_strdup(value);
}

const char *name_values_find(const struct name_values *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->n; i++)
        if (strcasecmp(pairs->items[i].name, name) == 0)
            return pairs->items[i].value;
    return NULL;
}

void name_values_clear(struct name_values *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    *pairs = (struct name_values){0};
}
