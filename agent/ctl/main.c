#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/decode.h"
#include "protocol/base/printable.h"
#include "protocol/base/secret.h"

#define PROGRAM     "autoenroll"
#define EXIT_USAGE  64
#define EXIT_FAILED 1

struct options {
    bool json;
};

/*
 * Prints what can be read also of a broken message. Exit status 1: the input is wrong, standard error says where.
 */
static int decode_verb(const struct options *options, char **arguments)
{
    CLEANUP(node_freep) struct node *tree = node_new();
    CLEANUP(bytes_wipe) struct bytes input = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *name = printable_text(arguments[0]);
    int r = decode_read(arguments[0], &input, &err);

    if (r >= 0) {
        r = decode(tree, &input, &err);
        if (r < 0)
            err_wrap(&err, "%s", name);
        if ((options->json ? node_print_json : node_print)(tree, stdout, &err) < 0)
            r = -1;
    }
    if (r >= 0)
        return 0;
    err_print(PROGRAM, err);
    return EXIT_FAILED;
}

static const struct verb {
    const char *name, *arguments, *help;
    int n_arguments;
    int (*run)(const struct options *options, char **arguments);
} verbs[] = {
    {"decode", "FILE|-",
        "prints what a message of these protocols says: envelope, policy, request, answer, fault,\n"
        "      PKCS#10, CMC, CMS, certificate; as XML, PEM, base64 or DER. Exit status 1: the input is wrong",
        1, decode_verb},
};

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: " PROGRAM " [--json] VERB ...\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        fprintf(out, "  %s %s\n      %s\n", verbs[i].name, verbs[i].arguments, verbs[i].help);
    fprintf(out, "\n  --json     as JSON\n  --version  which version this is\n  --help     this text\n");
    return status;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    struct options options = {0};
    const struct verb *verb;
    int c;

    secret_harden_process();
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 'j':
            options.json = true;
            break;
        case 'h':
            return usage(stdout, 0);
        case 'v':
            printf(PROGRAM " " AE_VERSION "\n");
            return 0;
        default:
            return usage(stderr, EXIT_USAGE);
        }
    }
    verb = find_verb(argv[optind]);
    if (!verb || argc - optind - 1 != verb->n_arguments)
        return usage(stderr, EXIT_USAGE);
    return verb->run(&options, argv + optind + 1);
}
