/* bus_standard.h - answers Introspectable, Properties and ObjectManager for all our objects. */
#pragma once

#include <dbus/dbus.h>

#include "agent/daemon/bus.h"

/* The answer to a call of one of these interfaces, owned; NULL: @call is of another one. */
DBusMessage *bus_standard(const struct bus *bus, DBusMessage *call);

/* An a{sa{sv}} of what an object has, as InterfacesAdded and GetManagedObjects tell it. */
void bus_standard_put_interfaces(struct bus_out *out, const struct bus_class *class, void *self, const void *about);
