#include <errno.h>
#include <unistd.h>

#include "agent/job/channel.h"
#include "agent/job/job_fields.h"
#include "tests/agent_fixture.h"
#include "tests/testing.h"

/*
 * A worker reads what comes from the network and may be taken over. The daemon starts this program in its place: with
 * the name of the worker it plays the part that the file "part" in $CREDENTIALS_DIRECTORY names.
 */

struct lie {
    struct channel *daemon;
    struct job_enroll *job;
    struct job_attempt attempt;
};

static bool step(struct lie *l, enum job_checkpoint checkpoint)
{
    return channel_checkpoint(l->daemon, checkpoint, &l->attempt, NULL) == 0;
}

static void choose_key(struct lie *l)
{
    bytes_set(&l->attempt.key_id, "AEN1", 4);
    bytes_append(&l->attempt.key_id, l->job->place.tag.data, l->job->place.tag.len, NULL);
    bytes_append(&l->attempt.key_id, "twelve bytes", 12, NULL);
}

static void finish(struct lie *l, bool pending)
{
    struct job_enrolled result = {.pending = pending};

    (void)channel_result(l->daemon, JOB_ENROLL, &result, NULL);
}

/* Everything as it should be: what the daemon must take, so that the rest is refused for its own reason. */
static void check(struct lie *l)
{
    choose_key(l);
    if (!step(l, CHECKPOINT_KEY_CHOSEN))
        return;
    bytes_set(&l->attempt.pair.certificate, "DER", 3);
    bytes_copy(&l->attempt.pair.key_id, &l->attempt.key_id);
    l->attempt.facts.serial = mem_strdup("01");
    l->attempt.facts.not_after = INT64_MAX / 2;
}

static void honest(struct lie *l)
{
    check(l);
    if (step(l, CHECKPOINT_CHECKED))
        finish(l, false);
}

static void key_of_another(struct lie *l)
{
    choose_key(l);
    l->attempt.key_id.data[JOB_KEY_TAG_AT] ^= 1;
    if (step(l, CHECKPOINT_KEY_CHOSEN))
        finish(l, false);
}

static void changed_key(struct lie *l)
{
    choose_key(l);
    (void)step(l, CHECKPOINT_KEY_CHOSEN);
    l->attempt.key_id.data[19] ^= 1;
    if (step(l, CHECKPOINT_REQUEST_SIGNED))
        finish(l, false);
}

static void no_certificate(struct lie *l)
{
    check(l);
    bytes_clear(&l->attempt.pair.certificate);
    if (step(l, CHECKPOINT_CHECKED))
        finish(l, false);
}

static void certificate_of_another_key(struct lie *l)
{
    check(l);
    l->attempt.pair.key_id.data[19] ^= 1;
    if (step(l, CHECKPOINT_CHECKED))
        finish(l, false);
}

static void result_without_certificate(struct lie *l)
{
    choose_key(l);
    (void)step(l, CHECKPOINT_KEY_CHOSEN);
    finish(l, false);
}

static void pending_without_request(struct lie *l)
{
    choose_key(l);
    (void)step(l, CHECKPOINT_KEY_CHOSEN);
    finish(l, true);
}

static void pending_without_id(struct lie *l)
{
    choose_key(l);
    l->attempt.pending = true;
    if (step(l, CHECKPOINT_ANSWERED))
        finish(l, true);
}

static void result_of_another_job(struct lie *l)
{
    struct job_retired result = {.removed = 1};

    (void)channel_result(l->daemon, JOB_RETIRE, &result, NULL);
}

static void noise(struct lie *l)
{
    static const char text[] = "GET / HTTP/1.1\r\n\r\n";

    assert_int_equal(write(channel_fd(l->daemon), text, sizeof(text)), sizeof(text));
    pause();
}

static void silence(struct lie *l)
{
    (void)l;
    pause();
}

static void escapes(struct lie *l)
{
    CLEANUP(err_freep) struct err *why = NULL;

    channel_progress(l->daemon, "\033]0;title\007");
    err_set(&why, ERR_DENIED, "no\033[2J\n%c%c%c", 0xe2, 0x80, 0xae); /* right-to-left override */
    (void)channel_failed(l->daemon, why, NULL, 0, NULL);
}

static const struct {
    const char *name;
    void (*play)(struct lie *l);
} parts[] = {
#define PART(name)                                                                                                     \
    {                                                                                                                  \
#name, name                                                                                                    \
    }
    PART(honest),
    PART(key_of_another),
    PART(changed_key),
    PART(no_certificate),
    PART(certificate_of_another_key),
    PART(result_without_certificate),
    PART(pending_without_request),
    PART(pending_without_id),
    PART(result_of_another_job),
    PART(noise),
    PART(silence),
    PART(escapes),
#undef PART
};

static void play(const char *part)
{
    struct lie lie = {.daemon = channel_new(CHANNEL_FD)};
    union job_input input = {0};
    enum job_kind kind;

    if (channel_read_job(lie.daemon, &kind, &input, NULL) < 0 || kind != JOB_ENROLL)
        return;
    lie.job = &input.enroll;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (strcmp(parts[i].name, part) == 0)
            parts[i].play(&lie);
    channel_free(lie.daemon);
    job_attempt_clear(&lie.attempt);
    job_enroll_clear(&input.enroll);
}

__attribute__((constructor)) static void take_the_workers_place(void)
{
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(bytes_clear) struct bytes part = {0};

    if (strcmp(program_invocation_name, "autoenroll-worker") != 0)
        return;
    path = mem_printf("%s/part", getenv("CREDENTIALS_DIRECTORY"));
    testing_read(path, &part);
    play(bytes_text(&part));
    _exit(0);
}

/* --- the tests --- */

/* Has the agent work with that worker; it must end with @status and say @what. */
static void meet(struct agent_fixture *f, const char *part, int status, const char *what)
{
    CLEANUP(mem_freep) char *self = testing_bin("flow_hostile_worker");
    CLEANUP(mem_freep) char *arguments = mem_printf("--worker '%s'", self);
    CLEANUP(mem_freep) char *path = mem_printf("%s/part", f->credentials);

    testing_write(path, part, strlen(part));
    agent_fixture_expect(f, arguments, status);
    assert_contains(bytes_text(&f->out), what);
}

static struct agent_fixture *begin(void)
{
    struct agent_fixture *f = agent_fixture_new(server_fixture_running(NULL));

    agent_fixture_expect(f, "", 0); /* the policy is known: no worker is asked for it */
    agent_fixture_section(f, "web", "DeviceEC", "");
    return f;
}

static void refuses(const char *part, const char *what)
{
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = begin();
    CLEANUP(record_list_clear) struct record_list records = {0};
    CLEANUP(mem_freep) char *current = agent_fixture_file(f, "web", "cert.pem");
    const struct record *record;

    meet(f, part, 76, what);
    assert_contains(bytes_text(&f->out), "hint: ");
    record = agent_fixture_record(f, "web", &records);
    assert_int_equal(record->state, RECORD_BLOCKED);
    assert_false(record_has_certificate(record));
    assert_int_equal(access(current, F_OK), -1);
}

TEST(worker_that_does_as_it_should_is_believed)
{
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = begin();
    CLEANUP(record_list_clear) struct record_list records = {0};

    meet(f, "honest", 0, "installed");
    assert_int_equal(agent_fixture_record(f, "web", &records)->current.generation, 1);
}

TEST(worker_may_not_take_the_key_of_another_agent)
{
    refuses("key_of_another", "a key that is not the attempt's");
}

TEST(worker_may_not_change_the_key_on_its_way)
{
    refuses("changed_key", "a key that is not the attempt's");
}

TEST(worker_may_not_install_nothing)
{
    refuses("no_certificate", "no certificate of the attempt's key");
}

TEST(worker_may_not_install_the_certificate_of_another_key)
{
    refuses("certificate_of_another_key", "no certificate of the attempt's key");
}

TEST(worker_may_not_say_that_it_is_done_when_nothing_was_installed)
{
    refuses("result_without_certificate", "says that it is done");
}

TEST(worker_may_not_say_that_a_request_is_pending_when_none_was_answered)
{
    refuses("pending_without_request", "says that it has a request pending");
}

TEST(worker_may_not_leave_a_request_pending_that_nobody_can_ask_after)
{
    refuses("pending_without_id", "pending that has no id");
}

TEST(worker_may_not_give_the_result_of_another_job)
{
    refuses("result_of_another_job", "the result of another job");
}

TEST(worker_that_writes_noise_is_ended)
{
    refuses("noise", "breaks the rules of the channel");
}

TEST(worker_that_stays_silent_is_ended_at_its_limit)
{
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = begin();

    agent_fixture_fragment(f, "limit", "[agent]\njob-limit = 1s\n");
    meet(f, "silence", 69, "the worker was ended: it took more than 1 second");
}

TEST(worker_cannot_write_to_the_terminal_but_through_us)
{
    CLEANUP(agent_fixture_freep) struct agent_fixture *f = begin();
    const char *out;

    meet(f, "escapes", 77, "\\x1b]0;title\\x07");
    out = bytes_text(&f->out);
    assert_null(strchr(out, '\033'));
    assert_null(strchr(out, '\007'));
    assert_null(strstr(out, "\342\200\256"));
    assert_contains(out, "no\\x1b[2J\\x0a\\u{202e}");
}
