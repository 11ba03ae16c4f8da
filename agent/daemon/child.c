#include "agent/daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/base/secret.h"

struct children {
    const char *program;
    const struct account *as; /* what a worker becomes; NULL: nothing */
    int keeper;               /* the process that kept its rights; -1: we start workers ourselves */
    pid_t keeper_pid;
    pid_t worker; /* ours, where there is no keeper; 0: none */
    bool running;
};

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

/* --- in the new process --- */

/* What a worker may know of our environment: where credentials and the state of PKCS#11 modules are. */
static const char *const passed_on[] = {"CREDENTIALS_DIRECTORY", "SOFTHSM2_CONF", "TPM2_PKCS11_STORE",
    "TPM2_PKCS11_TCTI", "TSS2_LOG", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"};

static char **worker_environment(void)
{
    char **environment = mem_calloc(ARRAY_SIZE(passed_on) + 3, sizeof(*environment));
    size_t n = 0;

    environment[n++] = mem_strdup("PATH=/usr/bin:/bin");
    environment[n++] = mem_strdup("HOME=/nonexistent");
    for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
        if (getenv(passed_on[i]))
            environment[n++] = mem_printf("%s=%s", passed_on[i], getenv(passed_on[i]));
    return environment;
}

/* Our death is the worker's, also when it has come already. */
static void die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
        _exit(126);
}

/* The channel becomes CHANNEL_FD, everything else is closed. Does not return. */
static __attribute__((noreturn)) void become_worker(const struct children *children, int fd, pid_t parent)
{
    static char name[] = "autoenroll-worker";
    char *argv[] = {name, NULL};
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (fd != CHANNEL_FD && dup2(fd, CHANNEL_FD) < 0)
        _exit(126);
    (void)fcntl(CHANNEL_FD, F_SETFD, 0);
    (void)close_range(CHANNEL_FD + 1, ~0u, 0);
    if (children->as && account_become(children->as, NULL) < 0)
        _exit(126);
    die_with(parent); /* a change of user would undo it */
    (void)execve(children->program, argv, worker_environment());
    _exit(127);
}

static pid_t fork_worker(const struct children *children, int fd)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0)
        become_worker(children, fd, parent);
    return pid;
}

/* @limit_ms  how long it may take to end by itself; -1: for ever */
static int wait_for(pid_t pid, int limit_ms)
{
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int status = 0, r;

    do
        r = end.fd < 0 ? -1 : poll(&end, 1, limit_ms);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        (void)kill(pid, SIGKILL);
    if (end.fd >= 0)
        (void)close(end.fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* --- the keeper --- */

/* Asked for with one byte and, for a start, a descriptor; answered with one int. */
enum keeper_order { KEEPER_START = 's', KEEPER_KILL = 'k', KEEPER_WAIT = 'w' };

union descriptor_room {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

/* Returns 1 and what was asked, -1 as *fd when no descriptor came; 0 when the daemon has gone. */
static int hear(int keeper, char *order, int *fd)
{
    union descriptor_room control;
    struct iovec bytes = {.iov_base = order, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    const struct cmsghdr *header;
    ssize_t n;

    *fd = -1;
    do
        n = recvmsg(keeper, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof(*fd));
    return n > 0;
}

static int obey(const struct children *children, char order, int fd, pid_t *worker)
{
    int status;

    switch (order) {
    case KEEPER_START:
        if (*worker > 0 || fd < 0)
            return -1;
        *worker = fork_worker(children, fd);
        return *worker > 0 ? 0 : -1;
    case KEEPER_KILL:
        return *worker > 0 ? kill(*worker, SIGKILL) : -1;
    case KEEPER_WAIT:
        if (*worker <= 0)
            return -1;
        status = wait_for(*worker, CHILD_LINGER_MS);
        *worker = 0;
        return status;
    default:
        return -1;
    }
}

static __attribute__((noreturn)) void keep(const struct children *children, int keeper)
{
    pid_t worker = 0;
    char order;
    int fd;

    (void)signal(SIGINT, SIG_IGN); /* the daemon gets it too, and tells us by going */
    while (hear(keeper, &order, &fd)) {
        int answer = obey(children, order, fd, &worker);

        if (fd >= 0)
            (void)close(fd);
        if (send(keeper, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
            break;
    }
    if (worker > 0) {
        (void)kill(worker, SIGKILL);
        (void)wait_for(worker, -1);
    }
    _exit(0);
}

/* @fd  passed on; -1: none */
static int ask_keeper(const struct children *children, enum keeper_order order, int fd, int *answer, struct err **errp)
{
    char byte = (char)order;
    union descriptor_room control = {0};
    struct iovec bytes = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        control.header =
            (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    if (sendmsg(children->keeper, &message, MSG_NOSIGNAL) < 0)
        return err_set(errp, ERR_INTERNAL, "the process that starts workers is gone: %m");
    do
        n = recv(children->keeper, answer, sizeof(*answer), 0);
    while (n < 0 && errno == EINTR);
    if (n != sizeof(*answer))
        return err_set(errp, ERR_INTERNAL, "the process that starts workers does not answer");
    return 0;
}

static int start_keeper(struct children *children, struct err **errp)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(errp, ERR_INTERNAL, "making a socket: %m");
    children->keeper_pid = fork();
    if (children->keeper_pid == 0) {
        (void)close(pair[0]);
        keep(children, pair[1]);
    }
    (void)close(pair[1]);
    children->keeper = pair[0];
    if (children->keeper_pid < 0)
        return err_set(errp, ERR_INTERNAL, "starting a process: %m");
    return 0;
}

/* --- the daemon's side --- */

int children_open(const char *program, const struct account *as, struct children **out, struct err **errp)
{
    CLEANUP(children_closep) struct children *children = mem_alloc(sizeof(*children));

    children->program = program;
    children->as = as;
    children->keeper = -1;
    if (access(program, X_OK) < 0) {
        err_set(errp, ERR_MISSING, "the worker '%s': %m", program);
        return err_hint(errp, "install it, or say where it is with --worker");
    }
    if (as && start_keeper(children, errp) < 0)
        return -1;
    *out = TAKE(children);
    return 0;
}

void children_close(struct children *children)
{
    int status;

    if (!children)
        return;
    if (children->running)
        (void)child_end(children, true, &status, NULL);
    if (children->keeper >= 0) {
        (void)close(children->keeper);
        (void)wait_for(children->keeper_pid, -1);
    }
    free(children);
}

int child_start(struct children *children, struct channel **channel, struct err **errp)
{
    int pair[2], answer = 0;
    bool failed;

    if (children->running)
        return err_set(errp, ERR_INTERNAL, "a worker is running already");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(errp, ERR_INTERNAL, "making a socket: %m");
    if (children->keeper >= 0) {
        failed = ask_keeper(children, KEEPER_START, pair[1], &answer, errp) < 0 || answer < 0;
    } else {
        children->worker = fork_worker(children, pair[1]);
        failed = children->worker < 0;
    }
    (void)close(pair[1]);
    if (failed) {
        (void)close(pair[0]);
        return err_set(errp, ERR_INTERNAL, "starting the worker: %m");
    }
    children->running = true;
    *channel = channel_new(pair[0]);
    return 0;
}

int child_end(struct children *children, bool end, int *status, struct err **errp)
{
    int ignored;

    children->running = false;
    if (children->keeper < 0) {
        if (end)
            (void)kill(children->worker, SIGKILL);
        *status = wait_for(children->worker, CHILD_LINGER_MS);
        return 0;
    }
    if (end && ask_keeper(children, KEEPER_KILL, -1, &ignored, errp) < 0)
        return -1;
    return ask_keeper(children, KEEPER_WAIT, -1, status, errp);
}
