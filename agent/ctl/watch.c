#include "agent/ctl/watch.h"

#include <string.h>

#include "agent/ctl/model.h"
#include "protocol/base/bytes.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

static json_t *argument(const json_t *signal, size_t i)
{
    return json_array_get(json_object_get(signal, "arguments"), i);
}

static const char *argument_text(const json_t *signal, size_t i)
{
    const char *text = json_string_value(argument(signal, i));

    return text ? text : "";
}

/* "web", "job 7", "server corp", "" for the manager: what a path is about. */
static char *about(const char *path)
{
    static const struct {
        const char *kind, *word;
    } kinds[] = {{BUS_ENROLLMENTS, ""}, {BUS_SERVERS, "server "}, {BUS_WATCHES, "watched "}, {BUS_JOBS, "job "}};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        CLEANUP(mem_freep) char *id = buspath_id(path, kinds[i].kind);

        if (id)
            return mem_printf("%s%s", kinds[i].word, id);
    }
    return mem_strdup("agent");
}

/* "" where there is nothing to tell: no value, 0, a list. */
static char *text_of(const json_t *value, int64_t now)
{
    json_int_t number = json_integer_value(value);

    if (json_is_integer(value) && number > 1000000000)
        return screen_when(number, now);
    if (json_is_integer(value) && number)
        return mem_printf("%" JSON_INTEGER_FORMAT, number);
    if (json_is_boolean(value))
        return mem_strdup(json_is_true(value) ? "yes" : "no");
    return mem_strdup(json_is_string(value) ? json_string_value(value) : "");
}

/* What a person wants to know of a change; everything is in --json. */
static const struct {
    const char *interface, *property, *word;
} told_changes[] = {
    {BUS_MANAGER, "State", "state"},
    {BUS_ENROLLMENT, "State", "state"},
    {BUS_ENROLLMENT, "RequestId", "request"},
    {BUS_ENROLLMENT, "NotAfter", "expires"},
    {BUS_ENROLLMENT, "RenewAfter", "renewed"},
    {BUS_ENROLLMENT, "NextAttempt", "tried again"},
    {BUS_ENROLLMENT, "NamesDiffer", "names differ"},
    {BUS_ENROLLMENT, "Problem", "problem"},
    {BUS_ENROLLMENT, "Hook", "after the change"},
    {BUS_ENROLLMENT, "Probe", "probe"},
    {BUS_SERVER, "FetchedAt", "asked"},
    {BUS_SERVER, "LastError", "error"},
    {BUS_SERVER, "Hint", "hint"},
    {BUS_SERVER, "PasswordHeld", "password held"},
    {BUS_WATCHED, "NotAfter", "expires"},
    {BUS_WATCHED, "Error", "error"},
    {BUS_JOB, "Step", "step"},
};

static void append_properties(struct bytes *to, const char *interface, const json_t *properties, int64_t now)
{
    const char *gap = "";

    for (size_t i = 0; i < ARRAY_SIZE(told_changes); i++) {
        const json_t *value = json_object_get(properties, told_changes[i].property);
        CLEANUP(mem_freep) char *text = NULL;

        if (!value || strcmp(told_changes[i].interface, interface) != 0)
            continue;
        text = text_of(value, now);
        if (!*text)
            continue;
        (void)bytes_printf(to, NULL, "%s%s %s", gap, told_changes[i].word, text);
        gap = ", ";
    }
}

static void append_arguments(struct bytes *to, const json_t *signal)
{
    const json_t *arguments = json_object_get(signal, "arguments");
    json_t *value;
    size_t i;

    json_array_foreach (arguments, i, value) {
        CLEANUP(mem_freep) char *text = text_of(value, 0);

        if (*text)
            (void)bytes_printf(to, NULL, "%s%s", i ? ": " : " ", text);
    }
}

/* State and step are what a person wants to know of something new. */
static void append_arrival(struct bytes *to, json_t *interfaces, int64_t now)
{
    static const char *const told[] = {"Kind", "Target", "Template", "State", "Path", "Uri"};
    const char *interface, *gap = ": ";
    json_t *properties;

    json_object_foreach (interfaces, interface, properties) {
        for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
            json_t *value = json_object_get(properties, told[i]);
            CLEANUP(mem_freep) char *text = value ? text_of(value, now) : NULL;

            if (text && *text)
                (void)bytes_printf(to, NULL, "%s%s", gap, text);
            gap = text && *text ? ", " : gap;
        }
    }
}

/* One line. False where there is nothing to tell. */
static bool describe(const json_t *signal, int64_t now, struct bytes *to)
{
    const char *member = model_text(signal, "member");
    bool added = strcmp(member, "InterfacesAdded") == 0, removed = strcmp(member, "InterfacesRemoved") == 0;
    const char *path = added || removed ? json_string_value(argument(signal, 0)) : model_text(signal, "path");
    CLEANUP(mem_freep) char *who = about(path ? path : "");
    size_t before;

    (void)bytes_printf(to, NULL, "%s: ", who);
    before = to->len;
    if (added) {
        (void)bytes_append_text(to, "new", NULL);
        append_arrival(to, argument(signal, 1), now);
    } else if (removed)
        (void)bytes_append_text(to, "gone", NULL);
    else if (strcmp(member, "PropertiesChanged") == 0)
        append_properties(to, argument_text(signal, 0), argument(signal, 1), now);
    else {
        (void)bytes_append_text(to, member, NULL);
        append_arguments(to, signal);
    }
    return to->len > before;
}

static void print_line(const struct ctl *ctl, const char *text)
{
    int64_t now = when_now();
    CLEANUP(mem_freep) char *at = when_format(now);
    CLEANUP(mem_freep) char *safe = printable_text(text);

    printf("%s%s%s  %s\n", table_style_on(&ctl->screen.look, TABLE_DIM), at,
        table_style_off(&ctl->screen.look, TABLE_DIM), safe);
}

static void print_object(json_t *object)
{
    CLEANUP(mem_freep) char *text = NULL;

    json_object_set_new(object, "at", json_integer(when_now()));
    text = json_dumps(object, JSON_COMPACT);
    printf("%s\n", text);
}

static void tell_presence(const struct ctl *ctl, const char *member, const char *text)
{
    json_t *object = json_pack("{s:s, s:s}", "path", BUS_ROOT, "member", member);

    if (ctl->json)
        print_object(object);
    else
        print_line(ctl, text);
    json_decref(object);
}

static void tell_signal(const struct ctl *ctl, json_t *signal)
{
    CLEANUP(bytes_clear) struct bytes line = {0};

    if (ctl->json) {
        print_object(signal);
        return;
    }
    if (describe(signal, when_now(), &line))
        print_line(ctl, bytes_text(&line));
}

int watch_events(struct ctl *ctl, struct err **errp)
{
    json_t *model = NULL;

    if (client_listen(ctl->client, errp) < 0 || model_read(ctl->client, &model, errp) < 0)
        return -1;
    json_decref(model); /* what is there is shown by status; that the daemon answers is what was asked */
    if (ctl->screen.terminal)
        print_line(ctl, "watching; Ctrl-C ends it");
    for (;;) {
        json_t *signal;
        int news;

        (void)fflush(stdout);
        if (ferror(stdout))
            return 0; /* nobody reads any more */
        news = client_next(ctl->client, -1, &signal, errp);
        if (news < 0)
            return -1;
        if (news == CLIENT_SIGNAL)
            tell_signal(ctl, signal);
        else if (news == CLIENT_GONE)
            tell_presence(ctl, "Gone", "autoenrolld has ended");
        else if (news == CLIENT_BACK)
            tell_presence(ctl, "Back", "autoenrolld is there");
        json_decref(signal);
    }
}
