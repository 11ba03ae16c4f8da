#include "protocol/wstep/wstep.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/base/printable.h"
#include "protocol/soap/envelope.h"
#include "protocol/xml/xmap.h"
#include "protocol/xml/xmldoc.h"

/* The EncodingType of a token, as Windows has it; OASIS names another document, and both are read. */
#define BASE64       SOAP_WSSE_NS "#base64binary"
#define OASIS_BASE64 "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"

#define WSTEP_PKCS7_URI WSTEP_NS "#PKCS7" /* from third parties; read, never sent */

static const char *const kind_uris[] = {
#define X(name, uri) [WSTEP_##name] = uri,
    WSTEP_KINDS(X)
#undef X
};

static const char *const token_uris[] = {
#define X(name, uri) [WSTEP_##name] = uri,
    WSTEP_TOKENS(X)
#undef X
};

/* What TokenType always says. */
#define TOKEN_TYPE token_uris[WSTEP_X509V3]

/* For the wire structs below, when they are written: nobody changes or frees what they borrow then. */
static char *borrow(const char *text)
{
    char *copy;

    memcpy(&copy, &text, sizeof(copy));
    return copy;
}

static const char *const actions[] = {
    [WSTEP_ISSUE] = WSTEP_ACTION_REQUEST,
    [WSTEP_QUERY] = WSTEP_ACTION_REQUEST,
    [WSTEP_KET] = WSTEP_ACTION_KET_REQUEST,
};

/* The messages as they are on the wire; rows in the order to send. Namespaces mix, so rows name their own. */

struct bst { /* a BinarySecurityToken */
    char *value_type;
    char *encoding_type;
    struct bytes data;
};
static const struct xmap_field bst_fields[] = {
    XMAP_ATTRIBUTE_STRING(bst, value_type, NULL, "ValueType", XMAP_REQUIRED, WSTEP_MAX_URI),
    XMAP_ATTRIBUTE_STRING(bst, encoding_type, NULL, "EncodingType", XMAP_OPTIONAL, WSTEP_MAX_URI),
    XMAP_CONTENT_BYTES(bst, data, XMAP_REQUIRED, WSTEP_MAX_TOKEN),
};
static const struct xmap bst_map = XMAP(SOAP_WSSE_NS, "BinarySecurityToken", bst, bst_fields);

static const struct xmap_field context_fields[] = {
    XMAP_ATTRIBUTE_STRING(wstep_context_item, name, NULL, "Name", XMAP_REQUIRED, WSTEP_MAX_CONTEXT_NAME),
    XMAP_STRING(wstep_context_item, value, "Value", XMAP_DEFAULTED, WSTEP_MAX_CONTEXT_VALUE),
};
static const struct xmap context_map = XMAP(WSTEP_AUTH_NS, "ContextItem", wstep_context_item, context_fields);

struct rst { /* RequestSecurityToken */
    char *language;
    char *token_type;
    char *request_type;
    struct bst *token;
    bool request_ket;
    char *request_id;
    struct wstep_context_item *context;
    size_t n_context;
};
static const struct xmap_field rst_fields[] = {
    XMAP_ATTRIBUTE_STRING(rst, language, NULL, "PreferredLanguage", XMAP_OPTIONAL, WSTEP_MAX_REQUEST_ID),
    XMAP_STRING(rst, token_type, "TokenType", XMAP_OPTIONAL, WSTEP_MAX_URI),
    XMAP_STRING(rst, request_type, "RequestType", XMAP_REQUIRED, WSTEP_MAX_URI),
    XMAP_STRUCT(rst, token, bst, "BinarySecurityToken", XMAP_OPTIONAL, &bst_map, .ns = SOAP_WSSE_NS),
    XMAP_MARK(rst, request_ket, "RequestKET", XMAP_OPTIONAL),
    XMAP_STRING(rst, request_id, "RequestID", XMAP_NILLABLE, WSTEP_MAX_REQUEST_ID, .ns = WSTEP_NS),
    XMAP_LIST(rst, context, wstep_context_item, "AdditionalContext", XMAP_OPTIONAL, WSTEP_MAX_CONTEXT, &context_map,
        .ns = WSTEP_AUTH_NS),
};
static const struct xmap rst_map = XMAP(WSTEP_TRUST_NS, "RequestSecurityToken", rst, rst_fields);

struct disposition {
    char *language;
    char *text;
};
static const struct xmap_field disposition_fields[] = {
    XMAP_ATTRIBUTE_STRING(disposition, language, XMLNODE_XML_NS, "lang", XMAP_OPTIONAL, WSTEP_MAX_REQUEST_ID),
    XMAP_CONTENT_STRING(disposition, text, XMAP_OPTIONAL, WSTEP_MAX_MESSAGE),
};
static const struct xmap disposition_map = XMAP(WSTEP_NS, "DispositionMessage", disposition, disposition_fields);

struct reference {
    char *uri;
};
static const struct xmap_field reference_fields[] = {
    XMAP_ATTRIBUTE_STRING(reference, uri, NULL, "URI", XMAP_OPTIONAL, WSTEP_MAX_URI),
};
static const struct xmap reference_map = XMAP(SOAP_WSSE_NS, "Reference", reference, reference_fields);

struct token_reference { /* SecurityTokenReference */
    struct reference *reference;
};
static const struct xmap_field token_reference_fields[] = {
    XMAP_STRUCT(token_reference, reference, reference, "Reference", XMAP_OPTIONAL, &reference_map),
};
static const struct xmap token_reference_map =
    XMAP(SOAP_WSSE_NS, "SecurityTokenReference", token_reference, token_reference_fields);

struct ket { /* KeyExchangeToken */
    struct bst *token;
};
static const struct xmap_field ket_fields[] = {
    XMAP_STRUCT(ket, token, bst, "BinarySecurityToken", XMAP_REQUIRED, &bst_map, .ns = SOAP_WSSE_NS),
};
static const struct xmap ket_map = XMAP(WSTEP_TRUST_NS, "KeyExchangeToken", ket, ket_fields);

struct requested { /* RequestedSecurityToken */
    struct bst *certificate;
    struct token_reference *pending;
    struct ket *exchange;
};
static const struct xmap_field requested_fields[] = {
    XMAP_STRUCT(requested, certificate, bst, "BinarySecurityToken", XMAP_OPTIONAL, &bst_map, .ns = SOAP_WSSE_NS),
    XMAP_STRUCT(requested, pending, token_reference, "SecurityTokenReference", XMAP_OPTIONAL, &token_reference_map,
        .ns = SOAP_WSSE_NS),
    XMAP_STRUCT(requested, exchange, ket, "KeyExchangeToken", XMAP_OPTIONAL, &ket_map),
};
static const struct xmap requested_map = XMAP(WSTEP_TRUST_NS, "RequestedSecurityToken", requested, requested_fields);

struct rstr { /* RequestSecurityTokenResponse */
    char *token_type;
    struct disposition *disposition;
    struct bst *cms;
    struct requested *requested;
    struct ket *exchange; /* where the specification's text puts it; Windows nests it in @requested */
    char *request_id;
};
static const struct xmap_field rstr_fields[] = {
    XMAP_STRING(rstr, token_type, "TokenType", XMAP_OPTIONAL, WSTEP_MAX_URI),
    XMAP_STRUCT(rstr, disposition, disposition, "DispositionMessage", XMAP_OPTIONAL, &disposition_map, .ns = WSTEP_NS),
    XMAP_STRUCT(rstr, cms, bst, "BinarySecurityToken", XMAP_OPTIONAL, &bst_map, .ns = SOAP_WSSE_NS),
    XMAP_STRUCT(rstr, requested, requested, "RequestedSecurityToken", XMAP_OPTIONAL, &requested_map),
    XMAP_STRUCT(rstr, exchange, ket, "KeyExchangeToken", XMAP_OPTIONAL, &ket_map),
    XMAP_STRING(rstr, request_id, "RequestID", XMAP_OPTIONAL, WSTEP_MAX_REQUEST_ID, .ns = WSTEP_NS),
};
static const struct xmap rstr_map = XMAP(WSTEP_TRUST_NS, "RequestSecurityTokenResponse", rstr, rstr_fields);

struct rstrc { /* RequestSecurityTokenResponseCollection; read by hand, because only the first counts */
    struct rstr *response;
};
static const struct xmap_field rstrc_fields[] = {
    XMAP_STRUCT(rstrc, response, rstr, "RequestSecurityTokenResponse", XMAP_REQUIRED, &rstr_map),
};
static const struct xmap rstrc_map =
    XMAP(WSTEP_TRUST_NS, "RequestSecurityTokenResponseCollection", rstrc, rstrc_fields);

struct detail { /* CertificateEnrollmentWSDetail; all text, since a field that is wrong must not spoil the others */
    char *binary_response;
    char *error_code;
    char *invalid_request;
    char *request_id;
};
static const struct xmap_field detail_fields[] = {
    XMAP_STRING(detail, binary_response, "BinaryResponse", XMAP_NILLABLE, 2 * WSTEP_MAX_TOKEN),
    XMAP_STRING(detail, error_code, "ErrorCode", XMAP_NILLABLE, WSTEP_MAX_REQUEST_ID),
    XMAP_STRING(detail, invalid_request, "InvalidRequest", XMAP_NILLABLE, WSTEP_MAX_REQUEST_ID),
    XMAP_STRING(detail, request_id, "RequestID", XMAP_NILLABLE, WSTEP_MAX_REQUEST_ID),
};
static const struct xmap detail_map = XMAP(WSTEP_NS, "CertificateEnrollmentWSDetail", detail, detail_fields);

static void rst_clear(struct rst *rst)
{
    xmap_clear(&rst_map, rst);
}

static void rstr_clear(struct rstr *rstr)
{
    xmap_clear(&rstr_map, rstr);
}

static void detail_clear(struct detail *detail)
{
    xmap_clear(&detail_map, detail);
}

static void context_clear(struct wstep_context_item *context, size_t n)
{
    for (size_t i = 0; i < n; i++)
        xmap_clear(&context_map, &context[i]);
    free(context);
}

void wstep_request_clear(struct wstep_request *request)
{
    free(request->language);
    free(request->request_id);
    bytes_clear(&request->token);
    context_clear(request->context, request->n_context);
    *request = (struct wstep_request){0};
}

void wstep_response_clear(struct wstep_response *response)
{
    free(response->disposition_message);
    free(response->language);
    free(response->reference_uri);
    free(response->request_id);
    bytes_clear(&response->cms);
    bytes_clear(&response->certificate);
    bytes_clear(&response->exchange_certificate);
    *response = (struct wstep_response){0};
}

void wstep_fault_detail_clear(struct wstep_fault_detail *detail)
{
    bytes_clear(&detail->binary_response);
    free(detail->request_id);
    *detail = (struct wstep_fault_detail){0};
}

void wstep_request_add_context(struct wstep_request *request, const char *name, const char *value)
{
    struct wstep_context_item *item = MEM_APPEND(request->context, request->n_context);

    item->name = mem_strdup(name);
    item->value = mem_strdup(value);
}

const char *wstep_request_context(const struct wstep_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_context; i++)
        if (strcasecmp(request->context[i].name, name) == 0)
            return request->context[i].value;
    return NULL;
}

bool wstep_action_fits(enum wstep_kind kind, const char *action)
{
    return action && strcmp(action, actions[kind]) == 0;
}

const char *wstep_request_action(enum wstep_kind kind)
{
    return actions[kind];
}

/* Tokens. */

static enum wstep_token token_of(const char *value_type)
{
    for (size_t i = 0; i < ARRAY_SIZE(token_uris); i++)
        if (strcmp(value_type, token_uris[i]) == 0)
            return (enum wstep_token)i;
    return strcmp(value_type, WSTEP_PKCS7_URI) == 0 ? WSTEP_PKCS7 : WSTEP_OTHER;
}

/* A request without EncodingType is refused as Windows does; an answer may leave it out. */
static int check_encoding(const struct bst *bst, bool required, struct err **errp)
{
    const char *type = bst->encoding_type;
    CLEANUP(mem_freep) char *shown = NULL;

    if (type ? strcmp(type, BASE64) == 0 || strcmp(type, OASIS_BASE64) == 0 : !required)
        return 0;
    shown = printable_text(type);
    return err_set(errp, ERR_INVALID, "in <BinarySecurityToken>: EncodingType is '%s' and not %s", shown, BASE64);
}

/* For writing: borrows @data. */
static struct bst bst_with(enum wstep_token type, const struct bytes *data)
{
    return (struct bst){.value_type = borrow(token_uris[type]), .encoding_type = borrow(BASE64), .data = *data};
}

/* Context items. */

static int check_context_text(const char *what, const char *text, const char *forbidden, struct err **errp)
{
    const char *at = text, *end = text + strlen(text);

    while (at < end) {
        CLEANUP(mem_freep) char *shown = NULL;
        unsigned c;
        size_t len = utf8_decode(at, (size_t)(end - at), &c);
        bool breaks = c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029;
        bool control = !len || c < ' ' || (c >= 0x7f && c < 0xa0);

        if (!breaks && !control && !(c < 0x80 && strchr(forbidden, (int)c))) {
            at += len;
            continue;
        }
        shown = printable(text, strlen(text), 80);
        return err_set(errp, ERR_INVALID, "the %s of a context item, '%s', has a %s in it", what, shown,
            breaks    ? "line break"
            : control ? "control character"
                      : "colon");
    }
    return 0;
}

/* The service makes lines "Name:Value" of them: what could make two lines of one is refused on both sides. */
static int check_context(const struct wstep_context_item *items, size_t n, struct err **errp)
{
    for (size_t i = 0; i < n; i++)
        if (check_context_text("name", items[i].name, ":", errp) < 0 ||
            (items[i].value && check_context_text("value", items[i].value, "", errp) < 0))
            return err_wrap(errp, "in <AdditionalContext>");
    return 0;
}

/* Requests. */

/* What each kind needs, [MS-WSTEP] 3.1.4.1.2; the same for reading and writing. */
static int check_request(enum wstep_kind kind, bool has_token, bool has_id, bool has_ket, struct err **errp)
{
    switch (kind) {
    case WSTEP_ISSUE:
        return has_token ? 0 : err_set(errp, ERR_INVALID, "Issue without a BinarySecurityToken");
    case WSTEP_QUERY:
        return has_id ? 0 : err_set(errp, ERR_INVALID, "QueryTokenStatus without a RequestID");
    case WSTEP_KET:
        return has_ket ? 0 : err_set(errp, ERR_INVALID, "KET without RequestKET");
    case WSTEP_KIND__MAX:
        break;
    }
    return err_set(errp, ERR_INVALID, "a request of an unknown kind");
}

int wstep_request_write(const struct soap_header *header, const struct wsse_security *security,
    const struct wstep_request *request, struct bytes *out, struct err **errp)
{
    bool has_id = request->request_id && *request->request_id;
    struct bst token = {0};
    struct rst rst = {
        .language = request->language,
        .token_type = borrow(TOKEN_TYPE),
        .request_ket = request->kind == WSTEP_KET,
        .request_id = request->request_id,
        .context = request->context,
        .n_context = request->n_context,
    };

    if (check_request(request->kind, request->token.len > 0, has_id, true, errp) < 0)
        return -1;
    if (check_context(request->context, request->n_context, errp) < 0)
        return -1;
    rst.request_type = borrow(kind_uris[request->kind]);
    if (request->kind == WSTEP_ISSUE) {
        if (request->token_type == WSTEP_OTHER)
            return err_set(errp, ERR_INVALID, "a token of an unknown type");
        token = bst_with(request->token_type, &request->token);
        rst.token = &token;
    }
    if (soap_write(header, security, &rst_map, &rst, out, errp) < 0)
        return err_wrap(errp, "writing <RequestSecurityToken>");
    return 0;
}

static int read_kind(const char *uri, enum wstep_kind *out, struct err **errp)
{
    CLEANUP(mem_freep) char *shown = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(kind_uris); i++) {
        if (strcmp(uri, kind_uris[i]) == 0) {
            *out = (enum wstep_kind)i;
            return 0;
        }
    }
    shown = printable(uri, strlen(uri), 200);
    return err_set(errp, ERR_INVALID, "RequestType '%s' is not known", shown);
}

static int check_rst(const struct rst *rst, enum wstep_kind *kind, struct err **errp)
{
    if (rst->token_type && strcmp(rst->token_type, TOKEN_TYPE) != 0)
        return err_set(errp, ERR_INVALID, "TokenType is not X509v3");
    if (read_kind(rst->request_type, kind, errp) < 0)
        return -1;
    if (check_request(*kind, rst->token != NULL, rst->request_id != NULL, rst->request_ket, errp) < 0)
        return -1;
    if (rst->token && check_encoding(rst->token, true, errp) < 0)
        return -1;
    return check_context(rst->context, rst->n_context, errp);
}

int wstep_request_parse(const struct soap_message *message, struct wstep_request *out, struct err **errp)
{
    CLEANUP(rst_clear) struct rst rst = {0};
    const struct _xmlNode *body;
    enum wstep_kind kind = WSTEP_ISSUE;

    if (soap_message_body(message, WSTEP_TRUST_NS, rst_map.name, &body, errp) < 0 ||
        xmap_parse(&rst_map, body, &rst, NULL, errp) < 0)
        return -1;
    if (check_rst(&rst, &kind, errp) < 0)
        return err_wrap(errp, "in <RequestSecurityToken>, line %ld", xmlnode_line(body));
    *out = (struct wstep_request){
        .kind = kind,
        .language = TAKE(rst.language),
        .token_type = rst.token ? token_of(rst.token->value_type) : WSTEP_OTHER,
        .request_id = TAKE(rst.request_id),
        .context = TAKE(rst.context),
        .n_context = rst.n_context,
    };
    rst.n_context = 0;
    if (rst.token) {
        out->token = rst.token->data;
        rst.token->data = (struct bytes){0};
    }
    return 0;
}

/* Responses. */

static int check_response(const struct wstep_response *response, struct err **errp)
{
    const char *missing = NULL;

    switch (response->outcome) {
    case WSTEP_ISSUED:
        missing = response->certificate.len ? NULL : "a certificate";
        break;
    case WSTEP_PENDING:
        missing = response->request_id && *response->request_id ? NULL : "a RequestID";
        break;
    case WSTEP_EXCHANGE:
        missing = response->exchange_certificate.len ? NULL : "an exchange certificate";
        break;
    case WSTEP_UNDECIDED:
        missing = response->cms.len ? NULL : "a CMS message";
        break;
    }
    if (missing)
        return err_set(errp, ERR_INVALID, "the response lacks %s", missing);
    return 0;
}

int wstep_response_write(
    const struct soap_header *header, const struct wstep_response *response, struct bytes *out, struct err **errp)
{
    struct disposition disposition = {.language = response->language, .text = response->disposition_message};
    struct bst cms = bst_with(WSTEP_PKCS7, &response->cms);
    struct bst certificate = bst_with(WSTEP_X509V3, &response->certificate);
    struct bst exchange = bst_with(WSTEP_X509V3, &response->exchange_certificate);
    struct reference reference = {.uri = response->reference_uri};
    struct token_reference token_reference = {.reference = &reference};
    struct ket ket = {.token = &exchange};
    struct requested requested = {
        .certificate = response->outcome == WSTEP_ISSUED ? &certificate : NULL,
        .pending = response->outcome == WSTEP_PENDING ? &token_reference : NULL,
        .exchange = response->outcome == WSTEP_EXCHANGE ? &ket : NULL,
    };
    struct rstr rstr = {
        .token_type = borrow(TOKEN_TYPE),
        .disposition = response->disposition_message ? &disposition : NULL,
        .cms = response->cms.len ? &cms : NULL,
        .requested = response->outcome == WSTEP_UNDECIDED ? NULL : &requested,
        .request_id = response->request_id,
    };
    struct rstrc rstrc = {.response = &rstr};

    if (response->outcome == WSTEP_PENDING && !response->reference_uri)
        return err_set(errp, ERR_INVALID, "a pending response without the address to ask");
    if (check_response(response, errp) < 0 || soap_write(header, NULL, &rstrc_map, &rstrc, out, errp) < 0)
        return err_wrap(errp, "writing <RequestSecurityTokenResponse>");
    return 0;
}

/* Takes the DER out of @bst, which may be NULL, when it says that it is of that type; 1 when it did, 0 when not. */
static int take_token(struct bst *bst, enum wstep_token type, struct bytes *out, struct err **errp)
{
    if (!bst || token_of(bst->value_type) != type)
        return 0;
    if (check_encoding(bst, false, errp) < 0)
        return -1;
    *out = bst->data;
    bst->data = (struct bytes){0};
    return 1;
}

/* Moves out of @rstr what it has, and decides by the tokens: never by the message, which is localised. */
static int take_response(struct rstr *rstr, struct wstep_response *out, struct err **errp)
{
    struct requested *requested = rstr->requested;
    struct ket *ket = requested && requested->exchange ? requested->exchange : rstr->exchange;
    int issued, exchange;

    issued = take_token(requested ? requested->certificate : NULL, WSTEP_X509V3, &out->certificate, errp);
    exchange = take_token(ket ? ket->token : NULL, WSTEP_X509V3, &out->exchange_certificate, errp);
    if (issued < 0 || exchange < 0 || take_token(rstr->cms, WSTEP_PKCS7, &out->cms, errp) < 0)
        return -1;
    if (rstr->disposition) {
        out->disposition_message = TAKE(rstr->disposition->text);
        out->language = TAKE(rstr->disposition->language);
    }
    if (requested && requested->pending && requested->pending->reference)
        out->reference_uri = TAKE(requested->pending->reference->uri);
    out->request_id = TAKE(rstr->request_id);
    if (issued)
        out->outcome = WSTEP_ISSUED;
    else if (requested && requested->pending)
        out->outcome = WSTEP_PENDING;
    else if (exchange)
        out->outcome = WSTEP_EXCHANGE;
    else
        out->outcome = WSTEP_UNDECIDED;
    return check_response(out, errp);
}

static int parse_response(const struct _xmlNode *collection, struct wstep_response *out, struct err **errp)
{
    const struct _xmlNode *first = xmlnode_child(collection, WSTEP_TRUST_NS, rstr_map.name);
    CLEANUP(rstr_clear) struct rstr rstr = {0};
    CLEANUP(wstep_response_clear) struct wstep_response response = {0};

    if (!first)
        return err_set(errp, ERR_INVALID, "line %ld: <%s> is empty", xmlnode_line(collection), rstrc_map.name);
    if (xmap_parse(&rstr_map, first, &rstr, NULL, errp) < 0)
        return -1;
    if (take_response(&rstr, &response, errp) < 0)
        return err_wrap(errp, "in <%s>, line %ld", rstr_map.name, xmlnode_line(first));
    *out = response;
    response = (struct wstep_response){0};
    return 0;
}

int wstep_response_parse(const struct soap_message *message, struct wstep_response *out, struct err **errp)
{
    const struct _xmlNode *body;

    if (soap_message_body(message, WSTEP_TRUST_NS, rstrc_map.name, &body, errp) < 0)
        return -1;
    return parse_response(body, out, errp);
}

int wstep_response_parse_bare(const void *data, size_t len, struct wstep_response *out, struct err **errp)
{
    CLEANUP(xmldoc_freep) struct xmldoc *doc = NULL;
    const struct _xmlNode *root;

    if (xmldoc_parse(data, len, &doc, errp) < 0)
        return -1;
    root = xmldoc_root(doc);
    if (!xmlnode_is(root, WSTEP_TRUST_NS, rstrc_map.name))
        return err_set(errp, ERR_INVALID, "line %ld: <%s> where <%s> should be", xmlnode_line(root), xmlnode_name(root),
            rstrc_map.name);
    return parse_response(root, out, errp);
}

/* Faults. */

int wstep_fault_write(const struct soap_header *header, const struct soap_fault *fault,
    const struct wstep_fault_detail *detail, struct bytes *out, struct err **errp)
{
    CLEANUP(detail_clear) struct detail wire = {0};

    if (detail) {
        if (detail->binary_response.len)
            wire.binary_response = bytes_to_base64(detail->binary_response.data, detail->binary_response.len, 0);
        if (detail->has_error_code)
            wire.error_code = mem_printf("%" PRId32, (int32_t)detail->error_code);
        if (detail->invalid_request.set)
            wire.invalid_request = mem_strdup(detail->invalid_request.value ? "true" : "false");
        wire.request_id = mem_strdup_opt(detail->request_id);
    }
    return soap_write_fault(header, fault, &detail_map, detail ? &wire : NULL, out, errp);
}

/* An HRESULT: signed or unsigned decimal, or hexadecimal with 0x, of up to 64 bits; the low 32 count. */
static bool parse_error_code(const char *text, uint32_t *out)
{
    bool hexadecimal = strncasecmp(text, "0x", 2) == 0;
    const char *digits = hexadecimal ? text + 2 : text;
    unsigned long long value;
    char *end;

    errno = 0;
    value = strtoull(digits, &end, hexadecimal ? 16 : 10); /* a negative number gives its two's complement */
    if (errno || end == digits || *end || (hexadecimal && !isxdigit((unsigned char)*digits)))
        return false;
    *out = (uint32_t)value;
    return true;
}

static struct opt_bool parse_invalid_request(const char *text)
{
    bool yes = text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
    bool no = text && (strcmp(text, "false") == 0 || strcmp(text, "0") == 0);

    return (struct opt_bool){.set = yes || no, .value = yes};
}

int wstep_fault_detail_parse(const struct soap_message *message, struct wstep_fault_detail *out, struct err **errp)
{
    const struct _xmlNode *element = soap_message_detail(message, WSTEP_NS, detail_map.name);
    CLEANUP(detail_clear) struct detail wire = {0};

    if (!element || xmlnode_is_nil(element))
        return 0;
    if (xmap_parse(&detail_map, element, &wire, NULL, errp) < 0)
        return -1;
    *out = (struct wstep_fault_detail){
        .invalid_request = parse_invalid_request(wire.invalid_request),
        .request_id = TAKE(wire.request_id),
    };
    out->has_error_code = wire.error_code && parse_error_code(wire.error_code, &out->error_code);
    if (wire.binary_response)
        (void)bytes_from_base64(
            &out->binary_response, wire.binary_response, strlen(wire.binary_response), WSTEP_MAX_TOKEN, NULL);
    return 1;
}
