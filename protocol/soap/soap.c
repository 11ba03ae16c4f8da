#include "protocol/soap/soap.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/rand.h>

#include "protocol/base/printable.h"
#include "protocol/soap/envelope.h"
#include "protocol/xml/xmldoc.h"
#include "protocol/xml/xmlnode.h"

#define ANONYMOUS      SOAP_WSA_NS "/anonymous"
#define DIAGNOSTICS_NS "http://schemas.microsoft.com/2004/09/ServiceModel/Diagnostics"
#define SOAP11_NS      "http://schemas.xmlsoap.org/soap/envelope/"
#define LANGUAGE       "en-US"

struct soap_message {
    struct xmldoc *doc;
    const struct _xmlNode *body; /* the child of Body */
    struct soap_header header;
    bool has_security;
    struct wsse_security security;
    bool is_fault;
    struct soap_fault fault;
    char *not_understood;
};

static const char *const fault_codes[] = {
#define X(name, text) [SOAP_##name] = text,
    SOAP_FAULT_CODES(X)
#undef X
};

static const struct {
    const char *ns, *name;
} subcodes[] = {
#define X(name, ns, text) [SOAP_SUBCODE_##name] = {ns, text},
    SOAP_SUBCODES(X)
#undef X
};

void soap_header_clear(struct soap_header *header)
{
    free(header->action);
    free(header->message_id);
    free(header->relates_to);
    free(header->to);
    *header = (struct soap_header){0};
}

void soap_fault_clear(struct soap_fault *fault)
{
    free(fault->subcode_ns);
    free(fault->subcode);
    free(fault->reason);
    free(fault->language);
    *fault = (struct soap_fault){0};
}

void soap_fault_init(struct soap_fault *out, enum soap_fault_code code, enum soap_subcode subcode, const char *reason)
{
    *out = (struct soap_fault){
        .code = code,
        .subcode_ns = mem_strdup_opt(subcodes[subcode].ns),
        .subcode = mem_strdup_opt(subcodes[subcode].name),
        .reason = mem_strdup_opt(reason),
    };
}

enum soap_subcode soap_fault_subcode(const struct soap_fault *fault)
{
    for (size_t i = 1; fault->subcode && i < ARRAY_SIZE(subcodes); i++)
        if (strcmp(fault->subcode, subcodes[i].name) == 0)
            return (enum soap_subcode)i;
    return SOAP_SUBCODE_NONE;
}

const char *soap_fault_code_name(enum soap_fault_code code)
{
    return fault_codes[code];
}

char *soap_new_message_id(void)
{
    unsigned char r[16];
    CLEANUP(mem_freep) char *hex = NULL;

    if (RAND_bytes(r, sizeof(r)) != 1)
        abort();                                  /* without random numbers nothing here is safe */
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40); /* RFC 4122 section 4.4 */
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    hex = bytes_to_hex(r, sizeof(r));
    return mem_printf("urn:uuid:%.8s-%.4s-%.4s-%.4s-%s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

int soap_relates_to(const struct soap_header *header, const char *message_id)
{
    const char *a = header->relates_to, *b = message_id;

    if (!a)
        return 1;
    for (;;) {
        a += strspn(a, " \t\r\n");
        b += strspn(b, " \t\r\n");
        if (*a != *b)
            return 0;
        if (!*a)
            return 1;
        a++;
        b++;
    }
}

/* Header blocks. */

static int read_reply_to(
    const struct _xmlNode *block, struct soap_message *message __attribute__((unused)), struct err **errp)
{
    const struct _xmlNode *address = xmlnode_child(block, SOAP_WSA_NS, "Address");
    CLEANUP(mem_freep) char *uri = NULL;

    if (address && xmlnode_string(address, SOAP_MAX_URI, &uri, errp) < 0)
        return -1;
    if (uri && strcmp(uri, ANONYMOUS) != 0)
        return err_set(errp, ERR_INVALID, "line %ld: <%s> asks for an answer to another address", xmlnode_line(block),
            xmlnode_name(block));
    return 0;
}

static int read_security(const struct _xmlNode *block, struct soap_message *message, struct err **errp)
{
    message->has_security = true;
    return wsse_security_parse(block, &message->security, errp);
}

#define NO_TEXT SIZE_MAX
static const struct block {
    const char *ns, *name;
    size_t text; /* where its text goes in struct soap_header */
    int (*read)(const struct _xmlNode *block, struct soap_message *message, struct err **errp);
} blocks[] = {
    {SOAP_WSA_NS, "Action", offsetof(struct soap_header, action), NULL},
    {SOAP_WSA_NS, "MessageID", offsetof(struct soap_header, message_id), NULL},
    {SOAP_WSA_NS, "RelatesTo", offsetof(struct soap_header, relates_to), NULL},
    {SOAP_WSA_NS, "To", offsetof(struct soap_header, to), NULL},
    {SOAP_WSA_NS, "ReplyTo", NO_TEXT, read_reply_to},
    {SOAP_WSA_NS, "FaultTo", NO_TEXT, read_reply_to},
    {SOAP_WSA_NS, "From", NO_TEXT, NULL},
    {SOAP_WSSE_NS, "Security", NO_TEXT, read_security},
    {DIAGNOSTICS_NS, "ActivityId", NO_TEXT, NULL},
};

static const struct block *find_block(const struct _xmlNode *element)
{
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
        if (xmlnode_is(element, blocks[i].ns, blocks[i].name))
            return &blocks[i];
    return NULL;
}

/* SOAP 1.2 part 1, 2.2: a block for a role that we do not play is none of our business. */
static bool is_for_us(const struct _xmlNode *element)
{
    CLEANUP(mem_freep) char *role = xmlnode_attribute(element, SOAP_NS, "role");

    return !role || !*role || strcmp(role, SOAP_NS "/role/next") == 0 ||
           strcmp(role, SOAP_NS "/role/ultimateReceiver") == 0;
}

static bool must_understand(const struct _xmlNode *element)
{
    CLEANUP(mem_freep) char *value = xmlnode_attribute(element, SOAP_NS, "mustUnderstand");

    return value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

static int read_block(
    const struct block *block, const struct _xmlNode *element, struct soap_message *message, struct err **errp)
{
    char **text;

    if (block->read)
        return block->read(element, message, errp);
    if (block->text == NO_TEXT)
        return 0;
    text = (char **)(void *)((char *)&message->header + block->text);
    return xmlnode_string(element, SOAP_MAX_URI, text, errp);
}

static int read_header(const struct _xmlNode *header, struct soap_message *message, struct err **errp)
{
    unsigned seen = 0;

    for (const struct _xmlNode *element = xmlnode_first(header); element; element = xmlnode_next(element)) {
        const struct block *block = find_block(element);
        unsigned bit = block ? 1u << (block - blocks) : 0;

        if (!is_for_us(element))
            continue;
        if (!block) {
            if (must_understand(element) && !message->not_understood)
                message->not_understood = mem_strndup(xmlnode_name(element), SOAP_MAX_URI);
            continue;
        }
        if (seen & bit)
            return err_set(
                errp, ERR_INVALID, "line %ld: the header <%s> is there twice", xmlnode_line(element), block->name);
        seen |= bit;
        if (read_block(block, element, message, errp) < 0)
            return -1;
    }
    return 0;
}

/* Faults. */

/* The code in the Value of a Code or Subcode. */
static int read_code(const struct _xmlNode *parent, const char **ns, char **local, struct err **errp)
{
    const struct _xmlNode *value = parent ? xmlnode_child(parent, SOAP_NS, "Value") : NULL;

    if (!value)
        return err_set(errp, ERR_INVALID, "a fault without a code");
    return xmlnode_qname(value, ns, local, errp);
}

static int read_fault_code(const char *ns, const char *local, enum soap_fault_code *out, struct err **errp)
{
    CLEANUP(mem_freep) char *shown = NULL;

    for (size_t i = 0; ns && local && strcmp(ns, SOAP_NS) == 0 && i < ARRAY_SIZE(fault_codes); i++) {
        if (strcmp(local, fault_codes[i]) == 0) {
            *out = (enum soap_fault_code)i;
            return 0;
        }
    }
    shown = printable_text(local);
    return err_set(errp, ERR_INVALID, "a fault with the unknown code '%.80s'", shown);
}

/* The text for a person, cut where it is too long: a fault is not refused for that. */
static int read_reason(const struct _xmlNode *reason, struct soap_fault *out, struct err **errp)
{
    const struct _xmlNode *text = reason ? xmlnode_child(reason, SOAP_NS, "Text") : NULL;

    if (!text)
        return 0;
    out->language = xmlnode_attribute(text, XMLNODE_XML_NS, "lang");
    if (xmlnode_string(text, XMLDOC_MAX_SIZE, &out->reason, errp) < 0)
        return -1;
    if (out->reason && strlen(out->reason) > SOAP_MAX_REASON) {
        size_t end = SOAP_MAX_REASON;

        while (end && ((unsigned char)out->reason[end] & 0xc0) == 0x80) /* not inside a character */
            end--;
        out->reason[end] = 0;
    }
    return 0;
}

static int read_fault(const struct _xmlNode *element, struct soap_fault *out, struct err **errp)
{
    const struct _xmlNode *code = xmlnode_child(element, SOAP_NS, "Code");
    const struct _xmlNode *subcode = code ? xmlnode_child(code, SOAP_NS, "Subcode") : NULL;
    CLEANUP(mem_freep) char *local = NULL;
    const char *ns = NULL;

    if (read_code(code, &ns, &local, errp) < 0 || read_fault_code(ns, local, &out->code, errp) < 0)
        return -1;
    if (subcode) {
        if (read_code(subcode, &ns, &out->subcode, errp) < 0)
            return -1;
        out->subcode_ns = mem_strdup_opt(ns);
    }
    return read_reason(xmlnode_child(element, SOAP_NS, "Reason"), out, errp);
}

/* Messages. */

static int read_body(const struct _xmlNode *body, struct soap_message *message, struct err **errp)
{
    message->body = xmlnode_first(body);
    if (!message->body)
        return err_set(errp, ERR_INVALID, "line %ld: <Body> is empty", xmlnode_line(body));
    if (xmlnode_next(message->body))
        return err_set(errp, ERR_INVALID, "line %ld: <Body> has more than one element", xmlnode_line(body));
    if (!xmlnode_is(message->body, SOAP_NS, "Fault"))
        return 0;
    message->is_fault = true;
    if (read_fault(message->body, &message->fault, errp) < 0)
        return err_wrap(errp, "in <Fault>, line %ld", xmlnode_line(message->body));
    return 0;
}

static int read_envelope(const struct _xmlNode *root, struct soap_message *message, struct err **errp)
{
    const struct _xmlNode *header = xmlnode_first(root), *body;

    if (strcmp(xmlnode_name(root), "Envelope") == 0 && !xmlnode_is(root, SOAP_NS, "Envelope"))
        return err_set(errp, ERR_PROTOCOL, "the envelope is not of SOAP 1.2%s",
            xmlnode_is(root, SOAP11_NS, "Envelope") ? " but of SOAP 1.1" : "");
    if (!xmlnode_is(root, SOAP_NS, "Envelope"))
        return err_set(errp, ERR_INVALID, "line %ld: <%s> is no SOAP envelope", xmlnode_line(root), xmlnode_name(root));
    if (header && !xmlnode_is(header, SOAP_NS, "Header")) {
        body = header;
        header = NULL;
    } else {
        body = header ? xmlnode_next(header) : NULL;
    }
    if (!body || !xmlnode_is(body, SOAP_NS, "Body"))
        return err_set(errp, ERR_INVALID, "line %ld: <Envelope> has no <Body>", xmlnode_line(root));
    if (xmlnode_next(body))
        return err_set(errp, ERR_INVALID, "line %ld: <%s> behind <Body>", xmlnode_line(xmlnode_next(body)),
            xmlnode_name(xmlnode_next(body)));
    if (header && read_header(header, message, errp) < 0)
        return err_wrap(errp, "in <Header>");
    return read_body(body, message, errp);
}

int soap_parse(const void *data, size_t len, struct soap_message **out, struct err **errp)
{
    CLEANUP(soap_message_freep) struct soap_message *message = mem_alloc(sizeof(*message));

    if (xmldoc_parse(data, len, &message->doc, errp) < 0)
        return -1;
    if (read_envelope(xmldoc_root(message->doc), message, errp) < 0)
        return -1;
    *out = TAKE(message);
    return 0;
}

void soap_message_free(struct soap_message *message)
{
    if (!message)
        return;
    soap_header_clear(&message->header);
    wsse_security_clear(&message->security);
    soap_fault_clear(&message->fault);
    free(message->not_understood);
    xmldoc_free(message->doc);
    free(message);
}

const struct soap_header *soap_message_header(const struct soap_message *message)
{
    return &message->header;
}

const struct wsse_security *soap_message_security(const struct soap_message *message)
{
    return message->has_security ? &message->security : NULL;
}

const struct soap_fault *soap_message_fault(const struct soap_message *message)
{
    return message->is_fault ? &message->fault : NULL;
}

const char *soap_message_not_understood(const struct soap_message *message)
{
    return message->not_understood;
}

int soap_message_body(const struct soap_message *message, const char *ns, const char *name, const struct _xmlNode **out,
    struct err **errp)
{
    if (message->is_fault)
        return err_set(errp, ERR_INVALID, "the message is a fault, not a <%s>", name);
    if (!xmlnode_is(message->body, ns, name))
        return err_set(errp, ERR_INVALID, "line %ld: <%s> where <%s> should be", xmlnode_line(message->body),
            xmlnode_name(message->body), name);
    *out = message->body;
    return 0;
}

const struct _xmlNode *soap_message_detail(const struct soap_message *message, const char *ns, const char *name)
{
    const struct _xmlNode *detail = message->is_fault ? xmlnode_child(message->body, SOAP_NS, "Detail") : NULL;

    return detail ? xmlnode_child(detail, ns, name) : NULL;
}

/* Writing. */

static void write_block(struct xmlout *x, const char *name, const char *text, bool must)
{
    if (!text)
        return;
    xmlout_open(x, SOAP_WSA_NS, name);
    if (must)
        xmlout_attribute(x, SOAP_NS, "mustUnderstand", "1");
    xmlout_text(x, text);
    xmlout_close(x);
}

/* Everything up to the inside of Body. Blocks in the order that Windows writes them. */
static void write_head(struct xmlout *x, const struct soap_header *header, const struct wsse_security *security)
{
    xmlout_declare(x, "s", SOAP_NS);
    xmlout_declare(x, "a", SOAP_WSA_NS);
    xmlout_open(x, SOAP_NS, "Envelope");
    xmlout_open(x, SOAP_NS, "Header");
    write_block(x, "Action", header->action, true);
    write_block(x, "MessageID", header->message_id, false);
    write_block(x, "RelatesTo", header->relates_to, false);
    if (header->message_id && !header->relates_to) {
        xmlout_open(x, SOAP_WSA_NS, "ReplyTo");
        write_block(x, "Address", ANONYMOUS, false);
        xmlout_close(x);
    }
    write_block(x, "To", header->to, true);
    if (security)
        wsse_security_write(x, security, SOAP_NS);
    xmlout_close(x);
    xmlout_declare(x, "xsi", XMLNODE_XSI_NS);
    xmlout_open(x, SOAP_NS, "Body");
}

static int write_tail(struct xmlout *x, struct bytes *out, struct err **errp)
{
    xmlout_close(x);
    xmlout_close(x);
    return xmlout_finish(x, out, errp);
}

int soap_write(const struct soap_header *header, const struct wsse_security *security, const struct xmap *map,
    const void *body, struct bytes *out, struct err **errp)
{
    CLEANUP(xmlout_clear) struct xmlout x = {.out.secret = security != NULL};

    write_head(&x, header, security);
    xmap_write(&x, map, body);
    return write_tail(&x, out, errp);
}

static void write_code(struct xmlout *x, const struct soap_fault *fault)
{
    xmlout_open(x, SOAP_NS, "Code");
    xmlout_open(x, SOAP_NS, "Value");
    xmlout_qname(x, SOAP_NS, fault_codes[fault->code]);
    xmlout_close(x);
    if (fault->subcode) {
        xmlout_open(x, SOAP_NS, "Subcode");
        if (fault->subcode_ns)
            xmlout_declare(x, "c", fault->subcode_ns);
        xmlout_open(x, SOAP_NS, "Value");
        xmlout_qname(x, fault->subcode_ns, fault->subcode);
        xmlout_close(x);
        xmlout_close(x);
    }
    xmlout_close(x);
}

int soap_write_fault(const struct soap_header *header, const struct soap_fault *fault, const struct xmap *map,
    const void *detail, struct bytes *out, struct err **errp)
{
    CLEANUP(xmlout_clear) struct xmlout x = {0};

    write_head(&x, header, NULL);
    xmlout_open(&x, SOAP_NS, "Fault");
    write_code(&x, fault);
    xmlout_open(&x, SOAP_NS, "Reason");
    xmlout_open(&x, SOAP_NS, "Text");
    xmlout_attribute(&x, XMLNODE_XML_NS, "lang", fault->language ? fault->language : LANGUAGE);
    xmlout_text(&x, fault->reason ? fault->reason : fault_codes[fault->code]);
    xmlout_close(&x);
    xmlout_close(&x);
    if (detail) {
        xmlout_open(&x, SOAP_NS, "Detail");
        xmap_write(&x, map, detail);
        xmlout_close(&x);
    }
    xmlout_close(&x);
    return write_tail(&x, out, errp);
}

int soap_fault_write(
    const struct soap_header *header, const struct soap_fault *fault, struct bytes *out, struct err **errp)
{
    return soap_write_fault(header, fault, NULL, NULL, out, errp);
}
