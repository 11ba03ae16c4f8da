#include "agent/ctl/login.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "agent/ctl/model.h"
#include "protocol/base/printable.h"
#include "protocol/base/secret.h"

#define MAX_PASSWORD 1024

/* One line of @fd, at most MAX_PASSWORD bytes, without its end. 0 with *out owned, or -1 with ERR_INVALID. */
static int read_line(int fd, struct secret **out, struct err **errp)
{
    char line[MAX_PASSWORD + 2];
    size_t len = 0;
    int r = 0;

    while (len < sizeof(line)) {
        ssize_t n = read(fd, line + len, 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = err_set(errp, ERR_STORE, "reading the password: %m");
        if (n <= 0 || line[len] == '\n')
            break;
        len++;
    }
    if (len && line[len - 1] == '\r')
        len--;
    if (r == 0 && len > MAX_PASSWORD)
        r = err_set(errp, ERR_INVALID, "the password is longer than %d bytes", MAX_PASSWORD);
    else if (r == 0 && (len == 0 || memchr(line, 0, len)))
        r = err_set(errp, ERR_INVALID, len ? "the password has a NUL byte in it" : "the password is empty");
    if (r == 0)
        *out = secret_copy(line, len);
    explicit_bzero(line, sizeof(line));
    return r;
}

/* Asks on the terminal, which shows nothing meanwhile. */
static int read_terminal(const char *server, struct secret **out, struct err **errp)
{
    CLEANUP(mem_freep) char *safe = printable_text(server);
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before, silent;
    int r;

    if (fd < 0 || tcgetattr(fd, &before) < 0) {
        if (fd >= 0)
            close(fd);
        err_set(errp, ERR_USAGE, "there is no terminal to ask for the password on");
        return err_hint(errp, "--password-file FILE reads it from a file, --password-file - from standard input");
    }
    silent = before;
    silent.c_lflag = (silent.c_lflag & ~(tcflag_t)ECHO) | ECHONL;
    dprintf(fd, "Password for policy server '%s': ", safe);
    (void)tcsetattr(fd, TCSAFLUSH, &silent);
    r = read_line(fd, out, errp);
    (void)tcsetattr(fd, TCSAFLUSH, &before);
    close(fd);
    return r;
}

static int read_file(const char *path, struct secret **out, struct err **errp)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    int r;

    if (fd < 0)
        return err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_STORE, "opening '%s': %m", path);
    r = read_line(fd, out, errp);
    close(fd);
    return r < 0 ? err_wrap(errp, "'%s'", path) : 0;
}

/* A pipe that holds the password and then ends; it is small enough to fit. Returns the end to read, or -1. */
static int pipe_of(const struct secret *password, struct err **errp)
{
    int fds[2];
    ssize_t n;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(errp, ERR_INTERNAL, "making a pipe: %m");
    n = write(fds[1], secret_peek(password), secret_len(password));
    close(fds[1]);
    if (n == (ssize_t)secret_len(password))
        return fds[0];
    close(fds[0]);
    return err_set(errp, ERR_INTERNAL, "writing to a pipe: %m");
}

static void say(const struct ctl *ctl, const char *text)
{
    json_t *out = json_pack("{s:s, s:s}", "server", ctl->arguments[0], "done", text);

    if (ctl->json)
        screen_json(out);
    else
        screen_text(text, 0);
    json_decref(out);
}

int login_give(struct ctl *ctl, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *password = NULL;
    struct client_call call = {.method = "SetCredential", .signature = "sha{sv}"};
    const char *server = ctl->arguments[0];
    json_t *model, *found;
    int r, fd;

    if (model_read(ctl->client, &model, errp) < 0) /* a wrong name is told before anybody types a password */
        return -1;
    found = model_find(model, "servers", server);
    json_decref(model);
    if (!found) {
        err_set(errp, ERR_MISSING, "there is no policy server '%s'", server);
        return err_hint(errp, "'" PROGRAM " server list' names those that are configured");
    }
    r = ctl->password_file ? read_file(ctl->password_file, &password, errp) : read_terminal(server, &password, errp);
    if (r < 0)
        return -1;
    fd = pipe_of(password, errp);
    if (fd < 0)
        return -1;
    call.arguments = json_pack("[s, i, o]", server, fd, ctl->once ? json_pack("{s:b}", "once", 1) : json_object());
    r = client_call(ctl->client, &call, NULL, errp);
    close(fd);
    if (r < 0)
        return -1;
    say(ctl, "The daemon has the password, in memory only: it forgets it when it is restarted.\n"
             "For one that lasts, store it as the systemd credential SERVER.password.");
    return 0;
}

int login_take_away(struct ctl *ctl, struct err **errp)
{
    struct client_call call = {.method = "ClearCredential", .signature = "s"};

    call.arguments = json_pack("[s]", ctl->arguments[0]);
    if (client_call(ctl->client, &call, NULL, errp) < 0)
        return -1;
    say(ctl, "The daemon has forgotten the password. One in a credential store is still there.");
    return 0;
}
