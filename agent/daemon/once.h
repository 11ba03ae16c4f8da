/* once.h - forgets a password that was given for once, as soon as nothing needs it. */
#pragma once

#include "agent/daemon/agent.h"

#define ONCE_LONGEST (14 * 86400) /* seconds: then it goes in any case */

/*
 * Looks at every server whose password was handed over for once. It goes when the server has taken it and everything
 * that its policy has for us is issued or denied, and ONCE_LONGEST after it was given at the latest. Called from the
 * loop while no job is being started.
 */
void once_review(struct agent *agent);
