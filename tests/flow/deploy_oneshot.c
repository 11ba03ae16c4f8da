#include <sys/stat.h>

#include "tests/oneshot_fixture.h"

/* One walk does all of it, where nothing else starts autoenroll-deploy: a container, a first boot, an ordinary user. */
struct deployed {
    struct oneshot s;
    char *dir;       /* what is exported */
    char *arguments; /* of every run */
};

static void deployed_clear(struct deployed *d)
{
    oneshot_clear(&d->s);
    free(d->dir);
    free(d->arguments);
}

static void start(struct deployed *d, const char *more)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll-deploy");
    CLEANUP(mem_freep) char *lines = NULL;

    d->s.server = server_fixture_new(NULL);
    oneshot_template(&d->s, "PrivateKeyFlags", "0x4040010"); /* keys may be let out */
    oneshot_start(&d->s);
    d->dir = mem_printf("%s/exported", d->s.agent->dir);
    d->arguments = mem_printf("--deploy '%s'", program);
    assert_int_equal(mkdir(d->dir, 0755), 0);
    lines = mem_printf("key = file\nexport = %s\n%s", d->dir, more);
    agent_fixture_section(d->s.agent, "web", "DeviceEC", lines);
}

static void run(struct deployed *d, const char *more)
{
    CLEANUP(mem_freep) char *all = mem_printf("%s %s", d->arguments, more);

    oneshot_run(&d->s, all, 0);
}

/* openssl's word: what is exported is the certificate on record, with its key and a chain to the server's root. */
static void assert_exported(struct deployed *d, uint32_t generation)
{
    const struct record *record = oneshot_record(&d->s, "web");
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(record->current.generation, generation);
    assert_int_equal(
        testing_shell(&out,
            "cd '%s' && openssl verify -CAfile '%s' -untrusted chain.pem cert.pem >/dev/null && test "
            "\"$(openssl pkey -in key.pem -pubout)\" = \"$(openssl x509 -in cert.pem -noout -pubkey)\" && cat "
            "cert.pem chain.pem | cmp - fullchain.pem && test $(stat -c %%a key.pem) = 600 && openssl x509 -in "
            "cert.pem -outform DER | sha256sum | cut -c1-64 | tr -d '\\n'",
            d->dir, d->s.server->trust),
        0);
    assert_string_equal(bytes_text(&out), record->current.facts.thumbprint);
}

TEST(walk_has_its_certificate_exported_and_after_a_renewal_the_new_one)
{
    CLEANUP(deployed_clear) struct deployed d = {0};

    start(&d, "");
    run(&d, "");
    assert_exported(&d, 1);
    run(&d, "--renew web");
    assert_exported(&d, 2);
    run(&d, "");
    assert_true(oneshot_record(&d.s, "web")->hook.ok);
    assert_contains(oneshot_record(&d.s, "web")->hook.text, "generation 2 is in ");
}

TEST(walk_remembers_that_a_program_failed)
{
    CLEANUP(deployed_clear) struct deployed d = {0};

    start(&d, "run = /bin/false\n");
    run(&d, "");
    assert_exported(&d, 1); /* the files are in place all the same */
    run(&d, "");
    assert_false(oneshot_record(&d.s, "web")->hook.ok);
    assert_contains(oneshot_record(&d.s, "web")->hook.text, "/false ended with status 1");
}
