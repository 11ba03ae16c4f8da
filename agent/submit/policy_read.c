#include "agent/submit/policy_read.h"

#include <stdlib.h>
#include <string.h>

#include "agent/job/job_fields.h"
#include "protocol/base/printable.h"
#include "protocol/pki/cert.h"
#include "protocol/pki/oid.h"

#define SHOWN 200 /* characters of a name in a sentence */

/* A sentence fits the bounds of the channel, whatever it tells of. */
static void note(struct strlist *skipped, const char *text)
{
    CLEANUP(mem_freep) char *line = printable(text, strlen(text), POLICY_MAX_TEXT / 4);

    if (skipped->n < JOB_MAX_SKIPPED)
        strlist_add(skipped, line);
}

/* Text of the server's that becomes a value: whole, or not at all. */
static int take_text(const char *text, const char *what, char **out, struct err **errp)
{
    if (!text || !utf8_valid(text, strlen(text)))
        return err_set(errp, ERR_INVALID, "%s is no text", what);
    if (strlen(text) > POLICY_MAX_TEXT)
        return err_set(errp, ERR_INVALID, "%s is longer than %d bytes", what, POLICY_MAX_TEXT);
    *out = mem_strdup(text);
    return 0;
}

static int take_list(const struct strlist *from, const char *what, struct strlist *to, struct err **errp)
{
    if (from->n > JOB_MAX_NAMES)
        return err_set(errp, ERR_INVALID, "%s: more than %d of them", what, JOB_MAX_NAMES);
    for (size_t i = 0; i < from->n; i++) {
        CLEANUP(mem_freep) char *text = NULL;

        if (take_text(from->items[i], what, &text, errp) < 0)
            return -1;
        strlist_add(to, text);
    }
    return 0;
}

static int resolve(const struct xcep_response *response, int32_t id, const char *what, char **oid, struct err **errp)
{
    const struct xcep_oid *found = xcep_find_oid(response, id);

    if (!found)
        return err_set(errp, ERR_INVALID, "%s refers to OID %d, which is not in the answer", what, (int)id);
    if (!oid_valid(found->value))
        return err_set(errp, ERR_INVALID, "%s is no object identifier", what);
    free(*oid);
    *oid = mem_strdup(found->value);
    return 0;
}

static int resolve_opt(
    const struct xcep_response *response, const struct opt_i32 *id, const char *what, char **oid, struct err **errp)
{
    return id->set ? resolve(response, id->value, what, oid, errp) : 0;
}

static int resolve_list(const struct xcep_response *response, const struct xcep_references *references,
    const char *what, struct strlist *to, struct err **errp)
{
    if (references->n > JOB_MAX_NAMES)
        return err_set(errp, ERR_INVALID, "%s: more than %d of them", what, JOB_MAX_NAMES);
    for (size_t i = 0; i < references->n; i++) {
        CLEANUP(mem_freep) char *oid = NULL;

        if (resolve(response, references->items[i], what, &oid, errp) < 0)
            return -1;
        strlist_add(to, oid);
    }
    return 0;
}

static int take_extensions(
    const struct xcep_response *response, const struct xcep_policy *from, struct template *to, struct err **errp)
{
    for (size_t i = 0; i < from->n_extensions; i++) {
        const struct xcep_extension *extension = &from->extensions[i];
        struct policy_extension *new;

        if (!extension->value.len)
            continue; /* the specification's own examples print them empty */
        if (extension->value.len > POLICY_MAX_DER || to->n_extensions == POLICY_MAX_EXTENSIONS)
            return err_set(errp, ERR_INVALID, "its extensions are too many or too long");
        new = MEM_APPEND(to->extensions, to->n_extensions);
        new->critical = extension->critical;
        bytes_copy(&new->value, &extension->value);
        if (resolve(response, extension->oid, "an extension", &new->oid, errp) < 0)
            return -1;
    }
    return 0;
}

static int take_ra(const struct xcep_response *response, const struct xcep_ra_requirements *from, struct template *to,
    struct err **errp)
{
    if (!from)
        return 0;
    to->ra_signatures = from->signatures;
    if (resolve_list(response, &from->ekus, "an RA's extended key usage", &to->ra_ekus, errp) < 0)
        return -1;
    return resolve_list(response, &from->policies, "an RA's policy", &to->ra_policies, errp);
}

static uint32_t flags(const struct opt_u32 *word)
{
    return word->set ? word->value : 0;
}

static void take_numbers(const struct xcep_policy *from, struct template *to)
{
    to->schema = from->schema;
    to->major = from->major_revision;
    to->minor = from->minor_revision;
    to->validity = from->validity_seconds;
    to->renewal = from->renewal_seconds;
    to->enroll = from->enroll;
    to->autoenroll = from->auto_enroll;
    to->key_length = from->minimal_key_length;
    to->key_spec = from->key_spec;
    to->key_usage_property = from->key_usage;
    to->private_key_flags = flags(&from->private_key_flags);
    to->subject_name_flags = flags(&from->subject_name_flags);
    to->enrollment_flags = flags(&from->enrollment_flags);
    to->general_flags = flags(&from->general_flags);
    to->archival = from->key_archival != NULL;
}

/* Where a CA of the answer is in the policy; SIZE_MAX when it was left out. */
static size_t ca_index(const size_t *index, const struct xcep_response *response, int32_t id)
{
    const struct xcep_ca *ca = xcep_find_ca(response, id);

    return ca ? index[ca - response->cas] : SIZE_MAX;
}

static int take_template(const struct xcep_response *response, const struct xcep_policy *from, const size_t *index,
    struct template *to, struct err **errp)
{
    take_numbers(from, to);
    if (take_text(from->common_name, "its name", &to->name, errp) < 0 ||
        resolve(response, from->oid, "the template", &to->oid, errp) < 0 ||
        resolve_opt(response, &from->key_algorithm, "its key algorithm", &to->key_algorithm, errp) < 0 ||
        resolve_opt(response, &from->hash_algorithm, "its hash algorithm", &to->hash, errp) < 0 ||
        take_ra(response, from->ra_requirements, to, errp) < 0 ||
        take_list(&from->superseded, "a superseded template", &to->superseded, errp) < 0 ||
        take_list(&from->crypto_providers, "a provider", &to->providers, errp) < 0 ||
        take_extensions(response, from, to, errp) < 0)
        return -1;
    for (size_t i = 0; i < from->cas.n; i++) {
        size_t ca = ca_index(index, response, from->cas.items[i]);

        if (ca != SIZE_MAX)
            *MEM_APPEND(to->cas, to->n_cas) = (uint32_t)ca;
    }
    return 0;
}

static int take_ca(const struct xcep_ca *from, struct policy_ca *to, struct strlist *skipped, struct err **errp)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;

    if (cert_parse(from->certificate.data, from->certificate.len, &cert, errp) < 0)
        return err_wrap(errp, "its certificate");
    if (!cert->is_ca)
        return err_set(errp, ERR_INVALID, "its certificate (%s) is not that of a CA", cert->subject);
    to->name = policy_common_name(cert->subject);
    if (strlen(to->name) > POLICY_MAX_TEXT)
        return err_set(errp, ERR_INVALID, "its name is longer than %d bytes", POLICY_MAX_TEXT);
    to->enroll_permission = from->enroll_permission;
    bytes_copy(&to->certificate, &from->certificate);
    for (size_t i = 0; i < from->n_uris; i++) {
        const struct xcep_ca_uri *uri = &from->uris[i];
        CLEANUP(mem_freep) char *text = NULL;
        CLEANUP(err_freep) struct err *why = NULL;

        if (to->n_uris == POLICY_MAX_URIS)
            err_set(&why, ERR_INVALID, "it has more than %d addresses", POLICY_MAX_URIS);
        if (why || take_text(uri->uri, "an address", &text, &why) < 0) {
            CLEANUP(mem_freep) char *line = mem_printf("an address of CA '%s': %s", to->name, err_text(why));

            note(skipped, line);
            continue;
        }
        *MEM_APPEND(to->uris, to->n_uris) = (struct policy_uri){.auth = uri->auth,
            .uri = TAKE(text),
            .priority = uri->priority,
            .renewal_only = uri->renewal_only.set && uri->renewal_only.value};
    }
    return 0;
}

static void skip(struct policy *out, const char *kind, const char *name, const struct err *why)
{
    CLEANUP(mem_freep) char *shown = printable(name ? name : "", name ? strlen(name) : 0, SHOWN);
    CLEANUP(mem_freep) char *line = mem_printf("%s '%s' is left out: %s", kind, shown, err_text(why));

    note(&out->skipped, line);
}

static void read_cas(const struct xcep_response *response, size_t *index, struct policy *out)
{
    for (size_t i = 0; i < response->n_cas; i++) {
        CLEANUP(policy_ca_clear) struct policy_ca ca = {0};
        CLEANUP(err_freep) struct err *why = NULL;

        index[i] = SIZE_MAX;
        if (out->n_cas == POLICY_MAX_CAS)
            err_set(&why, ERR_INVALID, "the policy has more than %d of them", POLICY_MAX_CAS);
        if (why || take_ca(&response->cas[i], &ca, &out->skipped, &why) < 0) {
            CLEANUP(mem_freep) char *id = mem_printf("%d", (int)response->cas[i].id);

            skip(out, "CA", id, why);
            continue;
        }
        index[i] = out->n_cas;
        *MEM_APPEND(out->cas, out->n_cas) = ca;
        ca = (struct policy_ca){0};
    }
}

static void read_templates(const struct xcep_response *response, const size_t *index, struct policy *out)
{
    for (size_t i = 0; i < response->n_policies; i++) {
        CLEANUP(template_clear) struct template template = {0};
        CLEANUP(err_freep) struct err *why = NULL;

        if (out->n_templates == POLICY_MAX_TEMPLATES)
            err_set(&why, ERR_INVALID, "the policy has more than %d of them", POLICY_MAX_TEMPLATES);
        if (why || take_template(response, &response->policies[i], index, &template, &why) < 0) {
            skip(out, "template", response->policies[i].common_name, why);
            continue;
        }
        *MEM_APPEND(out->templates, out->n_templates) = template;
        template = (struct template){0};
    }
}

void policy_read(const struct xcep_response *response, int64_t fetched_at, struct policy *out)
{
    CLEANUP(mem_freep) size_t *index = mem_calloc(response->n_cas + 1, sizeof(*index));

    *out = (struct policy){.id = mem_strdup(response->policy_id ? response->policy_id : ""),
        .friendly_name = mem_strdup_opt(response->friendly_name),
        .next_update_hours = response->next_update_hours,
        .fetched_at = fetched_at};
    for (size_t i = 0; i < response->skipped.n; i++)
        note(&out->skipped, response->skipped.items[i]);
    read_cas(response, index, out);
    read_templates(response, index, out);
    if (!out->n_templates && !response->n_policies)
        note(&out->skipped,
            "the policy server offers this identity no template: the account may lack Read or Enroll on every "
            "template, or (at a key-based-renewal address) no template is configured for key-based renewal");
}
