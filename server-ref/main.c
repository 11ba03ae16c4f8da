#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/base/secret.h"
#include "server-ref/console.h"

#define PROGRAM "autoenroll-server-ref"

/* An option of the command line; those that are lists may be given several times. */
static const struct option_row {
    const char *name;
    const char *value; /* what it takes, NULL: nothing */
    enum { OPTION_TEXT, OPTION_NUMBER, OPTION_FLAG, OPTION_LIST } type;
    size_t offset;
    const char *help;
} options[] = {
#define ROW(name, value, type, member, help)                                                                           \
    {                                                                                                                  \
        name, value, OPTION_##type, offsetof(struct console_args, member), help                                        \
    }
    ROW("host", "NAME", LIST, hosts, "a name or address of this server; several times for several (localhost)"),
    ROW("ca-name", "NAME", TEXT, ca_name, "common name of the issuing CA (Example Issuing CA)"),
    ROW("key", "KIND", TEXT, key, "rsa2048, rsa3072, rsa4096, p256, p384 or p521, for all keys (rsa2048)"),
    ROW("user", "NAME", TEXT, user, "the first user (enroll)"),
    ROW("password-file", "FILE", TEXT, password_file, "the first line of FILE is the password; - is standard input"),
    ROW("listen", "ADDRESS", TEXT, listen, "address to listen on (127.0.0.1)"),
    ROW("port", "N", NUMBER, port, "port to listen on; 0 is any that is free (8443)"),
    ROW("exit-after", "SECONDS", NUMBER, exit_after, "stop by itself after so long"),
    ROW("json", NULL, FLAG, json, "print JSON"),
    ROW("account", "NAME", TEXT, account, "the account that the certificate belongs to"),
    ROW("reason", "REASON", TEXT, reason, "superseded, keyCompromise ... (unspecified)"),
#undef ROW
};

static const struct verb {
    const char *name; /* a word or two */
    const char *operands;
    int n;
    int (*run)(const struct console_args *args, struct err **errp);
    const char *options; /* those it takes, between blanks */
    const char *help;
} verbs[] = {
    {"init", "DIR", 1, console_init, " host ca-name key user password-file ",
        "makes root and issuing CA, TLS certificate, templates, configuration and the first user"},
    {"serve", "DIR", 1, console_serve, " listen port exit-after ",
        "serves DIR over HTTPS until SIGTERM; prints READY and the address once it listens"},
    {"requests", "DIR", 1, console_requests, " json ", "lists every request and what became of it"},
    {"approve", "DIR ID", 2, console_approve, " ", "issues a pending request"},
    {"deny", "DIR ID", 2, console_deny, " ", "denies a pending request"},
    {"import", "DIR CERTFILE", 2, console_import, " account ",
        "takes a certificate, PEM or DER, for one that this CA issued, so that it can be renewed"},
    {"user add", "DIR NAME", 2, console_user_add, " password-file ", "makes a user, or gives one another password"},
    {"user list", "DIR", 1, console_user_list, " ", "lists the users"},
    {"user remove", "DIR NAME", 2, console_user_remove, " ", "removes a user"},
    {"revoke", "DIR SERIAL", 2, console_revoke, " reason ", "revokes a certificate, for renewals and connections here"},
    {"cert", "DIR", 1, console_cert, " ", "prints the certificates of the CA, the issuing one first"},
};

static void print_verbs(FILE *to)
{
    fputs("usage: " PROGRAM
          " VERB DIR ...\n\nCEP, CES and CA in one program, to test certificate enrollment against.\n\n",
        to);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        fprintf(to, "  %-11s %-12s %s\n", verbs[i].name, verbs[i].operands, verbs[i].help);
    fputs("\n'" PROGRAM " VERB --help' tells the options of a verb.\n", to);
}

static bool takes(const struct verb *verb, const struct option_row *option)
{
    CLEANUP(mem_freep) char *word = mem_printf(" %s ", option->name);

    return strstr(verb->options, word) != NULL;
}

static void print_verb(const struct verb *verb)
{
    printf("usage: " PROGRAM " %s %s [OPTIONS]\n\n%s\n\n", verb->name, verb->operands, verb->help);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        CLEANUP(mem_freep)
        char *word = mem_printf(
            "--%s%s%s", options[i].name, options[i].value ? " " : "", options[i].value ? options[i].value : "");

        if (takes(verb, &options[i]))
            printf("  %-22s %s\n", word, options[i].help);
    }
}

/* Finds the verb and how many words of the command line it took. */
static const struct verb *find_verb(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        const char *blank = strchr(verbs[i].name, ' ');
        size_t len = blank ? (size_t)(blank - verbs[i].name) : strlen(verbs[i].name);

        if (argc < 2 || strlen(argv[1]) != len || strncmp(argv[1], verbs[i].name, len) != 0)
            continue;
        if (blank && (argc < 3 || strcmp(argv[2], blank + 1) != 0))
            continue;
        *words = blank ? 2 : 1;
        return &verbs[i];
    }
    return NULL;
}

static int set_number(uint32_t *out, const struct option_row *option, const char *text, struct err **errp)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || number > UINT32_MAX)
        return err_set(errp, ERR_USAGE, "--%s wants a number, and got '%s'", option->name, text);
    *out = (uint32_t)number;
    return 0;
}

static int set_option(struct console_args *args, const struct option_row *option, const char *text, struct err **errp)
{
    void *member = (char *)args + option->offset;

    switch (option->type) {
    case OPTION_TEXT:
        *(const char **)member = text;
        return 0;
    case OPTION_NUMBER:
        return set_number(member, option, text, errp);
    case OPTION_FLAG:
        *(bool *)member = true;
        return 0;
    case OPTION_LIST:
        strlist_add(member, text);
        return 0;
    }
    return -1;
}

#define WANTS_HELP 1

static int parse(const struct verb *verb, int argc, char **argv, struct console_args *args, struct err **errp)
{
    struct option table[ARRAY_SIZE(options) + 2] = {0};
    int n = 0;
    int at;
    int c;

    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (takes(verb, &options[i]))
            table[n++] = (struct option){options[i].name, options[i].value != NULL, NULL, (int)i};
    table[n] = (struct option){"help", 0, NULL, (int)ARRAY_SIZE(options)};
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":h", table, &at)) != -1) {
        if (c == 'h' || c == (int)ARRAY_SIZE(options))
            return WANTS_HELP;
        if (c == '?' || c == ':')
            return err_set(errp, ERR_USAGE, c == '?' ? "unknown option '%s'" : "'%s' wants a value", argv[optind - 1]);
        if (set_option(args, &options[c], optarg, errp) < 0)
            return -1;
    }
    args->operands = argv + optind;
    args->n = argc - optind;
    if (args->n != verb->n)
        return err_set(errp, ERR_USAGE, "'%s' wants %s", verb->name, verb->operands);
    return 0;
}

int main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct console_args args = {
        .ca_name = "Example Issuing CA", .key = "rsa2048", .user = "enroll", .listen = "127.0.0.1", .port = 8443};
    int words = 0;
    const struct verb *verb = find_verb(argc, argv, &words);
    int r;

    secret_harden_process();
    if (!verb) {
        bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);

        print_verbs(help ? stdout : stderr);
        return help ? 0 : err_kind_status(ERR_USAGE);
    }
    r = parse(verb, argc - words, argv + words, &args, &err);
    if (r == WANTS_HELP)
        print_verb(verb);
    else if (r == 0)
        r = verb->run(&args, &err);
    else
        err_hint(&err, "'" PROGRAM " %s --help' tells what it takes", verb->name);
    strlist_clear(&args.hosts);
    if (r >= 0)
        return 0;
    err_print(PROGRAM, err);
    return err_kind_status(err_kind(err));
}
