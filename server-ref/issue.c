#include "server-ref/issue.h"

#include <string.h>

#include "protocol/base/when.h"
#include "protocol/pki/der.h"
#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "server-ref/mint.h"
#include "server-ref/refusal.h"

#define SKEW (10 * WHEN_MINUTE) /* how far back a certificate begins, for clocks that are slow */

/* A certificate to be, in parts that [misbehave] can still change. */
struct order {
    const struct cert_template *template;
    struct strlist eku; /* dotted */
    bool is_ca;
    struct bytes spki;
    int64_t not_before;
    int64_t not_after;
    const char *hash;           /* NULL: the issuer's own */
    struct cert *stranger;      /* owned; issuer instead of the CA; NULL: the CA */
    EVP_PKEY *stranger_key;     /* owned */
    struct cert_template other; /* borrowed content; what template is changed into */
};

static void order_clear(struct order *order)
{
    strlist_clear(&order->eku);
    bytes_clear(&order->spki);
    cert_free(order->stranger);
    EVP_PKEY_free(order->stranger_key);
}

static int use_another_key(struct order *order, const char *kind, struct err **errp)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = mint_key(kind, errp);
    CLEANUP(pubkey_clear) struct pubkey public = {0};

    if (!key || pubkey_from_evp(key, &public, errp) < 0)
        return -1;
    bytes_clear(&order->spki);
    bytes_copy(&order->spki, &public.spki);
    return 0;
}

static int issue_as_ca(struct order *order, struct err **errp __attribute__((unused)))
{
    order->is_ca = true;
    return 0;
}

static int issue_with_sha1(struct order *order, struct err **errp __attribute__((unused)))
{
    order->hash = "SHA1";
    return 0;
}

static int issue_with_wrong_eku(struct order *order, struct err **errp __attribute__((unused)))
{
    strlist_clear(&order->eku);
    strlist_add(&order->eku, OID_EKU_CODE_SIGNING);
    return 0;
}

static int issue_by_a_stranger(struct order *order, struct err **errp)
{
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};
    CLEANUP(pubkey_clear) struct pubkey public = {0};
    CLEANUP(bytes_clear) struct bytes name = {0};
    struct mint_spec spec = {.subject = &name, .spki = &public.spki, .extensions = &extensions};

    order->stranger_key = mint_key("p256", errp);
    spec.not_before = order->not_before;
    spec.not_after = order->not_after;
    mint_add_ca(&extensions, true);
    if (!order->stranger_key || pubkey_from_evp(order->stranger_key, &public, errp) < 0 ||
        name_parse("CN=Unknown Root CA", &name, errp) < 0 || mint_add_key_usage(&extensions, 0x06, errp) < 0)
        return -1;
    return mint_certificate(&spec, NULL, order->stranger_key, &order->stranger, errp);
}

static int issue_for_another_key(struct order *order, struct err **errp)
{
    return use_another_key(order, order->template->algorithm == KEY_RSA ? "rsa2048" : "p256", errp);
}

static int issue_for_a_weak_key(struct order *order, struct err **errp)
{
    return use_another_key(order, "rsa1024", errp);
}

static int issue_expired(struct order *order, struct err **errp __attribute__((unused)))
{
    order->not_after = order->not_before - WHEN_HOUR;
    order->not_before -= 2 * (int64_t)WHEN_DAY;
    return 0;
}

static int issue_for_the_future(struct order *order, struct err **errp __attribute__((unused)))
{
    order->not_before += 10 * (int64_t)WHEN_DAY;
    return 0;
}

static int issue_for_long(struct order *order, struct err **errp __attribute__((unused)))
{
    order->not_after += 9 * (order->not_after - order->not_before);
    return 0;
}

static int issue_of_another_template(struct order *order, struct err **errp __attribute__((unused)))
{
    static char name[] = "SomethingElse";
    static char oid[] = "1.3.6.1.4.1.311.21.8.1.2.3.4";

    order->other = *order->template;
    order->other.name = name;
    order->other.oid = oid;
    order->template = &order->other;
    return 0;
}

static int (*const twists[])(struct order *order, struct err **errp) = {
    [MISBEHAVE_ISSUE_CA] = issue_as_ca,
    [MISBEHAVE_ISSUE_SHA1] = issue_with_sha1,
    [MISBEHAVE_ISSUE_WRONG_EKU] = issue_with_wrong_eku,
    [MISBEHAVE_ISSUE_OTHER_ROOT] = issue_by_a_stranger,
    [MISBEHAVE_ISSUE_OTHER_KEY] = issue_for_another_key,
    [MISBEHAVE_ISSUE_WEAK] = issue_for_a_weak_key,
    [MISBEHAVE_ISSUE_EXPIRED] = issue_expired,
    [MISBEHAVE_ISSUE_FUTURE] = issue_for_the_future,
    [MISBEHAVE_ISSUE_LONG] = issue_for_long,
    [MISBEHAVE_ISSUE_OTHER_TEMPLATE] = issue_of_another_template,
};

static int add_template(struct csr_extensions *list, const struct cert_template *template, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    struct template_info info = {
        .oid = template->oid, .major = {true, template->major}, .minor = {true, template->minor}};

    if (template->schema == 1) {
        if (msext_template_name_write(template->name, &value, errp) < 0)
            return -1;
        csr_extensions_add(list, OID_TEMPLATE_NAME, false, &value);
        return 0;
    }
    if (msext_template_info_write(&info, &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_TEMPLATE_INFO, false, &value);
    return 0;
}

static int add_usages(struct csr_extensions *list, const struct order *order, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (mint_add_key_usage(list, order->is_ca ? 0x06 : order->template->key_usage, errp) < 0)
        return -1;
    if (order->eku.n == 0)
        return 0;
    if (mint_add_eku(list, &order->eku, errp) < 0)
        return -1;
    if (order->template->schema == 1)
        return 0;
    if (msext_policies_write(&order->eku, &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_APPLICATION_POLICIES, false, &value);
    return 0;
}

static int add_sid(struct csr_extensions *list, const struct order *order, const char *sid, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};

    if (!sid || (order->template->enrollment_flags & XCEP_ENROLL_NO_SECURITY_EXTENSION))
        return 0;
    if (msext_sid_write(sid, &value, errp) < 0)
        return -1;
    csr_extensions_add(list, OID_SECURITY_EXTENSION, false, &value);
    return 0;
}

static int add_extensions(
    struct csr_extensions *list, const struct order *order, const struct judgement *judgement, struct err **errp)
{
    if (add_template(list, order->template, errp) < 0 || add_usages(list, order, errp) < 0 ||
        add_sid(list, order, judgement->sid, errp) < 0)
        return -1;
    if (judgement->san.n && mint_add_san(list, &judgement->san, errp) < 0)
        return -1;
    if (order->is_ca)
        mint_add_ca(list, true);
    else if (order->template->enrollment_flags & XCEP_ENROLL_INCLUDE_BASIC_CONSTRAINTS_FOR_EE_CERTS)
        mint_add_end_entity(list);
    return 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* notAfter is the least of the template's period, the CA's limit and the CA's own end. */
static int set_dates(struct order *order, const struct ca *ca, int64_t now, struct err **errp)
{
    int64_t period = earlier(order->template->validity, ca->config->maximum_validity);

    order->not_before = now - SKEW;
    order->not_after = earlier(now + period, ca->chain.items[0]->not_after);
    if (order->not_after > now)
        return 0;
    return refusal(errp, CERTSRV_E_INVALID_CA_CERTIFICATE, "the certificate of this CA has expired");
}

int issue(const struct ca *ca, const struct judgement *judgement, const struct bytes *spki, int64_t now,
    const struct misbehave *misbehave, struct cert **out, struct err **errp)
{
    CLEANUP(order_clear) struct order order = {.template = judgement->template};
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};
    struct mint_spec spec = {.subject = &judgement->subject, .extensions = &extensions};

    strlist_copy(&order.eku, &judgement->template->application_policies);
    bytes_copy(&order.spki, spki);
    if (set_dates(&order, ca, now, errp) < 0)
        return -1;
    if (misbehave->issue && twists[misbehave->issue](&order, errp) < 0)
        return -1;
    if (add_extensions(&extensions, &order, judgement, errp) < 0)
        return -1;
    spec.spki = &order.spki;
    spec.not_before = order.not_before;
    spec.not_after = order.not_after;
    spec.hash = order.hash;
    return mint_certificate(&spec, order.stranger ? order.stranger : ca->chain.items[0],
        order.stranger ? order.stranger_key : ca->key, out, errp);
}
