/* probe.h - asks a TLS service which certificate it presents. */
#pragma once

#include "agent/job/channel.h"

#define PROBE_LIMIT_S 10

/* Shows it nothing and trusts it for nothing. 0, or -1: ERR_CONFIG (the target), ERR_NETWORK, ERR_TIMEOUT, ERR_TLS. */
int probe(struct job_probe *job, struct channel *daemon, struct job_probed *result, struct err **errp);
