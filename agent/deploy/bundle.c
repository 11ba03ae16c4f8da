#include "agent/deploy/bundle.h"

#include <string.h>

#include "agent/deploy/beneath.h"
#include "agent/deploy/trust.h"
#include "protocol/pki/privkey.h"

#define MAX_PASSWORD 1024

/* Parts of a file, in the order in which they stand in it. */
enum part { PART_CERT = 1, PART_CHAIN = 2, PART_KEY = 4 };

static int append_key(const struct source *source, struct bytes *out, struct err **errp)
{
    if (source->key)
        return bytes_append(out, secret_peek(source->key), secret_len(source->key), errp);
    return bytes_printf(out, errp, "%s\n", source->key_uri);
}

static int add_text(
    struct target *out, const char *name, unsigned parts, mode_t mode, const struct source *source, struct err **errp)
{
    CLEANUP(bytes_wipe) struct bytes text = {.secret = true};

    if ((parts & PART_CERT) && cert_to_pem(source->cert, &text, errp) < 0)
        return -1;
    if ((parts & PART_CHAIN) && cert_list_to_pem(&source->chain, &text, errp) < 0)
        return -1;
    if ((parts & PART_KEY) && append_key(source, &text, errp) < 0)
        return -1;
    target_add(out, name, mode, &text);
    return 0;
}

/* The last of them to take its name is the one that most services read: the pair is whole with it. */
static int make_pem(
    const struct settings_certificate *section, const struct source *source, struct target *out, struct err **errp)
{
    bool file = source->key != NULL;

    strlist_add(&out->gone, file ? "key.uri" : "key.pem");
    if (add_text(out, file ? "key.pem" : "key.uri", PART_KEY, file ? settings_key_mode(section) : SETTINGS_MODE_PUBLIC,
            source, errp) < 0 ||
        add_text(out, "cert.pem", PART_CERT, SETTINGS_MODE_PUBLIC, source, errp) < 0 ||
        add_text(out, "chain.pem", PART_CHAIN, SETTINGS_MODE_PUBLIC, source, errp) < 0)
        return -1;
    return add_text(out, "fullchain.pem", PART_CERT | PART_CHAIN, SETTINGS_MODE_PUBLIC, source, errp);
}

static int read_secret(const char *path, struct bytes *out, struct err **errp)
{
    const char *name = strrchr(path, '/') + 1; /* it is absolute */
    CLEANUP(mem_freep) char *folder = mem_strndup(path, (size_t)(name - path));
    CLEANUP(beneath_close) int dir = -1;
    int r = beneath_root(folder, &dir, errp);

    if (r == BENEATH_OPEN)
        r = beneath_read(dir, name, MAX_PASSWORD, out, errp);
    return r == BENEATH_MISSING ? err_set(errp, ERR_CONFIG, "there is no file '%s'", path) : r;
}

/* The first line of the file. */
static int read_password(const char *path, struct secret **out, struct err **errp)
{
    CLEANUP(bytes_wipe) struct bytes text = {.secret = true};
    size_t len;

    if (trust_path(path, errp) < 0 || read_secret(path, &text, errp) < 0)
        return err_wrap(errp, "p12-password-file");
    len = strcspn(bytes_text(&text), "\r\n");
    if (len == 0)
        return err_set(errp, ERR_CONFIG, "p12-password-file: '%s' has no password in its first line", path);
    *out = secret_copy(text.data, len);
    return 0;
}

static int make_p12(const struct settings_certificate *section, const struct source *source, const char *name,
    struct target *out, struct err **errp)
{
    CLEANUP(secret_freep) struct secret *password = NULL;
    CLEANUP(bytes_wipe) struct bytes der = {.secret = true};

    if (read_password(section->p12_password_file, &password, errp) < 0 ||
        privkey_to_p12(source->key, source->cert, &source->chain, section->name, password, &der, errp) < 0)
        return -1;
    target_add(out, name, settings_key_mode(section), &der);
    return 0;
}

int bundle_make(
    const struct settings_certificate *section, const struct source *source, struct target *out, struct err **errp)
{
    enum settings_format format = settings_format(section);
    CLEANUP(mem_freep) char *pem = mem_printf("%s.pem", section->name), *p12 = mem_printf("%s.p12", section->name);

    out->dir = section->export;
    out->owner = section->owner;
    out->group = section->group;
    if (format != SETTINGS_FORMAT_PEM && !source->key) {
        err_set(errp, ERR_CONFIG, "the key is in the token, and 'format = %s' would need it", section->format);
        return err_hint(errp, "'key = file' counts from the next certificate on: autoenroll renew %s", section->name);
    }
    switch (format) {
    case SETTINGS_FORMAT_PEM:
        return make_pem(section, source, out, errp);
    case SETTINGS_FORMAT_COMBINED:
        return add_text(out, pem, PART_CERT | PART_CHAIN | PART_KEY, settings_key_mode(section), source, errp);
    case SETTINGS_FORMAT_P12:
        return make_p12(section, source, p12, out, errp);
    case SETTINGS_FORMAT__MAX:
        break;
    }
    return err_set(errp, ERR_CONFIG, "format '%s' is unknown", section->format);
}
