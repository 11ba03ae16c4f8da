#include "tests/server_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"

#define PROGRAM     "autoenroll-server-ref"
#define MAX_SERVERS 16

static struct server_fixture *servers[MAX_SERVERS];
static size_t n_servers;

static void free_urls(struct server_fixture *server)
{
    char **urls[] = {&server->cep_username, &server->cep_certificate, &server->ces_username, &server->ces_certificate};

    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        free(*urls[i]);
        *urls[i] = NULL;
    }
}

static void end_all(void)
{
    for (size_t i = 0; i < n_servers; i++) {
        struct server_fixture *server = servers[i];

        if (server->pid) {
            kill(server->pid, SIGKILL);
            waitpid(server->pid, NULL, 0);
        }
        free_urls(server);
        free(server->dir);
        free(server->trust);
        free(server->password_file);
        free(server);
    }
    n_servers = 0;
}

struct server_fixture *server_fixture_new(const char *init)
{
    struct server_fixture *server = mem_alloc(sizeof(*server));
    CLEANUP(mem_freep) char *program = testing_bin(PROGRAM);
    char *base = testing_tmpdir();

    if (n_servers == MAX_SERVERS)
        fail_msg("more than %d servers in one test", MAX_SERVERS);
    if (n_servers == 0)
        atexit(end_all);
    servers[n_servers++] = server;
    server->dir = mem_printf("%s/server", base);
    server->trust = mem_printf("%s/root.pem", server->dir);
    server->password_file = mem_printf("%s/fixture-password", base);
    free(base);
    testing_write(server->password_file, SERVER_FIXTURE_PASSWORD, strlen(SERVER_FIXTURE_PASSWORD));
    if (testing_shell(NULL, "'%s' init '%s' --key p256 --user '%s' --password-file '%s' %s", program, server->dir,
            SERVER_FIXTURE_USER, server->password_file, init ? init : "") != 0)
        fail_msg("init failed");
    return server;
}

struct server_fixture *server_fixture_running(const char *init)
{
    struct server_fixture *server = server_fixture_new(init);

    server_fixture_start(server);
    return server;
}

/* In the child; standard output is @out. */
static void run_server(const struct server_fixture *server, const char *program, int out)
{
    CLEANUP(mem_freep) char *port = mem_printf("%u", server->port);
    CLEANUP(mem_freep) char *log = mem_printf("%s.log", server->dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(program, PROGRAM, "serve", server->dir, "--port", port, (char *)NULL);
    _exit(127);
}

static void set_urls(struct server_fixture *server)
{
    free_urls(server);
#define URL(path) mem_printf("https://localhost:%u/" path, server->port)
    server->cep_username = URL("ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP");
    server->cep_certificate = URL("KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP");
    server->ces_username = URL("Example%%20Issuing%%20CA_CES_UsernamePassword/service.svc/CES");
    server->ces_certificate = URL("Example%%20Issuing%%20CA_CES_Certificate/service.svc/CES");
#undef URL
}

void server_fixture_start(struct server_fixture *server)
{
    CLEANUP(mem_freep) char *program = testing_bin(PROGRAM);
    char line[256] = "";
    const char *colon;
    int ends[2];
    FILE *out;

    if (pipe2(ends, O_CLOEXEC) < 0)
        fail_msg("pipe: %s", strerror(errno));
    fflush(NULL);
    server->pid = fork();
    if (server->pid == 0)
        run_server(server, program, ends[1]);
    close(ends[1]);
    out = fdopen(ends[0], "r");
    if (!fgets(line, sizeof(line), out))
        line[0] = '\0';
    fclose(out);
    colon = strrchr(line, ':');
    if (strncmp(line, "READY https://", 14) != 0 || !colon)
        fail_msg("the server does not start, see '%s.log': %s", server->dir, line);
    server->port = (uint16_t)atoi(colon + 1);
    set_urls(server);
}

static int end_server(struct server_fixture *server, int signal_number)
{
    int status = -1;

    if (!server->pid)
        fail_msg("the server does not run");
    kill(server->pid, signal_number);
    waitpid(server->pid, &status, 0);
    server->pid = 0;
    return status;
}

void server_fixture_stop(struct server_fixture *server)
{
    int status = end_server(server, SIGTERM);

    if (status != 0)
        testing_shell(NULL, "cat '%s.log'", server->dir);
    assert_int_equal(status, 0);
}

void server_fixture_kill(struct server_fixture *server)
{
    end_server(server, SIGKILL);
}

/* Where the line after the one with @at begins. */
static const char *next_line(const char *at)
{
    const char *end = strchr(at, '\n');

    return end ? end + 1 : at + strlen(at);
}

static bool is_line_of(const char *line, const char *key)
{
    size_t len = strlen(key);

    return strncasecmp(line, key, len) == 0 && line[len + strspn(line + len, " \t")] == '=';
}

void server_fixture_set(struct server_fixture *server, const char *section, const char *key, const char *value)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/server.conf", server->dir);
    CLEANUP(mem_freep) char *head = mem_printf("[%s]\n", section);
    CLEANUP(mem_freep) char *line = value ? mem_printf("%s = %s\n", key, value) : mem_strdup("");
    CLEANUP(bytes_clear) struct bytes old = {0};
    CLEANUP(mem_freep) char *text = NULL;
    const char *found;
    const char *at;

    testing_read(path, &old);
    found = strstr(bytes_text(&old), head);
    if (!found) {
        text = mem_printf("%s\n%s%s", bytes_text(&old), head, line);
        testing_write(path, text, strlen(text));
        return;
    }
    found = next_line(found);
    for (at = found; *at && *at != '['; at = next_line(at))
        if (is_line_of(at, key))
            break;
    if (!*at || *at == '[')
        text = mem_printf("%.*s%s%s", (int)(found - bytes_text(&old)), bytes_text(&old), line, found);
    else
        text = mem_printf("%.*s%s%s", (int)(at - bytes_text(&old)), bytes_text(&old), line, next_line(at));
    testing_write(path, text, strlen(text));
}

int server_fixture_run(struct server_fixture *server, struct bytes *out, const char *verb, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *program = testing_bin(PROGRAM);
    CLEANUP(mem_freep) char *arguments = NULL;
    va_list ap;

    va_start(ap, fmt);
    arguments = mem_vprintf(fmt, ap);
    va_end(ap);
    return testing_shell(out, "'%s' %s '%s' %s", program, verb, server->dir, arguments);
}

static sqlite3_stmt *query(struct server_fixture *server, const char *sql, sqlite3 **db)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/server.db", server->dir);
    sqlite3_stmt *statement = NULL;

    assert_int_equal(sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(*db, 5000);
    if (sqlite3_prepare_v2(*db, sql, -1, &statement, NULL) != SQLITE_OK || sqlite3_step(statement) != SQLITE_ROW)
        fail_msg("'%s': no row: %s", sql, sqlite3_errmsg(*db));
    return statement;
}

int64_t server_fixture_number(struct server_fixture *server, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement = query(server, sql, &db);
    int64_t number = sqlite3_column_int64(statement, 0);

    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

void server_fixture_blob(struct server_fixture *server, const char *sql, struct bytes *out)
{
    sqlite3 *db;
    sqlite3_stmt *statement = query(server, sql, &db);

    bytes_set(out, sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(db);
}
