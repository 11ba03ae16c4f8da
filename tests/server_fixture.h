/* server_fixture.h - a real reference server in a directory of its own, on a port of its own, for one test. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "protocol/base/bytes.h"

#define SERVER_FIXTURE_USER     "alice"
#define SERVER_FIXTURE_PASSWORD "correct horse"

/*
 * Plain values; all strings are owned by the fixture. The URLs hold the real port and are NULL until the server was
 * started. Whatever runs is ended, and the directory removed, when the test's process exits.
 */
struct server_fixture {
    char *dir;             /* the directory given to "init": server.conf, server.db, root.pem ... */
    char *trust;           /* PEM file with the root CA: trust for TLS and for what the CA issues */
    char *password_file;   /* holds SERVER_FIXTURE_PASSWORD, 0600 */
    uint16_t port;         /* 0 until started */
    pid_t pid;             /* 0 while it does not run */
    char *cep_username;    /* https://localhost:PORT/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP */
    char *cep_certificate; /* .../KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP */
    char *ces_username;    /* .../Example%20Issuing%20CA_CES_UsernamePassword/service.svc/CES */
    char *ces_certificate; /* .../Example%20Issuing%20CA_CES_Certificate/service.svc/CES */
};

/*
 * Runs "init" with P-256 keys and makes the user SERVER_FIXTURE_USER; nothing listens yet, so that server.conf can be
 * edited first. @init holds further arguments of "init", shell-quoted where needed; NULL for none.
 *
 * Returns owned by the process; the test fails where something does not work.
 */
struct server_fixture *server_fixture_new(const char *init);
/* The same, and starts it. */
struct server_fixture *server_fixture_running(const char *init);

/* Starts on a free port and waits until it serves. After a stop: on the same port again. */
void server_fixture_start(struct server_fixture *server);
/* Ends it with SIGTERM and waits for it; the test fails unless it ends with status 0. */
void server_fixture_stop(struct server_fixture *server);
/* Ends it with SIGKILL, as a power cut would. */
void server_fixture_kill(struct server_fixture *server);

/*
 * Sets "key = value" in [section] of server.conf, adding section and key where they are missing; NULL as @value
 * removes the key. Counts from the next start, and for the commands at once.
 * For example: server_fixture_set(s, "template \"Approved\"", "EnrollmentFlags", "0x42"),
 * server_fixture_set(s, "misbehave", "wrong-relates-to", "yes").
 */
void server_fixture_set(struct server_fixture *server, const char *section, const char *key, const char *value);

/*
 * Runs "autoenroll-server-ref VERB DIR ARGUMENTS", also while it serves; standard output into @out, which may be NULL.
 * For example: server_fixture_run(s, &out, "approve", "%d", id). Returns the exit status.
 */
int server_fixture_run(struct server_fixture *server, struct bytes *out, const char *verb, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The first column of the first row that @sql gives on the server's database, as a number. For counting rows. */
int64_t server_fixture_number(struct server_fixture *server, const char *sql);
/* The same as text or as a blob (a certificate: "SELECT der FROM certificates ORDER BY id DESC LIMIT 1"). */
void server_fixture_blob(struct server_fixture *server, const char *sql, struct bytes *out);
