/* bus_objects.h - the classes of objects that we have on the bus. */
#pragma once

#include "agent/daemon/agent.h"
#include "agent/daemon/bus.h"

extern const struct bus_class bus_manager_class, bus_enrollment_class, bus_server_class, bus_watched_class,
    bus_job_class;
extern const struct bus_class *const bus_classes[]; /* all, as bus_config wants them */

#define BUS_JOB_ID_SIZE 12
void bus_job_id(const struct task *task, char id[BUS_JOB_ID_SIZE]);
/* The answer of a method that returns a job: its path. 0, or -1 when @task is NULL: *errp says why. */
int bus_put_job(struct bus_out *out, const struct task *task, struct err **errp);

/*
 * Reads a password from @fd, which is taken: at most BUS_SECRET_MAX bytes, within BUS_SECRET_MS, never waiting; and has
 * it remembered for the server. Holds @call until then, and answers it. Returns BUS_LATER, or -1 with ERR_USAGE.
 */
#define BUS_SECRET_MAX 4096
#define BUS_SECRET_MS  5000
int bus_secret_read(
    struct agent *agent, struct bus_call *call, const char *server, int fd, bool once, struct err **errp);
