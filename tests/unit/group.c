#include "agent/daemon/group.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/daemon/engine.h"
#include "policy/policy.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

#define NOW ((int64_t)1893456000) /* 2030-01-01 */

/* Settings from a text, so that they are what a configuration would make of them. */
static void settings_from(const char *dir, const char *text, struct settings *out)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/autoenroll.conf", dir);
    CLEANUP(err_freep) struct err *err = NULL;

    testing_write(path, text, strlen(text));
    assert_ok(settings_load(path, out, &err) == 0, err);
}

#define SERVER(name, host, more) "[policy-server \"" name "\"]\nuri = https://" host "/CEP\nca-file = /root.pem\n" more
#define USER                     "auth = username\nusername = bob\n"
#define CERT                     "auth = certificate\n"

static char *names_of(const struct group *group)
{
    CLEANUP(strlist_clear) struct strlist names = {0};

    for (size_t i = 0; i < group->n_servers; i++)
        strlist_add(&names, group->servers[i]->name);
    return strlist_join(&names, " ");
}

static void assert_names(const struct group *group, const char *names)
{
    CLEANUP(mem_freep) char *have = names_of(group);

    assert_string_equal(have, names);
}

TEST(group_is_made_of_sections_with_one_policy_id_and_of_no_others) /* design 8.7 */
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(group_list_clear) struct group_list groups = {0};

    settings_from(dir,
        SERVER("a", "a.example", USER "policy-id = {1}\n") SERVER("b", "a.example", USER) SERVER("c", "c.example",
            USER "policy-id = {2}\n") SERVER("d", "a.example", USER) SERVER("e", "e.example", CERT "policy-id = {1}\n"),
        &settings);
    group_list_make(&settings, &groups);
    assert_int_equal(groups.n, 4);
    assert_names(&groups.items[0], "a e");
    assert_names(&groups.items[1], "b"); /* without an id it is alone, whatever its address */
    assert_names(&groups.items[2], "c");
    assert_names(&groups.items[3], "d");
    assert_true(group_has_server(&groups.items[0], "e"));
    assert_false(group_has_server(&groups.items[0], "c"));
}

TEST(group_asks_the_cheapest_first) /* [MS-XCEP notes] 4.3 1 */
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(group_list_clear) struct group_list groups = {0};

    settings_from(dir,
        SERVER("default", "a", USER "policy-id = p\n") SERVER("ten", "b", USER "policy-id = p\ncost = 10\n") SERVER(
            "one", "c", CERT "policy-id = p\ncost = 1\n") SERVER("also-ten", "d", CERT "policy-id = p\ncost = 10\n"),
        &settings);
    group_list_make(&settings, &groups);
    assert_int_equal(groups.n, 1);
    assert_names(&groups.items[0], "one ten also-ten default"); /* equal ones as they were written */
}

TEST(group_enrolls_with_the_first_account_that_has_a_user)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(group_list_clear) struct group_list groups = {0};

    settings_from(dir,
        SERVER("renewal", "a", CERT "policy-id = p\ncost = 1\nautoenroll = no\n")
            SERVER("corp", "b", USER "policy-id = p\nautoenroll = yes\n") SERVER("alone", "c", CERT),
        &settings);
    group_list_make(&settings, &groups);
    assert_string_equal(group_account(&groups.items[0])->name, "corp");
    assert_string_equal(group_autoenroll(&groups.items[0])->name, "corp");
    assert_string_equal(group_account(&groups.items[1])->name, "alone");
    assert_null(group_autoenroll(&groups.items[1]));
}

static void assert_hosts(
    const struct group_list *groups, const char *server, const struct settings *settings, const char *hosts)
{
    struct job_server job;
    CLEANUP(mem_freep) char *have = NULL;

    group_job_server(&groups->items[0], settings_find_server(settings, server), &job);
    have = strlist_join(&job.ces_hosts, " ");
    assert_string_equal(have, hosts);
    job_server_clear(&job);
}

TEST(group_allows_the_hosts_of_its_sections_and_no_others) /* design 8.7 */
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(group_list_clear) struct group_list groups = {0};

    settings_from(dir,
        SERVER("corp", "pki.example", USER "policy-id = p\nces-hosts = ca1.example ca2.example:8443\n")
            SERVER("renewal", "pki.example:49999", CERT "policy-id = p\nces-hosts = ca1.example\n")
                SERVER("other", "evil.example", USER "policy-id = q\nces-hosts = evil2.example\n"),
        &settings);
    group_list_make(&settings, &groups);
    /* its own host goes without saying: the worker takes it from the address */
    assert_hosts(&groups, "corp", &settings, "ca1.example ca2.example:8443 pki.example:49999");
    assert_hosts(&groups, "renewal", &settings, "pki.example ca1.example ca2.example:8443");
}

TEST(group_gives_a_worker_the_section_and_the_name_of_its_credential)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(group_list_clear) struct group_list groups = {0};
    struct job_server job;

    settings_from(dir,
        SERVER("corp", "pki.example", USER "policy-id = p\n") SERVER("renewal", "pki.example", CERT "policy-id = p\n"),
        &settings);
    group_list_make(&settings, &groups);
    group_job_server(&groups.items[0], &settings.servers[0], &job);
    assert_string_equal(job.name, "corp");
    assert_string_equal(job.uri, "https://pki.example/CEP");
    assert_int_equal(job.auth, POLICY_AUTH_USERNAME);
    assert_string_equal(job.username, "bob");
    assert_string_equal(job.credential, "corp.password");
    assert_string_equal(job.ca_file, "/root.pem");
    assert_string_equal(job.policy_id, "p");
    job_server_clear(&job);
    group_job_server(&groups.items[0], &settings.servers[1], &job);
    assert_null(job.credential);
    job_server_clear(&job);
}

/* --- asking, with workers of a few lines of shell --- */

struct desk {
    char *dir, *config, *state, *worker, *asked;
    struct agent_options options;
    struct agent agent;
};

static int64_t clock_of_the_test = NOW;

/* In the place of the C library's: what the agent takes for the time. */
time_t time(time_t *out)
{
    if (out)
        *out = (time_t)clock_of_the_test;
    return (time_t)clock_of_the_test;
}

static void desk_close(struct desk *d)
{
    char *all[] = {d->dir, d->config, d->state, d->worker, d->asked};

    agent_close(&d->agent);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        free(all[i]);
}

static void desk_open(struct desk *d, const char *configuration)
{
    CLEANUP(err_freep) struct err *err = NULL;
    bool root = geteuid() == 0;

    *d = (struct desk){.dir = testing_tmpdir()};
    d->config = mem_printf("%s/autoenroll.conf", d->dir);
    d->state = mem_printf("%s/state", d->dir);
    d->worker = mem_printf("%s/worker", d->dir);
    d->asked = mem_printf("%s/asked", d->dir);
    d->options = (struct agent_options){.config = d->config,
        .state_dir = d->state,
        .worker = d->worker,
        .run_as = root ? "root" : NULL,
        .worker_as = root ? "root" : NULL,
        .json = true,
        .oneshot = true};
    testing_write(d->config, configuration, strlen(configuration));
    testing_write(d->worker, "", 0);
    assert_int_equal(chmod(d->worker, 0755), 0);
    clock_of_the_test = NOW;
    assert_ok(agent_open(&d->agent, &d->options, &err) == 0, err);
    assert_ok(engine_start(&d->agent, &err) == 0, err);
}

enum last_frame { RESULT = 5, FAILED = 6 }; /* of the channel */

static void worker_says(struct desk *d, enum last_frame type, const char *body)
{
    CLEANUP(mem_freep) char *script = NULL;

    if (body)
        script = mem_printf("#!/bin/sh\nhead -c 20 <&3 >/dev/null\necho asked >>'%s'\n"
                            "printf '\\0\\0\\%03o\\%03o\\%03o\\0' >&3\nprintf %%s '%s' >&3\n",
            d->asked, (unsigned)strlen(body) >> 8, (unsigned)strlen(body) & 255, (unsigned)type, body);
    else
        script = mem_printf("#!/bin/sh\nhead -c 20 <&3 >/dev/null\necho asked >>'%s'\nexit 9\n", d->asked);
    testing_write(d->worker, script, strlen(script));
    assert_int_equal(chmod(d->worker, 0755), 0);
}

/* From now on a server answers with this body of a REFRESH result; NULL: the worker fails. */
static void server_says(struct desk *d, const char *body)
{
    worker_says(d, RESULT, body);
}

/* Time goes on to @now: what the first group asks then, and has. */
static struct group *refresh_at(struct desk *d, int64_t now)
{
    struct group *group = &d->agent.groups->items[0];

    clock_of_the_test = now;
    agent_tell_time(&d->agent);
    group_merge(&d->agent, group);
    for (size_t i = 0; i < group->n_servers; i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        struct server_state *server = server_find(&d->agent.servers, group->servers[i]->name);

        d->options.oneshot = false; /* where each is asked once */
        server->impatient = false;
        server->refused_at = 0;
        if (group_due(&d->agent, group, server) <= now)
            assert_ok(group_ask(&d->agent, group, server, &err) == 0, err);
        d->options.oneshot = true;
        while (engine_is_working(&d->agent))
            assert_int_not_equal(event_base_loop(d->agent.base, EVLOOP_ONCE), -1);
    }
    return group;
}

static void was_asked(const struct desk *d, size_t times)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (access(d->asked, F_OK) == 0)
        testing_read(d->asked, &text);
    assert_int_equal(text.len / strlen("asked\n"), times);
}

#define CORP    SERVER("corp", "pki.example", USER "policy-id = p\n")
#define RENEWAL SERVER("renewal", "pki.example:49999", CERT "policy-id = p\ncost = 1\n")
#define POLICY_OF(name)                                                                                                \
    "{\"policy\":{\"id\":\"p\",\"next_update_hours\":2,\"fetched_at\":1893456000,\"templates\":[{\"name\":\"" name     \
    "\",\"oid\":\"1.2\"}]}}"

TEST(group_asks_again_only_when_the_answer_is_old) /* [MS-XCEP notes] 4.2 */
{
    CLEANUP(desk_close) struct desk d;

    desk_open(&d, CORP);
    server_says(&d, POLICY_OF("T"));
    assert_true(refresh_at(&d, NOW)->has_policy);
    assert_string_equal(d.agent.groups->items[0].policy.templates[0].name, "T");
    was_asked(&d, 1);
    assert_true(refresh_at(&d, NOW + WHEN_HOUR + WHEN_HOUR / 2 - 1)->has_policy);
    assert_string_equal(d.agent.groups->items[0].policy.templates[0].name, "T"); /* from disk */
    was_asked(&d, 1);
    refresh_at(&d, NOW + 2 * WHEN_HOUR);
    was_asked(&d, 2);
    refresh_at(&d, NOW - WHEN_DAY); /* a clock that went back proves nothing about the answer's age */
    was_asked(&d, 3);
}

TEST(group_keeps_what_it_has_when_nothing_has_changed)
{
    CLEANUP(desk_close) struct desk d;

    desk_open(&d, CORP);
    server_says(&d, POLICY_OF("T"));
    refresh_at(&d, NOW);
    server_says(&d, "{\"not_changed\":true}");
    assert_true(refresh_at(&d, NOW + 3 * WHEN_HOUR)->has_policy);
    assert_string_equal(d.agent.groups->items[0].policy.templates[0].name, "T");
    refresh_at(&d, NOW + 4 * WHEN_HOUR); /* its time begins anew */
    was_asked(&d, 2);
}

TEST(group_believes_no_unchanged_where_there_was_nothing)
{
    CLEANUP(desk_close) struct desk d;

    desk_open(&d, CORP);
    server_says(&d, "{\"not_changed\":true}");
    assert_false(refresh_at(&d, NOW)->has_policy);
    assert_int_equal(err_kind(d.agent.groups->items[0].failure), ERR_PROTOCOL);
    assert_contains(err_text(d.agent.groups->items[0].failure), "asking policy server 'corp'");
}

TEST(group_uses_an_old_answer_for_a_week_when_the_server_fails) /* [MS-XCEP notes] 4.2 */
{
    CLEANUP(desk_close) struct desk d;
    const struct group *group;

    desk_open(&d, CORP);
    server_says(&d, POLICY_OF("T"));
    refresh_at(&d, NOW);
    server_says(&d, NULL);
    group = refresh_at(&d, NOW + 7 * WHEN_DAY);
    assert_true(group->has_policy);
    assert_null(group->failure);
    assert_int_equal(group->notes.n, 1); /* and it is told */
    assert_contains(group->notes.items[0], "asking policy server 'corp'");
    group = refresh_at(&d, NOW + 7 * WHEN_DAY + 1);
    assert_false(group->has_policy);
    assert_int_equal(group->policy.n_templates, 0);
    assert_non_null(group->failure);
}

/* What a worker says of a failure is not printed as it came, whoever it was that said it. */
TEST(group_tells_a_failure_in_harmless_text)
{
    CLEANUP(desk_close) struct desk d;
    const struct group *group;

    desk_open(&d, CORP);
    worker_says(&d, FAILED, "{\"kind\":\"Network\",\"text\":\"a\\u001b[2Jb\",\"hint\":\"c\\nd\"}");
    group = refresh_at(&d, NOW);
    assert_int_equal(group->notes.n, 1);
    assert_contains(group->notes.items[0], "a\\x1b[2Jb\n  hint: c\\x0ad");
    assert_null(strchr(group->notes.items[0], '\x1b'));
}

TEST(group_counts_an_answer_only_for_the_question_that_was_asked)
{
    static const char other[] = SERVER("corp", "pki.example", "auth = username\nusername = alice\n");
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(desk_close) struct desk d;

    desk_open(&d, CORP);
    server_says(&d, POLICY_OF("T"));
    refresh_at(&d, NOW);
    testing_write(d.config, other, strlen(other));
    assert_ok(agent_reload(&d.agent, &err) == 0, err);
    refresh_at(&d, NOW + 1); /* another user may do other things */
    was_asked(&d, 2);
}

TEST(group_takes_a_damaged_answer_on_disk_as_none)
{
    static const char *const damages[] = {"", "{", "{\"version\":1}",
        "{\"version\":9,\"asked\":\"username bob https://pki.example/CEP\",\"received\":1893456000,\"next_update\":"
        "1993456000}",
        "{\"version\":1,\"asked\":\"username bob https://pki.example/CEP\",\"received\":1893456000,\"next_update\":"
        "1993456000,\"policy\":{\"templates\":[{\"name\":\"T\",\"oid\":\"1.2\",\"cas\":[5]}]}}"};
    CLEANUP(desk_close) struct desk d;
    CLEANUP(mem_freep) char *path = NULL;

    desk_open(&d, CORP);
    path = mem_printf("%s/corp.json", d.agent.paths.policies);
    server_says(&d, POLICY_OF("T"));
    for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
        testing_write(path, damages[i], strlen(damages[i]));
        assert_true(refresh_at(&d, NOW)->has_policy);
        was_asked(&d, i + 1);
    }
}

TEST(group_waits_with_a_certificate_server_until_there_is_a_certificate)
{
    CLEANUP(desk_close) struct desk d;
    const struct group *group;
    struct record *record;

    desk_open(&d, CORP RENEWAL);
    server_says(&d, POLICY_OF("T"));
    group = refresh_at(&d, NOW);
    assert_true(group->has_policy);
    assert_int_equal(group->notes.n, 0); /* as it should be: nothing to tell */
    was_asked(&d, 1);

    record = record_add(&d.agent.records, "corp-1");
    record->server = mem_strdup("corp");
    bytes_set(&record->current.pair.certificate, "\x30\x00", 2);
    record->current.facts.not_after = NOW + WHEN_DAY;
    refresh_at(&d, NOW + 1);
    was_asked(&d, 2);

    record->current.facts.not_after = NOW - 1; /* an expired one authenticates nobody */
    refresh_at(&d, NOW + WHEN_DAY);
    was_asked(&d, 3); /* the other one */
}

TEST(group_of_a_certificate_server_alone_says_what_is_missing)
{
    CLEANUP(desk_close) struct desk d;
    const struct group *group;

    desk_open(&d, RENEWAL);
    group = refresh_at(&d, NOW);
    assert_false(group->has_policy);
    assert_int_equal(err_kind(group->failure), ERR_AUTH);
    assert_contains(err_text(group->failure), "'renewal' wants a certificate, and there is none yet");
    assert_contains(err_hint_text(group->failure), "auth = username");
}

TEST(group_bounds_the_time_that_a_server_may_be_left_alone)
{
    CLEANUP(desk_close) struct desk d;

    desk_open(&d, CORP);
    server_says(&d, "{\"policy\":{\"next_update_hours\":4294967295}}");
    refresh_at(&d, NOW);
    refresh_at(&d, NOW + 30 * WHEN_DAY);
    was_asked(&d, 2);
}
