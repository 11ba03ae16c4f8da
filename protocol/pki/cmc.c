#include "protocol/pki/cmc.h"

#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/pki/control.h"
#include "protocol/pki/oid.h"

#define REQUEST_PART 1 /* body part of the PKCS#10; the controls count on from it */
#define REQUESTER    "requestername"

/* clang-format off */
/* The PKCS#10 stays as it came: its own bytes are what is parsed and kept. */
typedef struct {
    ASN1_INTEGER *id;
    ASN1_TYPE *request;
} TAGGED_REQUEST;
ASN1_SEQUENCE(TAGGED_REQUEST) = {
    ASN1_SIMPLE(TAGGED_REQUEST, id, ASN1_INTEGER),
    ASN1_SIMPLE(TAGGED_REQUEST, request, ASN1_ANY),
} static_ASN1_SEQUENCE_END(TAGGED_REQUEST)
DEFINE_STACK_OF(TAGGED_REQUEST)

/* RFC 5272 3.2. Of the three kinds of requests only tcr [0] is read. */
typedef struct {
    STACK_OF(TAGGED_ATTRIBUTE) *controls;
    STACK_OF(TAGGED_REQUEST) *requests;
    ASN1_SEQUENCE_ANY *messages;
    ASN1_SEQUENCE_ANY *others;
} PKI_DATA;
ASN1_ITEM_TEMPLATE(TAGGED_REQUEST_TCR) =
    ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_IMPTAG | ASN1_TFLG_CONTEXT, 0, tcr, TAGGED_REQUEST)
static_ASN1_ITEM_TEMPLATE_END(TAGGED_REQUEST_TCR)
ASN1_SEQUENCE(PKI_DATA) = {
    ASN1_SEQUENCE_OF(PKI_DATA, controls, TAGGED_ATTRIBUTE),
    ASN1_SEQUENCE_OF(PKI_DATA, requests, TAGGED_REQUEST_TCR),
    ASN1_SEQUENCE_OF(PKI_DATA, messages, ASN1_ANY),
    ASN1_SEQUENCE_OF(PKI_DATA, others, ASN1_ANY),
} static_ASN1_SEQUENCE_END(PKI_DATA)
/* clang-format on */

DER_FREEP(PKI_DATA)
DER_FREEP(TAGGED_REQUEST)

void cmc_controls_clear(struct cmc_controls *controls)
{
    csr_attributes_clear(&controls->attributes);
    csr_extensions_clear(&controls->extensions);
    name_values_clear(&controls->reg_info);
    strlist_clear(&controls->unknown);
}

/* ---- writing ---- */

static int add_request(PKI_DATA *data, const struct bytes *csr, struct err **errp)
{
    CLEANUP(TAGGED_REQUEST_freep)
    TAGGED_REQUEST *request = (TAGGED_REQUEST *)ASN1_item_new(ASN1_ITEM_rptr(TAGGED_REQUEST));

    if (!request || !ASN1_INTEGER_set_uint64(request->id, REQUEST_PART))
        return der_fail(errp, ERR_INTERNAL, "making a tagged request");
    ASN1_TYPE_free(request->request);
    request->request = der_any_read(csr, "a PKCS#10 request", errp);
    if (!request->request)
        return -1;
    if (!sk_TAGGED_REQUEST_push(data->requests, request))
        return der_fail(errp, ERR_INTERNAL, "making a tagged request");
    request = NULL;
    return 0;
}

/* "Name=Value&Name=Value" in an OCTET STRING. How to escape is not specified, so nothing that would need it. */
static int write_reg_info(const struct name_values *pairs, struct bytes *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    for (size_t i = 0; i < pairs->n; i++) {
        const struct name_value *pair = &pairs->items[i];

        if (strpbrk(pair->name, "&=%") || strpbrk(pair->value, "&=%"))
            return err_set(errp, ERR_INVALID, "'%s': a name or value with '&', '=' or '%%' cannot be sent", pair->name);
        if (bytes_printf(&text, errp, "%s%s=%s", i ? "&" : "", pair->name, pair->value) < 0)
            return -1;
    }
    return msext_octets_write(text.data, text.len, out, errp);
}

static int add_controls(PKI_DATA *data, const struct cmc_controls *controls, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes attributes = {0};
    CLEANUP(bytes_clear) struct bytes extensions = {0};
    CLEANUP(bytes_clear) struct bytes reg_info = {0};
    uint32_t id = REQUEST_PART;

    if (controls->attributes.n &&
        (control_attributes_write(&controls->attributes, &attributes, errp) < 0 ||
            control_push(data->controls, ++id, OID_CMC_ADD_ATTRIBUTES, &attributes, errp) < 0))
        return -1;
    if (controls->extensions.n &&
        (control_extensions_write(&controls->extensions, &extensions, errp) < 0 ||
            control_push(data->controls, ++id, OID_CMC_ADD_EXTENSIONS, &extensions, errp) < 0))
        return -1;
    if (controls->reg_info.n && (write_reg_info(&controls->reg_info, &reg_info, errp) < 0 ||
                                    control_push(data->controls, ++id, OID_CMC_REG_INFO, &reg_info, errp) < 0))
        return -1;
    return 0;
}

int cmc_data_write(const struct bytes *csr, const struct cmc_controls *controls, struct bytes *out, struct err **errp)
{
    CLEANUP(PKI_DATA_freep) PKI_DATA *data = (PKI_DATA *)ASN1_item_new(ASN1_ITEM_rptr(PKI_DATA));

    if (!data)
        return der_fail(errp, ERR_INTERNAL, "making a PKIData");
    if (add_request(data, csr, errp) < 0 || (controls && add_controls(data, controls, errp) < 0))
        return -1;
    return der_write(data, ASN1_ITEM_rptr(PKI_DATA), out, errp);
}

/* ---- reading ---- */

static int read_pair(const char *text, size_t len, struct name_values *pairs, struct err **errp)
{
    const char *equals = memchr(text, '=', len);
    CLEANUP(mem_freep) char *name = equals ? mem_strndup(text, (size_t)(equals - text)) : NULL;
    CLEANUP(mem_freep) char *value = equals ? mem_strndup(equals + 1, len - (size_t)(equals + 1 - text)) : NULL;

    if (!equals || !*name || pairs->n >= MSEXT_MAX_ITEMS)
        return der_refuse(errp, ERROR_INVALID_DATA, "regInfo is not Name=Value&Name=Value");
    name_values_add(pairs, name, value);
    return 0;
}

static int read_reg_info(
    const struct bytes *value, uint32_t part __attribute__((unused)), struct cmc_controls *controls, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes octets = {0};
    CLEANUP(mem_freep) char *shown = NULL;
    const char *at;

    if (msext_octets_parse(value->data, value->len, &octets, errp) < 0)
        return -1;
    shown = printable(bytes_text(&octets), octets.len, octets.len * 10 + 1);
    if (strlen(shown) != octets.len || memcmp(shown, bytes_text(&octets), octets.len) != 0)
        return der_refuse(errp, ERROR_INVALID_DATA, "regInfo has invalid or invisible characters");
    at = bytes_text(&octets);
    while (*at) {
        size_t len = strcspn(at, "&");

        if (len && read_pair(at, len, &controls->reg_info, errp) < 0)
            return -1;
        at += len + (at[len] == '&');
    }
    return 0;
}

static int read_attributes(const struct bytes *value, uint32_t part, struct cmc_controls *controls, struct err **errp)
{
    return control_attributes_parse(value, part, &controls->attributes, errp);
}

static int read_extensions(const struct bytes *value, uint32_t part, struct cmc_controls *controls, struct err **errp)
{
    return control_extensions_parse(value, part, &controls->extensions, errp);
}

static const struct {
    const char *oid;
    int (*read)(const struct bytes *value, uint32_t part, struct cmc_controls *controls, struct err **errp);
} readers[] = {
    {OID_CMC_ADD_ATTRIBUTES, read_attributes},
    {OID_CMC_ADD_EXTENSIONS, read_extensions},
    {OID_CMC_REG_INFO, read_reg_info},
};

static int read_control(
    const TAGGED_ATTRIBUTE *control, uint32_t part, struct cmc_controls *controls, struct err **errp)
{
    CLEANUP(mem_freep) char *oid = NULL;
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (control_read(control, &oid, &value, errp) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
        if (oid_is(readers[i].oid, oid)) {
            if (readers[i].read(&value, part, controls, errp) < 0)
                return err_wrap(errp, "control %s", oid_name(oid));
            return 0;
        }
    strlist_add(&controls->unknown, oid);
    return 0;
}

/* The one request, and its number. */
static int read_request(const PKI_DATA *data, struct bytes *csr, uint32_t *part, struct err **errp)
{
    const TAGGED_REQUEST *request;

    if (sk_TAGGED_REQUEST_num(data->requests) != 1)
        return der_refuse(
            errp, ERROR_INVALID_DATA, "%d requests, and exactly one can be", sk_TAGGED_REQUEST_num(data->requests));
    request = sk_TAGGED_REQUEST_value(data->requests, 0);
    if (der_u32(request->id, part, "the body part of the request", errp) < 0)
        return -1;
    if (*part == 0)
        return der_refuse(errp, ERROR_INVALID_DATA, "the request is body part 0, which means the message itself");
    return der_any(request->request, csr, errp);
}

int cmc_data_parse(const void *der, size_t len, struct bytes *csr, struct cmc_controls *controls, struct err **errp)
{
    CLEANUP(PKI_DATA_freep) PKI_DATA *data = der_read(ASN1_ITEM_rptr(PKI_DATA), der, len, "a PKIData", errp);
    CLEANUP(cmc_controls_clear) struct cmc_controls found = {0};
    CLEANUP(bytes_clear) struct bytes request = {0};
    uint32_t part = 0;

    if (!data || read_request(data, &request, &part, errp) < 0)
        return -1;
    if (sk_TAGGED_ATTRIBUTE_num(data->controls) > CMC_MAX_CONTROLS)
        return der_refuse(errp, ERROR_INVALID_DATA, "more than %d controls", CMC_MAX_CONTROLS);
    for (int i = 0; i < sk_TAGGED_ATTRIBUTE_num(data->controls); i++)
        if (read_control(sk_TAGGED_ATTRIBUTE_value(data->controls, i), part, &found, errp) < 0)
            return -1;
    bytes_set(csr, request.data, request.len);
    *controls = found;
    found = (struct cmc_controls){0};
    return 0;
}

/* ---- the three requests ---- */

/* Two signers at most: the new key, and @other, who has a certificate. */
static int build(const struct bytes *csr, const struct cmc_controls *controls, const struct cms_signer *new_key,
    const struct cms_signer *other, bool renewal, struct bytes *out, struct err **errp)
{
    CLEANUP(csr_freep) struct csr *parsed = NULL;
    CLEANUP(bytes_clear) struct bytes data = {0};
    struct cms_signer signers[2] = {*new_key};

    if (csr_parse(csr->data, csr->len, &parsed, errp) < 0)
        return -1;
    if (parsed->ski.len == 0)
        return err_set(errp, ERR_INVALID, "the PKCS#10 request has no subject key identifier");
    if (new_key->cert || (other && !other->cert))
        return err_set(errp, ERR_INVALID, "the new key signs without a certificate, any other signer with one");
    if (renewal && (!other || !parsed->old_cert || !cert_equal(parsed->old_cert, other->cert)))
        return err_set(errp, ERR_INVALID, "the PKCS#10 request is not for the renewal of the signer's certificate");
    signers[0].key_id = &parsed->ski;
    if (other)
        signers[1] = *other;
    if (cmc_data_write(csr, controls, &data, errp) < 0)
        return -1;
    return cms_sign(OID_PKI_DATA, &data, NULL, signers, other ? 2 : 1, out, errp);
}

int cmc_build_new(const struct bytes *csr, const struct cmc_controls *controls, const struct cms_signer *new_key,
    struct bytes *out, struct err **errp)
{
    return build(csr, controls, new_key, NULL, false, out, errp);
}

int cmc_build_renewal(const struct bytes *csr, const struct cmc_controls *controls, const struct cms_signer *new_key,
    const struct cms_signer *old, struct bytes *out, struct err **errp)
{
    return build(csr, controls, new_key, old, true, out, errp);
}

int cmc_build_on_behalf(const struct bytes *csr, const char *requester, const struct cms_signer *new_key,
    const struct cms_signer *agent, struct bytes *out, struct err **errp)
{
    CLEANUP(cmc_controls_clear) struct cmc_controls controls = {0};

    name_values_add(&controls.reg_info, REQUESTER, requester);
    return build(csr, &controls, new_key, agent, false, out, errp);
}
