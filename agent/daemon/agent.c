#include "agent/daemon/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/file.h"
#include "agent/config/settings_deploy.h"
#include "agent/daemon/engine.h"
#include "agent/daemon/group.h"
#include "agent/daemon/retire.h"
#include "agent/job/job_fields.h"
#include "protocol/base/when.h"

static void set_paths(struct agent_paths *paths, const struct agent_options *options)
{
    CLEANUP(mem_freep) char *here = *options->state_dir == '/' ? NULL : getcwd(NULL, 0);
    CLEANUP(mem_freep)
    char *state = here ? mem_printf("%s/%s", here, options->state_dir) : mem_strdup(options->state_dir);

    paths->private = mem_printf("%s/private", state);
    paths->enrollments = mem_printf("%s/enrollments", paths->private);
    paths->policies = mem_printf("%s/policies", paths->private);
    paths->servers = mem_printf("%s/servers", paths->private);
    paths->instance = mem_printf("%s/instance.json", paths->private);
    paths->token = mem_printf("%s/token", state);
    paths->keys = mem_printf("%s/keys", paths->token);
    paths->public = mem_printf("%s/public", state);
    paths->certs = mem_printf("%s/certs", paths->public);
    paths->metrics = mem_printf("%s/metrics", paths->public);
    paths->changed = mem_printf("%s/changed", paths->public);
    paths->deploy = options->deploy_results ? mem_strdup(options->deploy_results) : settings_results(state);
}

/* --- users --- */

static int find_accounts(struct agent *agent, struct err **errp)
{
    const struct agent_options *options = agent->options;

    if (geteuid() != 0) {
        if (options->run_as || options->worker_as)
            return err_set(errp, ERR_USAGE, "--run-as and --worker-as are for root");
        return 0;
    }
    if (account_find(options->run_as ? options->run_as : "autoenroll", &agent->daemon_account, errp) < 0 ||
        account_find(options->worker_as ? options->worker_as : "autoenroll-worker", &agent->worker_account, errp) < 0)
        return -1;
    return 0;
}

static bool changes_user(const struct agent *agent)
{
    return agent->daemon_account.name != NULL;
}

/* With systemd we never were root: tmpfiles.d has made them, and into those of others, root's too, we may not look. */
static bool is_made(const char *path, mode_t mode)
{
    struct stat st;

    if (geteuid() == 0 || lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return false;
    return st.st_uid != geteuid() || (st.st_mode & 07777) == mode;
}

static int make_directory(const char *path, mode_t mode, const struct account *owner, struct err **errp)
{
    if (is_made(path, mode))
        return 0;
    if (file_make_directory(path, mode, errp) < 0)
        return -1;
    if (owner->name && lchown(path, owner->uid, owner->gid) < 0)
        return err_set(errp, ERR_STORE, "giving '%s' to user '%s': %m", path, owner->name);
    return 0;
}

/* Those that root has to give away. Below them it makes nothing: a path through them leads where their owner likes. */
static int make_directories(struct agent *agent, struct err **errp)
{
    static const struct account root = {0};
    const struct {
        const char *path;
        mode_t mode;
        const struct account *owner;
    } rows[] = {
        /* Root's: neither the daemon nor a worker can put another directory in the place of one of these. */
        {agent->options->state_dir, 0711, &root},
        {agent->paths.private, 0700, &agent->daemon_account},
        {agent->paths.token, 0700, &agent->worker_account},
        {agent->paths.public, 0755, &agent->daemon_account},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (make_directory(rows[i].path, rows[i].mode, rows[i].owner, errp) < 0)
            return -1;
    return 0;
}

static int make_own_directories(struct agent *agent, struct err **errp)
{
    const struct {
        const char *path;
        mode_t mode;
    } rows[] = {
        {agent->paths.enrollments, 0700},
        {agent->paths.policies, 0700},
        {agent->paths.servers, 0700},
        {agent->paths.certs, 0755},
        {agent->paths.metrics, 0755},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (file_make_directory(rows[i].path, rows[i].mode, errp) < 0)
            return -1;
    return 0;
}

/* --- one at a time --- */

static int take_lock(struct agent *agent, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/lock", agent->paths.private);

    agent->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (agent->lock < 0)
        return err_set(errp, ERR_STORE, "opening '%s': %m", path);
    if (flock(agent->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return err_set(errp, ERR_STORE, "locking '%s': %m", path);
    err_set(errp, ERR_BUSY, "another autoenrolld works in '%s'", agent->options->state_dir);
    return err_hint(errp, "wait until it has finished, or stop it");
}

/* --- who we are --- */

int agent_save_instance(struct agent *agent, struct err **errp)
{
    return instance_save(&agent->instance, agent->paths.instance, errp);
}

static const char *machine_id_file(const struct agent *agent)
{
    return agent->options->machine_id ? agent->options->machine_id : "/etc/machine-id";
}

static int know_ourselves(struct agent *agent, struct err **errp)
{
    struct instance *instance = &agent->instance;

    if (instance_load(instance, agent->paths.instance, errp) < 0)
        return -1;
    agent->sweep = !instance->clean;
    agent->cloned = instance_is_foreign(instance, &agent->machine);
    if (agent->cloned && agent->options->adopt)
        return agent_adopt(agent, errp);
    if (!agent->cloned)
        (void)instance_bind(instance, &agent->machine);
    agent_tell_time(agent);
    instance->clean = false;
    return agent_save_instance(agent, errp);
}

void agent_tell_time(struct agent *agent)
{
    struct instance_clock clock;

    agent->now = when_now();
    clock = instance_see(&agent->instance, agent->now);
    if (clock.back && !agent->clock_is_back)
        agent_log(AGENT_LOG_WARNING, "the clock is before the last time that was seen; nothing is retired until it is "
                                     "right (autoenroll adopt says that it is)");
    agent->clock_is_back = clock.back;
    agent->clock_is_unsure = clock.unsure;
}

int agent_adopt(struct agent *agent, struct err **errp)
{
    (void)instance_bind(&agent->instance, &agent->machine);
    agent->instance.last_seen = when_now();
    agent->cloned = false;
    agent_tell_time(agent);
    if (agent_save_instance(agent, errp) < 0)
        return -1;
    agent_log(AGENT_LOG_NOTICE, "adopted: this machine and its clock are right");
    for (size_t i = 0; i < agent->records.n; i++)
        agent_tell_record(agent, AGENT_RECORD_CHANGED, agent->records.items[i]);
    agent_tell(agent, &(struct agent_news){.event = AGENT_CHANGED});
    engine_wake(agent);
    return 0;
}

/* The keys are gone, and the records; what is left is who we were. */
static void forgotten(struct agent *agent, const struct err *failure)
{
    CLEANUP(err_freep) struct err *why = NULL;

    agent->resetting = false;
    if (failure) {
        why = err_new(err_kind(failure), err_text(failure), err_hint_text(failure), 0);
    } else if (instance_renew(&agent->instance, &why) == 0) {
        (void)instance_bind(&agent->instance, &agent->machine);
        agent->instance.last_seen = when_now();
        agent->cloned = false;
        agent->sweep = false;
        agent_tell_time(agent);
        (void)agent_save_instance(agent, &why);
    }
    if (why) {
        err_wrap(&why, "forgetting the state of another machine");
        engine_failed(agent, why);
    } else {
        agent_log(AGENT_LOG_NOTICE, "reset: everything is forgotten, and begins anew");
    }
    agent_tell(agent, &(struct agent_news){.event = AGENT_CHANGED});
    engine_wake(agent);
}

int agent_reset(struct agent *agent, struct err **errp)
{
    if (agent->resetting || engine_is_working(agent)) {
        err_set(errp, ERR_BUSY, "workers are at work");
        return err_hint(errp, "try again in a moment");
    }
    if (retire_everything(agent, forgotten, errp) < 0)
        return -1;
    agent->resetting = true;
    return 0;
}

/* --- what is told to others --- */

void agent_listen(struct agent *agent, agent_listener *call, void *self)
{
    struct agent_hearer *hearer = MEM_APPEND(agent->listeners, agent->n_listeners);

    *hearer = (struct agent_hearer){call, self};
}

void agent_unlisten(struct agent *agent, const void *self)
{
    size_t kept = 0;

    for (size_t i = 0; i < agent->n_listeners; i++)
        if (agent->listeners[i].self != self)
            agent->listeners[kept++] = agent->listeners[i];
    agent->n_listeners = kept;
}

void agent_tell(struct agent *agent, const struct agent_news *news)
{
    for (size_t i = 0; i < agent->n_listeners; i++)
        agent->listeners[i].call(agent->listeners[i].self, news);
}

void agent_tell_record(struct agent *agent, enum agent_event event, struct record *record)
{
    agent_tell(agent, &(struct agent_news){.event = event, .record = record});
}

void agent_tell_server(struct agent *agent, struct server_state *server)
{
    agent_tell(agent, &(struct agent_news){.event = AGENT_SERVER_CHANGED, .server = server});
}

int agent_save_record(struct agent *agent, struct record *record, struct err **errp)
{
    if (record_save(agent->paths.enrollments, record, errp) < 0)
        return -1;
    agent_tell_record(agent, AGENT_RECORD_CHANGED, record);
    return 0;
}

enum record_state agent_state_of(const struct agent *agent, const struct record *record)
{
    if (agent->cloned)
        return RECORD_CLONED;
    if (record->names_differ && record->state == RECORD_INSTALLED)
        return RECORD_NAMES_DIFFER;
    return (enum record_state)record->state;
}

const char *agent_state(const struct agent *agent)
{
    if (agent->cloned)
        return "cloned";
    if (agent->clock_is_back || agent->clock_is_unsure)
        return "clock";
    for (size_t i = 0; i < agent->servers.n; i++)
        if (agent->servers.items[i]->error)
            return "degraded";
    for (size_t i = 0; i < agent->records.n; i++)
        if (agent->records.items[i]->error || agent->records.items[i]->verify_problem)
            return "degraded";
    return agent->problems.n ? "degraded" : "ok";
}

/* --- together --- */

static int make_groups(struct agent *agent)
{
    agent->groups = mem_alloc(sizeof(*agent->groups));
    group_list_make(&agent->settings, agent->groups);
    return 0;
}

static void free_groups(struct agent *agent)
{
    if (agent->groups)
        group_list_clear(agent->groups);
    free(TAKE(agent->groups));
}

int agent_open(struct agent *agent, const struct agent_options *options, struct err **errp)
{
    const struct children_place place = {.program = options->worker, .socket = options->worker_socket};
    struct children_place as = place;

    *agent = (struct agent){.options = options, .lock = -1, .now = when_now()};
    agent_log_use(!options->oneshot ? AGENT_LOG_DAEMON : options->json ? AGENT_LOG_QUIET : AGENT_LOG_ONESHOT);
    set_paths(&agent->paths, options);
    if (settings_load(options->config, &agent->settings, errp) < 0 || find_accounts(agent, errp) < 0 ||
        make_directories(agent, errp) < 0)
        return -1;
    machine_identity_read(machine_id_file(agent), options->runtime_dir, &agent->machine); /* as root, if ever */
    as.as = changes_user(agent) ? &agent->worker_account : NULL;
    if (children_open(&as, &agent->children, errp) < 0)
        return -1;
    if (changes_user(agent) && account_become(&agent->daemon_account, errp) < 0)
        return -1;
    if (make_own_directories(agent, errp) < 0 || take_lock(agent, errp) < 0 || know_ourselves(agent, errp) < 0 ||
        record_load_all(agent->paths.enrollments, &agent->records, &agent->problems, errp) < 0)
        return -1;
    agent->base = event_base_new();
    if (!agent->base)
        return err_set(errp, ERR_INTERNAL, "making an event loop");
    server_list_load(&agent->servers, agent->paths.servers, &agent->settings);
    make_groups(agent);
    return children_attach(agent->children, agent->base, errp);
}

int agent_reload(struct agent *agent, struct err **errp)
{
    struct settings fresh = {0};
    struct settings before = agent->settings;

    if (settings_load(agent->options->config, &fresh, errp) < 0)
        return err_wrap(errp, "reading the configuration anew; the one before stays in force");
    free_groups(agent);
    agent->settings = fresh;
    settings_clear(&before);
    server_list_follow(&agent->servers, agent->paths.servers, &agent->settings);
    make_groups(agent);
    for (size_t i = 0; i < agent->groups->n; i++)
        group_merge(agent, &agent->groups->items[i]);
    agent_log(AGENT_LOG_NOTICE, "the configuration was read anew");
    agent_tell(agent, &(struct agent_news){.event = AGENT_RELOADED});
    engine_wake(agent);
    return 0;
}

void agent_close(struct agent *agent)
{
    struct agent_paths *p = &agent->paths;
    char *all[] = {p->private, p->enrollments, p->policies, p->servers, p->instance, p->token, p->keys, p->public,
        p->certs, p->metrics, p->changed, p->deploy};

    engine_stop(agent);
    children_close(agent->children);
    free_groups(agent);
    record_list_clear(&agent->records);
    server_list_clear(&agent->servers);
    task_list_clear(&agent->tasks);
    strlist_clear(&agent->problems);
    job_token_list_clear(&agent->tokens);
    settings_clear(&agent->settings);
    instance_clear(&agent->instance);
    machine_identity_clear(&agent->machine);
    account_clear(&agent->daemon_account);
    account_clear(&agent->worker_account);
    free(agent->listeners);
    if (agent->base)
        event_base_free(agent->base);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        free(all[i]);
    if (agent->lock >= 0)
        (void)close(agent->lock);
    *agent = (struct agent){.lock = -1};
}

const struct settings_certificate *agent_section(const struct agent *agent, const struct record *record)
{
    const struct settings *settings = &agent->settings;

    for (size_t i = 0; i < settings->n_certificates && record->certificate; i++)
        if (strcmp(settings->certificates[i].name, record->certificate) == 0)
            return &settings->certificates[i];
    return NULL;
}

void agent_names(const struct settings_certificate *section, struct job_names *out)
{
    out->subject = mem_strdup_opt(section->subject);
    strlist_copy(&out->dns, &section->dns);
    strlist_copy(&out->ip, &section->ip);
    strlist_copy(&out->uri, &section->uri);
    strlist_copy(&out->email, &section->email);
    strlist_copy(&out->upn, &section->upn);
}

void agent_place(const struct agent *agent, struct job_place *out)
{
    const struct settings_agent *s = &agent->settings.agent;

    *out = (struct job_place){.token_uri = mem_strdup_opt(s->token),
        .module = mem_strdup_opt(s->pkcs11_module),
        .token_dir = mem_strdup(agent->paths.token),
        .key_dir = mem_strdup(agent->paths.keys),
        .pin_credential = mem_strdup_opt(s->pin_credential)};
    bytes_copy(&out->tag, &agent->instance.tag);
}
