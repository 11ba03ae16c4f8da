/* client.h - our calls on the bus; everything that comes back is JSON. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "agent/job/buspath.h"
#include "protocol/base/err.h"

/*
 * A connection to the bus, for a program that may block. Values become JSON: text, paths and signatures strings; bytes
 * a string of Base64; dictionaries objects; structures and other arrays arrays; a variant is what is in it.
 */
struct client;

/* 0 with *out owned, or -1 with ERR_NETWORK: there is no such bus. DBUS_SYSTEM_BUS_ADDRESS and its like count. */
int client_open(bool session, struct client **out, struct err **errp);
void client_free(struct client *client);
DEFINE_FREEP(struct client, client_free)

/* One call of a method. */
struct client_call {
    const char *path;      /* NULL: BUS_ROOT */
    const char *interface; /* NULL: BUS_MANAGER */
    const char *method;
    const char *signature; /* of the arguments: s, o, b, u, x, h, as and a{sv}; NULL: none */
    json_t *arguments;     /* taken: an array with one value for each; h: the number of a descriptor of ours */
};

/*
 * Calls, and waits for the answer.
 * 0 with *reply owned, an array with what came back (@reply may be NULL). Or -1: a failure of the daemon with its own
 * kind, text and hint; ERR_NETWORK: no daemon; ERR_DENIED: not for this user; ERR_TIMEOUT; ERR_MISSING: no such object.
 */
int client_call(struct client *client, const struct client_call *call, json_t **reply, struct err **errp);
/* For the many calls that give one value: that value, owned. */
int client_ask(struct client *client, const struct client_call *call, json_t **value, struct err **errp);

/* From here on what the daemon tells is kept for client_next. 0 or -1. */
int client_listen(struct client *client, struct err **errp);

enum client_news {
    CLIENT_NOTHING, /* within the time */
    CLIENT_SIGNAL,
    CLIENT_GONE, /* the daemon left the bus */
    CLIENT_BACK, /* it is there again */
};
/*
 * The next signal of the daemon and of nobody else, in the order in which it was sent: {"path", "interface", "member",
 * "arguments"}, owned; *signal is NULL with anything but CLIENT_SIGNAL.
 *
 * @timeout_ms  -1: without end
 * Returns enum client_news, or -1 with ERR_NETWORK: the bus itself is gone.
 */
int client_next(struct client *client, int timeout_ms, json_t **signal, struct err **errp);
