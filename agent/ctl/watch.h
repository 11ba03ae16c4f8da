/* watch.h - follows what happens at the daemon, a line for each event. */
#pragma once

#include "agent/ctl/verb.h"

/* Ends with the bus, or with Ctrl-C; a restart of the daemon is one more event. */
int watch_events(struct ctl *ctl, struct err **errp);
