/* xcep.h - GetPolicies and its response. [MS-XCEP] */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"
#include "protocol/base/opt.h"
#include "protocol/soap/soap.h"
#include "protocol/xcep/flags.h"

#define XCEP_NS              "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy"
#define XCEP_ACTION_REQUEST  XCEP_NS "/IPolicy/GetPolicies"
#define XCEP_ACTION_RESPONSE XCEP_NS "/IPolicy/GetPoliciesResponse"

#define XCEP_MAX_URI        2048
#define XCEP_MAX_NAME       1024 /* bytes of a name, an OID, a provider */
#define XCEP_MAX_SDDL       8192
#define XCEP_MAX_DER        (64u << 10) /* a certificate, the value of an extension */
#define XCEP_MAX_POLICIES   20000
#define XCEP_MAX_CAS        1000
#define XCEP_MAX_OIDS       60000
#define XCEP_MAX_REFERENCES 256 /* URIs of a CA; CAs, extensions, providers, EKUs... of a policy */
#define XCEP_MAX_FILTER     20000

/* How a CEP or CES wants to be authenticated to; one value, never a mask. [MS-XCEP] 3.1.4.1.3.5 */
enum xcep_auth {
    XCEP_AUTH_ANONYMOUS = 1,
    XCEP_AUTH_KERBEROS = 2,
    XCEP_AUTH_USERNAME = 4,
    XCEP_AUTH_CERTIFICATE = 8, /* a TLS client certificate, whatever the specification calls it */
};

/* What the group of an OID says it is. For display: references are resolved by id alone. [MS-XCEP] 3.1.4.1.3.16 */
enum xcep_oid_group {
    XCEP_GROUP_HASH = 1,
    XCEP_GROUP_ENCRYPTION = 2,
    XCEP_GROUP_PUBLIC_KEY = 3,
    XCEP_GROUP_SIGNATURE = 4,
    XCEP_GROUP_RDN = 5,
    XCEP_GROUP_EXTENSION = 6,
    XCEP_GROUP_EKU = 7,
    XCEP_GROUP_POLICY = 8,
    XCEP_GROUP_TEMPLATE = 9,
};

/* Ids of oIDs or cAs in the same response. {0} is empty. */
struct xcep_references {
    int32_t *items; /* owned */
    size_t n;
};

/* GetPolicies, [MS-XCEP] 3.1.4.1.2.1. {0} asks for everything, but see client_version. */
struct xcep_request {
    struct opt_time last_update;   /* absent: never; year 1, which Windows sends, reads as never */
    bool bad_last_update;          /* there was one that is no date; read as never. Not written */
    char *preferred_language;      /* owned; NULL: the server's default */
    bool has_filter;               /* without a filter the members below are not written */
    struct strlist policy_oids;    /* empty: no filter by OID */
    struct opt_i32 client_version; /* absent means 3, 0 the highest: send 0 or newer templates are hidden.
                                      [MS-XCEP] 3.1.4.1.3.22 */
    struct opt_i32 server_version; /* the same */
};
void xcep_request_clear(struct xcep_request *request);

struct xcep_extension { /* [MS-XCEP] 3.1.4.1.3.12 */
    int32_t oid;        /* id of an oID */
    bool critical;
    struct bytes value; /* owned; DER of extnValue's content; empty in old answers: skip the extension then */
};

struct xcep_ra_requirements { /* [MS-XCEP] 3.1.4.1.3.21 */
    uint32_t signatures;
    struct xcep_references ekus;     /* of the signer's certificate */
    struct xcep_references policies; /* of the signer's certificate */
};

struct xcep_key_archival {         /* [MS-XCEP] 3.1.4.1.3.15 */
    int32_t symmetric_algorithm;   /* id of an oID */
    uint32_t symmetric_key_length; /* bits */
};

/*
 * CertificateEnrollmentPolicy, which is a template, with its Attributes, CertificateValidity, EnrollmentPermission,
 * PrivateKeyAttributes and Revision in one. [MS-XCEP] 3.1.4.1.3.7, .1, .8, .11, .20, .24
 */
struct xcep_policy {
    int32_t oid;                /* policyOIDReference: id of an oID, unique among the policies */
    struct xcep_references cas; /* ids of cAs that issue it; none: cannot be enrolled */

    char *common_name; /* owned; unique among the policies */
    uint32_t schema;   /* 1 to 4 */
    uint64_t validity_seconds;
    uint64_t renewal_seconds; /* counted back from expiry */
    bool enroll;              /* rights of the authenticated requester */
    bool auto_enroll;

    uint32_t minimal_key_length;  /* bits */
    struct opt_u32 key_spec;      /* 1 exchange, 2 signature */
    struct opt_u32 key_usage;     /* keyUsageProperty: CNG's, not X.509's */
    char *key_permissions;        /* owned; SDDL; NULL where nil */
    struct opt_i32 key_algorithm; /* id of an oID; nil: RSA */
    struct strlist crypto_providers;

    uint32_t major_revision;
    uint32_t minor_revision;
    struct strlist superseded;        /* common names */
    struct opt_u32 private_key_flags; /* flags.h */
    struct opt_u32 subject_name_flags;
    struct opt_u32 enrollment_flags;
    struct opt_u32 general_flags;
    struct opt_i32 hash_algorithm;                /* id of an oID */
    struct xcep_ra_requirements *ra_requirements; /* owned; NULL where nil */
    struct xcep_key_archival *key_archival;       /* owned; NULL where nil */
    struct xcep_extension *extensions;            /* owned */
    size_t n_extensions;
};

struct xcep_ca_uri {         /* [MS-XCEP] 3.1.4.1.3.5 */
    uint32_t auth;           /* enum xcep_auth; others may come and are of no use */
    char *uri;               /* owned; may have raw blanks in it */
    struct opt_u32 priority; /* lower goes first; nil: last */
    struct opt_bool renewal_only;
};

struct xcep_ca {              /* [MS-XCEP] 3.1.4.1.3.2 */
    struct xcep_ca_uri *uris; /* owned */
    size_t n_uris;
    struct bytes certificate; /* owned; DER */
    bool enroll_permission;
    int32_t id; /* cAReferenceID; 0 is as good as any */
};

struct xcep_oid {       /* [MS-XCEP] 3.1.4.1.3.16 */
    char *value;        /* owned; dotted, arcs of any size */
    uint32_t group;     /* enum xcep_oid_group, often wrong */
    int32_t id;         /* oIDReferenceID; 0 is as good as any */
    char *default_name; /* owned; NULL where nil */
};

/* GetPoliciesResponse, [MS-XCEP] 3.1.4.1.2.2 and 3.1.4.1.3.23. {0} is empty. */
struct xcep_response {
    char *policy_id;     /* owned; may be empty; NULL is written as empty */
    char *friendly_name; /* owned; NULL where nil */
    struct opt_u32 next_update_hours;
    struct opt_bool policies_not_changed;
    struct xcep_policy *policies; /* owned; none: unchanged when the flag above says so, else nothing for the asker */
    size_t n_policies;
    struct xcep_ca *cas; /* owned; parsed: sorted by id */
    size_t n_cas;
    struct xcep_oid *oids; /* owned; parsed: sorted by id */
    size_t n_oids;
    struct strlist skipped; /* parsed: one sentence for each policy, CA or OID that was left out. Not written */
};
void xcep_response_clear(struct xcep_response *response);

/*
 * Writing: the message in an envelope, valid against the schema; what @out held is replaced, and left alone on
 * failure. -1 with ERR_INVALID where something mandatory is missing or a text cannot stand in XML.
 * @security  NULL for none. With one, @out holds a password: bytes_wipe it.
 */
int xcep_request_write(const struct soap_header *header, const struct wsse_security *security,
    const struct xcep_request *request, struct bytes *out, struct err **errp);
int xcep_response_write(
    const struct soap_header *header, const struct xcep_response *response, struct bytes *out, struct err **errp);

/*
 * Reading: what @out held is not freed; it is written only on success. Elements are found by name in any order,
 * unknown ones passed over, nil and absent alike. -1 with ERR_INVALID and the place; also for a fault.
 *
 * A request without client, or with an empty one, is an error [MS-XCEP 3.1.4.1.2.1].
 *
 * A policy, CA or OID that lacks what it must have is left out of a response and the reason added to @skipped; so is a
 * policy with a reference to what is not there, and the second of two policies with one name. An id that is there
 * twice among oIDs, cAs or policies makes the whole response an error.
 */
int xcep_request_parse(const struct soap_message *message, struct xcep_request *out, struct err **errp);
int xcep_response_parse(const struct soap_message *message, struct xcep_response *out, struct err **errp);
/* The same for a document whose root is GetPoliciesResponse, without an envelope. */
int xcep_response_parse_bare(const void *data, size_t len, struct xcep_response *out, struct err **errp);

/*
 * Look-ups by id in a parsed response, or in one whose oids and cas are sorted by id. Borrowed from @response; NULL
 * where there is none.
 */
const struct xcep_oid *xcep_find_oid(const struct xcep_response *response, int32_t id);
const struct xcep_ca *xcep_find_ca(const struct xcep_response *response, int32_t id);

const char *xcep_auth_name(uint32_t auth);   /* "username", ...; "unknown" */
const char *xcep_group_name(uint32_t group); /* "extended key usage", ...; "unknown" */
