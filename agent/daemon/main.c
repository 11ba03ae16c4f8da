#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/daemon/deployed.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/engine_walk.h"
#include "agent/daemon/service.h"
#include "agent/daemon/status.h"
#include "protocol/base/secret.h"

#define PROGRAM          "autoenrolld"
#define DEFAULT_STATE    "/var/lib/autoenroll"
#define DEFAULT_RUNTIME  "/run/autoenroll"
#define INSTALLED_WORKER AE_LIBEXEC "/autoenroll-worker"

/* One row an option: name, argument (NULL: none), what it does, and where it goes. */
enum option_target { TO_TEXT, TO_FLAG };
struct option_row {
    const char *name, *argument, *help;
    enum option_target to;
    size_t offset;
};
struct command_line {
    struct agent_options agent;
    bool check, version, help;
};
#define TEXT(name, argument, member, help)                                                                             \
    {                                                                                                                  \
        name, argument, help, TO_TEXT, offsetof(struct command_line, agent.member)                                     \
    }
#define FLAG(name, member, help)                                                                                       \
    {                                                                                                                  \
        name, NULL, help, TO_FLAG, offsetof(struct command_line, member)                                               \
    }

static const struct option_row rows[] = {
    FLAG("oneshot", agent.oneshot, "walk configuration and policy once, do what is due, print a status table, exit"),
    FLAG("check", check, "read the configuration, print it as it was understood, exit"),
    TEXT("config", "FILE", config, "configuration (default " SETTINGS_DEFAULT_PATH "), then conf.d/*.conf beside it"),
    TEXT("state-dir", "DIR", state_dir, "records, token and published certificates (default " DEFAULT_STATE ")"),
    TEXT(
        "runtime-dir", "DIR", runtime_dir, "what lasts until the next boot (default " DEFAULT_RUNTIME ", where it is)"),
    TEXT("bus", "system|session|none", bus, "where the D-Bus API is offered (default system)"),
    TEXT("worker", "FILE", worker, "the worker program (default: beside this one, then " INSTALLED_WORKER ")"),
    TEXT("worker-socket", "PATH", worker_socket, "systemd's socket that starts workers, instead of starting them here"),
    TEXT("deploy-results", "DIR", deploy_results,
        "what autoenroll-deploy did (default /var/lib/autoenroll-deploy; STATE/deploy of another state)"),
    TEXT("deploy", "FILE", deploy, "start autoenroll-deploy after each change (default: its .path unit does)"),
    TEXT("machine-id", "FILE", machine_id, "says which machine this is (default /etc/machine-id)"),
    TEXT("run-as", "USER", run_as, "as root: who this program becomes (default autoenroll)"),
    TEXT("worker-as", "USER", worker_as, "as root: who workers become (default autoenroll-worker)"),
    TEXT("renew", "NAME|all", renew, "with --oneshot: renew this enrollment now, or every one"),
    FLAG("same-key", agent.same_key, "with --renew: keep the key"),
    FLAG("adopt", agent.adopt, "the state of another machine becomes this one's: the same machine, changed"),
    FLAG("reset", agent.reset, "forget everything, keys included, then exit: for a copy of another machine"),
    FLAG("json", agent.json, "print the status as JSON and nothing else"),
    FLAG("version", version, "print the version, exit"),
    FLAG("help", help, "print this, exit"),
};

static void print_help(void)
{
    printf("usage: " PROGRAM " [OPTION]...\n"
           "Keeps the certificates of this machine: asks policy servers what it should hold, has keys made in a\n"
           "PKCS#11 token, enrolls, and renews each certificate by the key it already has.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep)
        char *left =
            mem_printf("--%s%s%s", rows[i].name, rows[i].argument ? "=" : "", rows[i].argument ? rows[i].argument : "");

        printf("  %-20s %s\n", left, rows[i].help);
    }
    printf("\nPasswords are read by workers from $CREDENTIALS_DIRECTORY/SECTION.password.\n"
           "SIGHUP reads the configuration anew, SIGUSR1 asks for a pulse, SIGTERM ends it; what was begun goes on at\n"
           "the next start.\n"
           "Exit status: 0 all is well, 64 usage, 69 network or TLS, 74 token or disk, 75 another instance works,\n"
           "76 an answer that must not be trusted, 77 refused, 78 configuration.\n");
}

static int parse(int argc, char **argv, struct command_line *out)
{
    struct option options[ARRAY_SIZE(rows) + 1] = {0};
    int index, c;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        options[i] = (struct option){.name = rows[i].name, .has_arg = rows[i].argument ? 1 : 0, .val = 1};
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
        char *at;

        if (c != 1)
            return -1;
        at = (char *)out + rows[index].offset;
        if (rows[index].to == TO_TEXT)
            memcpy(at, &optarg, sizeof(optarg));
        else
            *(bool *)(void *)at = true;
    }
    if (optind < argc) {
        fprintf(stderr, PROGRAM ": '%s' is not an option\n", argv[optind]);
        return -1;
    }
    if (out->agent.renew && !out->agent.oneshot) {
        fprintf(stderr, PROGRAM ": --renew goes with --oneshot; ask a daemon that runs with: autoenroll renew NAME\n");
        return -1;
    }
    return 0;
}

/* In a build tree the worker is beside this program. */
static char *default_worker(void)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *beside;

    if (n <= 0)
        return mem_strdup(INSTALLED_WORKER);
    self[n] = 0;
    beside = mem_printf("%s/autoenroll-worker", dirname(self));
    if (access(beside, X_OK) == 0)
        return beside;
    free(beside);
    return mem_strdup(INSTALLED_WORKER);
}

static int status_of(const struct err *err)
{
    return err_kind_status(err_kind(err));
}

static int check(const struct command_line *cmd)
{
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    if (settings_load(cmd->agent.config, &settings, &err) < 0 || settings_describe(&settings, &text, &err) < 0) {
        err_print(PROGRAM, err);
        return status_of(err);
    }
    fputs(bytes_text(&text), stdout);
    return 0;
}

static int oneshot(struct agent *agent, struct err **errp)
{
    const struct engine_report *report;

    if (deployed_open(agent, errp) < 0 || engine_start(agent, errp) < 0 || engine_walk(agent, &report, errp) < 0)
        return status_of(errp ? *errp : NULL);
    (agent->options->json ? status_print_json : status_print)(agent, report);
    return report->failed ? err_kind_status(report->worst) : 0;
}

static int reset(struct agent *agent, struct err **errp)
{
    if (engine_start(agent, errp) < 0 || agent_reset(agent, errp) < 0)
        return status_of(*errp);
    while (agent->resetting)
        if (event_base_loop(agent->base, EVLOOP_ONCE) < 0)
            return err_kind_status(ERR_INTERNAL);
    return agent->cloned ? err_kind_status(ERR_STORE) : 0;
}

static int run(const struct command_line *cmd)
{
    struct agent agent;
    CLEANUP(err_freep) struct err *err = NULL;
    int status = 0;

    if (agent_open(&agent, &cmd->agent, &err) < 0)
        status = status_of(err);
    else if (cmd->agent.reset)
        status = reset(&agent, &err);
    else if (cmd->agent.oneshot)
        status = oneshot(&agent, &err);
    else if (service_run(&agent, &err) < 0)
        status = status_of(err);
    if (err)
        err_print(PROGRAM, err);
    deployed_close(&agent);
    agent_close(&agent);
    return status;
}

int main(int argc, char **argv)
{
    CLEANUP(mem_freep) char *worker = default_worker();
    struct command_line cmd = {.agent = {.config = SETTINGS_DEFAULT_PATH,
                                   .state_dir = DEFAULT_STATE,
                                   .runtime_dir = DEFAULT_RUNTIME,
                                   .worker = worker,
                                   .bus = "system"}};

    if (parse(argc, argv, &cmd) < 0) {
        fprintf(stderr, "try '" PROGRAM " --help'\n");
        return err_kind_status(ERR_USAGE);
    }
    if (cmd.help || cmd.version) {
        cmd.help ? print_help() : (void)printf(PROGRAM " " AE_VERSION "\n");
        return 0;
    }
    secret_harden_process();
    (void)umask(022);
    (void)signal(SIGPIPE, SIG_IGN);
    return cmd.check ? check(&cmd) : run(&cmd);
}
