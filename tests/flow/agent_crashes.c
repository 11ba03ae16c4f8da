#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "protocol/base/when.h"
#include "tests/agent_fixture.h"
#include "tests/testing.h"

/*
 * SIGKILL of daemon or worker as soon as a step is on record, then a second run. Where the record is looked at too
 * late the kill hits a later step: what must hold afterwards is the same.
 */
enum victim { THE_DAEMON, THE_WORKER };

/* Different keys among the certificates that were issued for enrollments. */
static size_t count_issued_keys(struct agent_fixture *f)
{
    CLEANUP(strlist_clear) struct strlist keys = {0};
    int64_t n = server_fixture_number(f->server, "SELECT count(*) FROM certificates");

    for (int64_t i = 0; i < n; i++) {
        CLEANUP(mem_freep) char *sql = mem_printf("SELECT der FROM certificates ORDER BY id LIMIT 1 OFFSET %d", (int)i);
        CLEANUP(mem_freep) char *path = mem_printf("%s/issued.der", f->dir);
        CLEANUP(bytes_clear) struct bytes der = {0}, key = {0};

        server_fixture_blob(f->server, sql, &der);
        testing_write(path, der.data, der.len);
        assert_int_equal(testing_shell(&key, "openssl x509 -inform DER -in '%s' -noout -pubkey", path), 0);
        if (!strlist_has(&keys, bytes_text(&key)))
            strlist_add(&keys, bytes_text(&key));
    }
    return keys.n;
}

/* The worker is a child of the daemon, or of the process that keeps the daemon's rights; 0 when there is none. */
static pid_t worker_of(pid_t daemon)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    (void)testing_shell(&out,
        "for p in %d $(ps -o pid= --ppid %d); do ps -o pid=,comm= --ppid $p; done | "
        "awk '$2 == \"autoenroll-work\" {print $1; exit}'",
        daemon, daemon);
    return (pid_t)atoi(bytes_text(&out));
}

/* @generation  the one that the attempt is to end with */
static bool has_reached(const struct record *r, enum job_checkpoint step, uint32_t generation)
{
    switch (step) {
    case CHECKPOINT_KEY_CHOSEN:
        return r->attempt.key_id.len;
    case CHECKPOINT_REQUEST_SIGNED:
        return r->attempt.request.len;
    case CHECKPOINT_ANSWERED:
        return r->attempt.answer_certificate.len || r->attempt.answer_cms.len;
    case CHECKPOINT_CHECKED:
    case CHECKPOINT__MAX:
        break;
    }
    return r->attempt.pair.certificate.len || r->current.generation == generation;
}

/* Looks at the record until it has the step; false when the agent has ended before. */
static bool await_step(struct agent_fixture *f, pid_t pid, enum job_checkpoint step, uint32_t generation)
{
    CLEANUP(mem_freep) char *dir = mem_printf("%s/private/enrollments", f->state);
    const struct timespec moment = {.tv_nsec = 1000000};

    while (waitpid(pid, NULL, WNOHANG) == 0) {
        CLEANUP(strlist_clear) struct strlist problems = {0};
        CLEANUP(record_list_clear) struct record_list list = {0};
        struct record *record;

        if (record_load_all(dir, &list, &problems, NULL) == 0 && (record = record_find(&list, "web")) &&
            has_reached(record, step, generation))
            return true;
        nanosleep(&moment, NULL);
    }
    return false;
}

/* Kills one of them when @step is on record. False when the agent was through before we looked. */
static bool kill_at(struct agent_fixture *f, enum job_checkpoint step, enum victim victim, uint32_t generation)
{
    pid_t pid = agent_fixture_spawn(f);
    pid_t worker = 0;

    if (!await_step(f, pid, step, generation))
        return false;
    if (victim == THE_WORKER)
        worker = worker_of(pid);
    (void)kill(worker ? worker : pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return true;
}

/* Before the answer nothing is sent while the kill is awaited, so that no answer can be lost. */
static void kill_and_go_on(struct agent_fixture *f, enum job_checkpoint step, enum victim victim, uint32_t generation)
{
    bool before_answer = step < CHECKPOINT_ANSWERED;
    bool hit;

    if (before_answer)
        (void)kill(f->server->pid, SIGSTOP);
    hit = kill_at(f, step, victim, generation);
    if (before_answer) {
        (void)kill(f->server->pid, SIGCONT);
        assert_true(hit);
    }
    agent_fixture_expect(f, "", 0);
}

/* Exactly @n certificates, each with a key of its own, and the last one in use. */
static void assert_whole(struct agent_fixture *f, uint32_t n)
{
    CLEANUP(record_list_clear) struct record_list records = {0};
    const struct record *record = agent_fixture_record(f, "web", &records);

    assert_int_equal(record->state, RECORD_INSTALLED);
    assert_int_equal(record->current.generation, n);
    assert_int_equal(record->n_previous, n - 1);
    agent_fixture_assert_published(f, "web");
    assert_int_equal(server_fixture_number(f->server, "SELECT count(*) FROM certificates"), n);
    assert_int_equal(count_issued_keys(f), n);
    assert_int_equal(agent_fixture_count_keys(f), n);
}

static void survives(enum job_checkpoint step, enum victim victim)
{
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = agent_fixture_new(server_fixture_running(NULL));

    agent_fixture_expect(f, "", 0); /* the policy is known */
    agent_fixture_section(f, "web", "DeviceEC", "");
    kill_and_go_on(f, step, victim, 1);
    assert_whole(f, 1);
}

static void survives_renewing(enum job_checkpoint step, enum victim victim)
{
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = agent_fixture_new(server_fixture_running(NULL));
    CLEANUP(record_list_clear) struct record_list records = {0};
    struct record *record;

    agent_fixture_section(f, "web", "DeviceEC", "");
    agent_fixture_expect(f, "", 0);
    agent_fixture_expect(f, "", 0); /* the policy for certificates is known too */
    agent_fixture_password(f, NULL);
    (void)agent_fixture_record(f, "web", &records);
    record = record_find(&records, "web");
    record->current.facts.not_before -= 340 * WHEN_DAY;
    record->current.facts.not_after -= 340 * WHEN_DAY;
    agent_fixture_save(f, record);
    kill_and_go_on(f, step, victim, 2);
    assert_whole(f, 2);
}

TEST(agent_survives_the_end_of_the_daemon_after_key_chosen)
{
    survives(CHECKPOINT_KEY_CHOSEN, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_daemon_after_request_signed)
{
    survives(CHECKPOINT_REQUEST_SIGNED, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_daemon_after_answered)
{
    survives(CHECKPOINT_ANSWERED, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_daemon_after_checked)
{
    survives(CHECKPOINT_CHECKED, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_worker_after_key_chosen)
{
    survives(CHECKPOINT_KEY_CHOSEN, THE_WORKER);
}

TEST(agent_survives_the_end_of_the_worker_after_request_signed)
{
    survives(CHECKPOINT_REQUEST_SIGNED, THE_WORKER);
}

TEST(agent_survives_the_end_of_the_worker_after_answered)
{
    survives(CHECKPOINT_ANSWERED, THE_WORKER);
}

TEST(agent_survives_the_end_of_the_worker_after_checked)
{
    survives(CHECKPOINT_CHECKED, THE_WORKER);
}

TEST(agent_survives_the_end_of_the_daemon_in_a_renewal_after_key_chosen)
{
    survives_renewing(CHECKPOINT_KEY_CHOSEN, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_daemon_in_a_renewal_after_request_signed)
{
    survives_renewing(CHECKPOINT_REQUEST_SIGNED, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_daemon_in_a_renewal_after_answered)
{
    survives_renewing(CHECKPOINT_ANSWERED, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_daemon_in_a_renewal_after_checked)
{
    survives_renewing(CHECKPOINT_CHECKED, THE_DAEMON);
}

TEST(agent_survives_the_end_of_the_worker_in_a_renewal_after_key_chosen)
{
    survives_renewing(CHECKPOINT_KEY_CHOSEN, THE_WORKER);
}

TEST(agent_survives_the_end_of_the_worker_in_a_renewal_after_request_signed)
{
    survives_renewing(CHECKPOINT_REQUEST_SIGNED, THE_WORKER);
}

TEST(agent_survives_the_end_of_the_worker_in_a_renewal_after_answered)
{
    survives_renewing(CHECKPOINT_ANSWERED, THE_WORKER);
}

TEST(agent_survives_the_end_of_the_worker_in_a_renewal_after_checked)
{
    survives_renewing(CHECKPOINT_CHECKED, THE_WORKER);
}
