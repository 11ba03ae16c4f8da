#include "protocol/pki/name.h"

#include "tests/pki_fixture.h"
#include "tests/testing.h"

static char *text_of(const struct bytes *der)
{
    CLEANUP(err_freep) struct err *err = NULL;
    char *text = name_to_text(der->data, der->len, &err);

    assert_ok(text != NULL, err);
    return text;
}

TEST(name_round_trips_through_der)
{
    static const char *const names[] = {"", "CN=web01", "CN=web01,OU=Web,O=Example", "CN=linux01,DC=contoso,DC=test",
        "CN=a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h", "CN=\\ leading and trailing\\ ", "CN=\\#hash", "CN=J\xc3\xbcrgen,C=DE",
        "CN=one+UID=two,O=Example", "serialNumber=42,emailAddress=a@b.test", "CN=line\\0Abreak",
        "CN=hidden\\E2\\80\\AEtext", "2.5.4.99=#0c0178"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(bytes_clear) struct bytes again = {0};
        CLEANUP(mem_freep) char *text = NULL;

        assert_ok(name_parse(names[i], &der, &err) == 0, err);
        text = text_of(&der);
        assert_ok(name_parse(text, &again, &err) == 0, err);
        assert_true(bytes_equal(&der, &again));
        if (!strstr(names[i], "UID="))
            assert_string_equal(text, names[i]);
    }
}

TEST(name_is_read_as_openssl_reads_it)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/name.der", dir);
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(name_parse(" cn = web 01 , ou = Web\\, external ,dc=Example,C=DE", &der, &err) == 0, err);
    testing_write(path, der.data, der.len);
    assert_int_equal(testing_shell(&said, "openssl asn1parse -inform DER -in '%s'", path), 0);
    /* The most specific comes last in DER, and each type has the string form that X.520 wants. */
    assert_true(
        strstr(bytes_text(&said), "PRINTABLESTRING   :DE") < strstr(bytes_text(&said), "IA5STRING         :Example"));
    assert_contains(bytes_text(&said), "UTF8STRING        :Web, external");
    assert_true(strstr(bytes_text(&said), "Web, external") < strstr(bytes_text(&said), "UTF8STRING        :web 01"));
}

TEST(name_of_nothing_is_the_empty_sequence)
{
    CLEANUP(bytes_clear) struct bytes der = {0};

    assert_int_equal(name_parse("", &der, NULL), 0);
    pki_assert_hex(&der, "3000");
}

TEST(name_says_what_is_wrong_with_its_text)
{
    static const struct {
        const char *text;
        const char *why;
    } bad[] = {{"CN", "expected '='"}, {"CN=", "value is empty"}, {"CN=a,", "expected '='"}, {"CN=a+", "expected '='"},
        {"FOO=a", "'FOO' is not an attribute"}, {"CN=a\"b", "must be escaped"}, {"CN=a\\", "not an escape"},
        {"CN=a\\q", "not an escape"}, {"CN=a\\00b", "not valid UTF-8"}, {"CN=\xff", "not valid UTF-8"},
        {"CN=#zz", "value of CN"}, {"CN=#3000", "not a string type"}, {"=a", "expected '='"}, {"CN=a;O=b", "escaped"},
        {"1.40.3=a", "is not an attribute"}};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes der = {0};

        assert_int_equal(name_parse(bad[i].text, &der, &err), -1);
        assert_contains(err_text(err), bad[i].why);
        assert_int_equal(der.len, 0);
    }
}

TEST(name_has_limits_on_length_and_parts)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(bytes_clear) struct bytes der = {0};

    for (int i = 0; i < NAME_MAX_RDNS; i++)
        assert_int_equal(bytes_printf(&text, NULL, "%sOU=x", i ? "," : ""), 0);
    assert_int_equal(name_parse(bytes_text(&text), &der, NULL), 0);
    assert_int_equal(bytes_append_text(&text, ",OU=x", NULL), 0);
    assert_int_equal(name_parse(bytes_text(&text), &der, NULL), -1);
    while (text.len <= NAME_MAX_TEXT)
        assert_int_equal(bytes_append_text(&text, "x", NULL), 0);
    assert_int_equal(name_parse(bytes_text(&text), &der, NULL), -1);
}

TEST(name_to_text_refuses_what_is_no_name)
{
    static const char *const bad[] = {"", "30", "3001", "0500", "300031", "3080"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes der = {0};

        pki_hex(bad[i], &der);
        assert_null(name_to_text(der.data, der.len, &err));
        assert_int_equal(err_kind(err), ERR_INVALID);
    }
}
