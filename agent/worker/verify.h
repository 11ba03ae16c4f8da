/* verify.h - looks whether key, certificate, published files and chain of an enrollment are as they should be. */
#pragma once

#include "agent/job/channel.h"

/*
 * Reads only. What is wrong is in @result and no failure; a failure is a look that could not be had: the token does not
 * open, the anchors cannot be read.
 */
int verify(struct job_verify *job, struct channel *daemon, struct job_verified *result, struct err **errp);
