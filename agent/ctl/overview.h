/* overview.h - the verbs that show what the machine holds: status, list, show. */
#pragma once

#include "agent/ctl/verb.h"

/* Exit statuses are healths (health.h). */
int overview_status(struct ctl *ctl, struct err **errp);
int overview_list(struct ctl *ctl, struct err **errp);
int overview_servers(struct ctl *ctl, struct err **errp);
int overview_show(struct ctl *ctl, struct err **errp);
