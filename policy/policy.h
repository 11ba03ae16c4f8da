/* policy.h - the merged view of all CEPs: templates, CAs, OIDs resolved. */
#pragma once

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"
#include "protocol/base/opt.h"

/*
 * These are values: bounded, typed, resolved by the worker that read the answer of a CEP [MS-XCEP 3.1.4.1.3], so that
 * the daemon never sees XML, DER or an OID reference. Text that came from a server is valid UTF-8 and bounded, and
 * nothing more: it is printed by one function and never becomes a path.
 */
#define POLICY_MAX_TEMPLATES  8192
#define POLICY_MAX_CAS        256
#define POLICY_MAX_URIS       64
#define POLICY_MAX_EXTENSIONS 64
#define POLICY_MAX_TEXT       1024
#define POLICY_MAX_DER        65536

/* clientAuthentication, [MS-XCEP 3.1.4.1.3.5]; the same four values authenticate to a CEP. */
#define POLICY_AUTHS(X)                                                                                                \
    X(ANONYMOUS, 1, "anonymous")                                                                                       \
    X(KERBEROS, 2, "kerberos")                                                                                         \
    X(USERNAME, 4, "username")                                                                                         \
    X(CERTIFICATE, 8, "certificate")
#define X(name, value, text) POLICY_AUTH_##name = (value),
enum policy_auth { POLICY_AUTHS(X) };
#undef X

const char *policy_auth_name(uint32_t auth);              /* "unknown" for other values */
bool policy_auth_parse(const char *name, uint32_t *auth); /* true when @name is one of them */

struct policy_uri {
    uint32_t auth;           /* enum policy_auth; other values are kept and never used */
    char *uri;               /* owned */
    struct opt_u32 priority; /* lower goes first, absent last */
    bool renewal_only;
};
struct policy_ca {
    char *name;               /* owned; common name of the CA certificate, for a person */
    struct bytes certificate; /* DER; what is issued must chain through it */
    bool enroll_permission;
    struct policy_uri *uris; /* owned */
    size_t n_uris;
};
struct policy_extension {
    char *oid; /* owned, dotted */
    bool critical;
    struct bytes value; /* DER, copied into the request unchanged */
};

/* One template, [MS-XCEP 3.1.4.1.3.7]. Flags are those of protocol/xcep/flags.h; absent words are 0. */
struct template
{
    char *name;              /* owned; commonName */
    char *oid;               /* owned, dotted; identifies the template */
    uint32_t schema;         /* 1 to 4 */
    uint32_t major, minor;   /* revision */
    uint64_t validity;       /* seconds, a recommendation */
    uint64_t renewal;        /* seconds before expiry */
    bool enroll, autoenroll; /* permissions of the identity that asked */
    uint32_t key_length;     /* bits, at least */
    struct opt_u32 key_spec; /* 1 exchange, 2 signature */
    struct opt_u32 key_usage_property;
    char *key_algorithm; /* owned, dotted; NULL: not said, RSA */
    char *hash;          /* owned, dotted; NULL: not said */
    uint32_t private_key_flags, subject_name_flags, enrollment_flags, general_flags;
    uint32_t ra_signatures;
    struct strlist ra_ekus, ra_policies;
    struct strlist superseded; /* names of templates that this one replaces */
    struct strlist providers;
    bool archival;                       /* keyArchivalAttributes were given */
    struct policy_extension *extensions; /* owned */
    size_t n_extensions;
    uint32_t *cas; /* owned; indices into policy.cas */
    size_t n_cas;
};

struct policy {
    char *id;            /* owned; policyID */
    char *friendly_name; /* owned, or NULL */
    struct opt_u32 next_update_hours;
    int64_t fetched_at;         /* seconds since 1970, UTC; the server's Date where it gave one */
    struct template *templates; /* owned */
    size_t n_templates;
    struct policy_ca *cas; /* owned */
    size_t n_cas;
    struct strlist skipped; /* one sentence for each template that could not be read */
};

const struct template *policy_find_template(const struct policy *policy, const char *oid);          /* or NULL */
const struct template *policy_find_template_by_name(const struct policy *policy, const char *name); /* or NULL */
/*
 * What a table of fields cannot say of a policy that came from a worker or from disk: each reference to a CA is to one
 * that is there, templates have a name and a valid place. 0, or -1 with ERR_INVALID.
 */
int policy_check(const struct policy *policy, struct err **errp);
/*
 * True when @now, an answer for the policy of @before, is from an earlier state of it [design 8.14]: a template's
 * version went back, or the server's clock did by more than a day. A directory that lags behind, or a server that was
 * restored from a backup, answers so. It is not to be applied while @before may still be used; after that it counts,
 * since somebody may have meant it.
 *
 * @why  owned, one sentence for a person; only set when true
 */
bool policy_is_older(const struct policy *now, const struct policy *before, char **why);
/* The common name in RFC 4514 text, its escapes undone; the whole text where it has none. Returns owned. */
char *policy_common_name(const char *subject);
/* True when @issuer, a name as RFC 4514 text, has the common name of @ca; NULL has none. */
bool policy_ca_issued(const struct policy_ca *ca, const char *issuer);
void template_clear(struct template *template);
void template_copy(struct template *to, const struct template *from); /* deep; @to is overwritten */
void policy_ca_clear(struct policy_ca *ca);
void policy_ca_copy(struct policy_ca *to, const struct policy_ca *from); /* deep; @to is overwritten */
void policy_clear(struct policy *policy);                                /* empties in place */
