/* file.h - reads and makes the files of the server's directory. */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/base/bytes.h"
#include "protocol/pki/cert.h"

/* The whole of a regular file, at most @max bytes. @out is overwritten. 0 or -1 (ERR_MISSING, ERR_STORE). */
int file_load(const char *path, size_t max, struct bytes *out, struct err **errp);
/* Makes a file that does not exist yet, whole and on disk or not at all. 0 or -1 (ERR_STORE). */
int file_create(const char *path, const void *data, size_t len, mode_t mode, struct err **errp);
/* Replaces or makes a file in one step. 0 or -1 (ERR_STORE). */
int file_store(const char *path, const void *data, size_t len, mode_t mode, struct err **errp);

/* A private key as PKCS#8 in PEM, without a password. Reading returns owned (EVP_PKEY_free), or NULL. */
EVP_PKEY *file_read_key(const char *path, struct err **errp);
int file_create_key(const char *path, EVP_PKEY *key, struct err **errp);
/* Certificates in PEM. */
int file_read_certificates(const char *path, struct cert_list *list, struct err **errp);
int file_create_certificates(const char *path, const struct cert_list *list, struct err **errp);
