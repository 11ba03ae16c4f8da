#include "agent/config/inifile.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

/* inih knows a section by its number among these: its own buffer for the text is too short. */
struct reading {
    const struct inifile_reader *reader;
    void *arg;
    struct strlist sections;
    struct err **errp;
    bool failed;
};

static int read_section(struct reading *r, const char *line, size_t len, struct bytes *out)
{
    const char *close = memchr(line, ']', len);
    CLEANUP(mem_freep) char *section = NULL;
    const char *behind;

    if (!close)
        return err_set(r->errp, ERR_CONFIG, "the section's ']' is missing");
    behind = close + 1 + strspn(close + 1, " \t\r");
    if (behind < line + len && *behind != ';' && *behind != '#')
        return err_set(r->errp, ERR_CONFIG, "behind the section's ']' only a comment may follow");
    section = mem_strndup(line + 1, (size_t)(close - line - 1));
    if (r->reader->section(r->arg, section, r->errp) < 0)
        return -1;
    strlist_add(&r->sections, section);
    return bytes_printf(out, r->errp, "[%zu]", r->sections.n - 1);
}

static int read_line(struct reading *r, const char *line, size_t len, struct bytes *out)
{
    size_t blank = strspn(line, " \t");

    if (len > INIFILE_MAX_LINE)
        return err_set(r->errp, ERR_CONFIG, "the line is longer than %d characters", INIFILE_MAX_LINE);
    if (line[blank] == '[')
        return read_section(r, line + blank, len - blank, out);
    if (r->sections.n == 0 && blank < len && !strchr(";#\r", line[blank]))
        return err_set(r->errp, ERR_CONFIG, "there is no section above this line");
    return bytes_append(out, line + blank, len - blank, r->errp);
}

/* The text as inih shall see it; *line is where reading ended. */
static int prepare(struct reading *r, const char *text, struct bytes *out, int *line)
{
    static const char mark[] = "\xef\xbb\xbf"; /* of byte order */
    const char *at = strncmp(text, mark, strlen(mark)) == 0 ? text + strlen(mark) : text;

    for (*line = 1; *at; (*line)++) {
        size_t len = strcspn(at, "\n");

        if (read_line(r, at, len, out) < 0 || bytes_append_text(out, "\n", r->errp) < 0)
            return -1;
        at += len + (at[len] == '\n');
    }
    return 0;
}

/* inih's way: 1 is success. It goes on after a failure and tells the line of the first. */
static int on_value(void *arg, const char *section, const char *key, const char *text)
{
    struct reading *r = arg;
    const char *name = r->sections.items[strtoul(section, NULL, 10)];

    if (!r->failed && r->reader->value(r->arg, name, key, text, r->errp) < 0)
        r->failed = true;
    return !r->failed;
}

int inifile_read(
    const struct bytes *text, const char *path, const struct inifile_reader *reader, void *arg, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes prepared = {0};
    struct reading r = {.reader = reader, .arg = arg, .errp = errp};
    int line, result;

    if (strlen(bytes_text(text)) != text->len)
        return err_set(errp, ERR_CONFIG, "%s: a NUL byte in the file", path);
    result = prepare(&r, bytes_text(text), &prepared, &line);
    if (result == 0 && (line = ini_parse_string(bytes_text(&prepared), on_value, &r)) != 0) {
        err_set(errp, ERR_CONFIG, "neither a section, nor key = value, nor a comment"); /* unless the reader said why */
        result = -1;
    }
    strlist_clear(&r.sections);
    return result < 0 ? err_wrap(errp, "%s:%d", path, line) : 0;
}
