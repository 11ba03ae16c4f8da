/* engine_wish.h - what a person may ask of the engine. */
#pragma once

#include "agent/daemon/agent.h"

/* Each returns the task (borrowed), or NULL with *errp. */

/* Asks every policy server whose turn it is, and tries at once what waits for another try. */
struct task *engine_pulse(struct agent *agent, struct err **errp);
struct task *engine_refresh(struct agent *agent, struct server_state *server, bool test, struct err **errp);
/* Renews @record now, although it is not due; with the old key when @same_key. ERR_MISSING, ERR_BUSY, ERR_POLICY. */
struct task *engine_renew(struct agent *agent, struct record *record, bool same_key, struct err **errp);
/* Enrolls for @template (name or OID) of @server, whatever permission autoenrollment needs. */
struct task *engine_enroll(struct agent *agent, struct server_state *server, const char *template, struct err **errp);
struct task *engine_poll(struct agent *agent, struct record *record, struct err **errp);
/* NULL: all. Looks whether key, certificate and published files are as the record says. */
struct task *engine_verify(struct agent *agent, struct record *record, struct err **errp);
/* Gives the enrollment up: token objects, published files, record. Not while its section or policy would bring it
 * back, unless @force. */
struct task *engine_remove(struct agent *agent, struct record *record, bool force, struct err **errp);
