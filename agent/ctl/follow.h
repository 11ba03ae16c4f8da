/* follow.h - asks the daemon for a task and follows it to its end. */
#pragma once

#include "agent/ctl/verb.h"

/* Tasks that were asked for together. CLEANUP(follow_clear). */
struct follow_task {
    char *path, *label;          /* owned; @label: whom it is about, for a person */
    char *step;                  /* the last that was told; owned */
    char *result, *error, *hint; /* once finished; owned */
    bool finished;
};
struct follow {
    struct follow_task *tasks; /* owned */
    size_t n;
    bool quiet; /* tells nothing of the steps */
};
void follow_clear(struct follow *follow);

/*
 * Asks for a task: @call must give its path. The client listens from then on, so that no step is lost.
 * @call   its arguments are taken
 * 0 or -1 as client_call.
 */
int follow_ask(
    struct ctl *ctl, struct follow *follow, const char *label, const struct client_call *call, struct err **errp);

/*
 * Waits for the end of all, and tells each step: in one line that is rewritten on a terminal, else a line each.
 * 0 when none failed, however it ended; or -1 with the first failure: the task's own error and hint, or ERR_NETWORK
 * when the daemon went away.
 */
int follow_wait(struct ctl *ctl, struct follow *follow, struct err **errp);

/* What the verbs that ask for something end with: waits and prints, or says what was begun. The exit status or -1. */
int follow_finish(struct ctl *ctl, struct follow *follow, struct err **errp);

/* Every property of a task, read anew; owned. 0 or -1. */
int follow_read(struct ctl *ctl, const struct follow_task *task, json_t **out, struct err **errp);
