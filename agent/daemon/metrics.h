/* metrics.h - the numbers for a scraper, in the textfile format of node_exporter. */
#pragma once

#include "agent/daemon/agent.h"

#define METRICS_FILE "autoenroll.prom" /* in agent->paths.metrics */

/* One row a metric: what the man page, the alerts and the dashboard may name. */
struct metrics_row {
    const char *name, *type, *help;
};
const struct metrics_row *metrics_row(size_t i); /* from 0; NULL behind the last */

/*
 * Every metric, with its type, help and samples as of agent->now; appended to @out. What failed keeps its numbers.
 *
 * @config_hash  of metrics_config_hash
 * 0, or -1 when @out is full (ERR_INVALID).
 */
int metrics_write(const struct agent *agent, const char *config_hash, struct bytes *out, struct err **errp);

/* SHA-256 of the configuration as it stands in the files that were read, hex. Returns owned. */
char *metrics_config_hash(const struct settings *settings);

/* Writes the file, durably, readable for everybody. 0, or -1 with ERR_STORE and the old one in place. */
int metrics_publish(const struct agent *agent, const char *config_hash, struct err **errp);

/* Publishes it after each change, at most once in METRICS_INTERVAL_MS, and at least every METRICS_LIMIT seconds. */
#define METRICS_INTERVAL_MS 1000
#define METRICS_LIMIT       600
struct metrics;
struct metrics *metrics_open(struct agent *agent, struct err **errp); /* owned, or NULL with ERR_INTERNAL */
void metrics_close(struct metrics *metrics); /* takes; NULL is fine. Nothing may be told after it */
