/* subject.h - names and identifiers for a request, from the configuration or from the certificate to renew. */
#pragma once

#include "agent/job/job.h"
#include "agent/request/machine.h"
#include "protocol/pki/cert.h"

/* What is put into a request. {0}: nothing, the CA builds the names from its directory. */
struct subject {
    struct bytes name; /* DER of a Name; empty: the empty name */
    struct san_list san;
};
void subject_clear(struct subject *subject);

/*
 * The names that @template wants from us [MS-CRTD] 2.28: of a certificate to renew, those in @old, unchanged;
 * else the configured ones, with %{fqdn}, %{hostname} and %{machine-id} expanded; none where the CA knows them.
 *
 * @old  NULL for a first enrollment
 * Returns 0 with *out overwritten, or -1: ERR_CONFIG (names are wanted and not configured, or wrong, or an expansion
 * that this machine does not know), ERR_INVALID (names of @old that cannot be written again).
 */
int subject_build(const struct template *template, const struct job_names *names, const struct machine *machine,
    const struct cert *old, struct subject *out, struct err **errp);
