/* run.h - has a worker do one job, and makes its checkpoints durable. */
#pragma once

#include "agent/daemon/agent.h"

/* What became of a job. Clear with run_outcome_clear. */
struct run_outcome {
    struct channel_event event; /* the RESULT, or the FAILED with the failure */
};
void run_outcome_clear(struct run_outcome *outcome);

/*
 * Runs @kind with @input in a worker. Progress is printed as "@label: text".
 *
 * @record  whose checkpoints these are: each is saved before the worker hears of it, and what was checked is installed
 *          before the worker puts it into the token; NULL for a job without
 * Returns 0 with outcome->event of type CHANNEL_RESULT, or -1: the failure that the worker told of (outcome->event
 * then has the endpoints that were tried), that it was ended by its limit or a signal (ERR_TIMEOUT, ERR_INTERNAL), that
 * it broke the rules (ERR_PROTOCOL), or that a checkpoint could not be made durable (ERR_STORE).
 */
int run_job(struct agent *agent, enum job_kind kind, const void *input, const char *label, struct record *record,
    struct run_outcome *outcome, struct err **errp);

/*
 * Installs the pair that record->attempt holds and that was checked: publishes its files, makes it the record's
 * current pair, and the one before a previous one until its grace time is over. Does nothing when that has been done.
 * 0, or -1 with ERR_STORE and the old pair still current.
 */
int run_install(struct agent *agent, struct record *record, struct err **errp);
