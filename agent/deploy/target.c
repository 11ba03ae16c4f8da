#include "agent/deploy/target.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/deploy/beneath.h"
#include "agent/deploy/trust.h"

void target_add(struct target *target, const char *name, mode_t mode, struct bytes *content)
{
    struct target_file *file = MEM_APPEND(target->files, target->n);

    *file = (struct target_file){.name = mem_strdup(name), .mode = mode, .content = *content};
    *content = (struct bytes){0};
}

void target_clear(struct target *target)
{
    for (size_t i = 0; i < target->n; i++) {
        free(target->files[i].name);
        bytes_wipe(&target->files[i].content);
    }
    free(target->files);
    strlist_clear(&target->gone);
    *target = (struct target){0};
}

/* --- the directory, and whose it is --- */

struct place {
    int dir;
    uid_t uid; /* who owns what is put there */
    gid_t gid;
    uid_t writer; /* who puts it there */
    gid_t writer_gid;
};

static int open_without_links(const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static int not_opened(const char *path, struct err **errp)
{
    CLEANUP(mem_freep) char *real = NULL;

    if (errno != ELOOP) {
        err_set(errp, ERR_CONFIG, "opening the directory '%s': %m", path);
        return err_hint(errp, "make it, owned by who is to own the files: install -d -o USER -m 750 '%s'", path);
    }
    real = realpath(path, NULL);
    err_set(errp, ERR_CONFIG, "there is a link in the path of '%s'", path);
    return real ? err_hint(errp, "if that is meant, write where it leads: export = %s", real) : -1;
}

static int find_users(const struct target *target, struct place *place, struct err **errp)
{
    const struct passwd *user = target->owner ? getpwnam(target->owner) : NULL;
    const struct group *group = target->group ? getgrnam(target->group) : NULL;

    if (target->owner && !user) {
        err_set(errp, ERR_CONFIG, "there is no user '%s'", target->owner);
        return err_hint(errp, "make the user, or write another after 'owner ='");
    }
    if (target->group && !group) {
        err_set(errp, ERR_CONFIG, "there is no group '%s'", target->group);
        return err_hint(errp, "make the group, or write another after 'group ='");
    }
    if (user)
        place->uid = user->pw_uid;
    if (group)
        place->gid = group->gr_gid;
    return 0;
}

/* Where it is root's, root writes only where nobody else does. */
static int check_rights(const struct target *target, const struct stat *st, struct err **errp)
{
    if (st->st_uid == 0 && trust_path(target->dir, errp) < 0)
        return -1;
    if (st->st_mode & S_IWOTH) {
        err_set(errp, ERR_CONFIG, "everybody can write into '%s'", target->dir);
        return err_hint(errp, "chmod o-w '%s'", target->dir);
    }
    return 0;
}

static int check_owner(const struct target *target, const struct place *place, struct err **errp)
{
    if (geteuid() == 0 && place->writer != 0 && place->uid != place->writer) {
        err_set(errp, ERR_CONFIG, "'%s' does not belong to '%s', who is to own the files", target->dir, target->owner);
        return err_hint(errp, "chown '%s' '%s', or leave the line 'owner =' out", target->owner, target->dir);
    }
    return 0;
}

static int open_place(const struct target *target, struct place *place, struct err **errp)
{
    CLEANUP(beneath_close) int dir = open_without_links(target->dir);
    struct stat st;

    if (dir < 0)
        return not_opened(target->dir, errp);
    if (fstat(dir, &st) < 0)
        return err_set(errp, ERR_STORE, "'%s': %m", target->dir);
    *place =
        (struct place){.dir = -1, .uid = st.st_uid, .gid = st.st_gid, .writer = st.st_uid, .writer_gid = st.st_gid};
    if (check_rights(target, &st, errp) < 0 || find_users(target, place, errp) < 0 ||
        check_owner(target, place, errp) < 0)
        return -1;
    place->dir = dir;
    dir = -1;
    return 0;
}

/* --- being its owner for a while --- */

struct identity {
    bool changed;
    gid_t *groups; /* owned: those that we had */
    int n_groups;
};

/* Whoever goes on with more rights than meant is worse than one who stops. */
static void come_back(struct identity *self)
{
    if (self->changed && (seteuid(0) < 0 || setegid(0) < 0 || setgroups((size_t)self->n_groups, self->groups) < 0))
        abort();
    free(self->groups);
    *self = (struct identity){0};
}

static gid_t *groups_of(uid_t uid, gid_t gid, int *n)
{
    const struct passwd *user = getpwuid(uid);
    gid_t *groups = mem_calloc(64, sizeof(*groups));

    *n = 64;
    if (!user || getgrouplist(user->pw_name, gid, groups, n) < 0) {
        groups[0] = gid;
        *n = 1;
    }
    return groups;
}

/* The owner's own groups come with it, so that it can give a file to one of them. */
static int become(const struct place *place, struct identity *self, struct err **errp)
{
    CLEANUP(mem_freep) gid_t *groups = NULL;
    int n, have = getgroups(0, NULL);

    if (geteuid() != 0 || place->writer == 0)
        return 0;
    self->groups = mem_calloc((size_t)have + 1, sizeof(gid_t));
    self->n_groups = getgroups(have, self->groups);
    groups = groups_of(place->writer, place->writer_gid, &n);
    if (self->n_groups < 0)
        return err_set(errp, ERR_STORE, "reading our groups: %m");
    self->changed = true;
    if (setgroups((size_t)n, groups) < 0 || setegid(place->writer_gid) < 0 || seteuid(place->writer) < 0)
        return err_set(errp, ERR_STORE, "becoming user %ld: %m", (long)place->writer);
    return 0;
}

/* --- writing --- */

static int failed(struct err **errp, const char *doing, const char *dir, const char *name)
{
    int saved = errno;

    err_set(errp, ERR_STORE, "%s '%s/%s': %s", doing, dir, name, strerror(saved)); /* the hints are others than %m's */
    if (saved == ENOSPC || saved == EDQUOT || saved == EFBIG)
        return err_hint(errp, "free some space; the files that are there are the old ones, whole");
    if (saved == EPERM)
        return err_hint(errp,
            "the directory's owner cannot give files to that owner or group: chown root '%s', or make "
            "the owner a member of the group",
            dir);
    return saved == EACCES || saved == EROFS ? err_hint(errp, "its owner cannot write there: see 'ls -ld %s'", dir)
                                             : -1;
}

static int write_all(int fd, const struct bytes *content)
{
    for (size_t done = 0; done < content->len;) {
        ssize_t n = write(fd, content->data + done, content->len - done);

        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* The same name at each try: what a crash has left is replaced, and does not pile up. */
static char *beside(const struct target_file *file)
{
    return mem_printf(".%s.new", file->name);
}

static int write_beside(
    const struct target *target, const struct target_file *file, const struct place *place, struct err **errp)
{
    CLEANUP(mem_freep) char *name = beside(file);
    CLEANUP(beneath_close) int fd = -1;

    if (unlinkat(place->dir, name, 0) < 0 && errno != ENOENT)
        return failed(errp, "removing", target->dir, name);
    fd = openat(place->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(errp, "making", target->dir, name);
    if (write_all(fd, &file->content) < 0)
        return failed(errp, "writing", target->dir, name);
    if (fchown(fd, geteuid() == 0 || place->uid != geteuid() ? place->uid : (uid_t)-1, place->gid) < 0)
        return failed(errp, "giving away", target->dir, name);
    if (fchmod(fd, file->mode) < 0 || fsync(fd) < 0)
        return failed(errp, "writing", target->dir, name);
    return 0;
}

static int name_all(const struct target *target, const struct place *place, struct err **errp)
{
    for (size_t i = 0; i < target->n; i++) {
        CLEANUP(mem_freep) char *name = beside(&target->files[i]);

        if (renameat(place->dir, name, place->dir, target->files[i].name) < 0)
            return failed(errp, "replacing", target->dir, target->files[i].name);
    }
    for (size_t i = 0; i < target->gone.n; i++)
        if (unlinkat(place->dir, target->gone.items[i], 0) < 0 && errno != ENOENT)
            return failed(errp, "removing", target->dir, target->gone.items[i]);
    return fsync(place->dir) < 0 ? failed(errp, "making durable", target->dir, "") : 0;
}

static int put_all(const struct target *target, const struct place *place, struct err **errp)
{
    int r = 0;

    for (size_t i = 0; i < target->n && r == 0; i++)
        r = write_beside(target, &target->files[i], place, errp);
    if (r == 0)
        r = name_all(target, place, errp);
    for (size_t i = 0; i < target->n && r < 0; i++) {
        CLEANUP(mem_freep) char *name = beside(&target->files[i]);

        (void)unlinkat(place->dir, name, 0);
    }
    return r;
}

int target_put(const struct target *target, struct err **errp)
{
    CLEANUP(come_back) struct identity self = {0};
    struct place place = {0};
    int r;

    if (open_place(target, &place, errp) < 0)
        return -1;
    r = become(&place, &self, errp);
    if (r == 0)
        r = put_all(target, &place, errp);
    (void)close(place.dir);
    return r;
}
