#include "agent/deploy/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) /* nothing that is opened by mistake makes us wait */

void beneath_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* glibc has no wrapper. */
static int open_beneath(int dir, const char *path, int flags)
{
    struct open_how how = {
        .flags = (unsigned)flags, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static int not_opened(const char *path, struct err **errp)
{
    if (errno == ENOENT)
        return BENEATH_MISSING;
    if (errno == ELOOP || errno == EXDEV) {
        err_set(errp, ERR_UNTRUSTED, "'%s' is a link, or leads elsewhere", path);
        return err_hint(errp, "find out who has put it there; only files that are there themselves are read");
    }
    if (errno == ENOTDIR)
        return err_set(errp, ERR_UNTRUSTED, "'%s' is no directory", path);
    return err_set(errp, ERR_STORE, "opening '%s': %m", path);
}

int beneath_root(const char *path, int *out, struct err **errp)
{
    int fd = open(path, FLAGS | O_DIRECTORY);

    if (fd < 0)
        return not_opened(path, errp);
    *out = fd;
    return BENEATH_OPEN;
}

int beneath_directory(int dir, const char *path, int *out, struct err **errp)
{
    int fd = open_beneath(dir, path, FLAGS | O_DIRECTORY);

    if (fd < 0)
        return not_opened(path, errp);
    *out = fd;
    return BENEATH_OPEN;
}

/*
 * The count of names is what it is at this moment: whoever owns the directory can take the second one away just now. A
 * file of the same owner, though, holds nothing that this owner could not read.
 */
static int check_file(int fd, int dir, const char *name, size_t max, struct err **errp)
{
    struct stat st, home;

    if (fstat(fd, &st) < 0 || fstat(dir, &home) < 0)
        return err_set(errp, ERR_STORE, "reading '%s': %m", name);
    if (!S_ISREG(st.st_mode))
        return err_set(errp, ERR_UNTRUSTED, "'%s' is no regular file", name);
    if (st.st_nlink != 1) {
        err_set(errp, ERR_UNTRUSTED, "'%s' has %lu names", name, (unsigned long)st.st_nlink);
        return err_hint(errp, "a file with a second name may be somebody else's: remove the hard link");
    }
    if (st.st_uid != home.st_uid)
        return err_set(errp, ERR_UNTRUSTED, "'%s' belongs to another user than its directory", name);
    if (st.st_size < 0 || (size_t)st.st_size > max)
        return err_set(errp, ERR_UNTRUSTED, "'%s' is larger than %zu bytes", name, max);
    return 0;
}

/* The limit holds for what is read, whatever the size was a moment ago. */
static int read_all(int fd, const char *name, size_t max, struct bytes *content, struct err **errp)
{
    char buffer[4096];
    ssize_t n;
    int r = 0;

    content->limit = max ? max : 1;
    while (r == 0 && (n = read(fd, buffer, sizeof(buffer))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        r = n < 0 ? err_set(errp, ERR_STORE, "%m") : bytes_append(content, buffer, (size_t)n, errp);
    }
    if (content->secret)
        explicit_bzero(buffer, sizeof(buffer));
    return r < 0 ? err_wrap(errp, "reading '%s'", name) : 0;
}

int beneath_read(int dir, const char *name, size_t max, struct bytes *out, struct err **errp)
{
    CLEANUP(beneath_close) int fd = open_beneath(dir, name, FLAGS | O_NOFOLLOW);
    struct bytes content = {.secret = out->secret};

    if (fd < 0)
        return not_opened(name, errp);
    if (check_file(fd, dir, name, max, errp) < 0)
        return -1;
    if (read_all(fd, name, max, &content, errp) < 0) {
        bytes_wipe(&content);
        return -1;
    }
    content.limit = 0;
    bytes_clear(out);
    *out = content;
    return BENEATH_OPEN;
}

int beneath_number(int dir, const char *name, uint32_t *number, struct err **errp)
{
    char text[16];
    ssize_t n = readlinkat(dir, name, text, sizeof(text));
    unsigned long value;
    char *end;

    if (n < 0 && errno == ENOENT)
        return BENEATH_MISSING;
    if (n < 0)
        return err_set(errp, errno == EINVAL ? ERR_UNTRUSTED : ERR_STORE, "reading the link '%s': %m", name);
    if ((size_t)n == sizeof(text))
        n = 0;
    text[n] = 0;
    value = strtoul(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end || value > UINT32_MAX)
        return err_set(errp, ERR_UNTRUSTED, "the link '%s' does not point to a number", name);
    *number = (uint32_t)value;
    return BENEATH_OPEN;
}
