#include "agent/daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/daemon/spawn.h"

struct keeper {
    int fd;
    pid_t pid;
};

/* On a SEQPACKET socket, one at a time; a START comes with a descriptor. */
enum keeper_verb { ORDER_START = 1, ORDER_KILL };
struct order {
    enum keeper_verb verb;
    uint32_t id;
};

union descriptor_room {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

static int wait_readable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int r;

    do
        r = poll(&wait, 1, timeout_ms);
    while (r < 0 && errno == EINTR);
    return r;
}

/* --- in the keeper --- */

struct kept {
    uint32_t id;
    pid_t pid;
    int pidfd;
};
struct keeping {
    const struct children_place *place;
    int daemon;
    struct kept workers[KEEPER_MAX_WORKERS];
    size_t n;
};

/* 1 and what was asked, -1 as *fd when no descriptor came; 0 when the daemon has gone. */
static int hear(const struct keeping *k, struct order *order, int *fd)
{
    union descriptor_room control;
    struct iovec bytes = {.iov_base = order, .iov_len = sizeof(*order)};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    const struct cmsghdr *header;
    ssize_t n;

    *fd = -1;
    do
        n = recvmsg(k->daemon, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof(*fd));
    return n == (ssize_t)sizeof(*order);
}

static bool tell(const struct keeping *k, enum keeper_event event, uint32_t id, int value)
{
    struct keeper_news news = {.event = event, .id = id, .value = value};
    ssize_t n;

    do
        n = send(k->daemon, &news, sizeof(news), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(news);
}

/* 0, or why it did not start (errno). */
static int start(struct keeping *k, uint32_t id, int fd)
{
    struct kept worker = {.id = id};
    int why;

    if (fd < 0 || k->n == KEEPER_MAX_WORKERS)
        return fd < 0 ? EBADF : EAGAIN;
    worker.pid = spawn_worker(k->place, fd);
    if (worker.pid < 0)
        return errno;
    worker.pidfd = (int)syscall(SYS_pidfd_open, worker.pid, 0);
    if (worker.pidfd < 0) {
        why = errno;
        (void)kill(worker.pid, SIGKILL);
        (void)spawn_reap(worker.pid);
        return why;
    }
    k->workers[k->n++] = worker;
    return 0;
}

static bool obey(struct keeping *k)
{
    struct order order = {0};
    bool heard;
    int fd;

    if (!hear(k, &order, &fd))
        return false;
    heard = true;
    switch (order.verb) {
    case ORDER_START:
        heard = tell(k, KEEPER_STARTED, order.id, start(k, order.id, fd));
        break;
    case ORDER_KILL:
        for (size_t i = 0; i < k->n; i++)
            if (k->workers[i].id == order.id)
                (void)kill(k->workers[i].pid, SIGKILL);
        break;
    }
    if (fd >= 0)
        (void)close(fd);
    return heard;
}

/* Worker @i has ended: tells it and closes the gap. */
static bool bury(struct keeping *k, size_t i)
{
    struct kept worker = k->workers[i];
    int status = spawn_reap(worker.pid);

    (void)close(worker.pidfd);
    k->workers[i] = k->workers[--k->n];
    return tell(k, KEEPER_ENDED, worker.id, status);
}

/* One turn: until something happens, and that. False when the daemon has gone. */
static bool turn(struct keeping *k)
{
    struct pollfd watch[1 + KEEPER_MAX_WORKERS] = {{.fd = k->daemon, .events = POLLIN}};
    size_t n = k->n;

    for (size_t i = 0; i < n; i++)
        watch[1 + i] = (struct pollfd){.fd = k->workers[i].pidfd, .events = POLLIN};
    if (poll(watch, 1 + n, -1) < 0)
        return errno == EINTR;
    for (size_t i = n; i-- > 0;) /* from the end: what moves into a gap has been looked at */
        if (watch[1 + i].revents && !bury(k, i))
            return false;
    return !watch[0].revents || obey(k);
}

static __attribute__((noreturn)) void keep(const struct children_place *place, int socket)
{
    struct keeping k = {.place = place, .daemon = 3};

    /* We end when the daemon does: what is sent to the whole group is for it. */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)prctl(PR_SET_NAME, "autoenroll-keep", 0, 0, 0);
    if (socket != k.daemon && dup3(socket, k.daemon, O_CLOEXEC) < 0)
        _exit(1);
    (void)close_range((unsigned)k.daemon + 1, ~0u, 0);
    while (turn(&k))
        ;
    for (size_t i = 0; i < k.n; i++)
        (void)kill(k.workers[i].pid, SIGKILL);
    for (size_t i = 0; i < k.n; i++)
        (void)spawn_reap(k.workers[i].pid);
    _exit(0);
}

/* --- the daemon's side --- */

static int gone(struct err **errp)
{
    err_set(errp, ERR_INTERNAL, "the process that starts workers is gone");
    return err_hint(errp, "restart autoenrolld; nothing is lost by it");
}

int keeper_start(const struct children_place *place, struct keeper **out, struct err **errp)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(errp, ERR_INTERNAL, "making a socket: %m");
    pid = fork();
    if (pid == 0)
        keep(place, pair[1]);
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        return err_set(errp, ERR_INTERNAL, "starting a process: %m");
    }
    *out = mem_alloc(sizeof(**out));
    **out = (struct keeper){.fd = pair[0], .pid = pid};
    return 0;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    (void)close(keeper->fd);
    (void)spawn_reap(keeper->pid);
    free(keeper);
}

int keeper_fd(const struct keeper *keeper)
{
    return keeper->fd;
}

/* @fd  passed on; -1: none */
static int ask(const struct keeper *keeper, struct order order, int fd, struct err **errp)
{
    union descriptor_room control = {0};
    struct iovec bytes = {.iov_base = &order, .iov_len = sizeof(order)};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        control.header =
            (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    do
        n = sendmsg(keeper->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? gone(errp) : 0;
}

int keeper_ask_start(struct keeper *keeper, uint32_t id, int fd, struct err **errp)
{
    return ask(keeper, (struct order){.verb = ORDER_START, .id = id}, fd, errp);
}

int keeper_ask_kill(struct keeper *keeper, uint32_t id, struct err **errp)
{
    return ask(keeper, (struct order){.verb = ORDER_KILL, .id = id}, -1, errp);
}

int keeper_next(struct keeper *keeper, int timeout_ms, struct keeper_news *news, struct err **errp)
{
    ssize_t n;

    if (wait_readable(keeper->fd, timeout_ms) == 0)
        return 0;
    do
        n = recv(keeper->fd, news, sizeof(*news), 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*news) ? 1 : gone(errp);
}
