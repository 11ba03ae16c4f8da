#include "agent/daemon/bus_objects.h"
#include "agent/daemon/monitor.h"

static void get_section(void *self, const void *about, struct bus_out *out)
{
    const struct watched *watched = about;

    (void)self;
    bus_put_text(out, watched->section);
}

#define TEXT(member)   BUS_MEMBER(struct watched, member, "s", char *)
#define TIME(member)   BUS_MEMBER(struct watched, member, "x", int64_t)
#define NUMBER(member) BUS_MEMBER(struct watched, member, "u", uint32_t)

static const struct bus_property properties[] = {
    {"Path", TEXT(path), .flags = BUS_CONSTANT, .doc = "The file that it is in, or the pkcs11: URI"},
    {"Place", NUMBER(place), .flags = BUS_CONSTANT, .doc = "Which certificate of that file, from 0"},
    {"Section", "s", get_section, .doc = "The [watch] section that names it; empty: it was found in the token"},
    {"Subject", TEXT(subject), .doc = "Its subject; empty when there is an error"},
    {"NotBefore", TIME(not_before), .doc = "Seconds since 1970, UTC"},
    {"NotAfter", TIME(not_after), .doc = "When it expires; 0: not known"},
    {"Error", TEXT(error), .doc = "Why it could not be read; empty: it could"},
    {0},
};

static const struct bus_signal signals[] = {
    {"Expiring", "u", "days", "So many days are left."},
    {0},
};

static const struct bus_interface interface = {
    .name = BUS_WATCHED,
    .doc = "A certificate that we do not manage and only watch.",
    .properties = properties,
    .signals = signals,
};

static void *find(void *self, const char *id)
{
    return watch_find(monitor_watched(self), id);
}

static void each(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx)
{
    const struct watch_list *list = monitor_watched(self);

    for (size_t i = 0; i < list->n; i++)
        call(ctx, list->items[i]->id, list->items[i]);
}

const struct bus_class bus_watched_class = {
    .kind = BUS_WATCHES, .interface = &interface, .many = true, .find = find, .each = each};
