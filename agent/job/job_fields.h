/* job_fields.h - the field tables of policy, jobs and attempts. */
#pragma once

#include "agent/job/fields.h"
#include "agent/job/job.h"

#define JOB_MAX_PATH    4096
#define JOB_MAX_KEY_ID  64
#define JOB_MAX_CHAIN   (256u << 10)
#define JOB_MAX_REQUEST (512u << 10)
#define JOB_MAX_ANSWER  (4u << 20)
#define JOB_MAX_NAMES   64
#define JOB_MAX_PAIRS   4096
#define JOB_MAX_REPORT  8192
#define JOB_MAX_SKIPPED POLICY_MAX_TEMPLATES

extern const struct fields policy_uri_fields, policy_ca_fields, policy_extension_fields, template_fields, policy_fields;
extern const struct fields job_place_fields, job_server_fields, job_pair_fields, job_facts_fields, job_names_fields,
    job_attempt_fields, job_endpoint_fields;

extern const char *const job_verdict_names[JOB_VERDICT__MAX]; /* by enum job_verdict */

/* A kind of job: how its input and its result are written, and whether it makes checkpoints. */
struct job_kind_info {
    const char *name;
    const struct fields *input, *result;
    bool checkpoints;
};
const struct job_kind_info *job_kind_info(enum job_kind kind);
