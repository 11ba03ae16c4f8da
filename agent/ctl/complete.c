#include "agent/ctl/complete.h"

#include <string.h>

#include "agent/ctl/consumer.h"
#include "agent/ctl/foresee.h"
#include "agent/ctl/model.h"
#include "protocol/base/printable.h"

/* What is being typed. */
struct typing {
    const char *prefix;
    struct strlist told; /* no word twice */
};

static void offer(struct typing *typing, const char *word, const char *help)
{
    CLEANUP(mem_freep) char *safe_word = printable_text(word);
    CLEANUP(mem_freep) char *safe_help = printable_text(help);

    if (strncmp(safe_word, typing->prefix, strlen(typing->prefix)) != 0 || strlist_has(&typing->told, safe_word))
        return;
    strlist_add(&typing->told, safe_word);
    printf("%s\t%s\n", safe_word, safe_help);
}

static void offer_objects(struct typing *typing, const json_t *model, const char *list, const char *help_key)
{
    json_t *items = json_object_get(model, list), *item;
    size_t i;

    json_array_foreach (items, i, item)
        offer(typing, model_text(item, "id"), model_text(item, help_key));
}

static void offer_templates(struct ctl *ctl, struct typing *typing, const json_t *model)
{
    json_t *servers = json_object_get(model, "servers"), *server, *t;
    size_t i, k;

    json_array_foreach (servers, i, server) {
        json_t *templates = NULL;

        if (foresee_list_templates(ctl->client, model_text(server, "id"), &templates, NULL) < 0)
            continue;
        json_array_foreach (templates, k, t)
            offer(typing, model_text(t, "name"), model_text(t, "reason"));
        json_decref(templates);
    }
}

/* Names that only the daemon knows; nothing where there is none. */
static void offer_names(struct ctl *ctl, struct typing *typing, const char *kind)
{
    bool session = ctl->bus && strcmp(ctl->bus, "session") == 0;
    json_t *model = NULL;

    if (!ctl->client && client_open(session, &ctl->client, NULL) < 0)
        return;
    if (model_read(ctl->client, &model, NULL) < 0)
        return;
    if (strcmp(kind, "@enrollments") == 0)
        offer_objects(typing, model, "enrollments", "state");
    else if (strcmp(kind, "@servers") == 0)
        offer_objects(typing, model, "servers", "uri");
    else
        offer_templates(ctl, typing, model);
    json_decref(model);
}

/* @completion is a kind of names, or the words themselves. */
static void offer_kind(struct ctl *ctl, struct typing *typing, const char *completion)
{
    if (strcmp(completion, "@files") == 0)
        printf("@files\t\n");
    else if (strcmp(completion, "@consumers") == 0)
        for (size_t i = 0; consumer_name(i); i++)
            offer(typing, consumer_name(i), "");
    else if (completion[0] == '@')
        offer_names(ctl, typing, completion);
    else
        for (const char *at = completion; *at; at += strcspn(at, " ") + strspn(at + strcspn(at, " "), " ")) {
            CLEANUP(mem_freep) char *word = mem_strndup(at, strcspn(at, " "));

            offer(typing, word, "");
        }
}

static void offer_options(struct typing *typing, const struct verb *verb)
{
    for (int i = 0; i < VERB_OPTION__MAX; i++) {
        CLEANUP(mem_freep) char *word = mem_printf("--%s", verb_options[i].name);

        if (verb_options[i].help && (!verb || verb_has_option(verb, (enum verb_option)i)))
            offer(typing, word, verb_options[i].help);
    }
}

/* The words of verbs' names that may follow the @n that are there. */
static void offer_verbs(struct typing *typing, char **words, size_t n)
{
    for (size_t i = 0; i < n_verbs; i++) {
        const char *name = verbs[i].name, *blank = strchr(name, ' ');
        CLEANUP(mem_freep) char *first = blank ? mem_strndup(name, (size_t)(blank - name)) : mem_strdup(name);

        if (n == 0)
            offer(typing, first, blank ? "list and test policy servers" : verbs[i].help);
        else if (n == 1 && blank && strcmp(words[0], first) == 0)
            offer(typing, blank + 1, verbs[i].help);
    }
}

static const struct verb_option_row *option_of(const char *word)
{
    for (size_t i = 0; i < VERB_OPTION__MAX; i++)
        if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, verb_options[i].name) == 0)
            return &verb_options[i];
    return NULL;
}

/* Takes options, with their arguments, out of @words; remembers which bus is meant. Returns how many words stay. */
static size_t drop_options(struct ctl *ctl, char **words, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        const struct verb_option_row *option = option_of(words[i]);

        if (words[i][0] != '-')
            words[kept++] = words[i];
        else if (option && option->argument && i + 1 < n) {
            i++;
            if (option == &verb_options[VERB_OPTION_BUS])
                ctl->bus = words[i];
        }
    }
    return kept;
}

int complete_words(struct ctl *ctl, char **words, size_t n)
{
    char empty[] = "", *none[] = {empty};
    struct typing typing = {.prefix = n ? words[n - 1] : ""};
    const struct verb_option_row *before = n > 1 ? option_of(words[n - 2]) : NULL;
    const struct verb *verb;
    size_t used = 0;

    if (!n)
        words = none, n = 1;
    n = drop_options(ctl, words, n - 1);
    verb = verb_find(words, n, &used);
    if (before && before->argument) {
        if (before->completion)
            offer_kind(ctl, &typing, before->completion);
    } else if (typing.prefix[0] == '-')
        offer_options(&typing, verb);
    else if (!verb)
        offer_verbs(&typing, words, n);
    else if (verb->completion && n - used < verb->most)
        offer_kind(ctl, &typing, verb->completion);
    strlist_clear(&typing.told);
    return 0;
}
