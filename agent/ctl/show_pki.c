#include "agent/ctl/show_pki.h"

#include "protocol/pki/oid.h"

void show_oid(struct node *to, const char *name, const char *oid)
{
    if (!oid)
        return;
    if (oid_name(oid) == oid)
        node_text(to, name, oid);
    else
        node_textf(to, name, "%s (%s)", oid_name(oid), oid);
}

void show_oids(struct node *to, const char *name, const struct strlist *oids)
{
    struct node *list;

    if (oids->n == 0)
        return;
    list = node_list(to, name);
    for (size_t i = 0; i < oids->n; i++)
        show_oid(list, NULL, oids->items[i]);
}

static void show_sans(struct node *to, const struct san_list *sans)
{
    struct node *list;

    if (sans->n == 0)
        return;
    list = node_list(to, "alternative names");
    for (size_t i = 0; i < sans->n; i++)
        node_textf(list, NULL, "%s:%s", san_type_name(sans->items[i].type), sans->items[i].value);
}

static void show_template(struct node *to, const char *name, const struct template_info *info)
{
    node_text(to, "template name", name);
    node_text(to, "template oid", info->oid);
    if (info->major.set)
        node_textf(to, "template version", "%u.%u", info->major.value, info->minor.value);
}

static void show_key(struct node *to, const struct pubkey *key)
{
    CLEANUP(mem_freep) char *text = pubkey_describe(key);

    node_text(to, "key", text);
}

static void show_key_usage(struct node *to, bool has, uint32_t bits)
{
    CLEANUP(mem_freep) char *text = has ? msext_key_usage_text(bits) : NULL;

    node_text(to, "key usage", text);
}

/* What tells one certificate from another. */
static void show_cert_brief(struct node *to, const struct cert *cert)
{
    node_text(to, "subject", cert->subject);
    node_text(to, "issuer", cert->issuer);
    node_text(to, "serial", cert->serial);
    node_time(to, "not before", cert->not_before);
    node_time(to, "not after", cert->not_after);
    show_key(to, &cert->key);
}

static void show_certs(struct node *to, const char *name, const struct cert_list *certs)
{
    struct node *list;

    if (certs->n == 0)
        return;
    list = node_list(to, name);
    for (size_t i = 0; i < certs->n; i++)
        show_cert_brief(node_group(list, NULL), certs->items[i]);
}

void show_cert(struct node *to, const struct cert *cert)
{
    show_cert_brief(to, cert);
    show_oid(to, "signature", cert->signature_algorithm);
    node_bool(to, "ca", cert->is_ca);
    show_sans(to, &cert->san);
    show_key_usage(to, cert->has_key_usage, cert->key_usage);
    show_oids(to, "extended key usage", &cert->eku);
    show_oids(to, "application policies", &cert->application_policies);
    show_template(to, cert->template_name, &cert->template);
    node_text(to, "account sid", cert->sid);
    node_hex(to, "subject key id", &cert->ski);
    node_hex(to, "authority key id", &cert->aki);
    node_text(to, "sha1", cert->sha1);
    node_text(to, "sha256", cert->sha256);
}

/* "holds", or why it does not. */
static void show_verdict(struct node *to, const char *name, int r, const struct err *err)
{
    if (r >= 0)
        node_text(to, name, "holds");
    else
        node_textf(to, name, "does not hold: %s", err_text(err));
}

static void show_csr_signature(struct node *to, const struct csr *csr)
{
    CLEANUP(err_freep) struct err *err = NULL;
    int r = csr_verify(csr, true, &err);

    show_oid(to, "signature algorithm", csr->signature_algorithm);
    if (csr->null_signature && r >= 0)
        node_text(to, "signature", "a bare hash: an outer signature has to prove possession of the key");
    else
        show_verdict(to, "signature", r, err);
}

static void show_client(struct node *to, const struct csr *csr)
{
    if (csr->has_client_info) {
        struct node *client = node_group(to, "client");

        node_number(client, "id", csr->client_info.client_id);
        node_text(client, "machine", csr->client_info.machine);
        node_text(client, "user", csr->client_info.user);
        node_text(client, "process", csr->client_info.process);
    }
    node_text(to, "os version", csr->os_version);
    if (csr->has_csp)
        node_textf(to, "key provider", "%s (key spec %u)", csr->csp.name, csr->csp.key_spec);
}

static void show_pairs(struct node *to, const char *name, const struct name_values *pairs)
{
    struct node *list;

    if (pairs->n == 0)
        return;
    list = node_list(to, name);
    for (size_t i = 0; i < pairs->n; i++)
        node_textf(list, NULL, "%s=%s", pairs->items[i].name, pairs->items[i].value);
}

static char *oids_text(const struct strlist *oids)
{
    CLEANUP(strlist_clear) struct strlist names = {0};

    for (size_t i = 0; i < oids->n; i++)
        strlist_add(&names, oid_name(oids->items[i]));
    return strlist_join(&names, ", ");
}

/* Each gives what the value of one kind of extension says; returns owned, NULL where it does not decode. */
static char *eku_text(const struct bytes *value)
{
    CLEANUP(strlist_clear) struct strlist oids = {0};

    return msext_eku_parse(value->data, value->len, &oids, NULL) < 0 ? NULL : oids_text(&oids);
}

static char *policies_text(const struct bytes *value)
{
    CLEANUP(strlist_clear) struct strlist oids = {0};

    return msext_policies_parse(value->data, value->len, &oids, NULL) < 0 ? NULL : oids_text(&oids);
}

static char *key_usage_text(const struct bytes *value)
{
    uint32_t bits;

    return msext_key_usage_parse(value->data, value->len, &bits, NULL) < 0 ? NULL : msext_key_usage_text(bits);
}

/* A BMPString: the name of a template or of a key storage provider. */
static char *bmp_text(const struct bytes *value)
{
    char *name = NULL;

    (void)msext_template_name_parse(value->data, value->len, &name, NULL);
    return name;
}

static char *template_info_text(const struct bytes *value)
{
    struct template_info info = {0};
    char *text;

    if (msext_template_info_parse(value->data, value->len, &info, NULL) < 0)
        return NULL;
    text = mem_printf("%s version %u.%u", info.oid, info.major.value, info.minor.value);
    template_info_clear(&info);
    return text;
}

static char *sans_text(const struct bytes *value)
{
    CLEANUP(strlist_clear) struct strlist texts = {0};
    struct san_list sans = {0};

    if (san_decode(value->data, value->len, &sans, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < sans.n; i++) {
        CLEANUP(mem_freep) char *text = mem_printf("%s:%s", san_type_name(sans.items[i].type), sans.items[i].value);

        strlist_add(&texts, text);
    }
    san_list_clear(&sans);
    return strlist_join(&texts, ", ");
}

void show_extension(struct node *to, const char *name, const char *oid, bool critical, const struct bytes *value)
{
    static const struct {
        const char *oid;
        char *(*text)(const struct bytes *value);
    } known[] = {
        {OID_EXTENDED_KEY_USAGE, eku_text},
        {OID_APPLICATION_POLICIES, policies_text},
        {OID_CERTIFICATE_POLICIES, policies_text},
        {OID_KEY_USAGE, key_usage_text},
        {OID_TEMPLATE_NAME, bmp_text},
        {OID_TEMPLATE_INFO, template_info_text},
        {OID_SUBJECT_ALT_NAME, sans_text},
    };
    CLEANUP(mem_freep) char *text = NULL;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(known) && !oid_is(oid, known[i].oid); i++)
        ;
    if (i < ARRAY_SIZE(known)) {
        text = known[i].text(value);
        text = text ? text : mem_strdup("does not decode");
    } else {
        text = mem_printf("%zu bytes", value->len);
    }
    node_textf(to, name, "%s (%s)%s: %s", oid_name(oid), oid, critical ? ", critical" : "", text);
}

static void show_attributes(struct node *to, const struct csr_attributes *attributes)
{
    struct node *list;

    if (attributes->n == 0)
        return;
    list = node_list(to, "attributes");
    for (size_t i = 0; i < attributes->n; i++) {
        const struct csr_attribute *attribute = &attributes->items[i];
        CLEANUP(mem_freep)
        char *text = oid_is(attribute->oid, OID_KSP_NAME) ? bmp_text(&attribute->value) : NULL;

        node_textf(
            list, NULL, "%s (%s)%s%s", oid_name(attribute->oid), attribute->oid, text ? ": " : "", text ? text : "");
    }
}

static void show_extensions(struct node *to, const struct csr_extensions *extensions)
{
    struct node *list;

    if (extensions->n == 0)
        return;
    list = node_list(to, "extensions");
    for (size_t i = 0; i < extensions->n; i++)
        show_extension(
            list, NULL, extensions->items[i].oid, extensions->items[i].critical, &extensions->items[i].value);
}

static void show_csr(struct node *to, const struct csr *csr)
{
    node_text(to, "subject", csr->subject);
    show_key(to, &csr->key);
    show_csr_signature(to, csr);
    show_template(to, csr->template_name, &csr->template);
    show_sans(to, &csr->san);
    show_key_usage(to, csr->has_key_usage, csr->key_usage);
    show_oids(to, "extended key usage", &csr->eku);
    show_oids(to, "application policies", &csr->application_policies);
    node_text(to, "account sid", csr->sid);
    node_hex(to, "subject key id", &csr->ski);
    show_client(to, csr);
    show_pairs(to, "name values", &csr->name_values);
    show_attributes(to, &csr->attributes);
    show_extensions(to, &csr->extensions);
    if (csr->attestation)
        node_bool(to, "key attestation", true);
    if (csr->old_cert)
        show_cert_brief(node_group(to, "renews"), csr->old_cert);
}

static void show_controls(struct node *to, const struct cmc_controls *controls)
{
    struct node *group;

    if (!controls->attributes.n && !controls->extensions.n && !controls->reg_info.n && !controls->unknown.n)
        return;
    group = node_group(to, "controls");
    show_attributes(group, &controls->attributes);
    show_extensions(group, &controls->extensions);
    show_pairs(group, "reg info", &controls->reg_info);
    show_oids(group, "unknown", &controls->unknown);
}

/*
 * Verifies one signer by the key it names: that of the PKCS#10 (@csr_key) for a key identifier, that of the enclosed
 * certificate otherwise.
 */
static void show_signature(struct node *to, struct cms *cms, size_t i, const struct bytes *csr_key)
{
    CLEANUP(err_freep) struct err *err = NULL;
    const struct cms_signer_info *signer = &cms->signers[i];
    const struct bytes *key = signer->cert ? &signer->cert->key.spki : signer->id == CMS_BY_KEY_ID ? csr_key : NULL;

    if (!key && !signer->no_signature)
        node_text(to, "signature", "cannot be checked: the signer's certificate is not enclosed");
    else
        show_verdict(to, "signature", cms_verify_signer(cms, i, key, &err), err);
}

static void show_signers(struct node *to, struct cms *cms, const struct bytes *csr_key)
{
    struct node *list = node_list(to, "signers");

    for (size_t i = 0; i < cms->n_signers; i++) {
        const struct cms_signer_info *signer = &cms->signers[i];
        struct node *group = node_group(list, NULL);

        if (signer->id == CMS_BY_KEY_ID) {
            node_text(group, "named by", csr_key ? "key id: the key of the request" : "key id");
            node_hex(group, "key id", &signer->key_id);
        } else {
            node_text(group, "named by", "issuer and serial number");
            node_text(group, "issuer", signer->issuer);
            node_text(group, "serial", signer->serial);
        }
        if (signer->cert)
            node_text(group, "subject", signer->cert->subject);
        node_text(group, "hash", signer->hash);
        show_oid(group, "signature algorithm", signer->signature_algorithm);
        node_bool(group, "signed attributes", signer->signed_attributes);
        node_text(group, "requester", signer->requester);
        if (signer->archived_key)
            node_bool(group, "archived key", true);
        show_signature(group, cms, i, csr_key);
    }
}

/* What a CA that looks at the message alone would say of a request. */
static void show_request_verdict(struct node *to, struct payload *payload)
{
    CLEANUP(err_freep) struct err *err = NULL;

    if (payload_verify(payload, &err) < 0) {
        node_textf(to, "as a whole", "a CA would refuse it: %s", err_text(err));
        node_text(to, "hint", err_hint_text(err));
    } else {
        node_text(to, "as a whole", "every signature that the request needs is there and holds");
    }
}

static const char *status_name(uint32_t status)
{
    static const char *const names[] = {"issued", "1", "failed", "pending", "not supported", "confirmation required",
        "proof of possession required", "partial"};

    return status < ARRAY_SIZE(names) ? names[status] : "unknown";
}

static void show_response(struct node *to, struct cmc_response *response)
{
    CLEANUP(err_freep) struct err *err = NULL;
    const struct cert *leaf;

    if (!response->certs_only) {
        node_textf(to, "status", "%s (%u)", status_name(response->raw_status), response->raw_status);
        node_text(to, "text", response->text);
        if (response->fail_info.set)
            node_number(to, "fail info", response->fail_info.value);
        node_hex(to, "pend token", &response->pend_token);
        if (response->pend_time.set)
            node_time(to, "received at", response->pend_time.value);
        node_hex(to, "issued certificate sha1", &response->issued_hash);
        if (response->challenge)
            node_bool(to, "attestation challenge", true);
        show_attributes(to, &response->attributes);
        show_signers(to, response->cms, NULL);
        show_verdict(to, "signature of the ca", cmc_response_verify(response, NULL, NULL, &err), err);
    }
    leaf = response->issued_hash.len ? cmc_response_leaf(response, NULL, NULL) : NULL;
    if (leaf)
        show_cert(node_group(to, "issued certificate"), leaf);
    show_certs(to, "certificates", &response->cms->certificates);
}

static void show_parsed(struct node *to, struct payload *payload)
{
    switch (payload->kind) {
    case PAYLOAD_PKCS10:
        show_csr(to, payload->csr);
        break;
    case PAYLOAD_CMS_PKCS10:
    case PAYLOAD_CMC:
        node_text(to, "on behalf of", payload->requester);
        show_csr(node_group(to, "request"), payload->csr);
        show_controls(to, &payload->controls);
        show_signers(to, payload->cms, &payload->csr->key.spki);
        show_certs(to, "certificates", &payload->cms->certificates);
        show_request_verdict(to, payload);
        break;
    case PAYLOAD_CMC_RESPONSE:
    case PAYLOAD_CERTS_ONLY:
        show_response(to, payload->response);
        break;
    case PAYLOAD_ENVELOPED:
        node_number(to, "recipients", payload->recipients);
        break;
    case PAYLOAD_CERTIFICATE:
        show_cert(to, payload->cert);
        break;
    case PAYLOAD__MAX:
        break;
    }
}

/* Leaves what went wrong at its place in the tree, and says there which place that is. Returns -1. */
static int wrong_here(struct node *to, const char *place, struct err **errp, struct err *err)
{
    node_text(to, "error", err_text(err));
    if (err_hint_text(err))
        node_text(to, "hint", err_hint_text(err));
    if (place)
        err_wrap(&err, "%s", place);
    if (errp && !*errp)
        *errp = err;
    else
        err_free(err);
    return -1;
}

int show_payload(struct node *to, const struct bytes *der, const char *place, struct err **errp)
{
    CLEANUP(payload_freep) struct payload *payload = NULL;
    struct err *err = NULL;

    if (payload_parse(der->data, der->len, &payload, &err) < 0)
        return wrong_here(to, place, errp, err);
    node_text(to, "kind", payload_kind_name(payload->kind));
    show_parsed(to, payload);
    return 0;
}

int show_cert_der(struct node *to, const struct bytes *der, const char *place, struct err **errp)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;
    struct err *err = NULL;

    if (cert_parse(der->data, der->len, &cert, &err) < 0)
        return wrong_here(to, place, errp, err);
    show_cert(to, cert);
    return 0;
}
