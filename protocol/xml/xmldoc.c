#include "protocol/xml/xmldoc.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#include "protocol/base/printable.h"

#if LIBXML_VERSION < 21200
typedef xmlError xml_error;
#else
typedef const xmlError xml_error;
#endif

struct xmldoc {
    xmlDoc *doc;
};

/* One parse: what libxml2 calls back finds it in the context's _private. */
struct parse {
    size_t nodes;
    bool failed;
    struct err **errp;
};

static struct parse *parse_of(void *context)
{
    return ((xmlParserCtxt *)context)->_private;
}

/* Sets the first failure, with its place, and stops. */
static __attribute__((format(printf, 2, 3))) void refuse(xmlParserCtxt *context, const char *fmt, ...)
{
    struct parse *parse = parse_of(context);
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    if (!parse->failed) {
        va_start(ap, fmt);
        text = mem_vprintf(fmt, ap);
        va_end(ap);
        err_set(parse->errp, ERR_INVALID, "line %d, column %d: %s", xmlSAX2GetLineNumber(context),
            xmlSAX2GetColumnNumber(context), text);
    }
    parse->failed = true;
    xmlStopParser(context);
}

static void on_error(void *context, xml_error *error)
{
    struct parse *parse = parse_of(context);
    CLEANUP(mem_freep) char *text = NULL;
    const char *message = error->message ? error->message : "not well-formed";

    if (error->level < XML_ERR_ERROR || parse->failed)
        return;
    parse->failed = true;
    text = printable(message, strcspn(message, "\n"), 200);
    err_set(parse->errp, ERR_INVALID, "line %d, column %d: %s", error->line, error->int2, text);
}

static void on_doctype(void *context, const xmlChar *name __attribute__((unused)),
    const xmlChar *id __attribute__((unused)), const xmlChar *system __attribute__((unused)))
{
    refuse(context, "a DOCTYPE is not allowed here");
}

static void on_start_element(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
    int n_namespaces, const xmlChar **namespaces, int n_attributes, int n_defaulted, const xmlChar **attributes)
{
    xmlParserCtxt *parser = context;
    struct parse *parse = parse_of(context);

    parse->nodes += 1 + (size_t)n_namespaces + (size_t)n_attributes;
    if (parser->nodeNr >= XMLDOC_MAX_DEPTH)
        refuse(parser, "elements are more than %d deep", XMLDOC_MAX_DEPTH);
    else if (n_namespaces + n_attributes > XMLDOC_MAX_ATTRIBUTES)
        refuse(parser, "an element has more than %d attributes", XMLDOC_MAX_ATTRIBUTES);
    else if (parse->nodes > XMLDOC_MAX_NODES)
        refuse(parser, "more than %d elements and attributes", XMLDOC_MAX_NODES);
    else
        xmlSAX2StartElementNs(
            context, name, prefix, uri, n_namespaces, namespaces, n_attributes, n_defaulted, attributes);
}

/* Whether a value in quotes begins at the '=' at @at. */
static bool begins_value(const char *at, const char *end)
{
    at++;
    while (at < end && strchr(" \t\r\n", *at) && *at)
        at++;
    return at < end && (*at == '"' || *at == '\'');
}

/*
 * libxml2 compares each attribute of a tag with all before it, and calls back only at the tag's end, after an error not
 * at all: a tag of megabytes would keep it busy for hours. No tag of its reaches past the next '<', so that values are
 * counted from each '<' to the next, whatever is in between: where a comment ends, libxml2 may see it otherwise.
 */
static int check_tags(const char *data, size_t len, struct err **errp)
{
    const char *end = data + len;
    size_t values = 0;
    int line = 1;

    for (const char *at = data; at < end; at++) {
        line += *at == '\n';
        if (*at == '<')
            values = 0;
        if (*at == '=' && begins_value(at, end) && ++values > XMLDOC_MAX_VALUES)
            return err_set(
                errp, ERR_INVALID, "line %d: more than %d attributes without another tag", line, XMLDOC_MAX_VALUES);
    }
    return 0;
}

/* Refuses what libxml2 would guess another encoding from. */
static int check_start(const char *data, size_t len, struct err **errp)
{
    size_t mark = len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    if (len == mark)
        return err_set(errp, ERR_INVALID, "line 1: the document is empty");
    if (len > XMLDOC_MAX_SIZE)
        return err_set(errp, ERR_INVALID, "the document has %zu bytes, and %u are the most", len, XMLDOC_MAX_SIZE);
    if (!strchr("< \t\r\n", data[mark]) || !data[mark] || (len > mark + 1 && !data[mark + 1]))
        return err_set(errp, ERR_INVALID, "line 1: not an XML document in UTF-8");
    return 0;
}

static void context_freep(xmlParserCtxt **context)
{
    if (*context)
        xmlFreeParserCtxt(*context);
}

int xmldoc_parse(const void *data, size_t len, struct xmldoc **out, struct err **errp)
{
    static const int options = XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOCDATA | XML_PARSE_COMPACT |
                               XML_PARSE_BIG_LINES | XML_PARSE_IGNORE_ENC;
    CLEANUP(context_freep) xmlParserCtxt *context = NULL;
    struct parse parse = {.errp = errp};
    xmlDoc *doc;

    if (check_start(data, len, errp) < 0 || check_tags(data, len, errp) < 0)
        return -1;
    context = xmlNewParserCtxt();
    if (!context)
        return err_set(errp, ERR_INTERNAL, "libxml2 gives no parser");
    context->_private = &parse;
    context->sax->serror = on_error;
    context->sax->startElementNs = on_start_element;
    context->sax->internalSubset = on_doctype;
    context->sax->comment = NULL;
    context->sax->processingInstruction = NULL;
    doc = xmlCtxtReadMemory(context, data, (int)len, NULL, NULL, options);
    if (parse.failed || !doc || !xmlDocGetRootElement(doc)) {
        xmlFreeDoc(doc);
        return err_set(errp, ERR_INVALID, "not an XML document");
    }
    *out = mem_alloc(sizeof(**out));
    (*out)->doc = doc;
    return 0;
}

const xmlNode *xmldoc_root(const struct xmldoc *doc)
{
    return xmlDocGetRootElement(doc->doc);
}

void xmldoc_free(struct xmldoc *doc)
{
    if (!doc)
        return;
    xmlFreeDoc(doc->doc);
    free(doc);
}
