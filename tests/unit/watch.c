#include "agent/daemon/watch.h"

#include <sys/stat.h>

#include "tests/testing.h"

#define NOW 1900000000

/* What was told, in order: "+path#place", "~path#place", "-path#place". */
static void note(void *ctx, enum watch_change change, struct watched *w)
{
    static const char *const signs[] = {[WATCH_ADDED] = "+", [WATCH_CHANGED] = "~", [WATCH_REMOVED] = "-"};

    assert_int_equal(bytes_printf(ctx, NULL, "%s%s#%u ", signs[change], w->path, w->place), 0);
}

static struct job_seen_file *add_file(struct job_scanned *scanned, const char *path, uint64_t mark)
{
    struct job_seen_file *file = MEM_APPEND(scanned->files, scanned->n_files);

    *file = (struct job_seen_file){.section = mem_strdup("haproxy"), .path = mem_strdup(path), .mark = mark};
    return file;
}

static void add_seen(struct job_seen_file *file, const char *subject, int64_t not_after)
{
    *MEM_APPEND(file->certificates, file->n_certificates) =
        (struct job_seen){.subject = mem_strdup(subject), .not_before = NOW, .not_after = not_after};
}

static void apply(struct watch_list *list, struct job_scanned *scanned, const char *told)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    watch_apply(list, scanned, note, &text);
    assert_string_equal(bytes_text(&text), told);
    job_scanned_clear(scanned);
}

/* b with two certificates, a with one. */
static void fill(struct watch_list *list)
{
    struct job_scanned scanned = {0};
    struct job_seen_file *file = add_file(&scanned, "/b.pem", 1);

    add_seen(file, "CN=b", NOW + 100);
    add_seen(file, "CN=ca", NOW + 900);
    add_seen(add_file(&scanned, "/a.pem", 1), "CN=a", NOW + 50);
    apply(list, &scanned, "+/a.pem#0 +/b.pem#0 +/b.pem#1 ");
}

TEST(watch_tells_what_came_what_changed_and_what_went)
{
    CLEANUP(watch_list_clear) struct watch_list list = {0};
    struct job_scanned scanned = {0};

    fill(&list);
    assert_int_equal(list.n, 3);
    add_seen(add_file(&scanned, "/b.pem", 2), "CN=b", NOW + 200); /* renewed, and its CA is gone */
    add_file(&scanned, "/c.pem", 1)->error = mem_strdup("the file is empty");
    strlist_add(&scanned.gone, "/a.pem");
    apply(&list, &scanned, "-/a.pem#0 ~/b.pem#0 -/b.pem#1 +/c.pem#0 ");
    assert_int_equal(list.n, 2);
    assert_int_equal(list.items[0]->not_after, NOW + 200);
    assert_null(list.items[1]->subject);
    assert_string_equal(list.items[1]->error, "the file is empty");
    assert_string_equal(list.items[1]->section, "haproxy");
}

TEST(watch_says_nothing_of_a_file_that_was_touched_and_is_the_same)
{
    CLEANUP(watch_list_clear) struct watch_list list = {0};
    struct job_scanned scanned = {0};

    fill(&list);
    add_seen(add_file(&scanned, "/a.pem", 7), "CN=a", NOW + 50);
    apply(&list, &scanned, "");
    assert_int_equal(list.items[0]->mark, 7);
}

TEST(watch_keeps_one_id_for_a_certificate_and_finds_it_by_that)
{
    CLEANUP(watch_list_clear) struct watch_list first = {0};
    CLEANUP(watch_list_clear) struct watch_list second = {0};

    fill(&first);
    fill(&second);
    for (size_t i = 0; i < first.n; i++) {
        assert_string_equal(first.items[i]->id, second.items[i]->id);
        assert_int_equal(strlen(first.items[i]->id), WATCH_ID_LEN);
        assert_ptr_equal(watch_find(&first, first.items[i]->id), first.items[i]);
    }
    assert_string_not_equal(first.items[1]->id, first.items[2]->id);
    assert_null(watch_find(&first, "0123456789abcdef"));
}

TEST(watch_asks_for_what_it_knows_once_for_each_file)
{
    CLEANUP(watch_list_clear) struct watch_list list = {0};
    CLEANUP(strlist_clear) struct strlist only = {0};
    struct settings_watch section = {.name = mem_strdup("haproxy")};
    const struct settings settings = {.watches = &section, .n_watches = 1};
    struct job_scan job = {0};

    for (int i = 0; i < 65; i++)
        strlist_add(&section.files, "/etc/haproxy/*.pem");
    fill(&list);
    watch_ask(&list, &settings, &only, &job);
    assert_int_equal(job.n_watches, 2); /* a row of the job has at most 64 patterns */
    assert_int_equal(job.watches[1].files.n, 1);
    assert_int_equal(job.n_known, 2);
    assert_string_equal(job.known[1].path, "/b.pem");
    job_scan_clear(&job);

    strlist_add(&only, "/b.pem");
    watch_forget_marks(&list);
    watch_ask(&list, &settings, &only, &job);
    assert_int_equal(job.n_known, 1);
    assert_int_equal(job.known[0].mark, 0);
    assert_int_equal(job.only.n, 1);
    job_scan_clear(&job);
    strlist_clear(&section.files);
    free(section.name);
}

TEST(watch_follows_the_directories_of_patterns_and_of_files)
{
    CLEANUP(watch_list_clear) struct watch_list list = {0};
    CLEANUP(strlist_clear) struct strlist directories = {0};
    CLEANUP(mem_freep) char *joined = NULL;
    struct settings_watch section = {0};
    const struct settings settings = {.watches = &section, .n_watches = 1};

    strlist_add(&section.files, "/etc/haproxy/*.pem");
    strlist_add(&section.files, "/srv/*/tls/cert.pem");
    strlist_add(&section.files, "/etc/haproxy/site.crt");
    fill(&list);
    watch_directories(&list, &settings, 10, &directories);
    joined = strlist_join(&directories, " ");
    assert_string_equal(joined, "/etc/haproxy /");
    strlist_clear(&section.files);
}

TEST(watch_remembers_what_was_announced_until_the_certificate_is_another)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/watched.json", dir);
    CLEANUP(watch_list_clear) struct watch_list before = {0};
    CLEANUP(watch_list_clear) struct watch_list after = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct job_scanned scanned = {0};

    fill(&before);
    before.items[0]->notified = 5;
    before.items[1]->notified = 7;
    assert_ok(watch_save(&before, path, &err) == 0, err);
    watch_load(&after, path);
    fill(&after);
    assert_int_equal(after.items[0]->notified, 5);
    assert_int_equal(after.items[1]->notified, 7);
    assert_int_equal(after.items[2]->notified, 0);
    add_seen(add_file(&scanned, "/a.pem", 2), "CN=a", NOW + 5000);
    apply(&after, &scanned, "~/a.pem#0 ");
    assert_int_equal(after.items[0]->notified, 0);
}

TEST(watch_takes_a_damaged_memory_for_none)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/watched.json", dir);
    CLEANUP(watch_list_clear) struct watch_list list = {0};

    testing_write(path, "{\"notices\": [{", 14);
    watch_load(&list, path);
    fill(&list);
    assert_int_equal(list.items[0]->notified, 0);
}

TEST(watch_is_full_rather_than_boundless)
{
    CLEANUP(watch_list_clear) struct watch_list list = {0};
    CLEANUP(bytes_clear) struct bytes told = {0};
    struct job_scanned scanned = {0};

    for (int i = 0; i < JOB_MAX_WATCHED / JOB_MAX_SEEN_FILE + 2; i++) {
        CLEANUP(mem_freep) char *path = mem_printf("/%d.pem", i);
        struct job_seen_file *file = add_file(&scanned, path, 1);

        for (int k = 0; k < JOB_MAX_SEEN_FILE; k++)
            add_seen(file, "CN=x", NOW);
    }
    watch_apply(&list, &scanned, note, &told);
    job_scanned_clear(&scanned);
    assert_true(list.full);
    assert_int_equal(list.n, JOB_MAX_WATCHED);
}

TEST(watch_counts_a_path_once_that_a_worker_names_twice)
{
    CLEANUP(watch_list_clear) struct watch_list list = {0};
    struct job_scanned scanned = {0};

    add_seen(add_file(&scanned, "/a.pem", 1), "CN=a", NOW);
    add_seen(add_file(&scanned, "/a.pem", 2), "CN=b", NOW);
    apply(&list, &scanned, "+/a.pem#0 ");
    assert_int_equal(list.n, 1);
    assert_false(list.full);
}
