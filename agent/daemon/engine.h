/* engine.h - has done what is due, by itself and when it is asked. */
#pragma once

#include "agent/daemon/agent.h"

/*
 * One idea: whenever something may have changed (a timer, the end of a worker, a wish, a reload), the engine compares
 * what is with what should be, starts what is due and has room, and sets the timer to the next moment at which
 * something will be. It keeps no plan: a crash loses nothing.
 */
int engine_start(struct agent *agent, struct err **errp); /* after agent_attach. 0 or -1 */
void engine_stop(struct agent *agent);                    /* ends the workers; their attempts go on at the next start */
void engine_wake(struct agent *agent);                    /* something may have changed; coalesced */
bool engine_is_idle(const struct agent *agent);           /* no worker runs and nothing is due */
bool engine_is_working(const struct agent *agent);        /* a worker runs */
int64_t engine_next(const struct agent *agent);           /* when the engine wakes next at the latest */
int64_t engine_next_pulse(const struct agent *agent);

/* --- for those who carry it out: group, errand, retire, monitor --- */

bool engine_has_room(const struct agent *agent); /* for one more worker */
void engine_run_began(struct agent *agent);
void engine_run_ended(struct agent *agent);                     /* and wakes it */
void engine_at(struct agent *agent, int64_t when);              /* it must wake then, at the latest */
void engine_failed(struct agent *agent, const struct err *why); /* logs it; the first is oneshot's exit status */
/* The same for a failure that no record tells of, such as that to save one: it is logged in every case. */
void engine_failed_untold(struct agent *agent, const struct err *why);
uint32_t engine_chance(void);
/* Seconds that the servers of a failed job asked to be left alone; 0: nothing said. */
uint32_t engine_retry_after(const struct channel_event *event);
