#include "server-ref/setup.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/base/when.h"
#include "protocol/pki/oid.h"
#include "server-ref/auth.h"
#include "server-ref/file.h"
#include "server-ref/mint.h"
#include "server-ref/store.h"

#define ROOT_YEARS 20
#define CA_YEARS   10
#define TLS_DAYS   825
#define YEAR       (365 * (int64_t)WHEN_DAY)
#define SKEW       (10 * WHEN_MINUTE)

#define KEY_USAGE_CA  0x06 /* keyCertSign, cRLSign */
#define KEY_USAGE_TLS 0xA0 /* digitalSignature, keyEncipherment */

static const char *first_host(const struct setup_options *options)
{
    return options->hosts.n ? options->hosts.items[0] : "localhost";
}

/* A certificate and its key, or the one that is being made. */
struct pair {
    struct cert *cert;
    EVP_PKEY *key;
};

static void pair_clear(struct pair *pair)
{
    cert_free(pair->cert);
    EVP_PKEY_free(pair->key);
}

/* @issuer NULL: a root. The key is in @pair already. */
static int sign(struct pair *pair, const struct pair *issuer, const char *name, int64_t life,
    const struct csr_extensions *extensions, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes subject = {0};
    CLEANUP(pubkey_clear) struct pubkey public = {0};
    int64_t now = when_now();
    struct mint_spec spec = {.subject = &subject,
        .spki = &public.spki,
        .not_before = now - SKEW,
        .not_after = now + life,
        .extensions = extensions};

    if (mint_common_name(name, &subject, errp) < 0 || pubkey_from_evp(pair->key, &public, errp) < 0)
        return -1;
    if (mint_certificate(&spec, issuer ? issuer->cert : NULL, issuer ? issuer->key : pair->key, &pair->cert, errp) < 0)
        return err_wrap(errp, "making the certificate of '%s'", name);
    return 0;
}

static int make_ca(
    struct pair *pair, const struct pair *issuer, const char *name, const char *kind, int years, struct err **errp)
{
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};

    pair->key = mint_key(kind, errp);
    mint_add_ca(&extensions, issuer == NULL);
    if (!pair->key || mint_add_key_usage(&extensions, KEY_USAGE_CA, errp) < 0)
        return -1;
    return sign(pair, issuer, name, years * YEAR, &extensions, errp);
}

static bool is_address(const char *host)
{
    unsigned char out[16];

    return inet_pton(AF_INET, host, out) == 1 || inet_pton(AF_INET6, host, out) == 1;
}

/* A server on one machine is always reached by the names of loopback too. */
static int add_names(struct csr_extensions *extensions, const struct strlist *hosts, struct err **errp)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "::1"};
    CLEANUP(san_list_clear) struct san_list san = {0};

    for (size_t i = 0; i < hosts->n; i++)
        san_add(&san, is_address(hosts->items[i]) ? SAN_IP : SAN_DNS, hosts->items[i]);
    for (size_t i = 0; i < ARRAY_SIZE(loopback); i++) {
        enum san_type type = is_address(loopback[i]) ? SAN_IP : SAN_DNS;

        if (!san_has(&san, type, loopback[i]))
            san_add(&san, type, loopback[i]);
    }
    return mint_add_san(extensions, &san, errp);
}

static int make_tls(
    struct pair *pair, const struct pair *issuer, const struct setup_options *options, struct err **errp)
{
    CLEANUP(csr_extensions_clear) struct csr_extensions extensions = {0};
    CLEANUP(strlist_clear) struct strlist usage = {0};

    strlist_add(&usage, OID_EKU_SERVER_AUTH);
    pair->key = mint_key(options->key, errp);
    if (!pair->key || mint_add_key_usage(&extensions, KEY_USAGE_TLS, errp) < 0 ||
        mint_add_eku(&extensions, &usage, errp) < 0 || add_names(&extensions, &options->hosts, errp) < 0)
        return -1;
    return sign(pair, issuer, first_host(options), TLS_DAYS * (int64_t)WHEN_DAY, &extensions, errp);
}

static int write_key(const char *dir, const char *name, EVP_PKEY *key, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);

    return file_create_key(path, key, errp);
}

/* @second may be NULL. */
static int write_certificates(
    const char *dir, const char *name, const struct cert *first, const struct cert *second, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", dir, name);
    CLEANUP(cert_list_clear) struct cert_list list = {0};

    cert_list_add(&list, cert_dup(first));
    if (second)
        cert_list_add(&list, cert_dup(second));
    return file_create_certificates(path, &list, errp);
}

static int make_certificates(const char *dir, const struct setup_options *options, struct err **errp)
{
    CLEANUP(pair_clear) struct pair root = {0};
    CLEANUP(pair_clear) struct pair ca = {0};
    CLEANUP(pair_clear) struct pair tls = {0};
    CLEANUP(mem_freep) char *root_name = mem_printf("%s Root", options->ca_name);

    if (make_ca(&root, NULL, root_name, options->key, ROOT_YEARS, errp) < 0 ||
        make_ca(&ca, &root, options->ca_name, options->key, CA_YEARS, errp) < 0 ||
        make_tls(&tls, &ca, options, errp) < 0)
        return -1;
    if (write_key(dir, "root.key", root.key, errp) < 0 || write_key(dir, "ca.key", ca.key, errp) < 0 ||
        write_key(dir, "tls.key", tls.key, errp) < 0)
        return -1;
    if (write_certificates(dir, "root.pem", root.cert, NULL, errp) < 0 ||
        write_certificates(dir, "chain.pem", ca.cert, root.cert, errp) < 0 ||
        write_certificates(dir, "tls.pem", tls.cert, ca.cert, errp) < 0)
        return -1;
    return 0;
}

static int make_directory(const char *dir, struct err **errp)
{
    struct dirent *entry;
    DIR *listing;
    int n = 0;

    if (mkdir(dir, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return err_set(errp, ERR_STORE, "making '%s': %m", dir);
    listing = opendir(dir);
    if (!listing)
        return err_set(errp, ERR_STORE, "opening '%s': %m", dir);
    while ((entry = readdir(listing)))
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    if (n == 0)
        return 0;
    err_set(errp, ERR_STORE, "'%s' is not empty", dir);
    return err_hint(errp, "give a directory that does not exist yet; a CA is never made over another one");
}

static int make_user(const char *dir, const struct setup_options *options, struct err **errp)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(secret_freep) struct secret *random = options->password ? NULL : secret_random_hex(12);
    const struct secret *password = options->password ? options->password : random;
    CLEANUP(mem_freep) char *hash = auth_hash(password, errp);
    CLEANUP(mem_freep) char *path = mem_printf("%s/password", dir);

    if (!hash || store_open(dir, true, &store, errp) < 0)
        return -1;
    if (random && file_create(path, secret_peek(random), secret_len(random), 0600, errp) < 0)
        return -1;
    return store_put_user(store, options->user, hash, when_now(), errp);
}

int setup(const char *dir, const struct setup_options *options, struct err **errp)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/server.conf", dir);
    CLEANUP(mem_freep) char *text = setup_config_text(options);
    CLEANUP(config_freep) struct config *config = NULL;

    if (make_directory(dir, errp) < 0 || file_create(path, text, strlen(text), 0644, errp) < 0)
        return -1;
    if (config_load(dir, &config, errp) < 0)
        return -1;
    if (strcmp(config->ca_name, options->ca_name) != 0 || strcmp(config->host, first_host(options)) != 0)
        return err_set(errp, ERR_USAGE, "'%s' or '%s' cannot stand in a configuration file", options->ca_name,
            first_host(options));
    if (make_certificates(dir, options, errp) < 0 || make_user(dir, options, errp) < 0)
        return err_wrap(errp, "making '%s'", dir);
    return 0;
}
