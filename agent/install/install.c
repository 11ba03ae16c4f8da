#include "agent/install/install.h"

#include <string.h>
#include <strings.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"
#include "protocol/pki/cmc_response.h"
#include "protocol/pki/oid.h"

#define KEY_USAGE_CA 0x06 /* keyCertSign, cRLSign */

/* What is being looked at. Owned: cmc, leaf, candidates, chain. */
struct check {
    const struct install_question *q; /* borrowed */
    struct cmc_response *cmc;         /* NULL: none came */
    struct cert *leaf;
    struct cert_list candidates; /* for the chain; untrusted */
    struct cert_list chain;      /* leaf first, anchor last */
};

static void check_clear(struct check *c)
{
    cmc_response_free(c->cmc);
    cert_free(c->leaf);
    cert_list_clear(&c->candidates);
    cert_list_clear(&c->chain);
}

static int read_answer(struct check *c, struct err **errp)
{
    const struct install_question *q = c->q;
    const struct cert *found;

    if (q->cms->len && cmc_response_parse(q->cms->data, q->cms->len, &c->cmc, errp) < 0) {
        err_wrap(errp, "reading the CA's response");
        return err_hint(errp, "the CA's response is damaged; 'autoenroll decode' shows where");
    }
    if (q->certificate->len) {
        if (cert_parse(q->certificate->data, q->certificate->len, &c->leaf, errp) == 0)
            return 0;
        err_wrap(errp, "reading the issued certificate");
        return err_hint(errp, "the issued certificate is damaged; 'autoenroll decode' shows where");
    }
    found = c->cmc ? cmc_response_leaf(c->cmc, key_spki(q->key), errp) : NULL;
    if (!found) {
        err_set(errp, ERR_UNTRUSTED, "the answer holds no certificate");
        return err_hint(errp, "the CA answered 'issued' without the certificate; its administrator must look at the "
                              "exit of that request");
    }
    c->leaf = cert_dup(found);
    return 0;
}

/* --- the checks, each with its own words --- */

static int check_no_ca(struct check *c, struct err **errp)
{
    if (!c->leaf->is_ca && !(c->leaf->has_key_usage && (c->leaf->key_usage & KEY_USAGE_CA)))
        return 0;
    err_set(errp, ERR_UNTRUSTED, "the certificate is that of a CA");
    return err_hint(errp,
        "this machine must never be able to issue certificates; the template '%s' or the CA is set "
        "up wrongly, or somebody attacks",
        c->q->template->name);
}

static int check_strength(struct check *c, struct err **errp)
{
    if (cert_strength_check(c->leaf, errp) == 0)
        return 0;
    return err_hint(errp, "nothing below RSA 2048, P-256 and SHA-256 is installed; the CA's signature settings or the "
                          "template must be raised");
}

static int check_key(struct check *c, struct err **errp)
{
    if (cert_same_key(c->leaf, key_spki(c->q->key)))
        return 0;
    err_set(errp, ERR_UNTRUSTED, "the certificate carries somebody else's key, not the one that was asked for");
    return err_hint(errp, "answers were mixed up at the CA, at the service, or on the way; the request is kept and can "
                          "be asked for again");
}

static int check_response(struct check *c, struct err **errp)
{
    const struct cert *signer = NULL;

    if (!c->cmc)
        return 0;
    if (cmc_response_check_leaf(c->cmc, c->leaf, errp) < 0 ||
        cmc_response_verify(c->cmc, &c->candidates, &signer, errp) < 0) {
        err_wrap(errp, "the CA's response");
        return err_hint(errp, "the response and the certificate beside it do not belong together; the service or "
                              "something on the way mixes answers up");
    }
    if (!signer || cert_list_find(&c->chain, &signer->der))
        return 0;
    err_set(errp, ERR_UNTRUSTED, "the CA's response is signed by '%s', which is not in the chain of the certificate",
        signer->subject);
    return err_hint(errp, "the response must be signed by the CA that issued the certificate; the service or something "
                          "on the way mixes answers up");
}

static int add_candidates(struct check *c, struct err **errp)
{
    for (size_t i = 0; i < c->q->n_cas; i++) {
        const struct bytes *der = &c->q->cas[i].certificate;
        struct cert *ca = NULL;

        if (cert_parse(der->data, der->len, &ca, errp) < 0)
            return err_wrap(errp, "the certificate of CA '%s' in the policy", c->q->cas[i].name);
        cert_list_add(&c->candidates, ca);
    }
    for (size_t i = 0; c->cmc && i < c->cmc->cms->certificates.n; i++)
        cert_list_add(&c->candidates, cert_dup(c->cmc->cms->certificates.items[i]));
    return 0;
}

static int check_chain(struct check *c, struct err **errp)
{
    const struct install_question *q = c->q;
    CLEANUP(strlist_clear) struct strlist names = {0};
    CLEANUP(mem_freep) char *joined = NULL;
    int64_t when = q->now < c->leaf->not_before ? c->leaf->not_before : q->now; /* our clock may be a little behind */

    if (cert_chain_verify(
            c->leaf, &c->candidates, q->anchors, when, CERT_CHAIN_PARTIAL | CERT_CHAIN_STRONG, &c->chain, errp) < 0) {
        err_wrap(errp, "the chain of the certificate, issued by '%s'", c->leaf->issuer);
        return err_hint(errp, "the certificate must lead to a CA in the file named by ca-file; if that root is the "
                              "right one, add it there, else the answer comes from somebody else's CA");
    }
    for (size_t i = 0; i < q->n_cas; i++) {
        const struct cert *in_chain = cert_list_find(&c->chain, &q->cas[i].certificate);

        if (in_chain && !cert_equal(in_chain, c->leaf))
            return 0;
        strlist_add(&names, q->cas[i].name);
    }
    joined = strlist_join(&names, "', '");
    err_set(errp, ERR_UNTRUSTED, "the certificate comes from '%s', not from the CA that the policy names ('%s')",
        c->leaf->issuer, joined);
    return err_hint(errp, "if the CA was renewed or replaced, the policy server must name the new one; its cache may "
                          "be old");
}

static const struct policy_extension *find_extension(const struct template *template, const char *oid)
{
    for (size_t i = 0; i < template->n_extensions; i++)
        if (oid_is(template->extensions[i].oid, oid))
            return &template->extensions[i];
    return NULL;
}

/* The extended key usages of the template; where it gives none, its application policies. 1 when it has any. */
static int template_ekus(const struct template *template, struct strlist *ekus, struct err **errp)
{
    const struct policy_extension *eku = find_extension(template, OID_EXTENDED_KEY_USAGE);
    const struct policy_extension *policies = find_extension(template, OID_APPLICATION_POLICIES);

    if (eku)
        return msext_eku_parse(eku->value.data, eku->value.len, ekus, errp) < 0 ? -1 : 1;
    if (policies)
        return msext_policies_parse(policies->value.data, policies->value.len, ekus, errp) < 0 ? -1 : 1;
    return 0;
}

static int check_ekus(struct check *c, struct err **errp)
{
    const struct template *template = c->q->template;
    CLEANUP(strlist_clear) struct strlist wanted = {0};
    int given = template_ekus(template, &wanted, errp);
    const char *missing = NULL;
    const char *extra = NULL;

    if (given < 0)
        return err_wrap(errp, "the extended key usages of template '%s'", template->name);
    if (!given)
        return 0;
    for (size_t i = 0; i < wanted.n; i++)
        if (!cert_has_eku(c->leaf, wanted.items[i]))
            missing = wanted.items[i];
    for (size_t i = 0; i < c->leaf->eku.n; i++)
        if (!strlist_has(&wanted, c->leaf->eku.items[i]))
            extra = c->leaf->eku.items[i];
    if (!missing && !extra)
        return 0;
    err_set(errp, ERR_UNTRUSTED, "the certificate %s the extended key usage '%s' (%s), %s template '%s'",
        missing ? "lacks" : "has", oid_name(missing ? missing : extra), missing ? missing : extra,
        missing ? "which is wanted by" : "which is not in", template->name);
    return err_hint(errp, "the CA used another template, or its copy of this one differs from the policy's; when the "
                          "template was changed, the policy is fetched again at the next pulse");
}

static int check_template(struct check *c, struct err **errp)
{
    const struct template *template = c->q->template;
    const struct cert *leaf = c->leaf;
    CLEANUP(mem_freep) char *other = NULL;

    if (leaf->template.oid && !oid_is(leaf->template.oid, template->oid))
        other = mem_strdup(leaf->template.oid);
    else if (leaf->template_name && strcasecmp(leaf->template_name, template->name) != 0)
        other = printable_text(leaf->template_name);
    if (!other)
        return 0;
    err_set(errp, ERR_UNTRUSTED, "the certificate was made for template '%s', not for '%s' (%s)", other, template->name,
        template->oid);
    return err_hint(errp, "answers were mixed up, or the CA's copy of the template differs from the policy's");
}

static int check_dates(struct check *c, struct err **errp)
{
    const struct cert *leaf = c->leaf;
    uint64_t wanted = c->q->template->validity;
    int64_t span = leaf->not_after - leaf->not_before;
    CLEANUP(mem_freep) char *from = when_format(leaf->not_before);
    CLEANUP(mem_freep) char *until = when_format(leaf->not_after);
    uint64_t most = wanted + wanted / 100 + WHEN_HOUR; /* leap days, and the CA's allowance for clocks */

    if (leaf->not_after <= c->q->now || span <= 0) {
        err_set(errp, ERR_UNTRUSTED, "the certificate is valid from %s to %s, which is over", from, until);
        return err_hint(errp, "compare this machine's clock with the CA's");
    }
    if (leaf->not_before > c->q->now + INSTALL_CLOCK_SKEW) {
        err_set(errp, ERR_UNTRUSTED, "the certificate is not valid before %s", from);
        return err_hint(errp, "compare this machine's clock with the CA's");
    }
    if (!wanted || (uint64_t)span <= most)
        return 0;
    err_set(errp, ERR_UNTRUSTED, "the certificate is valid from %s to %s, longer than template '%s' says", from, until,
        c->q->template->name);
    return err_hint(errp, "the CA's copy of the template differs from the policy's; when the template was changed, the "
                          "policy is fetched again at the next pulse");
}

/* In this order, so that the first complaint is the most telling one. */
static int (*const checks[])(struct check *, struct err **) = {
    check_no_ca, check_strength, check_key, check_dates, check_chain, check_response, check_ekus, check_template};

/* The chain for a server to present: the issuer, and what is above it but for a self-signed anchor. */
static int write_chain(const struct cert_list *chain, struct bytes *pem, struct err **errp)
{
    for (size_t i = 1; i < chain->n; i++)
        if ((i == 1 || !cert_is_self_issued(chain->items[i])) && cert_to_pem(chain->items[i], pem, errp) < 0)
            return err_wrap(errp, "writing the chain");
    return 0;
}

static char *describe_sans(const struct san_list *list)
{
    CLEANUP(strlist_clear) struct strlist names = {0};

    for (size_t i = 0; i < list->n; i++) {
        CLEANUP(mem_freep) char *value = printable_text(list->items[i].value);
        CLEANUP(mem_freep) char *name = mem_printf("%s:%s", san_type_name(list->items[i].type), value);

        strlist_add(&names, name);
    }
    return strlist_join(&names, ", ");
}

static void take_facts(const struct cert *cert, struct job_facts *facts)
{
    *facts = (struct job_facts){.subject = mem_strdup(cert->subject),
        .issuer = mem_strdup(cert->issuer),
        .serial = mem_strdup(cert->serial),
        .thumbprint = mem_strdup(cert->sha256),
        .not_before = cert->not_before,
        .not_after = cert->not_after,
        .template_oid = mem_strdup_opt(cert->template.oid),
        .template_name = cert->template_name ? printable_text(cert->template_name) : NULL,
        .template_major = cert->template.major,
        .key_kind = pubkey_describe(&cert->key),
        .sans = describe_sans(&cert->san)};
}

int install_check(
    const struct install_question *question, struct job_pair *pair, struct job_facts *facts, struct err **errp)
{
    CLEANUP(check_clear) struct check c = {.q = question};
    CLEANUP(bytes_clear) struct bytes chain = {0};

    if (read_answer(&c, errp) < 0 || add_candidates(&c, errp) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        if (checks[i](&c, errp) < 0)
            return -1;
    if (write_chain(&c.chain, &chain, errp) < 0)
        return -1;
    *pair = (struct job_pair){.chain = chain};
    chain = (struct bytes){0};
    bytes_copy(&pair->certificate, &c.leaf->der);
    take_facts(c.leaf, facts);
    return 0;
}
