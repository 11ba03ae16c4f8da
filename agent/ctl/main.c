#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/complete.h"
#include "agent/ctl/health.h"
#include "protocol/base/secret.h"
#include "protocol/base/when.h"

#define EXIT_USAGE  64
#define EXIT_FAILED 1

/* Reads every option, of whatever verb; *given: which ones. 0 or -1. */
static int parse(int argc, char **argv, struct ctl *ctl, uint32_t *given)
{
    struct option options[VERB_OPTION__MAX + 1] = {0};
    int c, index = 0;

    for (int i = 0; i < VERB_OPTION__MAX; i++)
        options[i] = (struct option){.name = verb_options[i].name, .has_arg = verb_options[i].argument ? 1 : 0};
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
        char *member;

        if (c != 0)
            return -1;
        member = (char *)ctl + verb_options[index].offset;
        if (verb_options[index].argument)
            memcpy(member, &optarg, sizeof(optarg));
        else
            *(bool *)(void *)member = true;
        *given |= 1u << index;
    }
    ctl->arguments = argv + optind;
    ctl->n_arguments = (size_t)(argc - optind);
    return 0;
}

/* Finds the verb, and checks that options and arguments are its own. 0 or -1, having said what is wrong. */
static int check(struct ctl *ctl, uint32_t given)
{
    size_t used = 0;

    ctl->verb = verb_find(ctl->arguments, ctl->n_arguments, &used);
    if (!ctl->verb) {
        if (ctl->n_arguments)
            fprintf(stderr, PROGRAM ": there is no verb '%s'\n", ctl->arguments[0]);
        return -1;
    }
    ctl->arguments += used;
    ctl->n_arguments -= used;
    for (int i = 0; i < VERB_OPTION__MAX; i++) {
        if (!((given >> i) & 1) || verb_has_option(ctl->verb, (enum verb_option)i))
            continue;
        fprintf(stderr, PROGRAM ": %s has no option --%s\n", ctl->verb->name, verb_options[i].name);
        return -1;
    }
    if (ctl->help || (ctl->n_arguments >= ctl->verb->least && ctl->n_arguments <= ctl->verb->most))
        return 0;
    fprintf(stderr, PROGRAM ": %s takes %s\n", ctl->verb->name,
        ctl->verb->arguments ? ctl->verb->arguments : "no arguments");
    return -1;
}

static int usage(const struct ctl *ctl)
{
    const struct verb *verb = ctl->verb;

    fprintf(stderr, "usage: " PROGRAM " %s%s%s\ntry '" PROGRAM "%s%s --help'\n", verb ? verb->name : "VERB ...",
        verb && verb->arguments ? " " : "", verb && verb->arguments ? verb->arguments : "", verb ? " " : "",
        verb ? verb->name : "");
    return EXIT_USAGE;
}

/* A failure to reach the bus is told by those who need it. */
static int connect_bus(struct ctl *ctl, struct err **errp)
{
    if (ctl->bus && strcmp(ctl->bus, "system") != 0 && strcmp(ctl->bus, "session") != 0)
        return err_set(errp, ERR_USAGE, "--bus is system or session, not '%s'", ctl->bus);
    return client_open(ctl->bus && strcmp(ctl->bus, "session") == 0, &ctl->client, errp);
}

static int run(struct ctl *ctl)
{
    CLEANUP(err_freep) struct err *err = NULL;
    const struct verb *verb = ctl->verb;
    int r = verb->flags & VERB_LOCAL ? 0 : connect_bus(ctl, &err);

    if (r == 0)
        r = verb->run(ctl, &err);
    if (fflush(stdout) != 0 && errno != EPIPE && r >= 0) /* a reader may have enough */
        r = err_set(&err, ERR_STORE, "writing standard output: %m");
    if (r >= 0)
        return r;
    err_print(PROGRAM, err);
    if (err_kind(err) == ERR_USAGE)
        return EXIT_USAGE;
    if (verb->flags & VERB_HEALTH && err_kind(err) == ERR_MISSING)
        return health_status(HEALTH_MISSING);
    return verb->flags & (VERB_LOCAL | VERB_HEALTH) ? EXIT_FAILED : err_kind_status(err_kind(err));
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.now = when_now()};
    uint32_t given = 0;
    int status;

    secret_harden_process();
    (void)signal(SIGPIPE, SIG_IGN);
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
        (void)setlocale(LC_CTYPE, "C.UTF-8"); /* what we print is UTF-8; how wide it is must be known */
    ctl.screen = screen_of(stdout);
    if (parse(argc, argv, &ctl, &given) < 0)
        return usage(&ctl);
    if (ctl.version) {
        printf(PROGRAM " " AE_VERSION "\n");
        return 0;
    }
    if (ctl.complete)
        status = complete_words(&ctl, ctl.arguments, ctl.n_arguments);
    else if (ctl.help && !ctl.n_arguments) {
        verb_print_usage(stdout);
        return 0;
    } else if (check(&ctl, given) < 0)
        return usage(&ctl);
    else if (ctl.help) {
        verb_print_help(ctl.verb, stdout);
        return 0;
    } else
        status = run(&ctl);
    client_free(ctl.client);
    return status;
}
