#include "protocol/base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __attribute__((noreturn)) void out_of_memory(void)
{
    static const char message[] = "out of memory\n";

    (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
    abort();
}

void *mem_calloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);

    if (!p)
        out_of_memory();
    return p;
}

void *mem_alloc(size_t size)
{
    return mem_calloc(1, size);
}

void *mem_realloc(void *ptr, size_t n, size_t size)
{
    void *p;

    if (size && n > SIZE_MAX / size)
        out_of_memory();
    p = realloc(ptr, n && size ? n * size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *mem_dup(const void *data, size_t len)
{
    void *p = mem_alloc(len);

    if (len)
        memcpy(p, data, len);
    return p;
}

char *mem_strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *p = mem_alloc(len + 1);

    memcpy(p, text, len);
    return p;
}

char *mem_strdup(const char *text)
{
    char *p = strdup(text);

    if (!p)
        out_of_memory();
    return p;
}

char *mem_strdup_opt(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

char *mem_vprintf(const char *fmt, va_list ap)
{
    char *p = NULL;

    if (vasprintf(&p, fmt, ap) < 0)
        out_of_memory();
    return p;
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    char *p;

    va_start(ap, fmt);
    p = mem_vprintf(fmt, ap);
    va_end(ap);
    return p;
}

void mem_freep(void *ptr_to_ptr)
{
    void *p;

    memcpy(&p, ptr_to_ptr, sizeof(p));
    free(p);
}

void strlist_add(struct strlist *list, const char *text)
{
    char **item = MEM_APPEND(list->items, list->n);

    *item = mem_strdup(text);
}

int strlist_has(const struct strlist *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i], text) == 0)
            return 1;
    return 0;
}

void strlist_copy(struct strlist *to, const struct strlist *from)
{
    *to = (struct strlist){0};
    for (size_t i = 0; i < from->n; i++)
        strlist_add(to, from->items[i]);
}

char *strlist_join(const struct strlist *list, const char *separator)
{
    size_t len = 0, gap = strlen(separator);
    char *joined, *at;

    for (size_t i = 0; i < list->n; i++)
        len += strlen(list->items[i]) + gap;
    joined = at = mem_alloc(len + 1);
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            at = mempcpy(at, separator, gap);
        at = mempcpy(at, list->items[i], strlen(list->items[i]));
    }
    return joined;
}

void strlist_clear(struct strlist *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct strlist){0};
}
