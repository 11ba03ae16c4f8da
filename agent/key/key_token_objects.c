#include "agent/key/key_token_objects.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/x509.h>

#include "agent/key/token_find.h"
#include "agent/key/token_session.h"

static int destroy_operation(struct token_session *s, void *arg, struct err **errp)
{
    CK_OBJECT_HANDLE handles[TOKEN_MAX_SAME_ID];
    int n = token_find_id(s, arg, handles, errp);

    for (int i = 0; i < n; i++) {
        CK_RV rv = s->f->C_DestroyObject(s->handle, handles[i]);

        if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID) /* the second: another process was faster */
            return token_session_fail(s, "C_DestroyObject", rv, errp);
    }
    return n < 0 ? -1 : 0;
}

int key_token_destroy(struct token *token, const struct bytes *id, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes copy = {0};

    bytes_copy(&copy, id);
    if (id->len == 0)
        return err_set(errp, ERR_INTERNAL, "destroying keys without an id");
    return token_run(token, TOKEN_WRITE, destroy_operation, &copy, errp) < 0 ? err_wrap(errp, "destroying a key") : 0;
}

struct relabel_job {
    const struct bytes *id;
    const char *label;
};

static int relabel_operation(struct token_session *s, void *arg, struct err **errp)
{
    const struct relabel_job *job = arg;
    CK_OBJECT_HANDLE handles[TOKEN_MAX_SAME_ID];
    int n = token_find_id(s, job->id, handles, errp);

    if (n == 0) {
        s->look_again = true;
        return err_set(errp, ERR_MISSING, "nothing in the token has this id");
    }
    for (int i = 0; i < n; i++) {
        CK_ATTRIBUTE label = token_attribute(CKA_LABEL, job->label, strlen(job->label));
        CK_RV rv = s->f->C_SetAttributeValue(s->handle, handles[i], &label, 1);

        if (rv != CKR_OK)
            return token_session_fail(s, "C_SetAttributeValue", rv, errp);
    }
    return n < 0 ? -1 : 0;
}

int key_token_relabel(struct token *token, const struct bytes *id, const char *label, struct err **errp)
{
    struct relabel_job job = {id, label};

    if (token_run(token, TOKEN_WRITE, relabel_operation, &job, errp) < 0)
        return err_wrap(errp, "naming a key '%s'", label);
    return 0;
}

void key_listings_clear(struct key_listings *list)
{
    for (size_t i = 0; i < list->n; i++) {
        bytes_clear(&list->items[i].id);
        free(list->items[i].label);
    }
    free(list->items);
    *list = (struct key_listings){0};
}

struct list_job {
    const struct bytes *prefix; /* NULL: all */
    struct key_listings list;
};

static struct key_listing *listing_of(struct key_listings *list, const struct bytes *id)
{
    struct key_listing *item;

    for (size_t i = 0; i < list->n; i++)
        if (bytes_equal(&list->items[i].id, id))
            return &list->items[i];
    item = MEM_APPEND(list->items, list->n);
    bytes_copy(&item->id, id);
    return item;
}

static void note_label(struct key_listing *item, const struct bytes *label, bool better)
{
    if (item->label && !better)
        return;
    free(item->label);
    item->label = mem_strndup(bytes_text(label), label->len);
}

static int list_object(
    struct token_session *s, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE object, struct list_job *job, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(bytes_clear) struct bytes label = {0};
    size_t prefix = job->prefix ? job->prefix->len : 0;
    struct key_listing *item;

    if (token_session_get(s, object, CKA_ID, &id, errp) < 0 ||
        token_session_get(s, object, CKA_LABEL, &label, errp) < 0)
        return -1;
    if (id.len == 0 || id.len < prefix || (prefix && memcmp(id.data, job->prefix->data, prefix) != 0))
        return 0;
    item = listing_of(&job->list, &id);
    note_label(item, &label, class == CKO_PRIVATE_KEY);
    item->has_private |= class == CKO_PRIVATE_KEY;
    item->has_public |= class == CKO_PUBLIC_KEY;
    item->has_certificate |= class == CKO_CERTIFICATE;
    return 0;
}

static int list_operation(struct token_session *s, void *arg, struct err **errp)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_CERTIFICATE};
    CLEANUP(mem_freep) CK_OBJECT_HANDLE *handles = mem_calloc(TOKEN_MAX_OBJECTS, sizeof(*handles));
    struct list_job *job = arg;

    key_listings_clear(&job->list);
    for (size_t c = 0; c < ARRAY_SIZE(classes); c++) {
        CK_ATTRIBUTE match = token_attribute(CKA_CLASS, &classes[c], sizeof(classes[c]));
        int n = token_session_find(s, &match, 1, handles, TOKEN_MAX_OBJECTS, errp);

        if (n < 0)
            return -1;
        for (int i = 0; i < n; i++)
            if (list_object(s, classes[c], handles[i], job, errp) < 0)
                return -1;
    }
    return 0;
}

int key_token_list(struct token *token, const struct bytes *prefix, struct key_listings *out, struct err **errp)
{
    struct list_job job = {.prefix = prefix};

    if (token_run(token, TOKEN_READ, list_operation, &job, errp) < 0) {
        key_listings_clear(&job.list);
        return err_wrap(errp, "listing keys");
    }
    *out = job.list;
    return 0;
}

int key_token_sweep(struct token *token, const uint8_t tag[KEY_TAG_LEN], const struct bytes *known, size_t n_known,
    size_t *removed, struct err **errp)
{
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    size_t n = 0;

    if (key_token_list(token, NULL, &list, errp) < 0)
        return -1;
    for (size_t i = 0; i < list.n; i++) {
        const struct bytes *id = &list.items[i].id;

        if (!key_id_is_ours(id, tag) || key_id_is_known(id, known, n_known))
            continue;
        if (key_token_destroy(token, id, errp) < 0)
            return err_wrap(errp, "removing keys without a record");
        n++;
    }
    if (removed)
        *removed = n;
    return 0;
}

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

struct certificate_job {
    const struct bytes *id;
    const char *label;
    const struct bytes *der;
    struct bytes subject; /* DER, as is the rest */
    struct bytes issuer;
    struct bytes serial;
};

static int certificate_operation(struct token_session *s, void *arg, struct err **errp)
{
    static const CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    static const CK_CERTIFICATE_TYPE type = CKC_X_509;
    const struct certificate_job *job = arg;
    CK_ATTRIBUTE is[] = {
        token_attribute(CKA_CLASS, &class, sizeof(class)),
        token_attribute(CKA_CERTIFICATE_TYPE, &type, sizeof(type)),
        token_attribute(CKA_TOKEN, &yes, sizeof(yes)),
        token_attribute(CKA_PRIVATE, &no, sizeof(no)),
        token_attribute(CKA_LABEL, job->label, strlen(job->label)),
        token_attribute(CKA_ID, job->id->data, job->id->len),
        token_attribute(CKA_SUBJECT, job->subject.data, job->subject.len),
        token_attribute(CKA_ISSUER, job->issuer.data, job->issuer.len),
        token_attribute(CKA_SERIAL_NUMBER, job->serial.data, job->serial.len),
        token_attribute(CKA_VALUE, job->der->data, job->der->len),
    };
    CK_OBJECT_HANDLE older[TOKEN_MAX_SAME_ID], made;
    int n = token_find_class(s, CKO_CERTIFICATE, job->id, older, TOKEN_MAX_SAME_ID, errp);
    CK_RV rv;

    if (n < 0)
        return -1;
    rv = s->f->C_CreateObject(s->handle, is, ARRAY_SIZE(is), &made);
    if (rv != CKR_OK)
        return token_session_fail(s, "C_CreateObject", rv, errp);
    for (int i = 0; i < n; i++) {
        rv = s->f->C_DestroyObject(s->handle, older[i]);
        if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID)
            return token_session_fail(s, "C_DestroyObject", rv, errp);
    }
    return 0;
}

/* Memory of OpenSSL. */
static void take_der(struct bytes *to, unsigned char **der, int len)
{
    if (len > 0)
        bytes_set(to, *der, (size_t)len);
    OPENSSL_free(*der);
}

static int certificate_facts(struct certificate_job *job, struct err **errp)
{
    const unsigned char *p = job->der->data;
    X509 *x = d2i_X509(NULL, &p, (long)job->der->len);
    unsigned char *subject = NULL, *issuer = NULL, *serial = NULL;

    if (!x || p != job->der->data + job->der->len) {
        X509_free(x);
        return err_set(errp, ERR_INVALID, "this is not one certificate");
    }
    take_der(&job->subject, &subject, i2d_X509_NAME(X509_get_subject_name(x), &subject));
    take_der(&job->issuer, &issuer, i2d_X509_NAME(X509_get_issuer_name(x), &issuer));
    take_der(&job->serial, &serial, i2d_ASN1_INTEGER(X509_get0_serialNumber(x), &serial));
    X509_free(x);
    return 0;
}

int key_token_put_certificate(
    struct token *token, const struct bytes *id, const char *label, const struct bytes *cert, struct err **errp)
{
    struct certificate_job job = {.id = id, .label = label, .der = cert};
    int r = certificate_facts(&job, errp);

    if (r == 0)
        r = token_run(token, TOKEN_WRITE, certificate_operation, &job, errp);
    bytes_clear(&job.subject);
    bytes_clear(&job.issuer);
    bytes_clear(&job.serial);
    return r < 0 ? err_wrap(errp, "putting the certificate '%s' into the token", label) : 0;
}
