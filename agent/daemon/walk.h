/* walk.h - one walk over configuration, policy and records: does what is due. */
#pragma once

#include "agent/daemon/group.h"
#include "policy/decide.h"

/* What was decided and why; for what was done, the record tells what came of it. */
struct walk_line {
    struct record *record; /* borrowed from the agent; NULL for a template that is skipped */
    char *name;            /* owned; of the enrollment or of the template */
    enum decide_action action;
    char *reason; /* owned; one sentence */
};
struct walk {
    struct group_list groups;
    struct walk_line *lines; /* owned */
    size_t n_lines;
    struct strlist resumed; /* enrollments that had their turn before the policy was asked */
    enum err_kind worst;    /* of the first failure; only when `failed` */
    bool failed;
};

/*
 * Goes on with what was interrupted, asks the policy servers, decides, enrolls, renews and polls what is due, retires
 * old pairs. A failure of one enrollment stays with it and is on record. 0, or -1 when the walk itself could not go on
 * (ERR_STORE).
 */
int walk_once(struct agent *agent, struct walk *walk, struct err **errp);
void walk_clear(struct walk *walk);
