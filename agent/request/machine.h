/* machine.h - facts about this machine, from its own files. */
#pragma once

#include "protocol/base/err.h"

#define MACHINE_MAX_NAME 253 /* longest host name, RFC 1035 */

/* What a request may say about the machine. Everything owned; NULL where the machine does not know it. */
struct machine {
    char *hostname;   /* up to the first dot */
    char *fqdn;       /* with its domain */
    char *id;         /* /etc/machine-id */
    char *os_version; /* four numbers, as Windows clients write theirs: "6.1.0.2" */
};

/*
 * Reads /etc/hostname (where it is missing, the running name), the aliases of that name in /etc/hosts, and
 * /etc/machine-id. Never asks DNS or DHCP: what stands in a certificate must not come from the network.
 *
 * @root  "" for the machine's own files; a directory in tests
 */
void machine_read(const char *root, struct machine *machine);
void machine_clear(struct machine *machine);
