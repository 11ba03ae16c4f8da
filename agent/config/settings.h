/* settings.h - what this machine was told, by its files. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"

/* Where the settings are unless the command line says otherwise; the conf.d beside it is read after it. */
#define SETTINGS_DEFAULT_PATH "/etc/autoenroll/autoenroll.conf"

#define SETTINGS_MAX_FILE     (256u << 10)
#define SETTINGS_MAX_SECTIONS 256 /* of one kind */

/* [agent]. Texts are owned here and below; NULL is "not said". */
struct settings_agent {
    char *token;          /* pkcs11: URI; NULL: our own SoftHSM token */
    char *pkcs11_module;  /* path */
    char *pin_credential; /* name in $CREDENTIALS_DIRECTORY */
    int64_t pulse;        /* seconds, as are all spans */
    int64_t grace;        /* an old pair stays this long after its successor works */
    int64_t job_limit;    /* a worker that takes longer is ended */
    uint32_t workers;     /* side by side; 1 to 64 */
    int64_t hook_limit;   /* so is what autoenroll-deploy runs */
    struct strlist notify;
    char *maintenance;
};

/* [policy-server "NAME"] */
struct settings_server {
    char *name;
    char *uri;
    uint32_t auth; /* enum policy_auth */
    char *username;
    char *ca_file;
    char *policy_id;
    struct strlist ces_hosts;
    bool autoenroll;
    struct strlist templates; /* only these; empty: all */
    uint32_t cost;            /* lower first among servers with one policy-id */
    bool password_fallback;
};

/* [certificate "NAME"] */
struct settings_certificate {
    char *name;
    char *policy_server;
    char *template_name;
    char *subject;
    struct strlist dns, ip, uri, email, upn;
    bool file_key;
    char *export;            /* directory that services read; settings_deploy.h says what goes there */
    char *format;            /* "pem", "combined" or "p12" */
    char *owner, *group;     /* NULL: those of the directory */
    char *mode;              /* octal, of a file with the private key; NULL: the default */
    char *p12_password_file; /* path */
    struct strlist reload;   /* systemd units */
    char *run, *run_as;      /* a program, and who it is */
    char *probe;
};

/* [watch "NAME"] */
struct settings_watch {
    char *name;
    struct strlist files;
};

struct settings {
    struct settings_agent agent;
    struct settings_server *servers;
    size_t n_servers;
    struct settings_certificate *certificates;
    size_t n_certificates;
    struct settings_watch *watches;
    size_t n_watches;
    struct strlist files; /* that were read, in order */
};

/*
 * Reads @path and then the *.conf files of "conf.d" beside it in the order of their names; a later file's value
 * replaces an earlier one's. Unknown sections and keys, values of the wrong form, what is missing and what contradicts
 * are errors that name file, line and the nearest known word.
 * Returns 0 and @out (settings_clear), or -1 with ERR_CONFIG, or ERR_MISSING when @path is not there.
 */
int settings_load(const char *path, struct settings *out, struct err **errp);
void settings_clear(struct settings *settings); /* also the CLEANUP form */

const struct settings_server *settings_find_server(const struct settings *settings, const char *name); /* or NULL */

/* What was read, in the files' own words, defaults included: for --check. Appended to @out. 0 or -1 (ERR_INVALID). */
int settings_describe(const struct settings *settings, struct bytes *out, struct err **errp);
