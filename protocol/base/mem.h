/* mem.h - allocation that cannot fail, and ownership that is visible: CLEANUP, TAKE, DEFINE_FREEP. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* Frees through the named function when the variable goes out of scope. The function takes a pointer to it. */
#define CLEANUP(func) __attribute__((cleanup(func)))

/* Hands ownership on: gives the value and leaves NULL behind. */
#define TAKE(ptr)                                                                                                      \
    __extension__({                                                                                                    \
        __typeof__(ptr) *take_ptr_ = &(ptr);                                                                           \
        __typeof__(ptr) take_value_ = *take_ptr_;                                                                      \
        *take_ptr_ = NULL;                                                                                             \
        take_value_;                                                                                                   \
    })

/* Defines func##p, the form that CLEANUP wants of a function that frees a pointer. */
#define DEFINE_FREEP(type, func)                                                                                       \
    static inline void func##p(type **p)                                                                               \
    {                                                                                                                  \
        if (*p)                                                                                                        \
            func(*p);                                                                                                  \
    }

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/*
 * These end the process when memory runs out; what must survive is on disk by then. A size that came from outside is
 * checked against a named limit before it gets here. mem_alloc gives zeroed memory.
 *
 * Return owned, never NULL; free with free().
 */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *mem_calloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *mem_realloc(void *ptr, size_t n, size_t size) __attribute__((returns_nonnull, warn_unused_result));
void *mem_dup(const void *data, size_t len) __attribute__((malloc, returns_nonnull, warn_unused_result));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull, warn_unused_result));
char *mem_strndup(const char *text, size_t max) __attribute__((malloc, returns_nonnull, warn_unused_result));
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull, warn_unused_result));
char *mem_vprintf(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0), returns_nonnull, warn_unused_result));

/* For a dup of text that may be NULL: NULL stays NULL. Returns owned. */
char *mem_strdup_opt(const char *text) __attribute__((warn_unused_result));

/* Makes room for one more item in an owned array and returns the zeroed new item; *n counts up. Never NULL. */
#define MEM_APPEND(items, n)                                                                                           \
    __extension__({                                                                                                    \
        (items) = mem_realloc((items), (n) + 1, sizeof(*(items)));                                                     \
        __typeof__(items) mem_new_ = &(items)[(n)++];                                                                  \
        *mem_new_ = (__typeof__(*mem_new_)){0};                                                                        \
        mem_new_;                                                                                                      \
    })

/* CLEANUP(mem_freep): for anything that free() frees. */
void mem_freep(void *ptr_to_ptr);

/* An owned list of owned strings. {0} is empty. */
struct strlist {
    char **items;
    size_t n;
};

void strlist_add(struct strlist *list, const char *text);
int strlist_has(const struct strlist *list, const char *text); /* 1 when @text is in it, compared exactly */
void strlist_copy(struct strlist *to, const struct strlist *from);
char *strlist_join(const struct strlist *list, const char *separator); /* returns owned, never NULL */
void strlist_clear(struct strlist *list);
