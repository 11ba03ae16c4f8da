#include "agent/daemon/explain.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/engine.h"
#include "agent/daemon/engine_plan.h"
#include "agent/daemon/group.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

/* What is looked at. */
struct view {
    const struct agent *agent;
    const struct record *record;
    const struct settings_server *account; /* whose user name and password enroll; NULL: the section is gone */
    const struct server_state *server;     /* of that section */
    enum decide_action action;             /* what would be done now */
    char *reason;                          /* and why; owned; NULL: nobody can say */
};

/* --- words that stand for facts in the texts below: {name} --- */

static char *moment(int64_t when, int64_t now)
{
    CLEANUP(mem_freep) char *at = when_format(when);
    CLEANUP(mem_freep) char *span = when_format_span(when > now ? when - now : now - when);

    return when > now ? mem_printf("in %s (%s)", span, at) : mem_printf("%s ago (%s)", span, at);
}

static char *word_name(const struct view *v)
{
    return mem_strdup(v->record->id);
}

static char *word_template(const struct view *v)
{
    const struct record *r = v->record;

    return mem_strdup(r->template_name ? r->template_name : r->template_oid ? r->template_oid : "?");
}

static char *word_server(const struct view *v)
{
    return mem_strdup(v->record->server ? v->record->server : "?");
}

static char *word_account(const struct view *v)
{
    return mem_strdup(v->account ? v->account->name : "?");
}

static char *word_user(const struct view *v)
{
    return mem_strdup(v->account && v->account->username ? v->account->username : "?");
}

static char *word_error(const struct view *v)
{
    return mem_strdup(v->record->error ? v->record->error : "it failed without saying why");
}

/* What the one who found the error advises, as a sentence on a line of its own. */
static char *word_hint(const struct view *v)
{
    CLEANUP(mem_freep) char *hint = mem_strdup_opt(v->record->hint);
    size_t len = hint ? strlen(hint) : 0;

    if (!len)
        return mem_strdup("");
    if (islower((unsigned char)hint[0]))
        hint[0] = (char)toupper((unsigned char)hint[0]);
    return mem_printf("%s%s\n", hint, hint[len - 1] == '.' ? "" : ".");
}

static char *word_next(const struct view *v)
{
    int64_t next = v->record->next_attempt;

    if (next > v->agent->now)
        return moment(next, v->agent->now);
    if (v->action == DECIDE_SKIP && v->reason) /* a limit of ours may be in the way */
        return mem_printf("when this is over: %s", v->reason);
    return mem_strdup("as soon as it can be");
}

static char *word_failures(const struct view *v)
{
    return v->record->failures > 1 ? mem_printf("; it has failed %" PRIu32 " times in a row", v->record->failures)
                                   : mem_strdup("");
}

static char *word_code(const struct view *v)
{
    return v->record->error_code ? mem_printf(" (code 0x%08" PRIx32 ")", v->record->error_code) : mem_strdup("");
}

static char *word_renewed(const struct view *v)
{
    const struct record *r = v->record;

    return r->renew_at ? moment(r->renew_at, v->agent->now) : mem_strdup("in time, before it expires");
}

static char *word_expires(const struct view *v)
{
    return moment(v->record->current.facts.not_after, v->agent->now);
}

static char *word_begins(const struct view *v)
{
    return when_format(v->record->current.facts.not_before);
}

static char *word_subject(const struct view *v)
{
    const struct job_facts *facts = &v->record->current.facts;

    return mem_strdup(facts->subject && *facts->subject ? facts->subject : facts->sans ? facts->sans : "?");
}

static char *word_request(const struct view *v)
{
    return mem_strdup(v->record->attempt.request_id ? v->record->attempt.request_id : "?");
}

static char *word_since(const struct view *v)
{
    int64_t since = v->record->pending_since;

    return since ? moment(since, v->agent->now) : mem_strdup("");
}

static char *word_names(const struct view *v)
{
    return mem_strdup(v->record->names_differ ? v->record->names_differ : "?");
}

static char *word_problem(const struct view *v)
{
    return mem_strdup(v->record->verify_problem ? v->record->verify_problem : "?");
}

static char *word_hook(const struct view *v)
{
    return mem_strdup(v->record->hook.text ? v->record->hook.text : "?");
}

static char *word_probe(const struct view *v)
{
    return mem_strdup(v->record->probe.text ? v->record->probe.text : "?");
}

static char *word_reason(const struct view *v)
{
    return v->reason ? mem_strdup(v->reason) : mem_strdup("its policy server has not been asked yet");
}

static char *word_clock(const struct view *v)
{
    return when_format(v->agent->now);
}

static char *word_seen(const struct view *v)
{
    return when_format(v->agent->instance.last_seen);
}

static char *word_again(const struct view *v)
{
    return v->server ? moment(v->server->refused_at + SERVER_REFUSED_FOR, v->agent->now) : mem_strdup("?");
}

static const struct {
    const char *name;
    char *(*value)(const struct view *v);
} words[] = {
    {"name", word_name},
    {"template", word_template},
    {"server", word_server},
    {"account", word_account},
    {"user", word_user},
    {"error", word_error},
    {"hint", word_hint},
    {"next", word_next},
    {"failures", word_failures},
    {"code", word_code},
    {"renewed", word_renewed},
    {"expires", word_expires},
    {"begins", word_begins},
    {"subject", word_subject},
    {"request", word_request},
    {"since", word_since},
    {"names", word_names},
    {"problem", word_problem},
    {"hook", word_hook},
    {"probe", word_probe},
    {"reason", word_reason},
    {"clock", word_clock},
    {"seen", word_seen},
    {"again", word_again},
};

/* --- what is the matter --- */

static bool holds(const struct view *v)
{
    return record_has_certificate(v->record);
}

static bool holds_nothing(const struct view *v)
{
    return !holds(v);
}

static bool has_expired(const struct view *v)
{
    return holds(v) && v->record->current.facts.not_after <= v->agent->now;
}

static bool not_yet_valid(const struct view *v)
{
    return holds(v) && v->record->current.facts.not_before > v->agent->now;
}

static bool is_valid(const struct view *v)
{
    return holds(v) && !has_expired(v) && !not_yet_valid(v);
}

static bool wanted_by_section(const struct view *v)
{
    return v->record->certificate != NULL;
}

static bool wanted_by_policy(const struct view *v)
{
    return !v->record->certificate;
}

static bool is_cloned(const struct view *v)
{
    return v->agent->cloned;
}

static bool clock_is_wrong(const struct view *v)
{
    return v->agent->clock_is_back || v->agent->clock_is_unsure;
}

static bool clock_went_back(const struct view *v)
{
    return v->agent->clock_is_back;
}

static bool in_state(const struct view *v, enum record_state state)
{
    return agent_state_of(v->agent, v->record) == state;
}

static bool failed_by(const struct view *v, enum err_kind kind)
{
    return v->record->error && v->record->error_kind == kind;
}

/* A worker that only looks at what is held is nothing to tell of. */
static bool is_working(const struct view *v)
{
    return v->record->busy && (v->record->state == RECORD_WORKING || record_is_under_way(v->record));
}

static bool was_interrupted(const struct view *v)
{
    return in_state(v, RECORD_WORKING) && !v->record->error;
}

static bool is_pending(const struct view *v)
{
    return v->record->attempt.pending && !v->record->error;
}

static bool is_pending_and_failed(const struct view *v)
{
    return v->record->attempt.pending && v->record->error;
}

static bool server_is_gone(const struct view *v)
{
    return !v->account;
}

/* An old key signs what it renews, with the names that it has; everything else needs the account. */
static bool needs_account(const struct view *v)
{
    const struct record *r = v->record;

    return v->account && v->account->username &&
           (!is_valid(v) || in_state(v, RECORD_NAMES_DIFFER) || (record_is_under_way(r) && !r->renewal));
}

static bool password_refused(const struct view *v)
{
    return failed_by(v, ERR_AUTH) && needs_account(v) && v->server && v->server->refused_at &&
           v->agent->now < v->server->refused_at + SERVER_REFUSED_FOR;
}

/* vault and auth.c say it so */
static bool password_missing(const struct view *v)
{
    return failed_by(v, ERR_AUTH) && needs_account(v) && !(v->server && v->server->password) &&
           strstr(v->record->error, "no password");
}

static bool pin_refused(const struct view *v)
{
    return failed_by(v, ERR_AUTH) && (strstr(v->record->error, "PIN") || strstr(v->record->error, "token"));
}

#define FAILED_BY(kind)                                                                                                \
    static bool failed_##kind(const struct view *v)                                                                    \
    {                                                                                                                  \
        return failed_by(v, ERR_##kind);                                                                               \
    }
FAILED_BY(AUTH)
FAILED_BY(DENIED)
FAILED_BY(NETWORK)
FAILED_BY(TIMEOUT)
FAILED_BY(TLS)
FAILED_BY(TOKEN)
FAILED_BY(STORE)
FAILED_BY(POLICY)
FAILED_BY(MISSING)
FAILED_BY(UNTRUSTED)
FAILED_BY(PROTOCOL)
#undef FAILED_BY

static bool failed_otherwise(const struct view *v)
{
    return v->record->error != NULL;
}

static bool names_differ(const struct view *v)
{
    return in_state(v, RECORD_NAMES_DIFFER);
}

static bool is_due(const struct view *v)
{
    return in_state(v, RECORD_DUE);
}

static bool has_problem(const struct view *v)
{
    return v->record->verify_problem != NULL;
}

static bool hook_failed(const struct view *v)
{
    return v->record->hook.text && !v->record->hook.ok;
}

static bool probe_failed(const struct view *v)
{
    return v->record->probe.text && !v->record->probe.ok;
}

static bool is_idle(const struct view *v)
{
    return holds_nothing(v);
}

static bool is_kept_only(const struct view *v)
{
    return holds(v) && v->reason && !v->record->renew_at && (v->action == DECIDE_LEAVE || v->action == DECIDE_SKIP);
}

static bool always(const struct view *v)
{
    (void)v;
    return true;
}

/* One sentence each; of the first that holds. */
struct remark {
    bool (*holds)(const struct view *v);
    const char *text;
};

static const struct remark identities[] = {
    {wanted_by_section,
        "'{name}' is a certificate of template '{template}' that section [certificate \"{name}\"] asks for, from "
        "policy server '{server}'."},
    {wanted_by_policy, "'{name}' is a certificate of template '{template}' that policy server '{server}' offers."},
};
static const struct remark holdings[] = {
    {holds_nothing, "There is no certificate yet."},
    {not_yet_valid, "Its certificate is valid only from {begins} on: {subject}."},
    {has_expired, "Its certificate has EXPIRED, {expires}: {subject}."},
    {always, "Its certificate works until it expires {expires}: {subject}."},
};

/*
 * What is the matter, what happens by itself, and what a person does; of the first that holds, from what stops
 * everything to what is well. Commands stand in lines of their own.
 */
static const struct situation {
    bool (*holds)(const struct view *v);
    const char *happened, *next, *todo;
} situations[] = {
    {is_cloned,
        "This state was made on another machine: it was copied, or this machine got new hardware. So nothing is signed "
        "with its keys and no server is asked, since two machines with one identity would harm each other.",
        "Nothing happens by itself until a person has decided.",
        "If this is a copy of a machine that goes on, forget everything and start as a new machine:\n"
        "  autoenroll reset\n"
        "If this machine takes the place of the other one, which is gone for good:\n"
        "  autoenroll adopt"},
    {is_working, "It is being worked at right now.", "It goes on by itself; an interruption loses nothing.",
        "There is nothing to do; to see it:\n  autoenroll watch"},
    {was_interrupted, "An attempt was interrupted; how far it came is on record.",
        "It goes on from there {next}, with the same key and the same request.",
        "There is nothing to do; if you do not want to wait:\n  autoenroll pulse --wait"},
    {password_refused,
        "The server refused the password of account '{user}': {error}. A wrong password that is shown again and again "
        "locks the account, so it is not shown any more.",
        "It is tried again {again}, or as soon as there is another password.",
        "Find out the right password of '{user}', then give it to the daemon:\n"
        "  autoenroll login {account}\n"
        "or replace the stored credential '{account}.password'. Then:\n"
        "  autoenroll pulse --wait"},
    {password_missing,
        "What is asked for here needs the password of account '{user}', and nobody has given it: {error}.",
        "It is tried again {next}, or as soon as there is a password.",
        "Give it to the daemon, which forgets it at its next restart:\n"
        "  autoenroll login {account}\n"
        "or, to last, store it as the systemd credential '{account}.password'. Then:\n"
        "  autoenroll pulse --wait"},
    {pin_refused,
        "The token that holds the keys could not be opened: {error}. The PIN is not presented again, since "
        "tokens lock after a few wrong ones.",
        "It is tried again {next}, but a refused PIN is not used until a person has changed it.",
        "{hint}Then try again:\n  autoenroll pulse --wait"},
    {failed_AUTH, "The server did not accept who we are: {error}{failures}.", "It is tried again {next}.",
        "{hint}See what the server takes, and what is configured in [policy-server \"{account}\"]:\n"
        "  autoenroll server test {account}"},
    {is_pending_and_failed,
        "The CA took request {request} under submission {since}, and asking after it failed: {error}{failures}.",
        "The CA is asked again {next}; the request stays.", "{hint}To ask now:\n  autoenroll poll {name} --wait"},
    {is_pending,
        "The CA took request {request} under submission {since}: a person at the CA must approve it. That is "
        "normal for such a template.",
        "The CA is asked what became of it {next}, and the certificate is put in place as soon as it is issued.",
        "Ask the CA's administrator to approve request {request}. When that is done, to have it at once:\n"
        "  autoenroll poll {name} --wait"},
    {failed_DENIED, "The CA, or its server, refused the request{code}: {error}{failures}.",
        "It is tried again {next}, with a new request, should the CA have changed its mind.",
        "{hint}When that is mended:\n  autoenroll pulse --wait"},
    {failed_NETWORK, "The server could not be reached: {error}{failures}.",
        "It is tried again {next}, more and more seldom while it fails. Nothing is lost by waiting.",
        "{hint}See whether it answers, and what else is wrong:\n"
        "  autoenroll server test {account}\n  autoenroll doctor"},
    {failed_TIMEOUT, "It took too long and was ended: {error}{failures}.",
        "It is tried again {next}, more and more seldom while it fails.",
        "{hint}See whether the server answers:\n  autoenroll server test {account}"},
    {failed_TLS, "The server could not prove that it is the right one, so nothing was sent to it: {error}{failures}.",
        "It is tried again {next}.",
        "{hint}Check the address and ca-file in [policy-server \"{account}\"], and this machine's clock. There is no "
        "switch to skip this check. Then:\n"
        "  autoenroll server test {account}"},
    {failed_TOKEN, "The token that holds the keys does not work: {error}{failures}.",
        "It is tried again {next}. The certificate that is in place stays there.",
        "{hint}See that the token is there (the device of a TPM or a card, the directory of SoftHSM):\n"
        "  autoenroll doctor"},
    {failed_STORE, "Something could not be written or read on this machine: {error}{failures}.",
        "It is tried again {next}. What was in place before is still whole.",
        "{hint}See whether a disk is full or mounted read-only:\n  df -h /var/lib/autoenroll\n  autoenroll doctor"},
    {failed_MISSING, "Something is missing that was there, or should be: {error}{failures}.",
        "It is tried again {next}.",
        "{hint}If the token was moved or its device is away, bring it back, then:\n"
        "  autoenroll pulse --wait\n"
        "If the key is gone for good, this has a new one made and a new certificate asked for, with the password of "
        "account '{user}':\n"
        "  autoenroll renew {name} --wait"},
    {failed_POLICY, "The policy does not allow it: {error}{failures}.",
        "It is looked at again whenever the policy is, {next}.",
        "{hint}See what the policy offers and why something is not taken:\n  autoenroll templates {account}"},
    {failed_UNTRUSTED, "The answer of the CA was not installed, since it is not what was asked for: {error}{failures}.",
        "It is tried again {next}. What was in place before stays.",
        "{hint}Tell the CA's administrator: the certificate that was issued differs from the template or the request."},
    {failed_PROTOCOL, "The server's answer makes no sense: {error}{failures}.", "It is tried again {next}.",
        "{hint}See what it says, and whether a proxy is between:\n  autoenroll server test {account}"},
    {failed_otherwise, "The last attempt failed{code}: {error}{failures}.", "It is tried again {next}.",
        "{hint}When that is mended:\n  autoenroll pulse --wait"},
    {not_yet_valid,
        "It is {clock} by this machine's clock, which is before the certificate begins: the clock of this machine, or "
        "that of the CA, is wrong.",
        "Nothing is retired while that is so; the certificate counts as soon as the clock does.",
        "Set the clock, and have a time service keep it:\n  timedatectl\n  autoenroll doctor"},
    {server_is_gone, "Section [policy-server \"{server}\"] is not configured any more.",
        "What is held is kept and not renewed.",
        "If that is a mistake, write the section again, then:\n  autoenroll reload\n"
        "If the certificate is not needed any more:\n  autoenroll remove {name}"},
    {has_expired,
        "It could not be renewed before that. An expired certificate cannot renew itself; a new one is asked "
        "for with the account.",
        "A new certificate is asked for {next}.", "If you do not want to wait:\n  autoenroll pulse --wait"},
    {has_problem, "When it was looked at last, something was wrong: {problem}.",
        "It is looked at again at every pulse; the next renewal makes key, certificate and files anew.",
        "If nobody did that on purpose, make all of it anew now:\n"
        "  autoenroll renew {name} --wait\n  autoenroll verify {name}"},
    {names_differ,
        "The names in the configuration are not those in the certificate: {names}. A certificate never gets "
        "other names silently.",
        "The certificate is kept and renewed with the names that it has.",
        "To have one with the names that are configured:\n"
        "  autoenroll renew {name} --wait\n"
        "Or write the old names into section [certificate \"{name}\"], then:\n  autoenroll reload"},
    {is_due,
        "Its time has come, and it waits: for a free worker, for the maintenance hours, or for a password that is "
        "being tried by another request.",
        "It begins by itself as soon as it can.",
        "There is nothing to do; if you do not want to wait:\n  autoenroll pulse --wait"},
    {is_idle, "Nothing has been asked for yet: {reason}.", "It is looked at again whenever the policy is asked.",
        "To look now:\n  autoenroll pulse --wait\nTo see what will be done and why:\n  autoenroll plan"},
    {is_kept_only, "It is kept as it is: {reason}.", "Nothing happens to it by itself.",
        "If it is not needed any more:\n  autoenroll remove {name}\nTo see what the policy offers:\n"
        "  autoenroll templates"},
    {always, "Nothing is wrong with it.", "It is renewed {renewed}, by the key that it has, without a password.",
        "There is nothing to do."},
};

/* What is true besides; all that hold. */
static const struct remark besides[] = {
    {clock_went_back,
        "The clock is wrong: it says {clock}, and the last time that was seen is {seen}. Until it is right, nothing "
        "old is removed. If the clock is right after all: autoenroll adopt."},
    {clock_is_wrong, "The kernel says that nobody keeps this machine's clock right any more; until then nothing old is "
                     "removed. Run a time service (chrony, systemd-timesyncd)."},
    {hook_failed, "After the last change, exporting files or reloading the service failed: {hook}. It is tried again; "
                  "journalctl -u autoenroll-deploy says more."},
    {probe_failed, "The service does not present the new certificate: {probe}. Reload it."},
};

/* Beforehand: what will need the account's password, and where it would come from. */
static const struct remark accounts[] = {
    {is_cloned, NULL},
    {password_refused, NULL},
    {password_missing, NULL},
    {server_is_gone, NULL},
    {not_yet_valid, NULL},
    {names_differ, "That needs no password; other names need the password of account '{user}': from the "
                   "credential '{account}.password', or from 'autoenroll login {account}'."},
    {needs_account,
        "The password of account '{user}' will be needed for that: from the credential '{account}.password', or from "
        "'autoenroll login {account}'."},
    {is_valid, "Renewals need no password: the key that is held signs them. Only when that key is lost, or the "
               "certificate expires before it was renewed, the password of account '{user}' is needed again."},
};

/* --- putting it together --- */

static void append_word(struct bytes *out, const struct view *v, const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        CLEANUP(mem_freep) char *value = NULL;
        CLEANUP(mem_freep) char *safe = NULL;
        size_t n;

        if (strlen(words[i].name) != len || strncmp(words[i].name, name, len) != 0)
            continue;
        value = words[i].value(v);
        n = strlen(value);
        safe = printable(value, n && value[n - 1] == '\n' ? n - 1 : n, 0);
        (void)bytes_printf(out, NULL, "%s%s", safe, n && value[n - 1] == '\n' ? "\n" : "");
    }
}

static void append(struct bytes *out, const struct view *v, const char *text)
{
    while (*text) {
        size_t plain = strcspn(text, "{"), len = text[plain] ? strcspn(text + plain, "}") : 0;

        (void)bytes_append(out, text, plain, NULL);
        if (len)
            append_word(out, v, text + plain + 1, len - 1);
        text += plain + len + (len != 0);
    }
}

static void append_line(struct bytes *out, const struct view *v, const char *text)
{
    if (out->len)
        (void)bytes_append_text(out, "\n", NULL);
    append(out, v, text);
}

/* The first of @remarks that holds; one without a text says nothing. */
static void append_first(struct bytes *out, const struct view *v, const struct remark *remarks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!remarks[i].holds(v))
            continue;
        if (remarks[i].text)
            append_line(out, v, remarks[i].text);
        return;
    }
}

static void append_endpoints(struct bytes *out, const struct view *v)
{
    const struct record *r = v->record;

    for (size_t i = 0; i < r->n_endpoints && r->error; i++) {
        CLEANUP(mem_freep) char *uri = printable_text(r->endpoints[i].uri);
        CLEANUP(mem_freep) char *error = printable_text(r->endpoints[i].error ? r->endpoints[i].error : "answered");

        (void)bytes_printf(out, NULL, "\n  tried %s: %s", uri, error);
    }
}

static const struct situation *situation_of(const struct view *v)
{
    size_t i = 0;

    while (!situations[i].holds(v)) /* the last one always does */
        i++;
    return &situations[i];
}

/* What the engine would decide about it now. */
static void decide_now(struct view *v)
{
    struct plan *plans = NULL;
    size_t n = 0;

    if (!v->agent->engine)
        return;
    engine_plan(v->agent, 0, &plans, &n);
    for (size_t i = 0; i < n && !v->reason; i++) {
        for (size_t k = 0; k < plans[i].decisions.n; k++) {
            const struct decision *d = &plans[i].decisions.items[k];

            if (!d->held || strcmp(d->held->name, v->record->id) != 0)
                continue;
            v->action = d->action;
            v->reason = mem_strdup(d->reason);
            break;
        }
    }
    engine_plan_free(plans, n);
}

static char *take_text(struct bytes *text)
{
    return mem_strdup(bytes_text(text));
}

void explain_record(const struct agent *agent, const struct record *record, char **happened, char **todo)
{
    const struct group *group = agent->groups && record->server ? group_of_server(agent->groups, record->server) : NULL;
    struct view v = {.agent = agent, .record = record, .account = group ? group_account(group) : NULL};
    CLEANUP(bytes_clear) struct bytes past = {0};
    CLEANUP(bytes_clear) struct bytes future = {0};
    const struct situation *situation;

    if (v.account)
        v.server = server_find(&agent->servers, v.account->name);
    decide_now(&v);
    situation = situation_of(&v);
    append_first(&past, &v, identities, ARRAY_SIZE(identities));
    append_first(&past, &v, holdings, ARRAY_SIZE(holdings));
    append_line(&past, &v, situation->happened);
    append_endpoints(&past, &v);
    for (size_t i = 0; i < ARRAY_SIZE(besides); i++)
        if (besides[i].holds(&v)) {
            append_line(&past, &v, besides[i].text);
            i += besides[i].holds == clock_went_back;
        }
    append_line(&future, &v, situation->next);
    append_first(&future, &v, accounts, ARRAY_SIZE(accounts));
    append_line(&future, &v, situation->todo);
    free(v.reason);
    *happened = take_text(&past);
    *todo = take_text(&future);
}
