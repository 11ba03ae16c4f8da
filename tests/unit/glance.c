#include "protocol/pki/glance.h"

#include "tests/pki_fixture.h"
#include "tests/testing.h"

TEST(glance_sees_what_a_whole_reading_sees)
{
    static const char *const kinds[] = {"RSA", "P-256", "P-521"};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        CLEANUP(glance_list_clear) struct glance_list list = {0};
        CLEANUP(err_freep) struct err *err = NULL;
        EVP_PKEY *key = pki_key(kinds[i]);
        struct cert *cert = pki_cert(&(struct pki_cert_spec){
            .subject = "CN=web\\,01,O=Exämple", .key = key, .serial = 0x1234 + (long)i, .ca = true});

        assert_ok(glance_der(cert->der.data, cert->der.len, &list, &err) == 0, err);
        assert_int_equal(list.n, 1);
        assert_string_equal(list.items[0].subject, cert->subject);
        assert_string_equal(list.items[0].serial, cert->serial);
        assert_string_equal(list.items[0].sha256, cert->sha256);
        assert_int_equal(list.items[0].not_before, cert->not_before);
        assert_int_equal(list.items[0].not_after, cert->not_after);
        cert_free(cert);
        EVP_PKEY_free(key);
    }
}

TEST(glance_reads_the_certificates_of_a_file_and_passes_over_its_key)
{
    CLEANUP(glance_list_clear) struct glance_list list = {0};
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/key.pem", dir);
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    EVP_PKEY *key = pki_key("P-256");
    struct cert *cert = pki_cert(&(struct pki_cert_spec){.subject = "CN=a", .key = key, .serial = 1});

    pki_write_key(key, path);
    testing_read(path, &text);
    assert_int_equal(glance_pem(bytes_text(&text), text.len, 9, &list, &err), -1);
    assert_contains(err_text(err), "no BEGIN CERTIFICATE in it");
    err_free(TAKE(err));
    for (int i = 0; i < 3; i++)
        assert_int_equal(cert_to_pem(cert, &text, NULL), 0);
    assert_ok(glance_pem(bytes_text(&text), text.len, 2, &list, &err) == 0, err);
    assert_int_equal(list.n, 2);
    cert_free(cert);
    EVP_PKEY_free(key);
}

TEST(glance_refuses_what_is_cut_short_or_goes_on)
{
    CLEANUP(glance_list_clear) struct glance_list list = {0};
    EVP_PKEY *key = pki_key("P-256");
    struct cert *cert = pki_cert(&(struct pki_cert_spec){.subject = "CN=a", .key = key, .serial = 1});

    for (size_t len = 0; len < cert->der.len; len++)
        assert_int_equal(glance_der(cert->der.data, len, &list, NULL), -1);
    assert_int_equal(bytes_append(&cert->der, "x", 1, NULL), 0);
    assert_int_equal(glance_der(cert->der.data, cert->der.len, &list, NULL), -1);
    assert_int_equal(list.n, 0);
    cert_free(cert);
    EVP_PKEY_free(key);
}
