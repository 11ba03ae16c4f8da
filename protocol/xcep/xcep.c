#include "protocol/xcep/xcep.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"
#include "protocol/soap/envelope.h"
#include "protocol/xml/xmap.h"
#include "protocol/xml/xmldoc.h"

/* Numbers behind the names are sections of [MS-XCEP] below 3.1.4.1.3; rows stand in the schema's order. */

/* GetPolicies. */

/* A request as it is on the wire: a lastUpdate that is no date must not spoil the rest. */
struct wire_request {
    struct xcep_request request;
    char *last_update;
};

static const struct xmap_field client_fields[] = {
    /* 9 */
    XMAP_STRING(wire_request, last_update, "lastUpdate", XMAP_NILLABLE, XCEP_MAX_NAME),
    XMAP_STRING(wire_request, request.preferred_language, "preferredLanguage", XMAP_NILLABLE, XCEP_MAX_NAME),
};
static const struct xmap client_map = XMAP(XCEP_NS, "client", wire_request, client_fields);

static const struct xmap_field filter_fields[] = {
    /* 22, 14 */
    XMAP_STRINGS(wire_request, request.policy_oids, "policyOIDs", "oid", XMAP_NILLABLE, XCEP_MAX_FILTER, XCEP_MAX_NAME),
    XMAP_OPT_I32(wire_request, request.client_version, "clientVersion", XMAP_NILLABLE),
    XMAP_OPT_I32(wire_request, request.server_version, "serverVersion", XMAP_NILLABLE),
};
static const struct xmap filter_map = XMAP(XCEP_NS, "requestFilter", wire_request, filter_fields);

static const struct xmap_field request_fields[] = {
    XMAP_NEST("client", XMAP_REQUIRED, &client_map, .not_empty = true),
    XMAP_NEST_IF(wire_request, request.has_filter, "requestFilter", XMAP_NILLABLE, &filter_map),
};
static const struct xmap request_map = XMAP(XCEP_NS, "GetPolicies", wire_request, request_fields);

/* GetPoliciesResponse, from the inside out. */

static const struct xmap_field extension_fields[] = {
    /* 12 */
    XMAP_I32(xcep_extension, oid, "oIDReference", XMAP_REQUIRED),
    XMAP_BOOL(xcep_extension, critical, "critical", XMAP_DEFAULTED),
    XMAP_BYTES(xcep_extension, value, "value", XMAP_NILLABLE, XCEP_MAX_DER),
};
static const struct xmap extension_map = XMAP(XCEP_NS, "extension", xcep_extension, extension_fields);

static const struct xmap_field ra_fields[] = {
    /* 21, 18 */
    XMAP_U32(xcep_ra_requirements, signatures, "rASignatures", XMAP_REQUIRED),
    XMAP_I32S(xcep_ra_requirements, ekus, "rAEKUs", "oIDReference", XMAP_NILLABLE, XCEP_MAX_REFERENCES),
    XMAP_I32S(xcep_ra_requirements, policies, "rAPolicies", "oIDReference", XMAP_NILLABLE, XCEP_MAX_REFERENCES),
};
static const struct xmap ra_map = XMAP(XCEP_NS, "rARequirements", xcep_ra_requirements, ra_fields);

static const struct xmap_field archival_fields[] = {
    /* 15 */
    XMAP_I32(xcep_key_archival, symmetric_algorithm, "symmetricAlgorithmOIDReference", XMAP_REQUIRED),
    XMAP_U32(xcep_key_archival, symmetric_key_length, "symmetricAlgorithmKeyLength", XMAP_REQUIRED),
};
static const struct xmap archival_map = XMAP(XCEP_NS, "keyArchivalAttributes", xcep_key_archival, archival_fields);

static const struct xmap_field validity_fields[] = {
    /* 8 */
    XMAP_U64(xcep_policy, validity_seconds, "validityPeriodSeconds", XMAP_REQUIRED),
    XMAP_U64(xcep_policy, renewal_seconds, "renewalPeriodSeconds", XMAP_REQUIRED),
};
static const struct xmap validity_map = XMAP(XCEP_NS, "certificateValidity", xcep_policy, validity_fields);

static const struct xmap_field permission_fields[] = {
    /* 11 */
    XMAP_BOOL(xcep_policy, enroll, "enroll", XMAP_REQUIRED),
    XMAP_BOOL(xcep_policy, auto_enroll, "autoEnroll", XMAP_REQUIRED),
};
static const struct xmap permission_map = XMAP(XCEP_NS, "permission", xcep_policy, permission_fields);

static const struct xmap_field key_fields[] = {
    /* 20 */
    XMAP_U32(xcep_policy, minimal_key_length, "minimalKeyLength", XMAP_REQUIRED),
    XMAP_OPT_U32(xcep_policy, key_spec, "keySpec", XMAP_NILLABLE),
    XMAP_OPT_U32(xcep_policy, key_usage, "keyUsageProperty", XMAP_NILLABLE),
    XMAP_STRING(xcep_policy, key_permissions, "permissions", XMAP_NILLABLE, XCEP_MAX_SDDL),
    XMAP_OPT_I32(xcep_policy, key_algorithm, "algorithmOIDReference", XMAP_NILLABLE),
    XMAP_STRINGS(xcep_policy, crypto_providers, "cryptoProviders", "provider", XMAP_NILLABLE, XCEP_MAX_REFERENCES,
        XCEP_MAX_NAME),
};
static const struct xmap key_map = XMAP(XCEP_NS, "privateKeyAttributes", xcep_policy, key_fields);

static const struct xmap_field revision_fields[] = {
    /* 24 */
    XMAP_U32(xcep_policy, major_revision, "majorRevision", XMAP_REQUIRED),
    XMAP_U32(xcep_policy, minor_revision, "minorRevision", XMAP_DEFAULTED),
};
static const struct xmap revision_map = XMAP(XCEP_NS, "revision", xcep_policy, revision_fields);

static const struct xmap_field attributes_fields[] = {
    /* 1 */
    XMAP_STRING(xcep_policy, common_name, "commonName", XMAP_REQUIRED, XCEP_MAX_NAME),
    XMAP_U32(xcep_policy, schema, "policySchema", XMAP_REQUIRED),
    XMAP_NEST("certificateValidity", XMAP_REQUIRED, &validity_map),
    XMAP_NEST("permission", XMAP_REQUIRED, &permission_map), XMAP_NEST("privateKeyAttributes", XMAP_REQUIRED, &key_map),
    XMAP_NEST("revision", XMAP_REQUIRED, &revision_map),
    XMAP_STRINGS(
        xcep_policy, superseded, "supersededPolicies", "commonName", XMAP_NILLABLE, XCEP_MAX_REFERENCES, XCEP_MAX_NAME),
    XMAP_OPT_U32(xcep_policy, private_key_flags, "privateKeyFlags", XMAP_NILLABLE),
    XMAP_OPT_U32(xcep_policy, subject_name_flags, "subjectNameFlags", XMAP_NILLABLE),
    XMAP_OPT_U32(xcep_policy, enrollment_flags, "enrollmentFlags", XMAP_NILLABLE),
    XMAP_OPT_U32(xcep_policy, general_flags, "generalFlags", XMAP_NILLABLE),
    XMAP_OPT_I32(xcep_policy, hash_algorithm, "hashAlgorithmOIDReference", XMAP_NILLABLE),
    XMAP_STRUCT(xcep_policy, ra_requirements, xcep_ra_requirements, "rARequirements", XMAP_NILLABLE, &ra_map),
    XMAP_STRUCT(xcep_policy, key_archival, xcep_key_archival, "keyArchivalAttributes", XMAP_NILLABLE, &archival_map),
    XMAP_LIST(xcep_policy, extensions, xcep_extension, "extensions", XMAP_NILLABLE, XCEP_MAX_REFERENCES,
        &extension_map), /* 13 */
};
static const struct xmap attributes_map = XMAP(XCEP_NS, "attributes", xcep_policy, attributes_fields);

static const struct xmap_field policy_fields[] = {
    /* 7, 4 */
    XMAP_I32(xcep_policy, oid, "policyOIDReference", XMAP_REQUIRED),
    XMAP_I32S(xcep_policy, cas, "cAs", "cAReference", XMAP_NILLABLE, XCEP_MAX_REFERENCES),
    XMAP_NEST("attributes", XMAP_REQUIRED, &attributes_map),
};
static const struct xmap policy_map = XMAP(XCEP_NS, "policy", xcep_policy, policy_fields);

static const struct xmap_field ca_uri_fields[] = {
    /* 5 */
    XMAP_U32(xcep_ca_uri, auth, "clientAuthentication", XMAP_REQUIRED),
    XMAP_STRING(xcep_ca_uri, uri, "uri", XMAP_REQUIRED, XCEP_MAX_URI),
    XMAP_OPT_U32(xcep_ca_uri, priority, "priority", XMAP_NILLABLE),
    XMAP_OPT_BOOL(xcep_ca_uri, renewal_only, "renewalOnly", XMAP_NILLABLE),
};
static const struct xmap ca_uri_map = XMAP(XCEP_NS, "cAURI", xcep_ca_uri, ca_uri_fields);

static const struct xmap_field ca_fields[] = {
    /* 2, 6 */
    XMAP_LIST(xcep_ca, uris, xcep_ca_uri, "uris", XMAP_REQUIRED, XCEP_MAX_REFERENCES, &ca_uri_map),
    XMAP_BYTES(xcep_ca, certificate, "certificate", XMAP_REQUIRED, XCEP_MAX_DER),
    XMAP_BOOL(xcep_ca, enroll_permission, "enrollPermission", XMAP_REQUIRED),
    XMAP_I32(xcep_ca, id, "cAReferenceID", XMAP_REQUIRED),
};
static const struct xmap ca_map = XMAP(XCEP_NS, "cA", xcep_ca, ca_fields);

static const struct xmap_field oid_fields[] = {
    /* 16 */
    XMAP_STRING(xcep_oid, value, "value", XMAP_REQUIRED, XCEP_MAX_NAME),
    XMAP_U32(xcep_oid, group, "group", XMAP_REQUIRED),
    XMAP_I32(xcep_oid, id, "oIDReferenceID", XMAP_REQUIRED),
    XMAP_STRING(xcep_oid, default_name, "defaultName", XMAP_NILLABLE, XCEP_MAX_NAME),
};
static const struct xmap oid_map = XMAP(XCEP_NS, "oID", xcep_oid, oid_fields);

static const struct xmap_field inner_response_fields[] = {
    /* 23, 19 */
    XMAP_STRING(xcep_response, policy_id, "policyID", XMAP_DEFAULTED, XCEP_MAX_NAME),
    XMAP_STRING(xcep_response, friendly_name, "policyFriendlyName", XMAP_NILLABLE, XCEP_MAX_NAME),
    XMAP_OPT_U32(xcep_response, next_update_hours, "nextUpdateHours", XMAP_NILLABLE),
    XMAP_OPT_BOOL(xcep_response, policies_not_changed, "policiesNotChanged", XMAP_NILLABLE),
    XMAP_LIST(xcep_response, policies, xcep_policy, "policies", XMAP_NILLABLE, XCEP_MAX_POLICIES, &policy_map,
        .skip_bad = true),
};
static const struct xmap inner_response_map = XMAP(XCEP_NS, "response", xcep_response, inner_response_fields);

static const struct xmap_field response_fields[] = {
    /* 3, 17 */
    XMAP_NEST("response", XMAP_NILLABLE, &inner_response_map),
    XMAP_LIST(xcep_response, cas, xcep_ca, "cAs", XMAP_NILLABLE, XCEP_MAX_CAS, &ca_map, .skip_bad = true),
    XMAP_LIST(xcep_response, oids, xcep_oid, "oIDs", XMAP_NILLABLE, XCEP_MAX_OIDS, &oid_map, .skip_bad = true),
};
static const struct xmap response_map = XMAP(XCEP_NS, "GetPoliciesResponse", xcep_response, response_fields);

void xcep_request_clear(struct xcep_request *request)
{
    struct wire_request wire = {.request = *request};

    xmap_clear(&request_map, &wire);
    *request = (struct xcep_request){0};
}

void xcep_response_clear(struct xcep_response *response)
{
    struct strlist skipped = response->skipped;

    xmap_clear(&response_map, response);
    strlist_clear(&skipped);
}

int xcep_request_write(const struct soap_header *header, const struct wsse_security *security,
    const struct xcep_request *request, struct bytes *out, struct err **errp)
{
    CLEANUP(mem_freep)
    char *last_update = request->last_update.set ? when_format_xsd(request->last_update.value) : NULL;
    struct wire_request wire = {.request = *request, .last_update = last_update};

    if (soap_write(header, security, &request_map, &wire, out, errp) < 0)
        return err_wrap(errp, "writing <GetPolicies>");
    return 0;
}

int xcep_response_write(
    const struct soap_header *header, const struct xcep_response *response, struct bytes *out, struct err **errp)
{
    if (soap_write(header, NULL, &response_map, response, out, errp) < 0)
        return err_wrap(errp, "writing <GetPoliciesResponse>");
    return 0;
}

/* Windows says "never" with the first moment of year 1. */
static void read_last_update(const char *text, struct xcep_request *request)
{
    CLEANUP(err_freep) struct err *err = NULL;
    int64_t when;

    if (!text)
        return;
    if (when_parse_xsd(text, &when, &err) < 0)
        request->bad_last_update = true;
    else if (strncmp(text, "0001-", 5) != 0)
        request->last_update = (struct opt_time){.set = true, .value = when};
}

int xcep_request_parse(const struct soap_message *message, struct xcep_request *out, struct err **errp)
{
    struct wire_request wire;
    const struct _xmlNode *body;

    if (soap_message_body(message, XCEP_NS, request_map.name, &body, errp) < 0 ||
        xmap_parse(&request_map, body, &wire, NULL, errp) < 0)
        return -1;
    read_last_update(wire.last_update, &wire.request);
    free(wire.last_update);
    *out = wire.request;
    return 0;
}

/* References. */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_oids(const void *a, const void *b)
{
    return COMPARE(((const struct xcep_oid *)a)->id, ((const struct xcep_oid *)b)->id);
}

static int compare_cas(const void *a, const void *b)
{
    return COMPARE(((const struct xcep_ca *)a)->id, ((const struct xcep_ca *)b)->id);
}

const struct xcep_oid *xcep_find_oid(const struct xcep_response *response, int32_t id)
{
    struct xcep_oid key = {.id = id};

    return response->n_oids ? bsearch(&key, response->oids, response->n_oids, sizeof(key), compare_oids) : NULL;
}

const struct xcep_ca *xcep_find_ca(const struct xcep_response *response, int32_t id)
{
    struct xcep_ca key = {.id = id};

    return response->n_cas ? bsearch(&key, response->cas, response->n_cas, sizeof(key), compare_cas) : NULL;
}

/* Sorts by id, and refuses an id that is there twice: what refers to it would be a matter of luck. */
static int sort_ids(struct xcep_response *response, struct err **errp)
{
    if (response->n_oids)
        qsort(response->oids, response->n_oids, sizeof(*response->oids), compare_oids);
    if (response->n_cas)
        qsort(response->cas, response->n_cas, sizeof(*response->cas), compare_cas);
    for (size_t i = 1; i < response->n_oids; i++)
        if (response->oids[i].id == response->oids[i - 1].id)
            return err_set(
                errp, ERR_INVALID, "in <oIDs>: the oIDReferenceID %d is there twice", (int)response->oids[i].id);
    for (size_t i = 1; i < response->n_cas; i++)
        if (response->cas[i].id == response->cas[i - 1].id)
            return err_set(
                errp, ERR_INVALID, "in <cAs>: the cAReferenceID %d is there twice", (int)response->cas[i].id);
    return 0;
}

static int check_oid(const struct xcep_response *response, const char *what, int32_t id, struct err **errp)
{
    if (!xcep_find_oid(response, id))
        return err_set(errp, ERR_INVALID, "%s refers to oID %d, which is not there", what, (int)id);
    return 0;
}

static int check_oids(
    const struct xcep_response *response, const char *what, const struct xcep_references *ids, struct err **errp)
{
    for (size_t i = 0; i < ids->n; i++)
        if (check_oid(response, what, ids->items[i], errp) < 0)
            return -1;
    return 0;
}

/* All that a template refers to must be there, its extensions too: the certificate would be another without them. */
static int check_references(const struct xcep_response *response, const struct xcep_policy *policy, struct err **errp)
{
    const struct xcep_ra_requirements *ra = policy->ra_requirements;

    if (check_oid(response, "policyOIDReference", policy->oid, errp) < 0)
        return -1;
    for (size_t i = 0; i < policy->cas.n; i++)
        if (!xcep_find_ca(response, policy->cas.items[i]))
            return err_set(
                errp, ERR_INVALID, "cAReference refers to cA %d, which is not there", (int)policy->cas.items[i]);
    if (policy->key_algorithm.set &&
        check_oid(response, "algorithmOIDReference", policy->key_algorithm.value, errp) < 0)
        return -1;
    if (policy->hash_algorithm.set &&
        check_oid(response, "hashAlgorithmOIDReference", policy->hash_algorithm.value, errp) < 0)
        return -1;
    if (policy->key_archival &&
        check_oid(response, "symmetricAlgorithmOIDReference", policy->key_archival->symmetric_algorithm, errp) < 0)
        return -1;
    if (ra && (check_oids(response, "rAEKUs", &ra->ekus, errp) < 0 ||
                  check_oids(response, "rAPolicies", &ra->policies, errp) < 0))
        return -1;
    for (size_t i = 0; i < policy->n_extensions; i++)
        if (check_oid(response, "an extension", policy->extensions[i].oid, errp) < 0)
            return -1;
    return 0;
}

/* Policies in an order of their own, to see what is there twice in less than quadratic time. */
static int compare_policy_oids(const void *a, const void *b)
{
    const struct xcep_policy *x = *(const struct xcep_policy *const *)a, *y = *(const struct xcep_policy *const *)b;

    return COMPARE(x->oid, y->oid);
}

static int compare_policy_names(const void *a, const void *b)
{
    const struct xcep_policy *x = *(const struct xcep_policy *const *)a, *y = *(const struct xcep_policy *const *)b;
    int names = strcmp(x->common_name, y->common_name);

    return names ? names : COMPARE(x, y); /* the first of two stays in front */
}

static void skip_policy(struct xcep_response *response, const struct xcep_policy *policy, const char *why)
{
    CLEANUP(mem_freep) char *name = printable(policy->common_name, strlen(policy->common_name), 80);
    CLEANUP(mem_freep) char *reason = mem_printf("<policy> '%s': %s", name, why);

    strlist_add(&response->skipped, reason);
}

/* Marks in @bad those that cannot be served; -1 when two have one oid. */
static int find_bad_policies(struct xcep_response *response, bool *bad, struct err **errp)
{
    size_t n = response->n_policies;
    CLEANUP(mem_freep) const struct xcep_policy **sorted = mem_calloc(n, sizeof(struct xcep_policy *));
    const struct xcep_policy *kept = NULL;

    for (size_t i = 0; i < n; i++) {
        CLEANUP(err_freep) struct err *why = NULL;

        sorted[i] = &response->policies[i];
        bad[i] = check_references(response, sorted[i], &why) < 0;
        if (bad[i])
            skip_policy(response, sorted[i], err_text(why));
    }
    qsort(sorted, n, sizeof(struct xcep_policy *), compare_policy_oids);
    for (size_t i = 1; i < n; i++)
        if (sorted[i]->oid == sorted[i - 1]->oid)
            return err_set(
                errp, ERR_INVALID, "in <policies>: the policyOIDReference %d is there twice", (int)sorted[i]->oid);
    qsort(sorted, n, sizeof(struct xcep_policy *), compare_policy_names);
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)(sorted[i] - response->policies);

        if (bad[at])
            continue;
        bad[at] = kept && strcmp(sorted[i]->common_name, kept->common_name) == 0;
        if (bad[at])
            skip_policy(response, sorted[i], "another policy has this name");
        else
            kept = sorted[i];
    }
    return 0;
}

static int drop_bad_policies(struct xcep_response *response, struct err **errp)
{
    CLEANUP(mem_freep) bool *bad = mem_calloc(response->n_policies, sizeof(*bad));
    size_t kept = 0;

    if (find_bad_policies(response, bad, errp) < 0)
        return -1;
    for (size_t i = 0; i < response->n_policies; i++) {
        if (bad[i])
            xmap_clear(&policy_map, &response->policies[i]);
        else
            response->policies[kept++] = response->policies[i];
    }
    response->n_policies = kept;
    return 0;
}

static int parse_response(const struct _xmlNode *element, struct xcep_response *out, struct err **errp)
{
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(strlist_clear) struct strlist skipped = {0};

    if (xmap_parse(&response_map, element, &response, &skipped, errp) < 0)
        return -1;
    response.skipped = skipped;
    skipped = (struct strlist){0};
    if (sort_ids(&response, errp) < 0 || drop_bad_policies(&response, errp) < 0)
        return err_wrap(errp, "in <GetPoliciesResponse>");
    *out = response;
    response = (struct xcep_response){0};
    return 0;
}

int xcep_response_parse(const struct soap_message *message, struct xcep_response *out, struct err **errp)
{
    const struct _xmlNode *body;

    if (soap_message_body(message, XCEP_NS, response_map.name, &body, errp) < 0)
        return -1;
    return parse_response(body, out, errp);
}

int xcep_response_parse_bare(const void *data, size_t len, struct xcep_response *out, struct err **errp)
{
    CLEANUP(xmldoc_freep) struct xmldoc *doc = NULL;
    const struct _xmlNode *root;

    if (xmldoc_parse(data, len, &doc, errp) < 0)
        return -1;
    root = xmldoc_root(doc);
    if (!xmlnode_is(root, XCEP_NS, response_map.name))
        return err_set(errp, ERR_INVALID, "line %ld: <%s> where <%s> should be", xmlnode_line(root), xmlnode_name(root),
            response_map.name);
    return parse_response(root, out, errp);
}

/* Names. */

struct number_name {
    uint32_t number;
    const char *name;
};

static const char *name_of(const struct number_name *names, size_t n, uint32_t number)
{
    for (size_t i = 0; i < n; i++)
        if (names[i].number == number)
            return names[i].name;
    return "unknown";
}

const char *xcep_auth_name(uint32_t auth)
{
    static const struct number_name names[] = {
        {XCEP_AUTH_ANONYMOUS, "anonymous"},
        {XCEP_AUTH_KERBEROS, "kerberos"},
        {XCEP_AUTH_USERNAME, "username"},
        {XCEP_AUTH_CERTIFICATE, "certificate"},
    };

    return name_of(names, ARRAY_SIZE(names), auth);
}

const char *xcep_group_name(uint32_t group)
{
    static const struct number_name names[] = {
        {XCEP_GROUP_HASH, "hash algorithm"},
        {XCEP_GROUP_ENCRYPTION, "encryption algorithm"},
        {XCEP_GROUP_PUBLIC_KEY, "public key algorithm"},
        {XCEP_GROUP_SIGNATURE, "signature algorithm"},
        {XCEP_GROUP_RDN, "name attribute"},
        {XCEP_GROUP_EXTENSION, "extension or attribute"},
        {XCEP_GROUP_EKU, "extended key usage"},
        {XCEP_GROUP_POLICY, "certificate policy"},
        {XCEP_GROUP_TEMPLATE, "template"},
    };

    return name_of(names, ARRAY_SIZE(names), group);
}
