#include "agent/daemon/bus_introspect.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/bus_inside.h"

#define DOCUMENTATION "org.gtk.GDBus.DocString"
#define HEAD                                                                                                           \
    "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n"                               \
    " \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n"
#define PEER                                                                                                           \
    " <interface name=\"org.freedesktop.DBus.Peer\">\n"                                                                \
    "  <method name=\"Ping\"/>\n"                                                                                      \
    "  <method name=\"GetMachineId\"><arg name=\"machine_uuid\" type=\"s\" direction=\"out\"/></method>\n"             \
    " </interface>\n"
#define INTROSPECTABLE                                                                                                 \
    " <interface name=\"org.freedesktop.DBus.Introspectable\">\n"                                                      \
    "  <method name=\"Introspect\"><arg name=\"xml_data\" type=\"s\" direction=\"out\"/></method>\n"                   \
    " </interface>\n"
#define PROPERTIES                                                                                                     \
    " <interface name=\"org.freedesktop.DBus.Properties\">\n"                                                          \
    "  <method name=\"Get\">\n"                                                                                        \
    "   <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"                                                  \
    "   <arg name=\"property_name\" type=\"s\" direction=\"in\"/>\n"                                                   \
    "   <arg name=\"value\" type=\"v\" direction=\"out\"/>\n"                                                          \
    "  </method>\n"                                                                                                    \
    "  <method name=\"GetAll\">\n"                                                                                     \
    "   <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"                                                  \
    "   <arg name=\"properties\" type=\"a{sv}\" direction=\"out\"/>\n"                                                 \
    "  </method>\n"                                                                                                    \
    "  <method name=\"Set\">\n"                                                                                        \
    "   <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"                                                  \
    "   <arg name=\"property_name\" type=\"s\" direction=\"in\"/>\n"                                                   \
    "   <arg name=\"value\" type=\"v\" direction=\"in\"/>\n"                                                           \
    "  </method>\n"                                                                                                    \
    "  <signal name=\"PropertiesChanged\">\n"                                                                          \
    "   <arg name=\"interface_name\" type=\"s\"/>\n"                                                                   \
    "   <arg name=\"changed_properties\" type=\"a{sv}\"/>\n"                                                           \
    "   <arg name=\"invalidated_properties\" type=\"as\"/>\n"                                                          \
    "  </signal>\n"                                                                                                    \
    " </interface>\n"
#define OBJECT_MANAGER                                                                                                 \
    " <interface name=\"org.freedesktop.DBus.ObjectManager\">\n"                                                       \
    "  <method name=\"GetManagedObjects\">\n"                                                                          \
    "   <arg name=\"objects\" type=\"a{oa{sa{sv}}}\" direction=\"out\"/>\n"                                            \
    "  </method>\n"                                                                                                    \
    "  <signal name=\"InterfacesAdded\">\n"                                                                            \
    "   <arg name=\"object\" type=\"o\"/>\n"                                                                           \
    "   <arg name=\"interfaces\" type=\"a{sa{sv}}\"/>\n"                                                               \
    "  </signal>\n"                                                                                                    \
    "  <signal name=\"InterfacesRemoved\">\n"                                                                          \
    "   <arg name=\"object\" type=\"o\"/>\n"                                                                           \
    "   <arg name=\"interfaces\" type=\"as\"/>\n"                                                                      \
    "  </signal>\n"                                                                                                    \
    " </interface>\n"

/* What we write is ours and bounded by what we hold; bytes_append ends at BYTES_LIMIT_DEFAULT, which is beyond it. */
static void add(struct bytes *xml, const char *text)
{
    (void)bytes_append_text(xml, text, NULL);
}

static void add_escaped(struct bytes *xml, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            add(xml, "&lt;");
            break;
        case '>':
            add(xml, "&gt;");
            break;
        case '&':
            add(xml, "&amp;");
            break;
        case '"':
            add(xml, "&quot;");
            break;
        default:
            (void)bytes_append(xml, text, 1, NULL);
        }
    }
}

static void add_annotation(struct bytes *xml, const char *name, const char *value)
{
    (void)bytes_printf(xml, NULL, "   <annotation name=\"%s\" value=\"", name);
    add_escaped(xml, value);
    add(xml, "\"/>\n");
}

/* An <arg> for each complete type of @signature, with the next of @names. */
static void add_args(struct bytes *xml, const char *signature, const char *names, const char *direction)
{
    DBusSignatureIter iter;

    if (!signature || !*signature)
        return;
    dbus_signature_iter_init(&iter, signature);
    do {
        char *type = dbus_signature_iter_get_signature(&iter);
        int len = (int)strcspn(names, " ");

        (void)bytes_printf(xml, NULL, "   <arg name=\"%.*s\" type=\"%s\"", len, names, type);
        if (direction)
            (void)bytes_printf(xml, NULL, " direction=\"%s\"", direction);
        add(xml, "/>\n");
        dbus_free(type);
        names += len + (names[len] == ' ');
    } while (dbus_signature_iter_next(&iter));
}

static void add_method(struct bytes *xml, const struct bus_method *m)
{
    CLEANUP(bytes_clear) struct bytes doc = {0};

    (void)bytes_append_text(&doc, m->doc, NULL);
    for (const struct bus_option *o = m->options; o && o->name; o++)
        (void)bytes_printf(&doc, NULL, "\nOption '%s' (%c): %s", o->name, o->type, o->doc);
    if (bus_right_action(m->right))
        (void)bytes_printf(&doc, NULL, "\nNeeds the right %s.", bus_right_action(m->right));
    (void)bytes_printf(xml, NULL, "  <method name=\"%s\">\n", m->name);
    add_args(xml, m->in, m->in_names, "in");
    add_args(xml, m->out, m->out_names, "out");
    add_annotation(xml, DOCUMENTATION, bytes_text(&doc));
    add(xml, "  </method>\n");
}

static void add_interface(struct bytes *xml, const struct bus_interface *interface)
{
    (void)bytes_printf(xml, NULL, " <interface name=\"%s\">\n", interface->name);
    add_annotation(xml, DOCUMENTATION, interface->doc);
    for (const struct bus_method *m = interface->methods; m && m->name; m++)
        add_method(xml, m);
    for (const struct bus_property *p = interface->properties; p && p->name; p++) {
        (void)bytes_printf(xml, NULL, "  <property name=\"%s\" type=\"%s\" access=\"read\">\n", p->name, p->signature);
        if (p->flags & BUS_CONSTANT)
            add_annotation(xml, "org.freedesktop.DBus.Property.EmitsChangedSignal", "const");
        add_annotation(xml, DOCUMENTATION, p->doc);
        add(xml, "  </property>\n");
    }
    for (const struct bus_signal *s = interface->signals; s && s->name; s++) {
        (void)bytes_printf(xml, NULL, "  <signal name=\"%s\">\n", s->name);
        add_args(xml, s->in, s->in_names, NULL);
        add_annotation(xml, DOCUMENTATION, s->doc);
        add(xml, "  </signal>\n");
    }
    add(xml, " </interface>\n");
}

/* --- nodes --- */

static void add_node(struct bytes *xml, const char *name)
{
    (void)bytes_printf(xml, NULL, " <node name=\"%s\"/>\n", name);
}

static void add_object_node(void *ctx, const char *id, void *about)
{
    CLEANUP(mem_freep) char *element = buspath_escape(id);

    (void)about;
    add_node(ctx, element);
}

/* The path above our root: it has one child, which leads to it. */
static bool add_way(struct bytes *xml, const char *path)
{
    size_t len = strcmp(path, "/") == 0 ? 0 : strlen(path);
    CLEANUP(mem_freep) char *next = NULL;

    if (len >= sizeof(BUS_ROOT) - 1 || strncmp(path, BUS_ROOT, len) != 0 || BUS_ROOT[len] != '/')
        return false;
    next = mem_strndup(&BUS_ROOT[len + 1], strcspn(&BUS_ROOT[len + 1], "/"));
    add_node(xml, next);
    return true;
}

/* BUS_ROOT/KIND: it has no interface of ours, and an object for each id. */
static bool add_kind(struct bytes *xml, const struct bus *bus, const char *path)
{
    if (strncmp(path, BUS_ROOT "/", sizeof(BUS_ROOT)) != 0)
        return false;
    for (size_t i = 0; bus->config.classes[i]; i++) {
        const struct bus_class *class = bus->config.classes[i];

        if (!class->kind || strcmp(class->kind, path + sizeof(BUS_ROOT)) != 0)
            continue;
        class->each(bus->config.self, add_object_node, xml);
        return true;
    }
    return false;
}

static bool add_object(struct bytes *xml, const struct bus *bus, const char *path)
{
    CLEANUP(mem_freep) char *id = NULL;
    void *about;
    const struct bus_class *class = bus_find(bus, path, &id, &about);

    if (!class)
        return false;
    add(xml, PROPERTIES);
    if (!class->kind)
        add(xml, OBJECT_MANAGER);
    add_interface(xml, class->interface);
    for (size_t i = 0; !class->kind && bus->config.classes[i]; i++)
        if (bus->config.classes[i]->kind)
            add_node(xml, bus->config.classes[i]->kind);
    return true;
}

char *bus_introspect(const struct bus *bus, const char *path)
{
    CLEANUP(bytes_clear) struct bytes xml = {0};

    add(&xml, HEAD "<node>\n" PEER INTROSPECTABLE);
    if (!add_way(&xml, path) && !add_kind(&xml, bus, path) && !add_object(&xml, bus, path))
        return NULL;
    add(&xml, "</node>\n");
    return mem_strdup(bytes_text(&xml));
}
