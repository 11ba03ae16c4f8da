#include "tests/worker_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/job_fields.h"
#include "tests/testing.h"

struct worker_fixture *worker_fixture_new(void)
{
    static struct worker_fixture fixture; /* one for a test */
    char *dir;
    char *made[3];

    if (fixture.dir)
        return &fixture;
    dir = testing_tmpdir();
    made[0] = mem_printf("%s/token", dir);
    made[1] = mem_printf("%s/keys", dir);
    made[2] = mem_printf("%s/credentials", dir);
    fixture = (struct worker_fixture){
        .dir = dir, .token_dir = made[0], .key_dir = made[1], .credentials = made[2], .tag = {0xa1, 0xb2, 0xc3, 0xd4}};
    for (size_t i = 0; i < ARRAY_SIZE(made); i++)
        assert_int_equal(mkdir(made[i], 0700), 0);
    return &fixture;
}

void worker_fixture_password(const struct worker_fixture *fixture, const char *name, const char *password)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s.password", fixture->credentials, name);

    if (password)
        testing_write(path, password, strlen(password));
    else
        (void)unlink(path);
}

void worker_fixture_place(const struct worker_fixture *fixture, struct job_place *place)
{
    *place = (struct job_place){.token_uri = mem_strdup_opt(fixture->token_uri),
        .module = mem_strdup_opt(fixture->module),
        .token_dir = mem_strdup(fixture->token_dir),
        .key_dir = mem_strdup(fixture->key_dir),
        .pin_credential = fixture->token_uri ? mem_strdup("token.pin") : NULL};
    bytes_set(&place->tag, fixture->tag, sizeof(fixture->tag));
}

void worker_fixture_server(struct job_server *server, const char *name, const char *uri, uint32_t auth,
    const char *username, const char *trust)
{
    *server = (struct job_server){.name = mem_strdup(name),
        .uri = mem_strdup(uri),
        .auth = auth,
        .username = mem_strdup_opt(username),
        .credential = mem_printf("%s.password", name),
        .ca_file = mem_strdup(trust)};
}

void worker_fixture_enroll(const struct worker_fixture *fixture, const struct policy *policy, const char *template,
    const struct job_server *server, struct job_enroll *job)
{
    const struct template *found = policy_find_template_by_name(policy, template);

    assert_non_null(found);
    *job = (struct job_enroll){.name = mem_strdup("test")};
    worker_fixture_place(fixture, &job->place);
    worker_fixture_server(&job->server, server->name, server->uri, server->auth, server->username, server->ca_file);
    strlist_copy(&job->server.ces_hosts, &server->ces_hosts);
    template_copy(&job->template, found);
    for (size_t i = 0; i < found->n_cas; i++)
        policy_ca_copy(MEM_APPEND(job->cas, job->n_cas), &policy->cas[found->cas[i]]);
}

void worker_run_clear(struct worker_run *run)
{
    if (run->done)
        fields_clear(job_kind_info(run->kind)->result, &run->output);
    err_free(run->failure);
    for (size_t i = 0; i < run->n_endpoints; i++) {
        free(run->endpoints[i].uri);
        free(run->endpoints[i].error);
    }
    free(run->endpoints);
    job_attempt_clear(&run->attempt);
    bytes_clear(&run->progress);
    *run = (struct worker_run){0};
}

/* What a worker's environment may hold besides PATH, as the daemon gives it. */
static const char *const passed_through[] = {
    "ASAN_OPTIONS", "UBSAN_OPTIONS", "SOFTHSM2_CONF", "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI", "TSS2_LOG"};

/* What the module of another token loses is not the worker's, see token_fixture.c. Returns owned. */
static char *suppress_leaks_of_modules(const struct worker_fixture *fixture)
{
    static const char text[] = "leak:libtpm2_pkcs11.so\nleak:ASN1_STRING_set\n";
    CLEANUP(mem_freep) char *path = mem_printf("%s/suppressions", fixture->dir);

    testing_write(path, text, strlen(text));
    return mem_printf("LSAN_OPTIONS=print_suppressions=0:suppressions=%s", path);
}

static char **make_environment(const struct worker_fixture *fixture)
{
    size_t n = 0;
    char **environment = mem_calloc(ARRAY_SIZE(passed_through) + 4, sizeof(*environment));

    environment[n++] = mem_strdup("PATH=/usr/bin:/bin");
    environment[n++] = mem_printf("CREDENTIALS_DIRECTORY=%s", fixture->credentials);
    for (size_t i = 0; i < ARRAY_SIZE(passed_through); i++)
        if (getenv(passed_through[i]))
            environment[n++] = mem_printf("%s=%s", passed_through[i], getenv(passed_through[i]));
    if (fixture->token_uri)
        environment[n++] = suppress_leaks_of_modules(fixture);
    return environment;
}

/* Only async-signal-safe calls between fork and exec. */
static pid_t start(const struct worker_fixture *fixture, int fd)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll-worker");
    CLEANUP(mem_freep) char **environment = make_environment(fixture);
    char *const argv[] = {program, NULL};
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (fd != CHANNEL_FD)
            (void)dup2(fd, CHANNEL_FD);
        else
            (void)fcntl(fd, F_SETFD, 0);
        (void)execve(program, argv, environment);
        _exit(127);
    }
    for (size_t i = 0; environment[i]; i++)
        free(environment[i]);
    return pid;
}

/* Deals with one event; true when it was the last. */
static bool take(struct channel *channel, struct channel_event *event, pid_t pid, int kill_at, struct worker_run *run)
{
    CLEANUP(err_freep) struct err *err = NULL;

    switch (event->type) {
    case CHANNEL_PROGRESS:
        assert_int_equal(bytes_printf(&run->progress, NULL, "%s\n", event->text), 0);
        return false;
    case CHANNEL_CHECKPOINT:
        job_attempt_clear(&run->attempt);
        run->attempt = event->attempt;
        event->attempt = (struct job_attempt){0};
        run->checkpoints |= 1u << event->step;
        if ((int)event->step == kill_at) {
            assert_int_equal(kill(pid, SIGKILL), 0);
            return true;
        }
        assert_ok(channel_ack(channel, &err) == 0, err);
        return false;
    case CHANNEL_RESULT:
        run->done = true;
        run->output = event->output;
        memset(&event->output, 0, sizeof(event->output));
        return true;
    case CHANNEL_FAILED:
        run->failure = TAKE(event->failure);
        run->endpoints = TAKE(event->endpoints);
        run->n_endpoints = event->n_endpoints;
        event->n_endpoints = 0;
        return true;
    case CHANNEL_CLOSED:
        fail_msg("the worker went without a word; it had said:\n%s", bytes_text(&run->progress));
    }
    return true;
}

void worker_fixture_run(
    const struct worker_fixture *fixture, enum job_kind kind, const void *input, int kill_at, struct worker_run *run)
{
    CLEANUP(channel_freep) struct channel *channel = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    int pair[2];
    bool last = false;
    pid_t pid;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid = start(fixture, pair[1]);
    (void)close(pair[1]);
    channel = channel_new(pair[0]);
    *run = (struct worker_run){.kind = kind};
    assert_ok(channel_send_job(channel, kind, input, &err) == 0, err);
    while (!last) {
        struct channel_event event = {0};
        int r = channel_next(channel, kind, WORKER_FIXTURE_LIMIT_MS, &event, &err);

        if (r <= 0)
            (void)kill(pid, SIGKILL);
        assert_ok(r >= 0, err);
        assert_int_equal(r, 1); /* else it was too slow */
        last = take(channel, &event, pid, kill_at, run);
        channel_event_clear(&event);
    }
    assert_int_equal(waitpid(pid, &run->status, 0), pid);
    if (kill_at < 0 || !(run->checkpoints & 1u << kill_at))
        assert_int_equal(run->status, 0);
}
