/* ask.h - the verbs that have the daemon do something. */
#pragma once

#include "agent/ctl/verb.h"

int ask_enroll(struct ctl *ctl, struct err **errp);
int ask_renew(struct ctl *ctl, struct err **errp);
int ask_pulse(struct ctl *ctl, struct err **errp);
int ask_poll(struct ctl *ctl, struct err **errp);
int ask_remove(struct ctl *ctl, struct err **errp);
int ask_server_test(struct ctl *ctl, struct err **errp);
int ask_verify(struct ctl *ctl, struct err **errp); /* waits always; its exit status is a health */
int ask_reload(struct ctl *ctl, struct err **errp);
int ask_adopt(struct ctl *ctl, struct err **errp);
int ask_reset(struct ctl *ctl, struct err **errp); /* asks a person first, unless --yes */

/* Asks a question on the terminal. 0: yes; -1 with ERR_USAGE: no, or there is no terminal and no --yes. */
int ask_person(const struct ctl *ctl, const char *question, struct err **errp);
