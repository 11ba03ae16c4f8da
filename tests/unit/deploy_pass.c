#include "agent/deploy/deploy.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/deploy_fixture.h"

/* Section "web" exports to the target, and @more. */
static void exports(struct deploy_fixture *f, const char *more)
{
    CLEANUP(mem_freep) char *lines = mem_printf("key = file\nexport = %s\n%s", f->target, more);

    deploy_fixture_section(f, "", lines);
}

/* A program in the fixture's directory. Returns its path, owned. */
static char *program(const struct deploy_fixture *f, const char *name, const char *script)
{
    CLEANUP(mem_freep) char *text = mem_printf("#!/bin/sh\n%s\n", script);
    char *path = mem_printf("%s/%s", f->dir, name);

    testing_write(path, text, strlen(text));
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

static void runs(struct deploy_fixture *f, const char *path, const char *agent)
{
    CLEANUP(mem_freep)
    char *lines =
        mem_printf("key = file\nexport = %s\nrun = %s\n%s", f->target, path, geteuid() == 0 ? "run-as = root\n" : "");

    deploy_fixture_section(f, agent, lines);
}

static void assert_printed(const struct deploy_fixture *f, const char *what)
{
    assert_contains(bytes_text(&f->out), what);
}

TEST(deploy_puts_a_pair_in_place_once)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(deploy_result_clear) struct deploy_result result = {0};

    deploy_fixture_init(&f);
    exports(&f, "");
    deploy_fixture_expect(&f, "", 0); /* nothing is published */
    assert_string_equal(bytes_text(&f.out), "");
    deploy_fixture_expect(&f, "--once web", 66);
    assert_printed(&f, "there is no certificate for 'web' yet");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_printed(&f, "web: generation 1 is in ");
    deploy_fixture_assert_placed(&f);
    deploy_fixture_result(&f, &result);
    assert_true(result.ok);
    assert_string_equal(result.thumbprint, f.cert->sha256);
    assert_int_equal(result.generation, 1);
    assert_int_equal(result.tries, 1);
    deploy_fixture_expect(&f, "", 0);
    assert_string_equal(bytes_text(&f.out), ""); /* done */
}

TEST(deploy_makes_up_for_what_it_missed)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    exports(&f, "");
    for (int i = 0; i < 3; i++)
        deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_printed(&f, "generation 3");
    deploy_fixture_assert_placed(&f);
}

TEST(deploy_does_it_again_when_the_section_changes_or_a_person_asks)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    deploy_fixture_publish(&f, true);
    exports(&f, "");
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL, "rm '%s/key.pem'", f.target), 0);
    deploy_fixture_expect(&f, "--once web", 0);
    deploy_fixture_assert_placed(&f);
    exports(&f, "mode = 0640\n");
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL, "test $(stat -c %%a '%s/key.pem') = 640", f.target), 0);
    deploy_fixture_expect(&f, "--once other", 66);
    assert_printed(&f, "no [certificate] section with export, reload or run has the name 'other'");
}

TEST(deploy_names_the_key_in_the_token_and_removes_a_key_that_is_none_any_more)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    exports(&f, "");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    deploy_fixture_publish(&f, false);
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && test ! -e key.pem && test $(cat key.uri) = "
                         "'pkcs11:token=autoenroll;id=%%41%%45%%02;type=private'",
                         f.target),
        0);
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL, "test ! -e '%s/key.uri'", f.target), 0);
    deploy_fixture_assert_placed(&f);
}

TEST(deploy_writes_one_file_for_those_who_want_one)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    exports(&f, "format = combined\n");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && test \"$(ls -A)\" = web.pem && test $(stat -c %%a web.pem) = 600 && test $(grep -c BEGIN web.pem) = "
            "3 && test \"$(openssl pkey -in web.pem -pubout)\" = \"$(openssl x509 -in web.pem -noout -pubkey)\"",
            f.target),
        0);
    deploy_fixture_publish(&f, false);
    deploy_fixture_expect(&f, "", 78);
    assert_printed(&f, "the key is in the token");
}

TEST(deploy_writes_pkcs12_with_the_password_of_a_file)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *line = NULL, *password = NULL;

    deploy_fixture_init(&f);
    password = mem_printf("%s/password", f.dir);
    line = mem_printf("format = p12\np12-password-file = %s\n", password);
    testing_write(password, "correct horse\n", 14);
    exports(&f, line);
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && test \"$(ls -A)\" = web.p12 && openssl pkcs12 -in web.p12 -passin "
                         "'pass:correct horse' -noenc -out ../all.pem && test $(grep -c 'BEGIN "
                         "CERTIFICATE' ../all.pem) = 2 && test \"$(openssl pkey -in ../all.pem -pubout)\" "
                         "= \"$(openssl x509 -in ../all.pem -noout -pubkey)\"",
                         f.target),
        0);
    assert_int_not_equal(
        testing_shell(NULL, "openssl pkcs12 -in '%s/web.p12' -passin pass: -noout 2>/dev/null", f.target), 0);
    testing_write(password, "\n", 1);
    deploy_fixture_expect(&f, "--once web", 78);
    assert_printed(&f, "has no password in its first line");
}

TEST(deploy_runs_the_program_after_the_files_are_in_place)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *path = NULL, *expected = NULL, *script = NULL, *seen = NULL;
    CLEANUP(bytes_clear) struct bytes text = {0};

    deploy_fixture_init(&f);
    script = mem_printf("cd '%s' && cat >../input && openssl x509 -in cert.pem -noout -serial >../seen && env | grep "
                        "^AUTOENROLL | LC_ALL=C sort >>../seen",
        f.target);
    path = program(&f, "after", script);
    runs(&f, path, "");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_printed(&f, "/after was run");
    expected = mem_printf("serial=64\nAUTOENROLL_GENERATION=1\nAUTOENROLL_NAME=web\nAUTOENROLL_NOT_AFTER=%lld\n"
                          "AUTOENROLL_SERIAL=64\nAUTOENROLL_THUMBPRINT=%s\n",
        (long long)f.cert->not_after, f.cert->sha256);
    seen = mem_printf("%s/seen", f.dir);
    testing_read(seen, &text);
    assert_string_equal(bytes_text(&text), expected);
    assert_int_equal(testing_shell(NULL, "grep -q '\"subject\":\"CN=web.example\"' '%s/input'", f.dir), 0);
}

TEST(deploy_remembers_a_failure_and_tries_again_in_the_next_pass)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(deploy_result_clear) struct deploy_result result = {0};
    CLEANUP(mem_freep) char *path = NULL;

    deploy_fixture_init(&f);
    path = program(&f, "after", "echo 'the service says: no'; test -e $(dirname $0)/good");
    runs(&f, path, "");
    deploy_fixture_publish(&f, true);
    for (unsigned i = 1; i <= 2; i++) {
        deploy_fixture_expect(&f, "", 74);
        assert_printed(&f, "ended with status 1");
        deploy_fixture_result(&f, &result);
        assert_false(result.ok);
        assert_int_equal(result.tries, i);
        assert_contains(result.error, "ended with status 1");
        assert_string_equal(result.output.items[0], "the service says: no");
        assert_contains(result.steps.items[0], "generation 1 is in");
    }
    assert_int_equal(testing_shell(NULL, "touch '%s/good'", f.dir), 0);
    deploy_fixture_expect(&f, "", 0);
    deploy_fixture_result(&f, &result);
    assert_true(result.ok);
    assert_int_equal(result.tries, 3);
    assert_null(result.error);
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    deploy_fixture_result(&f, &result);
    assert_int_equal(result.tries, 1); /* another certificate */
}

TEST(deploy_ends_a_program_at_the_limit_of_the_configuration)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *path = NULL;

    deploy_fixture_init(&f);
    path = program(&f, "after", "sleep 3600");
    runs(&f, path, "hook-limit = 1s\n");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 69);
    assert_printed(&f, "took longer than 1 seconds");
}

TEST(deploy_reloads_units_through_systemctl_or_says_that_it_cannot)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *path = NULL, *arguments = NULL;

    deploy_fixture_init(&f);
    path = program(&f, "systemctl", "echo \"$@\" >>$(dirname $0)/reloaded; [ \"$4\" != broken.service ]");
    arguments = mem_printf("--systemctl '%s'", path);
    deploy_fixture_section(&f, "", "reload = nginx.service, a@b.service\n");
    deploy_fixture_publish(&f, false);
    deploy_fixture_expect(&f, arguments, 0);
    assert_printed(&f, "web: nginx.service is reloaded; a@b.service is reloaded");
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && printf '%%s\\n' '--no-ask-password try-reload-or-restart -- "
                         "nginx.service' '--no-ask-password try-reload-or-restart -- a@b.service' | cmp - "
                         "reloaded",
                         f.dir),
        0);
    deploy_fixture_section(&f, "", "reload = broken.service\n");
    deploy_fixture_expect(&f, arguments, 74);
    assert_printed(&f, "reloading broken.service: ");
    if (access("/run/systemd/system", F_OK) == 0)
        return;
    deploy_fixture_expect(&f, "", 78);
    assert_printed(&f, "systemd does not run here");
    assert_printed(&f, "use 'run = PROGRAM'");
}

TEST(deploy_reports_as_json)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    struct deploy_report report = {0};

    deploy_fixture_init(&f);
    exports(&f, "");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "--json", 0);
    assert_int_equal(fields_read(&deploy_report_fields, f.out.data, f.out.len, &report, NULL), 0);
    assert_int_equal(report.n, 1);
    assert_string_equal(report.items[0].name, "web");
    assert_true(report.items[0].ok);
    fields_clear(&deploy_report_fields, &report);
}

TEST(deploy_forgets_results_of_sections_that_are_gone)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;

    deploy_fixture_init(&f);
    exports(&f, "");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL, "cp '%s/web.json' '%s/old.json'", f.results, f.results), 0);
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL, "cd '%s' && test \"$(echo *)\" = web.json", f.results), 0);
    deploy_fixture_section(&f, "", "");
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL, "cd '%s' && test \"$(ls)\" = ''", f.results), 0);
}

TEST(deploy_makes_a_damaged_result_anew)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(deploy_result_clear) struct deploy_result result = {0};

    deploy_fixture_init(&f);
    exports(&f, "");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    assert_int_equal(testing_shell(NULL, "echo '{\"ok\":tr' >'%s/web.json'", f.results), 0);
    deploy_fixture_expect(&f, "", 0);
    deploy_fixture_result(&f, &result);
    assert_true(result.ok);
}

/* Two at once: the second waits for the first, and finds that all is done. */
TEST(deploy_is_one_at_a_time)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *path = NULL, *binary = testing_bin("autoenroll-deploy");

    deploy_fixture_init(&f);
    path = program(&f, "after", "cd $(dirname $0) && mkdir inside && sleep 0.3 && rmdir inside && echo x >>ran");
    runs(&f, path, "");
    deploy_fixture_publish(&f, true);
    assert_int_equal(testing_shell(NULL,
                         "run() { '%s' --config '%s' --state-dir '%s' --results '%s'; }; run & run & run "
                         "& wait; test \"$(cat '%s/ran')\" = x",
                         binary, f.config, f.state, f.results, f.dir),
        0);
}

static pid_t start_following(const struct deploy_fixture *f)
{
    CLEANUP(mem_freep) char *binary = testing_bin("autoenroll-deploy");
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(binary, binary, "--follow", "--config", f->config, "--state-dir", f->state, "--results", f->results,
            (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Until the result is about what was published last; the test's own limit ends it. */
static void wait_for_result(struct deploy_fixture *f)
{
    while (testing_shell(NULL, "grep -q %s '%s/web.json' 2>/dev/null", f->cert->sha256, f->results) != 0)
        (void)usleep(20000);
}

TEST(deploy_follows_what_is_published)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    int status;
    pid_t pid;

    deploy_fixture_init(&f);
    exports(&f, "");
    deploy_fixture_publish(&f, true);
    pid = start_following(&f);
    for (int i = 0; i < 3; i++) {
        wait_for_result(&f);
        deploy_fixture_assert_placed(&f);
        deploy_fixture_publish(&f, true);
    }
    wait_for_result(&f);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    deploy_fixture_assert_placed(&f);
}

PRIVILEGED_TEST(deploy_obeys_root_alone)
{
    static const struct {
        const char *command, *undo, *why;
    } tricks[] = {
        {"chmod g+w autoenroll.conf", "chmod g-w autoenroll.conf", "autoenroll.conf' can be written by others"},
        {"chown nobody autoenroll.conf", "chown root autoenroll.conf", "autoenroll.conf' does not belong to root"},
        {"chmod o+w .", "chmod o-w .", "can be written by others"},
        {"chown nobody .", "chown root .", "does not belong to root"},
        {"mv autoenroll.conf x && ln -s x autoenroll.conf && chown -h nobody autoenroll.conf", "mv x autoenroll.conf",
            "the link "},
        {"mkdir conf.d && echo '[agent]' >conf.d/a.conf && chown nobody conf.d", "rm -r conf.d",
            "conf.d' does not belong"},
        {"chown nobody ca.pem", "chown root ca.pem", "ca-file"},
        {"chown nobody after", "chown root after", "after' does not belong to root"},
        {"chmod o+w after", "chmod o-w after", "after' can be written by others"},
        {"chmod a-x after", "chmod a+x after", "is no program"},
        {"chown nobody results", "chown root results", "the directory of results"},
    };
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *path = NULL;

    deploy_fixture_init(&f);
    path = program(&f, "after", "exit 0");
    runs(&f, path, "");
    deploy_fixture_publish(&f, true);
    deploy_fixture_expect(&f, "", 0);
    for (size_t i = 0; i < ARRAY_SIZE(tricks); i++) {
        assert_int_equal(testing_shell(NULL, "cd '%s' && %s", f.dir, tricks[i].command), 0);
        deploy_fixture_expect(&f, "--once web", 78);
        assert_printed(&f, tricks[i].why);
        assert_int_equal(testing_shell(NULL, "cd '%s' && %s", f.dir, tricks[i].undo), 0);
    }
    deploy_fixture_expect(&f, "--once web", 0);
}

/* Not root, and able to do what it is for; the same program as an ordinary user, on what is the user's. */
PRIVILEGED_TEST(deploy_works_for_an_ordinary_user)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *binary = testing_bin("autoenroll-deploy"), *path = NULL, *script = NULL, *lines = NULL;

    deploy_fixture_init(&f);
    script = mem_printf("id -un >'%s/ran-as'", f.dir);
    path = program(&f, "after", script);
    lines = mem_printf("key = file\nexport = %s\nrun = %s\n", f.target, path);
    deploy_fixture_section(&f, "", lines);
    deploy_fixture_publish(&f, true);
    assert_int_equal(testing_shell(NULL,
                         "cp '%s' '%s/program' && chown -R nobody '%s' && cd '%s' && setpriv --reuid nobody "
                         "--clear-groups ./program --config autoenroll.conf --state-dir state --results "
                         "results && test \"$(cat ran-as)\" = nobody",
                         binary, f.dir, f.dir, f.dir),
        0);
    deploy_fixture_assert_placed(&f);
}

/* What is published belongs to the daemon's user, keys to the worker's, the target to the service's. */
PRIVILEGED_TEST(deploy_stands_between_three_users)
{
    CLEANUP(deploy_fixture_clear) struct deploy_fixture f;
    CLEANUP(mem_freep) char *path = NULL, *script = NULL, *lines = NULL;

    deploy_fixture_init(&f);
    script = mem_printf("id -un >'%s/ran-as'", f.target);
    path = program(&f, "after", script);
    lines = mem_printf("key = file\nexport = %s\nrun = %s\nrun-as = games\n", f.target, path);
    deploy_fixture_section(&f, "", lines);
    deploy_fixture_publish(&f, true);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && chown -R daemon state && chown -R bin state/token && chown -R games "
                         "target",
                         f.dir),
        0);
    deploy_fixture_expect(&f, "", 0);
    deploy_fixture_assert_placed(&f);
    assert_int_equal(testing_shell(NULL,
                         "cd '%s' && test $(cat ran-as) = games && test \"$(stat -c '%%U %%a' key.pem)\" = "
                         "'games 600'",
                         f.target),
        0);
}
