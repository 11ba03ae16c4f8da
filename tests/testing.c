#include "tests/testing.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct CMUnitTest tests[1000];
static size_t n_tests;

void testing_add(const char *name, void (*run)(void **state))
{
    if (n_tests == ARRAY_SIZE(tests))
        abort();
    tests[n_tests++] = (struct CMUnitTest){.name = name, .test_func = run};
}

int main(int argc, char **argv)
{
    struct CMUnitTest *chosen = tests;
    size_t n = n_tests;

    if (argc > 1) {
        for (n = 0; n < n_tests && strcmp(tests[n].name, argv[1]) != 0; n++)
            ;
        if (n == n_tests) {
            fprintf(stderr, "no test '%s' here\n", argv[1]);
            return 2;
        }
        chosen = &tests[n];
        n = 1;
    }
    return _cmocka_run_group_tests(program_invocation_short_name, chosen, n, NULL, NULL);
}

void testing_contains(const char *haystack, const char *needle, const char *file, int line)
{
    if (haystack && strstr(haystack, needle))
        return;
    print_error("'%s' is not in:\n%s\n", needle, haystack ? haystack : "(null)");
    _fail(file, line);
}

static char *under(const char *variable, const char *path)
{
    const char *base = getenv(variable);

    if (!base) {
        print_error("%s is not set: run the tests with ctest or tests/run.sh\n", variable);
        _fail(__FILE__, __LINE__);
    }
    return mem_printf("%s/%s", base, path);
}

char *testing_source(const char *path)
{
    return under("AE_SOURCE", path);
}

char *testing_bin(const char *name)
{
    return under("AE_BIN", name);
}

char *testing_shared(const char *path)
{
    char *whole = under("AE_SHARED", path);

    if (access(whole, R_OK) < 0) {
        print_message("%s is missing: the shared samples are not beside this tree\n", whole);
        free(whole);
        skip();
    }
    return whole;
}

void testing_read(const char *path, struct bytes *out)
{
    FILE *f = fopen(path, "re");
    char buffer[65536];
    size_t n;

    if (!f)
        fail_msg("cannot open %s", path);
    bytes_clear(out);
    while ((n = fread(buffer, 1, sizeof(buffer), f)) > 0)
        assert_int_equal(bytes_append(out, buffer, n, NULL), 0);
    fclose(f);
}

void testing_write(const char *path, const void *data, size_t len)
{
    FILE *f;

    (void)unlink(path);
    f = fopen(path, "wxe");
    if (!f || fchmod(fileno(f), 0600) < 0 || fwrite(data, 1, len, f) != len || fclose(f) != 0)
        fail_msg("cannot write %s", path);
}

static char *tmpdirs[64];
static size_t n_tmpdirs;
static pid_t tmpdirs_owner;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

static void remove_tmpdirs(void)
{
    if (getpid() != tmpdirs_owner)
        return;
    for (size_t i = 0; i < n_tmpdirs; i++) {
        (void)nftw(tmpdirs[i], remove_one, 16, FTW_DEPTH | FTW_PHYS);
        free(tmpdirs[i]);
    }
    n_tmpdirs = 0;
}

char *testing_tmpdir(void)
{
    char *dir = mem_printf("%s/autoenroll-test.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");

    if (n_tmpdirs == ARRAY_SIZE(tmpdirs) || !mkdtemp(dir))
        fail_msg("cannot make %s", dir);
    if (n_tmpdirs == 0) {
        tmpdirs_owner = getpid();
        atexit(remove_tmpdirs);
    }
    tmpdirs[n_tmpdirs++] = dir;
    return mem_strdup(dir);
}

int testing_shell(struct bytes *out, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *command = NULL;
    char buffer[65536];
    va_list ap;
    FILE *pipe;
    size_t n;
    int status;

    va_start(ap, fmt);
    command = mem_vprintf(fmt, ap);
    va_end(ap);
    if (out)
        bytes_clear(out);
    pipe = popen(command, "re");
    if (!pipe)
        fail_msg("cannot run %s", command);
    while ((n = fread(buffer, 1, sizeof(buffer), pipe)) > 0)
        if (out)
            assert_int_equal(bytes_append(out, buffer, n, NULL), 0);
    status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
