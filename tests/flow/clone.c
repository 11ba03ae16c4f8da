#include <unistd.h>

#include "tests/oneshot_fixture.h"

/* Which machine the agent believes to run on: 32 hexadecimal digits, as in /etc/machine-id. */
static void be_machine(struct oneshot *s, const char *id, char **option)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/machine-id", s->agent->dir);
    CLEANUP(mem_freep) char *line = mem_printf("%s\n", id);

    testing_write(path, line, strlen(line));
    free(*option);
    *option = mem_printf("--machine-id '%s'", path);
}

#define ORIGINAL "0123456789abcdef0123456789abcdef"
#define COPY     "fedcba9876543210fedcba9876543210"

static void hold_one(struct oneshot *s, char **machine)
{
    oneshot_start(s);
    agent_fixture_section(s->agent, "web", "DeviceEC", "");
    be_machine(s, ORIGINAL, machine);
    oneshot_run(s, *machine, 0);
    oneshot_assert_installed(s, "web");
}

TEST(copy_of_a_machine_signs_nothing_and_asks_nobody) /* design 8.13 */
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *machine = NULL;
    CLEANUP(mem_freep) char *renew = NULL;
    size_t answered;

    hold_one(&s, &machine);
    answered = oneshot_answered(&s);
    be_machine(&s, COPY, &machine);
    renew = mem_printf("%s --renew web", machine);
    oneshot_run(&s, renew, 78);
    assert_contains(oneshot_said(&s), "another machine");
    assert_contains(oneshot_said(&s), "reset");
    assert_contains(oneshot_said(&s), "adopt");
    assert_int_equal(oneshot_answered(&s), answered);
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 1);
    oneshot_assert_installed(&s, "web"); /* and what is there stays as it is */
}

TEST(original_goes_on_after_its_copy_was_started_elsewhere)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *machine = NULL;
    CLEANUP(mem_freep) char *renew = NULL;

    hold_one(&s, &machine);
    be_machine(&s, COPY, &machine);
    oneshot_run(&s, machine, 78);
    be_machine(&s, ORIGINAL, &machine);
    renew = mem_printf("%s --renew web", machine);
    oneshot_run(&s, renew, 0);
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 2);
}

TEST(machine_that_was_changed_is_adopted_and_renews_what_it_had)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *machine = NULL;
    CLEANUP(mem_freep) char *adopt = NULL;
    CLEANUP(mem_freep) char *renew = NULL;

    hold_one(&s, &machine);
    be_machine(&s, COPY, &machine);
    adopt = mem_printf("%s --adopt", machine);
    oneshot_run(&s, adopt, 0);
    renew = mem_printf("%s --renew web", machine);
    oneshot_run(&s, renew, 0); /* from now on without --adopt */
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 2);
    oneshot_assert_installed(&s, "web");
}

/* The keys are the original's: a copy must not have them, nor be taken for the original by its certificates. */
TEST(copy_that_is_reset_forgets_keys_and_records_and_begins_anew)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(mem_freep) char *machine = NULL;
    CLEANUP(mem_freep) char *program = testing_bin("autoenrolld");
    CLEANUP(mem_freep) char *current = NULL;
    CLEANUP(mem_freep) char *serial = NULL;

    hold_one(&s, &machine);
    serial = mem_strdup(oneshot_record(&s, "web")->current.facts.serial);
    current = mem_printf("%s/public/certs/web/current", s.agent->state);
    be_machine(&s, COPY, &machine);
    assert_int_equal(testing_shell(NULL, "'%s' --reset --config '%s' --state-dir '%s' %s %s", program, s.agent->config,
                         s.agent->state, geteuid() == 0 ? "--run-as root --worker-as root" : "", machine),
        0);
    assert_int_equal(agent_fixture_count_keys(s.agent), 0);
    assert_int_equal(access(current, F_OK), -1);
    oneshot_run(&s, machine, 0);
    assert_string_not_equal(oneshot_record(&s, "web")->current.facts.serial, serial);
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 1);
    oneshot_assert_installed(&s, "web");
    oneshot_assert_no_orphans(&s, 1);
}
