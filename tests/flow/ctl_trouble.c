#include <signal.h>
#include <unistd.h>

#include "tests/ctl_fixture.h"

/* With a certificate, and the password forgotten again: what breaks afterwards must be named. */
static void start(struct ctl_fixture *f)
{
    ctl_fixture_prepare(f);
    agent_fixture_section(f->agent, "web", "DeviceEC", "");
    ctl_fixture_start(f);
    ctl_login(f);
    ctl_expect(f, 0, "logout corp");
}

static void assert_explains(struct ctl_fixture *f, const char *happened, const char *todo)
{
    ctl_expect(f, 0, "explain web");
    assert_contains(ctl_said(f), happened);
    assert_contains(ctl_said(f), todo);
}

TEST(ctl_names_a_server_that_is_away)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    start(&f);
    server_fixture_stop(f.server);
    ctl_expect(&f, 69, "renew web --wait");
    ctl_expect(&f, 1, "status");
    assert_contains(ctl_said(&f), "!! web:");
    assert_explains(&f, "The server could not be reached", "autoenroll server test corp");
    ctl_expect(&f, 69, "server test corp-renewal");
    ctl_expect(&f, 1, "doctor --state-dir '%s'", f.agent->state);
    assert_contains(ctl_said(&f), "!! server corp-renewal:");
    server_fixture_start(f.server);
    ctl_expect(&f, 0, "renew web --wait");
    ctl_expect(&f, 0, "show web");
    assert_explains(&f, "Nothing is wrong with it.", "without a password");
}

TEST(ctl_names_a_token_that_is_gone)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    start(&f);
    assert_int_equal(testing_shell(NULL, "cd '%s/token' && mv tokens away", f.agent->state), 0);
    assert_int_not_equal(ctl_run(&f, "renew web --wait"), 0);
    assert_contains(ctl_said(&f), "token");
    assert_int_not_equal(ctl_run(&f, "status"), 0);
    assert_contains(ctl_said(&f), "token");
    assert_explains(&f, "token", "autoenroll");
    assert_int_equal(testing_shell(NULL, "cd '%s/token' && rm -rf tokens && mv away tokens", f.agent->state), 0);
    ctl_expect(&f, 0, "renew web --wait");
    ctl_expect(&f, 0, "verify web");
}

/* A daemon with a certificate, whose state is on another machine now. @here and @options are the caller's. */
static void start_copy(struct ctl_fixture *f, char **here, char **options)
{
    ctl_fixture_prepare(f);
    *here = mem_printf("%s/machine-id", f->agent->dir);
    *options = mem_printf("--machine-id '%s'", *here);
    f->options = *options;
    testing_write(*here, "11111111111111111111111111111111\n", 33);
    agent_fixture_section(f->agent, "web", "DeviceEC", "");
    ctl_fixture_start(f);
    ctl_login(f);
    ctl_fixture_stop(f, SIGTERM);
    testing_write(*here, "22222222222222222222222222222222\n", 33);
    ctl_fixture_start(f);
}

TEST(ctl_resets_a_copy_to_a_new_machine)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *here = NULL;
    CLEANUP(mem_freep) char *options = NULL;

    start_copy(&f, &here, &options);
    ctl_expect(&f, 64, "reset </dev/null");
    ctl_expect(&f, 0, "reset --yes");
    for (int i = 0; i < 60 && ctl_run(&f, "show web | grep -q 'missing\\|no enrollment'") != 0; i++)
        (void)usleep(200000);
    ctl_expect(&f, 2, "show web");
    ctl_login(&f);
    ctl_expect(&f, 0, "show web");
    assert_int_equal(agent_fixture_count_keys(f.agent), 1);
}

TEST(ctl_names_a_state_that_was_copied_and_ends_it)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;
    CLEANUP(mem_freep) char *here = NULL;
    CLEANUP(mem_freep) char *options = NULL;

    start_copy(&f, &here, &options);
    ctl_expect(&f, 1, "status");
    assert_contains(ctl_said(&f), "made on another machine");
    assert_explains(&f, "two machines with one identity", "autoenroll adopt");
    assert_int_not_equal(ctl_run(&f, "renew web --wait"), 0);
    ctl_expect(&f, 1, "doctor --state-dir '%s'", f.agent->state);
    assert_contains(ctl_said(&f), "!! state:");
    ctl_expect(&f, 64, "adopt </dev/null");
    ctl_expect(&f, 0, "adopt --yes");
    ctl_expect(&f, 0, "show web");
    ctl_expect(&f, 0, "renew web --wait");
}

TEST(ctl_names_names_that_differ)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f;

    start(&f);
    agent_fixture_fragment(f.agent, "web",
        "[certificate \"web\"]\npolicy-server = corp\ntemplate = DeviceEC\nsubject = CN=web.example\n"
        "dns = web.example www.web.example\n");
    ctl_expect(&f, 0, "reload");
    ctl_expect(&f, 1, "verify web");
    ctl_expect(&f, 1, "show web");
    assert_contains(ctl_said(&f), "names-differ");
    assert_explains(&f, "www.web.example", "autoenroll renew web --wait");
    ctl_expect(&f, 0, "login corp --password-file '%s'", f.server->password_file);
    ctl_expect(&f, 0, "renew web --wait");
    ctl_expect(&f, 0, "show web");
    assert_contains(ctl_said(&f), "www.web.example");
}
