#include "tests/agent_fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/key/token_softhsm.h"
#include "tests/testing.h"

static char *policy_id(const struct server_fixture *server)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "sed -n 's/^ID = //p' '%s/server.conf' | tr -d '\\n'", server->dir), 0);
    return mem_strdup(bytes_text(&out));
}

static void write_config(struct agent_fixture *f)
{
    CLEANUP(mem_freep) char *id = policy_id(f->server);
    CLEANUP(mem_freep)
    char *text = mem_printf("[agent]\n"
                            "job-limit = 60s\n"
                            "[policy-server \"corp\"]\n"
                            "uri = %s\n"
                            "auth = username\n"
                            "username = " SERVER_FIXTURE_USER "\n"
                            "ca-file = %s\n"
                            "policy-id = %s\n"
                            "[policy-server \"corp-renewal\"]\n"
                            "uri = %s\n"
                            "auth = certificate\n"
                            "policy-id = %s\n"
                            "cost = 1\n",
        f->server->cep_username, f->server->trust, id, f->server->cep_certificate, id);

    testing_write(f->config, text, strlen(text));
}

struct agent_fixture *agent_fixture_new(struct server_fixture *server)
{
    struct agent_fixture *f = mem_alloc(sizeof(*f));
    CLEANUP(mem_freep) char *fragments = NULL;

    f->server = server;
    f->dir = testing_tmpdir();
    f->config = mem_printf("%s/autoenroll.conf", f->dir);
    f->state = mem_printf("%s/state", f->dir);
    f->credentials = mem_printf("%s/credentials", f->dir);
    fragments = mem_printf("%s/conf.d", f->dir);
    assert_int_equal(mkdir(f->credentials, 0700), 0);
    assert_int_equal(mkdir(fragments, 0700), 0);
    if (geteuid() == 0) { /* root always changes users: to itself, unless a test wants others */
        f->run_as = mem_strdup("root");
        f->worker_as = mem_strdup("root");
    }
    write_config(f);
    agent_fixture_password(f, SERVER_FIXTURE_PASSWORD);
    return f;
}

void agent_fixture_free(struct agent_fixture *f)
{
    char *const texts[] = {f->dir, f->config, f->state, f->credentials, f->run_as, f->worker_as};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    bytes_clear(&f->out);
    free(f);
}

static void write_or_remove(const char *path, const char *text)
{
    if (text)
        testing_write(path, text, strlen(text));
    else
        (void)unlink(path);
}

void agent_fixture_fragment(struct agent_fixture *f, const char *name, const char *text)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/conf.d/%s.conf", f->dir, name);

    write_or_remove(path, text);
}

void agent_fixture_section(struct agent_fixture *f, const char *name, const char *template, const char *more)
{
    CLEANUP(mem_freep)
    char *text = mem_printf("[certificate \"%s\"]\n"
                            "policy-server = corp\n"
                            "template = %s\n"
                            "subject = CN=%s.example\n"
                            "dns = %s.example\n%s",
        name, template, name, name, more);

    agent_fixture_fragment(f, name, text);
}

void agent_fixture_password(struct agent_fixture *f, const char *password)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/corp.password", f->credentials);

    write_or_remove(path, password);
}

/* Who it becomes. The build may lie where no other user comes: then the worker is executed from beside the state. */
static char *users_of(const struct agent_fixture *f)
{
    CLEANUP(mem_freep) char *worker = testing_bin("autoenroll-worker");

    if (!f->run_as)
        return mem_strdup("");
    if (strcmp(f->worker_as, "root") == 0)
        return mem_printf("--run-as '%s' --worker-as '%s'", f->run_as, f->worker_as);
    assert_int_equal(testing_shell(NULL, "install -m 755 '%s' '%s/autoenroll-worker'", worker, f->dir), 0);
    return mem_printf(
        "--run-as '%s' --worker-as '%s' --worker '%s/autoenroll-worker'", f->run_as, f->worker_as, f->dir);
}

static char *command(const struct agent_fixture *f, const char *arguments)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenrolld");
    CLEANUP(mem_freep) char *users = users_of(f);

    return mem_printf("CREDENTIALS_DIRECTORY='%s' '%s' --oneshot --config '%s' --state-dir '%s' %s %s", f->credentials,
        program, f->config, f->state, users, arguments);
}

int agent_fixture_run(struct agent_fixture *f, const char *arguments)
{
    CLEANUP(mem_freep) char *line = command(f, arguments);

    return testing_shell(&f->out, "%s 2>&1", line);
}

void agent_fixture_expect(struct agent_fixture *f, const char *arguments, int status)
{
    int got = agent_fixture_run(f, arguments);

    if (got != status)
        fail_msg("status %d instead of %d:\n%s", got, status, bytes_text(&f->out));
}

pid_t agent_fixture_spawn(struct agent_fixture *f)
{
    CLEANUP(mem_freep) char *plain = command(f, "");
    CLEANUP(mem_freep) char *line = mem_printf("exec env %s >>'%s/spawned' 2>&1", plain, f->dir);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static char *records_dir(const struct agent_fixture *f)
{
    return mem_printf("%s/private/enrollments", f->state);
}

const struct record *agent_fixture_record(struct agent_fixture *f, const char *id, struct record_list *list)
{
    CLEANUP(mem_freep) char *dir = records_dir(f);
    CLEANUP(strlist_clear) struct strlist problems = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    const struct record *record;

    record_list_clear(list);
    assert_ok(record_load_all(dir, list, &problems, &err) == 0, err);
    record = record_find(list, id);
    if (!record)
        fail_msg("there is no record of '%s'; the last run said:\n%s", id, bytes_text(&f->out));
    return record;
}

void agent_fixture_save(struct agent_fixture *f, const struct record *record)
{
    CLEANUP(mem_freep) char *dir = records_dir(f);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(record_save(dir, record, &err) == 0, err);
}

char *agent_fixture_file(struct agent_fixture *f, const char *id, const char *name)
{
    return mem_printf("%s/public/certs/%s/current/%s", f->state, id, name);
}

void agent_fixture_assert_published(struct agent_fixture *f, const char *id)
{
    CLEANUP(mem_freep) char *cert = agent_fixture_file(f, id, "cert.pem");
    CLEANUP(mem_freep) char *chain = agent_fixture_file(f, id, "chain.pem");
    CLEANUP(mem_freep) char *full = agent_fixture_file(f, id, "fullchain.pem");
    CLEANUP(mem_freep) char *uri = agent_fixture_file(f, id, "key.uri");
    CLEANUP(bytes_clear) struct bytes text = {0};

    assert_int_equal(
        testing_shell(NULL, "openssl verify -CAfile '%s' -untrusted '%s' '%s'", f->server->trust, chain, cert), 0);
    assert_int_equal(testing_shell(NULL, "cat '%s' '%s' | cmp - '%s'", cert, chain, full), 0);
    testing_read(uri, &text);
    assert_contains(bytes_text(&text), "pkcs11:token=");
    assert_null(strstr(bytes_text(&text), "pin"));
}

void agent_fixture_keys(struct agent_fixture *f, struct key_listings *keys)
{
    CLEANUP(mem_freep) char *dir = mem_printf("%s/token", f->state);
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(token_closep) struct token *token = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct token_place place = {.uri = "pkcs11:token=autoenroll", .state_dir = dir, .is_ours = true};

    assert_ok(token_softhsm_open(dir, &module, &pin, &err) == 0, err);
    place.module = module;
    assert_ok(token_open(&place, pin, &token, &err) == 0, err);
    assert_ok(key_token_list(token, NULL, keys, &err) == 0, err);
}

size_t agent_fixture_count_keys(struct agent_fixture *f)
{
    CLEANUP(key_listings_clear) struct key_listings keys = {0};

    agent_fixture_keys(f, &keys);
    return keys.n;
}
