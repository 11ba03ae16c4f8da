#include "agent/daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Ctrl-C at a terminal reaches the whole group: the daemon takes it and ends us in its own way. */
static void reset_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGHUP, SIG_DFL);
    (void)signal(SIGINT, SIG_IGN);
}

/* Our death is the worker's, also when it has come already. */
static void die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
        _exit(126);
}

static __attribute__((noreturn)) void become_worker(const struct children_place *place, int fd, pid_t parent)
{
    static char name[] = "autoenroll-worker";
    char *argv[] = {name, NULL};

    reset_signals();
    if (fd != CHANNEL_FD && dup2(fd, CHANNEL_FD) < 0)
        _exit(126);
    (void)fcntl(CHANNEL_FD, F_SETFD, 0);
    (void)close_range(CHANNEL_FD + 1, ~0u, 0);
    if (place->as && account_become(place->as, NULL) < 0)
        _exit(126);
    die_with(parent); /* a change of user would undo it */
    (void)execve(place->program, argv, worker_environment());
    _exit(127);
}

pid_t spawn_worker(const struct children_place *place, int fd)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0)
        become_worker(place, fd, parent);
    return pid;
}

int spawn_reap(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return CHILD_NO_STATUS;
    return status;
}
