#include "agent/daemon/inotify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS                                                                                                         \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_ONLYDIR)
#define LONGEST_FACTOR 4

struct followed {
    int wd;
    char *directory; /* owned */
};
struct inotify {
    int fd;
    struct event *readable, *settled;
    inotify_changed *changed;
    void *ctx;
    struct followed *items;
    size_t n;
    struct strlist paths;    /* of this burst */
    bool too_many;           /* they are not all of them */
    struct timeval deadline; /* of this burst, of the loop's clock; 0: there is none */
};

static struct followed *find(const struct inotify *inotify, int wd)
{
    for (size_t i = 0; i < inotify->n; i++)
        if (inotify->items[i].wd == wd)
            return &inotify->items[i];
    return NULL;
}

static void forget(struct inotify *inotify, struct followed *item)
{
    (void)inotify_rm_watch(inotify->fd, item->wd); /* it may have gone by itself */
    free(item->directory);
    *item = inotify->items[--inotify->n];
}

static void note(struct inotify *inotify, const struct inotify_event *event)
{
    struct followed *item = find(inotify, event->wd);
    CLEANUP(mem_freep) char *path = NULL;

    if (event->mask & IN_Q_OVERFLOW)
        inotify->too_many = true;
    if (!item)
        return;
    if (event->mask & IN_IGNORED) {
        forget(inotify, item);
        return;
    }
    path = event->len ? mem_printf("%s/%s", item->directory, event->name) : mem_strdup(item->directory);
    if (strlist_has(&inotify->paths, path))
        return;
    if (inotify->paths.n >= INOTIFY_MAX_PATHS)
        inotify->too_many = true;
    else
        strlist_add(&inotify->paths, path);
}

/* The timer starts anew with each change, but never runs beyond the deadline of the burst. */
static void wait_until_settled(struct inotify *inotify)
{
    static const struct timeval settle = {.tv_usec = INOTIFY_SETTLE_MS * 1000};
    struct timeval now, wait = settle;

    (void)event_base_gettimeofday_cached(event_get_base(inotify->settled), &now);
    if (!evutil_timerisset(&inotify->deadline)) {
        inotify->deadline = now;
        for (int i = 0; i < LONGEST_FACTOR; i++)
            evutil_timeradd(&inotify->deadline, &settle, &inotify->deadline);
    }
    evutil_timeradd(&now, &settle, &now);
    if (evutil_timercmp(&now, &inotify->deadline, >) && evtimer_pending(inotify->settled, NULL))
        return;
    (void)evtimer_add(inotify->settled, &wait);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    struct inotify *inotify = ctx;
    char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;

    (void)what;
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        for (char *at = buffer; at < buffer + n;) {
            const struct inotify_event *event = (const void *)at;

            note(inotify, event);
            at += sizeof(*event) + event->len;
        }
    if (inotify->paths.n || inotify->too_many)
        wait_until_settled(inotify);
}

static void on_settled(evutil_socket_t fd, short what, void *ctx)
{
    struct inotify *inotify = ctx;
    struct strlist paths = inotify->paths;

    (void)fd;
    (void)what;
    inotify->paths = (struct strlist){0};
    if (inotify->too_many)
        strlist_clear(&paths);
    inotify->too_many = false;
    evutil_timerclear(&inotify->deadline);
    inotify->changed(inotify->ctx, &paths);
    strlist_clear(&paths);
}

struct inotify *inotify_open(struct event_base *base, inotify_changed *changed, void *ctx, struct err **errp)
{
    struct inotify *inotify = mem_alloc(sizeof(*inotify));

    *inotify = (struct inotify){.changed = changed, .ctx = ctx};
    inotify->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (inotify->fd < 0) {
        err_set(errp, ERR_INTERNAL, "watching directories: %m");
        free(inotify);
        return NULL;
    }
    inotify->readable = event_new(base, inotify->fd, EV_READ | EV_PERSIST, on_readable, inotify);
    inotify->settled = evtimer_new(base, on_settled, inotify);
    if (!inotify->readable || !inotify->settled || event_add(inotify->readable, NULL) < 0) {
        err_set(errp, ERR_INTERNAL, "watching directories: no event");
        inotify_close(inotify);
        return NULL;
    }
    return inotify;
}

static bool follows(const struct inotify *inotify, size_t n, const char *directory)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(inotify->items[i].directory, directory) == 0)
            return true;
    return false;
}

void inotify_follow(struct inotify *inotify, const struct strlist *directories)
{
    size_t before;

    for (size_t i = inotify->n; i-- > 0;)
        if (!strlist_has(directories, inotify->items[i].directory))
            forget(inotify, &inotify->items[i]);
    before = inotify->n;
    for (size_t i = 0; i < directories->n; i++) {
        const char *directory = directories->items[i];
        int wd = follows(inotify, before, directory) ? -1 : inotify_add_watch(inotify->fd, directory, EVENTS);

        if (wd >= 0 && !find(inotify, wd))
            *MEM_APPEND(inotify->items, inotify->n) = (struct followed){wd, mem_strdup(directory)};
    }
}

void inotify_close(struct inotify *inotify)
{
    if (!inotify)
        return;
    if (inotify->readable)
        event_free(inotify->readable);
    if (inotify->settled)
        event_free(inotify->settled);
    while (inotify->n)
        forget(inotify, &inotify->items[0]);
    (void)close(inotify->fd);
    free(inotify->items);
    strlist_clear(&inotify->paths);
    free(inotify);
}
