#include <stdlib.h>
#include <string.h>

#include "agent/daemon/bus_objects.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/engine_wish.h"
#include "agent/daemon/explain.h"

/* --- methods --- */

static int renew(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    return bus_put_job(out, engine_renew(self, about, bus_option_bool(call, "same-key"), errp), errp);
}

static int poll_now(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)call;
    return bus_put_job(out, engine_poll(self, about, errp), errp);
}

static int explain(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    CLEANUP(mem_freep) char *happened = NULL;
    CLEANUP(mem_freep) char *todo = NULL;

    (void)call;
    (void)errp;
    explain_record(self, about, &happened, &todo);
    bus_put_text(out, happened);
    bus_put_text(out, todo);
    return 0;
}

static int remove_now(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    return bus_put_job(out, engine_remove(self, about, bus_option_bool(call, "force"), errp), errp);
}

static const struct bus_option renew_options[] = {
    {"same-key", 'b', "keep the key; a new one is made otherwise, unless the template wants the same"},
    {0},
};
static const struct bus_option remove_options[] = {
    {"force", 'b', "also while its section or the policy would bring it back"},
    {0},
};
static const struct bus_method methods[] = {
    {"Renew", "a{sv}", "options", "o", "job", BUS_RENEW, renew,
        "Renews the certificate now, although it is not due. Gives the job to follow.", renew_options},
    {"Poll", "", "", "o", "job", BUS_RENEW, poll_now,
        "Asks the CA now what became of the request that is pending. Gives the job to follow.", NULL},
    {"Explain", "", "", "ss", "happened todo", BUS_ANYONE, explain,
        "Says for a person what happened and why, and what to do.", NULL},
    {"Remove", "a{sv}", "options", "o", "job", BUS_CONFIGURE, remove_now,
        "Gives the enrollment up: its keys, its published files, and what is remembered. Gives the job to follow.",
        remove_options},
    {0},
};

/* --- properties --- */

static void get_state(void *self, const void *about, struct bus_out *out)
{
    bus_put_text(out, record_state_name(agent_state_of(self, about)));
}

static void get_verdict(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;

    (void)self;
    bus_put_text(out, job_verdict_name((enum job_verdict)r->verdict));
}

static void get_template(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;

    (void)self;
    bus_put_text(out, r->template_name ? r->template_name : r->template_oid);
}

/* The common name in an issuer's name as text, or all of it. */
static void get_ca(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;
    const char *issuer = r->current.facts.issuer, *at = issuer ? strstr(issuer, "CN=") : NULL;
    CLEANUP(mem_freep) char *name = NULL;
    char *to;

    (void)self;
    if (!at) {
        bus_put_text(out, issuer);
        return;
    }
    to = name = mem_strdup(at + strlen("CN="));
    for (const char *from = name; *from && *from != ','; from++) {
        if (*from == '\\' && from[1])
            from++;
        *to++ = *from;
    }
    *to = 0;
    bus_put_text(out, name);
}

/* DER into PEM is base64 between two lines. */
static void get_certificate(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;
    const struct bytes *der = &r->current.pair.certificate;
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *pem = NULL;

    (void)self;
    if (der->len) {
        text = bytes_to_base64(der->data, der->len, 64);
        pem = mem_printf(
            "-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n%s", text, bytes_text(&r->current.pair.chain));
    }
    bus_put_text(out, pem);
}

static void get_directory(void *self, const void *about, struct bus_out *out)
{
    const struct agent *agent = self;
    const struct record *r = about;
    CLEANUP(mem_freep) char *path = NULL;

    if (record_has_certificate(r))
        path = mem_printf("%s/%s/current", agent->paths.certs, r->id);
    bus_put_text(out, path);
}

static void get_error_kind(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;

    (void)self;
    bus_put_text(out, r->error ? err_kind_name((enum err_kind)r->error_kind) : "");
}

static void get_requests_today(void *self, const void *about, struct bus_out *out)
{
    const struct agent *agent = self;

    bus_put_u32(out, record_requests_today(about, agent->now));
}

static void get_previous(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;

    (void)self;
    bus_put_u32(out, (uint32_t)r->n_previous);
}

static void get_endpoints(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;

    (void)self;
    bus_begin_array(out, "a{sv}");
    for (size_t i = 0; i < r->n_endpoints; i++) {
        const struct job_endpoint *e = &r->endpoints[i];

        bus_begin_array(out, "{sv}");
        bus_entry_text(out, "Uri", e->uri);
        bus_entry_text(out, "Auth", policy_auth_name(e->auth));
        bus_entry_text(out, "Error", e->error);
        bus_entry_bool(out, "Sent", e->sent);
        bus_end(out);
    }
    bus_end(out);
}

static void get_history(void *self, const void *about, struct bus_out *out)
{
    const struct record *r = about;

    (void)self;
    bus_begin_array(out, "a{sv}");
    for (size_t i = 0; i < r->n_history; i++) {
        const struct record_event *e = &r->history[i];

        bus_begin_array(out, "{sv}");
        bus_entry_time(out, "When", e->when);
        bus_entry_text(out, "What", e->what);
        bus_entry_texts(out, "Endpoints", &e->endpoints);
        bus_end(out);
    }
    bus_end(out);
}

#define TEXT(member)   BUS_MEMBER(struct record, member, "s", char *)
#define TIME(member)   BUS_MEMBER(struct record, member, "x", int64_t)
#define NUMBER(member) BUS_MEMBER(struct record, member, "u", uint32_t)
#define TRUTH(member)  BUS_MEMBER(struct record, member, "b", bool)

static const struct bus_property properties[] = {
    {"Name", TEXT(id), .flags = BUS_CONSTANT, .doc = "Our name for it: the label in the token and the directory"},
    {"Section", TEXT(certificate), .flags = BUS_CONSTANT,
        .doc = "The [certificate] section that wants it; empty: the policy itself does"},
    {"State", "s", get_state,
        .doc = "idle, due, working, pending, installed, blocked, names-differ or cloned; see autoenroll(1)"},
    {"Template", "s", get_template, .doc = "Name of the certificate template"},
    {"TemplateOid", TEXT(template_oid), .doc = "The template's object identifier, dotted"},
    {"Server", TEXT(server), .doc = "The [policy-server] section it belongs to"},
    {"CA", "s", get_ca, .doc = "Name of the CA that issued the current certificate"},
    {"Issuer", TEXT(current.facts.issuer), .doc = "The issuer's whole name"},
    {"Subject", TEXT(current.facts.subject), .doc = "Subject of the current certificate; empty: there is none yet"},
    {"AlternativeNames", TEXT(current.facts.sans), .doc = "\"DNS:a, DNS:b\""},
    {"Serial", TEXT(current.facts.serial), .doc = "Serial number, hexadecimal"},
    {"Thumbprint", TEXT(current.facts.thumbprint), .doc = "SHA-256 of the current certificate, hexadecimal"},
    {"NotBefore", TIME(current.facts.not_before), .doc = "Seconds since 1970, UTC, as all times here; 0: not known"},
    {"NotAfter", TIME(current.facts.not_after), .doc = "When the current certificate expires"},
    {"RenewAfter", TIME(renew_at), .doc = "When its renewal is planned"},
    {"NextAttempt", TIME(next_attempt), .doc = "Not before then is it tried again; 0: as soon as it is due"},
    {"KeyUri", TEXT(current.facts.key_uri), .doc = "pkcs11: URI of the current key, never with a PIN"},
    {"KeyFile", TEXT(current.pair.key_file), .doc = "Path of the key, where it is a file and not in a token"},
    {"KeyKind", TEXT(current.facts.key_kind), .doc = "\"P-256\", \"RSA 2048\""},
    {"KeyMadeAt", TIME(current.key_made_at), .doc = "When the current key was made; 0: not known"},
    {"InstalledAt", TIME(current.installed_at), .doc = "When the current certificate was put in place"},
    {"Generation", NUMBER(current.generation), .doc = "Number of the current certificate, counted from 1"},
    {"Previous", "u", get_previous, .doc = "Certificates before it that are kept until their grace time is over"},
    {"Directory", "s", get_directory, .doc = "Where its published files are"},
    {"Certificate", "s", get_certificate, .flags = BUS_BULKY,
        .doc = "The current certificate and its chain towards the anchor, PEM. Not in GetManagedObjects"},
    {"RequestId", TEXT(attempt.request_id), .doc = "The CA's number of the request that is under way or pending"},
    {"PendingSince", TIME(pending_since), .doc = "Since when the CA has it under submission"},
    {"Renewal", TRUTH(renewal), .doc = "The attempt under way is a renewal"},
    {"LastError", TEXT(error), .doc = "Why the last attempt failed; empty: it did not"},
    {"ErrorKind", "s", get_error_kind, .doc = "What kind of failure that is"},
    {"ErrorCode", NUMBER(error_code), .doc = "The HRESULT that came with it; 0: none"},
    {"Hint", TEXT(hint), .doc = "What a person can do about it"},
    {"Endpoints", "aa{sv}", get_endpoints, .flags = BUS_BULKY,
        .doc = "What the last attempt tried, in order: Uri s, Auth s, Error s (empty: it answered), Sent b. Not in "
               "GetManagedObjects"},
    {"Failures", NUMBER(failures), .doc = "Failed attempts in a row"},
    {"Attempts", NUMBER(attempts), .doc = "Attempts in all"},
    {"RequestsToday", "u", get_requests_today, .doc = "Requests that a CA has seen today"},
    {"LastAttempt", TIME(last_attempt), .doc = "When it was tried last"},
    {"LastSuccess", TIME(last_success), .doc = "When that went well last"},
    {"History", "aa{sv}", get_history, .flags = BUS_BULKY,
        .doc = "What happened, the oldest first: When x, What s, Endpoints as. Not in GetManagedObjects"},
    {"NamesDiffer", TEXT(names_differ), .doc = "How the configured names differ from those that are held; empty: not"},
    {"VerifiedAt", TIME(verified_at), .doc = "When key, certificate and files were looked at last"},
    {"Verdict", "s", get_verdict,
        .doc = "What that came to: ok, missing, key mismatch, expired, not yet valid or error"},
    {"Problem", TEXT(verify_problem), .doc = "What was wrong with them; empty: nothing"},
    {"IssuerNotAfter", TIME(issuer_not_after), .doc = "When the issuer's certificate expires"},
    {"AnchorNotAfter", TIME(anchor_not_after), .doc = "When the trust anchor's certificate expires"},
    {"Hook", TEXT(hook.text), .doc = "What came of the export and the reload after the last change"},
    {"HookOk", TRUTH(hook.ok), .doc = "That went well"},
    {"HookAt", TIME(hook.when), .doc = "When it was done; 0: never"},
    {"HookThumbprint", TEXT(hook.thumbprint), .doc = "The certificate that it was about"},
    {"Probe", TEXT(probe.text), .doc = "What a look at the service came to: does it present the current certificate?"},
    {"ProbeOk", TRUTH(probe.ok), .doc = "It does"},
    {"ProbeAt", TIME(probe.when), .doc = "When that was looked at; 0: never"},
    {0},
};

static const struct bus_signal signals[] = {
    {"Renewed", "", "", "A new certificate is in place, the first one included."},
    {"Failed", "ss", "error hint", "An attempt failed."},
    {"Expiring", "u", "days", "So many days are left, and nothing is going to renew it in time."},
    {0},
};

static const struct bus_interface interface = {
    .name = BUS_ENROLLMENT,
    .doc = "One certificate that this machine holds, or is to hold.",
    .methods = methods,
    .properties = properties,
    .signals = signals,
};

static void *find(void *self, const char *id)
{
    const struct agent *agent = self;

    return record_find(&agent->records, id);
}

static void each(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx)
{
    const struct agent *agent = self;

    for (size_t i = 0; i < agent->records.n; i++)
        call(ctx, agent->records.items[i]->id, agent->records.items[i]);
}

const struct bus_class bus_enrollment_class = {
    .kind = BUS_ENROLLMENTS, .interface = &interface, .find = find, .each = each};
