#include "agent/daemon/bus_news.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/bus_inside.h"
#include "agent/daemon/bus_standard.h"

#define LOOK_BACK 16 /* of what is queued: the same news again is dropped; farther back it costs nothing but a look */

/* --- what was told of each object --- */

static struct bus_seen_list *list_of(struct bus_news *news, const struct bus_class *class)
{
    for (size_t i = 0; i < news->n_seen; i++)
        if (news->seen[i].class == class)
            return &news->seen[i];
    return NULL;
}

static struct bus_seen *seen_find(const struct bus_seen_list *list, const char *id)
{
    for (size_t i = 0; list && i < list->n; i++)
        if (strcmp(list->items[i].id, id) == 0)
            return &list->items[i];
    return NULL;
}

static size_t count_properties(const struct bus_class *class)
{
    size_t n = 0;

    for (const struct bus_property *p = class->interface->properties; p && p->name; p++)
        n++;
    return n;
}

static uint32_t hash_of(const struct bus *bus, const struct bus_property *property, const void *about)
{
    struct bus_out out;

    bus_out_hash(&out);
    bus_out_property(&out, property, bus->config.self, about);
    return out.hash;
}

static void seen_add(struct bus *bus, struct bus_seen_list *list, const char *id, const void *about)
{
    struct bus_seen *seen = MEM_APPEND(list->items, list->n);
    const struct bus_property *properties = list->class->interface->properties;
    size_t n = count_properties(list->class);

    seen->id = mem_strdup(id);
    seen->hashes = mem_calloc(n + 1, sizeof(*seen->hashes));
    for (size_t i = 0; i < n; i++)
        seen->hashes[i] = hash_of(bus, &properties[i], about);
}

static void seen_drop(struct bus_seen_list *list, struct bus_seen *seen)
{
    free(seen->id);
    free(seen->hashes);
    *seen = list->items[--list->n];
}

/* --- telling --- */

static void tell_added(struct bus *bus, const struct bus_class *class, const char *id, const void *about)
{
    DBusMessage *signal;
    struct bus_out out;

    if (!class->kind)
        return;
    signal = dbus_message_new_signal(BUS_ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded");
    if (!signal)
        abort();
    bus_out_to(&out, signal);
    bus_put_path(&out, class->kind, id);
    bus_standard_put_interfaces(&out, class, bus->config.self, about);
    bus_send(bus, signal);
}

static void tell_removed(struct bus *bus, const struct bus_class *class, const char *id)
{
    DBusMessage *signal;
    struct bus_out out;

    if (!class->kind)
        return;
    signal = dbus_message_new_signal(BUS_ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved");
    if (!signal)
        abort();
    bus_out_to(&out, signal);
    bus_put_path(&out, class->kind, id);
    bus_begin_array(&out, "s");
    bus_put_text(&out, class->interface->name);
    bus_end(&out);
    bus_send(bus, signal);
}

/* @seen NULL: of a class of which nothing is kept. A property whose value is the same is not told. */
static void tell_changed(
    struct bus *bus, const struct bus_class *class, struct bus_seen *seen, const char *id, const void *about)
{
    const struct bus_property *properties = class->interface->properties;
    DBusMessage *signal = NULL;
    struct bus_out out;

    for (size_t i = 0; properties && properties[i].name; i++) {
        uint32_t hash;

        if (properties[i].flags & BUS_CONSTANT)
            continue;
        hash = seen ? hash_of(bus, &properties[i], about) : 0;
        if (seen && seen->hashes[i] == hash)
            continue;
        if (seen)
            seen->hashes[i] = hash;
        if (!signal) {
            signal = bus_signal_of(class, id, DBUS_INTERFACE_PROPERTIES, "PropertiesChanged");
            bus_out_to(&out, signal);
            bus_put_text(&out, class->interface->name);
            bus_begin_array(&out, "{sv}");
        }
        bus_out_property_entry(&out, &properties[i], bus->config.self, about);
    }
    if (!signal)
        return;
    bus_end(&out);
    bus_begin_array(&out, "s");
    bus_end(&out);
    bus_send(bus, signal);
}

static void tell_object(struct bus *bus, const struct bus_news_item *item)
{
    struct bus_seen_list *list = list_of(&bus->news, item->class);
    struct bus_seen *seen = seen_find(list, item->id);
    const void *about;

    if (item->kind == BUS_NEWS_REMOVED) {
        if (seen)
            seen_drop(list, seen);
        if (seen || !list)
            tell_removed(bus, item->class, item->id);
        return;
    }
    about = item->class->find(bus->config.self, item->id);
    if (!about)
        return; /* it has gone again, and that is told */
    if (seen || (!list && item->kind == BUS_NEWS_CHANGED)) {
        tell_changed(bus, item->class, seen, item->id, about);
        return;
    }
    if (list)
        seen_add(bus, list, item->id, about);
    tell_added(bus, item->class, item->id, about);
}

static void item_clear(struct bus_news_item *item)
{
    free(item->id);
    if (item->signal)
        dbus_message_unref(item->signal);
}

bool bus_news_tell(struct bus *bus, unsigned most)
{
    struct bus_news *news = &bus->news;

    while (news->first < news->n && most-- && !bus_is_throttled(bus)) {
        struct bus_news_item item = news->items[news->first++];

        if (item.kind == BUS_NEWS_SIGNAL)
            bus_send(bus, TAKE(item.signal));
        else
            tell_object(bus, &item);
        item_clear(&item);
    }
    if (news->first < news->n)
        return true;
    free(TAKE(news->items));
    news->n = news->first = 0;
    return false;
}

/* --- hearing --- */

static void note(
    struct bus *bus, enum bus_news_kind kind, const struct bus_class *class, const char *id, DBusMessage *signal)
{
    struct bus_news *news = &bus->news;
    struct bus_news_item *item;

    for (size_t i = news->n; kind == BUS_NEWS_CHANGED && i > news->first && i + LOOK_BACK > news->n; i--) {
        item = &news->items[i - 1];
        if (item->kind == kind && item->class == class && strcmp(item->id, id) == 0)
            return;
    }
    item = MEM_APPEND(news->items, news->n);
    *item = (struct bus_news_item){.kind = kind, .class = class, .id = mem_strdup(id), .signal = signal};
    bus_wake(bus);
}

void bus_added(struct bus *bus, const struct bus_class *class, const char *id)
{
    note(bus, BUS_NEWS_ADDED, class, id, NULL);
}

void bus_changed(struct bus *bus, const struct bus_class *class, const char *id)
{
    note(bus, BUS_NEWS_CHANGED, class, id, NULL);
}

void bus_removed(struct bus *bus, const struct bus_class *class, const char *id)
{
    note(bus, BUS_NEWS_REMOVED, class, id, NULL);
}

static void put_arguments(DBusMessage *signal, const char *signature, va_list ap)
{
    struct bus_out out;

    bus_out_to(&out, signal);
    for (; *signature; signature++) {
        switch (*signature) {
        case 's':
            bus_put_text(&out, va_arg(ap, const char *));
            break;
        case 'x':
            bus_put_time(&out, va_arg(ap, int64_t));
            break;
        default:
            bus_put_u32(&out, va_arg(ap, uint32_t));
        }
    }
}

void bus_emit(struct bus *bus, const struct bus_class *class, const char *id, const char *name, ...)
{
    const struct bus_signal *row = class->interface->signals;
    DBusMessage *signal;
    va_list ap;

    while (strcmp(row->name, name) != 0)
        row++;
    signal = bus_signal_of(class, id, class->interface->name, name);
    va_start(ap, name);
    put_arguments(signal, row->in, ap);
    va_end(ap);
    bus_changed(bus, class, id);
    note(bus, BUS_NEWS_SIGNAL, class, id, signal);
}

/* --- comparing --- */

struct comparison {
    struct bus *bus;
    struct bus_seen_list *list;
    bool silent;
};

static void compare_one(void *ctx, const char *id, void *about)
{
    struct comparison *c = ctx;
    struct bus_seen *seen = seen_find(c->list, id);

    if (seen) {
        seen->there = true;
        bus_changed(c->bus, c->list->class, id);
    } else if (c->silent) {
        seen_add(c->bus, c->list, id, about);
    } else {
        bus_added(c->bus, c->list->class, id);
    }
}

void bus_compare(struct bus *bus, const struct bus_class *class)
{
    struct comparison c = {.bus = bus, .list = list_of(&bus->news, class)};

    for (size_t i = 0; i < c.list->n; i++)
        c.list->items[i].there = false;
    class->each(bus->config.self, compare_one, &c);
    for (size_t i = 0; i < c.list->n; i++)
        if (!c.list->items[i].there)
            bus_removed(bus, class, c.list->items[i].id);
}

void bus_news_init(struct bus *bus)
{
    struct bus_news *news = &bus->news;

    for (size_t i = 0; bus->config.classes[i]; i++)
        if (!bus->config.classes[i]->many)
            MEM_APPEND(news->seen, news->n_seen)->class = bus->config.classes[i];
    for (size_t i = 0; i < news->n_seen; i++) {
        struct comparison c = {.bus = bus, .list = &news->seen[i], .silent = true};

        c.list->class->each(bus->config.self, compare_one, &c);
    }
}

void bus_news_clear(struct bus *bus)
{
    struct bus_news *news = &bus->news;

    for (size_t i = news->first; i < news->n; i++)
        item_clear(&news->items[i]);
    free(news->items);
    for (size_t i = 0; i < news->n_seen; i++) {
        while (news->seen[i].n)
            seen_drop(&news->seen[i], &news->seen[i].items[0]);
        free(news->seen[i].items);
    }
    free(news->seen);
    *news = (struct bus_news){0};
}
