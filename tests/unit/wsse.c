#include "tests/testing.h"

#include "protocol/soap/soap.h"
#include "protocol/soap/wsse.h"

#define NOW 1893553445 /* 2030-01-02 03:04:05 UTC */

static struct wsse_security timestamp(int64_t created, int64_t expires)
{
    return (struct wsse_security){.created = {true, created}, .expires = {true, expires}};
}

static void holds(int64_t created, int64_t expires)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct wsse_security security = timestamp(created, expires);

    assert_ok(wsse_timestamp_check(&security, NOW, &err) == 0, err);
}

static void refused(struct wsse_security security, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(wsse_timestamp_check(&security, NOW, &err), -1);
    assert_int_equal(err_kind(err), ERR_AUTH);
    assert_contains(err_text(err), expected);
    assert_contains(err_hint_text(err), "clocks");
}

TEST(wsse_timestamp_holds_within_five_minutes_of_skew)
{
    holds(NOW, NOW + 300);
    holds(NOW - 600, NOW - 300);
    holds(NOW + 300, NOW + 600);
    holds(NOW, NOW);
}

TEST(wsse_timestamp_is_refused_when_stale)
{
    refused(timestamp(NOW - 601, NOW - 301), "has expired");
    refused(timestamp(NOW - 86400, NOW - 86100), "has expired");
}

TEST(wsse_timestamp_is_refused_from_the_future)
{
    refused(timestamp(NOW + 301, NOW + 601), "in the future");
}

TEST(wsse_timestamp_is_refused_when_too_long_or_backwards)
{
    refused(timestamp(NOW, NOW + 301), "more than five minutes");
    refused(timestamp(INT64_MIN / 4, NOW), "more than five minutes");
    refused(timestamp(NOW, NOW - 1), "before it was made");
}

TEST(wsse_timestamp_is_refused_when_absent)
{
    refused((struct wsse_security){0}, "no Timestamp");
}

TEST(wsse_timestamp_without_expiry_lasts_five_minutes)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct wsse_security security = {.created = {true, NOW - 600}};

    assert_ok(wsse_timestamp_check(&security, NOW, &err) == 0, err);
    security.created.value--;
    refused(security, "has expired");
}

TEST(wsse_init_makes_a_token_that_holds_now)
{
    CLEANUP(secret_freep) struct secret *password = secret_copy("a<b", 3);
    CLEANUP(wsse_security_clear) struct wsse_security security = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    wsse_security_init(&security, "EXAMPLE\\alice", password, NOW);
    assert_string_equal(security.username, "EXAMPLE\\alice");
    assert_true(secret_equal(security.password, password));
    assert_int_equal(security.expires.value - security.created.value, 300);
    assert_ok(wsse_timestamp_check(&security, NOW, &err) == 0, err);
}

/* Reads a message with this inside of <o:Security>; the body does not matter. */
static int parse(const char *inside, struct soap_message **out, struct err **errp)
{
    CLEANUP(mem_freep)
    char *text = mem_printf("<s:Envelope xmlns:s='" SOAP_NS "' xmlns:o='" SOAP_WSSE_NS "' xmlns:u='" SOAP_WSU_NS "'>"
                            "<s:Header><o:Security s:mustUnderstand='1'>%s</o:Security></s:Header>"
                            "<s:Body><x/></s:Body></s:Envelope>",
        inside);

    return soap_parse(text, strlen(text), out, errp);
}

static struct soap_message *parse_ok(const char *inside)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    assert_ok(parse(inside, &message, &err) == 0, err);
    return message;
}

#define TOKEN "<o:UsernameToken><o:Username> EXAMPLE\\alice\n</o:Username>%s</o:UsernameToken>"
#define TEXT  "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"

TEST(wsse_accepts_the_password_type_absent_unqualified_and_qualified)
{
    static const char *const passwords[] = {
        "<o:Password>s&amp;cret</o:Password>",
        "<o:Password Type='" TEXT "'>s&amp;cret</o:Password>",
        "<o:Password o:Type='" TEXT "'>s&amp;cret</o:Password>",
    };

    for (size_t i = 0; i < ARRAY_SIZE(passwords); i++) {
        CLEANUP(mem_freep) char *token = mem_printf(TOKEN, passwords[i]);
        CLEANUP(soap_message_freep) struct soap_message *message = parse_ok(token);
        const struct wsse_security *security = soap_message_security(message);

        assert_string_equal(security->username, "EXAMPLE\\alice");
        assert_string_equal(secret_peek(security->password), "s&cret");
        assert_false(security->digest);
    }
}

TEST(wsse_marks_a_digest)
{
    CLEANUP(mem_freep)
    char *token = mem_printf(TOKEN, "<o:Password Type='http://docs.oasis-open.org/wss/2004/01/"
                                    "oasis-200401-wss-username-token-profile-1.0#PasswordDigest'>"
                                    "eHl6</o:Password><o:Nonce>bm9uY2U=</o:Nonce>");
    CLEANUP(soap_message_freep) struct soap_message *message = parse_ok(token);

    assert_true(soap_message_security(message)->digest);
}

TEST(wsse_keeps_the_password_exactly)
{
    CLEANUP(mem_freep) char *token = mem_printf(TOKEN, "<o:Password>  two blanks, then one </o:Password>");
    CLEANUP(soap_message_freep) struct soap_message *message = parse_ok(token);

    assert_string_equal(secret_peek(soap_message_security(message)->password), "  two blanks, then one ");
}

TEST(wsse_tolerates_nonce_and_created_in_the_token)
{
    CLEANUP(mem_freep)
    char *token = mem_printf(
        TOKEN, "<o:Password>x</o:Password><o:Nonce>bm9uY2U=</o:Nonce><u:Created>2030-01-02T03:04:05Z</u:Created>");
    CLEANUP(soap_message_freep) struct soap_message *message = parse_ok(token);

    assert_false(soap_message_security(message)->created.set);
}

TEST(wsse_tells_no_token_from_an_empty_one)
{
    CLEANUP(soap_message_freep)
    struct soap_message *timestamp_only =
        parse_ok("<u:Timestamp u:Id='_0'><u:Created>2030-01-02T03:04:05.000Z</u:Created>"
                 "<u:Expires>2030-01-02T03:09:05.000Z</u:Expires></u:Timestamp>");
    CLEANUP(soap_message_freep)
    struct soap_message *no_password = parse_ok("<o:UsernameToken><o:Username/></o:UsernameToken>");
    const struct wsse_security *security = soap_message_security(timestamp_only);

    assert_null(security->username);
    assert_null(security->password);
    assert_true(security->created.set && security->created.value == NOW && security->expires.value == NOW + 300);
    assert_string_equal(soap_message_security(no_password)->username, "");
    assert_null(soap_message_security(no_password)->password);
}

static void refused_header(const char *inside, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct soap_message *message = NULL;

    assert_int_equal(parse(inside, &message, &err), -1);
    assert_contains(err_text(err), expected);
}

TEST(wsse_refuses_two_tokens_two_timestamps_and_a_timestamp_that_is_none)
{
    refused_header("<o:UsernameToken><o:Username>a</o:Username></o:UsernameToken><o:UsernameToken/>",
        "in <Security>: line 1: <UsernameToken> is there twice");
    refused_header("<u:Timestamp><u:Created>2030-01-02T03:04:05Z</u:Created></u:Timestamp><u:Timestamp/>",
        "<Timestamp> is there twice");
    refused_header("<u:Timestamp><u:Created>now</u:Created></u:Timestamp>", "in <Timestamp>: line 1: <Created>: 'now'");
    refused_header("<u:Timestamp/>", "Created is missing");
}

TEST(wsse_errors_do_not_tell_the_password)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *password = mem_alloc(WSSE_MAX_PASSWORD + 2);
    CLEANUP(mem_freep) char *token = NULL;
    struct soap_message *message = NULL;

    memset(password, 'q', WSSE_MAX_PASSWORD + 1);
    token = mem_printf("<o:UsernameToken><o:Password>%s</o:Password></o:UsernameToken>", password);
    assert_int_equal(parse(token, &message, &err), -1);
    assert_contains(err_text(err), "<Password>: 1025 bytes");
    assert_null(strstr(err_text(err), "qq"));
}
