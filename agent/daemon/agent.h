/* agent.h - owns the long-lived objects; where the daemon joins the stages. */
#pragma once

#include "agent/config/settings.h"
#include "agent/daemon/child.h"
#include "agent/daemon/record.h"

/* What the command line said. Texts are borrowed from it. */
struct agent_options {
    const char *config;
    const char *state_dir;
    const char *worker; /* path of the worker program */
    const char *run_as; /* user names; only as root */
    const char *worker_as;
    const char *renew; /* an enrollment's id, or "all": due now, because a person asks; NULL: nothing */
    bool same_key;
    bool json;
};

/* What we are, in private/instance.json. */
struct instance {
    uint32_t version;
    struct bytes tag;  /* 4 random bytes: which keys in a token are ours */
    int64_t last_seen; /* the latest time that we saw: a clock before it is wrong */
    bool clean;        /* the last walk came to its end */
};

/* Where things are; all owned. */
struct agent_paths {
    char *private, *enrollments, *policies; /* ours alone */
    char *token, *keys;                     /* the worker's */
    char *public, *certs;                   /* for everybody */
};

struct agent {
    const struct agent_options *options;
    struct settings settings;
    struct agent_paths paths;
    struct account daemon_account, worker_account; /* uid 0 and no name where they are not used */
    struct children *children;
    struct instance instance;
    struct record_list records;
    struct strlist problems; /* with records, for a person */
    int lock;
    int64_t now;        /* of this walk */
    bool clock_is_back; /* the clock is before the last time we saw: nothing is retired */
    bool sweep;         /* there may be keys without a record */
};

/*
 * Reads the configuration, makes what is missing under the state directory, gives up root, takes the lock of the
 * state directory and loads the records.
 * 0, or -1: ERR_CONFIG, ERR_STORE, ERR_BUSY (another instance holds the lock), ERR_MISSING.
 */
int agent_open(struct agent *agent, const struct agent_options *options, struct err **errp);
int agent_save_instance(struct agent *agent, struct err **errp);
void agent_close(struct agent *agent);

/* The place of keys, for a job; owned by the caller. */
void agent_place(const struct agent *agent, struct job_place *out);

int agent_save_record(struct agent *agent, const struct record *record, struct err **errp);
