/* bus_out.h - writes values into a message, or takes their hash. */
#pragma once

#include <dbus/dbus.h>

#include "agent/daemon/bus.h"

#define BUS_OUT_DEPTH 16 /* of containers: a list of dictionaries in an answer of GetManagedObjects needs 13 */

struct bus_out {
    DBusMessageIter iters[BUS_OUT_DEPTH];
    unsigned depth;
    bool hashing; /* nothing is written */
    uint32_t hash;
};

void bus_out_to(struct bus_out *out, DBusMessage *message); /* appends to it */
void bus_out_hash(struct bus_out *out);

/* The value of a property as it is now. */
void bus_out_property(struct bus_out *out, const struct bus_property *property, void *self, const void *about);
/* An entry of an a{sv}. */
void bus_out_property_entry(struct bus_out *out, const struct bus_property *property, void *self, const void *about);
/* a{sv} of the properties but for those with one of @without_flags. */
void bus_out_properties(
    struct bus_out *out, const struct bus_interface *interface, unsigned without_flags, void *self, const void *about);
