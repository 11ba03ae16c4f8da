/* run.h - has a worker do one job, and makes its checkpoints durable. */
#pragma once

#include "agent/daemon/agent.h"

/* What became of a job. Clear with run_outcome_clear. */
struct run_outcome {
    struct channel_event event; /* the RESULT, or the FAILED with what was tried */
};
void run_outcome_clear(struct run_outcome *outcome);

struct run;

/* A password that the daemon was handed, for the worker's vault under this name. */
struct run_secret {
    const char *name;
    const struct secret *value;
};

struct run_request {
    enum job_kind kind;
    const void *input;        /* the kind's input struct; borrowed until run_start returns */
    const char *label;        /* for the log; copied */
    struct record *record;    /* whose checkpoints these are: each is saved before the worker hears of it, and what was
                                 checked is installed before the worker puts it into the token; NULL for a job without.
                                 Must outlive the run. */
    struct run_secret secret; /* borrowed until run_start returns; name NULL: none */

    /* What the worker says that it does now. May be NULL. */
    void (*progress)(void *ctx, const char *text);
    /*
     * The end; called once, from the loop, never from within run_start. @why NULL: outcome->event is a
     * CHANNEL_RESULT. Else the failure that the worker told of (outcome->event then has the endpoints that were
     * tried), that it was ended by its limit (ERR_TIMEOUT) or by us (ERR_BUSY), or died of a signal or too early
     * (ERR_INTERNAL, with its name), that it broke the rules (ERR_PROTOCOL), or that a checkpoint could not be made
     * durable (ERR_STORE). Both are freed after it returns.
     */
    void (*done)(void *ctx, struct run_outcome *outcome, struct err *why);
    /* Called instead of done when the agent is closed: frees @ctx. NULL: there is nothing to free. */
    void (*dropped)(void *ctx);
    void *ctx;
};

/* 0 with *run (borrowed, good until done is called; may be NULL), or -1 with ERR_INTERNAL when no worker starts. */
int run_start(struct agent *agent, const struct run_request *request, struct run **run, struct err **errp);
/* Ends the worker; done follows with ERR_BUSY. What was checkpointed stays. */
void run_cancel(struct run *run);

/*
 * Installs the pair that record->attempt holds and that was checked: publishes its files, makes it the record's
 * current pair, and the one before a previous one until its grace time is over. Does nothing when that has been done.
 * 0, or -1 with ERR_STORE and the old pair still current.
 */
int run_install(struct agent *agent, struct record *record, struct err **errp);
