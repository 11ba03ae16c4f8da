/* inventory.h - what is installed now. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/opt.h"

/* One enrollment, as far as a decision needs it. All text is borrowed from its record. */
struct held_cert {
    const char *name;        /* the enrollment's local id */
    const char *certificate; /* the [certificate] section that wanted it; NULL: the template itself did */
    const char *template_oid;
    const char *template_name;
    struct opt_u32 template_major; /* of the certificate, or of the template when it was asked for */
    bool installed;                /* there is a certificate; its dates follow */
    int64_t not_before, not_after; /* seconds since 1970, UTC, as are all times here */
    const char *issuer;            /* of the certificate, RFC 4514; NULL: not known */
    uint64_t seed;                 /* of this machine and its key: schedule_seed */
    int64_t renew_at;              /* what the last decision about it planned (decision.renew_at); 0: nothing */
    bool names_differ;             /* the configured names are not those of the certificate */
    bool under_way;                /* an attempt was interrupted and goes on */
    bool pending;                  /* the CA has a request under submission */
    bool again;                    /* a person asked to renew it now */
    bool by_person;                /* a person asked for it: no permission for autoenrollment is needed */
    unsigned requests_today;       /* that went out for this template */
};

struct inventory {
    const struct held_cert *items;
    size_t n;
};
