/* deploy_result.h - what autoenroll-deploy did for one certificate, as it leaves it in a file for the daemon. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/job/fields.h"

#define DEPLOY_RESULT_VERSION  1
#define DEPLOY_RESULT_MAX_FILE (64u << 10)
#define DEPLOY_RESULT_MAX_TEXT 4096

/* Text is owned, bounded and safe to show; times are seconds since 1970, UTC. */
struct deploy_result {
    uint32_t version;
    char *name;       /* [certificate] section */
    char *thumbprint; /* SHA-256 of the certificate, hex */
    uint32_t generation;
    char *orders; /* SHA-256 over what the section asks for: when that changes, it is done again */
    int64_t when;
    bool ok;
    struct strlist steps;  /* what was done, in order */
    char *error, *hint;    /* at which step it failed; NULL: it went well */
    struct strlist output; /* the last lines of the program that was run last */
    uint32_t tries;        /* for this certificate, this one included */
};
struct deploy_report {
    struct deploy_result *items;
    size_t n;
};
extern const struct fields deploy_report_fields;

/* For a file; @out is appended to. 0, or -1 with ERR_INVALID. */
int deploy_result_write(const struct deploy_result *result, struct bytes *out, struct err **errp);
/* Hostile until read: every field typed and bounded. @out is written on success only. 0, or -1 with ERR_INVALID. */
int deploy_result_read(const struct bytes *text, struct deploy_result *out, struct err **errp);
void deploy_result_clear(struct deploy_result *result); /* also the CLEANUP form */
/* One sentence or a few, for a person: what was done, or why not. Returns owned. */
char *deploy_result_text(const struct deploy_result *result);
