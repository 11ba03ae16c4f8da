#include "tests/ctl_fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void ctl_fixture_prepare(struct ctl_fixture *f)
{
    *f = (struct ctl_fixture){0};
    bus_fixture_start(&f->bus, BUS_POLKIT_NONE);
    f->server = server_fixture_running(NULL);
    f->agent = agent_fixture_new(f->server);
    agent_fixture_password(f->agent, NULL);
}

void ctl_fixture_start(struct ctl_fixture *f)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenrolld");
    CLEANUP(mem_freep)
    char *users = f->agent->run_as ? mem_printf("--run-as '%s' --worker-as '%s'", f->agent->run_as, f->agent->worker_as)
                                   : mem_strdup("");
    CLEANUP(mem_freep)
    char *line =
        mem_printf("exec env CREDENTIALS_DIRECTORY='%s' '%s' --config '%s' --state-dir '%s' --runtime-dir '%s' "
                   "%s %s >>'%s/daemon.log' 2>&1",
            f->agent->credentials, program, f->agent->config, f->agent->state, f->agent->dir, users,
            f->options ? f->options : "", f->agent->dir);

    f->daemon = fork();
    assert_true(f->daemon >= 0);
    if (f->daemon == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    bus_fixture_wait(&f->bus);
}

void ctl_fixture_stop(struct ctl_fixture *f, int signal)
{
    int status = 0;

    if (!f->daemon)
        return;
    (void)kill(f->daemon, signal);
    assert_int_equal(waitpid(f->daemon, &status, 0), f->daemon);
    f->daemon = 0;
    if (signal == SIGTERM && status != 0) {
        CLEANUP(bytes_clear) struct bytes log = {0};

        (void)testing_shell(&log, "tail -n 30 '%s/daemon.log'", f->agent->dir);
        fail_msg("the daemon ended with 0x%x:\n%s", (unsigned)status, bytes_text(&log));
    }
}

void ctl_fixture_clear(struct ctl_fixture *f)
{
    ctl_fixture_stop(f, SIGTERM);
    if (f->agent)
        agent_fixture_free(f->agent);
    bus_fixture_clear(&f->bus);
    bytes_clear(&f->out);
    json_decref(f->json);
    *f = (struct ctl_fixture){0};
}

static int run(struct ctl_fixture *f, const char *arguments, const char *more)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");

    return testing_shell(&f->out, "'%s' %s %s", program, arguments, more);
}

int ctl_run(struct ctl_fixture *f, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *arguments = NULL;
    va_list ap;

    va_start(ap, fmt);
    arguments = mem_vprintf(fmt, ap);
    va_end(ap);
    return run(f, arguments, "2>&1");
}

static void expect(struct ctl_fixture *f, int status, int got, const char *arguments)
{
    CLEANUP(bytes_clear) struct bytes log = {0};

    if (got == status)
        return;
    (void)testing_shell(&log, "tail -n 30 '%s/daemon.log'", f->agent->dir);
    fail_msg("autoenroll %s: status %d instead of %d:\n%s\n%s", arguments, got, status, bytes_text(&f->out),
        bytes_text(&log));
}

void ctl_expect(struct ctl_fixture *f, int status, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *arguments = NULL;
    va_list ap;

    va_start(ap, fmt);
    arguments = mem_vprintf(fmt, ap);
    va_end(ap);
    expect(f, status, run(f, arguments, "2>&1"), arguments);
}

const char *ctl_said(const struct ctl_fixture *f)
{
    return bytes_text(&f->out);
}

void ctl_json(struct ctl_fixture *f, int status, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *arguments = NULL;
    json_error_t error;
    va_list ap;

    va_start(ap, fmt);
    arguments = mem_vprintf(fmt, ap);
    va_end(ap);
    expect(f, status, run(f, arguments, "--json"), arguments);
    json_decref(f->json);
    f->json = json_loads(ctl_said(f), 0, &error);
    if (!json_is_object(f->json))
        fail_msg("autoenroll %s --json: %s:\n%s", arguments, error.text, ctl_said(f));
}

const char *ctl_text(const struct ctl_fixture *f, const char *list, const char *id, const char *key)
{
    json_t *one;
    size_t i;

    json_array_foreach (json_object_get(f->json, list), i, one) {
        const char *text = json_string_value(json_object_get(one, key));

        if (strcmp(json_string_value(json_object_get(one, "id")), id) == 0)
            return text ? text : "";
    }
    return "";
}

void ctl_login(struct ctl_fixture *f)
{
    ctl_expect(f, 0, "login corp --password-file '%s'", f->server->password_file);
    ctl_expect(f, 0, "pulse --wait");
}
