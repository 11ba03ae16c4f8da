#include <ctype.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>

#include "protocol/pki/hresult.h"
#include "protocol/pki/oid.h"
#include "protocol/pki/payload.h"
#include "tests/pki_fixture.h"
#include "tests/testing.h"

#define SAMPLES    "samples/wstep/"
#define TEMPLATE_1 "1.3.6.1.4.1.311.21.8.1111111.2222222.3333333.4444444.5555555.66.7777777.8888888"

/* The @which-th base64 content of a BinarySecurityToken or a BinaryResponse, found by its text alone. */
static void token_of(const struct bytes *file, int which, struct bytes *der)
{
    CLEANUP(bytes_clear) struct bytes base64 = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    const char *at = bytes_text(file);

    while ((at = strchr(at, '<'))) {
        size_t prefix = strcspn(at, ": >\r\n\t") + 1;
        const char *name = at[prefix - 1] == ':' ? at + prefix : at + 1, *end = strchr(at, '>');

        at++;
        if (*at == '/' || !end || end[-1] == '/' || which > 0 ||
            (strncmp(name, "BinarySecurityToken", 19) != 0 && strncmp(name, "BinaryResponse", 14) != 0)) {
            which -= *at != '/' && strncmp(name, "Binary", 6) == 0;
            continue;
        }
        for (at = end + 1; *at != '<'; at++) {
            if (*at == '&')
                at = strchr(at, ';'); /* &#xD; */
            else if (!isspace((unsigned char)*at))
                assert_int_equal(bytes_append(&base64, at, 1, NULL), 0);
        }
        assert_ok(bytes_from_base64(der, bytes_text(&base64), base64.len, 1u << 20, &err) == 0, err);
        return;
    }
    fail_msg("no such token");
}

/* The DER of a sample: a token of an XML file, the base64 of a .b64 file, or the file itself. */
static void read_sample(const char *name, int token, struct bytes *der)
{
    CLEANUP(mem_freep) char *relative = mem_printf("%s%s", SAMPLES, name);
    CLEANUP(mem_freep) char *path = testing_shared(relative);
    CLEANUP(bytes_clear) struct bytes file = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    testing_read(path, &file);
    if (strstr(name, ".xml"))
        token_of(&file, token, der);
    else if (strstr(name, ".b64"))
        assert_ok(bytes_from_base64(der, bytes_text(&file), file.len, 1u << 20, &err) == 0, err);
    else
        bytes_copy(der, &file);
}

static struct payload *parse_sample(const char *name, int token, struct bytes *der)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct payload *payload = NULL;

    read_sample(name, token, der);
    if (payload_parse(der->data, der->len, &payload, &err) < 0)
        fail_msg("%s: %s", name, err_text(err));
    return payload;
}

/* Runs a command over @der as a file, {} standing for its path; gives what it prints. */
static void ask_openssl(const struct bytes *der, const char *command, struct bytes *said)
{
    static char *dir;
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(bytes_clear) struct bytes full = {0};

    dir = dir ? dir : testing_tmpdir();
    path = mem_printf("%s/sample.der", dir);

    testing_write(path, der->data, der->len);
    for (; *command; command++)
        if (command[0] == '{' && command[1] == '}') {
            assert_int_equal(bytes_append_text(&full, path, NULL), 0);
            command++;
        } else {
            assert_int_equal(bytes_append(&full, command, 1, NULL), 0);
        }
    if (testing_shell(said, "%s", bytes_text(&full)) != 0)
        fail_msg("failed: %s", bytes_text(&full));
}

static void compare_cert(const struct cert *cert)
{
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(mem_freep)
    char *expected =
        mem_printf("subject=%s\nissuer=%s\n%s\n%s\n", cert->subject, cert->issuer, cert->serial, cert->sha256);

    ask_openssl(&cert->der,
        "openssl x509 -inform DER -in {} -noout -subject -issuer -nameopt RFC2253;"
        "openssl x509 -inform DER -in {} -noout -serial | cut -d= -f2 | tr A-F a-f;"
        "openssl x509 -inform DER -in {} -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | tr A-F a-f",
        &said);
    assert_string_equal(bytes_text(&said), expected);
}

/* Subject, key and signature of the PKCS#10 as "openssl req" sees them. */
static void compare_csr(const struct csr *csr)
{
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(mem_freep) char *key = bytes_to_base64(csr->key.spki.data, csr->key.spki.len, 0);
    CLEANUP(mem_freep) char *expected = mem_printf("subject=%s\n%s\nverify OK\n", csr->subject, key);

    ask_openssl(&csr->der,
        "openssl req -inform DER -in {} -noout -subject -nameopt RFC2253;"
        "openssl req -inform DER -in {} -noout -pubkey | grep -v -- ----- | tr -d '\\n'; echo;"
        "openssl req -inform DER -in {} -noout -verify 2>&1 | grep -o 'verify OK'",
        &said);
    assert_string_equal(bytes_text(&said), expected);
    if (csr->old_cert)
        compare_cert(csr->old_cert);
}

/* Signers in order, and certificates, as "openssl cms -cmsout -print" sees them. */
static void compare_cms(const struct cms *cms, const struct bytes *der)
{
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(bytes_clear) struct bytes expected = {0};

    assert_int_equal(bytes_printf(&expected, NULL, "%s\n", cms->content_type), 0);
    for (size_t i = 0; i < cms->n_signers; i++)
        assert_int_equal(
            bytes_printf(&expected, NULL, "%s\n",
                cms->signers[i].id == CMS_BY_KEY_ID ? "d.subjectKeyIdentifier" : "d.issuerAndSerialNumber"),
            0);
    assert_int_equal(bytes_printf(&expected, NULL, "%zu certificates\n", cms->certificates.n), 0);
    ask_openssl(der,
        "openssl cms -cmsout -print -inform DER -in {} >{}.txt;"
        "sed -n 's/^ *eContentType:.*(\\([0-9.]*\\)).*/\\1/p' {}.txt;"
        "grep -o -E '^ +d\\.(issuerAndSerialNumber|subjectKeyIdentifier)' {}.txt | tr -d ' ';"
        "echo $(grep -c '^ *d.certificate:' {}.txt) certificates",
        &said);
    assert_string_equal(bytes_text(&said), bytes_text(&expected));
    for (size_t i = 0; i < cms->certificates.n; i++)
        compare_cert(cms->certificates.items[i]);
}

/* The serial number that openssl prints for a signer is that of the certificate that we matched. */
static void compare_signer_serials(const struct cms *cms, const struct bytes *der)
{
    CLEANUP(bytes_clear) struct bytes said = {0};

    ask_openssl(
        der, "openssl cms -cmsout -print -inform DER -in {} | sed -n '/issuerAndSerialNumber/,/digestAlg/p'", &said);
    for (size_t i = 0; i < cms->n_signers; i++) {
        const struct cms_signer_info *signer = &cms->signers[i];
        char *number;

        if (signer->id != CMS_BY_ISSUER_SERIAL || !signer->cert)
            continue;
        number = i2s_ASN1_INTEGER(NULL, X509_get0_serialNumber(signer->cert->x509));
        assert_contains(bytes_text(&said), number);
        OPENSSL_free(number);
    }
}

static const struct {
    const char *file;
    enum payload_kind kind;
    const char *subject;
    const char *template; /* name or OID, NULL for none */
    size_t signers;
    const char *old_serial; /* NULL: no renewal */
    const char *requester;
    const char *os_version;
    bool attestation, archived;
} requests[] = {
    {"mswstep-4.1.1.1-issue-request.xml", PAYLOAD_PKCS10, "", "User", 0, NULL, NULL, "6.1.7053.2", false, false},
    {"mswstep-4.1.5.1-renewal-request.xml", PAYLOAD_CMS_PKCS10,
        "emailAddress=abby@D9-1351C0406A.NTTEST.MICROSOFT.COM,CN=abby,CN=Users,DC=d9-1351C0406A,DC=nttest,DC=microsoft,"
        "DC=com",
        "User", 1, "18d9df0600000000003e", NULL, "6.1.7053.2", false, false},
    {"win11-cmc-new-request.b64", PAYLOAD_CMC, "", "2.25.259216219653612406639146011268228369410", 1, NULL, NULL, NULL,
        false, false},
    {"win11-cmc-renewal-request.b64", PAYLOAD_CMC, "", NULL, 2, "0e464780c737ba1066db6f39fd4c7a30", NULL,
        "10.0.22631.2", false, false},
    {"win8-cmc-client-info-request.b64", PAYLOAD_CMC, "", NULL, 1, NULL, NULL, "6.2.9200.2", false, false},
    {"windows-cmc-key-archival-request.b64", PAYLOAD_CMC, "",
        "1.3.6.1.4.1.311.21.8.10998015.4198218.6898329.11679014.10423712.128.12396513.1783547", 1, NULL, NULL, NULL,
        false, true},
    {"windows-cmc-tpm-attestation-request.b64", PAYLOAD_CMC, "CN=23de6515-bc20-4abc-a60e-5b0341b54543,C=US", NULL, 1,
        NULL, NULL, NULL, true, false},
    {"composed-issue-pkcs10-username-request.xml", PAYLOAD_PKCS10, "", "Machine", 0, NULL, NULL, "6.1.0.2", false,
        false},
    {"composed-issue-cmc-request.xml", PAYLOAD_CMC, "", TEMPLATE_1, 1, NULL, NULL, "6.1.0.2", false, false},
    {"composed-renewal-cmc-request.xml", PAYLOAD_CMC, "CN=linux01.contoso.test", TEMPLATE_1, 2,
        "4f0000002a0f1e2d3c4b5a69780000000000002a", NULL, "6.1.0.2", false, false},
    {"composed-renewal-cms-pkcs10-request.xml", PAYLOAD_CMS_PKCS10, "CN=linux01.contoso.test", TEMPLATE_1, 1,
        "4f0000002a0f1e2d3c4b5a69780000000000002a", NULL, "6.1.0.2", false, false},
    {"composed-enroll-on-behalf-request.xml", PAYLOAD_CMC, "", TEMPLATE_1, 2, NULL, "CONTOSO\\alice", "6.1.0.2", false,
        false},
    {"composed-key-archival-request.xml", PAYLOAD_CMC, "", TEMPLATE_1, 1, NULL, NULL, "6.1.0.2", false, true},
    {"composed-attestation-request.xml", PAYLOAD_CMC, "", TEMPLATE_1, 1, NULL, NULL, "6.1.0.2", true, false},
};

static void compare_text(const char *file, const char *is, const char *should)
{
    if ((is == NULL) != (should == NULL) || (is && strcmp(is, should) != 0))
        fail_msg("%s: '%s' instead of '%s'", file, is ? is : "nothing", should ? should : "nothing");
}

TEST(pki_samples_of_requests_verify_and_say_what_openssl_says)
{
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(payload_freep) struct payload *payload = parse_sample(requests[i].file, 0, &der);
        CLEANUP(err_freep) struct err *err = NULL;
        const char *file = requests[i].file;
        const struct csr *csr = payload->csr;

        assert_int_equal(payload->kind, requests[i].kind);
        if (payload_verify(payload, &err) < 0)
            fail_msg("%s: %s", file, err_text(err));
        compare_text(file, csr->subject, requests[i].subject);
        compare_text(file, csr->template_name ? csr->template_name : csr->template.oid, requests[i].template);
        compare_text(file, csr->old_cert ? csr->old_cert->serial : NULL, requests[i].old_serial);
        compare_text(file, payload->requester, requests[i].requester);
        compare_text(file, csr->os_version, requests[i].os_version);
        assert_int_equal(csr->attestation, requests[i].attestation);
        compare_csr(csr);
        assert_int_equal(payload->cms ? payload->cms->n_signers : 0, requests[i].signers);
        if (payload->cms) {
            assert_int_equal(payload->cms->signers[0].archived_key, requests[i].archived);
            compare_cms(payload->cms, &der);
            compare_signer_serials(payload->cms, &der);
        }
    }
}

/* Openssl verifies the same messages, with the certificate that the script makes for the new key. */
TEST(pki_samples_of_cmc_requests_verify_with_openssl_too)
{
    CLEANUP(mem_freep) char *script = testing_source("tests/golden/take_apart_cmc.sh");

    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(bytes_clear) struct bytes said = {0};
        CLEANUP(mem_freep) char *command = mem_printf("'%s' {}", script);
        CLEANUP(mem_freep) char *signers = mem_printf("signers: %zu\n", requests[i].signers);

        if (requests[i].kind != PAYLOAD_CMC)
            continue;
        read_sample(requests[i].file, 0, &der);
        ask_openssl(&der, command, &said);
        assert_contains(bytes_text(&said), "content type: 1.3.6.1.5.5.7.12.2\n");
        assert_contains(bytes_text(&said), signers);
        assert_contains(bytes_text(&said), "verified: yes\n");
    }
}

TEST(pki_samples_of_windows_requests_have_the_attributes_that_the_specification_describes)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(bytes_clear) struct bytes hash = {0};
    CLEANUP(payload_freep) struct payload *win8 = parse_sample("win8-cmc-client-info-request.b64", 0, &der);
    CLEANUP(payload_freep) struct payload *archival = NULL;
    const struct csr_attribute *attribute;

    assert_true(win8->csr->has_csp);
    assert_contains(win8->csr->csp.name, "Microsoft");
    assert_string_equal(win8->csr->client_info.machine, "pitucha1.emea.hpqcorp.net");
    assert_non_null(csr_attributes_find(&win8->controls.attributes, OID_CLIENT_INFO));
    bytes_clear(&der);
    archival = parse_sample("windows-cmc-key-archival-request.b64", 0, &der);
    attribute = csr_attributes_find(&archival->controls.attributes, OID_ENCRYPTED_KEY_HASH);
    assert_non_null(attribute);
    assert_int_equal(msext_octets_parse(attribute->value.data, attribute->value.len, &hash, NULL), 0);
    pki_assert_hex(&hash, "74eaf8108c8bc6e2fba7289975b440ce293d037f");
}

static const struct {
    const char *file;
    int token, leaf; /* which tokens of it; leaf -1: none */
    enum cmc_status status;
    const char *text, *signer;
    bool challenge;
    const char *pend_token;
} responses[] = {
    {"mswstep-4.1.1.2-issue-response.xml", 0, 1, CMC_ISSUED, "Issued", "CN=FB_EntSubCA,OU=Microsoft PKI Team", false,
        ""},
    {"mswstep-4.1.5.2-renewal-response.xml", 0, 1, CMC_ISSUED, "Issued", "CN=FB_EntSubCA,OU=Microsoft PKI Team", false,
        ""},
    {"composed-issued-response.xml", 0, 1, CMC_ISSUED, "Issued", "CN=Contoso Issuing CA 1,DC=contoso,DC=test", false,
        ""},
    {"composed-pending-response.xml", 0, -1, CMC_PENDING, "Taken Under Submission",
        "CN=Contoso Issuing CA 1,DC=contoso,DC=test", false, "0413"},
    {"composed-denied-fault.xml", 0, -1, CMC_FAILED, "Denied by Policy Module",
        "CN=Contoso Issuing CA 1,DC=contoso,DC=test", false, ""},
    {"composed-attestation-challenge-response.xml", 0, -1, CMC_PENDING, "Taken Under Submission",
        "CN=Contoso Issuing CA 1,DC=contoso,DC=test", true, "0414"},
};

/* That leaf, chain and root of an issued answer belong together at the time of the leaf. */
static void check_issued(const struct cmc_response *response, const struct cert *leaf)
{
    CLEANUP(cert_list_clear) struct cert_list anchors = {0};
    CLEANUP(cert_list_clear) struct cert_list chain = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    const struct cert *found = cmc_response_leaf(response, &leaf->key.spki, &err);

    assert_ok(found != NULL, err);
    assert_true(cert_equal(found, leaf));
    assert_ok(cmc_response_check_leaf(response, leaf, &err) == 0, err);
    for (size_t i = 0; i < response->cms->certificates.n; i++)
        if (cert_is_self_issued(response->cms->certificates.items[i]))
            cert_list_add(&anchors, cert_dup(response->cms->certificates.items[i]));
    assert_ok(
        cert_chain_verify(leaf, &response->cms->certificates, &anchors, leaf->not_before + 3600, 0, &chain, &err) == 0,
        err);
    assert_int_equal(chain.n, 3);
}

TEST(pki_samples_of_responses_verify_and_say_what_openssl_says)
{
    for (size_t i = 0; i < ARRAY_SIZE(responses); i++) {
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(bytes_clear) struct bytes leaf = {0};
        CLEANUP(payload_freep) struct payload *payload = parse_sample(responses[i].file, responses[i].token, &der);
        CLEANUP(payload_freep) struct payload *token = NULL;
        CLEANUP(err_freep) struct err *err = NULL;
        struct cmc_response *response = payload->response;
        const struct cert *signer = NULL;

        assert_int_equal(payload->kind, PAYLOAD_CMC_RESPONSE);
        assert_int_equal(response->status, responses[i].status);
        assert_string_equal(response->text, responses[i].text);
        assert_int_equal(response->challenge, responses[i].challenge);
        pki_assert_hex(&response->pend_token, responses[i].pend_token);
        if (cmc_response_verify(response, NULL, &signer, &err) < 0)
            fail_msg("%s: %s", responses[i].file, err_text(err));
        assert_string_equal(signer->subject, responses[i].signer);
        compare_cms(response->cms, &der);
        if (responses[i].leaf < 0)
            continue;
        token = parse_sample(responses[i].file, responses[i].leaf, &leaf);
        assert_int_equal(token->kind, PAYLOAD_CERTIFICATE);
        assert_int_equal(response->issued_hash.len, 20);
        check_issued(response, token->cert);
    }
}

TEST(pki_samples_of_responses_verify_with_openssl_too)
{
    for (size_t i = 0; i < ARRAY_SIZE(responses); i++) {
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(bytes_clear) struct bytes said = {0};

        read_sample(responses[i].file, responses[i].token, &der);
        ask_openssl(&der, "openssl cms -verify -noverify -binary -inform DER -in {} -out /dev/null 2>&1", &said);
        assert_contains(bytes_text(&said), "success");
    }
}

TEST(pki_samples_of_certificates_only_hold_the_issued_chain)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(bytes_clear) struct bytes issued = {0};
    CLEANUP(bytes_clear) struct bytes rebuilt = {0};
    CLEANUP(payload_freep) struct payload *payload = parse_sample("composed-certs-only-response.p7b", 0, &der);
    CLEANUP(payload_freep) struct payload *leaf = parse_sample("composed-issued-response.xml", 1, &issued);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(payload->kind, PAYLOAD_CERTS_ONLY);
    assert_int_equal(payload->response->cms->certificates.n, 3);
    assert_true(cert_equal(cmc_response_leaf(payload->response, &leaf->cert->key.spki, NULL), leaf->cert));
    compare_cms(payload->response->cms, &der);
    /* what we make of the same certificates is the same message */
    assert_ok(certs_only_build(&payload->response->cms->certificates, &rebuilt, &err) == 0, err);
    assert_true(bytes_equal(&rebuilt, &der));
}

TEST(pki_samples_of_certificates_have_the_facts_that_openssl_prints)
{
    static const struct {
        const char *file;
        int token;
        const char *template_name, *template_oid, *sid, *eku;
    } cases[] = {
        {"mswstep-4.1.1.2-issue-response.xml", 1, "User", NULL, NULL, "1.3.6.1.4.1.311.10.3.4"},
        {"mswstep-4.1.2.2-ket-response.xml", 0, "CAExchange",
            "1.3.6.1.4.1.311.21.8.6887730.1798674.9981081.2838527.7760504.198.1.26", NULL, "1.3.6.1.4.1.311.21.5"},
        {"composed-ket-response.xml", 0, "CAExchange", NULL, NULL, "1.3.6.1.4.1.311.21.5"},
        {"composed-issued-response.xml", 1, NULL, TEMPLATE_1, "S-1-5-21-1004336348-1177238915-682003330-1107",
            "1.3.6.1.5.5.7.3.2"},
        {"adcs-2025-issued-rstrc-body.xml", 1, "Machine", NULL, NULL, "1.3.6.1.5.5.7.3.2"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(bytes_clear) struct bytes der = {0};
        CLEANUP(payload_freep) struct payload *payload = parse_sample(cases[i].file, cases[i].token, &der);
        const struct cert *cert = payload->cert;

        compare_cert(cert);
        compare_text(cases[i].file, cert->template_name, cases[i].template_name);
        compare_text(cases[i].file, cert->template.oid, cases[i].template_oid);
        compare_text(cases[i].file, cert->sid, cases[i].sid);
        assert_true(cert_has_eku(cert, cases[i].eku));
    }
}

TEST(pki_samples_that_were_cut_or_altered_are_told)
{
    CLEANUP(bytes_clear) struct bytes cut = {0};
    CLEANUP(bytes_clear) struct bytes altered = {0};
    CLEANUP(bytes_clear) struct bytes key = {0};
    CLEANUP(payload_freep) struct payload *leaf = parse_sample("adcs-2025-issued-rstrc-body.xml", 1, &altered);
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(err_freep) struct err *other = NULL;
    struct payload *payload = NULL;

    read_sample("adcs-2025-issued-rstrc-body.xml", 0, &cut);
    assert_int_equal(payload_parse(cut.data, cut.len, &payload, &err), -1);
    assert_int_equal(err_code(err), CRYPT_E_ASN1_EOD);
    assert_string_equal(leaf->cert->malformed.items[0], OID_SECURITY_EXTENSION);
    read_sample("windows-cmc-key-archival-exchange-key.b64", 0, &key);
    assert_int_equal(payload_parse(key.data, key.len, &payload, &other), -1);
    assert_int_equal(err_code(other), CRYPT_E_INVALID_MSG_TYPE);
}

TEST(pki_sample_of_a_challenge_answer_is_enveloped)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(payload_freep) struct payload *payload = parse_sample("composed-attestation-answer-request.xml", 0, &der);

    assert_int_equal(payload->kind, PAYLOAD_ENVELOPED);
    assert_int_equal(payload->recipients, 1);
}

/* ---- what we build, taken apart by openssl alone ---- */

TEST(pki_renewals_that_we_build_are_taken_apart_and_verified_by_openssl)
{
    static const struct {
        const char *old_kind, *new_kind;
        bool pss;
    } cases[] = {{"RSA", "RSA", false}, {"RSA", "RSA", true}, {"P-256", "P-256", false}, {"P-384", "P-256", false},
        {"RSA", "P-256", false}, {"P-256", "RSA", false}};
    CLEANUP(mem_freep) char *script = testing_source("tests/golden/take_apart_cmc.sh");
    CLEANUP(mem_freep) char *command = mem_printf("'%s' {}", script);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        EVP_PKEY *old_key = pki_key(cases[i].old_kind), *new_key = pki_key(cases[i].new_kind);
        CLEANUP(cert_freep)
        struct cert *old =
            pki_cert(&(struct pki_cert_spec){.subject = "CN=web01", .key = old_key, .serial = 0x1234567});
        CLEANUP(bytes_clear) struct bytes csr = {0};
        CLEANUP(bytes_clear) struct bytes message = {0};
        CLEANUP(bytes_clear) struct bytes said = {0};
        CLEANUP(err_freep) struct err *err = NULL;

        pki_csr(new_key, "CN=web01", old, &csr);
        assert_ok(
            cmc_build_renewal(&csr, NULL, &(struct cms_signer){.key = new_key, .hash = "SHA256", .pss = cases[i].pss},
                &(struct cms_signer){.key = old_key, .cert = old, .hash = "SHA256", .pss = cases[i].pss}, &message,
                &err) == 0,
            err);
        EVP_PKEY_free(old_key);
        EVP_PKEY_free(new_key);
        ask_openssl(&message, command, &said);
        assert_string_equal(bytes_text(&said), "content type: 1.3.6.1.5.5.7.12.2\nsigners: 2\ncertificates: 1\n"
                                               "inner signature: good\nsubject=CN=web01\nverified: yes\n");
        ask_openssl(&message, "openssl cms -cmsout -print -inform DER -in {}", &said);
        assert_contains(bytes_text(&said), "serialNumber: 19088743");
        assert_non_null(memmem(message.data, message.len, old->der.data, old->der.len));
    }
}

TEST(pki_cms_renewals_that_we_build_verify_with_openssl)
{
    EVP_PKEY *old_key = pki_key("RSA"), *new_key = pki_key("P-256");
    CLEANUP(cert_freep)
    struct cert *old = pki_cert(&(struct pki_cert_spec){.subject = "CN=web01", .key = old_key, .serial = 0x1234567});
    CLEANUP(bytes_clear) struct bytes csr = {0};
    CLEANUP(bytes_clear) struct bytes message = {0};
    CLEANUP(bytes_clear) struct bytes said = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    pki_csr(new_key, "CN=web01", old, &csr);
    assert_ok(cms_build_renewal(
                  &csr, &(struct cms_signer){.key = old_key, .cert = old, .hash = "SHA256"}, &message, &err) == 0,
        err);
    EVP_PKEY_free(old_key);
    EVP_PKEY_free(new_key);
    ask_openssl(&message, "openssl cms -verify -noverify -binary -inform DER -in {} -out {}.csr && cat {}.csr", &said);
    assert_true(bytes_equal(&said, &csr));
}
