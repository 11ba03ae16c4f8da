#include "agent/submit/endpoint.h"

#include <stdlib.h>
#include <string.h>

void endpoint_list_clear(struct endpoint_list *list)
{
    free(list->items);
    *list = (struct endpoint_list){0};
}

/* Equal priorities: Kerberos, then anonymous, then what we have stored, as Windows clients order policy servers. */
static uint32_t auth_rank(uint32_t auth)
{
    return auth == POLICY_AUTH_KERBEROS ? 0 : auth == POLICY_AUTH_ANONYMOUS ? 1 : 2;
}

static const char *refusal(const struct endpoint_question *q, const struct policy_ca *ca, const struct policy_uri *uri)
{
    if (!ca->enroll_permission)
        return "the policy gives us no permission to enroll at this CA";
    if (uri->renewal_only && !q->renewal)
        return "it serves renewals only";
    if (uri->auth == POLICY_AUTH_ANONYMOUS && !q->renewal)
        return "without authentication only a renewal is possible";
    if (uri->auth == POLICY_AUTH_USERNAME && q->renewal && !q->password_fallback)
        return "a renewal uses no password unless password-fallback = yes";
    if ((uri->auth & (uri->auth - 1)) || !(q->auths & uri->auth)) /* one kind, no mask */
        return "there is no credential for its kind of authentication";
    return NULL;
}

static void add(const struct endpoint_question *q, size_t ca, const struct policy_uri *uri, uint32_t chance,
    struct endpoint_list *out)
{
    struct endpoint *e = MEM_APPEND(out->items, out->n);

    *e = (struct endpoint){.ca = &q->cas[ca], .uri = uri, .refused = refusal(q, &q->cas[ca], uri)};
    e->rank[0] = q->renewal ? (uint32_t)ca : 0;
    e->rank[1] = q->renewal && !uri->renewal_only;
    e->rank[2] = uri->priority.set ? uri->priority.value : UINT32_MAX;
    e->rank[3] = auth_rank(uri->auth);
    e->rank[4] = chance;
    out->n_usable += !e->refused;
}

static int compare(const void *left, const void *right)
{
    const struct endpoint *a = left;
    const struct endpoint *b = right;

    if (!a->refused != !b->refused)
        return a->refused ? 1 : -1;
    for (size_t i = 0; i < ARRAY_SIZE(a->rank); i++)
        if (a->rank[i] != b->rank[i])
            return a->rank[i] < b->rank[i] ? -1 : 1;
    return 0;
}

void endpoint_order(const struct endpoint_question *question, uint32_t (*chance)(void), struct endpoint_list *out)
{
    *out = (struct endpoint_list){0};
    for (size_t i = 0; i < question->n_cas; i++)
        for (size_t j = 0; j < question->cas[i].n_uris; j++)
            add(question, i, &question->cas[i].uris[j], chance(), out);
    if (out->n)
        qsort(out->items, out->n, sizeof(*out->items), compare);
}
