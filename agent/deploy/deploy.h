/* deploy.h - one pass over the configuration: what is published and not yet in place is put in place. */
#pragma once

#include "agent/job/deploy_result.h"

struct deploy_options {
    const char *config;
    const char *state_dir; /* of the daemon: not trusted */
    const char *results;   /* directory of our own, one NAME.json for each section */
    const char *systemctl; /* NULL: systemctl, where systemd runs */
    const char *once;      /* only this section, whatever its last result says; NULL: all that is not done */
    int64_t now;           /* seconds since 1970, UTC */
};

/*
 * Reads the configuration (root's alone, where we are root), takes the lock of the results directory, waiting for
 * another pass to end, and goes through the sections. A section whose certificate and orders are those of its last
 * result, which went well, is left alone; one that failed is tried again.
 *
 * @report  what was tried in this pass: filled also when some of it failed. Owned: fields_clear(&deploy_report_fields)
 * 0: all that was tried went well. -1: the pass itself failed, or *errp is the first section's failure, which is also
 * in
 * @report.
 */
int deploy_pass(const struct deploy_options *options, struct deploy_report *report, struct err **errp);
