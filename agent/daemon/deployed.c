#include "agent/daemon/deployed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/config/file.h"
#include "agent/config/settings_deploy.h"
#include "agent/daemon/inotify.h"
#include "agent/daemon/publish.h"
#include "agent/job/deploy_result.h"
#include "policy/schedule.h"

struct deployed {
    struct agent *agent;
    struct inotify *inotify;
    struct event *again; /* timer: the next try of what failed */
    int64_t asked_at;    /* when we last asked for a try */
    uint32_t unanswered; /* how often, since a result came */
};

/* --- what a record has to do with it --- */

static const struct settings_certificate *section_of(const struct agent *agent, const struct record *record)
{
    const struct settings_certificate *section = agent_section(agent, record);

    return section && settings_wants_deploy(section) ? section : NULL;
}

/* The last result is about the certificate that is held. */
static bool is_current(const struct record *record)
{
    const char *held = record->current.facts.thumbprint;

    return held && record->hook.thumbprint && strcmp(record->hook.thumbprint, held) == 0;
}

/* Its labels in the token are in place as well, which the worker moves last. */
static bool is_installed(const struct record *record)
{
    return record_has_certificate(record) && !record_is_under_way(record);
}

/* Nobody has told yet what came of it: a wake-up may be lost, or autoenroll-deploy may not be there. */
static bool waits(const struct agent *agent, const struct record *record)
{
    return section_of(agent, record) && is_installed(record) && !is_current(record);
}

/* The same for one certificate and try whenever it is asked, so that looking often does not mean trying often. */
static uint32_t chance_of(const struct record *record, uint32_t tries)
{
    CLEANUP(mem_freep) char *digits = mem_strndup(record->current.facts.thumbprint, 8);

    return (uint32_t)strtoul(digits, NULL, 16) ^ tries * 0x9e3779b1u;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When autoenroll-deploy is to be woken again because of @record; INT64_MAX: it need not. */
static int64_t next_try(const struct deployed *deployed, const struct record *record)
{
    bool failed = section_of(deployed->agent, record) && is_current(record) && !record->hook.ok;
    uint32_t tries = failed ? record->hook.tries : deployed->unanswered;
    struct schedule_failure failure = {.retry = true, .local = true, .failures = tries ? tries : 1};

    if (!failed && !waits(deployed->agent, record))
        return INT64_MAX;
    failure.not_before = record->current.facts.not_before;
    failure.not_after = record->current.facts.not_after;
    failure.now = later(failed ? record->hook.when : record->current.installed_at, deployed->asked_at);
    failure.chance = chance_of(record, failure.failures);
    return schedule_retry(&failure);
}

/* --- asking --- */

/* It is not our child: whoever starts it twice does not have to wait for it. */
static void start_program(const struct agent *agent)
{
    const struct agent_options *o = agent->options;
    const char *const argv[] = {
        o->deploy, "--config", o->config, "--state-dir", o->state_dir, "--results", agent->paths.deploy, NULL};
    pid_t pid;

    if (!o->deploy)
        return;
    pid = fork();
    if (pid == 0) {
        if (o->oneshot || fork() == 0) {
            (void)setsid();
            (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* ours says something else */
            (void)execv(o->deploy, (char *const *)(uintptr_t)argv);
            _exit(127);
        }
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, NULL, 0) < 0)
        agent_log(AGENT_LOG_ERROR, "starting %s: %m", o->deploy);
}

static void ask(struct deployed *deployed)
{
    struct agent *agent = deployed->agent;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *text = mem_printf("%" PRId64 "\n", agent->now);

    deployed->asked_at = agent->now;
    deployed->unanswered++;
    if (file_replace(agent->paths.changed, text, strlen(text), 0644, &err) < 0) {
        err_wrap(&err, "telling autoenroll-deploy of a change");
        agent_log_err(AGENT_LOG_ERROR, err);
    }
    start_program(agent);
}

static void set_timer(struct deployed *deployed)
{
    const struct agent *agent = deployed->agent;
    int64_t next = INT64_MAX, wait;
    struct timeval interval = {0};

    for (size_t i = 0; i < agent->records.n; i++) {
        int64_t one = next_try(deployed, agent->records.items[i]);

        next = one < next ? one : next;
    }
    (void)evtimer_del(deployed->again);
    if (next == INT64_MAX)
        return;
    wait = next - agent->now;
    interval.tv_sec = wait < 1 ? 1 : wait;
    (void)evtimer_add(deployed->again, &interval);
}

/* The clock may have been set meanwhile: it is looked at again, and the timer set anew where it is too early. */
static void on_again(evutil_socket_t fd, short what, void *ctx)
{
    struct deployed *deployed = ctx;
    struct agent *agent = deployed->agent;
    bool due = false;

    (void)fd;
    (void)what;
    agent_tell_time(agent);
    for (size_t i = 0; i < agent->records.n; i++)
        due |= next_try(deployed, agent->records.items[i]) <= agent->now;
    if (due)
        ask(deployed);
    set_timer(deployed);
}

/* --- reading --- */

static bool is_news(const struct record_outcome *known, const struct deploy_result *result)
{
    return !known->thumbprint || strcmp(known->thumbprint, result->thumbprint) != 0 || known->when != result->when ||
           known->ok != result->ok || known->tries != result->tries;
}

static void take_over(struct agent *agent, struct record *record, const struct deploy_result *result)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct record_outcome *hook = &record->hook;

    if (!is_news(hook, result))
        return;
    free(hook->thumbprint);
    free(hook->text);
    agent->deployed->unanswered = 0;
    *hook = (struct record_outcome){.thumbprint = mem_strdup(result->thumbprint),
        .when = result->when,
        .ok = result->ok,
        .text = deploy_result_text(result),
        .tries = result->tries};
    agent_log(hook->ok ? AGENT_LOG_NOTICE : AGENT_LOG_WARNING, "%s: after the change: %s", record->id, hook->text);
    if (agent_save_record(agent, record, &err) < 0)
        agent_log_err(AGENT_LOG_ERROR, err);
}

/* Without a certificate there is nothing that it could be about: what was published could not be read. */
static void complete(const struct record *record, struct deploy_result *result)
{
    if (!result->thumbprint)
        result->thumbprint = mem_strdup(record->current.facts.thumbprint);
}

static void read_one(struct agent *agent, struct record *record)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s.json", agent->paths.deploy, record->certificate);
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(deploy_result_clear) struct deploy_result result = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    int r = file_read(path, DEPLOY_RESULT_MAX_FILE, &text, &err);

    if (r == FILE_MISSING)
        return;
    if (r < 0 || deploy_result_read(&text, &result, &err) < 0) {
        err_wrap(&err, "reading %s", path);
        agent_log_err(AGENT_LOG_WARNING, err);
        return;
    }
    if (strcmp(result.name, record->certificate) != 0)
        return;
    complete(record, &result);
    take_over(agent, record, &result);
}

void deployed_check(struct agent *agent)
{
    struct deployed *deployed = agent->deployed;
    struct strlist directories = {.items = &agent->paths.deploy, .n = 1};

    if (!deployed)
        return;
    inotify_follow(deployed->inotify, &directories); /* it may not have been there before */
    for (size_t i = 0; i < agent->records.n; i++)
        if (section_of(agent, agent->records.items[i]) && record_has_certificate(agent->records.items[i]))
            read_one(agent, agent->records.items[i]);
    set_timer(deployed);
}

static void on_changed(void *ctx, const struct strlist *paths)
{
    struct deployed *deployed = ctx;

    (void)paths;
    agent_tell_time(deployed->agent);
    deployed_check(deployed->agent);
}

/* --- together --- */

/*
 * Lets services have the pair of @record, once it is in its place: the link is moved, which is what autoenroll-deploy
 * goes by, and remembers for us that it was woken. True: it must be woken.
 */
static bool let_go(const struct agent *agent, const struct record *record)
{
    CLEANUP(err_freep) struct err *err = NULL;
    int r;

    if (!section_of(agent, record) || !is_installed(record))
        return false;
    r = publish_installed(agent->paths.certs, record->id, record->current.generation, &err);
    if (r < 0)
        agent_log_err(AGENT_LOG_ERROR, err);
    return r == PUBLISH_MOVED;
}

static void let_all_go(struct deployed *deployed)
{
    const struct agent *agent = deployed->agent;
    bool any = false;

    for (size_t i = 0; i < agent->records.n; i++)
        any |= let_go(agent, agent->records.items[i]) || waits(agent, agent->records.items[i]);
    if (any)
        ask(deployed);
}

/* Listeners stay for as long as the agent; we may be closed before. */
static void on_news(void *self, const struct agent_news *news)
{
    struct agent *agent = self;

    if (!agent->deployed)
        return;
    switch (news->event) {
    case AGENT_RECORD_CHANGED:
        if (let_go(agent, news->record)) {
            ask(agent->deployed);
            set_timer(agent->deployed);
        }
        break;
    case AGENT_RELOADED:
        let_all_go(agent->deployed);
        ask(agent->deployed); /* what a section asks for may have changed */
        deployed_check(agent);
        break;
    case AGENT_TICK:
        deployed_check(agent);
        break;
    case AGENT_RENEWED: /* its attempt goes on */
    case AGENT_RECORD_ADDED:
    case AGENT_RECORD_REMOVED:
    case AGENT_FAILED:
    case AGENT_EXPIRING:
    case AGENT_SERVER_CHANGED:
    case AGENT_TASK_ADDED:
    case AGENT_TASK_CHANGED:
    case AGENT_TASK_FINISHED:
    case AGENT_TASK_REMOVED:
    case AGENT_WATCHED_ADDED:
    case AGENT_WATCHED_CHANGED:
    case AGENT_WATCHED_REMOVED:
    case AGENT_CHANGED:
        break;
    }
}

int deployed_open(struct agent *agent, struct err **errp)
{
    struct deployed *deployed = mem_alloc(sizeof(*deployed));

    *deployed = (struct deployed){.agent = agent};
    agent->deployed = deployed;
    deployed->inotify = inotify_open(agent->base, on_changed, deployed, errp);
    deployed->again = deployed->inotify ? evtimer_new(agent->base, on_again, deployed) : NULL;
    if (!deployed->again) {
        deployed_close(agent);
        return err_set(errp, ERR_INTERNAL, "a timer for what failed");
    }
    agent_listen(agent, on_news, agent);
    agent_tell_time(agent);
    deployed_check(agent);
    let_all_go(deployed);
    set_timer(deployed);
    return 0;
}

void deployed_close(struct agent *agent)
{
    struct deployed *deployed = agent->deployed;

    if (!deployed)
        return;
    agent->deployed = NULL;
    inotify_close(deployed->inotify);
    if (deployed->again)
        event_free(deployed->again);
    free(deployed);
}
