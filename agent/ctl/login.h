/* login.h - gives the daemon a password, or takes it away. */
#pragma once

#include "agent/ctl/verb.h"

int login_give(struct ctl *ctl, struct err **errp);
int login_take_away(struct ctl *ctl, struct err **errp);
