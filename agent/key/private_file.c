#include "agent/key/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int private_file_sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep) char *folder = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0)
        (void)close(fd);
    return r;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The mode is of open, so that there is no moment in which others could read it. */
static int write_new(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r;

    if (fd < 0)
        return -1;
    r = write_all(fd, data, len) < 0 || fsync(fd) < 0 ? -1 : 0;
    return close(fd) < 0 ? -1 : r;
}

int private_file_write(const char *path, const void *data, size_t len, bool replace, struct err **errp)
{
    CLEANUP(mem_freep) char *temp = mem_printf("%s.new", path);

    (void)unlink(temp);
    if (write_new(temp, data, len) < 0 ||
        renameat2(AT_FDCWD, temp, AT_FDCWD, path, replace ? 0 : RENAME_NOREPLACE) < 0 ||
        private_file_sync_folder(path) < 0) {
        err_set(errp, ERR_STORE, "writing %s: %m", path);
        (void)unlink(temp);
        return -1;
    }
    return 0;
}

static int read_open(int fd, const char *path, size_t max, struct secret **out, struct err **errp)
{
    struct stat st;
    char *text;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return err_set(errp, ERR_STORE, "reading %s: %m", path);
    if (!S_ISREG(st.st_mode))
        return err_set(errp, ERR_STORE, "%s is not a file", path);
    if (st.st_mode & 077) {
        err_set(errp, ERR_STORE, "%s is open to others (mode %04o)", path, st.st_mode & 07777u);
        return err_hint(errp, "chmod 600 %s; if others may have read it, make a new one", path);
    }
    if (st.st_size < 0 || (size_t)st.st_size > max)
        return err_set(errp, ERR_STORE, "%s is larger than %zu bytes", path, max);
    text = mem_alloc((size_t)st.st_size + 1);
    n = read(fd, text, (size_t)st.st_size);
    if (n != st.st_size) {
        free(text);
        return err_set(errp, ERR_STORE, "reading %s: %s", path, n < 0 ? strerror(errno) : "it was cut short");
    }
    *out = secret_take(text, (size_t)n);
    return 0;
}

int private_file_read(const char *path, size_t max, struct secret **out, struct err **errp)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int r;

    if (fd < 0)
        return err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_STORE, "opening %s: %m", path);
    r = read_open(fd, path, max, out, errp);
    (void)close(fd);
    return r;
}

static int overwrite(const char *path)
{
    static const char zeros[4096];
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    int r = 0;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        r = -1;
    for (off_t left = r == 0 && S_ISREG(st.st_mode) ? st.st_size : 0; left > 0 && r == 0;) {
        size_t n = left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros);

        r = write_all(fd, zeros, n);
        left -= (off_t)n;
    }
    if (r == 0)
        r = fsync(fd);
    (void)close(fd);
    return r;
}

int private_file_destroy(const char *path, struct err **errp)
{
    if (overwrite(path) < 0 && errno == ENOENT)
        return 0;
    if (unlink(path) < 0 || private_file_sync_folder(path) < 0)
        return err_set(errp, ERR_STORE, "removing %s: %m", path);
    return 0;
}
