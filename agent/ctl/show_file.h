/* show_file.h - the verb that prints what is in a file. */
#pragma once

#include "agent/ctl/verb.h"

int show_file(struct ctl *ctl, struct err **errp);
