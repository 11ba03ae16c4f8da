/* bus_inbox.h - the calls that wait, and whose turn it is. */
#pragma once

#include <dbus/dbus.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "protocol/base/mem.h"

/*
 * Each caller has its own line, and they are served in turn, so that one who sends thousands of calls waits for
 * itself only.
 */
#define BUS_INBOX_MAX_SENDER   128  /* calls of one caller that wait */
#define BUS_INBOX_MAX          1024 /* of all together */
#define BUS_INBOX_MAX_CHECKING 16   /* calls of one caller whose right is being looked at: the next ones wait */

struct bus_sender {
    TAILQ_ENTRY(bus_sender) link;
    char *name;
    DBusMessage **waiting; /* each referenced; the oldest first */
    size_t n;
    unsigned checking;
};
struct bus_inbox {
    TAILQ_HEAD(, bus_sender) senders; /* whose turn is next first */
    size_t n;
};

void bus_inbox_init(struct bus_inbox *inbox);
void bus_inbox_clear(struct bus_inbox *inbox);
/* Takes a reference. false: too many wait. */
bool bus_inbox_add(struct bus_inbox *inbox, DBusMessage *message);
/*
 * The next call whose turn it is; a reference that the caller owns. NULL when none may be served now. *@sender stays
 * good until bus_inbox_release.
 */
DBusMessage *bus_inbox_next(struct bus_inbox *inbox, struct bus_sender **sender);
void bus_inbox_release(struct bus_inbox *inbox, struct bus_sender *sender);
