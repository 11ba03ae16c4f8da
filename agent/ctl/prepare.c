#include "agent/ctl/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ctl/ask.h"
#include "protocol/base/bytes.h"

#define MAX_DEPTH 16

/* What is under the state directory, and what of it belongs to this machine alone. */
static const struct {
    const char *path, *what;
} wiped[] = {
    {"private", "records, cached policies, what this machine is"},
    {"token", "keys and the PIN of our own token"},
    {"keys", "key files"},
    {"public/certs", "published certificates"},
    {"public/metrics", "metrics"},
    {"public/changed", "what autoenroll-deploy is told"},
    {"deploy", "results of autoenroll-deploy"},
};

/* Where credentials of ours are at rest; one that is not there is fine. */
static const char *const credential_dirs[] = {"/etc/credstore", "/etc/credstore.encrypted"};

struct wipe {
    json_t *told; /* what is gone */
    bool json;
};

static void tell(struct wipe *w, const char *path, const char *what)
{
    json_array_append_new(w->told, json_pack("{s:s, s:s}", "path", path, "what", what));
    if (!w->json) {
        CLEANUP(mem_freep) char *line = mem_printf("wiped %s (%s)", path, what);

        screen_text(line, 0);
    }
}

/* A file's content is overwritten first; on most disks that is all that can be done. */
static void overwrite(int dir, const char *name)
{
    static const char zeros[65536];
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
        for (off_t left = st.st_size; left > 0; left -= (off_t)sizeof(zeros)) {
            size_t n = left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros);

            if (write(fd, zeros, n) != (ssize_t)n)
                break;
        }
    (void)fsync(fd);
    close(fd);
}

/* Removes @name under @dir with everything in it; a link is removed and not followed. 0, or -1 with ERR_STORE. */
static int wipe_tree(int dir, const char *name, int depth, struct err **errp)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct dirent *entry;
    DIR *list;
    int r = 0;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0) {
        overwrite(dir, name);
        return unlinkat(dir, name, 0) < 0 ? err_set(errp, ERR_STORE, "removing '%s': %m", name) : 0;
    }
    if (depth > MAX_DEPTH || !(list = fdopendir(fd))) {
        close(fd);
        return err_set(errp, ERR_STORE, "'%s' is too deep, or cannot be read", name);
    }
    while (r == 0 && (entry = readdir(list)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = wipe_tree(dirfd(list), entry->d_name, depth + 1, errp);
    closedir(list);
    if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
        r = err_set(errp, ERR_STORE, "removing '%s': %m", name);
    return r < 0 ? err_wrap(errp, "%s", name) : 0;
}

/* The daemon's lock, so that none can start meanwhile. The descriptor; -1 with ERR_BUSY or ERR_STORE. */
static int take_lock(int state, struct err **errp)
{
    int fd = openat(state, "private/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && errno == ENOENT)
        return openat(state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* nothing that a daemon could hold */
    if (fd < 0) {
        err_set(errp, ERR_STORE, "private/lock: %m");
        return err_hint(errp, "this is for root");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    err_set(errp, ERR_BUSY, "a daemon works with this state");
    return err_hint(errp, "stop it first: systemctl stop autoenrolld");
}

static int wipe_state(struct wipe *w, int state, const char *dir, struct err **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(wiped); i++) {
        CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, wiped[i].path);
        bool there = faccessat(state, wiped[i].path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

        if (wipe_tree(state, wiped[i].path, 0, errp) < 0)
            return err_wrap(errp, "wiping %s", dir);
        if (there)
            tell(w, path, wiped[i].what);
    }
    return fsync(state) < 0 ? err_set(errp, ERR_STORE, "%s: %m", dir) : 0;
}

/* "corp.password": what a worker reads as the password of a policy server. */
static bool is_ours(const char *name)
{
    static const char suffix[] = ".password";
    size_t len = strlen(name);

    return len > strlen(suffix) && strcmp(name + len - strlen(suffix), suffix) == 0;
}

static int wipe_credentials(struct wipe *w, const char *dir, struct err **errp)
{
    DIR *list = opendir(dir);
    struct dirent *entry;
    int r = 0;

    while (list && r == 0 && (entry = readdir(list))) {
        CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, entry->d_name);

        if (!is_ours(entry->d_name))
            continue;
        r = wipe_tree(dirfd(list), entry->d_name, 0, errp);
        if (r == 0)
            tell(w, path, "a password");
    }
    if (list)
        closedir(list);
    return r;
}

static int wipe_all(struct wipe *w, int state, const char *dir, bool system, struct err **errp)
{
    int lock = take_lock(state, errp);
    int r;

    if (lock < 0)
        return -1;
    r = wipe_state(w, state, dir, errp);
    for (size_t i = 0; i < ARRAY_SIZE(credential_dirs) && r == 0 && system; i++)
        r = wipe_credentials(w, credential_dirs[i], errp);
    close(lock);
    return r;
}

int prepare_image(struct ctl *ctl, struct err **errp)
{
    const char *dir = ctl->state_dir ? ctl->state_dir : DEFAULT_STATE_DIR;
    CLEANUP(mem_freep) char *question = mem_printf("Everything that was enrolled under %s is wiped.", dir);
    struct wipe w = {.told = json_array(), .json = ctl->json};
    int state = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    json_t *out = json_pack("{s:o}", "wiped", w.told);
    int r;

    if (state < 0)
        r = err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_STORE, "'%s': %m", dir);
    else
        r = ask_person(ctl, question, errp);
    if (r == 0)
        r = wipe_all(&w, state, dir, !ctl->state_dir, errp);
    if (state >= 0)
        close(state);
    if (r == 0 && ctl->json)
        screen_json(out);
    else if (r == 0 && !json_array_size(w.told))
        printf("there was nothing to wipe under %s\n", dir);
    json_decref(out);
    return r;
}
