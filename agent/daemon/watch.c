#include "agent/daemon/watch.h"

#include <stdlib.h>
#include <string.h>

#include "agent/config/file.h"
#include "agent/job/job_fields.h"
#include "protocol/base/digest.h"

#define MEMORY_VERSION 1
#define MEMORY_MAX     (4u << 20)

/* --- finding --- */

static int compare(const char *path, uint32_t place, const struct watched *w)
{
    int r = strcmp(path, w->path);

    return r ? r : (place > w->place) - (place < w->place);
}

static int by_path(const void *a, const void *b)
{
    const struct watched *x = *(struct watched *const *)a;

    return compare(x->path, x->place, *(struct watched *const *)b);
}

/* Where the first of @path is, or would be, among the first @n. */
static size_t first_of(const struct watch_list *list, size_t n, const char *path)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(list->items[middle]->path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct watched *watch_find(const struct watch_list *list, const char *id)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i]->id, id) == 0)
            return list->items[i];
    return NULL;
}

/* --- changing --- */

static void watched_free(struct watched *w)
{
    free(w->path);
    free(w->subject);
    free(w->error);
    free(w);
}

static const char *intern_section(struct watch_list *list, const char *name)
{
    if (!name)
        return NULL;
    for (size_t i = 0; i < list->sections.n; i++)
        if (strcmp(list->sections.items[i], name) == 0)
            return list->sections.items[i];
    strlist_add(&list->sections, name);
    return list->sections.items[list->sections.n - 1];
}

static void set_id(struct watched *w)
{
    CLEANUP(mem_freep) char *name = mem_printf("%s#%u", w->path, w->place);
    CLEANUP(mem_freep) char *digest = digest_sha256_hex(name, strlen(name));

    memcpy(w->id, digest, WATCH_ID_LEN);
}

static int notice_by_id(const void *a, const void *b)
{
    return strcmp(((const struct watch_notice *)a)->id, ((const struct watch_notice *)b)->id);
}

static uint32_t announced_before(const struct watch_list *list, const struct watched *w)
{
    const struct watch_notice key = {.id = (char *)(uintptr_t)w->id};
    const struct watch_notice *found = NULL;

    if (list->n_notices)
        found = bsearch(&key, list->notices, list->n_notices, sizeof(*list->notices), notice_by_id);
    return found && found->not_after == w->not_after ? found->notified : 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* @seen NULL: the file has no certificate, because of file->error. */
static bool shows_the_same(const struct watched *w, const struct job_seen_file *file, const struct job_seen *seen)
{
    return same_text(w->section, file->section) && same_text(w->subject, seen ? seen->subject : NULL) &&
           same_text(w->error, seen ? NULL : file->error) && w->not_before == (seen ? seen->not_before : 0) &&
           w->not_after == (seen ? seen->not_after : 0);
}

static void fill(
    struct watch_list *list, struct watched *w, const struct job_seen_file *file, const struct job_seen *seen)
{
    int64_t not_after = seen ? seen->not_after : 0;

    if (not_after != w->not_after)
        w->notified = 0;
    free(w->subject);
    free(w->error);
    w->subject = seen ? mem_strdup(seen->subject ? seen->subject : "") : NULL;
    w->error = seen ? NULL : mem_strdup(file->error ? file->error : "no certificate");
    w->not_before = seen ? seen->not_before : 0;
    w->not_after = not_after;
    w->section = intern_section(list, file->section);
}

static void add(struct watch_list *list, const struct job_seen_file *file, const struct job_seen *seen, uint32_t place)
{
    struct watched *w;

    if (list->n >= JOB_MAX_WATCHED) {
        list->full = true;
        return;
    }
    w = mem_alloc(sizeof(*w));
    w->path = mem_strdup(file->path);
    w->place = place;
    w->mark = file->mark;
    w->change = WATCH_ADDED;
    set_id(w);
    fill(list, w, file, seen);
    w->notified = announced_before(list, w);
    if (list->n % 1024 == 0)
        list->items = mem_realloc(list->items, list->n + 1024, sizeof(*list->items));
    list->items[list->n++] = w;
}

/* Brings what is known of one file up to date; new ones are appended behind the first @sorted. */
static void apply_file(struct watch_list *list, size_t sorted, const struct job_seen_file *file)
{
    size_t n_seen = file->n_certificates ? file->n_certificates : 1;
    size_t i = first_of(list, sorted, file->path);
    uint32_t place = 0;

    for (; i < sorted && strcmp(list->items[i]->path, file->path) == 0; i++) {
        struct watched *w = list->items[i];
        const struct job_seen *seen = file->n_certificates ? &file->certificates[place] : NULL;

        w->mark = file->mark;
        if (place >= n_seen) {
            w->change = WATCH_REMOVED;
            continue;
        }
        if (!shows_the_same(w, file, seen)) {
            fill(list, w, file, seen);
            w->change = WATCH_CHANGED;
        }
        place++;
    }
    for (; place < n_seen; place++)
        add(list, file, file->n_certificates ? &file->certificates[place] : NULL, place);
}

static void apply_gone(struct watch_list *list, size_t sorted, const char *path)
{
    for (size_t i = first_of(list, sorted, path); i < sorted && strcmp(list->items[i]->path, path) == 0; i++)
        list->items[i]->change = WATCH_REMOVED;
}

/* A path that came twice, or one too many: the later ones go as if they had not come. */
static void drop_surplus(struct watch_list *list)
{
    size_t kept = 0, paths = 0;

    for (size_t i = 0; i < list->n; i++) {
        struct watched *w = list->items[i];
        bool twice = kept && by_path(&list->items[kept - 1], &w) == 0;

        if (w->change == WATCH_ADDED && (twice || paths + strlen(w->path) > WATCH_MAX_PATHS)) {
            list->full |= !twice;
            watched_free(w);
            continue;
        }
        paths += strlen(w->path);
        list->items[kept++] = w;
    }
    list->n = kept;
}

static void tell_and_remove(struct watch_list *list, watch_told *told, void *ctx)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->n; i++)
        if (list->items[i]->change != WATCH_SAME)
            told(ctx, (enum watch_change)list->items[i]->change, list->items[i]);
    for (size_t i = 0; i < list->n; i++) {
        struct watched *w = list->items[i];

        if (w->change == WATCH_REMOVED) {
            watched_free(w);
            continue;
        }
        w->change = WATCH_SAME;
        list->items[kept++] = w;
    }
    list->n = kept;
}

void watch_apply(struct watch_list *list, const struct job_scanned *scanned, watch_told *told, void *ctx)
{
    size_t sorted = list->n;

    list->full = false;
    for (size_t i = 0; i < scanned->n_files; i++)
        apply_file(list, sorted, &scanned->files[i]);
    for (size_t i = 0; i < scanned->gone.n; i++)
        apply_gone(list, sorted, scanned->gone.items[i]);
    if (list->n > sorted) {
        qsort(list->items, list->n, sizeof(*list->items), by_path);
        drop_surplus(list);
    }
    tell_and_remove(list, told, ctx);
}

void watch_forget_marks(struct watch_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        list->items[i]->mark = 0;
}

/* --- asking --- */

static void ask_for_section(const struct settings_watch *section, struct job_scan *out)
{
    struct job_watch *row = NULL;

    for (size_t i = 0; i < section->files.n; i++) {
        if (i % JOB_MAX_NAMES == 0) {
            row = MEM_APPEND(out->watches, out->n_watches);
            row->section = mem_strdup(section->name);
        }
        strlist_add(&row->files, section->files.items[i]);
    }
}

void watch_ask(
    const struct watch_list *list, const struct settings *settings, const struct strlist *only, struct job_scan *out)
{
    const char *last = NULL;

    for (size_t i = 0; i < settings->n_watches; i++)
        ask_for_section(&settings->watches[i], out);
    strlist_copy(&out->only, only);
    out->known = mem_calloc(list->n + 1, sizeof(*out->known));
    for (size_t i = 0; i < list->n; i++) {
        const struct watched *w = list->items[i];

        if ((last && strcmp(last, w->path) == 0) || (only->n && !strlist_has(only, w->path)))
            continue;
        out->known[out->n_known++] = (struct job_known){.path = mem_strdup(w->path), .mark = w->mark};
        last = w->path;
    }
}

/* What is in front of the last slash, where no pattern begins before it. */
static void add_directory(struct strlist *out, size_t max, const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep) char *dir = slash ? mem_strndup(path, slash > path ? (size_t)(slash - path) : 1) : NULL;

    if (!dir || strpbrk(dir, "*?[\\") || out->n >= max)
        return;
    if ((out->n && strcmp(out->items[out->n - 1], dir) == 0) || strlist_has(out, dir))
        return;
    strlist_add(out, dir);
}

void watch_directories(const struct watch_list *list, const struct settings *settings, size_t max, struct strlist *out)
{
    for (size_t i = 0; i < settings->n_watches; i++)
        for (size_t k = 0; k < settings->watches[i].files.n; k++)
            add_directory(out, max, settings->watches[i].files.items[k]);
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i]->section)
            add_directory(out, max, list->items[i]->path);
}

/* --- what was announced --- */

struct memory {
    uint32_t version;
    struct watch_notice *notices;
    size_t n_notices;
};
LOCAL_FIELDS(notice_fields, watch_notice, FIELD_TEXT_REQ(watch_notice, id, WATCH_ID_LEN),
    FIELD_TIME(watch_notice, not_after), FIELD_U32(watch_notice, notified));
LOCAL_FIELDS(memory_fields, memory, FIELD_U32(memory, version),
    FIELD_LIST(memory, notices, n_notices, watch_notice, notice_fields, JOB_MAX_WATCHED));

void watch_settle(struct watch_list *list)
{
    struct memory memory = {.notices = list->notices, .n_notices = list->n_notices};

    fields_clear(&memory_fields, &memory);
    list->notices = NULL;
    list->n_notices = 0;
}

void watch_load(struct watch_list *list, const char *path)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    struct memory memory = {0};

    if (file_read(path, MEMORY_MAX, &text, NULL) != FILE_READ ||
        fields_read(&memory_fields, text.data, text.len, &memory, NULL) < 0)
        return;
    watch_settle(list);
    list->notices = memory.notices;
    list->n_notices = memory.n_notices;
    if (list->n_notices)
        qsort(list->notices, list->n_notices, sizeof(*list->notices), notice_by_id);
}

int watch_save(const struct watch_list *list, const char *path, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    struct memory memory = {.version = MEMORY_VERSION};
    int r;

    for (size_t i = 0; i < list->n; i++) {
        const struct watched *w = list->items[i];

        if (w->notified)
            *MEM_APPEND(memory.notices, memory.n_notices) =
                (struct watch_notice){.id = mem_strdup(w->id), .not_after = w->not_after, .notified = w->notified};
    }
    r = fields_write(&memory_fields, &memory, true, &text, errp);
    fields_clear(&memory_fields, &memory);
    return r < 0 ? -1 : file_replace(path, text.data, text.len, 0600, errp);
}

void watch_list_clear(struct watch_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        watched_free(list->items[i]);
    free(list->items);
    strlist_clear(&list->sections);
    watch_settle(list);
    *list = (struct watch_list){0};
}
