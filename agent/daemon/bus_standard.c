#include "agent/daemon/bus_standard.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/bus_inside.h"
#include "agent/daemon/bus_introspect.h"

static DBusMessage *no_object(DBusMessage *call)
{
    return bus_error(call, DBUS_ERROR_UNKNOWN_OBJECT, "there is no object %s", dbus_message_get_path(call));
}

static DBusMessage *introspect(const struct bus *bus, DBusMessage *call)
{
    CLEANUP(mem_freep) char *xml = bus_introspect(bus, dbus_message_get_path(call));
    DBusMessage *reply;
    struct bus_out out;

    if (!xml)
        return no_object(call);
    reply = bus_reply(call);
    bus_out_to(&out, reply);
    bus_put_text(&out, xml);
    return reply;
}

/* --- Properties --- */

/* What a call of Properties is about. */
struct target {
    const struct bus_interface *interface; /* NULL: a standard one, which has no properties */
    const struct bus_property *property;   /* NULL: not asked for */
    void *about;
};

static bool is_standard(const char *interface)
{
    static const char *const names[] = {DBUS_INTERFACE_PEER, DBUS_INTERFACE_INTROSPECTABLE, DBUS_INTERFACE_PROPERTIES,
        "org.freedesktop.DBus.ObjectManager"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(interface, names[i]) == 0)
            return true;
    return false;
}

/* NULL with @out, or an error, owned. @property NULL: all. */
static DBusMessage *find_target(
    const struct bus *bus, DBusMessage *call, const char *interface, const char *property, struct target *out)
{
    CLEANUP(mem_freep) char *id = NULL;
    const struct bus_class *class = bus_find(bus, dbus_message_get_path(call), &id, &out->about);
    const struct bus_property *p;

    if (!class)
        return no_object(call);
    if (!*interface || strcmp(interface, class->interface->name) == 0)
        out->interface = class->interface;
    else if (!is_standard(interface))
        return bus_error(call, DBUS_ERROR_UNKNOWN_INTERFACE, "there is no interface %s here", interface);
    if (!property)
        return NULL;
    for (p = out->interface ? out->interface->properties : NULL; p && p->name; p++)
        if (strcmp(p->name, property) == 0)
            out->property = p;
    if (out->property)
        return NULL;
    return bus_error(call, DBUS_ERROR_UNKNOWN_PROPERTY, "there is no property %s here", property);
}

static DBusMessage *get(const struct bus *bus, DBusMessage *call)
{
    struct target target = {0};
    const char *interface, *property;
    struct bus_out out;
    DBusMessage *reply;

    (void)dbus_message_get_args(
        call, NULL, DBUS_TYPE_STRING, &interface, DBUS_TYPE_STRING, &property, DBUS_TYPE_INVALID);
    if ((reply = find_target(bus, call, interface, property, &target)))
        return reply;
    reply = bus_reply(call);
    bus_out_to(&out, reply);
    bus_begin_variant(&out, target.property->signature);
    bus_out_property(&out, target.property, bus->config.self, target.about);
    bus_end(&out);
    return reply;
}

static DBusMessage *get_all(const struct bus *bus, DBusMessage *call)
{
    static const struct bus_interface nothing = {0};
    struct target target = {0};
    const char *interface;
    struct bus_out out;
    DBusMessage *reply;

    (void)dbus_message_get_args(call, NULL, DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID);
    if ((reply = find_target(bus, call, interface, NULL, &target)))
        return reply;
    reply = bus_reply(call);
    bus_out_to(&out, reply);
    bus_out_properties(&out, target.interface ? target.interface : &nothing, 0, bus->config.self, target.about);
    return reply;
}

static DBusMessage *set(const struct bus *bus, DBusMessage *call)
{
    struct target target = {0};
    const char *interface, *property;
    DBusMessageIter iter;
    DBusMessage *error;

    (void)dbus_message_iter_init(call, &iter);
    dbus_message_iter_get_basic(&iter, &interface);
    (void)dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, &property);
    if ((error = find_target(bus, call, interface, property, &target)))
        return error;
    return bus_error(call, DBUS_ERROR_PROPERTY_READ_ONLY, "property %s can only be read", property);
}

/* --- ObjectManager --- */

void bus_standard_put_interfaces(struct bus_out *out, const struct bus_class *class, void *self, const void *about)
{
    bus_begin_array(out, "{sa{sv}}");
    bus_begin_entry(out);
    bus_put_text(out, class->interface->name);
    bus_out_properties(out, class->interface, BUS_BULKY, self, about);
    bus_end(out);
    bus_end(out);
}

struct listing {
    struct bus_out out;
    const struct bus_class *class;
    void *self;
};

static void put_object(void *ctx, const char *id, void *about)
{
    struct listing *listing = ctx;

    bus_begin_entry(&listing->out);
    bus_put_path(&listing->out, listing->class->kind, id);
    bus_standard_put_interfaces(&listing->out, listing->class, listing->self, about);
    bus_end(&listing->out);
}

static DBusMessage *get_managed_objects(const struct bus *bus, DBusMessage *call)
{
    struct listing listing = {.self = bus->config.self};
    DBusMessage *reply;

    if (strcmp(dbus_message_get_path(call), BUS_ROOT) != 0)
        return bus_error(call, DBUS_ERROR_UNKNOWN_INTERFACE, "the object manager is " BUS_ROOT);
    reply = bus_reply(call);
    bus_out_to(&listing.out, reply);
    bus_begin_array(&listing.out, "{oa{sa{sv}}}");
    for (size_t i = 0; bus->config.classes[i]; i++) {
        listing.class = bus->config.classes[i];
        if (listing.class->kind)
            listing.class->each(bus->config.self, put_object, &listing);
    }
    bus_end(&listing.out);
    return reply;
}

/* --- which --- */

static const struct {
    const char *interface, *member, *signature;
    DBusMessage *(*answer)(const struct bus *bus, DBusMessage *call);
} rows[] = {
    {DBUS_INTERFACE_INTROSPECTABLE, "Introspect", "", introspect},
    {DBUS_INTERFACE_PROPERTIES, "Get", "ss", get},
    {DBUS_INTERFACE_PROPERTIES, "GetAll", "s", get_all},
    {DBUS_INTERFACE_PROPERTIES, "Set", "ssv", set},
    {"org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "", get_managed_objects},
};

DBusMessage *bus_standard(const struct bus *bus, DBusMessage *call)
{
    const char *interface = dbus_message_get_interface(call);

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if ((interface && strcmp(interface, rows[i].interface) != 0) || !dbus_message_has_member(call, rows[i].member))
            continue;
        if (!dbus_message_has_signature(call, rows[i].signature))
            return bus_error(call, DBUS_ERROR_INVALID_ARGS, "the arguments of %s are '%s', not '%s'", rows[i].member,
                rows[i].signature, dbus_message_get_signature(call));
        return rows[i].answer(bus, call);
    }
    return NULL;
}
