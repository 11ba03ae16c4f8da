#include "server-ref/judge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "server-ref/refusal.h"

void judgement_clear(struct judgement *judgement)
{
    bytes_clear(&judgement->subject);
    san_list_clear(&judgement->san);
    free(judgement->sid);
    *judgement = (struct judgement){0};
}

const struct cert_template *judge_template_of(const struct config *config, const struct cert *cert)
{
    if (cert->template.oid)
        return config_template_by_oid(config, cert->template.oid);
    return cert->template_name ? config_template(config, cert->template_name) : NULL;
}

/* Everything in a request that names a template; each may be absent. */
struct naming {
    const char *names[4];
    const char *oid;
};

static void find_names(const struct judge_case *c, struct naming *naming)
{
    static const char attribute[] = "CertificateTemplate";
    const struct csr *csr = c->payload->csr;

    *naming = (struct naming){
        .names = {csr->template_name, name_values_find(&csr->name_values, attribute),
            name_values_find(&c->payload->controls.reg_info, attribute), name_values_find(c->attributes, attribute)},
        .oid = csr->template.oid,
    };
}

/* An attribute may hold the name or the OID. */
static const struct cert_template *look_up(const struct config *config, const char *name)
{
    const struct cert_template *template = config_template(config, name);

    return template ? template : config_template_by_oid(config, name);
}

static int same_template(
    const struct cert_template **found, const struct cert_template *template, const char *name, struct err **errp)
{
    if (!template)
        return refusal(errp, CERTSRV_E_UNSUPPORTED_CERT_TYPE, "this CA knows no template '%s'", name);
    if (*found && *found != template)
        return refusal(errp, CERTSRV_E_TEMPLATE_CONFLICT, "the request names two templates, '%s' and '%s'",
            (*found)->name, template->name);
    *found = template;
    return 0;
}

static int find_template(const struct judge_case *c, const struct cert_template **out, struct err **errp)
{
    const struct cert *old = c->payload->csr->old_cert;
    const struct cert_template *template = NULL;
    struct naming naming;

    find_names(c, &naming);
    for (size_t i = 0; i < ARRAY_SIZE(naming.names); i++)
        if (naming.names[i] && same_template(&template, look_up(c->config, naming.names[i]), naming.names[i], errp) < 0)
            return -1;
    if (naming.oid && same_template(&template, config_template_by_oid(c->config, naming.oid), naming.oid, errp) < 0)
        return -1;
    /* Ours: Windows 11 leaves it out when it renews, so the old certificate says which. */
    if (!template && old)
        template = judge_template_of(c->config, old);
    if (!template)
        return refusal(errp, CERTSRV_E_NO_CERT_TYPE, "the request names no template");
    *out = template;
    return 0;
}

/* [MS-WSTEP notes] 5.4.3 (6): no source gives a code for another template; this one is ours. */
static int check_same_template(const struct judge_case *c, const struct cert_template *template, struct err **errp)
{
    const struct cert *old = c->payload->csr->old_cert;

    if (!old || judge_template_of(c->config, old) == template)
        return 0;
    return refusal(
        errp, CERTSRV_E_TEMPLATE_CONFLICT, "the certificate to renew is not of template '%s'", template->name);
}

static int check_same_key(const struct judge_case *c, const struct cert_template *template, struct err **errp)
{
    const struct csr *csr = c->payload->csr;

    if (!csr->old_cert || !(template->private_key_flags & XCEP_KEY_REQUIRE_SAME_KEY_RENEWAL) ||
        cert_same_key(csr->old_cert, &csr->key.spki))
        return 0;
    return refusal(
        errp, CERTSRV_E_RENEWAL_BAD_PUBLIC_KEY, "template '%s' renews with the same key only", template->name);
}

static int check_version(const struct judge_case *c, const struct cert_template *template, struct err **errp)
{
    const struct template_info *asked = &c->payload->csr->template;

    if (template->schema == 1 || !asked->oid)
        return 0;
    if ((asked->major.set && asked->major.value > template->major) ||
        (asked->minor.set && asked->minor.value > template->minor))
        return refusal(errp, CERTSRV_E_BAD_TEMPLATE_VERSION,
            "the request names version %u.%u of '%s', this CA has %u.%u", asked->major.value, asked->minor.value,
            template->name, template->major, template->minor);
    return 0;
}

/*
 * [MS-WSTEP notes] 5.4.3: a renewal of an approved certificate, which is waived what was asked for the first time.
 * Only for subjects from the request: for those from the directory it would take a UPN or an e-mail address.
 */
static bool is_approved_before(const struct judge_case *c, const struct cert_template *template)
{
    const struct cert *old = c->payload->csr->old_cert;

    return old && (template->enrollment_flags & XCEP_ENROLL_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT) &&
           (template->name_flags & XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT) && oid_is(old->template.oid, template->oid);
}

static int check_permission(const struct judge_case *c, const struct cert_template *template, struct err **errp)
{
    /* All three flags together skip the permission of an end entity. */
    bool waived = c->approved || (is_approved_before(c, template) && template_renews_by_key(template));

    if (!c->by_key && !c->approved && !config_permits(&c->config->request_certificates, c->account))
        return refusal(errp, CERTSRV_E_ENROLL_DENIED, "'%s' may not request certificates of this CA", c->account);
    if (waived || config_permits(&template->enroll, c->account))
        return 0;
    return refusal(
        errp, CERTSRV_E_TEMPLATE_DENIED, "'%s' may not enroll for template '%s'", c->account, template->name);
}

/* Nobody countersigns here, so that a template that asks for it is refused unless it was approved before. */
static int check_ra_signatures(const struct judge_case *c, const struct cert_template *template, struct err **errp)
{
    if (template->ra_signatures == 0 || is_approved_before(c, template))
        return 0;
    return refusal(errp, CERTSRV_E_SIGNATURE_POLICY_REQUIRED,
        "template '%s' wants %u signatures of registration authorities", template->name, template->ra_signatures);
}

/* @possession: the signature shows no more than that the new key is there, for which some clients still use SHA-1. */
static bool is_strong_hash(const struct config *config, const char *hash, bool possession)
{
    static const char *const strong[] = {"SHA256", "SHA384", "SHA512"};

    for (size_t i = 0; hash && i < ARRAY_SIZE(strong); i++)
        if (strcmp(hash, strong[i]) == 0)
            return true;
    return hash && possession && config->allow_sha1 && strcmp(hash, "SHA1") == 0;
}

static int check_signatures(const struct judge_case *c, struct err **errp)
{
    const struct csr *csr = c->payload->csr;
    const struct cms *cms = c->payload->cms;

    if (!csr->null_signature && !is_strong_hash(c->config, csr->signature_hash, true))
        return refusal(errp, CERTSRV_E_WEAK_SIGNATURE_OR_KEY,
            "the request is signed with %s, and must be with SHA256 or better",
            csr->signature_hash ? csr->signature_hash : "an unknown hash");
    for (size_t i = 0; cms && i < cms->n_signers; i++)
        if (!is_strong_hash(c->config, cms->signers[i].hash, cms->signers[i].id == CMS_BY_KEY_ID))
            return refusal(errp, CERTSRV_E_WEAK_SIGNATURE_OR_KEY,
                "an outer signature uses %s, and must use SHA256 or better", cms->signers[i].hash);
    return 0;
}

static int check_archival(const struct judge_case *c, struct err **errp)
{
    const struct cms *cms = c->payload->cms;

    for (size_t i = 0; cms && i < cms->n_signers; i++)
        if (cms->signers[i].archived_key)
            return refusal(
                errp, CERTSRV_E_ARCHIVED_KEY_UNEXPECTED, "the request carries a private key, and no template wants it");
    return 0;
}

static int check_key(const struct judge_case *c, const struct cert_template *template, struct err **errp)
{
    const struct pubkey *key = &c->payload->csr->key;
    CLEANUP(mem_freep) char *text = pubkey_describe(key);
    bool rsa = template->algorithm == KEY_RSA;

    if (key->type == PUBKEY_OTHER)
        return refusal(errp, CERTSRV_E_WEAK_SIGNATURE_OR_KEY, "a key of this kind is not accepted: %s", text);
    if (rsa != (key->type == PUBKEY_RSA) || (!rsa && !oid_is(key->curve, key_algorithm_oid(template->algorithm))))
        return refusal(errp, NTE_BAD_ALGID, "template '%s' is for %s keys, and this one is %s", template->name,
            key_algorithm_name(template->algorithm), text);
    if (key->bits < template->minimal_key_size)
        return refusal(errp, CERTSRV_E_KEY_LENGTH, "the key has %u bits, template '%s' wants %u", key->bits,
            template->name, template->minimal_key_size);
    if (pubkey_strength_check(key, NULL) < 0)
        return refusal(errp, CERTSRV_E_WEAK_SIGNATURE_OR_KEY, "%s is too weak a key for this CA", text);
    return check_signatures(c, errp);
}

/* The host name of an account: of its section, else made of its name. Returns owned, or NULL. */
static char *dns_of(const struct config *config, const char *name)
{
    const struct account *account = config_account(config, name);
    const char *bare = strrchr(name, '\\') ? strrchr(name, '\\') + 1 : name;
    size_t len = strcspn(bare, "@$");
    char *dns;

    if (account && account->dns)
        return mem_strdup(account->dns);
    if (!config->domain || len == 0 ||
        strspn(bare, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") < len)
        return NULL;
    dns = mem_printf("%.*s.%s", (int)len, bare, config->domain);
    for (char *at = dns; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    return dns;
}

static int subject_from_directory(const struct judge_case *c, struct judgement *judgement, struct err **errp)
{
    const uint32_t common_name = XCEP_NAME_SUBJECT_REQUIRE_DNS_AS_CN | XCEP_NAME_SUBJECT_REQUIRE_COMMON_NAME;
    uint32_t flags = judgement->template->name_flags;
    const struct account *account = config_account(c->config, c->account);
    CLEANUP(mem_freep) char *dns = dns_of(c->config, c->account);
    CLEANUP(mem_freep) char *text = NULL;

    if (!dns)
        return refusal(errp, CERTSRV_E_SUBJECT_DNS_REQUIRED, "the account '%s' has no host name", c->account);
    text = flags & common_name ? mem_printf("CN=%s", dns) : mem_strdup("");
    if (name_parse(text, &judgement->subject, errp) < 0)
        return -1;
    if (flags & XCEP_NAME_SUBJECT_ALT_REQUIRE_DNS)
        san_add(&judgement->san, SAN_DNS, dns);
    judgement->sid = mem_strdup_opt(account ? account->sid : NULL);
    if (!(flags & common_name) && judgement->san.n == 0)
        return refusal(errp, CERTSRV_E_BAD_REQUESTSUBJECT, "neither a subject nor an alternative name would result");
    return 0;
}

/* Key-based renewal and other renewals: the subject is compared, the rest is that of the old certificate. */
static int subject_of_renewal(const struct csr *csr, struct judgement *judgement, struct err **errp)
{
    const struct cert *old = csr->old_cert;

    /* AD CS would only not waive the approval; refusing it, and the code, are ours. */
    if (!bytes_equal(&csr->subject_der, &old->subject_der))
        return refusal(errp, CERTSRV_E_BAD_RENEWAL_SUBJECT,
            "the subject '%s' is not that of the certificate to renew, '%s'", csr->subject, old->subject);
    bytes_copy(&judgement->subject, &old->subject_der);
    san_list_copy(&judgement->san, &old->san);
    judgement->sid = mem_strdup_opt(old->sid);
    return 0;
}

static int find_subject(const struct judge_case *c, struct judgement *judgement, struct err **errp)
{
    const struct csr *csr = c->payload->csr;

    if (!(judgement->template->name_flags & XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT))
        return subject_from_directory(c, judgement, errp);
    if (csr->subject[0] == '\0')
        return refusal(errp, CERTSRV_E_BAD_REQUESTSUBJECT,
            "template '%s' takes the subject from the request, and it is empty", judgement->template->name);
    if (csr->old_cert)
        return subject_of_renewal(csr, judgement, errp);
    bytes_copy(&judgement->subject, &csr->subject_der);
    san_list_copy(&judgement->san, &csr->san);
    judgement->sid = mem_strdup_opt(csr->sid);
    return 0;
}

static int check_edit_flags(const struct judge_case *c, struct err **errp)
{
    if (!c->by_key || config_has_edit_flag(c->config, "EDITF_ENABLERENEWONBEHALFOF"))
        return 0;
    return refusal(errp, CERTSRV_E_BAD_RENEWAL_SUBJECT, "this CA does not renew on behalf of others");
}

int judge(const struct judge_case *the_case, struct judgement *judgement, struct err **errp)
{
    const struct cert_template *template = NULL;

    *judgement = (struct judgement){0};
    if (check_edit_flags(the_case, errp) < 0 || find_template(the_case, &template, errp) < 0)
        return -1;
    judgement->template = template;
    if (check_same_template(the_case, template, errp) < 0 || check_same_key(the_case, template, errp) < 0 ||
        check_version(the_case, template, errp) < 0 || check_permission(the_case, template, errp) < 0 ||
        check_ra_signatures(the_case, template, errp) < 0 || check_archival(the_case, errp) < 0 ||
        check_key(the_case, template, errp) < 0 || find_subject(the_case, judgement, errp) < 0)
        return -1;
    if ((template->enrollment_flags & XCEP_ENROLL_PEND_ALL_REQUESTS) && !the_case->approved &&
        !is_approved_before(the_case, template))
        return JUDGE_PEND;
    return 0;
}
