#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/daemon/bus_objects.h"
#include "agent/daemon/engine.h"
#include "protocol/base/printable.h"

/* A password on its way in. */
struct reading {
    struct agent *agent;
    struct bus_call *call;
    char *server;
    bool once;
    int fd;
    struct event *event; /* NULL: a file, which is read at once */
    struct bytes text;   /* secret */
};

static void reading_free(struct reading *r)
{
    if (r->event)
        event_free(r->event);
    (void)close(r->fd);
    bytes_wipe(&r->text);
    free(r->server);
    free(r);
}

/* One line end behind it is the terminal's, not the password's. */
static size_t length_of(const struct bytes *text)
{
    size_t len = text->len;

    if (len && text->data[len - 1] == '\n')
        len--;
    if (len && len < text->len && text->data[len - 1] == '\r')
        len--;
    return len;
}

/* What failed for want of it, or is going to fail since it began without it, is tried again at once. */
static void hurry(struct agent *agent, struct server_state *server)
{
    server->impatient = true;
    for (size_t i = 0; i < agent->records.n; i++) {
        struct record *record = agent->records.items[i];

        if (record->error && record->error_kind == ERR_AUTH && strcmp(record->server, server->name) == 0)
            record->impatient = true;
    }
}

static int take_over(struct reading *r, struct err **errp)
{
    struct server_state *server = server_find(&r->agent->servers, r->server);
    size_t len = length_of(&r->text);

    if (!server)
        return err_set(errp, ERR_MISSING, "policy server '%s' has gone", r->server);
    if (len == 0)
        return err_set(errp, ERR_USAGE, "the password is empty");
    if (!utf8_valid((const char *)r->text.data, len))
        return err_set(errp, ERR_USAGE, "the password is not valid UTF-8 text");
    agent_tell_time(r->agent);
    server_set_password(server, secret_copy(r->text.data, len), r->once);
    server->password_at = r->agent->now;
    hurry(r->agent, server);
    if (server_save(r->agent->paths.servers, server, errp) < 0)
        return -1;
    agent_tell_server(r->agent, server);
    engine_wake(r->agent);
    return 0;
}

static void finish(struct reading *r, struct err *why)
{
    struct bus_call *call = r->call;

    if (!why)
        (void)take_over(r, &why);
    reading_free(r);
    bus_call_done(call, why);
    err_free(why);
}

static void dropped(void *ctx)
{
    reading_free(ctx);
}

/* 1: to its end; 0: nothing more for now; -1. */
static int read_some(struct reading *r, struct err **errp)
{
    for (;;) {
        char buffer[512];
        ssize_t n = read(r->fd, buffer, sizeof(buffer));

        if (n == 0)
            return 1;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : err_set(errp, ERR_USAGE, "reading the password: %m");
        n = bytes_append(&r->text, buffer, (size_t)n, NULL);
        explicit_bzero(buffer, sizeof(buffer));
        if (n < 0)
            return err_set(errp, ERR_USAGE, "a password has at most %d bytes", BUS_SECRET_MAX);
    }
}

static void readable(evutil_socket_t fd, short what, void *ctx)
{
    struct reading *r = ctx;
    struct err *err = NULL;
    int done = 0;

    (void)fd;
    if (what & EV_TIMEOUT)
        done = err_set(&err, ERR_TIMEOUT, "the password did not end within %d seconds", BUS_SECRET_MS / 1000);
    else
        done = read_some(r, &err);
    if (done != 0)
        finish(r, err); /* takes */
}

/* The time counts from the start, however often something comes. */
static int watch(struct reading *r, struct err **errp)
{
    const struct timeval limit = {BUS_SECRET_MS / 1000, BUS_SECRET_MS % 1000 * 1000};
    int flags = fcntl(r->fd, F_GETFL);
    struct stat st;

    if (fstat(r->fd, &st) < 0 || flags < 0)
        return err_set(errp, ERR_USAGE, "looking at the descriptor: %m");
    if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && !S_ISREG(st.st_mode))
        return err_set(errp, ERR_USAGE, "a password comes from a pipe, a socket or a file");
    if (fcntl(r->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_set(errp, ERR_USAGE, "preparing the descriptor: %m");
    if (S_ISREG(st.st_mode)) { /* it cannot be waited for, and need not */
        if (lseek(r->fd, 0, SEEK_SET) < 0 || st.st_size > BUS_SECRET_MAX + 2)
            return err_set(errp, ERR_USAGE, "a password has at most %d bytes", BUS_SECRET_MAX);
        r->event = event_new(r->agent->base, -1, 0, readable, r);
        if (r->event)
            event_active(r->event, EV_READ, 0);
    } else {
        r->event = event_new(r->agent->base, r->fd, EV_READ | EV_PERSIST, readable, r);
        if (r->event && event_add(r->event, &limit) < 0)
            return err_set(errp, ERR_INTERNAL, "the event loop does not take the descriptor");
    }
    return r->event ? 0 : err_set(errp, ERR_INTERNAL, "the event loop takes no event");
}

int bus_secret_read(
    struct agent *agent, struct bus_call *call, const char *server, int fd, bool once, struct err **errp)
{
    struct reading *r = mem_alloc(sizeof(*r));

    *r = (struct reading){.agent = agent, .call = call, .server = mem_strdup(server), .once = once, .fd = fd};
    r->text.secret = true;
    r->text.limit = BUS_SECRET_MAX + 2;
    if (watch(r, errp) < 0) {
        reading_free(r);
        return -1;
    }
    bus_call_hold(call, dropped, r);
    return BUS_LATER;
}
