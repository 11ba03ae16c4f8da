#include "protocol/pki/name.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "protocol/base/printable.h"
#include "protocol/pki/der.h"
#include "protocol/pki/oid.h"

DEFINE_FREEP(X509_NAME_ENTRY, X509_NAME_ENTRY_free)

/* The words of attribute types; the first of an identifier is the one that we write. [RFC 4514] 3, and in use. */
static const struct attribute {
    const char *word;
    const char *oid;
    int string; /* V_ASN1_* that its values have */
} attributes[] = {
    {"CN", "2.5.4.3", V_ASN1_UTF8STRING},
    {"O", "2.5.4.10", V_ASN1_UTF8STRING},
    {"OU", "2.5.4.11", V_ASN1_UTF8STRING},
    {"C", "2.5.4.6", V_ASN1_PRINTABLESTRING},
    {"ST", "2.5.4.8", V_ASN1_UTF8STRING},
    {"S", "2.5.4.8", V_ASN1_UTF8STRING},
    {"L", "2.5.4.7", V_ASN1_UTF8STRING},
    {"STREET", "2.5.4.9", V_ASN1_UTF8STRING},
    {"DC", "0.9.2342.19200300.100.1.25", V_ASN1_IA5STRING},
    {"UID", "0.9.2342.19200300.100.1.1", V_ASN1_UTF8STRING},
    {"SN", "2.5.4.4", V_ASN1_UTF8STRING},
    {"GN", "2.5.4.42", V_ASN1_UTF8STRING},
    {"G", "2.5.4.42", V_ASN1_UTF8STRING},
    {"T", "2.5.4.12", V_ASN1_UTF8STRING},
    {"title", "2.5.4.12", V_ASN1_UTF8STRING},
    {"initials", "2.5.4.43", V_ASN1_UTF8STRING},
    {"serialNumber", "2.5.4.5", V_ASN1_PRINTABLESTRING},
    {"dnQualifier", "2.5.4.46", V_ASN1_PRINTABLESTRING},
    {"postalCode", "2.5.4.17", V_ASN1_UTF8STRING},
    {"description", "2.5.4.13", V_ASN1_UTF8STRING},
    {"businessCategory", "2.5.4.15", V_ASN1_UTF8STRING},
    {"organizationIdentifier", "2.5.4.97", V_ASN1_UTF8STRING},
    {"pseudonym", "2.5.4.65", V_ASN1_UTF8STRING},
    {"emailAddress", "1.2.840.113549.1.9.1", V_ASN1_IA5STRING},
    {"E", "1.2.840.113549.1.9.1", V_ASN1_IA5STRING},
    {"unstructuredName", "1.2.840.113549.1.9.2", V_ASN1_IA5STRING},
};

static const struct attribute *attribute_by_word(const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
        if (strcasecmp(attributes[i].word, word) == 0)
            return &attributes[i];
    return NULL;
}

static const struct attribute *attribute_by_oid(const char *oid)
{
    for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
        if (strcmp(attributes[i].oid, oid) == 0)
            return &attributes[i];
    return NULL;
}

/* Characters of PrintableString, X.680 41.4 */
static bool is_printable_string(const struct bytes *value)
{
    for (size_t i = 0; i < value->len; i++)
        if (!isascii(value->data[i]) || (!isalnum(value->data[i]) && !strchr(" '()+,-./:=?", value->data[i])))
            return false;
    return true;
}

static bool is_ascii(const struct bytes *value)
{
    for (size_t i = 0; i < value->len; i++)
        if (!isascii(value->data[i]))
            return false;
    return true;
}

static void skip_space(const char **at)
{
    *at += strspn(*at, " \t");
}

/* "CN =", the type and what follows it up to the value. */
static int read_type(const char **at, char **oid, int *string, struct err **errp)
{
    CLEANUP(mem_freep) char *word = NULL;
    const struct attribute *known;
    size_t len;

    skip_space(at);
    len = strcspn(*at, "= \t,+");
    word = mem_strndup(*at, len);
    *at += len;
    skip_space(at);
    if (len == 0 || **at != '=')
        return err_set(errp, ERR_INVALID, "after '%s': expected '='", word);
    (*at)++;
    skip_space(at);
    known = oid_valid(word) ? attribute_by_oid(word) : attribute_by_word(word);
    if (!known && !oid_valid(word)) {
        err_set(errp, ERR_INVALID, "'%s' is not an attribute of a distinguished name", word);
        return err_hint(errp, "use CN, O, OU, C, ST, L, DC, ... or a dotted object identifier");
    }
    *oid = mem_strdup(known ? known->oid : word);
    *string = known ? known->string : V_ASN1_UTF8STRING;
    return 0;
}

/* A string type of X.520 names, out of the DER that "#" gives. */
static int value_from_hex(const char *hex, size_t len, struct bytes *value, int *string, struct err **errp)
{
    static const int types[] = {V_ASN1_UTF8STRING, V_ASN1_PRINTABLESTRING, V_ASN1_IA5STRING, V_ASN1_T61STRING,
        V_ASN1_BMPSTRING, V_ASN1_UNIVERSALSTRING, V_ASN1_NUMERICSTRING, V_ASN1_VISIBLESTRING, V_ASN1_OCTET_STRING};
    CLEANUP(mem_freep) char *text = mem_strndup(hex, len);
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(ASN1_TYPE_freep) ASN1_TYPE *any = NULL;

    if (bytes_from_hex(&der, text, NAME_MAX_TEXT, errp) < 0)
        return -1;
    any = der_any_read(&der, "a value behind '#'", errp);
    for (size_t i = 0; any && i < ARRAY_SIZE(types); i++)
        if (any->type == types[i]) {
            der_octets(any->value.asn1_string, value);
            *string = types[i];
            return 0;
        }
    return err_set(errp, ERR_INVALID, "the value behind '#' is not a string type");
}

/* One character behind a backslash, or two hex digits. */
static int read_escape(const char **at, struct bytes *value, struct err **errp)
{
    CLEANUP(mem_freep) char *pair = mem_strndup(*at, 2);
    CLEANUP(bytes_clear) struct bytes byte = {0};

    if (strlen(pair) == 2 && isxdigit((unsigned char)pair[0]) && isxdigit((unsigned char)pair[1])) {
        if (bytes_from_hex(&byte, pair, 1, errp) < 0)
            return -1;
        *at += 2;
        return bytes_append(value, byte.data, 1, errp);
    }
    if (!strchr(" \"#+,;<=>\\", **at) || !**at)
        return err_set(errp, ERR_INVALID, "'\\%s' is not an escape", pair);
    return bytes_append(value, (*at)++, 1, errp);
}

static int read_value(const char **at, struct bytes *value, int *string, struct err **errp)
{
    size_t solid = 0; /* length without white space at the end */

    if (**at == '#') {
        size_t len = strcspn(*at + 1, ",+ \t");

        if (value_from_hex(*at + 1, len, value, string, errp) < 0)
            return -1;
        *at += 1 + len;
        return 0;
    }
    while (**at && **at != ',' && **at != '+') {
        bool space = **at == ' ' || **at == '\t';

        if (strchr("\"<>;", **at))
            return err_set(errp, ERR_INVALID, "'%c' must be escaped with a backslash", **at);
        if (**at == '\\') {
            (*at)++;
            if (read_escape(at, value, errp) < 0)
                return -1;
        } else if (bytes_append(value, (*at)++, 1, errp) < 0) {
            return -1;
        }
        if (!space)
            solid = value->len;
    }
    value->len = solid;
    if (value->data)
        value->data[solid] = 0;
    if (!utf8_valid(bytes_text(value), value->len))
        return err_set(errp, ERR_INVALID, "not valid UTF-8");
    return 0;
}

/* Puts one attribute in front of @name: into its first relative name when @joined, else into a new one. */
static int add_entry(
    X509_NAME *name, const char *oid, const struct bytes *value, int string, bool joined, struct err **errp)
{
    CLEANUP(ASN1_OBJECT_freep) ASN1_OBJECT *object = der_object(oid, errp);
    CLEANUP(X509_NAME_ENTRY_freep) X509_NAME_ENTRY *entry = NULL;

    if (!object)
        return -1;
    if (value->len == 0)
        return err_set(errp, ERR_INVALID, "the value is empty");
    if ((string == V_ASN1_PRINTABLESTRING && !is_printable_string(value)) ||
        (string == V_ASN1_IA5STRING && !is_ascii(value)))
        string = V_ASN1_UTF8STRING;
    entry = X509_NAME_ENTRY_create_by_OBJ(NULL, object, string, value->data, (int)value->len);
    if (!entry || !X509_NAME_add_entry(name, entry, joined ? 1 : 0, joined ? -1 : 0))
        return der_fail(errp, ERR_INTERNAL, "building a distinguished name");
    return 0;
}

static int read_attribute(const char **at, X509_NAME *name, bool joined, struct err **errp)
{
    CLEANUP(mem_freep) char *oid = NULL;
    CLEANUP(bytes_clear) struct bytes value = {.limit = NAME_MAX_TEXT};
    int string = V_ASN1_UTF8STRING;

    if (read_type(at, &oid, &string, errp) < 0)
        return -1;
    if (read_value(at, &value, &string, errp) < 0 || add_entry(name, oid, &value, string, joined, errp) < 0)
        return err_wrap(errp, "value of %s", attribute_by_oid(oid) ? attribute_by_oid(oid)->word : oid);
    skip_space(at);
    return 0;
}

int name_parse(const char *rfc4514, struct bytes *der, struct err **errp)
{
    CLEANUP(X509_NAME_freep) X509_NAME *name = X509_NAME_new();
    const char *at = rfc4514;
    bool joined = false;

    if (!name)
        return der_fail(errp, ERR_INTERNAL, "making a distinguished name");
    if (strlen(rfc4514) > NAME_MAX_TEXT)
        return err_set(errp, ERR_INVALID, "a distinguished name of more than %d bytes", NAME_MAX_TEXT);
    skip_space(&at);
    while (*at || joined || X509_NAME_entry_count(name)) {
        if (X509_NAME_entry_count(name) >= NAME_MAX_RDNS)
            return err_set(errp, ERR_INVALID, "a distinguished name of more than %d parts", NAME_MAX_RDNS);
        if (read_attribute(&at, name, joined, errp) < 0)
            return err_wrap(errp, "distinguished name '%s'", rfc4514);
        if (*at == '\0')
            break;
        if (*at != ',' && *at != '+')
            return err_set(errp, ERR_INVALID, "distinguished name '%s': unexpected '%s'", rfc4514, at);
        joined = *at++ == '+';
    }
    return der_write(name, ASN1_ITEM_rptr(X509_NAME), der, errp);
}

/* One character of a value, escaped where RFC 4514 2.4 wants it or where nobody would see it. */
static int write_character(const char *text, size_t len, bool first, bool last, struct bytes *out, struct err **errp)
{
    CLEANUP(mem_freep) char *shown = printable(text, len, 0);

    if (strncmp(shown, text, len) != 0) {
        for (size_t i = 0; i < len; i++)
            if (bytes_printf(out, errp, "\\%02X", (unsigned char)text[i]) < 0)
                return -1;
        return 0;
    }
    if (strchr("\"+,;<>\\", *text) || (first && strchr(" #", *text)) || (last && *text == ' '))
        if (bytes_append(out, "\\", 1, errp) < 0)
            return -1;
    return bytes_append(out, text, len, errp);
}

static int write_text_value(const unsigned char *text, size_t len, struct bytes *out, struct err **errp)
{
    const char *at = (const char *)text;
    size_t left = len;

    while (left) {
        unsigned c;
        size_t n = utf8_decode(at, left, &c);

        n = n ? n : 1;
        if (write_character(at, n, left == len, left == n, out, errp) < 0)
            return -1;
        at += n;
        left -= n;
    }
    return 0;
}

static int write_hex_value(const ASN1_STRING *value, struct bytes *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(mem_freep) char *hex = NULL;
    CLEANUP(ASN1_TYPE_freep) ASN1_TYPE *any = ASN1_TYPE_new();

    if (!any || !ASN1_TYPE_set1(any, ASN1_STRING_type(value), value) || der_any(any, &der, errp) < 0)
        return der_fail(errp, ERR_INTERNAL, "copying a value");
    hex = bytes_to_hex(der.data, der.len);
    return bytes_printf(out, errp, "#%s", hex);
}

static int write_entry(const X509_NAME_ENTRY *entry, struct bytes *out, struct err **errp)
{
    CLEANUP(mem_freep) char *oid = der_oid(X509_NAME_ENTRY_get_object(entry), errp);
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
    const struct attribute *known = oid ? attribute_by_oid(oid) : NULL;
    unsigned char *utf8 = NULL;
    int len, r;

    if (!oid || bytes_printf(out, errp, "%s=", known ? known->word : oid) < 0)
        return -1;
    len = known ? ASN1_STRING_to_UTF8(&utf8, value) : -1;
    r = len >= 0 ? write_text_value(utf8, (size_t)len, out, errp) : write_hex_value(value, out, errp);
    OPENSSL_free(utf8);
    return r;
}

char *name_to_text(const void *der, size_t len, struct err **errp)
{
    CLEANUP(X509_NAME_freep)
    X509_NAME *name = der_read(ASN1_ITEM_rptr(X509_NAME), der, len, "a distinguished name", errp);
    CLEANUP(bytes_clear) struct bytes out = {.limit = NAME_MAX_TEXT};
    int count = name ? X509_NAME_entry_count(name) : 0;

    if (!name)
        return NULL;
    if (count > NAME_MAX_RDNS) {
        der_refuse(errp, ERROR_INVALID_DATA, "a distinguished name of more than %d parts", NAME_MAX_RDNS);
        return NULL;
    }
    for (int i = count - 1; i >= 0; i--) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        bool joined =
            i < count - 1 && X509_NAME_ENTRY_set(entry) == X509_NAME_ENTRY_set(X509_NAME_get_entry(name, i + 1));

        if ((i < count - 1 && bytes_append_text(&out, joined ? "+" : ",", errp) < 0) ||
            write_entry(entry, &out, errp) < 0) {
            err_wrap(errp, "a distinguished name");
            return NULL;
        }
    }
    return mem_strdup(bytes_text(&out));
}
