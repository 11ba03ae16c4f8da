/* worker_fixture.h - plays the daemon's side of the channel with a real worker process. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "agent/job/channel.h"

#define WORKER_FIXTURE_LIMIT_MS 60000 /* a worker that takes longer fails the test */

/* Where a worker's state lives, for one test. Strings are owned by the fixture, the directories go with the test. */
struct worker_fixture {
    char *dir;
    char *token_dir; /* our own SoftHSM token comes here */
    char *key_dir;
    char *credentials; /* $CREDENTIALS_DIRECTORY */
    char *token_uri;   /* another token, with its PIN as credential token.pin; set by the test, NULL: our own */
    char *module;
    uint8_t tag[4];
};
struct worker_fixture *worker_fixture_new(void); /* the process's own; the same one at each call */
/* Stores a password as credential NAME.password; NULL removes it. */
void worker_fixture_password(const struct worker_fixture *fixture, const char *name, const char *password);

/* Fill in parts of a job; the strings become the job's. */
void worker_fixture_place(const struct worker_fixture *fixture, struct job_place *place);
void worker_fixture_server(struct job_server *server, const char *name, const char *uri, uint32_t auth,
    const char *username, const char *trust);
/* A job to enroll for @template of @policy, with the CAs that the policy gives for it. */
void worker_fixture_enroll(const struct worker_fixture *fixture, const struct policy *policy, const char *template,
    const struct job_server *server, struct job_enroll *job);

/* What came of one worker. */
struct worker_run {
    bool done;           /* a result came */
    struct err *failure; /* owned; else why there is none */
    union {
        union job_output output;
        struct job_refreshed refreshed; /* by the kind of the job */
        struct job_enrolled enrolled;
        struct job_retired retired;
        struct job_token_list tokens;
        struct job_verified verified;
        struct job_scanned scanned;
        struct job_probed probed;
    };
    enum job_kind kind;
    struct job_endpoint *endpoints; /* tried, where it failed */
    size_t n_endpoints;
    struct job_attempt attempt; /* as of the last checkpoint */
    unsigned checkpoints;       /* 1 << enum job_checkpoint, or-ed */
    struct bytes progress;      /* a line each */
    int status;                 /* wait status of the process */
};
void worker_run_clear(struct worker_run *run);

#define WORKER_RUN_THROUGH -1 /* as @kill_at: never */

/*
 * Starts a worker, gives it the job, acknowledges its checkpoints, and waits for its end. The test fails where the
 * worker breaks the rules of the channel or ends badly.
 *
 * @kill_at  SIGKILL instead of an acknowledgement at this enum job_checkpoint; the attempt has it then
 */
void worker_fixture_run(
    const struct worker_fixture *fixture, enum job_kind kind, const void *input, int kill_at, struct worker_run *run);
