#include "agent/config/settings.h"

#include <ctype.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/config/file.h"
#include "agent/config/inifile.h"
#include "agent/config/settings_deploy.h"
#include "policy/policy.h"
#include "policy/schedule.h"
#include "protocol/base/when.h"

#define MAX_NAME 64 /* of a section: it becomes part of paths and labels */

/* --- the table --- */

enum value_type { VALUE_TEXT, VALUE_LIST, VALUE_SPAN, VALUE_BOOL, VALUE_NUMBER, VALUE_AUTH, VALUE_KEY };

struct key_row {
    const char *key;
    enum value_type type;
    size_t offset;
    bool required;
    const char *fallback; /* the default, as one would write it; NULL: nothing */
};

#define AGENT(key, type, member, fallback)                                                                             \
    {                                                                                                                  \
        key, VALUE_##type, offsetof(struct settings_agent, member), false, fallback                                    \
    }
#define SERVER(key, type, member, need, fallback)                                                                      \
    {                                                                                                                  \
        key, VALUE_##type, offsetof(struct settings_server, member), need, fallback                                    \
    }
#define CERTIFICATE(key, type, member, need, fallback)                                                                 \
    {                                                                                                                  \
        key, VALUE_##type, offsetof(struct settings_certificate, member), need, fallback                               \
    }

static const struct key_row agent_keys[] = {
    AGENT("token", TEXT, token, NULL),
    AGENT("pkcs11-module", TEXT, pkcs11_module, NULL),
    AGENT("pin-credential", TEXT, pin_credential, NULL),
    AGENT("pulse", SPAN, pulse, "8h"),
    AGENT("grace", SPAN, grace, "7d"),
    AGENT("job-limit", SPAN, job_limit, "2m"),
    AGENT("workers", NUMBER, workers, "4"),
    AGENT("hook-limit", SPAN, hook_limit, "60s"),
    AGENT("notify", LIST, notify, "30d 14d 7d 3d 1d"),
    AGENT("maintenance", TEXT, maintenance, NULL),
};
static const struct key_row server_keys[] = {
    SERVER("uri", TEXT, uri, true, NULL),
    SERVER("auth", AUTH, auth, true, NULL),
    SERVER("username", TEXT, username, false, NULL),
    SERVER("ca-file", TEXT, ca_file, false, NULL),
    SERVER("policy-id", TEXT, policy_id, false, NULL),
    SERVER("ces-hosts", LIST, ces_hosts, false, NULL),
    SERVER("autoenroll", BOOL, autoenroll, false, "no"),
    SERVER("templates", LIST, templates, false, NULL),
    SERVER("cost", NUMBER, cost, false, "2147483645"),
    SERVER("password-fallback", BOOL, password_fallback, false, "no"),
};
static const struct key_row certificate_keys[] = {
    CERTIFICATE("policy-server", TEXT, policy_server, true, NULL),
    CERTIFICATE("template", TEXT, template_name, true, NULL),
    CERTIFICATE("subject", TEXT, subject, false, NULL),
    CERTIFICATE("dns", LIST, dns, false, NULL),
    CERTIFICATE("ip", LIST, ip, false, NULL),
    CERTIFICATE("uri", LIST, uri, false, NULL),
    CERTIFICATE("email", LIST, email, false, NULL),
    CERTIFICATE("upn", LIST, upn, false, NULL),
    CERTIFICATE("key", KEY, file_key, false, "token"),
    CERTIFICATE("export", TEXT, export, false, NULL),
    CERTIFICATE("format", TEXT, format, false, "pem"),
    CERTIFICATE("owner", TEXT, owner, false, NULL),
    CERTIFICATE("group", TEXT, group, false, NULL),
    CERTIFICATE("mode", TEXT, mode, false, NULL),
    CERTIFICATE("p12-password-file", TEXT, p12_password_file, false, NULL),
    CERTIFICATE("reload", LIST, reload, false, NULL),
    CERTIFICATE("run", TEXT, run, false, NULL),
    CERTIFICATE("run-as", TEXT, run_as, false, NULL),
    CERTIFICATE("probe", TEXT, probe, false, NULL),
};
static const struct key_row watch_keys[] = {
    {"files", VALUE_LIST, offsetof(struct settings_watch, files), true, NULL},
};

struct section_row {
    const char *kind;
    const struct key_row *keys;
    size_t n_keys;
    bool named;
    size_t size;  /* of the struct of a named section */
    size_t items; /* offset of the array in struct settings; of the struct itself where not named */
    size_t count; /* offset of its count */
};
#define NAMED(kind, keys, tag, member)                                                                                 \
    {                                                                                                                  \
        kind, keys, ARRAY_SIZE(keys), true, sizeof(struct tag), offsetof(struct settings, member),                     \
            offsetof(struct settings, n_##member)                                                                      \
    }

static const struct section_row sections[] = {
    {"agent", agent_keys, ARRAY_SIZE(agent_keys), false, 0, offsetof(struct settings, agent), 0},
    NAMED("policy-server", server_keys, settings_server, servers),
    NAMED("certificate", certificate_keys, settings_certificate, certificates),
    NAMED("watch", watch_keys, settings_watch, watches),
};

/* --- the nearest word, for mistakes of the finger --- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters must be changed, left out or put in; texts longer than MAX_NAME are far from everything. */
static size_t distance(const char *a, const char *b)
{
    size_t row[MAX_NAME + 1], n = strlen(a), m = strlen(b);

    if (n > MAX_NAME || m > MAX_NAME)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j];

            row[j] = least(least(above, row[j - 1]) + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

static void consider(const char *word, const char *candidate, const char **nearest, size_t *best)
{
    size_t d = distance(word, candidate);

    if (d < *best) {
        *best = d;
        *nearest = candidate;
    }
}

static int unknown_key(const struct section_row *section, const char *key, struct err **errp)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < section->n_keys; i++)
        consider(key, section->keys[i].key, &nearest, &best);
    err_set(errp, ERR_CONFIG, "unknown key '%s' in [%s]", key, section->kind);
    return nearest ? err_hint(errp, "did you mean '%s'?", nearest) : -1;
}

static int unknown_section(const char *kind, struct err **errp)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
        consider(kind, sections[i].kind, &nearest, &best);
    err_set(errp, ERR_CONFIG, "unknown section [%s]", kind);
    return nearest ? err_hint(errp, "did you mean [%s]?", nearest) : -1;
}

/* --- values --- */

struct reading {
    struct settings *settings;
    struct strlist seen; /* "KIND NAME KEY" of this file: twice in one file is a mistake */
};

static int parse_bool(const char *text, bool *value, struct err **errp)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *value = strcasecmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return err_set(errp, ERR_CONFIG, "'%s' is neither yes nor no", text);
}

static int parse_number(const char *text, uint32_t *value, struct err **errp)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (!isdigit((unsigned char)*text) || *end || n > UINT32_MAX)
        return err_set(errp, ERR_CONFIG, "'%s' is not a number from 0 to %" PRIu32, text, UINT32_MAX);
    *value = (uint32_t)n;
    return 0;
}

static void parse_list(const char *text, struct strlist *list)
{
    static const char separators[] = " \t,";

    while (*(text += strspn(text, separators))) {
        size_t len = strcspn(text, separators);
        CLEANUP(mem_freep) char *item = mem_strndup(text, len);

        strlist_add(list, item);
        text += len;
    }
}

static int parse_auth(const char *text, uint32_t *auth, struct err **errp)
{
    if (policy_auth_parse(text, auth))
        return 0;
    err_set(errp, ERR_CONFIG, "'%s' is no kind of authentication", text);
    return err_hint(errp, "write username, certificate, kerberos or anonymous");
}

static int parse_key_place(const char *text, bool *file, struct err **errp)
{
    if (strcmp(text, "token") != 0 && strcmp(text, "file") != 0)
        return err_set(errp, ERR_CONFIG, "key is 'token' or 'file', not '%s'", text);
    *file = strcmp(text, "file") == 0;
    return 0;
}

static int parse_value(const struct key_row *row, const char *text, void *object, struct err **errp)
{
    void *at = (char *)object + row->offset;

    if (!*text) {
        err_set(errp, ERR_CONFIG, "there is no value");
        return err_hint(errp, "leave the whole line out to get the default");
    }
    switch (row->type) {
    case VALUE_TEXT:
        free(*(char **)at);
        *(char **)at = mem_strdup(text);
        return 0;
    case VALUE_LIST:
        strlist_clear(at);
        parse_list(text, at);
        return 0;
    case VALUE_SPAN:
        return when_parse_span(text, at, errp);
    case VALUE_BOOL:
        return parse_bool(text, at, errp);
    case VALUE_NUMBER:
        return parse_number(text, at, errp);
    case VALUE_AUTH:
        return parse_auth(text, at, errp);
    case VALUE_KEY:
        return parse_key_place(text, at, errp);
    }
    return err_set(errp, ERR_INTERNAL, "a key of no type");
}

static void set_defaults(const struct section_row *section, void *object)
{
    for (size_t i = 0; i < section->n_keys; i++)
        if (section->keys[i].fallback)
            (void)parse_value(&section->keys[i], section->keys[i].fallback, object, NULL);
}

/* --- sections --- */

static void **items_of(const struct section_row *section, struct settings *settings, size_t **n)
{
    *n = (size_t *)((char *)settings + section->count);
    return (void **)((char *)settings + section->items);
}

/* A local name: it becomes a directory and a label. */
static bool good_name(const char *name, size_t len)
{
    if (len == 0 || len > MAX_NAME || !isalnum((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("_-", name[i]))
            return false;
    return true;
}

/* The struct of the section with that name, a new one where there is none. Each begins with its name. */
static int find_named(
    const struct section_row *section, const char *name, const struct reading *r, void **object, struct err **errp)
{
    size_t *n;
    void **items = items_of(section, r->settings, &n);

    for (size_t i = 0; i < *n; i++) {
        *object = (char *)*items + i * section->size;
        if (strcmp(*(char **)*object, name) == 0)
            return 0;
    }
    if (*n == SETTINGS_MAX_SECTIONS)
        return err_set(errp, ERR_CONFIG, "more than %d sections [%s]", SETTINGS_MAX_SECTIONS, section->kind);
    *items = mem_realloc(*items, *n + 1, section->size);
    *object = memset((char *)*items + (*n)++ * section->size, 0, section->size);
    *(char **)*object = mem_strdup(name);
    set_defaults(section, *object);
    return 0;
}

/* "policy-server "corp"" -> its row and the struct it fills. */
static int find_section(
    const char *text, const struct reading *r, const struct section_row **row, void **object, struct err **errp)
{
    size_t len = strcspn(text, " \t\"");
    CLEANUP(mem_freep) char *kind = mem_strndup(text, len);
    CLEANUP(mem_freep) char *name = NULL;
    const char *open = text + len + strspn(text + len, " \t"), *close;

    for (*row = sections; *row < sections + ARRAY_SIZE(sections); (*row)++)
        if (strcmp((*row)->kind, kind) == 0)
            break;
    if (*row == sections + ARRAY_SIZE(sections))
        return unknown_section(kind, errp);
    if (!(*row)->named) {
        *object = (char *)r->settings + (*row)->items;
        return *open ? err_set(errp, ERR_CONFIG, "[%s] takes no name", kind) : 0;
    }
    close = *open == '"' ? strchr(open + 1, '"') : NULL;
    if (!close || close[1] || !good_name(open + 1, (size_t)(close - open - 1))) {
        err_set(errp, ERR_CONFIG, "[%s] is not a section with a name", text);
        return err_hint(errp, "write [%s \"NAME\"], the name of letters, digits, _ and -, at most %d", kind, MAX_NAME);
    }
    name = mem_strndup(open + 1, (size_t)(close - open - 1));
    return find_named(*row, name, r, object, errp);
}

static int on_value(void *arg, const char *section_text, const char *key, const char *text, struct err **errp)
{
    struct reading *r = arg;
    CLEANUP(mem_freep) char *where = NULL;
    const struct section_row *section;
    void *object;

    if (find_section(section_text, r, &section, &object, errp) < 0)
        return -1;
    where = mem_printf("%s %s %s", section->kind, section->named ? *(char **)object : "", key);
    if (strlist_has(&r->seen, where))
        return err_set(errp, ERR_CONFIG, "'%s' is given twice in [%s]", key, section_text);
    strlist_add(&r->seen, where);
    for (size_t i = 0; i < section->n_keys; i++) {
        if (strcmp(section->keys[i].key, key) != 0)
            continue;
        if (parse_value(&section->keys[i], text, object, errp) < 0)
            return err_wrap(errp, "%s", key);
        return 0;
    }
    return unknown_key(section, key, errp);
}

static int on_section(void *arg, const char *text, struct err **errp)
{
    const struct section_row *section;
    void *object;

    return find_section(text, arg, &section, &object, errp);
}

/* --- files --- */

static int read_file(const char *path, struct settings *settings, struct err **errp)
{
    static const struct inifile_reader reader = {on_section, on_value};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *why = NULL;
    struct reading r = {.settings = settings};
    int result, outcome = file_read(path, SETTINGS_MAX_FILE, &text, &why);

    if (outcome == FILE_MISSING) {
        err_set(errp, ERR_MISSING, "there is no configuration file '%s'", path);
        return err_hint(errp, "write one with a [policy-server \"NAME\"] section, or name another with --config");
    }
    if (outcome < 0) {
        err_set(errp, ERR_CONFIG, "%s", err_text(why));
        return err_hint_text(why) ? err_hint(errp, "%s", err_hint_text(why)) : -1;
    }
    result = inifile_read(&text, path, &reader, &r, errp);
    strlist_clear(&r.seen);
    if (result == 0)
        strlist_add(&settings->files, path);
    return result;
}

static void globfreep(glob_t *found)
{
    globfree(found);
}

static int read_fragments(const char *path, struct settings *settings, struct err **errp)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep) char *pattern = mem_printf("%.*sconf.d/*.conf", slash ? (int)(slash - path) + 1 : 0, path);
    CLEANUP(globfreep) glob_t found = {0};

    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (read_file(found.gl_pathv[i], settings, errp) < 0)
            return -1;
    return 0;
}

/* --- what must fit together --- */

static bool is_given(const struct key_row *row, const char *object)
{
    const void *at = object + row->offset;

    switch (row->type) {
    case VALUE_TEXT:
        return *(char *const *)at != NULL;
    case VALUE_LIST:
        return ((const struct strlist *)at)->n > 0;
    case VALUE_AUTH:
        return *(const uint32_t *)at != 0;
    case VALUE_SPAN:
    case VALUE_BOOL:
    case VALUE_NUMBER:
    case VALUE_KEY:
        return true;
    }
    return false;
}

static int check_required(const struct section_row *section, struct settings *settings, struct err **errp)
{
    size_t *n;
    void **items = items_of(section, settings, &n);

    for (size_t i = 0; i < *n; i++) {
        const char *object = (const char *)*items + i * section->size;

        for (size_t k = 0; k < section->n_keys; k++) {
            const struct key_row *row = &section->keys[k];

            if (!row->required || is_given(row, object))
                continue;
            err_set(errp, ERR_CONFIG, "[%s \"%s\"] has no '%s'", section->kind, *(char *const *)(const void *)object,
                row->key);
            return err_hint(errp, "add the line '%s = ...' to the section", row->key);
        }
    }
    return 0;
}

/* With a host of its own: credentials go there. */
static bool good_uri(const char *uri)
{
    const char *host = uri + strlen("https://");
    size_t len;

    if (strncasecmp(uri, "https://", strlen("https://")) != 0)
        return false;
    for (const char *at = uri; *at; at++)
        if (isspace((unsigned char)*at) || iscntrl((unsigned char)*at))
            return false;
    len = strcspn(host, "/?#");
    return len > 0 && *host != ':' && !memchr(host, '@', len);
}

static int check_server(const struct settings_server *server, struct err **errp)
{
    if (!good_uri(server->uri)) {
        err_set(errp, ERR_CONFIG, "[policy-server \"%s\"]: uri must be https://HOST/PATH", server->name);
        return err_hint(errp, "no other scheme, no user name in it, and %%20 for a blank");
    }
    for (size_t i = 0; i < server->ces_hosts.n; i++)
        if (strpbrk(server->ces_hosts.items[i], "/@?#")) {
            err_set(errp, ERR_CONFIG, "[policy-server \"%s\"]: ces-hosts: '%s' is no host", server->name,
                server->ces_hosts.items[i]);
            return err_hint(errp, "write HOST or HOST:PORT");
        }
    if (!server->ca_file) {
        err_set(errp, ERR_CONFIG, "[policy-server \"%s\"] has no 'ca-file'", server->name);
        return err_hint(errp, "name a PEM file with the root CA certificate that vouches for the server");
    }
    if (server->auth == POLICY_AUTH_USERNAME && !server->username) {
        err_set(errp, ERR_CONFIG, "[policy-server \"%s\"]: auth = username needs 'username'", server->name);
        return err_hint(errp, "add 'username = DOMAIN\\user'; the password goes into the credential store");
    }
    return 0;
}

#define MOST_WORKERS 64 /* half of what the keeper and the unit of systemd's socket allow */

static int check_workers(const struct settings_agent *agent, struct err **errp)
{
    if (agent->workers >= 1 && agent->workers <= MOST_WORKERS)
        return 0;
    err_set(errp, ERR_CONFIG, "[agent]: workers must be from 1 to %d", MOST_WORKERS);
    return err_hint(errp, "leave it out for the usual four");
}

/* A PIN in the configuration would be printed, copied and backed up with it; the value is not repeated here. */
static int check_token(const struct settings_agent *agent, struct err **errp)
{
    const char *uri = agent->token;

    if (!uri)
        return 0;
    if (strncmp(uri, "pkcs11:", strlen("pkcs11:")) != 0)
        return err_set(errp, ERR_CONFIG, "[agent]: token must begin with 'pkcs11:'");
    if (strcasestr(uri, "pin-value") || strcasestr(uri, "pin-source")) {
        err_set(errp, ERR_CONFIG, "[agent]: token must not hold a PIN");
        return err_hint(errp, "store the PIN as a credential and name that with pin-credential");
    }
    return 0;
}

static int check_maintenance(const struct settings_agent *agent, struct err **errp)
{
    struct schedule_hours hours;

    if (schedule_hours_parse(agent->maintenance, &hours, errp) == 0)
        return 0;
    return err_wrap(errp, "[agent]: maintenance");
}

/* A section without trust of its own is trusted as its brother with the same policy-id is. */
static void inherit_trust(struct settings *settings)
{
    for (size_t i = 0; i < settings->n_servers; i++) {
        struct settings_server *server = &settings->servers[i];

        for (size_t j = 0; j < settings->n_servers && !server->ca_file && server->policy_id; j++) {
            const struct settings_server *other = &settings->servers[j];

            if (other->ca_file && other->policy_id && strcmp(other->policy_id, server->policy_id) == 0)
                server->ca_file = mem_strdup(other->ca_file);
        }
    }
}

static int unknown_server(const struct settings *settings, const struct settings_certificate *c, struct err **errp)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < settings->n_servers; i++)
        consider(c->policy_server, settings->servers[i].name, &nearest, &best);
    err_set(errp, ERR_CONFIG, "[certificate \"%s\"]: there is no [policy-server \"%s\"]", c->name, c->policy_server);
    return nearest ? err_hint(errp, "did you mean \"%s\"?", nearest)
                   : err_hint(errp, "add a section [policy-server \"%s\"]", c->policy_server);
}

static int check(struct settings *settings, struct err **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
        if (sections[i].named && check_required(&sections[i], settings, errp) < 0)
            return -1;
    if (check_workers(&settings->agent, errp) < 0 || check_token(&settings->agent, errp) < 0 ||
        check_maintenance(&settings->agent, errp) < 0)
        return -1;
    inherit_trust(settings);
    for (size_t i = 0; i < settings->n_servers; i++)
        if (check_server(&settings->servers[i], errp) < 0)
            return -1;
    for (size_t i = 0; i < settings->n_certificates; i++) {
        const struct settings_certificate *c = &settings->certificates[i];

        if (!settings_find_server(settings, c->policy_server))
            return unknown_server(settings, c, errp);
    }
    return settings_deploy_check(settings, errp);
}

int settings_load(const char *path, struct settings *out, struct err **errp)
{
    CLEANUP(settings_clear) struct settings settings = {0};

    set_defaults(&sections[0], &settings.agent);
    if (read_file(path, &settings, errp) < 0 || read_fragments(path, &settings, errp) < 0 || check(&settings, errp) < 0)
        return err_wrap(errp, "reading the configuration");
    *out = settings;
    settings = (struct settings){0};
    return 0;
}

const struct settings_server *settings_find_server(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->n_servers; i++)
        if (strcmp(settings->servers[i].name, name) == 0)
            return &settings->servers[i];
    return NULL;
}

/* --- the same rows clear and describe --- */

static void clear_object(const struct section_row *section, void *object)
{
    for (size_t i = 0; i < section->n_keys; i++) {
        void *at = (char *)object + section->keys[i].offset;

        if (section->keys[i].type == VALUE_TEXT)
            free(*(char **)at);
        else if (section->keys[i].type == VALUE_LIST)
            strlist_clear(at);
    }
}

void settings_clear(struct settings *settings)
{
    for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
        size_t *n;
        void **items = items_of(&sections[i], settings, &n);

        if (!sections[i].named) {
            clear_object(&sections[i], items);
            continue;
        }
        for (size_t k = 0; k < *n; k++) {
            char *object = (char *)*items + k * sections[i].size;

            free(*(char **)(void *)object);
            clear_object(&sections[i], object);
        }
        free(*items);
    }
    strlist_clear(&settings->files);
    *settings = (struct settings){0};
}

static char *describe_value(const struct key_row *row, const void *at)
{
    switch (row->type) {
    case VALUE_TEXT:
        return mem_strdup_opt(*(char *const *)at);
    case VALUE_LIST:
        return ((const struct strlist *)at)->n ? strlist_join(at, " ") : NULL;
    case VALUE_SPAN:
        return mem_printf("%" PRId64 "s", *(const int64_t *)at);
    case VALUE_BOOL:
        return mem_strdup(*(const bool *)at ? "yes" : "no");
    case VALUE_NUMBER:
        return mem_printf("%" PRIu32, *(const uint32_t *)at);
    case VALUE_AUTH:
        return mem_strdup(policy_auth_name(*(const uint32_t *)at));
    case VALUE_KEY:
        return mem_strdup(*(const bool *)at ? "file" : "token");
    }
    return NULL;
}

static int describe_object(const struct section_row *section, const void *object, struct bytes *out, struct err **errp)
{
    int r = section->named ? bytes_printf(out, errp, "\n[%s \"%s\"]\n", section->kind, *(char *const *)object)
                           : bytes_printf(out, errp, "[%s]\n", section->kind);

    for (size_t i = 0; i < section->n_keys && r == 0; i++) {
        const struct key_row *row = &section->keys[i];
        CLEANUP(mem_freep) char *text = describe_value(row, (const char *)object + row->offset);

        if (text)
            r = bytes_printf(out, errp, "%-17s = %s\n", row->key, text);
    }
    return r;
}

int settings_describe(const struct settings *settings, struct bytes *out, struct err **errp)
{
    for (size_t i = 0; i < settings->files.n; i++)
        if (bytes_printf(out, errp, "; %s\n", settings->files.items[i]) < 0)
            return -1;
    for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
        const char *items = (const char *)settings + sections[i].items;
        size_t n = sections[i].named ? *(const size_t *)(const void *)((const char *)settings + sections[i].count) : 1;

        if (sections[i].named)
            items = *(const char *const *)(const void *)items;
        for (size_t k = 0; k < n; k++)
            if (describe_object(&sections[i], items + k * sections[i].size, out, errp) < 0)
                return -1;
    }
    return 0;
}
