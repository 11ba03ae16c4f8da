/* record.h - what we remember about one enrollment. */
#pragma once

#include "agent/job/job.h"

#define RECORD_VERSION     2
#define RECORD_MAX_HISTORY 20

/* What a person would name. The reason is in last_error or in the decision. */
#define RECORD_STATES(X)                                                                                               \
    X(IDLE, "idle")                 /* known, nothing asked yet */                                                     \
    X(DUE, "due")                   /* its time has come, and it waits: for room, maintenance hours, a network */      \
    X(WORKING, "working")           /* an attempt is under way, or was interrupted */                                  \
    X(PENDING, "pending")           /* the CA has the request under submission */                                      \
    X(INSTALLED, "installed")       /* there is a certificate and nothing is wrong */                                  \
    X(BLOCKED, "blocked")           /* the last attempt failed */                                                      \
    X(NAMES_DIFFER, "names-differ") /* what is configured is not what is held; never stored: see names_differ */       \
    X(CLONED, "cloned")             /* this state is another machine's; never stored */
#define X(name, text) RECORD_##name,
enum record_state { RECORD_STATES(X) RECORD_STATE__MAX };
#undef X

/* A pair that is or was in use. */
struct record_pair {
    struct job_pair pair;
    struct job_facts facts;
    uint32_t generation;  /* its directory under public/certs/ID */
    int64_t installed_at; /* seconds since 1970, UTC, as are all times here */
    int64_t retire_after; /* of a previous pair */
    int64_t key_made_at;  /* 0: not known */
};

/* What happened, for a person. */
struct record_event {
    int64_t when;
    char *what;               /* one sentence */
    struct strlist endpoints; /* that were tried: "URI: what came of it" */
};

/* What autoenroll-deploy or a probe came to, for the pair with this thumbprint. */
struct record_outcome {
    char *thumbprint; /* of the pair that it is about; NULL: never done */
    int64_t when;
    bool ok;
    char *text; /* for a person: what was done, or why not and its output */
    uint32_t tries;
};

struct run;
/* Everything is owned. An attempt is under way when attempt.key_id is set; it is a renewal when `renewal`. */
struct record {
    uint32_t version;
    char *id;          /* ours: a directory, a label; never from a server */
    char *certificate; /* [certificate] section; NULL: by autoenrollment */
    char *server;      /* [policy-server] section */
    bool by_person;    /* somebody asked for this template: it needs no permission for autoenrollment */
    char *template_oid, *template_name;
    struct opt_u32 template_major; /* that the current pair was asked for with */
    unsigned state;                /* enum record_state */

    struct record_pair current; /* empty certificate: none yet */
    struct record_pair *previous;
    size_t n_previous;

    struct job_attempt attempt;
    bool renewal;
    int64_t attempt_started;
    struct template *wanted; /* one, as it was when the attempt began: what the answer is held against; else NULL */
    size_t n_wanted;
    struct policy_ca *cas; /* as they were then */
    size_t n_cas;

    char *error, *hint; /* of the last attempt; NULL: it went well */
    unsigned error_kind;
    uint32_t error_code;            /* HRESULT */
    struct job_endpoint *endpoints; /* that the last attempt tried, in order */
    size_t n_endpoints;

    int64_t request_day; /* days since 1970, for requests_today */
    uint32_t requests;   /* that a CA saw on that day */
    struct record_event *history;
    size_t n_history;

    int64_t renew_at;     /* when its renewal is planned; 0: not known yet */
    int64_t next_attempt; /* not before; 0: as soon as it is due */
    uint32_t failures;    /* in a row */
    uint32_t attempts;    /* in all */
    int64_t last_attempt, last_success;
    int64_t pending_since;
    uint32_t notified; /* threshold in seconds that was announced last for the current pair; 0: none; expiry.h */

    int64_t verified_at;
    unsigned verdict;                           /* enum job_verdict, of that look */
    char *verify_problem;                       /* NULL: key, certificate and files are as they should be */
    char *names_differ;                         /* how; NULL: what is configured is what is held */
    int64_t issuer_not_after, anchor_not_after; /* of the current pair's chain; 0: not known */
    struct record_outcome hook, probe;

    /* Only in memory. */
    bool busy;                  /* a worker is at it */
    struct run *run;            /* that worker's job, where it can be stopped; NULL: none */
    bool asked, asked_same_key; /* a person wants it renewed now */
    bool removed, forced;       /* it goes as soon as it is not busy; also where its keys cannot be removed */
    bool impatient;             /* it is tried now, whatever next_attempt says */
};

struct record_list {
    struct record **items; /* each owned */
    size_t n;
    struct strlist left_alone; /* ids whose record could not be read and must not be replaced */
};

const char *record_state_name(enum record_state state);

bool record_has_certificate(const struct record *record);
bool record_is_under_way(const struct record *record); /* an attempt has begun and is not finished */
uint32_t record_requests_today(const struct record *record, int64_t now);
void record_count_request(struct record *record, int64_t now); /* one more that a CA has seen */

/* Adds to the history, with what the endpoints on record came to; the oldest event goes when it is full. */
void record_note(struct record *record, int64_t now, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Takes over a failure: state, texts, endpoints (copied). */
void record_set_failure(struct record *record, int64_t now, const struct err *why, const struct job_endpoint *endpoints,
    size_t n_endpoints);
void record_clear_failure(struct record *record);
/* Forgets the attempt: its key is an orphan from then on, unless it became the current pair's. */
void record_drop_attempt(struct record *record);
/* Sets one of the record's texts for a person: printable, bounded; NULL empties it. */
void record_set_text(char **member, const char *text);
void record_drop_cas(struct record *record); /* they are chosen anew */

/*
 * Reads every record under @dir (private/enrollments). One that is damaged, or from a newer version, is never
 * touched again but by a person: a damaged one is moved aside to ID/record.json.damaged, and each is told of in
 * @problems, for as long as it is there. The others are in out->left_alone.
 * Returns 0, or -1 with ERR_STORE when @dir itself cannot be read.
 */
int record_load_all(const char *dir, struct record_list *out, struct strlist *problems, struct err **errp);
struct record *record_find(const struct record_list *list, const char *id); /* or NULL */
struct record *record_add(struct record_list *list, const char *id);        /* a new one; borrowed from the list */
/* Takes it off the disk, then off the list, and frees it. 0, or -1 with ERR_STORE and everything as before. */
int record_remove(struct record_list *list, const char *dir, struct record *record, struct err **errp);
void record_list_clear(struct record_list *list);

/* Makes the record durable as DIR/ID/record.json. 0, or -1 with ERR_STORE and the old one in place. */
int record_save(const char *dir, const struct record *record, struct err **errp);
