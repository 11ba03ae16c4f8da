/* orders.h - carries out what one section asks for after a change: export, reload, run. */
#pragma once

#include "agent/config/settings_deploy.h"
#include "agent/deploy/source.h"
#include "agent/job/deploy_result.h"

struct orders {
    const struct settings_certificate *section; /* borrowed, as is all here */
    const char *systemctl;                      /* the program; NULL: systemctl, where systemd runs */
    int64_t limit;                              /* seconds for each program */
};

/* What the section asks for, as one hash: another one means that everything is to be done again. Returns owned. */
char *orders_hash(const struct settings_certificate *section);

/*
 * Puts the files in place, reloads the units, runs the program; stops at the first that fails. What was done goes to
 * result->steps, what the last program printed to result->output. 0 or -1.
 */
int orders_carry_out(
    const struct orders *orders, const struct source *source, struct deploy_result *result, struct err **errp);
