#include "protocol/pki/cert.h"

#include <openssl/x509v3.h>

#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"

/* Root, issuing CA and leaf, all EC. Everything is owned. */
struct chain {
    EVP_PKEY *root_key, *ca_key, *leaf_key;
    struct cert *root, *ca, *leaf;
};

static void make_chain(struct chain *chain, const char *ca_hash)
{
    chain->root_key = pki_key("P-256");
    chain->ca_key = pki_key("P-256");
    chain->leaf_key = pki_key("P-256");
    chain->root = pki_cert(&(struct pki_cert_spec){.subject = "CN=Root", .key = chain->root_key, .ca = true});
    chain->ca = pki_cert(&(struct pki_cert_spec){.subject = "CN=CA",
        .key = chain->ca_key,
        .issuer = chain->root,
        .issuer_key = chain->root_key,
        .serial = 2,
        .ca = true,
        .hash = ca_hash});
    chain->leaf = pki_cert(&(struct pki_cert_spec){.subject = "CN=leaf",
        .key = chain->leaf_key,
        .issuer = chain->ca,
        .issuer_key = chain->ca_key,
        .serial = 0x1234});
}

static void free_chain(struct chain *chain)
{
    EVP_PKEY_free(chain->root_key);
    EVP_PKEY_free(chain->ca_key);
    EVP_PKEY_free(chain->leaf_key);
    cert_free(chain->root);
    cert_free(chain->ca);
    cert_free(chain->leaf);
}

static int verify(const struct chain *chain, bool with_ca, const struct cert *anchor, int64_t now, unsigned flags,
    struct cert_list *out, struct err **errp)
{
    CLEANUP(cert_list_clear) struct cert_list anchors = {0};
    CLEANUP(cert_list_clear) struct cert_list candidates = {0};

    cert_list_add(&anchors, cert_dup(anchor));
    if (with_ca)
        cert_list_add(&candidates, cert_dup(chain->ca));
    return cert_chain_verify(chain->leaf, &candidates, &anchors, now, flags, out, errp);
}

TEST(cert_facts_are_those_that_openssl_prints)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/cert.pem", dir);
    CLEANUP(mem_freep) char *expected = NULL;
    CLEANUP(bytes_clear) struct bytes said = {0};

    make_chain(&chain, NULL);
    pki_write_cert(chain.leaf, path);
    assert_int_equal(testing_shell(&said,
                         "openssl x509 -in '%s' -noout -subject -issuer -serial -nameopt RFC2253;"
                         "openssl x509 -in '%s' -noout -fingerprint -sha256 | tr -d : | tr A-F a-f;"
                         "openssl x509 -in '%s' -noout -fingerprint -sha1 | tr -d : | tr A-F a-f;"
                         "date -u -d \"$(openssl x509 -in '%s' -noout -enddate | cut -d= -f2)\" +%%s",
                         path, path, path, path),
        0);
    expected = mem_printf("subject=%s\nissuer=%s\nserial=%s\nsha256 fingerprint=%s\nsha1 fingerprint=%s\n%lld\n",
        chain.leaf->subject, chain.leaf->issuer, chain.leaf->serial, chain.leaf->sha256, chain.leaf->sha1,
        (long long)chain.leaf->not_after);
    assert_string_equal(bytes_text(&said), expected);
    assert_string_equal(chain.leaf->signature_hash, "SHA256");
    assert_false(chain.leaf->is_ca);
    assert_true(chain.ca->is_ca);
    assert_true(cert_is_self_issued(chain.root));
    assert_false(cert_is_self_issued(chain.leaf));
}

TEST(cert_round_trips_through_pem_and_bundles)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(cert_list_clear) struct cert_list list = {0};
    CLEANUP(cert_list_clear) struct cert_list back = {0};
    CLEANUP(bytes_clear) struct bytes pem = {0};
    CLEANUP(cert_freep) struct cert *first = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    make_chain(&chain, NULL);
    cert_list_add(&list, cert_dup(chain.leaf));
    cert_list_add(&list, cert_dup(chain.ca));
    assert_int_equal(bytes_append_text(&pem, "some text\n", NULL), 0);
    assert_int_equal(cert_list_to_pem(&list, &pem, NULL), 0);
    assert_ok(cert_list_from_pem(bytes_text(&pem), pem.len, &back, &err) == 0, err);
    assert_int_equal(back.n, 2);
    assert_true(cert_equal(back.items[0], chain.leaf) && cert_equal(back.items[1], chain.ca));
    assert_ok(cert_from_pem(bytes_text(&pem), pem.len, &first, &err) == 0, err);
    assert_true(cert_equal(first, chain.leaf));
    assert_ptr_equal(cert_list_find(&back, &chain.ca->der), back.items[1]);
    assert_null(cert_list_find(&back, &chain.root->der));
}

TEST(cert_bundle_says_which_certificate_is_wrong)
{
    static const char bad[] = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(bytes_clear) struct bytes pem = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *none = NULL;
    struct cert_list list = {0};

    make_chain(&chain, NULL);
    assert_int_equal(cert_to_pem(chain.leaf, &pem, NULL), 0);
    assert_int_equal(bytes_append_text(&pem, bad, NULL), 0);
    assert_int_equal(cert_list_from_pem(bytes_text(&pem), pem.len, &list, &err), -1);
    assert_contains(err_text(err), "certificate 2: ");
    assert_int_equal(cert_list_from_pem("nothing", 7, &list, &none), -1);
    assert_contains(err_text(none), "no BEGIN CERTIFICATE");
}

TEST(cert_parse_refuses_trailing_bytes_every_cut_and_what_is_not_der)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(bytes_clear) struct bytes der = {0};
    struct cert *cert = NULL;

    make_chain(&chain, NULL);
    bytes_copy(&der, &chain.leaf->der);
    for (size_t len = 0; len < der.len; len++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(cert_parse(der.data, len, &cert, &err), -1);
        assert_int_equal(err_code(err), CRYPT_E_ASN1_EOD);
    }
    assert_int_equal(bytes_append(&der, "", 1, NULL), 0);
    assert_int_equal(cert_parse(der.data, der.len, &cert, NULL), -1);
    /* the same value with its length in a longer form */
    assert_int_equal(der.data[1], 0x82);
    memmove(der.data + 5, der.data + 4, der.len - 5);
    der.data[4] = der.data[3];
    der.data[3] = der.data[2];
    der.data[2] = 0;
    der.data[1] = 0x83;
    assert_int_equal(cert_parse(der.data, der.len, &cert, NULL), -1);
    assert_null(cert);
}

TEST(cert_reads_what_active_directory_puts_in)
{
    struct csr_extension extensions[4] = {{.oid = (char[]){"1.3.6.1.4.1.311.20.2"}},
        {.oid = (char[]){"1.3.6.1.4.1.311.21.7"}}, {.oid = (char[]){"1.3.6.1.4.1.311.25.2"}},
        {.oid = (char[]){"2.5.29.37"}}};
    const struct template_info info = {.oid = (char[]){"1.2.3.4"}, .major = {true, 100}, .minor = {true, 4}};
    CLEANUP(strlist_clear) struct strlist eku = {0};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    EVP_PKEY *key = pki_key("P-384");

    strlist_add(&eku, OID_EKU_CLIENT_AUTH);
    assert_int_equal(msext_template_name_write("Machine", &extensions[0].value, NULL), 0);
    assert_int_equal(msext_template_info_write(&info, &extensions[1].value, NULL), 0);
    assert_int_equal(msext_sid_write("S-1-5-21-1", &extensions[2].value, NULL), 0);
    assert_int_equal(msext_eku_write(&eku, &extensions[3].value, NULL), 0);
    cert = pki_cert(&(struct pki_cert_spec){.key = key, .extensions = extensions, .n_extensions = 4});
    EVP_PKEY_free(key);
    for (size_t i = 0; i < ARRAY_SIZE(extensions); i++)
        bytes_clear(&extensions[i].value);
    assert_string_equal(cert->subject, "");
    assert_string_equal(cert->template_name, "Machine");
    assert_string_equal(cert->template.oid, "1.2.3.4");
    assert_int_equal(cert->template.major.value, 100);
    assert_string_equal(cert->sid, "S-1-5-21-1");
    assert_true(cert->has_eku && cert_has_eku(cert, OID_EKU_CLIENT_AUTH) && !cert_has_eku(cert, OID_EKU_SERVER_AUTH));
    assert_string_equal(oid_name(cert->key.curve), "P-384");
    assert_int_equal(cert->malformed.n, 0);
}

/* Reads a certificate with the extension @hex, whose identifier has the three bytes @oid. */
static int parse_with_extension(const char *oid, const char *hex, struct cert **out, struct err **errp)
{
    struct csr_extension extension = {.oid = (char[]){"1.2.3.4"}};
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    EVP_PKEY *key = pki_key("P-256");
    uint8_t *at;

    pki_hex(hex, &extension.value);
    cert =
        pki_cert(&(struct pki_cert_spec){.subject = "CN=x", .key = key, .extensions = &extension, .n_extensions = 1});
    EVP_PKEY_free(key);
    bytes_clear(&extension.value);
    bytes_copy(&der, &cert->der);
    at = memmem(der.data, der.len, "\x06\x03\x2a\x03\x04", 5);
    assert_non_null(at);
    memcpy(at + 2, oid, 3); /* the signature is not looked at */
    return cert_parse(der.data, der.len, out, errp);
}

TEST(cert_refuses_extensions_of_rfc_5280_that_do_not_decode)
{
    static const char *const oids[] = {
        "\x55\x1d\x0e", "\x55\x1d\x0f", "\x55\x1d\x11", "\x55\x1d\x13", "\x55\x1d\x23", "\x55\x1d\x25"};

    for (size_t i = 0; i < ARRAY_SIZE(oids); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        struct cert *cert = NULL;

        assert_int_equal(parse_with_extension(oids[i], "0101ff", &cert, &err), -1);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_contains(err_text(err), "CN=x");
        assert_null(cert);
    }
}

TEST(cert_notes_a_microsoft_extension_that_does_not_decode)
{
    struct csr_extension sid = {.oid = (char[]){"1.3.6.1.4.1.311.25.2"}};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    EVP_PKEY *key = pki_key("P-256");

    pki_hex("360100", &sid.value);
    cert = pki_cert(&(struct pki_cert_spec){.subject = "CN=x", .key = key, .extensions = &sid, .n_extensions = 1});
    EVP_PKEY_free(key);
    bytes_clear(&sid.value);
    assert_null(cert->sid);
    assert_int_equal(cert->malformed.n, 1);
    assert_string_equal(cert->malformed.items[0], OID_SECURITY_EXTENSION);
}

TEST(cert_strength_refuses_small_keys_odd_curves_and_sha1)
{
    static const struct {
        const char *key, *hash;
        int result;
    } cases[] = {{"RSA", "SHA256", 0}, {"RSA", "SHA1", -1}, {"RSA-1024", "SHA256", -1}, {"P-256", "SHA384", 0},
        {"P-521", "SHA512", 0}, {"P-256", "SHA1", -1}, {"P-224", "SHA256", -1}, {"secp256k1", "SHA256", -1}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(cert_freep) struct cert *cert = NULL;
        EVP_PKEY *key = pki_key(cases[i].key);

        cert = pki_cert(&(struct pki_cert_spec){.subject = "CN=x", .key = key, .hash = cases[i].hash});
        EVP_PKEY_free(key);
        assert_int_equal(cert_strength_check(cert, &err), cases[i].result);
        if (cases[i].result < 0)
            assert_int_equal(err_kind(err), ERR_UNTRUSTED);
    }
}

TEST(cert_same_key_compares_keys_and_not_their_encoding)
{
    EVP_PKEY *key = pki_key("P-256"), *other = pki_key("P-256"), *compressed = EVP_PKEY_dup(key);
    CLEANUP(pubkey_clear) struct pubkey a = {0};
    CLEANUP(pubkey_clear) struct pubkey b = {0};
    CLEANUP(pubkey_clear) struct pubkey c = {0};

    assert_true(EVP_PKEY_set_utf8_string_param(compressed, "point-format", "compressed"));
    assert_int_equal(pubkey_from_evp(key, &a, NULL), 0);
    assert_int_equal(pubkey_from_evp(other, &b, NULL), 0);
    assert_int_equal(pubkey_from_evp(compressed, &c, NULL), 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    EVP_PKEY_free(compressed);
    assert_false(bytes_equal(&a.spki, &c.spki));
    assert_true(pubkey_equal(&a.spki, &c.spki));
    assert_false(pubkey_equal(&a.spki, &b.spki));
    assert_false(pubkey_equal(&a.spki, &(const struct bytes){0}));
}

TEST(cert_chain_reaches_an_anchor_and_gives_the_path)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(cert_list_clear) struct cert_list path = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    make_chain(&chain, NULL);
    assert_ok(verify(&chain, true, chain.root, PKI_NOW, CERT_CHAIN_STRONG, &path, &err) == 0, err);
    assert_int_equal(path.n, 3);
    assert_true(cert_equal(path.items[0], chain.leaf) && cert_equal(path.items[1], chain.ca) &&
                cert_equal(path.items[2], chain.root));
}

TEST(cert_chain_may_end_at_an_intermediate_only_when_asked)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *none = NULL;

    make_chain(&chain, NULL);
    assert_int_equal(verify(&chain, false, chain.ca, PKI_NOW, 0, NULL, &err), -1);
    assert_int_equal(err_kind(err), ERR_UNTRUSTED);
    assert_ok(verify(&chain, false, chain.ca, PKI_NOW, CERT_CHAIN_PARTIAL, NULL, &none) == 0, none);
}

TEST(cert_chain_fails_with_openssl_s_words_and_a_code)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(free_chain) struct chain other = {0};
    CLEANUP(err_freep) struct err *missing = NULL;
    CLEANUP(err_freep) struct err *late = NULL;
    CLEANUP(err_freep) struct err *early = NULL;
    CLEANUP(err_freep) struct err *foreign = NULL;

    make_chain(&chain, NULL);
    make_chain(&other, NULL);
    assert_int_equal(verify(&chain, false, chain.root, PKI_NOW, 0, NULL, &missing), -1);
    assert_contains(err_text(missing), "unable to get local issuer certificate");
    assert_contains(err_text(missing), "CN=leaf");
    assert_int_equal(err_code(missing), CERT_E_CHAINING);
    assert_int_equal(verify(&chain, true, chain.root, PKI_NOW + 6 * 86400, 0, NULL, &late), -1);
    assert_contains(err_text(late), "certificate has expired");
    assert_int_equal(err_code(late), CERT_E_EXPIRED);
    assert_int_equal(verify(&chain, true, chain.root, PKI_NOW - 6 * 86400, 0, NULL, &early), -1);
    assert_contains(err_text(early), "not yet valid");
    assert_int_equal(verify(&chain, true, other.root, PKI_NOW, 0, NULL, &foreign), -1);
    assert_int_equal(err_kind(foreign), ERR_UNTRUSTED);
}

TEST(cert_chain_refuses_an_issuer_that_is_no_ca)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(cert_freep) struct cert *fake = NULL;
    CLEANUP(cert_list_clear) struct cert_list candidates = {0};
    CLEANUP(cert_list_clear) struct cert_list anchors = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    make_chain(&chain, NULL);
    fake = pki_cert(&(struct pki_cert_spec){
        .subject = "CN=fake", .key = chain.ca_key, .issuer = chain.leaf, .issuer_key = chain.leaf_key, .serial = 3});
    cert_list_add(&candidates, cert_dup(chain.leaf));
    cert_list_add(&candidates, cert_dup(chain.ca));
    cert_list_add(&anchors, cert_dup(chain.root));
    assert_int_equal(cert_chain_verify(fake, &candidates, &anchors, PKI_NOW, 0, NULL, &err), -1);
    assert_contains(err_text(err), "invalid CA certificate");
}

TEST(cert_chain_takes_a_weak_link_only_when_not_asked_for_strength)
{
    CLEANUP(free_chain) struct chain chain = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    make_chain(&chain, "SHA1");
    assert_int_equal(verify(&chain, true, chain.root, PKI_NOW, 0, NULL, NULL), 0);
    assert_int_equal(verify(&chain, true, chain.root, PKI_NOW, CERT_CHAIN_STRONG, NULL, &err), -1);
    assert_contains(err_text(err), "SHA1");
    assert_contains(err_text(err), "CN=CA");
}
