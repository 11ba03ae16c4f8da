#include "agent/daemon/explain.h"

#include "agent/daemon/group.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

#define NOW ((int64_t)1893456000) /* 2030-01-01 */

/* An agent as it is between two turns of its loop, without an engine. */
struct scene {
    struct settings_server section;
    struct settings settings;
    struct group_list groups;
    struct server_state server, *servers[1];
    struct agent agent;
    struct record record;
};

static void scene_make(struct scene *s)
{
    *s = (struct scene){.section = {.auth = POLICY_AUTH_USERNAME}};
    s->section.name = mem_strdup("corp");
    s->section.uri = mem_strdup("https://pki.example/CEP");
    s->section.username = mem_strdup("CORP\\enroll");
    s->settings.servers = mem_dup(&s->section, sizeof(s->section));
    s->settings.n_servers = 1;
    group_list_make(&s->settings, &s->groups);
    s->server.name = s->section.name;
    s->servers[0] = &s->server;
    s->agent = (struct agent){.now = NOW, .groups = &s->groups, .servers = {.items = s->servers, .n = 1}};
    s->agent.instance.last_seen = NOW;
    s->record = (struct record){.id = mem_strdup("web"),
        .certificate = mem_strdup("web"),
        .server = mem_strdup("corp"),
        .template_name = mem_strdup("WebServer")};
}

static void hold(struct scene *s, int64_t not_before, int64_t not_after)
{
    bytes_set(&s->record.current.pair.certificate, "\x30\x00", 2);
    s->record.current.facts.subject = mem_strdup("CN=web.example");
    s->record.current.facts.not_before = not_before;
    s->record.current.facts.not_after = not_after;
    s->record.state = RECORD_INSTALLED;
}

static void hold_valid(struct scene *s)
{
    hold(s, NOW - WHEN_DAY, NOW + 90 * WHEN_DAY);
    s->record.renew_at = NOW + 60 * WHEN_DAY;
}

static void fail_with(struct scene *s, enum err_kind kind, const char *text, const char *hint, uint32_t code)
{
    struct err *why = err_new(kind, text, hint, code);
    const struct job_endpoint endpoint = {
        .uri = (char[]){"https://ca.example/ces"}, .error = (char[]){"\033[31mred"}, .auth = POLICY_AUTH_USERNAME};

    record_set_failure(&s->record, NOW, why, &endpoint, 1);
    s->record.failures = 3;
    s->record.next_attempt = NOW + 10 * WHEN_MINUTE;
    err_free(why);
}

static void clear(struct scene *s)
{
    struct record_list list = {.items = mem_alloc(sizeof(struct record *)), .n = 1};
    struct settings settings = s->settings;

    list.items[0] = mem_dup(&s->record, sizeof(s->record));
    record_list_clear(&list);
    group_list_clear(&s->groups);
    settings_clear(&settings);
}

/* --- the states --- */

static void idle(struct scene *s)
{
    s->record.state = RECORD_IDLE;
}

static void installed(struct scene *s)
{
    hold_valid(s);
}

static void due(struct scene *s)
{
    hold_valid(s);
    s->record.state = RECORD_DUE;
}

static void working(struct scene *s)
{
    s->record.state = RECORD_WORKING;
    s->record.busy = true;
}

static void interrupted(struct scene *s)
{
    s->record.state = RECORD_WORKING;
}

static void pending(struct scene *s)
{
    s->record.state = RECORD_PENDING;
    s->record.attempt.pending = true;
    s->record.attempt.request_id = mem_strdup("4711");
    s->record.pending_since = NOW - 2 * WHEN_HOUR;
    s->record.next_attempt = NOW + 30 * WHEN_MINUTE;
}

static void differing(struct scene *s)
{
    hold_valid(s);
    s->record.names_differ = mem_strdup("www.example.com is configured and not held");
}

static void cloned(struct scene *s)
{
    hold_valid(s);
    s->agent.cloned = true;
}

static void expired(struct scene *s)
{
    hold(s, NOW - 90 * WHEN_DAY, NOW - WHEN_DAY * 3);
}

static void too_early(struct scene *s)
{
    hold(s, NOW + WHEN_DAY, NOW + 90 * WHEN_DAY);
    s->agent.clock_is_back = true;
    s->agent.instance.last_seen = NOW + WHEN_DAY;
}

static void refused(struct scene *s)
{
    fail_with(s, ERR_AUTH, "the service refused our user name or password", NULL, 0);
    s->server.refused_at = NOW - WHEN_HOUR;
}

static void without_password(struct scene *s)
{
    fail_with(s, ERR_AUTH, "no password for authentication by user name", NULL, 0);
}

static void without_pin(struct scene *s)
{
    hold_valid(s);
    s->record.renewal = true;
    fail_with(
        s, ERR_AUTH, "the token refused the PIN; it is not presented again", "store the right PIN for the token", 0);
}

static void unreachable(struct scene *s)
{
    fail_with(s, ERR_NETWORK, "https://ca.example: connection refused", "check that the server runs", 0);
}

static void wrong_server(struct scene *s)
{
    fail_with(s, ERR_TLS, "its certificate is not trusted", NULL, 0);
}

static void token_gone(struct scene *s)
{
    hold_valid(s);
    fail_with(s, ERR_TOKEN, "the token has gone", "plug it in again", 0);
}

static void denied(struct scene *s)
{
    fail_with(s, ERR_DENIED, "CERTSRV_E_TEMPLATE_DENIED: no Enroll permission",
        "Ask for Enroll on the template for the account that enrolls.", 0x80094012);
}

static void disk_full(struct scene *s)
{
    hold_valid(s);
    fail_with(s, ERR_STORE, "replacing 'record.json': No space left on device", NULL, 0);
}

static void damaged(struct scene *s)
{
    hold_valid(s);
    s->record.verify_problem = mem_strdup("cert.pem is not the certificate on record");
}

static void server_removed(struct scene *s)
{
    hold_valid(s);
    free(s->record.server);
    s->record.server = mem_strdup("other");
}

static void hook_failed(struct scene *s)
{
    hold_valid(s);
    s->record.hook.text = mem_strdup("nginx.service: reload failed");
}

/* What must be said of each: what is the matter, and what to type. */
static const struct {
    const char *name;
    void (*make)(struct scene *s);
    const char *happened[3], *todo[3];
} rows[] = {
    {"idle", idle, {"no certificate yet", "Nothing has been asked for"}, {"autoenroll plan", "autoenroll login corp"}},
    {"installed", installed, {"Nothing is wrong with it", "in 90 days"},
        {"in 60 days", "without a password", "There is nothing to do."}},
    {"due", due, {"Its time has come"}, {"begins by itself", "autoenroll pulse"}},
    {"working", working, {"being worked at"}, {"autoenroll watch"}},
    {"interrupted", interrupted, {"interrupted"}, {"same key and the same request", "autoenroll pulse"}},
    {"pending", pending, {"request 4711", "2 hours ago"},
        {"in 30 minutes", "approve request 4711", "autoenroll poll web"}},
    {"names differ", differing, {"www.example.com", "never gets other names"},
        {"autoenroll renew web", "password of account 'CORP\\enroll'"}},
    {"cloned", cloned, {"made on another machine"}, {"autoenroll reset", "autoenroll adopt"}},
    {"expired", expired, {"EXPIRED, 3 days ago", "cannot renew itself"}, {"autoenroll login corp", "autoenroll pulse"}},
    {"clock", too_early, {"valid only from 2030-01-02 00:00:00 UTC on", "clock is wrong", "last time that was seen"},
        {"Set the clock", "doctor"}},
    {"password refused", refused, {"refused the password of account 'CORP\\enroll'", "locks the account"},
        {"in 23 hours", "autoenroll login corp"}},
    {"password missing", without_password, {"needs the password of account 'CORP\\enroll'"},
        {"autoenroll login corp", "'corp.password'"}},
    {"PIN refused", without_pin, {"PIN is not presented again", "in 90 days"}, {"Store the right PIN for the token."}},
    {"server away", unreachable, {"could not be reached", "connection refused", "3 times in a row"},
        {"in 10 minutes", "autoenroll server test corp"}},
    {"server not trusted", wrong_server, {"nothing was sent to it"}, {"ca-file", "autoenroll server test corp"}},
    {"token gone", token_gone, {"does not work", "the token has gone"}, {"Plug it in again.", "autoenroll doctor"}},
    {"denied", denied, {"0x80094012", "no Enroll permission"}, {"Ask for Enroll on the template", "in 10 minutes"}},
    {"disk full", disk_full, {"No space left"}, {"df -h", "still whole"}},
    {"damaged", damaged, {"cert.pem is not"}, {"autoenroll renew web", "autoenroll verify web"}},
    {"server removed", server_removed, {"not configured any more"}, {"autoenroll reload", "autoenroll remove web"}},
    {"hook", hook_failed, {"reload failed", "journalctl -u autoenroll-deploy"}, {"There is nothing to do."}},
};

TEST(explain_names_what_happened_and_the_command_to_type)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *happened = NULL;
        CLEANUP(mem_freep) char *todo = NULL;
        struct scene s;

        scene_make(&s);
        rows[i].make(&s);
        explain_record(&s.agent, &s.record, &happened, &todo);
        print_message("--- %s\n%s\n\n%s\n", rows[i].name, happened, todo);
        assert_contains(happened, "section [certificate \"web\"]");
        for (size_t k = 0; k < ARRAY_SIZE(rows[i].happened) && rows[i].happened[k]; k++)
            assert_contains(happened, rows[i].happened[k]);
        for (size_t k = 0; k < ARRAY_SIZE(rows[i].todo) && rows[i].todo[k]; k++)
            assert_contains(todo, rows[i].todo[k]);
        assert_null(strpbrk(happened, "{}\033"));
        assert_null(strpbrk(todo, "{}\033"));
        clear(&s);
    }
}

TEST(explain_covers_every_state)
{
    for (unsigned wanted = 0; wanted < RECORD_STATE__MAX; wanted++) {
        bool covered = false;

        for (size_t i = 0; i < ARRAY_SIZE(rows) && !covered; i++) {
            struct scene s;

            scene_make(&s);
            rows[i].make(&s);
            covered = agent_state_of(&s.agent, &s.record) == wanted;
            clear(&s);
        }
        if (!covered)
            fail_msg("no row is in the state '%s'", record_state_name((enum record_state)wanted));
    }
}

TEST(explain_tells_what_each_address_said)
{
    CLEANUP(mem_freep) char *happened = NULL;
    CLEANUP(mem_freep) char *todo = NULL;
    struct scene s;

    scene_make(&s);
    unreachable(&s);
    explain_record(&s.agent, &s.record, &happened, &todo);
    assert_contains(happened, "\n  tried https://ca.example/ces: \\x1b[31mred");
    clear(&s);
}
