#include "agent/key/token_guard.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "agent/key/private_file.h"
#include "protocol/base/bytes.h"

#define SALT_LEN   16
#define DIGEST_LEN 32
#define LINE_LEN   (sizeof(struct guard_line) - 1)

/* What is known of the PIN with the digest in the file. The letters are the file's. */
enum guard_state {
    GUARD_NONE = 0,
    GUARD_TRYING = 't',   /* presented, outcome unknown, never accepted before */
    GUARD_CHECKING = 'c', /* the same, accepted before */
    GUARD_RETRYING = 'r', /* presented again after one of these two */
    GUARD_ACCEPTED = 'a',
    GUARD_REFUSED = 'x',
};

/* The file: one line of fixed length, so that it is replaced by one write into one sector. */
struct guard_line {
    char state;
    char space1;
    char salt[2 * SALT_LEN];
    char space2;
    char digest[2 * DIGEST_LEN];
    char newline;
    char end;
};

struct token_guard_attempt {
    int fd; /* locked */
    const char *path;
    struct guard_line line; /* as it is in the file */
    char before;            /* the state to go back to */
};

static int hash_pin(const char *salt_hex, const struct secret *pin, char hex[static 2 * DIGEST_LEN], struct err **errp)
{
    CLEANUP(mem_freep) char *text = NULL;
    uint8_t digest[DIGEST_LEN];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(ctx, salt_hex, 2 * SALT_LEN) == 1 &&
        EVP_DigestUpdate(ctx, secret_peek(pin), secret_len(pin)) == 1 && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;

    EVP_MD_CTX_free(ctx);
    if (!ok)
        return err_set(errp, ERR_INTERNAL, "SHA-256 failed");
    text = bytes_to_hex(digest, sizeof(digest));
    memcpy(hex, text, 2 * DIGEST_LEN);
    return 0;
}

/* A line that is not whole was cut off before its attempt began, so nothing is known. */
static void read_line(int fd, struct guard_line *line)
{
    if (pread(fd, line, LINE_LEN, 0) != (ssize_t)LINE_LEN || line->newline != '\n')
        *line = (struct guard_line){0};
    line->end = 0;
}

static int write_state(struct token_guard_attempt *a, enum guard_state state, bool durable, struct err **errp)
{
    a->line.state = (char)state;
    if (pwrite(a->fd, &a->line, LINE_LEN, 0) != (ssize_t)LINE_LEN || (durable && fdatasync(a->fd) < 0))
        return err_set(errp, ERR_STORE, "recording the use of the PIN in %s: %m", a->path);
    return 0;
}

static int new_line(struct guard_line *line, const struct secret *pin, struct err **errp)
{
    CLEANUP(mem_freep) char *hex = NULL;
    uint8_t salt[SALT_LEN];

    if (RAND_bytes(salt, sizeof(salt)) != 1)
        return err_set(errp, ERR_INTERNAL, "no random bytes");
    hex = bytes_to_hex(salt, sizeof(salt));
    *line = (struct guard_line){.state = GUARD_NONE, .space1 = ' ', .space2 = ' ', .newline = '\n'};
    memcpy(line->salt, hex, sizeof(line->salt));
    return hash_pin(line->salt, pin, line->digest, errp);
}

static int open_locked(const char *path, struct err **errp)
{
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;

    /* An empty file may be new, and its name not durable yet. */
    if (fd >= 0 && flock(fd, LOCK_EX) == 0 && fstat(fd, &st) == 0 &&
        (st.st_size > 0 || private_file_sync_folder(path) == 0))
        return fd;
    err_set(errp, ERR_STORE, "opening %s: %m", path);
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static int refuse(const char *path, bool refused, struct err **errp)
{
    err_set(errp, ERR_AUTH,
        refused ? "the token refused this PIN earlier; it is not presented again"
                : "this PIN was presented and the outcome is unknown; it is not presented again");
    return err_hint(errp, "store the right PIN for the token; if this one is right, remove %s and run again", path);
}

/* What to record before presenting the PIN; GUARD_NONE: it must not be presented. */
static enum guard_state next_state(enum guard_state state, bool ours)
{
    switch (state) {
    case GUARD_NONE:
        return GUARD_TRYING;
    case GUARD_ACCEPTED:
        return GUARD_CHECKING;
    case GUARD_TRYING:
        return ours ? GUARD_RETRYING : GUARD_NONE;
    case GUARD_CHECKING:
        return GUARD_RETRYING;
    case GUARD_RETRYING:
    case GUARD_REFUSED:
        return GUARD_NONE;
    }
    return GUARD_NONE; /* a letter that we do not write */
}

static int attempt_start(struct token_guard_attempt *a, const struct secret *pin, bool ours, struct err **errp)
{
    char digest[2 * DIGEST_LEN];
    enum guard_state next;

    read_line(a->fd, &a->line);
    if (hash_pin(a->line.salt, pin, digest, errp) < 0)
        return -1;
    if (a->line.state == GUARD_NONE || memcmp(digest, a->line.digest, sizeof(digest)) != 0)
        if (new_line(&a->line, pin, errp) < 0)
            return -1;
    a->before = a->line.state;
    next = next_state((enum guard_state)a->before, ours);
    if (next == GUARD_NONE)
        return refuse(a->path, a->before == GUARD_REFUSED, errp);
    return write_state(a, next, true, errp);
}

int token_guard_begin(
    const char *path, const struct secret *pin, bool ours, struct token_guard_attempt **out, struct err **errp)
{
    struct token_guard_attempt *a;
    int fd = open_locked(path, errp);

    if (fd < 0)
        return -1;
    a = mem_alloc(sizeof(*a));
    a->fd = fd;
    a->path = path;
    if (attempt_start(a, pin, ours, errp) < 0) {
        (void)close(fd);
        free(a);
        return -1;
    }
    *out = a;
    return 0;
}

int token_guard_end(struct token_guard_attempt *a, enum token_guard_outcome outcome, struct err **errp)
{
    int r = 0;

    if (!a)
        return 0;
    switch (outcome) {
    case TOKEN_GUARD_ACCEPTED: /* losing this one to a power cut costs nothing: it is found out again */
        r = write_state(a, GUARD_ACCEPTED, false, errp);
        break;
    case TOKEN_GUARD_REFUSED:
        r = write_state(a, GUARD_REFUSED, true, errp);
        break;
    case TOKEN_GUARD_NEITHER:
        r = write_state(a, (enum guard_state)a->before, true, errp);
        break;
    }
    (void)close(a->fd);
    free(a);
    return r;
}
