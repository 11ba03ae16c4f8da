#include "agent/key/token_softhsm.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <p11-kit/p11-kit.h>

#include "agent/key/private_file.h"
#include "agent/key/token_mend.h"
#include "agent/key/token_module.h"
#include "agent/key/token_session.h"
#include "protocol/base/bytes.h"

#define PIN_BYTES 15 /* random, twice as many hexadecimal digits; of a file, libp11 takes 31 at most */
#define MAX_PIN   255
#define MAX_SLOTS 16

/* Where distributions put the library. p11-kit's own configuration is asked first. */
static const char *const usual_paths[] = {
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
};

/* Where everything of the token is. The paths are owned. */
struct places {
    char *dir;
    char *conf;
    char *tokens;
    char *tokens_new; /* the token while it is being made, and ... */
    char *conf_new;   /* ... what makes SoftHSM work there; neither is there when the token is whole */
    char *pin;
};

static void places_clear(struct places *p)
{
    free(p->dir);
    free(p->conf);
    free(p->tokens);
    free(p->tokens_new);
    free(p->conf_new);
    free(p->pin);
    *p = (struct places){0};
}

static int places_init(const char *dir, struct places *p, struct err **errp)
{
    if (strpbrk(dir, "\r\n#") || dir[0] != '/') {
        err_set(errp, ERR_CONFIG, "'%s' cannot be the folder of a SoftHSM token", dir);
        return err_hint(errp, "give an absolute path without line ends and '#'");
    }
    *p = (struct places){
        .dir = mem_strdup(dir),
        .conf = mem_printf("%s/softhsm2.conf", dir),
        .tokens = mem_printf("%s/tokens", dir),
        .tokens_new = mem_printf("%s/tokens.new", dir),
        .conf_new = mem_printf("%s/softhsm2.new.conf", dir),
        .pin = mem_printf("%s/pin", dir),
    };
    return 0;
}

static char *find_in_p11_kit(void)
{
    CK_FUNCTION_LIST **all = p11_kit_modules_load(NULL, 0);
    char *found = NULL;

    for (size_t i = 0; all && all[i] && !found; i++) {
        CLEANUP(mem_freep) char *path = p11_kit_module_get_filename(all[i]);

        if (path && strstr(path, "libsofthsm2.so"))
            found = TAKE(path);
    }
    if (all)
        p11_kit_modules_release(all);
    return found;
}

/* The usual paths first: asking p11-kit loads every module that is installed. */
static char *find_library(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(usual_paths); i++)
        if (access(usual_paths[i], R_OK) == 0)
            return mem_strdup(usual_paths[i]);
    return find_in_p11_kit();
}

static int use_conf(const char *conf, char **module, struct err **errp)
{
    CLEANUP(mem_freep) char *found = NULL;

    if (setenv("SOFTHSM2_CONF", conf, 1) < 0)
        return err_set(errp, ERR_INTERNAL, "setting SOFTHSM2_CONF: %m");
    found = find_library();
    if (!found) {
        err_set(errp, ERR_MISSING, "the SoftHSM library is not installed");
        return err_hint(errp, "install it (Debian: libsofthsm2, Fedora: softhsm), or name another token");
    }
    *module = TAKE(found);
    return 0;
}

int token_softhsm_use(const char *dir, char **module, struct err **errp)
{
    CLEANUP(places_clear) struct places p = {0};

    if (places_init(dir, &p, errp) < 0)
        return -1;
    return use_conf(p.conf, module, errp);
}

int token_pin_read(const char *path, struct secret **pin, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *text = NULL;
    size_t len;

    if (private_file_read(path, MAX_PIN + 1, &text, errp) < 0)
        return err_wrap(errp, "reading the token's PIN");
    len = strcspn(secret_peek(text), "\n");
    if (len == 0 || len + 1 < secret_len(text))
        return err_set(errp, ERR_STORE, "%s does not hold one line with a PIN", path);
    *pin = secret_copy(secret_peek(text), len);
    return 0;
}

static int make_folder(const char *path, struct err **errp)
{
    if ((mkdir(path, 0700) < 0 && errno != EEXIST) || chmod(path, 0700) < 0)
        return err_set(errp, ERR_STORE, "making %s: %m", path);
    return 0;
}

static int write_conf(const char *path, const char *tokens, struct err **errp)
{
    CLEANUP(mem_freep)
    char *text = mem_printf("directories.tokendir = %s\n"
                            "objectstore.backend = file\n"
                            "objectstore.umask = 0077\n"
                            "log.level = ERROR\n"
                            "slots.removable = false\n",
        tokens);
    CLEANUP(secret_freep) struct secret *old = NULL;

    if (private_file_read(path, 4096, &old, NULL) == 0 && strcmp(secret_peek(old), text) == 0)
        return 0;
    return private_file_write(path, text, strlen(text), true, errp);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* What a crash left of a token in the making. No key was ever in it. */
static int remove_unfinished(const struct places *p, struct err **errp)
{
    if (nftw(p->tokens_new, remove_one, 16, FTW_PHYS | FTW_DEPTH) < 0 && errno != ENOENT)
        return err_set(errp, ERR_STORE, "removing %s: %m", p->tokens_new);
    if (unlink(p->conf_new) < 0 && errno != ENOENT)
        return err_set(errp, ERR_STORE, "removing %s: %m", p->conf_new);
    return 0;
}

/* A parameter of PKCS#11 that is not const, and yet only read. */
static CK_UTF8CHAR *pin_text(const struct secret *pin)
{
    return (CK_UTF8CHAR *)(uintptr_t)secret_peek(pin);
}

/* As security officer, whose PIN nobody will know. */
static int set_user_pin(
    CK_FUNCTION_LIST *f, CK_SLOT_ID slot, const struct secret *so_pin, const struct secret *pin, struct err **errp)
{
    CK_SESSION_HANDLE session;
    CK_RV rv = f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);

    if (rv != CKR_OK)
        return token_rv_set(errp, "C_OpenSession", rv);
    rv = f->C_Login(session, CKU_SO, pin_text(so_pin), secret_len(so_pin));
    if (rv != CKR_OK) {
        token_rv_set(errp, "C_Login", rv);
    } else {
        rv = f->C_InitPIN(session, pin_text(pin), secret_len(pin));
        if (rv != CKR_OK)
            token_rv_set(errp, "C_InitPIN", rv);
        (void)f->C_Logout(session);
    }
    (void)f->C_CloseSession(session);
    return rv == CKR_OK ? 0 : -1;
}

static int init_token(struct token_module *module, const char *label, const struct secret *pin, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *so_pin = secret_random_hex(PIN_BYTES);
    CK_UTF8CHAR padded[32];
    CK_SLOT_ID slots[MAX_SLOTS];
    CK_ULONG n = MAX_SLOTS;
    CK_FUNCTION_LIST *f;
    CK_RV rv;

    memset(padded, ' ', sizeof(padded));
    memcpy(padded, label, strlen(label));
    if (token_module_functions(module, &f, errp) < 0)
        return -1;
    rv = f->C_GetSlotList(CK_TRUE, slots, &n);
    if (rv != CKR_OK || n == 0)
        return token_rv_set(errp, "C_GetSlotList", rv == CKR_OK ? CKR_TOKEN_NOT_PRESENT : rv);
    rv = f->C_InitToken(slots[0], pin_text(so_pin), secret_len(so_pin), padded);
    if (rv != CKR_OK)
        return token_rv_set(errp, "C_InitToken", rv);
    /* The token moves to a slot of its own, and shows there when the slots are asked for anew. */
    n = MAX_SLOTS;
    rv = f->C_GetSlotList(CK_TRUE, slots, &n);
    for (CK_ULONG i = 0; rv == CKR_OK && i < n; i++) {
        CK_TOKEN_INFO info;

        if (f->C_GetTokenInfo(slots[i], &info) == CKR_OK && info.flags & CKF_TOKEN_INITIALIZED)
            return set_user_pin(f, slots[i], so_pin, pin, errp);
    }
    return token_rv_set(errp, "C_GetSlotList", rv == CKR_OK ? CKR_TOKEN_NOT_RECOGNIZED : rv);
}

/* The token is made in a folder of its own, which takes its name when the token is whole. */
static int make_token(const struct places *p, const char *label, const struct secret *pin, struct err **errp)
{
    CLEANUP(token_modules_clear) struct token_modules modules = {0};
    CLEANUP(mem_freep) char *library = NULL;
    int r;

    if (remove_unfinished(p, errp) < 0 || make_folder(p->tokens_new, errp) < 0 ||
        write_conf(p->conf_new, p->tokens_new, errp) < 0 || use_conf(p->conf_new, &library, errp) < 0 ||
        token_modules_load(library, &modules, errp) < 0)
        return -1;
    token_module_lock(modules.items[0]);
    r = token_module_restart(modules.items[0], errp); /* it may have been in use, for other tokens */
    if (r == 0)
        r = init_token(modules.items[0], label, pin, errp);
    token_module_unlock(modules.items[0]);
    token_modules_clear(&modules);
    if (r < 0 || token_flush_folder(p->tokens_new, 0, errp) < 0)
        return -1;
    if (rename(p->tokens_new, p->tokens) < 0 || private_file_sync_folder(p->tokens) < 0)
        return err_set(errp, ERR_STORE, "making %s: %m", p->tokens);
    return 0;
}

static int open_pin(const struct places *p, bool token_exists, struct secret **pin, struct err **errp)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(secret_freep) struct secret *fresh = NULL;

    if (token_pin_read(p->pin, pin, &err) == 0)
        return 0;
    if (err_kind(err) != ERR_MISSING || token_exists) {
        if (err_kind(err) == ERR_MISSING)
            err_hint(&err,
                "bring %s back from a backup; without it the keys of this token are lost, and only removing %s "
                "and enrolling anew remains",
                p->pin, p->tokens);
        if (errp && !*errp)
            *errp = TAKE(err);
        return -1;
    }
    fresh = secret_random_hex(PIN_BYTES);
    if (private_file_write(p->pin, secret_peek(fresh), secret_len(fresh), false, errp) < 0)
        return -1;
    *pin = TAKE(fresh);
    return 0;
}

/* No other process is at work in the token meanwhile. */
static int mend(const struct places *p, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/" TOKEN_OWN_LOCK, p->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = -1;

    if (fd >= 0 && flock(fd, LOCK_EX) == 0)
        r = token_mend(p->tokens, errp) < 0 ? -1 : 0;
    else
        err_set(errp, ERR_STORE, "locking %s: %m", path);
    if (fd >= 0)
        (void)close(fd);
    return r;
}

/* With the folder locked. */
static int create_locked(
    const struct places *p, const char *label, char **module, struct secret **pin, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *ours = NULL;
    bool exists = access(p->tokens, F_OK) == 0;
    int r;

    if (open_pin(p, exists, &ours, errp) < 0 || write_conf(p->conf, p->tokens, errp) < 0)
        return -1;
    r = exists ? mend(p, errp) : make_token(p, label, ours, errp);
    (void)remove_unfinished(p, NULL);
    if (r < 0 || use_conf(p->conf, module, errp) < 0)
        return -1;
    *pin = TAKE(ours);
    return 0;
}

int token_softhsm_create(const char *dir, const char *label, char **module, struct secret **pin, struct err **errp)
{
    CLEANUP(places_clear) struct places p = {0};
    CLEANUP(mem_freep) char *lock = mem_printf("%s/lock", dir);
    int fd;
    int r;

    if (strlen(label) == 0 || strlen(label) > 32)
        return err_set(errp, ERR_CONFIG, "a token's label has 1 to 32 bytes, '%s' has %zu", label, strlen(label));
    if (places_init(dir, &p, errp) < 0 || make_folder(dir, errp) < 0)
        return -1;
    fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        r = err_set(errp, ERR_STORE, "locking %s: %m", lock);
    else
        r = create_locked(&p, label, module, pin, errp);
    if (fd >= 0)
        (void)close(fd);
    return r < 0 ? err_wrap(errp, "making the token in %s", dir) : 0;
}

int token_softhsm_open(const char *dir, char **module, struct secret **pin, struct err **errp)
{
    CLEANUP(places_clear) struct places p = {0};
    CLEANUP(secret_freep) struct secret *ours = NULL;

    if (places_init(dir, &p, errp) < 0)
        return -1;
    if (access(p.tokens, F_OK) < 0)
        return err_set(errp, ERR_MISSING, "there is no token in %s", dir);
    if (open_pin(&p, true, &ours, errp) < 0 || use_conf(p.conf, module, errp) < 0)
        return -1;
    *pin = TAKE(ours);
    return 0;
}
