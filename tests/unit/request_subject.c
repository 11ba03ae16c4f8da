#include "agent/request/subject.h"
#include "protocol/xcep/flags.h"
#include "tests/rogue.h"
#include "tests/testing.h"

static struct machine machine = {
    .hostname = (char[]){"web01"}, .fqdn = (char[]){"web01.example"}, .id = (char[]){"0123456789abcdef"}};

struct scene {
    struct template template;
    struct job_names names;
    struct subject subject;
    struct err *err;
};

static void scene_clear(struct scene *s)
{
    template_clear(&s->template);
    job_names_clear(&s->names);
    subject_clear(&s->subject);
    err_free(s->err);
}

static int build(struct scene *s, uint32_t flags, const struct cert *old)
{
    if (!s->template.name)
        s->template.name = mem_strdup("WebServer");
    s->template.subject_name_flags = flags;
    subject_clear(&s->subject);
    return subject_build(&s->template, &s->names, &machine, old, &s->subject, &s->err);
}

static void assert_name(const struct subject *subject, const char *expected)
{
    CLEANUP(mem_freep) char *text = name_to_text(subject->name.data, subject->name.len, NULL);

    assert_string_equal(text, expected);
}

TEST(subject_is_empty_where_the_directory_builds_it)
{
    CLEANUP(scene_clear) struct scene s = {.names.subject = mem_strdup("CN=ignored")};

    strlist_add(&s.names.dns, "ignored.example");
    assert_ok(build(&s, XCEP_NAME_SUBJECT_ALT_REQUIRE_DNS, NULL) == 0, s.err);
    assert_int_equal(s.subject.name.len, 0);
    assert_int_equal(s.subject.san.n, 0);
}

TEST(subject_expands_what_the_machine_knows_of_itself)
{
    CLEANUP(scene_clear)
    struct scene s = {.names.subject = mem_strdup("CN=%{fqdn},OU=%{machine-id},O=%{hostname} Ltd")};

    strlist_add(&s.names.dns, "%{fqdn}");
    strlist_add(&s.names.dns, "www.example");
    strlist_add(&s.names.dns, "WEB01.example"); /* the same once more */
    strlist_add(&s.names.ip, "192.0.2.7");
    strlist_add(&s.names.upn, "%{hostname}@corp.example");
    assert_ok(build(&s, XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT, NULL) == 0, s.err);
    assert_name(&s.subject, "CN=web01.example,OU=0123456789abcdef,O=web01 Ltd");
    assert_int_equal(s.subject.san.n, 4);
    assert_true(san_has(&s.subject.san, SAN_DNS, "web01.example"));
    assert_true(san_has(&s.subject.san, SAN_DNS, "www.example"));
    assert_true(san_has(&s.subject.san, SAN_IP, "192.0.2.7"));
    assert_true(san_has(&s.subject.san, SAN_UPN, "web01@corp.example"));
}

TEST(subject_gives_alternative_names_alone_where_only_those_are_wanted)
{
    CLEANUP(scene_clear) struct scene s = {.names.subject = mem_strdup("CN=web01")};

    strlist_add(&s.names.dns, "web01.example");
    assert_ok(build(&s, XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME, NULL) == 0, s.err);
    assert_int_equal(s.subject.name.len, 0);
    assert_int_equal(s.subject.san.n, 1);
}

TEST(subject_of_a_renewal_is_that_of_the_old_certificate)
{
    CLEANUP(scene_clear) struct scene s = {.names.subject = mem_strdup("CN=changed")};
    const struct rogue_cert what = {
        .subject = "CN=old,O=Example", .key = rogue_key("P-256"), .san = "DNS:old.example,IP:192.0.2.1"};
    const struct cert *old = rogue_issue(rogue_ca_new("CA", NULL), &what);

    assert_ok(build(&s, XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT, old) == 0, s.err);
    assert_true(bytes_equal(&s.subject.name, &old->subject_der));
    assert_true(san_equal(&s.subject.san, &old->san));
}

TEST(subject_that_is_wanted_and_not_configured_is_a_configuration_error)
{
    CLEANUP(scene_clear) struct scene s = {0};

    assert_int_equal(build(&s, XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT, NULL), -1);
    assert_int_equal(err_kind(s.err), ERR_CONFIG);
    assert_contains(err_text(s.err), "'WebServer' wants the names from us");
    assert_contains(err_hint_text(s.err), "[certificate]");
}

TEST(subject_names_what_cannot_be_expanded_or_read)
{
    static const struct {
        const char *subject, *text, *hint;
    } bad[] = {{"CN=%{nonsense}", "%{nonsense} is not known", "%{fqdn}"}, {"CN=%{fqdn", "without }", ""},
        {"no name", "no name", "CN=web01"}};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(scene_clear) struct scene s = {.names.subject = mem_strdup(bad[i].subject)};

        assert_int_equal(build(&s, XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT, NULL), -1);
        assert_contains(err_text(s.err), bad[i].text);
        assert_contains(err_hint_text(s.err), bad[i].hint);
    }
}

/* A machine of files, as they stand under a root. */
static void machine_of(const char *hostname, const char *hosts, struct machine *out)
{
    CLEANUP(mem_freep) char *root = testing_tmpdir();
    CLEANUP(mem_freep) char *name = mem_printf("%s/etc/hostname", root);
    CLEANUP(mem_freep) char *table = mem_printf("%s/etc/hosts", root);

    assert_int_equal(testing_shell(NULL, "mkdir '%s/etc'", root), 0);
    testing_write(name, hostname, strlen(hostname));
    testing_write(table, hosts, strlen(hosts));
    machine_read(root, out);
}

TEST(machine_knows_its_full_name_from_its_own_files)
{
    static const struct {
        const char *hostname, *hosts, *fqdn;
    } machines[] = {
        {"web01.example\n", "", "web01.example"},
        {"# written by hand\nweb01\n", "127.0.0.1 localhost\n127.0.1.1 web01.example web01\n", "web01.example"},
        {"web01\n", "127.0.1.1 web01 web01.example\n", "web01.example"},
        {"web01\n", "127.0.1.1 web01 # web01.comment\n", NULL},
        {"web01\n", "10.0.0.1 other.example web01\n", NULL}, /* a name for something else */
        {"web01\n", "", NULL},
        {"we;b01.example\n", "", NULL},
        {"", "", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
        struct machine m;

        machine_of(machines[i].hostname, machines[i].hosts, &m);
        if (machines[i].fqdn)
            assert_string_equal(m.fqdn, machines[i].fqdn);
        else
            assert_null(m.fqdn);
        machine_clear(&m);
    }
}
