#include "protocol/pki/san.h"

#include "tests/pki_fixture.h"
#include "tests/testing.h"

static void all_types(struct san_list *list)
{
    san_add(list, SAN_DNS, "www.example.com");
    san_add(list, SAN_DNS, "*.example.com");
    san_add(list, SAN_IP, "192.0.2.1");
    san_add(list, SAN_IP, "2001:db8::1");
    san_add(list, SAN_URI, "https://example.com/x");
    san_add(list, SAN_EMAIL, "Alice@Example.com");
    san_add(list, SAN_UPN, "J\xc3\xbcrgen@contoso.test");
    san_add(list, SAN_DIRNAME, "CN=web,O=Example");
    san_add(list, SAN_OTHER, "1.3.6.1.4.1.311.25.1:0402abcd");
}

TEST(san_of_every_type_round_trips)
{
    CLEANUP(san_list_clear) struct san_list list = {0};
    CLEANUP(san_list_clear) struct san_list back = {0};
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    all_types(&list);
    assert_ok(san_encode(&list, &der, &err) == 0, err);
    assert_ok(san_decode(der.data, der.len, &back, &err) == 0, err);
    assert_int_equal(back.n, list.n);
    for (size_t i = 0; i < list.n; i++) {
        assert_int_equal(back.items[i].type, list.items[i].type);
        assert_string_equal(back.items[i].value, list.items[i].value);
    }
}

TEST(san_is_encoded_as_openssl_reads_it)
{
    struct csr_extension extension = {.oid = (char[]){"2.5.29.17"}};
    CLEANUP(san_list_clear) struct san_list list = {0};
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/cert.pem", dir);
    CLEANUP(cert_freep) struct cert *cert = NULL;
    EVP_PKEY *key = pki_key("P-256");

    all_types(&list);
    assert_int_equal(san_encode(&list, &der, NULL), 0);
    extension.value = der;
    cert =
        pki_cert(&(struct pki_cert_spec){.subject = "CN=x", .key = key, .extensions = &extension, .n_extensions = 1});
    EVP_PKEY_free(key);
    pki_write_cert(cert, path);
    assert_int_equal(testing_shell(&said, "openssl x509 -in '%s' -noout -ext subjectAltName", path), 0);
    assert_contains(bytes_text(&said), "DNS:www.example.com, DNS:*.example.com, IP Address:192.0.2.1, "
                                       "IP Address:2001:DB8:0:0:0:0:0:1, URI:https://example.com/x, "
                                       "email:Alice@Example.com");
    assert_contains(bytes_text(&said), "DirName:");
    assert_true(san_equal(&cert->san, &list));
}

TEST(san_compares_host_names_without_regard_to_case_and_lists_as_sets)
{
    CLEANUP(san_list_clear) struct san_list a = {0};
    CLEANUP(san_list_clear) struct san_list b = {0};

    san_add(&a, SAN_DNS, "Web.Example.com");
    san_add(&a, SAN_EMAIL, "Alice@EXAMPLE.com");
    san_add(&b, SAN_EMAIL, "Alice@example.com");
    san_add(&b, SAN_DNS, "web.example.COM");
    assert_true(san_equal(&a, &b));
    assert_false(san_has(&a, SAN_EMAIL, "alice@example.com"));
    assert_false(san_has(&a, SAN_URI, "web.example.com"));
    san_add(&b, SAN_DNS, "more.example.com");
    assert_false(san_equal(&a, &b));
    assert_false(san_equal(&b, &a));
}

TEST(san_encode_refuses_values_of_the_wrong_form)
{
    static const struct {
        enum san_type type;
        const char *value;
    } bad[] = {{SAN_DNS, ""}, {SAN_DNS, "a b"}, {SAN_DNS, "a..b"},
        {SAN_DNS, "B\xc3\xbc"
                  "cher.test"},
        {SAN_DNS, "a\nb"}, {SAN_IP, "300.1.1.1"}, {SAN_URI, "no colon"}, {SAN_EMAIL, "nobody"}, {SAN_EMAIL, "@x"},
        {SAN_UPN, "a\x1b[31mb"}, {SAN_DIRNAME, "nonsense"}, {SAN_OTHER, "1.2.3"}, {SAN_OTHER, "1.2.3:zz"},
        {SAN_OTHER, "tag[3]:a300"}};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(san_list_clear) struct san_list list = {0};
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        san_add(&list, bad[i].type, bad[i].value);
        assert_int_equal(san_encode(&list, &der, &err), -1);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_contains(err_text(err), san_type_name(bad[i].type));
        assert_int_equal(der.len, 0);
    }
}

TEST(san_encode_refuses_an_empty_list)
{
    const struct san_list none = {0};
    CLEANUP(bytes_clear) struct bytes der = {0};

    assert_int_equal(san_encode(&none, &der, NULL), -1);
}

TEST(san_decode_refuses_zeros_controls_and_odd_addresses)
{
    /* dNSName a\0b, dNSName a\nb, dNSName e-acute, dNSName empty, iPAddress of 5, trailing byte, cut */
    static const char *const bad[] = {"30058203610062", "30058203610a62", "30038201e9", "30028200",
        "300787050102030405", "3003820161ff", "30038201", ""};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes der = {0};
        struct san_list list = {0};

        pki_hex(bad[i], &der);
        assert_int_equal(san_decode(der.data, der.len, &list, &err), -1);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_int_equal(list.n, 0);
    }
}
