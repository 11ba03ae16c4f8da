/* foresee.h - the verbs that tell what will happen and why: explain, plan, templates. */
#pragma once

#include "agent/ctl/verb.h"

int foresee_explain(struct ctl *ctl, struct err **errp);
int foresee_plan(struct ctl *ctl, struct err **errp);
int foresee_templates(struct ctl *ctl, struct err **errp);

/* What one policy server offers: a list of objects with such keys as model.h makes; owned. 0 or -1 as client_call. */
int foresee_list_templates(struct client *client, const char *server, json_t **out, struct err **errp);
