/* bus_plan.h - shows what will be done and which templates there are, with the reasons. */
#pragma once

#include "agent/daemon/agent.h"
#include "agent/daemon/bus.h"

/* An aa{sv} of every decision as it would be at @at, 0: now. */
void bus_put_plan(struct bus_out *out, const struct agent *agent, int64_t at);
/* An aa{sv} of the templates of the policy that @server is asked for; of all policies where it is "". */
void bus_put_templates(struct bus_out *out, const struct agent *agent, const char *server);
