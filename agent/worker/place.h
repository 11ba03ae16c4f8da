/* place.h - opens the token and the keys that a job means. */
#pragma once

#include "agent/job/job.h"
#include "agent/key/key_token.h"

/* The job's place with its token, opened when it is first needed. */
struct place {
    const struct job_place *job; /* borrowed */
    struct token *token;         /* owned; NULL until then */
};
void place_close(struct place *place);

/*
 * The token: the one that the configuration names, else our own SoftHSM token, which is made on first use.
 * 0 with *token borrowed, or -1: ERR_CONFIG, ERR_MISSING, ERR_TOKEN, ERR_AUTH (its PIN).
 */
int place_token(struct place *place, struct token **token, struct err **errp);

/* The key of a pair that we hold. 0 with *key owned, or -1: ERR_MISSING, ERR_TOKEN, ERR_STORE. */
int place_open_key(struct place *place, const struct job_pair *pair, struct key **key, struct err **errp);

/* Where the key file of a key id is. Returns owned. */
char *place_key_file(const struct place *place, const struct bytes *id);

/*
 * The new key under @id: what is there already after a crash, else made now, with a label that says it waits.
 *
 * @file  a key file instead of the token
 */
int place_make_key(struct place *place, const struct bytes *id, const char *name, bool file, enum key_kind kind,
    struct key **key, struct err **errp);

/* Destroys key and certificate objects of a pair, or its key file; not being there is no error. */
int place_destroy(struct place *place, const struct job_pair *pair, struct err **errp);
