/* explain.h - tells a person what became of an enrollment and what to do about it. */
#pragma once

#include "agent/daemon/agent.h"

/*
 * Says what happened to @record and why, what happens next by itself and when, and, where a person must act, what to
 * type. Written for somebody who has never seen this program. Reads what the agent knows and changes nothing.
 *
 * @happened, @todo  returned owned, never NULL: sentences, line by line, without a line end behind the last
 */
void explain_record(const struct agent *agent, const struct record *record, char **happened, char **todo);
