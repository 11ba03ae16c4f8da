#include "agent/config/settings.h"

#include <sys/stat.h>

#include "policy/policy.h"
#include "protocol/base/when.h"
#include "tests/testing.h"

/* A configuration of one file, in a directory of its own; returns its path. */
static char *file_of(const char *text)
{
    CLEANUP(mem_freep) char *dir = testing_tmpdir();
    char *path = mem_printf("%s/autoenroll.conf", dir);

    testing_write(path, text, strlen(text));
    return path;
}

/* A fragment in conf.d beside it. */
static void add_fragment(const char *path, const char *name, const char *text)
{
    CLEANUP(mem_freep) char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    CLEANUP(mem_freep) char *conf_d = mem_printf("%s/conf.d", dir), *fragment = mem_printf("%s/%s", conf_d, name);

    (void)mkdir(conf_d, 0755);
    testing_write(fragment, text, strlen(text));
}

static void load(const char *text, struct settings *out)
{
    CLEANUP(mem_freep) char *path = file_of(text);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(settings_load(path, out, &err) == 0, err);
}

/* @why and @hint are parts of what is said; NULL: none. */
static void check_refused(const char *path, enum err_kind kind, const char *why, const char *hint)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct settings out = {.n_servers = 42};

    if (settings_load(path, &out, &err) != -1)
        fail_msg("accepted, and should have said: %s", why);
    assert_int_equal(err_kind(err), kind);
    assert_contains(err_text(err), "reading the configuration: ");
    assert_contains(err_text(err), why);
    if (hint)
        assert_contains(err_hint_text(err), hint);
    assert_int_equal(out.n_servers, 42); /* outputs only on success */
}

static void refused(const char *text, const char *why, const char *hint)
{
    CLEANUP(mem_freep) char *path = file_of(text);

    check_refused(path, ERR_CONFIG, why, hint);
}

#define URI    "uri = https://pki.example/CEP\n"
#define ROOT   "ca-file = /root.pem\n"
#define SERVER "[policy-server \"corp\"]\n" URI "auth = certificate\n" ROOT

TEST(settings_read_every_key)
{
    static const char text[] = "[agent]\n"
                               "token = pkcs11:token=tpm\n"
                               "pkcs11-module = /usr/lib/tpm2.so\n"
                               "pin-credential = token.pin\n"
                               "pulse = 1h30m\n"
                               "grace = 2d\n"
                               "job-limit = 45s\n"
                               "notify = 30d, 14d\n"
                               "maintenance = Sat,Sun 01:00-05:00\n"
                               "[policy-server \"corp\"]\n"
                               "uri = https://pki.example/CEP\n"
                               "auth = username\n"
                               "username = CORP\\enroll\n"
                               "ca-file = /etc/root.pem\n"
                               "policy-id = {FF327A7D}\n"
                               "ces-hosts = pki.example ca2.example:8443\n"
                               "autoenroll = yes\n"
                               "templates = Machine, WebServer\n"
                               "cost = 7\n"
                               "password-fallback = on\n"
                               "[certificate \"web\"]\n"
                               "policy-server = corp\n"
                               "template = WebServer\n"
                               "subject = CN=%{fqdn},O=\"A, B\"\n"
                               "dns = %{fqdn} www.example.com\n"
                               "ip = 192.0.2.1\n"
                               "uri = urn:x\n"
                               "email = a@example.com\n"
                               "upn = a@corp\n"
                               "key = file\n"
                               "export = /etc/tls\n"
                               "format = pem\n"
                               "owner = www\n"
                               "group = tls\n"
                               "mode = 0640\n"
                               "reload = nginx.service, haproxy.service\n"
                               "run = /usr/bin/hook\n"
                               "run-as = www\n"
                               "probe = localhost:443\n"
                               "[watch \"haproxy\"]\n"
                               "files = /etc/haproxy/*.pem\n";
    CLEANUP(settings_clear) struct settings s = {0};
    const struct settings_server *server;
    const struct settings_certificate *web;

    load(text, &s);
    assert_string_equal(s.agent.token, "pkcs11:token=tpm");
    assert_string_equal(s.agent.pkcs11_module, "/usr/lib/tpm2.so");
    assert_string_equal(s.agent.pin_credential, "token.pin");
    assert_int_equal(s.agent.pulse, 90 * WHEN_MINUTE);
    assert_int_equal(s.agent.grace, 2 * WHEN_DAY);
    assert_int_equal(s.agent.job_limit, 45);
    assert_int_equal(s.agent.notify.n, 2);
    assert_string_equal(s.agent.notify.items[1], "14d");
    assert_string_equal(s.agent.maintenance, "Sat,Sun 01:00-05:00");

    server = settings_find_server(&s, "corp");
    assert_non_null(server);
    assert_string_equal(server->uri, "https://pki.example/CEP");
    assert_int_equal(server->auth, POLICY_AUTH_USERNAME);
    assert_string_equal(server->username, "CORP\\enroll");
    assert_string_equal(server->ca_file, "/etc/root.pem");
    assert_string_equal(server->policy_id, "{FF327A7D}");
    assert_string_equal(server->ces_hosts.items[1], "ca2.example:8443");
    assert_true(server->autoenroll);
    assert_string_equal(server->templates.items[1], "WebServer");
    assert_int_equal(server->cost, 7);
    assert_true(server->password_fallback);

    assert_int_equal(s.n_certificates, 1);
    web = &s.certificates[0];
    assert_string_equal(web->name, "web");
    assert_string_equal(web->policy_server, "corp");
    assert_string_equal(web->template_name, "WebServer");
    assert_string_equal(web->subject, "CN=%{fqdn},O=\"A, B\"");
    assert_string_equal(web->dns.items[1], "www.example.com");
    assert_string_equal(web->ip.items[0], "192.0.2.1");
    assert_string_equal(web->uri.items[0], "urn:x");
    assert_string_equal(web->email.items[0], "a@example.com");
    assert_string_equal(web->upn.items[0], "a@corp");
    assert_true(web->file_key);
    assert_string_equal(web->probe, "localhost:443");
    assert_int_equal(web->reload.n, 2);
    assert_string_equal(web->reload.items[1], "haproxy.service");
    assert_string_equal(web->run_as, "www");
    assert_string_equal(s.watches[0].files.items[0], "/etc/haproxy/*.pem");
}

TEST(settings_have_defaults)
{
    CLEANUP(settings_clear) struct settings s = {0};

    load(SERVER "[certificate \"web\"]\npolicy-server = corp\ntemplate = W\n", &s);
    assert_null(s.agent.token);
    assert_int_equal(s.agent.pulse, 8 * WHEN_HOUR);
    assert_int_equal(s.agent.grace, 7 * WHEN_DAY);
    assert_int_equal(s.agent.job_limit, 120);
    assert_int_equal(s.agent.notify.n, 5);
    assert_false(s.servers[0].autoenroll);
    assert_false(s.servers[0].password_fallback);
    assert_int_equal(s.servers[0].templates.n, 0);
    assert_int_equal(s.servers[0].cost, 0x7ffffffd); /* [MS-XCEP notes] 4.3 */
    assert_false(s.certificates[0].file_key);
    assert_null(s.certificates[0].subject);
}

TEST(settings_skip_comments_and_white_space)
{
    CLEANUP(settings_clear) struct settings s = {0};

    load("\xef\xbb\xbf; a mark of byte order before it\n"
         "# another\n\n"
         "  [agent]  \n"
         "   pulse=1h   ; of the clock\n"
         "\tgrace\t=\t3d\t\r\n" SERVER "policy-id = a;b\n",
        &s);
    assert_int_equal(s.agent.pulse, WHEN_HOUR);
    assert_int_equal(s.agent.grace, 3 * WHEN_DAY);
    assert_string_equal(s.servers[0].policy_id, "a;b"); /* a comment begins behind a blank */
}

/* What is wrong is said with file, line and the nearest word. */
TEST(settings_refuse_what_they_do_not_know)
{
    refused("[agent]\npulse = 1h\npuls = 2h\n", "autoenroll.conf:3: unknown key 'puls' in [agent]",
        "did you mean 'pulse'?");
    refused(SERVER "user-name = x\n", "autoenroll.conf:5: unknown key 'user-name' in [policy-server]",
        "did you mean 'username'?");
    refused("[certifcate \"web\"]\ntemplate = W\n", "unknown section [certifcate]", "did you mean [certificate]?");
    refused("\n  pulse = 1h\n", "autoenroll.conf:2: there is no section above this line", NULL);
    refused("[agent]\nPulse = 1h\n", "unknown key 'Pulse'", "did you mean 'pulse'?");
}

TEST(settings_suggest_nothing_for_a_word_that_is_like_none)
{
    static const char *const texts[] = {
        "[agent]\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx = 1\n",
        "[xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\n"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(mem_freep) char *path = file_of(texts[i]);
        CLEANUP(err_freep) struct err *err = NULL;
        struct settings out;

        assert_int_equal(settings_load(path, &out, &err), -1);
        assert_contains(err_text(err), "unknown ");
        assert_null(err_hint_text(err));
    }
}

TEST(settings_refuse_unknown_sections_that_are_empty_too)
{
    refused(SERVER "[certifcate \"web\"]\n", "autoenroll.conf:5: unknown section [certifcate]",
        "did you mean [certificate]?");
    refused("[certificate \"web\"]\n", "[certificate \"web\"] has no 'policy-server'", "add the line");
}

TEST(settings_refuse_what_is_no_ini)
{
    refused("[agent]\nnonsense\n", "autoenroll.conf:2: neither a section, nor key = value, nor a comment", NULL);
    refused("[agent\npulse = 1h\n", "autoenroll.conf:1: the section's ']' is missing", NULL);
    refused("; fine\n[agent] pulse = 1h\n", "autoenroll.conf:2: behind the section's ']'", NULL);
}

TEST(settings_refuse_a_key_that_is_given_twice_in_one_file)
{
    refused(
        "[agent]\npulse = 1h\ngrace = 1d\npulse = 2h\n", "autoenroll.conf:4: 'pulse' is given twice in [agent]", NULL);
    refused(SERVER "[agent]\ngrace = 1d\n" SERVER, "'uri' is given twice in [policy-server \"corp\"]", NULL);
}

TEST(settings_refuse_values_of_another_form)
{
    static const struct {
        const char *section, *line, *why;
    } rows[] = {
        {"agent", "pulse = soon", "autoenroll.conf:2: pulse: "},
        {"agent", "pulse = -1h", "pulse: "},
        {"agent", "grace =", "grace: "},
        {"policy-server \"a\"", "cost = many", "cost: 'many' is not a number from 0 to 4294967295"},
        {"policy-server \"a\"", "cost = 4294967296", "cost: "},
        {"policy-server \"a\"", "cost = -1", "cost: "},
        {"policy-server \"a\"", "cost = 1x", "cost: "},
        {"policy-server \"a\"", "autoenroll = maybe", "autoenroll: 'maybe' is neither yes nor no"},
        {"policy-server \"a\"", "auth = password", "auth: 'password' is no kind of authentication"},
        {"certificate \"a\"", "key = tpm", "key: key is 'token' or 'file', not 'tpm'"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *text = mem_printf("[%s]\n%s\n", rows[i].section, rows[i].line);

        refused(text, rows[i].why, NULL);
    }
}

TEST(settings_refuse_text_that_is_empty)
{
    refused("[policy-server \"corp\"]\n" URI "auth = certificate\nca-file =\n", "ca-file: ", NULL);
    refused(SERVER "policy-id =\n", "policy-id: ", NULL); /* two sections with an empty one would be merged */
    refused(SERVER "templates =\n", "templates: there is no value", "leave the whole line out"); /* none is not all */
}

/* A name becomes a directory, a label of a token and a bus path. */
TEST(settings_refuse_bad_names)
{
    static const char *const headers[] = {"policy-server", "policy-server corp", "policy-server \"\"",
        "policy-server \"../x\"", "policy-server \"a/b\"", "policy-server \"-a\"", "policy-server \".a\"",
        "policy-server \"a b\"", "policy-server \"\303\266\"", "policy-server \"a\" b", "policy-server \"a",
        "policy-server \"12345678901234567890123456789012345678901234567890123456789012345\""};

    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        CLEANUP(mem_freep) char *text = mem_printf("[%s]\nauth = certificate\n", headers[i]);

        refused(text, "is not a section with a name", "write [policy-server \"NAME\"]");
    }
    refused("[agent \"x\"]\npulse = 1h\n", "[agent] takes no name", NULL);
}

TEST(settings_know_how_maintenance_hours_are_written)
{
    CLEANUP(mem_freep) char *path = file_of("[agent]\nmaintenance = Sat,Sun 01:00-05:00\n" SERVER);
    CLEANUP(settings_clear) struct settings settings = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(settings_load(path, &settings, &err) == 0, err);
    assert_string_equal(settings.agent.maintenance, "Sat,Sun 01:00-05:00");
    refused("[agent]\nmaintenance = at night\n" SERVER, "[agent]: maintenance: 'at night' names no hours",
        "Sat,Sun 01:00-05:00");
}

TEST(settings_take_a_name_of_64_characters)
{
    static const char name[] = "1234567890123456789012345678901234567890123456789012345678901234";
    CLEANUP(mem_freep) char *text = mem_printf("[policy-server \"%s\"]\n" URI "auth = certificate\n" ROOT, name);
    CLEANUP(settings_clear) struct settings s = {0};

    load(text, &s);
    assert_string_equal(s.servers[0].name, name);
}

TEST(settings_refuse_what_does_not_fit_together)
{
    refused("[policy-server \"a\"]\nauth = certificate\n" ROOT, "[policy-server \"a\"] has no 'uri'",
        "add the line 'uri = ...'");
    refused("[policy-server \"a\"]\n" URI ROOT, "[policy-server \"a\"] has no 'auth'", NULL);
    refused("[policy-server \"a\"]\n" URI "auth = certificate\n", "has no 'ca-file'", "PEM file");
    refused(
        "[policy-server \"a\"]\n" URI "auth = username\n" ROOT, "auth = username needs 'username'", "credential store");
    refused(SERVER "[certificate \"web\"]\ntemplate = W\n", "[certificate \"web\"] has no 'policy-server'", NULL);
    refused(SERVER "[certificate \"web\"]\npolicy-server = corp\n", "[certificate \"web\"] has no 'template'", NULL);
    refused(SERVER "[certificate \"web\"]\npolicy-server = crop\ntemplate = W\n",
        "[certificate \"web\"]: there is no [policy-server \"crop\"]", "did you mean \"corp\"?");
    refused("[watch \"a\"]\nfiles = ,\n", "[watch \"a\"] has no 'files'", NULL);
    refused(
        SERVER "ces-hosts = ok.example https://pki.example/CES\n", "'https://pki.example/CES' is no host", "HOST:PORT");
}

TEST(settings_refuse_addresses_that_are_not_https)
{
    static const char *const uris[] = {"http://pki.example/CEP", "ldap:", "pki.example/CEP", "https:/pki.example",
        "https://", "https:///CEP", "https://user:pw@pki.example/CEP", "https://pki.example /CEP"};

    for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
        CLEANUP(mem_freep)
        char *text = mem_printf("[policy-server \"a\"]\nuri = %s\nauth = certificate\n" ROOT, uris[i]);

        refused(text, "[policy-server \"a\"]: uri must ", NULL);
    }
}

TEST(settings_lend_the_trust_of_a_section_with_the_same_policy)
{
    CLEANUP(settings_clear) struct settings s = {0};

    load("[policy-server \"renewal\"]\n" URI "auth = certificate\npolicy-id = {1}\n" SERVER "policy-id = {1}\n", &s);
    assert_string_equal(settings_find_server(&s, "renewal")->ca_file, "/root.pem");
    refused("[policy-server \"other\"]\n" URI "auth = certificate\npolicy-id = {2}\n" SERVER "policy-id = {1}\n",
        "[policy-server \"other\"] has no 'ca-file'", NULL);
    refused("[policy-server \"other\"]\n" URI "auth = certificate\n" SERVER, "[policy-server \"other\"] has no", NULL);
}

TEST(settings_of_later_files_win)
{
    CLEANUP(mem_freep) char *path = file_of("[agent]\npulse = 1h\ngrace = 1d\nnotify = 1d 2d\n" SERVER);
    CLEANUP(settings_clear) struct settings s = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    add_fragment(path, "20-b.conf", "[agent]\npulse = 3h\n");
    add_fragment(path, "10-a.conf", "[agent]\npulse = 2h\nnotify = 9d\n[policy-server \"corp\"]\ncost = 5\n");
    add_fragment(path, "30-c.conf.bak", "[nonsense]\n");
    add_fragment(path, ".hidden.conf", "[nonsense]\n");
    assert_ok(settings_load(path, &s, &err) == 0, err);
    assert_int_equal(s.agent.pulse, 3 * WHEN_HOUR);
    assert_int_equal(s.agent.grace, WHEN_DAY);
    assert_int_equal(s.agent.notify.n, 1); /* replaced, not added to */
    assert_int_equal(s.n_servers, 1);
    assert_int_equal(s.servers[0].cost, 5);
    assert_string_equal(s.servers[0].uri, "https://pki.example/CEP");
    assert_int_equal(s.files.n, 3);
    assert_string_equal(s.files.items[0], path);
    assert_contains(s.files.items[1], "conf.d/10-a.conf");
    assert_contains(s.files.items[2], "conf.d/20-b.conf");
}

TEST(settings_name_the_fragment_that_is_wrong)
{
    CLEANUP(mem_freep) char *path = file_of(SERVER);

    add_fragment(path, "10-a.conf", "; fine\n\n[agent]\npulze = 1h\n");
    check_refused(path, ERR_CONFIG, "conf.d/10-a.conf:4: unknown key 'pulze'", "'pulse'");
}

TEST(settings_refuse_lines_that_are_too_long_and_take_the_longest)
{
    CLEANUP(mem_freep) char *blanks = mem_alloc(5000);
    CLEANUP(mem_freep) char *fits = NULL, *too_long = NULL;
    CLEANUP(settings_clear) struct settings s = {0};

    memset(blanks, 'x', 4999);
    fits = mem_printf(SERVER "[agent]\npin-credential = %.180s\n", blanks);
    load(fits, &s);
    assert_int_equal(strlen(s.agent.pin_credential), 180);
    too_long = mem_printf("[agent]\npulse = 1h\nmaintenance = %s\n", blanks);
    refused(too_long, "autoenroll.conf:3: the line is longer than 197 characters", NULL);
}

TEST(settings_refuse_files_that_are_no_text)
{
    CLEANUP(mem_freep) char *path = file_of("");
    CLEANUP(mem_freep) char *much = mem_alloc(SETTINGS_MAX_FILE + 2);

    testing_write(path, "[agent]\npulse = 1h\n\0[nonsense]\n", 30);
    check_refused(path, ERR_CONFIG, "a NUL byte in the file", NULL);
    memset(much, '\n', SETTINGS_MAX_FILE + 1);
    testing_write(path, much, SETTINGS_MAX_FILE + 1);
    check_refused(path, ERR_CONFIG, "more than 262144 bytes", NULL);
}

TEST(settings_say_that_a_file_is_missing)
{
    check_refused("/nonexistent/autoenroll.conf", ERR_MISSING,
        "there is no configuration file '/nonexistent/autoenroll.conf'", "--config");
}

TEST(settings_bound_the_number_of_sections)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    for (int i = 0; i <= SETTINGS_MAX_SECTIONS; i++)
        bytes_printf(&text, NULL, "[watch \"w%d\"]\nfiles = a\n", i);
    refused(bytes_text(&text), "more than 256 sections [watch]", NULL);
}

TEST(settings_describe_what_was_read_so_that_it_reads_the_same)
{
    CLEANUP(settings_clear) struct settings first = {0}, second = {0};
    CLEANUP(bytes_clear) struct bytes once = {0}, twice = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    const char *body;

    load("[agent]\npulse = 90m\n" SERVER "autoenroll = TRUE\ntemplates = A,B\nusername = C\\b\n"
         "[certificate \"web\"]\npolicy-server = corp\ntemplate = W\nkey = file\ndns = a b\n"
         "[watch \"w\"]\nfiles = /a/*.pem\n",
        &first);
    assert_ok(settings_describe(&first, &once, &err) == 0, err);
    assert_contains(bytes_text(&once), "autoenroll.conf\n[agent]\n");
    assert_contains(bytes_text(&once), "pulse             = 5400s\n");
    assert_contains(bytes_text(&once), "grace             = 604800s\n"); /* a default */
    assert_contains(bytes_text(&once), "auth              = certificate\n");
    assert_contains(bytes_text(&once), "templates         = A B\n");
    assert_contains(bytes_text(&once), "key               = file\n");
    assert_null(strstr(bytes_text(&once), "policy-id")); /* not said */

    load(bytes_text(&once), &second);
    assert_ok(settings_describe(&second, &twice, &err) == 0, err);
    body = strstr(bytes_text(&twice), "[agent]");
    assert_string_equal(body, strstr(bytes_text(&once), "[agent]"));
}

TEST(settings_are_cleared_after_any_mistake) /* the leak checker watches */
{
    refused(SERVER "[certificate \"web\"]\npolicy-server = corp\ndns = a b c\ntemplate = W\nzeal = 1\n",
        "unknown key 'zeal'", NULL);
}
