/* scan.h - reads the certificates that somebody else manages, in files and in the token. */
#pragma once

#include "agent/job/channel.h"

/* A file that cannot be read is an answer about that file, and no failure. */
int scan(struct job_scan *job, struct channel *daemon, struct job_scanned *result, struct err **errp);
