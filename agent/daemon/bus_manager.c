#include <stdlib.h>
#include <string.h>

#include "agent/daemon/bus_objects.h"
#include "agent/daemon/bus_plan.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/engine_wish.h"
#include "protocol/base/printable.h"

static struct server_state *find_server(struct agent *agent, const char *name, struct err **errp)
{
    struct server_state *server = server_find(&agent->servers, name);
    CLEANUP(strlist_clear) struct strlist names = {0};
    CLEANUP(mem_freep) char *known = NULL;
    CLEANUP(mem_freep) char *safe = printable(name, strlen(name), 64);

    if (server)
        return server;
    for (size_t i = 0; i < agent->servers.n; i++)
        strlist_add(&names, agent->servers.items[i]->name);
    known = strlist_join(&names, ", ");
    (void)err_set(errp, ERR_MISSING, "there is no policy server '%s'", safe);
    (void)(names.n ? err_hint(errp, "there are: %s", known)
                   : err_hint(errp, "write a [policy-server \"NAME\"] section, see autoenroll.conf(5)"));
    return NULL;
}

/* --- methods --- */

static int pulse(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)about;
    (void)call;
    return bus_put_job(out, engine_pulse(self, errp), errp);
}

static int enroll(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    struct server_state *server = find_server(self, bus_arg_text(call, 0), errp);

    (void)about;
    if (!server)
        return -1;
    return bus_put_job(out, engine_enroll(self, server, bus_arg_text(call, 1), errp), errp);
}

static int list_templates(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    const char *server = bus_arg_text(call, 0);

    (void)about;
    if (*server && !find_server(self, server, errp))
        return -1;
    bus_put_templates(out, self, server);
    return 0;
}

static int plan(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    int64_t at = bus_arg_time(call, 0);

    (void)about;
    if (at < 0)
        return err_set(errp, ERR_USAGE, "a time is in seconds since 1970, and 0 is now");
    bus_put_plan(out, self, at);
    return 0;
}

static int verify(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    struct agent *agent = self;
    const char *name = bus_option_text(call, "name");
    struct record *record = name ? record_find(&agent->records, name) : NULL;

    (void)about;
    if (name && !record) {
        CLEANUP(mem_freep) char *safe = printable(name, strlen(name), 64);

        return err_set(errp, ERR_MISSING, "there is no enrollment '%s'", safe);
    }
    return bus_put_job(out, engine_verify(agent, record, errp), errp);
}

static int set_credential(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    struct server_state *server = find_server(self, bus_arg_text(call, 0), errp);

    (void)about;
    (void)out;
    if (!server)
        return -1;
    return bus_secret_read(self, call, server->name, bus_arg_take_fd(call, 1), bus_option_bool(call, "once"), errp);
}

static int clear_credential(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    struct agent *agent = self;
    struct server_state *server = find_server(agent, bus_arg_text(call, 0), errp);

    (void)about;
    (void)out;
    if (!server)
        return -1;
    server_set_password(server, NULL, false);
    if (server_save(agent->paths.servers, server, errp) < 0)
        return -1;
    agent_tell_server(agent, server);
    return 0;
}

static int reload(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)about;
    (void)call;
    (void)out;
    return agent_reload(self, errp);
}

static int adopt(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)about;
    (void)call;
    (void)out;
    return agent_adopt(self, errp);
}

static int reset(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)about;
    (void)call;
    (void)out;
    return agent_reset(self, errp);
}

static const struct bus_option no_options[] = {{0}};
static const struct bus_option verify_options[] = {
    {"name", 's', "only this enrollment"},
    {0},
};
static const struct bus_option credential_options[] = {
    {"once", 'b', "it is forgotten when nothing needs it any more, and after 14 days at the latest"},
    {0},
};
static const struct bus_method methods[] = {
    {"Pulse", "", "", "o", "job", BUS_RENEW, pulse,
        "Asks every policy server whose turn it is, and tries at once what waits for another try. Gives the job to "
        "follow.",
        NULL},
    {"Enroll", "ssa{sv}", "server template options", "o", "job", BUS_ENROLL, enroll,
        "Enrolls for a template, by name or OID, of a policy server's section, whatever permission autoenrollment "
        "needs. Gives the job to follow.",
        no_options},
    {"ListTemplates", "s", "server", "aa{sv}", "templates", BUS_ANYONE, list_templates,
        "The templates of a server's policy, or of every one for an empty name: Name s, Oid s, Server s, Schema u, "
        "Version s, Enroll b, AutoEnroll b, Key s, Validity x and Renewal x in seconds, Enrollment s (ours, if any), "
        "Action s (leave, skip, enroll, renew, poll, resume), Reason s.",
        NULL},
    {"Plan", "x", "at", "aa{sv}", "plan", BUS_ANYONE, plan,
        "What would be done at a time, 0: now, without doing it: Name s, Template s, Server s, Action s (as in "
        "ListTemplates), Reason s, At x (when; 0: not by itself), NeedsPassword b.",
        NULL},
    {"Verify", "a{sv}", "options", "o", "job", BUS_RENEW, verify,
        "Looks whether keys, certificates and published files are as they should be. Gives the job to follow, whose "
        "Report says what was found.",
        verify_options},
    {"SetCredential", "sha{sv}", "server password options", "", "", BUS_CONFIGURE, set_credential,
        "Hands over the password of a server's account: a pipe, socket or file, read to its end, which must come "
        "within 5 seconds; at most 4096 bytes of UTF-8, of which one line end is cut off. It is held in locked memory "
        "until the daemon ends.",
        credential_options},
    {"ClearCredential", "s", "server", "", "", BUS_CONFIGURE, clear_credential,
        "Forgets the password that SetCredential has given.", NULL},
    {"Reload", "", "", "", "", BUS_CONFIGURE, reload,
        "Reads the configuration anew. Where it has a mistake the one before stays in force, and the error says which.",
        NULL},
    {"Adopt", "", "", "", "", BUS_CONFIGURE, adopt,
        "Says that this machine is the one that the state belongs to, and its clock is right: ends the state 'cloned'.",
        NULL},
    {"Reset", "", "", "", "", BUS_CONFIGURE, reset,
        "Forgets everything, keys included, as if it had just been installed: for a copy of another machine.", NULL},
    {0},
};

/* --- properties --- */

static void get_version(void *self, const void *about, struct bus_out *out)
{
    (void)self;
    (void)about;
    bus_put_text(out, AE_VERSION);
}

static void get_state(void *self, const void *about, struct bus_out *out)
{
    (void)about;
    bus_put_text(out, agent_state(self));
}

static void get_state_directory(void *self, const void *about, struct bus_out *out)
{
    const struct agent *agent = self;

    (void)about;
    bus_put_text(out, agent->options->state_dir);
}

static void get_next_pulse(void *self, const void *about, struct bus_out *out)
{
    (void)about;
    bus_put_time(out, engine_next_pulse(self));
}

static void get_tokens(void *self, const void *about, struct bus_out *out)
{
    const struct agent *agent = self;

    (void)about;
    bus_begin_array(out, "a{sv}");
    for (size_t i = 0; i < agent->tokens.n; i++) {
        const struct job_token *token = &agent->tokens.items[i];

        bus_begin_array(out, "{sv}");
        bus_entry_text(out, "Uri", token->uri);
        bus_entry_text(out, "Label", token->label);
        bus_entry_text(out, "Model", token->model);
        bus_entry_bool(out, "Ours", token->ours);
        bus_end(out);
    }
    bus_end(out);
}

static const struct bus_property properties[] = {
    {"Version", "s", get_version, .flags = BUS_CONSTANT, .doc = "Of this program"},
    {"State", "s", get_state,
        .doc = "ok; degraded: something failed and waits; clock: it cannot be right; cloned: this state is another "
               "machine's"},
    {"StateDirectory", "s", get_state_directory, .flags = BUS_CONSTANT, .doc = "Where records and keys are"},
    {"NextPulse", "x", get_next_pulse,
        .doc = "When every policy is walked next, in seconds since 1970, UTC; 0: not known"},
    {"Tokens", "aa{sv}", get_tokens, .doc = "PKCS#11 tokens as they were seen last: Uri s, Label s, Model s, Ours b"},
    {"Problems", BUS_MEMBER_TEXTS(struct agent, problems), .doc = "With records on disk, for a person"},
    {"Configuration", BUS_MEMBER_TEXTS(struct agent, settings.files), .doc = "The files that were read, in order"},
    {0},
};

static const struct bus_interface interface = {
    .name = BUS_MANAGER,
    .doc = "Keeps the certificates of this machine.",
    .methods = methods,
    .properties = properties,
};

static void *find(void *self, const char *id)
{
    (void)id;
    return self;
}

static void each(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx)
{
    call(ctx, "", self);
}

const struct bus_class bus_manager_class = {.interface = &interface, .find = find, .each = each};

const struct bus_class *const bus_classes[] = {
    &bus_manager_class,
    &bus_enrollment_class,
    &bus_server_class,
    &bus_watched_class,
    &bus_job_class,
    NULL,
};
