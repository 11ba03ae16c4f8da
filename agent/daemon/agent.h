/* agent.h - owns the long-lived objects; where the daemon joins the stages. */
#pragma once

#include <event2/event.h>

#include "agent/config/settings.h"
#include "agent/daemon/child.h"
#include "agent/daemon/instance.h"
#include "agent/daemon/log.h"
#include "agent/daemon/record.h"
#include "agent/daemon/server.h"
#include "agent/daemon/task.h"

/* What the command line said. Texts are borrowed from it. */
struct agent_options {
    const char *config;
    const char *state_dir;
    const char *runtime_dir;    /* NULL: nothing is kept there */
    const char *worker;         /* path of the worker program */
    const char *worker_socket;  /* systemd's; NULL: workers are started by fork and exec */
    const char *deploy_results; /* root's directory with what autoenroll-deploy did; NULL: DIR/deploy */
    const char *deploy;         /* path of autoenroll-deploy, to start it here; NULL: a .path unit does, or --follow */
    const char *run_as;         /* user names; only as root */
    const char *worker_as;
    const char *renew; /* oneshot: an enrollment's id, or "all": due now, because a person asks; NULL: nothing */
    const char *bus;   /* "system", "session" or "none" */
    bool same_key;
    bool json;
    const char *machine_id; /* file that says which machine this is; NULL: /etc/machine-id */
    bool adopt, reset;      /* what to do about a state that is another machine's */
    bool oneshot;           /* one walk, then the end: everything is tried now, nothing waits */
};

/* Where things are; all owned. */
struct agent_paths {
    char *private, *enrollments, *policies, *servers, *instance; /* ours alone */
    char *token, *keys;                                          /* the worker's */
    char *public, *certs, *metrics;                              /* for everybody */
    char *changed; /* a file, replaced whenever a published pair changed */
    char *deploy;  /* results of autoenroll-deploy */
};

/* What has happened, to those who tell others: bus, monitor, metrics, log. */
enum agent_event {
    AGENT_RECORD_ADDED,
    AGENT_RECORD_CHANGED,
    AGENT_RECORD_REMOVED, /* still readable during the call */
    AGENT_RENEWED,        /* a new pair is current, first one included */
    AGENT_FAILED,         /* an attempt; the record says why */
    AGENT_EXPIRING,       /* @days are left, of a record or of something watched */
    AGENT_SERVER_CHANGED,
    AGENT_TASK_ADDED,
    AGENT_TASK_CHANGED,
    AGENT_TASK_FINISHED,
    AGENT_TASK_REMOVED,
    AGENT_WATCHED_ADDED,
    AGENT_WATCHED_CHANGED,
    AGENT_WATCHED_REMOVED,
    AGENT_RELOADED, /* sections may have come and gone: servers, watches */
    AGENT_CHANGED,  /* something about the agent itself: state, tokens, next pulse */
    AGENT_TICK,     /* time has passed: the engine has had its turn, and will have one in 600 s at the latest */
};
struct watched;
struct agent_news {
    enum agent_event event;
    struct record *record; /* each borrowed, and NULL where it is not about one */
    struct server_state *server;
    struct task *task;
    struct watched *watched;
    uint32_t days;
};
typedef void agent_listener(void *self, const struct agent_news *news);

struct group_list;
struct engine;
struct monitor;
struct deployed;

struct agent_hearer {
    agent_listener *call;
    void *self;
};
struct agent {
    const struct agent_options *options;
    struct settings settings;
    struct agent_paths paths;
    struct account daemon_account, worker_account; /* uid 0 and no name where they are not used */
    struct children *children;
    struct instance instance;
    struct machine_identity machine; /* that we run on */
    struct record_list records;
    struct server_list servers;
    struct task_list tasks;
    struct strlist problems;      /* with records, for a person */
    struct job_token_list tokens; /* as seen last */
    bool looking_at_tokens;
    struct group_list *groups; /* owned; made anew when the configuration is */
    int lock;
    int64_t now;          /* of this turn of the loop: agent_tell_time */
    bool clock_is_back;   /* the clock is before the last time we saw, or before the build: nothing is retired */
    bool clock_is_unsure; /* the kernel says that nobody has set it */
    bool sweep;           /* there may be keys without a record */
    bool retiring;        /* old pairs and orphans are being removed: no key may be made */
    bool resetting;       /* everything is being forgotten */
    int64_t retire_next;  /* after a failure of that: not before */
    bool cloned;          /* this state was made on another machine: nothing is signed, no network */

    struct event_base *base;
    struct engine *engine;          /* owned */
    struct monitor *monitor;        /* owned; NULL in oneshot */
    struct deployed *deployed;      /* owned; NULL where nobody listens to autoenroll-deploy */
    struct agent_hearer *listeners; /* owned array */
    size_t n_listeners;
};

/*
 * Reads the configuration, makes what is missing under the state directory, gives up root, takes the lock of the
 * state directory, makes the loop and loads the records.
 * 0, or -1: ERR_CONFIG, ERR_STORE, ERR_BUSY (another instance holds the lock), ERR_MISSING.
 */
int agent_open(struct agent *agent, const struct agent_options *options, struct err **errp);
void agent_close(struct agent *agent);
/* Reads the configuration anew; on failure the one before stays in force. 0, or -1 with ERR_CONFIG. */
int agent_reload(struct agent *agent, struct err **errp);

/* This machine and this clock are right: the state is bound to them from now on. 0, or -1 with ERR_STORE. */
int agent_adopt(struct agent *agent, struct err **errp);
/*
 * Forgets everything, keys included, as if the agent had just been installed: for a copy of another machine. It goes
 * on in the loop; what comes of it is logged, and told as AGENT_CHANGED. 0, or -1 when it cannot begin.
 */
int agent_reset(struct agent *agent, struct err **errp);

void agent_listen(struct agent *agent, agent_listener *call, void *self);
void agent_unlisten(struct agent *agent, const void *self); /* not from within news */
void agent_tell(struct agent *agent, const struct agent_news *news);
/* For the commonest: a record, a server. */
void agent_tell_record(struct agent *agent, enum agent_event event, struct record *record);
void agent_tell_server(struct agent *agent, struct server_state *server);

/* Reads the clock into agent->now, and what may be thought of it. Called first by whatever the loop calls. */
void agent_tell_time(struct agent *agent);

/* The [certificate] section that wants @record; borrowed, or NULL. */
const struct settings_certificate *agent_section(const struct agent *agent, const struct record *record);
/* Its names as a worker needs them; owned by the caller. */
void agent_names(const struct settings_certificate *section, struct job_names *out);
/* The place of keys, for a job; owned by the caller. */
void agent_place(const struct agent *agent, struct job_place *out);

int agent_save_instance(struct agent *agent, struct err **errp);
/* On disk, then told. 0, or -1 with ERR_STORE. */
int agent_save_record(struct agent *agent, struct record *record, struct err **errp);
/* What a person would call the state of @record now: cloned and names-differ come from elsewhere than record->state. */
enum record_state agent_state_of(const struct agent *agent, const struct record *record);
/* "ok", "degraded" (something failed and waits), "clock" (it is implausible), "cloned". Borrowed. */
const char *agent_state(const struct agent *agent);
