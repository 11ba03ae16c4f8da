#include "agent/worker/retire.h"

#include "agent/key/key_file.h"
#include "agent/worker/place.h"

static int retire_pair(struct job_retire *job, struct place *place, const struct job_pair *pair, struct err **errp)
{
    CLEANUP(mem_freep) char *hex = bytes_to_hex(pair->key_id.data, pair->key_id.len);

    if (key_id_is_known(&pair->key_id, job->known, job->n_known))
        return 0; /* the key lives on in another pair */
    if (!key_id_is_ours(&pair->key_id, job->place.tag.data))
        return err_set(errp, ERR_POLICY, "key %s is not this agent's and is left alone", hex);
    if (place_destroy(place, pair, errp) < 0)
        return err_wrap(errp, "removing key %s", hex);
    return 0;
}

/* Keys without a record, in the token and beside it. */
static int sweep(const struct job_retire *job, struct place *place, size_t *orphans, struct err **errp)
{
    const uint8_t *tag = job->place.tag.data;
    struct token *token;
    size_t files = 0;

    if (place_token(place, &token, errp) < 0)
        return -1;
    if (key_token_sweep(token, tag, job->known, job->n_known, orphans, errp) < 0 ||
        (job->place.key_dir && key_file_sweep(job->place.key_dir, tag, job->known, job->n_known, &files, errp) < 0))
        return err_wrap(errp, "looking for keys without a record");
    *orphans += files;
    return 0;
}

int retire(struct job_retire *job, struct channel *daemon, struct job_retired *result, struct err **errp)
{
    CLEANUP(place_close) struct place place = {.job = &job->place};
    size_t orphans = 0;

    if (job->n_pairs)
        channel_progress(daemon, "removing %zu old %s", job->n_pairs, job->n_pairs == 1 ? "pair" : "pairs");
    for (size_t i = 0; i < job->n_pairs; i++) {
        if (retire_pair(job, &place, &job->pairs[i], errp) < 0)
            return -1;
        result->removed++;
    }
    if (!job->sweep)
        return 0;
    if (sweep(job, &place, &orphans, errp) < 0)
        return -1;
    if (orphans)
        channel_progress(daemon, "removed %zu keys that had no record", orphans);
    result->orphans = (uint32_t)orphans;
    return 0;
}
