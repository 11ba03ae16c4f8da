#include "agent/request/request.h"

#include <string.h>

#include "protocol/pki/cmc.h"
#include "protocol/pki/cms.h"
#include "protocol/pki/oid.h"
#include "protocol/xcep/flags.h"

#define MIN_RSA_BITS 2048 /* never weaker, whatever the template allows */
#define MIN_EC_BITS  256

/* What an algorithm in a policy means; a curve is a lower bound too. */
static const struct algorithm {
    const char *oid;
    bool ec;
    unsigned bits;
} algorithms[] = {
    {OID_RSA, false, MIN_RSA_BITS},
    {OID_EC, true, MIN_EC_BITS},
    {OID_P256, true, 256},
    {OID_P384, true, 384},
    {OID_P521, true, 521},
};

int request_key_kind(const struct template *template, enum key_kind *kind, struct err **errp)
{
    const char *oid = template->key_algorithm ? template->key_algorithm : OID_RSA;

    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
        const struct algorithm *a = &algorithms[i];
        unsigned bits = template->key_length > a->bits ? template->key_length : a->bits;

        if (!oid_is(oid, a->oid))
            continue;
        if (key_kind_for(a->ec, bits, kind))
            return 0;
        err_set(errp, ERR_POLICY, "template '%s' wants a key of %u bits, more than any kind of key here has",
            template->name, bits);
        return err_hint(errp, "RSA goes to 4096 bits and EC to P-521; the template must ask for no more");
    }
    err_set(errp, ERR_POLICY, "template '%s' wants a key of kind %s", template->name, oid_name(oid));
    return err_hint(errp, "keys here are RSA or EC (P-256, P-384, P-521); have the template changed to one of these");
}

/* The hash of the template where it is strong enough, else SHA-256. */
static const char *hash_of(const struct template *template)
{
    if (oid_is(template->hash, OID_SHA384))
        return "SHA384";
    if (oid_is(template->hash, OID_SHA512))
        return "SHA512";
    return "SHA256";
}

/* Extensions that we add when a flag asks for them and the policy does not bring them itself. */
static const struct flagged_extension {
    uint32_t flag;
    const char *oid;
    const char *der;
    size_t len;
} flagged_extensions[] = {
#define EXTENSION(flag, oid, der)                                                                                      \
    {                                                                                                                  \
        flag, oid, der, sizeof(der) - 1                                                                                \
    }
    EXTENSION(XCEP_ENROLL_INCLUDE_BASIC_CONSTRAINTS_FOR_EE_CERTS, OID_BASIC_CONSTRAINTS, "\x30\x00"), /* cA FALSE */
    EXTENSION(XCEP_ENROLL_INCLUDE_SYMMETRIC_ALGORITHMS, OID_SMIME_CAPABILITIES, /* AES-256-CBC, AES-128-CBC */
        "\x30\x1a\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01"
        "\x02"),
#undef EXTENSION
};

/* How the CA finds the template: by name for schema 1, else by OID and version [MS-WCCE] 2.2.2.7.7. */
static int add_template(const struct template *template, struct csr_extensions *extensions, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    struct template_info info = {
        .oid = template->oid, .major = {true, template->major}, .minor = {true, template->minor}};
    bool by_name = template->schema == 1;
    const char *oid = by_name ? OID_TEMPLATE_NAME : OID_TEMPLATE_INFO;

    if (csr_extensions_find(extensions, oid))
        return 0;
    if ((by_name ? msext_template_name_write(template->name, &value, errp)
                 : msext_template_info_write(&info, &value, errp)) < 0)
        return err_wrap(errp, "naming the template");
    csr_extensions_add(extensions, oid, false, &value);
    return 0;
}

static int add_extensions(const struct request_spec *spec, struct csr_extensions *extensions, struct err **errp)
{
    const struct template *template = spec->template;
    CLEANUP(bytes_clear) struct bytes san = {0};

    for (size_t i = 0; i < template->n_extensions; i++) {
        const struct policy_extension *e = &template->extensions[i];

        if (!csr_extensions_find(extensions, e->oid))
            csr_extensions_add(extensions, e->oid, e->critical, &e->value);
    }
    if (add_template(template, extensions, errp) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(flagged_extensions); i++) {
        const struct flagged_extension *f = &flagged_extensions[i];
        CLEANUP(bytes_clear) struct bytes value = {0};

        if (!(template->enrollment_flags & f->flag) || csr_extensions_find(extensions, f->oid))
            continue;
        bytes_set(&value, f->der, f->len);
        csr_extensions_add(extensions, f->oid, false, &value);
    }
    if (!spec->subject->san.n)
        return 0;
    if (san_encode(&spec->subject->san, &san, errp) < 0)
        return err_wrap(errp, "writing the alternative names");
    csr_extensions_add(extensions, OID_SUBJECT_ALT_NAME, false, &san);
    return 0;
}

static int write_client_info(const struct machine *machine, struct bytes *out, struct err **errp)
{
    const char *name = machine->fqdn ? machine->fqdn : machine->hostname ? machine->hostname : "localhost";
    CLEANUP(client_info_clear)
    struct client_info info = {.machine = mem_strdup(name),
        .user = mem_printf("%s$", machine->hostname ? machine->hostname : name),
        .process = mem_strdup("autoenroll-worker")};

    return msext_client_info_write(&info, out, errp);
}

static int add_attributes(const struct request_spec *spec, struct csr_attributes *attributes, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes info = {0};
    CLEANUP(bytes_clear) struct bytes os = {0};

    if (spec->machine->os_version) {
        if (msext_os_version_write(spec->machine->os_version, &os, errp) < 0)
            return -1;
        csr_attributes_add(attributes, OID_OS_VERSION, &os);
    }
    if (write_client_info(spec->machine, &info, errp) < 0)
        return -1;
    csr_attributes_add(attributes, OID_CLIENT_INFO, &info);
    if (spec->old)
        csr_attributes_add(attributes, OID_RENEWAL_CERTIFICATE, &spec->old->der);
    return 0;
}

static int build_pkcs10(const struct request_spec *spec, struct bytes *csr, struct err **errp)
{
    CLEANUP(csr_spec_clear)
    struct csr_spec what = {.hash = hash_of(spec->template),
        .pss = (spec->template->private_key_flags & XCEP_KEY_REQUIRE_ALTERNATE_SIGNATURE_ALGORITHM) &&
               !key_kind_is_ec(key_kind(spec->key))};

    bytes_copy(&what.subject, &spec->subject->name);
    if (add_extensions(spec, &what.extensions, errp) < 0 || add_attributes(spec, &what.attributes, errp) < 0)
        return -1;
    return csr_build(&what, key_evp(spec->key), csr, errp);
}

static int build_cmc(const struct request_spec *spec, const struct bytes *csr, struct bytes *request, struct err **errp)
{
    CLEANUP(cmc_controls_clear) struct cmc_controls controls = {0};
    CLEANUP(bytes_clear) struct bytes info = {0};
    struct cms_signer new = {.key = key_evp(spec->key), .hash = hash_of(spec->template)};
    struct cms_signer old = {.cert = spec->old, .hash = hash_of(spec->template)};

    if (write_client_info(spec->machine, &info, errp) < 0) /* as Windows clients do, here too */
        return -1;
    csr_attributes_add(&controls.attributes, OID_CLIENT_INFO, &info);
    if (!spec->old)
        return cmc_build_new(csr, &controls, &new, request, errp);
    old.key = key_evp(spec->old_key);
    return cmc_build_renewal(csr, &controls, &new, &old, request, errp);
}

static int build(const struct request_spec *spec, struct bytes *request, enum wstep_token *token, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes csr = {0};
    struct cms_signer old = {.cert = spec->old, .hash = hash_of(spec->template)};

    if (build_pkcs10(spec, &csr, errp) < 0)
        return err_wrap(errp, "the PKCS#10");
    *token = WSTEP_PKCS7;
    if (spec->template->schema > 1)
        return build_cmc(spec, &csr, request, errp);
    if (spec->old) {
        old.key = key_evp(spec->old_key);
        return cms_build_renewal(&csr, &old, request, errp);
    }
    *token = WSTEP_PKCS10;
    bytes_clear(request);
    *request = csr;
    csr = (struct bytes){0};
    return 0;
}

int request_build(const struct request_spec *spec, struct bytes *request, enum wstep_token *token, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;
    CLEANUP(err_freep) struct err *token_why = NULL;

    if (build(spec, request, token, &why) == 0)
        return 0;
    /* OpenSSL only says that a signature failed; the token knows why. */
    if (key_failure(spec->key, &token_why) || (spec->old_key && key_failure(spec->old_key, &token_why)))
        err_wrap(&token_why, "signing the request");
    if (errp && !*errp)
        *errp = token_why ? TAKE(token_why) : TAKE(why);
    return -1;
}
