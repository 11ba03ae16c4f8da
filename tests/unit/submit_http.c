#include <signal.h>
#include <sys/wait.h>

#include "agent/submit/http.h"
#include "tests/rogue.h"
#include "tests/testing.h"

/* A server with its own CA, a client that trusts that CA, and what came of one exchange. */
struct scene {
    struct rogue_ca *ca;
    struct rogue_server server;
    struct bytes anchors;
    struct bytes body;
    struct http_answer answer;
    struct err *err;
};

static void scene_clear(struct scene *s)
{
    bytes_clear(&s->anchors);
    bytes_clear(&s->body);
    http_answer_clear(&s->answer);
    err_free(s->err);
}

static void trust(struct scene *s, const struct rogue_ca *ca)
{
    bytes_clear(&s->anchors);
    assert_int_equal(cert_to_pem(ca->cert, &s->anchors, NULL), 0);
}

/* Fills what the test has not. */
static int post(struct scene *s, const char *path, long limit_ms, size_t answer_limit)
{
    CLEANUP(mem_freep) char *url = NULL;
    const struct http_request request = {.anchors = &s->anchors,
        .body = &s->body,
        .answer_limit = answer_limit ? answer_limit : 4096,
        .limit_ms = limit_ms ? limit_ms : 10000};
    struct http_request with_url = request;

    if (!s->anchors.len)
        trust(s, s->ca);
    url = rogue_url(&s->server, path);
    with_url.url = url;
    return http_post(&with_url, &s->answer, &s->err);
}

static void start(struct scene *s)
{
    if (!s->ca)
        s->ca = rogue_ca_new("Good Root", NULL);
    s->server.ca = s->ca;
    rogue_start(&s->server);
}

static void say_hello(const struct bytes *body, struct bytes *http, void *arg)
{
    struct bytes hello = {0};

    (void)arg;
    bytes_set(&hello, body->data, body->len);
    rogue_http(http, "200 OK",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: 120\r\nLocation: https://elsewhere.example/\r\n", &hello);
    bytes_clear(&hello);
}

TEST(http_post_gives_status_headers_and_body)
{
    CLEANUP(scene_clear) struct scene s = {.server.answer = say_hello};

    start(&s);
    bytes_set(&s.body, "hello", 5);
    assert_ok(post(&s, "x", 0, 0) == 0, s.err);
    assert_int_equal(s.answer.status, 200);
    assert_string_equal(bytes_text(&s.answer.body), "hello");
    assert_string_equal(s.answer.content_type, "application/soap+xml; charset=utf-8");
    assert_true(s.answer.date.set);
    assert_int_equal(s.answer.date.value, 784111777);
    assert_true(s.answer.retry_after.set);
    assert_int_equal(s.answer.retry_after.value, 120);
    assert_string_equal(s.answer.location, "https://elsewhere.example/");
}

static void ask_for_time(const struct bytes *body, struct bytes *http, void *arg)
{
    (void)body;
    rogue_http(http, "503 Service Unavailable", arg, &(struct bytes){0});
}

TEST(http_post_understands_each_form_of_retry_after)
{
    static const struct {
        const char *headers;
        bool set;
        uint32_t seconds;
    } rows[] = {
        {"Retry-After: 120\r\n", true, 120},
        {"retry-after:\t0 \r\n", true, 0},
        {"Retry-After: 4294967295\r\n", true, UINT32_MAX},
        {"Retry-After: 99999999999999999999999\r\n", true, UINT32_MAX},
        {"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 09:49:37 GMT\r\n", true, 3600},
        {"Retry-After: Sun, 06 Nov 1994 09:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true, 3600},
        {"Retry-After: Sun, 06 Nov 1994 09:49:37 GMT\r\n", false, 0}, /* long ago, by our own clock */
        {"Retry-After: -5\r\n", false, 0},
        {"Retry-After: 12x\r\n", false, 0},
        {"Retry-After: soon\r\n", false, 0},
        {"Retry-After:\r\n", false, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *headers = mem_strdup(rows[i].headers);
        CLEANUP(scene_clear) struct scene s = {.server = {.answer = ask_for_time, .arg = headers}};

        start(&s);
        bytes_set(&s.body, "hello", 5);
        assert_ok(post(&s, "x", 0, 0) == 0, s.err);
        assert_int_equal(s.answer.status, 503);
        if (s.answer.retry_after.set != rows[i].set || s.answer.retry_after.value != rows[i].seconds)
            fail_msg("%s: %u", rows[i].headers, s.answer.retry_after.value);
    }
}

/* The exchange must fail for this reason, and nothing of ours be read by the server. */
static void refuses(struct scene *s, enum err_kind kind, const char *text)
{
    bytes_set(&s->body, "secret", 6);
    assert_int_equal(post(s, "x", 0, 0), -1);
    assert_contains(err_text(s->err), text);
    assert_int_equal(err_kind(s->err), kind);
    assert_non_null(err_hint_text(s->err));
    assert_int_equal(s->server.seen->requests, 0);
}

static void start_with_certificate(struct scene *s, const struct rogue_cert *what)
{
    struct rogue_cert full = *what;

    s->ca = rogue_ca_new("Good Root", NULL);
    full.key = rogue_key("P-256");
    s->server.key = full.key;
    s->server.cert = rogue_issue(s->ca, &full);
    start(s);
}

TEST(http_refuses_a_server_certificate_with_the_wrong_name)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start_with_certificate(
        &s, &(struct rogue_cert){.san = "DNS:other.example,DNS:third.example", .ekus = "serverAuth"});
    refuses(&s, ERR_TLS, "is for other.example, third.example, not for localhost");
}

TEST(http_refuses_an_expired_server_certificate)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start_with_certificate(
        &s, &(struct rogue_cert){.san = "DNS:localhost", .ekus = "serverAuth", .from = -7200, .to = -3600});
    refuses(&s, ERR_TLS, "certificate expired on ");
}

TEST(http_refuses_a_server_certificate_that_is_not_valid_yet)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start_with_certificate(
        &s, &(struct rogue_cert){.san = "DNS:localhost", .ekus = "serverAuth", .from = 3600, .to = 7200});
    refuses(&s, ERR_TLS, "certificate not valid before ");
}

TEST(http_refuses_a_server_certificate_of_an_unknown_ca)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start_with_certificate(&s, &(struct rogue_cert){.san = "DNS:localhost", .ekus = "serverAuth"});
    trust(&s, rogue_ca_new("Another Root", NULL));
    refuses(&s, ERR_TLS, "issued by an unknown CA: CN=Good Root");
}

TEST(http_refuses_a_server_certificate_for_another_purpose)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start_with_certificate(&s, &(struct rogue_cert){.san = "DNS:localhost", .ekus = "clientAuth"});
    refuses(&s, ERR_TLS, "serverAuth");
}

TEST(http_refuses_a_server_certificate_without_any_purpose)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start_with_certificate(&s, &(struct rogue_cert){.san = "DNS:localhost", .ekus = ""});
    refuses(&s, ERR_TLS, "serverAuth");
}

TEST(http_takes_a_certificate_for_an_address)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *url = NULL;
    struct http_request request = {.anchors = &s.anchors, .body = &s.body, .answer_limit = 100};

    start_with_certificate(&s, &(struct rogue_cert){.san = "IP:127.0.0.1", .ekus = "serverAuth"});
    trust(&s, s.ca);
    url = mem_printf("https://127.0.0.1:%u/", s.server.port);
    request.url = url;
    assert_ok(http_post(&request, &s.answer, &s.err) == 0, s.err);
    http_answer_clear(&s.answer);
    assert_int_equal(post(&s, "x", 0, 0), -1); /* and not for a name */
    assert_contains(err_text(s.err), "is for 127.0.0.1, not for localhost");
}

TEST(http_ends_with_a_server_that_says_nothing)
{
    CLEANUP(scene_clear) struct scene s = {.server.manner = ROGUE_SILENT};

    start(&s);
    assert_int_equal(post(&s, "x", 700, 0), -1);
    assert_int_equal(err_kind(s.err), ERR_TIMEOUT);
    assert_contains(err_text(s.err), "700 ms went by, 0 bytes came");
    assert_non_null(err_hint_text(s.err));
}

TEST(http_ends_with_a_server_that_drips)
{
    CLEANUP(scene_clear) struct scene s = {.server = {.manner = ROGUE_DRIP, .answer = say_hello}};

    start(&s);
    assert_int_equal(post(&s, "x", 1500, 0), -1);
    assert_int_equal(err_kind(s.err), ERR_TIMEOUT);
    assert_contains(err_text(s.err), "1500 ms went by");
}

TEST(http_tells_of_an_answer_that_is_cut_off)
{
    CLEANUP(scene_clear) struct scene s = {.server = {.manner = ROGUE_CUT, .answer = say_hello}};

    start(&s);
    bytes_set(&s.body,
        "a body of some length, most of which is lost on the way, since the server ends in the middle of "
        "it, which needs enough text to get past the header and well into the body; so here is more of "
        "it, and then some more again to be quite sure about that",
        200);
    assert_int_equal(post(&s, "x", 0, 0), -1);
    assert_int_equal(err_kind(s.err), ERR_NETWORK);
    assert_non_null(err_hint_text(s.err));
}

static void say_much(const struct bytes *body, struct bytes *http, void *arg)
{
    const bool *announced = arg;
    char text[4097];
    struct bytes much = {0};

    (void)body;
    memset(text, 'x', sizeof(text));
    bytes_set(&much, text, sizeof(text));
    if (*announced)
        rogue_http(http, "200 OK", "", &much);
    else
        bytes_printf(
            http, NULL, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%.*s", (int)much.len, (const char *)much.data);
    bytes_clear(&much);
}

TEST(http_refuses_an_answer_over_the_limit)
{
    for (int announced = 0; announced < 2; announced++) {
        bool arg = announced;
        CLEANUP(scene_clear) struct scene s = {.server = {.answer = say_much, .arg = &arg}};

        start(&s);
        assert_int_equal(post(&s, "x", 0, 4096), -1);
        assert_int_equal(err_kind(s.err), ERR_PROTOCOL);
        assert_contains(err_text(s.err), "longer than 4096 bytes");
        assert_non_null(err_hint_text(s.err));
        err_free(TAKE(s.err));
        assert_ok(post(&s, "x", 0, 4097) == 0, s.err);
    }
}

TEST(http_tells_of_a_closed_port)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    assert_int_equal(kill(s.server.pid, SIGKILL), 0);
    assert_int_equal(waitpid(s.server.pid, NULL, 0), s.server.pid);
    assert_int_equal(post(&s, "x", 0, 0), -1);
    assert_int_equal(err_kind(s.err), ERR_NETWORK);
    assert_contains(err_text(s.err), "no connection");
    assert_non_null(err_hint_text(s.err));
}

TEST(http_ignores_a_proxy_in_the_environment)
{
    CLEANUP(scene_clear) struct scene s = {0};

    setenv("https_proxy", "http://127.0.0.1:1/", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
    start(&s);
    assert_ok(post(&s, "x", 0, 0) == 0, s.err);
    assert_int_equal(s.answer.status, 204);
}

TEST(http_ignores_trust_in_the_environment)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *pem = NULL;

    start(&s);
    pem = rogue_ca_pem(s.ca, dir, "root.pem");
    setenv("SSL_CERT_FILE", pem, 1);
    setenv("CURL_CA_BUNDLE", pem, 1);
    trust(&s, rogue_ca_new("Another Root", NULL));
    refuses(&s, ERR_TLS, "issued by an unknown CA");
}

TEST(http_without_an_anchor_is_a_configuration_error)
{
    CLEANUP(scene_clear) struct scene s = {0};

    start(&s);
    bytes_set(&s.anchors, "no certificate", 14);
    assert_int_equal(post(&s, "x", 0, 0), -1);
    assert_int_equal(err_kind(s.err), ERR_CONFIG);
    assert_contains(err_hint_text(s.err), "ca-file");
}

static void url_is(const char *text, const char *whole, const char *host, unsigned port)
{
    CLEANUP(http_url_clear) struct http_url url = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(http_url_parse(text, &url, &err) == 0, err);
    assert_string_equal(url.text, whole);
    assert_string_equal(url.host, host);
    assert_int_equal(url.port, port);
}

TEST(http_url_escapes_blanks_and_nothing_twice)
{
    url_is("https://CES.example/My CA_CES_Kerberos/service.svc/CES",
        "https://CES.example/My%20CA_CES_Kerberos/service.svc/CES", "ces.example", 443);
    url_is("https://ces.example:49999/My%20CA/CES", "https://ces.example:49999/My%20CA/CES", "ces.example", 49999);
    url_is("https://[::1]:444/a", "https://[::1]:444/a", "[::1]", 444);
}

TEST(http_url_is_https_without_a_user)
{
    static const char *const bad[] = {"http://ces.example/", "ftp://ces.example/", "https://user:pw@ces.example/",
        "https://user@ces.example/", "ces.example", "", "https:///path", "file:///etc/passwd", "https://a b.example/"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(http_url_clear) struct http_url url = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        if (http_url_parse(bad[i], &url, &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(err_kind(err), ERR_INVALID);
    }
}
