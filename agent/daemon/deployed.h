/* deployed.h - wakes autoenroll-deploy after a change, reads what it came to, and has it try again what failed. */
#pragma once

#include "agent/daemon/agent.h"

/*
 * From here on DIR/ID/installed is moved and agent->paths.changed replaced when a pair has come to its place, and
 * agent->paths.deploy is watched, where autoenroll-deploy leaves a file for each section: each is taken over into
 * record->hook and told. What failed is asked for again, more and more seldom. What was missed while nobody listened is
 * made up for now. Where options->deploy names the program, it is also started: elsewhere a .path unit or --follow does
 * that. 0, or -1 with ERR_INTERNAL.
 */
int deployed_open(struct agent *agent, struct err **errp);
void deployed_close(struct agent *agent); /* no effect where it is not open */

/* Reads the results anew, for when inotify may have missed something. */
void deployed_check(struct agent *agent);
