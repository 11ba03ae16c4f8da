#include "agent/job/channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/job_fields.h"
#include "agent/worker/vault.h"
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
enum { JOB = 1, ACK, PROGRESS, CHECKPOINT, RESULT, FAILED, SECRET };

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
        {JOB_VERIFY, "{\"verdict\":\"expired\"}"},
        {JOB_SCAN, "{\"gone\":[\"/a\"]}"},
        {JOB_PROBE, "{\"matches\":true}"},
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
        case JOB_VERIFY:
            assert_int_equal(event.verified.verdict, JOB_VERDICT_EXPIRED);
            break;
        case JOB_SCAN:
            assert_string_equal(event.scanned.gone.items[0], "/a");
            break;
        case JOB_PROBE:
            assert_true(event.probed.matches);
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

    say(&line, 8, 0, "{}");
    breaks(&line, JOB_ENROLL, "unknown type 8");
}

TEST(channel_refuses_what_only_the_daemon_says)
{
    static const int types[] = {ACK, JOB, SECRET};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        CLEANUP(line_close) struct line line = line_open();

        say(&line, types[i], 0, "{}");
        breaks(&line, JOB_ENROLL, "only the daemon sends");
    }
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
    CLEANUP(channel_event_clear) struct channel_event event = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    say(&line, PROGRESS, 0, "{\"text\":\"hm\"}");
    close(line.worker);
    line.worker = -1;
    fill_enroll(&job);
    assert_ok(channel_send_job(line.daemon, JOB_ENROLL, &job, &err) == 0, err);
    assert_int_equal(channel_flush(line.daemon), CHANNEL_GONE);
    hear(&line, JOB_ENROLL, &event); /* what it said before counts */
    assert_string_equal(event.text, "hm");
}

/* A job that is larger than what the socket takes: the daemon goes on with others until it is read. */
TEST(channel_writes_a_large_job_as_it_is_read)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(job_retire_clear) struct job_retire job = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(bytes_clear) struct bytes got = {0};
    uint8_t buffer[65536];
    size_t rounds = 0;

    bytes_set(&job.place.tag, "\1\2\3\4", 4);
    for (int i = 0; i < JOB_MAX_PAIRS; i++)
        bytes_set(MEM_APPEND(job.known, job.n_known), (uint8_t[JOB_MAX_KEY_ID]){1}, JOB_MAX_KEY_ID);
    assert_ok(channel_send_job(line.daemon, JOB_RETIRE, &job, &err) == 0, err);
    for (; channel_flush(line.daemon) == CHANNEL_WAITS; rounds++) {
        ssize_t n = recv(line.worker, buffer, sizeof(buffer), 0);

        assert_true(n > 0);
        assert_int_equal(bytes_append(&got, buffer, (size_t)n, NULL), 0);
    }
    assert_true(rounds > 0);
    while (got.len < 6 || got.len < 6 + ((size_t)got.data[1] << 16 | (size_t)got.data[2] << 8 | got.data[3])) {
        ssize_t n = recv(line.worker, buffer, sizeof(buffer), 0);

        assert_true(n > 0);
        assert_int_equal(bytes_append(&got, buffer, (size_t)n, NULL), 0);
    }
    assert_int_equal(got.data[got.len - 1], '}');
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

/* --- secrets --- */

/* The password of these tests stands nowhere in this program as it is: each character is one more than here. */
static const char veiled[] = "a password that is long enough for a piece of it to be left behind in freed memory";

static struct secret *make_secret(void)
{
    char *text = mem_strdup(veiled);
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        text[i]++;
    return secret_take(text, len);
}

/* How often the password is in @data; compared so that no copy of it comes about. */
static size_t copies_in(const uint8_t *data, size_t len)
{
    size_t n = sizeof(veiled) - 1, copies = 0;

    for (size_t i = 0; i + n <= len; i++) {
        size_t same = 0;

        while (same < n && data[i + same] == (uint8_t)(veiled[same] + 1))
            same++;
        copies += same == n;
    }
    return copies;
}

/* How often some writable piece of this process's memory holds it. Sanitizers map more than there is: those are left.
 */
static size_t copies_in_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    static uint8_t piece[1 << 20];
    size_t copies = 0;
    unsigned long from, to;
    char mode[5], line[512];

    assert_true(maps && memory >= 0);
    while (fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[1] != 'w' || to - from > 64u << 20)
            continue;
        for (; from < to; from += sizeof(piece)) {
            size_t len = to - from < sizeof(piece) ? to - from : sizeof(piece);
            bool itself = from < (uintptr_t)piece + sizeof(piece) && (uintptr_t)piece < from + len;
            ssize_t n = itself ? 0 : pread(memory, piece, len, (off_t)from);

            copies += n > 0 ? copies_in(piece, (size_t)n) : 0;
            explicit_bzero(piece, sizeof(piece));
        }
    }
    (void)fclose(maps);
    (void)close(memory);
    return copies;
}

TEST(channel_hands_secrets_over_to_the_vault)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(channel_freep) struct channel *worker = channel_new(line.worker);
    CLEANUP(job_enroll_clear) struct job_enroll job;
    CLEANUP(secret_freep) struct secret *password = make_secret(), *pin = secret_copy("1234", 4), *found = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    union job_input input = {0};
    enum job_kind kind;

    line.worker = -1; /* is the channel's now */
    fill_enroll(&job);
    assert_ok(channel_send_secret(line.daemon, "corp.password", password, &err) == 0, err);
    assert_ok(channel_send_secret(line.daemon, "token.pin", pin, &err) == 0, err);
    assert_ok(channel_send_job(line.daemon, JOB_ENROLL, &job, &err) == 0, err);
    assert_int_equal(channel_flush(line.daemon), CHANNEL_FLUSHED);
    assert_ok(channel_read_job(worker, &kind, &input, &err) == 0, err);
    assert_string_equal(input.enroll.name, "web");
    job_enroll_clear(&input.enroll);

    setenv("CREDENTIALS_DIRECTORY", "/nonexistent", 1);
    assert_int_equal(vault_find("corp.password", &found, &err), VAULT_NONE);
    vault_use(worker);
    assert_int_equal(vault_find("corp.password", &found, &err), VAULT_FOUND);
    assert_true(secret_equal(found, password));
    assert_true(secret_equal(channel_secret(worker, "token.pin"), pin));
    assert_null(channel_secret(worker, "corp"));
    assert_int_equal(vault_find("other", &found, &err), VAULT_NONE);
    vault_use(NULL);
}

TEST(channel_leaves_no_secret_in_memory)
{
    CLEANUP(job_enroll_clear) struct job_enroll job;
    struct line line = line_open();
    struct channel *worker = channel_new(line.worker);
    struct secret *password = make_secret();
    union job_input input = {0};
    enum job_kind kind;

    line.worker = -1;
    fill_enroll(&job);
    assert_int_equal(channel_send_secret(line.daemon, "a", password, NULL), 0);
    assert_int_equal(channel_send_secret(line.daemon, "b", password, NULL), 0);
    assert_int_equal(channel_send_job(line.daemon, JOB_ENROLL, &job, NULL), 0);
    assert_true(copies_in_memory() >= 3); /* ours, and two in the queue */
    assert_int_equal(channel_flush(line.daemon), CHANNEL_FLUSHED);
    assert_int_equal(channel_read_job(worker, &kind, &input, NULL), 0);
    job_enroll_clear(&input.enroll);
    assert_int_equal(copies_in_memory(), 3); /* ours, and the two that the worker has */
    secret_free(password);
    channel_free(worker);
    line_close(&line);
    assert_int_equal(copies_in_memory(), 0);
}

TEST(channel_takes_no_secret_that_the_worker_would_not)
{
    CLEANUP(line_close) struct line line = line_open();
    CLEANUP(secret_freep) struct secret *good = secret_copy("x", 1), *empty = secret_copy("", 0), *large = NULL;
    CLEANUP(mem_freep) char *text = mem_alloc(CHANNEL_MAX_SECRET + 1), *name = mem_alloc(257);

    memset(text, 'x', CHANNEL_MAX_SECRET + 1);
    memset(name, 'n', 256);
    large = secret_copy(text, CHANNEL_MAX_SECRET + 1);
    assert_int_equal(channel_send_secret(line.daemon, "", good, NULL), -1);
    assert_int_equal(channel_send_secret(line.daemon, name, good, NULL), -1);
    assert_int_equal(channel_send_secret(line.daemon, "n", empty, NULL), -1);
    assert_int_equal(channel_send_secret(line.daemon, "n", large, NULL), -1);
    for (int i = 0; i < CHANNEL_MAX_SECRETS; i++)
        assert_int_equal(channel_send_secret(line.daemon, name + 1, good, NULL), 0);
    assert_int_equal(channel_send_secret(line.daemon, "n", good, NULL), -1);
}

TEST(channel_gives_the_worker_no_secret_of_the_wrong_form)
{
    static const struct {
        const char *frames;
        size_t len;
        const char *why;
    } rows[] = {
        {"\0\0\0\0\7\0", 6, "a secret of the wrong form"},
        {"\0\0\0\2\7\0\0v", 8, "a secret of the wrong form"},
        {"\0\0\0\2\7\0\1n", 8, "a secret of the wrong form"}, /* no value */
        {"\0\0\0\2\7\0\11n", 8, "a secret of the wrong form"},
        {"\0\0\0\4\7\0\2n\0v", 10, "a secret of the wrong form"},
        {"\0\0\0\3\7\0\1nv\0\0\0\3\7\0\1nv\0\0\0\3\7\0\1nv\0\0\0\3\7\0\1nv\0\0\0\3\7\0\1nv", 45, "more than 4 secrets"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(channel_freep) struct channel *worker = NULL;
        CLEANUP(err_freep) struct err *err = NULL;
        union job_input input = {0};
        enum job_kind kind;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        worker = channel_new(pair[0]);
        assert_int_equal(write(pair[1], rows[i].frames, rows[i].len), (ssize_t)rows[i].len);
        assert_int_equal(channel_read_job(worker, &kind, &input, &err), -1);
        assert_contains(err_text(err), rows[i].why);
        close(pair[1]);
    }
}
