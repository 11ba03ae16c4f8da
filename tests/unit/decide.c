#include "policy/decide.h"

#include "policy/schedule.h"
#include "protocol/base/when.h"
#include "protocol/xcep/flags.h"
#include "tests/testing.h"

#define NOW  ((int64_t)1893456000) /* 2030-01-01 */
#define YEAR ((int64_t)365 * WHEN_DAY)

static char oid[] = "1.3.6.1.4.1.311.21.8.1", oid_old[] = "1.1", oid_new[] = "1.2";
static char machine[] = "Machine", old[] = "Old", new[] = "New", server[] = "Server";
static char dsa[] = "1.2.840.10040.4.1", p384[] = "1.3.132.0.34";

/* CAs: for everybody, closed to us, for renewals only, without an address. */
static char https_password[] = "https://pki.example/password", https_renewal[] = "https://pki.example/renewal";
static struct policy_uri uris[] = {
    {.auth = POLICY_AUTH_USERNAME, .uri = https_password},
    {.auth = POLICY_AUTH_CERTIFICATE, .uri = https_renewal, .renewal_only = true},
};
static struct policy_ca cas[] = {
    {.enroll_permission = true, .uris = uris, .n_uris = 2},
    {.uris = uris, .n_uris = 2},
    {.enroll_permission = true, .uris = uris + 1, .n_uris = 1},
    {.enroll_permission = true},
};
static uint32_t open_ca[] = {0}, closed_ca[] = {1}, renewal_ca[] = {2}, bare_ca[] = {3}, closed_and_open[] = {1, 0};

/* A machine template that this account may enroll for, and nothing special. */
static struct template plain(void)
{
    return (struct template){.name = machine,
        .oid = oid,
        .schema = 2,
        .major = 100,
        .enroll = true,
        .autoenroll = true,
        .general_flags = XCEP_GENERAL_MACHINE_TYPE,
        .key_length = 2048,
        .renewal = 42 * WHEN_DAY,
        .validity = (uint64_t)YEAR,
        .cas = open_ca,
        .n_cas = 1};
}

/* A certificate of it that began @days ago and lives for a year. */
static struct held_cert aged(int64_t days)
{
    return (struct held_cert){.name = "corp-12345678",
        .template_oid = oid,
        .template_name = machine,
        .template_major = {true, 100},
        .installed = true,
        .not_before = NOW - days * WHEN_DAY,
        .not_after = NOW - days * WHEN_DAY + YEAR};
}

/* The plain template, or a certificate, with something else about it. */
#define WITH(change)                                                                                                   \
    __extension__({                                                                                                    \
        struct template t = plain();                                                                                   \
        change;                                                                                                        \
        t;                                                                                                             \
    })
#define HELD(certificate, change)                                                                                      \
    __extension__({                                                                                                    \
        struct held_cert h = certificate;                                                                              \
        change;                                                                                                        \
        h;                                                                                                             \
    })
#define PLAIN   plain()
#define FRESH   aged(10)
#define DUE     aged(363)
#define EXPIRED aged(366)
#define NOTHING ((struct held_cert){.name = "corp", .template_oid = oid})

/* The three flags of key-based renewal. */
static struct template key_based(void)
{
    struct template t = plain();

    t.subject_name_flags = XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT;
    t.enrollment_flags = XCEP_ENROLL_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT |
                         XCEP_ENROLL_ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT;
    return t;
}

/* A certificate that lived for minutes, and what of its fifth is left. */
static struct held_cert short_lived(void)
{
    struct held_cert h = aged(0);

    h.not_before = NOW - 595;
    h.not_after = NOW + 5;
    return h;
}

/* What is decided of one template; the rest of the lists is checked by tests of its own. */
struct row {
    const char *rule; /* [MS-XCEP notes], or the design */
    struct template template;
    enum decide_action action;
    const char *reason;      /* part of it */
    struct held_cert held;   /* name NULL: nothing is held */
    struct decide_wish wish; /* name NULL: no section */
};

#define ROW(rule_, template_, action_, reason_, ...)                                                                   \
    {                                                                                                                  \
        .rule = rule_, .template = template_, .action = action_, .reason = reason_, __VA_ARGS__                        \
    }

static struct decision_list decide_row(const struct row *row, struct policy *policy, struct inventory *inventory)
{
    struct decide_question question = {
        .policy = policy,
        .inventory = inventory,
        .autoenroll = true,
        .wishes = &row->wish,
        .n_wishes = row->wish.name != NULL,
        .now = NOW,
    };

    return decide(&question);
}

static void check_row(const struct row *row)
{
    struct template template = row->template;
    struct policy policy = {.templates = &template, .n_templates = 1, .cas = cas, .n_cas = ARRAY_SIZE(cas)};
    struct inventory inventory = {&row->held, row->held.name != NULL};
    CLEANUP(decision_list_clear) struct decision_list list = decide_row(row, &policy, &inventory);

    if (list.n != 1)
        fail_msg("%s: %zu decisions", row->rule, list.n);
    if (list.items[0].action != row->action)
        fail_msg("%s: %s, because %s", row->rule, decide_action_name(list.items[0].action), list.items[0].reason);
    if (!strstr(list.items[0].reason, row->reason))
        fail_msg("%s: for another reason: %s", row->rule, list.items[0].reason);
}

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_row(&rows[i]);
}

TEST(decide_serves_what_is_eligible_and_says_why_the_rest_is_not)
{
    const struct row rows[] = {
        ROW("6.5 b: nothing is held", PLAIN, DECIDE_ENROLL, "grants it for autoenrollment"),
        ROW("6.4 1: no enroll", WITH(t.enroll = false), DECIDE_SKIP, "no Enroll permission"),
        ROW("6.4 1: no autoenroll", WITH(t.autoenroll = false), DECIDE_SKIP, "no Autoenroll permission"),
        ROW("6.4 2: for users", WITH(t.general_flags = 0), DECIDE_SKIP, "for users"),
        ROW("6.4 3: a CA", WITH(t.general_flags |= XCEP_GENERAL_IS_CA), DECIDE_SKIP, "CA certificates"),
        ROW("6.4 3: a cross CA", WITH(t.general_flags |= XCEP_GENERAL_IS_CROSS_CA), DECIDE_SKIP, "CA certificates"),
        ROW("6.4 4: schema 0", WITH(t.schema = 0), DECIDE_SKIP, "schema version"),
        ROW("6.4 4: schema 1", WITH(t.schema = 1), DECIDE_ENROLL, ""),
        ROW("6.4 4: schema 4", WITH(t.schema = 4), DECIDE_ENROLL, ""),
        ROW("6.4 4: schema 5", WITH(t.schema = 5), DECIDE_SKIP, "schema version"),
        ROW("6.4 5: cAs nil", WITH(t.n_cas = 0), DECIDE_SKIP, "no CA that issues it"),
        ROW("6.4 5: no permission at the CA", WITH(t.cas = closed_ca), DECIDE_SKIP, "no CA that issues it"),
        ROW("6.4 5: one of two CAs", WITH((t.cas = closed_and_open, t.n_cas = 2)), DECIDE_ENROLL, ""),
        ROW("6.4 5: no address", WITH(t.cas = bare_ca), DECIDE_SKIP, "no CA that issues it"),
        ROW("6.10 2: an address for renewals only", WITH(t.cas = renewal_ca), DECIDE_SKIP, "no CA that issues it"),
        ROW("6.10 2: where a renewal may go", WITH(t.cas = renewal_ca), DECIDE_RENEW, "", .held = DUE),
        ROW("6.4 6: interaction", WITH(t.enrollment_flags = XCEP_ENROLL_USER_INTERACTION_REQUIRED), DECIDE_SKIP,
            "wants a person"),
        ROW("6.4 8: archival", WITH(t.private_key_flags = XCEP_KEY_REQUIRE_PRIVATE_KEY_ARCHIVAL), DECIDE_SKIP,
            "archived"),
        ROW("6.4 8: strong protection", WITH(t.private_key_flags = XCEP_KEY_STRONG_KEY_PROTECTION_REQUIRED),
            DECIDE_SKIP, "unlock the key"),
        ROW("6.4 8: attestation", WITH(t.private_key_flags = XCEP_KEY_ATTEST_REQUIRED), DECIDE_SKIP, "attestation"),
        ROW("5.1: attestation preferred", WITH(t.private_key_flags = XCEP_KEY_ATTEST_PREFERRED), DECIDE_ENROLL, ""),
        ROW("6.4 8: Hello", WITH(t.private_key_flags = XCEP_KEY_HELLO_KSP_KEY), DECIDE_SKIP, "Hello"),
        ROW("6.4 8: Hello logon", WITH(t.private_key_flags = XCEP_KEY_HELLO_LOGON_KEY), DECIDE_SKIP, "Hello"),
        ROW("5.1: versions stand for features", WITH(t.private_key_flags = 0x06060000), DECIDE_ENROLL, ""),
        ROW("5: bits that nobody knows", WITH(t.enrollment_flags = 0x80000000), DECIDE_ENROLL, ""),
        ROW("6.4 9: a countersignature", WITH(t.ra_signatures = 1), DECIDE_SKIP, "registration authority"),
        ROW("6.4 10: DSA", WITH(t.key_algorithm = dsa), DECIDE_SKIP, "kind of key"),
        ROW("6.4 10: RSA 4096", WITH(t.key_length = 4096), DECIDE_ENROLL, ""),
        ROW("6.4 10: RSA 8192", WITH(t.key_length = 8192), DECIDE_SKIP, "longer key"),
        ROW("6.4 10: P-384", WITH((t.key_algorithm = p384, t.key_length = 384)), DECIDE_ENROLL, ""),
        ROW("6.4 10: P-384 of 521 bits", WITH((t.key_algorithm = p384, t.key_length = 521)), DECIDE_SKIP, "longer key"),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

TEST(decide_wants_a_section_where_the_template_wants_names) /* 6.4 7 */
{
    const struct decide_wish bare = {.name = "web", .template_name = machine};
    const struct decide_wish names = {.name = "web", .template_name = machine, .has_names = true};
    const struct row rows[] = {
        ROW("a subject", WITH(t.subject_name_flags = XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT), DECIDE_SKIP,
            "write a [certificate] section"),
        ROW("alternative names", WITH(t.subject_name_flags = XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME), DECIDE_SKIP,
            "write a [certificate] section"),
        ROW("a section without names", key_based(), DECIDE_SKIP, "write a [certificate] section", .wish = bare),
        ROW("a section with names", key_based(), DECIDE_ENROLL, "[certificate \"web\"] asks for it", .wish = names),
        ROW("a renewal takes them from the old", key_based(), DECIDE_RENEW, "", .held = DUE),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

TEST(decide_renews_by_the_rules_of_a_renewal)
{
    const uint32_t waived = XCEP_ENROLL_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT;
    const uint32_t stays = XCEP_KEY_REQUIRE_PRIVATE_KEY_ARCHIVAL | XCEP_KEY_REQUIRE_SAME_KEY_RENEWAL;
    const struct row rows[] = {
        ROW("6.5 c: outside the window", PLAIN, DECIDE_LEAVE, "(the window opens 2030-11-10", .held = FRESH),
        ROW("6.5 d: inside the window", PLAIN, DECIDE_RENEW, "expires in 2 days", .held = DUE),
        ROW("6.5 d: not SKIP_AUTO_RENEWAL", WITH(t.enrollment_flags = XCEP_ENROLL_SKIP_AUTO_RENEWAL), DECIDE_SKIP,
            "forbids automatic renewal", .held = DUE),
        ROW("6.5 e: major version", WITH(t.major = 101), DECIDE_RENEW, "from 100 to 101",
            .held = HELD(FRESH, h.renew_at = NOW)),
        ROW("6.5 e: minor version", WITH(t.minor = 9), DECIDE_LEAVE, "valid for", .held = FRESH),
        ROW("6.5 e: an older policy", WITH(t.major = 99), DECIDE_LEAVE, "valid for", .held = FRESH),
        ROW("6.5 e: schema 1 has none", WITH(t.major = 101), DECIDE_LEAVE, "valid for",
            .held = HELD(FRESH, h.template_major.set = false)),
        ROW("6.5 g: expired", PLAIN, DECIDE_ENROLL, "has expired on 2029-12-31", .held = EXPIRED),
        ROW("6.5 g: expired, names wanted", key_based(), DECIDE_SKIP, "write a [certificate] section", .held = EXPIRED),
        ROW("6.4: key-based renewal needs no right", __extension__({
            struct template t = key_based();
            t.enroll = t.autoenroll = false;
            t;
        }),
            DECIDE_RENEW, "", .held = DUE),
        ROW("6.4: any other needs enroll", WITH(t.enroll = false), DECIDE_SKIP, "no Enroll permission", .held = DUE),
        ROW("6.4: and autoEnroll", WITH(t.autoenroll = false), DECIDE_SKIP, "no Autoenroll permission", .held = DUE),
        ROW("6.4 9: 0x40 waives the signature", WITH((t.ra_signatures = 1, t.enrollment_flags = waived)), DECIDE_RENEW,
            "", .held = DUE),
        ROW("6.4 9: only of a renewal", WITH((t.ra_signatures = 1, t.enrollment_flags = waived)), DECIDE_SKIP,
            "registration authority", .held = EXPIRED),
        ROW("5.1: no archival of a key that stays", WITH(t.private_key_flags = stays), DECIDE_RENEW, "", .held = DUE),
        ROW("5.1: unless exportable", WITH(t.private_key_flags = stays | XCEP_KEY_EXPORTABLE_KEY), DECIDE_SKIP,
            "archived", .held = DUE),
        ROW("a person asked", PLAIN, DECIDE_RENEW, "a person asked", .held = HELD(FRESH, h.again = true)),
        ROW("a person asked all the same", WITH(t.enrollment_flags = XCEP_ENROLL_SKIP_AUTO_RENEWAL), DECIDE_RENEW,
            "a person asked", .held = HELD(DUE, h.again = true)),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

TEST(decide_asks_after_what_is_pending_and_finishes_what_was_begun)
{
    const struct row rows[] = {
        ROW("6.5 a: pending", PLAIN, DECIDE_POLL, "under submission", .held = HELD(NOTHING, h.pending = true)),
        ROW("6.5 a: no second request", PLAIN, DECIDE_POLL, "", .held = HELD(DUE, h.pending = true)),
        ROW("6.5 a: asked for when it was allowed", WITH(t.enroll = false), DECIDE_POLL, "",
            .held = HELD(NOTHING, h.pending = true)),
        ROW("design 8: interrupted", PLAIN, DECIDE_RESUME, "interrupted", .held = HELD(NOTHING, h.under_way = true)),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

TEST(decide_sends_at_most_three_requests_a_day) /* design 8.12 */
{
    const struct row rows[] = {
        ROW("the third", PLAIN, DECIDE_ENROLL, "", .held = HELD(NOTHING, h.requests_today = 2)),
        ROW("no fourth", PLAIN, DECIDE_SKIP, "3 requests for it went out today",
            .held = HELD(NOTHING, h.requests_today = 3)),
        ROW("no fourth renewal", PLAIN, DECIDE_SKIP, "tried again tomorrow", .held = HELD(DUE, h.requests_today = 3)),
        ROW("three for each life of a short one", PLAIN, DECIDE_RENEW, "",
            .held = HELD(short_lived(), h.requests_today = 431)),
        ROW("and no more", PLAIN, DECIDE_SKIP, "432 requests", .held = HELD(short_lived(), h.requests_today = 432)),
        ROW("unless a person asks", PLAIN, DECIDE_RENEW, "a person asked",
            .held = HELD(DUE, (h.requests_today = 3, h.again = true))),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

/* [design 5]: never other names by itself. */
TEST(decide_keeps_the_names_of_a_certificate_that_is_configured_otherwise_by_now)
{
    const struct decide_wish web = {.name = "web", .template_name = machine, .has_names = true};
    const struct row rows[] = {
        ROW("it is kept", key_based(), DECIDE_SKIP, "'autoenroll renew web' asks for a new one",
            .held = HELD(FRESH, (h.certificate = h.name = "web", h.names_differ = true)), .wish = web),
        ROW("its time comes", key_based(), DECIDE_RENEW, "renewed with the names that it has",
            .held = HELD(DUE, (h.certificate = h.name = "web", h.names_differ = true)), .wish = web),
        ROW("a person asks: no old key gives new names", WITH(t.enroll = false), DECIDE_SKIP, "no Enroll permission",
            .held = HELD(FRESH, (h.certificate = h.name = "web", h.names_differ = h.again = true)), .wish = web),
        ROW("a person asks", WITH(t.subject_name_flags = XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT), DECIDE_ENROLL,
            "with the names that are configured now",
            .held = HELD(FRESH, (h.certificate = h.name = "web", h.names_differ = h.again = true)), .wish = web),
        ROW("it has expired", PLAIN, DECIDE_ENROLL, "has expired",
            .held = HELD(EXPIRED, (h.certificate = h.name = "web", h.names_differ = true)), .wish = web),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

TEST(decide_gives_a_section_what_the_template_does_not_autoenroll)
{
    const struct decide_wish web = {.name = "web", .template_name = machine};
    const struct decide_wish file = {.name = "web", .template_name = machine, .file_key = true};
    const struct row rows[] = {
        ROW("6.4 1: no autoEnroll needed", WITH(t.autoenroll = false), DECIDE_ENROLL, "\"web\"] asks for it",
            .wish = web),
        ROW("6.4 1: but enroll", WITH(t.enroll = false), DECIDE_SKIP, "no Enroll permission", .wish = web),
        ROW("design 8.4: a file", WITH(t.private_key_flags = XCEP_KEY_EXPORTABLE_KEY), DECIDE_ENROLL, "", .wish = file),
        ROW("design 8.4: only where keys may leave", PLAIN, DECIDE_SKIP, "does not allow keys to be exported",
            .wish = file),
        ROW("6.5 c: its own certificate", PLAIN, DECIDE_LEAVE, "its renewal is planned for",
            .held = HELD(FRESH, h.certificate = "web"), .wish = web),
        ROW("6.5 f: a renewal names the same template", PLAIN, DECIDE_ENROLL, "names another template now",
            .held = HELD(FRESH, (h.certificate = "web", h.template_oid = oid_old)), .wish = web),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

/* --- when --- */

/* What is decided at @now of the one certificate @held, of a policy with @template. */
static struct decision decide_at(
    struct template template, struct held_cert held, struct decide_question question, struct decision_list *list)
{
    static struct template one;
    static struct held_cert certificate;
    static struct policy policy = {.templates = &one, .n_templates = 1, .cas = cas, .n_cas = ARRAY_SIZE(cas)};
    static struct inventory inventory = {&certificate, 1};

    one = template;
    certificate = held;
    question.policy = &policy;
    question.inventory = &inventory;
    question.autoenroll = true;
    decision_list_clear(list);
    *list = decide(&question);
    assert_int_equal(list->n, 1);
    return list->items[0];
}

TEST(decide_renews_from_the_planned_moment_on)
{
    CLEANUP(decision_list_clear) struct decision_list list = {0};
    struct held_cert held = HELD(FRESH, h.seed = 77);
    struct decision d = decide_at(PLAIN, held, (struct decide_question){.now = NOW}, &list);
    int64_t moment = d.renew_at;

    assert_int_equal(d.action, DECIDE_LEAVE);
    assert_in_range(moment, (uint64_t)(held.not_after - 42 * WHEN_DAY), (uint64_t)(held.not_after - 1));
    d = decide_at(PLAIN, held, (struct decide_question){.now = moment - 1}, &list);
    assert_int_equal(d.action, DECIDE_LEAVE);
    assert_contains(d.reason, "the window opened");
    d = decide_at(PLAIN, held, (struct decide_question){.now = moment}, &list);
    assert_int_equal(d.action, DECIDE_RENEW);
    assert_int_equal(d.renew_at, moment);
}

TEST(decide_says_when_a_limit_is_over)
{
    CLEANUP(decision_list_clear) struct decision_list list = {0};
    struct held_cert held = HELD(DUE, h.requests_today = 3);
    struct decision d = decide_at(PLAIN, held, (struct decide_question){.now = NOW + 5 * WHEN_HOUR}, &list);

    assert_int_equal(d.action, DECIDE_SKIP);
    assert_int_equal(d.renew_at, NOW + WHEN_DAY);
}

TEST(decide_lets_a_fleet_follow_a_raised_version_over_a_day) /* 6.5 e, design 9 */
{
    CLEANUP(decision_list_clear) struct decision_list list = {0};
    struct held_cert held = HELD(FRESH, h.seed = 4711);
    int64_t regular = decide_at(PLAIN, held, (struct decide_question){.now = NOW}, &list).renew_at;
    struct decision d;
    int64_t planned;

    held.renew_at = regular; /* what was planned before the version was raised */
    d = decide_at(WITH(t.major = 101), held, (struct decide_question){.now = NOW}, &list);
    assert_int_equal(d.action, DECIDE_LEAVE);
    assert_contains(d.reason, "from 100 to 101; its renewal is planned for");
    planned = d.renew_at;
    assert_in_range(planned, NOW + 1, NOW + WHEN_DAY);
    held.renew_at = planned; /* seen again later: it stays planned */
    d = decide_at(WITH(t.major = 101), held, (struct decide_question){.now = planned - 1}, &list);
    assert_int_equal(d.action, DECIDE_LEAVE);
    assert_int_equal(d.renew_at, planned);
    d = decide_at(WITH(t.major = 101), held, (struct decide_question){.now = planned + WHEN_DAY}, &list);
    assert_int_equal(d.action, DECIDE_RENEW);
    assert_contains(d.reason, "from 100 to 101");
}

TEST(decide_follows_a_ca_that_was_replaced_over_a_week) /* 6.5 i, design 9 */
{
    static char ca_name[] = "New CA, really";
    CLEANUP(decision_list_clear) struct decision_list list = {0};
    struct held_cert held = HELD(FRESH, (h.seed = 4711, h.issuer = "CN=Old CA,DC=example"));
    struct decision d = decide_at(PLAIN, held, (struct decide_question){.now = NOW}, &list);
    int64_t planned;

    assert_contains(d.reason, "the window opens"); /* a CA without a name: nobody can tell */
    cas[0].name = ca_name;
    d = decide_at(PLAIN, held, (struct decide_question){.now = NOW}, &list);
    planned = held.renew_at = d.renew_at;
    assert_int_equal(d.action, DECIDE_LEAVE);
    assert_contains(d.reason, "does not name the CA any more that issued it");
    assert_in_range(planned, NOW + 1, NOW + 7 * WHEN_DAY);
    d = decide_at(PLAIN, held, (struct decide_question){.now = planned}, &list);
    assert_int_equal(d.action, DECIDE_RENEW);

    held.issuer = "CN=New CA\\, really,DC=example";
    d = decide_at(PLAIN, held, (struct decide_question){.now = planned}, &list);
    assert_int_equal(d.action, DECIDE_LEAVE);
    assert_contains(d.reason, "the window opens");

    held = HELD(aged(1), h.issuer = "CN=Old CA,DC=example"); /* another one would be no better */
    d = decide_at(PLAIN, held, (struct decide_question){.now = NOW}, &list);
    assert_contains(d.reason, "the window opens");
    cas[0].name = NULL;
}

TEST(decide_waits_for_the_maintenance_hours_unless_it_would_be_too_late)
{
    CLEANUP(decision_list_clear) struct decision_list list = {0};
    struct decide_question q = {0};
    struct held_cert held = HELD(FRESH, h.seed = 1);
    struct decision d;
    int64_t missed;

    setenv("TZ", "UTC", 1);
    assert_int_equal(schedule_hours_parse("Sat 01:00-05:00", &q.hours, NULL), 0);
    q.now = NOW;
    missed = decide_at(PLAIN, held, q, &list).renew_at; /* a machine that was off in those hours */
    q.now = missed + WHEN_DAY;
    d = decide_at(PLAIN, held, q, &list);
    assert_int_equal(d.action, DECIDE_LEAVE);
    assert_contains(d.reason, "waits for the maintenance hours, until");
    assert_in_range(d.renew_at, missed + 6 * WHEN_DAY, missed + 8 * WHEN_DAY);
    q.now = d.renew_at;
    assert_int_equal(decide_at(PLAIN, held, q, &list).action, DECIDE_RENEW);
    held.under_way = true; /* it failed, and was planned for the hours before these */
    held.renew_at = missed;
    q.now = missed + WHEN_DAY;
    assert_contains(decide_at(PLAIN, held, q, &list).reason, "waits for the maintenance hours, until");
    q.now = list.items[0].renew_at;
    assert_int_equal(decide_at(PLAIN, held, q, &list).action, DECIDE_RESUME);
    held.under_way = false;
    q.now = held.not_after - 2 * WHEN_DAY; /* a Monday */
    assert_int_equal(decide_at(PLAIN, held, q, &list).action, DECIDE_RENEW);
}

TEST(decide_says_which_account_asks_for_a_new_one)
{
    CLEANUP(decision_list_clear) struct decision_list list = {0};
    struct decide_question q = {.now = NOW, .account = "CORP\\enroll of policy server 'corp'"};
    struct decision d = decide_at(PLAIN, EXPIRED, q, &list);

    assert_int_equal(d.action, DECIDE_ENROLL);
    assert_contains(d.reason, "is asked for as CORP\\enroll of policy server 'corp'");
    q.account = NULL;
    d = decide_at(PLAIN, EXPIRED, q, &list);
    assert_contains(d.reason, "with auth = username and the same policy-id can ask for a new one");
    d = decide_at(WITH((t.cas = renewal_ca, t.n_cas = 1)), EXPIRED, q, &list);
    assert_int_equal(d.action, DECIDE_SKIP);
    assert_contains(d.reason, "has expired on 2029-12-31");
    assert_contains(d.reason, "and a new one cannot be had: no CA");
}

/* --- lists --- */

static const struct decision *find(const struct decision_list *list, const char *template, const char *held)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct decision *d = &list->items[i];

        if ((!template || (d->template && strcmp(d->template->name, template) == 0)) &&
            (!held || (d->held && strcmp(d->held->name, held) == 0)))
            return d;
    }
    fail_msg("nothing is decided about template %s and enrollment %s", template ? template : "-", held ? held : "-");
    return NULL;
}

static char *old_name[] = {old};

/* "Old" and "New", which supersedes it. */
static struct decision_list decide_superseded(struct template new_template, bool held, const struct strlist *only)
{
    static struct template templates[2];
    static struct held_cert certificate;
    static struct policy policy = {.templates = templates, .n_templates = 2, .cas = cas, .n_cas = ARRAY_SIZE(cas)};
    static struct inventory inventory = {&certificate, 1};
    struct decide_question question = {
        .policy = &policy, .inventory = &inventory, .autoenroll = true, .templates = only, .now = NOW};

    inventory.n = held;
    certificate = HELD(FRESH, (h.name = "corp-old", h.template_oid = oid_old));
    templates[0] = WITH((t.name = old, t.oid = oid_old));
    templates[1] = new_template;
    templates[1].superseded = (struct strlist){old_name, 1};
    return decide(&question);
}

#define NEW WITH((t.name = new, t.oid = oid_new))

TEST(decide_enrolls_for_what_supersedes_and_not_for_the_superseded) /* 6.4 11, 6.5 f */
{
    struct template new_template = NEW;
    CLEANUP(decision_list_clear) struct decision_list list = decide_superseded(new_template, true, NULL);

    assert_int_equal(list.n, 2);
    assert_int_equal(find(&list, "Old", "corp-old")->action, DECIDE_SKIP);
    assert_contains(find(&list, "Old", NULL)->reason, "template 'New' supersedes it");
    assert_int_equal(find(&list, "New", NULL)->action, DECIDE_ENROLL); /* a new request, no renewal */
}

TEST(decide_keeps_the_superseded_while_its_successor_cannot_be_served)
{
    struct template new_template = NEW;
    CLEANUP(decision_list_clear) struct decision_list list = {0}, other = {0};
    char *old_only[] = {old};
    struct strlist only = {old_only, 1};

    new_template.ra_signatures = 1;
    list = decide_superseded(new_template, false, NULL);
    assert_int_equal(find(&list, "Old", NULL)->action, DECIDE_ENROLL);
    assert_int_equal(find(&list, "New", NULL)->action, DECIDE_SKIP);

    new_template.ra_signatures = 0; /* but the configuration does not take it */
    other = decide_superseded(new_template, true, &only);
    assert_int_equal(find(&other, "Old", "corp-old")->action, DECIDE_LEAVE);
    assert_contains(find(&other, "New", NULL)->reason, "not among the configured templates");
}

TEST(decide_lets_a_section_win_over_autoenrollment_of_its_template)
{
    struct template template = PLAIN;
    struct policy policy = {.templates = &template, .n_templates = 1, .cas = cas, .n_cas = ARRAY_SIZE(cas)};
    struct held_cert held[] = {DUE};
    struct inventory inventory = {held, 0};
    struct decide_wish wishes[] = {
        {.name = "web", .template_name = machine}, {.name = "mail", .template_name = machine}};
    struct decide_question question = {
        .policy = &policy, .inventory = &inventory, .autoenroll = true, .wishes = wishes, .n_wishes = 2, .now = NOW};
    CLEANUP(decision_list_clear) struct decision_list list = decide(&question), again = {0};

    assert_int_equal(list.n, 2); /* one for each section, none for the template */
    assert_string_equal(list.items[0].wish->name, "web");
    assert_int_equal(list.items[0].action, DECIDE_ENROLL);
    assert_string_equal(list.items[1].wish->name, "mail");

    inventory.n = 1; /* it was autoenrolled before there was a section */
    again = decide(&question);
    assert_int_equal(again.n, 3);
    assert_int_equal(find(&again, NULL, "corp-12345678")->action, DECIDE_LEAVE);
    assert_contains(find(&again, NULL, "corp-12345678")->reason, "asks for its template now");
}

TEST(decide_says_of_each_template_why_it_is_not_taken)
{
    struct template templates[] = {PLAIN, WITH((t.name = server, t.oid = oid_new))};
    struct policy policy = {.templates = templates, .n_templates = 2, .cas = cas, .n_cas = ARRAY_SIZE(cas)};
    struct inventory inventory = {0};
    char *names[] = {server};
    struct strlist only = {names, 1};
    struct decide_question question = {
        .policy = &policy, .inventory = &inventory, .autoenroll = true, .templates = &only, .now = NOW};
    CLEANUP(decision_list_clear) struct decision_list list = decide(&question), off = {0};

    assert_int_equal(find(&list, "Machine", NULL)->action, DECIDE_SKIP);
    assert_contains(find(&list, "Machine", NULL)->reason, "not among the configured templates");
    assert_int_equal(find(&list, "Server", NULL)->action, DECIDE_ENROLL);
    question.autoenroll = false;
    off = decide(&question);
    assert_contains(find(&off, "Server", NULL)->reason, "autoenroll is off");
}

TEST(decide_still_renews_what_it_holds_when_autoenrollment_is_off)
{
    struct template template = PLAIN;
    struct policy policy = {.templates = &template, .n_templates = 1, .cas = cas, .n_cas = ARRAY_SIZE(cas)};
    struct held_cert held = DUE;
    struct inventory inventory = {&held, 1};
    struct decide_question question = {.policy = &policy, .inventory = &inventory, .now = NOW};
    CLEANUP(decision_list_clear) struct decision_list list = decide(&question);

    assert_int_equal(find(&list, "Machine", "corp-12345678")->action, DECIDE_RENEW);
}

TEST(decide_never_gives_up_what_the_policy_no_longer_offers) /* 4.2: an empty policy deletes nothing */
{
    struct policy policy = {.cas = cas, .n_cas = ARRAY_SIZE(cas)};
    struct held_cert held[] = {
        FRESH,
        HELD(FRESH, (h.name = h.certificate = "web")),
        {.name = "waiting", .template_oid = oid, .pending = true},
        {.name = "begun", .certificate = "begun", .under_way = true},
    };
    struct inventory inventory = {held, ARRAY_SIZE(held)};
    struct decide_question question = {.policy = &policy, .inventory = &inventory, .autoenroll = true, .now = NOW};
    CLEANUP(decision_list_clear) struct decision_list list = decide(&question);

    assert_int_equal(list.n, 4);
    assert_int_equal(find(&list, NULL, "corp-12345678")->action, DECIDE_LEAVE);
    assert_contains(find(&list, NULL, "corp-12345678")->reason, "does not offer its template");
    assert_int_equal(find(&list, NULL, "web")->action, DECIDE_LEAVE);
    assert_contains(find(&list, NULL, "web")->reason, "section is gone");
    assert_int_equal(find(&list, NULL, "waiting")->action, DECIDE_POLL);
    assert_int_equal(find(&list, NULL, "begun")->action, DECIDE_RESUME);
}

TEST(decide_says_that_a_section_names_a_template_that_is_not_offered)
{
    struct policy policy = {0};
    struct inventory inventory = {0};
    struct decide_wish wish = {.name = "web", .template_name = "WebServer"};
    struct decide_question question = {
        .policy = &policy, .inventory = &inventory, .wishes = &wish, .n_wishes = 1, .now = NOW};
    CLEANUP(decision_list_clear) struct decision_list list = decide(&question);

    assert_int_equal(list.n, 1);
    assert_int_equal(list.items[0].action, DECIDE_SKIP);
    assert_contains(list.items[0].reason, "no template 'WebServer' for this account");
}

TEST(decide_guesses_the_kind_of_key_from_the_providers) /* 5.5, where no algorithm is given */
{
    static char rsa[] = "Microsoft RSA SChannel Cryptographic Provider";
    static char dss[] = "Microsoft Base DSS Cryptographic Provider",
                dh[] = "Microsoft DH SChannel Cryptographic Provider";
    static char *none[] = {dss, dh}, *one[] = {rsa, dh};
    const struct row rows[] = {
        ROW("only DSA and DH", WITH(t.providers = ((struct strlist){none, 2})), DECIDE_SKIP, "kind of key"),
        ROW("RSA among them", WITH(t.providers = ((struct strlist){one, 2})), DECIDE_ENROLL, ""),
    };

    check_rows(rows, ARRAY_SIZE(rows));
}
