/* refresh.h - fetches the policy of one CEP. */
#pragma once

#include "agent/job/channel.h"

/* Returns 0, or -1: as fetch_policy; ERR_AUTH where the credential for this server is missing. */
int refresh(struct job_refresh *job, struct channel *daemon, struct job_refreshed *result, struct err **errp);
