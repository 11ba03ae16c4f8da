/* source.h - reads what was published for a name, and holds it against root's own configuration. */
#pragma once

#include "protocol/base/secret.h"
#include "protocol/pki/cert.h"

/* One published pair, every part decoded and checked. {0} is empty. */
struct source {
    uint32_t generation;
    struct cert *cert;
    struct cert_list chain; /* from the issuer on; may be empty */
    char *key_uri;          /* the key is in the token: pkcs11:..., without a PIN; else NULL */
    struct secret *key;     /* the key is in a file: its PEM, of exactly this certificate; else NULL */
};

struct source_question {
    const char *state_dir;
    const char *name;                /* of a section: a good name */
    const struct cert_list *anchors; /* borrowed: only what was issued under these is taken */
    int64_t now;                     /* seconds since 1970, UTC */
};

enum source_outcome { SOURCE_READ, SOURCE_NONE };

/*
 * Reads public/certs/NAME/installed, and the key file that it names beneath token/keys. Whoever owns these directories
 * is not trusted: links, second names, other kinds of file and what is too large are refused (beneath.h); certificates
 * are decoded, the chain must lead from the certificate to an anchor, and a key must be the certificate's.
 * SOURCE_NONE: nothing is published for this name. -1: ERR_UNTRUSTED, ERR_INVALID, ERR_STORE.
 */
int source_read(const struct source_question *question, struct source *out, struct err **errp);
void source_clear(struct source *source); /* also the CLEANUP form */
