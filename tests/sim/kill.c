#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/key/token_softhsm.h"
#include "protocol/base/when.h"
#include "tests/fault/plan.h"
#include "tests/oneshot_fixture.h"

/*
 * Each step that daemon and worker take while they enroll or renew, of which there are as many as they take: there both
 * or one of them are killed, or the step fails. Whatever it was, the next start ends with one certificate that works,
 * one key in the token, and the same files as if nothing had happened [design 8].
 */
#define MAX_NAMES 4

/* What happens to a whole row of runs. */
struct trouble {
    const char *name;
    enum fault_what what;
    bool victims[2]; /* FAULT_KILL */
    int error;       /* else */
};

static const struct trouble kills[] = {
    {"kill daemon", FAULT_KILL, {true, false}, 0},
    {"kill worker", FAULT_KILL, {false, true}, 0},
    {"kill both", FAULT_KILL, {true, true}, 0},
};
static const struct trouble failures[] = {
    {"EIO once", FAULT_ONCE, {false}, EIO},
    {"EIO from then on", FAULT_ALWAYS, {false}, EIO},
    {"ENOSPC once", FAULT_ONCE, {false}, ENOSPC},
    {"disk full", FAULT_ALWAYS, {false}, ENOSPC},
};
#define DISK_FULL 3 /* of these */

/* One row of the table: all steps that look the same. */
struct row {
    struct fault_step step;
    unsigned points, tries, ended, extra; /* @ended: tries after which the run did not end well by itself */
};

struct matrix {
    struct oneshot oneshot;
    struct fault_plan *plan;          /* mapped, for both programs */
    char *plan_path, *worker, *saved; /* @saved: the state before; NULL: there is none yet */
    const char *names[MAX_NAMES];     /* of the enrollments */
    size_t n_names;
    uint32_t generation;                      /* of the pair at the end */
    char *files;                              /* that an undisturbed run leaves */
    bool is_service;                          /* runs until it is told to end, with workers side by side */
    struct fault_step steps[FAULT_MAX_STEPS]; /* of an undisturbed run */
    uint32_t n_steps;
    struct row rows[256];
    size_t n_rows;
    unsigned points, tries, extra, in_window;
};

/* --- the world --- */

static void map_plan(struct matrix *m)
{
    int fd;

    m->plan_path = mem_printf("%s/plan", m->oneshot.agent->dir);
    testing_write(m->plan_path, "", 0);
    fd = open(m->plan_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, sizeof(*m->plan)) == 0);
    m->plan = mmap(NULL, sizeof(*m->plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(m->plan != MAP_FAILED);
    (void)close(fd);
}

static void start(struct matrix *m, size_t n_names)
{
    static const char *const names[MAX_NAMES] = {"web", "mail", "ldap", "vpn"};
    struct oneshot *s = &m->oneshot;
    CLEANUP(mem_freep) char *program = testing_bin("fault-worker");
    CLEANUP(mem_freep) char *script = NULL;

    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0) /* where fsync costs nothing */
        (void)setenv("TMPDIR", "/dev/shm", 1);
    oneshot_start(s);
    agent_fixture_fragment(s->agent, "agent", "[agent]\ngrace = 0s\n");
    for (; m->n_names < n_names; m->n_names++) {
        m->names[m->n_names] = names[m->n_names];
        agent_fixture_section(s->agent, names[m->n_names], "DeviceEC", "");
    }
    map_plan(m);
    script = mem_printf(FAULT_PLAN "='%s' exec '%s'", m->plan_path, program);
    m->worker = oneshot_worker(s, "faulty-worker", script);
    m->generation = 1;
}

/* Enrolled, and about to expire. */
static void make_due(struct matrix *m)
{
    struct oneshot *s = &m->oneshot;
    int64_t now = when_now();
    struct record *record;

    oneshot_run(s, "", 0);
    (void)oneshot_record(s, "web");
    record = record_find(&s->records, "web");
    record->current.facts.not_before = now - 365 * WHEN_DAY;
    record->current.facts.not_after = now + 6 * WHEN_HOUR;
    agent_fixture_save(s->agent, record);
    agent_fixture_password(s->agent, NULL);
    m->saved = mem_printf("%s.saved", s->agent->state);
    assert_int_equal(testing_shell(NULL, "cp -a '%s' '%s'", s->agent->state, m->saved), 0);
    m->generation = 2;
}

static void matrix_clear(struct matrix *m)
{
    oneshot_clear(&m->oneshot);
    (void)munmap(m->plan, sizeof(*m->plan));
    free(m->plan_path);
    free(m->worker);
    free(m->saved);
    free(m->files);
}

static void rewind_state(struct matrix *m)
{
    const char *state = m->oneshot.agent->state;

    if (m->saved)
        assert_int_equal(testing_shell(NULL, "rm -rf '%s' && cp -a '%s' '%s'", state, m->saved, state), 0);
    else
        assert_int_equal(testing_shell(NULL, "rm -rf '%s'", state), 0);
}

static void make_plan(struct matrix *m, const struct trouble *trouble, uint32_t at)
{
    struct fault_plan *plan = m->plan;

    memset(plan, 0, sizeof(*plan));
    (void)snprintf(plan->root, sizeof(plan->root), "%s", m->oneshot.agent->state);
    if (!trouble)
        return;
    plan->at = at;
    plan->what = trouble->what;
    plan->error = trouble->error;
    for (size_t i = 0; i < ARRAY_SIZE(plan->victims); i++)
        plan->victims[i] = trouble->victims[i];
}

/* @faulty  with the plan */
static char *command(const struct matrix *m, bool faulty)
{
    const struct agent_fixture *f = m->oneshot.agent;
    CLEANUP(mem_freep) char *program = testing_bin(faulty ? "fault-daemon" : "autoenrolld");
    CLEANUP(mem_freep) char *plan = mem_printf(FAULT_PLAN "='%s' ", m->plan_path);
    CLEANUP(mem_freep) char *worker = mem_printf(" --worker '%s'", m->worker);
    CLEANUP(mem_freep)
    char *users = f->run_as ? mem_printf(" --run-as '%s' --worker-as '%s'", f->run_as, f->worker_as) : mem_strdup("");

    return mem_printf("exec env %sCREDENTIALS_DIRECTORY='%s' '%s' %s --config '%s' --state-dir '%s'%s%s",
        faulty ? plan : "", f->credentials, program, m->is_service ? "--bus none" : "--oneshot", f->config, f->state,
        faulty ? worker : "", users);
}

/* --- a daemon that stays --- */

static bool all_installed(struct matrix *m)
{
    CLEANUP(mem_freep) char *dir = mem_printf("%s/private/enrollments", m->oneshot.agent->state);
    CLEANUP(strlist_clear) struct strlist problems = {0};
    struct record_list *records = &m->oneshot.records;
    size_t n = 0;

    record_list_clear(records);
    if (access(dir, F_OK) < 0 || record_load_all(dir, records, &problems, NULL) < 0)
        return false;
    for (size_t i = 0; i < records->n; i++)
        n += records->items[i]->state == RECORD_INSTALLED && !records->items[i]->n_wanted;
    return n == m->n_names;
}

/* Until it dies or all is done; then it is told to end. The status as waitpid gives it. */
static int run_service(struct matrix *m, bool faulty)
{
    CLEANUP(mem_freep) char *plain = command(m, faulty);
    CLEANUP(mem_freep) char *line = mem_printf("%s >'%s/said' 2>&1", plain, m->oneshot.agent->dir);
    CLEANUP(mem_freep) char *said = mem_printf("%s/said", m->oneshot.agent->dir);
    int status = 0;
    bool told = false;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    for (unsigned i = 0; i < 6000 && waitpid(pid, &status, WNOHANG) == 0; i++) {
        if (!told && all_installed(m)) {
            (void)kill(pid, SIGTERM);
            told = true;
        }
        (void)usleep(20000);
    }
    testing_read(said, &m->oneshot.agent->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(struct matrix *m, bool faulty)
{
    CLEANUP(mem_freep) char *line = command(m, faulty);

    return m->is_service ? run_service(m, faulty) : testing_shell(&m->oneshot.agent->out, "%s 2>&1", line);
}

/* --- what must be so at the end --- */

/* The names of all files, with "*" for what differs from run to run. */
static char *list_files(const struct matrix *m)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    /* The policy server that wants a certificate is asked when there is one, in this run or the next. */
    assert_int_equal(testing_shell(&out,
                         "cd '%s' && find . | sed -E '/corp-renewal/d; s/[0-9a-f]{8}-[0-9a-f-]{20,}/*/g; "
                         "s/-[0-9a-f]{16}/-*/' | sort",
                         m->oneshot.agent->state),
        0);
    return mem_strdup(bytes_text(&out));
}

static X509 *read_pem(struct agent_fixture *f, const char *id, const char *name)
{
    CLEANUP(mem_freep) char *path = id ? agent_fixture_file(f, id, name) : mem_strdup(name);
    FILE *file = fopen(path, "re");
    X509 *cert = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

    if (file)
        (void)fclose(file);
    return cert;
}

/* The published files: the certificate on record, and a chain to the server's root. */
static const char *judge_files(struct agent_fixture *f, const struct record *record)
{
    const struct bytes *der = &record->current.pair.certificate;
    X509 *leaf = read_pem(f, record->id, "cert.pem");
    X509 *issuer = read_pem(f, record->id, "chain.pem");
    X509 *full = read_pem(f, record->id, "fullchain.pem");
    X509 *root = read_pem(f, NULL, f->server->trust);
    const uint8_t *p = der->data;
    X509 *recorded = d2i_X509(NULL, &p, (long)der->len);
    const char *problem = NULL;

    if (!leaf || !issuer || !full || !root || !recorded)
        problem = "a published file is missing or no certificate";
    else if (X509_cmp(leaf, recorded) != 0 || X509_cmp(full, recorded) != 0)
        problem = "the published certificate is not the one on record";
    else if (X509_verify(leaf, X509_get0_pubkey(issuer)) != 1 || X509_verify(issuer, X509_get0_pubkey(root)) != 1)
        problem = "the published chain does not lead to the root";
    X509_free(leaf);
    X509_free(issuer);
    X509_free(full);
    X509_free(root);
    X509_free(recorded);
    return problem;
}

static bool signs_for(struct token *token, const struct job_pair *pair)
{
    CLEANUP(key_freep) struct key *key = NULL;
    const uint8_t *p = pair->certificate.data, *text = (const uint8_t *)"text";
    X509 *cert = d2i_X509(NULL, &p, (long)pair->certificate.len);
    EVP_MD_CTX *signing = EVP_MD_CTX_new();
    EVP_MD_CTX *verifying = EVP_MD_CTX_new();
    uint8_t signature[256];
    size_t len = sizeof(signature);
    bool good = key_token_open(token, &pair->key_id, NULL, &key, NULL) == 0 &&
                EVP_DigestSignInit_ex(signing, NULL, "SHA256", NULL, NULL, key_evp(key), NULL) == 1 &&
                EVP_DigestSign(signing, signature, &len, text, 4) == 1 &&
                EVP_DigestVerifyInit_ex(verifying, NULL, "SHA256", NULL, NULL, X509_get0_pubkey(cert), NULL) == 1 &&
                EVP_DigestVerify(verifying, signature, len, text, 4) == 1;

    EVP_MD_CTX_free(signing);
    EVP_MD_CTX_free(verifying);
    X509_free(cert);
    return good;
}

/* The key of the pair stands under the enrollment's name, and signs what the certificate verifies. */
static const char *judge_pair(struct token *token, const struct key_listings *keys, const struct record *record)
{
    const struct job_pair *pair = &record->current.pair;

    for (size_t i = 0; i < keys->n; i++) {
        const struct key_listing *key = &keys->items[i];

        if (!bytes_equal(&key->id, &pair->key_id))
            continue;
        if (strcmp(key->label, record->id) != 0)
            return "the label of the key is not the enrollment's name";
        if (!key->has_private || !key->has_public || !key->has_certificate)
            return "the pair in the token is not whole";
        return signs_for(token, pair) ? NULL : "the key does not sign for the certificate";
    }
    return "the key of the certificate is not in the token";
}

static const char *judge_token(struct matrix *m)
{
    CLEANUP(mem_freep) char *dir = mem_printf("%s/token", m->oneshot.agent->state);
    CLEANUP(mem_freep) char *module = NULL;
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(token_closep) struct token *token = NULL;
    CLEANUP(key_listings_clear) struct key_listings keys = {0};
    struct token_place place = {.uri = "pkcs11:token=autoenroll", .state_dir = dir, .is_ours = true};
    const char *problem = NULL;

    if (token_softhsm_open(dir, &module, &pin, NULL) < 0)
        return "there is no token";
    place.module = module;
    if (token_open(&place, pin, &token, NULL) < 0 || key_token_list(token, NULL, &keys, NULL) < 0)
        return "the token cannot be opened";
    if (keys.n > m->n_names)
        return "there is an orphan in the token";
    for (size_t i = 0; i < m->oneshot.records.n && !problem; i++)
        problem = judge_pair(token, &keys, m->oneshot.records.items[i]);
    return problem;
}

static const char *judge(struct matrix *m)
{
    const struct record_list *records = &m->oneshot.records;
    const char *problem = NULL;

    if (!all_installed(m))
        return "it is not installed";
    if (records->n != m->n_names)
        return "there is a record too many";
    for (size_t i = 0; i < records->n && !problem; i++) {
        const struct record *record = records->items[i];

        if (record->current.generation != m->generation || record->n_previous)
            problem = "it is not the generation that it should be, or an old pair was left";
        else
            problem = judge_files(m->oneshot.agent, record);
    }
    return problem ? problem : judge_token(m);
}

/* In a process of its own: a PKCS#11 module keeps what it has seen of a token that is replaced under it. NULL: fine. */
static char *find_problem(struct matrix *m)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    char buffer[256];
    int ends[2];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        const char *problem = judge(m);

        _exit(problem && write(ends[1], problem, strlen(problem)) > 0 ? 1 : 0);
    }
    (void)close(ends[1]);
    while ((n = read(ends[0], buffer, sizeof(buffer))) > 0)
        (void)bytes_append(&text, buffer, (size_t)n, NULL);
    (void)close(ends[0]);
    (void)waitpid(pid, NULL, 0);
    return text.len ? mem_strdup(bytes_text(&text)) : NULL;
}

/* --- one try --- */

struct server_rows {
    int64_t distinct, certificates; /* requests, by their bytes */
};

static struct server_rows count_rows(struct matrix *m)
{
    return (struct server_rows){
        .distinct = server_fixture_number(m->oneshot.server, "SELECT count(DISTINCT payload) FROM requests"),
        .certificates = oneshot_count(&m->oneshot, "certificates")};
}

static const char *role_name(enum fault_role role)
{
    return role == FAULT_DAEMON ? "daemon" : "worker";
}

static bool step_is(const struct fault_step *s, enum fault_role role, const char *call, const char *name)
{
    return s->role == role && strcmp(s->call, call) == 0 && strcmp(s->name, name) == 0;
}

static bool is_checkpoint(const struct fault_step *s, enum job_checkpoint checkpoint)
{
    CLEANUP(mem_freep) char *name = mem_printf("checkpoint %s", job_checkpoint_name(checkpoint));

    return step_is(s, FAULT_WORKER, "send", name);
}

/*
 * Between the first byte that may belong to the request that was sent and the answer on record: here the answer of the
 * CA can be lost, and the same request goes out once more [design 8.2]. When only files fail, nothing but them is in
 * the plan, and the window is what it is in the undisturbed run.
 */
static bool is_in_window(const struct matrix *m)
{
    const struct fault_plan *plan = m->plan;
    bool is_signed = false, is_sent = false, is_answered = false;
    uint32_t disk = 0;

    for (uint32_t i = 0; i < m->n_steps; i++) {
        const struct fault_step *s = plan->what == FAULT_KILL ? &plan->steps[i] : &m->steps[i];

        disk += s->kind == FAULT_DISK;
        is_signed |= is_checkpoint(s, CHECKPOINT_REQUEST_SIGNED);
        is_sent |= is_signed && s->kind == FAULT_NETWORK;
        is_answered |= is_checkpoint(s, CHECKPOINT_ANSWERED);
        if ((plan->what == FAULT_KILL ? i + 1 : disk) >= plan->at)
            break;
        if (is_answered && step_is(s, FAULT_DAEMON, "fsync", "web"))
            return false;
    }
    return is_sent;
}

static struct row *find_row(struct matrix *m, const struct fault_step *step)
{
    for (size_t i = 0; i < m->n_rows; i++) {
        const struct fault_step *s = &m->rows[i].step;

        if (step_is(s, step->role, step->call, step->name) && s->by_library == step->by_library)
            return &m->rows[i];
    }
    assert_true(m->n_rows < ARRAY_SIZE(m->rows));
    m->rows[m->n_rows].step = *step;
    return &m->rows[m->n_rows++];
}

static const char *last_said(const struct matrix *m)
{
    return bytes_text(&m->oneshot.agent->out);
}

static void complain(struct matrix *m, const struct trouble *trouble, const char *first, const char *problem)
{
    const struct fault_plan *plan = m->plan;
    const struct fault_step *step = &plan->steps[plan->at - 1];

    fprintf(stderr, "The first run:\n%s\nThe run after it:\n%s\n", first, last_said(m));
    fail_msg("step %u (%s %s '%s'): %s: %s", plan->at, role_name(step->role), step->call, step->name, trouble->name,
        problem);
}

/* A daemon that lives has to say what is wrong, and what to do; one that has been killed cannot. */
static void check_report(struct matrix *m, const struct trouble *trouble, int status, const char *said)
{
    if (trouble->what == FAULT_KILL || status == 0)
        return;
    if (status != err_kind_status(ERR_STORE))
        complain(m, trouble, said, "the exit status is not that of a disk or a token");
    if (!strstr(said, "hint: "))
        complain(m, trouble, said, "there is no hint");
}

static void check_end(struct matrix *m, const struct trouble *trouble, const char *said)
{
    CLEANUP(mem_freep) char *problem = NULL;
    CLEANUP(mem_freep) char *files = NULL;

    if (run(m, false) != 0)
        complain(m, trouble, said, "the run after it fails");
    problem = find_problem(m);
    if (problem)
        complain(m, trouble, said, problem);
    files = list_files(m);
    if (strcmp(files, m->files) != 0) {
        fprintf(stderr, "files:\n%s\nwithout a failure:\n%s\n", files, m->files);
        complain(m, trouble, said, "other files are left than without a failure");
    }
}

static unsigned check_server(
    struct matrix *m, const struct trouble *trouble, const char *said, const struct server_rows *before)
{
    struct server_rows after = count_rows(m);
    int64_t n = (int64_t)m->n_names, extra = after.certificates - before->certificates - n;

    if (after.distinct - before->distinct != n)
        complain(m, trouble, said, "another request was signed and sent");
    if (extra < 0 || extra > (is_in_window(m) || m->is_service ? n : 0))
        complain(m, trouble, said, "the CA has issued more certificates than it had to");
    return extra > 0 ? (unsigned)extra : 0;
}

/* False: there is no such step. */
static bool try_step(struct matrix *m, const struct trouble *trouble, uint32_t at)
{
    struct server_rows before = count_rows(m);
    CLEANUP(mem_freep) char *said = NULL;
    struct row *row;
    unsigned extra;
    int status;

    rewind_state(m);
    make_plan(m, trouble, at);
    status = run(m, true);
    if (!m->plan->struck)
        return false;
    said = mem_strdup(last_said(m));
    check_report(m, trouble, status, said);
    check_end(m, trouble, said);
    extra = check_server(m, trouble, said, &before);
    row = find_row(m, &m->plan->steps[at - 1]);
    row->tries++;
    row->extra += extra;
    row->ended += status != 0;
    m->tries++;
    m->extra += extra;
    m->in_window += is_in_window(m);
    return true;
}

/* --- all tries --- */

static void undisturbed(struct matrix *m)
{
    CLEANUP(mem_freep) char *problem = NULL;

    rewind_state(m);
    make_plan(m, NULL, 0);
    if (run(m, true) != 0)
        fail_msg("the undisturbed run fails:\n%s", last_said(m));
    m->n_steps = m->plan->count;
    memcpy(m->steps, m->plan->steps, sizeof(m->steps));
    problem = find_problem(m);
    if (problem)
        fail_msg("undisturbed: %s\n%s", problem, last_said(m));
    m->files = list_files(m);
}

static void print_table(const struct matrix *m, const char *title)
{
    print_message("%s: %u points, %u tries, %u of them in the window, %u extra certificates\n", title, m->points,
        m->tries, m->in_window, m->extra);
    print_message(
        "  %-7s %-10s %-30s %-8s %6s %6s %6s %6s\n", "who", "call", "on", "by", "points", "tries", "ended", "extra");
    for (size_t i = 0; i < m->n_rows; i++) {
        const struct row *row = &m->rows[i];

        print_message("  %-7s %-10s %-30s %-8s %6u %6u %6u %6u\n", role_name(row->step.role), row->step.call,
            row->step.name, row->step.by_library ? "library" : "us", row->points, row->tries, row->ended, row->extra);
    }
}

/*
 * SoftHSM writes an object's file anew for each of some twenty attributes: in so long a row of the same, one step in
 * five is tried. @seen: steps at the same file before; it is emptied and written.
 */
static bool is_one_of_many(const struct fault_step *step, unsigned seen)
{
    return step->by_library && step->kind == FAULT_DISK && seen > 7 && seen / 2 % 5;
}

/*
 * A library's step has one of @troubles, in turn, and so has a kill at what only makes a file or makes it durable
 * before it has its name: nobody can see that. Of the failures a full disk is met where something is written, and one
 * of the others in turn.
 */
static bool is_worth_it(const struct trouble *troubles, size_t n, size_t i, uint32_t at, const struct fault_step *s)
{
    static const char *const unseen[] = {"create", "write", "fsync"};
    bool seen = true, writes = strcmp(s->call, "fsync") != 0 && strcmp(s->call, "rename") != 0;

    if (troubles[i].victims[FAULT_WORKER] && !s->has_worker)
        return false; /* there is nobody to kill */
    for (size_t k = 0; k < ARRAY_SIZE(unseen); k++)
        seen &= strcmp(s->call, unseen[k]) != 0;
    if (s->by_library && s->kind == FAULT_DISK)
        return i == at % n;
    if (troubles[i].what == FAULT_KILL)
        return seen || !s->has_worker || i == at % n;
    return i == DISK_FULL ? writes : i == at % (n - 1);
}

static void try_point(
    struct matrix *m, const struct trouble *troubles, size_t n, uint32_t at, const struct fault_step *s)
{
    bool any = false;

    for (size_t i = 0; i < n; i++)
        if (is_worth_it(troubles, n, i, at, s))
            any |= try_step(m, &troubles[i], at);
    if (!any)
        return;
    find_row(m, &m->plan->steps[at - 1])->points++;
    m->points++;
}

/* @every: one point in so many */
static void try_all(struct matrix *m, const struct trouble *troubles, size_t n, unsigned every)
{
    const struct fault_step *last = NULL;
    unsigned seen = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < m->n_steps; i++) {
        const struct fault_step *s = &m->steps[i];

        if (troubles->what != FAULT_KILL && s->kind != FAULT_DISK)
            continue;
        at++;
        seen = last && s->by_library && strcmp(s->name, last->name) == 0 ? seen + 1 : 0;
        last = s;
        if (!is_one_of_many(s, seen) && at % every == 0)
            try_point(m, troubles, n, at, s);
    }
}

/* With sanitizers each try takes long: one point in five, unless $AE_KILL_EVERY says otherwise; without them all. */
static unsigned one_in(void)
{
    const char *asked = getenv("AE_KILL_EVERY");
    unsigned every = asked ? (unsigned)strtoul(asked, NULL, 10) : 0;

#ifdef __SANITIZE_ADDRESS__
    every = every ? every : 5;
#endif
    every = every ? every : 1;
    printf("one point in %u is tried\n", every);
    return every;
}

TEST(enrollment_survives_kill_9_at_every_step)
{
    CLEANUP(matrix_clear) struct matrix m = {0};

    start(&m, 1);
    undisturbed(&m);
    try_all(&m, kills, ARRAY_SIZE(kills), one_in());
    print_table(&m, "enroll, killed");
}

TEST(renewal_survives_kill_9_at_every_step)
{
    CLEANUP(matrix_clear) struct matrix m = {0};

    start(&m, 1);
    make_due(&m);
    undisturbed(&m);
    try_all(&m, kills, ARRAY_SIZE(kills), one_in());
    print_table(&m, "renew, killed");
}

TEST(enrollment_survives_a_disk_that_fails_at_every_step)
{
    CLEANUP(matrix_clear) struct matrix m = {0};

    start(&m, 1);
    undisturbed(&m);
    try_all(&m, failures, ARRAY_SIZE(failures), one_in());
    print_table(&m, "enroll, the disk fails");
}

TEST(renewal_survives_a_disk_that_fails_at_every_step)
{
    CLEANUP(matrix_clear) struct matrix m = {0};

    start(&m, 1);
    make_due(&m);
    undisturbed(&m);
    try_all(&m, failures, ARRAY_SIZE(failures), one_in());
    print_table(&m, "renew, the disk fails");
}

/* Workers side by side: which step is the next one is another matter in each run. */
TEST(daemon_with_workers_side_by_side_survives_kill_9)
{
    CLEANUP(matrix_clear) struct matrix m = {.is_service = true};

    start(&m, MAX_NAMES);
    undisturbed(&m);
    try_all(&m, &kills[2], 1, 67);
    try_all(&m, &kills[0], 1, 71);
    print_table(&m, "four enrollments by a daemon, killed");
}
