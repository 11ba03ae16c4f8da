/* bus_inside.h - what the parts of the bus share. */
#pragma once

#include <dbus/dbus.h>
#include <sys/queue.h>

#include "agent/daemon/bus.h"
#include "agent/daemon/bus_inbox.h"
#include "agent/daemon/bus_link.h"
#include "agent/daemon/bus_news.h"
#include "agent/daemon/bus_out.h"
#include "agent/daemon/bus_right.h"

#define BUS_MAX_ARGS    4
#define BUS_MAX_OPTIONS 8
/* Bytes that the bus has not taken yet; until it has, no more is done: who asks for little would wait behind them. */
#define BUS_MAX_OUTGOING (4 << 10)

struct bus_call {
    LIST_ENTRY(bus_call) link;
    struct bus *bus;
    DBusMessage *message;          /* referenced */
    struct bus_sender *sender;     /* while its right is being looked at */
    struct bus_right_check *check; /* the same */
    const struct bus_class *class;
    const struct bus_method *method;
    char *id;
    char *caller;
    struct bus_value {
        const char *text; /* of the message */
        int64_t number;
        int fd;
    } args[BUS_MAX_ARGS];
    struct bus_chosen {
        const struct bus_option *option;
        struct bus_value value;
    } options[BUS_MAX_OPTIONS];
    size_t n_options;
    bool held;
    void (*dropped)(void *ctx);
    void *ctx;
};

struct bus {
    struct bus_config config;
    struct bus_link *link;
    struct bus_inbox inbox;
    struct bus_news news;
    struct event *work;
    LIST_HEAD(, bus_call) calls; /* being looked at, or held */
};

/* Sends, takes @message; drops it where there is no connection. */
void bus_send(struct bus *bus, DBusMessage *message);
bool bus_is_throttled(const struct bus *bus); /* the bus has enough to take for now */
void bus_wake(struct bus *bus);               /* there is something to do in the next turn */

/* Answers of ours; returned owned. */
DBusMessage *bus_error(DBusMessage *call, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
DBusMessage *bus_error_of(DBusMessage *call, const struct err *err);
DBusMessage *bus_reply(DBusMessage *call);
DBusMessage *bus_signal_of(const struct bus_class *class, const char *id, const char *interface, const char *member);

/* The object at @path: its class, its id (owned) and what it is about. NULL: there is none. */
const struct bus_class *bus_find(const struct bus *bus, const char *path, char **id, void **about);

/* Reads arguments and options, whose signature is right. 0, or -1 with ERR_USAGE. */
int bus_call_read(struct bus_call *call, struct err **errp);
void bus_call_free(struct bus_call *call);
