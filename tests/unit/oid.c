#include "protocol/pki/oid.h"

#include "tests/testing.h"

TEST(oid_names_what_it_knows_and_gives_back_what_it_does_not)
{
    assert_string_equal(oid_name("1.3.6.1.4.1.311.21.7"), "certificate template information");
    assert_string_equal(oid_name("1.3.6.1.4.1.311.21.777"), "1.3.6.1.4.1.311.21.777");
    assert_string_equal(oid_by_name("Client Authentication"), OID_EKU_CLIENT_AUTH);
    assert_null(oid_by_name("nonsense"));
}

TEST(oid_table_has_each_identifier_once_and_valid)
{
    static const char *const all[] = {
#define X(id, dotted, name) OID_##id,
        OIDS(X)
#undef X
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (!oid_valid(all[i]))
            fail_msg("%s is not valid", all[i]);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(all[i], all[j]);
    }
}

TEST(oid_tells_valid_from_invalid)
{
    static const char *const good[] = {"0.0", "1.39", "2.25.259216219653612406639146011268228369410", "2.999.1",
        "1.3.6.1.4.1.311.21.8.1111111.2222222.3333333.4444444.5555555.66.7777777.8888888"};
    static const char *const bad[] = {"", "1", "1.", ".1", "3.1", "1.40", "1.3..6", "1.3.6.", "01.3", "1.03", "1.3.x",
        "a.b", " 1.3", "1.3 ", "1,3", "-1.3", "1.3.6.1\n", "11.3"};
    CLEANUP(mem_freep) char *long_text = mem_alloc(OID_MAX_TEXT + 3);

    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (!oid_valid(good[i]))
            fail_msg("'%s' was refused", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (oid_valid(bad[i]))
            fail_msg("'%s' was accepted", bad[i]);
    assert_false(oid_valid(NULL));
    memset(long_text, '1', OID_MAX_TEXT + 2);
    memcpy(long_text, "1.3", 3);
    assert_false(oid_valid(long_text));
}

TEST(oid_survives_asn1_with_arcs_of_any_size)
{
    static const char *const dotted[] = {"2.25.259216219653612406639146011268228369410", "1.2.840.113549.1.7.2",
        "1.3.6.1.4.1.311.21.8.8999041.15853441.3100037.1432202.12995512.99.15056324.14556856"};

    for (size_t i = 0; i < ARRAY_SIZE(dotted); i++) {
        ASN1_OBJECT *object = oid_to_asn1(dotted[i]);
        CLEANUP(mem_freep) char *back = oid_from_asn1(object);

        ASN1_OBJECT_free(object);
        assert_string_equal(back, dotted[i]);
    }
    assert_null(oid_to_asn1("1.40.3"));
    assert_null(oid_from_asn1(NULL));
}
