/* job.h - what a worker may be asked and may answer: tables. */
#pragma once

#include "policy/policy.h"

/*
 * A job goes to one worker process over its channel (channel.h); the worker does it and exits. Every struct here has a
 * field map in job.c that bounds each text, list and blob; the same maps write the records on disk
 * (agent/job/fields.h). All pointers are owned by the struct that holds them; x_clear empties in place.
 */

/* kind, its name for a person, its input, its result */
#define JOB_KINDS(X)                                                                                                   \
    X(REFRESH, "refresh", job_refresh, job_refreshed)                                                                  \
    X(ENROLL, "enroll", job_enroll, job_enrolled) /* new and renewal: a renewal has an old pair */                     \
    X(POLL, "poll", job_enroll, job_enrolled)     /* asks after the request that is pending */                         \
    X(RETIRE, "retire", job_retire, job_retired)  /* removes old pairs and orphans from the token */                   \
    X(TOKENS, "tokens", job_tokens, job_token_list)                                                                    \
    X(VERIFY, "verify", job_verify, job_verified) /* is what we hold still as the record says? */                      \
    X(SCAN, "scan", job_scan, job_scanned)        /* certificates that we only watch */                                \
    X(PROBE, "probe", job_probe, job_probed)      /* which certificate does a service present? */
#define X(name, text, input, result) JOB_##name,
enum job_kind { JOB_KINDS(X) JOB__MAX };
#undef X

/* A key id: 20 bytes, of which four, from the fifth on, are the tag of the agent that made the key (agent/key/key.h).
 */
#define JOB_KEY_ID_LEN 20
#define JOB_KEY_TAG_AT 4

/* Where keys live. */
struct job_place {
    char *token_uri;      /* pkcs11: URI of the token; NULL: the SoftHSM token of our own in @token_dir */
    char *module;         /* path of one PKCS#11 module; NULL: all that p11-kit knows */
    char *token_dir;      /* our own directory for token state: SoftHSM objects, its PIN, guards against PIN retries */
    char *key_dir;        /* key files, for `key = file` only */
    char *pin_credential; /* name in $CREDENTIALS_DIRECTORY; NULL: the PIN that we made */
    struct bytes tag;     /* 4 bytes: which key ids in the token are this agent's */
};

/* One policy server of the configuration, as far as a worker needs it. */
struct job_server {
    char *name;               /* section name */
    char *uri;                /* CEP */
    uint32_t auth;            /* enum policy_auth: how we authenticate to the CEP */
    char *username;           /* NULL unless auth is username somewhere */
    char *credential;         /* name of the password in $CREDENTIALS_DIRECTORY: "SECTION.password" */
    char *ca_file;            /* PEM: the only trust for TLS and for what is issued */
    struct strlist ces_hosts; /* besides the CEP's own host */
    char *policy_id;          /* expected policyID, or NULL */
};

/* A certificate that we hold, with where its key is. */
struct job_pair {
    struct bytes certificate; /* DER */
    struct bytes chain;       /* PEM, from the issuer towards the anchor, without the leaf */
    struct bytes key_id;      /* CKA_ID */
    char *key_file;           /* path instead, for a file key; else NULL */
};

/* Facts about a certificate, read by a worker, for the daemon to decide with. */
struct job_facts {
    char *subject, *issuer; /* for a person */
    char *serial;           /* hex */
    char *thumbprint;       /* SHA-256, hex */
    int64_t not_before, not_after;
    char *template_oid;  /* dotted, or NULL */
    char *template_name; /* or NULL */
    struct opt_u32 template_major;
    char *key_kind; /* "P-256", "RSA 2048" */
    char *key_uri;  /* never with a PIN */
    char *sans;     /* "DNS:a, DNS:b", or "" */
};

/* One endpoint that was tried, in order; for explain, and for when to try again. */
struct job_endpoint {
    char *uri;
    uint32_t auth;
    char *error;          /* NULL: this one answered */
    bool sent;            /* the request has left, and the CA may have acted on it */
    bool refused;         /* the credential was shown there, and refused */
    uint32_t retry_after; /* seconds for which it asked to be left alone; 0: nothing said */
};

struct job_refresh {
    struct job_server server;
    struct job_place place;
    struct job_pair identity;    /* for certificate authentication; empty certificate: none */
    struct opt_time last_update; /* ask for changes since */
};
struct job_refreshed {
    bool not_changed;
    struct policy policy;
    struct job_endpoint *endpoints; /* the policy server, once it was asked */
    size_t n_endpoints;
};

/* The names that a template cannot know, already expanded from the configuration by the daemon's settings. */
struct job_names {
    char *subject; /* RFC 4514, or NULL; may hold %{fqdn}, %{hostname}, %{machine-id}: the worker expands */
    struct strlist dns, ip, uri, email, upn;
};

/*
 * What has been made durable of an attempt. The worker sends each step as a checkpoint, the daemon stores and
 * acknowledges it, and a job that was interrupted starts again with what it had: key id -> request -> answer ->
 * checked. Empty fields are steps not yet reached.
 */
struct job_attempt {
    struct bytes key_id;    /* KEY_CHOSEN: before the key is made */
    struct bytes request;   /* REQUEST_SIGNED: PKCS#10, CMS or CMC, DER */
    uint32_t request_token; /* enum wstep_token of @request */
    char *ces_uri;          /* ANSWERED: who answered */
    uint32_t ces_auth;
    char *request_id;                /* ANSWERED, opaque text; NULL when none was given */
    bool pending;                    /* ANSWERED: taken under submission */
    struct bytes answer_cms;         /* ANSWERED: as it came */
    struct bytes answer_certificate; /* ANSWERED: as it came; may be empty */
    struct job_pair pair;            /* CHECKED: ours, trusted, as the template wants it */
    struct job_facts facts;          /* CHECKED */
};
#define JOB_CHECKPOINTS(X)                                                                                             \
    X(KEY_CHOSEN, "key chosen")                                                                                        \
    X(REQUEST_SIGNED, "request signed")                                                                                \
    X(ANSWERED, "answered")                                                                                            \
    X(CHECKED, "checked")
#define X(name, text) CHECKPOINT_##name,
enum job_checkpoint { JOB_CHECKPOINTS(X) CHECKPOINT__MAX };
#undef X

struct job_enroll {
    char *name; /* the enrollment's local id: label in the token */
    struct job_server server;
    struct job_place place;
    struct template template;
    struct policy_ca *cas; /* those that may be asked, in order; for a renewal the issuer first */
    size_t n_cas;
    struct job_names names;
    struct job_pair old;      /* renewal: the pair whose key signs; empty certificate: a first enrollment */
    struct job_pair identity; /* for certificate authentication when it is not @old; usually empty */
    struct bytes replaces;    /* key id of the pair that has the label @name until now; empty: none */
    bool same_key;            /* renew with the old key */
    bool file_key;            /* key = file; only where the template says EXPORTABLE_KEY */
    bool password_fallback;   /* a renewal may use the password */
    struct job_attempt attempt;
};
struct job_enrolled {
    bool pending; /* else the pair is installed in the token; its bytes were in the CHECKED checkpoint */
    struct job_endpoint *endpoints;
    size_t n_endpoints;
};

struct job_retire {
    struct job_place place;
    struct job_pair *pairs; /* to destroy: key and certificate objects */
    size_t n_pairs;
    struct bytes *known; /* key ids that records name, but for @pairs; any other key of our tag is an orphan */
    size_t n_known;
    bool sweep; /* look for orphans */
};
struct job_retired {
    uint32_t removed; /* pairs of @pairs that are gone now */
    uint32_t orphans; /* removed besides */
};

struct job_tokens {
    struct job_place place;
};
struct job_token {
    char *uri, *label, *model;
    bool ours;
};
struct job_token_list {
    struct job_token *items;
    size_t n;
};

/* What a look at one enrollment came to; the exit status of the command line. The first that applies counts. */
#define JOB_VERDICTS(X)                                                                                                \
    X(OK, "ok", 0)                                                                                                     \
    X(MISSING, "missing", 2)           /* the key, the certificate or its files are not there */                       \
    X(KEY_MISMATCH, "key mismatch", 5) /* the certificate is of another key */                                         \
    X(EXPIRED, "expired", 3)                                                                                           \
    X(NOT_YET_VALID, "not yet valid", 6)                                                                               \
    X(ERROR, "error", 1) /* anything else */
#define X(name, text, status) JOB_VERDICT_##name,
enum job_verdict { JOB_VERDICTS(X) JOB_VERDICT__MAX };
#undef X

struct job_verify {
    char *name; /* the enrollment's id: label in the token */
    struct job_place place;
    struct job_pair pair; /* the current one, as on record */
    char *key_uri;        /* that was published for it */
    char *published;      /* directory of its files: .../certs/ID/current; NULL: not looked at */
    char *ca_file;        /* the anchors; NULL: the chain is not looked at */
    struct job_names names;
    struct template *template; /* one, when what is configured is to be compared with what is held; else NULL */
    size_t n_template;
};
struct job_verified {
    unsigned verdict;                           /* enum job_verdict */
    char *problem;                              /* all that is wrong, for a person; NULL: nothing */
    char *names_differ;                         /* what would be requested now, against what is held; NULL: the same */
    struct strlist checked;                     /* one line for each thing that was looked at: "key: ..." */
    int64_t issuer_not_after, anchor_not_after; /* of the chain; 0: not known */
};

#define JOB_MAX_WATCHED   20000 /* files and token objects */
#define JOB_MAX_SEEN_FILE 256   /* certificates in one file */
struct job_watch {
    char *section;
    struct strlist files; /* patterns as of glob(7) */
};
struct job_known {
    char *path;
    uint64_t mark; /* as the worker gave it */
};
struct job_scan {
    struct job_place place;
    bool tokens; /* also certificates in the token that are not ours */
    struct job_watch *watches;
    size_t n_watches;
    struct job_known *known; /* looked at before: passed over while their mark is the same */
    size_t n_known;
    struct strlist only; /* when not empty: only these paths, so far as a pattern fits them; no token */
};
/* One certificate in a file. */
struct job_seen {
    char *subject, *serial, *thumbprint; /* for a person; hex; SHA-256, hex */
    int64_t not_before, not_after;
};
struct job_seen_file {
    char *section; /* NULL: in the token */
    char *path;    /* or pkcs11: URI */
    uint64_t mark; /* another one when the file may have changed; never 0 */
    struct job_seen *certificates;
    size_t n_certificates;
    char *error; /* why it has none, for a person; else NULL */
};
struct job_scanned {
    struct job_seen_file *files; /* that are new or have changed */
    size_t n_files;
    struct strlist gone; /* of the known ones */
    bool more;           /* there are more than one answer takes: ask again */
};

struct job_probe {
    char *target;     /* HOST:PORT, with "smtp:" or "imap:" in front of a service that begins in the clear */
    char *thumbprint; /* that is expected; SHA-256, hex */
};
struct job_probed {
    bool matches;
    char *thumbprint, *subject; /* of what the service presents */
    int64_t not_after;
};

const char *job_kind_name(enum job_kind kind);
const char *job_verdict_name(enum job_verdict verdict);
int job_verdict_status(enum job_verdict verdict); /* exit status of the command line, see its man page */
const char *job_checkpoint_name(enum job_checkpoint checkpoint);

void job_server_clear(struct job_server *server);
void job_pair_clear(struct job_pair *pair);
void job_pair_copy(struct job_pair *to, const struct job_pair *from); /* deep; @to is overwritten */
void job_facts_clear(struct job_facts *facts);
void job_names_clear(struct job_names *names);
void job_attempt_clear(struct job_attempt *attempt);
void job_attempt_copy(struct job_attempt *to, const struct job_attempt *from); /* deep; @to is overwritten */
void job_attempt_drop_answer(struct job_attempt *attempt); /* key and request stay, good for another try */
void job_refresh_clear(struct job_refresh *job);
void job_refreshed_clear(struct job_refreshed *result);
void job_enroll_clear(struct job_enroll *job);
void job_enrolled_clear(struct job_enrolled *result);
void job_retire_clear(struct job_retire *job);
void job_tokens_clear(struct job_tokens *job);
void job_token_list_clear(struct job_token_list *list);
void job_verify_clear(struct job_verify *job);
void job_verified_clear(struct job_verified *result);
void job_scan_clear(struct job_scan *job);
void job_scanned_clear(struct job_scanned *result);
void job_probe_clear(struct job_probe *job);
void job_probed_clear(struct job_probed *result);
