#include "server-ref/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PEM (1u << 20)

static void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static void biop(BIO **bio)
{
    BIO_free_all(*bio);
}

int file_load(const char *path, size_t max, struct bytes *out, struct err **errp)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    CLEANUP(bytes_wipe) struct bytes content = {.limit = max};
    char buffer[8192];
    struct stat st;
    ssize_t got;

    if (fd < 0)
        return err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_STORE, "reading '%s': %m", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(errp, ERR_STORE, "'%s' is no regular file", path);
    while ((got = read(fd, buffer, sizeof(buffer))) > 0)
        if (bytes_append(&content, buffer, (size_t)got, errp) < 0)
            return err_wrap(errp, "reading '%s'", path);
    if (got < 0)
        return err_set(errp, ERR_STORE, "reading '%s': %m", path);
    *out = content;
    content = (struct bytes){0};
    return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_directory(const char *path)
{
    CLEANUP(mem_freep) char *copy = mem_strdup(path);
    CLEANUP(closep) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -1 : fsync(fd);
}

static int write_new(const char *path, const void *data, size_t len, mode_t mode, struct err **errp)
{
    CLEANUP(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        err_set(errp, ERR_STORE, "making '%s': %m", path);
        return errno == EEXIST ? err_hint(errp, "choose another directory, or remove the file") : -1;
    }
    if (write_all(fd, data, len) == 0 && fchmod(fd, mode) == 0 && fsync(fd) == 0)
        return 0;
    err_set(errp, ERR_STORE, "writing '%s': %m", path);
    (void)unlink(path);
    return -1;
}

int file_create(const char *path, const void *data, size_t len, mode_t mode, struct err **errp)
{
    if (write_new(path, data, len, mode, errp) < 0)
        return -1;
    return sync_directory(path) < 0 ? err_set(errp, ERR_STORE, "writing '%s': %m", path) : 0;
}

int file_store(const char *path, const void *data, size_t len, mode_t mode, struct err **errp)
{
    CLEANUP(mem_freep) char *temporary = mem_printf("%s.%ld.new", path, (long)getpid());

    if (write_new(temporary, data, len, mode, errp) < 0)
        return -1;
    if (rename(temporary, path) == 0 && sync_directory(path) == 0)
        return 0;
    err_set(errp, ERR_STORE, "replacing '%s': %m", path);
    (void)unlink(temporary);
    return -1;
}

EVP_PKEY *file_read_key(const char *path, struct err **errp)
{
    CLEANUP(bytes_wipe) struct bytes pem = {0};
    CLEANUP(biop) BIO *bio = NULL;
    EVP_PKEY *key;

    if (file_load(path, MAX_PEM, &pem, errp) < 0)
        return NULL;
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    if (!key)
        err_set(errp, ERR_INVALID, "'%s' holds no private key in PEM without a password", path);
    return key;
}

int file_create_key(const char *path, EVP_PKEY *key, struct err **errp)
{
    CLEANUP(biop) BIO *bio = BIO_new(BIO_s_secmem());
    char *pem;
    long len;

    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return err_set(errp, ERR_INTERNAL, "encoding a private key");
    len = BIO_get_mem_data(bio, &pem);
    return file_create(path, pem, (size_t)len, 0600, errp);
}

int file_read_certificates(const char *path, struct cert_list *list, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes pem = {0};

    if (file_load(path, MAX_PEM, &pem, errp) < 0)
        return -1;
    if (cert_list_from_pem(bytes_text(&pem), pem.len, list, errp) < 0)
        return err_wrap(errp, "'%s'", path);
    return 0;
}

int file_create_certificates(const char *path, const struct cert_list *list, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes pem = {0};

    if (cert_list_to_pem(list, &pem, errp) < 0)
        return -1;
    return file_create(path, pem.data, pem.len, 0644, errp);
}
