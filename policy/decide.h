/* decide.h - says which certificates to request, renew or leave alone, with reasons. */
#pragma once

#include "policy/inventory.h"
#include "policy/policy.h"
#include "policy/schedule.h"

enum decide_action {
    DECIDE_LEAVE,  /* all is well, nothing is due */
    DECIDE_SKIP,   /* it cannot or may not be served; the reason says why and what would change it */
    DECIDE_ENROLL, /* a first certificate, or one in place of an expired one */
    DECIDE_RENEW,  /* with the key of the old one */
    DECIDE_POLL,   /* ask after the request that is pending */
    DECIDE_RESUME, /* go on where an attempt was interrupted */
};

/* A [certificate] section: what a template cannot know. Borrowed. */
struct decide_wish {
    const char *name;
    const char *template_name;
    bool has_names; /* a subject or alternative names are configured */
    bool file_key;
};

struct decide_question {
    const struct policy *policy;       /* merged */
    const struct inventory *inventory; /* of this policy only */
    bool autoenroll;                   /* take every template that grants it */
    const struct strlist *templates;   /* but only these; empty or NULL: all */
    const struct decide_wish *wishes;
    size_t n_wishes;
    struct schedule_hours hours; /* maintenance: renewals are made in these */
    const char *account;         /* who asks for what no old key can ask for, for the reasons; NULL: nobody */
    int64_t now;                 /* seconds since 1970, UTC */
};

struct decision {
    enum decide_action action;
    const struct template *template; /* borrowed from the policy; NULL when it has none (any more) */
    const struct held_cert *held;    /* borrowed from the inventory; NULL where nothing is held */
    const struct decide_wish *wish;  /* borrowed; NULL where the template itself wants it */
    char *reason;                    /* owned; one sentence for a person */
    int64_t renew_at;                /* when its renewal is planned, or may be tried again; 0: nothing is planned */
};
struct decision_list {
    struct decision *items; /* owned */
    size_t n;
};

/*
 * Compares @question->policy with what is held. Pure: the same input gives the same output. The rules are those of
 * [MS-XCEP notes] 6.4 to 6.7, each named where it is applied. What is asked for in a [certificate] section needs no
 * autoEnroll permission, and wins over the autoenrollment of the same template.
 *
 * A renewal is decided from its planned moment on (schedule.h), and in the maintenance hours. What a raised major
 * version or another CA in the policy asks for is spread over a day or a week from when it is first seen: the caller
 * keeps decision.renew_at and gives it back as held.renew_at, which is all the memory that this needs.
 *
 * A certificate whose configured names differ from its own gets no other names by itself [design 5]: it is kept as it
 * is (DECIDE_SKIP, which says what to do), and renewed with the names that it has when its time comes, since an expired
 * one would serve nobody. A person's wish to renew it is a new enrollment with the configured names, and so is one in
 * place of an expired one.
 *
 * Returns the decisions in the order of wishes, then templates, then what is held and no longer in the policy;
 * borrows from the question. Clear with decision_list_clear.
 */
struct decision_list decide(const struct decide_question *question);
void decision_list_clear(struct decision_list *list);

const char *decide_action_name(enum decide_action action);
