#include "agent/daemon/publish.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config/file.h"

/* DER into PEM is base64 between two lines: nothing of the certificate is looked at. */
static int append_pem(struct bytes *out, const struct bytes *der, struct err **errp)
{
    CLEANUP(mem_freep) char *text = bytes_to_base64(der->data, der->len, 64);

    return bytes_printf(out, errp, "-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n", text);
}

static int put(const char *dir, const char *name, const void *data, size_t len, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);

    return file_replace(path, data, len, 0644, errp);
}

static int put_files(const char *dir, const struct job_pair *pair, const struct job_facts *facts, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes leaf = {0};
    CLEANUP(bytes_clear) struct bytes full = {0};
    CLEANUP(mem_freep) char *uri = mem_printf("%s\n", facts->key_uri ? facts->key_uri : "");

    if (append_pem(&leaf, &pair->certificate, errp) < 0 || bytes_append(&full, leaf.data, leaf.len, errp) < 0 ||
        bytes_append(&full, pair->chain.data, pair->chain.len, errp) < 0)
        return -1;
    if (put(dir, "cert.pem", leaf.data, leaf.len, errp) < 0 ||
        put(dir, "chain.pem", pair->chain.data, pair->chain.len, errp) < 0 ||
        put(dir, "fullchain.pem", full.data, full.len, errp) < 0 || put(dir, "key.uri", uri, strlen(uri), errp) < 0)
        return -1;
    return 0;
}

int publish_generation(const char *dir, const char *id, uint32_t generation, const struct job_pair *pair,
    const struct job_facts *facts, struct err **errp)
{
    CLEANUP(mem_freep) char *home = mem_printf("%s/%s", dir, id);
    CLEANUP(mem_freep) char *number = mem_printf("%u", generation);
    CLEANUP(mem_freep) char *place = mem_printf("%s/%s", home, number);
    CLEANUP(mem_freep) char *current = mem_printf("%s/current", home);

    if (file_make_directory(home, 0755, errp) < 0 || file_make_directory(place, 0755, errp) < 0 ||
        put_files(place, pair, facts, errp) < 0 || file_replace_link(current, number, errp) < 0)
        return err_wrap(errp, "publishing the certificate of '%s'", id);
    return 0;
}

int publish_installed(const char *dir, const char *id, uint32_t generation, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s/installed", dir, id);
    CLEANUP(mem_freep) char *number = mem_printf("%u", generation);
    char now[16] = {0};

    if (readlink(path, now, sizeof(now) - 1) > 0 && strcmp(now, number) == 0)
        return PUBLISH_SAME;
    if (file_replace_link(path, number, errp) < 0)
        return err_wrap(errp, "publishing that the certificate of '%s' is in its place", id);
    return PUBLISH_MOVED;
}

int publish_remove(const char *dir, const char *id, uint32_t generation, struct err **errp)
{
    CLEANUP(mem_freep) char *place = mem_printf("%s/%s/%u", dir, id, generation);

    return file_remove(place, errp);
}

int publish_remove_all(const char *dir, const char *id, struct err **errp)
{
    CLEANUP(mem_freep) char *home = mem_printf("%s/%s", dir, id);
    CLEANUP(strlist_clear) struct strlist names = {0};
    DIR *entries = opendir(home);
    struct dirent *entry;

    if (!entries)
        return errno == ENOENT ? 0 : err_set(errp, ERR_STORE, "reading '%s': %m", home);
    while ((entry = readdir(entries)))
        if (entry->d_name[0] != '.')
            strlist_add(&names, entry->d_name);
    (void)closedir(entries);
    for (size_t i = 0; i < names.n; i++) {
        CLEANUP(mem_freep) char *path = mem_printf("%s/%s", home, names.items[i]);

        if (file_remove(path, errp) < 0)
            return err_wrap(errp, "removing what was published of '%s'", id);
    }
    return file_remove(home, errp);
}
