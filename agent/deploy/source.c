#include "agent/deploy/source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "agent/deploy/beneath.h"
#include "protocol/pki/privkey.h"

#define MAX_CERT    (96u << 10) /* bytes of PEM */
#define MAX_CHAIN   (512u << 10)
#define MAX_KEY     (16u << 10)
#define MAX_URI     1024
#define KEY_ID_HEX  40 /* digits of a key's id: its file is ID.pem */
#define KEY_FOLDERS "token/keys"

void source_clear(struct source *source)
{
    cert_free(source->cert);
    cert_list_clear(&source->chain);
    free(source->key_uri);
    secret_free(source->key);
    *source = (struct source){0};
}

static int read_file(int dir, const char *name, size_t max, struct bytes *out, struct err **errp)
{
    int r = beneath_read(dir, name, max, out, errp);

    return r == BENEATH_MISSING ? err_set(errp, ERR_STORE, "'%s' is missing", name) : r;
}

static int read_certificates(int dir, struct source *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (read_file(dir, "cert.pem", MAX_CERT, &text, errp) < 0)
        return -1;
    if (cert_from_pem(bytes_text(&text), text.len, &out->cert, errp) < 0)
        return err_wrap(errp, "cert.pem");
    if (read_file(dir, "chain.pem", MAX_CHAIN, &text, errp) < 0)
        return -1;
    if (text.len && cert_list_from_pem(bytes_text(&text), text.len, &out->chain, errp) < 0)
        return err_wrap(errp, "chain.pem");
    return 0;
}

/* --- the key --- */

/* RFC 7512's characters, and nothing that leads to a PIN or makes a program be run. */
static bool good_uri(const char *uri)
{
    static const char *const never[] = {"pin-value", "pin-source", "module-path", "module-name"};

    if (strncmp(uri, "pkcs11:", strlen("pkcs11:")) != 0)
        return false;
    for (const char *at = uri; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr(":;=%-._~&?/+,!$'()*@[]", *at))
            return false;
    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        if (strcasestr(uri, never[i]))
            return false;
    return true;
}

/* The name alone of "/anything/ID.pem"; NULL when it is no such path. Borrowed. */
static const char *key_name(const char *path)
{
    const char *name = strrchr(path, '/');

    if (path[0] != '/' || !name || strlen(++name) != KEY_ID_HEX + strlen(".pem") ||
        strspn(name, "0123456789abcdef") != KEY_ID_HEX || strcmp(name + KEY_ID_HEX, ".pem") != 0)
        return NULL;
    return name;
}

static int read_key(int state, const char *name, struct source *out, struct err **errp)
{
    CLEANUP(beneath_close) int dir = -1;
    CLEANUP(bytes_wipe) struct bytes text = {.secret = true};
    int r = beneath_directory(state, KEY_FOLDERS, &dir, errp);

    if (r == BENEATH_MISSING)
        return err_set(errp, ERR_STORE, "there is no directory '" KEY_FOLDERS "'");
    if (r < 0 || read_file(dir, name, MAX_KEY, &text, errp) < 0)
        return -1;
    return privkey_read(text.data, text.len, out->cert, &out->key, errp);
}

static int find_key(int state, int dir, struct source *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    const char *name;
    char *uri;

    if (read_file(dir, "key.uri", MAX_URI, &text, errp) < 0)
        return -1;
    uri = (char *)text.data;
    if (!uri || strlen(uri) != text.len)
        return err_set(errp, ERR_UNTRUSTED, "key.uri is no text");
    uri[strcspn(uri, "\n")] = 0;
    if (good_uri(uri)) {
        out->key_uri = mem_strdup(uri);
        return 0;
    }
    name = key_name(uri);
    if (!name)
        return err_set(errp, ERR_UNTRUSTED, "key.uri names no key of a token and no key file of ours");
    return read_key(state, name, out, errp) < 0 ? err_wrap(errp, "the key file '%s'", name) : 0;
}

/* --- all of it --- */

/* The directory of the generation that is in its place, labels in the token included. SOURCE_* or -1. */
static int open_installed(int state, const char *name, int *out, uint32_t *generation, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("public/certs/%s", name);
    CLEANUP(mem_freep) char *number = NULL;
    CLEANUP(beneath_close) int home = -1;
    int r = beneath_directory(state, path, &home, errp);

    if (r == BENEATH_OPEN)
        r = beneath_number(home, "installed", generation, errp);
    if (r != BENEATH_OPEN)
        return r < 0 ? -1 : SOURCE_NONE;
    number = mem_printf("%u", *generation);
    r = beneath_directory(home, number, out, errp);
    if (r == BENEATH_MISSING)
        return err_set(errp, ERR_STORE, "the generation %s, which is installed, is missing", number);
    return r < 0 ? -1 : SOURCE_READ;
}

/* Whether it is valid now is not asked: the clock may be wrong, and what is newest is what the service shall have. */
static int64_t moment_for_chain(const struct cert *cert, int64_t now)
{
    if (now < cert->not_before)
        return cert->not_before;
    return now > cert->not_after ? cert->not_after : now;
}

static int check_chain(const struct source_question *q, const struct source *source, struct err **errp)
{
    int64_t when = moment_for_chain(source->cert, q->now);

    if (cert_chain_verify(
            source->cert, &source->chain, q->anchors, when, CERT_CHAIN_PARTIAL | CERT_CHAIN_STRONG, NULL, errp) == 0)
        return 0;
    err_wrap(errp, "the certificate of generation %u", source->generation);
    return err_hint(errp,
        "what was published does not come from the CAs in the section's ca-file: see who could write "
        "beneath %s/public, and 'autoenroll verify %s'",
        q->state_dir, q->name);
}

static int read_state(const struct source_question *q, int state, struct source *out, struct err **errp)
{
    CLEANUP(beneath_close) int dir = -1;
    int r = open_installed(state, q->name, &dir, &out->generation, errp);

    if (r != SOURCE_READ)
        return r;
    if (read_certificates(dir, out, errp) < 0 || check_chain(q, out, errp) < 0 || find_key(state, dir, out, errp) < 0)
        return -1;
    return SOURCE_READ;
}

int source_read(const struct source_question *q, struct source *out, struct err **errp)
{
    CLEANUP(source_clear) struct source source = {0};
    CLEANUP(beneath_close) int state = -1;
    int r = beneath_root(q->state_dir, &state, errp);

    if (r == BENEATH_OPEN)
        r = read_state(q, state, &source, errp);
    else if (r == BENEATH_MISSING)
        r = SOURCE_NONE;
    if (r < 0)
        return err_wrap(errp, "reading what is published as '%s'", q->name);
    if (r == SOURCE_READ) {
        *out = source;
        source = (struct source){0};
    }
    return r;
}
