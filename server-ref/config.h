/* config.h - server.conf: what this CA, its policy servers and its enrollment servers are told. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "protocol/xcep/flags.h"
#include "server-ref/misbehave.h"

/* How a caller proves who it is; the numbers are those of clientAuthentication, [MS-XCEP] 3.1.4.1.3.5. */
enum auth_mode { AUTH_USERNAME = 4, AUTH_CERTIFICATE = 8 };

enum service_kind { SERVICE_CEP, SERVICE_CES };

/* One virtual application: [cep "NAME"] or [ces "NAME"]. */
struct service {
    enum service_kind kind;
    char *name;    /* owned; in the configuration only */
    char *path;    /* owned; as AD CS makes it, neither escaped nor with a host: "/Example CA_CES_Certificate/..." */
    uint32_t auth; /* enum auth_mode */
    bool key_based_renewal; /* CEP: shows only templates for it; CES: a certificate of ours needs no account */
    bool renewal_only;      /* CES */
    uint32_t priority;      /* CES: as the policy shows it, lower goes first */
};

/* name here, word in the configuration, OID in the policy */
#define KEY_ALGORITHMS(X)                                                                                              \
    X(RSA, "RSA", "1.2.840.113549.1.1.1")                                                                              \
    X(P256, "ECDSA_P256", "1.2.840.10045.3.1.7")                                                                       \
    X(P384, "ECDSA_P384", "1.3.132.0.34")                                                                              \
    X(P521, "ECDSA_P521", "1.3.132.0.35")

#define X(id, name, oid) KEY_##id,
enum key_algorithm { KEY_ALGORITHMS(X) };
#undef X

/* [template "NAME"]; the flags are those of flags.h, the words are those of the attributes in Active Directory. */
struct cert_template {
    char *name; /* owned */
    char *oid;  /* owned */
    uint32_t schema;
    uint32_t major;
    uint32_t minor;
    uint32_t general_flags;
    uint32_t name_flags;
    uint32_t enrollment_flags;
    uint32_t private_key_flags;
    uint32_t algorithm;        /* enum key_algorithm */
    uint32_t minimal_key_size; /* bits */
    char *hash;                /* owned; dotted OID for schema 3 and up, else NULL */
    uint32_t key_spec;         /* 1 exchange, 2 signature, 0 not given */
    uint32_t key_usage;        /* first byte of the extension: 0xA0 is digitalSignature and keyEncipherment */
    uint32_t key_usage_property;
    struct strlist application_policies; /* dotted OIDs */
    struct strlist providers;
    struct strlist supersedes; /* names of templates */
    uint32_t ra_signatures;
    struct strlist ra_application_policies; /* dotted OIDs */
    int64_t validity;                       /* seconds */
    int64_t renewal;                        /* seconds before the end */
    struct strlist read;                    /* accounts; "everyone" is all of them */
    struct strlist enroll;
    struct strlist autoenroll;
};

/* [account "NAME"]: what a directory would know about an account. */
struct account {
    char *name; /* owned */
    char *dns;  /* owned; NULL: none */
    char *sid;  /* owned; NULL: none */
};

struct limits {
    int64_t deadline; /* seconds for one request, from its first byte or the connection's start */
    int64_t idle;     /* seconds without any byte */
    uint32_t header;  /* bytes */
    uint32_t body;    /* bytes */
};

struct config {
    char *dir;       /* owned; where it was read from */
    char *ca_config; /* owned; "host\CA common name" */
    char *host;      /* owned; the first part of it: stands in the addresses of the policy */
    char *ca_name;   /* owned; the second */
    char *domain;    /* owned; what accounts without an [account] section have behind their name; NULL: nothing */
    struct strlist edit_flags;           /* of EDITF_ENABLERENEWONBEHALFOF */
    bool allow_sha1;                     /* for signatures of the new key only, which prove possession */
    int64_t maximum_validity;            /* seconds */
    struct strlist read;                 /* CA permission Read */
    struct strlist request_certificates; /* CA permission Request Certificates */
    char *policy_id;                     /* owned */
    char *friendly_name;                 /* owned */
    uint32_t next_update_hours;
    uint32_t maximum_version; /* of a template's compatibility, [MS-XCEP] 3.1.4.1.3.22 */
    struct limits limits;
    struct misbehave misbehave;
    struct service *services;
    size_t n_services;
    struct cert_template *templates;
    size_t n_templates;
    struct account *accounts;
    size_t n_accounts;
    int64_t changed; /* when server.conf was written last; seconds since 1970, UTC */
};

/* Reads DIR/server.conf. Returns owned in @config. 0 or -1 (ERR_CONFIG naming section and key, ERR_MISSING). */
int config_load(const char *dir, struct config **config, struct err **errp);
void config_free(struct config *config); /* takes; NULL is fine */
DEFINE_FREEP(struct config, config_free)

/* NULL when there is none. Names are compared without regard to case. The result is borrowed from @config. */
const struct cert_template *config_template(const struct config *config, const char *name);
const struct cert_template *config_template_by_oid(const struct config *config, const char *oid);
const struct account *config_account(const struct config *config, const char *name);

bool config_has_edit_flag(const struct config *config, const char *flag);
/* Whether @list, of names of accounts or "everyone", covers @account. */
bool config_permits(const struct strlist *list, const char *account);
/* All three flags of key-based renewal: supply in request, previous approval, key-based renewal. */
bool template_renews_by_key(const struct cert_template *template);

const char *key_algorithm_name(enum key_algorithm algorithm);
const char *key_algorithm_oid(enum key_algorithm algorithm);
