#include "policy/policy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/base/when.h"

static const struct {
    uint32_t auth;
    const char *name;
} auths[] = {
#define X(name, value, text) {value, text},
    POLICY_AUTHS(X)
#undef X
};

const char *policy_auth_name(uint32_t auth)
{
    for (size_t i = 0; i < ARRAY_SIZE(auths); i++)
        if (auths[i].auth == auth)
            return auths[i].name;
    return "unknown";
}

bool policy_auth_parse(const char *name, uint32_t *auth)
{
    for (size_t i = 0; i < ARRAY_SIZE(auths); i++)
        if (strcmp(auths[i].name, name) == 0) {
            *auth = auths[i].auth;
            return true;
        }
    return false;
}

const struct template *policy_find_template(const struct policy *policy, const char *oid)
{
    for (size_t i = 0; i < policy->n_templates; i++)
        if (strcmp(policy->templates[i].oid, oid) == 0)
            return &policy->templates[i];
    return NULL;
}

const struct template *policy_find_template_by_name(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->n_templates; i++)
        if (strcmp(policy->templates[i].name, name) == 0)
            return &policy->templates[i];
    return NULL;
}

int policy_check(const struct policy *policy, struct err **errp)
{
    for (size_t i = 0; i < policy->n_templates; i++) {
        const struct template *t = &policy->templates[i];

        if (!t->name || !t->oid)
            return err_set(errp, ERR_INVALID, "template %zu has no name or no OID", i + 1);
        for (size_t j = 0; j < t->n_cas; j++)
            if (t->cas[j] >= policy->n_cas)
                return err_set(errp, ERR_INVALID, "template %zu refers to a CA that is not there", i + 1);
    }
    return 0;
}

/* The server's clock may be corrected, and those of several servers differ; not by that much. */
#define CLOCK_SLACK WHEN_DAY

static bool is_earlier(const struct template *a, const struct template *b)
{
    return a->major < b->major || (a->major == b->major && a->minor < b->minor);
}

static bool clock_went_back(const struct policy *now, const struct policy *before, char **why)
{
    CLEANUP(mem_freep) char *said = NULL;
    CLEANUP(mem_freep) char *says = NULL;

    if (now->fetched_at >= before->fetched_at || before->fetched_at - CLOCK_SLACK <= now->fetched_at)
        return false;
    said = when_format(before->fetched_at);
    says = when_format(now->fetched_at);
    *why = mem_printf("the server's clock says %s, and its last answer was of %s", says, said);
    return true;
}

bool policy_is_older(const struct policy *now, const struct policy *before, char **why)
{
    for (size_t i = 0; i < now->n_templates; i++) {
        const struct template *new = &now->templates[i];
        const struct template *old = policy_find_template(before, new->oid);

        if (!old || !is_earlier(new, old))
            continue;
        *why = mem_printf("template '%s' has version %" PRIu32 ".%" PRIu32 ", and had %" PRIu32 ".%" PRIu32 " before",
            new->name, new->major, new->minor, old->major, old->minor);
        return true;
    }
    return clock_went_back(now, before, why);
}

char *policy_common_name(const char *subject)
{
    char *out = mem_strdup(subject);
    char *to = out;
    const char *at = subject;

    while (strncmp(at, "CN=", 3) != 0) {
        while (*at && *at != ',' && *at != '+')
            at += *at == '\\' && at[1] ? 2 : 1;
        if (!*at)
            return out;
        at++;
    }
    for (at += 3; *at && *at != ',' && *at != '+'; at++) {
        if (*at == '\\' && at[1] && strchr(" \"#+,;<=>\\", at[1]))
            at++;
        *to++ = *at;
    }
    *to = '\0';
    return out;
}

bool policy_ca_issued(const struct policy_ca *ca, const char *issuer)
{
    CLEANUP(mem_freep) char *name = issuer ? policy_common_name(issuer) : NULL;

    return name && ca->name && strcmp(name, ca->name) == 0;
}

static void extension_clear(struct policy_extension *extension)
{
    free(extension->oid);
    bytes_clear(&extension->value);
}

void template_clear(struct template *template)
{
    free(template->name);
    free(template->oid);
    free(template->key_algorithm);
    free(template->hash);
    strlist_clear(&template->ra_ekus);
    strlist_clear(&template->ra_policies);
    strlist_clear(&template->superseded);
    strlist_clear(&template->providers);
    for (size_t i = 0; i < template->n_extensions; i++)
        extension_clear(&template->extensions[i]);
    free(template->extensions);
    free(template->cas);
    *template = (struct template){0};
}

void template_copy(struct template *to, const struct template *from)
{
    *to = *from;
    to->name = mem_strdup_opt(from->name);
    to->oid = mem_strdup_opt(from->oid);
    to->key_algorithm = mem_strdup_opt(from->key_algorithm);
    to->hash = mem_strdup_opt(from->hash);
    strlist_copy(&to->ra_ekus, &from->ra_ekus);
    strlist_copy(&to->ra_policies, &from->ra_policies);
    strlist_copy(&to->superseded, &from->superseded);
    strlist_copy(&to->providers, &from->providers);
    to->extensions = from->n_extensions ? mem_calloc(from->n_extensions, sizeof(*to->extensions)) : NULL;
    for (size_t i = 0; i < from->n_extensions; i++) {
        to->extensions[i].oid = mem_strdup_opt(from->extensions[i].oid);
        to->extensions[i].critical = from->extensions[i].critical;
        bytes_copy(&to->extensions[i].value, &from->extensions[i].value);
    }
    to->cas = from->n_cas ? mem_dup(from->cas, from->n_cas * sizeof(*from->cas)) : NULL;
}

void policy_ca_clear(struct policy_ca *ca)
{
    free(ca->name);
    bytes_clear(&ca->certificate);
    for (size_t i = 0; i < ca->n_uris; i++)
        free(ca->uris[i].uri);
    free(ca->uris);
    *ca = (struct policy_ca){0};
}

void policy_ca_copy(struct policy_ca *to, const struct policy_ca *from)
{
    *to = *from;
    to->name = mem_strdup_opt(from->name);
    bytes_copy(&to->certificate, &from->certificate);
    to->uris = from->n_uris ? mem_dup(from->uris, from->n_uris * sizeof(*from->uris)) : NULL;
    for (size_t i = 0; i < from->n_uris; i++)
        to->uris[i].uri = mem_strdup_opt(from->uris[i].uri);
}

void policy_clear(struct policy *policy)
{
    free(policy->id);
    free(policy->friendly_name);
    for (size_t i = 0; i < policy->n_templates; i++)
        template_clear(&policy->templates[i]);
    free(policy->templates);
    for (size_t i = 0; i < policy->n_cas; i++)
        policy_ca_clear(&policy->cas[i]);
    free(policy->cas);
    strlist_clear(&policy->skipped);
    *policy = (struct policy){0};
}
