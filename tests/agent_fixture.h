/* agent_fixture.h - a real agent in a directory of its own, for one test: configuration, credentials, state. */
#pragma once

#include <sys/types.h>

#include "agent/daemon/record.h"
#include "agent/key/key_token.h"
#include "tests/server_fixture.h"

/* Strings are owned by the fixture; the directory goes with the test's process. */
struct agent_fixture {
    struct server_fixture *server; /* borrowed */
    char *dir;
    char *config;      /* autoenroll.conf */
    char *state;       /* --state-dir */
    char *credentials; /* $CREDENTIALS_DIRECTORY */
    char *run_as;      /* who autoenrolld becomes; NULL: it runs as the caller */
    char *worker_as;
    struct bytes out; /* of the last run: standard output and error */
};

/*
 * Sections "corp" (user name; autoenrollment off) and "corp-renewal" (certificate, cost 1) of the server, which must
 * run, and the password of its user. Returns owned; agent_fixture_free.
 */
struct agent_fixture *agent_fixture_new(struct server_fixture *server);
void agent_fixture_free(struct agent_fixture *f); /* takes; NULL is fine */
DEFINE_FREEP(struct agent_fixture, agent_fixture_free)

/* Writes conf.d/NAME.conf; NULL removes it. */
void agent_fixture_fragment(struct agent_fixture *f, const char *name, const char *text);
/* [certificate "NAME"] for @template, with a subject and a DNS name; @more: further lines, or "". */
void agent_fixture_section(struct agent_fixture *f, const char *name, const char *template, const char *more);
/* The password of section "corp"; NULL: none. */
void agent_fixture_password(struct agent_fixture *f, const char *password);

/* Runs "autoenrolld --oneshot ARGUMENTS"; returns the exit status, or 128 + the signal. */
int agent_fixture_run(struct agent_fixture *f, const char *arguments);
/* The same, and fails the test, showing what was printed, unless it ends with @status. */
void agent_fixture_expect(struct agent_fixture *f, const char *arguments, int status);
/* Starts it and does not wait; its output goes to a file. */
pid_t agent_fixture_spawn(struct agent_fixture *f);

/* The record of @id as it is on disk, from a list that the caller clears; the test fails where there is none. */
const struct record *agent_fixture_record(struct agent_fixture *f, const char *id, struct record_list *list);
/* Changes what is on record: dates, so that no test has to wait. */
void agent_fixture_save(struct agent_fixture *f, const struct record *record);

/* The published file of the current pair. Returns owned. */
char *agent_fixture_file(struct agent_fixture *f, const char *id, const char *name);
/* What openssl says of the published files: a chain to the server's root; certificate and chain belong together. */
void agent_fixture_assert_published(struct agent_fixture *f, const char *id);
/* The keys of our own token, by another look than the worker's. */
void agent_fixture_keys(struct agent_fixture *f, struct key_listings *keys);
size_t agent_fixture_count_keys(struct agent_fixture *f);
