#include "protocol/pki/glance.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "protocol/base/digest.h"
#include "protocol/pki/der.h"
#include "protocol/pki/name.h"

DEFINE_FREEP(BIO, BIO_free_all)

/* TBSCertificate and Certificate [RFC 5280] 4.1, with what we do not look at left as it is. */
typedef struct {
    ASN1_INTEGER *version;
    ASN1_INTEGER *serial;
    ASN1_TYPE *algorithm;
    ASN1_TYPE *issuer;
    X509_VAL *validity;
    ASN1_TYPE *subject;
    ASN1_TYPE *key;
    ASN1_BIT_STRING *issuer_id;
    ASN1_BIT_STRING *subject_id;
    ASN1_TYPE *extensions;
} GLANCE_TBS;
ASN1_SEQUENCE(GLANCE_TBS) = {
    ASN1_EXP_OPT(GLANCE_TBS, version, ASN1_INTEGER, 0),
    ASN1_SIMPLE(GLANCE_TBS, serial, ASN1_INTEGER),
    ASN1_SIMPLE(GLANCE_TBS, algorithm, ASN1_ANY),
    ASN1_SIMPLE(GLANCE_TBS, issuer, ASN1_ANY),
    ASN1_SIMPLE(GLANCE_TBS, validity, X509_VAL),
    ASN1_SIMPLE(GLANCE_TBS, subject, ASN1_ANY),
    ASN1_SIMPLE(GLANCE_TBS, key, ASN1_ANY),
    ASN1_IMP_OPT(GLANCE_TBS, issuer_id, ASN1_BIT_STRING, 1),
    ASN1_IMP_OPT(GLANCE_TBS, subject_id, ASN1_BIT_STRING, 2),
    ASN1_EXP_OPT(GLANCE_TBS, extensions, ASN1_ANY, 3),
} static_ASN1_SEQUENCE_END(GLANCE_TBS)

typedef struct {
    GLANCE_TBS *tbs;
    ASN1_TYPE *algorithm;
    ASN1_BIT_STRING *signature;
} GLANCE_CERT;
ASN1_SEQUENCE(GLANCE_CERT) = {
    ASN1_SIMPLE(GLANCE_CERT, tbs, GLANCE_TBS),
    ASN1_SIMPLE(GLANCE_CERT, algorithm, ASN1_ANY),
    ASN1_SIMPLE(GLANCE_CERT, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(GLANCE_CERT)
DER_FREEP(GLANCE_CERT)

static void glance_clear(struct glance *glance)
{
    free(glance->subject);
    free(glance->serial);
    free(glance->sha256);
    *glance = (struct glance){0};
}

void glance_list_clear(struct glance_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        glance_clear(&list->items[i]);
    free(list->items);
    *list = (struct glance_list){0};
}

int glance_der(const void *der, size_t len, struct glance_list *list, struct err **errp)
{
    CLEANUP(GLANCE_CERT_freep)
    GLANCE_CERT *cert = der_read(ASN1_ITEM_rptr(GLANCE_CERT), der, len, "a certificate", errp);
    CLEANUP(bytes_clear) struct bytes subject = {0};
    CLEANUP(glance_clear) struct glance seen = {0};

    if (!cert || der_any(cert->tbs->subject, &subject, errp) < 0 ||
        der_time(cert->tbs->validity->notBefore, &seen.not_before, errp) < 0 ||
        der_time(cert->tbs->validity->notAfter, &seen.not_after, errp) < 0)
        return -1;
    seen.subject = name_to_text(subject.data, subject.len, errp);
    if (!seen.subject)
        return -1;
    seen.serial = der_integer_hex(cert->tbs->serial);
    seen.sha256 = digest_sha256_hex(der, len);
    *MEM_APPEND(list->items, list->n) = seen;
    seen = (struct glance){0};
    return 0;
}

/* The next block. 1 and what it says is in the list if it is a certificate, 0 at the end, -1. */
static int next_block(BIO *bio, struct glance_list *list, struct err **errp)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    int r = 1;

    if (!PEM_read_bio(bio, &name, &header, &data, &len)) {
        bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

        if (!end)
            return der_fail(errp, ERR_INVALID, "reading PEM");
        ERR_clear_error();
        return 0;
    }
    if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0)
        r = glance_der(data, (size_t)len, list, errp) < 0 ? -1 : 1;
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, (size_t)len); /* another block of the same file may be a key */
    return r;
}

int glance_pem(const char *text, size_t len, size_t max, struct glance_list *list, struct err **errp)
{
    CLEANUP(BIO_free_allp) BIO *bio = len <= BYTES_LIMIT_DEFAULT ? BIO_new_mem_buf(text, (int)len) : NULL;
    CLEANUP(glance_list_clear) struct glance_list found = {0};
    int r = 1;

    if (!bio)
        return err_set(errp, ERR_INTERNAL, "reading PEM: no memory");
    while (r == 1 && found.n < max)
        r = next_block(bio, &found, errp);
    if (r < 0)
        return err_wrap(errp, "certificate %zu in it", found.n + 1);
    if (!found.n)
        return err_set(errp, ERR_INVALID, "no BEGIN CERTIFICATE in it");
    for (size_t i = 0; i < found.n; i++) {
        *MEM_APPEND(list->items, list->n) = found.items[i];
        found.items[i] = (struct glance){0};
    }
    return 0;
}
