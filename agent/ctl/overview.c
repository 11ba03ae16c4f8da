#include "agent/ctl/overview.h"

#include <inttypes.h>
#include <string.h>

#include "agent/ctl/consumer.h"
#include "agent/ctl/health.h"
#include "agent/ctl/model.h"
#include "protocol/base/bytes.h"
#include "protocol/base/when.h"

/* --- what both the table and the details need --- */

static char *expiry_of(const json_t *e, int64_t now)
{
    int64_t end = model_number(e, "not-after");
    CLEANUP(mem_freep) char *at = when_format(end);

    if (!end)
        return mem_strdup("");
    return end > now ? screen_when(end, now) : mem_printf("EXPIRED %s", at);
}

static bool is_state(const json_t *e, const char *state)
{
    return strcmp(model_text(e, "state"), state) == 0;
}

/* What happens to @e by itself, and when. */
static char *next_of(const json_t *e, int64_t now)
{
    int64_t attempt = model_number(e, "next-attempt"), renew = model_number(e, "renew-after");
    CLEANUP(mem_freep) char *when = NULL;

    if (is_state(e, "working"))
        return mem_strdup(*model_text(e, "step") ? model_text(e, "step") : "at work");
    if (is_state(e, "cloned") || is_state(e, "names-differ"))
        return mem_strdup("a person must decide: explain");
    if (is_state(e, "pending"))
        when = screen_when(attempt, now);
    else if (*model_text(e, "last-error") || is_state(e, "blocked") || is_state(e, "due"))
        return attempt > now ? (when = screen_when(attempt, now), mem_printf("tried again %s", when))
                             : mem_strdup("tried as soon as possible");
    if (when)
        return attempt ? mem_printf("asks the CA %s", when) : mem_strdup("asks the CA");
    when = screen_when(renew, now);
    return renew ? mem_printf("renewed %s", when) : mem_strdup("");
}

static enum table_style style_of(const json_t *e, int64_t now)
{
    return health_style(health_of(e, now));
}

/* Adds to each enrollment how it does; the worst of all. */
static enum health add_healths(json_t *model, int64_t now)
{
    enum health worst = HEALTH_HEALTHY;
    json_t *list = json_object_get(model, "enrollments"), *e;
    size_t i;

    json_array_foreach (list, i, e) {
        enum health health = health_of(e, now);

        json_object_set_new(e, "health", json_string(health_word(health)));
        worst = health_worse(worst, health);
    }
    return worst;
}

static int read_model(struct ctl *ctl, json_t **model, enum health *worst, struct err **errp)
{
    if (model_read(ctl->client, model, errp) < 0)
        return -1;
    *worst = add_healths(*model, ctl->now);
    return 0;
}

/* --- list --- */

enum column { NAME, STATE, TEMPLATE, SUBJECT, EXPIRES, LEFT, NEXT };
static const char *const headings[] = {
    [NAME] = "NAME",
    [STATE] = "STATE",
    [TEMPLATE] = "TEMPLATE",
    [SUBJECT] = "SUBJECT",
    [EXPIRES] = "EXPIRES",
    [LEFT] = "LEFT",
    [NEXT] = "NEXT",
};

static void add_cell(struct table *table, enum column column, const json_t *e, const struct ctl *ctl)
{
    CLEANUP(mem_freep) char *text = NULL;

    switch (column) {
    case NAME:
        table_add(table, TABLE_PLAIN, model_text(e, "id"));
        return;
    case STATE:
        table_add(table, style_of(e, ctl->now), model_text(e, "state"));
        return;
    case TEMPLATE:
        table_add(table, TABLE_PLAIN, model_text(e, "template"));
        return;
    case SUBJECT:
        table_add(table, TABLE_PLAIN,
            *model_text(e, "subject") ? model_text(e, "subject") : model_text(e, "alternative-names"));
        return;
    case EXPIRES:
        text = expiry_of(e, ctl->now);
        break;
    case LEFT:
        text = screen_bar(&ctl->screen, model_number(e, "not-before"), model_number(e, "not-after"), ctl->now);
        break;
    case NEXT:
        text = next_of(e, ctl->now);
        break;
    }
    table_add(table, column == NEXT ? TABLE_PLAIN : style_of(e, ctl->now), text);
}

/* The columns that @which names; LEFT only where a bar can be drawn. */
static void print_enrollments(const struct ctl *ctl, const json_t *model, const enum column *which, size_t n)
{
    const char *shown[ARRAY_SIZE(headings)];
    enum column columns[ARRAY_SIZE(headings)];
    json_t *list = json_object_get(model, "enrollments"), *e;
    struct table table;
    size_t n_shown = 0, i;

    for (size_t c = 0; c < n; c++) {
        if (which[c] == LEFT && !ctl->screen.terminal)
            continue;
        columns[n_shown] = which[c];
        shown[n_shown++] = headings[which[c]];
    }
    table_begin(&table, shown, n_shown);
    json_array_foreach (list, i, e)
        for (size_t c = 0; c < n_shown; c++)
            add_cell(&table, columns[c], e, ctl);
    if (json_array_size(list))
        table_print(&table, &ctl->screen.look, stdout);
    else
        printf("nothing is enrolled: 'autoenroll plan' says what will be, and why\n");
    table_clear(&table);
}

int overview_list(struct ctl *ctl, struct err **errp)
{
    static const enum column columns[] = {NAME, STATE, TEMPLATE, SUBJECT, EXPIRES, LEFT};
    enum health worst;
    json_t *model;

    if (read_model(ctl, &model, &worst, errp) < 0)
        return -1;
    if (ctl->json) {
        json_t *out = json_pack("{s:O}", "enrollments", json_object_get(model, "enrollments"));

        screen_json(out);
        json_decref(out);
    } else
        print_enrollments(ctl, model, columns, ARRAY_SIZE(columns));
    json_decref(model);
    return health_status(worst);
}

/* --- servers --- */

/* While it fails, it is not asked before its next attempt. */
static int64_t next_question(const json_t *s)
{
    int64_t update = model_number(s, "next-update"), attempt = model_number(s, "next-attempt");

    return *model_text(s, "last-error") && attempt ? attempt : update;
}

#define STATUS_COLUMNS 4 /* of the servers */
#define ALL_COLUMNS    7

/* @n_columns  how many of them */
static void print_servers(const struct ctl *ctl, const json_t *model, size_t n_columns)
{
    static const char *const columns[ALL_COLUMNS] = {
        "SERVER", "POLICY", "ASKED", "NEXT", "AUTH", "TEMPLATES", "ADDRESS"};
    json_t *list = json_object_get(model, "servers"), *s;
    struct table table;
    size_t i;

    table_begin(&table, columns, n_columns);
    json_array_foreach (list, i, s) {
        enum table_style style = *model_text(s, "last-error") ? TABLE_BAD : TABLE_GOOD;
        CLEANUP(mem_freep) char *asked = screen_when(model_number(s, "fetched-at"), ctl->now);
        CLEANUP(mem_freep) char *next = screen_when(next_question(s), ctl->now);
        CLEANUP(mem_freep) char *templates = mem_printf("%" PRId64, model_number(s, "templates"));
        const char *name = model_text(s, "friendly-name");
        const struct {
            const char *text;
            enum table_style style;
        } cells[ALL_COLUMNS] = {
            {model_text(s, "id"), style},
            {*name ? name : model_text(s, "policy-id"), TABLE_PLAIN},
            {model_number(s, "fetched-at") ? asked : "never", style},
            {next, TABLE_PLAIN},
            {model_text(s, "auth"), TABLE_PLAIN},
            {templates, TABLE_PLAIN},
            {model_text(s, "uri"), TABLE_PLAIN},
        };

        for (size_t c = 0; c < n_columns; c++)
            table_add(&table, cells[c].style, cells[c].text);
    }
    if (json_array_size(list))
        table_print(&table, &ctl->screen.look, stdout);
    else
        printf("no policy server is configured: write a [policy-server \"NAME\"] section, see autoenroll.conf(5)\n");
    table_clear(&table);
}

int overview_servers(struct ctl *ctl, struct err **errp)
{
    json_t *model, *out;

    if (model_read(ctl->client, &model, errp) < 0)
        return -1;
    if (ctl->json) {
        out = json_pack("{s:O}", "servers", json_object_get(model, "servers"));
        screen_json(out);
        json_decref(out);
    } else
        print_servers(ctl, model, ALL_COLUMNS);
    json_decref(model);
    return 0;
}

/* --- status --- */

/* What @objects of one kind have to complain about. The hint is that of an attempt that failed. */
static bool print_problems(const struct ctl *ctl, const json_t *objects, const char *key)
{
    bool any = false;
    json_t *one;
    size_t i;

    json_array_foreach (objects, i, one) {
        const char *text = model_text(one, key);
        CLEANUP(mem_freep) char *line = mem_printf("%s: %s", model_text(one, "id"), text);

        if (!*text)
            continue;
        screen_problem(&ctl->screen, line, strcmp(key, "last-error") == 0 ? model_text(one, "hint") : NULL);
        any = true;
    }
    return any;
}

static bool print_all_problems(const struct ctl *ctl, const json_t *model)
{
    json_t *enrollments = json_object_get(model, "enrollments"), *text;
    json_t *problems = json_object_get(json_object_get(model, "manager"), "problems");
    bool any = false;
    size_t i;

    json_array_foreach (problems, i, text) {
        screen_problem(&ctl->screen, json_string_value(text), NULL);
        any = true;
    }
    any |= print_problems(ctl, json_object_get(model, "servers"), "last-error");
    any |= print_problems(ctl, enrollments, "last-error");
    any |= print_problems(ctl, enrollments, "problem");
    any |= print_problems(ctl, enrollments, "names-differ");
    any |= print_problems(ctl, json_object_get(model, "watched"), "error");
    return any;
}

/* agent_state() in words, each with what it is for the exit status. */
static const struct {
    const char *state, *text;
    enum table_style style;
    enum health health;
} agent_states[] = {
    {"ok", "all is well", TABLE_GOOD, HEALTH_HEALTHY},
    {"degraded", "something failed and is tried again", TABLE_WARN, HEALTH_HEALTHY},
    {"clock", "the clock cannot be right: nothing is retired until it is", TABLE_BAD, HEALTH_ERROR},
    {"cloned", "this state was made on another machine: 'autoenroll reset' or 'autoenroll adopt'", TABLE_BAD,
        HEALTH_ERROR},
};

static enum health print_agent(const struct ctl *ctl, const json_t *manager)
{
    const char *state = model_text(manager, "state");
    CLEANUP(mem_freep) char *pulse = screen_when(model_number(manager, "next-pulse"), ctl->now);
    size_t i = 0;

    while (i + 1 < ARRAY_SIZE(agent_states) && strcmp(agent_states[i].state, state) != 0)
        i++;
    if (!ctl->json) {
        printf("autoenrolld %s: %s%s%s\n", model_text(manager, "version"),
            table_style_on(&ctl->screen.look, agent_states[i].style), agent_states[i].text,
            table_style_off(&ctl->screen.look, agent_states[i].style));
        if (model_number(manager, "next-pulse") > ctl->now) /* where nobody may be asked, it is long past */
            printf("policies are asked again %s\n", pulse);
        putchar('\n');
    }
    return agent_states[i].health;
}

static bool any_server_fails(const json_t *model)
{
    json_t *servers = json_object_get(model, "servers"), *s;
    size_t i;

    json_array_foreach (servers, i, s)
        if (*model_text(s, "last-error"))
            return true;
    return false;
}

int overview_status(struct ctl *ctl, struct err **errp)
{
    static const enum column columns[] = {NAME, STATE, TEMPLATE, EXPIRES, LEFT, NEXT};
    enum health worst;
    json_t *model;

    if (read_model(ctl, &model, &worst, errp) < 0)
        return -1;
    worst = health_worse(worst, print_agent(ctl, json_object_get(model, "manager")));
    if (any_server_fails(model))
        worst = health_worse(worst, HEALTH_ERROR);
    if (ctl->json) {
        json_object_set_new(model, "health", json_string(health_word(worst)));
        screen_json(model);
    } else {
        print_servers(ctl, model, STATUS_COLUMNS);
        putchar('\n');
        print_enrollments(ctl, model, columns, ARRAY_SIZE(columns));
        if (worst != HEALTH_HEALTHY)
            putchar('\n');
        if (print_all_problems(ctl, model))
            printf("\n'autoenroll explain NAME' says more of an enrollment.\n");
    }
    json_decref(model);
    return health_status(worst);
}

/* --- show --- */

static void show_span(const struct ctl *ctl, const json_t *e, const char *label, const char *key)
{
    CLEANUP(mem_freep) char *text = screen_when(model_number(e, key), ctl->now);

    if (model_number(e, key))
        screen_field(&ctl->screen, label, text);
}

static void show_fields(const struct ctl *ctl, const json_t *e)
{
    static const struct {
        const char *label, *key;
        bool time;
    } rows[] = {
        {"template", "template", false},
        {"server", "server", false},
        {"subject", "subject", false},
        {"other names", "alternative-names", false},
        {"issuer", "issuer", false},
        {"ca", "ca", false},
        {"serial", "serial", false},
        {"thumbprint", "thumbprint", false},
        {"valid from", "not-before", true},
        {"expires", "not-after", true},
        {"renewed", "renew-after", true},
        {"next attempt", "next-attempt", true},
        {"key", "key-uri", false},
        {"key kind", "key-kind", false},
        {"files", "directory", false},
        {"request", "request-id", false},
        {"after a change", "hook", false},
        {"probe", "probe", false},
        {"names differ", "names-differ", false},
        {"problem", "problem", false},
        {"error", "last-error", false},
        {"hint", "hint", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].time)
            show_span(ctl, e, rows[i].label, rows[i].key);
        else
            screen_field(&ctl->screen, rows[i].label, model_text(e, rows[i].key));
    }
}

static void show_enrollment(const struct ctl *ctl, const json_t *e)
{
    enum health health = health_of(e, ctl->now);
    const struct table_look *look = &ctl->screen.look;
    CLEANUP(mem_freep)
    char *bar = screen_bar(&ctl->screen, model_number(e, "not-before"), model_number(e, "not-after"), ctl->now);
    CLEANUP(mem_freep)
    char *state = mem_printf("%s%s%s, %s", table_style_on(look, health_style(health)), health_word(health),
        table_style_off(look, health_style(health)), model_text(e, "state"));

    printf("%s: %s%s%s\n", model_text(e, "id"), state, *bar ? "  " : "", bar);
    show_fields(ctl, e);
}

static int show_configuration(const struct ctl *ctl, const json_t *e, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    json_t *out;

    if (consumer_write(ctl->consumer, e, &text, errp) < 0)
        return -1;
    if (!ctl->json) {
        fputs(bytes_text(&text), stdout);
        return 0;
    }
    out = json_pack("{s:s, s:s}", "consumer", ctl->consumer, "configuration", bytes_text(&text));
    screen_json(out);
    json_decref(out);
    return 0;
}

int overview_show(struct ctl *ctl, struct err **errp)
{
    enum health worst;
    json_t *model, *e = NULL;
    int r;

    if (read_model(ctl, &model, &worst, errp) < 0)
        return -1;
    r = model_find_enrollment(model, ctl->arguments[0], &e, errp);
    if (r < 0) {
        json_decref(model);
        return -1;
    }
    if (ctl->consumer)
        r = show_configuration(ctl, e, errp);
    else if (ctl->json)
        screen_json(e);
    else
        show_enrollment(ctl, e);
    if (r == 0)
        r = health_status(health_of(e, ctl->now));
    json_decref(model);
    return r;
}
