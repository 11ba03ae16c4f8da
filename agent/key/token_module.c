#include "agent/key/token_module.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <p11-kit/p11-kit.h>

#include "protocol/base/mem.h"

struct token_module {
    CK_FUNCTION_LIST *f; /* of p11-kit */
    char *path;          /* owned; resolved, the key of the registry */
    size_t refs;         /* under registry_lock */
    bool started;        /* under lock, as is all below */
    pid_t pid;           /* of the process that started it */
    pthread_mutex_t lock;
};

/* Every module of this process once, however many tokens are open in it: a module has one login state and one lock. */
static struct token_module **registry;
static size_t n_registry;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;

static const char hint_gone[] =
    "the token does not answer: see that the device (or its directory, or the TPM) is there and "
    "that this user may use it, then run again";
static const char hint_pin[] = "the PIN is not the token's: give the right one; it is not presented again until then";
static const char hint_locked[] = "the token is locked after refused PINs: its security officer unlocks it "
                                  "(a TPM: tpm2_dictionarylockout -c, or wait until it forgives)";
static const char hint_session[] =
    "the session with the token was lost: run again; if it stays, the module is at fault";
static const char hint_full[] = "the token has no room left: destroy objects that nobody needs, or name another token";
static const char hint_cannot[] = "the token cannot do this: choose another key kind in the template, or another token";
static const char hint_bug[] = "the module does not accept what we ask: please report this with the module's version";
static const char hint_object[] =
    "the object is gone from the token or was never there: see it with 'p11tool --list-all'";
static const char hint_login[] = "the token wants its PIN first: store one for it";
static const char hint_readonly[] = "the token is write-protected: name one in which keys can be made";
static const char hint_module[] = "the module did not start: see its configuration and that this user may read it";

/* What is worth saying of an answer. Codes that are not here are printed as numbers. */
#define ANSWERS(X)                                                                                                     \
    X(CKR_CANCEL, hint_bug)                                                                                            \
    X(CKR_HOST_MEMORY, hint_module)                                                                                    \
    X(CKR_SLOT_ID_INVALID, hint_gone)                                                                                  \
    X(CKR_GENERAL_ERROR, hint_gone)                                                                                    \
    X(CKR_FUNCTION_FAILED, hint_gone)                                                                                  \
    X(CKR_ARGUMENTS_BAD, hint_bug)                                                                                     \
    X(CKR_NEED_TO_CREATE_THREADS, hint_bug)                                                                            \
    X(CKR_CANT_LOCK, hint_bug)                                                                                         \
    X(CKR_ATTRIBUTE_READ_ONLY, hint_bug)                                                                               \
    X(CKR_ATTRIBUTE_SENSITIVE, hint_bug)                                                                               \
    X(CKR_ATTRIBUTE_TYPE_INVALID, hint_cannot)                                                                         \
    X(CKR_ATTRIBUTE_VALUE_INVALID, hint_cannot)                                                                        \
    X(CKR_DATA_INVALID, hint_bug)                                                                                      \
    X(CKR_DATA_LEN_RANGE, hint_cannot)                                                                                 \
    X(CKR_DEVICE_ERROR, hint_gone)                                                                                     \
    X(CKR_DEVICE_MEMORY, hint_full)                                                                                    \
    X(CKR_DEVICE_REMOVED, hint_gone)                                                                                   \
    X(CKR_FUNCTION_CANCELED, hint_session)                                                                             \
    X(CKR_FUNCTION_NOT_SUPPORTED, hint_cannot)                                                                         \
    X(CKR_KEY_HANDLE_INVALID, hint_object)                                                                             \
    X(CKR_KEY_SIZE_RANGE, hint_cannot)                                                                                 \
    X(CKR_KEY_TYPE_INCONSISTENT, hint_bug)                                                                             \
    X(CKR_KEY_FUNCTION_NOT_PERMITTED, hint_cannot)                                                                     \
    X(CKR_MECHANISM_INVALID, hint_cannot)                                                                              \
    X(CKR_MECHANISM_PARAM_INVALID, hint_cannot)                                                                        \
    X(CKR_OBJECT_HANDLE_INVALID, hint_object)                                                                          \
    X(CKR_OPERATION_ACTIVE, hint_session)                                                                              \
    X(CKR_OPERATION_NOT_INITIALIZED, hint_session)                                                                     \
    X(CKR_PIN_INCORRECT, hint_pin)                                                                                     \
    X(CKR_PIN_INVALID, hint_pin)                                                                                       \
    X(CKR_PIN_LEN_RANGE, hint_pin)                                                                                     \
    X(CKR_PIN_EXPIRED, hint_pin)                                                                                       \
    X(CKR_PIN_LOCKED, hint_locked)                                                                                     \
    X(CKR_SESSION_CLOSED, hint_session)                                                                                \
    X(CKR_SESSION_COUNT, hint_session)                                                                                 \
    X(CKR_SESSION_HANDLE_INVALID, hint_session)                                                                        \
    X(CKR_SESSION_PARALLEL_NOT_SUPPORTED, hint_bug)                                                                    \
    X(CKR_SESSION_READ_ONLY, hint_bug)                                                                                 \
    X(CKR_SESSION_EXISTS, hint_session)                                                                                \
    X(CKR_SIGNATURE_INVALID, hint_bug)                                                                                 \
    X(CKR_TEMPLATE_INCOMPLETE, hint_bug)                                                                               \
    X(CKR_TEMPLATE_INCONSISTENT, hint_cannot)                                                                          \
    X(CKR_TOKEN_NOT_PRESENT, hint_gone)                                                                                \
    X(CKR_TOKEN_NOT_RECOGNIZED, hint_gone)                                                                             \
    X(CKR_TOKEN_WRITE_PROTECTED, hint_readonly)                                                                        \
    X(CKR_USER_ALREADY_LOGGED_IN, hint_session)                                                                        \
    X(CKR_USER_NOT_LOGGED_IN, hint_login)                                                                              \
    X(CKR_USER_PIN_NOT_INITIALIZED, hint_login)                                                                        \
    X(CKR_USER_TYPE_INVALID, hint_bug)                                                                                 \
    X(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, hint_session)                                                                \
    X(CKR_USER_TOO_MANY_TYPES, hint_session)                                                                           \
    X(CKR_DOMAIN_PARAMS_INVALID, hint_cannot)                                                                          \
    X(CKR_BUFFER_TOO_SMALL, hint_bug)                                                                                  \
    X(CKR_CRYPTOKI_NOT_INITIALIZED, hint_module)                                                                       \
    X(CKR_CRYPTOKI_ALREADY_INITIALIZED, hint_module)                                                                   \
    X(CKR_FUNCTION_REJECTED, hint_cannot)

static const struct {
    CK_RV rv;
    const char *name;
    const char *hint;
} answers[] = {
#define X(rv, hint) {rv, #rv, hint},
    ANSWERS(X)
#undef X
};

char *token_rv_text(CK_RV rv)
{
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        if (answers[i].rv == rv)
            return mem_printf("%s (0x%lx)", answers[i].name, rv);
    return mem_printf("answer 0x%lx%s", rv, rv >= CKR_VENDOR_DEFINED ? " of the module's maker" : "");
}

int token_rv_set(struct err **errp, const char *function, CK_RV rv)
{
    CLEANUP(mem_freep) char *text = token_rv_text(rv);
    bool about_pin = rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED || rv == CKR_USER_NOT_LOGGED_IN ||
                     rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_INVALID || rv == CKR_PIN_EXPIRED;

    err_set(errp, about_pin ? ERR_AUTH : ERR_TOKEN, "%s: %s", function, text);
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        if (answers[i].rv == rv)
            return err_hint(errp, "%s", answers[i].hint);
    return err_hint(errp, "see the module's documentation for this answer");
}

static int module_start(struct token_module *m, struct err **errp)
{
    CK_RV rv = p11_kit_module_initialize(m->f);

    if (rv != CKR_OK) {
        token_rv_set(errp, "C_Initialize", rv);
        return err_wrap(errp, "starting the PKCS#11 module %s", m->path);
    }
    m->started = true;
    m->pid = getpid();
    return 0;
}

int token_module_functions(struct token_module *m, CK_FUNCTION_LIST **f, struct err **errp)
{
    if (m->started && m->pid != getpid())
        return err_set(errp, ERR_INTERNAL, "the PKCS#11 module %s was used in a forked child", m->path);
    if (!m->started && module_start(m, errp) < 0)
        return -1;
    *f = m->f;
    return 0;
}

int token_module_restart(struct token_module *m, struct err **errp)
{
    if (m->started)
        (void)p11_kit_module_finalize(m->f);
    m->started = false;
    return module_start(m, errp);
}

const char *token_module_path(const struct token_module *m)
{
    return m->path;
}

void token_module_lock(struct token_module *m)
{
    (void)pthread_mutex_lock(&m->lock);
}

void token_module_unlock(struct token_module *m)
{
    (void)pthread_mutex_unlock(&m->lock);
}

struct token_module *token_module_ref(struct token_module *m)
{
    (void)pthread_mutex_lock(&registry_lock);
    m->refs++;
    (void)pthread_mutex_unlock(&registry_lock);
    return m;
}

/* With registry_lock held. */
static void module_remove(struct token_module *m)
{
    for (size_t i = 0; i < n_registry; i++)
        if (registry[i] == m)
            registry[i--] = registry[--n_registry];
    if (n_registry == 0) {
        free(registry);
        registry = NULL;
    }
    if (m->started && m->pid == getpid())
        (void)p11_kit_module_finalize(m->f);
    p11_kit_module_release(m->f);
    (void)pthread_mutex_destroy(&m->lock);
    free(m->path);
    free(m);
}

void token_module_unref(struct token_module *m)
{
    if (!m)
        return;
    (void)pthread_mutex_lock(&registry_lock);
    if (--m->refs == 0)
        module_remove(m);
    (void)pthread_mutex_unlock(&registry_lock);
}

static char *resolve(const char *path)
{
    char *real = realpath(path, NULL);

    return real ? real : mem_strdup(path);
}

/* With registry_lock held. A module that is there already gains a reference. */
static struct token_module *module_known(const char *path)
{
    for (size_t i = 0; i < n_registry; i++)
        if (strcmp(registry[i]->path, path) == 0) {
            registry[i]->refs++;
            return registry[i];
        }
    return NULL;
}

/* Takes @f, a loaded module, and gives it a place in the registry. With registry_lock held. NULL: it did not start. */
static struct token_module *module_adopt(CK_FUNCTION_LIST *f, const char *path, struct err **errp)
{
    CLEANUP(mem_freep) char *real = resolve(path);
    struct token_module *m = module_known(real);

    if (m) {
        p11_kit_module_release(f);
        return m;
    }
    m = mem_alloc(sizeof(*m));
    *m = (struct token_module){.f = f, .path = TAKE(real), .refs = 1};
    (void)pthread_mutex_init(&m->lock, NULL);
    if (module_start(m, errp) < 0) {
        module_remove(m);
        return NULL;
    }
    *MEM_APPEND(registry, n_registry) = m;
    return m;
}

static int load_one(const char *path, struct token_modules *out, struct err **errp)
{
    CLEANUP(mem_freep) char *real = resolve(path);
    struct token_module *m = module_known(real);

    if (!m) {
        CK_FUNCTION_LIST *f = p11_kit_module_load(path, 0);

        if (!f) {
            err_set(errp, ERR_CONFIG, "loading the PKCS#11 module %s: %s", path, p11_kit_message());
            return err_hint(errp, "see that the path is right and the package that owns it installed");
        }
        m = module_adopt(f, path, errp);
    }
    if (!m)
        return -1;
    *MEM_APPEND(out->items, out->n) = m;
    return 0;
}

static bool is_trust_module(CK_FUNCTION_LIST *f)
{
    CLEANUP(mem_freep) char *answer = p11_kit_config_option(f, "trust-policy");

    return answer && strcmp(answer, "yes") == 0;
}

static void note_failure(struct token_modules *out, struct err *err)
{
    char *longer = mem_printf("%s%s%s", out->failures ? out->failures : "", out->failures ? "; " : "", err_text(err));

    free(out->failures);
    out->failures = longer;
}

static int load_all(struct token_modules *out, struct err **errp)
{
    CLEANUP(mem_freep) CK_FUNCTION_LIST **all = p11_kit_modules_load(NULL, 0);

    for (size_t i = 0; all && all[i]; i++) {
        CLEANUP(mem_freep) char *path = p11_kit_module_get_filename(all[i]);
        CLEANUP(err_freep) struct err *err = NULL;
        struct token_module *m;

        if (!path || is_trust_module(all[i])) {
            p11_kit_module_release(all[i]);
            continue;
        }
        m = module_adopt(all[i], path, &err);
        if (m)
            *MEM_APPEND(out->items, out->n) = m;
        else
            note_failure(out, err);
    }
    if (out->n > 0)
        return 0;
    err_set(
        errp, ERR_TOKEN, "no PKCS#11 module works%s%s", out->failures ? ": " : "", out->failures ? out->failures : "");
    return err_hint(errp, "install one (SoftHSM, tpm2-pkcs11, the token maker's) or name its path as 'module'");
}

static void ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

int token_modules_load(const char *path, struct token_modules *out, struct err **errp)
{
    CLEANUP(token_modules_clear) struct token_modules modules = {0};
    int r;

    ignore_sigpipe();
    (void)pthread_mutex_lock(&registry_lock);
    r = path ? load_one(path, &modules, errp) : load_all(&modules, errp);
    (void)pthread_mutex_unlock(&registry_lock);
    if (r < 0)
        return -1;
    *out = modules;
    modules = (struct token_modules){0};
    return 0;
}

void token_modules_clear(struct token_modules *modules)
{
    for (size_t i = 0; i < modules->n; i++)
        token_module_unref(modules->items[i]);
    free(modules->items);
    free(modules->failures);
    *modules = (struct token_modules){0};
}
