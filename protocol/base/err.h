/* err.h - a failure, its causes, and a hint for a person. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/mem.h"

/*
 * What a failure means to whoever must act on it. One row a kind: its name on the bus, the exit status of a program
 * that ends with it (sysexits.h where one fits), and whether trying again later can help without a person.
 */
#define ERR_KINDS(X)                                                                                                   \
    X(INTERNAL, "Internal", 70, false)   /* we are wrong, or a library is */                                           \
    X(USAGE, "Usage", 64, false)         /* the command line, or the arguments of a method */                          \
    X(CONFIG, "Config", 78, false)       /* the configuration */                                                       \
    X(INVALID, "Invalid", 65, false)     /* data that is not what it should be: a file, a message, a certificate */    \
    X(NETWORK, "Network", 69, true)      /* no connection, cut, refused by the transport */                            \
    X(TIMEOUT, "Timeout", 69, true)      /* nothing came in time */                                                    \
    X(TLS, "Tls", 69, false)             /* the peer is not who it should be */                                        \
    X(AUTH, "Auth", 77, false)           /* our credential was refused, or there is none */                            \
    X(DENIED, "Denied", 77, false)       /* the server or the CA said no; or: this caller may not */                   \
    X(PROTOCOL, "Protocol", 76, true)    /* the peer's answer breaks the protocol */                                   \
    X(UNTRUSTED, "Untrusted", 76, false) /* an answer that must not be installed */                                    \
    X(POLICY, "Policy", 78, false)       /* policy or its absence forbids it */                                        \
    X(TOKEN, "Token", 74, true)          /* the PKCS#11 token */                                                       \
    X(STORE, "Store", 74, true)          /* disk, files, records */                                                    \
    X(BUSY, "Busy", 75, true)            /* somebody else holds it */                                                  \
    X(MISSING, "Missing", 66, false)     /* what was named does not exist */

#define X(name, bus, status, retry) ERR_##name,
enum err_kind { ERR_KINDS(X) ERR__MAX };
#undef X

struct err;

/*
 * Sets *@errp to a new failure; the lowest function that knows the cause does it. %m works. A failure that is already
 * there is kept, and the new one dropped: the first cause is the cause. @errp may be NULL.
 * An ERR_STORE with %m in it gets the hint that belongs to errno.
 *
 * Return -1, so that "return err_set(...)" reads well.
 */
int err_set(struct err **errp, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Adds in front what the caller was doing. No effect when *@errp is NULL. Returns -1. */
int err_wrap(struct err **errp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds what a person can do. Only the first hint stays: the one closest to the cause. Returns -1. */
int err_hint(struct err **errp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The HRESULT that a CA or a service gave, see protocol/pki/hresult.h; 0 where none. */
void err_set_code(struct err *err, uint32_t hresult);
uint32_t err_code(const struct err *err);

enum err_kind err_kind(const struct err *err);
const char *err_text(const struct err *err);      /* "doing: doing: cause"; borrowed */
const char *err_hint_text(const struct err *err); /* borrowed; NULL when there is none */
void err_free(struct err *err);                   /* takes; NULL is fine */
DEFINE_FREEP(struct err, err_free)

/* Rebuilds a failure that came over a channel; the texts are copied. Returns owned. */
struct err *err_new(enum err_kind kind, const char *text, const char *hint, uint32_t hresult);

/* Facts of a kind; the names are those of ERR_KINDS. err_kind_parse gives ERR__MAX for an unknown name. */
const char *err_kind_name(enum err_kind kind);
int err_kind_status(enum err_kind kind);
bool err_kind_retry(enum err_kind kind);
enum err_kind err_kind_parse(const char *name);

/* Prints "PROGRAM: text" and, when there is one, "hint: ..." to standard error. For main() and other joins. */
void err_print(const char *program, const struct err *err);
