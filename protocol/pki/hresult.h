/* hresult.h - what the error codes of a CA or an enrollment service mean, with what to do about each. */
#pragma once

#include <stdint.h>

/* What can help; a code may have several, to be tried in this order. */
#define HRESULT_ACTIONS(X)                                                                                             \
    X(LATER)          /* keep the state, try again with growing delay, no new key */                                   \
    X(REFETCH)        /* fetch the policy in full, retry once if it still offers the template */                       \
    X(OTHER_CA)       /* try the next CA or address of the policy */                                                   \
    X(CRED)           /* renew credentials once, then stop */                                                          \
    X(REBUILD)        /* make another request, as `todo` says, and try that once */                                    \
    X(KET)            /* fetch a fresh exchange certificate, retry once */                                             \
    X(CHALLENGE)      /* the attestation challenge waits for its answer */                                             \
    X(NEW_ENROLLMENT) /* renewing cannot work; a new enrollment with account credentials may */                        \
    X(FORGET)         /* the pending request is gone: drop its state, start again */                                   \
    X(STOP)           /* final for this request: drop it and its key */                                                \
    X(FIX)            /* our request or configuration is wrong; never repeat it unchanged */                           \
    X(ADMIN)          /* only an administrator can help; at most one try per policy refresh */

#define X(name) HRESULT_BIT_##name,
enum hresult_bit { HRESULT_ACTIONS(X) };
#undef X
#define X(name) HRESULT_##name = 1 << HRESULT_BIT_##name,
enum hresult_action { HRESULT_ACTIONS(X) };
#undef X

/*
 * Every code that a CA or an enrollment service is known to give, and those that only a client finds: code, name,
 * actions, what it means, and what a person should do.
 */
/* clang-format off */
#define HRESULTS(X)                                                                                                    \
    X(0x80094001, CERTSRV_E_BAD_REQUESTSUBJECT, HRESULT_FIX,                                                           \
        "the subject is missing, malformed or too long",                                                               \
        "Set a subject, or names, that the template accepts in the [certificate] section.")                            \
    X(0x80094002, CERTSRV_E_NO_REQUEST, HRESULT_FORGET,                                                                \
        "the CA knows no such request",                                                                                \
        "Enroll again; the request is not in the CA's database any more.")                                             \
    X(0x80094003, CERTSRV_E_BAD_REQUESTSTATUS, HRESULT_FORGET,                                                         \
        "the request is in a state that does not allow this",                                                          \
        "Enroll again; the CA has finished with this request in another way.")                                         \
    X(0x80094004, CERTSRV_E_PROPERTY_EMPTY, HRESULT_FORGET,                                                            \
        "nothing there; asked for a pending request: its ID is unknown",                                               \
        "Enroll again; the request was purged, or belongs to another CA.")                                             \
    X(0x80094005, CERTSRV_E_INVALID_CA_CERTIFICATE, HRESULT_OTHER_CA | HRESULT_ADMIN,                                  \
        "the CA's own certificate is not usable",                                                                      \
        "Ask the CA's administrator to renew or repair the CA certificate.")                                           \
    X(0x80094006, CERTSRV_E_SERVER_SUSPENDED, HRESULT_LATER,                                                           \
        "the CA's database is being restored",                                                                         \
        "Wait; it is tried again.")                                                                                    \
    X(0x80094007, CERTSRV_E_ENCODING_LENGTH, HRESULT_ADMIN,                                                            \
        "a field would not fit old clients",                                                                           \
        "Ask the CA's administrator about length limits, or shorten the names that are requested.")                    \
    X(0x80094008, CERTSRV_E_ROLECONFLICT, HRESULT_ADMIN,                                                               \
        "role separation refuses this account",                                                                        \
        "Ask the CA's administrator to give the account one role only.")                                               \
    X(0x80094009, CERTSRV_E_RESTRICTEDOFFICER, HRESULT_ADMIN,                                                          \
        "an enrollment agent restriction refuses this subject or template",                                            \
        "Ask the CA's administrator to allow this agent the template and the subject.")                                \
    X(0x8009400A, CERTSRV_E_KEY_ARCHIVAL_NOT_CONFIGURED, HRESULT_OTHER_CA | HRESULT_ADMIN,                             \
        "the template wants the key archived and the CA has no archival",                                              \
        "Ask the CA's administrator to configure key archival, or to take it off the template.")                       \
    X(0x8009400B, CERTSRV_E_NO_VALID_KRA, HRESULT_OTHER_CA | HRESULT_ADMIN,                                            \
        "the CA has no valid key recovery agent certificate",                                                          \
        "Ask the CA's administrator to renew the key recovery agents' certificates.")                                  \
    X(0x8009400C, CERTSRV_E_BAD_REQUEST_KEY_ARCHIVAL, HRESULT_FIX | HRESULT_KET,                                       \
        "the archived key is not where it should be, or cannot be decoded",                                            \
        "Report this: the request was not built as the CA wants it.")                                                  \
    X(0x8009400D, CERTSRV_E_NO_CAADMIN_DEFINED, HRESULT_ADMIN,                                                         \
        "the CA's security descriptor names no administrator",                                                         \
        "Ask for the CA's permissions to be repaired.")                                                                \
    X(0x8009400E, CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE, HRESULT_FIX | HRESULT_NEW_ENROLLMENT,                          \
        "the certificate to renew is missing, or is not the one that signed",                                          \
        "Enroll anew with account credentials if the renewal goes on failing.")                                        \
    X(0x8009400F, CERTSRV_E_NO_DB_SESSIONS, HRESULT_LATER,                                                             \
        "the CA's database is busy",                                                                                   \
        "Wait; it is tried again.")                                                                                    \
    X(0x80094010, CERTSRV_E_ALIGNMENT_FAULT, HRESULT_ADMIN,                                                            \
        "an internal error of the CA",                                                                                 \
        "Ask the CA's administrator to look into the CA's event log.")                                                 \
    X(0x80094011, CERTSRV_E_ENROLL_DENIED, HRESULT_OTHER_CA | HRESULT_ADMIN,                                           \
        "the account may not use this CA",                                                                             \
        "Ask the CA's administrator for the permission Request Certificates on the CA.")                               \
    X(0x80094012, CERTSRV_E_TEMPLATE_DENIED, HRESULT_REFETCH | HRESULT_ADMIN,                                          \
        "the account lacks Enroll on the template",                                                                    \
        "Ask for Enroll on the template for the account that enrolls.")                                                \
    X(0x80094013, CERTSRV_E_DOWNLEVEL_DC_SSL_OR_UPGRADE, HRESULT_LATER | HRESULT_ADMIN,                                \
        "the CA cannot talk to its directory safely",                                                                  \
        "Ask the CA's administrator to check the CA's connection to its domain controllers.")                          \
    X(0x80094014, CERTSRV_E_ADMIN_DENIED_REQUEST, HRESULT_STOP,                                                        \
        "a CA manager denied the request",                                                                             \
        "Ask the CA manager why; enroll again only when that is settled.")                                             \
    X(0x80094015, CERTSRV_E_NO_POLICY_SERVER, HRESULT_REFETCH,                                                         \
        "no usable policy or enrollment server",                                                                       \
        "Check the policy server's section in the configuration, and what its policy offers.")                         \
    X(0x80094016, CERTSRV_E_WEAK_SIGNATURE_OR_KEY, HRESULT_FIX | HRESULT_REBUILD,                                      \
        "the key or the hash is weaker than the CA allows",                                                            \
        "Use a longer key and SHA-256 or better.")                                                                     \
    X(0x80094017, CERTSRV_E_KEY_ATTESTATION_NOT_SUPPORTED, HRESULT_ADMIN,                                              \
        "this machine or its token cannot attest keys",                                                                \
        "Use a template that does not require key attestation.")                                                       \
    X(0x80094018, CERTSRV_E_ENCRYPTION_CERT_REQUIRED, HRESULT_KET,                                                     \
        "attestation or archival without an exchange certificate",                                                     \
        "Report this: an exchange certificate should have been fetched.")                                              \
    X(0x80094800, CERTSRV_E_UNSUPPORTED_CERT_TYPE, HRESULT_REFETCH | HRESULT_OTHER_CA,                                 \
        "the CA does not issue this template",                                                                         \
        "Ask the CA's administrator to publish the template on the CA.")                                               \
    X(0x80094801, CERTSRV_E_NO_CERT_TYPE, HRESULT_FIX,                                                                 \
        "the request names no template",                                                                               \
        "Name the template in the request.")                                                                           \
    X(0x80094802, CERTSRV_E_TEMPLATE_CONFLICT, HRESULT_FIX,                                                            \
        "the request names different templates in different places",                                                   \
        "Name one template only.")                                                                                     \
    X(0x80094803, CERTSRV_E_SUBJECT_ALT_NAME_REQUIRED, HRESULT_FIX,                                                    \
        "the template needs a subject alternative name",                                                               \
        "Add dns, upn or email to the [certificate] section.")                                                         \
    X(0x80094804, CERTSRV_E_ARCHIVED_KEY_REQUIRED, HRESULT_KET | HRESULT_REBUILD,                                      \
        "the template wants the private key archived",                                                                 \
        "Use a template without key archival: keys do not leave the token.")                                           \
    X(0x80094805, CERTSRV_E_SMIME_REQUIRED, HRESULT_FIX,                                                               \
        "the template wants S/MIME capabilities in the request",                                                       \
        "Report this with the template's name.")                                                                       \
    X(0x80094806, CERTSRV_E_BAD_RENEWAL_SUBJECT, HRESULT_NEW_ENROLLMENT | HRESULT_ADMIN,                               \
        "the requester is not the subject of the certificate, and nothing allows that",                                \
        "Ask the CA's administrator to enable key-based renewal (EDITF_ENABLERENEWONBEHALFOF), or enroll anew "        \
        "with account credentials.")                                                                                   \
    X(0x80094807, CERTSRV_E_BAD_TEMPLATE_VERSION, HRESULT_REFETCH | HRESULT_LATER,                                     \
        "the request names a newer version of the template than the CA knows",                                         \
        "Wait for the directory to replicate to the CA.")                                                              \
    X(0x80094808, CERTSRV_E_TEMPLATE_POLICY_REQUIRED, HRESULT_ADMIN,                                                   \
        "the template lacks a policy that it needs",                                                                   \
        "Ask for the template to be repaired.")                                                                        \
    X(0x80094809, CERTSRV_E_SIGNATURE_POLICY_REQUIRED, HRESULT_ADMIN,                                                  \
        "the request lacks the signature of a registration authority",                                                 \
        "Have the request countersigned, or use a template that does not ask for it.")                                 \
    X(0x8009480A, CERTSRV_E_SIGNATURE_COUNT, HRESULT_ADMIN,                                                            \
        "the request has too few signatures of a registration authority",                                              \
        "Have the request countersigned as often as the template says.")                                               \
    X(0x8009480B, CERTSRV_E_SIGNATURE_REJECTED, HRESULT_ADMIN,                                                         \
        "a countersignature lacks the policy that the template requires",                                              \
        "Have it countersigned with a certificate that carries the required application policy.")                      \
    X(0x8009480C, CERTSRV_E_ISSUANCE_POLICY_REQUIRED, HRESULT_ADMIN,                                                   \
        "the countersigning certificate lacks an issuance policy",                                                     \
        "Have it countersigned with a certificate that carries the required issuance policy.")                         \
    X(0x8009480D, CERTSRV_E_SUBJECT_UPN_REQUIRED, HRESULT_ADMIN,                                                       \
        "the account has no user principal name",                                                                      \
        "Ask for a user principal name on the account.")                                                               \
    X(0x8009480E, CERTSRV_E_SUBJECT_DIRECTORY_GUID_REQUIRED, HRESULT_ADMIN,                                            \
        "the account has no directory GUID",                                                                           \
        "Ask for the account to be repaired in the directory.")                                                        \
    X(0x8009480F, CERTSRV_E_SUBJECT_DNS_REQUIRED, HRESULT_ADMIN | HRESULT_LATER,                                       \
        "the account has no DNS host name, or is a user's while the template is for machines",                         \
        "Ask for dNSHostName on the account, or use a template for this kind of account.")                             \
    X(0x80094810, CERTSRV_E_ARCHIVED_KEY_UNEXPECTED, HRESULT_REBUILD,                                                  \
        "the private key was sent, though the template does not want it",                                              \
        "Report this: the key should not have been sent.")                                                             \
    X(0x80094811, CERTSRV_E_KEY_LENGTH, HRESULT_REFETCH | HRESULT_REBUILD,                                             \
        "the key is shorter than the template allows",                                                                 \
        "Use a longer key, at least as long as the template's minimum.")                                               \
    X(0x80094812, CERTSRV_E_SUBJECT_EMAIL_REQUIRED, HRESULT_ADMIN,                                                     \
        "the account has no e-mail address",                                                                           \
        "Ask for a mail attribute on the account.")                                                                    \
    X(0x80094813, CERTSRV_E_UNKNOWN_CERT_TYPE, HRESULT_OTHER_CA | HRESULT_ADMIN,                                       \
        "the CA lists templates that it cannot find",                                                                  \
        "Ask the CA's administrator to repair the CA's list of templates.")                                            \
    X(0x80094814, CERTSRV_E_CERT_TYPE_OVERLAP, HRESULT_ADMIN,                                                          \
        "the renewal period is longer than the certificate would be valid",                                            \
        "Ask the CA's administrator whether the CA certificate is near its end.")                                      \
    X(0x80094815, CERTSRV_E_TOO_MANY_SIGNATURES, HRESULT_ADMIN,                                                        \
        "the template asks for more than one registration authority",                                                  \
        "Ask for a template that needs one countersignature at most.")                                                 \
    X(0x80094816, CERTSRV_E_RENEWAL_BAD_PUBLIC_KEY, HRESULT_REBUILD,                                                   \
        "the template demands renewal with the same key",                                                              \
        "Renew with the same key.")                                                                                    \
    X(0x80094817, CERTSRV_E_INVALID_EK, HRESULT_ADMIN,                                                                 \
        "the TPM's endorsement key or certificate is not acceptable",                                                  \
        "Ask the CA's administrator to add this TPM's endorsement key or its issuer.")                                 \
    X(0x80094818, CERTSRV_E_INVALID_IDBINDING, HRESULT_FIX,                                                            \
        "the binding of the attestation key does not verify",                                                          \
        "Report this with the model of the TPM.")                                                                      \
    X(0x80094819, CERTSRV_E_INVALID_ATTESTATION, HRESULT_FIX,                                                          \
        "the attestation statement does not verify",                                                                   \
        "Report this with the model of the TPM.")                                                                      \
    X(0x8009481A, CERTSRV_E_KEY_ATTESTATION, HRESULT_FIX | HRESULT_ADMIN,                                              \
        "the template requires key attestation and the request has none that counts",                                  \
        "Use a template that does not require key attestation.")                                                       \
    X(0x8009481B, CERTSRV_E_CORRUPT_KEY_ATTESTATION, HRESULT_FIX,                                                      \
        "the attestation data cannot be decoded",                                                                      \
        "Report this with the model of the TPM.")                                                                      \
    X(0x8009481C, CERTSRV_E_EXPIRED_CHALLENGE, HRESULT_FORGET,                                                         \
        "the exchange certificate behind the challenge is gone",                                                       \
        "Enroll again.")                                                                                               \
    X(0x8009481D, CERTSRV_E_INVALID_RESPONSE, HRESULT_FORGET | HRESULT_ADMIN,                                          \
        "the answer to the attestation challenge is wrong or was not expected",                                        \
        "Enroll again; if it stays so, ask the CA's administrator.")                                                   \
    X(0x8009481E, CERTSRV_E_INVALID_REQUESTID, HRESULT_FIX,                                                            \
        "the answer to a challenge does not say which request it is for",                                              \
        "Report this.")                                                                                                \
    X(0x8009481F, CERTSRV_E_REQUEST_PRECERTIFICATE_MISMATCH, HRESULT_ADMIN,                                            \
        "the request does not match its precertificate",                                                               \
        "Ask the CA's administrator about certificate transparency on this CA.")                                       \
    X(0x80094820, CERTSRV_E_PENDING_CLIENT_RESPONSE, HRESULT_CHALLENGE,                                                \
        "the request waits for the answer to its attestation challenge",                                               \
        "Wait for the client to answer the challenge; the request cannot be approved before.")                         \
    X(0x80094821, CERTSRV_E_SEC_EXT_DIRECTORY_SID_REQUIRED, HRESULT_ADMIN,                                             \
        "the account's SID, which the certificate must carry, was not found",                                          \
        "Ask for the account to be looked up in the directory.")                                                       \
    X(0x80070005, E_ACCESSDENIED, HRESULT_ADMIN | HRESULT_LATER,                                                       \
        "the enrollment service may not call the CA for this account",                                                 \
        "Ask for the service's delegation, its DCOM rights and the CA's permissions to be checked.")                   \
    X(0x8007000D, ERROR_INVALID_DATA, HRESULT_FIX,                                                                     \
        "the structure of the request is wrong",                                                                       \
        "Report this with the saved request.")                                                                         \
    X(0x80070032, ERROR_NOT_SUPPORTED, HRESULT_OTHER_CA | HRESULT_ADMIN,                                               \
        "this service does not take this kind of request",                                                             \
        "Use an enrollment address for this kind of request; a renewal-only one takes no new enrollments.")            \
    X(0x80070057, E_INVALIDARG, HRESULT_FIX | HRESULT_ADMIN,                                                           \
        "an argument is wrong, or the CA's name is not recognised",                                                    \
        "Ask for the CA name in the enrollment service's configuration to be checked.")                                \
    X(0x8007052E, ERROR_LOGON_FAILURE, HRESULT_CRED,                                                                   \
        "the user name or the password is wrong",                                                                      \
        "Store the right password with: autoenroll login SERVER")                                                      \
    X(0x8007054B, ERROR_NO_SUCH_DOMAIN, HRESULT_LATER,                                                                 \
        "the CA or the service cannot find the domain",                                                                \
        "Wait; if it stays so, check the domain in the user name.")                                                    \
    X(0x800706BA, RPC_S_SERVER_UNAVAILABLE, HRESULT_LATER | HRESULT_OTHER_CA,                                          \
        "the enrollment service cannot reach the CA",                                                                  \
        "Wait; if it stays so, ask whether the CA is running.")                                                        \
    X(0x800706BB, RPC_S_SERVER_TOO_BUSY, HRESULT_LATER,                                                                \
        "the CA is busy",                                                                                              \
        "Wait; it is tried again.")                                                                                    \
    X(0x800706BE, RPC_S_CALL_FAILED, HRESULT_LATER,                                                                    \
        "the call to the CA broke off; the request may exist there",                                                   \
        "Wait; it is tried again.")                                                                                    \
    X(0x8007203A, ERROR_DS_SERVER_DOWN, HRESULT_LATER,                                                                 \
        "the CA cannot reach its directory",                                                                           \
        "Wait; if it stays so, ask the CA's administrator about its domain controllers.")                              \
    X(0x80090003, NTE_BAD_KEY, HRESULT_FIX,                                                                            \
        "the key is bad",                                                                                              \
        "Report this with the kind of key and token.")                                                                 \
    X(0x80090006, NTE_BAD_SIGNATURE, HRESULT_FIX,                                                                      \
        "a signature in the request does not verify",                                                                  \
        "Check the token that signed; the same request will not be accepted.")                                         \
    X(0x80090008, NTE_BAD_ALGID, HRESULT_FIX | HRESULT_REBUILD,                                                        \
        "an algorithm is not accepted",                                                                                \
        "Use another key type or hash.")                                                                               \
    X(0x80090029, NTE_NOT_SUPPORTED, HRESULT_FIX | HRESULT_REBUILD,                                                    \
        "the CA does not support an algorithm or an operation",                                                        \
        "Use another key type or hash.")                                                                               \
    X(0x8009002D, NTE_INTERNAL_ERROR, HRESULT_LATER | HRESULT_ADMIN,                                                   \
        "an internal error of the CA's cryptography",                                                                  \
        "Wait; if it stays so, ask the CA's administrator to look into the CA's event log.")                           \
    X(0x80091004, CRYPT_E_INVALID_MSG_TYPE, HRESULT_FIX,                                                               \
        "the request is not of the form that its type says, or that its kind needs",                                   \
        "Report this with the saved request.")                                                                         \
    X(0x80091007, CRYPT_E_HASH_VALUE, HRESULT_FIX,                                                                     \
        "a hash in the request is wrong",                                                                              \
        "Report this with the saved request.")                                                                         \
    X(0x8009100E, CRYPT_E_SIGNER_NOT_FOUND, HRESULT_FIX,                                                               \
        "the certificate of a signer is not in the request",                                                           \
        "Report this with the saved request.")                                                                         \
    X(0x8009200E, CRYPT_E_NO_SIGNER, HRESULT_FIX,                                                                      \
        "the request is not signed",                                                                                   \
        "Report this with the saved request.")                                                                         \
    X(0x80092010, CRYPT_E_REVOKED, HRESULT_NEW_ENROLLMENT | HRESULT_ADMIN,                                             \
        "the certificate that signed the request is revoked",                                                          \
        "Find out why it was revoked before a new enrollment with account credentials.")                               \
    X(0x80092012, CRYPT_E_NO_REVOCATION_CHECK, HRESULT_LATER | HRESULT_ADMIN,                                          \
        "the CA could not check whether the signing certificate is revoked",                                           \
        "Wait; if it stays so, ask the CA's administrator to publish fresh revocation lists.")                         \
    X(0x80092013, CRYPT_E_REVOCATION_OFFLINE, HRESULT_LATER | HRESULT_ADMIN,                                           \
        "the revocation server is offline for the CA",                                                                 \
        "Wait; if it stays so, ask the CA's administrator to publish fresh revocation lists.")                         \
    X(0x80093102, CRYPT_E_ASN1_EOD, HRESULT_FIX,                                                                       \
        "the DER of the request is cut short",                                                                         \
        "Report this with the saved request.")                                                                         \
    X(0x80093103, CRYPT_E_ASN1_CORRUPT, HRESULT_FIX,                                                                   \
        "the DER of the request is corrupt",                                                                           \
        "Report this with the saved request.")                                                                         \
    X(0x8009310B, CRYPT_E_ASN1_BADTAG, HRESULT_FIX,                                                                    \
        "the DER is of another type than expected",                                                                    \
        "Report this with the saved request.")                                                                         \
    X(0x80095002, XENROLL_E_RESPONSE_KA_HASH_NOT_FOUND, HRESULT_ADMIN,                                                 \
        "the answer lacks the hash of the archived key",                                                               \
        "Do not use the certificate; ask the CA's administrator whether the key was archived.")                        \
    X(0x80095003, XENROLL_E_RESPONSE_UNEXPECTED_KA_HASH, HRESULT_ADMIN,                                                \
        "the answer has the hash of an archived key though none was sent",                                             \
        "Do not use the certificate; ask the CA's administrator what was archived.")                                   \
    X(0x80095004, XENROLL_E_RESPONSE_KA_HASH_MISMATCH, HRESULT_ADMIN,                                                  \
        "the hash of the archived key in the answer is that of another key",                                           \
        "Do not use the certificate; ask the CA's administrator what was archived.")                                   \
    X(0x800B0101, CERT_E_EXPIRED, HRESULT_NEW_ENROLLMENT,                                                              \
        "a certificate in the signer's chain is expired",                                                              \
        "Enroll anew with account credentials, and check the clock.")                                                  \
    X(0x800B0109, CERT_E_UNTRUSTEDROOT, HRESULT_ADMIN,                                                                 \
        "the signer's chain ends at a root that is not trusted",                                                       \
        "Ask the CA's administrator to trust the root of the signing certificate.")                                    \
    X(0x800B010A, CERT_E_CHAINING, HRESULT_ADMIN,                                                                      \
        "there is no chain from the signing certificate to a root",                                                    \
        "Ask the CA's administrator whether the issuing CA's certificate is installed.")                               \
    X(0x800B010C, CERT_E_REVOKED, HRESULT_NEW_ENROLLMENT | HRESULT_ADMIN,                                              \
        "a certificate is revoked",                                                                                    \
        "Find out why it was revoked before a new enrollment with account credentials.")                               \
    X(0x800B010E, CERT_E_REVOCATION_FAILURE, HRESULT_LATER | HRESULT_ADMIN,                                            \
        "the check for revocation failed",                                                                             \
        "Wait; if it stays so, ask the CA's administrator to publish fresh revocation lists.")                         \
    X(0x800B0110, CERT_E_WRONG_USAGE, HRESULT_FIX | HRESULT_ADMIN,                                                     \
        "a signing certificate is not made for this use",                                                              \
        "Use a certificate with the application policy that the template asks for.")                                   \
    X(0x800B0112, CERT_E_UNTRUSTEDCA, HRESULT_ADMIN,                                                                   \
        "the issuing CA is not trusted for this",                                                                      \
        "Ask for the issuing CA to be added to the enterprise's NTAuth store.")                                        \
    X(0x800B0113, CERT_E_INVALID_POLICY, HRESULT_ADMIN,                                                                \
        "the certificate's policy is rejected",                                                                        \
        "Ask the CA's administrator about policy constraints in the chain.")                                           \
    X(0x800B0114, CERT_E_INVALID_NAME, HRESULT_FIX | HRESULT_ADMIN,                                                    \
        "a name constraint of the CA rejects the name",                                                                \
        "Request names that the CA may certify.")
/* clang-format on */

struct hresult {
    uint32_t code;
    const char *name;    /* "CERTSRV_E_TEMPLATE_DENIED" */
    unsigned actions;    /* enum hresult_action */
    const char *meaning; /* part of a sentence, in lower case */
    const char *todo;    /* one sentence for a person */
};

#define X(number, name, actions, meaning, todo) name = number,
enum hresult_code { HRESULTS(X) };
#undef X

/* Borrowed, never NULL: a code that is not in the table gives a general entry with name "". */
const struct hresult *hresult_find(uint32_t code);
/* "0x80094012 CERTSRV_E_TEMPLATE_DENIED: the account lacks ..."; returns owned. */
char *hresult_describe(uint32_t code);
