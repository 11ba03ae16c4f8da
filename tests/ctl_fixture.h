/* ctl_fixture.h - a daemon on a bus of its own, with a reference server, and the command line that asks it. */
#pragma once

#include <jansson.h>

#include "tests/agent_fixture.h"
#include "tests/bus_fixture.h"

/* CLEANUP(ctl_fixture_clear). */
struct ctl_fixture {
    struct server_fixture *server; /* the process's */
    struct agent_fixture *agent;
    struct bus_fixture bus;
    const char *options; /* of the daemon, besides; borrowed, may be NULL */
    pid_t daemon;        /* 0 while it does not run */
    struct bytes out;    /* what the last ctl_run printed: standard output, then error */
    json_t *json;        /* of the last ctl_json */
};

/* Starts server and bus; then the configuration may be changed. No password is in a store. */
void ctl_fixture_prepare(struct ctl_fixture *f);
/* Starts the daemon and waits until it answers. */
void ctl_fixture_start(struct ctl_fixture *f);
void ctl_fixture_stop(struct ctl_fixture *f, int signal);
void ctl_fixture_clear(struct ctl_fixture *f);

/* Runs "autoenroll ARGUMENTS" in a shell; returns its exit status. */
int ctl_run(struct ctl_fixture *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, and fails the test, showing what was printed, unless it ends with @status. */
void ctl_expect(struct ctl_fixture *f, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const char *ctl_said(const struct ctl_fixture *f);
/* Adds --json; what is printed must be one object, in f->json until the next one. */
void ctl_json(struct ctl_fixture *f, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Of the object with this id in a list of f->json; "" where there is none. Borrowed. */
const char *ctl_text(const struct ctl_fixture *f, const char *list, const char *id, const char *key);
/* Hands over the right password, and waits for what comes of it. */
void ctl_login(struct ctl_fixture *f);
