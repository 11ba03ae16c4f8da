#include "agent/deploy/follow.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define LONGEST 3600 /* seconds */
#define MISSING 2    /* seconds between two looks for a directory that is not there yet */
#define SETTLES 100  /* milliseconds: several certificates in one go are one pass */

/* Reads all events; true when one was about "changed", or may have been. */
static bool drain(int fd, bool *lost)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool changed = false;
    ssize_t n;

    while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
        for (const char *at = buffer; at < buffer + n;) {
            const struct inotify_event *event = (const void *)at;

            *lost |= (event->mask & (IN_IGNORED | IN_Q_OVERFLOW)) != 0;
            changed |= *lost || (event->len && strcmp(event->name, "changed") == 0);
            at += sizeof(*event) + event->len;
        }
    }
    return changed;
}

static int nap(int fd, int64_t milliseconds, const sigset_t *wait)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec limit = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};

    return ppoll(&p, 1, &limit, wait);
}

/* 1: watched now. 0: there is no such directory yet. */
static int set_up(const char *state_dir, int *fd, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/public", state_dir);
    int made = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    if (made < 0)
        return err_set(errp, ERR_STORE, "inotify: %m");
    if (inotify_add_watch(made, path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR | IN_DELETE_SELF) < 0) {
        int saved = errno;

        (void)close(made);
        if (saved == ENOENT)
            return 0;
        errno = saved;
        return err_set(errp, ERR_STORE, "watching '%s': %m", path);
    }
    *fd = made;
    return 1;
}

static void give_up(int *fd)
{
    (void)close(*fd);
    *fd = -1;
}

int follow_wait(const char *state_dir, int *fd, const sigset_t *wait, struct err **errp)
{
    bool lost = false;

    while (*fd < 0) {
        int r = set_up(state_dir, fd, errp);

        if (r != 0)
            return r < 0 ? -1 : 0;
        if (nap(-1, MISSING * 1000, wait) < 0)
            return 0;
    }
    for (;;) {
        int r = nap(*fd, LONGEST * 1000, wait);

        if (r <= 0)
            return 0;
        if (!drain(*fd, &lost))
            continue;
        if (lost)
            give_up(fd);
        else if (nap(-1, SETTLES, wait) == 0)
            (void)drain(*fd, &lost);
        return 0;
    }
}
