/* attempt.h - one attempt at a certificate: what is made durable of it, and the keys it works with. */
#pragma once

#include "agent/job/channel.h"
#include "agent/request/machine.h"
#include "agent/submit/call.h"
#include "agent/submit/submit.h"
#include "agent/worker/identity.h"
#include "agent/worker/trust.h"

/* What enroll and poll have in common. Borrows job and channel; owns the rest. */
struct attempt {
    const struct job_enroll *job;
    struct channel *daemon;
    struct job_attempt saved; /* as the daemon has it, and what comes next */
    struct trust trust;
    struct machine machine;
    struct place place;
    struct cert *old;    /* renewal: the certificate that is renewed */
    struct key *old_key; /* and its key, once opened */
    struct key *new_key; /* NULL while it is not opened, and when the old key stays */
    struct identity identity;
};
void attempt_close(struct attempt *attempt);

/* Takes job->attempt, reads trust and machine. 0 or -1. */
int attempt_open(struct attempt *attempt, struct job_enroll *job, struct channel *daemon, struct err **errp);

bool attempt_is_renewal(const struct attempt *attempt);
bool attempt_keeps_key(const struct attempt *attempt);   /* once the key is chosen: it is the old one's */
bool attempt_is_answered(const struct attempt *attempt); /* a certificate came, checked or not */
bool attempt_is_checked(const struct attempt *attempt);
struct key *attempt_key(const struct attempt *attempt); /* borrowed */

/* Opens the key of the certificate to renew. 0 or -1. */
int attempt_open_old_key(struct attempt *attempt, struct err **errp);
/* Opens the key that was asked for; never makes one. 0, or -1: ERR_MISSING when it is gone. */
int attempt_open_key(struct attempt *attempt, struct err **errp);

/* Opens what we can show to a CES: the certificate to renew, or another of ours; a password where one may be used. */
int attempt_open_identity(struct attempt *attempt, struct err **errp);
struct call_peer attempt_peer(const struct attempt *attempt, const char *uri, uint32_t auth);

/* The daemon makes it durable before this returns. 0 or -1. */
int attempt_save(struct attempt *attempt, enum job_checkpoint step, struct err **errp);

/* Moves what came into the attempt. @answer is emptied. */
void attempt_take_answer(struct attempt *attempt, struct submit_answer *answer, bool pending);

/* Forgets an answer that must not be installed: key and request stay, and are good for another try. */
void attempt_drop_answer(struct attempt *attempt);

/* Checks what came: our key, our template, a trusted CA; the daemon installs its files before this returns. 0 or -1. */
int attempt_check(struct attempt *attempt, struct err **errp);
/* Puts the pair that was checked in its place in the token. 0 or -1. */
int attempt_put(struct attempt *attempt, struct err **errp);
