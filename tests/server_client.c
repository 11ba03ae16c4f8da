#include "tests/server_client.h"

#include <curl/curl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>

#include "protocol/base/when.h"
#include "protocol/pki/cmc.h"
#include "protocol/pki/oid.h"
#include "server-ref/file.h"
#include "server-ref/mint.h"

void identity_clear(struct identity *identity)
{
    cert_free(identity->cert);
    EVP_PKEY_free(identity->key);
    *identity = (struct identity){0};
}

void client_reload(struct client *client)
{
    struct err *err = NULL;

    config_free(TAKE(client->config));
    assert_ok(config_load(client->server->dir, &client->config, &err) == 0, err);
}

void client_start(struct client *client, const char *init)
{
    client->server = server_fixture_running(init);
    client_reload(client);
}

void client_restart(struct client *client)
{
    server_fixture_stop(client->server);
    server_fixture_start(client->server);
    client_reload(client);
}

void client_clear(struct client *client)
{
    config_free(client->config);
    if (client->server && client->server->pid)
        server_fixture_stop(client->server);
}

static int64_t count_certificates(struct client *client)
{
    return server_fixture_number(client->server, "SELECT count(*) FROM certificates");
}

void client_mark(struct client *client)
{
    client->certificates = count_certificates(client);
}

void client_assert_no_certificate(struct client *client)
{
    assert_int_equal(count_certificates(client), client->certificates);
}

void reply_clear(struct reply *reply)
{
    bytes_clear(&reply->body);
    soap_message_free(reply->message);
    wstep_response_clear(&reply->wstep);
    *reply = (struct reply){0};
}

static size_t on_body(char *data, size_t size, size_t n, void *to)
{
    return bytes_append(to, data, size * n, NULL) < 0 ? 0 : size * n;
}

static void add_identity(CURL *curl, const struct identity *identity)
{
    BIO *cert = BIO_new(BIO_s_mem());
    BIO *key = BIO_new(BIO_s_mem());
    struct curl_blob blob = {.flags = CURL_BLOB_COPY};
    char *data;

    PEM_write_bio_X509(cert, identity->cert->x509);
    PEM_write_bio_PKCS8PrivateKey(key, identity->key, NULL, NULL, 0, NULL, NULL);
    blob.len = (size_t)BIO_get_mem_data(cert, &data);
    blob.data = data;
    curl_easy_setopt(curl, CURLOPT_SSLCERT_BLOB, &blob);
    blob.len = (size_t)BIO_get_mem_data(key, &data);
    blob.data = data;
    curl_easy_setopt(curl, CURLOPT_SSLKEY_BLOB, &blob);
    BIO_free(cert);
    BIO_free(key);
}

void client_post(struct client *client, const char *url, const void *body, size_t len, struct reply *reply)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/soap+xml; charset=utf-8");

    *reply = (struct reply){0};
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_CAINFO, client->server->trust);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)len);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply->body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
    if (client->tls_1_2)
        curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_MAX_TLSv1_2);
    if (client->tls)
        add_identity(curl, client->tls);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    (void)soap_parse(reply->body.data, reply->body.len, &reply->message, NULL);
}

struct raw {
    SSL_CTX *tls;
    BIO *bio;
};

struct raw *client_raw_open(struct client *client)
{
    struct raw *raw = mem_alloc(sizeof(*raw));
    CLEANUP(mem_freep) char *address = mem_printf("127.0.0.1:%u", client->server->port);

    signal(SIGPIPE, SIG_IGN); /* a server that hangs up is what these tests wait for */
    raw->tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(raw->tls, SSL_VERIFY_PEER, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(raw->tls, client->server->trust), 1);
    raw->bio = BIO_new_ssl_connect(raw->tls);
    BIO_set_conn_hostname(raw->bio, address);
    assert_int_equal(BIO_do_connect(raw->bio), 1);
    assert_int_equal(BIO_do_handshake(raw->bio), 1);
    return raw;
}

bool client_raw_write(struct raw *raw, const void *data, size_t len)
{
    return BIO_write(raw->bio, data, (int)len) == (int)len;
}

void client_raw_read(struct raw *raw, struct bytes *out)
{
    char buffer[4096];
    int got;

    while ((got = BIO_read(raw->bio, buffer, sizeof(buffer))) > 0)
        assert_int_equal(bytes_append(out, buffer, (size_t)got, NULL), 0);
}

void client_raw_close(struct raw *raw)
{
    if (!raw)
        return;
    BIO_free_all(raw->bio);
    SSL_CTX_free(raw->tls);
    free(raw);
}

static void fill_header(const struct client *client, const char *url, const char *action, struct soap_header *header)
{
    header->action = mem_strdup(client->action ? client->action : action);
    header->message_id = soap_new_message_id();
    header->to = mem_strdup(client->to ? client->to : url);
}

static void sign_in(const struct client *client, struct wsse_security *security)
{
    const char *password = client->password ? client->password : SERVER_FIXTURE_PASSWORD;
    CLEANUP(secret_freep) struct secret *secret = secret_copy(password, strlen(password));

    wsse_security_init(
        security, client->user ? client->user : SERVER_FIXTURE_USER, secret, when_now() + client->clock_offset);
}

static bool wants_password(const char *url)
{
    return strstr(url, "UsernamePassword") != NULL;
}

void client_write(struct client *client, const char *url, const struct wstep_request *request, struct bytes *out)
{
    CLEANUP(soap_header_clear) struct soap_header header = {0};
    CLEANUP(wsse_security_clear) struct wsse_security security = {0};
    struct err *err = NULL;

    fill_header(client, url, wstep_request_action(request->kind), &header);
    if (wants_password(url))
        sign_in(client, &security);
    assert_ok(wstep_request_write(&header, wants_password(url) ? &security : NULL, request, out, &err) == 0, err);
}

void client_replace(struct bytes *text, const char *from, const char *to)
{
    const char *at = bytes_text(text);
    struct bytes out = {0};
    const char *found = strstr(at, from);

    assert_non_null(found);
    for (; found; at = found + strlen(from), found = strstr(at, from)) {
        assert_int_equal(bytes_append(&out, at, (size_t)(found - at), NULL), 0);
        assert_int_equal(bytes_append_text(&out, to, NULL), 0);
    }
    assert_int_equal(bytes_append_text(&out, at, NULL), 0);
    bytes_wipe(text);
    *text = out;
}

/* Whatever is answered, fault or not, names the message that it answers; what came before the message was read cannot.
 */
static void assert_relates(const struct reply *reply, const struct bytes *sent)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    struct err *err = NULL;

    if (reply->status == 403 || reply->status == 400)
        return;
    assert_ok(soap_parse(sent->data, sent->len, &message, &err) == 0, err);
    assert_string_equal(soap_message_header(reply->message)->relates_to, soap_message_header(message)->message_id);
}

void client_request(struct client *client, const char *url, const struct wstep_request *request, struct reply *reply)
{
    CLEANUP(bytes_wipe) struct bytes body = {0};
    struct err *err = NULL;

    client_write(client, url, request, &body);
    client_post(client, url, body.data, body.len, reply);
    if (reply->message)
        assert_relates(reply, &body);
    if (reply->status == 200)
        assert_ok(reply->message && wstep_response_parse(reply->message, &reply->wstep, &err) == 0, err);
}

void client_submit(struct client *client, const char *url, const struct bytes *payload, struct reply *reply)
{
    CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_ISSUE, .token_type = WSTEP_PKCS7};

    bytes_copy(&request.token, payload);
    client_request(client, url, &request, reply);
}

void client_query(struct client *client, const char *url, const char *id, struct reply *reply)
{
    CLEANUP(wstep_request_clear) struct wstep_request request = {.kind = WSTEP_QUERY, .request_id = mem_strdup(id)};

    client_request(client, url, &request, reply);
}

void client_policy(struct client *client, const char *url, struct reply *reply, struct xcep_response *response)
{
    CLEANUP(soap_header_clear) struct soap_header header = {0};
    CLEANUP(wsse_security_clear) struct wsse_security security = {0};
    CLEANUP(bytes_wipe) struct bytes body = {0};
    struct xcep_request request = {.has_filter = true, .client_version = {true, 0}, .server_version = {true, 0}};
    struct err *err = NULL;

    fill_header(client, url, XCEP_ACTION_REQUEST, &header);
    if (wants_password(url))
        sign_in(client, &security);
    assert_ok(xcep_request_write(&header, wants_password(url) ? &security : NULL, &request, &body, &err) == 0, err);
    client_post(client, url, body.data, body.len, reply);
    if (reply->status == 200)
        assert_ok(reply->message && xcep_response_parse(reply->message, response, &err) == 0, err);
}

static void show(const struct reply *reply)
{
    print_error("HTTP %ld:\n%s\n", reply->status, bytes_text(&reply->body));
}

void client_assert_fault(const struct reply *reply, long status, enum soap_fault_code code, enum soap_subcode subcode,
    uint32_t hresult, const char *file, int line)
{
    const struct soap_fault *fault = reply->message ? soap_message_fault(reply->message) : NULL;
    CLEANUP(wstep_fault_detail_clear) struct wstep_fault_detail detail = {0};

    if (fault)
        (void)wstep_fault_detail_parse(reply->message, &detail, NULL);
    if (fault && reply->status == status && fault->code == code && soap_fault_subcode(fault) == subcode &&
        detail.error_code == hresult)
        return;
    show(reply);
    if (fault)
        print_error("is code %d, subcode %d, 0x%08x\n", fault->code, soap_fault_subcode(fault), detail.error_code);
    print_error("and should be status %ld, code %d, subcode %d, 0x%08x\n", status, code, subcode, hresult);
    _fail(file, line);
}

void client_assert_outcome(const struct reply *reply, enum wstep_outcome outcome, const char *file, int line)
{
    if (reply->status == 200 && reply->wstep.outcome == outcome)
        return;
    show(reply);
    _fail(file, line);
}

EVP_PKEY *client_key(const char *kind)
{
    struct err *err = NULL;
    EVP_PKEY *key = mint_key(kind, &err);

    assert_ok(key, err);
    return key;
}

static void add_template(struct client *client, const struct ask *ask, struct csr_extensions *extensions)
{
    CLEANUP(bytes_clear) struct bytes value = {0};
    struct err *err = NULL;

    if (ask->template_name) {
        assert_ok(msext_template_name_write(ask->template_name, &value, &err) == 0, err);
        csr_extensions_add(extensions, OID_TEMPLATE_NAME, false, &value);
    }
    if (ask->template_oid) {
        const struct cert_template *template = config_template(client->config, ask->template_oid);
        struct template_info info = {.oid = template->oid,
            .major = {true, ask->major ? ask->major : template->major},
            .minor = {true, template->minor}};

        assert_ok(msext_template_info_write(&info, &value, &err) == 0, err);
        csr_extensions_add(extensions, OID_TEMPLATE_INFO, false, &value);
    }
}

void client_csr(struct client *client, const struct ask *ask, EVP_PKEY *key, struct bytes *der)
{
    CLEANUP(csr_spec_clear) struct csr_spec spec = {.hash = ask->hash ? ask->hash : "SHA256"};
    CLEANUP(san_list_clear) struct san_list san = {0};
    struct err *err = NULL;

    add_template(client, ask, &spec.extensions);
    if (ask->subject)
        assert_ok(name_parse(ask->subject, &spec.subject, &err) == 0, err);
    if (ask->dns) {
        san_add(&san, SAN_DNS, ask->dns);
        assert_ok(mint_add_san(&spec.extensions, &san, &err) == 0, err);
    }
    if (ask->old)
        csr_attributes_add(&spec.attributes, OID_RENEWAL_CERTIFICATE, &ask->old->der);
    assert_ok(csr_build(&spec, key, der, &err) == 0, err);
}

void client_renewal(const struct bytes *csr, EVP_PKEY *key, const struct identity *old, struct bytes *der)
{
    struct cms_signer new_signer = {.key = key, .hash = "SHA256"};
    struct cms_signer old_signer = {.key = old->key, .cert = old->cert, .hash = "SHA256"};
    struct err *err = NULL;

    assert_ok(cmc_build_renewal(csr, NULL, &new_signer, &old_signer, der, &err) == 0, err);
}

void client_cms_renewal(const struct bytes *csr, const struct identity *old, struct bytes *der)
{
    struct cms_signer old_signer = {.key = old->key, .cert = old->cert, .hash = "SHA256"};
    struct err *err = NULL;

    assert_ok(cms_build_renewal(csr, &old_signer, der, &err) == 0, err);
}

void client_cmc(const struct bytes *csr, EVP_PKEY *key, struct bytes *der)
{
    struct cms_signer signer = {.key = key, .hash = "SHA256"};
    struct err *err = NULL;

    assert_ok(cmc_build_new(csr, NULL, &signer, der, &err) == 0, err);
}

void client_enroll(struct client *client, const char *template, const char *subject, struct identity *out)
{
    const struct cert_template *which = config_template(client->config, template);
    struct ask ask = {.subject = subject};
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(reply_clear) struct reply reply = {0};
    struct err *err = NULL;

    if (which->schema == 1)
        ask.template_name = template;
    else
        ask.template_oid = template;
    out->key = client_key(which->algorithm == KEY_RSA ? "rsa2048" : "p256");
    client_csr(client, &ask, out->key, &csr);
    client_submit(client, client->server->ces_username, &csr, &reply);
    assert_issued(&reply);
    assert_ok(cert_parse(reply.wstep.certificate.data, reply.wstep.certificate.len, &out->cert, &err) == 0, err);
}

void client_lookalike(const struct cert *like, struct identity *out)
{
    X509 *copy = X509_dup(like->x509);
    struct err *err = NULL;

    out->key = client_key("p256");
    assert_int_equal(X509_set_pubkey(copy, out->key), 1);
    assert_true(X509_sign(copy, out->key, EVP_sha256()) > 0);
    assert_ok(cert_from_x509(copy, &out->cert, &err) == 0, err);
    X509_free(copy);
}

static void add_forged_extensions(
    struct client *client, const struct cert_template *template, struct csr_extensions *extensions)
{
    struct ask ask = {.template_oid = template->name};
    struct err *err = NULL;

    add_template(client, &ask, extensions);
    assert_ok(mint_add_key_usage(extensions, template->key_usage, &err) == 0, err);
    assert_ok(mint_add_eku(extensions, &template->application_policies, &err) == 0, err);
}

void client_forge(struct client *client, const char *template, const char *subject, int64_t not_before,
    int64_t not_after, struct identity *out)
{
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};
    CLEANUP(pubkey_clear) struct pubkey public = {0};
    CLEANUP(bytes_clear) struct bytes name = {0};
    CLEANUP(mem_freep) char *chain_path = mem_printf("%s/chain.pem", client->server->dir);
    CLEANUP(mem_freep) char *key_path = mem_printf("%s/ca.key", client->server->dir);
    CLEANUP(cert_list_clear) struct cert_list chain = {0};
    EVP_PKEY *ca_key;
    struct err *err = NULL;
    struct mint_spec spec = {.subject = &name,
        .spki = &public.spki,
        .not_before = not_before,
        .not_after = not_after,
        .extensions = &extensions};

    ca_key = file_read_key(key_path, &err);
    assert_ok(ca_key, err);
    assert_ok(file_read_certificates(chain_path, &chain, &err) == 0, err);
    out->key = client_key("p256");
    assert_ok(pubkey_from_evp(out->key, &public, &err) == 0, err);
    assert_ok(name_parse(subject, &name, &err) == 0, err);
    add_forged_extensions(client, config_template(client->config, template), &extensions);
    assert_ok(mint_certificate(&spec, chain.items[0], ca_key, &out->cert, &err) == 0, err);
    EVP_PKEY_free(ca_key);
}

void client_import(struct client *client, const struct cert *cert)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/import.der", dir);

    testing_write(path, cert->der.data, cert->der.len);
    assert_int_equal(
        server_fixture_run(client->server, NULL, "import", "'%s' --account '%s'", path, SERVER_FIXTURE_USER), 0);
}
