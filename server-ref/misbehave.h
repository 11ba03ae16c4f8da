/* misbehave.h - wrong on purpose, for the tests of clients: the [misbehave] section, applied to one request in N. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/err.h"

enum misbehave_issue {
    MISBEHAVE_ISSUE_RIGHT,
    MISBEHAVE_ISSUE_CA,             /* a certificate with CA:TRUE */
    MISBEHAVE_ISSUE_SHA1,           /* signed with SHA-1 */
    MISBEHAVE_ISSUE_WRONG_EKU,      /* code signing instead of the template's usages */
    MISBEHAVE_ISSUE_OTHER_ROOT,     /* by a CA that nobody knows */
    MISBEHAVE_ISSUE_OTHER_KEY,      /* for a key that is not the requested one */
    MISBEHAVE_ISSUE_WEAK,           /* for an RSA key of 1024 bits that is not the requested one */
    MISBEHAVE_ISSUE_EXPIRED,        /* not valid any more */
    MISBEHAVE_ISSUE_FUTURE,         /* not valid yet */
    MISBEHAVE_ISSUE_LONG,           /* valid for ten times as long as the template says */
    MISBEHAVE_ISSUE_OTHER_TEMPLATE, /* says that it is of another template */
};

enum misbehave_policy {
    MISBEHAVE_POLICY_RIGHT,
    MISBEHAVE_POLICY_DANGLING,    /* the first template refers to what is not there */
    MISBEHAVE_POLICY_EVIL_NAMES,  /* templates called ../../x, and with terminal escapes and direction marks */
    MISBEHAVE_POLICY_EMPTY,       /* no template at all */
    MISBEHAVE_POLICY_FOREIGN_CES, /* the enrollment servers are on another host */
    MISBEHAVE_POLICY_OTHER_ID,    /* another policyID */
    MISBEHAVE_POLICY_DUPLICATE,   /* one reference number twice */
};

/* {0} behaves. */
struct misbehave {
    int64_t slow;          /* seconds before the answer */
    bool never_answer;     /* reads the request, then stays silent */
    bool cut_answer;       /* announces all of the answer, sends half of it, hangs up */
    uint32_t status;       /* answers with this HTTP status and no SOAP; 0: not */
    char *redirect;        /* owned; answers 307 with this address; NULL: not */
    uint32_t oversize;     /* pads the answer to so many bytes; 0: not */
    bool wrong_relates_to; /* RelatesTo is a fresh id */
    bool no_relates_to;    /* there is none */
    bool malformed;        /* the answer is no XML */
    bool doctype;          /* the answer has a document type with an entity */
    uint32_t issue;        /* enum misbehave_issue */
    uint32_t policy;       /* enum misbehave_policy */
    bool lose_after_issue; /* issues, then hangs up without an answer */
    uint32_t every;        /* one request in so many, counted from the first; 0 and 1: all */
};

/* Sets what @key of the section says. 0 or -1 (ERR_CONFIG). */
int misbehave_set(struct misbehave *misbehave, const char *key, const char *value, struct err **errp);
void misbehave_clear(struct misbehave *misbehave);

/* For request number @n, from 1: @misbehave when it is its turn, else one that behaves. Borrowed. */
const struct misbehave *misbehave_turn(const struct misbehave *misbehave, uint64_t n);
