/* engine_tasks.h - tells the tasks that wait for something how it goes, and how it ended. */
#pragma once

#include "agent/daemon/agent.h"

/* What is being done now, for the tasks that wait for it. */
void engine_step_server(struct agent *agent, const char *server, const char *text);
void engine_step_record(struct agent *agent, const char *id, const char *text);
/* An end, for the tasks that wait for it. @why: NULL where it went well. */
void engine_asked(struct agent *agent, struct server_state *server, const struct err *why);
void engine_attempted(struct agent *agent, struct record *record, const struct err *why);
void engine_removed(struct agent *agent, struct record *record, const struct err *why);
