#include "agent/deploy/target.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"

static void add(struct target *target, const char *name, mode_t mode, const char *text)
{
    struct bytes content = {0};

    bytes_set(&content, text, strlen(text));
    target_add(target, name, mode, &content);
}

/* A certificate and a key, as one would have them. */
static void prepare(struct target *target, const char *dir)
{
    *target = (struct target){.dir = dir};
    add(target, "key.pem", 0600, "the key\n");
    add(target, "cert.pem", 0644, "the certificate\n");
}

static void put(const struct target *target)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(target_put(target, &err) == 0, err);
}

static void refused(const struct target *target, enum err_kind kind, const char *why, const char *hint)
{
    CLEANUP(err_freep) struct err *err = NULL;

    if (target_put(target, &err) != -1)
        fail_msg("put, and should have said: %s", why);
    assert_contains(err_text(err), why);
    assert_int_equal(err_kind(err), kind);
    if (hint)
        assert_contains(err_hint_text(err), hint);
}

/* "MODE USER NAME" of everything in the directory, in the order of names. */
static void assert_listed(const char *dir, const char *format, const char *expected)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(
        testing_shell(&out, "cd '%s' && find . -mindepth 1 -printf '%s\\n' | LC_ALL=C sort -k2", dir, format), 0);
    assert_string_equal(bytes_text(&out), expected);
}

TEST(target_gets_whole_files_with_their_modes)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(target_clear) struct target target;

    prepare(&target, dir);
    put(&target);
    assert_listed(dir, "%m %P %s", "644 cert.pem 16\n600 key.pem 8\n");
    put(&target); /* again, over what is there */
    assert_listed(dir, "%m %P %s", "644 cert.pem 16\n600 key.pem 8\n");
}

TEST(target_loses_what_must_not_be_there)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *old = mem_printf("%s/key.uri", dir);
    CLEANUP(target_clear) struct target target;

    testing_write(old, "x", 1);
    prepare(&target, dir);
    strlist_add(&target.gone, "key.uri");
    put(&target);
    assert_listed(dir, "%m %P", "644 cert.pem\n600 key.pem\n");
}

TEST(target_follows_no_link)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *real = mem_printf("%s/real", dir);
    CLEANUP(mem_freep) char *link = mem_printf("%s/link", dir), *beneath = mem_printf("%s/link/sub", dir);
    CLEANUP(mem_freep) char *victim = mem_printf("%s/victim", dir);
    CLEANUP(target_clear) struct target target;

    testing_write(victim, "untouched", 9);
    assert_int_equal(testing_shell(NULL, "mkdir -p '%s/sub' && ln -s real '%s'", real, link), 0);
    prepare(&target, link);
    refused(&target, ERR_CONFIG, "there is a link in the path", "/real");
    target.dir = beneath;
    refused(&target, ERR_CONFIG, "there is a link in the path", "/real/sub");
    target.dir = real; /* links where files are to be, and where they are made */
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && ln -s ../victim key.pem && ln -s ../victim .key.pem.new && ln "
                         "../victim .cert.pem.new",
                         real),
        0);
    put(&target);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && test \"$(cat '%s')\" = untouched && test ! -L key.pem && test "
                         "\"$(cat key.pem)\" = 'the key'",
                         real, victim),
        0);
}

TEST(target_must_be_a_directory_that_not_everybody_writes_to)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *none = mem_printf("%s/none", dir);
    CLEANUP(target_clear) struct target target;

    prepare(&target, none);
    refused(&target, ERR_CONFIG, "opening the directory", "install -d");
    testing_write(none, "", 0);
    refused(&target, ERR_CONFIG, "Not a directory", NULL);
    target.dir = dir;
    assert_int_equal(chmod(dir, 0777), 0);
    refused(&target, ERR_CONFIG, geteuid() == 0 ? "can be written by others" : "everybody can write", "chmod");
}

TEST(target_says_which_user_or_group_is_not_there)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(target_clear) struct target target;

    prepare(&target, dir);
    target.owner = "no-such-user";
    refused(&target, ERR_CONFIG, "there is no user 'no-such-user'", "owner =");
    target.owner = NULL;
    target.group = "no-such-group";
    refused(&target, ERR_CONFIG, "there is no group 'no-such-group'", "group =");
    assert_listed(dir, "%m %P", "");
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

TEST(target_keeps_every_old_file_when_one_new_file_does_not_fit)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(target_clear) struct target target;
    CLEANUP(mem_freep) char *large = mem_alloc(65536);

    prepare(&target, dir);
    put(&target);
    memset(large, 'x', 65535);
    add(&target, "fullchain.pem", 0644, large);
    bytes_set(&target.files[0].content, "new key", 7);
    (void)signal(SIGXFSZ, SIG_IGN);
    limit_files(4096);
    refused(&target, ERR_STORE, "writing", "the files that are there are the old ones");
    limit_files(RLIM_INFINITY);
    assert_listed(dir, "%m %P %s", "644 cert.pem 16\n600 key.pem 8\n"); /* and nothing half written */
}

PRIVILEGED_TEST(target_keeps_every_old_file_when_the_disk_is_full)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *program = testing_bin("unit_deploy_write");
    CLEANUP(bytes_clear) struct bytes out = {0};

    if (getenv("DEPLOY_WRITE_DIR")) { /* inside */
        CLEANUP(target_clear) struct target target;
        CLEANUP(mem_freep) char *large = mem_alloc(65536);

        prepare(&target, getenv("DEPLOY_WRITE_DIR"));
        put(&target);
        memset(large, 'x', 65535);
        add(&target, "fullchain.pem", 0644, large);
        refused(&target, ERR_STORE, "No space left on device", "free some space");
        assert_listed(target.dir, "%m %P %s", "644 cert.pem 16\n600 key.pem 8\n");
        return;
    }
    assert_int_equal(testing_shell(&out,
                         "DEPLOY_WRITE_DIR='%s' unshare -m sh -c \"mount -t tmpfs -o size=32k,mode=755 "
                         "none '%s' && exec '%s' "
                         "target_keeps_every_old_file_when_the_disk_is_full\" 2>&1",
                         dir, dir, program),
        0);
}

PRIVILEGED_TEST(target_of_another_user_is_written_as_that_user)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(target_clear) struct target target;

    assert_int_equal(testing_shell(NULL, "chown nobody:nogroup '%s'", dir), 0);
    prepare(&target, dir);
    put(&target);
    assert_listed(dir, "%m %P %u %g", "644 cert.pem nobody nogroup\n600 key.pem nobody nogroup\n");
    assert_int_equal(geteuid(), 0);
    assert_int_equal(getegid(), 0);
    target.owner = "daemon"; /* nobody cannot give files away, and root does not do it there */
    refused(&target, ERR_CONFIG, "does not belong to 'daemon'", "chown");
}

/* Were root to write there as root, the read-only directory would not stop it. */
PRIVILEGED_TEST(target_that_its_owner_cannot_write_to_is_not_written)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(target_clear) struct target target;

    assert_int_equal(testing_shell(NULL, "chown nobody:nogroup '%s' && chmod 0555 '%s'", dir, dir), 0);
    prepare(&target, dir);
    refused(&target, ERR_STORE, "Permission denied", "ls -ld");
    assert_int_equal(geteuid(), 0);
    assert_listed(dir, "%m %P", "");
}

PRIVILEGED_TEST(target_of_root_gives_files_to_the_configured_owner_and_group)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(target_clear) struct target target;

    prepare(&target, dir);
    target.owner = "nobody";
    target.group = "daemon";
    put(&target);
    assert_listed(dir, "%m %P %u %g", "644 cert.pem nobody daemon\n600 key.pem nobody daemon\n");
}
