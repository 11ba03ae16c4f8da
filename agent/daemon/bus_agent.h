/* bus_agent.h - puts the agent on the bus. */
#pragma once

#include "agent/daemon/agent.h"
#include "agent/daemon/bus.h"

/*
 * Connects to the bus that the options name and shows the agent there; listens to its news from then on. Returns before
 * the name is ours; @up is called when it is, and may be NULL.
 * 0 with *out owned, NULL for "none"; or -1 with ERR_INTERNAL. A bus that is not there is no failure.
 */
int bus_open(struct agent *agent, void (*up)(void *self, bool owned), struct bus **out, struct err **errp);
void bus_close(struct bus *bus); /* takes; before the agent is closed. NULL is fine */
