#include "tests/fault/plan.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/job/channel.h"

/*
 * Stands in front of the C library in a program that is linked with it, also for the libraries that the program loads
 * later. The role is given by the build: -DFAULT_ROLE=FAULT_DAEMON.
 */

static struct fault_plan *plan;
static pid_t self;                       /* a fork is nobody's role */
static bool sent;                        /* to the network, and nothing was received since */
static _Thread_local const char *caller; /* of the function that stands in front of another */

extern const char __executable_start, etext; /* the linker's */

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv(FAULT_PLAN);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    struct fault_plan *mapped =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*mapped), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (fd >= 0)
        (void)close(fd);
    if (mapped == MAP_FAILED)
        return;
    self = getpid();
    mapped->pids[FAULT_ROLE] = self;
    plan = mapped;
}

__attribute__((destructor)) static void end(void)
{
    if (plan && getpid() == self)
        plan->pids[FAULT_ROLE] = 0;
}

/* A kill that the other one may survive for a moment, on another processor, as it would in earnest. */
static void strike(void)
{
    const enum fault_role other = 1 - FAULT_ROLE;
    pid_t pid = plan->pids[other];

    if (plan->victims[other] && pid > 0)
        (void)kill(pid, SIGKILL);
    if (plan->victims[FAULT_ROLE])
        (void)raise(SIGKILL);
}

/* A disk that is full still gives names to what is on it, and takes them away. */
static bool is_hit(uint32_t n, bool needs_room)
{
    if (n == plan->at)
        return true;
    return plan->what == FAULT_ALWAYS && n > plan->at && (needs_room || plan->error != ENOSPC);
}

/* True: the call must fail, errno is set. */
static bool step(enum fault_kind kind, const char *call, const char *name, bool needs_room)
{
    bool fails = plan->what == FAULT_ONCE || plan->what == FAULT_ALWAYS;
    struct fault_step *s;
    uint32_t n;

    if (fails && kind != FAULT_DISK)
        return false;
    n = atomic_fetch_add(&plan->count, 1) + 1;
    if (n > FAULT_MAX_STEPS)
        abort();
    s = &plan->steps[n - 1];
    *s = (struct fault_step){.role = FAULT_ROLE,
        .kind = kind,
        .has_worker = plan->pids[FAULT_WORKER] != 0,
        .by_library = caller < &__executable_start || caller >= &etext};
    (void)snprintf(s->call, sizeof(s->call), "%s", call);
    (void)snprintf(s->name, sizeof(s->name), "%s", name);
    if (plan->what == FAULT_NOTHING || !is_hit(n, needs_room))
        return false;
    plan->struck = true;
    if (plan->what == FAULT_KILL)
        strike();
    errno = plan->error;
    return fails;
}

/* --- names --- */

static bool is_planned(void)
{
    return plan && getpid() == self;
}

static bool is_digit(char c, bool hex)
{
    return (c >= '0' && c <= '9') || (hex && c >= 'a' && c <= 'f');
}

/* The last part of @path, with "*" for what another run would call otherwise: long numbers, in hex too. */
static void shorten(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    const char *in = slash ? slash + 1 : path;
    size_t n = 0;

    while (*in && n + 1 < size) {
        size_t run = 0, decimal = 0;

        while (is_digit(in[run], true) || (run && in[run] == '-'))
            run++;
        while (is_digit(in[decimal], false) || (decimal && in[decimal] == '-'))
            decimal++;
        if (run < 16)
            run = decimal >= 3 ? decimal : 0;
        out[n++] = run ? '*' : *in;
        in += run ? run : 1;
    }
    out[n] = '\0';
}

static bool is_below(const char *path)
{
    size_t len = strlen(plan->root);

    return strncmp(path, plan->root, len) == 0 && (!path[len] || path[len] == '/');
}

/* The file behind @fd, when it is one of ours. */
static bool name_of_fd(int fd, char *path, size_t size)
{
    char link[64];
    ssize_t n;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, size - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return is_below(path);
}

/* The same for a name in a directory. */
static bool name_at(int dir, const char *name, char *path, size_t size)
{
    char folder[PATH_MAX];

    if (*name == '/' || dir == AT_FDCWD) {
        (void)snprintf(path, size, "%s", name);
        return is_below(path);
    }
    if (!name_of_fd(dir, folder, sizeof(folder)))
        return false;
    return (size_t)snprintf(path, size, "%s/%s", folder, name) < size;
}

static bool path_step(const char *call, int dir, const char *name, bool needs_room)
{
    int saved = errno;
    char path[PATH_MAX], shown[sizeof(plan->steps->name)];

    if (!is_planned() || !name_at(dir, name, path, sizeof(path)))
        return false;
    shorten(path, shown, sizeof(shown));
    if (step(FAULT_DISK, call, shown, needs_room))
        return true;
    errno = saved;
    return false;
}

static bool fd_step(const char *call, int fd, bool needs_room)
{
    int saved = errno;
    char path[PATH_MAX], shown[sizeof(plan->steps->name)];

    if (!is_planned() || !name_of_fd(fd, path, sizeof(path)))
        return false;
    shorten(path, shown, sizeof(shown));
    if (step(FAULT_DISK, call, shown, needs_room))
        return true;
    errno = saved;
    return false;
}

/* --- in front of the C library --- */

/* The one that would have been called; a declaration of ours would hide what the compiler knows of it. */
#define REAL(function)                                                                                                 \
    caller = __builtin_return_address(0);                                                                              \
    static typeof(function) *real;                                                                                     \
    if (!real)                                                                                                         \
    *(void **)&real = dlsym(RTLD_NEXT, #function)

int fsync(int fd)
{
    REAL(fsync);
    return fd_step("fsync", fd, false) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return fd_step("fdatasync", fd, false) ? -1 : real(fd);
}

ssize_t write(int fd, const void *data, size_t len)
{
    REAL(write);
    return fd_step("write", fd, true) ? -1 : real(fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    REAL(pwrite);
    return fd_step("pwrite", fd, true) ? -1 : real(fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    REAL(pwrite64);
    return fd_step("pwrite", fd, true) ? -1 : real(fd, data, len, at);
}

int ftruncate(int fd, off_t len)
{
    REAL(ftruncate);
    return fd_step("ftruncate", fd, false) ? -1 : real(fd, len);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    return access(path, F_OK) < 0 && path_step("mkdir", AT_FDCWD, path, true) ? -1 : real(path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    REAL(mkdirat);
    return faccessat(dir, path, F_OK, 0) < 0 && path_step("mkdir", dir, path, true) ? -1 : real(dir, path, mode);
}

int symlinkat(const char *target, int dir, const char *path)
{
    REAL(symlinkat);
    return path_step("symlink", dir, path, true) ? -1 : real(target, dir, path);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    return path_step("rename", AT_FDCWD, to, false) ? -1 : real(from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    REAL(renameat);
    return path_step("rename", to_dir, to, false) ? -1 : real(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    REAL(renameat2);
    return path_step("rename", to_dir, to, false) ? -1 : real(from_dir, from, to_dir, to, flags);
}

/* What is not there is not removed, and so no step. */
static bool is_there(int dir, const char *path)
{
    struct stat st;

    return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int unlink(const char *path)
{
    REAL(unlink);
    return is_there(AT_FDCWD, path) && path_step("unlink", AT_FDCWD, path, false) ? -1 : real(path);
}

int unlinkat(int dir, const char *path, int flags)
{
    REAL(unlinkat);
    return is_there(dir, path) && path_step("unlink", dir, path, false) ? -1 : real(dir, path, flags);
}

int rmdir(const char *path)
{
    REAL(rmdir);
    return is_there(AT_FDCWD, path) && path_step("rmdir", AT_FDCWD, path, false) ? -1 : real(path);
}

int remove(const char *path)
{
    REAL(remove);
    return is_there(AT_FDCWD, path) && path_step("remove", AT_FDCWD, path, false) ? -1 : real(path);
}

/* Making a file, and emptying one, are steps. */
static bool opening_fails(int dir, const char *path, int flags)
{
    struct stat st;
    bool is_new = fstatat(dir, path, &st, 0) < 0;

    return ((flags & O_CREAT && is_new) || (flags & O_TRUNC && !is_new && st.st_size)) &&
           path_step(is_new ? "create" : "truncate", dir, path, is_new);
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list ap;                                                                                                    \
        mode_t mode;                                                                                                   \
        REAL(name);                                                                                                    \
                                                                                                                       \
        va_start(ap, flags);                                                                                           \
        mode = mode_of(flags, ap);                                                                                     \
        va_end(ap);                                                                                                    \
        return opening_fails(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode);                                    \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    int name(int dir, const char *path, int flags, ...)                                                                \
    {                                                                                                                  \
        va_list ap;                                                                                                    \
        mode_t mode;                                                                                                   \
        REAL(name);                                                                                                    \
                                                                                                                       \
        va_start(ap, flags);                                                                                           \
        mode = mode_of(flags, ap);                                                                                     \
        va_end(ap);                                                                                                    \
        return opening_fails(dir, path, flags) ? -1 : real(dir, path, flags, mode);                                    \
    }
OPENAT(openat)
OPENAT(openat64)

/* --- stdio, as SoftHSM uses it: what it writes is on disk after the fflush --- */

/* Has the disk gone bad for good? Not a step of its own: fwrite only fills a buffer. */
static bool is_gone(FILE *file)
{
    char path[PATH_MAX];
    bool gone = is_planned() && plan->what == FAULT_ALWAYS && plan->struck && __fwritable(file) &&
                name_of_fd(fileno(file), path, sizeof(path));

    if (gone)
        errno = plan->error;
    return gone;
}

static bool has_unwritten(FILE *file)
{
    return __fwritable(file) && __fpending(file) > 0;
}

size_t fwrite(const void *data, size_t size, size_t n, FILE *file)
{
    REAL(fwrite);
    return is_gone(file) ? 0 : real(data, size, n, file);
}

int fflush(FILE *file)
{
    REAL(fflush);
    return file && has_unwritten(file) && fd_step("fflush", fileno(file), true) ? EOF : real(file);
}

int fclose(FILE *file)
{
    bool fails;
    REAL(fclose);

    fails = is_gone(file) || (has_unwritten(file) && fd_step("fclose", fileno(file), true));
    if (fails)
        __fpurge(file);
    return real(file) || fails ? EOF : 0;
}

/* --- what is said to others --- */

static int family_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 ? address.ss_family : AF_UNSPEC;
}

/* What the last of the frames in @data says. False: nothing that anybody waits for. */
static bool name_frames(const uint8_t *data, size_t len, char *out, size_t size)
{
    static const char *const types[] = {"?", "job", "ack", "progress", "checkpoint", "result", "failed", "secret"};

    bool matters = false;

    (void)snprintf(out, size, "?");
    for (size_t at = 0; at + 6 <= len;) {
        size_t body = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
        const char *type = data[at + 4] < sizeof(types) / sizeof(*types) ? types[data[at + 4]] : "?";

        matters |= data[at + 4] != 3;
        if (data[at + 4] == 4)
            (void)snprintf(out, size, "%s %s", type, job_checkpoint_name((enum job_checkpoint)data[at + 5]));
        else
            (void)snprintf(out, size, "%s", type);
        at += 6 + body;
    }
    return matters;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    char name[sizeof(plan->steps->name)];
    int saved = errno;
    int family;
    REAL(send);

    family = is_planned() ? family_of(fd) : AF_UNSPEC;
    if (family == AF_UNIX && name_frames(data, len, name, sizeof(name))) {
        (void)step(FAULT_CHANNEL, "send", name, false);
    } else if (family != AF_UNIX && family != AF_UNSPEC) {
        sent = true;
        (void)step(FAULT_NETWORK, "send", "network", false);
    }
    errno = saved;
    return real(fd, data, len, flags);
}

/* An answer may come in any number of parts: the step is to look at its beginning. */
ssize_t recv(int fd, void *data, size_t len, int flags)
{
    int saved = errno;
    int family;
    REAL(recv);

    family = is_planned() ? family_of(fd) : AF_UNSPEC;
    if (family != AF_UNIX && family != AF_UNSPEC && sent) {
        sent = false;
        (void)step(FAULT_NETWORK, "recv", "network", false);
    }
    errno = saved;
    return real(fd, data, len, flags);
}
