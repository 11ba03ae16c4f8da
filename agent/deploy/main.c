#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/settings_deploy.h"
#include "agent/deploy/beneath.h"
#include "agent/deploy/deploy.h"
#include "agent/deploy/follow.h"
#include "protocol/base/secret.h"
#include "protocol/base/when.h"

#define PROGRAM "autoenroll-deploy"

/* One row an option: name, argument (NULL: none), and what it does. */
struct command_line {
    struct deploy_options deploy;
    bool follow, json, version, help;
};
struct option_row {
    const char *name, *argument, *help;
    size_t offset;
};
#define TEXT(name, argument, member, help)                                                                             \
    {                                                                                                                  \
        name, argument, help, offsetof(struct command_line, deploy.member)                                             \
    }
#define FLAG(name, member, help)                                                                                       \
    {                                                                                                                  \
        name, NULL, help, offsetof(struct command_line, member)                                                        \
    }
static const struct option_row rows[] = {
    TEXT("config", "FILE", config, "configuration (default " SETTINGS_DEFAULT_PATH "), then conf.d/*.conf beside it"),
    TEXT("state-dir", "DIR", state_dir, "the daemon's, read only (default " SETTINGS_DEFAULT_STATE ")"),
    TEXT("results", "DIR", results,
        "where results are kept (default " SETTINGS_RESULTS "; STATE/deploy of another state)"),
    TEXT("once", "NAME", once, "this section alone, even if it is done already"),
    TEXT("systemctl", "FILE", systemctl, "what reloads units (default: systemctl, where systemd runs)"),
    FLAG("follow", follow, "stay, and do the same after each change, until SIGTERM"),
    FLAG("json", json, "print what was done as JSON, one object a pass"),
    FLAG("version", version, "print the version, exit"),
    FLAG("help", help, "print this, exit"),
};

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

static void wake(int number)
{
    (void)number;
}

static void print_help(void)
{
    printf("usage: " PROGRAM " [OPTION]...\n"
           "Puts published certificates where services want them, reloads units and runs programs, as the\n"
           "[certificate] sections say with export, reload and run. What is done is not done again.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep)
        char *left =
            mem_printf("--%s%s%s", rows[i].name, rows[i].argument ? "=" : "", rows[i].argument ? rows[i].argument : "");

        printf("  %-17s %s\n", left, rows[i].help);
    }
    printf("\nExit status: 0 all is in place, 64 usage, 65 or 76 what is published must not be installed, 66 no such\n"
           "section, 74 a file cannot be written or a program failed, 69 it took too long, 78 configuration.\n");
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
        if (rows[index].argument)
            memcpy(at, &optarg, sizeof(optarg));
        else
            *(bool *)(void *)at = true;
    }
    if (optind < argc) {
        fprintf(stderr, PROGRAM ": '%s' is not an option\n", argv[optind]);
        return -1;
    }
    if (out->follow && out->deploy.once) {
        fprintf(stderr, PROGRAM ": --once is one pass: without --follow\n");
        return -1;
    }
    return 0;
}

static void print_json(const struct deploy_report *report)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (report->n == 0)
        puts("{}");
    else if (fields_write(&deploy_report_fields, report, true, &text, NULL) == 0)
        printf("%s\n", bytes_text(&text));
}

/* Failures are printed as such, by the caller for the first and here for the others. */
static void print_text(const struct deploy_report *report)
{
    for (size_t i = 0; i < report->n; i++) {
        CLEANUP(mem_freep) char *text = deploy_result_text(&report->items[i]);

        (void)fprintf(report->items[i].ok ? stdout : stderr, "%s: %s\n", report->items[i].name, text);
    }
}

/* Which file "changed" is; the daemon replaces it. */
static struct stat look_at_changed(const struct command_line *cmd)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/public/changed", cmd->deploy.state_dir);
    struct stat st = {0};

    (void)lstat(path, &st);
    return st;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int pass(const struct command_line *cmd)
{
    struct deploy_options options = cmd->deploy;
    struct deploy_report report = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    int r;

    options.now = when_now();
    r = deploy_pass(&options, &report, &err);
    (cmd->json ? print_json : print_text)(&report);
    (void)fflush(stdout);
    if (r < 0 && (cmd->json || report.n == 0))
        err_print(PROGRAM, err);
    fields_clear(&deploy_report_fields, &report);
    return r < 0 ? err_kind_status(err_kind(err)) : 0;
}

/* A .path unit does not see what changes while its service runs. */
static int until_nothing_changes(const struct command_line *cmd)
{
    struct stat before = look_at_changed(cmd);

    for (;;) {
        int status = pass(cmd);
        struct stat now = look_at_changed(cmd);

        if (cmd->deploy.once || is_same(&before, &now))
            return status;
        before = now;
    }
}

/* Signals come only while we wait: a pass is never cut short by one. */
static int follow(const struct command_line *cmd)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    CLEANUP(beneath_close) int fd = -1;
    CLEANUP(err_freep) struct err *err = NULL;
    sigset_t held, before;

    (void)sigemptyset(&held);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        struct sigaction action = {.sa_handler = signals[i] == SIGHUP ? wake : end};

        (void)sigaddset(&held, signals[i]);
        (void)sigaction(signals[i], &action, NULL);
    }
    (void)sigprocmask(SIG_BLOCK, &held, &before);
    while (!ended) {
        if (follow_wait(cmd->deploy.state_dir, &fd, &before, &err) < 0) {
            err_print(PROGRAM, err);
            return err_kind_status(err_kind(err));
        }
        if (!ended)
            (void)pass(cmd);
    }
    return 0;
}

/* Nothing that we open may become somebody's standard output. */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        (void)close(fd);
}

int main(int argc, char **argv)
{
    struct command_line cmd = {.deploy = {.config = SETTINGS_DEFAULT_PATH, .state_dir = SETTINGS_DEFAULT_STATE}};
    CLEANUP(mem_freep) char *results = NULL;

    if (parse(argc, argv, &cmd) < 0) {
        fprintf(stderr, "try '" PROGRAM " --help'\n");
        return err_kind_status(ERR_USAGE);
    }
    if (cmd.help || cmd.version) {
        cmd.help ? print_help() : (void)printf(PROGRAM " " AE_VERSION "\n");
        return 0;
    }
    results = settings_results(cmd.deploy.state_dir);
    if (!cmd.deploy.results)
        cmd.deploy.results = results;
    fill_standard_descriptors();
    secret_harden_process();
    (void)umask(022);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    return cmd.follow ? follow(&cmd) : until_nothing_changes(&cmd);
}
