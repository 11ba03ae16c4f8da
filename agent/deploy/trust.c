#include "agent/deploy/trust.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int look(const char *path, struct stat *st, struct err **errp)
{
    if (lstat(path, st) == 0)
        return 0;
    return err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_CONFIG, "'%s': %m", path);
}

static int check_one(const char *path, struct err **errp)
{
    struct stat st;
    bool shared;

    if (look(path, &st, errp) < 0)
        return -1;
    shared = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX);
    if (st.st_uid != 0) {
        err_set(errp, ERR_CONFIG, "'%s' does not belong to root", path);
        return err_hint(errp, "what root is told to do must be root's: chown root '%s'", path);
    }
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !shared) {
        err_set(errp, ERR_CONFIG, "'%s' can be written by others than root", path);
        return err_hint(errp, "what root is told to do must be root's alone: chmod go-w '%s'", path);
    }
    return 0;
}

/* @path has no link in it. */
static int check_chain(const char *path, struct err **errp)
{
    CLEANUP(mem_freep) char *at = mem_strdup(path);
    char *slash;

    for (;;) {
        if (check_one(*at ? at : "/", errp) < 0)
            return -1;
        slash = strrchr(at, '/');
        if (!slash || !*at)
            return 0;
        *slash = 0;
    }
}

static char *resolve(const char *path, struct err **errp)
{
    char *real = realpath(path, NULL);

    if (!real)
        err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_CONFIG, "'%s': %m", path);
    return real;
}

/*
 * With a link on the way, what counts is who can change the link: its directory is root's alone as well, or it is the
 * root's in a directory where nobody can replace it.
 */
static int check_links(const char *path, struct err **errp)
{
    CLEANUP(mem_freep) char *dir = mem_strdup(path);
    CLEANUP(mem_freep) char *real = NULL;
    char *slash = strrchr(dir, '/');
    struct stat st;

    if (look(path, &st, errp) < 0)
        return -1;
    if (!slash || slash == dir)
        return 0;
    *slash = 0;
    if (S_ISLNK(st.st_mode) && st.st_uid != 0)
        return err_set(errp, ERR_CONFIG, "the link '%s' does not belong to root", path);
    real = resolve(dir, errp);
    return !real || check_chain(real, errp) < 0 ? -1 : check_links(dir, errp);
}

static char *absolute(const char *path)
{
    CLEANUP(mem_freep) char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);

    return here ? mem_printf("%s/%s", here, path) : mem_strdup(path);
}

int trust_path(const char *path, struct err **errp)
{
    CLEANUP(mem_freep) char *full = absolute(path);
    CLEANUP(mem_freep) char *real = NULL;

    if (geteuid() != 0)
        return 0;
    real = resolve(full, errp);
    return !real || check_chain(real, errp) < 0 ? -1 : check_links(full, errp);
}

int trust_settings(const struct settings *settings, struct err **errp)
{
    for (size_t i = 0; i < settings->files.n; i++)
        if (trust_path(settings->files.items[i], errp) < 0)
            return err_wrap(errp, "the configuration is not root's alone");
    return 0;
}

int trust_program(const char *path, char **real, struct err **errp)
{
    CLEANUP(mem_freep) char *resolved = NULL;
    struct stat st;

    if (trust_path(path, errp) < 0)
        return -1;
    resolved = resolve(path, errp);
    if (!resolved)
        return -1;
    if (stat(resolved, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111)) {
        err_set(errp, ERR_CONFIG, "'%s' is no program", path);
        return err_hint(errp, "name a file with the right to be executed: chmod 755 '%s'", path);
    }
    *real = TAKE(resolved);
    return 0;
}
