/* group.h - the policy servers that serve one policy, and what they say together. */
#pragma once

#include "agent/daemon/agent.h"

/* Sections with one policy-id, cheapest first; a section without one is a group of its own. Borrows from settings. */
struct group {
    const struct settings_server **servers; /* owned array */
    size_t n_servers;
    struct policy policy; /* merged; owned */
    bool has_policy;
    bool no_password;     /* it is missing, or was refused in this walk: accounts lock, so it is not shown again */
    struct strlist notes; /* what went wrong at single servers, one sentence each */
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
/* The section whose account enrolls: the first with a user name, else the first. Borrowed. */
const struct settings_server *group_account(const struct group *group);
/* The section whose autoenrollment counts: the first that has it on; NULL where none has. Borrowed. */
const struct settings_server *group_autoenroll(const struct group *group);

/* One section as a worker needs it, with the hosts of the whole group allowed; owned by the caller. */
void group_job_server(const struct group *group, const struct settings_server *server, struct job_server *out);

/*
 * Has each server of @group asked whose cached answer is not good any more, and merges what they say. A server that
 * fails is noted; its last answer is used for seven days more. Sets has_policy or failure.
 */
void group_refresh(struct agent *agent, struct group *group);
