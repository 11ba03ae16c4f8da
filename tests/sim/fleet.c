#include <inttypes.h>
#include <time.h>

#include "agent/daemon/errand.h"
#include "agent/daemon/server.h"
#include "policy/schedule.h"
#include "protocol/base/when.h"
#include "protocol/xcep/flags.h"
#include "tests/testing.h"

/*
 * A fleet of machines, each driven by the code of the daemon: errand_held and decide say what is to be done and when,
 * errand_next_try when a failure is tried again, server_password whether a password may be shown. Simulated are the
 * clock, the workers and the servers. The tables are printed; what the design promises of them is asserted.
 */
#define FLEET    100000
#define START    ((int64_t)1893456000) /* 2030-01-01 00:00 UTC: they are imaged in the hour that follows */
#define LIFE     ((int64_t)365 * WHEN_DAY)
#define WINDOW   ((int64_t)42 * WHEN_DAY)
#define OPENS    (START + LIFE - WINDOW)
#define MAX_HOUR (3 * 366 * 24)

struct machine {
    uint64_t seed, key;
    int64_t not_before, not_after; /* 0: nothing is held */
    int64_t renew_at, next_attempt, request_day;
    uint32_t failures, requests;
    unsigned error_kind;
    bool under_way;
    int64_t since;                  /* its first failure */
    int64_t refused_at, policy_due; /* as of its policy server's state */
    int64_t wakes;                  /* when the engine looks again */
};

enum answer { ANSWER_ISSUED, ANSWER_NONE, ANSWER_DENIED, ANSWER_WRONG_PASSWORD };

struct fleet {
    struct machine *machines; /* owned */
    uint32_t *heap;           /* owned; indices, the one that wakes first at the top */
    size_t n;
    int64_t end;
    struct template template;
    struct policy_ca ca;
    struct policy policy;
    struct schedule_hours hours;
    enum answer (*answer)(int64_t now);
    uint64_t random;
    uint32_t *issued; /* owned; by hour since START */
    uint64_t failed, denied, passwords;
    uint32_t most_denied; /* of one machine on one day */
    int64_t last_issued, least_left;
    size_t expired; /* while nothing was issued in its place */
};

static void fleet_clear(struct fleet *f)
{
    free(f->machines);
    free(f->heap);
    free(f->issued);
}

static uint64_t next_random(struct fleet *f)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random;
}

/* --- who wakes next --- */

static int64_t wakes(const struct fleet *f, size_t at)
{
    return f->machines[f->heap[at]].wakes;
}

static void sink(struct fleet *f, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;
        uint32_t moved = f->heap[at];

        if (child + 1 < f->n && wakes(f, child + 1) < wakes(f, child))
            child++;
        if (child >= f->n || wakes(f, at) <= wakes(f, child))
            return;
        f->heap[at] = f->heap[child];
        f->heap[child] = moved;
        at = child;
    }
}

/* --- one machine --- */

static char name[] = "Machine", oid[] = "1.3.6.1.4.1.311.21.8.1", id[] = "corp-12345678", uri[] = "https://ces.example";
static char old_ca[] = "Old CA", new_ca[] = "New CA";
static unsigned char der[] = {0x30};

static char issuer[] = "CN=Old CA,DC=example";

/* As record.json would have it; borrows from @m. */
static struct record record_of(struct machine *m)
{
    struct record r = {.id = id,
        .template_oid = oid,
        .template_name = name,
        .template_major = {true, (uint32_t)(m->key >> 32)},
        .n_wanted = m->under_way,
        .renewal = m->not_after != 0,
        .error = m->failures ? name : NULL,
        .error_kind = m->error_kind,
        .request_day = m->request_day,
        .requests = m->requests,
        .renew_at = m->renew_at,
        .next_attempt = m->next_attempt,
        .failures = m->failures};

    r.current.facts = (struct job_facts){.not_before = m->not_before, .not_after = m->not_after, .issuer = issuer};
    r.current.pair.key_id = (struct bytes){.data = (uint8_t *)&m->key, .len = sizeof(m->key)};
    if (m->not_after)
        r.current.pair.certificate = (struct bytes){.data = der, .len = sizeof(der)};
    return r;
}

static void counted(struct machine *m, const struct record *r)
{
    m->request_day = r->request_day;
    m->requests = r->requests;
}

static void issue(struct fleet *f, struct machine *m, int64_t now)
{
    int64_t left = m->not_after - now;

    if (m->not_after && left < f->least_left)
        f->least_left = left;
    if (m->not_after && left <= 0)
        f->expired++;
    f->issued[(now - START) / WHEN_HOUR]++;
    f->last_issued = now;
    m->key = (uint64_t)f->template.major << 32 | (uint32_t)(m->key + 1);
    m->not_before = now;
    m->not_after = now + LIFE;
    m->failures = 0;
    m->under_way = false;
    m->renew_at = m->next_attempt = 0;
    m->since = 0;
}

static void failed(struct fleet *f, struct machine *m, enum err_kind kind, int64_t now)
{
    struct record r;

    f->failed++;
    m->since = m->since ? m->since : now;
    m->failures++;
    m->error_kind = kind;
    m->under_way = kind == ERR_NETWORK; /* what was denied begins anew */
    r = record_of(m);
    m->next_attempt = errand_next_try(&r, kind, 0, now, (uint32_t)next_random(f));
}

/* A password is shown to CEP or CES; the daemon's own rule says whether it may be. */
static bool show_password(struct fleet *f, struct machine *m, int64_t now)
{
    struct server_state server = {.refused_at = m->refused_at};

    if (server_password(&server, now) != SERVER_PASSWORD_FREE)
        return false;
    f->passwords++;
    if (f->answer(now) == ANSWER_WRONG_PASSWORD) {
        server_password_refused(&server, now);
        m->refused_at = server.refused_at;
        m->since = m->since ? m->since : now;
    }
    return true;
}

static void attempt(struct fleet *f, struct machine *m, bool renewal, int64_t now)
{
    enum answer answer = f->answer(now);
    struct record r = record_of(m);

    if (!renewal && !show_password(f, m, now)) {
        m->next_attempt = m->refused_at + SERVER_REFUSED_FOR; /* as without_password() does */
        return;
    }
    switch (answer) {
    case ANSWER_ISSUED:
        record_count_request(&r, now);
        counted(m, &r);
        issue(f, m, now);
        return;
    case ANSWER_NONE:
        failed(f, m, ERR_NETWORK, now);
        return;
    case ANSWER_DENIED:
        record_count_request(&r, now);
        counted(m, &r);
        f->denied++;
        if (m->requests > f->most_denied)
            f->most_denied = m->requests;
        failed(f, m, ERR_DENIED, now);
        return;
    case ANSWER_WRONG_PASSWORD:
        if (renewal)
            issue(f, m, now); /* by its key */
        else
            failed(f, m, ERR_AUTH, now);
        return;
    }
}

static struct decision look(struct fleet *f, struct machine *m, int64_t now, struct decision_list *list)
{
    const struct agent agent = {.instance.seed = m->seed, .now = now};
    struct record r = record_of(m);
    struct held_cert held = errand_held(&agent, &r);
    struct inventory inventory = {&held, 1};
    struct decide_question question = {
        .policy = &f->policy, .inventory = &inventory, .autoenroll = true, .hours = f->hours, .now = now};

    *list = decide(&question);
    assert_int_equal(list->n, 1);
    return list->items[0];
}

/* The policy server is asked with the password when its answer is not good any more, as group_due() has it. */
static void ask_policy(struct fleet *f, struct machine *m, int64_t now)
{
    if (now < m->policy_due)
        return;
    show_password(f, m, now);
    m->policy_due = m->refused_at + SERVER_REFUSED_FOR > now
                        ? m->refused_at + SERVER_REFUSED_FOR
                        : schedule_refresh(now, 8 * WHEN_HOUR, (uint32_t)next_random(f));
}

/* What the engine does when it wakes; m->wakes is when it does so next. */
static void wake(struct fleet *f, struct machine *m, bool asks)
{
    CLEANUP(decision_list_clear) struct decision_list list = {0};
    int64_t now = m->wakes;
    struct decision d;

    if (asks)
        ask_policy(f, m, now);
    d = look(f, m, now, &list);
    m->wakes = INT64_MAX;
    if (d.action == DECIDE_LEAVE || d.action == DECIDE_SKIP) {
        m->renew_at = d.renew_at;
        m->wakes = d.renew_at;
    } else if (now < m->next_attempt) {
        m->wakes = m->next_attempt;
    } else {
        attempt(f, m, d.action == DECIDE_RENEW || (d.action == DECIDE_RESUME && m->not_after > now), now);
        m->wakes = m->next_attempt ? m->next_attempt : m->not_after - WINDOW; /* nothing can be due before */
    }
    if (asks && m->policy_due < m->wakes)
        m->wakes = m->policy_due;
}

/* --- all of them --- */

static enum answer always(int64_t now)
{
    (void)now;
    return ANSWER_ISSUED;
}

/* @n machines, each with a certificate that it got in the first hour. */
static void image(struct fleet *f, size_t n)
{
    static struct policy_uri address = {.auth = POLICY_AUTH_USERNAME, .uri = uri};
    static uint32_t first[] = {0};

    *f = (struct fleet){.n = n,
        .end = START + 2 * LIFE,
        .answer = always,
        .random = 0x9e3779b97f4a7c15,
        .least_left = INT64_MAX,
        .template = {.name = name, .oid = oid, .schema = 2, .major = 100, .enroll = true, .autoenroll = true},
        .ca = {.name = old_ca, .enroll_permission = true, .uris = &address, .n_uris = 1}};
    f->template.general_flags = XCEP_GENERAL_MACHINE_TYPE;
    f->template.renewal = (uint64_t)WINDOW;
    f->template.cas = first;
    f->template.n_cas = 1;
    f->policy = (struct policy){.templates = &f->template, .n_templates = 1, .cas = &f->ca, .n_cas = 1};
    f->machines = mem_calloc(n, sizeof(*f->machines));
    f->heap = mem_calloc(n, sizeof(*f->heap));
    f->issued = mem_calloc(MAX_HOUR, sizeof(*f->issued));
    for (size_t i = 0; i < n; i++) {
        int64_t at = START + (int64_t)(i * WHEN_HOUR / n);

        f->machines[i] = (struct machine){.seed = next_random(f), .key = 100ull << 32, .not_before = at};
        f->machines[i].not_after = at + LIFE;
        f->machines[i].wakes = at + LIFE - WINDOW;
        f->heap[i] = (uint32_t)i;
    }
}

static void heap_up(struct fleet *f)
{
    for (size_t i = f->n / 2; i-- > 0;)
        sink(f, i);
}

static void run(struct fleet *f, bool asks)
{
    heap_up(f);
    while (wakes(f, 0) < f->end) {
        wake(f, &f->machines[f->heap[0]], asks);
        sink(f, 0);
    }
}

/* From here on at @when everybody looks: the policy has changed. */
static void all_look_at(struct fleet *f, int64_t when)
{
    for (size_t i = 0; i < f->n; i++)
        f->machines[i].wakes = when + (int64_t)(i * WHEN_HOUR / f->n); /* all in one hour: the worst case */
}

/* --- tables --- */

struct load {
    double mean, busiest;
    int64_t busiest_at;
    uint64_t total;
};

/* Renewals in each hour of [from, to), against @hours of them. */
static struct load load_of(const struct fleet *f, int64_t from, int64_t to, int64_t hours)
{
    struct load load = {0};

    for (int64_t hour = (from - START) / WHEN_HOUR; hour <= (to - START - 1) / WHEN_HOUR; hour++) {
        load.total += f->issued[hour];
        if (f->issued[hour] > load.busiest) {
            load.busiest = f->issued[hour];
            load.busiest_at = START + hour * WHEN_HOUR;
        }
    }
    load.mean = (double)load.total / (double)hours;
    return load;
}

static void print_head(const char *what)
{
    printf("\n%s\n%-34s %9s %9s %9s %7s %9s %9s %8s\n", what, "", "renewals", "mean/h", "busiest/h", "ratio",
        "failures", "least left", "expired");
}

static double print_load(const char *what, const struct fleet *f, const struct load *load)
{
    double ratio = load->busiest / load->mean;
    CLEANUP(mem_freep) char *left = when_format_span(f->least_left == INT64_MAX ? 0 : f->least_left);

    printf("%-34s %9" PRIu64 " %9.1f %9.0f %7.2f %9" PRIu64 " %9s %8zu\n", what, load->total, load->mean, load->busiest,
        ratio, f->failed, left, f->expired);
    return ratio;
}

/* --- normal life --- */

TEST(fleet_that_was_imaged_in_an_hour_does_not_renew_in_one)
{
    CLEANUP(fleet_clear) struct fleet f = {0};
    struct load load;

    image(&f, FLEET);
    f.end = START + LIFE + WHEN_HOUR;
    run(&f, false);
    print_head("100,000 machines imaged within one hour, certificates of 365 days, window of 42 days");
    load = load_of(&f, OPENS, START + LIFE, WINDOW / WHEN_HOUR);
    assert_int_equal(load.total, FLEET);
    assert_true(print_load("their first renewal", &f, &load) <= 1.5);
    assert_true(f.least_left > 2 * WHEN_DAY);
    f.end = f.last_issued + LIFE;
    run(&f, false);
    load = load_of(&f, OPENS + LIFE - WINDOW, f.end, WINDOW / WHEN_HOUR);
    assert_true(print_load("their second, a year later", &f, &load) <= 1.5);
    assert_int_equal(f.expired, 0);
}

TEST(fleet_keeps_to_maintenance_hours_and_is_spread_over_them)
{
    static const struct {
        const char *hours;
        double a_day;
    } rows[] = {{"01:00-05:00", 4}, {"Sat,Sun 01:00-05:00", 8 / 7.0}, {"Mon-Fri 22:00-04:00", 30 / 7.0}};

    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    print_head("the same for 20,000 of them, in maintenance hours; mean of the hours that are open");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(fleet_clear) struct fleet f = {0};
        struct load load;

        image(&f, 20000);
        assert_int_equal(schedule_hours_parse(rows[i].hours, &f.hours, NULL), 0);
        f.end = START + LIFE + WHEN_HOUR;
        run(&f, false);
        load = load_of(&f, OPENS, START + LIFE, (int64_t)(rows[i].a_day * (double)(WINDOW / WHEN_DAY)));
        assert_int_equal(load.total, f.n);
        assert_true(print_load(rows[i].hours, &f, &load) <= 1.5);
        assert_int_equal(f.expired, 0);
    }
}

/* --- outages --- */

static int64_t away_from, away_to;

static enum answer unless_away(int64_t now)
{
    return now >= away_from && now < away_to ? ANSWER_NONE : ANSWER_ISSUED;
}

static void outage(const char *what, int64_t begins, int64_t hours, double most)
{
    CLEANUP(fleet_clear) struct fleet f = {0};
    struct load load;

    image(&f, FLEET);
    away_from = OPENS + begins;
    away_to = away_from + hours * WHEN_HOUR;
    f.answer = unless_away;
    f.end = START + LIFE + WHEN_HOUR;
    run(&f, false);
    load = load_of(&f, OPENS, START + LIFE, WINDOW / WHEN_HOUR);
    assert_int_equal(load.total, FLEET);
    assert_int_equal(f.expired, 0);
    assert_true(f.failed > 0);
    print_head("100,000 machines, the server away for some hours inside the window");
    assert_true(print_load(what, &f, &load) <= most);
}

#define PLANNED (WINDOW - 2 * WHEN_DAY) /* the part of the window in which renewals are planned */

TEST(fleet_comes_back_spread_after_six_hours_at_the_beginning_of_the_window)
{
    outage("6 h from its first hour on", 0, 6, 2);
}

TEST(fleet_comes_back_spread_after_six_hours_in_the_middle_of_the_window)
{
    outage("6 h in the middle", WINDOW / 2, 6, 2);
}

TEST(fleet_comes_back_spread_after_six_hours_near_the_end_of_the_window)
{
    outage("6 h, ending a day before the last", PLANNED - 30 * WHEN_HOUR, 6, 2);
}

TEST(fleet_comes_back_spread_after_the_last_six_hours_that_are_planned)
{
    outage("the last 6 h that are planned", PLANNED - 6 * WHEN_HOUR, 6, 2);
}

TEST(fleet_survives_two_days_without_a_server)
{
    outage("48 h in the middle", WINDOW / 2, 48, 6); /* 5,000 of them come back within a day */
}

TEST(fleet_survives_the_last_two_days_of_its_window_without_a_server)
{
    outage("48 h before the last 36", WINDOW - 84 * WHEN_HOUR, 48, 7);
}

/* --- what meets all of them at once --- */

TEST(fleet_follows_a_raised_version_over_a_day_and_a_replaced_ca_over_a_week)
{
    CLEANUP(fleet_clear) struct fleet f = {0}, g = {0};
    int64_t when = START + 100 * WHEN_DAY;
    struct load load;

    print_head("100,000 machines that all see within one hour what their policy has come to want");
    image(&f, FLEET);
    f.template.major = 101;
    all_look_at(&f, when);
    f.end = when + 2 * WHEN_DAY;
    run(&f, false);
    load = load_of(&f, when, when + 2 * WHEN_DAY, 24);
    assert_int_equal(load.total, FLEET);
    assert_true(print_load("a raised major version", &f, &load) <= 1.5);

    image(&g, FLEET);
    g.ca.name = new_ca;
    all_look_at(&g, when);
    g.end = when + 8 * WHEN_DAY;
    run(&g, false); /* a certificate of the new CA is young: it is left in peace, whatever its issuer says here */
    load = load_of(&g, when, when + 8 * WHEN_DAY, 7 * 24);
    assert_true(load.total >= FLEET);
    assert_true(print_load("another CA in the policy", &g, &load) <= 1.5);
}

/* --- faults that stay --- */

static enum answer denies(int64_t now)
{
    (void)now;
    return ANSWER_DENIED;
}

static enum answer refuses(int64_t now)
{
    (void)now;
    return ANSWER_WRONG_PASSWORD;
}

static enum answer is_gone(int64_t now)
{
    (void)now;
    return ANSWER_NONE;
}

#define FEW 1000

/* For each machine and day since it met the fault. */
static void print_fault(const char *what, const struct fleet *f, double most_denied, double most_passwords)
{
    double days = 0, denied, passwords;

    for (size_t i = 0; i < f->n; i++)
        days += f->machines[i].since ? (double)(f->end - f->machines[i].since) / WHEN_DAY : 0;
    denied = (double)f->denied / days;
    passwords = (double)f->passwords / days;
    printf("%-44s %10.2f %8u %12.2f %14.2f\n", what, denied, f->most_denied, passwords, (double)f->failed / days);
    assert_true(days > 0 && denied <= most_denied && passwords <= most_passwords && f->most_denied <= 3);
}

/* @held: they have certificates; @asks: their policy servers are asked too. */
static void fault(
    const char *what, enum answer (*answer)(int64_t now), bool held, double most_denied, double most_passwords)
{
    CLEANUP(fleet_clear) struct fleet f = {0};

    image(&f, FEW);
    f.answer = answer;
    f.end = START + LIFE;
    for (size_t i = 0; i < FEW && !held; i++) {
        f.machines[i].wakes = f.machines[i].not_before;
        f.machines[i].not_before = f.machines[i].not_after = 0;
        f.end = START + WINDOW;
    }
    run(&f, !held);
    print_fault(what, &f, most_denied, most_passwords);
}

TEST(fleet_under_a_fault_that_stays_bothers_nobody_more_than_a_little)
{
    printf("\na fault that stays: for each machine and day\n%-44s %10s %8s %12s %14s\n", "", "rows at CA", "most",
        "passwords", "failed tries");
    fault("every renewal is denied", denies, true, 1.5, 0);
    fault("every first enrollment is denied", denies, false, 1.1, 5); /* the policy is asked for with a good one */
    fault("the password is wrong, at CEP and CES", refuses, false, 0, 1.05);
    fault("nobody answers", is_gone, true, 0, 0);
}
