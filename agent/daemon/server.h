/* server.h - what we know of each configured policy server, besides its policy. */
#pragma once

#include "agent/config/settings.h"
#include "protocol/base/err.h"
#include "protocol/base/secret.h"

/* Times are seconds since 1970, UTC; 0: never. The first part is kept in private/servers/NAME.json. */
struct server_state {
    uint32_t version;
    char *name;                         /* of its section; owned, as all text */
    char *policy_id, *friendly_name;    /* as the server said last */
    int64_t fetched_at, next_update;    /* of the policy that counts; when it is asked again */
    int64_t last_attempt, next_attempt; /* while it fails: not before */
    uint32_t failures;                  /* in a row */
    char *error, *hint;                 /* of the last attempt; NULL: it went well */
    unsigned error_kind;                /* enum err_kind */
    int64_t refused_at;                 /* the password was refused then, and no other one is known: accounts lock */
    uint32_t templates;                 /* that its policy has for us */

    /* Only in memory. */
    struct secret *password; /* owned; handed over by SetCredential; NULL: the worker's own vault has it */
    int64_t password_at;     /* when that was */
    bool once;               /* it is forgotten when nothing needs it any more: once.h */
    bool proven;             /* it was taken since it was set: jobs may use it side by side */
    bool in_use;             /* unproven, and a job shows it now: the others wait */
    bool busy;               /* it is being asked */
    bool impatient;          /* it is asked now, whatever next_update and next_attempt say */
};
struct server_list {
    struct server_state **items; /* each owned; in the order of the sections */
    size_t n;
};

/* One for each section of @settings, with what DIR/NAME.json remembers; a damaged file counts as none. */
void server_list_load(struct server_list *list, const char *dir, const struct settings *settings);
/* After the configuration was read anew: those that stay keep what they know, also what is only in memory. */
void server_list_follow(struct server_list *list, const char *dir, const struct settings *settings);
void server_list_clear(struct server_list *list);
struct server_state *server_find(const struct server_list *list, const char *name); /* or NULL */

/* Makes it durable. 0, or -1 with ERR_STORE. */
int server_save(const char *dir, const struct server_state *server, struct err **errp);

/* A password that was refused is not shown again for this long, unless a person asks: accounts lock. */
#define SERVER_REFUSED_FOR (24 * 3600)
/* May a job show the password of @server now? One that nobody has proven is shown by one job at a time. */
enum server_password { SERVER_PASSWORD_FREE, SERVER_PASSWORD_WAIT, SERVER_PASSWORD_REFUSED };
void server_password_refused(struct server_state *server, int64_t now); /* one that was handed over is forgotten */
enum server_password server_password(const struct server_state *server, int64_t now);
/* A person hands one over: takes @password; what was refused before counts no more. NULL: forgets the one that is held.
 */
void server_set_password(struct server_state *server, struct secret *password, bool once);

void server_set_failure(struct server_state *server, const struct err *why);
void server_clear_failure(struct server_state *server);
