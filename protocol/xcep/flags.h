/* flags.h - the flag words of a template by name. */
#pragma once

#include <stdint.h>

/*
 * One row a bit: name, mask. [MS-CRTD] 2.26-2.28 and 2.4; what each asks of client and CA is in [MS-WCCE]
 * 3.1.2.4.2.2 and 3.2.2.6.2.1.4. Act on a bit when it is there; unknown bits are ignored.
 */
#define XCEP_PRIVATE_KEY_FLAGS(X)                                                                                      \
    X(REQUIRE_PRIVATE_KEY_ARCHIVAL, 0x00000001)                                                                        \
    X(EXPORTABLE_KEY, 0x00000010)                                                                                      \
    X(STRONG_KEY_PROTECTION_REQUIRED, 0x00000020)                                                                      \
    X(REQUIRE_ALTERNATE_SIGNATURE_ALGORITHM, 0x00000040)                                                               \
    X(REQUIRE_SAME_KEY_RENEWAL, 0x00000080)                                                                            \
    X(USE_LEGACY_PROVIDER, 0x00000100)                                                                                 \
    X(EK_TRUST_ON_USE, 0x00000200)                                                                                     \
    X(EK_VALIDATE_CERT, 0x00000400)                                                                                    \
    X(EK_VALIDATE_KEY, 0x00000800)                                                                                     \
    X(ATTEST_PREFERRED, 0x00001000)                                                                                    \
    X(ATTEST_REQUIRED, 0x00002000)                                                                                     \
    X(ATTESTATION_WITHOUT_POLICY, 0x00004000)                                                                          \
    X(HELLO_KSP_KEY, 0x00100000)                                                                                       \
    X(HELLO_LOGON_KEY, 0x00200000)

#define XCEP_SUBJECT_NAME_FLAGS(X)                                                                                     \
    X(ENROLLEE_SUPPLIES_SUBJECT, 0x00000001)                                                                           \
    X(OLD_CERT_SUPPLIES_SUBJECT_AND_ALT_NAME, 0x00000008)                                                              \
    X(ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME, 0x00010000)                                                                  \
    X(SUBJECT_ALT_REQUIRE_DOMAIN_DNS, 0x00400000)                                                                      \
    X(SUBJECT_ALT_REQUIRE_SPN, 0x00800000)                                                                             \
    X(SUBJECT_ALT_REQUIRE_DIRECTORY_GUID, 0x01000000)                                                                  \
    X(SUBJECT_ALT_REQUIRE_UPN, 0x02000000)                                                                             \
    X(SUBJECT_ALT_REQUIRE_EMAIL, 0x04000000)                                                                           \
    X(SUBJECT_ALT_REQUIRE_DNS, 0x08000000)                                                                             \
    X(SUBJECT_REQUIRE_DNS_AS_CN, 0x10000000)                                                                           \
    X(SUBJECT_REQUIRE_EMAIL, 0x20000000)                                                                               \
    X(SUBJECT_REQUIRE_COMMON_NAME, 0x40000000)                                                                         \
    X(SUBJECT_REQUIRE_DIRECTORY_PATH, 0x80000000)

#define XCEP_ENROLLMENT_FLAGS(X)                                                                                       \
    X(INCLUDE_SYMMETRIC_ALGORITHMS, 0x00000001)                                                                        \
    X(PEND_ALL_REQUESTS, 0x00000002)                                                                                   \
    X(PUBLISH_TO_KRA_CONTAINER, 0x00000004)                                                                            \
    X(PUBLISH_TO_DS, 0x00000008)                                                                                       \
    X(AUTO_ENROLLMENT_CHECK_USER_DS_CERTIFICATE, 0x00000010)                                                           \
    X(AUTO_ENROLLMENT, 0x00000020)                                                                                     \
    X(PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT, 0x00000040)                                                             \
    X(DOMAIN_AUTHENTICATION_NOT_REQUIRED, 0x00000080)                                                                  \
    X(USER_INTERACTION_REQUIRED, 0x00000100)                                                                           \
    X(ADD_TEMPLATE_NAME, 0x00000200)                                                                                   \
    X(REMOVE_INVALID_CERTIFICATE_FROM_PERSONAL_STORE, 0x00000400)                                                      \
    X(ALLOW_ENROLL_ON_BEHALF_OF, 0x00000800)                                                                           \
    X(ADD_OCSP_NOCHECK, 0x00001000)                                                                                    \
    X(ENABLE_KEY_REUSE_ON_NT_TOKEN_KEYSET_STORAGE_FULL, 0x00002000)                                                    \
    X(NOREVOCATIONINFOINISSUEDCERTS, 0x00004000)                                                                       \
    X(INCLUDE_BASIC_CONSTRAINTS_FOR_EE_CERTS, 0x00008000)                                                              \
    X(ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT, 0x00010000)                                       \
    X(ISSUANCE_POLICIES_FROM_REQUEST, 0x00020000)                                                                      \
    X(SKIP_AUTO_RENEWAL, 0x00040000)                                                                                   \
    X(NO_SECURITY_EXTENSION, 0x00080000)

#define XCEP_GENERAL_FLAGS(X)                                                                                          \
    X(ADD_EMAIL, 0x00000002)                                                                                           \
    X(PUBLISH_TO_DS, 0x00000008)                                                                                       \
    X(EXPORTABLE_KEY, 0x00000010)                                                                                      \
    X(AUTO_ENROLLMENT, 0x00000020)                                                                                     \
    X(MACHINE_TYPE, 0x00000040)                                                                                        \
    X(IS_CA, 0x00000080)                                                                                               \
    X(ADD_TEMPLATE_NAME, 0x00000200)                                                                                   \
    X(IS_CROSS_CA, 0x00000800)                                                                                         \
    X(DONOTPERSISTINDB, 0x00001000)                                                                                    \
    X(IS_DEFAULT, 0x00010000)                                                                                          \
    X(IS_MODIFIED, 0x00020000)

/* XCEP_KEY_..., XCEP_NAME_..., XCEP_ENROLL_..., XCEP_GENERAL_... */
#define X(name, mask) XCEP_KEY_##name = mask,
enum xcep_private_key_flag { XCEP_PRIVATE_KEY_FLAGS(X) };
#undef X
#define X(name, mask) XCEP_NAME_##name = mask,
enum xcep_subject_name_flag { XCEP_SUBJECT_NAME_FLAGS(X) };
#undef X
#define X(name, mask) XCEP_ENROLL_##name = mask,
enum xcep_enrollment_flag { XCEP_ENROLLMENT_FLAGS(X) };
#undef X
#define X(name, mask) XCEP_GENERAL_##name = mask,
enum xcep_general_flag { XCEP_GENERAL_FLAGS(X) };
#undef X

/* The version nibbles of privateKeyFlags, [MS-CRTD] 2.27: shift down, then mask with 0xf. */
#define XCEP_KEY_CA_VERSION(flags)     ((uint32_t)(flags) >> 16 & 0xf)
#define XCEP_KEY_CLIENT_VERSION(flags) ((uint32_t)(flags) >> 24 & 0xf)

struct flag_name {
    const char *name; /* without the CT_FLAG_ in front; NULL ends a table */
    uint32_t mask;
};
extern const struct flag_name flags_private_key[];
extern const struct flag_name flags_subject_name[];
extern const struct flag_name flags_enrollment[];
extern const struct flag_name flags_general[];

/*
 * "A | B | 0x4": the names of the bits of @value, lowest first, and what has no name in one hexadecimal number;
 * "0" for no bit. Of privateKeyFlags the version nibbles are "CLIENT_VERSION_n" and "CA_VERSION_n".
 * Returns owned, never NULL.
 */
char *flags_describe(const struct flag_name *table, uint32_t value);
