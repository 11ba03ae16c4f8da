#include <curl/curl.h>

#include "protocol/base/when.h"
#include "protocol/pki/cmc_response.h"
#include "protocol/pki/oid.h"
#include "server-ref/config.h"
#include "tests/server_client.h"

/* Valid against the schema, as xmllint sees it. */
static void assert_schema(const struct bytes *body, const char *schema)
{
    CLEANUP(mem_freep) char *xsd = testing_shared(schema);
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/message.xml", dir);

    testing_write(path, body->data, body->len);
    assert_int_equal(testing_shell(NULL, "xmllint --nonet --noout --schema '%s' '%s'", xsd, path), 0);
}

/* openssl verifies it for a TLS client, under the server's root by way of the server's chain. */
static void assert_openssl_verifies(struct client *client, const struct bytes *der)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/leaf.der", dir);

    testing_write(path, der->data, der->len);
    assert_int_equal(testing_shell(NULL,
                         "openssl x509 -inform DER -in '%s' -out '%s/leaf.pem' && openssl verify -purpose sslclient "
                         "-no-CApath -no-CAstore -CAfile '%s' -untrusted '%s/chain.pem' '%s/leaf.pem'",
                         path, dir, client->server->trust, client->server->dir, dir),
        0);
}

static const struct xcep_policy *find_policy(const struct xcep_response *response, const char *name)
{
    for (size_t i = 0; i < response->n_policies; i++)
        if (strcmp(response->policies[i].common_name, name) == 0)
            return &response->policies[i];
    return NULL;
}

static void assert_full_response(const struct reply *reply, const struct cert *leaf)
{
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
    struct err *err = NULL;

    assert_ok(cmc_response_parse(reply->wstep.cms.data, reply->wstep.cms.len, &response, &err) == 0, err);
    assert_false(response->certs_only);
    assert_ok(cmc_response_verify(response, NULL, NULL, &err) == 0, err);
    if (leaf)
        assert_ok(cmc_response_check_leaf(response, leaf, &err) == 0, err);
    else
        assert_int_equal(response->status, CMC_PENDING);
}

TEST(policy_shows_every_template_with_its_flags)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(xcep_response_clear) struct xcep_response policy = {0};
    const struct xcep_policy *workstation;

    client_start(&client, NULL);
    client_policy(&client, client.server->cep_username, &reply, &policy);
    assert_int_equal(reply.status, 200);
    assert_schema(&reply.body, "samples/xcep/soap12-envelope.xsd");
    assert_int_equal(policy.n_policies, 5);
    assert_int_equal(policy.skipped.n, 0);
    assert_string_equal(policy.policy_id, client.config->policy_id);
    workstation = find_policy(&policy, "Workstation");
    assert_non_null(workstation);
    assert_true(workstation->enroll && workstation->auto_enroll);
    assert_int_equal(workstation->subject_name_flags.value, 0x1);
    assert_int_equal(workstation->enrollment_flags.value, 0x10060);
    assert_string_equal(
        xcep_find_oid(&policy, workstation->oid)->value, config_template(client.config, "Workstation")->oid);
    assert_false(find_policy(&policy, "NoAuto")->auto_enroll);
    assert_int_equal(policy.cas[0].n_uris, 2);
}

TEST(policy_for_key_based_renewal_shows_only_templates_for_it)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity device = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(xcep_response_clear) struct xcep_response policy = {0};

    client_start(&client, NULL);
    client_enroll(&client, "DeviceEC", "CN=device1", &device);
    client.tls = &device;
    client_policy(&client, client.server->cep_certificate, &reply, &policy);
    assert_int_equal(reply.status, 200);
    assert_int_equal(policy.n_policies, 2);
    assert_non_null(find_policy(&policy, "Workstation"));
    assert_non_null(find_policy(&policy, "DeviceEC"));
    assert_string_equal(policy.policy_id, client.config->policy_id);
}

TEST(machine_gets_its_name_from_its_account)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity machine = {0};

    client_start(&client, NULL);
    client_enroll(&client, "Machine", NULL, &machine);
    assert_string_equal(machine.cert->subject, "CN=alice.example");
    assert_true(san_has(&machine.cert->san, SAN_DNS, "alice.example"));
    assert_string_equal(machine.cert->template_name, "Machine");
    assert_true(cert_has_eku(machine.cert, OID_EKU_SERVER_AUTH));
    assert_openssl_verifies(&client, &machine.cert->der);
}

TEST(request_as_cmc_is_issued_with_a_full_response)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("rsa2048");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes cmc = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(cert_freep) struct cert *leaf = NULL;
    struct ask ask = {.template_oid = "Workstation", .subject = "CN=ws1,O=Example", .dns = "ws1.example"};
    struct err *err = NULL;

    client_start(&client, NULL);
    client_csr(&client, &ask, key, &csr);
    client_cmc(&csr, key, &cmc);
    client_submit(&client, client.server->ces_username, &cmc, &reply);
    assert_issued(&reply);
    assert_schema(&reply.body, "spec/wstep-soap12.xsd");
    assert_ok(cert_parse(reply.wstep.certificate.data, reply.wstep.certificate.len, &leaf, &err) == 0, err);
    assert_full_response(&reply, leaf);
    assert_string_equal(leaf->subject, "CN=ws1,O=Example");
    assert_true(san_has(&leaf->san, SAN_DNS, "ws1.example"));
    assert_string_equal(leaf->template.oid, config_template(client.config, "Workstation")->oid);
    assert_openssl_verifies(&client, &leaf->der);
}

/* Renews @old in key-based mode and says what came back. */
static void renew(struct client *client, const struct identity *old, const struct ask *ask, const char *kind,
    struct identity *renewed)
{
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes cmc = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct err *err = NULL;

    renewed->key = client_key(kind);
    client_csr(client, ask, renewed->key, &csr);
    client_renewal(&csr, renewed->key, old, &cmc);
    client->tls = old;
    client_submit(client, client->server->ces_certificate, &cmc, &reply);
    assert_issued(&reply);
    assert_ok(cert_parse(reply.wstep.certificate.data, reply.wstep.certificate.len, &renewed->cert, &err) == 0, err);
    client->tls = NULL;
}

TEST(renewal_by_its_own_key_keeps_subject_and_names)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(identity_clear) struct identity renewed = {0};
    CLEANUP(identity_clear) struct identity again = {0};

    client_start(&client, NULL);
    client_enroll(&client, "DeviceEC", "CN=device1", &old);
    renew(&client, &old, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1", .old = old.cert}, "p256",
        &renewed);
    assert_string_equal(renewed.cert->subject, "CN=device1");
    assert_string_not_equal(renewed.cert->serial, old.cert->serial);
    assert_false(cert_same_key(renewed.cert, &old.cert->key.spki));
    renew(&client, &renewed, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1", .old = renewed.cert},
        "p256", &again);
    assert_int_equal(server_fixture_number(client.server, "SELECT count(DISTINCT lineage) FROM certificates"), 1);
    assert_openssl_verifies(&client, &again.cert->der);
}

TEST(renewal_as_cms_around_pkcs10_of_a_schema_1_template)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("rsa2048");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes cms = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_start(&client, NULL);
    client_enroll(&client, "Machine", NULL, &old);
    client_csr(&client, &(struct ask){.template_name = "Machine", .old = old.cert}, key, &csr);
    client_cms_renewal(&csr, &old, &cms);
    client_submit(&client, client.server->ces_username, &cms, &reply);
    assert_issued(&reply);
    assert_int_equal(server_fixture_number(client.server, "SELECT old_certificate FROM requests ORDER BY id DESC"), 1);
}

/* A request that waits for a person; its id is owned. */
static char *submit_pending(struct client *client)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("rsa2048");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(reply_clear) struct reply reply = {0};

    client_csr(client, &(struct ask){.template_oid = "Approved", .subject = "CN=patient"}, key, &csr);
    client_submit(client, client->server->ces_username, &csr, &reply);
    assert_pending(&reply);
    assert_schema(&reply.body, "spec/wstep-soap12.xsd");
    assert_full_response(&reply, NULL);
    return mem_strdup(reply.wstep.request_id);
}

TEST(pending_request_is_issued_after_approval)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply before = {0};
    CLEANUP(reply_clear) struct reply after = {0};
    CLEANUP(mem_freep) char *id = NULL;

    client_start(&client, NULL);
    id = submit_pending(&client);
    client_query(&client, client.server->ces_username, id, &before);
    assert_pending(&before);
    assert_int_equal(server_fixture_run(client.server, NULL, "approve", "%s", id), 0);
    client_query(&client, client.server->ces_username, id, &after);
    assert_issued(&after);
    assert_openssl_verifies(&client, &after.wstep.certificate);
    assert_int_not_equal(server_fixture_run(client.server, NULL, "approve", "%s", id), 0);
}

TEST(denied_request_says_so_when_asked)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(mem_freep) char *id = NULL;

    client_start(&client, NULL);
    id = submit_pending(&client);
    assert_int_equal(server_fixture_run(client.server, NULL, "deny", "%s", id), 0);
    client_query(&client, client.server->ces_username, id, &reply);
    assert_fault(&reply, 500, SOAP_RECEIVER, NONE, 0x80094014);
    assert_schema(&reply.body, "spec/wstep-soap12.xsd");
}

TEST(exchange_certificate_is_the_same_until_it_ends)
{
    CLEANUP(client_clear) struct client client = {0};
    struct wstep_request request = {.kind = WSTEP_KET};
    CLEANUP(reply_clear) struct reply first = {0};
    CLEANUP(reply_clear) struct reply second = {0};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    struct err *err = NULL;

    client_start(&client, NULL);
    client_request(&client, client.server->ces_username, &request, &first);
    client_request(&client, client.server->ces_username, &request, &second);
    assert_int_equal(first.wstep.outcome, WSTEP_EXCHANGE);
    assert_schema(&first.body, "spec/wstep-soap12.xsd");
    assert_true(bytes_equal(&first.wstep.exchange_certificate, &second.wstep.exchange_certificate));
    assert_ok(
        cert_parse(first.wstep.exchange_certificate.data, first.wstep.exchange_certificate.len, &cert, &err) == 0, err);
    assert_string_equal(cert->subject, "CN=Example Issuing CA-Xchg");
    assert_true(cert_has_eku(cert, OID_EKU_CA_EXCHANGE));
}

TEST(what_was_answered_survives_a_power_cut)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(mem_freep) char *id = NULL;

    client_start(&client, NULL);
    id = submit_pending(&client);
    server_fixture_kill(client.server);
    server_fixture_start(client.server);
    client_query(&client, client.server->ces_username, id, &reply);
    assert_pending(&reply);
    server_fixture_stop(client.server);
}

TEST(paths_are_compared_without_regard_to_case)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(xcep_response_clear) struct xcep_response policy = {0};
    CLEANUP(mem_freep) char *url = NULL;

    client_start(&client, NULL);
    url = mem_printf("https://localhost:%u/adpolicyprovider_cep_UsernamePassword/Service.svc/cep", client.server->port);
    client_policy(&client, url, &reply, &policy);
    assert_int_equal(reply.status, 200);
}

TEST(name_of_a_ca_may_have_blanks_ampersands_and_umlauts)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(reply_clear) struct reply shown = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    CLEANUP(xcep_response_clear) struct xcep_response policy = {0};
    const char *url = NULL;

    client_start(&client, "--ca-name 'S\xc3\xb6hne & Co, Issuing CA 1'");
    client_policy(&client, client.server->cep_username, &shown, &policy);
    for (size_t i = 0; i < policy.cas[0].n_uris; i++)
        if (policy.cas[0].uris[i].auth == XCEP_AUTH_USERNAME)
            url = policy.cas[0].uris[i].uri;
    assert_contains(url, "/S%C3%B6hne%20%26%20Co,%20Issuing%20CA%201_CES_UsernamePassword/");
    client_csr(&client, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1"}, key, &csr);
    client_submit(&client, url, &csr, &reply);
    assert_issued(&reply);
    assert_openssl_verifies(&client, &reply.wstep.certificate);
}

TEST(init_refuses_a_name_that_its_configuration_cannot_hold)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll-server-ref");
    CLEANUP(mem_freep) char *dir = testing_tmpdir();

    assert_int_equal(testing_shell(NULL, "'%s' init '%s/a' --key p256 --ca-name 'A ; B'", program, dir), 64);
    assert_int_equal(testing_shell(NULL, "'%s' init '%s/b' --key p256 --ca-name 'A/B'", program, dir), 78);
    assert_int_equal(testing_shell(NULL, "'%s' init '%s/c' --key p255", program, dir), 64);
}

TEST(init_never_writes_over_another_ca)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll-server-ref");
    struct server_fixture *server = server_fixture_new(NULL);
    CLEANUP(bytes_clear) struct bytes before = {0};
    CLEANUP(bytes_clear) struct bytes after = {0};

    testing_read(server->trust, &before);
    assert_int_equal(testing_shell(NULL, "'%s' init '%s' --key p256", program, server->dir), 74);
    testing_read(server->trust, &after);
    assert_true(bytes_equal(&before, &after));
}

TEST(requests_are_listed_as_json)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity device = {0};
    CLEANUP(bytes_clear) struct bytes list = {0};

    client_start(&client, NULL);
    client_enroll(&client, "DeviceEC", "CN=device1", &device);
    assert_int_equal(server_fixture_run(client.server, &list, "requests", "--json"), 0);
    assert_contains(bytes_text(&list), "\"state\": \"issued\"");
    assert_contains(bytes_text(&list), "\"template\": \"DeviceEC\"");
}

TEST(imported_certificate_is_renewed_like_one_of_ours)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(identity_clear) struct identity renewed = {0};

    client_start(&client, NULL);
    client_forge(&client, "DeviceEC", "CN=migrated", when_now() - WHEN_DAY, when_now() + WHEN_DAY, &old);
    client_import(&client, old.cert);
    renew(&client, &old, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=migrated", .old = old.cert}, "p256",
        &renewed);
    assert_string_equal(renewed.cert->subject, "CN=migrated");
}

TEST(client_certificate_works_with_tls_1_2_too)
{
    CLEANUP(client_clear) struct client client = {.tls_1_2 = true};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(identity_clear) struct identity renewed = {0};

    client_start(&client, NULL);
    client_enroll(&client, "DeviceEC", "CN=device1", &old);
    renew(&client, &old, &(struct ask){.template_oid = "DeviceEC", .subject = "CN=device1", .old = old.cert}, "p256",
        &renewed);
    assert_string_equal(renewed.cert->subject, "CN=device1");
}

TEST(pending_renewal_by_key_is_issued_after_approval)
{
    CLEANUP(client_clear) struct client client = {0};
    CLEANUP(identity_clear) struct identity old = {0};
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = client_key("p256");
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes cmc = {0};
    CLEANUP(reply_clear) struct reply pending = {0};
    CLEANUP(reply_clear) struct reply issued = {0};
    struct ask ask = {.template_oid = "DeviceEC", .subject = "CN=device1"};

    client_start(&client, NULL);
    client_enroll(&client, "DeviceEC", "CN=device1", &old);
    server_fixture_set(client.server, "template \"DeviceEC\"", "EnrollmentFlags", "0x2");
    client_restart(&client);
    ask.old = old.cert;
    client_csr(&client, &ask, key, &csr);
    client_renewal(&csr, key, &old, &cmc);
    client.tls = &old;
    client_submit(&client, client.server->ces_certificate, &cmc, &pending);
    assert_pending(&pending);
    assert_string_equal(pending.wstep.reference_uri, client.server->ces_certificate);
    assert_int_equal(server_fixture_run(client.server, NULL, "approve", "%s", pending.wstep.request_id), 0);
    client_query(&client, client.server->ces_certificate, pending.wstep.request_id, &issued);
    assert_issued(&issued);
    assert_openssl_verifies(&client, &issued.wstep.certificate);
}

TEST(users_are_added_listed_and_removed)
{
    struct server_fixture *server = server_fixture_new(NULL);
    CLEANUP(bytes_clear) struct bytes before = {0};
    CLEANUP(bytes_clear) struct bytes after = {0};

    assert_int_equal(
        server_fixture_run(server, NULL, "user add", "bob --password-file '%s'", server->password_file), 0);
    assert_int_equal(server_fixture_run(server, &before, "user list", "%s", ""), 0);
    assert_string_equal(bytes_text(&before), "alice\nbob\n");
    assert_int_equal(server_fixture_run(server, NULL, "user remove", "%s", "BOB"), 0);
    assert_int_equal(server_fixture_run(server, NULL, "user remove", "%s", "bob"), 66);
    assert_int_equal(server_fixture_run(server, &after, "user list", "%s", ""), 0);
    assert_string_equal(bytes_text(&after), "alice\n");
}
