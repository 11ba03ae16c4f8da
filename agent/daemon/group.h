/* group.h - the policy servers that serve one policy, and what they say together. */
#pragma once

#include "agent/daemon/agent.h"
#include "policy/policy.h"

/* Sections with one policy-id, cheapest first; a section without one is a group of its own. Borrows from settings. */
struct group {
    const struct settings_server **servers; /* owned array */
    size_t n_servers;
    struct policy policy; /* merged; owned */
    bool has_policy;
    struct strlist notes; /* what goes wrong at single servers, one sentence each */
    struct err *failure;  /* owned; the first, when there is no policy at all */
};
struct group_list {
    struct group *items; /* owned */
    size_t n;
};

/* Makes the groups of the configuration. */
void group_list_make(const struct settings *settings, struct group_list *out);
void group_list_clear(struct group_list *list);

bool group_has_server(const struct group *group, const char *name);
struct group *group_of_server(const struct group_list *list, const char *name); /* or NULL */
/* The section whose account enrolls: the first with a user name, else the first. Borrowed. */
const struct settings_server *group_account(const struct group *group);
/* The section whose autoenrollment counts: the first that has it on; NULL where none has. Borrowed. */
const struct settings_server *group_autoenroll(const struct group *group);

/* One section as a worker needs it, with the hosts of the whole group allowed; owned by the caller. */
void group_job_server(const struct group *group, const struct settings_server *server, struct job_server *out);

/*
 * Unites the answers that are on disk and may still be used: one that cannot be asked for anew counts seven days more.
 * Sets has_policy or failure, and notes.
 */
void group_merge(struct agent *agent, struct group *group);

/* Is there a certificate to ask a server with auth = certificate with? */
bool group_has_identity(const struct agent *agent, const struct group *group);
/* When @server is to be asked next; 0: now. Meaningless while it is busy. */
int64_t group_due(const struct agent *agent, const struct group *group, const struct server_state *server);

/*
 * Has @server asked by a worker. At its end its state, the cached answer and the group's policy are renewed and told,
 * the tasks that wait for it are finished, and the engine is woken.
 * 0, or -1 when no worker starts.
 */
int group_ask(struct agent *agent, struct group *group, struct server_state *server, struct err **errp);
