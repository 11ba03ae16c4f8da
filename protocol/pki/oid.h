/* oid.h - object identifiers by name. */
#pragma once

#include <openssl/asn1.h>
#include <stdbool.h>

/* Every object identifier that we name: the constant OID_X, its dotted text, its name for a person. */
#define OIDS(X)                                                                                                        \
    /* CMS and PKCS#10 */                                                                                              \
    X(DATA, "1.2.840.113549.1.7.1", "data")                                                                            \
    X(SIGNED_DATA, "1.2.840.113549.1.7.2", "signedData")                                                               \
    X(ENVELOPED_DATA, "1.2.840.113549.1.7.3", "envelopedData")                                                         \
    X(CONTENT_TYPE, "1.2.840.113549.1.9.3", "contentType")                                                             \
    X(MESSAGE_DIGEST, "1.2.840.113549.1.9.4", "messageDigest")                                                         \
    X(SIGNING_TIME, "1.2.840.113549.1.9.5", "signingTime")                                                             \
    X(EXTENSION_REQUEST, "1.2.840.113549.1.9.14", "extensionRequest")                                                  \
    X(SMIME_CAPABILITIES, "1.2.840.113549.1.9.15", "S/MIME capabilities")                                              \
    /* CMC, RFC 5272 */                                                                                                \
    X(PKI_DATA, "1.3.6.1.5.5.7.12.2", "id-cct-PKIData")                                                                \
    X(PKI_RESPONSE, "1.3.6.1.5.5.7.12.3", "id-cct-PKIResponse")                                                        \
    X(NO_SIGNATURE, "1.3.6.1.5.5.7.6.2", "no signature")                                                               \
    X(CMC_STATUS_INFO, "1.3.6.1.5.5.7.7.1", "CMCStatusInfo")                                                           \
    X(CMC_ADD_EXTENSIONS, "1.3.6.1.5.5.7.7.8", "addExtensions")                                                        \
    X(CMC_REG_INFO, "1.3.6.1.5.5.7.7.18", "regInfo")                                                                   \
    /* Microsoft attributes, extensions and controls */                                                                \
    X(CMC_ADD_ATTRIBUTES, "1.3.6.1.4.1.311.10.10.1", "CMC add attributes")                                             \
    X(CERT_EXTENSIONS, "1.3.6.1.4.1.311.2.1.14", "certificate extensions")                                             \
    X(RENEWAL_CERTIFICATE, "1.3.6.1.4.1.311.13.1", "renewal certificate")                                              \
    X(NAME_VALUE_PAIR, "1.3.6.1.4.1.311.13.2.1", "name/value pair")                                                    \
    X(ENROLLMENT_CSP, "1.3.6.1.4.1.311.13.2.2", "enrollment CSP")                                                      \
    X(OS_VERSION, "1.3.6.1.4.1.311.13.2.3", "OS version")                                                              \
    X(TEMPLATE_NAME, "1.3.6.1.4.1.311.20.2", "certificate template name")                                              \
    X(UPN, "1.3.6.1.4.1.311.20.2.3", "user principal name")                                                            \
    X(CA_VERSION, "1.3.6.1.4.1.311.21.1", "CA version")                                                                \
    X(PREVIOUS_CA_HASH, "1.3.6.1.4.1.311.21.2", "previous CA certificate hash")                                        \
    X(TEMPLATE_INFO, "1.3.6.1.4.1.311.21.7", "certificate template information")                                       \
    X(APPLICATION_POLICIES, "1.3.6.1.4.1.311.21.10", "application policies")                                           \
    X(APPLICATION_POLICY_MAPPINGS, "1.3.6.1.4.1.311.21.11", "application policy mappings")                             \
    X(APPLICATION_POLICY_CONSTRAINTS, "1.3.6.1.4.1.311.21.12", "application policy constraints")                       \
    X(ARCHIVED_KEY, "1.3.6.1.4.1.311.21.13", "archived key")                                                           \
    X(ISSUED_HASH, "1.3.6.1.4.1.311.21.17", "issued certificate hash")                                                 \
    X(CLIENT_INFO, "1.3.6.1.4.1.311.21.20", "client info")                                                             \
    X(ENCRYPTED_KEY_HASH, "1.3.6.1.4.1.311.21.21", "encrypted key hash")                                               \
    X(EK_INFO, "1.3.6.1.4.1.311.21.23", "EK info")                                                                     \
    X(ATTESTATION_STATEMENT, "1.3.6.1.4.1.311.21.24", "attestation statement")                                         \
    X(KSP_NAME, "1.3.6.1.4.1.311.21.25", "key storage provider name")                                                  \
    X(EKPUB_CHALLENGE, "1.3.6.1.4.1.311.21.26", "EKPUB challenge")                                                     \
    X(EXCHANGE_CERT_HASH, "1.3.6.1.4.1.311.21.27", "exchange certificate hash")                                        \
    X(ATTESTATION_CHALLENGE, "1.3.6.1.4.1.311.21.28", "attestation challenge")                                         \
    X(ENCRYPTION_ALGORITHM, "1.3.6.1.4.1.311.21.29", "encryption algorithm")                                           \
    X(ATTESTATION_STATEMENT_OTHER, "1.3.6.1.4.1.311.21.33", "attestation statement (as printed in MS-WCCE)")           \
    X(AIK_INFO, "1.3.6.1.4.1.311.21.39", "AIK info")                                                                   \
    X(DIRECTORY_GUID, "1.3.6.1.4.1.311.25.1", "directory GUID")                                                        \
    X(SECURITY_EXTENSION, "1.3.6.1.4.1.311.25.2", "account SID extension")                                             \
    X(SECURITY_SID, "1.3.6.1.4.1.311.25.2.1", "account SID")                                                           \
    /* extensions of RFC 5280 */                                                                                       \
    X(SUBJECT_KEY_ID, "2.5.29.14", "subject key identifier")                                                           \
    X(KEY_USAGE, "2.5.29.15", "key usage")                                                                             \
    X(SUBJECT_ALT_NAME, "2.5.29.17", "subject alternative name")                                                       \
    X(BASIC_CONSTRAINTS, "2.5.29.19", "basic constraints")                                                             \
    X(CRL_DISTRIBUTION_POINTS, "2.5.29.31", "CRL distribution points")                                                 \
    X(CERTIFICATE_POLICIES, "2.5.29.32", "certificate policies")                                                       \
    X(AUTHORITY_KEY_ID, "2.5.29.35", "authority key identifier")                                                       \
    X(EXTENDED_KEY_USAGE, "2.5.29.37", "extended key usage")                                                           \
    X(AUTHORITY_INFO_ACCESS, "1.3.6.1.5.5.7.1.1", "authority information access")                                      \
    X(OCSP_NO_CHECK, "1.3.6.1.5.5.7.48.1.5", "OCSP no check")                                                          \
    /* extended key usages and application policies */                                                                 \
    X(EKU_ANY, "2.5.29.37.0", "any purpose")                                                                           \
    X(EKU_SERVER_AUTH, "1.3.6.1.5.5.7.3.1", "server authentication")                                                   \
    X(EKU_CLIENT_AUTH, "1.3.6.1.5.5.7.3.2", "client authentication")                                                   \
    X(EKU_CODE_SIGNING, "1.3.6.1.5.5.7.3.3", "code signing")                                                           \
    X(EKU_SECURE_EMAIL, "1.3.6.1.5.5.7.3.4", "secure email")                                                           \
    X(EKU_TIME_STAMPING, "1.3.6.1.5.5.7.3.8", "time stamping")                                                         \
    X(EKU_OCSP_SIGNING, "1.3.6.1.5.5.7.3.9", "OCSP signing")                                                           \
    X(EKU_IPSEC_IKE, "1.3.6.1.5.5.8.2.2", "IP security IKE intermediate")                                              \
    X(EKU_KDC, "1.3.6.1.5.2.3.5", "KDC authentication")                                                                \
    X(EKU_TRUST_LIST_SIGNING, "1.3.6.1.4.1.311.10.3.1", "trust list signing")                                          \
    X(EKU_EFS, "1.3.6.1.4.1.311.10.3.4", "encrypting file system")                                                     \
    X(EKU_EFS_RECOVERY, "1.3.6.1.4.1.311.10.3.4.1", "file recovery")                                                   \
    X(EKU_ENROLLMENT_AGENT, "1.3.6.1.4.1.311.20.2.1", "certificate request agent")                                     \
    X(EKU_SMART_CARD_LOGON, "1.3.6.1.4.1.311.20.2.2", "smart card logon")                                              \
    X(EKU_CA_EXCHANGE, "1.3.6.1.4.1.311.21.5", "CA exchange (private key archival)")                                   \
    X(EKU_KEY_RECOVERY_AGENT, "1.3.6.1.4.1.311.21.6", "key recovery agent")                                            \
    X(EKU_DS_EMAIL_REPLICATION, "1.3.6.1.4.1.311.21.19", "directory service e-mail replication")                       \
    X(EKU_PRIVACY_CA, "1.3.6.1.4.1.311.21.36", "privacy CA")                                                           \
    X(EKU_TPM_EK, "2.23.133.8.1", "TPM endorsement key certificate")                                                   \
    X(EKU_TPM_PLATFORM, "2.23.133.8.2", "TPM platform certificate")                                                    \
    X(EKU_TPM_AIK, "2.23.133.8.3", "TPM attestation identity key certificate")                                         \
    /* issuance policies */                                                                                            \
    X(ATTESTED_EK_LIST, "1.3.6.1.4.1.311.21.30", "key attested by endorsement key list")                               \
    X(ATTESTED_EK_CERT, "1.3.6.1.4.1.311.21.31", "key attested by endorsement key certificate")                        \
    X(ATTESTED_CREDENTIALS, "1.3.6.1.4.1.311.21.32", "key attested on the user's credentials")                         \
    /* algorithms */                                                                                                   \
    X(RSA, "1.2.840.113549.1.1.1", "RSA")                                                                              \
    X(RSAES_OAEP, "1.2.840.113549.1.1.7", "RSAES-OAEP")                                                                \
    X(RSASSA_PSS, "1.2.840.113549.1.1.10", "RSASSA-PSS")                                                               \
    X(SHA1_RSA, "1.2.840.113549.1.1.5", "sha1WithRSAEncryption")                                                       \
    X(SHA256_RSA, "1.2.840.113549.1.1.11", "sha256WithRSAEncryption")                                                  \
    X(SHA384_RSA, "1.2.840.113549.1.1.12", "sha384WithRSAEncryption")                                                  \
    X(SHA512_RSA, "1.2.840.113549.1.1.13", "sha512WithRSAEncryption")                                                  \
    X(SHA1_RSA_OIW, "1.3.14.3.2.29", "sha1RSASign")                                                                    \
    X(DSA, "1.2.840.10040.4.1", "DSA")                                                                                 \
    X(DH, "1.2.840.10046.2.1", "DH")                                                                                   \
    X(EC, "1.2.840.10045.2.1", "id-ecPublicKey")                                                                       \
    X(ECDSA_SHA256, "1.2.840.10045.4.3.2", "ecdsa-with-SHA256")                                                        \
    X(ECDSA_SHA384, "1.2.840.10045.4.3.3", "ecdsa-with-SHA384")                                                        \
    X(ECDSA_SHA512, "1.2.840.10045.4.3.4", "ecdsa-with-SHA512")                                                        \
    X(P256, "1.2.840.10045.3.1.7", "P-256")                                                                            \
    X(P384, "1.3.132.0.34", "P-384")                                                                                   \
    X(P521, "1.3.132.0.35", "P-521")                                                                                   \
    X(SHA1, "1.3.14.3.2.26", "SHA-1")                                                                                  \
    X(SHA256, "2.16.840.1.101.3.4.2.1", "SHA-256")                                                                     \
    X(SHA384, "2.16.840.1.101.3.4.2.2", "SHA-384")                                                                     \
    X(SHA512, "2.16.840.1.101.3.4.2.3", "SHA-512")                                                                     \
    X(TRIPLE_DES_CBC, "1.2.840.113549.3.7", "3DES-CBC")                                                                \
    X(AES128_CBC, "2.16.840.1.101.3.4.1.2", "AES-128-CBC")                                                             \
    X(AES192_CBC, "2.16.840.1.101.3.4.1.22", "AES-192-CBC")                                                            \
    X(AES256_CBC, "2.16.840.1.101.3.4.1.42", "AES-256-CBC")

#define X(id, dotted, name) extern const char OID_##id[];
OIDS(X)
#undef X

#define OID_MAX_TEXT 512 /* longest dotted text that we take; template OIDs have about 80 characters */

/* The name for a person, or @dotted itself when we have none. Borrowed; from @dotted in the second case. */
const char *oid_name(const char *dotted);
/* The dotted text of a name in the table above, compared without regard to case; NULL when there is none. Borrowed. */
const char *oid_by_name(const char *name);

/* Dotted decimal as X.660 has it, arcs of any size, at most OID_MAX_TEXT characters. NULL is not valid. */
bool oid_valid(const char *dotted);
/* Both there and the same. */
bool oid_is(const char *a, const char *b);

/* To dotted text; returns owned, NULL when @object is empty or its text would be longer than OID_MAX_TEXT. */
char *oid_from_asn1(const ASN1_OBJECT *object);
/* Returns owned (ASN1_OBJECT_free), NULL unless @dotted is valid. */
ASN1_OBJECT *oid_to_asn1(const char *dotted);
