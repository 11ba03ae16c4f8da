/* poll.h - asks what became of a request that is pending. */
#pragma once

#include "agent/job/channel.h"

/*
 * Asks the address that took the request, as the same identity, and goes on as enroll does once it is issued.
 *
 * @job  its attempt is taken; must have been answered
 * Returns 0 (also when it is still pending), or -1: as enroll; ERR_MISSING when the CA knows the request no more.
 */
int poll_pending(struct job_enroll *job, struct channel *daemon, struct job_enrolled *result, struct err **errp);
