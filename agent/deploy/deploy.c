#include "agent/deploy/deploy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/file.h"
#include "agent/deploy/beneath.h"
#include "agent/deploy/orders.h"
#include "agent/deploy/trust.h"
#include "protocol/base/printable.h"

#define MAX_CA_FILE (1u << 20)
#define SHOWN       (DEPLOY_RESULT_MAX_TEXT / 4 - 1) /* characters that fit whatever they are */

struct pass {
    const struct deploy_options *options;
    const struct settings *settings;
    struct deploy_report *report;
};

/* --- the directory of results --- */

static int open_results(const char *path, int *lock, struct err **errp)
{
    CLEANUP(mem_freep) char *file = mem_printf("%s/.lock", path);

    if (file_make_directory(path, 0755, errp) < 0 || trust_path(path, errp) < 0)
        return err_wrap(errp, "the directory of results");
    *lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    while (*lock >= 0 && flock(*lock, LOCK_EX) < 0)
        if (errno != EINTR)
            return err_set(errp, ERR_STORE, "locking '%s': %m", file);
    return *lock < 0 ? err_set(errp, ERR_STORE, "opening '%s': %m", file) : 0;
}

static char *result_path(const struct deploy_options *options, const char *name)
{
    return mem_printf("%s/%s.json", options->results, name);
}

/* One that cannot be read is as good as none: it is made anew. */
static void load_result(const struct deploy_options *options, const char *name, struct deploy_result *out)
{
    CLEANUP(mem_freep) char *path = result_path(options, name);
    CLEANUP(bytes_clear) struct bytes text = {0};

    *out = (struct deploy_result){0};
    if (file_read(path, DEPLOY_RESULT_MAX_FILE, &text, NULL) == FILE_READ)
        (void)deploy_result_read(&text, out, NULL);
}

static int save_result(const struct deploy_options *options, const struct deploy_result *result, struct err **errp)
{
    CLEANUP(mem_freep) char *path = result_path(options, result->name);
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (deploy_result_write(result, &text, errp) < 0 || file_replace(path, text.data, text.len, 0644, errp) < 0)
        return err_wrap(errp, "keeping the result for '%s'", result->name);
    return 0;
}

static const struct settings_certificate *find_section(const struct settings *settings, const char *name, size_t len)
{
    for (size_t i = 0; i < settings->n_certificates; i++) {
        const struct settings_certificate *c = &settings->certificates[i];

        if (strlen(c->name) == len && memcmp(c->name, name, len) == 0 && settings_wants_deploy(c))
            return c;
    }
    return NULL;
}

/* Results of sections that are gone, or ask for nothing any more. */
static void forget_others(const struct pass *pass)
{
    DIR *entries = opendir(pass->options->results);
    const struct dirent *entry;

    while (entries && (entry = readdir(entries))) {
        size_t len = strlen(entry->d_name);

        if (entry->d_name[0] != '.' && len > strlen(".json") &&
            strcmp(entry->d_name + len - strlen(".json"), ".json") == 0 &&
            !find_section(pass->settings, entry->d_name, len - strlen(".json")))
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    }
    if (entries)
        (void)closedir(entries);
}

/* --- one section --- */

static int load_anchors(
    const struct pass *pass, const struct settings_certificate *section, struct cert_list *out, struct err **errp)
{
    const struct settings_server *server = settings_find_server(pass->settings, section->policy_server);
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (trust_path(server->ca_file, errp) < 0)
        return err_wrap(errp, "ca-file of [policy-server \"%s\"]", server->name);
    if (file_read(server->ca_file, MAX_CA_FILE, &text, errp) < 0 ||
        cert_list_from_pem(bytes_text(&text), text.len, out, errp) < 0)
        return err_wrap(errp, "reading %s", server->ca_file);
    return 0;
}

static int read_published(
    const struct pass *pass, const struct settings_certificate *section, struct source *out, struct err **errp)
{
    CLEANUP(cert_list_clear) struct cert_list anchors = {0};
    struct source_question question = {
        .state_dir = pass->options->state_dir, .name = section->name, .anchors = &anchors, .now = pass->options->now};

    if (load_anchors(pass, section, &anchors, errp) < 0)
        return -1;
    return source_read(&question, out, errp);
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static bool is_done(const struct deploy_result *last, const struct source *source, const char *orders)
{
    return last->ok && same(last->thumbprint, source->cert->sha256) && same(last->orders, orders);
}

static char *bounded(const char *text)
{
    return text ? printable(text, strlen(text), SHOWN) : NULL;
}

static void fill_failure(struct deploy_result *result, const struct err *why)
{
    result->error = bounded(err_text(why));
    result->hint = bounded(err_hint_text(why));
}

static bool may_skip(
    const struct pass *pass, const struct deploy_result *last, const struct source *source, const char *orders)
{
    return !pass->options->once && is_done(last, source, orders);
}

static int not_there(const char *name, struct err **errp)
{
    err_set(errp, ERR_MISSING, "there is no certificate for '%s' yet", name);
    return err_hint(errp, "'autoenroll explain %s' says what it waits for", name);
}

static int do_section(const struct pass *pass, const struct settings_certificate *section, struct err **errp)
{
    CLEANUP(source_clear) struct source source = {0};
    CLEANUP(deploy_result_clear) struct deploy_result last = {0};
    CLEANUP(mem_freep) char *hash = orders_hash(section);
    const struct orders orders = {
        .section = section, .systemctl = pass->options->systemctl, .limit = pass->settings->agent.hook_limit};
    CLEANUP(err_freep) struct err *why = NULL;
    struct deploy_result *result;
    int r = read_published(pass, section, &source, &why);

    load_result(pass->options, section->name, &last);
    if (r == SOURCE_NONE)
        return pass->options->once ? not_there(section->name, errp) : 0;
    if (r == SOURCE_READ && may_skip(pass, &last, &source, hash))
        return 0;
    result = MEM_APPEND(pass->report->items, pass->report->n);
    *result = (struct deploy_result){.version = DEPLOY_RESULT_VERSION,
        .name = mem_strdup(section->name),
        .thumbprint = source.cert ? mem_strdup(source.cert->sha256) : NULL,
        .generation = source.generation,
        .orders = TAKE(hash),
        .when = pass->options->now};
    /* Where what is published cannot be read there is no thumbprint, and it counts as tried all the same. */
    result->tries = same(result->thumbprint, last.thumbprint) || !result->thumbprint ? last.tries + 1 : 1;
    if (r == SOURCE_READ)
        r = orders_carry_out(&orders, &source, result, &why);
    result->ok = r >= 0;
    if (r < 0)
        fill_failure(result, why);
    if (save_result(pass->options, result, errp) < 0)
        return -1;
    if (r < 0 && errp && !*errp)
        *errp = TAKE(why);
    return r < 0 ? err_wrap(errp, "'%s'", section->name) : 0;
}

/* --- all --- */

static int do_all(const struct pass *pass, struct err **errp)
{
    const struct settings *settings = pass->settings;
    const char *once = pass->options->once;
    int r = 0;

    if (once && !find_section(settings, once, strlen(once))) {
        err_set(errp, ERR_MISSING, "no [certificate] section with export, reload or run has the name '%s'", once);
        return err_hint(errp, "see 'autoenrolld --check' for the sections that there are");
    }
    for (size_t i = 0; i < settings->n_certificates; i++) {
        const struct settings_certificate *section = &settings->certificates[i];
        CLEANUP(err_freep) struct err *why = NULL;

        if (!settings_wants_deploy(section) || (once && strcmp(once, section->name) != 0))
            continue;
        if (do_section(pass, section, &why) < 0) {
            r = -1;
            if (errp && !*errp)
                *errp = TAKE(why);
        }
    }
    forget_others(pass);
    return r;
}

int deploy_pass(const struct deploy_options *options, struct deploy_report *report, struct err **errp)
{
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(beneath_close) int lock = -1;
    const struct pass pass = {.options = options, .settings = &settings, .report = report};

    if (settings_load(options->config, &settings, errp) < 0 || trust_settings(&settings, errp) < 0 ||
        open_results(options->results, &lock, errp) < 0)
        return -1;
    return do_all(&pass, errp);
}
