/* bus_news.h - tells the bus what has changed, once in a turn of the loop. */
#pragma once

#include <dbus/dbus.h>

#include "agent/daemon/bus.h"

enum bus_news_kind { BUS_NEWS_ADDED, BUS_NEWS_CHANGED, BUS_NEWS_REMOVED, BUS_NEWS_SIGNAL };
struct bus_news_item {
    enum bus_news_kind kind;
    const struct bus_class *class;
    char *id;
    DBusMessage *signal; /* owned */
};
/* What was told of an object: a hash of each property. */
struct bus_seen {
    char *id;
    uint32_t *hashes;
    bool there; /* while comparing */
};
struct bus_seen_list {
    const struct bus_class *class;
    struct bus_seen *items;
    size_t n;
};
struct bus_news {
    struct bus_news_item *items; /* from @first on they have not been told */
    size_t n, first;
    struct bus_seen_list *seen; /* one for each class that is not `many` */
    size_t n_seen;
};

/* What there is now counts as told. */
void bus_news_init(struct bus *bus);
void bus_news_clear(struct bus *bus);
/* Tells up to @most. true: there are more. */
bool bus_news_tell(struct bus *bus, unsigned most);
