/* bus_link.h - keeps us connected to a bus, under our name. */
#pragma once

#include <dbus/dbus.h>
#include <event2/event.h>
#include <stdbool.h>

#include "protocol/base/err.h"

/* Each is called from the loop; none may close the link. */
struct bus_link_config {
    const char *bus;         /* "system" or "session", or an address; copied */
    const char *name;        /* that we want to own; borrowed */
    int retry_max;           /* seconds between two tries at the most */
    struct event_base *base; /* borrowed */
    void (*wake)(void *ctx); /* there may be something for bus_link_dispatch, or room to send: call it soon */
    void (*received)(void *ctx, DBusMessage *message); /* a call; borrowed */
    void (*changed)(void *ctx, bool up);               /* the name is ours; or the connection has gone */
    void (*log)(void *ctx, bool wrong, const char *text);
    void *ctx;
};

/* Begins to connect. 0, or -1 with ERR_INTERNAL. */
struct bus_link;
int bus_link_open(const struct bus_link_config *config, struct bus_link **out, struct err **errp);
void bus_link_close(struct bus_link *link); /* takes; waits a moment for what is queued to be sent; NULL is fine */

DBusConnection *bus_link_connection(const struct bus_link *link); /* borrowed; NULL while there is none */
bool bus_link_is_up(const struct bus_link *link);
/* Handles up to @most messages. true: there are more. */
bool bus_link_dispatch(struct bus_link *link, unsigned most);
