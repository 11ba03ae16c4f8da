/* retire.h - removes pairs that nothing uses any more, and keys that a crash left without a record. */
#pragma once

#include "agent/job/channel.h"

/* Only keys of ours, and none that job->known names: a key that was kept at renewal has two certificates. */
int retire(struct job_retire *job, struct channel *daemon, struct job_retired *result, struct err **errp);
