#include "tests/token_fixture.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIN    "1234"
#define SO_PIN "87654321"

static const char *const softhsm_paths[] = {
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
};
static const char *const tpm_paths[] = {
    "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    "/usr/lib64/pkcs11/libtpm2_pkcs11.so",
};

/*
 * tpm2-pkcs11 loses memory of its own: the content of an ASN.1 string for each EC key that it reads (libcrypto has no
 * frame pointers, so the trace ends there; what we lose shows by the string itself), and its tables when the TPM is
 * gone. To be known by its name it has to stay loaded until the end, see start_tpm. The sanitizer calls this, where
 * there is one.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libtpm2_pkcs11.so\nleak:ASN1_STRING_set\n";
}

/* The one TPM of this process. */
static pid_t tpm;
static pid_t tpm_owner;

static char *find_module(const char *const *paths, size_t n, const char *package)
{
    for (size_t i = 0; i < n; i++)
        if (access(paths[i], R_OK) == 0)
            return mem_strdup(paths[i]);
    print_message("the module of %s is not installed\n", package);
    skip();
    return NULL;
}

static void need_program(const char *name)
{
    if (testing_shell(NULL, "command -v '%s' >/dev/null", name) != 0) {
        print_message("the program %s is not installed\n", name);
        skip();
    }
}

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void start_softhsm(struct token_fixture *f)
{
    CLEANUP(mem_freep) char *conf = mem_printf("%s/softhsm2.conf", f->dir);
    CLEANUP(mem_freep) char *text = NULL;

    f->module = find_module(softhsm_paths, ARRAY_SIZE(softhsm_paths), "SoftHSM");
    need_program("softhsm2-util");
    f->store = mem_printf("%s/tokens", f->dir);
    assert_int_equal(mkdir(f->store, 0700), 0);
    text = mem_printf("directories.tokendir = %s\nobjectstore.backend = file\nobjectstore.umask = 0077\n"
                      "log.level = ERROR\n",
        f->store);
    testing_write(conf, text, strlen(text));
    set("SOFTHSM2_CONF", conf);
    assert_int_equal(testing_shell(NULL,
                         "softhsm2-util --init-token --free --label soft --so-pin " SO_PIN " --pin " PIN " >/dev/null"),
        0);
    f->place.uri = "pkcs11:token=soft";
}

static void kill_tpm(void)
{
    if (tpm <= 0 || getpid() != tpm_owner)
        return;
    (void)kill(tpm, SIGKILL);
    (void)waitpid(tpm, NULL, 0);
    tpm = 0;
}

static void run_swtpm(const char *dir)
{
    CLEANUP(mem_freep) char *log = mem_printf("%s/swtpm.log", dir);
    CLEANUP(mem_freep) char *state = mem_printf("dir=%s/state", dir);
    CLEANUP(mem_freep) char *server = mem_printf("type=unixio,path=%s/sock", dir);
    CLEANUP(mem_freep) char *control = mem_printf("type=unixio,path=%s/sock.ctrl", dir);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!freopen(log, "a", stderr))
        _exit(127);
    (void)execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server, "--ctrl", control,
        "--flags", "not-need-init,startup-clear", NULL);
    _exit(127);
}

/* Waits until somebody listens: the control socket does not count as a client of the TPM. */
static void wait_for_socket(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock.ctrl", dir);
    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int r = connect(fd, (struct sockaddr *)&address, sizeof(address));

        (void)close(fd);
        if (r == 0)
            return;
        (void)usleep(10000);
    }
    fail_msg("swtpm does not listen on %s", address.sun_path);
}

static void start_swtpm(const char *dir)
{
    if (tpm_owner == 0)
        (void)atexit(kill_tpm);
    tpm_owner = getpid();
    tpm = fork();
    if (tpm == 0)
        run_swtpm(dir);
    assert_true(tpm > 0);
    wait_for_socket(dir);
}

/* What another process left loaded in the TPM stays there, without a resource manager to clean up. */
static void start_tpm(struct token_fixture *f)
{
    CLEANUP(mem_freep) char *state = mem_printf("%s/state", f->dir);
    CLEANUP(mem_freep) char *tcti = mem_printf("swtpm:path=%s/sock", f->dir);

    f->module = find_module(tpm_paths, ARRAY_SIZE(tpm_paths), "tpm2-pkcs11");
    assert_non_null(dlopen(f->module, RTLD_NOW | RTLD_NODELETE));
    need_program("swtpm");
    need_program("pkcs11-tool");
    need_program("tpm2_getcap");
    f->store = mem_printf("%s/store", f->dir);
    assert_int_equal(mkdir(state, 0700), 0);
    assert_int_equal(mkdir(f->store, 0700), 0);
    start_swtpm(f->dir);
    set("TPM2_PKCS11_STORE", f->store);
    set("TPM2_PKCS11_TCTI", tcti);
    set("TPM2TOOLS_TCTI", tcti);
    set("TSS2_LOG", "all+none");
    set("TPM2_PKCS11_LOG_LEVEL", "0");
    assert_int_equal(
        testing_shell(NULL,
            "pkcs11-tool --module '%s' --init-token --slot-index 0 --label tpm --so-pin " SO_PIN
            " >/dev/null 2>&1 && pkcs11-tool --module '%s' --init-pin --login --login-type so --so-pin " SO_PIN
            " --token-label tpm --pin " PIN " >/dev/null 2>&1",
            f->module, f->module),
        0);
    f->place.uri = "pkcs11:token=tpm";
}

void token_fixture_start(struct token_fixture *f, enum token_backend backend)
{
    *f = (struct token_fixture){.backend = backend};
    f->dir = testing_tmpdir();
    f->state_dir = mem_printf("%s/locks", f->dir);
    assert_int_equal(mkdir(f->state_dir, 0700), 0);
    f->pin = secret_copy(PIN, strlen(PIN));
    if (backend == TOKEN_BACKEND_TPM)
        start_tpm(f);
    else
        start_softhsm(f);
    f->place.module = f->module;
    f->place.state_dir = f->state_dir;
}

void token_fixture_clear(struct token_fixture *f)
{
    free(f->dir);
    free(f->store);
    free(f->state_dir);
    free(f->module);
    secret_free(f->pin);
    *f = (struct token_fixture){0};
}

static void rename_store(const struct token_fixture *f, bool away)
{
    CLEANUP(mem_freep) char *elsewhere = mem_printf("%s.away", f->store);

    assert_int_equal(rename(away ? f->store : elsewhere, away ? elsewhere : f->store), 0);
}

void token_fixture_take_away(struct token_fixture *f)
{
    if (f->backend == TOKEN_BACKEND_TPM)
        kill_tpm();
    else
        rename_store(f, true);
}

void token_fixture_bring_back(struct token_fixture *f)
{
    if (f->backend == TOKEN_BACKEND_TPM)
        start_swtpm(f->dir);
    else
        rename_store(f, false);
}

static unsigned number_of(const struct bytes *text)
{
    return (unsigned)strtoul(bytes_text(text), NULL, 0);
}

unsigned token_fixture_lockout_counter(const struct token_fixture *f)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(f->backend, TOKEN_BACKEND_TPM);
    assert_int_equal(
        testing_shell(&out, "tpm2_getcap properties-variable | sed -n 's/^TPM2_PT_LOCKOUT_COUNTER: *//p'"), 0);
    return number_of(&out);
}

unsigned token_fixture_count_objects(const struct token_fixture *f)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out,
                         "pkcs11-tool --module '%s' --token-label '%s' --login --pin '%s' --list-objects 2>/dev/null | "
                         "grep -c ' Object'; true",
                         f->module, strchr(f->place.uri, '=') + 1, secret_peek(f->pin)),
        0);
    return number_of(&out);
}
