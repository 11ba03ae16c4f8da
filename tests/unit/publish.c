#include "agent/daemon/publish.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"

struct pairs {
    struct job_pair pair;
    struct job_facts facts;
    char *pem; /* as openssl wrote it */
};

static void pairs_clear(struct pairs *p)
{
    job_pair_clear(&p->pair);
    job_facts_clear(&p->facts);
    free(p->pem);
}

/* A certificate that openssl made, and a chain of one more. */
static void make_pair(const char *dir, const char *name, struct pairs *out)
{
    CLEANUP(bytes_clear) struct bytes pem = {0};

    *out = (struct pairs){0};
    assert_int_equal(testing_shell(&pem,
                         "cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
                         "k.pem -subj '/CN=%s' -out c.pem 2>/dev/null && openssl x509 -in c.pem",
                         dir, name),
        0);
    out->pem = mem_strdup(bytes_text(&pem));
    assert_int_equal(testing_shell(&out->pair.certificate, "openssl x509 -in '%s/c.pem' -outform DER", dir), 0);
    bytes_set(&out->pair.chain, pem.data, pem.len);
    out->facts.key_uri = mem_printf("pkcs11:token=autoenroll;object=%s", name);
}

static void publish(const char *dir, uint32_t generation, const struct pairs *p)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(publish_generation(dir, "web", generation, &p->pair, &p->facts, &err) == 0, err);
}

static void file_holds(const char *dir, const char *name, const char *text)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/web/%s", dir, name);
    CLEANUP(bytes_clear) struct bytes content = {0};

    testing_read(path, &content);
    assert_string_equal(bytes_text(&content), text);
}

static mode_t mode_of(const char *dir, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/web/%s", dir, name);
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void current_is(const char *dir, const char *generation)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/web/current", dir);
    char target[64] = {0};

    assert_true(readlink(path, target, sizeof(target) - 1) > 0);
    assert_string_equal(target, generation);
}

static bool is_there(const char *dir, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/web/%s", dir, name);

    return access(path, F_OK) == 0;
}

TEST(publish_writes_what_openssl_would_write)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *work = testing_tmpdir();
    CLEANUP(pairs_clear) struct pairs p;
    CLEANUP(mem_freep) char *full = NULL;

    make_pair(work, "web", &p);
    publish(dir, 1, &p);
    full = mem_printf("%s%s", p.pem, bytes_text(&p.pair.chain));
    file_holds(dir, "current/cert.pem", p.pem);
    file_holds(dir, "current/chain.pem", bytes_text(&p.pair.chain));
    file_holds(dir, "current/fullchain.pem", full);
    file_holds(dir, "current/key.uri", "pkcs11:token=autoenroll;object=web\n");
    current_is(dir, "1");
}

TEST(publish_lets_everybody_read_and_only_us_write)
{
    static const char *const files[] = {"1/cert.pem", "1/chain.pem", "1/fullchain.pem", "1/key.uri"};
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *work = testing_tmpdir();
    CLEANUP(pairs_clear) struct pairs p;

    umask(077);
    make_pair(work, "web", &p);
    publish(dir, 1, &p);
    assert_int_equal(mode_of(dir, "."), 0755);
    assert_int_equal(mode_of(dir, "1"), 0755);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        assert_int_equal(mode_of(dir, files[i]), 0644);
}

TEST(publish_moves_current_and_keeps_the_old_generation)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *work = testing_tmpdir();
    CLEANUP(pairs_clear) struct pairs first, second;
    CLEANUP(err_freep) struct err *err = NULL;

    make_pair(work, "web", &first);
    publish(dir, 1, &first);
    make_pair(work, "web", &second);
    publish(dir, 2, &second);
    current_is(dir, "2");
    file_holds(dir, "1/cert.pem", first.pem);
    file_holds(dir, "current/cert.pem", second.pem);

    assert_ok(publish_remove(dir, "web", 1, &err) == 0, err);
    assert_false(is_there(dir, "1"));
    assert_ok(publish_remove(dir, "web", 1, &err) == 0, err);
    assert_ok(publish_remove(dir, "gone", 1, &err) == 0, err);
    file_holds(dir, "current/cert.pem", second.pem);
}

/* A crash may come after any step: the same again ends in the same place. */
TEST(publish_may_be_done_again)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *work = testing_tmpdir();
    CLEANUP(mem_freep) char *half = mem_printf("%s/web/1/cert.pem", dir), *left = mem_printf("%s/web/1/.x.new", dir);
    CLEANUP(pairs_clear) struct pairs p;

    make_pair(work, "web", &p);
    publish(dir, 1, &p);
    testing_write(half, "half", 4);
    testing_write(left, "left over", 9);
    publish(dir, 1, &p);
    file_holds(dir, "current/cert.pem", p.pem);
    current_is(dir, "1");
}

/* The files come first: when one of them cannot be written the old generation stays current. */
TEST(publish_moves_current_last)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *work = testing_tmpdir();
    CLEANUP(mem_freep) char *place = mem_printf("%s/web/2", dir), *in_the_way = mem_printf("%s/key.uri", place);
    CLEANUP(pairs_clear) struct pairs first, second;
    CLEANUP(err_freep) struct err *err = NULL;

    make_pair(work, "web", &first);
    publish(dir, 1, &first);
    make_pair(work, "web", &second);
    assert_int_equal(mkdir(place, 0755), 0);
    assert_int_equal(mkdir(in_the_way, 0755), 0); /* where the last file should be */
    assert_int_equal(publish_generation(dir, "web", 2, &second.pair, &second.facts, &err), -1);
    assert_int_equal(err_kind(err), ERR_STORE);
    assert_contains(err_text(err), "publishing the certificate of 'web'");
    assert_contains(err_text(err), "key.uri");
    current_is(dir, "1");
    file_holds(dir, "current/cert.pem", first.pem);
}

TEST(publish_does_not_follow_a_link_in_the_place_of_a_directory)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *work = testing_tmpdir(), *elsewhere = testing_tmpdir();
    CLEANUP(mem_freep) char *home = mem_printf("%s/web", dir);
    CLEANUP(pairs_clear) struct pairs p;
    CLEANUP(err_freep) struct err *err = NULL;

    make_pair(work, "web", &p);
    assert_int_equal(symlink(elsewhere, home), 0);
    assert_int_equal(publish_generation(dir, "web", 1, &p.pair, &p.facts, &err), -1);
    assert_contains(err_text(err), "it is no directory");
    assert_int_equal(rmdir(elsewhere), 0); /* nothing came there */
}

TEST(publish_takes_a_certificate_without_chain_or_key_uri)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir(), *work = testing_tmpdir();
    CLEANUP(pairs_clear) struct pairs p;

    make_pair(work, "web", &p);
    bytes_clear(&p.pair.chain);
    free(TAKE(p.facts.key_uri));
    publish(dir, 1, &p);
    file_holds(dir, "current/chain.pem", "");
    file_holds(dir, "current/fullchain.pem", p.pem);
    file_holds(dir, "current/key.uri", "\n");
}
