#include "agent/config/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static int failed(struct err **errp, const char *doing, const char *path)
{
    return err_set(errp, ERR_STORE, "%s '%s': %m", doing, path);
}

int file_read(const char *path, size_t max, struct bytes *out, struct err **errp)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    CLEANUP(bytes_clear) struct bytes content = {.limit = max ? max : 1};
    struct stat st;
    char buffer[16384];
    ssize_t n;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return FILE_MISSING;
    if (fd < 0 || fstat(fd, &st) < 0)
        return failed(errp, "reading", path);
    if (!S_ISREG(st.st_mode))
        return err_set(errp, ERR_STORE, "reading '%s': not a regular file", path);
    while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(errp, "reading", path);
        if (bytes_append(&content, buffer, (size_t)n, errp) < 0)
            return err_wrap(errp, "reading '%s'", path);
    }
    bytes_clear(out);
    *out = content;
    out->limit = 0;
    content = (struct bytes){0};
    return FILE_READ;
}

/* "DIR/NAME" as an open directory and a name in it. */
static int open_parent(const char *path, const char **name, struct err **errp)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep) char *dir = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return failed(errp, "opening the directory", dir);
    *name = slash ? slash + 1 : path;
    return fd;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* A name beside @name. Each file has one process that writes it; what a crash left of it goes with the next one. */
static char *beside(const char *name)
{
    return mem_printf(".%s.new", name);
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err **errp)
{
    const char *name;
    CLEANUP(closep) int dir = open_parent(path, &name, errp);
    CLEANUP(closep) int fd = -1;
    CLEANUP(mem_freep) char *temp = NULL;

    if (dir < 0)
        return -1;
    temp = beside(name);
    (void)unlinkat(dir, temp, 0);
    fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(errp, "replacing", path);
    if (write_all(fd, data, len) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0 || renameat(dir, temp, dir, name) < 0 ||
        fsync(dir) < 0) {
        failed(errp, "replacing", path);
        (void)unlinkat(dir, temp, 0);
        return -1;
    }
    return 0;
}

int file_replace_link(const char *path, const char *target, struct err **errp)
{
    const char *name;
    CLEANUP(closep) int dir = open_parent(path, &name, errp);
    CLEANUP(mem_freep) char *temp = NULL;

    if (dir < 0)
        return -1;
    temp = beside(name);
    (void)unlinkat(dir, temp, 0);
    if (symlinkat(target, dir, temp) < 0 || renameat(dir, temp, dir, name) < 0 || fsync(dir) < 0) {
        failed(errp, "replacing the link", path);
        (void)unlinkat(dir, temp, 0);
        return -1;
    }
    return 0;
}

int file_make_directory(const char *path, mode_t mode, struct err **errp)
{
    const char *name;
    CLEANUP(closep) int dir = open_parent(path, &name, errp);
    CLEANUP(closep) int made = -1;
    struct stat st;
    bool is_new;

    if (dir < 0)
        return -1;
    is_new = mkdirat(dir, name, mode) == 0;
    if (!is_new && errno != EEXIST)
        return failed(errp, "making the directory", path);
    /* By descriptor from here on: root must not be led elsewhere by whoever may rename it. */
    made = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (made < 0 && (errno == ENOTDIR || errno == ELOOP))
        return err_set(errp, ERR_STORE, "'%s' is in the way: it is no directory", path);
    if (made < 0 || fstat(made, &st) < 0)
        return failed(errp, "making the directory", path);
    if (!is_new && (st.st_mode & 07777) == mode)
        return 0;
    /* mkdir obeys the umask, and an older one may be too open. */
    if (fchmod(made, mode) < 0 || fsync(dir) < 0)
        return failed(errp, "making the directory", path);
    return 0;
}

static int remove_files_in(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int result = 0;

    if (!entries)
        return -1;
    while (result == 0 && (entry = readdir(entries)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = unlinkat(dirfd(entries), entry->d_name, 0);
    (void)closedir(entries);
    return result;
}

int file_remove(const char *path, struct err **errp)
{
    const char *name;
    struct stat st;
    CLEANUP(closep) int dir = -1;

    if (lstat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0; /* its directory may be missing as well */
    dir = open_parent(path, &name, errp);
    if (dir < 0)
        return -1;
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return failed(errp, "removing", path);
    if (remove_files_in(dir, name) < 0 || unlinkat(dir, name, AT_REMOVEDIR) < 0)
        return failed(errp, "removing", path);
    return 0;
}
