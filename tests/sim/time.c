#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/base/when.h"
#include "tests/agent_fixture.h"
#include "tests/testing.h"

/*
 * Two years of a machine's life: the real daemon, its workers, a SoftHSM token and the reference server, all under
 * libfaketime, whose clock is set forward to whatever is due next, as their own records say. This program itself lives
 * in real time.
 */
#define SETTLES_MS 90000 /* for everything that is due at one moment; nothing is measured by it */
#define POLL_MS    25
#define IDLE_MS    (4 * POLL_MS)
#define NUDGE_MS   (20 * POLL_MS)
#define YEAR       (365 * WHEN_DAY)

struct life {
    struct server_fixture *server;
    struct agent_fixture *agent;
    struct record_list records;
    char *clock;  /* FAKETIME_TIMESTAMP_FILE; owned */
    char *worker; /* a script that has the real one see the same clock; owned */
    int64_t ahead, began;
    pid_t daemon; /* 0: the machine is off */
    bool token_is_away;
    unsigned steps, failures; /* moments at which something was due; those after which an attempt had failed */
};

static void life_clear(struct life *l)
{
    record_list_clear(&l->records);
    agent_fixture_free(l->agent);
    free(l->clock);
    free(l->worker);
}

/* --- the clock --- */

static int64_t now(const struct life *l)
{
    return (int64_t)time(NULL) + l->ahead;
}

static void set_clock(struct life *l, int64_t when)
{
    CLEANUP(mem_freep) char *next = mem_printf("%s.next", l->clock);
    CLEANUP(mem_freep) char *text = NULL;

    l->ahead = when - (int64_t)time(NULL);
    text = mem_printf("+%" PRId64 "\n", l->ahead);
    testing_write(next, text, strlen(text));
    assert_int_equal(rename(next, l->clock), 0);
}

static double day_of(const struct life *l, int64_t when)
{
    return (double)(when - l->began) / WHEN_DAY;
}

/* --- the machine --- */

/* Whatever is started from here on sees the clock. */
static void fake_time(struct life *l)
{
    CLEANUP(bytes_clear) struct bytes library = {0};

    if (testing_shell(&library,
            "for f in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib*/faketime/libfaketimeMT.so.1; "
            "do [ ! -e \"$f\" ] || { printf %%s \"$f\"; exit 0; }; done; exit 1") != 0)
        skip();
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1); /* at its end it stumbles over the library */
    setenv("FAKETIME_TIMESTAMP_FILE", l->clock, 1);
    setenv("FAKETIME_NO_CACHE", "1", 1);
    setenv("LD_PRELOAD", bytes_text(&library), 1);
}

static void write_worker(struct life *l)
{
    CLEANUP(mem_freep) char *real = testing_bin("autoenroll-worker");
    CLEANUP(mem_freep)
    char *text = mem_printf("#!/bin/sh\nexec env LD_PRELOAD='%s' FAKETIME_TIMESTAMP_FILE='%s' FAKETIME_NO_CACHE=1 "
                            "FAKETIME_DONT_FAKE_MONOTONIC=1 '%s'\n",
        getenv("LD_PRELOAD"), l->clock, real);

    l->worker = mem_printf("%s/worker", l->agent->dir);
    testing_write(l->worker, text, strlen(text));
    assert_int_equal(chmod(l->worker, 0755), 0);
}

static void switch_on(struct life *l)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenrolld");
    CLEANUP(mem_freep)
    char *line =
        mem_printf("exec env CREDENTIALS_DIRECTORY='%s' '%s' --config '%s' --state-dir '%s' --runtime-dir '%s' "
                   "--bus none --worker '%s' %s >>'%s/log' 2>&1",
            l->agent->credentials, program, l->agent->config, l->agent->state, l->agent->dir, l->worker,
            geteuid() == 0 ? "--run-as root --worker-as root" : "", l->agent->dir);

    l->daemon = fork();
    if (l->daemon == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
}

static void show_log(const struct life *l)
{
    (void)testing_shell(NULL, "tail -n 40 '%s/log' >&2; tail -n 5 '%s.log' >&2", l->agent->dir, l->server->dir);
}

static void switch_off(struct life *l)
{
    int status = -1;

    (void)kill(l->daemon, SIGTERM);
    assert_int_equal(waitpid(l->daemon, &status, 0), l->daemon);
    l->daemon = 0;
    if (status != 0)
        show_log(l);
    assert_int_equal(status, 0);
}

/* --- what is due next, as records on disk say --- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t due_of_server(const struct life *l, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/private/servers/%s.json", l->agent->state, name);
    json_t *server = json_load_file(path, 0, NULL);
    int64_t due = server ? json_integer_value(json_object_get(server, "next_update")) : 0;
    int64_t next = json_integer_value(json_object_get(server, "next_attempt"));

    if (json_is_string(json_object_get(server, "error")) && next > due)
        due = next;
    json_decref(server);
    return due;
}

static const struct record *record(struct life *l)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/private/enrollments/web/record.json", l->agent->state);

    return access(path, F_OK) == 0 ? agent_fixture_record(l->agent, "web", &l->records) : NULL;
}

static int64_t due(struct life *l)
{
    const struct record *r = record(l);
    int64_t next = due_of_server(l, "corp");

    if (!r)
        return 0;
    if (r->current.facts.not_after > now(l)) /* without a certificate nobody asks it */
        next = earlier(next, due_of_server(l, "corp-renewal"));
    next = earlier(next, r->failures ? r->next_attempt : r->renew_at);
    for (size_t i = 0; i < r->n_previous && !l->token_is_away; i++)
        next = earlier(next, r->previous[i].retire_after);
    return next;
}

/* A worker is at it somewhere below @parent. */
static bool works(pid_t parent)
{
    CLEANUP(mem_freep) char *path = mem_printf("/proc/%d/task/%d/children", parent, parent);
    FILE *children = fopen(path, "re");
    bool found = false;
    int pid;

    while (children && !found && fscanf(children, "%d", &pid) == 1) {
        CLEANUP(mem_freep) char *comm = mem_printf("/proc/%d/comm", pid);
        FILE *file = fopen(comm, "re");
        char name[32] = "";

        if (file && !fgets(name, sizeof(name), file))
            name[0] = '\0';
        if (file)
            (void)fclose(file);
        found = strcmp(name, "autoenroll-keep\n") != 0 || works(pid); /* the keeper starts them */
    }
    if (children)
        (void)fclose(children);
    return found;
}

/*
 * Until nothing is due and no worker works, and that for a while: one thing leads to another. The daemon has slept
 * while the clock went on, and wakes: its timers, whose clock libfaketime sets forward too, are found to be over.
 */
static void settle(struct life *l)
{
    int64_t at = now(l);

    for (int waited = 0, idle = 0; waited < SETTLES_MS; waited += POLL_MS) {
        if (waited % NUDGE_MS == 0) {
            (void)kill(l->daemon, SIGSTOP);
            (void)kill(l->daemon, SIGCONT);
        }
        (void)usleep(POLL_MS * 1000);
        if (waitpid(l->daemon, NULL, WNOHANG) != 0) {
            show_log(l);
            fail_msg("the daemon has ended by itself on day %.1f", day_of(l, at));
        }
        idle = !works(l->daemon) && due(l) > now(l) ? idle + POLL_MS : 0;
        if (idle >= IDLE_MS)
            return;
    }
    show_log(l);
    fail_msg("on day %.1f something stays due since %" PRId64 " s", day_of(l, at), at - due(l));
}

static int64_t left(struct life *l)
{
    return record(l)->current.facts.not_after - now(l);
}

/*
 * Lives until @until, from one thing that is due to the next.
 *
 * @may_expire  nothing and nobody can renew it now; else it must be valid all the time
 */
static void live(struct life *l, int64_t until, bool may_expire)
{
    for (;;) {
        int64_t next = due(l);

        if (next >= until)
            break;
        set_clock(l, next > now(l) ? next + 1 : now(l) + 1);
        settle(l);
        l->steps++;
        l->failures += record(l)->failures > 0;
        if (left(l) <= 0 && !may_expire) {
            show_log(l);
            fail_msg("the certificate has expired on day %.1f", day_of(l, record(l)->current.facts.not_after));
        }
    }
    if (until > now(l))
        set_clock(l, until);
}

/* Lives on until just before the next renewal, when nothing else is due. Returns its moment. */
static int64_t live_until_renewal(struct life *l)
{
    for (;;) {
        int64_t moment = record(l)->renew_at;

        live(l, moment - WHEN_MINUTE, false);
        if (record(l)->renew_at == moment && !record(l)->failures)
            return moment;
    }
}

/* --- what happens to it --- */

static void assert_renewed(struct life *l, const char *what, int64_t old_end)
{
    int64_t end = old_end;

    live(l, end - WHEN_MINUTE, false);
    if (record(l)->current.facts.not_after <= end) {
        show_log(l);
        fail_msg("not renewed after %s", what);
    }
    printf("day %5.1f  %-66s renewed %.1f hours before its end\n", day_of(l, now(l)), what,
        (double)(end - record(l)->current.installed_at) / WHEN_HOUR);
}

/* The server is away from the moment of a renewal until a few hours before the end. */
static void lose_server(struct life *l)
{
    int64_t end;

    (void)live_until_renewal(l);
    end = record(l)->current.facts.not_after;
    server_fixture_stop(l->server);
    live(l, end - 4 * WHEN_HOUR, false);
    assert_true(record(l)->failures > 2);
    server_fixture_start(l->server);
    assert_renewed(l, "the server was away until 4 hours before", end);
}

/* The same with the token, in whose place is something that is none. */
static void lose_token(struct life *l)
{
    CLEANUP(mem_freep) char *token = mem_printf("%s/token", l->agent->state);
    CLEANUP(mem_freep) char *away = mem_printf("%s.away", l->agent->dir);
    int64_t end;

    (void)live_until_renewal(l);
    end = record(l)->current.facts.not_after;
    assert_int_equal(rename(token, away), 0);
    testing_write(token, "", 0);
    l->token_is_away = true;
    live(l, end - 4 * WHEN_HOUR, false);
    assert_true(record(l)->failures > 2);
    assert_int_equal(unlink(token), 0);
    assert_int_equal(rename(away, token), 0);
    l->token_is_away = false;
    assert_renewed(l, "the token was unreadable until 4 hours before", end);
}

/* The machine is off at the moment of a renewal, and for most of the rest. */
static void sleep_over_the_moment(struct life *l)
{
    int64_t end;

    (void)live_until_renewal(l);
    end = record(l)->current.facts.not_after;
    switch_off(l);
    set_clock(l, end - 2 * WHEN_HOUR);
    switch_on(l);
    settle(l);
    assert_renewed(l, "the machine was off until 2 hours before", end);
}

static void assert_recovered(struct life *l, const char *what)
{
    int64_t began = now(l);

    for (int i = 0; i < 100 && left(l) <= 0; i++)
        live(l, due(l) + 1, true);
    if (left(l) <= 0) {
        show_log(l);
        fail_msg("not recovered after %s", what);
    }
    printf("day %5.1f  %-66s a new one by password within %.1f hours\n", day_of(l, now(l)), what,
        (double)(now(l) - began) / WHEN_HOUR);
}

static void sleep_for_weeks(struct life *l)
{
    switch_off(l);
    set_clock(l, now(l) + 30 * WHEN_DAY);
    switch_on(l);
    settle(l);
    assert_recovered(l, "the machine was off for 30 days, the certificate had expired");
}

static void lose_server_for_weeks(struct life *l)
{
    server_fixture_stop(l->server);
    live(l, now(l) + 12 * WHEN_DAY, true);
    assert_true(left(l) <= 0);
    server_fixture_start(l->server);
    assert_recovered(l, "the server was away for 12 days, the certificate had expired");
}

/* --- what it leaves behind --- */

struct rubbish {
    int64_t files, bytes, token_files;
    size_t keys;
};

static int64_t number(const char *fmt, const char *dir)
{
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(mem_freep) char *line = mem_printf(fmt, dir);

    assert_int_equal(testing_shell(&out, "%s", line), 0);
    return strtoll(bytes_text(&out), NULL, 10);
}

static struct rubbish measure(struct life *l)
{
    struct rubbish r;

    (void)live_until_renewal(l);
    assert_int_equal(record(l)->n_previous, 0);
    r.files = number("find '%s' -type f | wc -l", l->agent->state);
    r.bytes = number("find '%s' -type f -printf '%%s\\n' | awk '{ n += $1 } END { print n }'", l->agent->state);
    r.token_files = number("find '%s/token' -type f | wc -l", l->agent->state);
    r.keys = agent_fixture_count_keys(l->agent);
    printf("day %5.1f  %" PRId64 " files, %" PRId64 " bytes, of the token %" PRId64 " files, %zu keys\n",
        day_of(l, now(l)), r.files, r.bytes, r.token_files, r.keys);
    return r;
}

static void begin(struct life *l)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();

    l->clock = mem_printf("%s/clock", dir);
    set_clock(l, time(NULL));
    l->began = now(l);
    fake_time(l);
    l->server = server_fixture_new(NULL);
    server_fixture_set(l->server, "template \"DeviceEC\"", "ValidityPeriod", "10d");
    server_fixture_set(l->server, "template \"DeviceEC\"", "RenewalPeriod", "3d");
    server_fixture_set(l->server, "policy", "NextUpdateHours", "720"); /* two policy servers are asked that often */
    server_fixture_start(l->server);
    l->agent = agent_fixture_new(l->server);
    agent_fixture_section(l->agent, "web", "DeviceEC", "");
    /* Or each step would be a pulse, with its looks, and the end of whatever works while the clock is set. */
    agent_fixture_fragment(l->agent, "agent", "[agent]\npulse = 30d\njob-limit = 3650d\n");
    write_worker(l);
    switch_on(l);
    settle(l);
}

TEST(two_years_with_certificates_of_ten_days)
{
    CLEANUP(life_clear) struct life l = {0};
    struct rubbish first, second;
    int64_t renewals, enrollments;

    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* to be read while it runs */
    begin(&l);
    for (int year = 0; year < 2; year++) {
        int64_t new_year = l.began + year * YEAR;

        live(&l, new_year + 50 * WHEN_DAY, false);
        lose_server(&l);
        live(&l, new_year + 110 * WHEN_DAY, false);
        lose_token(&l);
        live(&l, new_year + 170 * WHEN_DAY, false);
        sleep_over_the_moment(&l);
        live(&l, new_year + 230 * WHEN_DAY, false);
        year == 0 ? sleep_for_weeks(&l) : lose_server_for_weeks(&l);
        live(&l, new_year + YEAR - 5 * WHEN_DAY, false);
        second = measure(&l);
        first = year == 0 ? second : first;
    }
    switch_off(&l);
    renewals = server_fixture_number(l.server, "SELECT count(*) FROM requests WHERE old_certificate IS NOT NULL");
    enrollments = server_fixture_number(l.server, "SELECT count(*) FROM requests WHERE old_certificate IS NULL");
    printf("day %5.1f  %" PRId64 " renewals by key, %" PRId64
           " enrollments by password, %u moments, %u with a failure\n",
        day_of(&l, now(&l)), renewals, enrollments, l.steps, l.failures);
    assert_int_equal(enrollments, 3); /* the first, and after each absence that was too long */
    assert_in_range(renewals, 60, 90);
    assert_true(second.files <= first.files && second.token_files <= first.token_files);
    assert_int_equal(first.keys, 1);
    assert_int_equal(second.keys, 1);
    assert_true(second.bytes <= first.bytes + 512); /* numbers have more digits; signatures differ by some bytes */
}
