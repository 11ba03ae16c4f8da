/* status.h - prints what a walk came to, for a person or as JSON. */
#pragma once

#include "agent/daemon/engine.h"
#include "agent/daemon/engine_walk.h"

/* The table of enrollments, then what was skipped, what went wrong and what to do about it; to standard output. */
void status_print(const struct agent *agent, const struct engine_report *report);
/* The same content as one JSON object. */
void status_print_json(const struct agent *agent, const struct engine_report *report);
