#include "server-ref/password.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define MAX_PASSWORD (CRYPT_MAX_PASSPHRASE_SIZE - 1) /* what crypt(3) takes */

static void filep(FILE **file)
{
    if (*file && *file != stdin)
        fclose(*file);
}

static struct secret *read_line(FILE *file, const char *name, struct err **errp)
{
    char line[MAX_PASSWORD + 2];
    struct secret *secret = NULL;
    size_t len;

    setvbuf(file, NULL, _IONBF, 0); /* no copy of it in a buffer that nobody wipes */
    if (!fgets(line, sizeof(line), file))
        line[0] = '\0';
    len = strcspn(line, "\r\n");
    if (len == 0)
        err_set(errp, ERR_USAGE, "no password in %s", name);
    else if (len > MAX_PASSWORD)
        err_set(errp, ERR_USAGE, "the password in %s is longer than %d bytes", name, MAX_PASSWORD);
    else
        secret = secret_copy(line, len);
    OPENSSL_cleanse(line, sizeof(line));
    return secret;
}

static struct secret *ask(FILE *terminal, const char *prompt, struct err **errp)
{
    struct termios before;
    struct termios quiet;
    struct secret *secret;

    if (tcgetattr(fileno(terminal), &before) < 0) {
        err_set(errp, ERR_USAGE, "the terminal cannot be read: %m");
        return NULL;
    }
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs(prompt, stderr);
    tcsetattr(fileno(terminal), TCSAFLUSH, &quiet);
    secret = read_line(terminal, "what was typed", errp);
    tcsetattr(fileno(terminal), TCSAFLUSH, &before);
    fputc('\n', stderr);
    return secret;
}

static struct secret *ask_twice(struct err **errp)
{
    CLEANUP(filep) FILE *terminal = fopen("/dev/tty", "r+e");
    CLEANUP(secret_freep) struct secret *first = NULL;
    CLEANUP(secret_freep) struct secret *second = NULL;

    if (!terminal) {
        err_set(errp, ERR_USAGE, "there is no terminal to ask for a password");
        err_hint(errp, "give --password-file FILE, or - for standard input");
        return NULL;
    }
    first = ask(terminal, "Password: ", errp);
    second = first ? ask(terminal, "Once more: ", errp) : NULL;
    if (!second)
        return NULL;
    if (secret_equal(first, second))
        return TAKE(first);
    err_set(errp, ERR_USAGE, "the two passwords differ");
    return NULL;
}

struct secret *password_read(const char *path, struct err **errp)
{
    CLEANUP(filep) FILE *file = NULL;

    if (!path)
        return ask_twice(errp);
    if (strcmp(path, "-") == 0)
        return read_line(stdin, "standard input", errp);
    file = fopen(path, "re");
    if (!file) {
        err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_STORE, "reading '%s': %m", path);
        return NULL;
    }
    return read_line(file, path, errp);
}
