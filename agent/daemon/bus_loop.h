/* bus_loop.h - has a D-Bus connection served by a libevent loop. */
#pragma once

#include <dbus/dbus.h>
#include <event2/event.h>

#include "protocol/base/err.h"

/*
 * Attaches @connection: its watches and timeouts become events of @base. Nothing is dispatched from within them: @wake
 * is called whenever there may be something to dispatch, or room to send again, and must only note that.
 * The connection keeps what it needs until it is freed, or bus_loop_detach is called.
 * 0, or -1 with ERR_INTERNAL.
 */
struct bus_loop;
int bus_loop_attach(DBusConnection *connection, struct event_base *base, void (*wake)(void *ctx), void *ctx,
    struct bus_loop **out, struct err **errp);
void bus_loop_detach(struct bus_loop *loop); /* takes; before the connection is closed and unreferenced */
