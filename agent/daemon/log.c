#include "agent/daemon/log.h"

#include <stdio.h>
#include <string.h>

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
