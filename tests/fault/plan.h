/* plan.h - what is to go wrong at which step of a run; shared by a test and the programs that it runs. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The programs fault-daemon and fault-worker are the real ones, linked with step.c: that stands between them, with all
 * that they load, and the C library, and counts each call that changes what is on disk or is said to another process.
 * So the steps are those that the code takes; nobody lists them.
 */
#define FAULT_PLAN      "FAULT_PLAN" /* environment: the path of the file with the plan */
#define FAULT_MAX_STEPS 4096

enum fault_role { FAULT_DAEMON, FAULT_WORKER };

/* What a step is done to. */
enum fault_kind {
    FAULT_DISK,    /* a file below plan->root */
    FAULT_CHANNEL, /* a frame between daemon and worker */
    FAULT_NETWORK, /* a server */
};

enum fault_what {
    FAULT_NOTHING, /* the steps are written down */
    FAULT_KILL,    /* @victims die of SIGKILL, before the call */
    FAULT_ONCE,    /* the call fails with @error; only disk steps are counted */
    FAULT_ALWAYS,  /* it does, and all that would write after it as well */
};

struct fault_step {
    enum fault_role role;
    enum fault_kind kind;
    bool has_worker; /* one was at work */
    bool by_library; /* a library took it, such as a PKCS#11 module, and not our own code */
    char call[16];
    char name[48]; /* the file, without what differs from run to run; or the frame */
};

struct fault_plan {
    enum fault_what what;
    uint32_t at;           /* step, from 1 */
    bool victims[2];       /* by role */
    int error;             /* ENOSPC: what needs no room goes on working; else all fails */
    char root[512];        /* absolute, without a slash at the end */
    atomic_uint count;     /* steps so far */
    atomic_bool struck;    /* the step came */
    _Atomic pid_t pids[2]; /* that run, by role; 0: none */
    struct fault_step steps[FAULT_MAX_STEPS];
};
