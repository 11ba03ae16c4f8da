#include "agent/worker/tokens.h"

#include <string.h>

#include "agent/job/job_fields.h"
#include "agent/worker/place.h"

int tokens(struct job_tokens *job, struct channel *daemon, struct job_token_list *result, struct err **errp)
{
    CLEANUP(place_close) struct place place = {.job = &job->place};
    CLEANUP(token_list_clear) struct token_list list = {0};
    const char *ours = NULL;
    struct token *token;

    channel_progress(daemon, "listing tokens");
    if (place_token(&place, &token, errp) < 0)
        return -1;
    ours = token_info(token)->uri;
    if (token_list(job->place.module ? job->place.module : token_info(token)->module, &list, errp) < 0)
        return -1;
    for (size_t i = 0; i < list.n && result->n < JOB_MAX_NAMES; i++) {
        const struct token_info *info = &list.items[i];

        *MEM_APPEND(result->items, result->n) = (struct job_token){.uri = mem_strdup(info->uri),
            .label = mem_strdup(info->label),
            .model = mem_strdup(info->model),
            .ours = strcmp(info->uri, ours) == 0};
    }
    return 0;
}
