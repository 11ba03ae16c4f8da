#include "server-ref/config.h"

#include <ini.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "protocol/base/bytes.h"
#include "protocol/base/when.h"
#include "protocol/pki/oid.h"
#include "server-ref/field.h"
#include "server-ref/file.h"

#define MAX_FILE     (1u << 20)
#define MAX_LINE     197 /* of inih's buffer, less what ends it */
#define MAX_SECTIONS 10000

static const struct field_word auth_words[] = {
    {"UserName", AUTH_USERNAME},
    {"Certificate", AUTH_CERTIFICATE},
    {NULL, 0},
};

static const struct field_word algorithm_words[] = {
#define X(id, name, oid) {name, KEY_##id},
    KEY_ALGORITHMS(X)
#undef X
        {NULL, 0},
};

static const struct {
    const char *name;
    const char *oid;
} algorithms[] = {
#define X(id, name, oid) {name, oid},
    KEY_ALGORITHMS(X)
#undef X
};

#define AT(key, type, object, member)                                                                                  \
    {                                                                                                                  \
        key, FIELD_##type, offsetof(struct object, member), NULL                                                       \
    }

static const struct field ca_fields[] = {
    AT("CAConfig", TEXT, config, ca_config),
    AT("Domain", TEXT, config, domain),
    AT("EditFlags", LIST, config, edit_flags),
    AT("AllowSHA1", BOOL, config, allow_sha1),
    AT("MaximumValidity", SPAN, config, maximum_validity),
    AT("Read", LIST, config, read),
    AT("RequestCertificates", LIST, config, request_certificates),
};

static const struct field policy_fields[] = {
    AT("ID", TEXT, config, policy_id),
    AT("FriendlyName", TEXT, config, friendly_name),
    AT("NextUpdateHours", U32, config, next_update_hours),
    AT("MaximumVersion", U32, config, maximum_version),
};

static const struct field limit_fields[] = {
    AT("Deadline", SPAN, config, limits.deadline),
    AT("Idle", SPAN, config, limits.idle),
    AT("Header", U32, config, limits.header),
    AT("Body", U32, config, limits.body),
};

static const struct field cep_fields[] = {
    {"AuthenticationType", FIELD_WORD, offsetof(struct service, auth), auth_words},
    AT("KeyBasedRenewal", BOOL, service, key_based_renewal),
};

static const struct field ces_fields[] = {
    {"AuthenticationType", FIELD_WORD, offsetof(struct service, auth), auth_words},
    AT("RenewalOnly", BOOL, service, renewal_only),
    AT("AllowKeyBasedRenewal", BOOL, service, key_based_renewal),
    AT("Priority", U32, service, priority),
};

static const struct field account_fields[] = {
    AT("DNS", TEXT, account, dns),
    AT("SID", TEXT, account, sid),
};

static const struct field template_fields[] = {
    AT("OID", OID, cert_template, oid),
    AT("SchemaVersion", U32, cert_template, schema),
    AT("MajorRevision", U32, cert_template, major),
    AT("MinorRevision", U32, cert_template, minor),
    AT("GeneralFlags", U32, cert_template, general_flags),
    AT("NameFlags", U32, cert_template, name_flags),
    AT("EnrollmentFlags", U32, cert_template, enrollment_flags),
    AT("PrivateKeyFlags", U32, cert_template, private_key_flags),
    {"Algorithm", FIELD_WORD, offsetof(struct cert_template, algorithm), algorithm_words},
    AT("MinimalKeySize", U32, cert_template, minimal_key_size),
    AT("HashAlgorithm", OID, cert_template, hash),
    AT("KeySpec", U32, cert_template, key_spec),
    AT("KeyUsage", U32, cert_template, key_usage),
    AT("KeyUsageProperty", U32, cert_template, key_usage_property),
    AT("ApplicationPolicies", OIDS, cert_template, application_policies),
    AT("Providers", LIST, cert_template, providers),
    AT("Supersedes", LIST, cert_template, supersedes),
    AT("RASignatures", U32, cert_template, ra_signatures),
    AT("RAApplicationPolicies", OIDS, cert_template, ra_application_policies),
    AT("ValidityPeriod", SPAN, cert_template, validity),
    AT("RenewalPeriod", SPAN, cert_template, renewal),
    AT("Read", LIST, cert_template, read),
    AT("Enroll", LIST, cert_template, enroll),
    AT("Autoenroll", LIST, cert_template, autoenroll),
};

/* Each gives the object that a section of this name fills, made when it is new. */
static void *the_config(struct config *config, const char *name __attribute__((unused)))
{
    return config;
}

static void *service_of(struct config *config, enum service_kind kind, const char *name)
{
    struct service *service;

    for (size_t i = 0; i < config->n_services; i++)
        if (config->services[i].kind == kind && strcasecmp(config->services[i].name, name) == 0)
            return &config->services[i];
    service = MEM_APPEND(config->services, config->n_services);
    *service = (struct service){.kind = kind, .name = mem_strdup(name), .auth = AUTH_USERNAME, .priority = 1};
    return service;
}

static void *cep_of(struct config *config, const char *name)
{
    return service_of(config, SERVICE_CEP, name);
}

static void *ces_of(struct config *config, const char *name)
{
    return service_of(config, SERVICE_CES, name);
}

static void *account_of(struct config *config, const char *name)
{
    struct account *account;

    for (size_t i = 0; i < config->n_accounts; i++)
        if (strcasecmp(config->accounts[i].name, name) == 0)
            return &config->accounts[i];
    account = MEM_APPEND(config->accounts, config->n_accounts);
    account->name = mem_strdup(name);
    return account;
}

static void *template_of(struct config *config, const char *name)
{
    struct cert_template *template;

    for (size_t i = 0; i < config->n_templates; i++)
        if (strcasecmp(config->templates[i].name, name) == 0)
            return &config->templates[i];
    template = MEM_APPEND(config->templates, config->n_templates);
    *template = (struct cert_template){
        .name = mem_strdup(name),
        .schema = 2,
        .major = 100,
        .minimal_key_size = 2048,
        .key_usage = 0xA0,
        .validity = 365 * (int64_t)WHEN_DAY,
        .renewal = 42 * (int64_t)WHEN_DAY,
    };
    return template;
}

static const struct {
    const char *word;
    bool named; /* [word "NAME"] */
    void *(*find)(struct config *config, const char *name);
    const struct field *fields;
    size_t n;
} sections[] = {
    {"ca", false, the_config, ca_fields, ARRAY_SIZE(ca_fields)},
    {"policy", false, the_config, policy_fields, ARRAY_SIZE(policy_fields)},
    {"limits", false, the_config, limit_fields, ARRAY_SIZE(limit_fields)},
    {"misbehave", false, NULL, NULL, 0},
    {"cep", true, cep_of, cep_fields, ARRAY_SIZE(cep_fields)},
    {"ces", true, ces_of, ces_fields, ARRAY_SIZE(ces_fields)},
    {"account", true, account_of, account_fields, ARRAY_SIZE(account_fields)},
    {"template", true, template_of, template_fields, ARRAY_SIZE(template_fields)},
};

struct reading {
    struct config *config;
    struct err **errp;
};

/* Splits 'word "name"'. Returns the name, owned; NULL when the section has none. */
static char *section_name(const char *section, size_t *word_len)
{
    const char *quote = strchr(section, '"');
    size_t len = quote ? strlen(quote) : 0;

    *word_len = strcspn(section, " \t\"");
    if (len < 3 || quote[len - 1] != '"')
        return NULL;
    return mem_strndup(quote + 1, len - 2);
}

static int read_value(struct reading *reading, const char *section, const char *key, const char *value)
{
    struct config *config = reading->config;
    size_t word_len;
    CLEANUP(mem_freep) char *name = section_name(section, &word_len);

    for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
        if (strncasecmp(sections[i].word, section, word_len) != 0 || sections[i].word[word_len] ||
            sections[i].named != (name != NULL))
            continue;
        if (!sections[i].find)
            return misbehave_set(&config->misbehave, key, value, reading->errp);
        if (config->n_services + config->n_templates + config->n_accounts > MAX_SECTIONS)
            return err_set(reading->errp, ERR_CONFIG, "more than %d sections", MAX_SECTIONS);
        return field_set(sections[i].fields, sections[i].n, sections[i].find(config, name), key, value, reading->errp);
    }
    err_set(reading->errp, ERR_CONFIG, "unknown section");
    return err_hint(reading->errp, "the sections are [ca] [policy] [limits] [misbehave] [cep \"NAME\"] [ces \"NAME\"] "
                                   "[account \"NAME\"] [template \"NAME\"]");
}

/* inih's way: 1 is success. */
static int on_value(void *data, const char *section, const char *key, const char *value)
{
    struct reading *reading = data;

    if (*reading->errp)
        return 0;
    if (read_value(reading, section, key, value) == 0)
        return 1;
    err_wrap(reading->errp, "in [%s]", section);
    return 0;
}

static int check_lines(const char *text, struct err **errp)
{
    size_t number = 1;

    for (const char *line = text; *line; number++) {
        size_t len = strcspn(line, "\n");

        if (len > MAX_LINE)
            return err_set(errp, ERR_CONFIG, "line %zu has more than %d characters", number, MAX_LINE);
        line += len + (line[len] == '\n');
    }
    return 0;
}

static int parse(struct config *config, const char *text, struct err **errp)
{
    struct err *err = NULL;
    struct reading reading = {config, &err};
    int line;

    if (check_lines(text, errp) < 0)
        return -1;
    line = ini_parse_string(text, on_value, &reading);
    if (line == 0)
        return 0;
    if (!err)
        err_set(&err, ERR_CONFIG, "neither a section nor 'key = value'");
    err_wrap(&err, "line %d", line);
    *errp = err;
    return -1;
}

static void name_service(struct config *config, struct service *service)
{
    const char *auth = service->auth == AUTH_USERNAME ? "UsernamePassword" : "Certificate";

    if (service->kind == SERVICE_CEP)
        service->path = mem_printf(
            "/%sADPolicyProvider_CEP_%s/service.svc/CEP", service->key_based_renewal ? "KeyBasedRenewal_" : "", auth);
    else
        service->path = mem_printf("/%s_CES_%s/service.svc/CES", config->ca_name, auth);
}

static int check_services(struct config *config, struct err **errp)
{
    for (size_t i = 0; i < config->n_services; i++) {
        struct service *service = &config->services[i];

        name_service(config, service);
        if (service->kind == SERVICE_CES && service->key_based_renewal &&
            (service->auth != AUTH_CERTIFICATE || !service->renewal_only))
            return err_set(errp, ERR_CONFIG,
                "[ces \"%s\"]: AllowKeyBasedRenewal needs AuthenticationType = Certificate and RenewalOnly = yes",
                service->name);
        for (size_t j = 0; j < i; j++)
            if (strcasecmp(config->services[j].path, service->path) == 0)
                return err_set(errp, ERR_CONFIG, "'%s' and '%s' would both be %s", config->services[j].name,
                    service->name, service->path);
    }
    return 0;
}

static int check_template(const struct cert_template *template, struct err **errp)
{
    if (!template->oid)
        return err_set(errp, ERR_CONFIG, "has no OID");
    if (template->schema < 1 || template->schema > 4)
        return err_set(errp, ERR_CONFIG, "SchemaVersion is %u, and must be 1 to 4", template->schema);
    if (template->validity <= 0 || template->renewal <= 0 || template->renewal >= template->validity)
        return err_set(errp, ERR_CONFIG, "RenewalPeriod must be shorter than ValidityPeriod, and both more than 0");
    if (template->hash && template->schema < 3)
        return err_set(errp, ERR_CONFIG, "HashAlgorithm needs SchemaVersion 3 or 4");
    if (template->private_key_flags & (XCEP_KEY_REQUIRE_PRIVATE_KEY_ARCHIVAL | XCEP_KEY_ATTEST_REQUIRED))
        return err_set(errp, ERR_CONFIG, "this server does neither key archival nor attestation");
    return 0;
}

static int check(struct config *config, struct err **errp)
{
    const char *slash = config->ca_config ? strchr(config->ca_config, '\\') : NULL;

    if (!slash || slash == config->ca_config || !slash[1] || strpbrk(slash + 1, "/?#")) {
        err_set(errp, ERR_CONFIG, "CAConfig in [ca] is missing or wrong");
        return err_hint(errp, "it is HOST\\NAME OF THE CA, as in 'CAConfig = ca.example\\Example Issuing CA'");
    }
    config->host = mem_strndup(config->ca_config, (size_t)(slash - config->ca_config));
    config->ca_name = mem_strdup(slash + 1);
    if (!config->policy_id)
        return err_set(errp, ERR_CONFIG, "ID in [policy] is missing");
    for (size_t i = 0; i < config->n_templates; i++)
        if (check_template(&config->templates[i], errp) < 0)
            return err_wrap(errp, "[template \"%s\"]", config->templates[i].name);
    return check_services(config, errp);
}

static struct config *config_new(const char *dir)
{
    struct config *config = mem_alloc(sizeof(*config));

    config->dir = mem_strdup(dir);
    config->next_update_hours = 8;
    config->maximum_version = 6;
    config->maximum_validity = 5 * 365 * (int64_t)WHEN_DAY;
    config->limits = (struct limits){.deadline = 10, .idle = 30, .header = 64u << 10, .body = 1u << 20};
    strlist_add(&config->read, "everyone");
    strlist_add(&config->request_certificates, "everyone");
    return config;
}

int config_load(const char *dir, struct config **config, struct err **errp)
{
    CLEANUP(config_freep) struct config *read = config_new(dir);
    CLEANUP(mem_freep) char *path = mem_printf("%s/server.conf", dir);
    CLEANUP(bytes_clear) struct bytes text = {0};
    struct stat st;

    if (file_load(path, MAX_FILE, &text, errp) < 0) {
        if (err_kind(*errp) == ERR_MISSING)
            err_hint(errp, "make a server directory first: autoenroll-server-ref init %s", dir);
        return -1;
    }
    if (stat(path, &st) < 0)
        return err_set(errp, ERR_STORE, "'%s': %m", path);
    read->changed = st.st_mtim.tv_sec;
    if (parse(read, bytes_text(&text), errp) < 0 || check(read, errp) < 0)
        return err_wrap(errp, "'%s'", path);
    *config = TAKE(read);
    return 0;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->n_services; i++) {
        free(config->services[i].name);
        free(config->services[i].path);
    }
    for (size_t i = 0; i < config->n_templates; i++) {
        field_clear(template_fields, ARRAY_SIZE(template_fields), &config->templates[i]);
        free(config->templates[i].name);
    }
    for (size_t i = 0; i < config->n_accounts; i++) {
        field_clear(account_fields, ARRAY_SIZE(account_fields), &config->accounts[i]);
        free(config->accounts[i].name);
    }
    field_clear(ca_fields, ARRAY_SIZE(ca_fields), config);
    field_clear(policy_fields, ARRAY_SIZE(policy_fields), config);
    misbehave_clear(&config->misbehave);
    free(config->services);
    free(config->templates);
    free(config->accounts);
    free(config->dir);
    free(config->host);
    free(config->ca_name);
    free(config);
}

const struct cert_template *config_template(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_templates; i++)
        if (strcasecmp(config->templates[i].name, name) == 0)
            return &config->templates[i];
    return NULL;
}

const struct cert_template *config_template_by_oid(const struct config *config, const char *oid)
{
    for (size_t i = 0; i < config->n_templates; i++)
        if (oid_is(config->templates[i].oid, oid))
            return &config->templates[i];
    return NULL;
}

const struct account *config_account(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_accounts; i++)
        if (strcasecmp(config->accounts[i].name, name) == 0)
            return &config->accounts[i];
    return NULL;
}

bool config_has_edit_flag(const struct config *config, const char *flag)
{
    for (size_t i = 0; i < config->edit_flags.n; i++)
        if (strcasecmp(config->edit_flags.items[i], flag) == 0)
            return true;
    return false;
}

bool config_permits(const struct strlist *list, const char *account)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcasecmp(list->items[i], "everyone") == 0 || (account && strcasecmp(list->items[i], account) == 0))
            return true;
    return false;
}

bool template_renews_by_key(const struct cert_template *template)
{
    const uint32_t needed = XCEP_ENROLL_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT |
                            XCEP_ENROLL_ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT;

    return (template->name_flags & XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT) &&
           (template->enrollment_flags & needed) == needed;
}

const char *key_algorithm_name(enum key_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

const char *key_algorithm_oid(enum key_algorithm algorithm)
{
    return algorithms[algorithm].oid;
}
