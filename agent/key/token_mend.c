#include "agent/key/token_mend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

#include "protocol/base/bytes.h"

#define TOKEN_OBJECT "token.object"
#define OBJECT       ".object"
#define LOCK         ".lock"
#define TEMPORARY    "new"
#define MAX_OBJECT   (4u << 20)
#define GENERATION   8 /* bytes, at the beginning of an object */

/* The folder of the token's objects, and that of their copies. */
struct mending {
    const char *tokens;
    int objects, copies;
    bool changed_objects, changed_copies;
    bool mended;
};

static void mending_close(struct mending *m)
{
    if (m->objects >= 0)
        (void)close(m->objects);
    if (m->copies >= 0)
        (void)close(m->copies);
}

static int failed(const struct mending *m, const char *doing, const char *name, struct err **errp)
{
    return err_set(errp, ERR_STORE, "%s '%s' of the token in '%s': %m", doing, name, m->tokens);
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);

    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

/* --- SoftHSM's format: a generation, then for each attribute type, kind and value; numbers have eight bytes --- */

enum { KIND_BOOL = 1, KIND_NUMBER, KIND_BYTES, KIND_MAP, KIND_MECHANISMS };

static bool read_number(const struct bytes *data, size_t *at, uint64_t *out)
{
    if (data->len - *at < 8)
        return false;
    *out = 0;
    for (int i = 0; i < 8; i++)
        *out = *out << 8 | data->data[(*at)++];
    return true;
}

static bool skip_value(const struct bytes *data, size_t *at, uint64_t kind, uint64_t *len)
{
    *len = kind == KIND_BOOL ? 1 : 8;
    if (kind > KIND_NUMBER && !read_number(data, at, len))
        return false;
    if (kind == KIND_MECHANISMS)
        *len = *len > MAX_OBJECT ? UINT64_MAX : *len * 8;
    if (*len > data->len - *at)
        return false;
    *at += *len;
    return true;
}

enum condition {
    CUT_SHORT,
    UNFINISHED, /* it has no id yet, which each of ours is given */
    WHOLE
};

/* What we do not know is not ours to judge: WHOLE. */
static enum condition look_at(const struct bytes *data, bool is_token)
{
    size_t at = 0;
    uint64_t number, type, kind, len;
    bool has_id = is_token;

    if (!read_number(data, &at, &number) || data->len == GENERATION)
        return CUT_SHORT;
    while (at < data->len) {
        if (!read_number(data, &at, &type) || !read_number(data, &at, &kind))
            return CUT_SHORT;
        if (kind < KIND_BOOL || kind > KIND_MECHANISMS)
            return WHOLE;
        if (!skip_value(data, &at, kind, &len))
            return CUT_SHORT;
        has_id |= type == CKA_ID && kind == KIND_BYTES && len > 0;
    }
    return has_id ? WHOLE : UNFINISHED;
}

/* --- files --- */

static int read_file(int dir, const char *name, struct bytes *out)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char buffer[8192];
    ssize_t n = -1;

    bytes_clear(out);
    out->limit = MAX_OBJECT;
    while (fd >= 0 && (n = read(fd, buffer, sizeof(buffer))) > 0)
        if (bytes_append(out, buffer, (size_t)n, NULL) < 0) {
            errno = EFBIG;
            n = -1;
            break;
        }
    if (fd >= 0)
        (void)close(fd);
    return n < 0 ? -1 : 0;
}

/* @when  the time stamp of both, by which they are known to be the same at the next look */
static int write_file(int dir, const struct bytes *data, const struct timespec *when)
{
    const struct timespec times[] = {*when, *when};
    int fd = openat(dir, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    size_t done = 0;
    int r = fd < 0 ? -1 : 0;

    while (r == 0 && done < data->len) {
        ssize_t n = write(fd, data->data + done, data->len - done);

        if (n < 0 && errno != EINTR)
            r = -1;
        done += n > 0 ? (size_t)n : 0;
    }
    if (r == 0 && (futimens(fd, times) < 0 || fsync(fd) < 0))
        r = -1;
    if (fd >= 0)
        (void)close(fd);
    return r;
}

/* @data becomes @name in @dir; it is written among the copies, where no module looks. */
static int put(
    const struct mending *m, int dir, const char *name, const struct bytes *data, const struct timespec *when)
{
    if (write_file(m->copies, data, when) < 0 || renameat(m->copies, TEMPORARY, dir, name) < 0) {
        int error = errno;

        (void)unlinkat(m->copies, TEMPORARY, 0);
        errno = error;
        return -1;
    }
    return 0;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/*
 * A login writes the token's object as it was, with a new generation: then only the time stamp is taken over, since
 * this is before every use of a key.
 */
static bool is_same(const struct mending *m, const char *name, const struct bytes *data)
{
    CLEANUP(bytes_clear) struct bytes copy = {0};

    return read_file(m->copies, name, &copy) == 0 && copy.len == data->len &&
           memcmp(copy.data + GENERATION, data->data + GENERATION, data->len - GENERATION) == 0;
}

static int keep(struct mending *m, const char *name, const struct bytes *data, const struct timespec *when)
{
    const struct timespec times[] = {*when, *when};

    if (is_same(m, name, data))
        return utimensat(m->copies, name, times, AT_SYMLINK_NOFOLLOW);
    m->changed_copies = true;
    return put(m, m->copies, name, data, when);
}

static int remove_object(struct mending *m, const char *name, struct err **errp)
{
    CLEANUP(mem_freep) char *lock = mem_printf("%.*s" LOCK, (int)(strlen(name) - strlen(OBJECT)), name);

    if (unlinkat(m->objects, name, 0) < 0 || (unlinkat(m->objects, lock, 0) < 0 && errno != ENOENT))
        return failed(m, "removing", name, errp);
    m->changed_objects = m->mended = true;
    return 0;
}

static int mend_object(struct mending *m, const char *name, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes data = {0};
    struct stat object, copy;
    bool is_kept = fstatat(m->copies, name, &copy, AT_SYMLINK_NOFOLLOW) == 0;
    enum condition condition;

    if (fstatat(m->objects, name, &object, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(m, "looking at", name, errp);
    if (is_kept && object.st_size == copy.st_size && is_same_time(&object.st_mtim, &copy.st_mtim))
        return 0;
    if (read_file(m->objects, name, &data) < 0)
        return failed(m, "reading", name, errp);
    condition = look_at(&data, strcmp(name, TOKEN_OBJECT) == 0);
    if (condition == WHOLE)
        return keep(m, name, &data, &object.st_mtim) < 0 ? failed(m, "keeping a copy of", name, errp) : 0;
    if (!is_kept)
        return strcmp(name, TOKEN_OBJECT) == 0 ? 0 : remove_object(m, name, errp);
    m->changed_objects = m->mended = true;
    if (read_file(m->copies, name, &data) < 0 || put(m, m->objects, name, &data, &copy.st_mtim) < 0)
        return failed(m, "putting back", name, errp);
    return 0;
}

/* --- folders --- */

typedef int look(struct mending *m, const char *name, struct err **errp);

/* Calls @each for every name in @dir; they are read first, since it may change them. */
static int for_each(struct mending *m, int dir, look *each, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist names = {0};
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!entries)
        return failed(m, "reading", "the folder", errp);
    while ((entry = readdir(entries)))
        if (entry->d_name[0] != '.')
            strlist_add(&names, entry->d_name);
    (void)closedir(entries);
    for (size_t i = 0; i < names.n; i++)
        if (each(m, names.items[i], errp) < 0)
            return -1;
    return 0;
}

/* A lock without its object is what a crash left of removing it. */
static int mend_one(struct mending *m, const char *name, struct err **errp)
{
    CLEANUP(mem_freep) char *object = NULL;

    if (ends_with(name, OBJECT))
        return mend_object(m, name, errp);
    if (!ends_with(name, LOCK))
        return 0;
    object = mem_printf("%.*s" OBJECT, (int)(strlen(name) - strlen(LOCK)), name);
    if (faccessat(m->objects, object, F_OK, 0) == 0 || errno != ENOENT)
        return 0;
    m->changed_objects = true;
    return unlinkat(m->objects, name, 0) < 0 && errno != ENOENT ? failed(m, "removing", name, errp) : 0;
}

/* The copy of a key that was destroyed goes as well. */
static int drop_copy(struct mending *m, const char *name, struct err **errp)
{
    if (faccessat(m->objects, name, F_OK, 0) == 0 || errno != ENOENT)
        return 0;
    m->changed_copies = true;
    return unlinkat(m->copies, name, 0) < 0 ? failed(m, "removing the copy", name, errp) : 0;
}

/* 1, or 0 when there is no token yet, or -1. */
static int open_folders(struct mending *m, struct err **errp)
{
    CLEANUP(mem_freep) char *kept = mem_printf("%s.kept", m->tokens);
    CLEANUP(mem_freep) char *objects = NULL;
    DIR *entries = opendir(m->tokens);
    const struct dirent *entry;

    if (!entries)
        return errno == ENOENT ? 0 : failed(m, "reading", "the folder", errp);
    while ((entry = readdir(entries)))
        if (entry->d_name[0] != '.' && !objects)
            objects = mem_printf("%s/%s", m->tokens, entry->d_name);
    (void)closedir(entries);
    if (!objects)
        return 0;
    if (mkdir(kept, 0700) < 0 && errno != EEXIST)
        return failed(m, "making", "the folder of copies", errp);
    m->objects = open(objects, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    m->copies = open(kept, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return m->objects < 0 || m->copies < 0 ? failed(m, "opening", "the folder", errp) : 1;
}

int token_mend(const char *tokens, struct err **errp)
{
    CLEANUP(mending_close) struct mending m = {.tokens = tokens, .objects = -1, .copies = -1};
    int r = open_folders(&m, errp);

    if (r <= 0)
        return r;
    if (for_each(&m, m.objects, mend_one, errp) < 0 || for_each(&m, m.copies, drop_copy, errp) < 0)
        return -1;
    if ((m.changed_objects && fsync(m.objects) < 0) || (m.changed_copies && fsync(m.copies) < 0))
        return failed(&m, "making durable", "the folder", errp);
    return m.mended ? TOKEN_MENDED : 0;
}
