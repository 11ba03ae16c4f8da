#include "policy/merge.h"

#include <string.h>

static void merge_uris(struct policy_ca *to, const struct policy_ca *from)
{
    for (size_t i = 0; i < from->n_uris; i++) {
        const struct policy_uri *uri = &from->uris[i];
        size_t j = 0;

        while (j < to->n_uris && (to->uris[j].auth != uri->auth || strcmp(to->uris[j].uri, uri->uri) != 0))
            j++;
        if (j == to->n_uris && to->n_uris < POLICY_MAX_URIS) {
            struct policy_uri *added = MEM_APPEND(to->uris, to->n_uris);

            *added = *uri;
            added->uri = mem_strdup(uri->uri);
        }
    }
}

/* Returns the index of the CA in @to, where it is added when it is new; POLICY_MAX_CAS when there is no more room. */
static uint32_t merge_ca(struct policy *to, const struct policy_ca *ca)
{
    for (size_t i = 0; i < to->n_cas; i++) {
        if (bytes_equal(&to->cas[i].certificate, &ca->certificate)) {
            to->cas[i].enroll_permission |= ca->enroll_permission;
            merge_uris(&to->cas[i], ca);
            return (uint32_t)i;
        }
    }
    if (to->n_cas == POLICY_MAX_CAS)
        return POLICY_MAX_CAS;
    policy_ca_copy(MEM_APPEND(to->cas, to->n_cas), ca);
    return (uint32_t)to->n_cas - 1;
}

static void merge_template(struct policy *to, const struct template *from, const uint32_t *new_index)
{
    struct template *same = NULL;

    for (size_t i = 0; i < to->n_templates && !same; i++)
        if (strcmp(to->templates[i].oid, from->oid) == 0)
            same = &to->templates[i];
    if (!same) {
        if (to->n_templates == POLICY_MAX_TEMPLATES)
            return;
        same = MEM_APPEND(to->templates, to->n_templates);
        template_copy(same, from);
        same->n_cas = 0; /* the indices are those of the other policy */
    }
    same->enroll |= from->enroll;
    same->autoenroll |= from->autoenroll;
    for (size_t i = 0; i < from->n_cas; i++) {
        uint32_t index = new_index[from->cas[i]];
        size_t j = 0;

        while (j < same->n_cas && same->cas[j] != index)
            j++;
        if (j == same->n_cas && index < POLICY_MAX_CAS)
            *MEM_APPEND(same->cas, same->n_cas) = index;
    }
}

void policy_merge(struct policy *to, const struct policy *from)
{
    uint32_t new_index[POLICY_MAX_CAS];

    if (!to->id)
        to->id = mem_strdup_opt(from->id);
    if (!to->friendly_name)
        to->friendly_name = mem_strdup_opt(from->friendly_name);
    for (size_t i = 0; i < from->n_cas && i < POLICY_MAX_CAS; i++)
        new_index[i] = merge_ca(to, &from->cas[i]);
    for (size_t i = 0; i < from->n_templates; i++)
        merge_template(to, &from->templates[i], new_index);
    for (size_t i = 0; i < from->skipped.n; i++)
        if (!strlist_has(&to->skipped, from->skipped.items[i]))
            strlist_add(&to->skipped, from->skipped.items[i]);
}
