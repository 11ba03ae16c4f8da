#include "agent/daemon/server.h"

#include <stdlib.h>
#include <string.h>

#include "agent/config/file.h"
#include "agent/job/job_fields.h"
#include "protocol/base/printable.h"

#define SERVER_VERSION 1
#define MAX_FILE       (64u << 10)
#define MAX_SENTENCE   4000 /* characters */
#define MAX_TEXT       PRINTABLE_BYTES(MAX_SENTENCE)

static const char *const err_names[] = {
#define X(name, bus, status, retry) bus,
    ERR_KINDS(X)
#undef X
};

LOCAL_FIELDS(server_fields, server_state, FIELD_U32(server_state, version),
    FIELD_TEXT_REQ(server_state, name, POLICY_MAX_TEXT), FIELD_TEXT(server_state, policy_id, POLICY_MAX_TEXT),
    FIELD_TEXT(server_state, friendly_name, POLICY_MAX_TEXT), FIELD_TIME(server_state, fetched_at),
    FIELD_TIME(server_state, next_update), FIELD_TIME(server_state, last_attempt),
    FIELD_TIME(server_state, next_attempt), FIELD_U32(server_state, failures),
    FIELD_TEXT(server_state, error, MAX_TEXT), FIELD_TEXT(server_state, hint, MAX_TEXT),
    FIELD_ENUM(server_state, error_kind, err_names), FIELD_TIME(server_state, refused_at),
    FIELD_U32(server_state, templates));

static char *path_of(const char *dir, const char *name)
{
    return mem_printf("%s/%s.json", dir, name);
}

static void server_free(struct server_state *server)
{
    if (!server)
        return;
    fields_clear(&server_fields, server);
    secret_free(server->password);
    free(server);
}

/* What it remembers is of use and no more: without it the server is asked anew. */
static struct server_state *load(const char *dir, const char *name)
{
    CLEANUP(mem_freep) char *path = path_of(dir, name);
    CLEANUP(bytes_clear) struct bytes text = {0};
    struct server_state *server = mem_alloc(sizeof(*server));

    if (file_read(path, MAX_FILE, &text, NULL) == FILE_READ &&
        fields_read(&server_fields, text.data, text.len, server, NULL) == 0 && server->version == SERVER_VERSION &&
        strcmp(server->name, name) == 0)
        return server;
    fields_clear(&server_fields, server);
    *server = (struct server_state){.version = SERVER_VERSION, .name = mem_strdup(name)};
    return server;
}

void server_list_load(struct server_list *list, const char *dir, const struct settings *settings)
{
    for (size_t i = 0; i < settings->n_servers; i++)
        *MEM_APPEND(list->items, list->n) = load(dir, settings->servers[i].name);
}

static struct server_state *take(struct server_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i] && strcmp(list->items[i]->name, name) == 0)
            return TAKE(list->items[i]);
    return NULL;
}

void server_list_follow(struct server_list *list, const char *dir, const struct settings *settings)
{
    struct server_list next = {0};

    for (size_t i = 0; i < settings->n_servers; i++) {
        struct server_state *kept = take(list, settings->servers[i].name);

        *MEM_APPEND(next.items, next.n) = kept ? kept : load(dir, settings->servers[i].name);
    }
    server_list_clear(list);
    *list = next;
}

void server_list_clear(struct server_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        server_free(list->items[i]);
    free(list->items);
    *list = (struct server_list){0};
}

struct server_state *server_find(const struct server_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i]->name, name) == 0)
            return list->items[i];
    return NULL;
}

int server_save(const char *dir, const struct server_state *server, struct err **errp)
{
    CLEANUP(mem_freep) char *path = path_of(dir, server->name);
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (fields_write(&server_fields, server, true, &text, errp) < 0 ||
        file_replace(path, text.data, text.len, 0600, errp) < 0)
        return err_wrap(errp, "saving what is known of policy server '%s'", server->name);
    return 0;
}

enum server_password server_password(const struct server_state *server, int64_t now)
{
    if (server->refused_at && now < server->refused_at + SERVER_REFUSED_FOR)
        return SERVER_PASSWORD_REFUSED;
    return server->proven || !server->in_use ? SERVER_PASSWORD_FREE : SERVER_PASSWORD_WAIT;
}

void server_password_refused(struct server_state *server, int64_t now)
{
    server->refused_at = now;
    server->proven = false;
    secret_free(TAKE(server->password));
}

static char *bounded(const char *text)
{
    return text ? printable(text, strlen(text), MAX_SENTENCE) : NULL;
}

void server_set_failure(struct server_state *server, const struct err *why)
{
    server_clear_failure(server);
    server->error = bounded(err_text(why));
    server->hint = bounded(err_hint_text(why));
    server->error_kind = err_kind(why);
}

void server_clear_failure(struct server_state *server)
{
    free(TAKE(server->error));
    free(TAKE(server->hint));
    server->error_kind = 0;
}

void server_set_password(struct server_state *server, struct secret *password, bool once)
{
    secret_free(server->password);
    server->password = password;
    server->once = password && once;
    server->proven = false;
    if (!password)
        return;
    server->refused_at = 0;
    server->impatient |= server->error && server->error_kind == ERR_AUTH; /* whether this is the right one */
}
