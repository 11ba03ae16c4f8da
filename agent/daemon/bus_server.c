#include "agent/daemon/bus_objects.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/engine_wish.h"
#include "policy/policy.h"

static int refresh(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)call;
    return bus_put_job(out, engine_refresh(self, about, false, errp), errp);
}

static int test(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)call;
    return bus_put_job(out, engine_refresh(self, about, true, errp), errp);
}

static const struct bus_method methods[] = {
    {"Refresh", "", "", "o", "job", BUS_RENEW, refresh, "Asks the server for its policy now. Gives the job to follow.",
        NULL},
    {"Test", "", "", "o", "job", BUS_RENEW, test,
        "Tries the connection and the credential and says what was found, without using it. Gives the job to follow.",
        NULL},
    {0},
};

static const struct settings_server *section_of(void *self, const void *about)
{
    const struct agent *agent = self;
    const struct server_state *server = about;

    return settings_find_server(&agent->settings, server->name);
}

static void get_uri(void *self, const void *about, struct bus_out *out)
{
    const struct settings_server *section = section_of(self, about);

    bus_put_text(out, section ? section->uri : NULL);
}

static void get_auth(void *self, const void *about, struct bus_out *out)
{
    const struct settings_server *section = section_of(self, about);

    bus_put_text(out, section ? policy_auth_name(section->auth) : NULL);
}

static void get_username(void *self, const void *about, struct bus_out *out)
{
    const struct settings_server *section = section_of(self, about);

    bus_put_text(out, section ? section->username : NULL);
}

static void get_autoenroll(void *self, const void *about, struct bus_out *out)
{
    const struct settings_server *section = section_of(self, about);

    bus_put_bool(out, section && section->autoenroll);
}

static void get_ces_hosts(void *self, const void *about, struct bus_out *out)
{
    static const struct strlist none = {0};
    const struct settings_server *section = section_of(self, about);

    bus_put_texts(out, section ? &section->ces_hosts : &none);
}

/* As the server said, else as the section expects it. */
static void get_policy_id(void *self, const void *about, struct bus_out *out)
{
    const struct settings_server *section = section_of(self, about);
    const struct server_state *server = about;

    bus_put_text(out, server->policy_id || !section ? server->policy_id : section->policy_id);
}

static void get_error_kind(void *self, const void *about, struct bus_out *out)
{
    const struct server_state *server = about;

    (void)self;
    bus_put_text(out, server->error ? err_kind_name((enum err_kind)server->error_kind) : "");
}

static void get_password_held(void *self, const void *about, struct bus_out *out)
{
    const struct server_state *server = about;

    (void)self;
    bus_put_bool(out, server->password != NULL);
}

#define TEXT(member)   BUS_MEMBER(struct server_state, member, "s", char *)
#define TIME(member)   BUS_MEMBER(struct server_state, member, "x", int64_t)
#define NUMBER(member) BUS_MEMBER(struct server_state, member, "u", uint32_t)
#define TRUTH(member)  BUS_MEMBER(struct server_state, member, "b", bool)

static const struct bus_property properties[] = {
    {"Name", TEXT(name), .flags = BUS_CONSTANT, .doc = "Of its [policy-server] section"},
    {"Uri", "s", get_uri, .doc = "Where the server is asked for its policy"},
    {"Auth", "s", get_auth, .doc = "How we authenticate there: kerberos, username, certificate or anonymous"},
    {"Username", "s", get_username, .doc = "The account; empty where none is used"},
    {"Autoenroll", "b", get_autoenroll, .doc = "Every template that grants autoEnroll is taken"},
    {"CesHosts", "as", get_ces_hosts, .doc = "Hosts that credentials may go to, besides the server's own"},
    {"PolicyId", "s", get_policy_id, .doc = "Identifies the policy; servers with the same one serve the same"},
    {"FriendlyName", TEXT(friendly_name), .doc = "The policy's name, as the server says"},
    {"Templates", NUMBER(templates), .doc = "Templates that its policy has for us"},
    {"FetchedAt", TIME(fetched_at), .doc = "When the policy was fetched; seconds since 1970, UTC; 0: never"},
    {"NextUpdate", TIME(next_update), .doc = "When it is asked for again"},
    {"LastAttempt", TIME(last_attempt), .doc = "When the server was asked last"},
    {"NextAttempt", TIME(next_attempt), .doc = "While it fails: not before"},
    {"Failures", NUMBER(failures), .doc = "Failures in a row"},
    {"LastError", TEXT(error), .doc = "Why it failed last; empty: it did not"},
    {"ErrorKind", "s", get_error_kind, .doc = "What kind of failure that is"},
    {"Hint", TEXT(hint), .doc = "What a person can do about it"},
    {"PasswordHeld", "b", get_password_held, .doc = "SetCredential has given a password, which a restart forgets"},
    {"PasswordOnce", TRUTH(once), .doc = "It is forgotten when nothing needs it any more"},
    {"PasswordProven", TRUTH(proven), .doc = "The server has taken it"},
    {"RefusedAt", TIME(refused_at), .doc = "When the password was refused: it is not shown again for a day; 0: never"},
    {0},
};

static const struct bus_interface interface = {
    .name = BUS_SERVER,
    .doc = "A policy server of the configuration, and what is known of it.",
    .methods = methods,
    .properties = properties,
};

static void *find(void *self, const char *id)
{
    const struct agent *agent = self;

    return server_find(&agent->servers, id);
}

static void each(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx)
{
    const struct agent *agent = self;

    for (size_t i = 0; i < agent->servers.n; i++)
        call(ctx, agent->servers.items[i]->name, agent->servers.items[i]);
}

const struct bus_class bus_server_class = {.kind = BUS_SERVERS, .interface = &interface, .find = find, .each = each};
