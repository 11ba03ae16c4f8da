#include "agent/daemon/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config/file.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/monitor.h"
#include "protocol/base/digest.h"

#define MAX_CONFIG  (256u << 10) /* bytes of one file */
#define MAX_METRICS (15u << 20)  /* bytes of all of them */

/* --- samples --- */

struct writer {
    const struct agent *agent;
    const char *config_hash;
    const char *name; /* of the metric whose samples are written */
    struct bytes *out;
    struct err **errp;
    bool failed;
};

/* A label; value NULL: it is left out. */
struct label {
    const char *name, *value;
};

static void append(struct writer *w, const char *text, size_t len)
{
    if (!w->failed)
        w->failed = bytes_append(w->out, text, len, w->errp) < 0;
}

static void append_text(struct writer *w, const char *text)
{
    append(w, text, strlen(text));
}

/* Backslash, quote and line feed are escaped. */
static void append_value(struct writer *w, const char *text)
{
    while (*text) {
        size_t plain = strcspn(text, "\\\"\n");

        append(w, text, plain);
        text += plain;
        if (!*text)
            break;
        append_text(w, *text == '\\' ? "\\\\" : *text == '"' ? "\\\"" : "\\n");
        text++;
    }
}

static void append_labels(struct writer *w, const struct label *labels, size_t n)
{
    bool first = true;

    for (size_t i = 0; i < n; i++) {
        if (!labels[i].value)
            continue;
        append_text(w, first ? "{" : ",");
        append_text(w, labels[i].name);
        append_text(w, "=\"");
        append_value(w, labels[i].value);
        append_text(w, "\"");
        first = false;
    }
    if (!first)
        append_text(w, "}");
}

static void sample(struct writer *w, const struct label *labels, size_t n, double value)
{
    char number[40];

    append_text(w, w->name);
    append_labels(w, labels, n);
    if (isnan(value))
        append_text(w, " NaN\n");
    else
        append(w, number, (size_t)snprintf(number, sizeof(number), " %.0f\n", value));
}

/* --- of the agent --- */

static void build_info(struct writer *w)
{
    sample(w, &(struct label){"version", AE_VERSION}, 1, 1);
}

static void config_info(struct writer *w)
{
    sample(w, &(struct label){"sha256", w->config_hash}, 1, 1);
}

static void written(struct writer *w)
{
    sample(w, NULL, 0, (double)w->agent->now);
}

static void state(struct writer *w)
{
    static const char *const states[] = {"ok", "degraded", "clock", "cloned"};
    const char *now = agent_state(w->agent);

    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        sample(w, &(struct label){"state", states[i]}, 1, strcmp(states[i], now) == 0);
}

static void problems(struct writer *w)
{
    sample(w, NULL, 0, (double)w->agent->problems.n);
}

static void next_pulse(struct writer *w)
{
    sample(w, NULL, 0, w->agent->engine ? (double)engine_next_pulse(w->agent) : 0);
}

static void token_reachable(struct writer *w)
{
    int64_t since;
    enum monitor_token token = monitor_token(w->agent, &since);

    sample(w, NULL, 0, token == MONITOR_TOKEN_UNKNOWN ? (double)NAN : token == MONITOR_TOKEN_REACHABLE);
}

static void token_checked(struct writer *w)
{
    int64_t since;

    (void)monitor_token(w->agent, &since);
    sample(w, NULL, 0, (double)since);
}

static void watched_full(struct writer *w)
{
    sample(w, NULL, 0, monitor_watched(w->agent)->full);
}

/* --- of each enrollment --- */

static void certificate_info(struct writer *w, const struct record *record)
{
    const struct job_facts *facts = &record->current.facts;
    const struct label labels[] = {{"name", record->id}, {"subject", facts->subject}, {"serial", facts->serial},
        {"issuer", facts->issuer}, {"template", record->template_name}, {"server", record->server},
        {"key_kind", facts->key_kind}};

    if (record_has_certificate(record))
        sample(w, labels, ARRAY_SIZE(labels), 1);
}

static void enrollment_state(struct writer *w, const struct record *record)
{
    enum record_state now = agent_state_of(w->agent, record);

    for (unsigned s = 0; s < RECORD_STATE__MAX; s++) {
        const struct label labels[] = {{"name", record->id}, {"state", record_state_name((enum record_state)s)}};

        sample(w, labels, ARRAY_SIZE(labels), s == now);
    }
}

static void enrollment_error(struct writer *w, const struct record *record)
{
    const struct label labels[] = {
        {"name", record->id}, {"kind", record->error ? err_kind_name((enum err_kind)record->error_kind) : "none"}};

    sample(w, labels, ARRAY_SIZE(labels), record->error != NULL);
}

static void named(struct writer *w, const struct record *record, double value)
{
    sample(w, &(struct label){"name", record->id}, 1, value);
}

static void healthy(struct writer *w, const struct record *record)
{
    if (record->verified_at)
        named(w, record, !record->verify_problem);
}

static void names_differ(struct writer *w, const struct record *record)
{
    named(w, record, record->names_differ != NULL);
}

static void hook_success(struct writer *w, const struct record *record)
{
    if (record->hook.thumbprint)
        named(w, record, record->hook.ok);
}

static void hook_time(struct writer *w, const struct record *record)
{
    if (record->hook.thumbprint)
        named(w, record, (double)record->hook.when);
}

static void probe_success(struct writer *w, const struct record *record)
{
    if (record->probe.thumbprint)
        named(w, record, record->probe.ok);
}

static void probe_time(struct writer *w, const struct record *record)
{
    if (record->probe.thumbprint)
        named(w, record, (double)record->probe.when);
}

/* --- of each policy server --- */

static void server_up(struct writer *w, const struct server_state *server)
{
    sample(w, &(struct label){"server", server->name}, 1, !server->error);
}

static void password_refused(struct writer *w, const struct server_state *server)
{
    sample(w, &(struct label){"server", server->name}, 1, server->refused_at != 0);
}

/* --- of what is watched --- */

static void of_watched(struct writer *w, const struct watched *watched, double value)
{
    char place[16];
    const struct label labels[] = {{"section", watched->section}, {"path", watched->path}, {"place", place}};

    (void)snprintf(place, sizeof(place), "%u", watched->place);
    sample(w, labels, ARRAY_SIZE(labels), value);
}

static void watched_not_after(struct writer *w, const struct watched *watched)
{
    if (!watched->error)
        of_watched(w, watched, (double)watched->not_after);
}

static void watched_error(struct writer *w, const struct watched *watched)
{
    of_watched(w, watched, watched->error != NULL);
}

/* --- the table --- */

enum metric_kind {
    OF_AGENT,
    OF_RECORD,
    OF_RECORD_TIME,      /* the int64_t at @offset */
    OF_CERTIFICATE_TIME, /* the same, left out where it is not known */
    OF_RECORD_COUNT,     /* the uint32_t at @offset */
    OF_SERVER,
    OF_SERVER_TIME,
    OF_SERVER_COUNT,
    OF_WATCHED,
};
struct metric {
    struct metrics_row row;
    enum metric_kind kind;
    size_t offset;
    union {
        void (*of_agent)(struct writer *w);
        void (*of_record)(struct writer *w, const struct record *record);
        void (*of_server)(struct writer *w, const struct server_state *server);
        void (*of_watched)(struct writer *w, const struct watched *watched);
    };
};

#define GAUGE(name, help)                                                                                              \
    {                                                                                                                  \
        "autoenroll_" name, "gauge", help                                                                              \
    }
#define COUNTER(name, help)                                                                                            \
    {                                                                                                                  \
        "autoenroll_" name, "counter", help                                                                            \
    }
#define RECORD(member) .offset = offsetof(struct record, member)
#define SERVER(member) .offset = offsetof(struct server_state, member)

static const struct metric metrics[] = {
    {GAUGE("build_info", "Version of the daemon."), OF_AGENT, .of_agent = build_info},
    {GAUGE("config_info", "SHA-256 of the configuration that is in force."), OF_AGENT, .of_agent = config_info},
    {GAUGE("metrics_written_timestamp_seconds", "When this was written; it is at least every ten minutes."), OF_AGENT,
        .of_agent = written},
    {GAUGE("state", "State of the agent: 1 for the one that it is in."), OF_AGENT, .of_agent = state},
    {GAUGE("problems", "Records that cannot be read."), OF_AGENT, .of_agent = problems},
    {GAUGE("next_pulse_timestamp_seconds", "When every policy server is asked next."), OF_AGENT,
        .of_agent = next_pulse},
    {GAUGE("token_reachable", "1 when the token could be used at the last look, 0 when not, NaN before the first."),
        OF_AGENT, .of_agent = token_reachable},
    {GAUGE("token_checked_timestamp_seconds", "When that look was."), OF_AGENT, .of_agent = token_checked},

    {GAUGE("certificate_info", "The certificate that is in use."), OF_RECORD, .of_record = certificate_info},
    {GAUGE("certificate_not_before_timestamp_seconds", "Start of the validity of the certificate."),
        OF_CERTIFICATE_TIME, RECORD(current.facts.not_before)},
    {GAUGE("certificate_not_after_timestamp_seconds", "Expiry of the certificate."), OF_CERTIFICATE_TIME,
        RECORD(current.facts.not_after)},
    {GAUGE("certificate_renewal_timestamp_seconds", "When its renewal is planned."), OF_CERTIFICATE_TIME,
        RECORD(renew_at)},
    {GAUGE("certificate_issuer_not_after_timestamp_seconds", "Expiry of the CA certificate that issued it."),
        OF_CERTIFICATE_TIME, RECORD(issuer_not_after)},
    {GAUGE("certificate_anchor_not_after_timestamp_seconds", "Expiry of the root that it leads to."),
        OF_CERTIFICATE_TIME, RECORD(anchor_not_after)},
    {GAUGE("certificate_key_made_timestamp_seconds", "When its key was made."), OF_CERTIFICATE_TIME,
        RECORD(current.key_made_at)},

    {GAUGE("enrollment_state", "State of the enrollment: 1 for the one that it is in."), OF_RECORD,
        .of_record = enrollment_state},
    {GAUGE("enrollment_error", "1 when the last attempt failed, with the kind of failure."), OF_RECORD,
        .of_record = enrollment_error},
    {GAUGE("enrollment_last_success_timestamp_seconds", "When an attempt succeeded last; 0: never."), OF_RECORD_TIME,
        RECORD(last_success)},
    {GAUGE("enrollment_last_attempt_timestamp_seconds", "When an attempt began last; 0: never."), OF_RECORD_TIME,
        RECORD(last_attempt)},
    {GAUGE("enrollment_next_attempt_timestamp_seconds", "The next attempt is not before this; 0: when it is due."),
        OF_RECORD_TIME, RECORD(next_attempt)},
    {GAUGE("enrollment_pending_since_timestamp_seconds", "Since when the CA has the request under submission; 0: it "
                                                         "has none."),
        OF_RECORD_TIME, RECORD(pending_since)},
    {COUNTER("enrollment_attempts_total", "Attempts so far."), OF_RECORD_COUNT, RECORD(attempts)},
    {GAUGE("enrollment_failures", "Attempts that failed in a row."), OF_RECORD_COUNT, RECORD(failures)},
    {GAUGE("enrollment_healthy", "1 when key, certificate and published files were as on record at the last look."),
        OF_RECORD, .of_record = healthy},
    {GAUGE("enrollment_verified_timestamp_seconds", "When that look was; 0: not yet."), OF_RECORD_TIME,
        RECORD(verified_at)},
    {GAUGE("enrollment_names_differ", "1 when the configured names are not those of the certificate."), OF_RECORD,
        .of_record = names_differ},
    {GAUGE("hook_success", "1 when the certificate was put in place and its services were told, 0 when that failed."),
        OF_RECORD, .of_record = hook_success},
    {GAUGE("hook_timestamp_seconds", "When that was."), OF_RECORD, .of_record = hook_time},
    {GAUGE("probe_success", "1 when the service presented the certificate at the last probe."), OF_RECORD,
        .of_record = probe_success},
    {GAUGE("probe_timestamp_seconds", "When that probe was."), OF_RECORD, .of_record = probe_time},

    {GAUGE("policy_fetched_timestamp_seconds", "When the policy that counts was fetched; 0: never."), OF_SERVER_TIME,
        SERVER(fetched_at)},
    {GAUGE("policy_next_update_timestamp_seconds", "When it is asked for next."), OF_SERVER_TIME, SERVER(next_update)},
    {GAUGE("policy_templates", "Templates that it has for this machine."), OF_SERVER_COUNT, SERVER(templates)},
    {GAUGE("policy_server_up", "1 when the policy server answered when it was asked last."), OF_SERVER,
        .of_server = server_up},
    {GAUGE("policy_server_failures", "Times in a row that it did not."), OF_SERVER_COUNT, SERVER(failures)},
    {GAUGE("policy_server_password_refused", "1 when it has refused the password, which is not shown to it again."),
        OF_SERVER, .of_server = password_refused},

    {GAUGE("watched_not_after_timestamp_seconds", "Expiry of a certificate that is only watched."), OF_WATCHED,
        .of_watched = watched_not_after},
    {GAUGE("watched_error", "1 when no certificate can be read there."), OF_WATCHED, .of_watched = watched_error},
    {GAUGE("watched_full", "1 when there are more than can be watched."), OF_AGENT, .of_agent = watched_full},
};

const struct metrics_row *metrics_row(size_t i)
{
    return i < ARRAY_SIZE(metrics) ? &metrics[i].row : NULL;
}

/* --- all of them --- */

static int64_t time_at(const void *object, size_t offset)
{
    return *(const int64_t *)(const void *)((const char *)object + offset);
}

static uint32_t count_at(const void *object, size_t offset)
{
    return *(const uint32_t *)(const void *)((const char *)object + offset);
}

static void write_record(struct writer *w, const struct metric *m, const struct record *record)
{
    if (m->kind == OF_RECORD)
        m->of_record(w, record);
    else if (m->kind == OF_RECORD_COUNT)
        named(w, record, count_at(record, m->offset));
    else if (m->kind == OF_RECORD_TIME || (record_has_certificate(record) && time_at(record, m->offset)))
        named(w, record, (double)time_at(record, m->offset));
}

static void write_server(struct writer *w, const struct metric *m, const struct server_state *server)
{
    const struct label label = {"server", server->name};

    if (m->kind == OF_SERVER)
        m->of_server(w, server);
    else
        sample(w, &label, 1,
            m->kind == OF_SERVER_COUNT ? count_at(server, m->offset) : (double)time_at(server, m->offset));
}

static void write_samples(struct writer *w, const struct metric *m)
{
    const struct agent *agent = w->agent;
    const struct watch_list *watched = monitor_watched(agent);

    switch (m->kind) {
    case OF_AGENT:
        m->of_agent(w);
        break;
    case OF_RECORD:
    case OF_RECORD_TIME:
    case OF_CERTIFICATE_TIME:
    case OF_RECORD_COUNT:
        for (size_t i = 0; i < agent->records.n; i++)
            write_record(w, m, agent->records.items[i]);
        break;
    case OF_SERVER:
    case OF_SERVER_TIME:
    case OF_SERVER_COUNT:
        for (size_t i = 0; i < agent->servers.n; i++)
            write_server(w, m, agent->servers.items[i]);
        break;
    case OF_WATCHED:
        for (size_t i = 0; i < watched->n; i++)
            m->of_watched(w, watched->items[i]);
        break;
    }
}

int metrics_write(const struct agent *agent, const char *config_hash, struct bytes *out, struct err **errp)
{
    struct writer w = {.agent = agent, .config_hash = config_hash, .out = out, .errp = errp};

    for (size_t i = 0; i < ARRAY_SIZE(metrics) && !w.failed; i++) {
        const struct metric *m = &metrics[i];

        if (bytes_printf(
                out, errp, "# HELP %s %s\n# TYPE %s %s\n", m->row.name, m->row.help, m->row.name, m->row.type) < 0)
            return -1;
        w.name = m->row.name;
        write_samples(&w, m);
    }
    return w.failed ? -1 : 0;
}

/* What was read is hashed with the names of the files: one that is renamed counts as a change. */
char *metrics_config_hash(const struct settings *settings)
{
    CLEANUP(bytes_clear) struct bytes all = {0};

    for (size_t i = 0; i < settings->files.n; i++) {
        CLEANUP(bytes_clear) struct bytes content = {0};

        (void)file_read(settings->files.items[i], MAX_CONFIG, &content, NULL);
        (void)bytes_printf(&all, NULL, "%s %zu\n", settings->files.items[i], content.len);
        (void)bytes_append(&all, content.data, content.len, NULL);
    }
    return digest_sha256_hex(bytes_text(&all), all.len);
}

int metrics_publish(const struct agent *agent, const char *config_hash, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", agent->paths.metrics, METRICS_FILE);
    CLEANUP(bytes_clear) struct bytes text = {.limit = MAX_METRICS};

    if (file_make_directory(agent->paths.metrics, 0755, errp) < 0 ||
        metrics_write(agent, config_hash, &text, errp) < 0 || file_replace(path, text.data, text.len, 0644, errp) < 0)
        return err_wrap(errp, "writing the metrics");
    return 0;
}

/* --- after each change --- */

struct metrics {
    struct agent *agent;
    char *config_hash; /* owned; as it was read */
    struct event *timer;
    int64_t written_at;
    bool failing; /* said so already */
};

static void publish(struct metrics *m)
{
    CLEANUP(err_freep) struct err *err = NULL;
    bool failed = metrics_publish(m->agent, m->config_hash, &err) < 0;

    m->written_at = m->agent->now;
    if (failed && !m->failing)
        agent_log_err(AGENT_LOG_ERROR, err);
    m->failing = failed;
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct metrics *m = ctx;

    (void)fd;
    (void)what;
    agent_tell_time(m->agent);
    publish(m);
}

static bool is_shown(enum agent_event event)
{
    return event != AGENT_TICK && event != AGENT_TASK_ADDED && event != AGENT_TASK_CHANGED &&
           event != AGENT_TASK_FINISHED && event != AGENT_TASK_REMOVED;
}

static void on_news(void *self, const struct agent_news *news)
{
    static const struct timeval wait = {
        .tv_sec = METRICS_INTERVAL_MS / 1000, .tv_usec = METRICS_INTERVAL_MS % 1000 * 1000};
    struct metrics *m = self;
    int64_t age = m->agent->now - m->written_at;

    if (!m->timer)
        return;
    if (news->event == AGENT_RELOADED) {
        free(m->config_hash);
        m->config_hash = metrics_config_hash(&m->agent->settings);
    }
    if (is_shown(news->event) && !evtimer_pending(m->timer, NULL))
        (void)evtimer_add(m->timer, &wait);
    if (news->event == AGENT_TICK && (age >= METRICS_LIMIT || age < 0) && !evtimer_pending(m->timer, NULL))
        publish(m);
}

struct metrics *metrics_open(struct agent *agent, struct err **errp)
{
    struct metrics *m = mem_alloc(sizeof(*m));

    *m = (struct metrics){.agent = agent, .config_hash = metrics_config_hash(&agent->settings)};
    m->timer = evtimer_new(agent->base, on_timer, m);
    if (!m->timer) {
        err_set(errp, ERR_INTERNAL, "making a timer");
        metrics_close(m);
        return NULL;
    }
    agent_listen(agent, on_news, m);
    publish(m);
    return m;
}

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    if (m->timer)
        event_free(m->timer);
    free(m->config_hash);
    free(m);
}
