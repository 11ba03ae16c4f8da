#include "protocol/base/when.h"
#include "protocol/pki/oid.h"
#include "tests/server_client.h"

/* Each test switches one misbehaviour on and sees that it happens: the agent's tests rely on it. */

static void start(struct client *client, const char *key, const char *value)
{
    client->server = server_fixture_new(NULL);
    server_fixture_set(client->server, "misbehave", key, value);
    server_fixture_start(client->server);
    client_reload(client);
}

/* What a good request for DeviceEC is answered with. */
static void submit(struct client *client, EVP_PKEY *key, struct reply *reply)
{
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = WSTEP_PKCS10};
    CLEANUP(bytes_wipe) struct bytes body = {0};

    client_csr(client, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1"}, key, &csr);
    bytes_copy(&request.token, &csr);
    client_write(client, client->server->ces_username, &request, &body);
    client_post(client, client->server->ces_username, body.data, body.len, reply);
}

/* The certificate that a misbehaving CA gives for a good request with @key; returns owned. */
static struct cert *issued(const char *how, EVP_PKEY *key)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct wstep_response response;
    struct cert *cert = NULL;
    struct err *err = NULL;

    start(&client, "issue", how);
    submit(&client, key, &reply);
    assert_int_equal(reply.status, 200);
    assert_ok(wstep_response_parse(reply.message, &response, &err) == 0, err);
    assert_ok(cert_parse(response.certificate.data, response.certificate.len, &cert, &err) == 0, err);
    wstep_response_clear(&response);
    return cert;
}

TEST(issue_changes_one_thing_about_a_certificate)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(pubkey_clear) struct pubkey public = {0};
    CLEANUP(cert_freep) struct cert *ca = issued("ca", key);
    CLEANUP(cert_freep) struct cert *sha1 = issued("sha1", key);
    CLEANUP(cert_freep) struct cert *eku = issued("wrong-eku", key);
    CLEANUP(cert_freep) struct cert *other_root = issued("other-root", key);
    CLEANUP(cert_freep) struct cert *other_key = issued("other-key", key);
    CLEANUP(cert_freep) struct cert *weak = issued("weak", key);
    CLEANUP(cert_freep) struct cert *expired = issued("expired", key);
    CLEANUP(cert_freep) struct cert *future = issued("future", key);
    CLEANUP(cert_freep) struct cert *life = issued("long", key);
    CLEANUP(cert_freep) struct cert *other_template = issued("other-template", key);

    assert_int_equal(pubkey_from_evp(key, &public, NULL), 0);
    assert_true(ca->is_ca);
    assert_true(cert_same_key(ca, &public.spki));
    assert_string_equal(sha1->signature_hash, "SHA1");
    assert_true(cert_has_eku(eku, OID_EKU_CODE_SIGNING));
    assert_false(cert_has_eku(eku, OID_EKU_CLIENT_AUTH));
    assert_string_equal(other_root->issuer, "CN=Unknown Root CA");
    assert_false(cert_same_key(other_key, &public.spki));
    assert_int_equal(weak->key.bits, 1024);
    assert_true(expired->not_after < when_now());
    assert_true(future->not_before > when_now());
    assert_true(life->not_after > when_now() + 9 * 365 * (int64_t)WHEN_DAY);
    assert_string_equal(other_template->template.oid, "1.3.6.1.4.1.311.21.8.1.2.3.4");
}

/* The reply to a good request under one misbehaviour. */
static void misbehave(const char *key, const char *value, struct reply *reply)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *pair = client_key("p256");

    start(&client, key, value);
    submit(&client, pair, reply);
}

TEST(status_takes_the_place_of_an_answer)
{
    CLEANUP(reply_clear) struct reply reply = {0};

    misbehave("status", "503", &reply);
    assert_int_equal(reply.status, 503);
    assert_null(reply.message);
}

TEST(redirect_takes_the_place_of_an_answer)
{
    CLEANUP(reply_clear) struct reply reply = {0};

    misbehave("redirect", "https://elsewhere.example/", &reply);
    assert_int_equal(reply.status, 307);
}

TEST(answers_are_cut_malformed_padded_or_declared)
{
    CLEANUP(reply_clear) struct reply cut = {0};
    CLEANUP(reply_clear) struct reply malformed = {0};
    CLEANUP(reply_clear) struct reply doctype = {0};
    CLEANUP(reply_clear) struct reply oversize = {0};

    misbehave("cut-answer", "yes", &cut);
    assert_int_equal(cut.status, 0);
    assert_true(cut.body.len > 0);
    misbehave("malformed", "yes", &malformed);
    assert_int_equal(malformed.status, 200);
    assert_null(malformed.message);
    misbehave("doctype", "yes", &doctype);
    assert_contains(bytes_text(&doctype.body), "<!DOCTYPE");
    assert_null(doctype.message);
    misbehave("oversize", "6000000", &oversize);
    assert_int_equal(oversize.body.len, 6000000);
}

TEST(answer_relates_to_another_message)
{
    CLEANUP(reply_clear) struct reply wrong = {0};
    CLEANUP(reply_clear) struct reply none = {0};

    misbehave("wrong-relates-to", "yes", &wrong);
    assert_int_equal(wrong.status, 200);
    assert_contains(soap_message_header(wrong.message)->relates_to, "urn:uuid:");
    misbehave("no-relates-to", "yes", &none);
    assert_null(soap_message_header(none.message)->relates_to);
}

TEST(answer_is_lost_after_the_certificate_was_issued)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(reply_clear) struct reply reply = {0};

    start(&client, "lose-after-issue", "yes");
    submit(&client, key, &reply);
    assert_int_equal(reply.status, 0);
    assert_int_equal(server_fixture_number(client.server, "SELECT count(*) FROM certificates"), 1);
}

TEST(slow_answer_comes_in_the_end)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(reply_clear) struct reply reply = {0};

    start(&client, "slow", "1s");
    submit(&client, key, &reply);
    assert_int_equal(reply.status, 200);
}

TEST(slow_answer_does_not_keep_the_server_from_stopping)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(client_raw_closep) struct raw *raw = NULL;
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = WSTEP_PKCS10};
    CLEANUP(bytes_wipe) struct bytes body = {0};
    CLEANUP(bytes_wipe) struct bytes text = {0};

    start(&client, "slow", "1h");
    client_csr(&client, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1"}, key, &csr);
    bytes_copy(&request.token, &csr);
    client_write(&client, client.server->ces_username, &request, &body);
    assert_int_equal(bytes_printf(&text, NULL,
                         "POST /Example%%20Issuing%%20CA_CES_UsernamePassword/service.svc/CES HTTP/1.1\r\nHost: x\r\n"
                         "Content-Type: application/soap+xml\r\nContent-Length: %zu\r\n\r\n%s",
                         body.len, bytes_text(&body)),
        0);
    raw = client_raw_open(&client);
    assert_true(client_raw_write(raw, text.data, text.len));
    while (server_fixture_number(client.server, "SELECT count(*) FROM certificates") == 0)
        ;
    server_fixture_stop(client.server);
}

TEST(every_second_request_only)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    long expected[] = {503, 200, 503, 200};

    client.server = server_fixture_new(NULL);
    server_fixture_set(client.server, "misbehave", "status", "503");
    server_fixture_set(client.server, "misbehave", "every", "2");
    server_fixture_start(client.server);
    client_reload(&client);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        CLEANUP(reply_clear) struct reply reply = {0};

        submit(&client, key, &reply);
        assert_int_equal(reply.status, expected[i]);
    }
}

/* The policy under one misbehaviour, as our own codec reads it; its return value. */
static int policy(const char *how, struct xcep_response *response)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(soap_header_clear) struct soap_header header = {.action = mem_strdup(XCEP_ACTION_REQUEST)};
    CLEANUP(secret_freep) struct secret *secret = secret_copy(SERVER_FIXTURE_PASSWORD, strlen(SERVER_FIXTURE_PASSWORD));
    CLEANUP(wsse_security_clear) struct wsse_security security = {0};
    CLEANUP(bytes_wipe) struct bytes body = {0};
    struct xcep_request request = {.has_filter = true, .client_version = {true, 0}, .server_version = {true, 0}};

    start(&client, "policy", how);
    wsse_security_init(&security, SERVER_FIXTURE_USER, secret, when_now());
    assert_int_equal(xcep_request_write(&header, &security, &request, &body, NULL), 0);
    client_post(&client, client.server->cep_username, body.data, body.len, &reply);
    assert_int_equal(reply.status, 200);
    return xcep_response_parse(reply.message, response, NULL);
}

TEST(policy_is_wrong_in_one_way)
{
    CLEANUP(xcep_response_clear) struct xcep_response dangling = {0};
    CLEANUP(xcep_response_clear) struct xcep_response evil = {0};
    CLEANUP(xcep_response_clear) struct xcep_response empty = {0};
    CLEANUP(xcep_response_clear) struct xcep_response foreign = {0};
    CLEANUP(xcep_response_clear) struct xcep_response other_id = {0};
    CLEANUP(xcep_response_clear) struct xcep_response duplicate = {0};

    assert_int_equal(policy("dangling", &dangling), 0);
    assert_int_equal(dangling.skipped.n, 1);
    assert_int_equal(dangling.n_policies, 4);
    assert_int_equal(policy("evil-names", &evil), 0);
    assert_string_equal(evil.policies[0].common_name, "../../x");
    assert_int_equal(policy("empty", &empty), 0);
    assert_int_equal(empty.n_policies, 0);
    assert_int_equal(policy("foreign-ces", &foreign), 0);
    assert_contains(foreign.cas[0].uris[0].uri, "https://ces.attacker.example/");
    assert_int_equal(policy("other-id", &other_id), 0);
    assert_string_equal(other_id.policy_id, "{00000000-0000-0000-0000-00000000BAD0}");
    assert_int_equal(policy("duplicate", &duplicate), -1);
}
