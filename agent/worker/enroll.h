/* enroll.h - asks for a certificate, a first one or a renewal, and puts the pair in its place. */
#pragma once

#include "agent/job/channel.h"

/*
 * Goes on where an interrupted attempt ended: what was made durable is not done again.
 *
 * @job     its attempt is taken
 * @result  result->endpoints is filled on failure too: who was tried, and what each said
 * Returns 0 (also when the request is pending), or -1.
 */
int enroll(struct job_enroll *job, struct channel *daemon, struct job_enrolled *result, struct err **errp);
