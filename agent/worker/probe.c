#include "agent/worker/probe.h"

#include <string.h>

#include "agent/job/job_fields.h"
#include "agent/submit/peek.h"
#include "protocol/base/printable.h"

int probe(struct job_probe *job, struct channel *daemon, struct job_probed *result, struct err **errp)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;

    channel_progress(daemon, "looking at the certificate of %s", job->target);
    if (peek_certificate(job->target, PROBE_LIMIT_S * 1000, &cert, errp) < 0)
        return -1;
    result->matches = job->thumbprint && strcmp(job->thumbprint, cert->sha256) == 0;
    result->thumbprint = mem_strdup(cert->sha256);
    result->subject = printable(cert->subject, strlen(cert->subject), POLICY_MAX_TEXT - 1);
    result->not_after = cert->not_after;
    return 0;
}
