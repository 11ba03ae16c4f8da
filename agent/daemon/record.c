#include "agent/daemon/record.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config/file.h"
#include "agent/job/job_fields.h"
#include "protocol/base/printable.h"
#include "protocol/base/when.h"

#define MAX_RECORD         (16u << 20)
#define MAX_SENTENCE       4000 /* characters */
#define MAX_TEXT           PRINTABLE_BYTES(MAX_SENTENCE)
#define MAX_ID             128
#define MAX_PREVIOUS       64
#define EVENT_MAX_ENDPOINT 1000 /* characters of what one endpoint came to, in the history */
#define FILE_NAME          "record.json"
#define DAMAGED            ".damaged"

enum load_outcome { RECORD_LOADED, RECORD_NONE };

static const char *const state_names[] = {
#define X(name, text) text,
    RECORD_STATES(X)
#undef X
};
static const char *const err_names[] = {
#define X(name, bus, status, retry) bus,
    ERR_KINDS(X)
#undef X
};

LOCAL_FIELDS(pair_fields, record_pair, FIELD_OBJECT(record_pair, pair, job_pair, job_pair_fields),
    FIELD_OBJECT(record_pair, facts, job_facts, job_facts_fields), FIELD_U32(record_pair, generation),
    FIELD_TIME(record_pair, installed_at), FIELD_TIME(record_pair, retire_after), FIELD_TIME(record_pair, key_made_at));

LOCAL_FIELDS(event_fields, record_event, FIELD_TIME(record_event, when), FIELD_TEXT(record_event, what, MAX_TEXT),
    FIELD_TEXTS(record_event, endpoints, POLICY_MAX_URIS, PRINTABLE_BYTES(EVENT_MAX_ENDPOINT)));

LOCAL_FIELDS(outcome_fields, record_outcome, FIELD_TEXT(record_outcome, thumbprint, POLICY_MAX_TEXT),
    FIELD_TIME(record_outcome, when), FIELD_BOOL(record_outcome, ok), FIELD_TEXT(record_outcome, text, MAX_TEXT),
    FIELD_U32(record_outcome, tries));

LOCAL_FIELDS(record_fields, record, FIELD_U32(record, version), FIELD_TEXT_REQ(record, id, MAX_ID),
    FIELD_TEXT(record, certificate, MAX_ID), FIELD_TEXT_REQ(record, server, MAX_ID),
    FIELD_TEXT(record, template_oid, POLICY_MAX_TEXT), FIELD_TEXT(record, template_name, POLICY_MAX_TEXT),
    FIELD_OPT_U32(record, template_major), FIELD_ENUM(record, state, state_names),
    FIELD_OBJECT(record, current, record_pair, pair_fields),
    FIELD_LIST(record, previous, n_previous, record_pair, pair_fields, MAX_PREVIOUS),
    FIELD_OBJECT(record, attempt, job_attempt, job_attempt_fields), FIELD_BOOL(record, renewal),
    FIELD_TIME(record, attempt_started), FIELD_LIST(record, wanted, n_wanted, template, template_fields, 1),
    FIELD_LIST(record, cas, n_cas, policy_ca, policy_ca_fields, POLICY_MAX_CAS), FIELD_TEXT(record, error, MAX_TEXT),
    FIELD_TEXT(record, hint, MAX_TEXT), FIELD_ENUM(record, error_kind, err_names), FIELD_U32(record, error_code),
    FIELD_LIST(record, endpoints, n_endpoints, job_endpoint, job_endpoint_fields, POLICY_MAX_URIS),
    FIELD_TIME(record, request_day), FIELD_U32(record, requests),
    FIELD_LIST(record, history, n_history, record_event, event_fields, RECORD_MAX_HISTORY),
    /* Since version 2. */
    FIELD_TIME(record, renew_at), FIELD_TIME(record, next_attempt), FIELD_U32(record, failures),
    FIELD_U32(record, attempts), FIELD_TIME(record, last_attempt), FIELD_TIME(record, last_success),
    FIELD_TIME(record, pending_since), FIELD_U32(record, notified), FIELD_TIME(record, verified_at),
    FIELD_ENUM(record, verdict, job_verdict_names), FIELD_TEXT(record, verify_problem, MAX_TEXT),
    FIELD_TEXT(record, names_differ, MAX_TEXT), FIELD_TIME(record, issuer_not_after),
    FIELD_TIME(record, anchor_not_after), FIELD_OBJECT(record, hook, record_outcome, outcome_fields),
    FIELD_OBJECT(record, probe, record_outcome, outcome_fields), FIELD_BOOL(record, by_person));

const char *record_state_name(enum record_state state)
{
    return state < RECORD_STATE__MAX ? state_names[state] : "unknown";
}

bool record_has_certificate(const struct record *record)
{
    return record->current.pair.certificate.len > 0;
}

bool record_is_under_way(const struct record *record)
{
    return record->attempt.key_id.len > 0;
}

uint32_t record_requests_today(const struct record *record, int64_t now)
{
    return record->request_day == now / WHEN_DAY ? record->requests : 0;
}

void record_count_request(struct record *record, int64_t now)
{
    record->requests = record_requests_today(record, now) + 1;
    record->request_day = now / WHEN_DAY;
}

/* A text of ours may hold anything that a server said, and be longer than what a record takes. */
static char *bounded(const char *text)
{
    return text ? printable(text, strlen(text), MAX_SENTENCE) : NULL;
}

void record_note(struct record *record, int64_t now, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    struct record_event *event;
    va_list ap;

    if (record->n_history == RECORD_MAX_HISTORY) {
        fields_clear(&event_fields, &record->history[0]);
        memmove(record->history, record->history + 1, --record->n_history * sizeof(*record->history));
    }
    event = MEM_APPEND(record->history, record->n_history);
    event->when = now;
    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    event->what = bounded(text);
    for (size_t i = 0; i < record->n_endpoints && i < POLICY_MAX_URIS; i++) {
        const struct job_endpoint *tried = &record->endpoints[i];
        CLEANUP(mem_freep) char *line = mem_printf("%s: %s", tried->uri, tried->error ? tried->error : "answered");
        CLEANUP(mem_freep) char *shown = printable(line, strlen(line), EVENT_MAX_ENDPOINT);

        strlist_add(&event->endpoints, shown);
    }
}

static void forget_endpoints(struct record *record)
{
    for (size_t i = 0; i < record->n_endpoints; i++)
        fields_clear(&job_endpoint_fields, &record->endpoints[i]);
    free(record->endpoints);
    record->endpoints = NULL;
    record->n_endpoints = 0;
}

void record_clear_failure(struct record *record)
{
    free(TAKE(record->error));
    free(TAKE(record->hint));
    record->error_kind = 0;
    record->error_code = 0;
    forget_endpoints(record);
}

void record_set_failure(
    struct record *record, int64_t now, const struct err *why, const struct job_endpoint *endpoints, size_t n_endpoints)
{
    record_clear_failure(record);
    record->state = record->attempt.pending ? RECORD_PENDING : RECORD_BLOCKED; /* the CA still has it */
    record->error = bounded(err_text(why));
    record->hint = bounded(err_hint_text(why));
    record->error_kind = err_kind(why);
    record->error_code = err_code(why);
    for (size_t i = 0; i < n_endpoints && i < POLICY_MAX_URIS; i++)
        fields_copy(&job_endpoint_fields, MEM_APPEND(record->endpoints, record->n_endpoints), &endpoints[i]);
    record_note(record, now, "failed: %s", err_text(why));
}

void record_drop_cas(struct record *record)
{
    for (size_t i = 0; i < record->n_cas; i++)
        policy_ca_clear(&record->cas[i]);
    free(record->cas);
    record->cas = NULL;
    record->n_cas = 0;
}

void record_drop_attempt(struct record *record)
{
    job_attempt_clear(&record->attempt);
    if (record->n_wanted)
        template_clear(record->wanted);
    free(TAKE(record->wanted));
    record->n_wanted = 0;
    record_drop_cas(record);
    record->renewal = false;
    record->attempt_started = 0;
    record->pending_since = 0;
}

void record_set_text(char **member, const char *text)
{
    free(*member);
    *member = bounded(text);
}

static void record_free(struct record *record)
{
    fields_clear(&record_fields, record);
    free(record);
}
DEFINE_FREEP(struct record, record_free)

/* --- on disk --- */

/* An older version's record, which has less in it; it is written as ours when it changes next. */
static void migrate(struct record *record)
{
    if (record->version >= RECORD_VERSION)
        return;
    if (record->version < 2 && record->n_history) { /* 1 knew these only by its history */
        record->last_attempt = record->history[record->n_history - 1].when;
        record->last_success = record->current.installed_at;
    }
    record->version = RECORD_VERSION;
}

/* 0, RECORD_NONE, or -1 and why; *@newer when a later version of ours wrote it. */
static int load(const char *path, const char *id, struct record **out, bool *newer, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    CLEANUP(record_freep) struct record *record = mem_alloc(sizeof(*record));
    int outcome = file_read(path, MAX_RECORD, &text, errp);

    *newer = false;
    if (outcome == FILE_MISSING)
        return RECORD_NONE;
    if (outcome < 0)
        return -1;
    if (fields_peek_u32(text.data, text.len, "version", &record->version) && record->version > RECORD_VERSION) {
        *newer = true;
        return err_set(errp, ERR_STORE, "it was written by a later version of autoenroll (%u, this one knows %d)",
            record->version, RECORD_VERSION);
    }
    if (fields_read(&record_fields, text.data, text.len, record, errp) < 0)
        return -1;
    if (strcmp(record->id, id) != 0)
        return err_set(errp, ERR_INVALID, "it is the record of '%s'", record->id);
    migrate(record);
    *out = TAKE(record);
    return 0;
}

static void load_one(const char *dir, const char *id, struct record_list *list, struct strlist *problems)
{
    CLEANUP(err_freep) struct err *why = NULL;
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s/" FILE_NAME, dir, id);
    CLEANUP(mem_freep) char *aside = mem_printf("%s/%s/" FILE_NAME DAMAGED, dir, id);
    CLEANUP(mem_freep) char *problem = NULL;
    struct record *record = NULL;
    bool newer;
    int r = load(path, id, &record, &newer, &why);

    if (r == 0)
        *MEM_APPEND(list->items, list->n) = record;
    if (r >= 0 && access(aside, F_OK) < 0)
        return;
    if (r >= 0)
        problem = mem_printf("record of '%s' was damaged earlier and is kept as %s; while it is there, keys without a "
                             "record stay in the token: remove it when nothing of it is needed",
            id, aside);
    else if (newer)
        problem = mem_printf("record of '%s': %s; it is left alone: install that version again", id, err_text(why));
    else if (err_kind(why) == ERR_INVALID && rename(path, aside) == 0)
        problem = mem_printf("record of '%s' is damaged and was set aside as %s: %s; the enrollment starts anew", id,
            aside, err_text(why));
    else
        problem = mem_printf("record of '%s': %s", id, err_text(why));
    if (r < 0 && access(path, F_OK) == 0)
        strlist_add(&list->left_alone, id);
    strlist_add(problems, problem);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int record_load_all(const char *dir, struct record_list *out, struct strlist *problems, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist ids = {0};
    DIR *entries = opendir(dir);
    struct dirent *entry;

    if (!entries)
        return err_set(errp, ERR_STORE, "reading '%s': %m", dir);
    while ((entry = readdir(entries)))
        if (entry->d_name[0] != '.')
            strlist_add(&ids, entry->d_name);
    (void)closedir(entries);
    if (ids.n)
        qsort(ids.items, ids.n, sizeof(*ids.items), by_name);
    *out = (struct record_list){0};
    for (size_t i = 0; i < ids.n; i++)
        load_one(dir, ids.items[i], out, problems);
    return 0;
}

struct record *record_find(const struct record_list *list, const char *id)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i]->id, id) == 0)
            return list->items[i];
    return NULL;
}

struct record *record_add(struct record_list *list, const char *id)
{
    struct record *record = mem_alloc(sizeof(*record));

    record->version = RECORD_VERSION;
    record->id = mem_strdup(id);
    *MEM_APPEND(list->items, list->n) = record;
    return record;
}

int record_remove(struct record_list *list, const char *dir, struct record *record, struct err **errp)
{
    CLEANUP(mem_freep) char *home = mem_printf("%s/%s", dir, record->id);
    CLEANUP(mem_freep) char *path = mem_printf("%s/" FILE_NAME, home);
    size_t i = 0;

    if (unlink(path) < 0 && errno != ENOENT)
        return err_set(errp, ERR_STORE, "removing '%s': %m", path);
    (void)rmdir(home); /* what a person put there stays */
    while (i < list->n && list->items[i] != record)
        i++;
    if (i < list->n) {
        memmove(&list->items[i], &list->items[i + 1], (list->n - i - 1) * sizeof(*list->items));
        list->n--;
    }
    record_free(record);
    return 0;
}

void record_list_clear(struct record_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        record_free(list->items[i]);
    free(list->items);
    strlist_clear(&list->left_alone);
    *list = (struct record_list){0};
}

int record_save(const char *dir, const struct record *record, struct err **errp)
{
    CLEANUP(mem_freep) char *home = mem_printf("%s/%s", dir, record->id);
    CLEANUP(mem_freep) char *path = mem_printf("%s/" FILE_NAME, home);
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (fields_write(&record_fields, record, true, &text, errp) < 0 || file_make_directory(home, 0700, errp) < 0 ||
        file_replace(path, text.data, text.len, 0600, errp) < 0)
        return err_wrap(errp, "saving the record of '%s'", record->id);
    return 0;
}
