/* show_pki.h - describes certificates, requests and CMS messages as a tree. */
#pragma once

#include "agent/ctl/node.h"
#include "protocol/pki/payload.h"

/* "client authentication (1.3.6.1.5.5.7.3.2)", or the dotted text alone. Adds nothing where @oid is NULL. */
void show_oid(struct node *to, const char *name, const char *oid);
void show_oids(struct node *to, const char *name, const struct strlist *oids);

/* What an extension is, and for the kinds we know, what it says. */
void show_extension(struct node *to, const char *name, const char *oid, bool critical, const struct bytes *value);
void show_cert(struct node *to, const struct cert *cert);

/*
 * Describes whatever @der is (payload.h): its kind, what it says, its signers and whether their signatures hold. What
 * can be read is shown also where the rest cannot, with an "error" at that place. Trust is no question here.
 *
 * @place  what @der is part of, for the error
 * Return 0 or -1 (ERR_INVALID).
 */
int show_payload(struct node *to, const struct bytes *der, const char *place, struct err **errp);
/* The same for a certificate. */
int show_cert_der(struct node *to, const struct bytes *der, const char *place, struct err **errp);
