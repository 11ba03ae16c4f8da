/* hook.h - runs a program after a change, within limits, and keeps what it printed. */
#pragma once

#include <stdint.h>

#include "protocol/base/bytes.h"

#define HOOK_MAX_OUTPUT 4096 /* bytes that are kept, the last ones */
#define HOOK_MAX_LINES  64
#define HOOK_GRACE      5 /* seconds between SIGTERM and SIGKILL */

struct hook {
    const char *const *argv;        /* argv[0] is an absolute path; NULL at the end; all borrowed */
    const char *const *environment; /* "NAME=value", all there is besides PATH and LANG; NULL at the end */
    const struct bytes *input;      /* what it reads from standard input; NULL: nothing */
    const char *user;               /* who it is, where we are root; NULL: who we are */
    int64_t limit;                  /* seconds; then it is ended with all that it has started */
};

/*
 * Runs it: a session of its own, no descriptors but 0 to 2, no core, directory /. What is left of its process group at
 * its end is killed; a daemon that it has started stays, unless the limit was passed: then everything goes. Its output,
 * standard error too, goes to @output as lines for a person, whether it went well or not.
 * This process must have no other children: it reaps all.
 *
 * @output  what it held is freed
 * 0, or -1: ERR_CONFIG (no such user, cannot be run), ERR_TIMEOUT, ERR_STORE (it failed: its status is in the text).
 */
int hook_run(const struct hook *hook, struct strlist *output, struct err **errp);
