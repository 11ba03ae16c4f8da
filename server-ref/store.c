#include "server-ref/store.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000

struct store {
    sqlite3 *db;
    bool within; /* a transaction is open */
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS users ("
    " name TEXT PRIMARY KEY COLLATE NOCASE, hash TEXT NOT NULL, created INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS certificates ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, request INTEGER UNIQUE REFERENCES requests(id), serial TEXT NOT NULL,"
    " der BLOB NOT NULL UNIQUE, template TEXT, requester TEXT NOT NULL, lineage INTEGER REFERENCES certificates(id),"
    " not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, revoked INTEGER, reason INTEGER) STRICT;"
    "CREATE INDEX IF NOT EXISTS certificates_by_serial ON certificates(serial);"
    "CREATE TABLE IF NOT EXISTS requests ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " state TEXT NOT NULL CHECK (state IN ('pending', 'issued', 'denied', 'failed')),"
    " template TEXT, requester TEXT NOT NULL, lineage INTEGER REFERENCES certificates(id),"
    " old_certificate INTEGER REFERENCES certificates(id), payload BLOB NOT NULL, attributes TEXT NOT NULL,"
    " received INTEGER NOT NULL, resolved INTEGER, hresult INTEGER, message TEXT NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS exchange ("
    " id INTEGER PRIMARY KEY, der BLOB NOT NULL, key BLOB NOT NULL, not_after INTEGER NOT NULL) STRICT;";

static const char *const state_names[] = {
#define X(name, text) text,
    REQUEST_STATES(X)
#undef X
};

const char *request_state_name(enum request_state state)
{
    return state_names[state];
}

void stored_request_clear(struct stored_request *request)
{
    free(request->template_name);
    free(request->requester);
    bytes_clear(&request->payload);
    free(request->attributes);
    free(request->message);
    *request = (struct stored_request){0};
}

void stored_request_list_clear(struct stored_request_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        stored_request_clear(&list->items[i]);
    free(list->items);
    *list = (struct stored_request_list){0};
}

void stored_certificate_clear(struct stored_certificate *certificate)
{
    free(certificate->serial);
    bytes_clear(&certificate->der);
    free(certificate->template_name);
    free(certificate->requester);
    *certificate = (struct stored_certificate){0};
}

void stored_exchange_clear(struct stored_exchange *exchange)
{
    bytes_clear(&exchange->certificate);
    bytes_wipe(&exchange->key);
    *exchange = (struct stored_exchange){0};
}

static int failed(struct store *store, const char *doing, struct err **errp)
{
    return err_set(errp, ERR_STORE, "%s: %s", doing, sqlite3_errmsg(store->db));
}

static void statement_freep(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

static int bind(sqlite3_stmt *statement, int at, char type, va_list *ap)
{
    const struct bytes *blob;
    const char *text;
    int64_t number;

    switch (type) {
    case 'i': /* int64_t */
        return sqlite3_bind_int64(statement, at, va_arg(*ap, int64_t));
    case 'n': /* int64_t, 0 is NULL */
        number = va_arg(*ap, int64_t);
        return number ? sqlite3_bind_int64(statement, at, number) : sqlite3_bind_null(statement, at);
    case 't': /* const char *, NULL is NULL */
        text = va_arg(*ap, const char *);
        return sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
    case 'b': /* const struct bytes * */
        blob = va_arg(*ap, const struct bytes *);
        return sqlite3_bind_blob64(
            statement, at, blob->len ? (const void *)blob->data : "", blob->len, SQLITE_TRANSIENT);
    default:
        return SQLITE_MISUSE;
    }
}

/* Prepares @sql and binds one argument per character of @types, see bind(). Returns owned in @statement. */
static int prepare(
    struct store *store, sqlite3_stmt **statement, struct err **errp, const char *sql, const char *types, ...)
{
    va_list ap;
    int r = SQLITE_OK;

    if (sqlite3_prepare_v2(store->db, sql, -1, statement, NULL) != SQLITE_OK)
        return failed(store, "preparing a statement", errp);
    va_start(ap, types);
    for (int i = 0; types[i] && r == SQLITE_OK; i++)
        r = bind(*statement, i + 1, types[i], &ap);
    va_end(ap);
    return r == SQLITE_OK ? 0 : failed(store, "binding a value", errp);
}

/* Steps once. 0: there is a row; STORE_NONE: there is none. */
static int step(struct store *store, sqlite3_stmt *statement, struct err **errp)
{
    switch (sqlite3_step(statement)) {
    case SQLITE_ROW:
        return 0;
    case SQLITE_DONE:
        return STORE_NONE;
    case SQLITE_BUSY:
        err_set(errp, ERR_BUSY, "the database is in use");
        return err_hint(errp, "another command is writing to it for longer than %d seconds; try again", BUSY_MS / 1000);
    default:
        return failed(store, "using the database", errp);
    }
}

static int finish(struct store *store, sqlite3_stmt *statement, struct err **errp)
{
    return step(store, statement, errp) < 0 ? -1 : 0;
}

static char *column_text(sqlite3_stmt *statement, int at)
{
    return mem_strdup_opt((const char *)sqlite3_column_text(statement, at));
}

static void column_blob(sqlite3_stmt *statement, int at, struct bytes *out)
{
    const void *data = sqlite3_column_blob(statement, at);

    bytes_set(out, data ? data : "", (size_t)sqlite3_column_bytes(statement, at));
}

static int execute(struct store *store, const char *sql, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    return prepare(store, &statement, errp, sql, "") < 0 ? -1 : finish(store, statement, errp);
}

static int set_up(struct store *store, bool create, struct err **errp)
{
    static const char *const pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                                       "PRAGMA secure_delete = ON;";

    sqlite3_busy_timeout(store->db, BUSY_MS);
    if (sqlite3_exec(store->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return failed(store, "setting up the database", errp);
    if (create && sqlite3_exec(store->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return failed(store, "making the tables", errp);
    return 0;
}

int store_open(const char *dir, bool create, struct store **store, struct err **errp)
{
    CLEANUP(store_closep) struct store *made = mem_alloc(sizeof(*made));
    CLEANUP(mem_freep) char *path = mem_printf("%s/server.db", dir);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | (create ? SQLITE_OPEN_CREATE : 0);
    mode_t mask;
    int r;

    if (!create && access(path, F_OK) < 0) {
        err_set(errp, ERR_MISSING, "opening '%s': %m", path);
        return err_hint(errp, "make a server directory first: autoenroll-server-ref init %s", dir);
    }
    mask = umask(0077);
    r = sqlite3_open_v2(path, &made->db, flags, NULL);
    if (r == SQLITE_OK)
        r = set_up(made, create, errp) < 0 ? SQLITE_ERROR : SQLITE_OK;
    umask(mask);
    if (r != SQLITE_OK) {
        failed(made, "opening the database", errp);
        return err_wrap(errp, "'%s'", path);
    }
    *store = TAKE(made);
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    store_rollback(store);
    sqlite3_close(store->db);
    free(store);
}

int store_begin(struct store *store, struct err **errp)
{
    if (execute(store, "BEGIN IMMEDIATE", errp) < 0)
        return -1;
    store->within = true;
    return 0;
}

int store_commit(struct store *store, struct err **errp)
{
    if (execute(store, "COMMIT", errp) < 0)
        return -1;
    store->within = false;
    return 0;
}

void store_rollback(struct store *store)
{
    if (store->within)
        (void)execute(store, "ROLLBACK", NULL);
    store->within = false;
}

int store_put_user(struct store *store, const char *name, const char *hash, int64_t now, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp, "INSERT OR REPLACE INTO users (name, hash, created) VALUES (?, ?, ?)", "tti",
            name, hash, now) < 0)
        return -1;
    return finish(store, statement, errp);
}

int store_find_user(struct store *store, const char *name, char **hash, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;
    int r;

    if (prepare(store, &statement, errp, "SELECT hash FROM users WHERE name = ?", "t", name) < 0)
        return -1;
    r = step(store, statement, errp);
    if (r == 0)
        *hash = column_text(statement, 0);
    return r;
}

int store_delete_user(struct store *store, const char *name, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp, "DELETE FROM users WHERE name = ?", "t", name) < 0 ||
        finish(store, statement, errp) < 0)
        return -1;
    return sqlite3_changes(store->db) ? 0 : STORE_NONE;
}

int store_list_users(struct store *store, struct strlist *names, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;
    int r;

    if (prepare(store, &statement, errp, "SELECT name FROM users ORDER BY name", "") < 0)
        return -1;
    while ((r = step(store, statement, errp)) == 0)
        strlist_add(names, (const char *)sqlite3_column_text(statement, 0));
    return r < 0 ? -1 : 0;
}

int store_add_request(struct store *store, struct stored_request *request, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp,
            "INSERT INTO requests (state, template, requester, lineage, old_certificate, payload, attributes, received,"
            " resolved, hresult, message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            "tttnnbtinnt", state_names[request->state], request->template_name, request->requester, request->lineage,
            request->old_certificate, &request->payload, request->attributes, request->received, request->resolved,
            (int64_t)request->hresult, request->message ? request->message : "") < 0 ||
        finish(store, statement, errp) < 0)
        return err_wrap(errp, "storing a request");
    request->id = sqlite3_last_insert_rowid(store->db);
    return 0;
}

int store_update_request(struct store *store, const struct stored_request *request, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp,
            "UPDATE requests SET state = ?, template = ?, resolved = ?, hresult = ?, message = ? WHERE id = ?",
            "ttnnti", state_names[request->state], request->template_name, request->resolved, (int64_t)request->hresult,
            request->message ? request->message : "", request->id) < 0 ||
        finish(store, statement, errp) < 0)
        return err_wrap(errp, "storing request %lld", (long long)request->id);
    return 0;
}

#define REQUEST_COLUMNS                                                                                                \
    "SELECT id, state, template, requester, lineage, old_certificate, payload, attributes, received, resolved,"        \
    " hresult, message FROM requests "

static enum request_state state_from_text(const char *text)
{
    enum request_state state = 0;

    while (state < REQUEST_FAILED && strcmp(state_names[state], text) != 0)
        state++;
    return state;
}

static void read_request(sqlite3_stmt *statement, struct stored_request *request)
{
    *request = (struct stored_request){
        .id = sqlite3_column_int64(statement, 0),
        .state = state_from_text((const char *)sqlite3_column_text(statement, 1)),
        .template_name = column_text(statement, 2),
        .requester = column_text(statement, 3),
        .lineage = sqlite3_column_int64(statement, 4),
        .old_certificate = sqlite3_column_int64(statement, 5),
        .attributes = column_text(statement, 7),
        .received = sqlite3_column_int64(statement, 8),
        .resolved = sqlite3_column_int64(statement, 9),
        .hresult = (uint32_t)sqlite3_column_int64(statement, 10),
        .message = column_text(statement, 11),
    };
    column_blob(statement, 6, &request->payload);
}

int store_find_request(struct store *store, int64_t id, struct stored_request *request, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;
    int r;

    if (prepare(store, &statement, errp, REQUEST_COLUMNS "WHERE id = ?", "i", id) < 0)
        return -1;
    r = step(store, statement, errp);
    if (r == 0)
        read_request(statement, request);
    return r;
}

int store_list_requests(struct store *store, struct stored_request_list *list, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;
    int r;

    if (prepare(store, &statement, errp, REQUEST_COLUMNS "ORDER BY id", "") < 0)
        return -1;
    while ((r = step(store, statement, errp)) == 0)
        read_request(statement, MEM_APPEND(list->items, list->n));
    return r < 0 ? -1 : 0;
}

static int set_own_lineage(struct store *store, int64_t id, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp, "UPDATE certificates SET lineage = id WHERE id = ?", "i", id) < 0)
        return -1;
    return finish(store, statement, errp);
}

int store_add_certificate(struct store *store, struct stored_certificate *certificate, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp,
            "INSERT INTO certificates (request, serial, der, template, requester, lineage, not_before, not_after)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            "ntbttnii", certificate->request, certificate->serial, &certificate->der, certificate->template_name,
            certificate->requester, certificate->lineage, certificate->not_before, certificate->not_after) < 0 ||
        finish(store, statement, errp) < 0)
        return err_wrap(errp, "storing certificate %s", certificate->serial);
    certificate->id = sqlite3_last_insert_rowid(store->db);
    if (certificate->lineage)
        return 0;
    certificate->lineage = certificate->id;
    return set_own_lineage(store, certificate->id, errp);
}

#define CERTIFICATE_COLUMNS                                                                                            \
    "SELECT id, request, serial, der, template, requester, lineage, not_before, not_after, revoked, reason"            \
    " FROM certificates "

static int found_certificate(
    struct store *store, sqlite3_stmt *statement, struct stored_certificate *certificate, struct err **errp)
{
    int r = step(store, statement, errp);

    if (r != 0)
        return r;
    *certificate = (struct stored_certificate){
        .id = sqlite3_column_int64(statement, 0),
        .request = sqlite3_column_int64(statement, 1),
        .serial = column_text(statement, 2),
        .template_name = column_text(statement, 4),
        .requester = column_text(statement, 5),
        .lineage = sqlite3_column_int64(statement, 6),
        .not_before = sqlite3_column_int64(statement, 7),
        .not_after = sqlite3_column_int64(statement, 8),
        .revoked = sqlite3_column_int64(statement, 9),
        .reason = (uint32_t)sqlite3_column_int64(statement, 10),
    };
    column_blob(statement, 3, &certificate->der);
    return 0;
}

int store_find_certificate(
    struct store *store, const struct bytes *der, struct stored_certificate *certificate, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp, CERTIFICATE_COLUMNS "WHERE der = ?", "b", der) < 0)
        return -1;
    return found_certificate(store, statement, certificate, errp);
}

int store_find_certificate_of_request(
    struct store *store, int64_t request, struct stored_certificate *certificate, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp, CERTIFICATE_COLUMNS "WHERE request = ?", "i", request) < 0)
        return -1;
    return found_certificate(store, statement, certificate, errp);
}

int store_revoke(struct store *store, const char *serial, uint32_t reason, int64_t now, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp,
            "UPDATE certificates SET revoked = ?, reason = ? WHERE serial = ? AND revoked IS NULL", "iit", now,
            (int64_t)reason, serial) < 0 ||
        finish(store, statement, errp) < 0)
        return -1;
    return sqlite3_changes(store->db) ? 0 : STORE_NONE;
}

int store_add_exchange(struct store *store, const struct stored_exchange *exchange, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;

    if (prepare(store, &statement, errp, "INSERT INTO exchange (der, key, not_after) VALUES (?, ?, ?)", "bbi",
            &exchange->certificate, &exchange->key, exchange->not_after) < 0)
        return -1;
    return finish(store, statement, errp);
}

int store_find_exchange(struct store *store, int64_t now, struct stored_exchange *exchange, struct err **errp)
{
    CLEANUP(statement_freep) sqlite3_stmt *statement = NULL;
    int r;

    if (prepare(store, &statement, errp,
            "SELECT der, key, not_after FROM exchange WHERE not_after > ? ORDER BY id DESC LIMIT 1", "i", now) < 0)
        return -1;
    r = step(store, statement, errp);
    if (r != 0)
        return r;
    column_blob(statement, 0, &exchange->certificate);
    column_blob(statement, 1, &exchange->key);
    exchange->not_after = sqlite3_column_int64(statement, 2);
    return 0;
}
