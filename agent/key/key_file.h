/* key_file.h - keys in files, for templates that allow an exportable key. */
#pragma once

#include "agent/key/key.h"

/*
 * Makes a key and writes it as PKCS#8 PEM: 0600, never over an existing file (ERR_STORE), durable before it returns.
 * The id is the first 20 bytes of the SHA-256 of the public key. Returns 0 with *out owned, or -1.
 */
int key_file_generate(const char *path, enum key_kind kind, struct key **out, struct err **errp);

/* Reads one. A file that others can read or write is refused. ERR_MISSING, ERR_STORE, ERR_INVALID. */
int key_file_open(const char *path, struct key **out, struct err **errp);

/* After a crash: uses the file when it is there. One that is no key, or of another kind, stays: ERR_INVALID. */
int key_file_open_or_generate(const char *path, enum key_kind kind, struct key **out, struct err **errp);

/* Overwrites and removes it; not being there is no error. */
int key_file_destroy(const char *path, struct err **errp);

/*
 * Destroys the files ID.pem in @dir, whole or half written, whose id is of ours (AEN1 + @tag) and not among @known:
 * keys that a crash or a refusal left without a record. Other files are never touched. *removed counts files. A folder
 * that is not there holds none. 0, or -1 with ERR_STORE.
 */
int key_file_sweep(const char *dir, const uint8_t tag[KEY_TAG_LEN], const struct bytes *known, size_t n_known,
    size_t *removed, struct err **errp);
