/* bus_fixture.h - a private system bus with the real policy file, and polkit on it, for one test. */
#pragma once

#include <sys/types.h>

#include "tests/testing.h"

/* Accounts that every system has. Nobody has no right; the member is in the group autoenroll-admin, in this test only.
 */
#define BUS_FIXTURE_NOBODY "nobody"
#define BUS_FIXTURE_MEMBER "bin"

/*
 * What polkit there is. The real one needs root, and has our actions and rules and no others. The silent one takes
 * questions and never answers.
 */
enum bus_polkit { BUS_POLKIT_NONE, BUS_POLKIT_REAL, BUS_POLKIT_SILENT };

struct bus_fixture {
    char *dir;        /* owned, as is all text */
    char *config;     /* of dbus-daemon */
    char *address;    /* in $DBUS_SYSTEM_BUS_ADDRESS too */
    pid_t pid;        /* 0 while it does not run */
    pid_t polkit;     /* the same */
    struct bytes out; /* of the last bus_fixture_as */
};

/*
 * Starts it. As root the group is made, in a mount namespace that this process enters for good. Whatever runs is ended
 * when the test's process exits. Skips the test where dbus-daemon, or the polkitd that is asked for, is not installed.
 */
void bus_fixture_start(struct bus_fixture *f, enum bus_polkit polkit);
void bus_fixture_clear(struct bus_fixture *f); /* also the CLEANUP form */
void bus_fixture_need_root(void);              /* skips the test otherwise */

/* Adds one to a bus that has none. */
void bus_fixture_add_polkit(struct bus_fixture *f, enum bus_polkit polkit);

/* The bus goes away, and comes back at the same address. */
void bus_fixture_kill(struct bus_fixture *f);
void bus_fixture_restart(struct bus_fixture *f);
/* Waits until our name is there; fails the test after ten seconds. */
void bus_fixture_wait(struct bus_fixture *f);

/*
 * Runs a shell command as @user, NULL: as we are; standard output and error into f->out. Returns its exit status. In
 * it $R is "org.autoenroll.Agent1 /org/autoenroll/Agent1".
 */
int bus_fixture_as(struct bus_fixture *f, const char *user, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const char *bus_fixture_said(const struct bus_fixture *f);

/*
 * One call by @user, NULL: as we are, with arguments made from @signature: @text for each s, 0 for x, nothing for
 * a{sv}, and for h a pipe with @secret in it. Returns owned: "" where it went well, else the name of the error, a
 * blank, and its text.
 */
struct bus_fixture_call {
    const char *path, *interface, *member, *signature;
    const char *text;
    const char *secret;
    int fd;           /* for h instead, where it is not 0 */
    const char *flag; /* an option of a{sv} that is true; NULL: none */
};
char *bus_fixture_call(struct bus_fixture *f, const char *user, const struct bus_fixture_call *call);
