#include "protocol/pki/msext.h"

#include <openssl/x509v3.h>

#include "protocol/pki/attr.h"
#include "protocol/pki/control.h"
#include "protocol/pki/oid.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"

/* The whole Attribute, as spec/ms-wstep.md prints it. */
static void assert_attribute(const char *oid, const struct bytes *value, const char *hex)
{
    const struct csr_attribute attribute = {.oid = mem_strdup(oid), .value = *value};
    CLEANUP(bytes_clear) struct bytes der = {0};
    X509_ATTRIBUTE *asn1 = attr_to_asn1(&attribute, NULL);

    free(attribute.oid);
    assert_non_null(asn1);
    assert_int_equal(der_write(asn1, ASN1_ITEM_rptr(X509_ATTRIBUTE), &der, NULL), 0);
    X509_ATTRIBUTE_free(asn1);
    pki_assert_hex(&der, hex);
}

/* The whole Extension. */
static void assert_extension(const char *oid, const struct bytes *value, const char *hex)
{
    CLEANUP(attr_extensions_freep) STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    CLEANUP(bytes_clear) struct bytes der = {0};

    assert_int_equal(attr_push_extension(list, oid, false, value, NULL), 0);
    assert_int_equal(der_write(sk_X509_EXTENSION_value(list, 0), ASN1_ITEM_rptr(X509_EXTENSION), &der, NULL), 0);
    pki_assert_hex(&der, hex);
}

TEST(msext_writes_the_os_version_that_windows_writes)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(mem_freep) char *version = NULL;

    assert_int_equal(msext_os_version_write("6.1.0.2", &value, NULL), 0);
    assert_attribute(OID_OS_VERSION, &value, "3017060a2b0601040182370d020331091607362e312e302e32");
    assert_int_equal(msext_os_version_parse(value.data, value.len, &version, NULL), 0);
    assert_string_equal(version, "6.1.0.2");
}

TEST(msext_writes_the_client_info_that_windows_writes)
{
    const struct client_info info = {.machine = (char[]){"linux01.contoso.test"},
        .user = (char[]){"CONTOSO\\LINUX01$"},
        .process = (char[]){"certagent"}};
    CLEANUP(client_info_clear) struct client_info back = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};

    assert_int_equal(msext_client_info_write(&info, &value, NULL), 0);
    assert_attribute(OID_CLIENT_INFO, &value,
        "304506092b0601040182371514313830360201000c146c696e757830312e636f6e746f736f2e746573740c10434f4e544f534f5c4c"
        "494e55583031240c09636572746167656e74");
    assert_int_equal(msext_client_info_parse(value.data, value.len, &back, NULL), 0);
    assert_int_equal(back.client_id, 0);
    assert_string_equal(back.machine, info.machine);
    assert_string_equal(back.user, info.user);
    assert_string_equal(back.process, info.process);
}

TEST(msext_writes_the_enrollment_csp_that_windows_writes)
{
    const struct enrollment_csp csp = {
        .key_spec = 1, .name = (char[]){"Microsoft RSA SChannel Cryptographic Provider"}};
    CLEANUP(enrollment_csp_clear) struct enrollment_csp back = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};

    assert_int_equal(msext_csp_write(&csp, &value, NULL), 0);
    assert_attribute(OID_ENROLLMENT_CSP, &value,
        "3072060a2b0601040182370d0202316430620201011e5a004d006900630072006f0073006f006600740020005200530041002000530043"
        "00680061006e006e0065006c002000430072007900700074006f0067007200610070006800690063002000500072006f00760069006400"
        "650072030100");
    assert_int_equal(msext_csp_parse(value.data, value.len, &back, NULL), 0);
    assert_int_equal(back.key_spec, 1);
    assert_string_equal(back.name, csp.name);
}

TEST(msext_writes_the_name_value_pairs_that_windows_writes)
{
    CLEANUP(bytes_clear) struct bytes machine = {0};
    CLEANUP(bytes_clear) struct bytes requester = {0};
    CLEANUP(name_values_clear) struct name_values back = {0};

    assert_int_equal(msext_name_value_write("rmd", "linux01.contoso.test", &machine, NULL), 0);
    assert_attribute(OID_NAME_VALUE_PAIR, &machine,
        "3042060a2b0601040182370d0201313430321e060072006d00641e28006c0069006e0075007800300031002e0063006f006e0074006f00"
        "73006f002e0074006500730074");
    assert_int_equal(msext_name_value_write("requestername", "CONTOSO\\alice", &requester, NULL), 0);
    assert_attribute(OID_NAME_VALUE_PAIR, &requester,
        "3048060a2b0601040182370d0201313a30381e1a007200650071007500650073007400650072006e0061006d00651e1a0043004f004e00"
        "54004f0053004f005c0061006c006900630065");
    assert_int_equal(msext_name_values_parse(machine.data, machine.len, &back, NULL), 0);
    assert_int_equal(msext_name_values_parse(requester.data, requester.len, &back, NULL), 0);
    assert_string_equal(name_values_find(&back, "RMD"), "linux01.contoso.test");
    assert_string_equal(name_values_find(&back, "RequesterName"), "CONTOSO\\alice");
    assert_null(name_values_find(&back, "cdc"));
}

TEST(msext_reads_a_list_of_name_value_pairs)
{
    CLEANUP(bytes_clear) struct bytes list = {0};
    CLEANUP(name_values_clear) struct name_values back = {0};

    pki_hex("3014 3008 1e02 0061 1e02 0062 3008 1e02 0063 1e02 0064", &list);
    assert_int_equal(msext_name_values_parse(list.data, list.len, &back, NULL), 0);
    assert_int_equal(back.n, 2);
    assert_string_equal(name_values_find(&back, "a"), "b");
    assert_string_equal(name_values_find(&back, "c"), "d");
}

TEST(msext_writes_the_template_name_that_windows_writes_and_reads_both_forms)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(bytes_clear) struct bytes printed = {0};
    CLEANUP(mem_freep) char *name = NULL;
    CLEANUP(mem_freep) char *other = NULL;

    assert_int_equal(msext_template_name_write("Machine", &value, NULL), 0);
    assert_extension(OID_TEMPLATE_NAME, &value, "301d06092b060104018237140204101e0e004d0061006300680069006e0065");
    assert_int_equal(msext_template_name_parse(value.data, value.len, &name, NULL), 0);
    assert_string_equal(name, "Machine");
    pki_hex("3009 0c07 4d616368696e65", &printed);
    assert_int_equal(msext_template_name_parse(printed.data, printed.len, &other, NULL), 0);
    assert_string_equal(other, "Machine");
}

TEST(msext_writes_the_template_information_that_windows_writes)
{
    static const char hex[] =
        "303c06092b0601040182371507042f302d06252b0601040182371508c3e8478187d10e81cbb955828fa21c82d3"
        "8a634283dadb71849ec438020164020104";
    const struct template_info info = {
        .oid = (char[]){"1.3.6.1.4.1.311.21.8.1111111.2222222.3333333.4444444.5555555.66.7777777.8888888"},
        .major = {true, 100},
        .minor = {true, 4}};
    CLEANUP(template_info_clear) struct template_info back = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};

    assert_int_equal(msext_template_info_write(&info, &value, NULL), 0);
    assert_extension(OID_TEMPLATE_INFO, &value, hex);
    assert_int_equal(msext_template_info_parse(value.data, value.len, &back, NULL), 0);
    assert_string_equal(back.oid, info.oid);
    assert_true(back.major.set && back.major.value == 100 && back.minor.set && back.minor.value == 4);
}

TEST(msext_template_information_may_lack_versions_or_have_the_largest)
{
    static const struct template_info infos[] = {
        {.major = {false, 0}}, {.major = {true, 0}}, {.major = {true, UINT32_MAX}, .minor = {true, UINT32_MAX}}};

    for (size_t i = 0; i < ARRAY_SIZE(infos); i++) {
        struct template_info info = infos[i];
        CLEANUP(template_info_clear) struct template_info back = {0};
        CLEANUP(bytes_clear) struct bytes value = {0};

        info.oid = (char[]){"1.2.3.4"};
        assert_int_equal(msext_template_info_write(&info, &value, NULL), 0);
        assert_int_equal(msext_template_info_parse(value.data, value.len, &back, NULL), 0);
        assert_memory_equal(&back.major, &info.major, sizeof(back.major));
        assert_memory_equal(&back.minor, &info.minor, sizeof(back.minor));
    }
}

TEST(msext_writes_the_application_policies_that_windows_writes)
{
    CLEANUP(strlist_clear) struct strlist oids = {0};
    CLEANUP(strlist_clear) struct strlist back = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};

    strlist_add(&oids, OID_EKU_CLIENT_AUTH);
    strlist_add(&oids, OID_EKU_SERVER_AUTH);
    assert_int_equal(msext_policies_write(&oids, &value, NULL), 0);
    assert_extension(OID_APPLICATION_POLICIES, &value,
        "302706092b060104018237150a041a3018300a06082b06010505070302300a06082b06010505070301");
    assert_int_equal(msext_policies_parse(value.data, value.len, &back, NULL), 0);
    assert_int_equal(back.n, 2);
    assert_string_equal(back.items[0], OID_EKU_CLIENT_AUTH);
}

TEST(msext_writes_the_account_sid_that_windows_writes)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(mem_freep) char *sid = NULL;

    assert_int_equal(msext_sid_write("S-1-5-21-1004336348-1177238915-682003330-1107", &value, NULL), 0);
    assert_extension(OID_SECURITY_EXTENSION, &value,
        "304e06092b06010401823719020441303fa03d060a2b060104018237190201a02f042d532d312d352d32312d313030343333363334382d"
        "313137373233383931352d3638323030333333302d31313037");
    assert_int_equal(msext_sid_parse(value.data, value.len, &sid, NULL), 0);
    assert_string_equal(sid, "S-1-5-21-1004336348-1177238915-682003330-1107");
    assert_int_equal(msext_sid_write("nobody", &value, NULL), -1);
}

TEST(msext_key_usage_and_eku_round_trip)
{
    CLEANUP(bytes_clear) struct bytes usage = {0};
    CLEANUP(bytes_clear) struct bytes eku = {0};
    CLEANUP(strlist_clear) struct strlist oids = {0};
    CLEANUP(strlist_clear) struct strlist back = {0};
    CLEANUP(mem_freep) char *text = NULL;
    uint32_t bits = 0;

    assert_int_equal(msext_key_usage_write(KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, &usage, NULL), 0);
    pki_assert_hex(&usage, "030205a0");
    assert_int_equal(msext_key_usage_parse(usage.data, usage.len, &bits, NULL), 0);
    text = msext_key_usage_text(bits);
    assert_string_equal(text, "digitalSignature keyEncipherment");
    bytes_clear(&usage);
    assert_int_equal(msext_key_usage_write(KU_DECIPHER_ONLY, &usage, NULL), 0);
    assert_int_equal(msext_key_usage_parse(usage.data, usage.len, &bits, NULL), 0);
    assert_int_equal(bits, KU_DECIPHER_ONLY);
    strlist_add(&oids, OID_EKU_CLIENT_AUTH);
    assert_int_equal(msext_eku_write(&oids, &eku, NULL), 0);
    pki_assert_hex(&eku, "300a06082b06010505070302");
    assert_int_equal(msext_eku_parse(eku.data, eku.len, &back, NULL), 0);
    assert_int_equal(back.n, 1);
}

TEST(msext_writes_the_controls_that_windows_writes)
{
    const struct client_info info = {.machine = (char[]){"linux01.contoso.test"},
        .user = (char[]){"CONTOSO\\LINUX01$"},
        .process = (char[]){"certagent"}};
    STACK_OF(TAGGED_ATTRIBUTE) *list = sk_TAGGED_ATTRIBUTE_new_null();
    CLEANUP(csr_attributes_clear) struct csr_attributes attributes = {0};
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};
    CLEANUP(san_list_clear) struct san_list san = {0};
    CLEANUP(bytes_clear) struct bytes value = {0};
    CLEANUP(bytes_clear) struct bytes names = {0};
    CLEANUP(bytes_clear) struct bytes der = {0};

    assert_int_equal(msext_client_info_write(&info, &value, NULL), 0);
    csr_attributes_add(&attributes, OID_CLIENT_INFO, &value);
    assert_int_equal(control_attributes_write(&attributes, &value, NULL), 0);
    assert_int_equal(control_push(list, 2, OID_CMC_ADD_ATTRIBUTES, &value, NULL), 0);
    san_add(&san, SAN_DNS, "linux01.contoso.test");
    assert_int_equal(san_encode(&san, &names, NULL), 0);
    csr_extensions_add(&extensions, OID_SUBJECT_ALT_NAME, false, &names);
    assert_int_equal(control_extensions_write(&extensions, &value, NULL), 0);
    assert_int_equal(control_push(list, 4, OID_CMC_ADD_EXTENSIONS, &value, NULL), 0);
    assert_int_equal(der_write(sk_TAGGED_ATTRIBUTE_value(list, 0), ASN1_ITEM_rptr(TAGGED_ATTRIBUTE), &der, NULL), 0);
    pki_assert_hex(&der,
        "3064020102060a2b0601040182370a0a013153305102010030030201013147304506092b0601040182371514313830"
        "360201000c146c696e757830312e636f6e746f736f2e746573740c10434f4e544f534f5c4c494e55583031240c0963"
        "6572746167656e74");
    assert_int_equal(der_write(sk_TAGGED_ATTRIBUTE_value(list, 1), ASN1_ITEM_rptr(TAGGED_ATTRIBUTE), &der, NULL), 0);
    pki_assert_hex(&der,
        "303c02010406082b06010505070708312d302b02010030030201013021301f0603551d110418301682146c696e7578"
        "30312e636f6e746f736f2e74657374");
    while (sk_TAGGED_ATTRIBUTE_num(list)) {
        TAGGED_ATTRIBUTE *control = sk_TAGGED_ATTRIBUTE_pop(list);

        TAGGED_ATTRIBUTE_freep(&control);
    }
    sk_TAGGED_ATTRIBUTE_free(list);
}

TEST(msext_refuses_malformed_values)
{
    static const char *const bad[] = {"", "30", "3003020101", "1e03004100", "1e0400410000", "0c0141ff", "1e020007"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(err_freep) struct err *err = NULL;
        struct template_info info = {0};
        struct client_info client = {0};
        struct enrollment_csp csp = {0};
        struct name_values pairs = {0};
        struct strlist oids = {0};
        char *text = NULL;
        uint32_t bits;

        pki_hex(bad[i], &der);
        assert_int_equal(msext_template_name_parse(der.data, der.len, &text, &err), -1);
        assert_int_equal(err_kind(err), ERR_INVALID);
        assert_int_equal(msext_template_info_parse(der.data, der.len, &info, NULL), -1);
        assert_int_equal(msext_client_info_parse(der.data, der.len, &client, NULL), -1);
        assert_int_equal(msext_csp_parse(der.data, der.len, &csp, NULL), -1);
        assert_int_equal(msext_name_values_parse(der.data, der.len, &pairs, NULL), -1);
        assert_int_equal(msext_policies_parse(der.data, der.len, &oids, NULL), -1);
        assert_int_equal(msext_eku_parse(der.data, der.len, &oids, NULL), -1);
        assert_int_equal(msext_key_usage_parse(der.data, der.len, &bits, NULL), -1);
        assert_int_equal(msext_sid_parse(der.data, der.len, &text, NULL), -1);
        assert_int_equal(msext_os_version_parse(der.data, der.len, &text, NULL), -1);
        assert_null(text);
    }
}

TEST(msext_refuses_a_version_that_does_not_fit)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct template_info info = {0};

    pki_hex("300c 0603 2a0304 0205 0100000000", &der);
    assert_int_equal(msext_template_info_parse(der.data, der.len, &info, &err), -1);
    assert_contains(err_text(err), "not one of 0 to 4294967295");
    assert_null(info.oid);
}
