/* deploy_fixture.h - a CA and what a daemon would have published, without either: for tests of autoenroll-deploy. */
#pragma once

#include "agent/job/deploy_result.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"

/* Everything lies in a directory of its own, which goes with the test's process. All owned. */
struct deploy_fixture {
    char *dir, *state, *config, *results, *target;
    char *home; /* STATE/public/certs/web */
    EVP_PKEY *ca_key, *key;
    struct cert *ca, *cert; /* @cert and @key are those published last */
    uint32_t generation;    /* of them */
    struct bytes out;       /* of the last run: standard output and error */
};

/* Section "web" says nothing yet, and the target directory is empty. */
void deploy_fixture_init(struct deploy_fixture *f);
void deploy_fixture_clear(struct deploy_fixture *f); /* also the CLEANUP form */

/* [certificate "web"] with these lines, and [agent] with @agent. */
void deploy_fixture_section(struct deploy_fixture *f, const char *agent, const char *lines);
/* A new key and certificate as the next generation: the key in a file, or in a token that nobody asks. */
void deploy_fixture_publish(struct deploy_fixture *f, bool file);

/* Runs autoenroll-deploy with @arguments; the exit status, or 128 + the signal. */
int deploy_fixture_run(struct deploy_fixture *f, const char *arguments);
/* The same, and fails the test unless it ends with @status. */
void deploy_fixture_expect(struct deploy_fixture *f, const char *arguments, int status);
/* What RESULTS/web.json says; the test fails where there is none. @out: what it held is freed. */
void deploy_fixture_result(struct deploy_fixture *f, struct deploy_result *out);

/* What openssl finds in the target: the certificate published last, its chain to the CA, and its key. */
void deploy_fixture_assert_placed(struct deploy_fixture *f);
