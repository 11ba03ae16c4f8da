/* monitor_inside.h - what the parts of the monitor share. */
#pragma once

#include "agent/daemon/expiry.h"
#include "agent/daemon/inotify.h"
#include "agent/daemon/monitor.h"

/* A look at one enrollment that waits for a worker, or has one. */
struct check {
    struct monitor *monitor; /* NULL: the monitor is gone, and nobody waits for the result any more */
    struct record *record;   /* borrowed: while the look is under way the record is busy, and stays */
    monitor_verified *done;  /* NULL: nobody asked, it is a pulse or something was changed from outside */
    void *ctx;
    int64_t since;
    bool running;
};

struct monitor {
    struct agent *agent;
    int64_t opened_at;
    struct expiry_thresholds thresholds;
    struct inotify *inotify;

    struct check **checks; /* each owned */
    size_t n_checks;

    struct watch_list watched;
    char *memory;          /* file of what was announced; owned */
    struct strlist only;   /* to be scanned; everything when scan_all */
    bool scan_all;         /* wanted */
    struct scanning *scan; /* under way; NULL: none */
    bool settled;          /* everything was seen once */

    struct probing *probe; /* under way; NULL: none */

    enum monitor_token token;
    int64_t token_seen;
};

/* Is there a worker for what nobody waits for? Only one of ours, and after whatever is due. */
bool monitor_has_leisure(const struct monitor *monitor);

/* Follows the directories in which something of ours, or watched, may be changed from outside. */
void monitor_follow(struct monitor *monitor);

/* monitor_check */
void monitor_want_check(struct monitor *monitor, struct record *record); /* unless one waits already */
void monitor_start_checks(struct monitor *monitor);
void monitor_drop_checks(struct monitor *monitor, const struct record *record); /* NULL: all */

/* monitor_scan */
void monitor_want_scan(struct monitor *monitor, const struct strlist *only); /* empty: everything */
void monitor_start_scan(struct monitor *monitor);
void monitor_drop_scan(struct monitor *monitor);

/* monitor_probe */
void monitor_start_probe(struct monitor *monitor);  /* whichever is due; tells the engine when the next one is */
void monitor_allow_probes(struct monitor *monitor); /* one more of each that has failed for good */
void monitor_drop_probe(struct monitor *monitor);

/* monitor_announce: what is due; tells the engine when the next one is */
void monitor_announce(struct monitor *monitor);
