#include "tests/oneshot_fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/channel.h"

void oneshot_start(struct oneshot *s)
{
    if (!s->server)
        s->server = server_fixture_new(NULL);
    if (!s->server->pid)
        server_fixture_start(s->server);
    s->agent = agent_fixture_new(s->server);
}

void oneshot_clear(struct oneshot *s)
{
    record_list_clear(&s->records);
    agent_fixture_free(s->agent);
    json_decref(s->status);
}

void oneshot_template(struct oneshot *s, const char *key, const char *value)
{
    server_fixture_set(s->server, "template \"DeviceEC\"", key, value);
}

void oneshot_misbehave(struct oneshot *s, const char *key, const char *value)
{
    server_fixture_set(s->server, "misbehave", key, value);
    server_fixture_kill(s->server);
    server_fixture_start(s->server);
}

/* --- runs --- */

void oneshot_run(struct oneshot *s, const char *arguments, int status)
{
    int got = agent_fixture_run(s->agent, arguments);

    if (got != status)
        print_message("%s", oneshot_said(s)); /* what fail_msg shows is cut short */
    assert_int_equal(got, status);
}

const char *oneshot_said(const struct oneshot *s)
{
    return bytes_text(&s->agent->out);
}

void oneshot_json(struct oneshot *s, const char *arguments, int status)
{
    static const char *const lists[] = {"enrollments", "decisions", "policies", "problems"};
    CLEANUP(mem_freep) char *all = mem_printf("--json %s", arguments);
    const char *start;
    json_error_t error;

    oneshot_run(s, all, status);
    json_decref(s->status);
    start = strstr(oneshot_said(s), "{\n"); /* a PKCS#11 module may have said something to standard error */
    s->status = json_loads(start ? start : "", JSON_REJECT_DUPLICATES, &error);
    if (!s->status)
        fail_msg("no JSON, line %d: %s:\n%s", error.line, error.text, oneshot_said(s));
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        assert_true(json_is_array(json_object_get(s->status, lists[i])));
}

static const char *named(const struct oneshot *s, const char *list, const char *name, const char *key)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(s->status, list), i, one)
    {
        const char *its_name = json_string_value(json_object_get(one, "name"));

        if (its_name && strcmp(its_name, name) == 0)
            return json_string_value(json_object_get(one, key));
    }
    return NULL;
}

const char *oneshot_field(const struct oneshot *s, const char *id, const char *key)
{
    return named(s, "enrollments", id, key);
}

const char *oneshot_decision(const struct oneshot *s, const char *name, const char *key)
{
    return named(s, "decisions", name, key);
}

const struct record *oneshot_record(struct oneshot *s, const char *id)
{
    return agent_fixture_record(s->agent, id, &s->records);
}

int64_t oneshot_count(struct oneshot *s, const char *what)
{
    CLEANUP(mem_freep) char *sql = mem_printf("SELECT count(*) FROM %s", what);

    return server_fixture_number(s->server, sql);
}

size_t oneshot_answered(struct oneshot *s)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    (void)testing_shell(&out, "grep -c 'answered' '%s.log'", s->server->dir);
    return (size_t)atoi(bytes_text(&out));
}

/* --- looks --- */

/* The files of the current generation, by openssl and cmp. */
static void assert_files(struct oneshot *s, const char *id)
{
    CLEANUP(mem_freep) char *cert = agent_fixture_file(s->agent, id, "cert.pem");
    CLEANUP(mem_freep) char *chain = agent_fixture_file(s->agent, id, "chain.pem");
    CLEANUP(mem_freep) char *full = agent_fixture_file(s->agent, id, "fullchain.pem");

    assert_int_equal(testing_shell(NULL, "openssl verify -CAfile '%s' -untrusted '%s' '%s' >/dev/null",
                         s->server->trust, chain, cert),
        0);
    assert_int_equal(testing_shell(NULL, "cat '%s' '%s' | cmp - '%s'", cert, chain, full), 0);
}

static const struct key_listing *current_of(const struct key_listings *keys, const char *id)
{
    const struct key_listing *found = NULL;

    for (size_t i = 0; i < keys->n; i++) {
        if (strcmp(keys->items[i].label, id) != 0)
            continue;
        assert_null(found); /* the label is that of one pair only */
        found = &keys->items[i];
    }
    return found;
}

void oneshot_assert_installed(struct oneshot *s, const char *id)
{
    const struct record *record = oneshot_record(s, id);
    CLEANUP(key_listings_clear) struct key_listings keys = {0};
    CLEANUP(mem_freep) char *cert = agent_fixture_file(s->agent, id, "cert.pem");
    CLEANUP(bytes_clear) struct bytes published = {0};
    const struct key_listing *current;

    if (record->state != RECORD_INSTALLED)
        fail_msg("'%s' is %s: %s\n%s", id, record_state_name(record->state), record->error, oneshot_said(s));
    assert_false(record_is_under_way(record));
    assert_files(s, id);
    assert_int_equal(testing_shell(&published, "openssl x509 -in '%s' -outform DER", cert), 0);
    assert_true(bytes_equal(&published, &record->current.pair.certificate));
    agent_fixture_keys(s->agent, &keys);
    current = current_of(&keys, id);
    assert_non_null(current);
    assert_true(bytes_equal(&current->id, &record->current.pair.key_id));
    assert_true(current->has_private && current->has_public && current->has_certificate);
}

static bool is_on_record(const struct record_list *records, const struct bytes *id)
{
    for (size_t i = 0; i < records->n; i++) {
        const struct record *r = records->items[i];

        if (bytes_equal(id, &r->current.pair.key_id) || bytes_equal(id, &r->attempt.key_id))
            return true;
        for (size_t k = 0; k < r->n_previous; k++)
            if (bytes_equal(id, &r->previous[k].pair.key_id))
                return true;
    }
    return false;
}

void oneshot_assert_no_orphans(struct oneshot *s, size_t n)
{
    CLEANUP(key_listings_clear) struct key_listings keys = {0};
    CLEANUP(mem_freep) char *dir = mem_printf("%s/private/enrollments", s->agent->state);
    CLEANUP(strlist_clear) struct strlist problems = {0};

    record_list_clear(&s->records);
    assert_int_equal(record_load_all(dir, &s->records, &problems, NULL), 0);
    agent_fixture_keys(s->agent, &keys);
    for (size_t i = 0; i < keys.n; i++)
        if (!is_on_record(&s->records, &keys.items[i].id))
            fail_msg("the key with the label '%s' stands in no record", keys.items[i].label);
    assert_int_equal(keys.n, n);
}

/* --- in the worker's place --- */

char *oneshot_worker(const struct oneshot *s, const char *name, const char *script)
{
    CLEANUP(mem_freep) char *real = testing_bin("autoenroll-worker");
    CLEANUP(mem_freep) char *text = mem_printf("#!/bin/sh\nworker='%s'\n%s\n", real, script);
    char *path = mem_printf("%s/%s", s->agent->dir, name);

    testing_write(path, text, strlen(text));
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

/*
 * The relay is this program again, started by the daemon through a script of oneshot_worker: between the daemon, at
 * CHANNEL_FD, and the real worker it hands on one whole frame after another, and strikes when its moment has come.
 */
#define RELAY_VARIABLE "ONESHOT_RELAY" /* "STEP MOMENT VICTIM WORKER MARK" */
#define HEADER_SIZE    6
enum frame_type { FRAME_JOB = 1, FRAME_ACK, FRAME_PROGRESS, FRAME_CHECKPOINT, FRAME_RESULT };

struct relay {
    unsigned step, moment, victim;
    char worker[512], mark[512]; /* @mark is made when it strikes */
    int daemon_fd, worker_fd;
    pid_t worker_pid;
    unsigned job, last; /* kind of the job; last step that went by */
};

struct relay_frame {
    uint8_t *data; /* header and body; owned */
    size_t len;
};

static bool move(int fd, uint8_t *data, size_t len, bool out)
{
    while (len) {
        ssize_t n = out ? send(fd, data, len, MSG_NOSIGNAL) : read(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_frame(int fd, struct relay_frame *frame)
{
    uint8_t head[HEADER_SIZE];

    if (!move(fd, head, sizeof(head), false))
        return false;
    frame->len = sizeof(head) + ((size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]);
    frame->data = mem_alloc(frame->len);
    memcpy(frame->data, head, sizeof(head));
    return move(fd, frame->data + sizeof(head), frame->len - sizeof(head), false);
}

/* Our parent, or the parent of that where it is only the keeper of the daemon's rights. */
static pid_t find_daemon(void)
{
    CLEANUP(bytes_clear) struct bytes out = {0};
    pid_t parent = getppid();

    if (testing_shell(&out,
            "p=$(awk '/^PPid:/ {print $2}' /proc/%d/status); "
            "test \"$(cat /proc/$p/comm)\" = autoenrolld && echo $p",
            parent) == 0)
        return (pid_t)atoi(bytes_text(&out));
    return parent;
}

static __attribute__((noreturn)) void strike(const struct relay *r)
{
    pid_t daemon = r->victim == ONESHOT_DAEMON ? find_daemon() : 0;

    testing_write(r->mark, "", 0);
    if (daemon) { /* the rest of us ends with it, by the kernel's hand */
        (void)kill(daemon, SIGKILL);
        for (;;)
            (void)pause();
    }
    (void)kill(r->worker_pid, SIGKILL);
    (void)raise(SIGKILL);
    _exit(1);
}

static bool counts(const struct relay *r)
{
    return r->job == JOB_ENROLL || r->job == JOB_POLL;
}

static void look_at_daemons(struct relay *r, const struct relay_frame *frame)
{
    if (frame->data[4] == FRAME_JOB)
        r->job = frame->data[5];
    if (frame->data[4] == FRAME_ACK && counts(r) && r->last == r->step && r->moment == ONESHOT_SAVED)
        strike(r);
}

static void look_at_workers(struct relay *r, const struct relay_frame *frame)
{
    if (frame->data[4] == FRAME_CHECKPOINT)
        r->last = frame->data[5];
    else if (frame->data[4] == FRAME_RESULT)
        r->last = ONESHOT_RESULT;
    else
        return;
    if (counts(r) && r->last == r->step && r->moment == ONESHOT_NOT_SAVED)
        strike(r);
}

static bool pass_on(struct relay *r, int from, int to, void (*look)(struct relay *, const struct relay_frame *))
{
    struct relay_frame frame = {0};
    bool whole = read_frame(from, &frame);

    if (whole)
        look(r, &frame);
    whole = whole && move(to, frame.data, frame.len, true);
    free(frame.data);
    return whole;
}

static __attribute__((noreturn)) void run_relay(struct relay *r)
{
    int ends[2], status = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        _exit(126);
    r->worker_pid = fork();
    if (r->worker_pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)unsetenv(RELAY_VARIABLE);
        (void)dup2(ends[1], CHANNEL_FD);
        (void)execl(r->worker, "autoenroll-worker", (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    r->daemon_fd = CHANNEL_FD;
    r->worker_fd = ends[0];
    r->last = ~0u;
    for (;;) {
        struct pollfd fds[] = {{.fd = r->daemon_fd, .events = POLLIN}, {.fd = r->worker_fd, .events = POLLIN}};

        if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
            continue;
        if (fds[1].revents && !pass_on(r, r->worker_fd, r->daemon_fd, look_at_workers))
            break;
        if (fds[0].revents && !pass_on(r, r->daemon_fd, r->worker_fd, look_at_daemons))
            break;
    }
    (void)waitpid(r->worker_pid, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* Before main, which would run the tests. */
__attribute__((constructor)) static void become_relay(void)
{
    struct relay r = {0};
    const char *order = getenv(RELAY_VARIABLE);

    if (order && sscanf(order, "%u %u %u %511s %511s", &r.step, &r.moment, &r.victim, r.worker, r.mark) == 5)
        run_relay(&r);
}

void oneshot_run_and_kill(struct oneshot *s, const char *arguments, enum job_checkpoint step,
    enum oneshot_moment moment, enum oneshot_victim victim)
{
    CLEANUP(mem_freep) char *mark = mem_printf("%s/struck", s->agent->dir);
    CLEANUP(mem_freep) char *self = realpath("/proc/self/exe", NULL);
    CLEANUP(mem_freep)
    char *script = mem_printf(RELAY_VARIABLE "=\"%u %u %u $worker %s\" exec '%s'", step, moment, victim, mark, self);
    CLEANUP(mem_freep) char *worker = oneshot_worker(s, "relay", script);
    CLEANUP(mem_freep) char *all = mem_printf("--worker '%s' %s", worker, arguments);
    int status;

    (void)unlink(mark);
    status = agent_fixture_run(s->agent, all);
    if (access(mark, F_OK) < 0) {
        print_message("%s", oneshot_said(s));
        fail_msg("the moment to kill never came");
    }
    if (victim == ONESHOT_DAEMON)
        assert_int_equal(status, 128 + SIGKILL);
    else
        assert_contains(oneshot_said(s), "died of signal 9");
}
