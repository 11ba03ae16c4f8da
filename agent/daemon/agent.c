#include "agent/daemon/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/file.h"
#include "agent/job/fields.h"
#include "protocol/base/when.h"

#define INSTANCE_VERSION 1
#define INSTANCE_MAX     4096
#define TAG_LEN          4
#define CLOCK_TOLERANCE  300 /* seconds that a clock may be set back without being wrong */

LOCAL_FIELDS(instance_fields, instance, FIELD_U32(instance, version), FIELD_BYTES_REQ(instance, tag, TAG_LEN),
    FIELD_TIME(instance, last_seen), FIELD_BOOL(instance, clean));

static void set_paths(struct agent_paths *paths, const char *state)
{
    paths->private = mem_printf("%s/private", state);
    paths->enrollments = mem_printf("%s/enrollments", paths->private);
    paths->policies = mem_printf("%s/policies", paths->private);
    paths->token = mem_printf("%s/token", state);
    paths->keys = mem_printf("%s/keys", paths->token);
    paths->public = mem_printf("%s/public", state);
    paths->certs = mem_printf("%s/certs", paths->public);
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

static int make_directory(const char *path, mode_t mode, const struct account *owner, struct err **errp)
{
    if (file_make_directory(path, mode, errp) < 0)
        return -1;
    if (owner->name && lchown(path, owner->uid, owner->gid) < 0)
        return err_set(errp, ERR_STORE, "giving '%s' to user '%s': %m", path, owner->name);
    return 0;
}

/* Those that root has to give away. Below them it makes nothing: a path through them leads where their owner likes. */
static int make_directories(struct agent *agent, struct err **errp)
{
    const struct {
        const char *path;
        mode_t mode;
        const struct account *owner;
    } rows[] = {
        {agent->options->state_dir, 0711, &agent->daemon_account},
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
    if (file_make_directory(agent->paths.enrollments, 0700, errp) < 0 ||
        file_make_directory(agent->paths.policies, 0700, errp) < 0)
        return -1;
    return file_make_directory(agent->paths.certs, 0755, errp);
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
    CLEANUP(mem_freep) char *path = mem_printf("%s/instance.json", agent->paths.private);
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (fields_write(&instance_fields, &agent->instance, true, &text, errp) < 0)
        return -1;
    return file_replace(path, text.data, text.len, 0600, errp);
}

static int load_instance(struct agent *agent, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/instance.json", agent->paths.private);
    CLEANUP(bytes_clear) struct bytes text = {0};
    struct instance *instance = &agent->instance;
    uint8_t tag[TAG_LEN];
    int outcome = file_read(path, INSTANCE_MAX, &text, errp);

    if (outcome < 0)
        return -1;
    if (outcome == FILE_MISSING) {
        if (getrandom(tag, sizeof(tag), 0) != (ssize_t)sizeof(tag))
            return err_set(errp, ERR_INTERNAL, "no random bytes: %m");
        instance->version = INSTANCE_VERSION;
        instance->clean = true;
        bytes_set(&instance->tag, tag, sizeof(tag));
    } else if (fields_read(&instance_fields, text.data, text.len, instance, errp) < 0) {
        err_wrap(errp, "reading '%s'", path);
        return err_hint(errp, "it says which keys in the token are ours; restore it from a backup of the state "
                              "directory");
    }
    agent->clock_is_back = agent->now < instance->last_seen - CLOCK_TOLERANCE;
    agent->sweep = !instance->clean;
    if (agent->now > instance->last_seen)
        instance->last_seen = agent->now;
    instance->clean = false;
    return agent_save_instance(agent, errp);
}

/* --- together --- */

int agent_open(struct agent *agent, const struct agent_options *options, struct err **errp)
{
    *agent = (struct agent){.options = options, .lock = -1, .now = when_now()};
    set_paths(&agent->paths, options->state_dir);
    if (settings_load(options->config, &agent->settings, errp) < 0 || find_accounts(agent, errp) < 0 ||
        make_directories(agent, errp) < 0)
        return -1;
    if (children_open(options->worker, changes_user(agent) ? &agent->worker_account : NULL, &agent->children, errp) < 0)
        return -1;
    if (changes_user(agent) && account_become(&agent->daemon_account, errp) < 0)
        return -1;
    if (make_own_directories(agent, errp) < 0 || take_lock(agent, errp) < 0 || load_instance(agent, errp) < 0)
        return -1;
    return record_load_all(agent->paths.enrollments, &agent->records, &agent->problems, errp);
}

void agent_close(struct agent *agent)
{
    struct agent_paths *p = &agent->paths;
    char *all[] = {p->private, p->enrollments, p->policies, p->token, p->keys, p->public, p->certs};

    children_close(agent->children);
    record_list_clear(&agent->records);
    strlist_clear(&agent->problems);
    settings_clear(&agent->settings);
    fields_clear(&instance_fields, &agent->instance);
    account_clear(&agent->daemon_account);
    account_clear(&agent->worker_account);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        free(all[i]);
    if (agent->lock >= 0)
        (void)close(agent->lock);
    *agent = (struct agent){.lock = -1};
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

int agent_save_record(struct agent *agent, const struct record *record, struct err **errp)
{
    return record_save(agent->paths.enrollments, record, errp);
}
