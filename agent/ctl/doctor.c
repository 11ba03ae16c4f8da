#include "agent/ctl/doctor.h"

#include <string.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include "agent/ctl/follow.h"
#include "agent/ctl/foresee.h"
#include "agent/ctl/health.h"
#include "agent/ctl/model.h"
#include "agent/request/machine.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define LEAST_FREE  (64ull << 20) /* bytes; a record is rewritten as a whole, and a token makes files */
#define LEAST_FILES 100

struct doctor {
    struct ctl *ctl;
    json_t *model; /* NULL: no daemon */
    json_t *lines; /* what was said */
    bool ill;
};

static void say(struct doctor *d, bool ok, const char *topic, const char *text, const char *todo)
{
    json_array_append_new(
        d->lines, json_pack("{s:s, s:b, s:s, s:s}", "topic", topic, "ok", ok, "text", text, "todo", todo ? todo : ""));
    d->ill |= !ok;
    if (d->ctl->json)
        return;
    else {
        const struct table_look *look = &d->ctl->screen.look;
        enum table_style style = ok ? TABLE_GOOD : TABLE_BAD;
        CLEANUP(mem_freep) char *safe_topic = printable_text(topic);
        CLEANUP(mem_freep) char *safe = printable_text(text);
        CLEANUP(mem_freep) char *safe_todo = printable_text(todo);

        printf("%s%s%s %s: %s%s%s\n", table_style_on(look, style), ok ? "ok" : "!!", table_style_off(look, style),
            safe_topic, safe, *safe_todo ? " - " : "", safe_todo);
        (void)fflush(stdout);
    }
}

static void say_err(struct doctor *d, const char *topic, const struct err *err)
{
    say(d, false, topic, err_text(err), err_hint_text(err));
}

/* --- one check each --- */

static void check_time(struct doctor *d)
{
    struct timex clock = {0};
    bool unsure = adjtimex(&clock) == TIME_ERROR || (clock.status & STA_UNSYNC);
    CLEANUP(mem_freep) char *now = when_format(d->ctl->now);
    CLEANUP(mem_freep)
    char *text =
        mem_printf("it is %s%s", now, unsure ? "; the kernel does not know of a time service that keeps it" : "");

    if (d->model && strcmp(model_text(json_object_get(d->model, "manager"), "state"), "clock") == 0)
        say(d, false, "time", text,
            "that cannot be right: set the clock (timedatectl, chronyc makestep) and keep a time service running");
    else
        say(d, true, "time", text,
            unsure ? "if it is wrong, certificates look expired or not yet valid: run chrony or systemd-timesyncd"
                   : NULL);
}

static void check_names(struct doctor *d)
{
    CLEANUP(machine_clear) struct machine machine = {0};
    const char *name;

    machine_read("", &machine);
    name = machine.fqdn ? machine.fqdn : machine.hostname;
    if (!name || strncmp(name, "localhost", strlen("localhost")) == 0)
        say(d, false, "names", "this machine has no name of its own",
            "write it into /etc/hostname: hostnamectl set-hostname NAME.DOMAIN");
    else if (!machine.fqdn || !strchr(machine.fqdn, '.'))
        say(d, true, "names", name,
            "without a domain, %{fqdn} in a section cannot be used: add 'ADDRESS NAME.DOMAIN NAME' to /etc/hosts");
    else
        say(d, true, "names", name, NULL);
}

static void check_daemon(struct doctor *d)
{
    CLEANUP(err_freep) struct err *err = NULL;
    bool session = d->ctl->bus && strcmp(d->ctl->bus, "session") == 0;
    const char *version;

    if (client_open(session, &d->ctl->client, &err) < 0 || model_read(d->ctl->client, &d->model, &err) < 0) {
        say_err(d, "daemon", err);
        return;
    }
    version = model_text(json_object_get(d->model, "manager"), "version");
    if (strcmp(version, AE_VERSION) != 0) {
        CLEANUP(mem_freep) char *text = mem_printf("it is version %s, and this is " AE_VERSION, version);

        say(d, false, "daemon", text, "systemctl restart autoenrolld");
    } else
        say(d, true, "daemon", "runs, version " AE_VERSION, NULL);
}

static void check_state(struct doctor *d)
{
    json_t *manager = json_object_get(d->model, "manager"), *text;
    json_t *problems = json_object_get(manager, "problems");
    size_t i;

    if (strcmp(model_text(manager, "state"), "cloned") == 0)
        say(d, false, "state", "it was made on another machine, so nothing is signed and nobody is asked",
            "on a clone: autoenroll reset; if this machine replaces the other: autoenroll adopt");
    else
        say(d, true, "state", "it belongs to this machine", NULL);
    json_array_foreach (problems, i, text)
        say(d, false, "state", json_string_value(text) ? json_string_value(text) : "", NULL);
}

static void check_tokens(struct doctor *d)
{
    json_t *tokens = json_object_get(json_object_get(d->model, "manager"), "tokens"), *token;
    size_t i;

    if (!json_array_size(tokens))
        say(d, false, "token", "no token was seen yet",
            "one is made at the first enrollment; if 'token =' names another, see that its device is there");
    json_array_foreach (tokens, i, token) {
        const char *uri = json_is_object(token) ? model_text(token, "uri") : json_string_value(token);

        say(d, true, "token", uri && *uri ? uri : model_text(token, "Uri"), NULL);
    }
}

/* TLS, credentials, policy: what the server's own test comes to. */
static void test_server(struct doctor *d, const char *id, const char *topic)
{
    CLEANUP(follow_clear) struct follow follow = {.quiet = true};
    CLEANUP(mem_freep) char *path = buspath_make(BUS_SERVERS, id);
    CLEANUP(mem_freep) char *report = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    const struct client_call call = {.path = path, .interface = BUS_SERVER, .method = "Test"};
    json_t *now = NULL;
    char *position = NULL;

    if (follow_ask(d->ctl, &follow, "", &call, &err) < 0 || follow_wait(d->ctl, &follow, &err) < 0) {
        say_err(d, topic, err);
        return;
    }
    if (follow_read(d->ctl, &follow.tasks[0], &now, NULL) == 0)
        report = mem_strdup(model_text(now, "report"));
    json_decref(now);
    if (!report || !*report)
        say(d, true, topic, "answers, and takes our credentials", NULL);
    for (char *line = report ? strtok_r(report, "\n", &position) : NULL; line; line = strtok_r(NULL, "\n", &position))
        say(d, true, topic, line, NULL);
}

static bool holds_any(const struct doctor *d)
{
    json_t *list = json_object_get(d->model, "enrollments"), *e;
    size_t i;

    json_array_foreach (list, i, e)
        if (model_number(e, "not-after"))
            return true;
    return false;
}

/* A password that was refused is not shown again only because somebody wants to know how we are: accounts lock. */
static void check_server(struct doctor *d, const json_t *server)
{
    const char *id = model_text(server, "id");
    CLEANUP(mem_freep) char *topic = mem_printf("server %s", id);
    int64_t refused = model_number(server, "refused-at");

    if (refused && !json_is_true(json_object_get(server, "password-held"))) {
        CLEANUP(mem_freep) char *when = screen_when(refused, d->ctl->now);
        CLEANUP(mem_freep)
        char *text = mem_printf("the password of '%s' was refused %s", model_text(server, "username"), when);
        CLEANUP(mem_freep) char *todo = mem_printf("give the right one: autoenroll login %s", id);

        say(d, false, topic, text, todo);
    } else if (strcmp(model_text(server, "auth"), "certificate") == 0 && !holds_any(d))
        say(d, true, topic, "wants a certificate, and is asked as soon as there is one", NULL);
    else
        test_server(d, id, topic);
}

static void check_servers(struct doctor *d)
{
    json_t *servers = json_object_get(d->model, "servers"), *server;
    size_t i;

    if (!json_array_size(servers))
        say(d, false, "servers", "no policy server is configured",
            "write a [policy-server \"NAME\"] section, see autoenroll.conf(5)");
    json_array_foreach (servers, i, server)
        check_server(d, server);
}

static void check_templates(struct doctor *d)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    json_t *templates = NULL, *t;
    size_t taken = 0, i;

    if (foresee_list_templates(d->ctl->client, "", &templates, &err) < 0) {
        say_err(d, "templates", err);
        return;
    }
    json_array_foreach (templates, i, t)
        taken += strcmp(model_text(t, "action"), "skip") != 0;
    text = mem_printf("%zu of %zu that are offered are served here", taken, json_array_size(templates));
    say(d, true, "templates", text,
        taken < json_array_size(templates) ? "autoenroll templates says why not all" : NULL);
    json_decref(templates);
}

static void check_enrollments(struct doctor *d)
{
    json_t *list = json_object_get(d->model, "enrollments"), *e;
    size_t i;

    json_array_foreach (list, i, e) {
        enum health health = health_of(e, d->ctl->now);
        CLEANUP(mem_freep) char *topic = mem_printf("enrollment %s", model_text(e, "id"));
        CLEANUP(mem_freep)
        char *text = mem_printf(
            "%s%s%s", health_word(health), *model_text(e, "last-error") ? ": " : "", model_text(e, "last-error"));
        CLEANUP(mem_freep) char *todo = mem_printf("autoenroll explain %s", model_text(e, "id"));
        bool ok = health == HEALTH_HEALTHY || health == HEALTH_DUE ||
                  (health == HEALTH_MISSING && !*model_text(e, "last-error") && !*model_text(e, "problem"));

        say(d, ok, topic, text, ok ? NULL : todo);
    }
}

static void check_disk(struct doctor *d)
{
    const char *told = model_text(json_object_get(d->model, "manager"), "state-directory");
    const char *dir = d->ctl->state_dir ? d->ctl->state_dir : *told ? told : DEFAULT_STATE_DIR;
    struct statvfs fs;
    unsigned long long bytes;
    CLEANUP(mem_freep) char *text = NULL;

    if (statvfs(dir, &fs) < 0) {
        text = mem_printf("%s: %m", dir);
        say(d, false, "disk", text, "it is made when autoenrolld first starts; --state-dir names another place");
        return;
    }
    bytes = (unsigned long long)fs.f_bavail * fs.f_frsize;
    text = mem_printf("%llu MiB are free for %s", bytes >> 20, dir);
    if (bytes < LEAST_FREE || (fs.f_files && fs.f_favail < LEAST_FILES))
        say(d, false, "disk", text, "free some space or files: without it nothing can be renewed");
    else if (fs.f_flag & ST_RDONLY)
        say(d, false, "disk", "it is mounted read-only", "mount it writable: records and keys must be written");
    else
        say(d, true, "disk", text, NULL);
}

static const struct {
    void (*check)(struct doctor *d);
    bool needs_daemon;
} checks[] = {
    {check_daemon, false},
    {check_time, false},
    {check_names, false},
    {check_disk, false},
    {check_state, true},
    {check_servers, true},
    {check_templates, true},
    {check_tokens, true},
    {check_enrollments, true},
};

int doctor_run(struct ctl *ctl, struct err **errp)
{
    struct doctor d = {.ctl = ctl, .lines = json_array()};
    json_t *out;

    (void)errp;
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        if (d.model || !checks[i].needs_daemon)
            checks[i].check(&d);
    out = json_pack("{s:b, s:o}", "ok", !d.ill, "checks", d.lines);
    if (ctl->json)
        screen_json(out);
    json_decref(out);
    json_decref(d.model);
    return d.ill;
}
