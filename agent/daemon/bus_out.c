#include "agent/daemon/bus_out.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"

#define FNV_START 2166136261u
#define FNV_PRIME 16777619u

/* libdbus says no only where memory runs out, which ends us everywhere. */
static void must(dbus_bool_t ok)
{
    if (!ok)
        abort();
}

static void mix(struct bus_out *out, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        out->hash = (out->hash ^ bytes[i]) * FNV_PRIME;
}

void bus_out_to(struct bus_out *out, DBusMessage *message)
{
    out->depth = 0;
    out->hashing = false;
    dbus_message_iter_init_append(message, &out->iters[0]);
}

void bus_out_hash(struct bus_out *out)
{
    out->depth = 0;
    out->hashing = true;
    out->hash = FNV_START;
}

static void put(struct bus_out *out, int type, const void *value, size_t len)
{
    if (out->hashing)
        mix(out, value, len);
    else
        must(dbus_message_iter_append_basic(&out->iters[out->depth], type, value));
}

static void put_string(struct bus_out *out, int type, const char *text)
{
    if (out->hashing)
        mix(out, text, strlen(text) + 1);
    else
        must(dbus_message_iter_append_basic(&out->iters[out->depth], type, &text));
}

void bus_put_text(struct bus_out *out, const char *text)
{
    CLEANUP(mem_freep) char *safe = NULL;

    if (!text)
        text = "";
    else if (!out->hashing && !utf8_valid(text, strlen(text)))
        text = safe = printable_text(text);
    put_string(out, DBUS_TYPE_STRING, text);
}

void bus_put_bool(struct bus_out *out, bool value)
{
    dbus_bool_t wide = value;

    put(out, DBUS_TYPE_BOOLEAN, &wide, sizeof(wide));
}

void bus_put_u32(struct bus_out *out, uint32_t value)
{
    put(out, DBUS_TYPE_UINT32, &value, sizeof(value));
}

void bus_put_time(struct bus_out *out, int64_t value)
{
    put(out, DBUS_TYPE_INT64, &value, sizeof(value));
}

void bus_put_path(struct bus_out *out, const char *kind, const char *id)
{
    CLEANUP(mem_freep) char *path = kind ? buspath_make(kind, id) : mem_strdup(BUS_ROOT);

    put_string(out, DBUS_TYPE_OBJECT_PATH, path);
}

void bus_put_bytes(struct bus_out *out, const struct bytes *bytes)
{
    const uint8_t *data = bytes->data;

    bus_begin_array(out, "y");
    if (out->hashing)
        mix(out, data, bytes->len);
    else if (bytes->len)
        must(dbus_message_iter_append_fixed_array(&out->iters[out->depth], DBUS_TYPE_BYTE, &data, (int)bytes->len));
    bus_end(out);
}

void bus_put_texts(struct bus_out *out, const struct strlist *texts)
{
    bus_begin_array(out, "s");
    for (size_t i = 0; i < texts->n; i++)
        bus_put_text(out, texts->items[i]);
    bus_end(out);
}

/* --- containers --- */

static void begin(struct bus_out *out, int type, const char *signature)
{
    if (out->depth + 1 == BUS_OUT_DEPTH)
        abort();
    if (out->hashing)
        mix(out, &type, sizeof(type));
    else
        must(dbus_message_iter_open_container(&out->iters[out->depth], type, signature, &out->iters[out->depth + 1]));
    out->depth++;
}

void bus_begin_array(struct bus_out *out, const char *signature)
{
    begin(out, DBUS_TYPE_ARRAY, signature);
}

void bus_begin_struct(struct bus_out *out)
{
    begin(out, DBUS_TYPE_STRUCT, NULL);
}

void bus_begin_variant(struct bus_out *out, const char *signature)
{
    begin(out, DBUS_TYPE_VARIANT, signature);
}

void bus_begin_entry(struct bus_out *out)
{
    begin(out, DBUS_TYPE_DICT_ENTRY, NULL);
}

void bus_end(struct bus_out *out)
{
    static const char mark = '.';

    out->depth--;
    if (out->hashing)
        mix(out, &mark, sizeof(mark));
    else
        must(dbus_message_iter_close_container(&out->iters[out->depth], &out->iters[out->depth + 1]));
}

static void begin_named(struct bus_out *out, const char *key, const char *signature)
{
    bus_begin_entry(out);
    put_string(out, DBUS_TYPE_STRING, key);
    bus_begin_variant(out, signature);
}

static void end_named(struct bus_out *out)
{
    bus_end(out);
    bus_end(out);
}

void bus_entry_text(struct bus_out *out, const char *key, const char *text)
{
    begin_named(out, key, "s");
    bus_put_text(out, text);
    end_named(out);
}

void bus_entry_bool(struct bus_out *out, const char *key, bool value)
{
    begin_named(out, key, "b");
    bus_put_bool(out, value);
    end_named(out);
}

void bus_entry_u32(struct bus_out *out, const char *key, uint32_t value)
{
    begin_named(out, key, "u");
    bus_put_u32(out, value);
    end_named(out);
}

void bus_entry_time(struct bus_out *out, const char *key, int64_t value)
{
    begin_named(out, key, "x");
    bus_put_time(out, value);
    end_named(out);
}

void bus_entry_texts(struct bus_out *out, const char *key, const struct strlist *texts)
{
    begin_named(out, key, "as");
    bus_put_texts(out, texts);
    end_named(out);
}

/* --- properties --- */

static void put_member(struct bus_out *out, char type, const void *at)
{
    switch (type) {
    case 's':
        bus_put_text(out, *(const char *const *)at);
        break;
    case 'x':
        bus_put_time(out, *(const int64_t *)at);
        break;
    case 'u':
        bus_put_u32(out, *(const uint32_t *)at);
        break;
    case 'a':
        bus_put_texts(out, at);
        break;
    default:
        bus_put_bool(out, *(const bool *)at);
    }
}

void bus_out_property(struct bus_out *out, const struct bus_property *property, void *self, const void *about)
{
    if (property->get)
        property->get(self, about, out);
    else
        put_member(out, property->signature[0], (const char *)about + property->offset);
}

void bus_out_property_entry(struct bus_out *out, const struct bus_property *property, void *self, const void *about)
{
    begin_named(out, property->name, property->signature);
    bus_out_property(out, property, self, about);
    end_named(out);
}

void bus_out_properties(
    struct bus_out *out, const struct bus_interface *interface, unsigned without_flags, void *self, const void *about)
{
    bus_begin_array(out, "{sv}");
    for (const struct bus_property *p = interface->properties; p && p->name; p++)
        if (!(p->flags & without_flags))
            bus_out_property_entry(out, p, self, about);
    bus_end(out);
}
