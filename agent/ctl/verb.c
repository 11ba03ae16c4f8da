#include "agent/ctl/verb.h"

#include <stdlib.h>
#include <string.h>

#include "agent/ctl/ask.h"
#include "agent/ctl/consumer.h"
#include "agent/ctl/doctor.h"
#include "agent/ctl/foresee.h"
#include "agent/ctl/health.h"
#include "agent/ctl/login.h"
#include "agent/ctl/overview.h"
#include "agent/ctl/prepare.h"
#include "agent/ctl/show_file.h"
#include "agent/ctl/watch.h"

const struct verb_option_row verb_options[VERB_OPTION__MAX] = {
#define X(name, text, argument, completion, help, member)                                                              \
    [VERB_OPTION_##name] = {text, argument, completion, help, offsetof(struct ctl, member)},
    VERB_OPTIONS(X)
#undef X
};

#define BIT(name) (1u << VERB_OPTION_##name)
#define ALWAYS    (BIT(JSON) | BIT(BUS) | BIT(HELP) | BIT(VERSION))

const struct verb verbs[] = {
    {"status", NULL, NULL, 0, 0, 0, VERB_HEALTH, "how the agent and everything that it holds do",
        "Shows the policy servers, every enrollment with what happens to it next, and what is wrong with what to do\n"
        "about it. The exit status is that of the worst enrollment.",
        overview_status},
    {"list", NULL, NULL, 0, 0, 0, VERB_HEALTH, "the enrollments, a line each", NULL, overview_list},
    {"show", "NAME", "@enrollments", 1, 1, BIT(FOR), VERB_HEALTH, "everything about one enrollment",
        "With --for: a working configuration for a program that is to use the certificate, with the real paths and\n"
        "the key's URI, and as comments what else it needs.",
        overview_show},
    {"templates", "[SERVER]", "@servers", 0, 1, 0, 0, "what the policy offers, and why something is not taken", NULL,
        foresee_templates},
    {"enroll", "TEMPLATE", "@templates", 1, 1, BIT(SERVER) | BIT(WAIT), 0, "asks for a certificate of a template",
        "The template is named by its name or its OID, see 'autoenroll templates'. A [certificate] section with names\n"
        "is written into the configuration instead, and is enrolled by itself.",
        ask_enroll},
    {"renew", "NAME | --all", "@enrollments", 0, 1, BIT(ALL) | BIT(SAME_KEY) | BIT(WAIT), 0,
        "renews now, although it is not due", NULL, ask_renew},
    {"pulse", NULL, NULL, 0, 0, BIT(WAIT), 0, "asks every policy server, and does what is due", NULL, ask_pulse},
    {"poll", "[NAME]", "@enrollments", 0, 1, BIT(WAIT), 0, "asks what became of requests that are pending", NULL,
        ask_poll},
    {"server list", NULL, NULL, 0, 0, 0, 0, "the policy servers, a line each", NULL, overview_servers},
    {"server test", "SERVER", "@servers", 1, 1, 0, 0, "tries a policy server: TLS, credentials, policy",
        "Nothing is enrolled. What is found is printed; the exit status is 0 when all of it works.", ask_server_test},
    {"login", "SERVER", "@servers", 1, 1, BIT(PASSWORD_FILE) | BIT(ONCE), 0,
        "gives the daemon the password of a policy server",
        "It is read from the terminal without being shown, or from --password-file. It goes through a descriptor into\n"
        "locked memory of the daemon, never into a file: a restart of the daemon forgets it. For one that lasts,\n"
        "store it as the systemd credential SERVER.password.",
        login_give},
    {"logout", "SERVER", "@servers", 1, 1, 0, 0, "has the daemon forget that password", NULL, login_take_away},
    {"explain", "NAME", "@enrollments", 1, 1, 0, 0, "what happened, what happens next, and what to do", NULL,
        foresee_explain},
    {"plan", NULL, NULL, 0, 0, BIT(AT), 0, "what will happen and why, without doing it",
        "With --at: what would be decided at that moment, as things are now.", foresee_plan},
    {"verify", "[NAME]", "@enrollments", 0, 1, 0, VERB_HEALTH,
        "looks whether keys, certificates and files are as they should be", NULL, ask_verify},
    {"watch", NULL, NULL, 0, 0, 0, 0, "follows what happens, until Ctrl-C",
        "One line for each event; with --json one object a line. A restart of the daemon does not end it.",
        watch_events},
    {"remove", "NAME", "@enrollments", 1, 1, BIT(FORCE) | BIT(WAIT), 0,
        "gives an enrollment up: key, certificate, files, record",
        "Refused while a section or the policy would bring it back at once, unless --force. It does not revoke.",
        ask_remove},
    {"decode", "FILE|-", "@files", 1, 1, 0, VERB_LOCAL, "prints what a message of these protocols says",
        "Envelope, policy, request, answer, fault, PKCS#10, CMC, CMS or certificate, as XML, PEM, base64 or DER.\n"
        "Prints what can be read also of a broken message; exit status 1 then, and standard error says where.",
        show_file},
    {"doctor", NULL, NULL, 0, 0, BIT(STATE_DIR), VERB_LOCAL, "looks at everything that must be right: a line each",
        "Time, names, the daemon, TLS and credentials of each policy server, the token, templates, state and disk.\n"
        "Each line begins with ok, or with !! and ends with what to do. Exit status 1 when there is one of these.",
        doctor_run},
    {"adopt", NULL, NULL, 0, 0, BIT(YES), 0, "after a move to new hardware: this state belongs to this machine",
        "Only where the machine that the state was made on is gone: two machines must never use one state.", ask_adopt},
    {"reset", NULL, NULL, 0, 0, BIT(YES), 0, "after cloning: forgets everything and starts as a new machine", NULL,
        ask_reset},
    {"prepare-image", NULL, NULL, 0, 0, BIT(STATE_DIR) | BIT(YES), VERB_LOCAL,
        "before cloning: wipes token, records and credentials",
        "For a machine that is to become the image of others. The daemon must be stopped. What is wiped is told; what\n"
        "was enrolled here cannot be used any more afterwards.",
        prepare_image},
    {"reload", NULL, NULL, 0, 0, 0, 0, "has the daemon read its configuration anew", NULL, ask_reload},
};
const size_t n_verbs = ARRAY_SIZE(verbs);

const struct verb *verb_find(char *const *words, size_t n, size_t *used)
{
    for (size_t i = 0; i < n_verbs; i++) {
        const char *name = verbs[i].name, *blank = strchr(name, ' ');
        size_t len = blank ? (size_t)(blank - name) : strlen(name);

        if (!n || strlen(words[0]) != len || strncmp(words[0], name, len) != 0)
            continue;
        if (blank && (n < 2 || strcmp(words[1], blank + 1) != 0))
            continue;
        *used = blank ? 2 : 1;
        return &verbs[i];
    }
    return NULL;
}

bool verb_has_option(const struct verb *verb, enum verb_option option)
{
    return ((verb->options | ALWAYS) >> option) & 1;
}

static void print_options(uint32_t which, FILE *out)
{
    for (int i = 0; i < VERB_OPTION__MAX; i++) {
        const struct verb_option_row *row = &verb_options[i];
        CLEANUP(mem_freep)
        char *left = mem_printf("--%s%s%s", row->name, row->argument ? " " : "", row->argument ? row->argument : "");

        if ((which >> i) & 1)
            fprintf(out, "  %-22s %s\n", left, row->help);
    }
}

void verb_print_usage(FILE *out)
{
    fprintf(out, "usage: " PROGRAM " VERB ...\n"
                 "Certificates of this machine: what it holds, what happens next, and why.\n\n");
    for (size_t i = 0; i < n_verbs; i++) {
        CLEANUP(mem_freep)
        char *left = mem_printf(
            "%s%s%s", verbs[i].name, verbs[i].arguments ? " " : "", verbs[i].arguments ? verbs[i].arguments : "");

        fprintf(out, "  %-22s %s\n", left, verbs[i].help);
    }
    fprintf(out, "\n");
    print_options(ALWAYS, out);
    fprintf(out, "\n'" PROGRAM " VERB --help' says more. Begin with 'status', 'doctor' and 'explain NAME'.\n");
}

static void print_consumers(FILE *out)
{
    fprintf(out, "\nConsumers:");
    for (size_t i = 0; consumer_name(i); i++)
        fprintf(out, " %s", consumer_name(i));
    fprintf(out, "\n");
}

static void print_statuses(const struct verb *verb, FILE *out)
{
    fprintf(out, "\nExit status:\n");
    if (verb->flags & VERB_HEALTH)
        for (int status = 0; status < HEALTH__MAX; status++)
            for (int h = 0; h < HEALTH__MAX; h++)
                if (health_status((enum health)h) == status)
                    fprintf(
                        out, "  %d  %-14s %s\n", status, health_word((enum health)h), health_meaning((enum health)h));
    if (!(verb->flags & (VERB_HEALTH | VERB_LOCAL)))
        fprintf(out, "   0 done or begun          65 data that is not what it should be   66 no such thing\n"
                     "  69 network, TLS, no daemon  70 a fault of ours                    74 token or disk\n"
                     "  75 busy, try again        76 an answer that breaks the protocol   77 refused, not allowed\n"
                     "  78 configuration or policy\n");
    if (verb->flags & VERB_LOCAL)
        fprintf(out, "   0 all is well             1 not, and what was printed says why\n");
    fprintf(out, "  64 usage\n");
}

void verb_print_help(const struct verb *verb, FILE *out)
{
    fprintf(out, "usage: " PROGRAM " %s%s%s%s\n\n%s.\n", verb->name, verb->options ? " [OPTION]..." : "",
        verb->arguments ? " " : "", verb->arguments ? verb->arguments : "", verb->help);
    if (verb->more)
        fprintf(out, "%s\n", verb->more);
    fprintf(out, "\n");
    print_options(verb->options | ALWAYS, out);
    if (verb->options & BIT(FOR))
        print_consumers(out);
    print_statuses(verb, out);
}
