#include "agent/deploy/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/base/printable.h"

#define CANNOT_RUN   126 /* exit status of a child that did not come so far as to execute */
#define MAX_SWEEPS   1000
#define MAX_CHILDREN 256
#define MAX_LINE     256 /* characters of a line of output */
#define PATH         "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define TICK_MS      50
#define MAX_ENV      32

static const struct {
    __rlimit_resource_t what;
    rlim_t max;
} limits[] = {
    {RLIMIT_CORE, 0}, {RLIMIT_NOFILE, 1024}, {RLIMIT_NPROC, 512}, /* counted per user; root's are not */
    {RLIMIT_FSIZE, 1024ull << 20},                                /* bytes */
};

/* --- in the child --- */

static void set_limits(const struct hook *hook)
{
    struct rlimit cpu = {.rlim_cur = (rlim_t)hook->limit + HOOK_GRACE, .rlim_max = (rlim_t)hook->limit + HOOK_GRACE};

    (void)setrlimit(RLIMIT_CPU, &cpu);
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        struct rlimit limit;

        if (getrlimit(limits[i].what, &limit) == 0 && limit.rlim_max > limits[i].max) {
            limit.rlim_cur = limit.rlim_max = limits[i].max;
            (void)setrlimit(limits[i].what, &limit);
        }
    }
}

/* From here on there is nothing of root's left, and no way back by a set-user-id program. */
static int drop_to(const struct passwd *user)
{
    if (!user)
        return 0;
    if (initgroups(user->pw_name, user->pw_gid) < 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
        return -1;
    return user->pw_uid == 0 ? 0 : prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void default_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

__attribute__((noreturn)) static void child(
    const struct hook *hook, const struct passwd *user, char *const *environment, int input, int output)
{
    default_signals();
    (void)setsid();
    (void)umask(022);
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 || close_range(3, ~0u, 0) < 0 ||
        chdir("/") < 0)
        _exit(CANNOT_RUN);
    set_limits(hook);
    if (drop_to(user) < 0)
        dprintf(2, "cannot become user %s: %s\n", user->pw_name, strerror(errno));
    else {
        (void)execve(hook->argv[0], (char *const *)(uintptr_t)hook->argv, environment);
        dprintf(2, "cannot run %s: %s\n", hook->argv[0], strerror(errno));
    }
    _exit(CANNOT_RUN);
}

/* --- its input and output --- */

/* In memory, so that neither side ever waits for the other. */
static int make_input(const struct bytes *input, struct err **errp)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    if (fd >= 0 &&
        (!input || (write(fd, input->data, input->len) == (ssize_t)input->len && lseek(fd, 0, SEEK_SET) == 0)))
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return err_set(errp, ERR_STORE, "the program's input: %m");
}

struct tail {
    char data[2 * HOOK_MAX_OUTPUT];
    size_t len;
};

/* False at the end of output. */
static bool take(int fd, struct tail *tail)
{
    char buffer[HOOK_MAX_OUTPUT];
    ssize_t n;

    while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
        if (tail->len + (size_t)n > sizeof(tail->data)) {
            size_t keep = sizeof(tail->data) / 2 < tail->len ? sizeof(tail->data) / 2 : tail->len;

            memmove(tail->data, tail->data + tail->len - keep, keep);
            tail->len = keep;
        }
        memcpy(tail->data + tail->len, buffer, (size_t)n);
        tail->len += (size_t)n;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* The last lines, made safe to show. */
static void lines_of(const struct tail *tail, struct strlist *output)
{
    size_t from = tail->len > HOOK_MAX_OUTPUT ? tail->len - HOOK_MAX_OUTPUT : 0, n = 0, at = tail->len;

    for (; at > from; at--)
        if (tail->data[at - 1] == '\n' && at < tail->len && ++n == HOOK_MAX_LINES)
            break;
    strlist_clear(output);
    while (at < tail->len) {
        const char *end = memchr(tail->data + at, '\n', tail->len - at);
        size_t len = end ? (size_t)(end - tail->data) - at : tail->len - at;
        CLEANUP(mem_freep) char *line = printable(tail->data + at, len, MAX_LINE);

        strlist_add(output, line);
        at += len + 1;
    }
}

/* --- from outside --- */

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct children {
    pid_t pids[MAX_CHILDREN];
    size_t n;
};

/* Ours by now: what the program has started comes to us when its own parent ends. */
static void look_at_children(struct children *out)
{
    CLEANUP(mem_freep) char *path = mem_printf("/proc/self/task/%ld/children", (long)getpid());
    FILE *file = fopen(path, "re");
    long pid;

    out->n = 0;
    while (file && out->n < MAX_CHILDREN && fscanf(file, "%ld", &pid) == 1)
        out->pids[out->n++] = (pid_t)pid;
    if (file)
        (void)fclose(file);
}

static bool is_among(const struct children *children, pid_t pid)
{
    for (size_t i = 0; i < children->n; i++)
        if (children->pids[i] == pid)
            return true;
    return false;
}

/* What has left the group, and its children in turn, until nothing is left that was not there @before. */
static void sweep(const struct children *before)
{
    struct children now;
    bool any = true;

    for (int i = 0; i < MAX_SWEEPS && any; i++) {
        any = false;
        look_at_children(&now);
        for (size_t k = 0; k < now.n; k++) {
            if (is_among(before, now.pids[k]))
                continue;
            (void)kill(now.pids[k], SIGKILL);
            (void)waitpid(now.pids[k], NULL, 0);
            any = true;
        }
    }
}

struct running {
    pid_t pid;
    struct children before;
    int output; /* our end of the pipe */
    int status; /* as of waitpid, when it has ended */
    struct tail *tail;
};

/* True when the program itself has ended before @until. */
static bool wait_until(struct running *r, int64_t until)
{
    bool more = true;

    for (;;) {
        struct pollfd p = {.fd = more ? r->output : -1, .events = POLLIN};
        siginfo_t ended = {0};

        if (more)
            more = take(r->output, r->tail);
        /* It is not reaped yet: its number is nobody else's while we may still signal its group. */
        if (waitid(P_PID, (id_t)r->pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == r->pid)
            return true;
        if (now_ms() >= until)
            return false;
        (void)poll(&p, 1, TICK_MS);
    }
}

static int what_became(const struct hook *hook, int status, bool in_time, struct err **errp)
{
    const char *name = hook->argv[0];

    if (!in_time) {
        err_set(errp, ERR_TIMEOUT, "%s took longer than %lld seconds and was ended", name, (long long)hook->limit);
        return err_hint(errp, "see what it waits for, or raise 'hook-limit' in [agent]");
    }
    if (WIFSIGNALED(status))
        return err_set(
            errp, ERR_STORE, "%s was ended by signal %d (%s)", name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) == CANNOT_RUN)
        return err_set(errp, ERR_CONFIG, "%s could not be run", name);
    return WEXITSTATUS(status) ? err_set(errp, ERR_STORE, "%s ended with status %d", name, WEXITSTATUS(status)) : 0;
}

/* A daemon that the program has restarted has left its group, and stays; unless the program came to no end. */
static int follow(const struct hook *hook, struct running *r, struct err **errp)
{
    bool in_time = wait_until(r, now_ms() + hook->limit * 1000);

    if (!in_time) {
        (void)kill(-r->pid, SIGTERM);
        (void)wait_until(r, now_ms() + HOOK_GRACE * 1000);
    }
    (void)kill(-r->pid, SIGKILL);
    (void)kill(r->pid, SIGKILL);
    while (waitpid(r->pid, &r->status, 0) < 0 && errno == EINTR)
        ;
    if (!in_time)
        sweep(&r->before);
    (void)take(r->output, r->tail);
    return what_became(hook, r->status, in_time, errp);
}

static int find_user(const char *name, const struct passwd **out, struct err **errp)
{
    *out = NULL;
    if (!name)
        return 0;
    *out = getpwnam(name);
    if (!*out) {
        err_set(errp, ERR_CONFIG, "there is no user '%s'", name);
        return err_hint(errp, "make the user, or write another after 'run-as ='");
    }
    if (geteuid() == 0)
        return 0;
    if ((*out)->pw_uid != geteuid()) {
        err_set(errp, ERR_CONFIG, "only root can run a program as '%s'", name);
        return err_hint(errp, "leave the line 'run-as =' out where autoenroll-deploy is not root");
    }
    *out = NULL;
    return 0;
}

static void closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

int hook_run(const struct hook *hook, struct strlist *output, struct err **errp)
{
    const char *environment[MAX_ENV + 3] = {PATH, "LANG=C.UTF-8"};
    const struct passwd *user;
    CLEANUP(mem_freep) struct tail *tail = mem_alloc(sizeof(*tail));
    CLEANUP(closep) int input = -1, ours = -1, theirs = -1;
    struct running r = {.tail = tail};
    int ends[2], result;

    for (size_t i = 0; hook->environment && hook->environment[i] && i < MAX_ENV; i++)
        environment[i + 2] = hook->environment[i];
    if (find_user(hook->user, &user, errp) < 0)
        return -1;
    input = make_input(hook->input, errp);
    if (input < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(errp, ERR_STORE, "a pipe: %m");
    ours = ends[0];
    theirs = ends[1];
    (void)fcntl(ours, F_SETFL, O_NONBLOCK);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    look_at_children(&r.before);
    r.pid = fork();
    if (r.pid < 0)
        return err_set(errp, ERR_STORE, "starting %s: %m", hook->argv[0]);
    if (r.pid == 0)
        child(hook, user, (char *const *)(uintptr_t)environment, input, theirs);
    (void)close(theirs);
    theirs = -1;
    r.output = ours;
    result = follow(hook, &r, errp);
    lines_of(tail, output);
    return result;
}
