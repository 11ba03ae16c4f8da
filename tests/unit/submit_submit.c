#include "agent/submit/submit.h"
#include "agent/submit/fetch.h"
#include "protocol/pki/cmc_response.h"
#include "protocol/xcep/xcep.h"
#include "tests/rogue.h"
#include "tests/testing.h"

/* What the server answers: written by the codecs, with the RelatesTo of the request. */
struct says {
    const struct wstep_response *response;
    const struct soap_fault *fault;
    const struct wstep_fault_detail *detail;
    const struct xcep_response *policy;
    const char *status; /* NULL: 200 OK, or 500 for a fault */
    const char *headers;
    const char *raw;        /* instead of all this */
    const char *relates_to; /* instead of the request's */
};

struct scene {
    struct rogue_ca *ca;
    struct rogue_server server;
    struct says says;
    struct bytes anchors;
    struct auth_credentials credentials;
    struct submit_answer answer;
    struct policy policy;
    struct err *err;
};

static void scene_clear(struct scene *s)
{
    bytes_clear(&s->anchors);
    submit_answer_clear(&s->answer);
    policy_clear(&s->policy);
    err_free(s->err);
}

static void speak(const struct bytes *body, struct bytes *http, void *arg)
{
    const struct says *says = arg;
    struct soap_message *message = NULL;
    struct bytes out = {0};
    struct soap_header header = {0};
    int r = 0;

    if (soap_parse(body->data, body->len, &message, NULL) == 0)
        header.relates_to = mem_strdup(says->relates_to ? says->relates_to : soap_message_header(message)->message_id);
    header.action = mem_strdup(says->fault    ? WSTEP_ACTION_FAULT
                               : says->policy ? XCEP_ACTION_RESPONSE
                                              : WSTEP_ACTION_RESPONSE);
    if (says->raw)
        bytes_set(&out, says->raw, strlen(says->raw));
    else if (says->fault)
        r = wstep_fault_write(&header, says->fault, says->detail, &out, NULL);
    else if (says->policy)
        r = xcep_response_write(&header, says->policy, &out, NULL);
    else if (says->response)
        r = wstep_response_write(&header, says->response, &out, NULL);
    if (r < 0)
        abort();
    rogue_http(http,
        says->status  ? says->status
        : says->fault ? "500 Internal Server Error"
                      : "200 OK",
        says->headers ? says->headers : "", &out);
    soap_message_free(message);
    soap_header_clear(&header);
    bytes_clear(&out);
}

/* What is in s->says is what the server says for all of the test. */
static void start(struct scene *s)
{
    s->ca = rogue_ca_new("Root", NULL);
    s->server = (struct rogue_server){.ca = s->ca, .answer = speak, .arg = &s->says};
    assert_int_equal(cert_to_pem(s->ca->cert, &s->anchors, NULL), 0);
    rogue_start(&s->server);
}

static struct call_peer peer(const struct scene *s, uint32_t auth, const char *url)
{
    return (struct call_peer){
        .url = url, .auth = auth, .credentials = &s->credentials, .anchors = &s->anchors, .now = 1900000000};
}

static int submit(struct scene *s, uint32_t auth)
{
    CLEANUP(mem_freep) char *url = rogue_url(&s->server, "CES");
    struct call_peer to = peer(s, auth, url);
    CLEANUP(bytes_clear) struct bytes token = {0};
    const struct submit_request request = {.token = WSTEP_PKCS7, .bytes = &token, .machine = "web01.example"};

    bytes_set(&token, "\x30\x00", 2);
    submit_answer_clear(&s->answer);
    err_free(TAKE(s->err));
    return submit_request(&to, &request, &s->answer, &s->err);
}

static int fetch(struct scene *s, const char *policy_id, struct opt_time last)
{
    CLEANUP(mem_freep) char *url = rogue_url(&s->server, "CEP");
    struct call_peer to = peer(s, POLICY_AUTH_ANONYMOUS, url);

    policy_clear(&s->policy);
    err_free(TAKE(s->err));
    return fetch_policy(&to, policy_id, &last, &s->policy, &s->err);
}

static void fails(struct scene *s, enum err_kind kind, const char *text)
{
    assert_int_equal(submit(s, POLICY_AUTH_ANONYMOUS), -1);
    assert_contains(err_text(s->err), text);
    assert_string_equal(err_kind_name(err_kind(s->err)), err_kind_name(kind));
    assert_non_null(err_hint_text(s->err));
}

/* The last request as the server read it. */
static void last_request(const struct scene *s, struct wstep_request *request, char **message_id, bool *password)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    const struct wsse_security *security;

    assert_ok(soap_parse(s->server.seen->last, s->server.seen->last_len, &message, &err) == 0, err);
    assert_ok(wstep_request_parse(message, request, &err) == 0, err);
    *message_id = mem_strdup(soap_message_header(message)->message_id);
    security = soap_message_security(message);
    *password = security && security->username;
}

TEST(submit_gives_an_issued_answer_as_it_came)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct wstep_response response = {.outcome = WSTEP_ISSUED, .request_id = (char[]){"00042x"}};

    bytes_set(&response.cms, "\x30\x00", 2);
    bytes_set(&response.certificate, "\x30\x01\x00", 3);
    s.says.response = &response;
    start(&s);
    assert_ok(submit(&s, POLICY_AUTH_ANONYMOUS) == SUBMIT_ISSUED, s.err);
    assert_string_equal(s.answer.request_id, "00042x"); /* opaque */
    assert_true(bytes_equal(&s.answer.cms, &response.cms));
    assert_true(bytes_equal(&s.answer.certificate, &response.certificate));
    assert_false(s.answer.unrelated);
    bytes_clear(&response.cms);
    bytes_clear(&response.certificate);
}

TEST(submit_reports_pending_with_its_id)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *url = NULL;
    struct call_peer to;
    struct wstep_response response = {.outcome = WSTEP_PENDING,
        .request_id = (char[]){"99999999999999999999"},
        .reference_uri = (char[]){"https://evil.example/"},
        .disposition_message = (char[]){"Taken Under Submission"}};

    bytes_set(&response.cms, "\x30\x00", 2);
    s.says.response = &response;
    start(&s);
    assert_ok(submit(&s, POLICY_AUTH_ANONYMOUS) == SUBMIT_PENDING, s.err);
    assert_string_equal(s.answer.request_id, "99999999999999999999");
    assert_string_equal(s.answer.message, "Taken Under Submission");
    submit_answer_clear(&s.answer);
    url = rogue_url(&s.server, "CES");
    to = peer(&s, POLICY_AUTH_ANONYMOUS, url);
    assert_ok(submit_query(&to, "99999999999999999999", &s.answer, &s.err) == SUBMIT_PENDING, s.err);
    {
        CLEANUP(wstep_request_clear) struct wstep_request request = {0};
        CLEANUP(mem_freep) char *id = NULL;
        bool password;

        last_request(&s, &request, &id, &password);
        assert_int_equal(request.kind, WSTEP_QUERY);
        assert_string_equal(request.request_id, "99999999999999999999");
    }
    bytes_clear(&response.cms);
}

TEST(submit_lets_the_cas_response_decide_where_the_answer_does_not)
{
    static const struct {
        enum cmc_status status;
        int outcome;
    } cases[] = {{CMC_PENDING, SUBMIT_PENDING}, {CMC_FAILED, -1}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(scene_clear) struct scene s = {0};
        struct rogue_ca *ca = rogue_ca_new("CA", NULL);
        const struct cms_signer signer = {.key = ca->key, .cert = ca->cert, .hash = "SHA256"};
        CLEANUP(bytes_clear) struct bytes id = {0};
        const struct cmc_response_spec spec = {.status = cases[i].status,
            .text = "because",
            .pend_token = cases[i].status == CMC_PENDING ? &id : NULL,
            .ca = &signer};
        struct wstep_response response = {.outcome = WSTEP_UNDECIDED, .request_id = (char[]){"7"}};

        bytes_set(&id, "7", 1);
        assert_ok(cmc_response_build(&spec, &response.cms, &s.err) == 0, s.err);
        s.says.response = &response;
        start(&s);
        assert_int_equal(submit(&s, POLICY_AUTH_ANONYMOUS), cases[i].outcome);
        if (cases[i].outcome < 0) {
            assert_int_equal(err_kind(s.err), ERR_DENIED);
            assert_contains(err_text(s.err), "because");
        }
        bytes_clear(&response.cms);
    }
}

TEST(submit_explains_a_fault_with_detail_by_its_hresult)
{
    static const struct {
        uint32_t code;
        bool denied;
        enum err_kind kind;
        const char *name;
    } codes[] = {
        {0x80094012, true, ERR_DENIED, "CERTSRV_E_TEMPLATE_DENIED"},
        {0x800706BA, false, ERR_NETWORK, "RPC_S_SERVER_UNAVAILABLE"},
        {0x8007052E, false, ERR_AUTH, "ERROR_LOGON_FAILURE"},
        {0x80094004, false, ERR_MISSING, "CERTSRV_E_PROPERTY_EMPTY"},
        {0x80094811, true, ERR_DENIED, "CERTSRV_E_KEY_LENGTH"},
        {0xDEADBEEF, false, ERR_DENIED, "0xDEADBEEF"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        CLEANUP(scene_clear) struct scene s = {0};
        struct soap_fault fault = {.code = SOAP_RECEIVER, .reason = (char[]){"Denied by \x7f Policy Module"}};
        struct wstep_fault_detail detail = {.has_error_code = true,
            .error_code = codes[i].code,
            .invalid_request = {true, codes[i].denied},
            .request_id = (char[]){"1045"}};

        s.says = (struct says){.fault = &fault, .detail = &detail};
        start(&s);
        fails(&s, codes[i].kind, codes[i].name);
        assert_int_equal(err_code(s.err), codes[i].code);
        assert_contains(err_text(s.err), "request id 1045");
        assert_contains(err_text(s.err), "Policy Module");
        assert_null(strchr(err_text(s.err), '\x7f'));
    }
}

TEST(submit_explains_a_fault_without_detail_by_its_subcode)
{
    static const struct {
        enum soap_fault_code code;
        enum soap_subcode subcode;
        enum err_kind kind;
        const char *text, *hint;
    } faults[] = {
        {SOAP_SENDER, SOAP_SUBCODE_FAILED_AUTHENTICATION, ERR_AUTH, "user name or password", "locked"},
        {SOAP_SENDER, SOAP_SUBCODE_INVALID_SECURITY, ERR_AUTH, "time", "clock"},
        {SOAP_RECEIVER, SOAP_SUBCODE_INTERNAL_SERVICE_FAULT, ERR_NETWORK, "the service failed", "delegate"},
        {SOAP_SENDER, SOAP_SUBCODE_ACTION_NOT_SUPPORTED, ERR_CONFIG, "does not know the action", "/CEP"},
        {SOAP_SENDER, SOAP_SUBCODE_DESTINATION_UNREACHABLE, ERR_CONFIG, "not its own", "host name"},
        {SOAP_SENDER, SOAP_SUBCODE_NONE, ERR_PROTOCOL, "refused the message", "address"},
        {SOAP_RECEIVER, SOAP_SUBCODE_NONE, ERR_NETWORK, "the service failed", "log"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        CLEANUP(scene_clear) struct scene s = {0};
        CLEANUP(soap_fault_clear) struct soap_fault fault = {0};

        soap_fault_init(&fault, faults[i].code, faults[i].subcode, "in its own words");
        s.says.fault = &fault;
        start(&s);
        fails(&s, faults[i].kind, faults[i].text);
        assert_contains(err_text(s.err), "in its own words");
        assert_contains(err_hint_text(s.err), faults[i].hint);
    }
}

TEST(submit_explains_a_status_without_a_message)
{
    static const struct {
        const char *status, *headers;
        enum err_kind kind;
        const char *text;
    } statuses[] = {
        {"401 Unauthorized", "WWW-Authenticate: Negotiate\r\n", ERR_AUTH, "HTTP 401"},
        {"403 Forbidden", "", ERR_AUTH, "HTTP 403"},
        {"404 Not Found", "", ERR_MISSING, "HTTP 404"},
        {"500 Internal Server Error", "", ERR_NETWORK, "HTTP 500"},
        {"503 Service Unavailable", "Retry-After: 17\r\n", ERR_NETWORK, "in 17 seconds at the earliest"},
        {"302 Found", "Location: https://evil.example/\r\n", ERR_PROTOCOL, "https://evil.example/"},
        {"307 Temporary Redirect", "Location: https://evil.example/\r\n", ERR_PROTOCOL, "not followed"},
        {"200 OK", "", ERR_PROTOCOL, "no SOAP message"},
        {"204 No Content", "", ERR_PROTOCOL, "HTTP 204"},
        {"418 I'm a teapot", "", ERR_PROTOCOL, "HTTP 418"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        CLEANUP(scene_clear)
        struct scene s = {.says = {.status = statuses[i].status, .headers = statuses[i].headers, .raw = ""}};

        start(&s);
        fails(&s, statuses[i].kind, statuses[i].text);
    }
}

TEST(submit_refuses_an_answer_to_another_message)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct wstep_response response = {
        .outcome = WSTEP_PENDING, .request_id = (char[]){"1"}, .reference_uri = (char[]){"https://ces.example/"}};

    bytes_set(&response.cms, "\x30\x00", 2);
    s.says = (struct says){.response = &response, .relates_to = "urn:uuid:00000000-0000-0000-0000-000000000000"};
    start(&s);
    fails(&s, ERR_PROTOCOL, "for another message");
    bytes_clear(&response.cms);
}

TEST(submit_shows_a_password_only_where_it_is_asked_for)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(secret_freep) struct secret *password = secret_copy("p<w&d", 5);
    static const uint32_t auths[] = {POLICY_AUTH_ANONYMOUS, POLICY_AUTH_USERNAME, POLICY_AUTH_ANONYMOUS};
    char *ids[3];

    s.credentials = (struct auth_credentials){.username = "CORP\\alice", .password = password};
    s.says.raw = "";
    start(&s);
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(wstep_request_clear) struct wstep_request request = {0};
        bool shown;

        assert_int_equal(submit(&s, auths[i]), -1);
        last_request(&s, &request, &ids[i], &shown);
        assert_int_equal(shown, auths[i] == POLICY_AUTH_USERNAME);
        assert_int_equal(request.kind, WSTEP_ISSUE);
        assert_string_equal(wstep_request_context(&request, "ccm"), "web01.example");
        assert_string_equal(wstep_request_context(&request, "rmd"), "web01.example");
    }
    assert_string_not_equal(ids[0], ids[1]); /* a fresh MessageID each time */
    assert_string_not_equal(ids[0], ids[2]);
    for (size_t i = 0; i < 3; i++)
        free(ids[i]);
}

TEST(submit_without_the_credential_connects_to_nobody)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    assert_int_equal(submit(&s, POLICY_AUTH_USERNAME), -1);
    assert_int_equal(err_kind(s.err), ERR_AUTH);
    assert_int_equal(submit(&s, POLICY_AUTH_CERTIFICATE), -1);
    assert_int_equal(submit(&s, POLICY_AUTH_KERBEROS), -1);
    assert_int_equal(s.server.seen->connections, 0);
}

TEST(fetch_asks_for_every_template_whatever_its_version)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(xcep_request_clear) struct xcep_request request = {0};
    struct xcep_response policy = {.policy_id = (char[]){"{P}"}};

    s.says.policy = &policy;
    s.says.headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    start(&s);
    assert_ok(fetch(&s, "{p}", (struct opt_time){0}) == FETCH_DONE, s.err);
    assert_int_equal(s.policy.fetched_at, 784111777); /* the server's clock */
    assert_int_equal(soap_parse(s.server.seen->last, s.server.seen->last_len, &message, NULL), 0);
    assert_int_equal(xcep_request_parse(message, &request, NULL), 0);
    assert_true(request.has_filter);
    assert_true(request.client_version.set && request.client_version.value == 0);
    assert_true(request.server_version.set && request.server_version.value == 0);
    assert_int_equal(request.policy_oids.n, 0);
    assert_false(request.last_update.set);
}

TEST(fetch_knows_not_changed_only_as_an_answer_to_when)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct xcep_response policy = {.policy_id = (char[]){"{P}"}, .policies_not_changed = {true, true}};

    s.says.policy = &policy;
    start(&s);
    assert_ok(fetch(&s, NULL, (struct opt_time){true, 1800000000}) == FETCH_NOT_CHANGED, s.err);
    assert_int_equal(fetch(&s, NULL, (struct opt_time){0}), -1);
    assert_int_equal(err_kind(s.err), ERR_PROTOCOL);
    assert_int_equal(fetch(&s, "{Q}", (struct opt_time){true, 1800000000}), -1);
    assert_int_equal(err_kind(s.err), ERR_POLICY);
    assert_contains(err_text(s.err), "serves policy '{P}', not '{Q}'");
}
