#include "protocol/soap/wsse.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/when.h"
#include "protocol/soap/soap.h"
#include "protocol/xml/xmap.h"

#define PASSWORD_TEXT "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"

/* The header as it is on the wire. [MS-LWSSP] 2.2.1 */
struct wire {
    struct wsse_security security;
    char *timestamp_id;
    char *token_id;
    bool has_token;
    char *type;           /* of the password */
    char *qualified_type; /* the same from those who write wsse:Type */
};

static const struct xmap_field timestamp_fields[] = {
    XMAP_ATTRIBUTE_STRING(wire, timestamp_id, SOAP_WSU_NS, "Id", XMAP_OPTIONAL, WSSE_MAX_USERNAME),
    XMAP_OPT_TIME(wire, security.created, "Created", XMAP_REQUIRED),
    XMAP_OPT_TIME(wire, security.expires, "Expires", XMAP_OPTIONAL),
};
static const struct xmap timestamp_map = XMAP(SOAP_WSU_NS, "Timestamp", wire, timestamp_fields);

static const struct xmap_field password_fields[] = {
    XMAP_ATTRIBUTE_STRING(wire, type, NULL, "Type", XMAP_OPTIONAL, SOAP_MAX_URI),
    XMAP_ATTRIBUTE_STRING(wire, qualified_type, SOAP_WSSE_NS, "Type", XMAP_OPTIONAL, SOAP_MAX_URI),
    XMAP_CONTENT_SECRET(wire, security.password, XMAP_OPTIONAL, WSSE_MAX_PASSWORD),
};
static const struct xmap password_map = XMAP(SOAP_WSSE_NS, "Password", wire, password_fields);

static const struct xmap_field token_fields[] = {
    XMAP_ATTRIBUTE_STRING(wire, token_id, SOAP_WSU_NS, "Id", XMAP_OPTIONAL, WSSE_MAX_USERNAME),
    XMAP_STRING(wire, security.username, "Username", XMAP_DEFAULTED, WSSE_MAX_USERNAME),
    XMAP_NEST("Password", XMAP_OPTIONAL, &password_map),
};
static const struct xmap token_map = XMAP(SOAP_WSSE_NS, "UsernameToken", wire, token_fields);

static const struct xmap_field security_fields[] = {
    XMAP_NEST("Timestamp", XMAP_OPTIONAL, &timestamp_map, .ns = SOAP_WSU_NS),
    XMAP_NEST_IF(wire, has_token, "UsernameToken", XMAP_OPTIONAL, &token_map),
};
static const struct xmap security_map = XMAP(SOAP_WSSE_NS, "Security", wire, security_fields);

void wsse_security_clear(struct wsse_security *security)
{
    free(security->username);
    secret_free(security->password);
    *security = (struct wsse_security){0};
}

void wsse_security_init(struct wsse_security *out, const char *username, const struct secret *password, int64_t now)
{
    *out = (struct wsse_security){
        .username = mem_strdup(username),
        .password = secret_copy(secret_peek(password), secret_len(password)),
        .created = {.set = true, .value = now},
        .expires = {.set = true, .value = now + WSSE_MAX_LIFETIME},
    };
}

static void wire_clear(struct wire *wire)
{
    xmap_clear(&security_map, wire);
}

int wsse_security_parse(const struct _xmlNode *element, struct wsse_security *out, struct err **errp)
{
    CLEANUP(wire_clear) struct wire wire = {0};
    const char *type;

    if (xmap_parse(&security_map, element, &wire, NULL, errp) < 0)
        return -1;
    type = wire.type ? wire.type : wire.qualified_type;
    wire.security.digest = type && strcmp(type, PASSWORD_TEXT) != 0;
    *out = wire.security;
    wire.security = (struct wsse_security){0};
    return 0;
}

void wsse_security_write(struct xmlout *x, const struct wsse_security *security, const char *soap_ns)
{
    CLEANUP(mem_freep) char *random = soap_new_message_id();
    CLEANUP(mem_freep) char *token_id = mem_printf("uuid-%s-1", strrchr(random, ':') + 1);
    char timestamp_id[] = "_0";
    char type[] = PASSWORD_TEXT;
    struct wire wire = {
        .security = *security,
        .timestamp_id = security->created.set ? timestamp_id : NULL,
        .token_id = token_id,
        .has_token = security->username != NULL,
        .type = security->password ? type : NULL,
    };

    xmlout_declare(x, "o", SOAP_WSSE_NS);
    xmlout_declare(x, "u", SOAP_WSU_NS);
    xmlout_open(x, SOAP_WSSE_NS, "Security");
    xmlout_attribute(x, soap_ns, "mustUnderstand", "1");
    xmap_write_fields(x, &security_map, &wire);
    xmlout_close(x);
}

static int refuse_time(struct err **errp, const char *what)
{
    err_set(errp, ERR_AUTH, "the security header %s", what);
    return err_hint(
        errp, "set the clocks of client and server; they may differ by %d minutes", WSSE_SKEW / WHEN_MINUTE);
}

int wsse_timestamp_check(const struct wsse_security *security, int64_t now, struct err **errp)
{
    int64_t created = security->created.value;
    int64_t expires = security->expires.set ? security->expires.value : created + WSSE_MAX_LIFETIME;

    if (!security->created.set)
        return refuse_time(errp, "has no Timestamp");
    if (expires < created)
        return refuse_time(errp, "expires before it was made");
    if (expires - created > WSSE_MAX_LIFETIME)
        return refuse_time(errp, "is valid for more than five minutes");
    if (created > now + WSSE_SKEW)
        return refuse_time(errp, "was made in the future");
    if (expires < now - WSSE_SKEW)
        return refuse_time(errp, "has expired");
    return 0;
}
