/*
 * Runs a command and writes one line to a file: wall and CPU time in milliseconds, and the peak memory in KiB of the
 * largest process among it and its descendants.   measure FILE COMMAND ARGUMENTS...
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double ms_of(struct timeval t)
{
    return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    struct rusage usage;
    double begin, wall;
    int status;
    pid_t pid;
    FILE *out;

    if (argc < 3) {
        fprintf(stderr, "usage: measure FILE COMMAND ARGUMENTS...\n");
        return 64;
    }
    begin = now_ms();
    pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 71;
    wall = now_ms() - begin;
    getrusage(RUSAGE_CHILDREN, &usage);
    out = fopen(argv[1], "we");
    if (!out)
        return 74;
    fprintf(out, "%.1f %.1f %ld\n", wall, ms_of(usage.ru_utime) + ms_of(usage.ru_stime), usage.ru_maxrss);
    if (fclose(out) != 0)
        return 74;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
