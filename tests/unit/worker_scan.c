#include <sys/stat.h>
#include <unistd.h>

#include "agent/key/key_token.h"
#include "agent/key/token_softhsm.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"
#include "tests/worker_fixture.h"

/* A directory with certificates that somebody else manages, and a worker that looks at it. */
struct scene {
    struct worker_fixture *worker;
    char *dir;
    EVP_PKEY *key;
    struct cert *a, *b;
    struct job_scan job;
    struct worker_run run;
};

static char *in_dir(const struct scene *s, const char *name)
{
    return mem_printf("%s/%s", s->dir, name);
}

static void write_certs(const struct scene *s, const char *name, const struct cert *first, const struct cert *second)
{
    CLEANUP(mem_freep) char *path = in_dir(s, name);
    CLEANUP(bytes_clear) struct bytes text = {0};

    assert_int_equal(cert_to_pem(first, &text, NULL), 0);
    if (second)
        assert_int_equal(cert_to_pem(second, &text, NULL), 0);
    testing_write(path, text.data, text.len);
}

static void write_bytes(const struct scene *s, const char *name, const void *data, size_t len)
{
    CLEANUP(mem_freep) char *path = in_dir(s, name);

    testing_write(path, data, len);
}

static void scene_start(struct scene *s)
{
    CLEANUP(mem_freep) char *pattern = NULL;
    struct job_watch *watch = MEM_APPEND(s->job.watches, s->job.n_watches);

    s->worker = worker_fixture_new();
    s->dir = testing_tmpdir();
    s->key = pki_key("P-256");
    s->a = pki_cert(&(struct pki_cert_spec){.subject = "CN=a", .key = s->key, .serial = 0xa});
    s->b = pki_cert(&(struct pki_cert_spec){.subject = "CN=b", .key = s->key, .serial = 0xb});
    pattern = in_dir(s, "*.pem");
    watch->section = mem_strdup("haproxy");
    strlist_add(&watch->files, pattern);
    worker_fixture_place(s->worker, &s->job.place);
}

static void scene_clear(struct scene *s)
{
    worker_run_clear(&s->run);
    job_scan_clear(&s->job);
    cert_free(s->a);
    cert_free(s->b);
    EVP_PKEY_free(s->key);
    free(s->dir);
}

static const struct job_scanned *scan_now(struct scene *s)
{
    worker_run_clear(&s->run);
    worker_fixture_run(s->worker, JOB_SCAN, &s->job, WORKER_RUN_THROUGH, &s->run);
    if (!s->run.done)
        fail_msg("%s", err_text(s->run.failure));
    return &s->run.scanned;
}

/* What the next scan knows is what this one found. */
static void remember(struct scene *s)
{
    const struct job_scanned *scanned = &s->run.scanned;

    for (size_t i = 0; i < scanned->n_files; i++)
        *MEM_APPEND(s->job.known, s->job.n_known) =
            (struct job_known){.path = mem_strdup(scanned->files[i].path), .mark = scanned->files[i].mark};
}

static const struct job_seen_file *file_named(const struct scene *s, const char *name)
{
    CLEANUP(mem_freep) char *path = in_dir(s, name);

    for (size_t i = 0; i < s->run.scanned.n_files; i++)
        if (strcmp(s->run.scanned.files[i].path, path) == 0)
            return &s->run.scanned.files[i];
    fail_msg("%s was not told of", path);
    return NULL;
}

TEST(scan_reads_each_certificate_of_a_file_in_pem_or_der)
{
    CLEANUP(scene_clear) struct scene s = {0};
    const struct job_seen_file *file;

    scene_start(&s);
    write_certs(&s, "both.pem", s.a, s.b);
    write_bytes(&s, "der.pem", s.b->der.data, s.b->der.len);
    write_certs(&s, "other.txt", s.a, NULL);
    assert_int_equal(scan_now(&s)->n_files, 2);
    file = file_named(&s, "both.pem");
    assert_string_equal(file->section, "haproxy");
    assert_null(file->error);
    assert_int_equal(file->n_certificates, 2);
    assert_string_equal(file->certificates[0].subject, "CN=a");
    assert_string_equal(file->certificates[1].serial, "0b");
    assert_string_equal(file->certificates[1].thumbprint, s.b->sha256);
    assert_int_equal(file->certificates[1].not_after, s.b->not_after);
    assert_string_equal(file_named(&s, "der.pem")->certificates[0].subject, "CN=b");
}

TEST(scan_passes_over_what_it_knows_and_tells_what_has_gone)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *a = NULL;

    scene_start(&s);
    a = in_dir(&s, "a.pem");
    write_certs(&s, "a.pem", s.a, NULL);
    write_certs(&s, "b.pem", s.b, NULL);
    assert_int_equal(scan_now(&s)->n_files, 2);
    remember(&s);
    assert_int_equal(scan_now(&s)->n_files, 0);
    assert_int_equal(s.run.scanned.gone.n, 0);
    write_certs(&s, "b.pem", s.a, NULL);
    assert_int_equal(unlink(a), 0);
    assert_int_equal(scan_now(&s)->n_files, 1);
    assert_string_equal(file_named(&s, "b.pem")->certificates[0].subject, "CN=a");
    assert_int_equal(s.run.scanned.gone.n, 1);
    assert_string_equal(s.run.scanned.gone.items[0], a);
}

TEST(scan_looks_at_named_paths_only_where_it_is_told_so)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *b = NULL;

    scene_start(&s);
    b = in_dir(&s, "b.pem");
    write_certs(&s, "a.pem", s.a, NULL);
    write_certs(&s, "b.pem", s.b, NULL);
    strlist_add(&s.job.only, b);
    strlist_add(&s.job.only, "/etc/passwd"); /* no pattern fits it */
    assert_int_equal(scan_now(&s)->n_files, 1);
    remember(&s);
    assert_int_equal(unlink(b), 0);
    assert_int_equal(scan_now(&s)->n_files, 0);
    assert_int_equal(s.run.scanned.gone.n, 1);
}

TEST(scan_tells_of_a_file_why_it_has_no_certificate)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *key = NULL;
    CLEANUP(mem_freep) char *fifo = NULL;
    CLEANUP(mem_freep) char *link = NULL;
    CLEANUP(mem_freep) char *directory = NULL;
    CLEANUP(mem_freep) char *large = NULL;

    scene_start(&s);
    key = in_dir(&s, "key.pem");
    fifo = in_dir(&s, "fifo.pem");
    link = in_dir(&s, "link.pem");
    directory = in_dir(&s, "directory.pem");
    large = in_dir(&s, "large.pem");
    pki_write_key(s.key, key);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("nowhere", link), 0);
    assert_int_equal(mkdir(directory, 0700), 0);
    write_bytes(&s, "empty.pem", "", 0);
    write_bytes(&s, "junk.pem", "junk", 4);
    write_bytes(&s, "large.pem", "x", 1);
    assert_int_equal(truncate(large, 2 << 20), 0);
    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=x 2>/dev/null "
            "&& openssl pkcs12 -export -inkey k -in c -out p12.pem -passout pass:x",
            s.dir),
        0);
    assert_int_equal(scan_now(&s)->n_files, 7); /* a directory is none */
    assert_contains(file_named(&s, "key.pem")->error, "no BEGIN CERTIFICATE in it");
    assert_contains(file_named(&s, "fifo.pem")->error, "no regular file");
    assert_contains(file_named(&s, "link.pem")->error, "No such file");
    assert_contains(file_named(&s, "empty.pem")->error, "empty");
    assert_contains(file_named(&s, "p12.pem")->error, "PKCS#12");
    assert_contains(file_named(&s, "large.pem")->error, "larger than 1 MiB");
    assert_non_null(file_named(&s, "junk.pem")->error);
    remember(&s);
    assert_int_equal(scan_now(&s)->n_files, 0); /* each is told of once */
}

TEST(scan_answers_in_pages)
{
    CLEANUP(scene_clear) struct scene s = {0};
    size_t pages = 1;

    scene_start(&s);
    for (int i = 0; i < 4500; i++) {
        CLEANUP(mem_freep) char *name = mem_printf("%d.pem", i);

        write_bytes(&s, name, s.a->der.data, s.a->der.len);
    }
    while (scan_now(&s)->more) {
        assert_int_equal(s.run.scanned.gone.n, 0);
        remember(&s);
        pages++;
    }
    remember(&s);
    assert_int_equal(pages, 2);
    assert_int_equal(s.job.n_known, 4500);
}

TEST(scan_tells_of_certificates_in_the_token_that_are_not_ours)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(token_closep) struct token *token = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(bytes_clear) struct bytes ours = {0};
    CLEANUP(bytes_clear) struct bytes theirs = {0};
    struct token_place place = {.uri = "pkcs11:token=autoenroll", .is_ours = true};

    scene_start(&s);
    place.state_dir = s.worker->token_dir;
    assert_ok(token_softhsm_create(s.worker->token_dir, "autoenroll", &module, &pin, &err) == 0, err);
    place.module = module;
    assert_ok(token_open(&place, pin, &token, &err) == 0, err);
    key_new_id(s.worker->tag, &ours);
    bytes_set(&theirs, "\x01\x02", 2);
    assert_ok(key_token_put_certificate(token, &ours, "web", &s.a->der, &err) == 0, err);
    assert_ok(key_token_put_certificate(token, &theirs, "vpn", &s.b->der, &err) == 0, err);
    assert_int_equal(scan_now(&s)->n_files, 0);
    s.job.tokens = true;
    assert_int_equal(scan_now(&s)->n_files, 1);
    assert_null(s.run.scanned.files[0].section);
    assert_string_equal(s.run.scanned.files[0].path, "pkcs11:token=autoenroll;id=%01%02;type=cert");
    assert_string_equal(s.run.scanned.files[0].certificates[0].subject, "CN=b");
    remember(&s);
    assert_int_equal(scan_now(&s)->n_files, 0);
    free(s.job.place.token_uri);
    s.job.place.token_uri = mem_strdup("pkcs11:token=elsewhere"); /* hides nothing of what is known of it */
    s.job.place.module = mem_strdup(module);
    assert_int_equal(scan_now(&s)->gone.n, 0);
    assert_contains(bytes_text(&s.run.progress), "the token is left out");
    s.job.tokens = false;
    assert_int_equal(scan_now(&s)->gone.n, 1);
}
