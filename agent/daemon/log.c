#include "agent/daemon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef AE_HAVE_SYSTEMD
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>
#endif

#include "protocol/base/printable.h"

static enum agent_log_style style = AGENT_LOG_DAEMON;

void agent_log_use(enum agent_log_style use)
{
    style = use;
}

static void say(enum agent_priority priority, const char *text)
{
    if (style == AGENT_LOG_DAEMON) {
        fprintf(stderr, "<%d>%s\n", (int)priority, text);
    } else if (priority <= AGENT_LOG_WARNING) {
        fprintf(stderr, "autoenrolld: %s\n", text);
    } else if (style == AGENT_LOG_ONESHOT) {
        printf("%s\n", text);
        (void)fflush(stdout);
    }
}

void agent_log(enum agent_priority priority, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    say(priority, text);
}

void agent_log_err(enum agent_priority priority, const struct err *err)
{
    CLEANUP(mem_freep) char *text = printable_text(err_text(err));
    CLEANUP(mem_freep) char *hint = err_hint_text(err) ? printable_text(err_hint_text(err)) : NULL;
    CLEANUP(mem_freep) char *line = hint ? mem_printf("%s; hint: %s", text, hint) : mem_strdup(text);

    say(priority, line);
}

/* --- for programs --- */

struct event_row {
    const char *tag, *id;
};
static const struct event_row events[] = {
#define X(name, tag, id) {tag, id},
    AGENT_LOG_EVENTS(X)
#undef X
};

#ifdef AE_HAVE_SYSTEMD
/* $JOURNAL_STREAM has device and inode of what is the journal's; standard error may lead elsewhere. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    CLEANUP(mem_freep) char *ours = NULL;
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) < 0)
        return false;
    ours = mem_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, ours) == 0;
}

static bool say_to_journal(const struct event_row *event, enum agent_priority priority, const char *text)
{
    return style == AGENT_LOG_DAEMON && is_journal() &&
           sd_journal_send("MESSAGE=%s", text, "MESSAGE_ID=%s", event->id, "PRIORITY=%i", (int)priority, NULL) >= 0;
}
#else
static bool say_to_journal(const struct event_row *event, enum agent_priority priority, const char *text)
{
    (void)event;
    (void)priority;
    (void)text;
    return false;
}
#endif

void agent_log_event(enum agent_log_event event, enum agent_priority priority, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *tagged = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    if (say_to_journal(&events[event], priority, text))
        return;
    tagged = mem_printf("[%s] %s", events[event].tag, text);
    say(priority, tagged);
}
