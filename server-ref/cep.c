#include "server-ref/cep.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/pki/msext.h"
#include "protocol/pki/oid.h"

#define VERSION_WHEN_ABSENT 3

/* What a request's number means: absent 3, 0 the server's maximum, never more than that. */
static uint32_t version_of(struct opt_i32 asked, bool filter, uint32_t without_filter, uint32_t maximum)
{
    if (!filter)
        return without_filter;
    if (!asked.set || asked.value < 0)
        return VERSION_WHEN_ABSENT;
    return asked.value == 0 || (uint32_t)asked.value > maximum ? maximum : (uint32_t)asked.value;
}

bool cep_version_fits(const struct xcep_request *request, uint32_t private_key_flags, uint32_t maximum)
{
    uint32_t client = version_of(request->client_version, request->has_filter, VERSION_WHEN_ABSENT, maximum);
    uint32_t server = version_of(request->server_version, request->has_filter, maximum, maximum);

    return XCEP_KEY_CLIENT_VERSION(private_key_flags) <= client && XCEP_KEY_CA_VERSION(private_key_flags) <= server;
}

/* The id of an OID in the answer, which gets it when it is new. */
static int32_t refer(struct xcep_response *response, const char *value, uint32_t group, const char *name)
{
    struct xcep_oid *oid;

    for (size_t i = 0; i < response->n_oids; i++)
        if (strcmp(response->oids[i].value, value) == 0 && response->oids[i].group == group)
            return response->oids[i].id;
    oid = MEM_APPEND(response->oids, response->n_oids);
    *oid = (struct xcep_oid){.value = mem_strdup(value),
        .group = group,
        .id = (int32_t)(response->n_oids - 1),
        .default_name = mem_strdup(name ? name : oid_name(value))};
    return oid->id;
}

static void refer_all(
    struct xcep_response *response, const struct strlist *values, uint32_t group, struct xcep_references *references)
{
    for (size_t i = 0; i < values->n; i++)
        *MEM_APPEND(references->items, references->n) = refer(response, values->items[i], group, NULL);
}

static void add_extension(
    struct xcep_response *response, struct xcep_policy *policy, const char *oid, bool critical, struct bytes *value)
{
    struct xcep_extension *extension = MEM_APPEND(policy->extensions, policy->n_extensions);

    extension->oid = refer(response, oid, XCEP_GROUP_EXTENSION, NULL);
    extension->critical = critical;
    extension->value = *value;
    *value = (struct bytes){0};
}

static int add_template_extension(
    struct xcep_response *response, struct xcep_policy *policy, const struct cert_template *template, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    struct template_info info = {
        .oid = template->oid, .major = {true, template->major}, .minor = {true, template->minor}};
    int r = template->schema == 1 ? msext_template_name_write(template->name, &value, errp)
                                  : msext_template_info_write(&info, &value, errp);

    if (r < 0)
        return -1;
    add_extension(response, policy, template->schema == 1 ? OID_TEMPLATE_NAME : OID_TEMPLATE_INFO, false, &value);
    return 0;
}

/* What the client is to copy into its request, as far as the template says. */
static int add_extensions(
    struct xcep_response *response, struct xcep_policy *policy, const struct cert_template *template, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (add_template_extension(response, policy, template, errp) < 0)
        return -1;
    if (template->application_policies.n) {
        if (msext_eku_write(&template->application_policies, &value, errp) < 0)
            return -1;
        add_extension(response, policy, OID_EXTENDED_KEY_USAGE, false, &value);
        for (size_t i = 0; i < template->application_policies.n; i++)
            refer(response, template->application_policies.items[i], XCEP_GROUP_EKU, NULL);
    }
    if (msext_key_usage_write(template->key_usage, &value, errp) < 0)
        return -1;
    add_extension(response, policy, OID_KEY_USAGE, true, &value);
    if (template->schema == 1 || template->application_policies.n == 0)
        return 0;
    if (msext_policies_write(&template->application_policies, &value, errp) < 0)
        return -1;
    add_extension(response, policy, OID_APPLICATION_POLICIES, false, &value);
    return 0;
}

static void fill_key(struct xcep_response *response, struct xcep_policy *policy, const struct cert_template *template)
{
    policy->minimal_key_length = template->minimal_key_size;
    policy->key_spec = (struct opt_u32){template->key_spec != 0, template->key_spec};
    policy->key_usage = (struct opt_u32){template->key_usage_property != 0, template->key_usage_property};
    strlist_copy(&policy->crypto_providers, &template->providers);
    if (template->schema >= 3)
        policy->key_algorithm = (struct opt_i32){
            true, refer(response, key_algorithm_oid(template->algorithm), XCEP_GROUP_PUBLIC_KEY, NULL)};
    if (template->hash)
        policy->hash_algorithm = (struct opt_i32){true, refer(response, template->hash, XCEP_GROUP_HASH, NULL)};
}

static void fill_ra(struct xcep_response *response, struct xcep_policy *policy, const struct cert_template *template)
{
    if (template->ra_signatures == 0)
        return;
    policy->ra_requirements = mem_alloc(sizeof(*policy->ra_requirements));
    policy->ra_requirements->signatures = template->ra_signatures;
    refer_all(response, &template->ra_application_policies, XCEP_GROUP_EKU, &policy->ra_requirements->ekus);
}

static int add_policy(const struct cep_view *view, const struct cert_template *template, struct xcep_response *response,
    struct err **errp)
{
    struct xcep_policy *policy = MEM_APPEND(response->policies, response->n_policies);

    policy->oid = refer(response, template->oid, XCEP_GROUP_TEMPLATE, template->name);
    *MEM_APPEND(policy->cas.items, policy->cas.n) = 0;
    policy->common_name = mem_strdup(template->name);
    policy->schema = template->schema;
    policy->validity_seconds = (uint64_t) template->validity;
    policy->renewal_seconds = (uint64_t) template->renewal;
    /* A renewal by key skips the permission of the account, so that it is there for whoever has the certificate. */
    policy->enroll = view->by_key || config_permits(&template->enroll, view->account);
    policy->auto_enroll = config_permits(&template->autoenroll, view->account);
    policy->major_revision = template->major;
    policy->minor_revision = template->minor;
    strlist_copy(&policy->superseded, &template->supersedes);
    policy->private_key_flags = (struct opt_u32){true, template->private_key_flags};
    policy->subject_name_flags = (struct opt_u32){true, template->name_flags};
    policy->enrollment_flags = (struct opt_u32){true, template->enrollment_flags};
    policy->general_flags = (struct opt_u32){true, template->general_flags};
    fill_key(response, policy, template);
    fill_ra(response, policy, template);
    return add_extensions(response, policy, template, errp);
}

static void add_ca(const struct cep_view *view, struct xcep_response *response)
{
    struct xcep_ca *ca = MEM_APPEND(response->cas, response->n_cas);

    bytes_copy(&ca->certificate, view->ca_certificate);
    ca->enroll_permission = view->by_key || config_permits(&view->config->request_certificates, view->account);
    for (size_t i = 0; i < view->config->n_services; i++) {
        const struct service *service = &view->config->services[i];

        if (service->kind != SERVICE_CES)
            continue;
        *MEM_APPEND(ca->uris, ca->n_uris) = (struct xcep_ca_uri){
            .auth = service->auth,
            .uri = mem_strdup(view->addresses[i]),
            .priority = {true, service->priority},
            .renewal_only = {true, service->renewal_only},
        };
    }
}

static bool is_shown(
    const struct cep_view *view, const struct xcep_request *request, const struct cert_template *template)
{
    const struct strlist *wanted = &request->policy_oids;

    if (view->by_key && !template_renews_by_key(template))
        return false;
    if (!config_permits(&template->read, view->account) && !config_permits(&template->enroll, view->account))
        return false;
    if (request->has_filter && wanted->n && !strlist_has(wanted, template->oid))
        return false;
    return cep_version_fits(request, template->private_key_flags, view->config->maximum_version);
}

static void fill_head(const struct cep_view *view, struct xcep_response *response)
{
    response->policy_id = mem_strdup(view->config->policy_id);
    response->friendly_name = mem_strdup_opt(view->config->friendly_name);
    response->next_update_hours = (struct opt_u32){true, view->config->next_update_hours};
    response->policies_not_changed = (struct opt_bool){true, false};
}

int cep_policy(
    const struct cep_view *view, const struct xcep_request *request, struct xcep_response *response, struct err **errp)
{
    *response = (struct xcep_response){0};
    fill_head(view, response);
    for (size_t i = 0; i < view->config->n_templates; i++)
        if (is_shown(view, request, &view->config->templates[i]) &&
            add_policy(view, &view->config->templates[i], response, errp) < 0)
            return err_wrap(errp, "template '%s'", view->config->templates[i].name);
    if (response->n_policies)
        add_ca(view, response);
    return 0;
}

static void make_dangling(struct xcep_response *response)
{
    if (response->n_policies && response->policies[0].n_extensions)
        response->policies[0].extensions[0].oid = 31337;
}

static void rename_policy(struct xcep_policy *policy, const char *name)
{
    free(policy->common_name);
    policy->common_name = mem_strdup(name);
}

static void make_evil_names(struct xcep_response *response)
{
    static const char *const names[] = {
        "../../x", "a\xc2\x9b[31mred", "\xe2\x80\xaetxet desrever", "CON\xe2\x80\xa8two lines", "$(reboot);`x`"};

    for (size_t i = 0; i < ARRAY_SIZE(names) && i < response->n_policies; i++)
        rename_policy(&response->policies[i], names[i]);
    free(response->friendly_name);
    response->friendly_name = mem_strdup("\xe2\x80\xae\xc2\x9b[2Jgone");
}

static void make_empty(struct xcep_response *response)
{
    struct xcep_response empty = {.policy_id = TAKE(response->policy_id)};

    xcep_response_clear(response);
    *response = empty;
}

static void make_foreign_ces(struct xcep_response *response)
{
    for (size_t i = 0; i < response->n_cas; i++)
        for (size_t j = 0; j < response->cas[i].n_uris; j++) {
            free(response->cas[i].uris[j].uri);
            response->cas[i].uris[j].uri = mem_strdup("https://ces.attacker.example/CA_CES_X/service.svc/CES");
        }
}

static void make_other_id(struct xcep_response *response)
{
    free(response->policy_id);
    response->policy_id = mem_strdup("{00000000-0000-0000-0000-00000000BAD0}");
}

static void make_duplicate(struct xcep_response *response)
{
    if (response->n_oids > 1)
        response->oids[1].id = response->oids[0].id;
}

static void (*const twists[])(struct xcep_response *response) = {
    [MISBEHAVE_POLICY_DANGLING] = make_dangling,
    [MISBEHAVE_POLICY_EVIL_NAMES] = make_evil_names,
    [MISBEHAVE_POLICY_EMPTY] = make_empty,
    [MISBEHAVE_POLICY_FOREIGN_CES] = make_foreign_ces,
    [MISBEHAVE_POLICY_OTHER_ID] = make_other_id,
    [MISBEHAVE_POLICY_DUPLICATE] = make_duplicate,
};

/*
 * What changes the policy: the file, and the start of this process, which may have read another one. Times are whole
 * seconds: an answer that was given in the second of the change may be from before it.
 */
static bool is_unchanged(const struct server_call *call, const struct xcep_request *request)
{
    int64_t changed = call->server->config->changed;

    if (changed < call->server->started)
        changed = call->server->started;
    return request->last_update.set && request->last_update.value > changed;
}

static int make_response(const struct server_call *call, const struct xcep_request *request,
    struct xcep_response *response, struct err **errp)
{
    const struct config *config = call->server->config;
    CLEANUP(strlist_clear) struct strlist addresses = {0};
    struct cep_view view = {
        .config = config,
        .ca_certificate = &call->server->ca->chain.items[0]->der,
        .account = call->caller->account,
        .by_key = call->service->key_based_renewal,
    };

    if (is_unchanged(call, request)) {
        fill_head(&view, response);
        response->policies_not_changed.value = true;
        return 0;
    }
    for (size_t i = 0; i < config->n_services; i++) {
        CLEANUP(mem_freep) char *address = server_address(call->server, &config->services[i]);

        strlist_add(&addresses, address);
    }
    view.addresses = (const char *const *)addresses.items;
    return cep_policy(&view, request, response, errp);
}

int cep_handle(const struct server_call *call, struct bytes *body, struct fault *fault, struct err **errp)
{
    CLEANUP(xcep_request_clear) struct xcep_request request = {0};
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(err_freep) struct err *why = NULL;
    struct soap_header header = *call->header; /* borrows; only the action is added */
    static char action[] = XCEP_ACTION_RESPONSE;

    if (xcep_request_parse(call->message, &request, &why) < 0)
        return fault_set(fault, 500, SOAP_SENDER, SOAP_SUBCODE_DESERIALIZATION_FAILED, "%s", err_text(why));
    if (make_response(call, &request, &response, errp) < 0)
        return err_wrap(errp, "making the policy");
    if (call->request->misbehave->policy)
        twists[call->request->misbehave->policy](&response);
    header.action = action;
    return xcep_response_write(&header, &response, body, errp);
}
