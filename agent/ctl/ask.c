#include "agent/ctl/ask.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/ctl/follow.h"
#include "agent/ctl/foresee.h"
#include "agent/ctl/health.h"
#include "agent/ctl/model.h"
#include "protocol/base/printable.h"

/* A call of the enrollment's own interface, or of a server's; *path is owned by the caller, for as long as the call. */
static struct client_call call_of(const char *kind, const char *interface, const char *id, char **path)
{
    *path = buspath_make(kind, id);
    return (struct client_call){.path = *path, .interface = interface};
}

/* --- enroll --- */

static bool offers(const json_t *templates, const char *name)
{
    json_t *t;
    size_t i;

    json_array_foreach (templates, i, t)
        if (strcmp(model_text(t, "name"), name) == 0 || strcmp(model_text(t, "oid"), name) == 0)
            return true;
    return false;
}

static bool server_offers(struct ctl *ctl, const char *server, const char *template)
{
    json_t *templates = NULL;
    bool found;

    if (foresee_list_templates(ctl->client, server, &templates, NULL) < 0)
        return false;
    found = offers(templates, template);
    json_decref(templates);
    return found;
}

/* The section to ask, when none was named: the only one, or the first that offers @template. Owned, or NULL. */
static char *choose_server(struct ctl *ctl, const char *template, struct err **errp)
{
    CLEANUP(mem_freep) char *found = NULL;
    json_t *model, *servers, *server;
    size_t i;

    if (model_read(ctl->client, &model, errp) < 0)
        return NULL;
    servers = json_object_get(model, "servers");
    json_array_foreach (servers, i, server)
        if (!found && (json_array_size(servers) == 1 || server_offers(ctl, model_text(server, "id"), template)))
            found = mem_strdup(model_text(server, "id"));
    if (!found && json_array_size(servers)) {
        err_set(errp, ERR_MISSING, "no policy server offers a template '%s'", template);
        err_hint(errp, "'" PROGRAM " templates' lists them; or say --server");
    } else if (!found) {
        err_set(errp, ERR_MISSING, "no policy server is configured");
        err_hint(errp, "write a [policy-server \"NAME\"] section, see autoenroll.conf(5)");
    }
    json_decref(model);
    return TAKE(found);
}

int ask_enroll(struct ctl *ctl, struct err **errp)
{
    CLEANUP(follow_clear) struct follow follow = {0};
    CLEANUP(mem_freep)
    char *server = ctl->server ? mem_strdup(ctl->server) : choose_server(ctl, ctl->arguments[0], errp);
    struct client_call call = {.method = "Enroll", .signature = "ssa{sv}"};

    if (!server)
        return -1;
    call.arguments = json_pack("[s, s, {}]", server, ctl->arguments[0]);
    if (follow_ask(ctl, &follow, ctl->arguments[0], &call, errp) < 0)
        return -1;
    return follow_finish(ctl, &follow, errp);
}

/* --- on one enrollment, or on all that a test holds for --- */

static bool has_certificate(const json_t *e)
{
    return model_number(e, "not-after") != 0;
}

static bool is_pending(const json_t *e)
{
    return strcmp(model_text(e, "state"), "pending") == 0;
}

/* Asks for @method of one enrollment. */
static int ask_one(
    struct ctl *ctl, struct follow *follow, const char *id, const char *method, json_t *options, struct err **errp)
{
    CLEANUP(mem_freep) char *path = NULL;
    struct client_call call = call_of(BUS_ENROLLMENTS, BUS_ENROLLMENT, id, &path);

    call.method = method;
    if (options) {
        call.signature = "a{sv}";
        call.arguments = json_pack("[o]", options);
    }
    return follow_ask(ctl, follow, id, &call, errp);
}

/* The enrollment that was named, looked up so that a wrong name is told with the right ones; or every one that is
 * @wanted. The ids, appended to @out. */
static int choose_enrollments(struct ctl *ctl, bool (*wanted)(const json_t *e), struct strlist *out, struct err **errp)
{
    json_t *model, *list, *e;
    size_t i;
    int r = 0;

    if (model_read(ctl->client, &model, errp) < 0)
        return -1;
    list = json_object_get(model, "enrollments");
    if (ctl->n_arguments) {
        r = model_find_enrollment(model, ctl->arguments[0], &e, errp);
        if (r == 0)
            strlist_add(out, ctl->arguments[0]);
    } else
        json_array_foreach (list, i, e)
            if (wanted(e))
                strlist_add(out, model_text(e, "id"));
    json_decref(model);
    return r;
}

static json_t *renew_options(const struct ctl *ctl)
{
    return ctl->same_key ? json_pack("{s:b}", "same-key", 1) : json_object();
}

int ask_renew(struct ctl *ctl, struct err **errp)
{
    CLEANUP(follow_clear) struct follow follow = {0};
    CLEANUP(strlist_clear) struct strlist ids = {0};

    if (ctl->all == (ctl->n_arguments == 1))
        return err_set(errp, ERR_USAGE, "renew takes the NAME of an enrollment, or --all");
    if (choose_enrollments(ctl, has_certificate, &ids, errp) < 0)
        return -1;
    for (size_t i = 0; i < ids.n; i++)
        if (ask_one(ctl, &follow, ids.items[i], "Renew", renew_options(ctl), errp) < 0)
            return err_wrap(errp, "%s", ids.items[i]);
    if (!ids.n && !ctl->json)
        printf("there is nothing to renew\n");
    return follow_finish(ctl, &follow, errp);
}

int ask_poll(struct ctl *ctl, struct err **errp)
{
    CLEANUP(follow_clear) struct follow follow = {0};
    CLEANUP(strlist_clear) struct strlist ids = {0};

    if (choose_enrollments(ctl, is_pending, &ids, errp) < 0)
        return -1;
    for (size_t i = 0; i < ids.n; i++)
        if (ask_one(ctl, &follow, ids.items[i], "Poll", NULL, errp) < 0)
            return err_wrap(errp, "%s", ids.items[i]);
    if (!ids.n && !ctl->json)
        printf("no request is pending\n");
    return follow_finish(ctl, &follow, errp);
}

int ask_remove(struct ctl *ctl, struct err **errp)
{
    CLEANUP(follow_clear) struct follow follow = {0};
    CLEANUP(strlist_clear) struct strlist ids = {0};
    json_t *options = NULL;

    if (choose_enrollments(ctl, has_certificate, &ids, errp) < 0)
        return -1;
    options = ctl->force ? json_pack("{s:b}", "force", 1) : json_object();
    if (ask_one(ctl, &follow, ids.items[0], "Remove", options, errp) < 0)
        return -1;
    return follow_finish(ctl, &follow, errp);
}

/* A pulse is done whatever came of it; who waited for it wants to know of the first thing that is wrong now. */
static int first_trouble(const json_t *model, struct err **errp)
{
    static const char *const lists[] = {"servers", "enrollments"};

    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        json_t *list = json_object_get(model, lists[k]), *one;
        size_t i;

        json_array_foreach (list, i, one) {
            enum err_kind kind = err_kind_parse(model_text(one, "error-kind"));

            if (!*model_text(one, "last-error"))
                continue;
            err_set(errp, kind == ERR__MAX ? ERR_INTERNAL : kind, "%s: %s", model_text(one, "id"),
                model_text(one, "last-error"));
            return *model_text(one, "hint") ? err_hint(errp, "%s", model_text(one, "hint")) : -1;
        }
    }
    return 0;
}

int ask_pulse(struct ctl *ctl, struct err **errp)
{
    CLEANUP(follow_clear) struct follow follow = {0};
    const struct client_call call = {.method = "Pulse"};
    json_t *model = NULL;
    int r;

    if (follow_ask(ctl, &follow, "pulse", &call, errp) < 0)
        return -1;
    r = follow_finish(ctl, &follow, errp);
    if (r != 0 || !ctl->wait)
        return r;
    if (model_read(ctl->client, &model, errp) < 0)
        return -1;
    r = first_trouble(model, errp);
    json_decref(model);
    return r;
}

/* --- what ends with a report --- */

static void print_report(struct ctl *ctl, const struct follow *follow)
{
    json_t *now = NULL;

    if (ctl->json || follow_read(ctl, &follow->tasks[0], &now, NULL) < 0)
        return;
    screen_text(model_text(now, "report"), 0);
    json_decref(now);
}

int ask_server_test(struct ctl *ctl, struct err **errp)
{
    CLEANUP(follow_clear) struct follow follow = {0};
    CLEANUP(mem_freep) char *path = NULL;
    struct client_call call = call_of(BUS_SERVERS, BUS_SERVER, ctl->arguments[0], &path);
    int r;

    ctl->wait = true;
    call.method = "Test";
    if (follow_ask(ctl, &follow, ctl->arguments[0], &call, errp) < 0)
        return err_hint(errp, "'" PROGRAM " server list' names those that are configured");
    r = follow_finish(ctl, &follow, errp);
    print_report(ctl, &follow);
    return r;
}

static void print_health(const json_t *e, enum health health)
{
    CLEANUP(mem_freep) char *name = printable_text(model_text(e, "id"));
    CLEANUP(mem_freep) char *problem = printable_text(model_text(e, "problem"));

    printf("%s: %s%s%s\n", name, health_word(health), *problem ? ": " : "", problem);
}

/* How @ids do now that they were looked at: the exit status of the worst, or -1. */
static int healths_of(struct ctl *ctl, const struct strlist *ids, struct err **errp)
{
    enum health worst = HEALTH_HEALTHY;
    json_t *model, *list = json_array(), *out = json_pack("{s:o}", "enrollments", list);
    int r = model_read(ctl->client, &model, errp);

    for (size_t i = 0; i < ids->n && r == 0; i++) {
        json_t *e = model_find(model, "enrollments", ids->items[i]);
        enum health health = e ? health_of(e, ctl->now) : HEALTH_MISSING;

        worst = health_worse(worst, health);
        if (!e)
            continue;
        json_object_set_new(e, "health", json_string(health_word(health)));
        json_array_append(list, e);
        if (!ctl->json)
            print_health(e, health);
    }
    if (r == 0 && ctl->json)
        screen_json(out);
    json_decref(out);
    if (r == 0)
        json_decref(model);
    return r < 0 ? -1 : health_status(worst);
}

static bool any(const json_t *e)
{
    (void)e;
    return true;
}

int ask_verify(struct ctl *ctl, struct err **errp)
{
    CLEANUP(follow_clear) struct follow follow = {0};
    CLEANUP(strlist_clear) struct strlist ids = {0};
    CLEANUP(err_freep) struct err *found = NULL; /* what is wrong is told by the healths */
    struct client_call call = {.method = "Verify", .signature = "a{sv}"};

    if (choose_enrollments(ctl, any, &ids, errp) < 0)
        return -1;
    follow.quiet = true; /* what was found is told at the end */
    call.arguments = json_pack("[o]", ctl->n_arguments ? json_pack("{s:s}", "name", ctl->arguments[0]) : json_object());
    if (follow_ask(ctl, &follow, ctl->n_arguments ? ctl->arguments[0] : "all", &call, errp) < 0)
        return -1;
    if (follow_wait(ctl, &follow, &found) < 0 && !follow.tasks[0].finished) {
        *errp = TAKE(found);
        return -1;
    }
    return healths_of(ctl, &ids, errp);
}

/* --- without a task --- */

int ask_person(const struct ctl *ctl, const char *question, struct err **errp)
{
    char answer[16] = "";

    if (ctl->yes)
        return 0;
    if (!isatty(STDIN_FILENO)) {
        err_set(errp, ERR_USAGE, "this needs a yes, and standard input is no terminal");
        return err_hint(errp, "say --yes when you mean it");
    }
    fprintf(stderr, "%s Type yes to go on: ", question);
    if (fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0)
        return 0;
    return err_set(errp, ERR_USAGE, "nothing was done");
}

static int ask_manager(struct ctl *ctl, const char *method, const char *said, struct err **errp)
{
    const struct client_call call = {.method = method};
    json_t *out;

    if (client_call(ctl->client, &call, NULL, errp) < 0)
        return -1;
    if (!ctl->json) {
        printf("%s\n", said);
        return 0;
    }
    out = json_pack("{s:s}", "done", said);
    screen_json(out);
    json_decref(out);
    return 0;
}

int ask_reload(struct ctl *ctl, struct err **errp)
{
    return ask_manager(ctl, "Reload", "the configuration was read", errp);
}

int ask_adopt(struct ctl *ctl, struct err **errp)
{
    if (ask_person(ctl,
            "From now on the state belongs to this machine. The one it was made on must never use it again.", errp) < 0)
        return -1;
    return ask_manager(ctl, "Adopt", "this machine goes on with the state", errp);
}

int ask_reset(struct ctl *ctl, struct err **errp)
{
    if (ask_person(ctl, "Every key, certificate and record here is forgotten, and enrolled for anew.", errp) < 0)
        return -1;
    return ask_manager(ctl, "Reset", "this machine starts anew", errp);
}
