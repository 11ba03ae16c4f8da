/* server.h - answers one SOAP request, whichever service it is for. */
#pragma once

#include "server-ref/auth.h"
#include "server-ref/ca.h"
#include "server-ref/config.h"
#include "server-ref/fault.h"

struct server {
    const struct config *config; /* borrowed */
    struct store *store;         /* borrowed */
    struct ca *ca;               /* borrowed */
    struct auth *auth;           /* borrowed */
    uint16_t port;               /* for the addresses that are told */
    int64_t started;             /* seconds since 1970, UTC */
};

/* What came over HTTP. Borrowed throughout. */
struct server_request {
    const char *path; /* decoded; starts with a slash */
    const void *body;
    size_t len;
    const struct bytes *peer; /* DER of the client certificate; NULL: none */
    int64_t now;
    const struct misbehave *misbehave;
};

/* What goes back. */
struct server_answer {
    int status;        /* of HTTP */
    struct bytes body; /* owned */
    bool lost;         /* on purpose: the connection ends without an answer */
};
void server_answer_clear(struct server_answer *answer);

/* The service at @path of a URL, escaped or not, compared without regard to case as IIS does it; borrowed, or NULL. */
const struct service *server_find(const struct server *server, const char *path);
/* Where @service is from outside, with the host and port of this server. Returns owned. */
char *server_address(const struct server *server, const struct service *service);

/* Fills in @answer, which was {0}; whatever goes wrong is a fault in it. Prints one line about it. */
void server_answer_request(struct server *server, const struct service *service, const struct server_request *request,
    struct server_answer *answer);

/*
 * One request of a known caller, as a service gets it. Borrowed throughout.
 * A service writes its answer to @body and returns 0, or FAULT, or -1.
 */
struct server_call {
    struct server *server;
    const struct service *service;
    const struct server_request *request;
    const struct soap_message *message;
    const struct caller *caller;
    const struct soap_header *header; /* of the answer; its action is missing */
};
