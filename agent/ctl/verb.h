/* verb.h - the verbs of the command line and their options: one row each. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ctl/client.h"
#include "agent/ctl/screen.h"

#define PROGRAM           "autoenroll"
#define DEFAULT_STATE_DIR "/var/lib/autoenroll"

struct verb;

/* What the command line said, and what a verb works with. Texts are borrowed from it. */
struct ctl {
    const struct verb *verb;
    char **arguments;
    size_t n_arguments;
    bool json, wait, all, same_key, force, yes, once, help, version, complete;
    const char *bus, *server, *consumer, *at, *password_file, *state_dir;
    struct client *client; /* NULL for a verb that is local, or where there is no bus */
    struct screen screen;  /* of standard output */
    int64_t now;
};

/* Name, argument (NULL: none), what completes it, help; the member of struct ctl that it sets. */
#define VERB_OPTIONS(X)                                                                                                \
    X(JSON, "json", NULL, NULL, "print JSON", json)                                                                    \
    X(BUS, "bus", "BUS", "system session", "where the daemon is: system (default) or session", bus)                    \
    X(HELP, "help", NULL, NULL, "explain the verb, or list all of them", help)                                         \
    X(VERSION, "version", NULL, NULL, "print the version", version)                                                    \
    X(WAIT, "wait", NULL, NULL, "follow it to its end, naming each step", wait)                                        \
    X(ALL, "all", NULL, NULL, "every enrollment that has a certificate", all)                                          \
    X(SAME_KEY, "same-key", NULL, NULL, "keep the key", same_key)                                                      \
    X(SERVER, "server", "SERVER", "@servers", "the [policy-server] section to ask", server)                            \
    X(FOR, "for", "CONSUMER", "@consumers", "print a configuration for this consumer", consumer)                       \
    X(AT, "at", "DATE", NULL, "as of this moment: 2027-03-01, 2027-03-01T12:00:00Z, +90d", at)                         \
    X(FORCE, "force", NULL, NULL, "although the configuration or the policy would bring it back", force)               \
    X(YES, "yes", NULL, NULL, "do not ask", yes)                                                                       \
    X(ONCE, "once", NULL, NULL, "forget it as soon as nothing needs it any more", once)                                \
    X(PASSWORD_FILE, "password-file", "FILE", "@files", "read the password from this file; -: standard input",         \
        password_file)                                                                                                 \
    X(STATE_DIR, "state-dir", "DIR", "@files", "the daemon's state directory (default " DEFAULT_STATE_DIR ")",         \
        state_dir)                                                                                                     \
    X(COMPLETE, "complete", NULL, NULL, NULL, complete)
#define X(name, ...) VERB_OPTION_##name,
enum verb_option { VERB_OPTIONS(X) VERB_OPTION__MAX };
#undef X

struct verb_option_row {
    const char *name, *argument, *completion, *help;
    size_t offset; /* in struct ctl: a const char * with an argument, else a bool */
};
extern const struct verb_option_row verb_options[VERB_OPTION__MAX];

enum verb_flags {
    VERB_LOCAL = 1,  /* needs no daemon */
    VERB_HEALTH = 2, /* its exit status is a health, see health.h */
};

struct verb {
    const char *name;       /* one word or two */
    const char *arguments;  /* as the usage line shows them; NULL: none */
    const char *completion; /* of each argument: "@enrollments", "@servers", "@templates", "@files"; NULL */
    size_t least, most;     /* arguments */
    uint32_t options;       /* 1 << enum verb_option; those that every verb has are not named */
    unsigned flags;
    const char *help; /* one line */
    const char *more; /* paragraphs, or NULL */
    /* Does it. Returns the exit status, or -1 with *errp. */
    int (*run)(struct ctl *ctl, struct err **errp);
};
extern const struct verb verbs[];
extern const size_t n_verbs;

/* The verb that @words begin with; *used: how many of them its name takes. NULL: none is called so. */
const struct verb *verb_find(char *const *words, size_t n, size_t *used);
bool verb_has_option(const struct verb *verb, enum verb_option option);

/* What --help prints: of all, or of one. */
void verb_print_usage(FILE *out);
void verb_print_help(const struct verb *verb, FILE *out);
