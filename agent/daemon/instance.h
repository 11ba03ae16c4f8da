/* instance.h - what we are: which machine this state belongs to, which keys are ours, the latest time we saw. */
#pragma once

#include "protocol/base/bytes.h"

/* Kept in private/instance.json. Text is owned. */
struct instance {
    uint32_t version;
    struct bytes tag;         /* 4 random bytes: which keys in a token are ours */
    int64_t last_seen;        /* the latest time that we saw: a clock before it is wrong */
    bool clean;               /* the last walk came to its end */
    char *machine_id, *board; /* of the machine that this state belongs to; NULL where it has none */
    uint64_t seed;            /* random, for the spread over a fleet: never the same on two machines */
    bool synchronised;        /* the kernel has said that the clock is: from then on it counts when it is not */
};
void instance_clear(struct instance *instance);

/* The machine that we run on; NULL where it does not say. Owned by the caller. */
struct machine_identity {
    char *machine_id;
    char *board;
};
/*
 * @id_file       as /etc/machine-id
 * @runtime_dir   may hold the file "board" that a unit's root put there, since only root may read it; NULL: none
 */
void machine_identity_read(const char *id_file, const char *runtime_dir, struct machine_identity *out);
void machine_identity_clear(struct machine_identity *identity);

/* Reads @path, or makes a new instance where there is none. 0, or -1: ERR_STORE, ERR_INVALID, ERR_INTERNAL. */
int instance_load(struct instance *instance, const char *path, struct err **errp);
int instance_save(const struct instance *instance, const char *path, struct err **errp);
/* A new tag and a new seed: as if it had just been installed. 0, or -1 with ERR_INTERNAL. */
int instance_renew(struct instance *instance, struct err **errp);

/* Does this state belong to another machine [design 8.13]? What either side does not know is not compared. */
bool instance_is_foreign(const struct instance *instance, const struct machine_identity *machine);
/* Binds it to @machine; what that does not say stays as it was. True when something changed. */
bool instance_bind(struct instance *instance, const struct machine_identity *machine);

/* What may be thought of the clock [design 8.11]. */
struct instance_clock {
    bool back;   /* before the last time that we saw, or before this program was made */
    bool unsure; /* nobody keeps it right, though somebody used to */
};
/* Takes @now over as the time seen last where it may be believed. */
struct instance_clock instance_see(struct instance *instance, int64_t now);
