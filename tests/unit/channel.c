#include "agent/job/channel.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/job_fields.h"
#include "tests/testing.h"

/* A channel of the daemon's, and the other end of its socket. */
struct line {
    struct channel *daemon;
    int worker; /* -1: closed or given away */
};

static void line_close(struct line *line)
{
    channel_free(line->daemon);
    if (line->worker >= 0)
        (void)close(line->worker);
}

static struct line line_open(void)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    return (struct line){channel_new(pair[0]), pair[1]};
}

static void say_bytes(struct line *line, const void *data, size_t len)
{
    assert_int_equal(write(line->worker, data, len), (ssize_t)len);
}

/* The frames as they are on the wire. */
enum { JOB = 1, ACK, PROGRESS, CHECKPOINT, RESULT, FAILED };

static void say(struct line *line, int type, int subject, const char *body)
{
    uint32_t len = (uint32_t)strlen(body);
    uint8_t header[] = {
        (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)type, (uint8_t)subject};

    say_bytes(line, header, sizeof(header));
    say_bytes(line, body, len);
}

static void hear(struct line *line, enum job_kind kind, struct channel_event *event)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(channel_next(line->daemon, kind, -1, event, &err) == 1, err);
}

/* The next frame breaks the rules, and @why is part of what is said of it. */
static void breaks(struct line *line, enum job_kind kind, const char *why)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct channel_event event = {0};

    assert_int_equal(channel_next(line->daemon, kind, -1, &event, &err), -1);
    assert_int_equal(err_kind(err), ERR_PROTOCOL);
    assert_contains(err_text(err), why);
}

static void fill_enroll(struct job_enroll *job)
{
    *job = (struct job_enroll){.name = mem_strdup("web"), .same_key = true};
    job->server.uri = mem_strdup("https://pki.example/CEP");
    job->template.name = mem_strdup("WebServer");
    job->template.oid = mem_strdup("1.2.3");
    bytes_set(&job->place.tag, "\1\2\3\4", 4);
    bytes_set(&job->attempt.key_id, "AEN1", 4);
}

static void play_worker(int fd)
{
    CLEANUP(channel_freep) struct channel *channel = channel_new(fd);
    CLEANUP(err_freep) struct err *err = NULL, *failure = NULL;
    struct job_endpoint endpoint = {.uri = (char[]){"https://a"}, .auth = 4, .error = (char[]){"no"}};
    union job_input input = {0};
    enum job_kind kind;

    if (channel_read_job(channel, &kind, &input, &err) < 0 || kind != JOB_ENROLL || !input.enroll.same_key)
        _exit(10);
    channel_progress(channel, "making a key for %s\n\033[1mloud", input.enroll.name);
    input.enroll.attempt.request_token = 3;
    if (channel_checkpoint(channel, CHECKPOINT_REQUEST_SIGNED, &input.enroll.attempt, &err) < 0)
        _exit(11);
    err_set(&failure, ERR_DENIED, "the CA said \xff no");
    err_hint(&failure, "ask its manager");
    err_set_code(failure, 0x80094012);
    if (channel_failed(channel, failure, &endpoint, 1, &err) < 0)
        _exit(12);
    job_enroll_clear(&input.enroll);
    _exit(0);
}

TEST(channel_carries_job_progress_checkpoint_and_failure)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(job_enroll_clear) struct job_enroll job;
    CLEANUP(channel_event_clear) struct channel_event progress = {0}, step = {0}, failed = {0}, closed = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        close(channel_fd(line.daemon));
        play_worker(line.worker);
    }
    close(line.worker);
    line.worker = -1;
    fill_enroll(&job);
    assert_ok(channel_send_job(line.daemon, JOB_ENROLL, &job, &err) == 0, err);

    hear(&line, JOB_ENROLL, &progress);
    assert_int_equal(progress.type, CHANNEL_PROGRESS);
    assert_string_equal(progress.text, "making a key for web\\x0a\\x1b[1mloud");

    hear(&line, JOB_ENROLL, &step);
    assert_int_equal(step.type, CHANNEL_CHECKPOINT);
    assert_int_equal(step.step, CHECKPOINT_REQUEST_SIGNED);
    assert_int_equal(step.attempt.request_token, 3);
    assert_memory_equal(step.attempt.key_id.data, "AEN1", 4);
    assert_ok(channel_ack(line.daemon, &err) == 0, err);

    hear(&line, JOB_ENROLL, &failed);
    assert_int_equal(failed.type, CHANNEL_FAILED);
    assert_int_equal(err_kind(failed.failure), ERR_DENIED);
    assert_string_equal(err_text(failed.failure), "the CA said \\xff no");
    assert_string_equal(err_hint_text(failed.failure), "ask its manager");
    assert_int_equal(err_code(failed.failure), 0x80094012);
    assert_int_equal(failed.n_endpoints, 1);
    assert_string_equal(failed.endpoints[0].error, "no");

    hear(&line, JOB_ENROLL, &closed);
    assert_int_equal(closed.type, CHANNEL_CLOSED);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* What a server said is in it: four bytes to each of more characters than a failure may have. */
TEST(channel_carries_a_failure_of_any_length)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(channel_freep) struct channel *worker = channel_new(line.worker);
    CLEANUP(channel_event_clear) struct channel_event progress = {0}, failed = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(err_freep) struct err *err = NULL, *failure = NULL;

    line.worker = -1; /* is the channel's now */
    for (int i = 0; i < 5000; i++)
        bytes_append_text(&text, "\360\237\224\221", NULL);
    err_set(&failure, ERR_PROTOCOL, "%s", bytes_text(&text));
    err_hint(&failure, "%s", bytes_text(&text));
    channel_progress(worker, "%s", bytes_text(&text));
    assert_ok(channel_failed(worker, failure, NULL, 0, &err) == 0, err);
    hear(&line, JOB_ENROLL, &progress);
    assert_int_equal(progress.type, CHANNEL_PROGRESS);
    hear(&line, JOB_ENROLL, &failed);
    assert_int_equal(failed.type, CHANNEL_FAILED);
    assert_int_equal(strlen(err_text(failed.failure)), 4 * 4000 + 3);
}

TEST(channel_reads_the_result_of_each_kind)
{
    static const struct {
        enum job_kind kind;
        const char *body;
    } rows[] = {
        {JOB_REFRESH, "{\"policy\":{\"id\":\"p\",\"templates\":[{\"name\":\"T\",\"oid\":\"1.2\"}]}}"},
        {JOB_ENROLL, "{\"pending\":true}"},
        {JOB_POLL, "{}"},
        {JOB_RETIRE, "{\"removed\":2}"},
        {JOB_TOKENS, "{\"items\":[{\"label\":\"tpm\"}]}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(line_close) struct line line = line_open();
        CLEANUP(channel_event_clear) struct channel_event event = {0};

        say(&line, RESULT, (int)rows[i].kind, rows[i].body);
        hear(&line, rows[i].kind, &event);
        assert_int_equal(event.type, CHANNEL_RESULT);
        switch (rows[i].kind) {
        case JOB_REFRESH:
            assert_string_equal(event.refreshed.policy.templates[0].oid, "1.2");
            break;
        case JOB_ENROLL:
            assert_true(event.enrolled.pending);
            break;
        case JOB_POLL:
            assert_false(event.enrolled.pending);
            break;
        case JOB_RETIRE:
            assert_int_equal(event.retired.removed, 2);
            break;
        case JOB_TOKENS:
            assert_string_equal(event.tokens.items[0].label, "tpm");
            break;
        case JOB__MAX:
            break;
        }
    }
}

TEST(channel_refuses_a_frame_over_the_limit_before_reading_it)
{
    CLEANUP(line_close) struct line line = line_open();

    say_bytes(&line, "\xff\xff\xff\xff\3\0", 6);
    breaks(&line, JOB_ENROLL, "a frame of 4294967295 bytes, more than the 16777216 allowed");
}

TEST(channel_refuses_an_unknown_type)
{
    CLEANUP(line_close) struct line line = line_open();

    say(&line, 7, 0, "{}");
    breaks(&line, JOB_ENROLL, "unknown type 7");
}

TEST(channel_refuses_what_only_the_daemon_says)
{
    CLEANUP(line_close) struct line line = line_open(), other = line_open();

    say(&line, ACK, 0, "");
    breaks(&line, JOB_ENROLL, "only the daemon sends");
    say(&other, JOB, JOB_ENROLL, "{}");
    breaks(&other, JOB_ENROLL, "only the daemon sends");
}

TEST(channel_refuses_the_result_of_another_job)
{
    CLEANUP(line_close) struct line line = line_open();

    say(&line, RESULT, JOB_RETIRE, "{}");
    breaks(&line, JOB_ENROLL, "the result of another job than 'enroll'");
}

TEST(channel_refuses_a_field_of_another_type)
{
    CLEANUP(line_close) struct line line = line_open();

    say(&line, RESULT, JOB_ENROLL, "{\"pending\":\"yes\"}");
    breaks(&line, JOB_ENROLL, "pending: not true or false");
}

TEST(channel_refuses_a_policy_that_refers_to_a_ca_that_is_not_there)
{
    CLEANUP(line_close) struct line line = line_open();

    say(&line, RESULT, JOB_REFRESH, "{\"policy\":{\"templates\":[{\"name\":\"T\",\"oid\":\"1.2\",\"cas\":[0]}]}}");
    breaks(&line, JOB_REFRESH, "refers to a CA that is not there");
}

TEST(channel_refuses_a_checkpoint_where_the_job_has_none)
{
    CLEANUP(line_close) struct line line = line_open();

    say(&line, CHECKPOINT, CHECKPOINT_KEY_CHOSEN, "{}");
    breaks(&line, JOB_REFRESH, "a checkpoint in a job 'refresh'");
}

TEST(channel_refuses_checkpoints_that_go_backwards)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(channel_event_clear) struct channel_event event = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    say(&line, CHECKPOINT, CHECKPOINT_ANSWERED, "{}");
    hear(&line, JOB_ENROLL, &event);
    assert_ok(channel_ack(line.daemon, &err) == 0, err);
    say(&line, CHECKPOINT, CHECKPOINT_KEY_CHOSEN, "{}");
    breaks(&line, JOB_ENROLL, "out of turn");
}

TEST(channel_refuses_a_checkpoint_that_has_no_name)
{
    CLEANUP(line_close) struct line line = line_open();

    say(&line, CHECKPOINT, 200, "{}");
    breaks(&line, JOB_ENROLL, "checkpoint 200 is out of turn");
}

TEST(channel_refuses_a_worker_that_does_not_wait_for_its_checkpoint)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(channel_event_clear) struct channel_event event = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    say(&line, CHECKPOINT, CHECKPOINT_ANSWERED, "{}");
    say(&line, RESULT, JOB_ENROLL, "{}");
    hear(&line, JOB_ENROLL, &event);
    assert_int_equal(channel_ack(line.daemon, &err), -1);
    assert_int_equal(err_kind(err), ERR_PROTOCOL);
    assert_contains(err_text(err), "without waiting");
    breaks(&line, JOB_ENROLL, "before the checkpoint was acknowledged");
}

TEST(channel_refuses_a_frame_behind_the_result)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(channel_event_clear) struct channel_event event = {0};

    say(&line, RESULT, JOB_ENROLL, "{}");
    say(&line, PROGRESS, 0, "{\"text\":\"and another thing\"}");
    hear(&line, JOB_ENROLL, &event);
    breaks(&line, JOB_ENROLL, "a frame behind the last one");
}

TEST(channel_tells_a_cut_frame_from_an_end)
{
    CLEANUP(line_close) struct line line = line_open(), other = line_open();
    CLEANUP(channel_event_clear) struct channel_event event = {0};

    say_bytes(&line, "\0\0\0\12\5\1{", 7);
    close(line.worker);
    line.worker = -1;
    breaks(&line, JOB_ENROLL, "cut in the middle of a frame");
    close(other.worker);
    other.worker = -1;
    hear(&other, JOB_ENROLL, &event);
    assert_int_equal(event.type, CHANNEL_CLOSED);
}

TEST(channel_waits_no_longer_than_it_is_told)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(channel_event_clear) struct channel_event event = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(channel_next(line.daemon, JOB_ENROLL, 0, &event, &err), 0);
    say_bytes(&line, "\0\0\0\2\5\1{", 7); /* half a frame is none */
    assert_int_equal(channel_next(line.daemon, JOB_ENROLL, 0, &event, &err), 0);
    say_bytes(&line, "}", 1);
    assert_ok(channel_next(line.daemon, JOB_ENROLL, 0, &event, &err) == 1, err);
    assert_int_equal(event.type, CHANNEL_RESULT);
}

TEST(channel_reads_frames_that_come_in_single_bytes)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(channel_event_clear) struct channel_event event = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    static const char frame[] = "\0\0\0\15\3\0{\"text\":\"hm\"}";

    for (size_t i = 0; i < 6 + 13; i++) {
        assert_int_equal(channel_next(line.daemon, JOB_TOKENS, 0, &event, &err), 0);
        say_bytes(&line, frame + i, 1);
    }
    hear(&line, JOB_TOKENS, &event);
    assert_string_equal(event.text, "hm");
}

TEST(channel_says_that_the_worker_has_gone)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(job_enroll_clear) struct job_enroll job;
    CLEANUP(err_freep) struct err *err = NULL;

    close(line.worker);
    line.worker = -1;
    fill_enroll(&job);
    assert_int_equal(channel_send_job(line.daemon, JOB_ENROLL, &job, &err), -1);
    assert_contains(err_text(err), "the other end of the channel is gone");
}

TEST(channel_gives_the_worker_no_job_that_it_does_not_know)
{
    int pair[2];
    CLEANUP(channel_freep) struct channel *worker = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    union job_input input = {0};
    enum job_kind kind;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    worker = channel_new(pair[0]);
    assert_int_equal(write(pair[1], "\0\0\0\0\1\77", 6), 6);
    assert_int_equal(channel_read_job(worker, &kind, &input, &err), -1);
    assert_contains(err_text(err), "no job that we know");
    close(pair[1]);
}
