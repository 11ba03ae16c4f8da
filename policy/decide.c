#include "policy/decide.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/base/when.h"
#include "protocol/xcep/flags.h"

/* What is being weighed: may @template be served? */
struct weighing {
    const struct decide_question *question;
    const struct template *template;
    const struct decide_wish *wish; /* NULL: by autoenrollment */
    const struct held_cert *held;   /* NULL: nothing */
    bool renewal;                   /* the old certificate is there and valid */
};

#define KEY_BASED_RENEWAL                                                                                              \
    (XCEP_ENROLL_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT |                                                             \
        XCEP_ENROLL_ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT)

static bool has(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

/* All three flags that let the old key alone renew, [MS-WSTEP notes] 5.7. */
static bool renews_by_key(const struct template *t)
{
    return has(t->enrollment_flags, KEY_BASED_RENEWAL) &&
           has(t->subject_name_flags, XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT);
}

/* --- the rules of eligibility, [MS-XCEP notes] 6.4: each true where the template cannot be served --- */

static bool no_enroll(const struct weighing *w)
{
    return !w->template->enroll && !(w->renewal && renews_by_key(w->template));
}

static bool no_autoenroll(const struct weighing *w)
{
    return !w->wish && !(w->held && w->held->by_person) && !w->template->autoenroll &&
           !(w->renewal && renews_by_key(w->template));
}

static bool for_users(const struct weighing *w)
{
    return !has(w->template->general_flags, XCEP_GENERAL_MACHINE_TYPE);
}

static bool for_cas(const struct weighing *w)
{
    return w->template->general_flags & (XCEP_GENERAL_IS_CA | XCEP_GENERAL_IS_CROSS_CA);
}

static bool unknown_schema(const struct weighing *w)
{
    return w->template->schema < 1 || w->template->schema > 4;
}

/* A CA that may be asked, with an address that takes what we ask, 6.10 steps 1 and 2. */
static bool no_ca(const struct weighing *w)
{
    for (size_t i = 0; i < w->template->n_cas; i++) {
        const struct policy_ca *ca = &w->question->policy->cas[w->template->cas[i]];

        for (size_t j = 0; j < ca->n_uris && ca->enroll_permission; j++)
            if (w->renewal || (!ca->uris[j].renewal_only && ca->uris[j].auth != POLICY_AUTH_ANONYMOUS))
                return false;
    }
    return true;
}

static bool wants_a_person(const struct weighing *w)
{
    return has(w->template->enrollment_flags, XCEP_ENROLL_USER_INTERACTION_REQUIRED);
}

static bool lacks_names(const struct weighing *w)
{
    uint32_t supplied = XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT | XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME;

    return w->template->subject_name_flags & supplied && !w->renewal && !(w->wish && w->wish->has_names);
}

static bool wants_archival(const struct weighing *w)
{
    uint32_t flags = w->template->private_key_flags;
    bool spared = w->renewal && has(flags, XCEP_KEY_REQUIRE_SAME_KEY_RENEWAL) && !has(flags, XCEP_KEY_EXPORTABLE_KEY);

    return has(flags, XCEP_KEY_REQUIRE_PRIVATE_KEY_ARCHIVAL) && !spared;
}

static bool wants_strong_protection(const struct weighing *w)
{
    return has(w->template->private_key_flags, XCEP_KEY_STRONG_KEY_PROTECTION_REQUIRED);
}

static bool wants_attestation(const struct weighing *w)
{
    return has(w->template->private_key_flags, XCEP_KEY_ATTEST_REQUIRED);
}

static bool wants_hello(const struct weighing *w)
{
    return w->template->private_key_flags & (XCEP_KEY_HELLO_KSP_KEY | XCEP_KEY_HELLO_LOGON_KEY);
}

static bool wants_signatures(const struct weighing *w)
{
    bool waived = w->renewal && has(w->template->enrollment_flags, XCEP_ENROLL_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT);

    return w->template->ra_signatures > 0 && !waived;
}

/* The kinds of key that we make, by algorithm, each with the longest that there is. */
static const struct {
    const char *oid;
    uint32_t longest; /* bits */
} known_keys[] = {
    {"1.2.840.113549.1.1.1", 4096}, /* RSA */
    {"1.2.840.10045.2.1", 521},     /* a curve by its length */
    {"1.2.840.10045.3.1.7", 256},
    {"1.3.132.0.34", 384},
    {"1.3.132.0.35", 521},
};

/* Only providers of DSA and Diffie-Hellman are named: where no algorithm is, they say which is meant, 5.5. */
static bool only_dss(const struct strlist *providers)
{
    for (size_t i = 0; i < providers->n; i++)
        if (!strstr(providers->items[i], "DSS") && !strstr(providers->items[i], " DH "))
            return false;
    return providers->n > 0;
}

/* 0: one that we cannot make */
static uint32_t longest_key(const struct template *t)
{
    if (!t->key_algorithm)
        return only_dss(&t->providers) ? 0 : known_keys[0].longest;
    for (size_t i = 0; i < ARRAY_SIZE(known_keys); i++)
        if (strcmp(t->key_algorithm, known_keys[i].oid) == 0)
            return known_keys[i].longest;
    return 0;
}

static bool unknown_key(const struct weighing *w)
{
    return longest_key(w->template) == 0;
}

static bool key_too_long(const struct weighing *w)
{
    return w->template->key_length > longest_key(w->template);
}

static bool file_not_allowed(const struct weighing *w)
{
    return w->wish && w->wish->file_key && !has(w->template->private_key_flags, XCEP_KEY_EXPORTABLE_KEY);
}

static const struct rule {
    bool (*fails)(const struct weighing *w);
    const char *reason; /* why, and what would change it */
} rules[] = {
    {no_enroll, "the policy gives this account no Enroll permission on it; its administrator can"},             /* 1 */
    {no_autoenroll, "the policy gives no Autoenroll permission on it; a [certificate] section can ask for it"}, /* 1 */
    {for_users, "it is for users, and this is a machine"},                                                      /* 2 */
    {for_cas, "it makes CA certificates, which are no business of an agent"},                                   /* 3 */
    {unknown_schema, "its schema version is none that we know (1 to 4)"},                                       /* 4 */
    {no_ca, "no CA that issues it lets this account enroll at an address; its administrator can"},              /* 5 */
    {wants_a_person,
        "it wants a person to interact, and nobody is here; its administrator can switch that off"}, /* 6 */
    {lacks_names, "it wants the subject in the request: write a [certificate] section with template, subject and "
                  "dns"},                                                                                 /* 7 */
    {wants_archival, "it wants the private key archived, and our keys never leave the token"},            /* 8 */
    {wants_strong_protection, "it wants a person to unlock the key, and nobody is here"},                 /* 8 */
    {wants_attestation, "it requires key attestation, which this agent cannot give"},                     /* 8 */
    {wants_hello, "it wants a Windows Hello key"},                                                        /* 8 */
    {wants_signatures, "it wants the signature of a registration authority, and none is configured"},     /* 9 */
    {unknown_key, "it wants a kind of key that we cannot make; RSA and P-256, P-384, P-521 can be had"},  /* 10 */
    {key_too_long, "it wants a longer key than there is of its kind: RSA up to 4096 bits, EC up to 521"}, /* 10 */
    {file_not_allowed, "key = file is configured, and it does not allow keys to be exported; use key = token"},
};

/* NULL when @w can be served; else the reason. */
static const char *refused(const struct weighing *w)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (rules[i].fails(w))
            return rules[i].reason;
    return NULL;
}

/* --- what is held, and what replaces what --- */

static const struct held_cert *find_held(const struct inventory *inventory, const char *wish, const char *oid)
{
    for (size_t i = 0; i < inventory->n; i++) {
        const struct held_cert *held = &inventory->items[i];

        if (wish ? held->certificate && strcmp(held->certificate, wish) == 0
                 : !held->certificate && held->template_oid && oid && strcmp(held->template_oid, oid) == 0)
            return held;
    }
    return NULL;
}

static const struct decide_wish *wish_for(const struct decide_question *q, const struct template *t)
{
    for (size_t i = 0; i < q->n_wishes; i++)
        if (strcmp(q->wishes[i].template_name, t->name) == 0)
            return &q->wishes[i];
    return NULL;
}

/* The configuration takes it without a section. */
static bool is_taken(const struct decide_question *q, const struct template *t)
{
    return q->autoenroll && (!q->templates || !q->templates->n || strlist_has(q->templates, t->name));
}

/* The template that replaces @t and is served itself, 6.4 row 11; direct entries only. */
static const struct template *successor(const struct decide_question *q, const struct template *t)
{
    for (size_t i = 0; i < q->policy->n_templates; i++) {
        const struct template *other = &q->policy->templates[i];
        const struct weighing w = {.question = q, .template = other, .wish = wish_for(q, other)};

        if (other != t && strlist_has(&other->superseded, t->name) && (w.wish || is_taken(q, other)) && !refused(&w))
            return other;
    }
    return NULL;
}

/* Only a certificate of the same template can be renewed [MS-WCCE 3.2.2.6.2.1.2.3]. */
static bool is_of(const struct held_cert *held, const struct template *t)
{
    if (held->template_oid)
        return strcmp(held->template_oid, t->oid) == 0;
    return held->template_name && strcmp(held->template_name, t->name) == 0;
}

static int64_t life_of(const struct held_cert *held)
{
    int64_t life;

    if (held->not_after <= held->not_before)
        return 0;
    return __builtin_sub_overflow(held->not_after, held->not_before, &life) ? INT64_MAX : life;
}

static bool valid_at(const struct held_cert *held, int64_t now)
{
    return held && held->installed && now < held->not_after;
}

/* --- the decision for one template, 6.5 --- */

struct verdict {
    enum decide_action action;
    char *reason;
    int64_t renew_at;
};

static struct verdict say(enum decide_action action, char *reason)
{
    return (struct verdict){.action = action, .reason = reason};
}

/* The day of the count is that of UTC. */
static int64_t tomorrow(int64_t now)
{
    return now < INT64_MAX - WHEN_DAY ? now - now % WHEN_DAY + WHEN_DAY : now;
}

static struct verdict limited(const struct weighing *w, enum decide_action action, char *reason)
{
    const struct held_cert *held = w->held;
    struct verdict verdict;

    if (!held || held->again || held->requests_today < schedule_requests_allowed(held->installed ? life_of(held) : 0))
        return say(action, reason);
    free(reason);
    verdict = say(
        DECIDE_SKIP, mem_printf("%u requests for it went out today; it is tried again tomorrow, or when a person asks",
                         held->requests_today));
    verdict.renew_at = tomorrow(w->question->now);
    return verdict;
}

/* A CA of the template has issued what is held, or nobody can tell. */
static bool knows_issuer(const struct weighing *w)
{
    for (size_t i = 0; i < w->template->n_cas; i++) {
        const struct policy_ca *ca = &w->question->policy->cas[w->template->cas[i]];

        if (!ca->name || policy_ca_issued(ca, w->held->issuer))
            return true;
    }
    return !w->held->issuer || !w->template->n_cas;
}

/*
 * The policy wants another certificate before this one's time: since when, over which span its fleet follows, and why.
 * What is new and still not as the policy wants it would not be cured by another one, so that one is left in peace.
 */
static int64_t wanted_anew(const struct weighing *w, char **why)
{
    const struct held_cert *held = w->held;
    const struct template *t = w->template;

    if (held->template_major.set && held->template_major.value < t->major) { /* row e */
        *why = mem_printf(
            "the template's major version went from %" PRIu32 " to %" PRIu32, held->template_major.value, t->major);
        return SCHEDULE_RAISE_SPAN;
    }
    if (!knows_issuer(w) && held->not_before < w->question->now - SCHEDULE_REPLACE_SPAN) { /* row i */
        *why = mem_strdup("the policy does not name the CA any more that issued it");
        return SCHEDULE_REPLACE_SPAN;
    }
    return 0;
}

/* When a renewal is to be made, and why; the window of the certificate, or what the policy has come to want. */
struct plan {
    int64_t at;
    char *why; /* owned; NULL: nothing but its age */
};

static struct plan plan_renewal(const struct weighing *w, const struct schedule_question *when)
{
    int64_t now = w->question->now;
    struct plan plan = {.at = schedule_renewal_moment(when)};
    int64_t span = wanted_anew(w, &plan.why);

    if (span > 0) {
        int64_t last = w->held->renew_at; /* planned when it was first seen, unless that was for another reason */
        int64_t at = last > 0 && last < now + span ? last : schedule_spread(now, span, when->seed);

        plan.at = at < plan.at ? at : plan.at;
    }
    return plan;
}

/* In which words its renewal is not made yet. */
static char *not_yet(const struct weighing *w, const struct plan *plan, int64_t at, int64_t window)
{
    CLEANUP(mem_freep) char *planned = when_format(at);
    CLEANUP(mem_freep) char *opens = when_format(window);
    CLEANUP(mem_freep) char *left = when_format_span(w->held->not_after - w->question->now);
    const char *tense = window <= w->question->now ? "opened" : "opens";

    if (plan->at <= w->question->now)
        return mem_printf("valid for %s more; its renewal waits for the maintenance hours, until %s", left, planned);
    if (plan->why)
        return mem_printf("%s; its renewal is planned for %s", plan->why, planned);
    return mem_printf(
        "valid for %s more; its renewal is planned for %s (the window %s %s)", left, planned, tense, opens);
}

static struct schedule_question schedule_of(const struct weighing *w)
{
    return (struct schedule_question){.not_before = w->held->not_before,
        .not_after = w->held->not_after,
        .renewal_period = w->template->renewal,
        .seed = w->held->seed,
        .hours = w->question->hours};
}

/* Its age, or what the policy has come to want, decides; the names that it has stay. */
static struct verdict weigh_renewal(const struct weighing *w)
{
    const struct held_cert *held = w->held;
    int64_t now = w->question->now;
    struct schedule_question when = schedule_of(w);
    int64_t start = schedule_renewal_start(held->not_before, held->not_after, w->template->renewal);
    struct plan plan = plan_renewal(w, &when);
    CLEANUP(mem_freep) char *why = plan.why;
    CLEANUP(mem_freep) char *left = when_format_span(held->not_after - now);
    int64_t at = schedule_in_hours(&when, plan.at, plan.at > now ? plan.at : now);
    struct verdict verdict;

    if (!why && now >= start && has(w->template->enrollment_flags, XCEP_ENROLL_SKIP_AUTO_RENEWAL))
        return say(DECIDE_SKIP,
            mem_printf("it expires in %s and the template forbids automatic renewal; renew it by hand", left));
    if (now < at)
        verdict = say(DECIDE_LEAVE, not_yet(w, &plan, at, start)); /* row c */
    else
        verdict = limited(w, DECIDE_RENEW, /* rows d, e, i */
            why ? TAKE(why) : mem_printf("it expires in %s, which is inside the renewal period", left));
    if (verdict.action != DECIDE_SKIP)
        verdict.renew_at = at;
    return verdict;
}

/* An attempt that failed or was interrupted goes on, in the maintenance hours where it is to replace what works. */
static struct verdict weigh_resume(const struct weighing *w)
{
    int64_t now = w->question->now;
    CLEANUP(mem_freep) char *until = NULL;
    struct verdict verdict;

    if (valid_at(w->held, now) && !w->held->again) {
        struct schedule_question when = schedule_of(w);
        int64_t planned = w->held->renew_at ? w->held->renew_at : schedule_renewal_moment(&when);
        int64_t at = schedule_in_hours(&when, planned < now ? planned : now, now);

        if (now < at) {
            until = when_format(at);
            verdict =
                say(DECIDE_LEAVE, mem_printf("an attempt failed and waits for the maintenance hours, until %s", until));
            verdict.renew_at = at;
            return verdict;
        }
    }
    return limited(w, DECIDE_RESUME, mem_strdup("an attempt was interrupted"));
}

static struct verdict weigh_valid(const struct weighing *w)
{
    struct verdict verdict;
    CLEANUP(mem_freep) char *age = NULL;

    if (w->held->again)
        return say(DECIDE_RENEW, mem_strdup("a person asked for it"));
    verdict = weigh_renewal(w);
    if (!w->held->names_differ)
        return verdict;
    age = verdict.reason;
    verdict.reason = mem_printf("the configured names are not those that it has: 'autoenroll renew %s' asks for a new "
                                "one with the configured names; %s%s",
        w->held->name, age, verdict.action == DECIDE_RENEW ? ", so it is renewed with the names that it has" : "");
    if (verdict.action == DECIDE_LEAVE)
        verdict.action = DECIDE_SKIP;
    return verdict;
}

/* An expired certificate cannot sign a renewal, so that an account must ask: which one? */
static char *why_enroll(const struct weighing *w)
{
    const struct held_cert *held = w->held;
    CLEANUP(mem_freep) char *when = NULL;

    if (held && held->again && held->names_differ)
        return mem_strdup("a person asked for it, with the names that are configured now");
    if (valid_at(held, w->question->now))
        return mem_printf(
            "section [certificate \"%s\"] names another template now", w->wish ? w->wish->name : held->name);
    if (!held || !held->installed)
        return w->wish ? mem_printf("section [certificate \"%s\"] asks for it", w->wish->name)
                       : mem_strdup("the policy grants it for autoenrollment");
    when = when_format(held->not_after);
    if (w->question->account)
        return mem_printf("its certificate has expired on %s and can renew nothing any more: a new one is asked for as "
                          "%s, with the password",
            when, w->question->account);
    return mem_printf("its certificate has expired on %s and can renew nothing any more: a [policy-server] section "
                      "with auth = username and the same policy-id can ask for a new one",
        when);
}

static struct verdict refuse(const struct weighing *w, const char *why)
{
    CLEANUP(mem_freep) char *when = NULL;

    if (!w->held || !w->held->installed || valid_at(w->held, w->question->now))
        return say(DECIDE_SKIP, mem_strdup(why));
    when = when_format(w->held->not_after);
    return say(
        DECIDE_SKIP, mem_printf("its certificate has expired on %s, and a new one cannot be had: %s", when, why));
}

static struct verdict weigh(const struct weighing *w)
{
    const struct template *t = w->template;
    const struct template *next;
    const char *why;

    if (w->held && w->held->pending) /* row a */
        return say(DECIDE_POLL, mem_strdup("the CA has the request under submission"));
    if (w->held && w->held->under_way)
        return weigh_resume(w);
    next = successor(w->question, t);
    if (next && !w->wish) /* 6.4 row 11, 6.5 row f */
        return say(DECIDE_SKIP, mem_printf("template '%s' supersedes it", next->name));
    why = refused(w);
    if (why)
        return refuse(w, why);
    if (w->renewal)
        return weigh_valid(w);
    return limited(w, DECIDE_ENROLL, why_enroll(w)); /* rows b, f, g */
}

static struct decision *add(struct decision_list *list, const struct weighing *w, struct verdict verdict)
{
    struct decision *d = MEM_APPEND(list->items, list->n);

    *d = (struct decision){.action = verdict.action,
        .template = w->template,
        .held = w->held,
        .wish = w->wish,
        .reason = verdict.reason,
        .renew_at = verdict.renew_at};
    return d;
}

static void decide_wish(const struct decide_question *q, const struct decide_wish *wish, struct decision_list *list)
{
    struct weighing w = {
        .question = q, .template = policy_find_template_by_name(q->policy, wish->template_name), .wish = wish};

    w.held = find_held(q->inventory, wish->name, NULL);
    if (!w.template) {
        if (w.held && (w.held->pending || w.held->under_way))
            add(list, &w, say(w.held->pending ? DECIDE_POLL : DECIDE_RESUME, mem_strdup("it was begun earlier")));
        else
            add(list, &w,
                say(DECIDE_SKIP, mem_printf("the policy has no template '%s' for this account", wish->template_name)));
        return;
    }
    w.renewal = valid_at(w.held, q->now) && is_of(w.held, w.template) &&
                !(w.held->again && w.held->names_differ); /* an old key renews the old names only */
    add(list, &w, weigh(&w));
}

static void decide_template(const struct decide_question *q, const struct template *t, struct decision_list *list)
{
    struct weighing w = {.question = q, .template = t, .held = find_held(q->inventory, NULL, t->oid)};
    const struct decide_wish *wish = wish_for(q, t);

    w.renewal = valid_at(w.held, q->now);
    if (wish && !w.held)
        return; /* the section speaks for it */
    if (wish && !w.held->pending && !w.held->under_way)
        add(list, &w,
            say(DECIDE_LEAVE, mem_printf("section [certificate \"%s\"] asks for its template now; this one "
                                         "is kept and not renewed",
                                  wish->name)));
    else if (w.held || is_taken(q, t))
        add(list, &w, weigh(&w));
    else if (q->autoenroll)
        add(list, &w, say(DECIDE_SKIP, mem_strdup("it is not among the configured templates")));
    else
        add(list, &w, say(DECIDE_SKIP, mem_strdup("autoenroll is off for this policy server")));
}

/* What is held although no template of the policy and no section stands for it (any more), 4.2: never deleted. */
static void decide_rest(const struct decide_question *q, struct decision_list *list)
{
    for (size_t i = 0; i < q->inventory->n; i++) {
        const struct held_cert *held = &q->inventory->items[i];
        struct weighing w = {.question = q, .held = held};
        size_t j = 0;

        while (j < list->n && list->items[j].held != held)
            j++;
        if (j < list->n)
            continue;
        if (held->pending || held->under_way)
            add(list, &w, say(held->pending ? DECIDE_POLL : DECIDE_RESUME, mem_strdup("it was begun earlier")));
        else
            add(list, &w,
                say(DECIDE_LEAVE,
                    mem_strdup(
                        held->certificate
                            ? "its [certificate] section is gone; it is kept and not renewed"
                            : "the policy does not offer its template to this account any more; it is kept and not "
                              "renewed")));
    }
}

struct decision_list decide(const struct decide_question *q)
{
    struct decision_list list = {0};

    for (size_t i = 0; i < q->n_wishes; i++)
        decide_wish(q, &q->wishes[i], &list);
    for (size_t i = 0; i < q->policy->n_templates; i++)
        decide_template(q, &q->policy->templates[i], &list);
    decide_rest(q, &list);
    return list;
}

void decision_list_clear(struct decision_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i].reason);
    free(list->items);
    *list = (struct decision_list){0};
}

const char *decide_action_name(enum decide_action action)
{
    static const char *const names[] = {"leave", "skip", "enroll", "renew", "poll", "resume"};

    return (size_t)action < ARRAY_SIZE(names) ? names[action] : "unknown";
}
