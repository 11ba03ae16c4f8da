#include "server-ref/server.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/base/printable.h"
#include "protocol/base/when.h"
#include "protocol/pki/hresult.h"
#include "server-ref/cep.h"
#include "server-ref/ces.h"

void server_answer_clear(struct server_answer *answer)
{
    bytes_clear(&answer->body);
    *answer = (struct server_answer){0};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent-encoding. Returns owned; NULL for a wrong escape and for one that means 0. */
static char *decode_path(const char *path)
{
    char *out = mem_strdup(path);
    char *to = out;

    for (const char *at = path; *at; at++) {
        int high = at[0] == '%' ? hex_digit(at[1]) : 0;
        int low = at[0] == '%' && high >= 0 ? hex_digit(at[2]) : 0;

        if (high < 0 || low < 0 || (at[0] == '%' && high == 0 && low == 0)) {
            free(out);
            return NULL;
        }
        *to++ = at[0] == '%' ? (char)(high * 16 + low) : at[0];
        at += at[0] == '%' ? 2 : 0;
    }
    *to = '\0';
    return out;
}

const struct service *server_find(const struct server *server, const char *path)
{
    CLEANUP(mem_freep) char *decoded = decode_path(path);

    for (size_t i = 0; decoded && i < server->config->n_services; i++)
        if (strcasecmp(server->config->services[i].path, decoded) == 0)
            return &server->config->services[i];
    return NULL;
}

char *server_address(const struct server *server, const struct service *service)
{
    static const char plain[] = "/-._~!$'()*+,:@";
    CLEANUP(bytes_clear) struct bytes path = {0};

    for (const char *at = service->path; *at; at++) {
        unsigned char c = (unsigned char)*at;
        int r = isalnum(c) || strchr(plain, *at) ? bytes_append(&path, at, 1, NULL)
                                                 : bytes_printf(&path, NULL, "%%%02X", c);

        if (r < 0)
            abort(); /* a path of ours is never that long */
    }
    return mem_printf("https://%s:%u%s", server->config->host, server->port, bytes_text(&path));
}

static int certificate_caller(struct server *server, const struct service *service,
    const struct server_request *request, struct caller *caller, struct fault *fault, struct err **errp)
{
    CLEANUP(err_freep) struct err *why = NULL;
    int r;

    if (!request->peer)
        return fault_set_hresult(fault, 403, SOAP_SUBCODE_FAILED_AUTHENTICATION, E_ACCESSDENIED,
            "this address wants a client certificate, and there was none");
    r = auth_certificate(server->store, request->peer, request->now, caller, &why, errp);
    if (r == AUTH_REFUSED)
        return fault_set_hresult(fault, 403, SOAP_SUBCODE_FAILED_AUTHENTICATION, err_code(why), err_text(why));
    caller->by_key = service->key_based_renewal;
    return r;
}

static int password_caller(struct server *server, const struct server_request *request,
    const struct soap_message *message, struct caller *caller, struct fault *fault, struct err **errp)
{
    const struct wsse_security *security = soap_message_security(message);
    CLEANUP(err_freep) struct err *why = NULL;
    int r;

    if (!security || !security->username || !security->password || security->digest)
        return fault_set(fault, 500, SOAP_SENDER, SOAP_SUBCODE_INVALID_SECURITY,
            "this address wants a user name and a password in clear text, in a UsernameToken");
    if (wsse_timestamp_check(security, request->now, &why) < 0)
        return fault_set(fault, 500, SOAP_SENDER, SOAP_SUBCODE_INVALID_SECURITY, "%s", err_text(why));
    r = auth_password(server->auth, server->store, security->username, security->password, caller, errp);
    if (r == AUTH_REFUSED)
        return fault_set(
            fault, 500, SOAP_SENDER, SOAP_SUBCODE_FAILED_AUTHENTICATION, "the user name or the password is wrong");
    return r;
}

static bool is_action(const struct service *service, const char *action)
{
    if (!action)
        return false;
    if (service->kind == SERVICE_CEP)
        return strcmp(action, XCEP_ACTION_REQUEST) == 0;
    return strcmp(action, WSTEP_ACTION_REQUEST) == 0 || strcmp(action, WSTEP_ACTION_KET_REQUEST) == 0;
}

/* The path only: a server has several names, and the port may be that of a tunnel. */
static bool is_addressed(const struct server *server, const struct service *service, const char *to)
{
    const char *path;

    if (!to)
        return true;
    if (strncasecmp(to, "https://", 8) != 0)
        return false;
    path = strchr(to + 8, '/');
    return path && server_find(server, path) == service;
}

static int check_headers(
    const struct server *server, const struct service *service, const struct soap_message *message, struct fault *fault)
{
    const struct soap_header *header = soap_message_header(message);
    const char *unknown = soap_message_not_understood(message);

    if (unknown)
        return fault_set(
            fault, 500, SOAP_MUST_UNDERSTAND, SOAP_SUBCODE_NONE, "the header '%s' is not understood", unknown);
    if (!is_action(service, header->action))
        return fault_set(
            fault, 500, SOAP_SENDER, SOAP_SUBCODE_ACTION_NOT_SUPPORTED, "the action is not one of this address");
    if (!is_addressed(server, service, header->to))
        return fault_set(fault, 500, SOAP_SENDER, SOAP_SUBCODE_DESTINATION_UNREACHABLE,
            "the message is addressed to another service");
    return 0;
}

static int parse(const struct server_request *request, struct soap_message **message, struct fault *fault)
{
    CLEANUP(err_freep) struct err *why = NULL;

    if (soap_parse(request->body, request->len, message, &why) == 0)
        return 0;
    if (err_kind(why) == ERR_PROTOCOL)
        return fault_set(fault, 500, SOAP_VERSION_MISMATCH, SOAP_SUBCODE_NONE, "%s", err_text(why));
    return fault_set(fault, 400, SOAP_SENDER, SOAP_SUBCODE_DESERIALIZATION_FAILED, "%s", err_text(why));
}

static char *answer_id(const struct server_request *request, const struct soap_message *message)
{
    const char *id = message ? soap_message_header(message)->message_id : NULL;

    if (request->misbehave->wrong_relates_to)
        return soap_new_message_id();
    return request->misbehave->no_relates_to ? NULL : mem_strdup_opt(id);
}

/* [MS-WSTEP notes] 6.1, checks 2 to 5, then the service itself. */
static int handle(struct server *server, const struct service *service, const struct server_request *request,
    struct soap_message **message, struct caller *caller, struct bytes *body, struct fault *fault, struct err **errp)
{
    CLEANUP(soap_header_clear) struct soap_header header = {0};
    struct server_call call = {
        .server = server, .service = service, .request = request, .caller = caller, .header = &header};
    int r = service->auth == AUTH_CERTIFICATE ? certificate_caller(server, service, request, caller, fault, errp) : 0;

    if (r == 0)
        r = parse(request, message, fault);
    if (r == 0)
        r = check_headers(server, service, *message, fault);
    if (r == 0 && service->auth == AUTH_USERNAME)
        r = password_caller(server, request, *message, caller, fault, errp);
    if (r != 0)
        return r;
    call.message = *message;
    header.relates_to = answer_id(request, *message);
    return service->kind == SERVICE_CEP ? cep_handle(&call, body, fault, errp) : ces_handle(&call, body, fault, errp);
}

/* One line for whoever runs this server; never anything of a body. */
static void say(const struct service *service, const struct server_request *request, const struct caller *caller,
    const char *what, uint32_t hresult)
{
    CLEANUP(mem_freep) char *when = when_format(request->now);
    CLEANUP(mem_freep) char *account = printable_text(caller->account ? caller->account : "-");
    CLEANUP(mem_freep) char *text = printable_text(what);

    fprintf(stderr, "%s  %s \"%s\"  %s  %s", when, service->kind == SERVICE_CEP ? "cep" : "ces", service->name, account,
        text);
    if (hresult)
        fprintf(stderr, "  0x%08" PRIX32 " %s", hresult, hresult_find(hresult)->name);
    fputc('\n', stderr);
}

/* WCF tells nobody why it failed; the reason is for our log alone. */
static void internal_fault(struct fault *fault)
{
    fault_clear(fault);
    fault_set(fault, 500, SOAP_RECEIVER, SOAP_SUBCODE_INTERNAL_SERVICE_FAULT,
        "The server was unable to process the request due to an internal error.");
}

void server_answer_request(struct server *server, const struct service *service, const struct server_request *request,
    struct server_answer *answer)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(caller_clear) struct caller caller = {0};
    CLEANUP(fault_clear) struct fault fault = {0};
    CLEANUP(mem_freep) char *relates_to = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    int r = handle(server, service, request, &message, &caller, &answer->body, &fault, &err);

    answer->status = 200;
    answer->lost = r == 0 && service->kind == SERVICE_CES && request->misbehave->lose_after_issue;
    if (r == 0) {
        say(service, request, &caller, "answered", 0);
        return;
    }
    if (r < 0) {
        say(service, request, &caller, err_text(err), 0);
        internal_fault(&fault);
    } else {
        say(service, request, &caller, fault.soap.reason, fault.detail.error_code);
    }
    fault.has_detail = fault.has_detail && service->kind == SERVICE_CES; /* XCEP has no detail of its own */
    answer->status = fault.status;
    relates_to = answer_id(request, message);
    if (fault_write(&fault, relates_to, &answer->body, NULL) == 0)
        return;
    internal_fault(&fault);
    answer->status = fault.status;
    (void)fault_write(&fault, relates_to, &answer->body, NULL);
}
