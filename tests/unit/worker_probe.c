#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/pki_fixture.h"
#include "tests/testing.h"
#include "tests/worker_fixture.h"

/* A service for one connection, and a worker that looks at it. */
struct scene {
    struct worker_fixture *worker;
    EVP_PKEY *key;
    struct cert *cert;
    int listener;
    unsigned port;
    pid_t service;
    struct job_probe job;
    struct worker_run run;
};

static void scene_start(struct scene *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    s->worker = worker_fixture_new();
    s->key = pki_key("P-256");
    s->cert = pki_cert(&(struct pki_cert_spec){.subject = "CN=service", .key = s->key, .serial = 5});
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
}

/* In a process of its own: says @prelude line by line, hearing a line after each but the last, then TLS. */
static void serve(struct scene *s, const char *const *prelude, size_t n, int verify)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl;
    char heard[200];
    int fd;

    assert_true(ctx && SSL_CTX_use_certificate(ctx, s->cert->x509) == 1 && SSL_CTX_use_PrivateKey(ctx, s->key) == 1);
    SSL_CTX_set_verify(ctx, verify, NULL);
    (void)fflush(NULL);
    s->service = fork();
    if (s->service) {
        SSL_CTX_free(ctx);
        return;
    }
    (void)alarm(30);
    fd = accept(s->listener, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        if (write(fd, prelude[i], strlen(prelude[i])) < 0 || (i + 1 < n && read(fd, heard, sizeof(heard)) <= 0))
            _exit(1);
    ssl = SSL_new(ctx);
    (void)SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) != 1)
        _exit(2);
    _exit(SSL_read(ssl, heard, sizeof(heard)) > 0 ? 3 : 0); /* it was shown something of ours */
}

static int service_status(struct scene *s)
{
    int status;

    assert_int_equal(waitpid(s->service, &status, 0), s->service);
    s->service = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void probe_at(struct scene *s, const char *prefix, const char *thumbprint)
{
    s->job.target = mem_printf("%s127.0.0.1:%u", prefix, s->port);
    s->job.thumbprint = mem_strdup(thumbprint);
    worker_fixture_run(s->worker, JOB_PROBE, &s->job, WORKER_RUN_THROUGH, &s->run);
}

static void assert_saw(const struct scene *s)
{
    if (!s->run.done)
        fail_msg("%s", err_text(s->run.failure));
    assert_string_equal(s->run.probed.thumbprint, s->cert->sha256);
    assert_string_equal(s->run.probed.subject, "CN=service");
    assert_int_equal(s->run.probed.not_after, s->cert->not_after);
}

static void scene_clear(struct scene *s)
{
    if (s->service > 0)
        (void)kill(s->service, SIGKILL);
    (void)close(s->listener);
    worker_run_clear(&s->run);
    job_probe_clear(&s->job);
    cert_free(s->cert);
    EVP_PKEY_free(s->key);
}

TEST(probe_sees_the_certificate_that_a_service_presents_and_shows_it_nothing)
{
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    serve(&s, NULL, 0, SSL_VERIFY_NONE);
    probe_at(&s, "", s.cert->sha256);
    assert_saw(&s);
    assert_true(s.run.probed.matches);
    assert_int_equal(service_status(&s), 0);
}

TEST(probe_tells_another_certificate_from_the_one_that_is_expected)
{
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    serve(&s, NULL, 0, SSL_VERIFY_NONE);
    probe_at(&s, "", "00");
    assert_saw(&s);
    assert_false(s.run.probed.matches);
}

TEST(probe_sees_the_certificate_of_a_service_that_wants_one_of_ours)
{
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    serve(&s, NULL, 0, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    probe_at(&s, "", s.cert->sha256);
    assert_saw(&s);
    assert_true(s.run.probed.matches);
}

TEST(probe_asks_a_mail_server_for_tls_first)
{
    static const char *const smtp[] = {
        "220-mail.example\r\n220 ready\r\n", "250-mail.example\r\n250-STARTTLS\r\n250 OK\r\n", "220 go ahead\r\n"};
    static const char *const imap[] = {"* OK [CAPABILITY IMAP4rev1] ready\r\n", "* noise\r\na OK begin\r\n"};
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    serve(&s, smtp, ARRAY_SIZE(smtp), SSL_VERIFY_NONE);
    probe_at(&s, "smtp:", s.cert->sha256);
    assert_saw(&s);
    assert_int_equal(service_status(&s), 0);
    worker_run_clear(&s.run);
    job_probe_clear(&s.job);
    serve(&s, imap, ARRAY_SIZE(imap), SSL_VERIFY_NONE);
    probe_at(&s, "imap:", s.cert->sha256);
    assert_saw(&s);
}

TEST(probe_says_what_a_service_said_that_does_not_begin_tls)
{
    static const char *const smtp[] = {"220 ready\r\n", "250 OK\r\n", "454 not now\r\n"};
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    serve(&s, smtp, ARRAY_SIZE(smtp), SSL_VERIFY_NONE);
    probe_at(&s, "smtp:", "00");
    assert_int_equal(err_kind(s.run.failure), ERR_TLS);
    assert_contains(err_text(s.run.failure), "it said '454 not now");
}

TEST(probe_tells_a_service_that_is_not_there_from_a_target_that_is_none)
{
    static const char *const none[] = {"localhost", "::1:443", "host:https", ":443", "[::1]", "smtp:host", "a b"};
    CLEANUP(scene_clear) struct scene s = {0};

    scene_start(&s);
    (void)close(s.listener);
    probe_at(&s, "", "00");
    assert_int_equal(err_kind(s.run.failure), ERR_NETWORK);
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        worker_run_clear(&s.run);
        free(s.job.target);
        s.job.target = mem_strdup(none[i]);
        worker_fixture_run(s.worker, JOB_PROBE, &s.job, WORKER_RUN_THROUGH, &s.run);
        assert_int_equal(err_kind(s.run.failure), ERR_CONFIG);
        assert_non_null(err_hint_text(s.run.failure));
    }
}
