/* ext.h - reads those extensions of a certificate or of a request that we use. */
#pragma once

#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/pki/msext.h"
#include "protocol/pki/san.h"

/* Where to put what is found; all borrowed. aki, is_ca and malformed may be NULL. */
struct ext_facts {
    struct bytes *ski;
    struct bytes *aki;
    bool *is_ca;
    bool *has_key_usage;
    uint32_t *key_usage;
    bool *has_eku;
    struct strlist *eku;
    struct strlist *application_policies;
    struct san_list *san;
    char **template_name;
    struct template_info *template;
    char **sid;
    struct strlist *malformed; /* Microsoft extensions that do not decode, dotted; NULL: refuse them */
};

/*
 * Decodes one extension when it is one of those; any other is left alone. The caller sees to it that none comes twice.
 * Return 0 or -1 (ERR_INVALID; names the extension).
 */
int ext_read(const struct ext_facts *facts, const char *oid, const struct bytes *value, struct err **errp);
