/* metrics.h - the numbers for a scraper, in the textfile format of node_exporter. */
#pragma once

#include "agent/daemon/agent.h"

#define METRICS_FILE "autoenroll.prom" /* in agent->paths.metrics */

/* Every metric, with its type, help and samples as of agent->now; appended to @out. Nothing that failed is left out. */
void metrics_write(const struct agent *agent, struct bytes *out);

/* Writes the file, durably, readable for everybody. 0, or -1 with ERR_STORE and the old one in place. */
int metrics_publish(const struct agent *agent, struct err **errp);

/* Publishes it after each change, at most once in METRICS_INTERVAL_MS, and at least every METRICS_LIMIT seconds. */
#define METRICS_INTERVAL_MS 1000
#define METRICS_LIMIT       600
struct metrics;
struct metrics *metrics_open(struct agent *agent, struct err **errp); /* owned, or NULL with ERR_INTERNAL */
void metrics_close(struct metrics *metrics);                          /* takes; NULL is fine */

/* SHA-256 of the configuration as it stands in the files that were read, hex. Returns owned. */
char *metrics_config_hash(const struct settings *settings);
