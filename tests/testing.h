/* testing.h - names tests, runs them under cmocka, and gives them files and places. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"

/*
 * TEST(name) { ... } is one test and its name a behaviour. ctest runs each in a process of its own, as
 * FOLDER.FILE.NAME; the program without arguments runs all of its file. Nothing but TEST( may begin such a line.
 */
#define TEST(name)                                                                                                     \
    static void name(void **state);                                                                                    \
    __attribute__((constructor)) static void register_##name(void)                                                     \
    {                                                                                                                  \
        testing_add(#name, name);                                                                                      \
    }                                                                                                                  \
    static void name(void **state __attribute__((unused)))
/* The same for a test that needs root and several users. */
#define PRIVILEGED_TEST(name) TEST(name)

void testing_add(const char *name, void (*run)(void **state));

/* Fails the test with the text of the err unless @expression is true. @err is a struct err *, may be NULL. */
#define assert_ok(expression, err)                                                                                     \
    do {                                                                                                               \
        if (!(expression))                                                                                             \
            fail_msg("%s: %s", #expression, err_text(err));                                                            \
    } while (0)

/* Fails unless @haystack contains @needle; prints both. */
#define assert_contains(haystack, needle) testing_contains((haystack), (needle), __FILE__, __LINE__)
void testing_contains(const char *haystack, const char *needle, const char *file, int line);

/* Paths. "testing_shared" skips the test, saying so, where the folder of shared samples is missing. Return owned. */
char *testing_source(const char *path); /* in the source tree */
char *testing_bin(const char *name);    /* a built program */
char *testing_shared(const char *path); /* in ../shared */

/* The whole content of a file; the test fails when it cannot be read. @out is cleared first. */
void testing_read(const char *path, struct bytes *out);
/* Writes a file, 0600. The test fails when it cannot. */
void testing_write(const char *path, const void *data, size_t len);

/* A new empty directory, removed with all its content when the process exits. Returns owned. */
char *testing_tmpdir(void);

/*
 * Runs a shell command (format and arguments; quote with single quotes), its standard output into @out, which may be
 * NULL. Returns the exit status, or 128 + the signal. For comparing our reading with that of openssl and xmllint.
 */
int testing_shell(struct bytes *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
