/* log.h - says what happens, on standard error with a priority for the journal; in oneshot as plain lines. */
#pragma once

#include "protocol/base/err.h"

enum agent_priority { AGENT_LOG_ERROR = 3, AGENT_LOG_WARNING = 4, AGENT_LOG_NOTICE = 5, AGENT_LOG_INFO = 6 };

/*
 * Who reads: the journal ("<6>corp: ..." on standard error), a person who runs one walk (progress on standard output,
 * what went wrong on standard error), or a program that reads JSON from standard output (only what went wrong).
 */
enum agent_log_style { AGENT_LOG_DAEMON, AGENT_LOG_ONESHOT, AGENT_LOG_QUIET };
void agent_log_use(enum agent_log_style style);

/* One line; what may have come from outside must be printable already, or stand in an err. */
void agent_log(enum agent_priority priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void agent_log_err(enum agent_priority priority, const struct err *err);

/* What a program may wait for in the journal: name, MESSAGE_ID, as in "journalctl MESSAGE_ID=...". */
#define AGENT_LOG_EVENTS(X)                                                                                            \
    X(EXPIRING, "expiring", "107ffd2dd2d4453c944989520e9f7106") /* a certificate expires, and nobody has prevented it  \
                                                                 */
#define X(name, tag, id) AGENT_LOG_##name,
enum agent_log_event { AGENT_LOG_EVENTS(X) AGENT_LOG_EVENT__MAX };
#undef X

/* The same as agent_log, found by its MESSAGE_ID where the journal reads; elsewhere "[expiring] ..." */
void agent_log_event(enum agent_log_event event, enum agent_priority priority, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
