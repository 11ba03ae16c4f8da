#include "protocol/pki/cmc_response.h"

#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"

/* A CA under a root, and what it issued. All owned. */
struct scene {
    EVP_PKEY *root_key, *ca_key, *key;
    struct cert *root, *ca, *leaf;
    struct bytes message;
};

static void free_scene(struct scene *scene)
{
    EVP_PKEY_free(scene->root_key);
    EVP_PKEY_free(scene->ca_key);
    EVP_PKEY_free(scene->key);
    cert_free(scene->root);
    cert_free(scene->ca);
    cert_free(scene->leaf);
    bytes_clear(&scene->message);
}

static void make_scene(struct scene *scene, const char *ca_kind)
{
    scene->root_key = pki_key("P-256");
    scene->ca_key = pki_key(ca_kind);
    scene->key = pki_key("P-256");
    scene->root = pki_cert(&(struct pki_cert_spec){.subject = "CN=Root", .key = scene->root_key, .ca = true});
    scene->ca = pki_cert(&(struct pki_cert_spec){.subject = "CN=CA & Co",
        .key = scene->ca_key,
        .issuer = scene->root,
        .issuer_key = scene->root_key,
        .serial = 2,
        .ca = true});
    scene->leaf = pki_cert(&(struct pki_cert_spec){
        .subject = "CN=leaf", .key = scene->key, .issuer = scene->ca, .issuer_key = scene->ca_key, .serial = 3});
}

static void build(struct scene *scene, struct cmc_response_spec spec)
{
    const struct cms_signer ca = {.key = scene->ca_key, .cert = scene->ca, .hash = "SHA256"};
    CLEANUP(cert_list_clear) struct cert_list chain = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    cert_list_add(&chain, cert_dup(scene->root));
    spec.ca = &ca;
    spec.certificates = &chain;
    if (spec.status == CMC_ISSUED)
        spec.leaf = scene->leaf;
    assert_ok(cmc_response_build(&spec, &scene->message, &err) == 0, err);
}

static struct cmc_response *parse(const struct bytes *der)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct cmc_response *response = NULL;

    assert_ok(cmc_response_parse(der->data, der->len, &response, &err) == 0, err);
    return response;
}

static void assert_contains_hex(const struct bytes *der, const char *hex)
{
    CLEANUP(bytes_clear) struct bytes part = {0};

    pki_hex(hex, &part);
    assert_non_null(memmem(der->data, der->len, part.data, part.len));
}

TEST(cmc_response_issued_has_leaf_chain_and_hash)
{
    static const char *const kinds[] = {"RSA", "P-384"};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        CLEANUP(free_scene) struct scene scene = {0};
        CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
        CLEANUP(err_freep) struct err *err = NULL;
        const struct cert *signer = NULL, *leaf;

        make_scene(&scene, kinds[i]);
        build(&scene, (struct cmc_response_spec){.status = CMC_ISSUED, .text = "Issued"});
        response = parse(&scene.message);
        assert_int_equal(response->status, CMC_ISSUED);
        assert_string_equal(response->text, "Issued");
        assert_false(response->challenge);
        assert_int_equal(response->cms->certificates.n, 3);
        assert_ok(cmc_response_verify(response, NULL, &signer, &err) == 0, err);
        assert_true(cert_equal(signer, scene.ca));
        leaf = cmc_response_leaf(response, &scene.leaf->key.spki, &err);
        assert_ok(leaf != NULL, err);
        assert_true(cert_equal(leaf, scene.leaf));
        assert_ok(cmc_response_check_leaf(response, scene.leaf, &err) == 0, err);
        assert_int_equal(cmc_response_check_leaf(response, scene.ca, NULL), -1);
        /* control 1 as spec/ms-wstep.md prints it */
        assert_contains_hex(
            &response->cms->content, "302102010106082b060105050707013112301002010030030201010c06497373756564");
    }
}

TEST(cmc_response_pending_is_encoded_as_specified)
{
    const struct bytes token = {.data = (uint8_t[]){0x04, 0x13}, .len = 2};
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;

    make_scene(&scene, "P-256");
    build(&scene,
        (struct cmc_response_spec){
            .status = CMC_PENDING, .text = "Taken Under Submission", .pend_token = &token, .pend_time = 1768467600});
    response = parse(&scene.message);
    assert_int_equal(response->status, CMC_PENDING);
    assert_true(bytes_equal(&response->pend_token, &token));
    assert_true(response->pend_time.set && response->pend_time.value == 1768467600);
    assert_contains_hex(&response->cms->content,
        "304802010106082b060105050707013139303702010330030201010c1654616b656e20556e646572205375626d697373696f6e30150402"
        "0413180f32303236303131353039303030305a");
    assert_int_equal(cmc_response_check_leaf(response, scene.leaf, NULL), -1);
    assert_int_equal(response->issued_hash.len, 0);
}

TEST(cmc_response_failed_says_why)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256");
    build(&scene, (struct cmc_response_spec){.status = CMC_FAILED, .text = "Denied by\r\n\x1b[31mPolicy Module"});
    response = parse(&scene.message);
    assert_int_equal(response->status, CMC_FAILED);
    assert_string_equal(response->text, "Denied by\\x0d\\x0a\\x1b[31mPolicy Module");
    assert_int_equal(cmc_response_check_leaf(response, scene.leaf, &err), -1);
    assert_int_equal(err_kind(err), ERR_UNTRUSTED);
    assert_contains(err_text(err), "status 2");
}

TEST(cmc_response_of_certificates_only_is_read_and_found_by_key)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
    CLEANUP(cert_list_clear) struct cert_list list = {0};
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/certs.p7b", dir);
    CLEANUP(err_freep) struct err *err = NULL;
    const struct cert *signer, *leaf;

    make_scene(&scene, "P-256");
    signer = scene.ca;
    cert_list_add(&list, cert_dup(scene.ca));
    cert_list_add(&list, cert_dup(scene.leaf));
    assert_ok(certs_only_build(&list, &scene.message, &err) == 0, err);
    response = parse(&scene.message);
    assert_true(response->certs_only);
    assert_int_equal(response->status, CMC_ISSUED);
    assert_int_equal(cmc_response_verify(response, NULL, &signer, NULL), 0);
    assert_null(signer);
    leaf = cmc_response_leaf(response, &scene.leaf->key.spki, &err);
    assert_ok(leaf != NULL, err);
    assert_true(cert_equal(leaf, scene.leaf));
    assert_null(cmc_response_leaf(response, NULL, NULL));
    testing_write(path, scene.message.data, scene.message.len);
    assert_int_equal(testing_shell(&said, "openssl pkcs7 -inform DER -in '%s' -print_certs -noout", path), 0);
    assert_contains(bytes_text(&said), "leaf");
}

TEST(cmc_response_whose_hash_names_another_keys_certificate_gives_no_leaf)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    make_scene(&scene, "P-256");
    build(&scene, (struct cmc_response_spec){.status = CMC_ISSUED});
    response = parse(&scene.message);
    assert_null(response->text);
    assert_null(cmc_response_leaf(response, &scene.root->key.spki, &err));
    assert_int_equal(err_kind(err), ERR_UNTRUSTED);
    assert_contains(err_text(err), "another key");
}

TEST(cmc_response_signed_by_somebody_who_is_no_ca_is_refused)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    struct cms_signer leaf = {.hash = "SHA256"};
    struct cmc_response_spec spec = {.status = CMC_ISSUED, .ca = &leaf};

    make_scene(&scene, "P-256");
    leaf.key = scene.key;
    leaf.cert = spec.leaf = scene.leaf;
    assert_ok(cmc_response_build(&spec, &scene.message, &err) == 0, err);
    response = parse(&scene.message);
    assert_int_equal(cmc_response_verify(response, NULL, NULL, &err), -1);
    assert_int_equal(err_kind(err), ERR_UNTRUSTED);
}

TEST(cmc_response_signature_is_checked_also_by_a_certificate_that_is_not_enclosed)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
    CLEANUP(cert_list_clear) struct cert_list candidates = {0};
    CLEANUP(cert_freep) struct cert *twin = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *wrong = NULL;

    make_scene(&scene, "P-256");
    build(&scene, (struct cmc_response_spec){.status = CMC_ISSUED});
    response = parse(&scene.message);
    for (size_t i = 0; i < response->cms->certificates.n; i++)
        if (cert_equal(response->cms->certificates.items[i], scene.ca)) {
            cert_free(response->cms->certificates.items[i]);
            response->cms->certificates.items[i] = response->cms->certificates.items[--response->cms->certificates.n];
        }
    twin = pki_cert(&(struct pki_cert_spec){.subject = "CN=CA & Co",
        .key = scene.key,
        .issuer = scene.root,
        .issuer_key = scene.root_key,
        .serial = 2,
        .ca = true});
    cert_list_add(&candidates, TAKE(twin));
    assert_int_equal(cmc_response_verify(response, NULL, NULL, &err), -1);
    assert_contains(err_text(err), "no certificate of the CA");
    assert_int_equal(cmc_response_verify(response, &candidates, NULL, &wrong), -1);
    assert_contains(err_text(wrong), "does not verify");
    cert_list_add(&candidates, cert_dup(scene.ca));
    assert_int_equal(cmc_response_verify(response, &candidates, NULL, NULL), 0);
}

TEST(cmc_response_with_any_byte_changed_is_refused_or_says_the_same)
{
    CLEANUP(free_scene) struct scene scene = {0};

    make_scene(&scene, "P-256");
    build(&scene, (struct cmc_response_spec){.status = CMC_ISSUED, .text = "Issued"});
    for (size_t i = 0; i < scene.message.len; i++) {
        CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
        const struct cert *leaf;

        scene.message.data[i] ^= 1;
        if (cmc_response_parse(scene.message.data, scene.message.len, &response, NULL) == 0 &&
            cmc_response_verify(response, NULL, NULL, NULL) == 0) {
            leaf = cmc_response_leaf(response, &scene.leaf->key.spki, NULL);
            assert_true(!leaf || cert_equal(leaf, scene.leaf));
            assert_string_equal(response->text, "Issued");
        }
        scene.message.data[i] ^= 1;
    }
}

TEST(cmc_response_refuses_a_request_and_a_body_without_a_status)
{
    CLEANUP(free_scene) struct scene scene = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *none = NULL;
    CLEANUP(bytes_clear) struct bytes body = {0};
    CLEANUP(bytes_clear) struct bytes message = {0};
    struct cmc_response *response = NULL;
    struct cms_signer ca = {.hash = "SHA256"};

    make_scene(&scene, "P-256");
    ca.key = scene.ca_key;
    ca.cert = scene.ca;
    pki_hex("3006 3000 3000 3000", &body);
    assert_int_equal(cms_sign(OID_PKI_RESPONSE, &body, NULL, &ca, 1, &message, NULL), 0);
    assert_int_equal(cmc_response_parse(message.data, message.len, &response, &none), -1);
    assert_contains(err_text(none), "no status");
    assert_int_equal(cms_sign(OID_PKI_DATA, &body, NULL, &ca, 1, &message, NULL), 0);
    assert_int_equal(cmc_response_parse(message.data, message.len, &response, &err), -1);
    assert_int_equal(err_code(err), CRYPT_E_INVALID_MSG_TYPE);
    assert_null(response);
}
