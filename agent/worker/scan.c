#include "agent/worker/scan.h"

#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/config/file.h"
#include "agent/job/job_fields.h"
#include "agent/key/key.h"
#include "agent/key/key_token_certificates.h"
#include "agent/worker/place.h"
#include "protocol/base/printable.h"
#include "protocol/pki/glance.h"

#define MAX_FILE      (1u << 20)
#define MAX_PAGE      4000       /* files in one answer */
#define MAX_PAGE_TEXT (4u << 20) /* bytes of their texts, about */
#define MAX_TEXT      (POLICY_MAX_TEXT / 4 - 1)

/* A file that a pattern fits. */
struct candidate {
    char *path;          /* owned */
    const char *section; /* borrowed from the job */
};

struct work {
    const struct job_scan *job;
    struct job_scanned *result;
    struct candidate *files;
    size_t n_files;
    const struct job_known **known; /* owned array, in the order of paths */
    bool *seen;                     /* beside @known: still there */
    size_t text;                    /* bytes in the answer so far */
    size_t unnamable;               /* files whose names are no text */
};

static void work_clear(struct work *work)
{
    for (size_t i = 0; i < work->n_files; i++)
        free(work->files[i].path);
    free(work->files);
    free(work->known);
    free(work->seen);
}

/* --- what there is --- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct candidate *)a)->path, ((const struct candidate *)b)->path);
}

static int known_by_path(const void *a, const void *b)
{
    return strcmp((*(const struct job_known *const *)a)->path, (*(const struct job_known *const *)b)->path);
}

static void sort_known(struct work *work)
{
    const struct job_scan *job = work->job;

    work->known = mem_calloc(job->n_known + 1, sizeof(*work->known));
    work->seen = mem_calloc(job->n_known + 1, sizeof(*work->seen));
    for (size_t i = 0; i < job->n_known; i++)
        work->known[i] = &job->known[i];
    qsort(work->known, job->n_known, sizeof(*work->known), known_by_path);
}

/* Marks it as still there. Returns the mark that it had, 0 when it is new. */
static uint64_t known_mark(struct work *work, const char *path)
{
    const struct job_known key = {.path = (char *)(uintptr_t)path};
    const struct job_known *wanted = &key;
    const struct job_known **found =
        bsearch(&wanted, work->known, work->job->n_known, sizeof(*work->known), known_by_path);

    if (!found)
        return 0;
    work->seen[found - work->known] = true;
    return (*found)->mark;
}

static void add_candidate(struct work *work, const char *path, const char *section)
{
    if (!utf8_valid(path, strlen(path)) || strlen(path) > JOB_MAX_PATH) {
        work->unnamable++;
        return;
    }
    if (work->n_files % 1024 == 0)
        work->files = mem_realloc(work->files, work->n_files + 1024, sizeof(*work->files));
    work->files[work->n_files++] = (struct candidate){mem_strdup(path), section};
}

static void find_by_pattern(struct work *work, const struct job_watch *watch)
{
    for (size_t i = 0; i < watch->files.n; i++) {
        glob_t found = {0};

        if (glob(watch->files.items[i], GLOB_NOSORT, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc && work->n_files < JOB_MAX_WATCHED; k++)
                add_candidate(work, found.gl_pathv[k], watch->section);
        globfree(&found);
    }
}

static void find_by_name(struct work *work, const struct job_watch *watch, const char *path)
{
    for (size_t i = 0; i < watch->files.n; i++)
        if (fnmatch(watch->files.items[i], path, FNM_PATHNAME | FNM_PERIOD) == 0) {
            add_candidate(work, path, watch->section);
            return;
        }
}

/* A file that fits several patterns counts once, for the section that comes first. */
static void find_files(struct work *work)
{
    const struct job_scan *job = work->job;
    size_t kept = 0;

    for (size_t i = 0; i < job->n_watches; i++) {
        if (!job->only.n)
            find_by_pattern(work, &job->watches[i]);
        for (size_t k = 0; k < job->only.n; k++)
            find_by_name(work, &job->watches[i], job->only.items[k]);
    }
    if (!work->n_files)
        return;
    qsort(work->files, work->n_files, sizeof(*work->files), by_path);
    for (size_t i = 1; i < work->n_files; i++) {
        if (strcmp(work->files[kept].path, work->files[i].path) == 0)
            free(work->files[i].path);
        else
            work->files[++kept] = work->files[i];
    }
    work->n_files = kept + 1;
}

/* --- one file --- */

/* FNV-1a: two states of a file must differ, nobody gains by making them equal. */
static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 0x100000001b3;
    return hash;
}

#define MIX_START 0xcbf29ce484222325

static uint64_t mark_of(const struct stat *st)
{
    const uint64_t facts[] = {st->st_dev, st->st_ino, (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec,
        (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec};
    uint64_t hash = mix(MIX_START, facts, sizeof(facts));

    return hash ? hash : 1;
}

static char *shown(const char *text)
{
    return printable(text, strlen(text), MAX_TEXT);
}

static struct job_seen_file *add_file(struct work *work, const char *section, const char *path, uint64_t mark)
{
    struct job_seen_file *file = MEM_APPEND(work->result->files, work->result->n_files);

    *file = (struct job_seen_file){.section = mem_strdup_opt(section), .path = mem_strdup(path), .mark = mark};
    work->text += strlen(path) + (section ? strlen(section) : 0) + 64;
    return file;
}

static void add_certificate(struct work *work, struct job_seen_file *file, const struct glance *seen)
{
    *MEM_APPEND(file->certificates, file->n_certificates) = (struct job_seen){.subject = shown(seen->subject),
        .serial = shown(seen->serial),
        .thumbprint = mem_strdup(seen->sha256),
        .not_before = seen->not_before,
        .not_after = seen->not_after};
    work->text += strlen(seen->subject) + strlen(seen->serial) + 256;
}

static void set_error(struct job_seen_file *file, const char *text)
{
    free(file->error);
    file->error = shown(text);
}

/* PFX ::= SEQUENCE { version INTEGER (3), ... } [RFC 7292] 4 */
static bool is_pkcs12(const struct bytes *data)
{
    size_t at;

    if (data->len < 8 || data->data[0] != 0x30)
        return false;
    at = 2 + (data->data[1] & 0x80 ? data->data[1] & 0x7fu : 0);
    return at + 3 <= data->len && memcmp(data->data + at, "\x02\x01\x03", 3) == 0;
}

static bool is_pem(const struct bytes *data)
{
    return memmem(data->data, data->len, "-----BEGIN ", strlen("-----BEGIN ")) != NULL;
}

static void read_certificates(struct work *work, struct job_seen_file *file, const struct bytes *data)
{
    CLEANUP(glance_list_clear) struct glance_list list = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    if (!data->len)
        err_set(&err, ERR_INVALID, "the file is empty");
    else if (is_pem(data))
        (void)glance_pem(bytes_text(data), data->len, JOB_MAX_SEEN_FILE - file->n_certificates, &list, &err);
    else if (is_pkcs12(data))
        err_set(&err, ERR_INVALID, "PKCS#12: nobody can look into it without its password");
    else if (file->n_certificates < JOB_MAX_SEEN_FILE)
        (void)glance_der(data->data, data->len, &list, &err);
    if (err)
        set_error(file, err_text(err));
    for (size_t i = 0; i < list.n; i++)
        add_certificate(work, file, &list.items[i]);
}

static void read_file(struct work *work, struct job_seen_file *file, const struct stat *st)
{
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    int r;

    if (!S_ISREG(st->st_mode)) {
        set_error(file, "this is no regular file");
        return;
    }
    if (st->st_size > (off_t)MAX_FILE) {
        set_error(file, "the file is larger than 1 MiB");
        return;
    }
    r = file_read(file->path, MAX_FILE, &data, &err);
    if (r == FILE_READ)
        read_certificates(work, file, &data);
    else
        set_error(file, r == FILE_MISSING ? "the file has gone while it was looked at" : err_text(err));
}

/* One that cannot even be looked at, such as a link that leads nowhere, is told of as such once. */
static void look_at_broken(struct work *work, const struct candidate *c, int why)
{
    CLEANUP(mem_freep) char *text = mem_printf("it cannot be looked at: %s", strerror(why));
    struct stat st;
    uint64_t mark;

    if (lstat(c->path, &st) < 0)
        return;
    mark = mark_of(&st) ^ (uint64_t)why;
    if (known_mark(work, c->path) != mark)
        set_error(add_file(work, c->section, c->path, mark), text);
}

static void look_at_file(struct work *work, const struct candidate *c)
{
    struct stat st;
    uint64_t mark;

    if (stat(c->path, &st) < 0) {
        look_at_broken(work, c, errno);
        return;
    }
    if (S_ISDIR(st.st_mode))
        return;
    mark = mark_of(&st);
    if (known_mark(work, c->path) != mark)
        read_file(work, add_file(work, c->section, c->path, mark), &st);
}

/* Files that were not reached are neither new nor gone; they are next. */
static bool page_is_full(const struct work *work)
{
    return work->result->n_files >= MAX_PAGE || work->text >= MAX_PAGE_TEXT;
}

/* --- the token --- */

static bool is_in_token(const char *path)
{
    return strncmp(path, "pkcs11:", strlen("pkcs11:")) == 0;
}

static int certificate_by_uri(const void *a, const void *b)
{
    const struct token_certificate *x = a, *y = b;
    int r = strcmp(x->uri, y->uri);

    if (r == 0)
        r = memcmp(x->der.data, y->der.data, x->der.len < y->der.len ? x->der.len : y->der.len);
    return r;
}

/* Those with one URI count as one file. */
static void look_at_objects(struct work *work, const struct token_certificate *items, size_t n)
{
    uint64_t mark = MIX_START;
    struct job_seen_file *file;

    for (size_t i = 0; i < n; i++)
        mark = mix(mark, items[i].der.data, items[i].der.len);
    if (known_mark(work, items[0].uri) == mark)
        return;
    file = add_file(work, NULL, items[0].uri, mark);
    for (size_t i = 0; i < n; i++)
        read_certificates(work, file, &items[i].der);
}

static int look_at_token(struct work *work, struct err **errp)
{
    CLEANUP(place_close) struct place place = {.job = &work->job->place};
    CLEANUP(token_certificates_clear) struct token_certificates list = {0};
    struct token *token;

    if (place_token(&place, &token, errp) < 0 || key_token_certificates(token, NULL, &list, errp) < 0)
        return -1;
    if (list.n)
        qsort(list.items, list.n, sizeof(*list.items), certificate_by_uri);
    for (size_t i = 0, n; i < list.n; i += n) {
        for (n = 1; i + n < list.n && strcmp(list.items[i].uri, list.items[i + n].uri) == 0; n++)
            ;
        if (!key_id_is_ours(&list.items[i].id, work->job->place.tag.data) && strlen(list.items[i].uri) <= JOB_MAX_PATH)
            look_at_objects(work, &list.items[i], n);
    }
    return 0;
}

/* A token that is not there hides nothing of what is in files; what was seen in it is kept. */
static void look_at_tokens(struct work *work, struct channel *daemon)
{
    CLEANUP(err_freep) struct err *err = NULL;

    if (look_at_token(work, &err) == 0)
        return;
    channel_progress(daemon, "the token is left out: %s", err_text(err));
    for (size_t i = 0; i < work->job->n_known; i++)
        if (is_in_token(work->known[i]->path))
            work->seen[i] = true;
}

int scan(struct job_scan *job, struct channel *daemon, struct job_scanned *result, struct err **errp)
{
    CLEANUP(work_clear) struct work work = {.job = job, .result = result};

    (void)errp;
    sort_known(&work);
    find_files(&work);
    channel_progress(daemon, "looking at %zu files", work.n_files);
    for (size_t i = 0; i < work.n_files; i++) {
        if (page_is_full(&work)) {
            result->more = true;
            return 0;
        }
        look_at_file(&work, &work.files[i]);
    }
    if (job->tokens && !job->only.n)
        look_at_tokens(&work, daemon);
    for (size_t i = 0; i < job->n_known; i++)
        if (!work.seen[i])
            strlist_add(&result->gone, work.known[i]->path);
    if (work.unnamable)
        channel_progress(daemon, "left out: %zu files whose names are no UTF-8 or too long", work.unnamable);
    return 0;
}
