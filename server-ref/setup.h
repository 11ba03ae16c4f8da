/* setup.h - makes a server's directory: CAs, TLS certificate, configuration, templates, first user. */
#pragma once

#include "protocol/base/secret.h"
#include "server-ref/config.h"

struct setup_options {
    struct strlist hosts;          /* names of this server; none: localhost. The first stands in the policy */
    const char *ca_name;           /* common name of the issuing CA */
    const char *key;               /* kind of all keys, see mint_key */
    const char *user;              /* the first user */
    const struct secret *password; /* of that user; NULL: a random one, kept in the file "password" */
};

/* Makes @dir and everything in it; an existing one must be empty. 0 or -1; what was made is left to look at. */
int setup(const char *dir, const struct setup_options *options, struct err **errp);

/* The text of server.conf, with new identifiers. Returns owned. */
char *setup_config_text(const struct setup_options *options);
