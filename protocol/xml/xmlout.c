#include "protocol/xml/xmlout.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/xml/xmlnode.h"

static const char declaration[] = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

void xmlout_clear(struct xmlout *x)
{
    bytes_wipe(&x->out);
    err_free(x->err);
    *x = (struct xmlout){0};
}

void xmlout_fail(struct xmlout *x, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    err_set(&x->err, ERR_INVALID, "%s", text);
}

static void put(struct xmlout *x, const void *data, size_t len)
{
    if (!x->err)
        (void)bytes_append(&x->out, data, len, &x->err);
}

static void put_text(struct xmlout *x, const char *text)
{
    put(x, text, strlen(text));
}

/* A name with the prefix in front that it has, if any. */
static void put_name(struct xmlout *x, const char *prefix, const char *name)
{
    if (prefix) {
        put_text(x, prefix);
        put(x, ":", 1);
    }
    put_text(x, name);
}

static const char *prefix_of(const struct xmlout *x, const char *ns)
{
    if (strcmp(ns, XMLNODE_XML_NS) == 0)
        return "xml";
    for (size_t i = x->n_prefixes; i-- > 0;)
        if (strcmp(x->prefixes[i].ns, ns) == 0)
            return x->prefixes[i].prefix;
    return NULL;
}

/* What must be written for one character that cannot stand for itself; NULL when it can. */
static const char *escape_of(char c, bool in_attribute)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\r':
        return "&#xD;";
    case '"':
        return in_attribute ? "&quot;" : NULL;
    case '\n':
        return in_attribute ? "&#xA;" : NULL;
    case '\t':
        return in_attribute ? "&#x9;" : NULL;
    default:
        return NULL;
    }
}

/* Char of XML 1.0, production 2; utf8_decode lets no surrogate through. */
static bool is_xml_char(unsigned c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= ' ' && c <= 0xfffd) || c >= 0x10000;
}

static void put_escaped(struct xmlout *x, const char *text, bool in_attribute)
{
    const char *start = text, *end = text + strlen(text);

    while (text < end) {
        const char *escape = escape_of(*text, in_attribute);
        unsigned c = (unsigned char)*text;
        size_t len = 1;

        if (c < ' ' || c >= 0x80) {
            len = utf8_decode(text, (size_t)(end - text), &c);
            if (!len || !is_xml_char(c)) {
                xmlout_fail(
                    x, "<%s> has a character that cannot stand in XML", x->depth ? x->open[x->depth - 1].name : "");
                return;
            }
        }
        if (escape) {
            put(x, start, (size_t)(text - start));
            put_text(x, escape);
            start = text + len;
        }
        text += len;
    }
    put(x, start, (size_t)(end - start));
}

static void end_tag(struct xmlout *x)
{
    if (x->in_tag)
        put(x, ">", 1);
    x->in_tag = false;
}

void xmlout_declare(struct xmlout *x, const char *prefix, const char *ns)
{
    if (x->n_prefixes == XMLOUT_MAX_PREFIXES) {
        xmlout_fail(x, "more than %d prefixes", XMLOUT_MAX_PREFIXES);
        return;
    }
    x->prefixes[x->n_prefixes].prefix = prefix;
    x->prefixes[x->n_prefixes++].ns = ns;
    x->n_pending++;
}

static void put_namespace(struct xmlout *x, const char *prefix, const char *ns)
{
    put_text(x, " xmlns");
    if (prefix) {
        put(x, ":", 1);
        put_text(x, prefix);
    }
    put_text(x, "=\"");
    put_escaped(x, ns, true);
    put(x, "\"", 1);
}

void xmlout_open(struct xmlout *x, const char *ns, const char *name)
{
    const char *outer = x->depth ? x->open[x->depth - 1].ns : NULL;
    const char *prefix = prefix_of(x, ns);

    if (x->depth == XMLOUT_MAX_DEPTH)
        xmlout_fail(x, "elements are more than %d deep", XMLOUT_MAX_DEPTH);
    if (x->err)
        return;
    if (!x->depth)
        put(x, declaration, sizeof(declaration) - 1);
    end_tag(x);
    put(x, "<", 1);
    put_name(x, prefix, name);
    if (!prefix && (!outer || strcmp(outer, ns) != 0)) {
        put_namespace(x, NULL, ns);
        outer = ns;
    }
    for (size_t i = x->n_prefixes - x->n_pending; i < x->n_prefixes; i++)
        put_namespace(x, x->prefixes[i].prefix, x->prefixes[i].ns);
    x->open[x->depth].ns = outer;
    x->open[x->depth].prefix = prefix;
    x->open[x->depth].name = name;
    x->open[x->depth++].n_prefixes = x->n_prefixes - x->n_pending;
    x->n_pending = 0;
    x->in_tag = true;
}

void xmlout_close(struct xmlout *x)
{
    if (!x->depth || x->err)
        return;
    x->depth--;
    if (x->in_tag) {
        put_text(x, "/>");
    } else {
        put_text(x, "</");
        put_name(x, x->open[x->depth].prefix, x->open[x->depth].name);
        put(x, ">", 1);
    }
    x->in_tag = false;
    x->n_prefixes = x->open[x->depth].n_prefixes;
}

void xmlout_attribute(struct xmlout *x, const char *ns, const char *name, const char *value)
{
    put(x, " ", 1);
    put_name(x, ns ? prefix_of(x, ns) : NULL, name);
    put_text(x, "=\"");
    put_escaped(x, value, true);
    put(x, "\"", 1);
}

void xmlout_text(struct xmlout *x, const char *text)
{
    if (!*text)
        return;
    end_tag(x);
    put_escaped(x, text, false);
}

void xmlout_qname(struct xmlout *x, const char *ns, const char *local)
{
    end_tag(x);
    if (ns)
        put_name(x, prefix_of(x, ns), "");
    put_escaped(x, local, false);
}

int xmlout_finish(struct xmlout *x, struct bytes *out, struct err **errp)
{
    if (x->err) {
        if (errp && !*errp)
            *errp = TAKE(x->err);
        return -1;
    }
    bytes_clear(out);
    *out = x->out;
    x->out = (struct bytes){0};
    return 0;
}
