/* xmlnode.h - looks at one parsed element: its name, children, attributes, text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "protocol/base/err.h"

#define XMLNODE_XSI_NS "http://www.w3.org/2001/XMLSchema-instance"
#define XMLNODE_XML_NS "http://www.w3.org/XML/1998/namespace"

struct _xmlNode; /* an element; everything is borrowed until its document is freed */

bool xmlnode_is(const struct _xmlNode *element, const char *ns, const char *name); /* NULL @ns: in no namespace */
const char *xmlnode_name(const struct _xmlNode *element);                          /* local name */
long xmlnode_line(const struct _xmlNode *element);

/* Children that are elements; NULL where there is none (left). */
const struct _xmlNode *xmlnode_first(const struct _xmlNode *element);
const struct _xmlNode *xmlnode_next(const struct _xmlNode *element);
const struct _xmlNode *xmlnode_child(const struct _xmlNode *element, const char *ns, const char *name); /* the first */

/* xsi:nil is "true" or "1". */
bool xmlnode_is_nil(const struct _xmlNode *element);

/* The value of an attribute; NULL @ns: without a prefix. Returns owned, trimmed; NULL where it is absent. */
char *xmlnode_attribute(const struct _xmlNode *element, const char *ns, const char *name);

/* Text, not 0-terminated. */
struct xmltext {
    const char *at;
    size_t len;
    char *owned; /* what @at points into when the text had to be put together, else NULL */
};
void xmltext_clear(struct xmltext *text);
struct xmltext xmltext_of(const char *text); /* borrows */
void xmltext_trim(struct xmltext *text);     /* white space of XML at both ends */

/* All the text of @element. Returns 0, or -1 with ERR_INVALID when it has elements inside. */
int xmlnode_text(const struct _xmlNode *element, struct xmltext *out, struct err **errp);

/* The same trimmed and copied, NULL when nothing is left; -1 also when there are more than @max bytes. */
int xmlnode_string(const struct _xmlNode *element, size_t max, char **out, struct err **errp);

/*
 * Takes "prefix:local" apart in the scope of @element: *ns is borrowed, NULL for no namespace, *local returns owned.
 * -1 with ERR_INVALID when the prefix is not declared.
 */
int xmlnode_qname(const struct _xmlNode *element, const char **ns, char **local, struct err **errp);

/* Overwrites the text inside @element, which was a secret and has been copied. */
void xmlnode_wipe(const struct _xmlNode *element);
