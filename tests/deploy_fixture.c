#include "tests/deploy_fixture.h"

#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/file.h"

#define KEY_ID "41454e31000000000000000000000000000000%02x"

static void make_dir(const char *path, mode_t mode)
{
    assert_int_equal(mkdir(path, mode), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static char *beneath(const struct deploy_fixture *f, const char *path)
{
    return mem_printf("%s/%s", f->dir, path);
}

static void make_dirs(struct deploy_fixture *f)
{
    static const struct {
        const char *path;
        mode_t mode;
    } dirs[] = {{"state", 0711}, {"state/public", 0755}, {"state/public/certs", 0755}, {"state/public/certs/web", 0755},
        {"state/token", 0700}, {"state/token/keys", 0700}, {"target", 0755}};

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        CLEANUP(mem_freep) char *path = beneath(f, dirs[i].path);

        make_dir(path, dirs[i].mode);
    }
}

void deploy_fixture_init(struct deploy_fixture *f)
{
    struct pki_cert_spec spec = {.subject = "CN=Test CA",
        .ca = true,
        .serial = 1,
        .not_before = PKI_NOW - 31536000,
        .not_after = PKI_NOW + 31536000};
    CLEANUP(mem_freep) char *anchor = NULL;

    *f = (struct deploy_fixture){.dir = testing_tmpdir()};
    assert_int_equal(chmod(f->dir, 0755), 0);
    make_dirs(f);
    f->state = beneath(f, "state");
    f->config = beneath(f, "autoenroll.conf");
    f->results = beneath(f, "results");
    f->target = beneath(f, "target");
    f->home = beneath(f, "state/public/certs/web");
    f->ca_key = spec.key = pki_key("P-256");
    f->ca = pki_cert(&spec);
    anchor = beneath(f, "ca.pem");
    pki_write_cert(f->ca, anchor);
    deploy_fixture_section(f, "", "");
}

void deploy_fixture_clear(struct deploy_fixture *f)
{
    char *const texts[] = {f->dir, f->state, f->config, f->results, f->target, f->home};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    EVP_PKEY_free(f->ca_key);
    EVP_PKEY_free(f->key);
    cert_free(f->ca);
    cert_free(f->cert);
    bytes_clear(&f->out);
}

void deploy_fixture_section(struct deploy_fixture *f, const char *agent, const char *lines)
{
    CLEANUP(mem_freep)
    char *text = mem_printf("[agent]\n%s"
                            "[policy-server \"corp\"]\n"
                            "uri = https://pki.example/CEP\n"
                            "auth = certificate\n"
                            "ca-file = %s/ca.pem\n"
                            "[certificate \"web\"]\n"
                            "policy-server = corp\n"
                            "template = WebServer\n%s",
        agent, f->dir, lines);

    testing_write(f->config, text, strlen(text));
}

static void put(const char *dir, const char *name, const void *data, size_t len)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);

    testing_write(path, data, len);
    assert_int_equal(chmod(path, 0644), 0);
}

static void put_certificates(struct deploy_fixture *f, const char *dir)
{
    CLEANUP(bytes_clear) struct bytes leaf = {0}, chain = {0}, full = {0};

    assert_int_equal(cert_to_pem(f->cert, &leaf, NULL), 0);
    assert_int_equal(cert_to_pem(f->ca, &chain, NULL), 0);
    assert_int_equal(bytes_printf(&full, NULL, "%s%s", bytes_text(&leaf), bytes_text(&chain)), 0);
    put(dir, "cert.pem", leaf.data, leaf.len);
    put(dir, "chain.pem", chain.data, chain.len);
    put(dir, "fullchain.pem", full.data, full.len);
}

/* The way in which the daemon writes where a key is, and where the worker puts a key file. */
static void put_key(struct deploy_fixture *f, const char *dir, bool file)
{
    CLEANUP(mem_freep) char *id = mem_printf(KEY_ID, f->generation);
    CLEANUP(mem_freep) char *path = mem_printf("%s/token/keys/%s.pem", f->state, id);
    CLEANUP(mem_freep)
    char *text = file ? mem_printf("%s\n", path)
                      : mem_printf("pkcs11:token=autoenroll;id=%%41%%45%%%02x;type=private\n", f->generation);

    put(dir, "key.uri", text, strlen(text));
    if (file)
        pki_write_key(f->key, path);
}

void deploy_fixture_publish(struct deploy_fixture *f, bool file)
{
    struct pki_cert_spec spec = {
        .subject = "CN=web.example", .issuer = f->ca, .issuer_key = f->ca_key, .serial = 100 + (long)f->generation};
    CLEANUP(mem_freep) char *number = mem_printf("%u", ++f->generation);
    CLEANUP(mem_freep) char *dir = mem_printf("%s/%s", f->home, number);
    CLEANUP(mem_freep) char *installed = mem_printf("%s/installed", f->home);
    CLEANUP(mem_freep) char *changed = mem_printf("%s/public/changed", f->state);

    EVP_PKEY_free(f->key);
    cert_free(f->cert);
    f->key = spec.key = pki_key("P-256");
    f->cert = pki_cert(&spec);
    make_dir(dir, 0755);
    put_certificates(f, dir);
    put_key(f, dir, file);
    assert_int_equal(file_replace_link(installed, number, NULL), 0);
    assert_int_equal(file_replace(changed, "\n", 1, 0644, NULL), 0);
}

int deploy_fixture_run(struct deploy_fixture *f, const char *arguments)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll-deploy");

    return testing_shell(&f->out, "'%s' --config '%s' --state-dir '%s' --results '%s' %s 2>&1", program, f->config,
        f->state, f->results, arguments);
}

void deploy_fixture_expect(struct deploy_fixture *f, const char *arguments, int status)
{
    int got = deploy_fixture_run(f, arguments);

    if (got != status)
        fail_msg("status %d instead of %d:\n%s", got, status, bytes_text(&f->out));
}

void deploy_fixture_result(struct deploy_fixture *f, struct deploy_result *out)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/web.json", f->results);
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    deploy_result_clear(out);
    testing_read(path, &text);
    assert_ok(deploy_result_read(&text, out, &err) == 0, err);
}

void deploy_fixture_assert_placed(struct deploy_fixture *f)
{
    CLEANUP(bytes_clear) struct bytes thumbprint = {0};

    assert_int_equal(
        testing_shell(&thumbprint,
            "openssl x509 -in '%s/fullchain.pem' -outform DER | sha256sum | cut -c1-64 | tr -d '\\n'", f->target),
        0);
    assert_string_equal(bytes_text(&thumbprint), f->cert->sha256);
    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && openssl verify -attime %lld -CAfile ../ca.pem -untrusted chain.pem cert.pem "
            ">/dev/null && cat cert.pem chain.pem | cmp - fullchain.pem && "
            "test \"$(openssl pkey -in key.pem -pubout)\" = \"$(openssl x509 -in cert.pem -noout -pubkey)\"",
            f->target, (long long)PKI_NOW),
        0);
}
