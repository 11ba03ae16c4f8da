#include "protocol/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"

struct err {
    enum err_kind kind;
    uint32_t hresult;
    char *text; /* owned */
    char *hint; /* owned, or NULL */
};

static const struct {
    const char *name;
    int status;
    bool retry;
} kinds[] = {
#define X(name, bus, status, retry) [ERR_##name] = {bus, status, retry},
    ERR_KINDS(X)
#undef X
};

/* What a person can do about a disk; NULL: nothing that is known. */
static const char *disk_hint(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return "the disk is full: free some space, then run again; nothing was lost";
    case EACCES:
    case EPERM:
    case EROFS:
        return "see who owns the directory, and that it may be written";
    case EIO:
        return "the disk fails: see the kernel's log (dmesg); when it is well, run again; nothing was lost";
    default:
        return NULL;
    }
}

int err_set(struct err **errp, enum err_kind kind, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    if (!errp || *errp)
        return -1;
    *errp = mem_alloc(sizeof(**errp));
    (*errp)->kind = kind;
    errno = saved; /* for %m */
    va_start(ap, fmt);
    (*errp)->text = mem_vprintf(fmt, ap);
    va_end(ap);
    if (kind == ERR_STORE && strstr(fmt, "%m"))
        (*errp)->hint = mem_strdup_opt(disk_hint(saved));
    return -1;
}

int err_wrap(struct err **errp, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *doing = NULL;
    char *whole;
    va_list ap;

    if (!errp || !*errp)
        return -1;
    va_start(ap, fmt);
    doing = mem_vprintf(fmt, ap);
    va_end(ap);
    whole = mem_printf("%s: %s", doing, (*errp)->text);
    free((*errp)->text);
    (*errp)->text = whole;
    return -1;
}

int err_hint(struct err **errp, const char *fmt, ...)
{
    va_list ap;

    if (!errp || !*errp || (*errp)->hint)
        return -1;
    va_start(ap, fmt);
    (*errp)->hint = mem_vprintf(fmt, ap);
    va_end(ap);
    return -1;
}

void err_set_code(struct err *err, uint32_t hresult)
{
    if (err)
        err->hresult = hresult;
}

uint32_t err_code(const struct err *err)
{
    return err ? err->hresult : 0;
}

enum err_kind err_kind(const struct err *err)
{
    return err ? err->kind : ERR_INTERNAL;
}

const char *err_text(const struct err *err)
{
    return err ? err->text : "failed without saying why";
}

const char *err_hint_text(const struct err *err)
{
    return err ? err->hint : NULL;
}

void err_free(struct err *err)
{
    if (!err)
        return;
    free(err->text);
    free(err->hint);
    free(err);
}

struct err *err_new(enum err_kind kind, const char *text, const char *hint, uint32_t hresult)
{
    struct err *err = mem_alloc(sizeof(*err));

    err->kind = kind;
    err->text = mem_strdup(text);
    err->hint = mem_strdup_opt(hint);
    err->hresult = hresult;
    return err;
}

const char *err_kind_name(enum err_kind kind)
{
    return kind < ERR__MAX ? kinds[kind].name : kinds[ERR_INTERNAL].name;
}

int err_kind_status(enum err_kind kind)
{
    return kind < ERR__MAX ? kinds[kind].status : kinds[ERR_INTERNAL].status;
}

bool err_kind_retry(enum err_kind kind)
{
    return kind < ERR__MAX && kinds[kind].retry;
}

enum err_kind err_kind_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return (enum err_kind)i;
    return ERR__MAX;
}

void err_print(const char *program, const struct err *err)
{
    CLEANUP(mem_freep) char *text = printable_text(err_text(err));
    CLEANUP(mem_freep) char *hint = printable_text(err_hint_text(err));

    fprintf(stderr, "%s: %s\n", program, text);
    if (*hint)
        fprintf(stderr, "hint: %s\n", hint);
}
