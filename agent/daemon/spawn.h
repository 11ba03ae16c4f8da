/* spawn.h - turns a new process into a worker, with its user and what it may know of us. */
#pragma once

#include "agent/daemon/child.h"

/*
 * Starts @place's program with @fd (borrowed) as CHANNEL_FD, no other descriptor but the first three, and nothing of
 * our environment but what a worker needs. It is killed when we die. Returns its pid, or -1 with errno.
 */
pid_t spawn_worker(const struct children_place *place, int fd);

/* Waits for the end of our child @pid, for ever; its status as waitpid gives it, or CHILD_NO_STATUS. */
int spawn_reap(pid_t pid);
