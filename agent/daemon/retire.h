/* retire.h - removes what is of no use any more: old pairs, keys without a record, enrollments that were given up. */
#pragma once

#include "agent/daemon/agent.h"

/*
 * Has a worker remove the pairs whose grace time is over and, when it may be that there are any, keys without a
 * record; nothing else may run meanwhile. No effect while it is not time. 0, or -1 (ERR_STORE).
 */
int retire_old(struct agent *agent, struct err **errp);
/* Has the records that are marked `removed` taken out of the token, of public/certs and off the disk. 0 or -1. */
int retire_removed(struct agent *agent, struct err **errp);
/*
 * The keys of this state are another machine's: they are taken out of the token, and what was remembered is forgotten.
 * @done is called once, from the loop; @why NULL: it is as if the agent had just been installed. 0 or -1.
 */
int retire_everything(struct agent *agent, void (*done)(struct agent *agent, const struct err *why), struct err **errp);
