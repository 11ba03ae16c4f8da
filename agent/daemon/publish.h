/* publish.h - puts certificates where others read them: numbered generations and a link to the current one. */
#pragma once

#include "agent/job/job.h"

/*
 * Writes DIR/ID/GENERATION/ with cert.pem, chain.pem, fullchain.pem and key.uri, durably, and only then moves
 * DIR/ID/current to it. May be done again after a crash, with the same outcome. 0, or -1 with ERR_STORE and the old
 * generation still current.
 */
int publish_generation(const char *dir, const char *id, uint32_t generation, const struct job_pair *pair,
    const struct job_facts *facts, struct err **errp);

/*
 * Points DIR/ID/installed at @generation: all of the pair is in its place, its labels in the token as well, and
 * services may be told of it. Until then `current` is ahead of it. PUBLISH_*, or -1 with ERR_STORE.
 */
enum publish_outcome { PUBLISH_SAME, PUBLISH_MOVED };
int publish_installed(const char *dir, const char *id, uint32_t generation, struct err **errp);

/* Removes a generation that is not current. What is not there is fine. 0, or -1 with ERR_STORE. */
int publish_remove(const char *dir, const char *id, uint32_t generation, struct err **errp);
/* Removes everything that was published of @id. 0, or -1 with ERR_STORE. */
int publish_remove_all(const char *dir, const char *id, struct err **errp);
