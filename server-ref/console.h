/* console.h - what an administrator does beside the running server: requests, users, certificates. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/err.h"
#include "protocol/base/mem.h"

/* The command line of one verb, after its options were read. All borrowed. */
struct console_args {
    char **operands; /* the directory first */
    int n;
    struct strlist hosts;
    const char *ca_name;
    const char *key;
    const char *user;
    const char *password_file;
    const char *listen;
    uint32_t port;
    uint32_t exit_after; /* seconds */
    bool json;
    const char *account;
    const char *reason;
};

/* Each does one verb and prints to standard output. 0 or -1. */
int console_init(const struct console_args *args, struct err **errp);
int console_serve(const struct console_args *args, struct err **errp);
int console_requests(const struct console_args *args, struct err **errp);
int console_approve(const struct console_args *args, struct err **errp);
int console_deny(const struct console_args *args, struct err **errp);
int console_import(const struct console_args *args, struct err **errp);
int console_user_add(const struct console_args *args, struct err **errp);
int console_user_list(const struct console_args *args, struct err **errp);
int console_user_remove(const struct console_args *args, struct err **errp);
int console_revoke(const struct console_args *args, struct err **errp);
int console_cert(const struct console_args *args, struct err **errp);
