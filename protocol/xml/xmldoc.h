/* xmldoc.h - parses untrusted XML: no DTD, no network, limits on size and depth. */
#pragma once

#include <stddef.h>

#include "protocol/base/err.h"

#define XMLDOC_MAX_SIZE       (16u << 20) /* bytes of a message */
#define XMLDOC_MAX_DEPTH      64          /* elements inside each other */
#define XMLDOC_MAX_NODES      600000 /* elements and attributes: about 5000 templates with everything they can have */
#define XMLDOC_MAX_ATTRIBUTES 64     /* of one element, namespace declarations counted */
#define XMLDOC_MAX_VALUES     256    /* quoted values between one '<' and the next, wherever that is */

struct _xmlNode; /* libxml2's; only the codecs look inside */
struct xmldoc;

/*
 * Reads a whole document: UTF-8 whatever it declares, well-formed with its namespaces, no DOCTYPE, no entities but the
 * five of XML. Comments and processing instructions are dropped, CDATA is text. Nothing is fetched, nothing is printed.
 *
 * @data  borrowed for the call
 * @out   returns owned
 * Returns 0, or -1 with ERR_INVALID and a text that names line and column.
 */
int xmldoc_parse(const void *data, size_t len, struct xmldoc **out, struct err **errp);
const struct _xmlNode *xmldoc_root(const struct xmldoc *doc); /* borrowed until xmldoc_free */
void xmldoc_free(struct xmldoc *doc);                         /* takes; NULL is fine */
DEFINE_FREEP(struct xmldoc, xmldoc_free)
