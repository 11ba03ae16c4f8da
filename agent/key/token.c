#include "agent/key/token.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <p11-kit/p11-kit.h>

#include "agent/key/token_guard.h"
#include "agent/key/token_mend.h"
#include "agent/key/token_module.h"
#include "agent/key/token_session.h"
#include "agent/key/token_uri.h"

#define MAX_SLOTS     256
#define MAX_ATTRIBUTE 65536
#define BUSY_TRIES    5
#define BUSY_WAIT_MS  50u /* doubled each time */

struct token {
    struct token_module *module; /* a reference */
    CK_TOKEN_INFO raw;           /* the identity, as the module says it */
    struct token_info info;
    CK_SLOT_ID slot;    /* under the module's lock, as is all below */
    struct secret *pin; /* owned, or NULL */
    bool is_ours;
    char *store_dir;   /* owned; NULL: the module makes durable what it writes */
    bool pin_accepted; /* by this token, in this process */
    bool pin_refused;
    char *lock_path;  /* owned; NULL: no lock among processes */
    char *guard_path; /* owned; NULL: refusals are remembered in this process only */
    size_t refs;
    pthread_mutex_t refs_lock;
};

/* A slot with an initialised token in it. */
struct found {
    struct token_module *module; /* borrowed */
    CK_SLOT_ID slot;
    CK_TOKEN_INFO raw;
};
struct found_list {
    struct found *items;
    size_t n;
};

static void found_list_clear(struct found_list *list)
{
    free(list->items);
    *list = (struct found_list){0};
}

static void fill_info(const struct token_module *module, const CK_TOKEN_INFO *raw, struct token_info *info)
{
    *info = (struct token_info){
        .label = p11_kit_space_strdup(raw->label, sizeof(raw->label)),
        .serial = p11_kit_space_strdup(raw->serialNumber, sizeof(raw->serialNumber)),
        .manufacturer = p11_kit_space_strdup(raw->manufacturerID, sizeof(raw->manufacturerID)),
        .model = p11_kit_space_strdup(raw->model, sizeof(raw->model)),
        .module = mem_strdup(token_module_path(module)),
        .uri = token_uri_write(raw),
        .write_protected = raw->flags & CKF_WRITE_PROTECTED,
        .login_required = raw->flags & CKF_LOGIN_REQUIRED,
        .pin_locked = raw->flags & CKF_USER_PIN_LOCKED,
    };
}

static void token_info_clear(struct token_info *info)
{
    free(info->label);
    free(info->serial);
    free(info->manufacturer);
    free(info->model);
    free(info->module);
    free(info->uri);
    *info = (struct token_info){0};
}

void token_list_clear(struct token_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        token_info_clear(&list->items[i]);
    free(list->items);
    *list = (struct token_list){0};
}

/* Adds the initialised tokens of @module; its lock is held. A slot that fails is passed over: it may be an empty
 * reader. */
static int look_into_module(struct token_module *module, struct found_list *out, struct err **errp)
{
    CK_SLOT_ID slots[MAX_SLOTS];
    CK_ULONG n = MAX_SLOTS;
    CK_FUNCTION_LIST *f;
    CK_RV rv;

    if (token_module_functions(module, &f, errp) < 0)
        return -1;
    rv = f->C_GetSlotList(CK_TRUE, slots, &n);
    if (rv != CKR_OK) {
        token_rv_set(errp, "C_GetSlotList", rv);
        return err_wrap(errp, "looking for tokens in %s", token_module_path(module));
    }
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO raw;

        if (f->C_GetTokenInfo(slots[i], &raw) == CKR_OK && raw.flags & CKF_TOKEN_INITIALIZED)
            *MEM_APPEND(out->items, out->n) = (struct found){module, slots[i], raw};
    }
    return 0;
}

/* A module that was loaded before may not know what others made since: it is started again once when @again is set. */
static int look_into_modules(const struct token_modules *modules, bool again, struct found_list *out, struct err **errp)
{
    struct err *first = NULL;
    size_t failed = 0;

    for (size_t i = 0; i < modules->n; i++) {
        int r = 0;

        token_module_lock(modules->items[i]);
        if (again)
            r = token_module_restart(modules->items[i], &first);
        if (r == 0)
            r = look_into_module(modules->items[i], out, &first);
        token_module_unlock(modules->items[i]);
        failed += r < 0;
    }
    if (failed > 0 && failed == modules->n) {
        if (errp && !*errp)
            *errp = TAKE(first);
        err_free(first);
        return -1;
    }
    err_free(first);
    return 0;
}

int token_list(const char *module, struct token_list *out, struct err **errp)
{
    CLEANUP(token_modules_clear) struct token_modules modules = {0};
    CLEANUP(found_list_clear) struct found_list found = {0};

    if (token_modules_load(module, &modules, errp) < 0 || look_into_modules(&modules, false, &found, errp) < 0)
        return -1;
    *out = (struct token_list){0};
    for (size_t i = 0; i < found.n; i++)
        fill_info(found.items[i].module, &found.items[i].raw, MEM_APPEND(out->items, out->n));
    return 0;
}

static void keep_matching(const struct token_uri *uri, struct found_list *list)
{
    size_t n = 0;

    for (size_t i = 0; i < list->n; i++)
        if (token_uri_matches(uri, &list->items[i].raw))
            list->items[n++] = list->items[i];
    list->n = n;
}

static int refuse_several(const char *uri, const struct found_list *list, struct err **errp)
{
    CLEANUP(mem_freep) char *first = token_uri_write(&list->items[0].raw);
    CLEANUP(mem_freep) char *second = token_uri_write(&list->items[1].raw);

    err_set(errp, ERR_CONFIG, "%zu tokens fit %s: %s, %s%s", list->n, uri, first, second, list->n > 2 ? ", ..." : "");
    return err_hint(errp, "add serial= to the URI, so that it names one of them");
}

static int refuse_none(const char *uri, const struct token_modules *modules, struct err **errp)
{
    if (modules->failures)
        err_set(errp, ERR_MISSING, "no token fits %s (%s)", uri, modules->failures);
    else
        err_set(errp, ERR_MISSING, "no token fits %s", uri);
    return err_hint(errp,
        "see that it is plugged in and initialised ('p11-kit list-modules' shows the tokens), and that "
        "its label is the one in the URI");
}

/*
 * SoftHSM writes a token's file anew at each login, by whomever, and who reads it meanwhile sees no token: our own,
 * which is known to be there, is looked for again a few times.
 */
static void wait_ms(unsigned ms)
{
    struct timespec span = {ms / 1000, (long)(ms % 1000) * 1000000L};

    while (nanosleep(&span, &span) < 0)
        ;
}

static int find_token(const struct token_place *place, const struct token_uri *uri, const struct token_modules *modules,
    struct found *out, struct err **errp)
{
    CLEANUP(found_list_clear) struct found_list list = {0};
    unsigned tries = place->is_ours ? BUSY_TRIES : 1;

    if (look_into_modules(modules, false, &list, errp) < 0)
        return -1;
    keep_matching(uri, &list);
    for (unsigned i = 0; list.n == 0 && i < tries; i++) {
        if (i > 0)
            wait_ms(BUSY_WAIT_MS << i);
        if (look_into_modules(modules, true, &list, errp) < 0)
            return -1;
        keep_matching(uri, &list);
    }
    if (list.n == 0)
        return refuse_none(place->uri, modules, errp);
    if (list.n > 1)
        return refuse_several(place->uri, &list, errp);
    *out = list.items[0];
    return 0;
}

/* DIR/lock-0123456789abcdef: a token is known by what it says of itself, whatever slot it is in. */
static char *state_path(const char *dir, const char *what, const CK_TOKEN_INFO *raw)
{
    CLEANUP(mem_freep) char *uri = token_uri_write(raw);
    CLEANUP(mem_freep) char *hex = NULL;
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (!dir)
        return NULL;
    if (EVP_Digest(uri, strlen(uri), digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    hex = bytes_to_hex(digest, 8);
    return mem_printf("%s/%s-%s", dir, what, hex);
}

int token_open(const struct token_place *place, const struct secret *pin, struct token **out, struct err **errp)
{
    CLEANUP(token_uri_freep) struct token_uri *uri = NULL;
    CLEANUP(token_modules_clear) struct token_modules modules = {0};
    struct found found;
    struct token *t;

    if (token_uri_parse(place->uri, &uri, errp) < 0 || token_modules_load(place->module, &modules, errp) < 0 ||
        find_token(place, uri, &modules, &found, errp) < 0)
        return -1;
    t = mem_alloc(sizeof(*t));
    t->module = token_module_ref(found.module);
    t->raw = found.raw;
    t->slot = found.slot;
    fill_info(found.module, &found.raw, &t->info);
    t->pin = pin ? secret_copy(secret_peek(pin), secret_len(pin)) : NULL;
    t->is_ours = place->is_ours;
    t->lock_path = place->is_ours && place->state_dir ? mem_printf("%s/" TOKEN_OWN_LOCK, place->state_dir)
                                                      : state_path(place->state_dir, "lock", &t->raw);
    t->guard_path = state_path(place->state_dir, "pin-attempt", &t->raw);
    if (place->is_ours && place->state_dir)
        t->store_dir = mem_printf("%s/tokens", place->state_dir);
    t->refs = 1;
    (void)pthread_mutex_init(&t->refs_lock, NULL);
    *out = t;
    return 0;
}

struct token *token_ref(struct token *t)
{
    (void)pthread_mutex_lock(&t->refs_lock);
    t->refs++;
    (void)pthread_mutex_unlock(&t->refs_lock);
    return t;
}

void token_close(struct token *t)
{
    size_t left;

    if (!t)
        return;
    (void)pthread_mutex_lock(&t->refs_lock);
    left = --t->refs;
    (void)pthread_mutex_unlock(&t->refs_lock);
    if (left > 0)
        return;
    token_module_unref(t->module);
    token_info_clear(&t->info);
    secret_free(t->pin);
    free(t->store_dir);
    free(t->lock_path);
    free(t->guard_path);
    (void)pthread_mutex_destroy(&t->refs_lock);
    free(t);
}

const struct token_info *token_info(const struct token *t)
{
    return &t->info;
}

const CK_TOKEN_INFO *token_raw_info(const struct token *t)
{
    return &t->raw;
}

int token_session_fail(struct token_session *s, const char *function, CK_RV rv, struct err **errp)
{
    s->rv = rv;
    return token_rv_set(errp, function, rv);
}

int token_session_find(struct token_session *s, const CK_ATTRIBUTE *match, CK_ULONG n, CK_OBJECT_HANDLE *handles,
    CK_ULONG max, struct err **errp)
{
    CLEANUP(mem_freep)
    CK_ATTRIBUTE *copy = mem_dup(match, (n ? n : 1) * sizeof(*match)); /* the module's is not const */
    CK_ULONG found = 0, got;
    CK_RV rv = s->f->C_FindObjectsInit(s->handle, copy, n);

    if (rv != CKR_OK)
        return token_session_fail(s, "C_FindObjectsInit", rv, errp);
    do {
        got = 0;
        rv = s->f->C_FindObjects(s->handle, &handles[found], max - found, &got);
        found += got;
    } while (rv == CKR_OK && got > 0 && found < max);
    (void)s->f->C_FindObjectsFinal(s->handle);
    if (rv != CKR_OK)
        return token_session_fail(s, "C_FindObjects", rv, errp);
    return (int)found;
}

/* One call where the value is short, as nearly all are: with SoftHSM each one goes to the file system. */
int token_session_get(
    struct token_session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, struct bytes *out, struct err **errp)
{
    CLEANUP(mem_freep) uint8_t *longer = NULL;
    uint8_t value[512];
    CK_ATTRIBUTE a = {type, value, sizeof(value)};
    CK_RV rv = s->f->C_GetAttributeValue(s->handle, object, &a, 1);

    if (rv == CKR_BUFFER_TOO_SMALL) {
        a = (CK_ATTRIBUTE){type, NULL, 0};
        rv = s->f->C_GetAttributeValue(s->handle, object, &a, 1);
        if (rv == CKR_OK && a.ulValueLen <= MAX_ATTRIBUTE) {
            longer = mem_alloc(a.ulValueLen + 1);
            a.pValue = longer;
            rv = s->f->C_GetAttributeValue(s->handle, object, &a, 1);
        }
    }
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE)
        return 1;
    if (rv != CKR_OK)
        return token_session_fail(s, "C_GetAttributeValue", rv, errp);
    if (a.ulValueLen == CK_UNAVAILABLE_INFORMATION)
        return 1;
    if (a.ulValueLen > MAX_ATTRIBUTE)
        return err_set(errp, ERR_TOKEN, "the token gave an attribute of %lu bytes", a.ulValueLen);
    bytes_set(out, a.pValue, a.ulValueLen);
    return 0;
}

/* Presents the PIN, with its outcome remembered. The answer of C_Login is in s->rv. */
static int present_pin(struct token *t, struct token_session *s, struct err **errp)
{
    struct token_guard_attempt *attempt = NULL;
    enum token_guard_outcome outcome = TOKEN_GUARD_NEITHER;
    bool guarded = t->guard_path && !t->pin_accepted;
    CK_RV rv;

    if (guarded && token_guard_begin(t->guard_path, t->pin, t->is_ours, &attempt, errp) < 0)
        return -1;
    /* The parameter is not const, though no module writes there; a copy would be one more place to wipe. */
    rv = s->f->C_Login(s->handle, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)secret_peek(t->pin), secret_len(t->pin));
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) {
        t->pin_accepted = true;
        return token_guard_end(attempt, TOKEN_GUARD_ACCEPTED, errp);
    }
    if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED || rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_INVALID) {
        outcome = TOKEN_GUARD_REFUSED;
        t->pin_refused = true;
    }
    (void)token_session_fail(s, "C_Login", rv, errp);
    if (!attempt && outcome == TOKEN_GUARD_REFUSED && t->guard_path) /* accepted before, and now no more */
        (void)token_guard_begin(t->guard_path, t->pin, true, &attempt, NULL);
    (void)token_guard_end(attempt, outcome, errp);
    return -1;
}

static int login(struct token *t, struct token_session *s, struct err **errp)
{
    if (!t->info.login_required)
        return 0;
    if (!t->pin) {
        err_set(errp, ERR_AUTH, "the token wants a PIN and there is none");
        return err_hint(errp, "store the token's PIN as a credential");
    }
    if (t->pin_refused) {
        err_set(errp, ERR_AUTH, "the token refused the PIN; it is not presented again");
        return err_hint(errp, "store the right PIN for the token");
    }
    return present_pin(t, s, errp);
}

/* One session: login, operation, logout. A TPM frees the slots of its keys at logout only. */
static int run_once(struct token *t, enum token_access access, token_operation operation, void *arg,
    struct token_session *s, struct err **errp)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | (access == TOKEN_WRITE ? CKF_RW_SESSION : 0);
    CK_RV rv;
    int r;

    if (token_module_functions(t->module, &s->f, errp) < 0)
        return -1;
    rv = s->f->C_OpenSession(t->slot, flags, NULL, NULL, &s->handle);
    if (rv != CKR_OK)
        return token_session_fail(s, "C_OpenSession", rv, errp);
    r = login(t, s, errp);
    if (r == 0) {
        r = operation(s, arg, errp);
        if (t->info.login_required)
            (void)s->f->C_Logout(s->handle);
    }
    (void)s->f->C_CloseSession(s->handle);
    return r;
}

/* The answers that a token gives when it, or what we had open in it, is gone. No module says it more clearly. */
static bool is_lost(CK_RV rv)
{
    static const CK_RV lost[] = {
        CKR_SLOT_ID_INVALID,
        CKR_GENERAL_ERROR,
        CKR_DEVICE_ERROR,
        CKR_DEVICE_MEMORY,
        CKR_DEVICE_REMOVED,
        CKR_OBJECT_HANDLE_INVALID,
        CKR_KEY_HANDLE_INVALID,
        CKR_SESSION_CLOSED,
        CKR_SESSION_HANDLE_INVALID,
        CKR_TOKEN_NOT_PRESENT,
        CKR_USER_NOT_LOGGED_IN,
        CKR_CRYPTOKI_NOT_INITIALIZED,
    };

    for (size_t i = 0; i < ARRAY_SIZE(lost); i++)
        if (lost[i] == rv)
            return true;
    return false;
}

/* Restarts the module and finds the token again, whatever slot it is in now: 1, 0 when it is not there, or -1. */
static int find_again(struct token *t, struct err **errp)
{
    CLEANUP(found_list_clear) struct found_list list = {0};

    if (token_module_restart(t->module, errp) < 0 || look_into_module(t->module, &list, errp) < 0)
        return -1;
    for (size_t i = 0; i < list.n; i++) {
        const CK_TOKEN_INFO *raw = &list.items[i].raw;

        if (memcmp(raw->label, t->raw.label, sizeof(raw->label)) == 0 &&
            memcmp(raw->serialNumber, t->raw.serialNumber, sizeof(raw->serialNumber)) == 0 &&
            memcmp(raw->manufacturerID, t->raw.manufacturerID, sizeof(raw->manufacturerID)) == 0 &&
            memcmp(raw->model, t->raw.model, sizeof(raw->model)) == 0) {
            t->slot = list.items[i].slot;
            return 1;
        }
    }
    return 0;
}

static int reopen(struct token *t, struct err **errp)
{
    for (unsigned i = 0; i < (t->is_ours ? BUSY_TRIES : 1); i++) {
        int r;

        if (i > 0)
            wait_ms(BUSY_WAIT_MS << i);
        r = find_again(t, errp);
        if (r != 0)
            return r < 0 ? -1 : 0;
    }
    err_set(errp, ERR_TOKEN, "the token is gone");
    return err_hint(errp, "plug it in again, or see that its directory (SoftHSM) or device (TPM) is there");
}

/* With the module's lock and the token's lock file held. */
static int run_with_retries(
    struct token *t, enum token_access access, token_operation operation, void *arg, struct err **errp)
{
    bool reopened = false;
    unsigned busy = 0;

    for (;;) {
        struct token_session s = {0};
        struct err *err = NULL;
        int r = run_once(t, access, operation, arg, &s, &err);

        if (r >= 0)
            return r;
        if (!reopened && (is_lost(s.rv) || s.look_again)) {
            reopened = true;
            err_free(err);
            if (reopen(t, errp) < 0)
                return -1;
            continue;
        }
        if (access == TOKEN_WRITE && s.rv == CKR_GENERAL_ERROR && busy < BUSY_TRIES) {
            err_free(err);
            wait_ms(BUSY_WAIT_MS << busy++);
            continue;
        }
        if (errp && !*errp)
            *errp = TAKE(err);
        err_free(err);
        return -1;
    }
}

static int flush_one(const FTSENT *entry)
{
    int fd = open(entry->fts_accpath, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int r;

    if (fd < 0)
        return errno == ENOENT ? 0 : -1; /* another process was faster */
    r = fsync(fd);
    (void)close(fd);
    return r;
}

static int64_t nanoseconds(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

/* The clock that the kernel stamps files with. */
static int64_t file_clock(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return nanoseconds(&now);
}

int token_flush_folder(const char *path, int64_t since_ns, struct err **errp)
{
    CLEANUP(mem_freep) char *root = mem_strdup(path);
    char *const roots[] = {root, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;
    int r = walk ? 0 : -1;

    while (r == 0 && (entry = fts_read(walk)))
        if ((entry->fts_info == FTS_F || entry->fts_info == FTS_DP) &&
            nanoseconds(&entry->fts_statp->st_ctim) >= since_ns)
            r = flush_one(entry);
    if (r < 0)
        err_set(errp, ERR_STORE, "flushing %s: %m", path);
    if (walk)
        (void)fts_close(walk);
    return r;
}

/*
 * One process at a time: on a TPM without a resource manager they would use each other's loaded keys, and a login to
 * SoftHSM writes the token's file, under the eyes of others who read it.
 */
static int lock_token(const struct token *t, int *fd, struct err **errp)
{
    *fd = -1;
    if (!t->lock_path)
        return 0;
    *fd = open(t->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*fd >= 0 && flock(*fd, LOCK_EX) == 0)
        return 0;
    err_set(errp, ERR_STORE, "locking %s: %m", t->lock_path);
    if (*fd >= 0)
        (void)close(*fd);
    return -1;
}

/* What was written becomes durable. SoftHSM does not notice when the last of it could not be written. */
static int settle(const struct token *t, int64_t since, struct err **errp)
{
    int mended;

    if (token_flush_folder(t->store_dir, since, errp) < 0)
        return -1;
    mended = token_mend(t->store_dir, errp);
    if (mended <= 0)
        return mended;
    err_set(
        errp, ERR_STORE, "SoftHSM could not write its files in %s; what was there before was put back", t->store_dir);
    return err_hint(
        errp, "see whether the disk is full or fails (dmesg); when it is well, run again; nothing was lost");
}

int token_run(struct token *t, enum token_access access, token_operation operation, void *arg, struct err **errp)
{
    int64_t since = file_clock();
    int lock;
    int r;

    token_module_lock(t->module);
    r = lock_token(t, &lock, errp);
    if (r == 0 && t->store_dir && token_mend(t->store_dir, errp) < 0)
        r = -1;
    if (r == 0)
        r = run_with_retries(t, access, operation, arg, errp);
    if (r >= 0 && access == TOKEN_WRITE && t->store_dir && settle(t, since, errp) < 0)
        r = -1;
    if (lock >= 0)
        (void)close(lock);
    token_module_unlock(t->module);
    if (r < 0)
        return err_wrap(errp, "token '%s'", t->info.label);
    return r;
}

static int do_nothing(struct token_session *s, void *arg, struct err **errp)
{
    (void)s;
    (void)arg;
    (void)errp;
    return 0;
}

int token_check_login(struct token *t, struct err **errp)
{
    return token_run(t, TOKEN_READ, do_nothing, NULL, errp);
}
