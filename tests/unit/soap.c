#include "tests/testing.h"

#include "protocol/soap/soap.h"

#define OPEN     "<s:Envelope xmlns:s='" SOAP_NS "' xmlns:a='" SOAP_WSA_NS "' xmlns:o='" SOAP_WSSE_NS "'>"
#define BODY     "<s:Body><x/></s:Body>"
#define CLOSE    "</s:Envelope>"
#define WITH(h)  OPEN "<s:Header>" h "</s:Header>" BODY CLOSE
#define FAULT(f) OPEN "<s:Body><s:Fault>" f "</s:Fault></s:Body>" CLOSE

static struct soap_message *parse_ok(const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    assert_ok(soap_parse(text, strlen(text), &message, &err) == 0, err);
    return message;
}

static void refused(const char *text, enum err_kind kind, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    assert_int_equal(soap_parse(text, strlen(text), &message, &err), -1);
    assert_null(message);
    assert_contains(err_text(err), expected);
    assert_int_equal(err_kind(err), kind);
}

TEST(soap_trims_the_text_of_headers)
{
    CLEANUP(soap_message_freep)
    struct soap_message *message =
        parse_ok(WITH("<a:Action s:mustUnderstand='1'>\n urn:do \r\n</a:Action><a:To> https://x </a:To>"
                      "<a:MessageID>\turn:uuid:1\n</a:MessageID><a:RelatesTo> urn:uuid:0 </a:RelatesTo>"));
    const struct soap_header *header = soap_message_header(message);

    assert_string_equal(header->action, "urn:do");
    assert_string_equal(header->to, "https://x");
    assert_string_equal(header->message_id, "urn:uuid:1");
    assert_string_equal(header->relates_to, "urn:uuid:0");
    assert_null(soap_message_security(message));
    assert_null(soap_message_fault(message));
    assert_null(soap_message_not_understood(message));
}

TEST(soap_reads_a_message_without_header)
{
    CLEANUP(soap_message_freep) struct soap_message *message = parse_ok(OPEN BODY CLOSE);

    assert_null(soap_message_header(message)->action);
}

TEST(soap_names_the_first_block_that_must_be_understood_and_is_not)
{
    CLEANUP(soap_message_freep)
    struct soap_message *message = parse_ok(
        WITH("<p:Optional xmlns:p='urn:p' s:mustUnderstand='0'/><p:Also xmlns:p='urn:p'/>"
             "<p:Needed xmlns:p='urn:p' s:mustUnderstand=' true '/><p:Later xmlns:p='urn:p' s:mustUnderstand='1'/>"
             "<a:Action>urn:do</a:Action>"));

    assert_string_equal(soap_message_not_understood(message), "Needed");
    assert_string_equal(soap_message_header(message)->action, "urn:do");
}

TEST(soap_understands_the_blocks_that_windows_sends)
{
    CLEANUP(soap_message_freep)
    struct soap_message *message =
        parse_ok(WITH("<a:Action s:mustUnderstand='1'>urn:do</a:Action><a:To s:mustUnderstand='1'>x</a:To>"
                      "<a:ReplyTo s:mustUnderstand='1'><a:Address> " SOAP_WSA_NS "/anonymous </a:Address></a:ReplyTo>"
                      "<o:Security s:mustUnderstand='1'/>"
                      "<ActivityId xmlns='http://schemas.microsoft.com/2004/09/ServiceModel/Diagnostics' "
                      "s:mustUnderstand='1'>1</ActivityId>"));

    assert_null(soap_message_not_understood(message));
    assert_non_null(soap_message_security(message));
}

TEST(soap_passes_over_blocks_for_another_role)
{
    CLEANUP(soap_message_freep)
    struct soap_message *message =
        parse_ok(WITH("<p:Needed xmlns:p='urn:p' s:mustUnderstand='1' s:role='urn:somebody'/>"
                      "<a:Action s:role='" SOAP_NS "/role/none'>urn:not</a:Action>"
                      "<a:Action s:role='" SOAP_NS "/role/ultimateReceiver'>urn:do</a:Action>"));

    assert_null(soap_message_not_understood(message));
    assert_string_equal(soap_message_header(message)->action, "urn:do");
}

TEST(soap_refuses_a_block_that_is_there_twice)
{
    refused(WITH("<a:Action>1</a:Action><a:Action>2</a:Action>"), ERR_INVALID, "<Action> is there twice");
    refused(
        WITH("<a:RelatesTo>1</a:RelatesTo><a:RelatesTo>1</a:RelatesTo>"), ERR_INVALID, "<RelatesTo> is there twice");
    refused(WITH("<o:Security/><o:Security/>"), ERR_INVALID, "<Security> is there twice");
}

TEST(soap_refuses_an_answer_to_another_address)
{
    refused(WITH("<a:ReplyTo><a:Address>https://elsewhere</a:Address></a:ReplyTo>"), ERR_INVALID,
        "in <Header>: line 1: <ReplyTo> asks for an answer to another address");
    refused(WITH("<a:FaultTo><a:Address>https://elsewhere</a:Address></a:FaultTo>"), ERR_INVALID, "<FaultTo>");
}

TEST(soap_refuses_an_envelope_that_is_none)
{
    refused("<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><x/></s:Body></s:Envelope>",
        ERR_PROTOCOL, "not of SOAP 1.2 but of SOAP 1.1");
    refused("<Envelope><Body><x/></Body></Envelope>", ERR_PROTOCOL, "not of SOAP 1.2");
    refused("<html/>", ERR_INVALID, "<html> is no SOAP envelope");
    refused(OPEN CLOSE, ERR_INVALID, "has no <Body>");
    refused(OPEN "<s:Header/>" CLOSE, ERR_INVALID, "has no <Body>");
    refused(OPEN "<s:Header/><s:Header/>" BODY CLOSE, ERR_INVALID, "has no <Body>");
    refused(OPEN BODY BODY CLOSE, ERR_INVALID, "<Body> behind <Body>");
    refused(OPEN BODY "<x/>" CLOSE, ERR_INVALID, "<x> behind <Body>");
    refused(OPEN "<s:Body/>" CLOSE, ERR_INVALID, "<Body> is empty");
    refused(OPEN "<s:Body><x/>\n<y/></s:Body>" CLOSE, ERR_INVALID, "<Body> has more than one element");
    refused(OPEN "<s:Body><x></s:Body>" CLOSE, ERR_INVALID, "line 1, column");
}

TEST(soap_limits_the_text_of_headers)
{
    CLEANUP(mem_freep) char *uri = mem_alloc(SOAP_MAX_URI + 2);
    CLEANUP(mem_freep) char *text = NULL;

    memset(uri, 'u', SOAP_MAX_URI + 1);
    text = mem_printf(OPEN "<s:Header><a:To>%s</a:To></s:Header>" BODY CLOSE, uri);
    refused(text, ERR_INVALID, "<To> has 4097 bytes, and 4096 are the most");
}

TEST(soap_relates_to_the_request_but_for_blanks)
{
    char same[] = "urn:uuid: 69960163-adad", other[] = "urn:uuid:69960163-adae", longer[] = "urn:uuid:69960163-adad0";
    struct soap_header header = {.relates_to = same};

    assert_int_equal(soap_relates_to(&header, "urn:uuid:69960163-adad"), 1);
    header.relates_to = other;
    assert_int_equal(soap_relates_to(&header, "urn:uuid:69960163-adad"), 0);
    header.relates_to = longer;
    assert_int_equal(soap_relates_to(&header, "urn:uuid:69960163-adad"), 0);
    header.relates_to = NULL;
    assert_int_equal(soap_relates_to(&header, "urn:uuid:69960163-adad"), 1);
}

TEST(soap_message_ids_are_random_uuids)
{
    CLEANUP(mem_freep) char *one = soap_new_message_id();
    CLEANUP(mem_freep) char *two = soap_new_message_id();

    assert_int_equal(strlen(one), strlen("urn:uuid:00000000-0000-4000-8000-000000000000"));
    assert_int_equal(strncmp(one, "urn:uuid:", 9), 0);
    assert_int_equal(one[9 + 14], '4');
    assert_non_null(strchr("89ab", one[9 + 19]));
    assert_string_not_equal(one, two);
}

TEST(soap_reads_a_fault_with_subcode_in_any_namespace)
{
    CLEANUP(soap_message_freep)
    struct soap_message *message = parse_ok(
        FAULT("<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value xmlns:w='" SOAP_WSSE_NS
              "'>w:FailedAuthentication</s:Value><s:Subcode><s:Value>s:Deeper</s:Value></s:Subcode></s:Subcode>"
              "</s:Code><s:Reason><s:Text xml:lang='de'> Kennwort falsch </s:Text>"
              "<s:Text xml:lang='en'>wrong</s:Text></s:Reason>"));
    const struct soap_fault *fault = soap_message_fault(message);

    assert_int_equal(fault->code, SOAP_SENDER);
    assert_string_equal(fault->subcode, "FailedAuthentication");
    assert_string_equal(fault->subcode_ns, SOAP_WSSE_NS);
    assert_int_equal(soap_fault_subcode(fault), SOAP_SUBCODE_FAILED_AUTHENTICATION);
    assert_string_equal(fault->reason, "Kennwort falsch");
    assert_string_equal(fault->language, "de");
}

TEST(soap_resolves_fault_codes_by_namespace_and_not_by_prefix)
{
    CLEANUP(soap_message_freep)
    struct soap_message *message =
        parse_ok(FAULT("<s:Code><s:Value xmlns='" SOAP_NS "'>Receiver</s:Value></s:Code><s:Reason/>"));

    assert_int_equal(soap_message_fault(message)->code, SOAP_RECEIVER);
    assert_null(soap_message_fault(message)->reason);
    refused(FAULT("<s:Code><s:Value xmlns:q='urn:q'>q:Receiver</s:Value></s:Code>"), ERR_INVALID,
        "unknown code 'Receiver'");
    refused(FAULT("<s:Code><s:Value>q:Receiver</s:Value></s:Code>"), ERR_INVALID, "prefix 'q' in <Value>");
    refused(FAULT("<s:Reason/>"), ERR_INVALID, "a fault without a code");
}

TEST(soap_cuts_a_long_reason_between_characters)
{
    CLEANUP(mem_freep) char *reason = mem_alloc(3 * SOAP_MAX_REASON + 1);
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;

    for (size_t i = 0; i < SOAP_MAX_REASON; i++)
        memcpy(reason + 3 * i, "\xe2\x82\xac", 3);
    text = mem_printf(FAULT("<s:Code><s:Value>s:Receiver</s:Value></s:Code>"
                            "<s:Reason><s:Text xml:lang='en'>%s</s:Text></s:Reason>"),
        reason);
    message = parse_ok(text);
    assert_int_equal(strlen(soap_message_fault(message)->reason), SOAP_MAX_REASON / 3 * 3);
}

TEST(soap_gives_back_the_faults_it_wrote)
{
    static const enum soap_fault_code codes[] = {
#define X(name, text) SOAP_##name,
        SOAP_FAULT_CODES(X)
#undef X
    };
    char action[] = SOAP_ACTION_FAULT, id[] = "urn:uuid:1";
    struct soap_header header = {.action = action, .relates_to = id};

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        for (int subcode = SOAP_SUBCODE_NONE; subcode < SOAP_SUBCODE__MAX; subcode++) {
            CLEANUP(soap_fault_clear) struct soap_fault fault = {0};
            CLEANUP(bytes_clear) struct bytes out = {0};
            CLEANUP(soap_message_freep) struct soap_message *message = NULL;
            CLEANUP(err_freep) struct err *err = NULL;
            const struct soap_fault *again;

            soap_fault_init(&fault, codes[i], (enum soap_subcode)subcode, "because <of> & \"that\"");
            assert_ok(soap_fault_write(&header, &fault, &out, &err) == 0, err);
            message = parse_ok(bytes_text(&out));
            again = soap_message_fault(message);
            assert_int_equal(again->code, codes[i]);
            assert_int_equal(soap_fault_subcode(again), subcode);
            assert_string_equal(again->reason, fault.reason);
            assert_string_equal(again->language, "en-US");
            assert_string_equal(soap_message_header(message)->relates_to, id);
            assert_string_equal(soap_message_header(message)->action, action);
        }
    }
}

TEST(soap_refuses_to_write_a_reason_that_cannot_stand_in_xml)
{
    CLEANUP(soap_fault_clear) struct soap_fault fault = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_header header = {0};

    soap_fault_init(&fault, SOAP_SENDER, SOAP_SUBCODE_NONE, "\x1b[2J");
    assert_int_equal(soap_fault_write(&header, &fault, &out, &err), -1);
    assert_contains(err_text(err), "<Text> has a character that cannot stand in XML");
    assert_int_equal(out.len, 0);
}
