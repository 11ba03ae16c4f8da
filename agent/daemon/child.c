#include "agent/daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/daemon/keeper.h"
#include "agent/daemon/spawn.h"
#include "protocol/base/secret.h"

#define KEEPER_ANSWER_MS 10000 /* for a fork */

/* How workers are started. Each of these is for one child. */
struct way {
    /* Gives our end of the channel, and child->end for its end. */
    int (*start)(struct child *child, int *fd, struct err **errp);
    void (*kill)(struct child *child);
    void (*await)(struct child *child); /* blocks until it has gone; after kill */
};

struct children {
    struct children_place place;
    const struct way *way;
    struct event_base *base; /* borrowed */
    struct keeper *keeper;   /* NULL: we start workers ourselves, or systemd does */
    struct event *hearing;   /* the keeper's socket is readable */
    struct child *first;
    size_t n;
    uint32_t last_id;
};

struct child {
    struct children *children;
    struct child *next;
    child_ended *ended;
    void *ctx;
    struct event *end;    /* its end is known */
    struct event *linger; /* it was given time to go; NULL: not yet */
    bool killed;
    pid_t pid;   /* started by us */
    int fd;      /* a pidfd, or the connection once more; -1: neither */
    int hangup;  /* an epoll instance, readable when the connection has ended; -1: none */
    uint32_t id; /* the keeper's name for it */
    int status;  /* as the keeper told it */
};

/* --- users --- */

int account_find(const char *name, struct account *out, struct err **errp)
{
    const struct passwd *entry = getpwnam(name);

    if (!entry) {
        err_set(errp, ERR_CONFIG, "there is no user '%s' on this machine", name);
        return err_hint(errp, "make it with systemd-sysusers, or name others with --run-as and --worker-as");
    }
    *out = (struct account){.name = mem_strdup(name), .uid = entry->pw_uid, .gid = entry->pw_gid};
    return 0;
}

void account_clear(struct account *account)
{
    free(account->name);
    *account = (struct account){0};
}

int account_become(const struct account *account, struct err **errp)
{
    if (initgroups(account->name, account->gid) < 0 || setresgid(account->gid, account->gid, account->gid) < 0 ||
        setresuid(account->uid, account->uid, account->uid) < 0)
        return err_set(errp, ERR_INTERNAL, "becoming user '%s': %m", account->name);
    secret_harden_process(); /* where fs.suid_dumpable is not 0, the change of user has undone it */
    return 0;
}

/* --- one child --- */

static void forget(struct child *child)
{
    struct child **at = &child->children->first;

    while (*at && *at != child)
        at = &(*at)->next;
    if (*at) {
        *at = child->next;
        child->children->n--;
    }
}

static void child_free(struct child *child)
{
    if (child->end)
        event_free(child->end);
    if (child->linger)
        event_free(child->linger);
    if (child->hangup >= 0)
        (void)close(child->hangup);
    if (child->fd >= 0)
        (void)close(child->fd);
    free(child);
}

/* It has gone. */
static void finish(struct child *child, int status)
{
    forget(child);
    child->killed = true; /* its pid may be another's now */
    child->ended(child->ctx, status);
    child_free(child);
}

/* @fd, @what, @call  as event_new takes them; -1: made active by hand */
static int watch_end(struct child *child, int fd, short what, event_callback_fn call, struct err **errp)
{
    child->end = event_new(child->children->base, fd, what, call, child);
    if (!child->end || (fd >= 0 && event_add(child->end, NULL) < 0))
        return err_set(errp, ERR_INTERNAL, "watching the worker: %m");
    return 0;
}

static int make_channel(int pair[2], struct err **errp)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(errp, ERR_INTERNAL, "making a socket: %m");
    return 0;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            (void)close(pair[i]);
}

/* --- by fork and exec --- */

static void fork_ended(int fd, short what, void *arg)
{
    struct child *child = arg;

    (void)fd;
    (void)what;
    finish(child, spawn_reap(child->pid));
}

static void fork_kill(struct child *child)
{
    (void)kill(child->pid, SIGKILL);
}

static void fork_await(struct child *child)
{
    (void)spawn_reap(child->pid);
}

static int fork_start(struct child *child, int *fd, struct err **errp)
{
    int pair[2];

    if (make_channel(pair, errp) < 0)
        return -1;
    child->pid = spawn_worker(&child->children->place, pair[1]);
    if (child->pid < 0) {
        err_set(errp, ERR_INTERNAL, "starting the worker: %m");
        close_pair(pair);
        return -1;
    }
    child->fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (child->fd < 0 || watch_end(child, child->fd, EV_READ, fork_ended, errp) < 0) {
        err_set(errp, ERR_INTERNAL, "watching the worker: %m");
        close_pair(pair);
        fork_kill(child);
        fork_await(child);
        return -1;
    }
    (void)close(pair[1]);
    *fd = pair[0];
    return 0;
}

/* --- by the keeper --- */

static void kept_ended(int fd, short what, void *arg)
{
    struct child *child = arg;

    (void)fd;
    (void)what;
    finish(child, child->status);
}

static void kept_kill(struct child *child)
{
    (void)keeper_ask_kill(child->children->keeper, child->id, NULL);
}

static void kept_await(struct child *child)
{
    (void)child; /* keeper_free does, for all */
}

static void note_end(const struct children *children, const struct keeper_news *news)
{
    for (struct child *child = children->first; child; child = child->next)
        if (child->id == news->id) {
            child->status = news->value;
            event_active(child->end, 0, 0);
        }
}

/* The keeper tells the ends of others in between. */
static int await_started(struct child *child, struct err **errp)
{
    struct keeper_news news;
    int r;

    while ((r = keeper_next(child->children->keeper, KEEPER_ANSWER_MS, &news, errp)) == 1) {
        if (news.event == KEEPER_ENDED) {
            note_end(child->children, &news);
        } else if (news.id == child->id) {
            errno = news.value;
            return news.value ? err_set(errp, ERR_INTERNAL, "starting the worker: %m") : 0;
        }
    }
    return r < 0 ? -1 : err_set(errp, ERR_INTERNAL, "the process that starts workers does not answer");
}

static int kept_start(struct child *child, int *fd, struct err **errp)
{
    int pair[2];
    int r;

    if (make_channel(pair, errp) < 0)
        return -1;
    child->id = ++child->children->last_id;
    if (watch_end(child, -1, 0, kept_ended, errp) < 0) {
        close_pair(pair);
        return -1;
    }
    r = keeper_ask_start(child->children->keeper, child->id, pair[1], errp);
    if (r == 0)
        r = await_started(child, errp);
    (void)close(pair[1]);
    if (r < 0) {
        kept_kill(child); /* should it start after all */
        (void)close(pair[0]);
        return -1;
    }
    *fd = pair[0];
    return 0;
}

static void keeper_says(int fd, short what, void *arg)
{
    struct children *children = arg;
    struct keeper_news news;
    int r;

    (void)fd;
    (void)what;
    while ((r = keeper_next(children->keeper, 0, &news, NULL)) == 1)
        if (news.event == KEEPER_ENDED)
            note_end(children, &news);
    if (r == 0)
        return;
    (void)event_del(children->hearing);
    for (struct child *child = children->first; child; child = child->next) /* they went with it */
        event_active(child->end, 0, 0);
}

/* --- by systemd, which starts one for each connection to its socket --- */

static void connected_ended(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    finish(arg, CHILD_NO_STATUS);
}

/* A worker ends when its daemon says no more; the connection's end then is its end. */
static void connected_kill(struct child *child)
{
    static const struct timeval patience = {.tv_sec = CHILD_LINGER_MS / 1000, .tv_usec = CHILD_LINGER_MS % 1000 * 1000};

    (void)shutdown(child->fd, SHUT_WR);
    (void)event_add(child->end, &patience);
}

static void connected_await(struct child *child)
{
    struct pollfd end = {.fd = child->fd, .events = POLLRDHUP};
    int r;

    do
        r = poll(&end, 1, CHILD_LINGER_MS);
    while (r < 0 && errno == EINTR);
}

static int connect_to(const char *path, struct err **errp)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return err_set(errp, ERR_CONFIG, "'%s' is too long for the name of a socket", path);
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(errp, ERR_INTERNAL, "making a socket: %m");
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    err_set(errp, ERR_INTERNAL, "asking for a worker at '%s': %m", path);
    (void)close(fd);
    return err_hint(errp, "see systemctl status autoenroll-worker.socket");
}

/*
 * The end of the connection, while what was said on it is still to be read. libevent's EV_CLOSED does not tell of one
 * that was closed over unread bytes. The channel's own descriptor may be closed before the worker has gone.
 */
static int watch_connection(struct child *child, int fd, struct err **errp)
{
    struct epoll_event end = {.events = EPOLLRDHUP};

    child->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    child->hangup = epoll_create1(EPOLL_CLOEXEC);
    if (child->fd < 0 || child->hangup < 0 || epoll_ctl(child->hangup, EPOLL_CTL_ADD, child->fd, &end) < 0)
        return err_set(errp, ERR_INTERNAL, "watching the worker: %m");
    return watch_end(child, child->hangup, EV_READ, connected_ended, errp);
}

static int connected_start(struct child *child, int *fd, struct err **errp)
{
    *fd = connect_to(child->children->place.socket, errp);
    if (*fd < 0)
        return -1;
    if (watch_connection(child, *fd, errp) < 0) {
        (void)close(*fd);
        return -1;
    }
    return 0;
}

/* --- all of them --- */

static const struct way by_fork = {fork_start, fork_kill, fork_await};
static const struct way by_keeper = {kept_start, kept_kill, kept_await};
static const struct way by_socket = {connected_start, connected_kill, connected_await};

int children_open(const struct children_place *place, struct children **out, struct err **errp)
{
    CLEANUP(children_closep) struct children *children = mem_alloc(sizeof(*children));

    children->place = *place;
    children->way = place->socket ? &by_socket : place->as ? &by_keeper : &by_fork;
    if (children->way != &by_socket && access(place->program, X_OK) < 0) {
        err_set(errp, ERR_MISSING, "the worker '%s': %m", place->program);
        return err_hint(errp, "install it, or say where it is with --worker");
    }
    if (children->way == &by_keeper && keeper_start(&children->place, &children->keeper, errp) < 0)
        return -1;
    *out = TAKE(children);
    return 0;
}

int children_attach(struct children *children, struct event_base *base, struct err **errp)
{
    children->base = base;
    if (!children->keeper)
        return 0;
    children->hearing = event_new(base, keeper_fd(children->keeper), EV_READ | EV_PERSIST, keeper_says, children);
    if (!children->hearing || event_add(children->hearing, NULL) < 0)
        return err_set(errp, ERR_INTERNAL, "watching the process that starts workers: %m");
    return 0;
}

void children_close(struct children *children)
{
    if (!children)
        return;
    for (struct child *child = children->first; child; child = child->next)
        children->way->kill(child);
    for (struct child *child = children->first; child; child = child->next)
        children->way->await(child);
    if (children->hearing)
        event_free(children->hearing);
    keeper_free(children->keeper);
    while (children->first)
        finish(children->first, CHILD_CLOSED);
    free(children);
}

int child_start(struct children *children, child_ended *ended, void *ctx, struct child **child,
    struct channel **channel, struct err **errp)
{
    struct child *new = mem_alloc(sizeof(*new));
    int fd = -1;

    *new = (struct child){.children = children,
        .ended = ended,
        .ctx = ctx,
        .fd = -1,
        .hangup = -1,
        .status = CHILD_NO_STATUS,
        .next = children->first};
    if (children->way->start(new, &fd, errp) < 0) {
        child_free(new);
        return -1;
    }
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    children->first = new;
    children->n++;
    *child = new;
    *channel = channel_new(fd);
    return 0;
}

void child_kill(struct child *child)
{
    if (!child->killed)
        child->children->way->kill(child);
    child->killed = true;
}

static void lingered(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    child_kill(arg);
}

void child_linger(struct child *child)
{
    static const struct timeval time = {.tv_sec = CHILD_LINGER_MS / 1000, .tv_usec = CHILD_LINGER_MS % 1000 * 1000};

    if (child->killed)
        return;
    if (!child->linger)
        child->linger = evtimer_new(child->children->base, lingered, child);
    if (!child->linger || evtimer_add(child->linger, &time) < 0)
        child_kill(child);
}

size_t children_running(const struct children *children)
{
    return children->n;
}
