/* bus_introspect.h - writes what Introspect answers, from the rows. */
#pragma once

#include "agent/daemon/bus.h"

/* The XML of the node at @path, with its children; owned. NULL: there is no such node. */
char *bus_introspect(const struct bus *bus, const char *path);
