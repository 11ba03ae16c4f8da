#include "protocol/xml/xmlnode.h"

#include <stdlib.h>
#include <string.h>

#include <libxml/tree.h>

#include <libxml/dict.h>
#include <openssl/crypto.h>

#include "protocol/base/mem.h"
#include "protocol/base/printable.h"

/* libxml2's functions take what they only read without const. */
static xmlNode *unconst(const xmlNode *node)
{
    xmlNode *copy;

    memcpy(&copy, &node, sizeof(copy));
    return copy;
}

static const char *chars(const xmlChar *text)
{
    return (const char *)text;
}

static const xmlChar *xml_chars(const char *text)
{
    return (const xmlChar *)text;
}

bool xmlnode_is(const xmlNode *element, const char *ns, const char *name)
{
    const char *own = element->ns ? chars(element->ns->href) : NULL;

    if (strcmp(chars(element->name), name) != 0)
        return false;
    return ns && own ? strcmp(own, ns) == 0 : ns == own;
}

const char *xmlnode_name(const xmlNode *element)
{
    return chars(element->name);
}

long xmlnode_line(const xmlNode *element)
{
    return xmlGetLineNo(unconst(element));
}

static const xmlNode *element_from(const xmlNode *node)
{
    while (node && node->type != XML_ELEMENT_NODE)
        node = node->next;
    return node;
}

const xmlNode *xmlnode_first(const xmlNode *element)
{
    return element_from(element->children);
}

const xmlNode *xmlnode_next(const xmlNode *element)
{
    return element_from(element->next);
}

const xmlNode *xmlnode_child(const xmlNode *element, const char *ns, const char *name)
{
    for (const xmlNode *child = xmlnode_first(element); child; child = xmlnode_next(child))
        if (xmlnode_is(child, ns, name))
            return child;
    return NULL;
}

char *xmlnode_attribute(const xmlNode *element, const char *ns, const char *name)
{
    struct xmltext text;
    xmlChar *value;
    char *copy;

    value = ns ? xmlGetNsProp(unconst(element), xml_chars(name), xml_chars(ns))
               : xmlGetNoNsProp(unconst(element), xml_chars(name));
    if (!value)
        return NULL;
    text = xmltext_of(chars(value));
    xmltext_trim(&text);
    copy = mem_strndup(text.at, text.len);
    xmlFree(value);
    return copy;
}

bool xmlnode_is_nil(const xmlNode *element)
{
    CLEANUP(mem_freep) char *nil = NULL;

    if (!element->properties)
        return false;
    nil = xmlnode_attribute(element, XMLNODE_XSI_NS, "nil");
    return nil && (strcmp(nil, "true") == 0 || strcmp(nil, "1") == 0);
}

struct xmltext xmltext_of(const char *text)
{
    return (struct xmltext){.at = text, .len = strlen(text)};
}

void xmltext_clear(struct xmltext *text)
{
    free(text->owned);
    *text = (struct xmltext){0};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void xmltext_trim(struct xmltext *text)
{
    while (text->len && is_blank(text->at[0])) {
        text->at++;
        text->len--;
    }
    while (text->len && is_blank(text->at[text->len - 1]))
        text->len--;
}

static bool is_text(const xmlNode *node)
{
    return node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE;
}

int xmlnode_text(const xmlNode *element, struct xmltext *out, struct err **errp)
{
    const xmlNode *only = element->children;

    for (const xmlNode *child = only; child; child = child->next)
        if (!is_text(child))
            return err_set(errp, ERR_INVALID, "line %ld: <%s> should hold text only", xmlnode_line(element),
                xmlnode_name(element));
    if (!only) {
        *out = xmltext_of("");
    } else if (!only->next) {
        *out = xmltext_of(chars(only->content));
    } else {
        xmlChar *all = xmlNodeGetContent(unconst(element));
        char *copy = mem_strdup(all ? chars(all) : "");

        xmlFree(all);
        *out = xmltext_of(copy);
        out->owned = copy;
    }
    return 0;
}

int xmlnode_string(const xmlNode *element, size_t max, char **out, struct err **errp)
{
    CLEANUP(xmltext_clear) struct xmltext text = {0};

    if (xmlnode_text(element, &text, errp) < 0)
        return -1;
    xmltext_trim(&text);
    if (text.len > max)
        return err_set(errp, ERR_INVALID, "line %ld: <%s> has %zu bytes, and %zu are the most", xmlnode_line(element),
            xmlnode_name(element), text.len, max);
    *out = text.len ? mem_strndup(text.at, text.len) : NULL;
    return 0;
}

int xmlnode_qname(const xmlNode *element, const char **ns, char **local, struct err **errp)
{
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *shown = NULL;
    const xmlNs *found;
    char *colon;

    if (xmlnode_string(element, 1024, &text, errp) < 0)
        return -1;
    colon = text ? strchr(text, ':') : NULL;
    if (colon)
        *colon = 0;
    found = xmlSearchNs(element->doc, unconst(element), colon ? xml_chars(text) : NULL);
    if (!text || (colon && (!found || !colon[1]))) {
        shown = printable_text(text);
        return err_set(errp, ERR_INVALID, "line %ld: the prefix '%s' in <%s> is not declared", xmlnode_line(element),
            shown, xmlnode_name(element));
    }
    *ns = found ? chars(found->href) : NULL;
    *local = mem_strdup(colon ? colon + 1 : text);
    return 0;
}

void xmlnode_wipe(const xmlNode *element)
{
    for (xmlNode *child = element->children; child; child = child->next)
        if (is_text(child) && child->content && !xmlDictOwns(element->doc->dict, child->content))
            OPENSSL_cleanse(child->content, strlen(chars(child->content)));
}
