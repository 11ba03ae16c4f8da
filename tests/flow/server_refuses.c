#include <openssl/ssl.h>

#include "protocol/base/when.h"
#include "protocol/pki/cmc.h"
#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "tests/server_client.h"

/* Each test sends one request with one thing wrong, names the refusal, and sees that nothing was issued. */

/* A good request for DeviceEC, for tests where something around it is wrong. */
static void good_request(struct client *client, struct bytes *csr)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");

    client_csr(client, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1"}, key, csr);
}

static void submit_good(struct client *client, const char *url, struct reply *reply)
{
    CLEANUP(bytes_clear) struct bytes csr = {0};

    good_request(client, &csr);
    client_mark(client);
    client_submit(client, url, &csr, reply);
}

/* Submits with the password what @ask says, with a new key of @kind. */
static void submit_ask(struct client *client, const struct ask *ask, const char *kind, struct reply *reply)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key(kind);
    CLEANUP(bytes_clear) struct bytes csr = {0};

    client_csr(client, ask, key, &csr);
    client_mark(client);
    client_submit(client, client->server->ces_username, &csr, reply);
}

/* What a good renewal of @old is signed as. */
static void good_renewal(struct client *client, const struct identity *old, struct bytes *cmc)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    struct ask ask = {.template_oid = "DeviceEC", .subject = old->cert->subject, .old = old->cert};

    client_csr(client, &ask, key, &csr);
    client_renewal(&csr, key, old, cmc);
}

/* Renews in key-based mode with the connection of @tls. */
static void submit_renewal(
    struct client *client, const struct identity *tls, const struct bytes *payload, struct reply *reply)
{
    client->tls = tls;
    client_mark(client);
    client_submit(client, client->server->ces_certificate, payload, reply);
}

/* A client with one certificate of DeviceEC. */
static void start_with_device(struct client *client, struct identity *device)
{
    client_start(client, NULL);
    client_enroll(client, "DeviceEC", "CN=device1", device);
}

TEST(wrong_password)
{
    CLEANUP(client_clear) struct client client = {.password = "wrong horse"};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_SENDER, FAILED_AUTHENTICATION, 0);
    client_assert_no_certificate(&client);
}

TEST(unknown_user)
{
    CLEANUP(client_clear) struct client client = {.user = "mallory"};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_SENDER, FAILED_AUTHENTICATION, 0);
    client_assert_no_certificate(&client);
}

TEST(wrong_password_and_unknown_user_look_the_same)
{
    CLEANUP(client_clear) struct client client = {.password = "wrong horse"};
    CLEANUP(reply_clear) struct reply wrong = {0};
    CLEANUP(reply_clear) struct reply unknown = {0};

    client_start(&client, NULL);
    submit_good(&client, client.server->ces_username, &wrong);
    client.user = "mallory";
    submit_good(&client, client.server->ces_username, &unknown);
    assert_string_equal(soap_message_fault(wrong.message)->reason, soap_message_fault(unknown.message)->reason);
    assert_int_equal(wrong.body.len, unknown.body.len);
}

TEST(wrong_password_for_the_policy)
{
    CLEANUP(client_clear) struct client client = {.password = "wrong horse"};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(xcep_response_clear) struct xcep_response policy = {0};

    client_start(&client, NULL);
    client_policy(&client, client.server->cep_username, &reply, &policy);
    assert_fault(&reply, 500, SOAP_SENDER, FAILED_AUTHENTICATION, 0);
}

TEST(password_that_was_changed_meanwhile)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply before = {0};
    CLEANUP(reply_clear) struct reply after = {0};

    client_start(&client, NULL);
    submit_good(&client, client.server->ces_username, &before);
    assert_issued(&before);
    assert_int_equal(
        testing_shell(NULL, "echo another | '%s/autoenroll-server-ref' user add '%s' '%s' --password-file -",
            getenv("AE_BIN"), client.server->dir, SERVER_FIXTURE_USER),
        0);
    submit_good(&client, client.server->ces_username, &after);
    assert_fault(&after, 500, SOAP_SENDER, FAILED_AUTHENTICATION, 0);
    client_assert_no_certificate(&client);
}

TEST(stale_timestamp)
{
    CLEANUP(client_clear) struct client client = {.clock_offset = -WHEN_HOUR};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_SENDER, INVALID_SECURITY, 0);
    client_assert_no_certificate(&client);
}

TEST(timestamp_from_the_future)
{
    CLEANUP(client_clear) struct client client = {.clock_offset = WHEN_HOUR};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_SENDER, INVALID_SECURITY, 0);
    client_assert_no_certificate(&client);
}

TEST(no_client_certificate)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_good(&client, client.server->ces_certificate, &reply);
    assert_fault(&reply, 403, SOAP_SENDER, FAILED_AUTHENTICATION, (uint32_t)E_ACCESSDENIED);
    client_assert_no_certificate(&client);
}

TEST(client_certificate_of_another_ca)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(client_clear) struct client elsewhere = {0};
    CLEANUP(identity_clear) struct identity foreign = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&elsewhere, &foreign);
    client_start(&client, NULL);
    good_renewal(&client, &foreign, &renewal);
    submit_renewal(&client, &foreign, &renewal, &reply);
    assert_fault(&reply, 403, SOAP_SENDER, FAILED_AUTHENTICATION, (uint32_t)CERT_E_UNTRUSTEDROOT);
    client_assert_no_certificate(&client);
}

TEST(client_certificate_with_the_right_signature_that_was_never_issued)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity forged = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    client_forge(&client, "DeviceEC", "CN=device1", when_now() - WHEN_HOUR, when_now() + WHEN_DAY, &forged);
    good_renewal(&client, &forged, &renewal);
    submit_renewal(&client, &forged, &renewal, &reply);
    assert_fault(&reply, 403, SOAP_SENDER, FAILED_AUTHENTICATION, (uint32_t)CERT_E_UNTRUSTEDROOT);
    client_assert_no_certificate(&client);
}

TEST(expired_client_certificate)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    client_forge(&client, "DeviceEC", "CN=device1", when_now() - WHEN_DAY, when_now() - WHEN_HOUR, &old);
    client_import(&client, old.cert);
    good_renewal(&client, &old, &renewal);
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 403, SOAP_SENDER, FAILED_AUTHENTICATION, (uint32_t)CERT_E_EXPIRED);
    client_assert_no_certificate(&client);
}

TEST(revoked_client_certificate)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &old);
    assert_int_equal(
        server_fixture_run(client.server, NULL, "revoke", "%s --reason keyCompromise", old.cert->serial), 0);
    good_renewal(&client, &old, &renewal);
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 403, SOAP_SENDER, FAILED_AUTHENTICATION, (uint32_t)CRYPT_E_REVOKED);
    client_assert_no_certificate(&client);
}

TEST(policy_for_a_revoked_client_certificate)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(xcep_response_clear) struct xcep_response policy = {0};

    start_with_device(&client, &old);
    assert_int_equal(server_fixture_run(client.server, NULL, "revoke", "%s", old.cert->serial), 0);
    client.tls = &old;
    client_policy(&client, client.server->cep_certificate, &reply, &policy);
    assert_fault(&reply, 403, SOAP_SENDER, FAILED_AUTHENTICATION, 0);
}

TEST(new_request_to_a_renewal_only_instance)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity device = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &device);
    client.tls = &device;
    submit_good(&client, client.server->ces_certificate, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)ERROR_NOT_SUPPORTED);
    client_assert_no_certificate(&client);
}

TEST(renewal_without_the_renewal_attribute)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes cms = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct cms_signer signer = {.hash = "SHA256"};
    struct err *err = NULL;

    start_with_device(&client, &old);
    good_request(&client, &csr);
    signer.key = old.key;
    signer.cert = old.cert;
    assert_ok(cms_sign(OID_DATA, &csr, NULL, &signer, 1, &cms, &err) == 0, err);
    submit_renewal(&client, &old, &cms, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)ERROR_NOT_SUPPORTED);
    client_assert_no_certificate(&client);
}

TEST(renewal_of_a_lookalike_with_the_same_serial)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity victim = {0};
    CLEANUP(identity_clear) struct identity lookalike = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply by_password = {0};
    CLEANUP(reply_clear) struct reply by_key = {0};
    CLEANUP(reply_clear) struct reply by_connection = {0};

    start_with_device(&client, &victim);
    client_lookalike(victim.cert, &lookalike);
    assert_string_equal(lookalike.cert->serial, victim.cert->serial);
    good_renewal(&client, &lookalike, &renewal);
    client_mark(&client);
    client_submit(&client, client.server->ces_username, &renewal, &by_password);
    assert_fault(&by_password, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
    submit_renewal(&client, &victim, &renewal, &by_key);
    assert_fault(&by_key, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
    submit_renewal(&client, &lookalike, &renewal, &by_connection);
    assert_fault(&by_connection, 403, SOAP_SENDER, FAILED_AUTHENTICATION, (uint32_t)CERT_E_UNTRUSTEDROOT);
    client_assert_no_certificate(&client);
}

TEST(renewal_whose_tls_certificate_is_not_the_signer)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity mine = {0};
    CLEANUP(identity_clear) struct identity other = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &mine);
    client_enroll(&client, "DeviceEC", "CN=device2", &other);
    good_renewal(&client, &other, &renewal);
    submit_renewal(&client, &mine, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)E_ACCESSDENIED);
    client_assert_no_certificate(&client);
}

TEST(renewal_with_a_wrong_outer_signature)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &old);
    good_renewal(&client, &old, &renewal);
    renewal.data[renewal.len - 1] ^= 1; /* of the last signature: the SignerInfos end the message */
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)NTE_BAD_SIGNATURE);
    client_assert_no_certificate(&client);
}

/* The attribute names the victim; the message is signed by a certificate that only has its name and number. */
TEST(renewal_signed_by_another_key_than_that_of_its_certificate)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity victim = {0};
    CLEANUP(identity_clear) struct identity lookalike = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct ask ask = {.template_oid = "DeviceEC", .subject = "CN=device1"};
    struct cms_signer signer = {.hash = "SHA256"};
    struct err *err = NULL;

    start_with_device(&client, &victim);
    client_lookalike(victim.cert, &lookalike);
    ask.old = victim.cert;
    client_csr(&client, &ask, key, &csr);
    signer.key = lookalike.key;
    signer.cert = lookalike.cert;
    assert_ok(cms_sign(OID_DATA, &csr, NULL, &signer, 1, &renewal, &err) == 0, err);
    client_mark(&client);
    client_submit(&client, client.server->ces_username, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE);
    client_assert_no_certificate(&client);
}

/* Builds a renewal of @old by @key for @subject, whose PKCS#10 has @len bytes (0: as many as it comes to). */
static size_t renewal_of_length(struct client *client, const struct identity *old, EVP_PKEY *key, const char *subject,
    size_t len, struct bytes *out)
{
    CLEANUP(bytes_clear) struct bytes csr = {0};
    struct ask ask = {.template_oid = "DeviceEC", .subject = subject, .old = old->cert};

    do { /* an ECDSA signature is not always as long */
        client_csr(client, &ask, key, &csr);
    } while (len && csr.len != len);
    client_renewal(&csr, key, old, out);
    return csr.len;
}

/* Two renewals by the same keys with contents of one length; the second's content takes the place of the first's. */
TEST(renewal_whose_signed_bytes_are_not_the_processed_bytes)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(bytes_clear) struct bytes signed_one = {0};
    CLEANUP(bytes_clear) struct bytes other = {0};
    CLEANUP(cms_freep) struct cms *first = NULL;
    CLEANUP(cms_freep) struct cms *second = NULL;
    CLEANUP(reply_clear) struct reply reply = {0};
    struct err *err = NULL;
    uint8_t *content;
    size_t len;

    start_with_device(&client, &old);
    len = renewal_of_length(&client, &old, key, "CN=device1", 0, &signed_one);
    renewal_of_length(&client, &old, key, "CN=device2", len, &other);
    assert_ok(cms_parse(signed_one.data, signed_one.len, &first, &err) == 0, err);
    assert_ok(cms_parse(other.data, other.len, &second, &err) == 0, err);
    assert_int_equal(first->content.len, second->content.len);
    content = memmem(signed_one.data, signed_one.len, first->content.data, first->content.len);
    assert_non_null(content);
    memcpy(content, second->content.data, second->content.len);
    submit_renewal(&client, &old, &signed_one, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CRYPT_E_HASH_VALUE);
    client_assert_no_certificate(&client);
}

TEST(renewal_to_another_template)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("rsa2048");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct ask ask = {.template_oid = "Workstation", .subject = "CN=device1"};

    start_with_device(&client, &old);
    ask.old = old.cert;
    client_csr(&client, &ask, key, &csr);
    client_renewal(&csr, key, &old, &renewal);
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_TEMPLATE_CONFLICT);
    client_assert_no_certificate(&client);
}

TEST(renewal_with_another_subject)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct ask ask = {.template_oid = "DeviceEC", .subject = "CN=administrator"};

    start_with_device(&client, &old);
    ask.old = old.cert;
    client_csr(&client, &ask, key, &csr);
    client_renewal(&csr, key, &old, &renewal);
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_BAD_RENEWAL_SUBJECT);
    client_assert_no_certificate(&client);
}

TEST(renewal_of_an_expired_certificate_with_a_password)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    client_forge(&client, "DeviceEC", "CN=device1", when_now() - WHEN_DAY, when_now() - WHEN_HOUR, &old);
    client_import(&client, old.cert);
    good_renewal(&client, &old, &renewal);
    client_mark(&client);
    client_submit(&client, client.server->ces_username, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERT_E_EXPIRED);
    client_assert_no_certificate(&client);
}

TEST(renewal_of_a_revoked_certificate_with_a_password)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &old);
    assert_int_equal(server_fixture_run(client.server, NULL, "revoke", "%s", old.cert->serial), 0);
    good_renewal(&client, &old, &renewal);
    client_mark(&client);
    client_submit(&client, client.server->ces_username, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CRYPT_E_REVOKED);
    client_assert_no_certificate(&client);
}

TEST(renewal_on_behalf_of_where_the_ca_does_not_allow_it)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &old);
    server_fixture_set(client.server, "ca", "EditFlags", "EDITF_ENABLEDEFAULTSMIME");
    client_restart(&client);
    good_renewal(&client, &old, &renewal);
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_BAD_RENEWAL_SUBJECT);
    client_assert_no_certificate(&client);
}

TEST(renewal_by_key_of_a_template_that_is_not_for_it)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &old);
    server_fixture_set(client.server, "template \"DeviceEC\"", "EnrollmentFlags", "0x60");
    server_fixture_set(client.server, "template \"DeviceEC\"", "Enroll", "somebody");
    client_restart(&client);
    good_renewal(&client, &old, &renewal);
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_TEMPLATE_DENIED);
    client_assert_no_certificate(&client);
}

TEST(renewal_with_a_new_key_where_the_template_wants_the_same)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    start_with_device(&client, &old);
    server_fixture_set(client.server, "template \"DeviceEC\"", "PrivateKeyFlags", "0x80");
    client_restart(&client);
    good_renewal(&client, &old, &renewal);
    submit_renewal(&client, &old, &renewal, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_RENEWAL_BAD_PUBLIC_KEY);
    client_assert_no_certificate(&client);
}

TEST(pkcs10_with_a_bad_self_signature)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    good_request(&client, &csr);
    csr.data[csr.len - 1] ^= 1;
    client_mark(&client);
    client_submit(&client, client.server->ces_username, &csr, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)NTE_BAD_SIGNATURE);
    client_assert_no_certificate(&client);
}

TEST(pkcs10_that_is_cut_short)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    good_request(&client, &csr);
    csr.len -= 9;
    client_mark(&client);
    client_submit(&client, client.server->ces_username, &csr, &reply);
    assert_int_equal(reply.status, 500);
    assert_int_equal(soap_message_fault(reply.message)->code, SOAP_RECEIVER);
    client_assert_no_certificate(&client);
}

TEST(key_too_short)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_ask(&client, &(struct ask){.template_oid = "Workstation", .subject = "CN=ws1"}, "rsa1024", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_KEY_LENGTH);
    client_assert_no_certificate(&client);
}

TEST(key_of_another_kind)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_ask(&client, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1"}, "p384", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)NTE_BAD_ALGID);
    client_assert_no_certificate(&client);
}

TEST(unknown_template)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_ask(&client, &(struct ask){.template_name = "Nonsense", .subject = "CN=ws1"}, "rsa2048", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_UNSUPPORTED_CERT_TYPE);
    client_assert_no_certificate(&client);
}

TEST(no_template)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_ask(&client, &(struct ask){.subject = "CN=ws1"}, "rsa2048", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_NO_CERT_TYPE);
    client_assert_no_certificate(&client);
}

TEST(two_templates)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct ask ask = {.template_oid = "Workstation", .template_name = "Machine", .subject = "CN=ws1"};

    client_start(&client, NULL);
    submit_ask(&client, &ask, "rsa2048", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_TEMPLATE_CONFLICT);
    client_assert_no_certificate(&client);
}

TEST(second_template_in_the_additional_context)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = WSTEP_PKCS10};

    client_start(&client, NULL);
    good_request(&client, &request.token);
    wstep_request_add_context(&request, "certificatetemplate", "Machine");
    client_mark(&client);
    client_request(&client, client.server->ces_username, &request, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_TEMPLATE_CONFLICT);
    client_assert_no_certificate(&client);
}

TEST(newer_template_version)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct ask ask = {.template_oid = "DeviceEC", .major = 101, .subject = "CN=device1"};

    client_start(&client, NULL);
    submit_ask(&client, &ask, "p256", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_BAD_TEMPLATE_VERSION);
    client_assert_no_certificate(&client);
}

TEST(template_without_permission)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    server_fixture_set(client.server, "template \"DeviceEC\"", "Enroll", "bob, carol");
    client_restart(&client);
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_TEMPLATE_DENIED);
    client_assert_no_certificate(&client);
}

TEST(ca_without_permission)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    server_fixture_set(client.server, "ca", "RequestCertificates", "bob");
    client_restart(&client);
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_ENROLL_DENIED);
    client_assert_no_certificate(&client);
}

TEST(empty_subject_where_the_request_supplies_it)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_ask(&client, &(struct ask){.template_oid = "DeviceEC", .dns = "device1.example"}, "p256", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_BAD_REQUESTSUBJECT);
    client_assert_no_certificate(&client);
}

TEST(account_without_a_host_name)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    server_fixture_set(client.server, "ca", "Domain", NULL);
    client_restart(&client);
    submit_ask(&client, &(struct ask){.template_name = "Machine"}, "rsa2048", &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_SUBJECT_DNS_REQUIRED);
    client_assert_no_certificate(&client);
}

TEST(template_that_wants_an_authority_to_countersign)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    server_fixture_set(client.server, "template \"DeviceEC\"", "RASignatures", "1");
    client_restart(&client);
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_SIGNATURE_POLICY_REQUIRED);
    client_assert_no_certificate(&client);
}

/* Posts a good Issue in which @from was replaced by @to after it was written. */
static void submit_changed(struct client *client, const char *from, const char *to, struct reply *reply)
{
    CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = WSTEP_PKCS10};
    CLEANUP(bytes_wipe) struct bytes body = {0};

    good_request(client, &request.token);
    wstep_request_add_context(&request, "ccm", "client.example");
    client_write(client, client->server->ces_username, &request, &body);
    client_replace(&body, from, to);
    client_mark(client);
    client_post(client, client->server->ces_username, body.data, body.len, reply);
}

TEST(newline_in_additional_context)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply line_feed = {0};
    CLEANUP(reply_clear) struct reply in_name = {0};

    client_start(&client, NULL);
    submit_changed(&client, "client.example", "client.example&#10;SAN:dns=evil.example", &line_feed);
    assert_fault(&line_feed, 500, SOAP_SENDER, DESERIALIZATION_FAILED, 0);
    submit_changed(&client, "\"ccm\"", "\"ccm&#10;SAN\"", &in_name);
    assert_fault(&in_name, 500, SOAP_SENDER, DESERIALIZATION_FAILED, 0);
    client_assert_no_certificate(&client);
}

TEST(alternative_name_in_the_additional_context_is_ignored)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = WSTEP_PKCS10};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    struct err *err = NULL;

    client_start(&client, NULL);
    good_request(&client, &request.token);
    wstep_request_add_context(&request, "SAN", "dns=evil.example");
    client_request(&client, client.server->ces_username, &request, &reply);
    assert_issued(&reply);
    assert_ok(cert_parse(reply.wstep.certificate.data, reply.wstep.certificate.len, &cert, &err) == 0, err);
    assert_int_equal(cert->san.n, 0);
}

TEST(somebody_elses_request_id)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply mine = {0};
    CLEANUP(reply_clear) struct reply foreign = {0};
    CLEANUP(reply_clear) struct reply unknown = {0};

    client_start(&client, NULL);
    submit_ask(&client, &(struct ask){.template_oid = "Approved", .subject = "CN=patient"}, "rsa2048", &mine);
    assert_pending(&mine);
    assert_int_equal(
        server_fixture_run(client.server, NULL, "user add", "bob --password-file '%s'", client.server->password_file),
        0);
    client.user = "bob";
    client_query(&client, client.server->ces_username, mine.wstep.request_id, &foreign);
    assert_fault(&foreign, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_PROPERTY_EMPTY);
    client_query(&client, client.server->ces_username, "4711", &unknown);
    assert_fault(&unknown, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_PROPERTY_EMPTY);
    assert_string_equal(soap_message_fault(foreign.message)->reason, soap_message_fault(unknown.message)->reason);
}

TEST(somebody_elses_request_id_in_key_based_mode)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity mine = {0};
    CLEANUP(identity_clear) struct identity other = {0};
    CLEANUP(bytes_clear) struct bytes renewal = {0};
    CLEANUP(reply_clear) struct reply pending = {0};
    CLEANUP(reply_clear) struct reply foreign = {0};
    CLEANUP(reply_clear) struct reply own = {0};

    start_with_device(&client, &mine);
    client_enroll(&client, "DeviceEC", "CN=device2", &other);
    server_fixture_set(client.server, "template \"DeviceEC\"", "EnrollmentFlags", "0x2");
    client_restart(&client);
    good_renewal(&client, &mine, &renewal);
    submit_renewal(&client, &mine, &renewal, &pending);
    assert_pending(&pending);
    client.tls = &other;
    client_query(&client, client.server->ces_certificate, pending.wstep.request_id, &foreign);
    assert_fault(&foreign, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_PROPERTY_EMPTY);
    client.tls = &mine;
    client_query(&client, client.server->ces_certificate, pending.wstep.request_id, &own);
    assert_pending(&own);
}

TEST(request_id_that_is_no_number)
{
    static const char *const ids[] = {"0", "-1", "01", "1 OR 1=1", "999999999999999999999999", "1043x"};
    CLEANUP(client_clear) struct client client = {0};

    client_start(&client, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        CLEANUP(reply_clear) struct reply reply = {0};

        client_query(&client, client.server->ces_username, ids[i], &reply);
        assert_fault(&reply, 500, SOAP_RECEIVER, NONE, (uint32_t)CERTSRV_E_PROPERTY_EMPTY);
    }
}

/* Posts text that is no message. */
static void post_text(struct client *client, const struct bytes *text, struct reply *reply)
{
    client_mark(client);
    client_post(client, client->server->ces_username, text->data, text->len, reply);
}

TEST(doctype)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_changed(&client, "?>", "?><!DOCTYPE s:Envelope SYSTEM \"http://127.0.0.1/x.dtd\">", &reply);
    assert_fault(&reply, 400, SOAP_SENDER, DESERIALIZATION_FAILED, 0);
    client_assert_no_certificate(&client);
}

TEST(entity)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply external = {0};
    CLEANUP(reply_clear) struct reply undefined = {0};

    client_start(&client, NULL);
    submit_changed(&client, "?>", "?><!DOCTYPE e [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>", &external);
    assert_fault(&external, 400, SOAP_SENDER, DESERIALIZATION_FAILED, 0);
    submit_changed(&client, "client.example", "&x;", &undefined);
    assert_fault(&undefined, 400, SOAP_SENDER, DESERIALIZATION_FAILED, 0);
    client_assert_no_certificate(&client);
}

TEST(deep_xml)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    client_start(&client, NULL);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(bytes_append_text(&text, "<a>", NULL), 0);
    post_text(&client, &text, &reply);
    assert_fault(&reply, 400, SOAP_SENDER, DESERIALIZATION_FAILED, 0);
}

static void start_with_short_deadline(struct client *client)
{
    client->server = server_fixture_new(NULL);
    server_fixture_set(client->server, "limits", "Deadline", "2s");
    server_fixture_start(client->server);
    client_reload(client);
}

static void assert_still_serves(struct client *client)
{
    CLEANUP(reply_clear) struct reply reply = {0};

    submit_good(client, client->server->ces_username, &reply);
    assert_issued(&reply);
}

static const char head[] = "POST /Example%20Issuing%20CA_CES_UsernamePassword/service.svc/CES HTTP/1.1\r\n"
                           "Host: localhost\r\nContent-Type: application/soap+xml\r\n";

TEST(body_that_never_ends)
{
    static const char chunk[] = "1000\r\n";
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(client_raw_closep) struct raw *raw = NULL;
    char filler[4096 + 2];
    size_t sent = 0;

    start_with_short_deadline(&client);
    raw = client_raw_open(&client);
    memset(filler, ' ', sizeof(filler));
    memcpy(filler + 4096, "\r\n", 2);
    assert_true(client_raw_write(raw, head, strlen(head)));
    assert_true(client_raw_write(raw, "Transfer-Encoding: chunked\r\n\r\n", 30));
    while (client_raw_write(raw, chunk, strlen(chunk)) && client_raw_write(raw, filler, sizeof(filler)) &&
           sent < (64u << 20))
        sent += 4096;
    assert_true(sent < (64u << 20));
    assert_still_serves(&client);
}

TEST(body_that_stops_short)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(client_raw_closep) struct raw *raw = NULL;
    CLEANUP(bytes_clear) struct bytes answer = {0};

    start_with_short_deadline(&client);
    raw = client_raw_open(&client);
    assert_true(client_raw_write(raw, head, strlen(head)));
    assert_true(client_raw_write(raw, "Content-Length: 1000\r\n\r\n<s", 26));
    client_raw_read(raw, &answer);
    assert_int_equal(answer.len, 0);
    assert_still_serves(&client);
}

TEST(one_byte_a_second)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(client_raw_closep) struct raw *raw = NULL;
    size_t sent = 0;

    start_with_short_deadline(&client);
    raw = client_raw_open(&client);
    while (sent < strlen(head) && client_raw_write(raw, head + sent, 1)) {
        struct timespec pause = {.tv_nsec = 250 * 1000000L};

        sent++;
        nanosleep(&pause, NULL);
    }
    assert_true(sent < strlen(head)); /* each byte starts the idle timeout anew; only the deadline ends it */
    assert_still_serves(&client);
}

TEST(unknown_must_understand_header)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_changed(&client, "<s:Header>", "<s:Header><x:Route xmlns:x=\"urn:x\" s:mustUnderstand=\"1\"/>", &reply);
    assert_fault(&reply, 500, SOAP_MUST_UNDERSTAND, NONE, 0);
    client_assert_no_certificate(&client);
}

TEST(wrong_action)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    client.action = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RST/renew";
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_SENDER, ACTION_NOT_SUPPORTED, 0);
    client_assert_no_certificate(&client);
}

TEST(action_of_another_request_type)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    client.action = WSTEP_ACTION_KET_REQUEST;
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_SENDER, ACTION_NOT_SUPPORTED, 0);
    client_assert_no_certificate(&client);
}

TEST(message_to_another_service)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    client.to = client.server->cep_username;
    submit_good(&client, client.server->ces_username, &reply);
    assert_fault(&reply, 500, SOAP_SENDER, DESTINATION_UNREACHABLE, 0);
    client_assert_no_certificate(&client);
}

TEST(another_soap_version)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_changed(&client, SOAP_NS, "http://schemas.xmlsoap.org/soap/envelope/", &reply);
    assert_fault(&reply, 500, SOAP_VERSION_MISMATCH, NONE, 0);
    client_assert_no_certificate(&client);
}

TEST(renew_as_a_request_type)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    submit_changed(&client, "ws-trust/200512/Issue", "ws-trust/200512/Renew", &reply);
    assert_fault(&reply, 500, SOAP_SENDER, DESERIALIZATION_FAILED, 0);
    client_assert_no_certificate(&client);
}

/* Sends @text over a connection of its own and checks the beginning of the answer. */
static void assert_raw(struct client *client, const char *text, const char *answer)
{
    CLEANUP(client_raw_closep) struct raw *raw = client_raw_open(client);
    CLEANUP(bytes_clear) struct bytes got = {0};

    assert_true(client_raw_write(raw, text, strlen(text)));
    client_raw_read(raw, &got);
    assert_contains(bytes_text(&got), answer);
}

TEST(huge_xml)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(mem_freep) char *announced = NULL;

    client_start(&client, NULL);
    announced = mem_printf("%sContent-Length: %u\r\n\r\n", head, client.config->limits.body + 1);
    assert_raw(&client, announced, "HTTP/1.1 413");
    assert_int_equal(bytes_append_text(&text, "<a>", NULL), 0);
    while (text.len <= client.config->limits.body)
        assert_int_equal(bytes_append_text(&text, "<b>0123456789012345678901234567890123456789</b>", NULL), 0);
    post_text(&client, &text, &reply);
    assert_true(reply.status == 413 || reply.status == 0); /* hung up before the client had sent all of it */
    assert_still_serves(&client);
}

#define CES_PATH "/Example%20Issuing%20CA_CES_UsernamePassword/service.svc/CES"

TEST(http_that_is_not_a_soap_request)
{
    CLEANUP(client_clear) struct client client = {0};

    client_start(&client, NULL);
    assert_raw(&client, "GET " CES_PATH " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405");
    assert_raw(&client, "POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404");
    assert_raw(&client, "POST " CES_PATH "/.. HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404");
    assert_raw(&client, "POST " CES_PATH "%00 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404");
    assert_raw(&client, "POST " CES_PATH " HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 415");
}

TEST(two_content_lengths)
{
    CLEANUP(client_clear) struct client client = {0};

    client_start(&client, NULL);
    assert_raw(&client,
        "POST " CES_PATH " HTTP/1.1\r\nHost: x\r\nContent-Type: application/soap+xml\r\n"
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\n<a>",
        "HTTP/1.1 400");
    assert_raw(&client,
        "POST " CES_PATH " HTTP/1.1\r\nHost: x\r\nContent-Type: application/soap+xml\r\n"
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 400");
}
