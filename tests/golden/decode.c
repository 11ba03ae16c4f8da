#include <ctype.h>
#include <jansson.h>

#include "tests/testing.h"

/*
 * What "autoenroll decode" must say of each sample: the exit status, and words that openssl, xmllint and the README of
 * the samples give for the same file. Runs of blanks count as one. In a row with status 1 the last words are part of
 * the error.
 */
static const struct {
    const char *file;
    int status;
    const char *words[8];
} samples[] = {
    {"xcep/01-spec-4.1.1.1-request.xml", 0,
        {"policy request", "message id urn:uuid:5fb5f6fd-4709-414b-8afa-0c05f6686d1c", "last update never"}},
    {"xcep/02-spec-4.1.1.2-response.as-printed.txt", 1, {"form XML", "line"}},
    {"xcep/02-spec-4.1.1.2-response.repaired.xml", 0,
        {"policy id {083C7011-1D0A-4855-885D-AC945184658C}", "name EFS", "encrypting file system", "certificate (8)",
            "EntRootCA_CES_UsernamePassword", "next update in 8 hours"}},
    {"xcep/03-spec-4.1.2.1-request-lastupdate.xml", 0, {"policy request", "last update is no date"}},
    {"xcep/04-spec-4.1.2.2-response-notchanged.as-printed.txt", 1, {"form XML", "line"}},
    {"xcep/04-spec-4.1.2.2-response-notchanged.repaired.xml", 0, {"not changed yes", "templates none"}},
    {"xcep/05-adcs-capture-machine-template.xml", 0,
        {"policy id {DA239A97-1289-4B14-924F-B318D56ED254}", "name Machine", "MACHINE_TYPE", "kerberos (2)",
            "https://win-ca01.mars.milkyway.site/MARS-ROOT-CA_CES_Kerberos/service.svc/CES", "schema 1"}},
    {"xcep/06-adcs-capture-machine-template-trimmed.xml", 0, {"templates none", "skipped", "Machine"}},
    {"xcep/07-adcs-capture-nil-policies.xml", 0,
        {"policy id {F803BF1A-EB36-42A4-973C-AF4555EB8782}", "templates none", "not changed no"}},
    {"xcep/08-mde2-4.2.1.3-request-usernametoken.xml", 0,
        {"user name user@contoso.com", "password is there, and not shown"}},
    {"xcep/09-mde2-4.2.1.2-request-certificate.xml", 0,
        {"policy request", "urn:uuid:72048B64-0F19-448F-8C2E-B4C661860AA0"}},
    {"xcep/10-mde2-4.2.2-response.xml", 0, {"name CEPUnitTest", "SHA-256"}},
    {"xcep/11-mdm-docs-onpremise-response.xml", 0, {"name CEPUnitTest"}},
    {"xcep/12-mdm-prototype-attestation-response.xml", 0, {"policy response", "templates none", "skipped"}},
    {"xcep/13-mdm-docs-federated-response.bad-missing-elements.xml", 0, {"templates none", "skipped"}},
    {"xcep/14-mdm-prototype-response.bad-cAS-case.xml", 0, {"templates none", "skipped"}},
    {"xcep/15-mdm-prototype-response.bad-flat-oIDs.xml", 0, {"templates none", "skipped"}},
    {"xcep/16-test-fixture-response.bad-missing-oids.xml", 0, {"templates none", "skipped", "WebServer", "User"}},
    {"xcep/17-mdm-prototype-response.malformed.txt", 1, {"form XML", "line"}},
    {"xcep/20-composed-request-kerberos.xml", 0, {"client version 0", "server version 0"}},
    {"xcep/21-composed-request-usernametoken-filter.xml", 0,
        {"user name EXAMPLE\\host01-svc", "password is there, and not shown", "7000007.8000009 client version 6"}},
    {"xcep/22-composed-response-rich.xml", 0,
        {"name LinuxMachineEC", "validity 365 days", "renewal period 42 days", "revision 100.4", "at least 256 bits",
            "name LinuxAgentSigned", "ra signatures 1", "Composed%20Example%20CA%202_CES_Kerberos"}},

    {"wstep/adcs-2025-issued-rstrc-body.xml", 1,
        {"enrollment response", "outcome issued", "request id 27", "answer of the ca error",
            "in <RequestSecurityTokenResponseCollection>"}},
    {"wstep/composed-attestation-answer-request.xml", 0, {"CHALLENGERESPONSE", "enveloped data", "RequestID: 1044"}},
    {"wstep/composed-attestation-challenge-response.xml", 0,
        {"outcome pending", "request id 1044", "attestation challenge yes", "Taken Under Submission"}},
    {"wstep/composed-attestation-request.xml", 0, {"key attestation yes", "signature holds"}},
    {"wstep/composed-certs-only-response.p7b", 0,
        {"form DER", "certificates only", "CN=Contoso Root CA", "CN=Contoso Issuing CA 1", "CN=linux01.contoso.test"}},
    {"wstep/composed-denied-fault.xml", 0,
        {"code 0x80094012", "CERTSRV_E_TEMPLATE_DENIED", "what to do", "Denied by Policy Module", "request id 1045",
            "status failed (2)", "the ca denied the request yes"}},
    {"wstep/composed-enroll-on-behalf-request.xml", 0,
        {"on behalf of CONTOSO\\alice", "CN=Enrollment Agent 1", "every signature that the request needs"}},
    {"wstep/composed-issue-cmc-request.xml", 0,
        {"CMC request", "asks to issue or renew", "ccm: linux01.contoso.test",
            "named by key id: the key of the request", "every signature that the request needs"}},
    {"wstep/composed-issue-pkcs10-username-request.xml", 0,
        {"user name CONTOSO\\enrolluser", "password is there, and not shown", "PKCS#10 request", "signature holds"}},
    {"wstep/composed-issued-response.xml", 0,
        {"outcome issued", "request id 1043", "sha1 cbadfd76aea673031d21c21b485141d8e617a4bd",
            "issued certificate sha1 cbadfd76aea673031d21c21b485141d8e617a4bd", "signature of the ca holds",
            "serial 04f0000041397867564534231200000000000413"}},
    {"wstep/composed-ket-request.xml", 0, {"fetch the exchange certificate"}},
    {"wstep/composed-ket-response.xml", 0, {"exchange certificate", "CN=Contoso Issuing CA 1-Xchg", "CA exchange"}},
    {"wstep/composed-key-archival-request.xml", 0, {"archived key yes", "encrypted key hash", "CMC request"}},
    {"wstep/composed-pending-response.xml", 0, {"outcome pending", "request id 1043", "status pending (3)"}},
    {"wstep/composed-query-token-status-request.xml", 0, {"ask after a pending request", "request id 1043"}},
    {"wstep/composed-renewal-cmc-request.xml", 0,
        {"CMC request", "renews", "serial 4f0000002a0f1e2d3c4b5a69780000000000002a",
            "named by key id: the key of the request", "named by issuer and serial number",
            "every signature that the request needs"}},
    {"wstep/composed-renewal-cms-pkcs10-request.xml", 0,
        {"CMS around a PKCS#10 request", "renews", "serial 4f0000002a0f1e2d3c4b5a69780000000000002a",
            "signed attributes yes", "every signature that the request needs"}},
    {"wstep/composed-rpc-unavailable-fault.xml", 0, {"code 0x800706ba", "RPC_S_SERVER_UNAVAILABLE", "what to do"}},
    {"wstep/mswstep-4.1.1.1-issue-request.xml", 0, {"PKCS#10 request", "token type PKCS7", "signature holds"}},
    {"wstep/mswstep-4.1.1.2-issue-response.xml", 0, {"outcome issued", "request id 61", "disposition message Issued"}},
    {"wstep/mswstep-4.1.2.1-ket-request.xml", 0, {"fetch the exchange certificate"}},
    {"wstep/mswstep-4.1.2.2-ket-response.xml", 0, {"exchange certificate", "CA exchange"}},
    {"wstep/mswstep-4.1.3.1-query-token-status-request.xml", 0, {"request id 65"}},
    {"wstep/mswstep-4.1.4.2-fault-response.xml", 0,
        {"subcode InternalServiceFault", "code Receiver", "what to do the service failed"}},
    {"wstep/mswstep-4.1.5.1-renewal-request.xml", 0,
        {"CMS around a PKCS#10 request", "renews", "signed attributes no", "signature holds"}},
    {"wstep/mswstep-4.1.5.2-renewal-response.xml", 0, {"outcome issued", "request id 63"}},
    {"wstep/win11-cmc-new-request.b64", 0,
        {"form base64", "CMC request", "hash SHA1", "every signature that the request needs"}},
    {"wstep/win11-cmc-renewal-request.b64", 0,
        {"CN=desktop-kecnk6q.lab.msae.test", "hash SHA1", "hash SHA256",
            "issuer C=US,ST=Colorado,O=Staging,CN=Staging CA R1", "every signature that the request needs"}},
    {"wstep/win8-cmc-client-info-request.b64", 0,
        {"CMC request", "os version 6.2.9200.2", "every signature that the request needs"}},
    {"wstep/windows-cmc-key-archival-exchange-key.b64", 1, {"form base64", "key-archival-exchange-key"}},
    {"wstep/windows-cmc-key-archival-request.b64", 0, {"archived key yes", "encrypted key hash"}},
    {"wstep/windows-cmc-tpm-attestation-request.b64", 0,
        {"key attestation yes", "NCU-STM-KEYID-FB17D70D734870E919C4E8E603975E664E0E43DE",
            "Microsoft Smart Card Key Storage Provider"}},
    {"wstep/composed-pki/ca-exchange.crt.pem", 0, {"serial 4f00000009a1b2c3d4e5f60718000000000009"}},
    {"wstep/composed-pki/client-new.crt.pem", 0,
        {"form PEM", "not after 2046-01-15 09:00:00 UTC", "sha1 cbadfd76aea673031d21c21b485141d8e617a4bd",
            "key RSA 2048"}},
    {"wstep/composed-pki/client-old.crt.pem", 0, {"sha1 ad55fd7c58e3a3f51ad7d2a1a7bc07765b9f11b9"}},
    {"wstep/composed-pki/enrollment-agent.crt.pem", 0, {"certificate request agent"}},
    {"wstep/composed-pki/issuing-ca.crt.pem", 0, {"ca yes", "subject CN=Contoso Issuing CA 1,DC=contoso,DC=test"}},
    {"wstep/composed-pki/root.crt.pem", 0, {"ca yes", "serial 1a2b3c4d5e6f708192a3b4c5d6e7f801"}},
};

/* Runs of blanks and line ends become one blank. */
static void squeeze(struct bytes *text)
{
    char *to = (char *)text->data;

    for (const char *from = to; from && *from; from++)
        if (!isspace((unsigned char)*from))
            *to++ = *from;
        else if (to != (char *)text->data && to[-1] != ' ')
            *to++ = ' ';
    if (to)
        *to = 0;
}

/* Both outputs of "autoenroll decode @option FILE" together. Returns its exit status. */
static int run_decode(struct bytes *out, const char *option, const char *path)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");

    return testing_shell(out, "'%s' decode %s '%s' 2>&1", program, option, path);
}

TEST(decode_says_of_every_sample_what_openssl_and_xmllint_say)
{
    size_t wrong = 0;

    for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
        CLEANUP(mem_freep) char *name = mem_printf("samples/%s", samples[i].file);
        CLEANUP(mem_freep) char *path = testing_shared(name);
        CLEANUP(bytes_clear) struct bytes out = {0};
        int status = run_decode(&out, "", path);

        squeeze(&out);
        if (status != samples[i].status) {
            print_error("%s: status %d and not %d: %s\n", samples[i].file, status, samples[i].status, bytes_text(&out));
            wrong++;
        }
        for (size_t word = 0; word < ARRAY_SIZE(samples[i].words) && samples[i].words[word]; word++)
            if (!strstr(bytes_text(&out), samples[i].words[word])) {
                print_error("%s: no '%s' in: %s\n", samples[i].file, samples[i].words[word], bytes_text(&out));
                wrong++;
            }
    }
    assert_int_equal(wrong, 0);
}

/* But for keys, tables of values and the READMEs. */
TEST(decode_is_tested_with_every_sample_there_is)
{
    CLEANUP(mem_freep) char *folder = testing_shared("samples");
    CLEANUP(bytes_clear) struct bytes files = {0};
    char *position = NULL;
    size_t missing = 0;

    assert_int_equal(
        testing_shell(&files,
            "cd '%s' && find * -type f ! -name README.md ! -name '*.xsd' ! -name '*.key.b64' ! -name attestation-values.txt",
            folder),
        0);
    for (char *file = strtok_r((char *)files.data, "\n", &position); file; file = strtok_r(NULL, "\n", &position)) {
        size_t i;

        for (i = 0; i < ARRAY_SIZE(samples) && strcmp(samples[i].file, file) != 0; i++)
            ;
        if (i == ARRAY_SIZE(samples)) {
            print_error("no row for %s\n", file);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
}

TEST(decode_json_parses_and_has_the_same_outcome)
{
    for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
        CLEANUP(mem_freep) char *name = mem_printf("samples/%s", samples[i].file);
        CLEANUP(mem_freep) char *path = testing_shared(name);
        CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
        CLEANUP(bytes_clear) struct bytes out = {0};
        json_error_t error;
        json_t *json;

        assert_int_equal(testing_shell(&out, "'%s' --json decode '%s' 2>/dev/null", program, path), samples[i].status);
        json = json_loadb(bytes_text(&out), out.len, JSON_REJECT_DUPLICATES, &error);
        if (!json)
            fail_msg("%s: %s: %s", samples[i].file, error.text, bytes_text(&out));
        assert_non_null(json_string_value(json_object_get(json, "form")));
        json_decref(json);
    }
}

TEST(decode_reads_standard_input_and_finds_the_form_by_itself)
{
    CLEANUP(mem_freep) char *pem = testing_shared("samples/wstep/composed-pki/client-new.crt.pem");
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    static const struct {
        const char *convert, *form;
    } forms[] = {
        {"cat", "PEM"},
        {"openssl x509 -outform DER", "DER"},
        {"openssl x509 -outform DER | base64", "base64"},
        {"openssl x509 -outform DER | base64 -w0", "base64"},
        {"openssl x509 -text", "PEM"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(mem_freep) char *wanted = mem_printf("form %s", forms[i].form);

        assert_int_equal(testing_shell(&out, "cat '%s' | %s | '%s' decode -", pem, forms[i].convert, program), 0);
        squeeze(&out);
        assert_contains(bytes_text(&out), wanted);
        assert_contains(bytes_text(&out), "serial 04f0000041397867564534231200000000000413");
    }
}

TEST(decode_never_shows_a_password_or_a_private_key)
{
    CLEANUP(mem_freep) char *request = testing_shared("samples/xcep/21-composed-request-usernametoken-filter.xml");
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    CLEANUP(bytes_clear) struct bytes password = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(
        testing_shell(&password, "xmllint --xpath 'string(//*[local-name()=\"Password\"])' '%s'", request), 0);
    password.data[strcspn((char *)password.data, "\n")] = 0;
    assert_true(strlen(bytes_text(&password)) > 4);
    assert_int_equal(run_decode(&out, "", request), 0);
    assert_null(strstr(bytes_text(&out), bytes_text(&password)));
    assert_int_equal(run_decode(&out, "--json", request), 0);
    assert_null(strstr(bytes_text(&out), bytes_text(&password)));

    assert_int_equal(testing_shell(&out,
                         "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 2>/dev/null | "
                         "'%s' decode - 2>&1",
                         program),
        1);
    assert_contains(bytes_text(&out), "a private key, which is never shown");
}

/* Bytes that a terminal obeys: C0 but for the line end, DEL, C1, and the direction marks U+200E..202E. */
static bool is_harmless(const struct bytes *text)
{
    for (size_t i = 0; i < text->len; i++) {
        uint8_t c = text->data[i];

        if ((c < 0x20 && c != '\n') || c == 0x7f)
            return false;
        if (c == 0xc2 && i + 1 < text->len && text->data[i + 1] < 0xa0)
            return false;
        if (c == 0xe2 && i + 2 < text->len && text->data[i + 1] == 0x80 && text->data[i + 2] >= 0x8e &&
            text->data[i + 2] <= 0xae)
            return false;
    }
    return true;
}

static void assert_decodes_to_harmless_text(const char *data, size_t len, const char *shown)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/message", dir);
    static const char *const options[] = {"", "--json"};

    testing_write(path, data, len);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        CLEANUP(bytes_clear) struct bytes out = {0};
        int status = run_decode(&out, options[i], path);

        assert_in_range(status, 0, 1);
        assert_true(out.len > 0);
        if (!is_harmless(&out))
            fail_msg("not harmless: %s", bytes_text(&out));
        if (shown)
            assert_contains(bytes_text(&out), shown);
    }
}

TEST(decode_lets_no_control_character_or_terminal_escape_through)
{
    static const char fault[] =
        "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'><s:Header><a:Action "
        "xmlns:a='http://www.w3.org/2005/08/addressing'>urn:\xc2\x9b"
        "31m</a:Action></s:Header><s:Body><s:Fault>"
        "<s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text xml:lang='en'>told&#13;you &#x202e;gnorw "
        "&#x9b;2J \xc2\x85 &#x2066;end</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>";
    static const char unknown[] = "<e\xe2\x80\xaevil/>";
    static const char garbage[] = "\x1b]0;owned\x07\xff\xfe";
    static const char escape[] = "<a>\x1b[31m</a>";
    static const char pem[] = "-----BEGIN \x1b[31mCERTIFICATE-----\nMAA=\n-----END \x1b[31mCERTIFICATE-----\n";

    assert_decodes_to_harmless_text(fault, strlen(fault), "u{202e}gnorw");
    assert_decodes_to_harmless_text(unknown, strlen(unknown), NULL);
    assert_decodes_to_harmless_text(garbage, strlen(garbage), "neither XML nor PEM");
    assert_decodes_to_harmless_text(escape, strlen(escape), "line");
    assert_decodes_to_harmless_text(pem, strlen(pem), "x1b[31mCERTIFICATE");
}

TEST(decode_says_no_to_wrong_usage_and_tells_how)
{
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "'%s' 2>&1", program), 64);
    assert_contains(bytes_text(&out), "usage: autoenroll");
    assert_int_equal(testing_shell(NULL, "'%s' decode 2>/dev/null", program), 64);
    assert_int_equal(testing_shell(NULL, "'%s' decode a b 2>/dev/null", program), 64);
    assert_int_equal(testing_shell(NULL, "'%s' nonsense 2>/dev/null", program), 64);
    assert_int_equal(testing_shell(NULL, "'%s' --nonsense 2>/dev/null", program), 64);
    assert_int_equal(testing_shell(&out, "'%s' --help", program), 0);
    assert_contains(bytes_text(&out), "decode FILE|-");
    assert_int_equal(testing_shell(&out, "'%s' decode /nonexistent 2>&1", program), 1);
    assert_contains(bytes_text(&out), "opening '/nonexistent': No such file or directory");
    assert_int_equal(testing_shell(&out, "'%s' decode /dev/null 2>&1", program), 1);
    assert_contains(bytes_text(&out), "nothing is in it");
}

TEST(decode_reports_output_that_cannot_be_written)
{
    CLEANUP(mem_freep) char *pem = testing_shared("samples/wstep/composed-pki/client-new.crt.pem");
    CLEANUP(mem_freep) char *program = testing_bin("autoenroll");
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "'%s' decode '%s' 2>&1 >/dev/full", program, pem), 1);
    assert_contains(bytes_text(&out), "No space left on device");
}
