/* doctor.h - looks at everything that must be right, and says of each what to do where it is not. */
#pragma once

#include "agent/ctl/verb.h"

/* Exit status 0: all is well; 1: something is not. */
int doctor_run(struct ctl *ctl, struct err **errp);
