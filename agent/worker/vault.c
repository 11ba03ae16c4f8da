#include "agent/worker/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/base/bytes.h"

static const struct channel *handed_over; /* a worker does one job */

void vault_use(const struct channel *daemon)
{
    handed_over = daemon;
}

static int read_all(int fd, struct bytes *out, struct err **errp)
{
    char buffer[512];
    ssize_t n = 0;
    int r = 0;

    while (r == 0 && (n = read(fd, buffer, sizeof(buffer))) > 0)
        if (bytes_append(out, buffer, (size_t)n, NULL) < 0)
            r = err_set(errp, ERR_AUTH, "it is longer than %d bytes", VAULT_MAX_SECRET);
    explicit_bzero(buffer, sizeof(buffer));
    return n < 0 ? err_set(errp, ERR_AUTH, "reading it: %m") : r;
}

static int open_credential(const char *directory, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", directory, name);

    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

int vault_find(const char *name, struct secret **secret, struct err **errp)
{
    CLEANUP(bytes_wipe) struct bytes text = {.limit = VAULT_MAX_SECRET};
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    const struct secret *handed = name && handed_over ? channel_secret(handed_over, name) : NULL;
    int fd;
    int r;

    if (handed) {
        *secret = secret_copy(secret_peek(handed), secret_len(handed));
        return VAULT_FOUND;
    }
    if (!name || !directory)
        return VAULT_NONE;
    if (!*name || *name == '.' || strchr(name, '/'))
        return err_set(errp, ERR_AUTH, "'%s' is no name of a credential", name);
    fd = open_credential(directory, name);
    if (fd < 0)
        return errno == ENOENT ? VAULT_NONE : err_set(errp, ERR_AUTH, "opening credential '%s': %m", name);
    r = read_all(fd, &text, errp);
    (void)close(fd);
    if (r < 0) {
        err_wrap(errp, "credential '%s'", name);
        return err_hint(errp, "a credential is a file of at most %d bytes that the worker can read", VAULT_MAX_SECRET);
    }
    if (text.len && text.data[text.len - 1] == '\n')
        text.len--;
    if (text.len && text.data[text.len - 1] == '\r')
        text.len--;
    if (!text.len || memchr(text.data, '\0', text.len)) {
        err_set(errp, ERR_AUTH, "credential '%s' is %s", name, text.len ? "no text" : "empty");
        return err_hint(errp, "write the password as one line");
    }
    *secret = secret_copy(text.data, text.len);
    return VAULT_FOUND;
}
