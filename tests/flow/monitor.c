#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/key/token_softhsm.h"
#include "protocol/base/when.h"
#include "tests/oneshot_fixture.h"
#include "tests/pki_fixture.h"

#define LIMIT_S 60 /* for whatever is waited for */

/* A daemon that runs without a bus; what it says goes to a file. */
struct scene {
    struct oneshot s;
    pid_t daemon;
    char *log, *metrics; /* paths */
};

static void scene_start(struct scene *scene)
{
    oneshot_start(&scene->s);
    scene->log = mem_printf("%s/log", scene->s.agent->dir);
    scene->metrics = mem_printf("%s/public/metrics/autoenroll.prom", scene->s.agent->state);
}

static void start_daemon(struct scene *scene)
{
    const struct agent_fixture *f = scene->s.agent;
    CLEANUP(mem_freep) char *program = testing_bin("autoenrolld");
    CLEANUP(mem_freep)
    char *line = mem_printf("exec env CREDENTIALS_DIRECTORY='%s' '%s' --bus none --config '%s' --state-dir '%s' %s "
                            ">>'%s' 2>&1",
        f->credentials, program, f->config, f->state, f->run_as ? "--run-as root --worker-as root" : "", scene->log);

    scene->daemon = fork();
    assert_true(scene->daemon >= 0);
    if (scene->daemon == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
}

static void stop_daemon(struct scene *scene)
{
    int status;

    assert_int_equal(kill(scene->daemon, SIGTERM), 0);
    assert_int_equal(waitpid(scene->daemon, &status, 0), scene->daemon);
    scene->daemon = 0;
    assert_int_equal(status, 0);
}

static void scene_clear(struct scene *scene)
{
    if (scene->daemon > 0) {
        (void)kill(scene->daemon, SIGKILL);
        (void)waitpid(scene->daemon, NULL, 0);
    }
    oneshot_clear(&scene->s);
    free(scene->log);
    free(scene->metrics);
}

static size_t count(const char *path, const char *needle)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    size_t n = 0;

    if (access(path, F_OK) < 0)
        return 0;
    testing_read(path, &text);
    for (const char *at = bytes_text(&text); (at = strstr(at, needle)); at += strlen(needle))
        n++;
    return n;
}

/* Until @needle stands @n times in the file. */
static void wait_for(const char *path, const char *needle, size_t n)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    for (int i = 0; i < LIMIT_S * 10; i++) {
        if (count(path, needle) >= n)
            return;
        (void)usleep(100000);
    }
    testing_read(path, &text);
    fail_msg("'%s' does not come %zu times; there is:\n%s", needle, n, bytes_text(&text));
}

/* A certificate that somebody else manages, of which this much is left. Returns its path, owned. */
static char *write_certificate(const struct scene *scene, const char *name, const char *subject, int64_t left)
{
    char *path = mem_printf("%s/%s.crt", scene->s.agent->dir, name);
    EVP_PKEY *key = pki_key("P-256");
    struct cert *cert = pki_cert(&(struct pki_cert_spec){.subject = subject,
        .key = key,
        .serial = 1,
        .not_before = when_now() - 300 * WHEN_DAY,
        .not_after = when_now() + left});
    CLEANUP(mem_freep) char *fresh = mem_printf("%s.new", path);

    pki_write_cert(cert, fresh);
    assert_int_equal(rename(fresh, path), 0);
    cert_free(cert);
    EVP_PKEY_free(key);
    return path;
}

static char *write_watched(const struct scene *scene, const char *name, int64_t left)
{
    CLEANUP(mem_freep) char *subject = mem_printf("CN=%s", name);

    return write_certificate(scene, name, subject, left);
}

static void watch_them(struct scene *scene)
{
    CLEANUP(mem_freep) char *text = mem_printf("[watch \"other\"]\nfiles = %s/*.crt\n", scene->s.agent->dir);

    agent_fixture_fragment(scene->s.agent, "watch", text);
}

TEST(expiry_of_a_watched_certificate_is_announced_once_also_over_a_restart)
{
    CLEANUP(scene_clear) struct scene scene = {0};
    CLEANUP(mem_freep) char *soon = NULL;
    CLEANUP(mem_freep) char *later = NULL;

    scene_start(&scene);
    watch_them(&scene);
    soon = write_watched(&scene, "soon", 2 * WHEN_DAY);
    later = write_watched(&scene, "later", 40 * WHEN_DAY);
    start_daemon(&scene);
    wait_for(scene.log, "soon.crt: the certificate CN=soon expires in ", 1);
    stop_daemon(&scene);
    start_daemon(&scene);
    wait_for(scene.log, "looking at 2 files", 2);
    wait_for(scene.metrics, "soon.crt", 2);
    stop_daemon(&scene);
    assert_int_equal(count(scene.log, "[expiring]"), 1);
}

TEST(watched_file_that_is_replaced_is_seen_without_a_pulse)
{
    CLEANUP(scene_clear) struct scene scene = {0};
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(mem_freep) char *again = NULL;
    CLEANUP(mem_freep) char *more = NULL;

    scene_start(&scene);
    watch_them(&scene);
    path = write_watched(&scene, "site", 40 * WHEN_DAY);
    start_daemon(&scene);
    wait_for(scene.metrics, "site.crt", 2);
    again = write_watched(&scene, "site", 20 * WHEN_DAY);
    wait_for(scene.log, "site.crt: the certificate CN=site expires in ", 1);
    more = write_watched(&scene, "more", 40 * WHEN_DAY);
    wait_for(scene.metrics, "more.crt", 2);
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < LIMIT_S * 10 && count(scene.metrics, "site.crt"); i++)
        (void)usleep(100000);
    assert_int_equal(count(scene.metrics, "site.crt"), 0);
    assert_int_equal(count(scene.log, "looking at 1 files"), 1 + 3); /* the first of all, and one for each change */
}

/* It is renewed by itself while that works; that the renewal fails is what nobody prevented. */
TEST(expiry_of_our_own_is_announced_when_its_renewal_fails)
{
    CLEANUP(scene_clear) struct scene scene = {0};
    struct record changed;
    size_t looks;

    scene_start(&scene);
    agent_fixture_section(scene.s.agent, "web", "DeviceEC", "");
    oneshot_run(&scene.s, "", 0);
    server_fixture_stop(scene.s.server);
    changed = *oneshot_record(&scene.s, "web");
    changed.current.facts.not_before = when_now() - 300 * WHEN_DAY;
    changed.current.facts.not_after = when_now() + 2 * WHEN_DAY;
    agent_fixture_save(scene.s.agent, &changed);
    start_daemon(&scene);
    wait_for(scene.log, "[expiring] web: the certificate CN=web.example expires in ", 1);
    stop_daemon(&scene);
    assert_int_equal(oneshot_record(&scene.s, "web")->notified, 3 * WHEN_DAY);
    assert_non_null(oneshot_record(&scene.s, "web")->error);
    looks = count(scene.log, "web: looking at key, certificate and files");
    start_daemon(&scene);
    wait_for(scene.log, "web: looking at key, certificate and files", looks + 1);
    stop_daemon(&scene);
    assert_int_equal(count(scene.log, "[expiring]"), 1);
}

static void destroy_keys(struct scene *scene)
{
    CLEANUP(mem_freep) char *dir = mem_printf("%s/token", scene->s.agent->state);
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(token_softhsm_open(dir, &module, &pin, &err) == 0, err);
    assert_int_equal(
        testing_shell(NULL,
            "SOFTHSM2_CONF='%s'/softhsm2.conf pkcs11-tool --module '%s' --login --pin '%s' --delete-object "
            "--type privkey --label web >/dev/null",
            dir, module, secret_peek(pin)),
        0);
}

TEST(key_that_is_deleted_from_the_token_is_named_at_the_next_pulse)
{
    CLEANUP(scene_clear) struct scene scene = {0};

    scene_start(&scene);
    agent_fixture_section(scene.s.agent, "web", "DeviceEC", "");
    start_daemon(&scene);
    wait_for(scene.metrics, "autoenroll_enrollment_healthy{name=\"web\"} 1\n", 1);
    destroy_keys(&scene);
    assert_int_equal(kill(scene.daemon, SIGUSR1), 0);
    wait_for(scene.log, "web: the key is not in the token any more", 1);
    wait_for(scene.metrics, "autoenroll_enrollment_healthy{name=\"web\"} 0\n", 1);
    assert_contains(oneshot_record(&scene.s, "web")->verify_problem, "the key is not in the token any more");
}

TEST(published_file_that_is_changed_from_outside_is_named_at_once)
{
    CLEANUP(scene_clear) struct scene scene = {0};
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(bytes_clear) struct bytes good = {0};

    scene_start(&scene);
    agent_fixture_section(scene.s.agent, "web", "DeviceEC", "");
    start_daemon(&scene);
    wait_for(scene.metrics, "autoenroll_enrollment_healthy{name=\"web\"} 1\n", 1);
    path = agent_fixture_file(scene.s.agent, "web", "cert.pem");
    testing_read(path, &good);
    testing_write(path, "mine\n", 5);
    wait_for(scene.log, "cert.pem was changed from outside", 1);
    testing_write(path, good.data, good.len);
    wait_for(scene.log, "web: everything is as it should be again", 1);
    assert_null(oneshot_record(&scene.s, "web")->verify_problem);
}

TEST(configured_names_that_are_not_those_of_the_certificate_are_told)
{
    CLEANUP(scene_clear) struct scene scene = {0};

    scene_start(&scene);
    agent_fixture_section(scene.s.agent, "web", "DeviceEC", "");
    start_daemon(&scene);
    wait_for(scene.metrics, "autoenroll_enrollment_healthy{name=\"web\"} 1\n", 1);
    agent_fixture_fragment(scene.s.agent, "web",
        "[certificate \"web\"]\npolicy-server = corp\ntemplate = DeviceEC\nsubject = CN=web.example\n"
        "dns = web.example www.example\n");
    assert_int_equal(kill(scene.daemon, SIGHUP), 0);
    wait_for(scene.metrics, "autoenroll_enrollment_names_differ{name=\"web\"} 1\n", 1);
    wait_for(scene.metrics, "autoenroll_enrollment_state{name=\"web\",state=\"names-differ\"} 1\n", 1);
    assert_contains(
        oneshot_record(&scene.s, "web")->names_differ, "dns www.example is configured and not in the certificate");
}

/* The reference server is a service like another: it presents its own certificate. */
TEST(service_that_presents_another_certificate_is_told_of)
{
    CLEANUP(scene_clear) struct scene scene = {0};
    CLEANUP(mem_freep) char *probe = NULL;
    const struct record *record;

    scene_start(&scene);
    probe = mem_printf("probe = localhost:%u\n", scene.s.server->port);
    agent_fixture_section(scene.s.agent, "web", "DeviceEC", probe);
    start_daemon(&scene);
    wait_for(scene.log, "presents another certificate: ", 1);
    record = oneshot_record(&scene.s, "web");
    assert_false(record->probe.ok);
    assert_int_equal(record->probe.tries, 1);
    assert_string_equal(record->probe.thumbprint, record->current.facts.thumbprint);
    wait_for(scene.metrics, "autoenroll_probe_success{name=\"web\"} 0\n", 1);
}

TEST(metrics_of_a_daemon_that_runs_are_what_a_scraper_reads)
{
    CLEANUP(scene_clear) struct scene scene = {0};
    CLEANUP(mem_freep) char *path = NULL;

    scene_start(&scene);
    watch_them(&scene);
    agent_fixture_section(scene.s.agent, "web", "DeviceEC", "");
    path = write_certificate(&scene, "we\"ird\\", "CN=odd", 40 * WHEN_DAY);
    start_daemon(&scene);
    wait_for(scene.metrics, "autoenroll_enrollment_healthy{name=\"web\"} 1\n", 1);
    wait_for(scene.metrics, "we\\\"ird\\\\.crt", 2);
    assert_int_equal(testing_shell(NULL, "promtool check metrics <'%s' >&2", scene.metrics), 0);
    stop_daemon(&scene);
    assert_int_equal(count(scene.metrics, "autoenroll_certificate_not_after_timestamp_seconds{name=\"web\"} "), 1);
}
