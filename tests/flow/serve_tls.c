#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/deploy_result.h"
#include "tests/oneshot_fixture.h"

/* Four users, accounts that every system has: who decides, who holds the keys, who serves; and root, who deploys. */
#define DAEMON_USER  "daemon"
#define WORKER_USER  "nobody"
#define SERVICE_USER "games"
#define AS_SERVICE   "setpriv --reuid=" SERVICE_USER " --regid=$(id -g " SERVICE_USER ") --clear-groups"

#define ENGINE_CLIENT "$(pkg-config --variable=p11_module_path p11-kit-1 2>/dev/null)/p11-kit-client.so"

struct serve {
    struct oneshot s;
    char *dir;     /* of the service: its configuration, and what is exported to it */
    char *results; /* of autoenroll-deploy */
    uint16_t port;
    pid_t deploy, daemon, nginx, p11; /* 0: does not run */
};

static void end(pid_t pid)
{
    if (pid > 0 && kill(pid, SIGTERM) == 0)
        (void)waitpid(pid, NULL, 0);
}

static void serve_clear(struct serve *t)
{
    end(t->daemon);
    end(t->deploy);
    end(t->nginx);
    end(t->p11);
    oneshot_clear(&t->s);
    free(t->dir);
    free(t->results);
}

/* Runs it in the background; it ends with us. Its output is in DIR/NAME.log. */
static pid_t spawn(const struct serve *t, const char *name, const char *command)
{
    CLEANUP(mem_freep) char *line = mem_printf("exec %s >>'%s/%s.log' 2>&1", command, t->s.agent->dir, name);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Shows what it said, and fails. */
static void give_up(const struct serve *t, const char *name, const char *waited_for)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    (void)testing_shell(&out, "tail -n 30 '%s/%s.log'", t->s.agent->dir, name);
    print_message("%s", bytes_text(&out));
    fail_msg("waited in vain for %s", waited_for);
}

#define UNTIL(t, name, condition)                                                                                      \
    do {                                                                                                               \
        for (int left = 600; !(condition); left--) {                                                                   \
            if (left == 0)                                                                                             \
                give_up((t), (name), #condition);                                                                      \
            (void)usleep(50000);                                                                                       \
        }                                                                                                              \
    } while (0)

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static void need(const char *program)
{
    if (testing_shell(NULL, "command -v %s >/dev/null", program) == 0)
        return;
    print_message("%s is not installed\n", program);
    skip();
}

static void start_as_users(struct serve *t)
{
    struct agent_fixture *agent;

    if (geteuid() != 0) {
        print_message("this test has to be root\n");
        skip();
    }
    need("nginx");
    t->s.server = server_fixture_new(NULL);
    oneshot_template(&t->s, "ApplicationPolicies", "client authentication, server authentication");
    oneshot_template(&t->s, "PrivateKeyFlags", "0x4040010"); /* keys may be let out */
    oneshot_start(&t->s);
    agent = t->s.agent;
    free(agent->run_as);
    free(agent->worker_as);
    agent->run_as = mem_strdup(DAEMON_USER);
    agent->worker_as = mem_strdup(WORKER_USER);
    t->dir = mem_printf("%s/service", agent->dir);
    t->results = mem_printf("%s/results", agent->dir);
    t->port = free_port();
    assert_int_equal(
        testing_shell(NULL,
            "chmod 0711 '%s' '%s' \"$(dirname '%s')\"; chmod 0755 '%s/conf.d'; chmod 0644 '%s' '%s'; chown -R " WORKER_USER
            " '%s'; mkdir '%s' && chown " SERVICE_USER ": '%s' && install -d -m 0750 -o " SERVICE_USER
            " -g $(id -g " SERVICE_USER ") '%s/tls'",
            agent->dir, t->s.server->dir, t->s.server->dir, agent->dir, agent->config, t->s.server->trust,
            agent->credentials, t->dir, t->dir, t->dir),
        0);
}

static void configure(struct serve *t, const char *more)
{
    CLEANUP(mem_freep) char *script = mem_printf("#!/bin/sh\nexec kill -HUP $(cat '%s/pid')\n", t->dir);
    CLEANUP(mem_freep) char *program = mem_printf("%s/reload", t->s.agent->dir);
    CLEANUP(mem_freep)
    char *lines = mem_printf("export = %s/tls\nrun = %s\nrun-as = " SERVICE_USER "\n"
                             "probe = localhost:%u\n%s",
        t->dir, program, t->port, more);

    testing_write(program, script, strlen(script));
    assert_int_equal(chmod(program, 0755), 0);
    agent_fixture_section(t->s.agent, "web", "DeviceEC", lines);
    assert_int_equal(testing_shell(NULL, "chmod 0644 '%s'/conf.d/*", t->s.agent->dir), 0);
}

/* @main: lines of nginx's main section; @key: its key. */
static void configure_nginx(struct serve *t, const char *main_lines, const char *key)
{
    static const char *const kinds[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(mem_freep) char *path = mem_printf("%s/nginx.conf", t->dir);

    assert_int_equal(bytes_printf(&text, NULL,
                         "daemon off;\npid %s/pid;\nerror_log stderr notice;\nworker_processes 1;\n%s"
                         "events { worker_connections 16; }\nhttp {\naccess_log off;\n",
                         t->dir, main_lines),
        0);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_int_equal(bytes_printf(&text, NULL, "%s_temp_path %s/tmp;\n", kinds[i], t->dir), 0);
    assert_int_equal(bytes_printf(&text, NULL,
                         "server {\nlisten 127.0.0.1:%u ssl;\nssl_certificate %s/tls/fullchain.pem;\n"
                         "ssl_certificate_key \"%s\";\nreturn 200 served;\n}\n}\n",
                         t->port, t->dir, key),
        0);
    testing_write(path, text.data, text.len);
    assert_int_equal(chmod(path, 0644), 0);
}

static void start_nginx(struct serve *t, const char *environment)
{
    CLEANUP(mem_freep)
    char *command =
        mem_printf("env -i PATH=$PATH %s " AS_SERVICE " nginx -e stderr -c '%s/nginx.conf'", environment, t->dir);

    t->nginx = spawn(t, "nginx", command);
}

/* SHA-256 of what is presented, verified under the server's root and for the name; "" where that does not work. */
static char *presented(const struct serve *t)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    (void)testing_shell(&out,
        "echo | openssl s_client -connect 127.0.0.1:%u -servername web.example -verify_return_error -verify_hostname "
        "web.example -CAfile '%s' 2>/dev/null | openssl x509 -outform DER 2>/dev/null | sha256sum | cut -c1-64 | tr -d "
        "'\\n'",
        t->port, t->s.server->trust);
    return mem_strdup(bytes_text(&out));
}

static bool presents(const struct serve *t, const char *thumbprint)
{
    CLEANUP(mem_freep) char *now = presented(t);

    return strcmp(now, thumbprint) == 0;
}

/* The result is about this certificate, and good. */
static bool is_deployed(const struct serve *t, const char *thumbprint)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/web.json", t->results);
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(deploy_result_clear) struct deploy_result result = {0};

    if (access(path, R_OK) < 0)
        return false;
    testing_read(path, &text);
    assert_int_equal(deploy_result_read(&text, &result, NULL), 0);
    return result.ok && strcmp(result.thumbprint, thumbprint) == 0;
}

static void start_deploy(struct serve *t)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll-deploy");
    CLEANUP(mem_freep)
    char *command = mem_printf("'%s' --follow --config '%s' --state-dir '%s' --results '%s'", program,
        t->s.agent->config, t->s.agent->state, t->results);

    t->deploy = spawn(t, "deploy", command);
}

/* The whole daemon: it takes the results over, and probes. */
static void start_daemon(struct serve *t)
{
    const struct agent_fixture *a = t->s.agent;
    CLEANUP(mem_freep) char *program = testing_bin("autoenrolld");
    CLEANUP(mem_freep)
    char *command =
        mem_printf("env CREDENTIALS_DIRECTORY='%s' '%s' --bus none --config '%s' --state-dir '%s' --run-as " DAEMON_USER
                   " --worker-as " WORKER_USER " --worker '%s/autoenroll-worker' --deploy-results '%s'",
            a->credentials, program, a->config, a->state, a->dir, t->results);

    t->daemon = spawn(t, "daemon", command);
}

static void stop_daemon(struct serve *t)
{
    end(t->daemon);
    t->daemon = 0;
}

/* Enrolls, or renews; returns the thumbprint of what is held then. */
static char *enroll(struct serve *t, const char *arguments)
{
    const struct record *record;

    oneshot_run(&t->s, arguments, 0);
    record = oneshot_record(&t->s, "web");
    if (record->state != RECORD_INSTALLED)
        fail_msg("%s", record->error);
    return mem_strdup(record->current.facts.thumbprint);
}

static bool is_probed(struct serve *t, const char *thumbprint)
{
    const struct record *record = oneshot_record(&t->s, "web");
    const struct record_outcome *hook = &record->hook, *probe = &record->probe;

    if (!probe->thumbprint || strcmp(probe->thumbprint, thumbprint) != 0 || !probe->ok)
        return false;
    assert_string_equal(hook->thumbprint, thumbprint);
    assert_true(hook->ok);
    return true;
}

/* From a first certificate to the one after a renewal, and what everybody says of it. */
static void assert_served_and_renewed(struct serve *t)
{
    CLEANUP(mem_freep) char *first = presented(t);
    CLEANUP(mem_freep) char *second = NULL;

    assert_string_not_equal(first, "");
    assert_true(is_deployed(t, first));
    second = enroll(t, "--renew web");
    assert_string_not_equal(first, second);
    UNTIL(t, "deploy", is_deployed(t, second));
    UNTIL(t, "nginx", presents(t, second));
    start_daemon(t);
    UNTIL(t, "daemon", is_probed(t, second));
    stop_daemon(t);
}

PRIVILEGED_TEST(service_of_another_user_serves_with_a_key_file_and_after_the_renewal_with_the_new_one)
{
    CLEANUP(serve_clear) struct serve t = {0};
    CLEANUP(mem_freep) char *key = NULL, *first = NULL;

    start_as_users(&t);
    configure(&t, "key = file\n");
    start_deploy(&t);
    first = enroll(&t, "");
    UNTIL(&t, "deploy", access(t.results, F_OK) == 0 && testing_shell(NULL, "test -s '%s/tls/key.pem'", t.dir) == 0);
    assert_int_equal(
        testing_shell(NULL, "test \"$(stat -c '%%U %%a' '%s/tls/key.pem')\" = '" SERVICE_USER " 600'", t.dir), 0);
    key = mem_printf("%s/tls/key.pem", t.dir);
    configure_nginx(&t, "", key);
    start_nginx(&t, "");
    UNTIL(&t, "nginx", presents(&t, first));
    assert_int_equal(kill(t.deploy, SIGHUP), 0); /* what failed while nothing served yet: another pass */
    UNTIL(&t, "deploy", is_deployed(&t, first));
    assert_served_and_renewed(&t);
}

/* As autoenroll-token.service does it: a socket to the token, and the PIN in a file, for the service's group. */
static void start_p11(struct serve *t)
{
    const char *state = t->s.agent->state;
    CLEANUP(mem_freep)
    char *command = mem_printf("env -i PATH=$PATH SOFTHSM2_CONF='%s/token/softhsm2.conf' setpriv --reuid=" WORKER_USER
                               " --regid=$(id -g " SERVICE_USER ") --clear-groups p11-kit server --foreground --name "
                               "'%s/p11/pkcs11' pkcs11:token=autoenroll",
        state, t->s.agent->dir);
    CLEANUP(mem_freep) char *socket = mem_printf("%s/p11/pkcs11", t->s.agent->dir);

    need("p11-kit");
    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && install -d -m 0750 -o " WORKER_USER " -g $(id -g " SERVICE_USER ") p11 && install -m "
            "0640 -o " WORKER_USER " -g $(id -g " SERVICE_USER ") '%s/token/pin' p11/pin",
            t->s.agent->dir, state),
        0);
    t->p11 = spawn(t, "p11", command);
    UNTIL(t, "p11", access(socket, F_OK) == 0);
    assert_int_equal(chmod(socket, 0660), 0);
}

PRIVILEGED_TEST(service_of_another_user_serves_with_the_token_key_and_after_the_renewal_with_the_new_one)
{
    CLEANUP(serve_clear) struct serve t = {0};
    CLEANUP(mem_freep) char *key = NULL, *environment = NULL, *first = NULL;

    start_as_users(&t);
    configure(&t, "key = token\n");
    start_deploy(&t);
    first = enroll(&t, "");
    UNTIL(&t, "deploy", testing_shell(NULL, "test -s '%s/tls/key.uri'", t.dir) == 0);
    start_p11(&t);
    key = mem_printf(
        "engine:pkcs11:pkcs11:token=autoenroll;object=web;type=private?pin-source=file:%s/p11/pin", t.s.agent->dir);
    configure_nginx(&t, "ssl_engine pkcs11;\nenv PKCS11_MODULE_PATH;\nenv P11_KIT_SERVER_ADDRESS;\n", key);
    environment = mem_printf(
        "PKCS11_MODULE_PATH=" ENGINE_CLIENT " P11_KIT_SERVER_ADDRESS=unix:path='%s/p11/pkcs11'", t.s.agent->dir);
    start_nginx(&t, environment);
    UNTIL(&t, "nginx", presents(&t, first));
    assert_int_equal(kill(t.deploy, SIGHUP), 0);
    UNTIL(&t, "deploy", is_deployed(&t, first));
    assert_served_and_renewed(&t);
}
