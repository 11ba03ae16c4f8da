#include "agent/ctl/model.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PROPERTIES     "org.freedesktop.DBus.Properties"
#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"

/* Where an object of the bus goes: its interface, its kind in the path, its list here. */
static const struct {
    const char *interface, *kind, *list;
} classes[] = {
    {BUS_ENROLLMENT, BUS_ENROLLMENTS, "enrollments"},
    {BUS_SERVER, BUS_SERVERS, "servers"},
    {BUS_WATCHED, BUS_WATCHES, "watched"},
    {BUS_JOB, BUS_JOBS, "jobs"},
};

char *model_key(const char *property)
{
    char *key = mem_alloc(2 * strlen(property) + 1), *to = key;

    for (const char *at = property; *at; at++) {
        bool begins = isupper((unsigned char)*at) && at > property &&
                      (islower((unsigned char)at[-1]) || islower((unsigned char)at[1]));

        if (begins)
            *to++ = '-';
        *to++ = (char)tolower((unsigned char)*at);
    }
    return key;
}

static void add_properties(json_t *to, json_t *properties)
{
    const char *name;
    json_t *value;

    json_object_foreach (properties, name, value) {
        CLEANUP(mem_freep) char *key = model_key(name);

        json_object_set(to, key, value);
    }
}

json_t *model_rows(const json_t *list)
{
    json_t *rows = json_array(), *entry;
    size_t i;

    json_array_foreach (list, i, entry) {
        json_t *row = json_object();

        add_properties(row, entry);
        json_array_append_new(rows, row);
    }
    return rows;
}

static void add_object(json_t *model, const char *path, json_t *interfaces)
{
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        json_t *properties = json_object_get(interfaces, classes[i].interface);
        CLEANUP(mem_freep) char *id = properties ? buspath_id(path, classes[i].kind) : NULL;
        json_t *object;

        if (!id)
            continue;
        object = json_pack("{s:s}", "id", id);
        add_properties(object, properties);
        json_array_append_new(json_object_get(model, classes[i].list), object);
    }
}

/* Numbers by their value, as jobs have them; everything else as text. */
static int by_id(const void *a, const void *b)
{
    const char *left = model_text(*(json_t *const *)a, "id"), *right = model_text(*(json_t *const *)b, "id");

    return strverscmp(left, right);
}

static json_t *sorted(const json_t *array)
{
    size_t n = json_array_size(array);
    CLEANUP(mem_freep) json_t **items = mem_calloc(n + 1, sizeof(json_t *));
    json_t *out = json_array();

    for (size_t i = 0; i < n; i++)
        items[i] = json_array_get(array, i);
    qsort(items, n, sizeof(json_t *), by_id);
    for (size_t i = 0; i < n; i++)
        json_array_append(out, items[i]);
    return out;
}

int model_read(struct client *client, json_t **model, struct err **errp)
{
    const struct client_call objects_call = {.interface = OBJECT_MANAGER, .method = "GetManagedObjects"};
    struct client_call manager_call = {.interface = PROPERTIES, .method = "GetAll", .signature = "s"};
    json_t *manager = NULL, *objects = NULL, *out, *interfaces;
    const char *path;

    manager_call.arguments = json_pack("[s]", BUS_MANAGER);
    if (client_ask(client, &manager_call, &manager, errp) < 0)
        return -1;
    if (client_ask(client, &objects_call, &objects, errp) < 0) {
        json_decref(manager);
        return -1;
    }
    out = json_pack("{s:{}}", "manager");
    add_properties(json_object_get(out, "manager"), manager);
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
        json_object_set_new(out, classes[i].list, json_array());
    json_object_foreach (objects, path, interfaces)
        add_object(out, path, interfaces);
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
        json_object_set_new(out, classes[i].list, sorted(json_object_get(out, classes[i].list)));
    json_decref(manager);
    json_decref(objects);
    *model = out;
    return 0;
}

json_t *model_find(const json_t *model, const char *list, const char *id)
{
    json_t *items = json_object_get(model, list), *item;
    size_t i;

    json_array_foreach (items, i, item)
        if (strcmp(model_text(item, "id"), id) == 0)
            return item;
    return NULL;
}

int model_find_enrollment(const json_t *model, const char *id, json_t **out, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist names = {0};
    CLEANUP(mem_freep) char *known = NULL;
    json_t *items = json_object_get(model, "enrollments"), *item;
    size_t i;

    *out = model_find(model, "enrollments", id);
    if (*out)
        return 0;
    json_array_foreach (items, i, item)
        strlist_add(&names, model_text(item, "id"));
    known = strlist_join(&names, ", ");
    err_set(errp, ERR_MISSING, "there is no enrollment '%s'", id);
    return names.n ? err_hint(errp, "there are: %s", known)
                   : err_hint(errp, "nothing is enrolled yet: 'autoenroll plan' says what will be, and why");
}

const char *model_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

int64_t model_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}
