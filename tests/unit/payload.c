#include "protocol/pki/payload.h"

#include <openssl/asn1.h>
#include <openssl/cms.h>

#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"

/* Everything that a renewal needs. All owned. */
struct scene {
    EVP_PKEY *old_key, *new_key, *other_key;
    struct cert *old;
    struct bytes csr;
    struct bytes message;
};

static void free_scene(struct scene *scene)
{
    EVP_PKEY_free(scene->old_key);
    EVP_PKEY_free(scene->new_key);
    EVP_PKEY_free(scene->other_key);
    cert_free(scene->old);
    bytes_clear(&scene->csr);
    bytes_clear(&scene->message);
}

static void make_scene(struct scene *scene, const char *old_kind, const char *new_kind, bool renewal)
{
    scene->old_key = pki_key(old_kind);
    scene->new_key = pki_key(new_kind);
    scene->other_key = pki_key("P-256");
    scene->old = pki_cert(&(struct pki_cert_spec){.subject = "CN=web01", .key = scene->old_key, .serial = 0x2a});
    pki_csr(scene->new_key, "CN=web01", renewal ? scene->old : NULL, &scene->csr);
}

static void build_renewal(struct scene *scene, bool pss)
{
    CLEANUP(err_freep) struct err *err = NULL;
    const struct cms_signer new_key = {.key = scene->new_key, .hash = "SHA256", .pss = pss};
    const struct cms_signer old = {.key = scene->old_key, .cert = scene->old, .hash = "SHA384", .pss = pss};

    assert_ok(cmc_build_renewal(&scene->csr, NULL, &new_key, &old, &scene->message, &err) == 0, err);
}

static struct payload *parse(const struct bytes *der)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct payload *payload = NULL;

    assert_ok(payload_parse(der->data, der->len, &payload, &err) == 0, err);
    return payload;
}

/* Fails unless @der is refused, sooner or later, with @code. */
static void assert_refused(const struct bytes *der, uint32_t code)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(payload_freep) struct payload *payload = NULL;

    if (payload_parse(der->data, der->len, &payload, &err) == 0)
        assert_int_equal(payload_verify(payload, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
    if (err_code(err) != code)
        fail_msg("expected %08x, got %08x: %s", code, err_code(err), err_text(err));
}

TEST(payload_of_a_bare_request_is_told_and_verified)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256", "P-256", false);
    payload = parse(&scene.csr);
    assert_int_equal(payload->kind, PAYLOAD_PKCS10);
    assert_ok(payload_verify(payload, &err) == 0, err);
    assert_null(payload_cert_signer(payload));
}

TEST(payload_refuses_a_renewal_in_a_bare_request)
{
    CLEANUP(free_scene) struct scene scene = {0};

    make_scene(&scene, "P-256", "P-256", true);
    assert_refused(&scene.csr, CRYPT_E_INVALID_MSG_TYPE);
}

TEST(payload_of_a_cmc_renewal_has_two_verified_signers)
{
    static const struct {
        const char *old_kind, *new_kind;
        bool pss;
    } cases[] = {{"RSA", "RSA", false}, {"RSA", "RSA", true}, {"P-256", "P-384", false}, {"RSA", "P-256", false},
        {"P-521", "RSA", false}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_scene) struct scene scene = {0};
        CLEANUP(payload_freep) struct payload *payload = NULL;
        CLEANUP(err_freep) struct err *err = NULL;
        size_t by_key = 0;

        make_scene(&scene, cases[i].old_kind, cases[i].new_kind, true);
        build_renewal(&scene, cases[i].pss);
        payload = parse(&scene.message);
        assert_int_equal(payload->kind, PAYLOAD_CMC);
        assert_ok(payload_verify(payload, &err) == 0, err);
        assert_int_equal(payload->cms->n_signers, 2);
        for (size_t s = 0; s < 2; s++) {
            assert_true(payload->cms->signers[s].verified);
            by_key += payload->cms->signers[s].id == CMS_BY_KEY_ID;
        }
        assert_int_equal(by_key, 1);
        assert_non_null(payload_cert_signer(payload));
        assert_true(cert_equal(payload_cert_signer(payload)->cert, scene.old));
        assert_string_equal(payload_cert_signer(payload)->hash, "SHA384");
        assert_true(bytes_equal(&payload->csr->der, &scene.csr));
        if (strcmp(cases[i].new_kind, "RSA") == 0 && strcmp(cases[i].old_kind, "RSA") == 0)
            assert_int_equal(payload->cms->signers[0].id, CMS_BY_KEY_ID);
    }
}

TEST(payload_of_a_cmc_request_has_what_its_controls_add)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(cmc_controls_clear) struct cmc_controls controls = {0};
    CLEANUP(san_list_clear) struct san_list san = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256", "P-256", false);
    san_add(&san, SAN_DNS, "linux01.contoso.test");
    assert_int_equal(san_encode(&san, &value, NULL), 0);
    csr_extensions_add(&controls.extensions, OID_SUBJECT_ALT_NAME, true, &value);
    assert_int_equal(msext_os_version_write("6.1.0.2", &value, NULL), 0);
    csr_attributes_add(&controls.attributes, OID_OS_VERSION, &value);
    name_values_add(&controls.reg_info, "CertificateTemplate", "Workstation2");
    name_values_add(&controls.reg_info, "ccm", "linux01.contoso.test");
    assert_ok(cmc_build_new(&scene.csr, &controls, &(struct cms_signer){.key = scene.new_key, .hash = "SHA256"},
                  &scene.message, &err) == 0,
        err);
    payload = parse(&scene.message);
    assert_ok(payload_verify(payload, &err) == 0, err);
    assert_true(san_has(&payload->csr->san, SAN_DNS, "linux01.contoso.test"));
    assert_string_equal(payload->csr->os_version, "6.1.0.2");
    assert_string_equal(name_values_find(&payload->controls.reg_info, "certificatetemplate"), "Workstation2");
    assert_string_equal(name_values_find(&payload->csr->name_values, "CCM"), "linux01.contoso.test");
    assert_null(payload->requester);
    /* regInfo as spec/ms-wstep.md prints it */
    assert_non_null(memmem(payload->cms->content.data, payload->cms->content.len,
        "\x06\x08\x2b\x06\x01\x05\x05\x07\x07\x12\x31\x3b\x04\x39"
        "CertificateTemplate=Workstation2&ccm=linux01.contoso.test",
        14 + 57));
}

TEST(payload_refuses_an_extension_that_request_and_control_both_have)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_controls_clear) struct cmc_controls controls = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256", "P-256", false);
    assert_int_equal(msext_template_name_write("Other", &value, NULL), 0);
    csr_extensions_add(&controls.extensions, OID_TEMPLATE_NAME, false, &value);
    assert_ok(cmc_build_new(&scene.csr, &controls, &(struct cms_signer){.key = scene.new_key, .hash = "SHA256"},
                  &scene.message, &err) == 0,
        err);
    assert_refused(&scene.message, ERROR_INVALID_DATA);
}

TEST(payload_on_behalf_of_somebody_names_him)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(payload_freep) struct payload *cmc = NULL;
    CLEANUP(payload_freep) struct payload *cms = NULL;
    CLEANUP(bytes_clear) struct bytes plain = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct cms_signer agent = {.hash = "SHA256"};

    make_scene(&scene, "P-256", "P-256", false);
    agent.key = scene.old_key;
    agent.cert = scene.old;
    assert_ok(cmc_build_on_behalf(&scene.csr, "CONTOSO\\alice",
                  &(struct cms_signer){.key = scene.new_key, .hash = "SHA256"}, &agent, &scene.message, &err) == 0,
        err);
    cmc = parse(&scene.message);
    assert_ok(payload_verify(cmc, &err) == 0, err);
    assert_string_equal(cmc->requester, "CONTOSO\\alice");
    assert_true(cert_equal(payload_cert_signer(cmc)->cert, scene.old));
    assert_int_equal(cms_build_on_behalf(&scene.csr, &agent, &plain, NULL), -1);
    agent.requester = "CONTOSO\\bob";
    assert_ok(cms_build_on_behalf(&scene.csr, &agent, &plain, &err) == 0, err);
    cms = parse(&plain);
    assert_int_equal(cms->kind, PAYLOAD_CMS_PKCS10);
    assert_ok(payload_verify(cms, &err) == 0, err);
    assert_string_equal(cms->requester, "CONTOSO\\bob");
}

TEST(payload_of_a_cms_renewal_verifies)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "RSA", "P-256", true);
    assert_ok(cms_build_renewal(&scene.csr,
                  &(struct cms_signer){.key = scene.old_key, .cert = scene.old, .hash = "SHA256", .pss = true},
                  &scene.message, &err) == 0,
        err);
    payload = parse(&scene.message);
    assert_int_equal(payload->kind, PAYLOAD_CMS_PKCS10);
    assert_ok(payload_verify(payload, &err) == 0, err);
    assert_string_equal(payload_cert_signer(payload)->signature_algorithm, OID_RSASSA_PSS);
}

TEST(payload_renewal_is_not_built_for_another_certificate_than_the_signers)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cert_freep) struct cert *twin = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256", "P-256", true);
    twin = pki_cert(&(struct pki_cert_spec){.subject = "CN=web01", .key = scene.old_key, .serial = 0x2b});
    assert_int_equal(
        cmc_build_renewal(&scene.csr, NULL, &(struct cms_signer){.key = scene.new_key, .hash = "SHA256"},
            &(struct cms_signer){.key = scene.old_key, .cert = twin, .hash = "SHA256"}, &scene.message, &err),
        -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
}

/* A message over @content with these signers and certificates, however wrong. */
static void sign(struct scene *scene, const char *type, const struct bytes *content,
    const struct cert_list *certificates, const struct cms_signer *signers, size_t n)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(cms_sign(type, content, certificates, signers, n, &scene->message, &err) == 0, err);
}

TEST(payload_with_a_key_identifier_that_is_not_the_requests_is_refused)
{
    const struct bytes wrong = {.data = (uint8_t[]){1, 2, 3}, .len = 3};
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(bytes_clear) struct bytes data = {0};

    make_scene(&scene, "P-256", "P-256", false);
    assert_int_equal(cmc_data_write(&scene.csr, NULL, &data, NULL), 0);
    sign(&scene, OID_PKI_DATA, &data, NULL,
        &(struct cms_signer){.key = scene.new_key, .hash = "SHA256", .key_id = &wrong}, 1);
    assert_refused(&scene.message, CRYPT_E_SIGNER_NOT_FOUND);
}

TEST(payload_signed_by_another_key_under_the_right_identifier_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(pubkey_clear) struct pubkey right = {0};

    make_scene(&scene, "P-256", "P-256", false);
    assert_int_equal(pubkey_from_evp(scene.new_key, &right, NULL), 0);
    assert_int_equal(cmc_data_write(&scene.csr, NULL, &data, NULL), 0);
    sign(&scene, OID_PKI_DATA, &data, NULL,
        &(struct cms_signer){.key = scene.other_key, .hash = "SHA256", .key_id = &right.key_id}, 1);
    assert_refused(&scene.message, NTE_BAD_SIGNATURE);
}

TEST(payload_renewal_signed_with_a_forged_certificate_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cert_freep) struct cert *forged = NULL;
    CLEANUP(cert_list_clear) struct cert_list both = {0};

    /* same issuer, same serial number, another key: alone it is not the one in the attribute, with it nobody knows */
    make_scene(&scene, "P-256", "P-256", true);
    forged = pki_cert(&(struct pki_cert_spec){.subject = "CN=web01", .key = scene.other_key, .serial = 0x2a});
    sign(&scene, OID_DATA, &scene.csr, NULL,
        &(struct cms_signer){.key = scene.other_key, .cert = forged, .hash = "SHA256"}, 1);
    assert_refused(&scene.message, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
    cert_list_add(&both, cert_dup(scene.old));
    /* our own cms_sign reads back what it signed, and refuses too */
    {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes out = {0};

        assert_int_equal(
            cms_sign(OID_DATA, &scene.csr, &both,
                &(struct cms_signer){.key = scene.other_key, .cert = forged, .hash = "SHA256"}, 1, &out, &err),
            -1);
        assert_int_equal(err_code(err), ERROR_INVALID_DATA);
    }
}

TEST(payload_renewal_that_the_old_key_has_not_signed_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(cert_list_clear) struct cert_list old = {0};
    struct cms_signer new_key = {.hash = "SHA256"};

    make_scene(&scene, "P-256", "P-256", true);
    new_key.key = scene.new_key;
    assert_int_equal(cmc_data_write(&scene.csr, NULL, &data, NULL), 0);
    sign(&scene, OID_PKI_DATA, &data, NULL, &new_key, 1);
    assert_refused(&scene.message, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
    cert_list_add(&old, cert_dup(scene.old));
    sign(&scene, OID_PKI_DATA, &data, &old, &new_key, 1);
    assert_refused(&scene.message, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
}

/* The key identifiers are the sender's to choose: naming the new key as the old certificate names its own proves
 * nothing. */
TEST(payload_renewal_signed_by_the_new_key_under_the_old_ones_identifier_is_refused)
{
    const struct bytes id = {.data = (uint8_t[]){1, 2, 3, 4}, .len = 4};
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(csr_spec_clear) struct csr_spec spec = {.hash = "SHA256"};
    CLEANUP(cert_list_clear) struct cert_list old = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(bytes_clear) struct bytes data = {0};
    struct csr_extension extension = {.oid = (char[]){"2.5.29.14"}};
    struct cms_signer new_key = {.hash = "SHA256", .key_id = &id};

    make_scene(&scene, "P-256", "P-256", false);
    new_key.key = scene.new_key;
    assert_int_equal(msext_octets_write(id.data, id.len, &value, NULL), 0);
    extension.value = value;
    cert_free(scene.old);
    scene.old = pki_cert(&(struct pki_cert_spec){
        .subject = "CN=web01", .key = scene.old_key, .serial = 0x2a, .extensions = &extension, .n_extensions = 1});
    csr_extensions_add(&spec.extensions, OID_SUBJECT_KEY_ID, false, &value);
    csr_attributes_add(&spec.attributes, OID_RENEWAL_CERTIFICATE, &scene.old->der);
    assert_int_equal(csr_build(&spec, scene.new_key, &scene.csr, NULL), 0);
    cert_list_add(&old, cert_dup(scene.old));
    assert_int_equal(cmc_data_write(&scene.csr, NULL, &data, NULL), 0);
    sign(&scene, OID_PKI_DATA, &data, &old, &new_key, 1);
    assert_refused(&scene.message, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
}

TEST(payload_without_a_signer_is_refused)
{
    static const char data_type[] = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    static const char signed_type[] = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(bytes_clear) struct bytes octets = {0};
    CLEANUP(bytes_clear) struct bytes content = {0};
    CLEANUP(bytes_clear) struct bytes data = {0};

    /* ContentInfo { signedData, SignedData { 1, {}, { data, [0] csr }, {} } }, from the inside out */
    make_scene(&scene, "P-256", "P-256", false);
    pki_put(&octets, V_ASN1_OCTET_STRING, scene.csr.data, scene.csr.len);
    assert_int_equal(bytes_append(&content, data_type, 11, NULL), 0);
    pki_put(&content, 0xa0, octets.data, octets.len);
    assert_int_equal(bytes_append(&data, "\x02\x01\x01\x31\x00", 5, NULL), 0);
    pki_put(&data, 0x30, content.data, content.len);
    assert_int_equal(bytes_append(&data, "\x31\x00", 2, NULL), 0);
    bytes_clear(&octets);
    pki_put(&octets, 0x30, data.data, data.len);
    bytes_clear(&content);
    assert_int_equal(bytes_append(&content, signed_type, 11, NULL), 0);
    pki_put(&content, 0xa0, octets.data, octets.len);
    pki_put(&scene.message, 0x30, content.data, content.len);
    assert_refused(&scene.message, CRYPT_E_NO_SIGNER);
}

/* The request of @scene becomes one with a bare hash for its signature, and a key identifier. */
static void use_null_signature(struct scene *scene)
{
    CLEANUP(pubkey_clear) struct pubkey key = {0};
    CLEANUP(mem_freep) char *id = NULL;
    CLEANUP(mem_freep) char *attribute = NULL;

    assert_int_equal(pubkey_from_evp(scene->new_key, &key, NULL), 0);
    id = bytes_to_hex(key.key_id.data, key.key_id.len);
    attribute = mem_printf("302e06092a864886f70d01090e3121301f301d0603551d0e04160414%s", id);
    bytes_clear(&scene->csr);
    pki_raw_csr(scene->new_key, (const char *const[]){attribute}, 1, true, &scene->csr);
}

TEST(payload_with_a_null_signature_inside_needs_the_new_keys_signature_outside)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct cms_signer signer = {.hash = "SHA256"};

    make_scene(&scene, "P-256", "P-256", false);
    use_null_signature(&scene);
    assert_refused(&scene.csr, NTE_BAD_SIGNATURE); /* bare, it proves nothing */
    assert_int_equal(cmc_data_write(&scene.csr, NULL, &data, NULL), 0);
    signer.key = scene.new_key;
    sign(&scene, OID_PKI_DATA, &data, NULL, &signer, 1);
    payload = parse(&scene.message);
    assert_ok(payload_verify(payload, &err) == 0, err);
    assert_true(payload->csr->null_signature);
    signer.key = scene.old_key;
    signer.cert = scene.old;
    sign(&scene, OID_PKI_DATA, &data, NULL, &signer, 1); /* somebody else's does not do */
    assert_refused(&scene.message, NTE_BAD_SIGNATURE);
}

/* Puts the no-signature mechanism in the place of the one signature: a digest of the signed attributes. */
static void use_no_signature(struct bytes *message)
{
    const unsigned char *at = message->data;
    CMS_ContentInfo *info = d2i_CMS_ContentInfo(NULL, &at, (long)message->len);
    CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(info), 0);
    CLEANUP(bytes_clear) struct bytes attributes = {0};
    CLEANUP(bytes_clear) struct bytes set = {0};
    unsigned char digest[EVP_MAX_MD_SIZE], *der = NULL;
    X509_ALGOR *algorithm = NULL;
    unsigned digest_len;
    int len;

    for (int i = 0; i < CMS_signed_get_attr_count(signer); i++) {
        unsigned char *one = NULL;

        len = i2d_X509_ATTRIBUTE(CMS_signed_get_attr(signer, i), &one);
        assert_int_equal(bytes_append(&attributes, one, (size_t)len, NULL), 0);
        OPENSSL_free(one);
    }
    pki_put(&set, 0x31, attributes.data, attributes.len);
    assert_true(EVP_Digest(set.data, set.len, digest, &digest_len, EVP_sha256(), NULL));
    assert_true(ASN1_STRING_set(CMS_SignerInfo_get0_signature(signer), digest, (int)digest_len));
    CMS_SignerInfo_get0_algs(signer, NULL, NULL, NULL, &algorithm);
    assert_true(X509_ALGOR_set0(algorithm, oid_to_asn1(OID_NO_SIGNATURE), V_ASN1_NULL, NULL));
    len = i2d_CMS_ContentInfo(info, &der);
    assert_true(len > 0);
    bytes_set(message, der, (size_t)len);
    OPENSSL_free(der);
    CMS_ContentInfo_free(info);
}

/* Gives the one signature the algorithm identifier that Windows writes for an elliptic key. */
static void use_windows_algorithm(struct bytes *message, bool with_parameters)
{
    const unsigned char *at = message->data;
    CMS_ContentInfo *info = d2i_CMS_ContentInfo(NULL, &at, (long)message->len);
    unsigned char *der = NULL;
    X509_ALGOR *algorithm = NULL;
    int len;

    CMS_SignerInfo_get0_algs(sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(info), 0), NULL, NULL, NULL, &algorithm);
    assert_true(X509_ALGOR_set0(algorithm, oid_to_asn1(OID_EC), with_parameters ? V_ASN1_OBJECT : V_ASN1_UNDEF,
        with_parameters ? oid_to_asn1(OID_P256) : NULL));
    len = i2d_CMS_ContentInfo(info, &der);
    assert_true(len > 0);
    bytes_set(message, der, (size_t)len);
    OPENSSL_free(der);
    CMS_ContentInfo_free(info);
}

TEST(payload_whose_signature_algorithm_is_just_the_elliptic_key_verifies)
{
    for (int with_parameters = 0; with_parameters <= 1; with_parameters++) {
        CLEANUP(free_scene) struct scene scene = {0};
        CLEANUP(payload_freep) struct payload *payload = NULL;
        CLEANUP(err_freep) struct err *err = NULL;

        make_scene(&scene, "P-256", "P-256", false);
        assert_ok(cmc_build_new(&scene.csr, NULL, &(struct cms_signer){.key = scene.new_key, .hash = "SHA256"},
                      &scene.message, &err) == 0,
            err);
        use_windows_algorithm(&scene.message, with_parameters);
        payload = parse(&scene.message);
        assert_ok(payload_verify(payload, &err) == 0, err);
        assert_string_equal(payload->cms->signers[0].signature_algorithm, OID_EC);
    }
}

TEST(payload_with_the_no_signature_mechanism_needs_a_signature_inside)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(bytes_clear) struct bytes data = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct cms_signer signer = {.hash = "SHA256"};

    make_scene(&scene, "P-256", "P-256", false);
    signer.key = scene.new_key;
    assert_int_equal(cmc_data_write(&scene.csr, NULL, &data, NULL), 0);
    sign(&scene, OID_PKI_DATA, &data, NULL, &signer, 1);
    use_no_signature(&scene.message);
    payload = parse(&scene.message);
    assert_ok(payload_verify(payload, &err) == 0, err);
    assert_true(payload->cms->signers[0].no_signature && payload->cms->signers[0].verified);
    scene.message.data[scene.message.len - 1] ^= 1; /* the digest */
    assert_refused(&scene.message, CRYPT_E_HASH_VALUE);
    use_null_signature(&scene);
    bytes_clear(&data);
    assert_int_equal(cmc_data_write(&scene.csr, NULL, &data, NULL), 0);
    sign(&scene, OID_PKI_DATA, &data, NULL, &signer, 1);
    use_no_signature(&scene.message); /* nobody has signed anything */
    assert_refused(&scene.message, NTE_BAD_SIGNATURE);
}

TEST(payload_renewal_by_the_no_signature_mechanism_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    struct cms_signer old = {.hash = "SHA256"};

    make_scene(&scene, "P-256", "P-256", true);
    old.key = scene.old_key;
    old.cert = scene.old;
    sign(&scene, OID_DATA, &scene.csr, NULL, &old, 1);
    use_no_signature(&scene.message);
    assert_refused(&scene.message, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
}

TEST(payload_with_two_requests_or_none_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(bytes_clear) struct bytes request = {0};
    CLEANUP(bytes_clear) struct bytes twice = {0};
    struct cms_signer new_key = {.hash = "SHA256"};

    make_scene(&scene, "P-256", "P-256", false);
    new_key.key = scene.new_key;
    assert_int_equal(bytes_append(&request, "\x02\x01\x01", 3, NULL), 0);
    assert_int_equal(bytes_append(&request, scene.csr.data, scene.csr.len, NULL), 0);
    for (int copies = 0; copies <= 2; copies += 2) {
        CLEANUP(bytes_clear) struct bytes requests = {0};
        CLEANUP(bytes_clear) struct bytes lists = {0};
        CLEANUP(bytes_clear) struct bytes data = {0};

        for (int i = 0; i < copies; i++)
            pki_put(&requests, 0xa0, request.data, request.len);
        assert_int_equal(bytes_append(&lists, "\x30\x00", 2, NULL), 0);
        pki_put(&lists, 0x30, requests.data, requests.len);
        assert_int_equal(bytes_append(&lists, "\x30\x00\x30\x00", 4, NULL), 0);
        pki_put(&data, 0x30, lists.data, lists.len);
        sign(&scene, OID_PKI_DATA, &data, NULL, &new_key, 1);
        assert_refused(&scene.message, ERROR_INVALID_DATA);
    }
    /* in the CMS form, a second request is just bytes behind the first */
    assert_int_equal(bytes_append(&twice, scene.csr.data, scene.csr.len, NULL), 0);
    assert_int_equal(bytes_append(&twice, scene.csr.data, scene.csr.len, NULL), 0);
    sign(&scene, OID_DATA, &twice, NULL, &new_key, 1);
    assert_refused(&scene.message, CRYPT_E_ASN1_CORRUPT);
}

/* Where @needle stands in @der; it must be there once. */
static uint8_t *find(const struct bytes *der, const void *needle, size_t len)
{
    uint8_t *found = memmem(der->data, der->len, needle, len);

    assert_non_null(found);
    assert_null(memmem(found + 1, der->len - (size_t)(found + 1 - der->data), needle, len));
    return found;
}

TEST(payload_whose_content_was_changed_after_signing_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_controls_clear) struct cmc_controls controls = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256", "P-256", false);
    name_values_add(&controls.reg_info, "ccm", "linux01.contoso.test");
    assert_ok(cmc_build_new(&scene.csr, &controls, &(struct cms_signer){.key = scene.new_key, .hash = "SHA256"},
                  &scene.message, &err) == 0,
        err);
    *find(&scene.message, "ccm=linux01", 11) = 'd';
    assert_refused(&scene.message, CRYPT_E_HASH_VALUE);
}

TEST(payload_whose_signed_content_type_is_not_its_content_type_is_refused)
{
    static const uint8_t attribute[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03, 0x31, 0x0a,
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x0c, 0x02};
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256", "P-256", false);
    assert_ok(cmc_build_new(&scene.csr, NULL, &(struct cms_signer){.key = scene.new_key, .hash = "SHA256"},
                  &scene.message, &err) == 0,
        err);
    find(&scene.message, attribute, sizeof(attribute))[sizeof(attribute) - 1] = 3;
    assert_refused(&scene.message, ERROR_INVALID_DATA);
}

TEST(payload_with_a_byte_of_its_signature_changed_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};

    make_scene(&scene, "RSA", "RSA", true);
    build_renewal(&scene, false);
    scene.message.data[scene.message.len - 1] ^= 1; /* the last thing in it is a signature */
    assert_refused(&scene.message, NTE_BAD_SIGNATURE);
}

TEST(payload_with_any_byte_changed_is_refused_or_says_the_same)
{
    CLEANUP(free_scene) struct scene scene = {0};
    size_t harmless = 0;

    make_scene(&scene, "P-256", "P-256", true);
    build_renewal(&scene, false);
    for (size_t i = 0; i < scene.message.len; i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(payload_freep) struct payload *payload = NULL;

        scene.message.data[i] ^= 1;
        if (payload_parse(scene.message.data, scene.message.len, &payload, &err) == 0 &&
            payload_verify(payload, &err) == 0) {
            /* what no signature covers: versions, digestAlgorithms, parameters of algorithms */
            harmless++;
            assert_true(bytes_equal(&payload->csr->der, &scene.csr));
            assert_true(cert_equal(payload_cert_signer(payload)->cert, scene.old));
        }
        scene.message.data[i] ^= 1;
    }
    assert_in_range(harmless, 0, 40);
}

TEST(payload_cut_anywhere_or_with_more_behind_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    struct payload *payload = NULL;

    make_scene(&scene, "P-256", "P-256", true);
    build_renewal(&scene, false);
    for (size_t len = 0; len < scene.message.len; len++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(payload_parse(scene.message.data, len, &payload, &err), -1);
        assert_int_equal(err_code(err), CRYPT_E_ASN1_EOD);
    }
    assert_int_equal(bytes_append(&scene.message, "", 1, NULL), 0);
    assert_refused(&scene.message, CRYPT_E_ASN1_CORRUPT);
}

TEST(payload_that_is_nothing_of_ours_is_refused_with_a_code)
{
    static const struct {
        const char *hex;
        uint32_t code;
    } cases[] = {{"", CRYPT_E_ASN1_EOD}, {"0400", CRYPT_E_ASN1_BADTAG}, {"3000", CRYPT_E_ASN1_CORRUPT},
        {"30020500", CRYPT_E_INVALID_MSG_TYPE}, {"30053003060101", CRYPT_E_INVALID_MSG_TYPE},
        {"300b06092a864886f70d010705", CRYPT_E_INVALID_MSG_TYPE}, {"300b06092a864886f70d010702", CRYPT_E_ASN1_CORRUPT},
        {"3003020101", CRYPT_E_INVALID_MSG_TYPE}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(bytes_clear) struct bytes der = {0};

        pki_hex(cases[i].hex, &der);
        assert_refused(&der, cases[i].code);
    }
}

TEST(payload_of_a_response_is_told_and_is_no_request)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cert_list_clear) struct cert_list list = {0};
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(payload_freep) struct payload *cert = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256", "P-256", false);
    cert_list_add(&list, cert_dup(scene.old));
    assert_int_equal(certs_only_build(&list, &scene.message, NULL), 0);
    payload = parse(&scene.message);
    assert_int_equal(payload->kind, PAYLOAD_CERTS_ONLY);
    assert_int_equal(payload_verify(payload, &err), -1);
    assert_int_equal(err_code(err), CRYPT_E_INVALID_MSG_TYPE);
    cert = parse(&scene.old->der);
    assert_int_equal(cert->kind, PAYLOAD_CERTIFICATE);
    assert_true(cert_equal(cert->cert, scene.old));
}
