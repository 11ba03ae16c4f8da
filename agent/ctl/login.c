#include "agent/ctl/login.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent/ctl/model.h"
#include "protocol/base/printable.h"
#include "protocol/base/secret.h"

#define MAX_PASSWORD  1024
#define VERDICT_TRIES 50 /* five in a second */

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

/* A copy of what is known of @server, owned; NULL with *errp: it is not configured, or nobody answers. */
static json_t *read_server(struct ctl *ctl, const char *server, struct err **errp)
{
    json_t *model, *found;

    if (model_read(ctl->client, &model, errp) < 0)
        return NULL;
    found = json_incref(model_find(model, "servers", server));
    json_decref(model);
    if (found)
        return found;
    err_set(errp, ERR_MISSING, "there is no policy server '%s'", server);
    err_hint(errp, "'" PROGRAM " server list' names those that are configured");
    return NULL;
}

static int hand_over(struct ctl *ctl, const char *server, const struct secret *password, struct err **errp)
{
    struct client_call call = {.method = "SetCredential", .signature = "sha{sv}"};
    int fd = pipe_of(password, errp), r;

    if (fd < 0)
        return -1;
    call.arguments = json_pack("[s, i, o]", server, fd, ctl->once ? json_pack("{s:b}", "once", 1) : json_object());
    r = client_call(ctl->client, &call, NULL, errp);
    close(fd);
    return r;
}

enum verdict { TAKEN, REFUSED, NOT_TRIED };

/* What the server says of the password, where the daemon shows it now; @before: what was known of the server then. */
static enum verdict wait_verdict(struct ctl *ctl, const char *server, const json_t *before, char **error)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    bool fails = *model_text(before, "last-error") && model_number(before, "next-update") <= ctl->now;
    bool asked_now = fails || !model_number(before, "fetched-at");

    for (int i = 0; i < VERDICT_TRIES && asked_now; i++) {
        json_t *now = read_server(ctl, server, NULL);
        bool taken = json_is_true(json_object_get(now, "password-proven"));
        bool refused = now && !json_is_true(json_object_get(now, "password-held"));

        if (refused)
            *error = mem_strdup(model_text(now, "last-error"));
        json_decref(now);
        if (taken || refused || !now)
            return taken ? TAKEN : refused ? REFUSED : NOT_TRIED;
        (void)nanosleep(&pause, NULL);
    }
    return NOT_TRIED;
}

#define IN_MEMORY                                                                                                      \
    "The daemon has it in memory only, and forgets it when it is restarted. For one that lasts, store it as the\n"     \
    "systemd credential SERVER.password."

int login_give(struct ctl *ctl, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *password = NULL;
    CLEANUP(mem_freep) char *refusal = NULL;
    const char *server = ctl->arguments[0];
    json_t *before = read_server(ctl, server, errp); /* a wrong name is told before anybody types a password */
    enum verdict verdict = NOT_TRIED;
    int r;

    if (!before)
        return -1;
    r = ctl->password_file ? read_file(ctl->password_file, &password, errp) : read_terminal(server, &password, errp);
    if (r == 0)
        r = hand_over(ctl, server, password, errp);
    if (r == 0)
        verdict = wait_verdict(ctl, server, before, &refusal);
    json_decref(before);
    if (r < 0)
        return -1;
    switch (verdict) {
    case TAKEN:
        say(ctl, "The server takes the password.\n" IN_MEMORY);
        return 0;
    case NOT_TRIED:
        say(ctl, "The password is kept, and shown to the server when that is asked next.\n" IN_MEMORY);
        return 0;
    case REFUSED:
        break;
    }
    err_set(errp, ERR_AUTH, "the password was refused: %s", refusal);
    return err_hint(errp,
        "it is forgotten again; check user name and password, and mind that accounts lock after a few "
        "wrong ones");
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
