/* xmlout.h - writes XML: elements with their namespaces, text escaped. */
#pragma once

#include <stddef.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"

#define XMLOUT_MAX_DEPTH    32
#define XMLOUT_MAX_PREFIXES 8

/*
 * A document while it is written. {0} is empty. Namespaces, prefixes and names are borrowed until xmlout_finish and
 * must be right; text may be anything, and what cannot stand in XML is an error. The first error stays and is given by
 * xmlout_finish; nothing is written after it.
 */
struct xmlout {
    struct bytes out;
    struct err *err;
    struct {
        const char *ns; /* the default namespace in it; NULL: none */
        const char *prefix;
        const char *name;
        size_t n_prefixes; /* declared outside of it */
    } open[XMLOUT_MAX_DEPTH];
    size_t depth;
    struct {
        const char *prefix, *ns;
    } prefixes[XMLOUT_MAX_PREFIXES];
    size_t n_prefixes;
    size_t n_pending; /* of them, to be written with the next element */
    bool in_tag;
};

void xmlout_clear(struct xmlout *x); /* also the CLEANUP form; wipes */

/* Declares a prefix on the element that is opened next; it holds until that is closed. */
void xmlout_declare(struct xmlout *x, const char *prefix, const char *ns);

/* An element of a namespace without a declared prefix gets xmlns="..." where its parent has another. */
void xmlout_open(struct xmlout *x, const char *ns, const char *name);
void xmlout_close(struct xmlout *x);

/* Only right after xmlout_open. @ns: NULL for none, else declared. */
void xmlout_attribute(struct xmlout *x, const char *ns, const char *name, const char *value);
void xmlout_text(struct xmlout *x, const char *text);
void xmlout_qname(struct xmlout *x, const char *ns, const char *local); /* as text; @ns declared, or NULL */

/* Records a failure of the caller's, which xmlout_finish will give. */
void xmlout_fail(struct xmlout *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Replaces what @out held by the document, after everything was closed.
 * Returns 0, or -1 with the first error; @out is left alone then.
 */
int xmlout_finish(struct xmlout *x, struct bytes *out, struct err **errp);
