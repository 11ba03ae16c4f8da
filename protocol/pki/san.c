#include "protocol/pki/san.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "protocol/base/printable.h"
#include "protocol/pki/der.h"
#include "protocol/pki/name.h"
#include "protocol/pki/oid.h"

#define DNS_MAX 253

DEFINE_FREEP(GENERAL_NAMES, GENERAL_NAMES_free)
DEFINE_FREEP(GENERAL_NAME, GENERAL_NAME_free)

static const char *const words[] = {
#define X(name, word) [SAN_##name] = word,
    SAN_TYPES(X)
#undef X
};

void san_add(struct san_list *list, enum san_type type, const char *value)
{
    struct san *item = MEM_APPEND(list->items, list->n);

    item->type = type;
    item->value = mem_strdup(value);
}

static bool same_value(enum san_type type, const char *a, const char *b)
{
    const char *at_a = strrchr(a, '@'), *at_b = strrchr(b, '@');

    if (type == SAN_DNS)
        return strcasecmp(a, b) == 0;
    if (type == SAN_EMAIL && at_a && at_b)
        return at_a - a == at_b - b && strncmp(a, b, (size_t)(at_a - a)) == 0 && strcasecmp(at_a, at_b) == 0;
    return strcmp(a, b) == 0;
}

bool san_has(const struct san_list *list, enum san_type type, const char *value)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].type == type && same_value(type, list->items[i].value, value))
            return true;
    return false;
}

static bool has_all(const struct san_list *list, const struct san_list *of)
{
    for (size_t i = 0; i < of->n; i++)
        if (!san_has(list, of->items[i].type, of->items[i].value))
            return false;
    return true;
}

bool san_equal(const struct san_list *a, const struct san_list *b)
{
    return has_all(a, b) && has_all(b, a);
}

const char *san_type_name(enum san_type type)
{
    return type < SAN__MAX ? words[type] : "unknown";
}

/* Letters that stand in a host name, a URI or an e-mail address: ASCII that can be seen. */
static bool is_graphic(const char *text)
{
    for (; *text; text++)
        if (!isascii(*text) || !isgraph(*text))
            return false;
    return true;
}

static bool is_host_name(const char *text)
{
    size_t len = strlen(text);

    return len <= DNS_MAX &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*")] == 0 &&
           text[0] != '.' && !strstr(text, "..");
}

static bool has_right_form(enum san_type type, const char *value)
{
    const char *at = strchr(value, '@');

    if (!*value || strlen(value) > SAN_MAX_TEXT)
        return false;
    switch (type) {
    case SAN_DNS:
        return is_host_name(value);
    case SAN_URI:
        return is_graphic(value) && strchr(value, ':');
    case SAN_EMAIL:
        return is_graphic(value) && at && at != value && at[1];
    case SAN_UPN: {
        CLEANUP(mem_freep) char *shown = printable(value, strlen(value), 0);

        return strcmp(shown, value) == 0;
    }
    case SAN_IP:
    case SAN_DIRNAME:
    case SAN_OTHER:
        return true;
    case SAN__MAX:
        break;
    }
    return false;
}

static int set_ia5(GENERAL_NAME *name, int kind, const char *value, struct err **errp)
{
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();

    if (der_set_octets(string, value, strlen(value), errp) < 0) {
        ASN1_IA5STRING_free(string);
        return -1;
    }
    GENERAL_NAME_set0_value(name, kind, string);
    return 0;
}

static int set_ip(GENERAL_NAME *name, const char *value, struct err **errp)
{
    ASN1_OCTET_STRING *string = ASN1_OCTET_STRING_new();
    uint8_t address[16];
    size_t len = inet_pton(AF_INET, value, address) == 1 ? 4 : inet_pton(AF_INET6, value, address) == 1 ? 16 : 0;

    if (len == 0)
        err_set(errp, ERR_INVALID, "not an IP address");
    if (len == 0 || der_set_octets(string, address, len, errp) < 0) {
        ASN1_OCTET_STRING_free(string);
        return -1;
    }
    GENERAL_NAME_set0_value(name, GEN_IPADD, string);
    return 0;
}

static int set_other(GENERAL_NAME *name, const char *oid, const struct bytes *der, struct err **errp)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(oid, errp);
    CLEANUP(ASN1_TYPE_freep) ASN1_TYPE *value = object ? der_any_read(der, "the value of an otherName", errp) : NULL;

    if (!value)
        return -1;
    if (!GENERAL_NAME_set0_othername(name, object, value))
        return der_fail(errp, ERR_INTERNAL, "making an otherName");
    object = NULL;
    value = NULL;
    return 0;
}

static int set_upn(GENERAL_NAME *name, const char *value, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    ASN1_UTF8STRING *string = ASN1_UTF8STRING_new();
    int r = der_set_octets(string, value, strlen(value), errp);

    if (r == 0)
        r = der_write(string, ASN1_ITEM_rptr(ASN1_UTF8STRING), &der, errp);
    ASN1_UTF8STRING_free(string);
    return r < 0 ? -1 : set_other(name, OID_UPN, &der, errp);
}

static int set_dirname(GENERAL_NAME *name, const char *value, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    X509_NAME *parsed;

    if (name_parse(value, &der, errp) < 0)
        return -1;
    parsed = der_read(ASN1_ITEM_rptr(X509_NAME), der.data, der.len, "a distinguished name", errp);
    if (!parsed)
        return -1;
    GENERAL_NAME_set0_value(name, GEN_DIRNAME, parsed);
    return 0;
}

static int set_other_text(GENERAL_NAME *name, const char *value, struct err **errp)
{
    const char *colon = strchr(value, ':');
    CLEANUP(mem_freep) char *oid = mem_strndup(value, colon ? (size_t)(colon - value) : 0);
    CLEANUP(bytes_clear) struct bytes der = {0};

    if (!colon || !oid_valid(oid))
        return err_set(errp, ERR_INVALID, "expected OID:HEX");
    if (bytes_from_hex(&der, colon + 1, SAN_MAX_TEXT, errp) < 0)
        return -1;
    return set_other(name, oid, &der, errp);
}

static int set_name(GENERAL_NAME *name, const struct san *item, struct err **errp)
{
    if (!has_right_form(item->type, item->value))
        return err_set(errp, ERR_INVALID, "not of the right form");
    switch (item->type) {
    case SAN_DNS:
        return set_ia5(name, GEN_DNS, item->value, errp);
    case SAN_URI:
        return set_ia5(name, GEN_URI, item->value, errp);
    case SAN_EMAIL:
        return set_ia5(name, GEN_EMAIL, item->value, errp);
    case SAN_IP:
        return set_ip(name, item->value, errp);
    case SAN_UPN:
        return set_upn(name, item->value, errp);
    case SAN_DIRNAME:
        return set_dirname(name, item->value, errp);
    case SAN_OTHER:
        return set_other_text(name, item->value, errp);
    case SAN__MAX:
        break;
    }
    return err_set(errp, ERR_INTERNAL, "no such type");
}

int san_encode(const struct san_list *list, struct bytes *der, struct err **errp)
{
    CLEANUP(GENERAL_NAMES_freep) GENERAL_NAMES *names = GENERAL_NAMES_new();

    if (list->n == 0 || list->n > SAN_MAX)
        return err_set(errp, ERR_INVALID, "%zu alternative names, and 1 to %d can be", list->n, SAN_MAX);
    for (size_t i = 0; i < list->n; i++) {
        CLEANUP(GENERAL_NAME_freep) GENERAL_NAME *name = GENERAL_NAME_new();

        if (!name || set_name(name, &list->items[i], errp) < 0) {
            CLEANUP(mem_freep) char *shown = printable_text(list->items[i].value);

            return err_wrap(errp, "alternative name %s '%s'", san_type_name(list->items[i].type), shown);
        }
        if (!sk_GENERAL_NAME_push(names, name))
            return der_fail(errp, ERR_INTERNAL, "collecting alternative names");
        name = NULL;
    }
    return der_write(names, ASN1_ITEM_rptr(GENERAL_NAMES), der, errp);
}

/* A value that we do not interpret, after @prefix. */
static int add_hex(struct san_list *list, const char *prefix, const struct bytes *der, struct err **errp)
{
    CLEANUP(mem_freep) char *hex = NULL;
    CLEANUP(mem_freep) char *value = NULL;

    if (der->len > SAN_MAX_TEXT)
        return der_refuse(errp, ERROR_INVALID_DATA, "an alternative name of %zu bytes", der->len);
    hex = bytes_to_hex(der->data, der->len);
    value = mem_printf("%s:%s", prefix, hex);
    san_add(list, SAN_OTHER, value);
    return 0;
}

static int add_text(struct san_list *list, enum san_type type, const ASN1_STRING *string, struct err **errp)
{
    CLEANUP(mem_freep) char *text = der_text(string, SAN_MAX_TEXT, "an alternative name", errp);

    if (!text)
        return -1;
    if (!*text)
        return der_refuse(errp, ERROR_INVALID_DATA, "an alternative name (%s) is empty", san_type_name(type));
    if (type != SAN_UPN && !is_graphic(text))
        return der_refuse(errp, ERROR_INVALID_DATA, "an alternative name (%s) is not ASCII", san_type_name(type));
    san_add(list, type, text);
    return 0;
}

static int add_ip(struct san_list *list, const ASN1_OCTET_STRING *string, struct err **errp)
{
    int len = ASN1_STRING_length(string);
    char text[INET6_ADDRSTRLEN];

    if (len != 4 && len != 16)
        return der_refuse(errp, ERROR_INVALID_DATA, "an IP address of %d bytes", len);
    if (!inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(string), text, sizeof(text)))
        return err_set(errp, ERR_INTERNAL, "writing an IP address: %m");
    san_add(list, SAN_IP, text);
    return 0;
}

static int add_other(struct san_list *list, const OTHERNAME *other, struct err **errp)
{
    CLEANUP(mem_freep) char *oid = der_oid(other->type_id, errp);
    CLEANUP(bytes_clear) struct bytes der = {0};

    if (!oid)
        return -1;
    if (oid_is(oid, OID_UPN) && other->value->type == V_ASN1_UTF8STRING)
        return add_text(list, SAN_UPN, other->value->value.utf8string, errp);
    if (der_any(other->value, &der, errp) < 0)
        return -1;
    return add_hex(list, oid, &der, errp);
}

static int add_dirname(struct san_list *list, const X509_NAME *name, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(mem_freep) char *text = NULL;

    if (der_write(name, ASN1_ITEM_rptr(X509_NAME), &der, errp) < 0)
        return -1;
    text = name_to_text(der.data, der.len, errp);
    if (!text)
        return -1;
    if (!*text)
        return der_refuse(errp, ERROR_INVALID_DATA, "an alternative name (dir) is empty");
    san_add(list, SAN_DIRNAME, text);
    return 0;
}

static int add_name(struct san_list *list, const GENERAL_NAME *name, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(mem_freep) char *prefix = NULL;

    switch (name->type) {
    case GEN_DNS:
        return add_text(list, SAN_DNS, name->d.dNSName, errp);
    case GEN_EMAIL:
        return add_text(list, SAN_EMAIL, name->d.rfc822Name, errp);
    case GEN_URI:
        return add_text(list, SAN_URI, name->d.uniformResourceIdentifier, errp);
    case GEN_IPADD:
        return add_ip(list, name->d.iPAddress, errp);
    case GEN_OTHERNAME:
        return add_other(list, name->d.otherName, errp);
    case GEN_DIRNAME:
        return add_dirname(list, name->d.directoryName, errp);
    default:
        if (der_write(name, ASN1_ITEM_rptr(GENERAL_NAME), &der, errp) < 0)
            return -1;
        prefix = mem_printf("tag[%d]", name->type);
        return add_hex(list, prefix, &der, errp);
    }
}

int san_decode(const void *der, size_t len, struct san_list *list, struct err **errp)
{
    CLEANUP(GENERAL_NAMES_freep)
    GENERAL_NAMES *names = der_read(ASN1_ITEM_rptr(GENERAL_NAMES), der, len, "alternative names", errp);
    CLEANUP(san_list_clear) struct san_list found = {0};

    if (!names)
        return -1;
    if (sk_GENERAL_NAME_num(names) > SAN_MAX)
        return der_refuse(errp, ERROR_INVALID_DATA, "more than %d alternative names", SAN_MAX);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (add_name(&found, sk_GENERAL_NAME_value(names, i), errp) < 0)
            return -1;
    *list = found;
    found = (struct san_list){0};
    return 0;
}

void san_list_copy(struct san_list *to, const struct san_list *from)
{
    *to = (struct san_list){0};
    for (size_t i = 0; i < from->n; i++)
        san_add(to, from->items[i].type, from->items[i].value);
}

void san_list_clear(struct san_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i].value);
    free(list->items);
    *list = (struct san_list){0};
}
