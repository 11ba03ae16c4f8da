#include "server-ref/console.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"
#include "protocol/pki/hresult.h"
#include "server-ref/auth.h"
#include "server-ref/ca.h"
#include "server-ref/file.h"
#include "server-ref/judge.h"
#include "server-ref/password.h"
#include "server-ref/serve.h"
#include "server-ref/setup.h"
#include "server-ref/store.h"

/* What most verbs need of a directory. */
struct place {
    struct config *config;
    struct store *store;
    struct ca *ca;
};

static void place_clear(struct place *place)
{
    ca_free(place->ca);
    store_close(place->store);
    config_free(place->config);
}

static int place_open(const char *dir, struct place *place, struct err **errp)
{
    if (config_load(dir, &place->config, errp) < 0 || store_open(dir, false, &place->store, errp) < 0)
        return -1;
    return ca_open(place->config, place->store, &place->ca, errp);
}

int console_init(const struct console_args *args, struct err **errp)
{
    const char *dir = args->operands[0];
    CLEANUP(secret_freep) struct secret *password = NULL;
    struct setup_options options = {
        .hosts = args->hosts, .ca_name = args->ca_name, .key = args->key, .user = args->user};

    if (args->password_file) {
        password = password_read(args->password_file, errp);
        if (!password)
            return -1;
        options.password = password;
    }
    if (setup(dir, &options, errp) < 0)
        return -1;
    printf("%s: CA \"%s\" and five templates; %s/server.conf says everything else\n", dir, args->ca_name, dir);
    if (!password)
        printf("user \"%s\", with the password in %s/password\n", args->user, dir);
    printf("next: autoenroll-server-ref serve %s\n", dir);
    return 0;
}

int console_serve(const struct console_args *args, struct err **errp)
{
    struct serve_options options = {.address = args->listen, .exit_after = args->exit_after};

    if (args->port > UINT16_MAX)
        return err_set(errp, ERR_USAGE, "there is no port %u", args->port);
    options.port = (uint16_t)args->port;
    return serve(args->operands[0], &options, errp);
}

static json_t *request_json(const struct stored_request *request)
{
    CLEANUP(mem_freep) char *code = request->hresult ? mem_printf("0x%08" PRIX32, request->hresult) : NULL;

    return json_pack("{s:I, s:s, s:s?, s:s, s:I, s:I, s:s?, s:s, s:b}", "id", (json_int_t)request->id, "state",
        request_state_name(request->state), "template", request->template_name, "requester", request->requester,
        "received", (json_int_t)request->received, "resolved", (json_int_t)request->resolved, "hresult", code,
        "message", request->message ? request->message : "", "renewal", request->old_certificate != 0);
}

static int print_json(const struct stored_request_list *list, struct err **errp)
{
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(array, request_json(&list->items[i]));
    if (json_dumpf(array, stdout, JSON_INDENT(2)) < 0)
        r = err_set(errp, ERR_STORE, "writing the list: %m");
    json_decref(array);
    putchar('\n');
    return r;
}

static void print_request(const struct stored_request *request)
{
    CLEANUP(mem_freep) char *when = when_format(request->received);
    CLEANUP(mem_freep) char *template = printable_text(request->template_name ? request->template_name : "-");
    CLEANUP(mem_freep) char *requester = printable_text(request->requester);
    CLEANUP(mem_freep) char *message = printable_text(request->message);

    printf("%6" PRId64 "  %-8s  %s  %-8s  %-14s  %-12s  %s", request->id, request_state_name(request->state), when,
        request->old_certificate ? "renewal" : "new", template, requester, message);
    if (request->hresult)
        printf("  %s", hresult_find(request->hresult)->name);
    putchar('\n');
}

int console_requests(const struct console_args *args, struct err **errp)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(stored_request_list_clear) struct stored_request_list list = {0};

    if (store_open(args->operands[0], false, &store, errp) < 0 || store_list_requests(store, &list, errp) < 0)
        return -1;
    if (args->json)
        return print_json(&list, errp);
    if (list.n)
        printf("%6s  %-8s  %-23s  %-8s  %-14s  %-12s  %s\n", "id", "state", "received", "kind", "template", "requester",
            "message");
    for (size_t i = 0; i < list.n; i++)
        print_request(&list.items[i]);
    return 0;
}

static int parse_id(const char *text, int64_t *id, struct err **errp)
{
    char *end;

    *id = strtoll(text, &end, 10);
    if (*id <= 0 || *end)
        return err_set(errp, ERR_USAGE, "'%s' is no number of a request", text);
    return 0;
}

static int resolve(const struct console_args *args, int (*how)(struct ca *, int64_t, int64_t, struct err **),
    const char *done, struct err **errp)
{
    CLEANUP(place_clear) struct place place = {0};
    int64_t id;

    if (parse_id(args->operands[1], &id, errp) < 0 || place_open(args->operands[0], &place, errp) < 0 ||
        how(place.ca, id, when_now(), errp) < 0)
        return -1;
    printf("request %" PRId64 " is %s\n", id, done);
    return 0;
}

int console_approve(const struct console_args *args, struct err **errp)
{
    return resolve(args, ca_approve, "issued", errp);
}

int console_deny(const struct console_args *args, struct err **errp)
{
    return resolve(args, ca_deny, "denied", errp);
}

/* PEM, or DER where there is no PEM in it. */
static int read_certificate(const char *path, struct cert **cert, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes content = {0};
    int r;

    if (file_load(path, CERT_MAX_DER, &content, errp) < 0)
        return -1;
    r = strstr(bytes_text(&content), "-----BEGIN") ? cert_from_pem(bytes_text(&content), content.len, cert, errp)
                                                   : cert_parse(content.data, content.len, cert, errp);
    return r < 0 ? err_wrap(errp, "'%s'", path) : 0;
}

int console_import(const struct console_args *args, struct err **errp)
{
    CLEANUP(place_clear) struct place place = {0};
    CLEANUP(cert_freep) struct cert *cert = NULL;
    CLEANUP(stored_certificate_clear) struct stored_certificate row = {0};
    const struct cert_template *template;

    if (place_open(args->operands[0], &place, errp) < 0 || read_certificate(args->operands[1], &cert, errp) < 0)
        return -1;
    template = judge_template_of(place.config, cert);
    row.serial = mem_strdup(cert->serial);
    bytes_copy(&row.der, &cert->der);
    row.template_name = template ? mem_strdup(template->name) : NULL;
    row.requester = mem_strdup(args->account ? args->account : "imported");
    row.not_before = cert->not_before;
    row.not_after = cert->not_after;
    if (store_begin(place.store, errp) < 0 || store_add_certificate(place.store, &row, errp) < 0 ||
        store_commit(place.store, errp) < 0)
        return err_hint(errp, "a certificate can be imported once only");
    printf("certificate %s is one of ours now%s\n", cert->serial,
        template ? "" : "; it names no template of this CA, so that it cannot be renewed");
    return 0;
}

int console_user_add(const struct console_args *args, struct err **errp)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(secret_freep) struct secret *password = NULL;
    CLEANUP(mem_freep) char *hash = NULL;

    if (store_open(args->operands[0], false, &store, errp) < 0)
        return -1;
    password = password_read(args->password_file, errp);
    hash = password ? auth_hash(password, errp) : NULL;
    if (!hash || store_put_user(store, args->operands[1], hash, when_now(), errp) < 0)
        return -1;
    printf("user \"%s\" has this password now\n", args->operands[1]);
    return 0;
}

int console_user_list(const struct console_args *args, struct err **errp)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(strlist_clear) struct strlist names = {0};

    if (store_open(args->operands[0], false, &store, errp) < 0 || store_list_users(store, &names, errp) < 0)
        return -1;
    for (size_t i = 0; i < names.n; i++) {
        CLEANUP(mem_freep) char *name = printable_text(names.items[i]);

        puts(name);
    }
    return 0;
}

int console_user_remove(const struct console_args *args, struct err **errp)
{
    CLEANUP(store_closep) struct store *store = NULL;
    int r;

    if (store_open(args->operands[0], false, &store, errp) < 0)
        return -1;
    r = store_delete_user(store, args->operands[1], errp);
    if (r == STORE_NONE)
        return err_set(errp, ERR_MISSING, "there is no user '%s'", args->operands[1]);
    return r;
}

/* CRLReason, RFC 5280 5.3.1 */
static const struct {
    const char *name;
    uint32_t value;
} reasons[] = {
    {"unspecified", 0},
    {"keyCompromise", 1},
    {"cACompromise", 2},
    {"affiliationChanged", 3},
    {"superseded", 4},
    {"cessationOfOperation", 5},
    {"certificateHold", 6},
};

static int find_reason(const char *name, uint32_t *reason, struct err **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        if (strcasecmp(reasons[i].name, name) != 0)
            continue;
        *reason = reasons[i].value;
        return 0;
    }
    err_set(errp, ERR_USAGE, "'%s' is no reason to revoke", name);
    return err_hint(errp, "the reasons are those of RFC 5280: unspecified, keyCompromise, superseded ...");
}

int console_revoke(const struct console_args *args, struct err **errp)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(mem_freep) char *serial = mem_strdup(args->operands[1]);
    uint32_t reason = 0;
    int r;

    for (char *at = serial; *at; at++)
        if (*at >= 'A' && *at <= 'F')
            *at = (char)(*at - 'A' + 'a');
    if ((args->reason && find_reason(args->reason, &reason, errp) < 0) ||
        store_open(args->operands[0], false, &store, errp) < 0)
        return -1;
    r = store_revoke(store, serial, reason, when_now(), errp);
    if (r == STORE_NONE) {
        err_set(errp, ERR_MISSING, "no certificate with serial number %s is there to revoke", serial);
        return err_hint(errp, "it is hexadecimal without colons, as 'openssl x509 -noout -serial' prints it");
    }
    if (r == 0)
        printf("certificate %s is revoked\n", serial);
    return r;
}

int console_cert(const struct console_args *args, struct err **errp)
{
    CLEANUP(place_clear) struct place place = {0};
    CLEANUP(bytes_clear) struct bytes pem = {0};

    if (place_open(args->operands[0], &place, errp) < 0 || cert_list_to_pem(&place.ca->chain, &pem, errp) < 0)
        return -1;
    fputs(bytes_text(&pem), stdout);
    return 0;
}
