/* serve.h - HTTPS: connections, limits, and who stands behind a TLS handshake. */
#pragma once

#include "server-ref/server.h"

struct serve_options {
    const char *address; /* to listen on */
    uint16_t port;       /* 0: any */
    int64_t exit_after;  /* seconds; 0: until a signal */
};

/*
 * Serves DIR until SIGTERM or SIGINT. Prints "READY https://host:port" once it listens, and keeps the files "port" and
 * "pid" in the directory meanwhile.
 *
 * Return 0 when it was told to stop, or -1 (ERR_CONFIG, ERR_NETWORK, ERR_STORE).
 */
int serve(const char *dir, const struct serve_options *options, struct err **errp);
