#include "protocol/pki/csr.h"

#include <openssl/x509.h>

#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"

static struct csr *parse(const struct bytes *der)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct csr *csr = NULL;

    assert_ok(csr_parse(der->data, der->len, &csr, &err) == 0, err);
    return csr;
}

static void openssl_verifies(const struct bytes *der)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/req.der", dir);
    CLEANUP(bytes_clear) struct bytes said = {0};

    testing_write(path, der->data, der->len);
    assert_int_equal(testing_shell(&said, "openssl req -inform DER -in '%s' -noout -verify 2>&1", path), 0);
    assert_contains(bytes_text(&said), "verify OK");
}

TEST(csr_of_every_key_and_hash_verifies_with_openssl)
{
    static const struct {
        const char *key, *hash;
        bool pss;
        const char *algorithm;
    } cases[] = {{"RSA", "SHA256", false, "1.2.840.113549.1.1.11"}, {"RSA", "SHA384", true, "1.2.840.113549.1.1.10"},
        {"RSA-3072", "SHA512", false, "1.2.840.113549.1.1.13"}, {"P-256", "SHA256", false, "1.2.840.10045.4.3.2"},
        {"P-384", "SHA384", false, "1.2.840.10045.4.3.3"}, {"P-521", "SHA512", false, "1.2.840.10045.4.3.4"}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(csr_freep) struct csr *csr = NULL;
        const struct csr_spec spec = {.hash = cases[i].hash, .pss = cases[i].pss};
        EVP_PKEY *key = pki_key(cases[i].key);
        int r = csr_build(&spec, key, &der, &err);

        EVP_PKEY_free(key);
        assert_ok(r == 0, err);
        openssl_verifies(&der);
        csr = parse(&der);
        assert_string_equal(csr->signature_algorithm, cases[i].algorithm);
        assert_string_equal(csr->signature_hash, cases[i].hash);
        assert_true(bytes_equal(&csr->ski, &csr->key.key_id));
        assert_string_equal(csr->subject, "");
    }
}

TEST(csr_carries_what_it_was_asked_to)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(csr_freep) struct csr *csr = NULL;
    CLEANUP(cert_freep) struct cert *old = NULL;
    EVP_PKEY *key = pki_key("P-256"), *old_key = pki_key("P-256");

    old = pki_cert(&(struct pki_cert_spec){.subject = "CN=web01", .key = old_key, .serial = 7});
    pki_csr(key, "CN=web01,O=Example", old, &der);
    EVP_PKEY_free(key);
    EVP_PKEY_free(old_key);
    csr = parse(&der);
    assert_string_equal(csr->subject, "CN=web01,O=Example");
    assert_string_equal(csr->template_name, "Machine");
    assert_true(csr->has_client_info);
    assert_string_equal(csr->client_info.user, "CONTOSO\\LINUX01$");
    assert_non_null(csr->old_cert);
    assert_true(cert_equal(csr->old_cert, old));
    assert_false(csr->null_signature);
    assert_false(csr->attestation);
    openssl_verifies(&der);
}

TEST(csr_takes_a_subject_key_identifier_of_the_callers)
{
    CLEANUP(csr_spec_clear) struct csr_spec spec = {.hash = "SHA256"};
    CLEANUP(bytes_clear) struct bytes ski = {0};
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(csr_freep) struct csr *csr = NULL;
    EVP_PKEY *key = pki_key("P-256");

    assert_int_equal(msext_octets_write("abc", 3, &ski, NULL), 0);
    csr_extensions_add(&spec.extensions, OID_SUBJECT_KEY_ID, false, &ski);
    assert_int_equal(csr_build(&spec, key, &der, NULL), 0);
    EVP_PKEY_free(key);
    csr = parse(&der);
    assert_string_equal(bytes_text(&csr->ski), "abc");
    assert_int_equal(csr->extensions.n, 1);
}

TEST(csr_build_refuses_a_spec_that_makes_no_request)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};
    EVP_PKEY *key = pki_key("P-256");

    pki_hex("0500", &value);
    for (int i = 0; i < 5; i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(csr_spec_clear) struct csr_spec spec = {.hash = i == 0 ? "SHA999" : "SHA256", .pss = i == 1};

        if (i == 2)
            bytes_copy(&spec.subject, &value);
        if (i == 3)
            csr_extensions_add(&spec.extensions, "not an oid", false, &value);
        if (i == 4) {
            csr_extensions_add(&spec.extensions, "1.2.3", false, &value);
            csr_extensions_add(&spec.extensions, "1.2.3", false, &value);
        }
        assert_int_equal(csr_build(&spec, key, &der, &err), -1);
        assert_int_equal(der.len, 0);
        assert_non_null(err);
    }
    EVP_PKEY_free(key);
}

/* Attributes by hand: OS version, the two extension requests (template name A or B), a renewal of no certificate. */
#define OS_VERSION   "3017060a2b0601040182370d020331091607362e312e302e32"
#define OS_VERSIONS  "3020060a2b0601040182370d0203311216 07362e312e302e32 1607362e312e302e33"
#define NAME_A       "06092b06010401823714020404 1e020041"
#define NAME_B       "06092b06010401823714020404 1e020042"
#define NEW_FORM_A   "3022 06092a864886f70d01090e 3115 3013 3011" NAME_A
#define OLD_FORM_A   "3023 060a2b06010401823702010e 3115 3013 3011" NAME_A
#define OLD_FORM_B   "3023 060a2b06010401823702010e 3115 3013 3011" NAME_B
#define TWICE_INSIDE "3035 06092a864886f70d01090e 3128 3026 3011" NAME_A "3011" NAME_B
#define BAD_RENEWAL  "3010 06092b0601040182370d01 3103 020100"
#define EMPTY_SET    "300e 060a2b0601040182370d0203 3100"

TEST(csr_reads_both_extension_requests_when_they_agree)
{
    static const char *const both[] = {NEW_FORM_A, OLD_FORM_A}, *const old[] = {OLD_FORM_A, OS_VERSION};
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(bytes_clear) struct bytes der_old = {0};
    CLEANUP(csr_freep) struct csr *csr = NULL;
    CLEANUP(csr_freep) struct csr *csr_old = NULL;
    EVP_PKEY *key = pki_key("P-256");

    pki_raw_csr(key, both, 2, false, &der);
    pki_raw_csr(key, old, 2, false, &der_old);
    EVP_PKEY_free(key);
    csr = parse(&der);
    csr_old = parse(&der_old);
    assert_string_equal(csr->template_name, "A");
    assert_int_equal(csr->extensions.n, 1);
    assert_string_equal(csr_old->template_name, "A");
    assert_string_equal(csr_old->os_version, "6.1.0.2");
    assert_int_equal(csr_verify(csr, false, NULL), 0);
}

TEST(csr_refuses_what_contradicts_itself)
{
    static const struct {
        const char *attributes[2];
        uint32_t code;
        const char *why;
    } cases[] = {
        {{NEW_FORM_A, OLD_FORM_B}, ERROR_INVALID_DATA, "contradict"},
        {{OS_VERSION, OS_VERSION}, ERROR_INVALID_DATA, "twice"},
        {{OS_VERSIONS, NEW_FORM_A}, ERROR_INVALID_DATA, "has 2 values"},
        {{TWICE_INSIDE, OS_VERSION}, ERROR_INVALID_DATA, "there twice"},
        {{BAD_RENEWAL, OS_VERSION}, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE, "renewal certificate"},
        {{EMPTY_SET, NEW_FORM_A}, ERROR_INVALID_DATA, "has 0 values"},
    };
    EVP_PKEY *key = pki_key("P-256");

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes der = {0};
        struct csr *csr = NULL;

        pki_raw_csr(key, cases[i].attributes, 2, false, &der);
        assert_int_equal(csr_parse(der.data, der.len, &csr, &err), -1);
        assert_contains(err_text(err), cases[i].why);
        assert_int_equal(err_code(err), cases[i].code);
        assert_null(csr);
    }
    EVP_PKEY_free(key);
}

TEST(csr_null_signature_verifies_only_where_it_is_allowed)
{
    static const char *const one[] = {NEW_FORM_A};
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(csr_freep) struct csr *csr = NULL;
    CLEANUP(csr_freep) struct csr *broken = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *wrong = NULL;
    EVP_PKEY *key = pki_key("P-256");

    pki_raw_csr(key, one, 1, true, &der);
    EVP_PKEY_free(key);
    csr = parse(&der);
    assert_true(csr->null_signature);
    assert_int_equal(csr_verify(csr, true, NULL), 0);
    assert_int_equal(csr_verify(csr, false, &err), -1);
    assert_int_equal(err_code(err), NTE_BAD_SIGNATURE);
    der.data[der.len - 1] ^= 1;
    broken = parse(&der);
    assert_int_equal(csr_verify(broken, true, &wrong), -1);
    assert_int_equal(err_code(wrong), NTE_BAD_SIGNATURE);
}

TEST(csr_with_any_byte_flipped_is_refused_or_does_not_verify)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    EVP_PKEY *key = pki_key("P-256");

    pki_csr(key, "CN=web01", NULL, &der);
    EVP_PKEY_free(key);
    for (size_t i = 0; i < der.len; i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(csr_freep) struct csr *csr = NULL;

        der.data[i] ^= 1;
        assert_true(csr_parse(der.data, der.len, &csr, &err) < 0 || csr_verify(csr, false, &err) < 0);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_true(err_code(err) != 0);
        der.data[i] ^= 1;
    }
}

TEST(csr_cut_anywhere_or_with_more_behind_is_refused)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    struct csr *csr = NULL;
    EVP_PKEY *key = pki_key("P-256");

    pki_csr(key, "CN=web01", NULL, &der);
    EVP_PKEY_free(key);
    for (size_t len = 0; len < der.len; len++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(csr_parse(der.data, len, &csr, &err), -1);
        assert_int_equal(err_code(err), CRYPT_E_ASN1_EOD);
    }
    assert_int_equal(bytes_append(&der, der.data, 1, NULL), 0);
    assert_int_equal(csr_parse(der.data, der.len, &csr, NULL), -1);
    assert_null(csr);
}

TEST(csr_signed_by_another_key_does_not_verify)
{
    static const char *const one[] = {NEW_FORM_A};
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(csr_freep) struct csr *csr = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(pubkey_clear) struct pubkey pubkey = {0};
    CLEANUP(pubkey_clear) struct pubkey other = {0};
    EVP_PKEY *key = pki_key("P-256"), *key2 = pki_key("P-256");
    uint8_t *at;

    pki_raw_csr(key, one, 1, false, &der);
    assert_int_equal(pubkey_from_evp(key, &pubkey, NULL), 0);
    assert_int_equal(pubkey_from_evp(key2, &other, NULL), 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(key2);
    at = memmem(der.data, der.len, pubkey.spki.data, pubkey.spki.len);
    assert_non_null(at);
    memcpy(at, other.spki.data, other.spki.len);
    csr = parse(&der);
    assert_int_equal(csr_verify(csr, false, &err), -1);
    assert_int_equal(err_code(err), NTE_BAD_SIGNATURE);
}
