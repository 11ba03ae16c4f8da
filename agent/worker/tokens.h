/* tokens.h - lists the tokens that keys could live in. */
#pragma once

#include "agent/job/channel.h"

int tokens(struct job_tokens *job, struct channel *daemon, struct job_token_list *result, struct err **errp);
