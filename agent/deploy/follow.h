/* follow.h - waits until the daemon has published something: inotify, where no systemd unit watches. */
#pragma once

#include <signal.h>

#include "protocol/base/err.h"

/*
 * Returns when STATE_DIR/public/changed was replaced since the last call, when the directory has come, when a signal
 * was caught, or after an hour at the latest. The first call returns after the watch is set up, so that nothing is
 * missed between two passes.
 *
 * @fd    the inotify descriptor; -1 before the first call. Closed by the caller.
 * @wait  the signal mask during the wait, as of ppoll
 * 0, or -1 with ERR_STORE.
 */
int follow_wait(const char *state_dir, int *fd, const sigset_t *wait, struct err **errp);
