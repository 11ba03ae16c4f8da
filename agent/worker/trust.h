/* trust.h - the administrator's anchors, out of the file that the configuration names. */
#pragma once

#include "protocol/pki/cert.h"

#define TRUST_MAX_FILE (1u << 20)

struct trust {
    struct bytes pem;         /* for TLS */
    struct cert_list anchors; /* for what is issued */
};
void trust_clear(struct trust *trust);

/* Reads @path; every certificate in it becomes an anchor. 0 or -1 with ERR_CONFIG. *trust is overwritten. */
int trust_read(const char *path, struct trust *trust, struct err **errp);
