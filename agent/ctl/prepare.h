/* prepare.h - wipes what must not be cloned: token, records, credentials. */
#pragma once

#include "agent/ctl/verb.h"

/* Under --state-dir; refuses while a daemon holds it, and asks a person first unless --yes. */
int prepare_image(struct ctl *ctl, struct err **errp);
