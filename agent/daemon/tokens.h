/* tokens.h - knows which tokens this machine has, as a worker saw them last. */
#pragma once

#include "agent/daemon/agent.h"

/* Has a worker look; agent->tokens is told anew (AGENT_CHANGED) at its end. No effect while one looks already. */
void tokens_look(struct agent *agent);
