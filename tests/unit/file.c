#include "agent/config/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"

static char *in(const char *dir, const char *name)
{
    return mem_printf("%s/%s", dir, name);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* How many names there are in a directory: what is left over would be one too many. */
static size_t entries(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void holds(const char *path, const char *text)
{
    CLEANUP(bytes_clear) struct bytes content = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(file_read(path, 4096, &content, &err) == FILE_READ, err);
    assert_string_equal(bytes_text(&content), text);
}

static void replace(const char *path, const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(file_replace(path, text, strlen(text), 0600, &err) == 0, err);
}

/* --- reading --- */

TEST(file_read_tells_a_missing_file_from_an_empty_one)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a"), *below = in(dir, "a/b");
    CLEANUP(bytes_clear) struct bytes content = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    bytes_set(&content, "kept", 4);
    assert_int_equal(file_read(path, 10, &content, &err), FILE_MISSING);
    assert_string_equal(bytes_text(&content), "kept");
    testing_write(path, "", 0);
    assert_ok(file_read(path, 10, &content, &err) == FILE_READ, err);
    assert_int_equal(content.len, 0);
    assert_int_equal(file_read(below, 10, &content, &err), FILE_MISSING); /* below a file there is nothing */
}

TEST(file_read_takes_no_more_than_it_was_told)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a");
    CLEANUP(bytes_clear) struct bytes content = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    testing_write(path, "0123456789", 10);
    assert_ok(file_read(path, 10, &content, &err) == FILE_READ, err);
    assert_int_equal(file_read(path, 9, &content, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
    assert_contains(err_text(err), "more than 9 bytes");
    assert_contains(err_text(err), path);
    assert_int_equal(content.len, 10); /* what was read before stays */
}

TEST(file_read_refuses_what_is_no_regular_file)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *fifo = in(dir, "fifo"), *link = in(dir, "link");
    const char *paths[] = {dir, fifo, link, "/dev/zero"};

    assert_int_equal(mkfifo(fifo, 0600), 0); /* nobody writes to it: opening must not block */
    assert_int_equal(symlink("fifo", link), 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CLEANUP(bytes_clear) struct bytes content = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(file_read(paths[i], 100, &content, &err), -1);
        assert_int_equal(err_kind(err), ERR_STORE);
        assert_contains(err_text(err), "not a regular file");
    }
}

TEST(file_read_follows_a_link)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a"), *link = in(dir, "link");

    testing_write(path, "text", 4);
    assert_int_equal(symlink("a", link), 0);
    holds(link, "text");
}

/* --- replacing --- */

TEST(file_replace_makes_the_whole_file_with_its_mode)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a");
    CLEANUP(err_freep) struct err *err = NULL;

    umask(077); /* the mode is what was asked for, whatever the umask */
    assert_ok(file_replace(path, "one", 3, 0644, &err) == 0, err);
    holds(path, "one");
    assert_int_equal(mode_of(path), 0644);
    assert_ok(file_replace(path, "", 0, 0600, &err) == 0, err);
    holds(path, "");
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(entries(dir), 1);
}

TEST(file_replace_gives_readers_the_old_file_or_the_new_one)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a");
    char text[8] = {0};
    int fd;

    replace(path, "old");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    replace(path, "newer");
    assert_int_equal(read(fd, text, sizeof(text)), 3); /* who has opened the old one reads it to its end */
    assert_string_equal(text, "old");
    close(fd);
    holds(path, "newer");
}

TEST(file_replace_replaces_a_link_and_not_what_it_points_at)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *target = in(dir, "target"), *path = in(dir, "a");

    testing_write(target, "precious", 8);
    assert_int_equal(symlink("target", path), 0);
    replace(path, "new");
    holds(target, "precious");
    holds(path, "new");
}

/* What is left of a process that died between making its file and naming it. */
TEST(file_replace_does_not_mind_what_a_crash_left_behind)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a");
    CLEANUP(mem_freep) char *left = in(dir, ".a.new");

    testing_write(left, "half", 4);
    replace(path, "one");
    holds(path, "one");
    assert_int_equal(entries(dir), 1);
}

/* Runs out of room in the middle of a file, as on a full disk; SIGXFSZ would end the process before write fails. */
static void fails_in_the_middle(const char *dir, const char *path, size_t len, const char *why)
{
    CLEANUP(mem_freep) char *much = mem_alloc(len);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(file_replace(path, much, len, 0600, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    assert_contains(err_text(err), path);
    assert_contains(err_text(err), why);
    holds(path, "old");
    assert_int_equal(entries(dir), 1); /* and nothing half is left */
    if (strcmp(why, "No space left") == 0)
        assert_contains(err_hint_text(err), "free some space");
}

TEST(file_replace_keeps_the_old_file_when_writing_fails)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a");
    struct rlimit limit;

    replace(path, "old");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fails_in_the_middle(dir, path, 10000, "File too large");
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

PRIVILEGED_TEST(file_replace_keeps_the_old_file_when_the_disk_is_full)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a");

    if (mount("none", dir, "tmpfs", 0, "size=16k") < 0) {
        print_message("a small disk cannot be mounted here: %s\n", strerror(errno));
        skip();
    }
    replace(path, "old");
    fails_in_the_middle(dir, path, 100000, "No space left");
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
}

TEST(file_replace_says_which_directory_is_missing)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "no/a");
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(file_replace(path, "x", 1, 0600, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    assert_contains(err_text(err), "/no/': No such file or directory");
}

TEST(file_replace_does_not_take_the_place_of_a_directory)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "a");
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(file_replace(path, "x", 1, 0600, &err), -1);
    assert_contains(err_text(err), "Is a directory");
    assert_int_equal(entries(dir), 1);
}

TEST(file_replace_link_moves_in_one_step)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "current");
    CLEANUP(err_freep) struct err *err = NULL;
    char target[16] = {0};

    assert_ok(file_replace_link(path, "1", &err) == 0, err);
    assert_ok(file_replace_link(path, "2", &err) == 0, err);
    assert_int_equal(readlink(path, target, sizeof(target) - 1), 1);
    assert_string_equal(target, "2");
    assert_int_equal(entries(dir), 1);
}

TEST(file_replace_link_keeps_what_is_no_link_where_it_can)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "current"), *within = in(dir, "current/precious");
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(mkdir(path, 0700), 0);
    testing_write(within, "x", 1);
    assert_int_equal(file_replace_link(path, "1", &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    assert_true(is_there(within));
    assert_int_equal(entries(dir), 1);
}

/* --- directories --- */

TEST(file_make_directory_gives_the_mode_to_new_and_old)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "d");
    CLEANUP(err_freep) struct err *err = NULL;

    umask(077);
    assert_ok(file_make_directory(path, 0755, &err) == 0, err);
    assert_int_equal(mode_of(path), 0755);
    assert_int_equal(chmod(path, 0777), 0);
    assert_ok(file_make_directory(path, 0700, &err) == 0, err);
    assert_int_equal(mode_of(path), 0700);
}

TEST(file_make_directory_takes_nothing_else_for_one)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *file = in(dir, "file"), *link = in(dir, "link");
    const char *paths[] = {file, link};

    testing_write(file, "", 0);
    assert_int_equal(symlink("/tmp", link), 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(file_make_directory(paths[i], 0700, &err), -1);
        assert_int_equal(err_kind(err), ERR_STORE);
        assert_contains(err_text(err), "is in the way: it is no directory");
    }
}

TEST(file_make_directory_makes_no_parents)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "no/d");
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(file_make_directory(path, 0700, &err), -1);
    assert_int_equal(entries(dir), 0);
}

TEST(file_remove_takes_files_and_directories_of_files)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *file = in(dir, "f"), *sub = in(dir, "d"), *within = in(dir, "d/x"), *link = in(dir, "l");
    CLEANUP(mem_freep) char *target = in(dir, "target"), *precious = in(dir, "target/precious");
    const char *paths[] = {file, sub, link, file /* is gone by now: fine */};

    testing_write(file, "", 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    testing_write(within, "", 0);
    assert_int_equal(mkdir(target, 0700), 0);
    testing_write(precious, "", 0);
    assert_int_equal(symlink("target", link), 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_ok(file_remove(paths[i], &err) == 0, err);
        assert_false(is_there(paths[i]));
    }
    assert_true(is_there(precious));
}

TEST(file_remove_goes_one_level_deep_and_no_further)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *sub = in(dir, "d"), *subsub = in(dir, "d/d"), *deep = in(dir, "d/d/x");
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(mkdir(subsub, 0700), 0);
    testing_write(deep, "", 0);
    assert_int_equal(file_remove(sub, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    assert_true(is_there(deep));
}

TEST(file_remove_in_a_directory_that_is_not_there_is_done)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = in(dir, "no/f");
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(file_remove(path, &err) == 0, err);
}
