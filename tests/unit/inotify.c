#include "agent/daemon/inotify.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"

/* A loop that ends when it was told of something, or after a while. */
struct scene {
    struct event_base *base;
    struct inotify *inotify;
    char *dir;
    unsigned told;
    struct strlist last; /* of what was told */
};

static void note(void *ctx, const struct strlist *paths)
{
    struct scene *s = ctx;

    s->told++;
    strlist_clear(&s->last);
    strlist_copy(&s->last, paths);
    (void)event_base_loopbreak(s->base);
}

static void scene_start(struct scene *s)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(strlist_clear) struct strlist directories = {0};

    s->base = event_base_new();
    s->dir = testing_tmpdir();
    s->inotify = inotify_open(s->base, note, s, &err);
    assert_ok(s->inotify != NULL, err);
    strlist_add(&directories, s->dir);
    strlist_add(&directories, "/nonexistent/directory");
    inotify_follow(s->inotify, &directories);
}

static void scene_clear(struct scene *s)
{
    inotify_close(s->inotify);
    event_base_free(s->base);
    strlist_clear(&s->last);
    free(s->dir);
}

static void run_for(struct scene *s, long seconds)
{
    const struct timeval limit = {.tv_sec = seconds};

    assert_int_equal(event_base_loopexit(s->base, &limit), 0);
    assert_int_equal(event_base_dispatch(s->base), 0);
}

static void touch(const struct scene *s, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", s->dir, name);

    testing_write(path, "x", 1);
}

TEST(inotify_tells_a_burst_of_changes_at_once)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *a = NULL;

    scene_start(&s);
    a = mem_printf("%s/a", s.dir);
    for (int i = 0; i < 5; i++) {
        touch(&s, "a");
        touch(&s, "b");
    }
    run_for(&s, 30);
    assert_int_equal(s.told, 1);
    assert_int_equal(s.last.n, 2);
    assert_string_equal(s.last.items[0], a);
}

TEST(inotify_tells_of_everything_when_there_is_too_much_to_tell)
{
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    for (int i = 0; i < INOTIFY_MAX_PATHS + 10; i++) {
        CLEANUP(mem_freep) char *name = mem_printf("%d", i);

        touch(&s, name);
    }
    run_for(&s, 30);
    assert_int_equal(s.told, 1);
    assert_int_equal(s.last.n, 0);
}

TEST(inotify_follows_exactly_the_directories_that_it_was_told_last)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *within = NULL;
    CLEANUP(strlist_clear) struct strlist directories = {0};

    scene_start(&s);
    within = mem_printf("%s/within", s.dir);
    assert_int_equal(mkdir(within, 0700), 0);
    strlist_add(&directories, within);
    inotify_follow(s.inotify, &directories);
    touch(&s, "a");
    touch(&s, "within/b");
    run_for(&s, 30);
    assert_int_equal(s.told, 1);
    assert_int_equal(s.last.n, 1);
    assert_contains(s.last.items[0], "within/b");
}

TEST(inotify_takes_up_a_directory_again_that_was_made_anew)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *within = NULL;
    CLEANUP(strlist_clear) struct strlist directories = {0};

    scene_start(&s);
    within = mem_printf("%s/within", s.dir);
    strlist_add(&directories, within);
    assert_int_equal(mkdir(within, 0700), 0);
    inotify_follow(s.inotify, &directories);
    assert_int_equal(rmdir(within), 0);
    run_for(&s, 30);
    assert_int_equal(mkdir(within, 0700), 0);
    inotify_follow(s.inotify, &directories);
    touch(&s, "within/b");
    run_for(&s, 30);
    assert_contains(s.last.items[0], "within/b");
}
