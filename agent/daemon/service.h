/* service.h - runs the agent as a daemon: signals, readiness, watchdog, and everybody who listens. */
#pragma once

#include "agent/daemon/agent.h"

/*
 * Starts the engine and those who tell others, and runs until SIGTERM or SIGINT. SIGHUP reads the configuration anew,
 * SIGUSR1 is a pulse. 0 after a clean stop, or -1 when it could not begin.
 */
int service_run(struct agent *agent, struct err **errp);
