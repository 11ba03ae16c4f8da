#include "agent/key/key_token_certificates.h"

#include <stdlib.h>
#include <string.h>

#include "agent/key/token_find.h"
#include "agent/key/token_session.h"
#include "agent/key/token_uri.h"

void token_certificates_clear(struct token_certificates *list)
{
    for (size_t i = 0; i < list->n; i++) {
        bytes_clear(&list->items[i].id);
        bytes_clear(&list->items[i].der);
        free(list->items[i].label);
        free(list->items[i].uri);
    }
    free(list->items);
    *list = (struct token_certificates){0};
}

struct certificates_job {
    struct token *token;
    const struct bytes *id; /* NULL: all */
    struct token_certificates list;
};

static int read_object(
    struct token_session *s, CK_OBJECT_HANDLE object, struct certificates_job *job, struct err **errp)
{
    struct token_certificate found = {0};
    CLEANUP(bytes_clear) struct bytes label = {0};

    if (token_session_get(s, object, CKA_VALUE, &found.der, errp) < 0 ||
        token_session_get(s, object, CKA_ID, &found.id, errp) < 0 ||
        token_session_get(s, object, CKA_LABEL, &label, errp) < 0) {
        bytes_clear(&found.der);
        bytes_clear(&found.id);
        return -1;
    }
    if (!found.der.len) {
        bytes_clear(&found.id);
        return 0;
    }
    found.label = mem_strndup(bytes_text(&label), label.len);
    found.uri = token_uri_write_certificate(token_raw_info(job->token), &found.id, found.label);
    *MEM_APPEND(job->list.items, job->list.n) = found;
    return 0;
}

static int certificates_operation(struct token_session *s, void *arg, struct err **errp)
{
    static const CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CLEANUP(mem_freep) CK_OBJECT_HANDLE *handles = mem_calloc(TOKEN_MAX_OBJECTS, sizeof(*handles));
    struct certificates_job *job = arg;
    CK_ATTRIBUTE match[2] = {token_attribute(CKA_CLASS, &class, sizeof(class))};
    CK_ULONG n_match = 1;
    int n;

    if (job->id)
        match[n_match++] = token_attribute(CKA_ID, job->id->data, job->id->len);
    token_certificates_clear(&job->list);
    n = token_session_find(s, match, n_match, handles, TOKEN_MAX_OBJECTS, errp);
    for (int i = 0; i < n; i++)
        if (read_object(s, handles[i], job, errp) < 0)
            return -1;
    return n < 0 ? -1 : 0;
}

int key_token_certificates(
    struct token *token, const struct bytes *id, struct token_certificates *out, struct err **errp)
{
    struct certificates_job job = {.token = token, .id = id};

    if (token_run(token, TOKEN_READ, certificates_operation, &job, errp) < 0) {
        token_certificates_clear(&job.list);
        return err_wrap(errp, "listing certificates");
    }
    *out = job.list;
    return 0;
}
