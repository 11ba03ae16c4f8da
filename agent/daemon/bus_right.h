/* bus_right.h - finds out whether a caller on the bus may do what it asks for. */
#pragma once

#include <dbus/dbus.h>

#include "agent/daemon/bus.h"

/*
 * Root may, and whoever runs as we do. Of others polkit is asked, with the caller's name on the bus as subject; where
 * there is no polkit, or it does not answer, members of BUS_GROUP may. A caller that is gone may not. Nothing blocks.
 */
struct bus_right_question {
    const char *sender; /* unique name; copied */
    enum bus_right right;
    bool interactive; /* the caller lets polkit ask its person, which takes as long as it takes */
};

/* @refused: why not, for a person; NULL: it may. @caller: "uid 1000". Both are borrowed during the call. */
typedef void bus_right_answer(void *ctx, const char *refused, const char *caller);

/* @answer is called once, never from within; the result is good until then. Returns owned by itself. */
struct bus_right_check;
struct bus_right_check *bus_right_ask(
    DBusConnection *connection, const struct bus_right_question *question, bus_right_answer *answer, void *ctx);
void bus_right_cancel(struct bus_right_check *check); /* @answer is not called any more */

const char *bus_right_action(enum bus_right right); /* of polkit; NULL for BUS_ANYONE */
