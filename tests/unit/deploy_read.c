#include "agent/deploy/source.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/deploy_fixture.h"

static int read_web(const struct deploy_fixture *f, struct source *out, struct err **errp)
{
    CLEANUP(cert_list_clear) struct cert_list anchors = {0};
    struct source_question question = {.state_dir = f->state, .name = "web", .anchors = &anchors, .now = PKI_NOW};

    cert_list_add(&anchors, cert_dup(f->ca));
    return source_read(&question, out, errp);
}

static void refused(const struct deploy_fixture *f, enum err_kind kind, const char *why)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct source out = {.generation = 42};

    if (read_web(f, &out, &err) != -1)
        fail_msg("taken, and should have said: %s", why);
    assert_contains(err_text(err), why);
    assert_int_equal(err_kind(err), kind);
    assert_int_equal(out.generation, 42); /* outputs only on success */
}

/* Runs @command in the directory of the current generation. */
static void change(const struct deploy_fixture *f, const char *command)
{
    assert_int_equal(testing_shell(NULL, "cd '%s/installed/' && %s", f->home, command), 0);
}

TEST(source_reads_a_pair_with_its_key_in_a_file)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(source_clear) struct source source = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, true);
    deploy_fixture_publish(&f, true);
    assert_ok(read_web(&f, &source, &err) == SOURCE_READ, err);
    assert_int_equal(source.generation, 2);
    assert_true(cert_equal(source.cert, f.cert));
    assert_int_equal(source.chain.n, 1);
    assert_null(source.key_uri);
    assert_contains(secret_peek(source.key), "-----BEGIN PRIVATE KEY-----");
}

TEST(source_reads_a_pair_with_its_key_in_the_token)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(source_clear) struct source source = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, false);
    assert_ok(read_web(&f, &source, &err) == SOURCE_READ, err);
    assert_null(source.key);
    assert_string_equal(source.key_uri, "pkcs11:token=autoenroll;id=%41%45%01;type=private");
}

TEST(source_has_nothing_where_nothing_is_published)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    struct source source = {0};

    deploy_fixture_init(&f);
    assert_int_equal(read_web(&f, &source, NULL), SOURCE_NONE); /* no link */
    assert_int_equal(rmdir(f.home), 0);
    assert_int_equal(read_web(&f, &source, NULL), SOURCE_NONE);
    assert_int_equal(testing_shell(NULL, "rm -r '%s'", f.state), 0);
    assert_int_equal(read_web(&f, &source, NULL), SOURCE_NONE);
}

TEST(source_follows_the_link_to_a_number_and_nowhere_else)
{
    static const char *const targets[] = {"../../../../etc", "/etc", "1/", "01", "+1", "0", "-1", "4294967296", "1 ",
        "one", "11111111111111111111111111111111"};
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, false);
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        assert_int_equal(testing_shell(NULL, "ln -sfn -- '%s' '%s/installed'", targets[i], f.home), 0);
        refused(&f, ERR_UNTRUSTED, "does not point to a number");
    }
    assert_int_equal(testing_shell(NULL, "ln -sfn 7 '%s/installed'", f.home), 0);
    refused(&f, ERR_STORE, "the generation 7, which is installed, is missing");
    assert_int_equal(testing_shell(NULL, "rm '%s/installed' && mkdir '%s/installed'", f.home, f.home), 0);
    refused(&f, ERR_UNTRUSTED, "reading the link 'installed'");
}

TEST(source_follows_no_link_on_the_way)
{
    static const char *const tricks[] = {
        "cd state/public/certs/web && mv 1 one && ln -s one 1",
        "cd state/public/certs && mv web elsewhere && ln -s elsewhere web",
        "cd state && mv public elsewhere && ln -s elsewhere public",
    };

    for (size_t i = 0; i < ARRAY_SIZE(tricks); i++) {
        CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

        deploy_fixture_init(&f);
        deploy_fixture_publish(&f, true);
        assert_int_equal(testing_shell(NULL, "cd '%s' && %s", f.dir, tricks[i]), 0);
        refused(&f, ERR_UNTRUSTED, "is a link, or leads elsewhere");
    }
}

TEST(source_reads_regular_files_with_one_name_and_a_bound)
{
    static const struct {
        const char *command, *why;
        enum err_kind kind;
    } tricks[] = {
        {"mv cert.pem x && ln -s x cert.pem", "'cert.pem' is a link", ERR_UNTRUSTED},
        {"ln -sf /etc/passwd chain.pem", "'chain.pem' is a link", ERR_UNTRUSTED},
        {"ln cert.pem second", "'cert.pem' has 2 names", ERR_UNTRUSTED},
        {"rm cert.pem && mkfifo cert.pem", "'cert.pem' is no regular file", ERR_UNTRUSTED},
        {"rm key.uri && mkdir key.uri", "'key.uri' is no regular file", ERR_UNTRUSTED},
        {"truncate -s 100000 cert.pem", "'cert.pem' is larger than 98304 bytes", ERR_UNTRUSTED},
        {"truncate -s 1G chain.pem", "'chain.pem' is larger than 524288 bytes", ERR_UNTRUSTED},
        {"rm chain.pem", "'chain.pem' is missing", ERR_STORE},
        {"echo nonsense >cert.pem", "cert.pem", ERR_INVALID},
        {"echo nonsense >chain.pem", "chain.pem", ERR_INVALID},
    };

    for (size_t i = 0; i < ARRAY_SIZE(tricks); i++) {
        CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

        deploy_fixture_init(&f);
        deploy_fixture_publish(&f, true);
        change(&f, tricks[i].command);
        refused(&f, tricks[i].kind, tricks[i].why);
    }
}

TEST(source_takes_no_certificate_of_another_ca)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f, other;

    deploy_fixture_init(&f);
    deploy_fixture_init(&other);
    deploy_fixture_publish(&f, false);
    deploy_fixture_publish(&other, false);
    assert_int_equal(testing_shell(NULL, "cp '%s'/installed/c*.pem '%s/installed/'", other.home, f.home), 0);
    refused(&f, ERR_UNTRUSTED, "the certificate of generation 1");
}

TEST(source_takes_no_key_but_that_of_the_certificate)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, true);
    deploy_fixture_publish(&f, true);
    change(&f, "cp ../1/key.uri .");
    refused(&f, ERR_UNTRUSTED, "the private key is not that of the certificate");
}

TEST(source_looks_for_keys_in_their_directory_only)
{
    static const char *const uris[] = {
        "/etc/shadow",
        "/var/lib/x/../../../../etc/ssl/private/41454e3100000000000000000000000000000001.key",
        "41454e3100000000000000000000000000000001.pem",
        "/x/41454E3100000000000000000000000000000001.pem",
        "/x/41454e31000000000000000000000000000001.pem",
        "pkcs11:token=a;object=b?pin-value=1234",
        "pkcs11:token=a;object=b?PIN-source=file:/etc/shadow",
        "pkcs11:token=a?module-path=/tmp/evil.so",
        "pkcs11:token=a b",
        "http://x/",
        "",
    };
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, true);
    for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
        CLEANUP(mem_freep) char *command = mem_printf("printf '%%s\\n' '%s' >key.uri", uris[i]);

        change(&f, command);
        refused(&f, ERR_UNTRUSTED, "key.uri names no key of a token and no key file of ours");
    }
    change(&f, "printf 'pkcs11:token=a\\0b' >key.uri");
    refused(&f, ERR_UNTRUSTED, "key.uri is no text");
}

TEST(source_follows_no_link_to_a_key)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(source_clear) struct source source = {0};

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, true);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s/token/keys' && mv *.pem ../x && ln -s ../x \"$(basename $(cat "
                         "'%s/installed/key.uri'))\"",
                         f.state, f.home),
        0);
    refused(&f, ERR_UNTRUSTED, "is a link");
    assert_int_equal(testing_shell(NULL,
                         "cd '%s/token/keys' && rm *.pem && ln ../x \"$(basename $(cat "
                         "'%s/installed/key.uri'))\"",
                         f.state, f.home),
        0);
    refused(&f, ERR_UNTRUSTED, "has 2 names");
    assert_int_equal(testing_shell(NULL, "rm '%s/token/x'", f.state), 0);
    assert_int_equal(read_web(&f, &source, NULL), SOURCE_READ); /* it was the second name that was refused */
}

/* Swaps cert.pem, as fast as it can, with a link and a hard link to what must never be read through this directory. */
__attribute__((noreturn)) static void swap(const struct deploy_fixture *f)
{
    CLEANUP(mem_freep) char *at = mem_printf("%s/1/cert.pem", f->home), *good = mem_printf("%s/1/good", f->home);
    CLEANUP(mem_freep) char *next = mem_printf("%s/1/next", f->home), *secret = mem_printf("%s/secret.pem", f->dir);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        if (symlink(secret, next) < 0 || rename(next, at) < 0 || link(secret, next) < 0 || rename(next, at) < 0 ||
            link(good, next) < 0 || rename(next, at) < 0)
            _exit(1);
    }
}

/* The secret is a certificate that would be taken if it were read, and root's, where all else is the daemon's. */
PRIVILEGED_TEST(source_never_reads_through_a_name_that_changes_under_it)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    pid_t pid;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, false);
    change(&f, "cp cert.pem good");
    deploy_fixture_publish(&f, false);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && cp 2/cert.pem ../../../../secret.pem && ln -sfn 1 installed && "
                         "chown -R nobody ../../../../state",
                         f.home),
        0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        swap(&f);
    for (int i = 0; i < 3000; i++) {
        CLEANUP(source_clear) struct source source = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        if (read_web(&f, &source, &err) == SOURCE_READ)
            assert_false(cert_equal(source.cert, f.cert));
        else
            assert_int_equal(err_kind(err), ERR_UNTRUSTED);
    }
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it was at it all the time */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

PRIVILEGED_TEST(source_reads_no_file_of_another_user)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, true);
    change(&f, "chown nobody chain.pem");
    refused(&f, ERR_UNTRUSTED, "'chain.pem' belongs to another user than its directory");
}
