#include "agent/daemon/tokens.h"

#include "agent/daemon/engine.h"
#include "agent/daemon/run.h"

static void job_tokens_clearp(struct job_tokens *job)
{
    job_tokens_clear(job);
}

static void seen(void *ctx, struct run_outcome *outcome, struct err *why)
{
    struct agent *agent = ctx;

    agent->looking_at_tokens = false;
    if (why) {
        agent_log_err(AGENT_LOG_WARNING, why);
    } else {
        job_token_list_clear(&agent->tokens);
        agent->tokens = outcome->event.tokens;
        outcome->event.tokens = (struct job_token_list){0};
        agent_tell(agent, &(struct agent_news){.event = AGENT_CHANGED});
    }
    engine_run_ended(agent);
}

void tokens_look(struct agent *agent)
{
    CLEANUP(job_tokens_clearp) struct job_tokens job = {0};
    CLEANUP(err_freep) struct err *why = NULL;
    const struct run_request request = {
        .kind = JOB_TOKENS, .input = &job, .label = "tokens", .done = seen, .ctx = agent};

    if (agent->looking_at_tokens)
        return;
    agent_place(agent, &job.place);
    if (run_start(agent, &request, NULL, &why) < 0) {
        agent_log_err(AGENT_LOG_WARNING, why);
        return;
    }
    agent->looking_at_tokens = true;
    engine_run_began(agent);
}
