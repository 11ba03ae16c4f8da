/* oneshot_fixture.h - a reference server and an agent that knows it: runs the one, looks at what it made of both. */
#pragma once

#include <jansson.h>

#include "agent/job/job.h"
#include "tests/agent_fixture.h"
#include "tests/testing.h"

/* CLEANUP(oneshot_clear); the server may be made before, so that its configuration can be changed. */
struct oneshot {
    struct server_fixture *server; /* the process's */
    struct agent_fixture *agent;
    struct record_list records; /* as oneshot_record has read them last */
    json_t *status;             /* what the last oneshot_json printed */
};

/* Starts the server, NULL: a new one, and makes an agent for it. */
void oneshot_start(struct oneshot *s);
void oneshot_clear(struct oneshot *s);

/* Sets "key = value" in the server's template DeviceEC, which is the quick one. Counts from the next start. */
void oneshot_template(struct oneshot *s, const char *key, const char *value);
/* The same for [misbehave]; restarts the server. */
void oneshot_misbehave(struct oneshot *s, const char *key, const char *value);

/* Runs the agent; fails the test, showing what was printed, unless it ends with @status. */
void oneshot_run(struct oneshot *s, const char *arguments, int status);
/* The same with --json: what is printed must be one object, with the four lists that it always has. */
void oneshot_json(struct oneshot *s, const char *arguments, int status);
const char *oneshot_said(const struct oneshot *s); /* what the last run printed */

/* Of the last oneshot_json, borrowed: an enrollment's field as text; the reason of a decision; NULL where none. */
const char *oneshot_field(const struct oneshot *s, const char *id, const char *key);
const char *oneshot_decision(const struct oneshot *s, const char *name, const char *key);

/* From disk; the record and its state. The test fails where there is none. Borrowed until the next look. */
const struct record *oneshot_record(struct oneshot *s, const char *id);

/* Rows of the server's table: "requests", "certificates", or with a condition: "requests WHERE ...". */
int64_t oneshot_count(struct oneshot *s, const char *what);
/* Requests for policy or certificates that the server has answered since it was made. */
size_t oneshot_answered(struct oneshot *s);

/*
 * @id is installed and as it should be: openssl verifies the published chain up to the server's root, the files belong
 * together, and the token has exactly the current pair under the label @id: certificate, key, and the same public key.
 */
void oneshot_assert_installed(struct oneshot *s, const char *id);
/* Each key in the token stands in a record, and each key of a record is in the token: @n of them. */
void oneshot_assert_no_orphans(struct oneshot *s, size_t n);

/* --- in the worker's place --- */

/* A program for --worker that runs @script (of sh; "$worker" is the real one) and must end with "exec". Owned. */
char *oneshot_worker(const struct oneshot *s, const char *name, const char *script);

/* Where to cut an attempt short. */
enum oneshot_moment {
    ONESHOT_NOT_SAVED, /* the worker has taken the step; the daemon never hears of it */
    ONESHOT_SAVED,     /* it is on record; the worker never hears of that */
};
enum oneshot_victim { ONESHOT_WORKER, ONESHOT_DAEMON };

#define ONESHOT_RESULT CHECKPOINT__MAX /* as a step: the end of the job, which nobody acknowledges */

/*
 * Runs the agent with a worker whose words pass through us, and kills -9 @victim at exactly this moment of the first
 * enrollment, renewal or poll that reaches it. Fails the test when the moment never came.
 */
void oneshot_run_and_kill(struct oneshot *s, const char *arguments, enum job_checkpoint step,
    enum oneshot_moment moment, enum oneshot_victim victim);
