#include "agent/job/job.h"

#include <stdlib.h>

#include "agent/job/job_fields.h"
#include "protocol/base/printable.h"

#define TEXT POLICY_MAX_TEXT

FIELDS(policy_uri_fields, policy_uri, FIELD_U32(policy_uri, auth), FIELD_TEXT_REQ(policy_uri, uri, TEXT),
    FIELD_OPT_U32(policy_uri, priority), FIELD_BOOL(policy_uri, renewal_only));

FIELDS(policy_ca_fields, policy_ca, FIELD_TEXT(policy_ca, name, TEXT),
    FIELD_BYTES_REQ(policy_ca, certificate, POLICY_MAX_DER), FIELD_BOOL(policy_ca, enroll_permission),
    FIELD_LIST(policy_ca, uris, n_uris, policy_uri, policy_uri_fields, POLICY_MAX_URIS));

FIELDS(policy_extension_fields, policy_extension, FIELD_TEXT_REQ(policy_extension, oid, TEXT),
    FIELD_BOOL(policy_extension, critical), FIELD_BYTES(policy_extension, value, POLICY_MAX_DER));

FIELDS(template_fields, template, FIELD_TEXT_REQ(template, name, TEXT), FIELD_TEXT_REQ(template, oid, TEXT),
    FIELD_U32(template, schema), FIELD_U32(template, major), FIELD_U32(template, minor), FIELD_U64(template, validity),
    FIELD_U64(template, renewal), FIELD_BOOL(template, enroll), FIELD_BOOL(template, autoenroll),
    FIELD_U32(template, key_length), FIELD_OPT_U32(template, key_spec), FIELD_OPT_U32(template, key_usage_property),
    FIELD_TEXT(template, key_algorithm, TEXT), FIELD_TEXT(template, hash, TEXT), FIELD_U32(template, private_key_flags),
    FIELD_U32(template, subject_name_flags), FIELD_U32(template, enrollment_flags), FIELD_U32(template, general_flags),
    FIELD_U32(template, ra_signatures), FIELD_TEXTS(template, ra_ekus, JOB_MAX_NAMES, TEXT),
    FIELD_TEXTS(template, ra_policies, JOB_MAX_NAMES, TEXT), FIELD_TEXTS(template, superseded, JOB_MAX_NAMES, TEXT),
    FIELD_TEXTS(template, providers, JOB_MAX_NAMES, TEXT), FIELD_BOOL(template, archival),
    FIELD_LIST(template, extensions, n_extensions, policy_extension, policy_extension_fields, POLICY_MAX_EXTENSIONS),
    FIELD_U32_LIST(template, cas, n_cas, POLICY_MAX_CAS));

FIELDS(policy_fields, policy, FIELD_TEXT(policy, id, TEXT), FIELD_TEXT(policy, friendly_name, TEXT),
    FIELD_OPT_U32(policy, next_update_hours), FIELD_TIME(policy, fetched_at),
    FIELD_LIST(policy, templates, n_templates, template, template_fields, POLICY_MAX_TEMPLATES),
    FIELD_LIST(policy, cas, n_cas, policy_ca, policy_ca_fields, POLICY_MAX_CAS),
    FIELD_TEXTS(policy, skipped, JOB_MAX_SKIPPED, PRINTABLE_BYTES(TEXT / 4)));

FIELDS(job_place_fields, job_place, FIELD_TEXT(job_place, token_uri, TEXT), FIELD_TEXT(job_place, module, JOB_MAX_PATH),
    FIELD_TEXT(job_place, token_dir, JOB_MAX_PATH), FIELD_TEXT(job_place, key_dir, JOB_MAX_PATH),
    FIELD_TEXT(job_place, pin_credential, TEXT), FIELD_BYTES_REQ(job_place, tag, 4));

FIELDS(job_server_fields, job_server, FIELD_TEXT(job_server, name, TEXT), FIELD_TEXT_REQ(job_server, uri, TEXT),
    FIELD_U32(job_server, auth), FIELD_TEXT(job_server, username, TEXT), FIELD_TEXT(job_server, credential, TEXT),
    FIELD_TEXT(job_server, ca_file, JOB_MAX_PATH), FIELD_TEXTS(job_server, ces_hosts, JOB_MAX_NAMES, TEXT),
    FIELD_TEXT(job_server, policy_id, TEXT));

FIELDS(job_pair_fields, job_pair, FIELD_BYTES(job_pair, certificate, POLICY_MAX_DER),
    FIELD_BYTES(job_pair, chain, JOB_MAX_CHAIN), FIELD_BYTES(job_pair, key_id, JOB_MAX_KEY_ID),
    FIELD_TEXT(job_pair, key_file, JOB_MAX_PATH));

FIELDS(job_facts_fields, job_facts, FIELD_TEXT(job_facts, subject, 4 * TEXT), FIELD_TEXT(job_facts, issuer, 4 * TEXT),
    FIELD_TEXT(job_facts, serial, TEXT), FIELD_TEXT(job_facts, thumbprint, TEXT), FIELD_TIME(job_facts, not_before),
    FIELD_TIME(job_facts, not_after), FIELD_TEXT(job_facts, template_oid, TEXT),
    FIELD_TEXT(job_facts, template_name, TEXT), FIELD_OPT_U32(job_facts, template_major),
    FIELD_TEXT(job_facts, key_kind, TEXT), FIELD_TEXT(job_facts, key_uri, JOB_MAX_PATH),
    FIELD_TEXT(job_facts, sans, 8 * TEXT));

LOCAL_FIELDS(job_refresh_fields, job_refresh, FIELD_OBJECT(job_refresh, server, job_server, job_server_fields),
    FIELD_OBJECT(job_refresh, place, job_place, job_place_fields),
    FIELD_OBJECT(job_refresh, identity, job_pair, job_pair_fields), FIELD_OPT_TIME(job_refresh, last_update));

FIELDS(job_endpoint_fields, job_endpoint, FIELD_TEXT(job_endpoint, uri, TEXT), FIELD_U32(job_endpoint, auth),
    FIELD_BOOL(job_endpoint, sent), FIELD_BOOL(job_endpoint, refused), FIELD_U32(job_endpoint, retry_after),
    FIELD_TEXT(job_endpoint, error, 4 * TEXT));

LOCAL_FIELDS(job_refreshed_fields, job_refreshed, FIELD_BOOL(job_refreshed, not_changed),
    FIELD_OBJECT(job_refreshed, policy, policy, policy_fields),
    FIELD_LIST(job_refreshed, endpoints, n_endpoints, job_endpoint, job_endpoint_fields, 1));

FIELDS(job_names_fields, job_names, FIELD_TEXT(job_names, subject, TEXT),
    FIELD_TEXTS(job_names, dns, JOB_MAX_NAMES, TEXT), FIELD_TEXTS(job_names, ip, JOB_MAX_NAMES, TEXT),
    FIELD_TEXTS(job_names, uri, JOB_MAX_NAMES, TEXT), FIELD_TEXTS(job_names, email, JOB_MAX_NAMES, TEXT),
    FIELD_TEXTS(job_names, upn, JOB_MAX_NAMES, TEXT));

FIELDS(job_attempt_fields, job_attempt, FIELD_BYTES(job_attempt, key_id, JOB_MAX_KEY_ID),
    FIELD_BYTES(job_attempt, request, JOB_MAX_REQUEST), FIELD_U32(job_attempt, request_token),
    FIELD_TEXT(job_attempt, ces_uri, TEXT), FIELD_U32(job_attempt, ces_auth), FIELD_TEXT(job_attempt, request_id, TEXT),
    FIELD_BOOL(job_attempt, pending), FIELD_BYTES(job_attempt, answer_cms, JOB_MAX_ANSWER),
    FIELD_BYTES(job_attempt, answer_certificate, JOB_MAX_ANSWER),
    FIELD_OBJECT(job_attempt, pair, job_pair, job_pair_fields),
    FIELD_OBJECT(job_attempt, facts, job_facts, job_facts_fields));

LOCAL_FIELDS(job_enroll_fields, job_enroll, FIELD_TEXT_REQ(job_enroll, name, TEXT),
    FIELD_OBJECT(job_enroll, server, job_server, job_server_fields),
    FIELD_OBJECT(job_enroll, place, job_place, job_place_fields),
    FIELD_OBJECT(job_enroll, template, template, template_fields),
    FIELD_LIST(job_enroll, cas, n_cas, policy_ca, policy_ca_fields, POLICY_MAX_CAS),
    FIELD_OBJECT(job_enroll, names, job_names, job_names_fields),
    FIELD_OBJECT(job_enroll, old, job_pair, job_pair_fields),
    FIELD_OBJECT(job_enroll, identity, job_pair, job_pair_fields), FIELD_BYTES(job_enroll, replaces, JOB_MAX_KEY_ID),
    FIELD_BOOL(job_enroll, same_key), FIELD_BOOL(job_enroll, file_key), FIELD_BOOL(job_enroll, password_fallback),
    FIELD_OBJECT(job_enroll, attempt, job_attempt, job_attempt_fields));

LOCAL_FIELDS(job_enrolled_fields, job_enrolled, FIELD_BOOL(job_enrolled, pending),
    FIELD_LIST(job_enrolled, endpoints, n_endpoints, job_endpoint, job_endpoint_fields, POLICY_MAX_URIS));

LOCAL_FIELDS(job_retire_fields, job_retire, FIELD_OBJECT(job_retire, place, job_place, job_place_fields),
    FIELD_LIST(job_retire, pairs, n_pairs, job_pair, job_pair_fields, JOB_MAX_PAIRS),
    FIELD_BYTES_LIST(job_retire, known, n_known, JOB_MAX_PAIRS, JOB_MAX_KEY_ID), FIELD_BOOL(job_retire, sweep));

LOCAL_FIELDS(job_retired_fields, job_retired, FIELD_U32(job_retired, removed), FIELD_U32(job_retired, orphans));

LOCAL_FIELDS(job_tokens_fields, job_tokens, FIELD_OBJECT(job_tokens, place, job_place, job_place_fields));

LOCAL_FIELDS(job_token_fields, job_token, FIELD_TEXT(job_token, uri, JOB_MAX_PATH), FIELD_TEXT(job_token, label, TEXT),
    FIELD_TEXT(job_token, model, TEXT), FIELD_BOOL(job_token, ours));

LOCAL_FIELDS(job_token_list_fields, job_token_list,
    FIELD_LIST(job_token_list, items, n, job_token, job_token_fields, JOB_MAX_NAMES));

const char *const job_verdict_names[JOB_VERDICT__MAX] = {
#define X(name, text, status) text,
    JOB_VERDICTS(X)
#undef X
};

LOCAL_FIELDS(job_verify_fields, job_verify, FIELD_TEXT_REQ(job_verify, name, TEXT),
    FIELD_OBJECT(job_verify, place, job_place, job_place_fields),
    FIELD_OBJECT(job_verify, pair, job_pair, job_pair_fields), FIELD_TEXT(job_verify, key_uri, JOB_MAX_PATH),
    FIELD_TEXT(job_verify, published, JOB_MAX_PATH), FIELD_TEXT(job_verify, ca_file, JOB_MAX_PATH),
    FIELD_OBJECT(job_verify, names, job_names, job_names_fields),
    FIELD_LIST(job_verify, template, n_template, template, template_fields, 1));

LOCAL_FIELDS(job_verified_fields, job_verified, FIELD_ENUM(job_verified, verdict, job_verdict_names),
    FIELD_TEXT(job_verified, problem, JOB_MAX_REPORT), FIELD_TEXT(job_verified, names_differ, JOB_MAX_REPORT),
    FIELD_TEXTS(job_verified, checked, JOB_MAX_NAMES, JOB_MAX_REPORT), FIELD_TIME(job_verified, issuer_not_after),
    FIELD_TIME(job_verified, anchor_not_after));

LOCAL_FIELDS(job_watch_fields, job_watch, FIELD_TEXT(job_watch, section, TEXT),
    FIELD_TEXTS(job_watch, files, JOB_MAX_NAMES, JOB_MAX_PATH));

LOCAL_FIELDS(job_known_fields, job_known, FIELD_TEXT_REQ(job_known, path, JOB_MAX_PATH), FIELD_U64(job_known, mark));

LOCAL_FIELDS(job_scan_fields, job_scan, FIELD_OBJECT(job_scan, place, job_place, job_place_fields),
    FIELD_BOOL(job_scan, tokens), FIELD_LIST(job_scan, watches, n_watches, job_watch, job_watch_fields, JOB_MAX_PAIRS),
    FIELD_LIST(job_scan, known, n_known, job_known, job_known_fields, JOB_MAX_WATCHED),
    FIELD_TEXTS(job_scan, only, JOB_MAX_WATCHED, JOB_MAX_PATH));

LOCAL_FIELDS(job_seen_fields, job_seen, FIELD_TEXT(job_seen, subject, TEXT), FIELD_TEXT(job_seen, serial, TEXT),
    FIELD_TEXT(job_seen, thumbprint, TEXT), FIELD_TIME(job_seen, not_before), FIELD_TIME(job_seen, not_after));

LOCAL_FIELDS(job_seen_file_fields, job_seen_file, FIELD_TEXT(job_seen_file, section, TEXT),
    FIELD_TEXT_REQ(job_seen_file, path, JOB_MAX_PATH), FIELD_U64(job_seen_file, mark),
    FIELD_LIST(job_seen_file, certificates, n_certificates, job_seen, job_seen_fields, JOB_MAX_SEEN_FILE),
    FIELD_TEXT(job_seen_file, error, TEXT));

LOCAL_FIELDS(job_scanned_fields, job_scanned,
    FIELD_LIST(job_scanned, files, n_files, job_seen_file, job_seen_file_fields, JOB_MAX_WATCHED),
    FIELD_TEXTS(job_scanned, gone, JOB_MAX_WATCHED, JOB_MAX_PATH), FIELD_BOOL(job_scanned, more));

LOCAL_FIELDS(
    job_probe_fields, job_probe, FIELD_TEXT_REQ(job_probe, target, TEXT), FIELD_TEXT(job_probe, thumbprint, TEXT));

LOCAL_FIELDS(job_probed_fields, job_probed, FIELD_BOOL(job_probed, matches), FIELD_TEXT(job_probed, thumbprint, TEXT),
    FIELD_TEXT(job_probed, subject, 4 * TEXT), FIELD_TIME(job_probed, not_after));

static const struct job_kind_info kinds[] = {
#define X(name, text, input, result)                                                                                   \
    {text, &input##_fields, &result##_fields, JOB_##name == JOB_ENROLL || JOB_##name == JOB_POLL},
    JOB_KINDS(X)
#undef X
};

const struct job_kind_info *job_kind_info(enum job_kind kind)
{
    return &kinds[kind];
}

const char *job_kind_name(enum job_kind kind)
{
    return kind < JOB__MAX ? kinds[kind].name : "unknown";
}

const char *job_verdict_name(enum job_verdict verdict)
{
    return verdict < JOB_VERDICT__MAX ? job_verdict_names[verdict] : "unknown";
}

int job_verdict_status(enum job_verdict verdict)
{
    static const int statuses[] = {
#define X(name, text, status) status,
        JOB_VERDICTS(X)
#undef X
    };

    return verdict < JOB_VERDICT__MAX ? statuses[verdict] : statuses[JOB_VERDICT_ERROR];
}

const char *job_checkpoint_name(enum job_checkpoint checkpoint)
{
    static const char *const names[] = {
#define X(name, text) text,
        JOB_CHECKPOINTS(X)
#undef X
    };

    return checkpoint < CHECKPOINT__MAX ? names[checkpoint] : "unknown";
}

#define DEFINE_CLEAR(tag)                                                                                              \
    void tag##_clear(struct tag *object)                                                                               \
    {                                                                                                                  \
        fields_clear(&tag##_fields, object);                                                                           \
    }
DEFINE_CLEAR(job_server)
DEFINE_CLEAR(job_pair)
DEFINE_CLEAR(job_facts)
DEFINE_CLEAR(job_names)
DEFINE_CLEAR(job_attempt)
DEFINE_CLEAR(job_refresh)
DEFINE_CLEAR(job_refreshed)
DEFINE_CLEAR(job_enroll)
DEFINE_CLEAR(job_enrolled)
DEFINE_CLEAR(job_retire)
DEFINE_CLEAR(job_tokens)
DEFINE_CLEAR(job_token_list)
DEFINE_CLEAR(job_verify)
DEFINE_CLEAR(job_verified)
DEFINE_CLEAR(job_scan)
DEFINE_CLEAR(job_scanned)
DEFINE_CLEAR(job_probe)
DEFINE_CLEAR(job_probed)

void job_pair_copy(struct job_pair *to, const struct job_pair *from)
{
    fields_copy(&job_pair_fields, to, from);
}

void job_attempt_copy(struct job_attempt *to, const struct job_attempt *from)
{
    fields_copy(&job_attempt_fields, to, from);
}

void job_attempt_drop_answer(struct job_attempt *attempt)
{
    bytes_clear(&attempt->answer_cms);
    bytes_clear(&attempt->answer_certificate);
    free(TAKE(attempt->request_id));
    free(TAKE(attempt->ces_uri));
    attempt->ces_auth = 0;
    attempt->pending = false;
}
